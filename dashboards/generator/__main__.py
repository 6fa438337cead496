"""Writes the dashboards and the list of their queries: `python3 dashboards/generator [FOLDER]`.

Only the standard library. The same source gives the same bytes. A dashboard is one module with `build()`; what it is
made of: `panels.py` (kinds of panels), `promql.py` (selectors), `links.py` (where it leads), `model.py` (the rest).
"""

import json
import sys
from pathlib import Path

import data
import invocation
import model
import overview
import plugin
import reliability
import slo
import telemetry

DASHBOARDS = [overview, plugin, invocation, slo, reliability, data, telemetry]


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    listed = []
    for module in DASHBOARDS:
        dashboard = module.build()
        listed += model.queries(dashboard)
        text = json.dumps(dashboard, ensure_ascii=False, indent=2, sort_keys=True)
        (folder / f"{dashboard['uid']}.json").write_text(text + "\n")
    # Not `.json`: Grafana takes every such file of the folder for a dashboard.
    lines = [json.dumps(query, ensure_ascii=False, sort_keys=True) + "\n" for query in listed]
    (folder / "queries.jsonl").write_text("".join(lines))


main()
