"""What `plugin dev --debug` adds to a Python worker: debugpy where the plugin's environment has it, else pdb over
a socket of whoever debugs. Loaded only if the host asks for it.
"""

import json
import os
import socket
import sys

WORKER_MODULES = ["spanglass_worker", "spanglass_debugger", "spanglass", "spanglass.*", "asyncio", "asyncio.*"]


def start(settings, folder):
    try:
        import debugpy
    except ImportError:
        return Console(settings, folder)
    return Adapter(settings, folder, debugpy)


def _announce(path, words):
    """A connection to whoever debugs, who is told what to expect."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    connection.sendall(json.dumps(words).encode() + b"\n")
    return connection


class Line:
    """The author's end of pdb, as a file: connected when it is first used, and until the call ends."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, path):
        self._path = path
        self._connection = self._reader = None

    def _open(self):
        if self._connection is None:
            self._connection = _announce(self._path, {"debugger": "pdb"})
            self._reader = self._connection.makefile("r", encoding=self.encoding, errors=self.errors)

    def readline(self):
        self._open()
        return self._reader.readline()

    def write(self, text):
        self._open()
        self._connection.sendall(text.encode(self.encoding, self.errors))
        return len(text)

    def flush(self):
        pass

    def close(self):
        if self._connection is not None:
            self._reader.close()
            self._connection.close()
            self._connection = self._reader = None


class Console:
    """pdb: at the first line of the plugin's own code in the first call, at `breakpoint()`, after a failure."""

    def __init__(self, settings, folder):
        import pdb

        self._post_mortem = settings.get("post_mortem", False)
        self._own = folder + os.sep
        self._waited = False
        self._line = Line(settings["socket"])
        self._pdb = pdb.Pdb(stdin=self._line, stdout=self._line, skip=WORKER_MODULES, nosigint=True, readrc=False)
        self._pdb.prompt = "(pdb) "
        pdb.set_trace = sys.breakpointhook = self._breakpoint

    def _breakpoint(self, *_, **__):
        self._waited = True
        self._pdb.set_trace(sys._getframe(1))

    def enter(self):
        """A call begins."""
        if not self._waited:
            sys.settrace(self._find)

    def _find(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(self._own):
            return None
        self._waited = True
        self._pdb.set_trace(frame)
        return self._pdb.trace_dispatch

    def failed(self, error):
        import bdb

        sys.settrace(None)
        if not self._post_mortem or not isinstance(error, Exception) or isinstance(error, bdb.BdbQuit):
            return
        trace = error.__traceback__
        while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(self._own):
            trace = trace.tb_next
        if trace is not None:
            self._pdb.message("%s: %s" % (type(error).__name__, error))
            self._pdb.reset()
            self._pdb.interaction(None, trace)

    def leave(self):
        """A call ends: steps end with it, breakpoints stay."""
        self._pdb.set_continue()
        self._line.close()


class Adapter:
    """debugpy: editors attach to its port."""

    def __init__(self, settings, folder, debugpy):
        self._debugpy = debugpy
        self._waited = False
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = free.getsockname()
        # A process of its own would be an orphan, which the supervisor ends.
        debugpy.listen(address, in_process_debug_adapter=True)
        self._connection = _announce(
            settings["socket"], {"debugger": "debugpy", "address": "%s:%d" % address, "folder": folder})
        sys.breakpointhook = lambda *_, **__: debugpy.breakpoint()

    def enter(self):
        if not self._waited:
            self._waited = True
            self._debugpy.wait_for_client()

    def failed(self, error):
        pass

    def leave(self):
        pass
