"""Whether what goes into plugins and comes out of them is what their schemas promise, and what it was."""

import drift
import links
from links import PAGE_OF_ERROR, PLUGIN_OF_SERIES
from model import PLUGIN, dashboard, row
from panels import column, instant, logs, query, stat, table, timeseries, traces
from promql import increase, plugin, rate, total
from shared import ROOT_SPANS

INPUT = 'error_type=~"invalid_input|input_too_large"'
OUTPUT = 'error_type=~"invalid_output|output_too_large"'
# From which share on it is worth a look.
STEPS = ((0.01, "yellow"), (0.05, "red"))


def build():
    return dashboard(
        "spanglass-data",
        "spanglass: data quality",
        "Inputs and outputs that break their schemas or limits, what limits cut off, and fields that are not distributed as in their baseline.",
        [
            row("Over the time range", *_now(), height=4),
            row("By plugin", _plugins(), height=9),
            row("Inputs and outputs", *_rates()),
            row("Evidence", *_evidence(), height=9),
            *drift.rows(),
        ],
        variables=[PLUGIN],
    )


def _share(kinds, by="", window="$__range"):
    calls = total(by, increase(plugin("invocations_total"), window))
    broken = total(by, increase(plugin("invocations_total", kinds), window))
    # Kinds that the caller is to blame for have a series only after the first one.
    return f"({broken} or 0 * {calls}) / ({calls} > 0)"


def _now():
    dropped = total("", increase(plugin("guest_dropped_total")))
    return [
        stat(
            "Inputs that were refused",
            "Share of calls whose input breaks the plugin's input schema, or is too large.",
            "a caller changed what it sends: *By plugin* says to whom, the traces below have an example each.",
            instant(_share(INPUT)), "percentunit", width=8, steps=STEPS, none="no calls", decimals=2,
        ),
        stat(
            "Outputs that were refused",
            "Share of calls whose output breaks the plugin's output schema, or is too large.",
            "a bug of the plugin, often of its newest version: `spanglass plugin rollback`.",
            instant(_share(OUTPUT)), "percentunit", width=8, steps=STEPS, none="no calls", decimals=2,
            runbook="plugin-invalid-output",
        ),
        stat(
            "Cut off by limits",
            "Log lines, spans and other messages of plugins that a limit cut off.",
            "*Cut off by limits, by plugin* says whose; the root span of such a call has `spanglass.dropped.*`.",
            instant(f"{dropped} or vector(0)"), "short", width=8, steps=[(1, "yellow")], decimals=0,
        ),
    ]  # fmt: skip


def _plugins():
    calls = total("plugin", increase(plugin("invocations_total")))
    return table(
        "Data quality by plugin",
        "Each plugin over the time range. A plugin's name leads to its dashboard.",
        "many refused inputs of one plugin: its caller, or a schema that got stricter. Refused outputs: the plugin.",
        {
            "plugin": {"link": links.PLUGIN_OF_ROW},
            "calls": {"query": column(calls), "unit": "short"},
            "inputs refused": {"query": column(_share(INPUT, "plugin")), "unit": "percentunit", "steps": STEPS},
            "outputs refused": {"query": column(_share(OUTPUT, "plugin")), "unit": "percentunit", "steps": STEPS},
        },
        sort="inputs refused",
    )


def _rates():
    def by_plugin(matcher):
        return total("plugin, error_type", rate(plugin("invocations_total", matcher)))

    cut = total("plugin, what", rate(plugin("guest_dropped_total")))
    return [
        timeseries(
            "Refused inputs",
            "Calls refused because of their input, per second: `invalid_input` breaks the schema, `input_too_large` the limit.",
            "ask the caller what changed at that time; annotations show whether it was the plugin.",
            [query(by_plugin(INPUT), "{{plugin}} {{error_type}}", empty="the series appears with a plugin's first refused input")],
            "reqps", data_links=[PLUGIN_OF_SERIES, PAGE_OF_ERROR],
        ),
        timeseries(
            "Refused outputs",
            "Calls that failed because of what the plugin returned, per second: `invalid_output` breaks its schema, `output_too_large` the limit.",
            "go back to the version before, `spanglass plugin rollback`, and fix what it returns.",
            [query(by_plugin(OUTPUT), "{{plugin}} {{error_type}}")],
            "reqps", data_links=[PLUGIN_OF_SERIES, PAGE_OF_ERROR], runbook="plugin-invalid-output",
        ),
        timeseries(
            "Cut off by limits, by plugin",
            "Messages of plugins per second that a limit cut off, by what they were.",
            "log less in that call, or fewer spans: what is cut off is missing in its trace.",
            [query(cut, "{{plugin}} {{what}}", empty="no plugin went beyond a limit")],
            "ops", data_links=[PLUGIN_OF_SERIES],
        ),
    ]  # fmt: skip


def _evidence():
    kinds = "invalid_input|input_too_large|invalid_output|output_too_large"
    return [
        traces(
            "Calls with refused data",
            "Traces of such calls. The id leads to the invocation; the span `validate_input` or `validate_output` says where the document is wrong.",
            "one of each plugin is enough to see what changed.",
            f'{{ {ROOT_SPANS} && span."error.type"=~"{kinds}" }}',
        ),
        logs(
            "Log of calls with refused data",
            "Their last records, `invocation.finished`, with the reason.",
            "`spanglass logs` shows the same without Loki.",
            f'{{service_name="spanglass"}} | plugin_name=~"$plugin" | error_type=~"{kinds}"',
        ),
    ]
