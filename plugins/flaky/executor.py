"""Fails on purpose: attempt N of a call fails if a hash of the seed and N is below `fail_ratio`.

So one seed always fails on the same attempts, and with a ratio of 0.4 and three attempts about 6 calls in
100 fail for good.
"""

import hashlib
from collections import OrderedDict

FAIL_RATIO = 0.4
REMEMBERED_MAX = 1000

# A plugin is not told which attempt it is running, and usually should not care. This one counts for
# itself, in memory: hence one instance in the manifest.
attempts = OrderedDict()


def invoke(input_data, ctx):
    attempt = count(ctx.invocation_id)
    draw = uniform(f"{input_data['seed']}:{attempt}")
    if draw < input_data.get("fail_ratio", FAIL_RATIO):
        raise ConnectionError(f"the upstream hung up on attempt {attempt}")
    return {"attempt": attempt, "draw": draw}


def count(invocation_id):
    attempts[invocation_id] = attempts.get(invocation_id, 0) + 1
    if len(attempts) > REMEMBERED_MAX:
        attempts.popitem(last=False)
    return attempts[invocation_id]


def uniform(text):
    """A number in [0, 1) that depends on the text only. `hash()` differs from process to process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
