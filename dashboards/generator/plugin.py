"""One plugin, from its calls down to its processes and its log."""

import links
from model import PLUGIN, VERSION, dashboard, row
from panels import OUTCOME_COLORS, column, logql_metrics, logs, query, table, timeseries, traceql_metrics, traces
from promql import count_of, plugin, quantile, rate, sum_of, total, version
from shared import ERROR_STEPS, ROOT_SPANS, active_calls, error_ratio, errors_by_kind, latency_heatmap, latency_percentiles

LOGS = '{service_name="spanglass"} | plugin_name=~"$plugin"'


def build():
    return dashboard(
        "spanglass-plugin",
        "spanglass: plugin",
        "One plugin in detail: calls, time, starts, retries, resources, its versions side by side, its traces and its log.",
        [
            row("Calls", *_calls()),
            row("Latency", *_latency()),
            row("Versions side by side", *_versions(), height=7),
            row("Where the time goes", *_time()),
            row("Starts and attempts", *_starts()),
            row("Resources and output", *_resources()),
            row("Traces and log", *_evidence(), height=10),
        ],
        variables=[PLUGIN, VERSION],
    )


def _calls():
    calls = version("invocations_total")
    return [
        timeseries(
            "Calls by outcome",
            "Calls that ended, per second. *Dropped*: the caller left before the end.",
            "*Errors by kind* says why; *Versions* whether it is the new one's: then `spanglass plugin rollback`.",
            [query(total("outcome", rate(calls)), "{{outcome}}")],
            "reqps", stack=True, colors=OUTCOME_COLORS, runbook="plugin-error-rate-high",
        ),
        errors_by_kind(8, version),
        timeseries(
            "Error ratio by version",
            "Failures that plugin or host are to blame for, among calls that the caller is not to blame for. The line is the alert's: 10 %.",
            "if only the newer version is above, `spanglass plugin rollback`; if both are, what they depend on.",
            [query(error_ratio("version", version), "{{version}}")],
            "percentunit", highest=1, limits=[(0.1, "red")], runbook="plugin-error-rate-high",
        ),
    ]  # fmt: skip


def _latency():
    return [latency_heatmap(12, version), latency_percentiles(12, version)]


def _versions():
    per_second = total("plugin, version", rate(version("invocations_total"), "5m"))
    duration = version("invocation_duration_seconds")
    cpu = total("plugin, version", rate(version("plugin_cpu_seconds_total"), "5m"))
    finished = total("plugin, version", rate(count_of(duration), "5m"))
    return [
        table(
            "Versions",
            "Each version over the last 5 minutes: what it is asked, how it does, what it costs.",
            "compare a new version with the one before it before it gets all traffic; go back with `spanglass plugin rollback`.",
            {
                "plugin": {},
                "version": {},
                "calls": {"query": column(per_second), "unit": "reqps"},
                "errors": {
                    "query": column(error_ratio("plugin, version", version, "5m")),
                    "unit": "percentunit",
                    "steps": ERROR_STEPS,
                },
                "50 %": {"query": column(quantile(0.5, "plugin, version", duration, "5m")), "unit": "s"},
                "95 %": {"query": column(quantile(0.95, "plugin, version", duration, "5m")), "unit": "s"},
                "99 %": {"query": column(quantile(0.99, "plugin, version", duration, "5m")), "unit": "s"},
                "CPU a call": {"query": column(f"{cpu} / ({finished} > 0)"), "unit": "s"},
                "memory peak": {"query": column(f"max by (plugin, version) ({version('plugin_memory_peak_bytes')})"), "unit": "bytes"},
            },
            width=16,
            sort="calls",
        ),
        timeseries(
            "Latency by version, 95 %",
            "One call in twenty took longer than this, by version.",
            "a new version that is slower than the old one under the same traffic: `spanglass plugin rollback`.",
            [query(quantile(0.95, "plugin, version", duration), "{{plugin}} {{version}}", exemplars=True)],
            "s", runbook="plugin-latency-budget-burn",
        ),
    ]  # fmt: skip


def _time():
    steps = '{spanglass_plugin_name=~"$plugin"}'
    seconds = f"sum by (span_name) (rate(traces_span_metrics_duration_seconds_sum{steps}[$__rate_interval]))"
    spans = f"sum by (span_name) (rate(traces_span_metrics_duration_seconds_count{steps}[$__rate_interval]))"
    return [
        timeseries(
            "Mean time of each step",
            "From the spans, counted by the collector before it samples: validation, queue, prepare, execute, and the plugin's own spans.",
            "the step whose line rises with the latency; `execute` is the plugin's own code, and its spans are what is inside.",
            [query(f"{seconds} / ({spans} > 0)", "{{span_name}}")],
            "s", log=True, runbook="plugin-latency-budget-burn",
        ),
        timeseries(
            "Seconds in each step",
            "Seconds per second that all calls together spend in a step: what a change there would gain. Steps lie inside each other.",
            "begin with the largest that has nothing inside.",
            [query(seconds, "{{span_name}}")],
            "s", runbook="plugin-latency-budget-burn",
        ),
        timeseries(
            "Queue wait",
            "How long attempts waited for an instance. The line is the alert's: 1 s.",
            "raise `instances.max`, or make the plugin faster; see *Instances*.",
            [
                query(quantile(share, "", plugin("queue_wait_seconds")), f"{int(share * 100)} %")
                for share in (0.5, 0.95, 0.99)
            ],
            "s", limits=[(1, "red")], runbook="plugin-queue-wait-high",
        ),
    ]  # fmt: skip


def _starts():
    cold = total("", rate(plugin("cold_starts_total")))
    calls = total("", rate(plugin("attempts_total")))
    attempts = total("result", rate(plugin("attempts_total")))
    ended = total("", rate(count_of(plugin("invocation_duration_seconds"))))
    prepare = plugin("prepare_duration_seconds")
    return [
        timeseries(
            "Cold starts",
            "Share of attempts that had to wait for an instance to start.",
            "raise `instances.min`, so that some are always there, or the time after which idle ones are stopped.",
            [query(f"{cold} / ({calls} > 0)", "cold")],
            "percentunit", width=6, highest=1,
        ),
        timeseries(
            "Time of a start",
            "How long it takes until a new instance can be called: process, imports, the plugin's `on_start`.",
            "move work out of the import and `on_start`; a copy of a loaded process (`start: auto`, where that can be) takes milliseconds.",
            [query(f"{quantile(0.95, '', prepare)} >= 0", "95 %", empty="no instance was started in the last minute"),
             query(f"{total('', rate(sum_of(prepare)))} / ({total('', rate(count_of(prepare)))} > 0)", "mean",
                   empty="no instance was started in the last minute")],
            "s", width=6, runbook="plugin-crash-looping",
        ),
        timeseries(
            "Starts by result",
            "Instances and environments that were made ready, per second, or could not be.",
            "*failed*: the plugin's log says why it did not start; *install_failed*: its requirements cannot be installed here.",
            [query(total("plugin, result", rate(plugin("prepare_total"))), "{{plugin}} {{result}}")],
            "ops", width=6, runbook="plugin-install-failed",
        ),
        timeseries(
            "Instances",
            "Processes of the plugin by what they do.",
            "all busy, and calls wait: raise `instances.max`. Starting for long: see *Time of a start*.",
            [query(total("state", plugin("instances")), "{{state}}")],
            "short", width=6, stack=True, runbook="plugin-queue-wait-high",
        ),
        timeseries(
            "Attempts by result",
            "Tries per second. A call is tried again only if its failure and its settings allow it.",
            "*failed* attempts of calls that replied in the end are hidden failures: look for `retried` in traces.",
            [query(attempts, "{{result}}")],
            "ops", stack=True, colors=OUTCOME_COLORS, runbook="plugin-error-rate-high",
        ),
        timeseries(
            "Attempts a call",
            "1 is no retries at all; more is load that retries add.",
            "near the `retry.max_attempts` of the manifest everything fails every time: lower it, or let the circuit open.",
            [query(f"{calls} / ({ended} > 0)", "attempts")],
            "short", lowest=1, runbook="plugin-error-rate-high",
        ),
        timeseries(
            "Exits by reason",
            "Instances that ended, per second. *idle*, *stopped* and *recycled* are as it should be.",
            "*crashed* and *start_failed*: the plugin's log; *memory_exceeded*: raise `limits.memory` or use less; *timeout*: calls were cut off.",
            [query(f"{total('plugin, reason', rate(plugin('instance_exits_total')))} > 0", "{{plugin}} {{reason}}",
                   empty="no instance ended in the last minute")],
            "ops", runbook="plugin-crash-looping",
        ),
    ]  # fmt: skip


def _resources():
    return [
        timeseries(
            "CPU",
            "Cores that the calls of each version use: seconds of CPU per second.",
            "a version that uses more for the same calls; at one core a Python worker is busy all the time.",
            [query(total("plugin, version", rate(version("plugin_cpu_seconds_total"))), "{{plugin}} {{version}}")],
            "none", width=6,
        ),
        timeseries(
            "Memory peak",
            "The highest resident memory of a worker so far, by version.",
            "steps that never end are a leak: set `limits.memory`, which recycles the worker, and look at what the plugin keeps.",
            [query(f"max by (plugin, version) ({version('plugin_memory_peak_bytes')})", "{{plugin}} {{version}}")],
            "bytes", width=6,
        ),
        timeseries(
            "Log lines",
            "Lines and records per second that the plugin wrote, by where: `sdk` is `ctx.log` and the language's logging.",
            "a flood costs CPU and room in Loki, and above 10,000 lines a call is cut off: log less, or at a lower level.",
            [query(total("stream", rate(version("plugin_log_lines_total"))), "{{stream}}")],
            "cps", width=6, stack=True,
        ),
        active_calls(6),
    ]  # fmt: skip


def _evidence():
    by_status = timeseries(
        "Calls by status, from traces",
        "Root spans per second in Tempo, after sampling: errors and slow calls are all there, ordinary ones in part.",
        "use it to find the time at which something began; numbers are in the panels above.",
        [traceql_metrics(f"{{ {ROOT_SPANS} }} | rate() by (status)")],
        "ops", width=12, stack=True,
    )  # fmt: skip
    volume = timeseries(
        "Log records by severity",
        "Records of the plugin's calls in Loki.",
        "errors without failed calls are handled inside the plugin: read them below.",
        [logql_metrics(f"sum by (severity_text) (count_over_time({LOGS} [$__auto]))", "{{severity_text}}")],
        "short", width=12, bars=True, stack=True,
    )  # fmt: skip
    return [
        by_status,
        volume,
        traces(
            "Failed or slow calls",
            "Traces of calls that failed or took longer than 500 ms. The id leads to the invocation.",
            "open one of each kind, and see the step that took the time or failed.",
            f"{{ {ROOT_SPANS} && (status=error || duration>500ms) }}",
        ),
        logs(
            "Warnings and errors",
            "What the host and the plugin said about its calls, at WARN and above. A line's trace_id leads to its trace.",
            "`spanglass logs` shows the same without Loki.",
            f'{LOGS} | severity_text=~"WARN.*|ERROR.*|FATAL.*"',
        ),
    ]
