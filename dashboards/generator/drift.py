"""The rows about drift: fields whose distribution is not that of their baseline."""

import links
from links import PLUGIN_OF_SERIES
from model import row
from panels import column, instant, logs, query, stat, table, timeline, timeseries
from promql import plugin

STATES = {0: ("insufficient", "text"), 1: ("ok", "green"), 2: ("warn", "yellow"), 3: ("alert", "red")}
FIELD = "plugin, version, field"
OF_FIELD = "{{plugin}} {{version}} {{field}}"
OF_VERSION = "{{plugin}} {{version}}"
# The usual bounds of manifests: `observe.min_effect` and `observe.alpha`.
EFFECT = [(0.1, "red")]
ALPHA = [(0.01, "red")]
NOT_JUDGED = "no field has enough samples to be judged yet"
DAY_S = 86_400


def rows():
    return [
        row("Drift", *_now(), height=4),
        row("Drift by field", _states(), _fields(), height=9),
        row("Drift over time", *_scores()),
        row("What drift is measured on", *_basis()),
    ]


def _worst(family, by=FIELD):
    """Of several runners."""
    return f"max by ({by}) ({plugin(family)})"


def _now():
    state = _worst("drift_state")
    return [
        stat(
            "Fields that have drifted",
            "Fields in the state *alert*: 2 of their last 3 windows differ from the baseline, neither by chance nor by little.",
            "*Fields* says which; `spanglass drift show` has what grew, and calls that show it.",
            instant(f"count({state} == 3) or vector(0)"), "short", width=6, steps=[(1, "red")], decimals=0, runbook="plugin-drift",
        ),
        stat(
            "Fields in a warning",
            "Fields whose last window differs from the baseline. The next ones decide.",
            "nothing, unless it stays so for long: the long window of `spanglass drift show` knows more.",
            instant(f"count({state} == 2) or vector(0)"), "short", width=6, steps=[(1, "yellow")], decimals=0, runbook="plugin-drift-warning",
        ),
        stat(
            "Fields that cannot be judged",
            "Fields without a baseline, or with too few calls in the window.",
            "as long as it is so nobody hears of a drift: wait for calls, or `spanglass drift baseline` with data that you have.",
            instant(f"count({state} == 0) or vector(0)"), "short", width=6, steps=[(1, "yellow")], decimals=0, runbook="drift-too-few-samples",
        ),
        stat(
            "Oldest baseline",
            "Age of the oldest baseline that a version is compared with.",
            "look whether it still is what the version is good for, then `spanglass drift baseline` pins a new one.",
            instant(f"time() - min({plugin('drift_baseline_timestamp_seconds')})", empty="no version has a baseline yet"),
            "s", width=6, steps=[(90 * DAY_S, "yellow")], none="none", decimals=0, runbook="drift-baseline-stale",
        ),
    ]  # fmt: skip


def _states():
    return timeline(
        "State of each field",
        "Whether a field is distributed as in its baseline. *Insufficient*: it has no baseline yet, or too few calls.",
        "red means two of three windows: the time at which it begins, and the annotations there, often say why.",
        [query(_worst("drift_state"), OF_FIELD)],
        STATES, data_links=[PLUGIN_OF_SERIES], runbook="plugin-drift",
    )  # fmt: skip


def _fields():
    share = {"unit": "percentunit"}
    return table(
        "Fields",
        "Each observed field now. Scores are missing, not 0, where a field cannot be judged.",
        "sort by PSI: the field that changed most is mostly the cause of the others.",
        {
            "plugin": {"link": links.PLUGIN_OF_ROW},
            "version": {},
            "field": {},
            "state": {"query": column(_worst("drift_state")), "values": STATES},
            "PSI": {"query": column(_worst("drift_psi"), empty=NOT_JUDGED), "steps": EFFECT},
            "JS distance": {"query": column(_worst("drift_js"), empty=NOT_JUDGED)},
            "p": {"query": column(f"min by ({FIELD}) ({plugin('drift_pvalue')})", empty=NOT_JUDGED), "unit": "sci"},
            "null": {"query": column(_worst("field_null_ratio"), empty=NOT_JUDGED), **share},
            "unknown": {"query": column(_worst("field_new_category_ratio"), empty=NOT_JUDGED), **share},
        },
        sort="PSI",
        runbook="plugin-drift",
    )


def _scores():
    def of_field(expr):
        return [query(expr, OF_FIELD, empty=NOT_JUDGED)]

    return [
        timeseries(
            "Population stability index",
            "How much a window differs from the baseline: 0 not at all. The line is the usual `min_effect`, 0.1.",
            "above the line it is no small change; *p-value* says whether it may be chance.",
            of_field(_worst("drift_psi")), "none", limits=EFFECT, data_links=[PLUGIN_OF_SERIES], runbook="plugin-drift",
        ),
        timeseries(
            "Jensen-Shannon distance",
            "The same, bounded: 0 equal, 1 nothing in common (base 2). Comparable between fields.",
            "a field near 1 shares nothing with its baseline: another unit, another format.",
            of_field(_worst("drift_js")), "none", highest=1, data_links=[PLUGIN_OF_SERIES], runbook="plugin-drift",
        ),
        timeseries(
            "p-value",
            "How often chance alone makes such a difference, corrected for all tests of the version. The line is the usual `alpha`, 0.01.",
            "below the line it is not chance; whether it is much, *Population stability index* says.",
            of_field(f"min by ({FIELD}) ({plugin('drift_pvalue')})"), "sci", limits=ALPHA, log=True, data_links=[PLUGIN_OF_SERIES], runbook="plugin-drift",
        ),
        timeseries(
            "Null or missing",
            "Share of a field's window that is null or missing.",
            "a step: a caller leaves it out from then on. The example calls of `spanglass drift show` say who.",
            of_field(_worst("field_null_ratio")), "percentunit", highest=1, data_links=[PLUGIN_OF_SERIES], runbook="plugin-null-rate-spike",
        ),
        timeseries(
            "Unknown categories",
            "Share of a field's window that its baseline does not know: a new country, another spelling.",
            "look at example calls with `spanglass drift show`: values are never metrics.",
            of_field(_worst("field_new_category_ratio")), "percentunit", highest=1, data_links=[PLUGIN_OF_SERIES], runbook="plugin-new-categories",
        ),
        timeseries(
            "p-value, smallest of each version",
            "One line a version: whether anything in it is more than chance.",
            "one version alone: look for what came with it. All at once: something that they share.",
            [query(f"min by (plugin, version) ({plugin('drift_pvalue')})", OF_VERSION, empty=NOT_JUDGED)],
            "sci", limits=ALPHA, log=True, data_links=[PLUGIN_OF_SERIES], runbook="drift-alert-budget",
        ),
    ]  # fmt: skip


def _basis():
    baseline = f"time() - max by (plugin, version) ({plugin('drift_baseline_timestamp_seconds')})"
    return [
        timeseries(
            "Calls in the window",
            "Calls that are compared with the baseline: it fills once, then slides.",
            "it stays low: few calls, or they fail. A fall to 0 is a new baseline or a new version.",
            [query(f"min by (plugin, version) ({plugin('drift_window_samples')})", OF_VERSION)],
            "short", data_links=[PLUGIN_OF_SERIES], runbook="drift-too-few-samples",
        ),
        timeseries(
            "Age of baselines",
            "How long ago the baseline of each version was pinned.",
            "a fall is a new baseline: somebody decided that the calls are right as they are. The log beside it has which.",
            [query(baseline, OF_VERSION, empty="no version has a baseline yet")],
            "s", data_links=[PLUGIN_OF_SERIES], runbook="drift-baseline-stale",
        ),
        logs(
            "Drift and baselines",
            "What was detected, resolved and pinned, with the ids of calls that show it.",
            "`spanglass drift events` shows the same without Loki.",
            '{service_name="spanglass"} | event_name=~"drift[.]detected|drift[.]resolved|drift[.]baseline_pinned" | plugin_name=~"$plugin"', width=8,
        ),
    ]  # fmt: skip
