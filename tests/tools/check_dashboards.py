"""Reads dashboards with Grafana's own model of them (grafana-foundation-sdk) and writes them again: a key that is gone
then is one that Grafana does not know.

    check_dashboards.py FILE…     # exits with 1 and prints what was lost or changed, one a line
"""

import json
import re
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

# Known to Grafana, but not to its model: what the data sources themselves read of an annotation, and the text that a
# query variable's editor shows.
NOT_MODELLED = re.compile(
    r"\.annotations\.list\[\d+\]\.(maxLines|step|tagKeys|titleFormat)|\.templating\.list\[\d+\]\.definition"
)


def lost(before, after, path=""):
    if NOT_MODELLED.fullmatch(path):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after.get(key, "(gone)"), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}[{index}]")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"


def main(paths):
    register_default_plugins()
    wrong = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            before = json.load(file)
        after = json.loads(JSONEncoder().encode(Dashboard.from_json(before)))
        wrong += [f"{path}: {what}" for what in lost(before, after)]
    print("\n".join(wrong))
    return 1 if wrong or not paths else 0


sys.exit(main(sys.argv[1:]))
