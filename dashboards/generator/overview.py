"""How are we doing: the first dashboard to open."""

import links
from model import PLUGIN, dashboard, row
from panels import CIRCUIT, GOOD_BAD, column, instant, stat, table
from promql import RANGE, increase, plugin, quantile, rate, runner, total
from shared import (
    BUDGET_STEPS, ERROR_STEPS, budget_left, circuit_state, error_ratio, errors_by_kind, latency_heatmap, latency_percentiles, rate_by_outcome, success_ratio,
)  # fmt: skip

OF_PLUGIN = 'plugin=~"$plugin"'
FIRING = 'ALERTS{alertstate="firing",service="spanglass",alertname!="Watchdog"}'


def build():
    return dashboard(
        "spanglass-overview",
        "spanglass: overview",
        "All plugins at a glance. A plugin's name leads to its dashboard, a dot in the latency panels to the trace of that call.",
        [row("Now", *_now(), height=4), row("Calls", *_calls()), row("Plugins", _plugins(), height=11), row("What is wrong", *_wrong())],
        variables=[PLUGIN],
    )


def _now():
    calls = plugin("invocations_total")
    duration = plugin("invocation_duration_seconds")
    return [
        success_ratio(),
        stat(
            "Worst error budget left",
            "Of all objectives of the chosen plugins over 30 days, the one with the least left: 100 % is untouched, below 0 is overdrawn.",
            "the dashboard *SLO* says which one, and how fast it burns.",
            instant(f"min({budget_left(OF_PLUGIN)})"),
            "percentunit", base="red", steps=BUDGET_STEPS, none="no objectives", decimals=1, runbook="plugin-error-budget-burn-slow",
        ),
        stat(
            "Calls per second",
            "Calls that ended, over the last minutes.",
            "0 is no traffic: is the caller there, does it reach the runner?",
            instant(total("", rate(calls, "5m"))), "reqps",
        ),
        stat(
            "Latency, 99 %",
            "One call in a hundred took longer than this, over the time range.",
            "*Latency heatmap* shows the calls, *Plugins* whose they are.",
            instant(quantile(0.99, "", duration, RANGE)), "s", none="no calls", runbook="plugin-latency-budget-burn",
        ),
        stat(
            "Calls that run",
            "Calls that have not ended.",
            "more than usual with the same rate means slower calls; the dashboard *Reliability* shows the queues.",
            instant(total("", plugin("active_invocations"))), "short", runbook="plugin-overloaded",
        ),
        stat(
            "Alerts that fire",
            "Without the watchdog, which always fires.",
            "the table below names them.",
            instant(f"count({FIRING}) or vector(0)"), "short", steps=[(1, "red")], base="green",
        ),
    ]  # fmt: skip


def _calls():
    return [rate_by_outcome(), latency_percentiles(), latency_heatmap(), errors_by_kind()]


def _plugins():
    per_second = total("plugin", rate(plugin("invocations_total"), "5m"))
    return table(
        "Plugins",
        "One line a plugin, over the last 5 minutes; the budget over 30 days. A plugin's name leads to its dashboard, with the same time range.",
        "the columns that are yellow or red; a circuit that is open refuses calls by itself.",
        {
            "plugin": {"link": links.PLUGIN_OF_ROW},
            "calls": {"query": column(per_second), "unit": "reqps"},
            "errors": {"query": column(error_ratio("plugin", window="5m")), "unit": "percentunit", "steps": ERROR_STEPS},
            "latency 99 %": {"query": column(quantile(0.99, "plugin", plugin("invocation_duration_seconds"), "5m")), "unit": "s"},
            "queue wait 95 %": {
                "query": column(quantile(0.95, "plugin", plugin("queue_wait_seconds"), "5m")),
                "unit": "s",
                "steps": [(0.25, "yellow"), (1, "red")],
            },
            "circuit": {"query": column(circuit_state()), "values": CIRCUIT},
            "budget left": {
                "query": column(f"min by (plugin) ({budget_left(OF_PLUGIN)})"),
                "unit": "percentunit",
                "base": "red",
                "steps": BUDGET_STEPS,
            },
        },
        sort="calls",
        runbook="plugin-error-rate-high",
    )


def _wrong():
    return [
        table(
            "Alerts",
            "Alerts of spanglass that fire now, without the watchdog.",
            "the alert itself carries the link to its runbook: it is in Alertmanager, in the message, and in `docs/runbooks`.",
            {
                "alertname": {},
                "severity": {},
                "plugin": {"link": links.PLUGIN_OF_ROW},
                "slo": {},
                "owner": {},
                "state": {
                    "query": column(f"max by (alertname, severity, plugin, slo, owner) ({FIRING})", empty="no alert fires"),
                    "values": {1: ("firing", "red")},
                },
            },
            width=12,
            none="no alert fires",
        ),
        table(
            "Runners",
            "Each runner: its version, whether it takes writes, whether its configuration could be loaded, the room on its disk.",
            "*writes* no: the data folder; *configuration* no: `spanglass config validate`.",
            {
                "instance": {},
                "version": {},
                "up": {"query": column(f"max by (instance, version) ({runner('build_info')})"), "values": GOOD_BAD},
                "writes": {"query": column(f"min by (instance) ({runner('store_writable')})"), "values": GOOD_BAD},
                "configuration": {"query": column(f"min by (instance) ({runner('config_last_reload_successful')})"), "values": GOOD_BAD},
                "disk left": {
                    "query": column(f"min by (instance) ({runner('data_dir_available_bytes')})"),
                    "unit": "bytes",
                    "base": "red",
                    "steps": [(2**30, "yellow"), (5 * 2**30, "green")],
                },
            },
            width=12,
            runbook="store-not-writable",
        ),
    ]
