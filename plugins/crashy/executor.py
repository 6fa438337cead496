"""Breaks on purpose, in as many ways as a plugin can."""

import os
import signal
import sys


def invoke(input_data, ctx):
    how = input_data["how"]
    # Whatever was printed before the end is in the logs of the invocation, even if the process is gone.
    print(f"about to be {how}", flush=True)
    return WAYS[how]()


def fine():
    return {"survived": True}


def exception():
    raise RuntimeError("this plugin fails on purpose")


def sys_exit():
    # SystemExit is an exception: it ends the call, not the worker.
    sys.exit(3)


def os_exit():
    os._exit(3)


def segfault():
    # Imported here: only this way needs it, and every import makes a cold start slower.
    import ctypes

    ctypes.string_at(0)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def nan():
    return {"survived": float("nan")}


WAYS = {
    "fine": fine,
    "exception": exception,
    "sys-exit": sys_exit,
    "os-exit": os_exit,
    "segfault": segfault,
    "killed": killed,
    "nan": nan,
}
