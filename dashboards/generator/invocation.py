"""One call: its trace and its log. Every exemplar and every trace id leads here."""

import links
from model import PLUGIN, dashboard, row, text_box
from panels import logs, text, trace, traces
from shared import ROOT_SPANS, errors_by_kind, latency_heatmap

GUIDE = f"""\
Put a **trace id** in the box above (it is in every reply, log line and span), click a dot in the heatmap below, or an id in the lists.

**Onward:** [the plugin](/d/spanglass-plugin?{links.KEPT}&${{plugin:queryparam}})
· [reliability](/d/spanglass-reliability?{links.KEPT}&${{plugin:queryparam}})
· [objectives](/d/spanglass-slo?{links.KEPT}&${{plugin:queryparam}})
· from a span to its log lines and metrics: the icons on the span

On a terminal, with what the runner itself keeps, sampled or not: `spanglass trace show $trace_id`
"""


def build():
    return dashboard(
        "spanglass-invocation",
        "spanglass: invocation",
        "One call by its trace id: every step, and everything that was logged in it. Below: how to find one.",
        [
            row("How to", text("How to use this", "How to find a call, and where to go from it.", GUIDE), height=5),
            row("The call", _trace(), height=16),
            row("Its log", _log(), height=10),
            row("Find a call", *_find(), height=9),
        ],
        variables=[PLUGIN, text_box("trace_id", "Trace id", "32 hexadecimal digits; from a reply, a log line or a span.")],
        # A trace is read, not watched; refreshing would fold its spans up again.
        refresh="",
    )


def _trace():
    return trace(
        "Trace",
        "Every step of the call: `validate_input`, `attempt` with `queue`, `prepare` (a cold start) and `execute`, `validate_output`; the plugin's "
        "own spans; calls of other plugins.",
        "empty: the trace was not sampled, is not there yet (up to a minute), or is lost; the dashboard *Telemetry* tells which.",
    )


def _log():
    return logs(
        "Log of the call",
        "Everything that host and plugin said in this call, oldest first. The last record, `invocation.finished`, has its outcome.",
        "nothing here but a trace above: log records come by the same way; see the dashboard *Telemetry*.",
        '{service_name="spanglass"} | trace_id="$trace_id"',
        width=24,
        oldest_first=True,
    )


def _find():
    return [
        traces(
            "Calls that failed",
            "The latest failed calls of the chosen plugins. The id puts the call above.",
            "the plugin's dashboard says how many they are.",
            f"{{ {ROOT_SPANS} && status=error }}",
        ),
        traces(
            "Calls that were slow",
            "Calls of the chosen plugins that took longer than 500 ms. The id puts the call above.",
            "look for the widest step.",
            f"{{ {ROOT_SPANS} && duration>500ms }}",
        ),
        latency_heatmap(12),
        errors_by_kind(12),
    ]
