"""Sleeps on purpose: for `seconds`, else for a log-normal time that the seed picks."""

import math
import random
import time


def invoke(input_data, ctx):
    seconds = input_data.get("seconds")
    if seconds is None:
        # A string seed: it gives the same numbers in every process, unlike `hash()`.
        generator = random.Random(str(input_data.get("seed", ctx.invocation_id)))
        seconds = generator.lognormvariate(math.log(ctx.config["median_seconds"]), ctx.config["sigma"])
    seconds = round(seconds, 4)

    with ctx.span("sleep", seconds=seconds):
        time.sleep(seconds)
    return {"slept_seconds": seconds}
