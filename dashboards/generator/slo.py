"""What was promised, how much of the error budget is left, how fast it burns. Rests on the recording rules of
prometheus/rules, so that a panel and the alert about it cannot differ."""

import links
from model import PLUGIN, SLO, dashboard, row
from panels import column, query, table, timeseries
from promql import increase, plugin, rate, total
from shared import BUDGET_STEPS, BURN_STEPS, budget_left

CHOSEN = 'plugin=~"$plugin",slo=~"$slo"'
# Each pair of windows of the alerts: long, short, from which burn on, and what happens then.
PAIRS = [("1h", "5m", 14.4, "page"), ("6h", "30m", 6, "page"), ("1d", "2h", 3, "ticket"), ("3d", "6h", 1, "ticket")]


def build():
    return dashboard(
        "spanglass-slo",
        "spanglass: SLO and error budget",
        "Objectives come from the plugins' manifests (`slo:`); a plugin without one is not here. Over 30 days the budget of an objective of 99.9 % is "
        "0.1 % of its events: a burn of 1 uses it up exactly.",
        [row("Budgets", _budgets(), height=9), row("Burn rates", *_burns()), row("Events", *_events())],
        variables=[PLUGIN, SLO],
        refresh="30s",
        hours="now-6h",
    )


def burn(window):
    return f"plugin_slo:spanglass_slo_burn:rate{window}{{{CHOSEN}}}"


def _slo(family, *matchers):
    return plugin(family, 'slo=~"$slo"', *matchers)


def _budgets():
    objective = f"max by (plugin, slo) ({_slo('slo_objective_ratio')})"
    bad = total("plugin, slo", increase(_slo("slo_events_total", 'result="bad"'), "1d"))
    # Columns meet by their labels; a recorded name must not be one of them.
    left = f"max by (plugin, slo) ({budget_left(CHOSEN)})"
    burns = {window: f"max by (plugin, slo) ({burn(window)})" for window in ("1h", "6h")}
    return table(
        "Budgets",
        "Each objective: what is promised, the share that was good, the budget that is left of 30 days, how fast it burns now, and how long it "
        "lasts at the pace of the last 6 hours.",
        "a burn above 14.4 or 6 has paged somebody. Below 0 the promise is broken: stop changes to the plugin, go back to the last good version.",
        {
            "plugin": {"link": links.PLUGIN_OF_ROW},
            "slo": {},
            "objective": {"query": column(objective), "unit": "percentunit"},
            "good, 1 day": {"query": column(f"1 - plugin_slo:spanglass_slo_errors:ratio_rate1d{{{CHOSEN}}}"), "unit": "percentunit"},
            "budget left": {"query": column(left), "unit": "percentunit", "base": "red", "steps": BUDGET_STEPS},
            "burn, 1 hour": {"query": column(burns["1h"]), "unit": "none", "steps": BURN_STEPS},
            "burn, 6 hours": {"query": column(burns["6h"]), "unit": "none", "steps": BURN_STEPS},
            "lasts": {
                "query": column(f"clamp_min({left}, 0) * 30 * 86400 / ({burns['6h']} > 0)", empty="nothing burns: the budget lasts for ever"),
                "unit": "s",
            },
            "bad events, 1 day": {"query": column(bad), "unit": "short"},
        },
        sort="burn, 1 hour",
        none="-",
        runbook="plugin-error-budget-burn-slow",
    )


def _burns():
    panels = []
    for long, short, limit, severity in PAIRS:
        panels.append(
            timeseries(
                f"Burn over {long} and {short}",
                f"How many times as fast as it may the budget is used up. Both windows above {limit:g} is a {severity}: the long one says that it "
                "matters, the short one that it still goes on.",
                "the plugin's dashboard: which kind of error, which version, since when.",
                [query(burn(long), f"{{{{plugin}}}} {{{{slo}}}}, {long}"), query(burn(short), f"{{{{plugin}}}} {{{{slo}}}}, {short}")],
                "none", width=12, limits=[(limit, "red")], data_links=[links.PLUGIN_OF_SERIES],
                runbook="plugin-error-budget-burn-fast" if severity == "page" else "plugin-error-budget-burn-slow",
            )  # fmt: skip
        )
    return panels


def _events():
    events = _slo("slo_events_total")
    bad = _slo("slo_events_total", 'result="bad"')
    return [
        timeseries(
            "Events by result",
            "What counts for the objectives, per second. Availability: replies are good, failures of plugin or host bad. Latency: in time or too late. "
            "The caller's mistakes count for neither.",
            "bad ones of *availability* are errors, of *latency* slow calls: see *Bad events by plugin*.",
            [query(total("slo, result", rate(events)), "{{slo}} {{result}}")],
            "ops", stack=True, runbook="plugin-error-budget-burn-fast",
        ),
        timeseries(
            "Bad events by plugin",
            "Bad events per second by plugin and objective.",
            "a plugin's name leads to its dashboard.",
            [query(total("plugin, slo", rate(bad)), "{{plugin}} {{slo}}")],
            "ops", data_links=[links.PLUGIN_OF_SERIES], runbook="plugin-error-budget-burn-fast",
        ),
        timeseries(
            "Budget left over time",
            "The share of the error budget of 30 days that is left. It comes back as bad events grow older than 30 days.",
            "a cliff is an incident, a slope something that has been wrong all the time.",
            [query(budget_left(CHOSEN), "{{plugin}} {{slo}}")],
            "percentunit", lowest=None, highest=1, limits=[(0, "red")], data_links=[links.PLUGIN_OF_SERIES],
            runbook="plugin-error-budget-burn-slow",
        ),
    ]  # fmt: skip
