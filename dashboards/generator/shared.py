"""Panels that stand on more than one dashboard."""

from links import PAGE_OF_ERROR, PLUGIN_OF_SERIES
from panels import OUTCOME_COLORS, heatmap, instant, query, stat, timeseries
from promql import BAD, JUDGED, RANGE, buckets, increase, plugin, quantile, rate, total

# The root spans of calls, for TraceQL. The grammar for editors trips over a bare name that begins with `span`; in quotes
# Tempo understands it, too.
ROOT_SPANS = 'resource.service.name="spanglass" && name=~"invoke .+" && span."spanglass.plugin.name"=~"$plugin"'
# Colors at which the alert PluginErrorRateHigh and the usual objectives are near.
ERROR_STEPS = ((0.01, "yellow"), (0.1, "red"))
SUCCESS_STEPS = ((0.9, "yellow"), (0.99, "green"))
BUDGET_STEPS = ((0, "orange"), (0.25, "yellow"), (0.5, "green"))
# What each pair of windows may burn before its alert: prometheus/rules.
BURN_STEPS = ((1, "yellow"), (6, "orange"), (14.4, "red"))


def error_ratio(by="", select=plugin, window=None):
    """Failures that the plugin or the host is to blame for, among all that the caller is not to blame for."""
    over = (lambda series: increase(series, window)) if window else rate
    bad = total(by, over(select("invocations_total", BAD)))
    all_of_them = total(by, over(select("invocations_total", JUDGED)))
    # A version or plugin without a series of failures has none, which is 0 and not nothing.
    return f"({bad} or 0 * {all_of_them}) / ({all_of_them} > 0)"


def budget_left(matchers):
    """What is left of 30 days. That rule has a value only every 2 minutes; before its first, what the last hour, which is
    then all there is, makes of it."""
    return f"(plugin_slo:spanglass_slo_budget_left:ratio30d{{{matchers}}} or 1 - plugin_slo:spanglass_slo_burn:rate1h{{{matchers}}})"


def circuit_state():
    """0 closed, 1 half-open, 2 open; of several runners, the worst."""
    is_open, half_open = (plugin("circuit_state", f'state="{state}"') for state in ("open", "half_open"))
    return f"max by (plugin) (2 * {is_open} or {half_open})"


def rate_by_outcome(width=12):
    return timeseries(
        "Calls by outcome",
        "Calls that ended, per second. *Dropped*: the caller left before the end.",
        "if failures rise, *Errors by kind* says which; if all of it falls to 0, look at who calls before the runner.",
        [query(total("outcome", rate(plugin("invocations_total"))), "{{outcome}}")],
        "reqps", width=width, stack=True, colors=OUTCOME_COLORS, runbook="plugin-error-rate-high",
    )  # fmt: skip


def errors_by_kind(width=12, select=plugin):
    failures = total("error_type, blame", rate(select("invocations_total", 'outcome!="replied"')))
    return timeseries(
        "Errors by kind",
        "Failed calls per second by kind of error and by whom it is to blame: plugin, host, or the caller.",
        "click a line for the page of that kind: what it means, what to do. The caller's mistakes are no errors of yours.",
        [query(f"{failures} > 0", "{{error_type}} ({{blame}})", empty="no call failed in the last minute")],
        "reqps", width=width, stack=True, data_links=[PAGE_OF_ERROR], runbook="plugin-error-rate-high",
    )  # fmt: skip


def latency_percentiles(width=12, select=plugin):
    duration = select("invocation_duration_seconds")
    return timeseries(
        "Latency: 50, 95 and 99 %",
        "How long calls took, from the call to its ending, of those that reached an attempt. The dots are single calls "
        "(exemplars): a click leads to the trace.",
        "click a dot on the upper line and see in its trace which step took the time; compare with *Queue wait*.",
        [
            query(quantile(0.5, "", duration), "50 %", exemplars=True),
            query(quantile(0.95, "", duration), "95 %", exemplars=True),
            query(quantile(0.99, "", duration), "99 %", exemplars=True),
        ],
        "s", width=width, runbook="plugin-latency-budget-burn",
    )  # fmt: skip


def latency_heatmap(width=12, select=plugin):
    return heatmap(
        "Latency heatmap",
        "Calls per second in each bucket of duration. The blue dots are single calls (exemplars), whose traces are kept: a click leads there.",
        "two bands are two kinds of calls (warm and cold, small and large inputs): click a dot in each and compare.",
        buckets(select("invocation_duration_seconds")),
        width=width,
        runbook="plugin-latency-budget-burn",
    )


def active_calls(width=8):
    return timeseries(
        "Calls that run",
        "Calls that have not ended, by plugin.",
        "a plateau is a limit of instances; a line that only rises is calls that hang: look for long traces of the plugin.",
        [query(total("plugin", plugin("active_invocations")), "{{plugin}}")],
        "short", width=width, data_links=[PLUGIN_OF_SERIES], runbook="plugin-overloaded",
    )  # fmt: skip


def queue_wait(width=8):
    return timeseries(
        "Queue wait, 95 %",
        "How long attempts waited for an instance, by plugin, before the plugin did anything. The line is the alert's: 1 s.",
        "raise `instances.max` of the plugin, or make it faster; see *Instances* for whether all of them are busy.",
        [query(quantile(0.95, "plugin", plugin("queue_wait_seconds")), "{{plugin}}")],
        "s", width=width, limits=[(1, "red")], data_links=[PLUGIN_OF_SERIES], runbook="plugin-queue-wait-high",
    )  # fmt: skip


def success_ratio(width=4):
    return stat(
        "Success ratio",
        "Share of calls that replied, of those that the caller is not to blame for, over the time range.",
        "*Plugins* says whose it is, *Errors by kind* why.",
        instant(f"1 - {error_ratio(window=RANGE)}"),
        "percentunit", width=width, base="red", steps=SUCCESS_STEPS, none="no calls", runbook="plugin-error-rate-high",
    )  # fmt: skip
