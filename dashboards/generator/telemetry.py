"""Can the other dashboards be believed? Whether anything is lost between a call and its trace, log line or number."""

from model import dashboard, row
from panels import GOOD_BAD, column, query, table, timeline, timeseries
from promql import rate, runner, total


def build():
    return dashboard(
        "spanglass-telemetry",
        "spanglass: telemetry",
        "The accounting of traces, logs and metrics, the collector's queues, calls without spans, and the runner's own files. Numbers about plugins come "
        "from /metrics alone and stay right even if all of this is red.",
        [
            row("Accounting", *_accounting()),
            row("Delivery", *_delivery()),
            row("Collector", *_collector()),
            row("Cross-checks", *_checks()),
            row("The runner's own files", *_files()),
        ],
    )


# What came, and what became of it. Each has the label `signal`.
CAME = ("produced_total", "recovered_total")
WENT = ("exported_total", "queued_records", "spooled_records", "dropped_total")


def _term(name):
    return total("signal", runner(f"telemetry_{name}"))


def _difference():
    came = " + ".join(_term(name) for name in CAME)
    went = " - ".join(_term(name) for name in WENT)
    return f"{came} - {went}"


def _accounting():
    columns = {"signal": {}}
    for name in (*CAME, *WENT):
        columns[name.split("_")[0]] = {"query": column(_term(name)), "unit": "locale"}
    columns["dropped"] |= {"steps": [(1, "red")]}
    columns["difference"] = {"query": column(_difference()), "unit": "locale", "base": "red", "steps": [(0, "green"), (1, "red")]}
    return [
        table(
            "Where records went",
            "Since the runner started: produced + recovered = exported + queued + spooled + dropped, at every scrape. *Recovered* were in the spool from "
            "before.",
            "a difference other than 0 is a defect of spanglass: report it. *Dropped* are lost for good: see their reasons.",
            columns,
            width=16,
            runbook="telemetry-dropped",
        ),
        timeseries(
            "Difference (must be 0)",
            "produced + recovered - exported - queued - spooled - dropped, by signal.",
            "anything but 0 is a defect of spanglass: keep the data folder and report it.",
            [query(_difference(), "{{signal}}")],
            "short", lowest=None, limits=[(1, "red")], runbook="telemetry-dropped",
        ),
    ]  # fmt: skip


def _delivery():
    exported = runner("telemetry_last_export_timestamp_seconds")
    dropped = total("signal, reason", rate(runner("telemetry_dropped_total", 'reason!="superseded"')))
    return [
        timeseries(
            "Records",
            "Records per second that were produced, and that the collector took.",
            "a gap between the two lines is what piles up: see *Waiting*.",
            [
                query(total("signal", rate(runner("telemetry_produced_total"))), "{{signal}} produced"),
                query(total("signal", rate(runner("telemetry_exported_total"))), "{{signal}} exported"),
            ],
            "cps", runbook="telemetry-spool-growing",
        ),
        timeseries(
            "Waiting",
            "Records in memory and on disk. On disk is up to one batch a signal in health, because the spool is written ahead.",
            "growing means that the collector does not take them: is it up, does it answer? Nothing is lost before the spool is full.",
            [
                query(_term("queued_records"), "{{signal}} in memory"),
                query(_term("spooled_records"), "{{signal}} on disk"),
            ],
            "short", limits=[(20000, "red")], runbook="telemetry-spool-growing",
        ),
        timeseries(
            "Spool",
            "Size of the spool on disk, by signal.",
            "a signal may have half of `telemetry.spool.max` (512 MiB by default); beyond it its oldest records are dropped, and counted.",
            [query(_term("spool_bytes"), "{{signal}}")],
            "bytes", runbook="telemetry-spool-growing",
        ),
        timeseries(
            "Drops by reason",
            "Records per second that were given up, by reason. Superseded metrics are not lost: a newer value took their place.",
            "*queue_full*: bursts; *spool_full*, *expired*: the collector was away too long; *rejected*, *refused*: its log says why.",
            [query(dropped, "{{signal}} {{reason}}")],
            "cps", runbook="telemetry-dropped",
        ),
        timeseries(
            "Age of the last export",
            "How long ago the collector last took something, by signal. Not shown before the first time.",
            "minutes, with traffic: the collector is away or refuses; the log has `telemetry.export_failed`.",
            [query(f"time() - max by (signal) ({exported} > 0)", "{{signal}}")],
            "s", limits=[(60, "red")], runbook="collector-down",
        ),
        timeseries(
            "Lines and rows that were left out",
            "JSON log lines that could not be written, and calls that did not reach the ledger, per second.",
            "log: whoever reads the runner's output does not keep up. Ledger: the disk is too slow or full.",
            [
                query(total("reason", rate(runner("log_lines_dropped_total"))), "log: {{reason}}",
                      empty="the series appears with the first line that is left out"),
                query(total("reason", rate(runner("ledger_dropped_total"))), "ledger: {{reason}}"),
            ],
            "cps", runbook="log-lines-dropped",
        ),
    ]  # fmt: skip


def _collector():
    def pair(name, by, legend, empty=None):
        """Spans and log records of one of the collector's counters."""
        return [
            query(total(by, rate(f"otelcol_{name}_{what}_total")), f"{short} {legend}", empty=empty)
            for what, short in (("spans", "spans"), ("log_records", "logs"))
        ]

    queue = "sum by (exporter, data_type) (otelcol_exporter_queue_size) / (sum by (exporter, data_type) (otelcol_exporter_queue_capacity) > 0)"

    def sampled(name, by, *matchers):
        return total(by, f"rate(otelcol_processor_tail_sampling_{name}_total{{{','.join(matchers)}}}[$__rate_interval])")

    return [
        timeseries(
            "Collector: taken and refused",
            "Records per second that the collector took from the runner, and that it refused for want of memory.",
            "refused ones wait in the runner's spool: give the collector more memory, or see what is behind it.",
            pair("receiver_accepted", "receiver", "taken") + pair("receiver_refused", "receiver", "refused"),
            "cps", runbook="collector-down",
        ),
        timeseries(
            "Collector: sent and failed",
            "Records per second by exporter: sent on, given up because the other side refused them, or because the queue was full.",
            "*failed* and *not queued* are lost behind that exporter: is it up, does it have room? The collector's log has the answer it got.",
            pair("exporter_sent", "exporter", "sent, {{exporter}}")
            + pair("exporter_send_failed", "exporter", "failed, {{exporter}}")
            + pair("exporter_enqueue_failed", "exporter", "not queued, {{exporter}}",
                   "the series appears with the first record that found the queue full"),
            "cps", runbook="collector-drops-telemetry",
        ),
        timeseries(
            "Collector: how full its queues are",
            "By exporter and signal. From 80 % on it is an alert.",
            "what is behind the exporter takes nothing, or too little. The queue is on disk: a restart of the collector does not lose it.",
            [query(queue, "{{exporter}} {{data_type}}")],
            "percentunit", highest=1, limits=[(0.8, "red")], runbook="collector-queue-near-full",
        ),
        timeseries(
            "Tail sampling: traces by policy",
            "Traces per second that each policy would keep. Errors, slow calls and exemplars are all kept, of the rest a part.",
            "a policy that never keeps anything while there are errors: `otel-collector/tail-sampling.yaml`.",
            [query(sampled("count_traces_sampled", "policy", 'decision="sampled"'), "{{policy}}")],
            "cps", runbook="calls-without-spans",
        ),
        timeseries(
            "Tail sampling: decisions",
            "Traces per second that were kept and left out, and those given up before a decision because too many waited.",
            "*given up* (only without `block_on_overflow`): raise `COLLECTOR_SAMPLING_TRACES`, or shorten `COLLECTOR_DECISION_WAIT`.",
            [
                query(sampled("global_count_traces_sampled", "decision"), "{{decision}}"),
                query(sampled("sampling_trace_dropped_too_early", ""), "given up"),
            ],
            "cps", runbook="calls-without-spans",
        ),
        timeseries(
            "Collector: memory",
            "Resident memory of the collector.",
            "near its limit it refuses what comes (`memory_limiter`); the runner keeps it.",
            [query("max by (instance) (otelcol_process_memory_rss_bytes)", "{{instance}}")],
            "bytes", runbook="collector-down",
        ),
    ]  # fmt: skip


def _checks():
    calls, seen = "spanglass:invocations:increase30m", "spanglass:invocations_with_spans:increase30m"
    roots = 'sum(rate(traces_span_metrics_calls_total{span_name=~"invoke .+"}[$__rate_interval]))'
    exemplars = "rate(prometheus_tsdb_exemplar_exemplars_appended_total[$__rate_interval])"
    return [
        timeseries(
            "Calls without spans",
            "Share of the calls of 30 minutes that the collector saw no root span of; what the runner still holds does not count. From 1 % on it is an alert.",
            "spans are lost where nobody counts them: compare *Records* with *Collector: taken and refused*.",
            [query(f"clamp_min(({calls} - {seen}) / ({calls} > 0), 0)", "without spans")],
            "percentunit", width=6, limits=[(0.01, "red")], runbook="calls-without-spans",
        ),
        timeseries(
            "Calls and root spans",
            "Calls per second by the runner's counter and by the spans that the collector counted. The second comes a little later.",
            "lines that stay apart: see *Calls without spans*.",
            [query(total("", rate(runner("invocations_total"))), "calls"), query(roots, "root spans")],
            "reqps", width=6, runbook="calls-without-spans",
        ),
        timeseries(
            "Exemplars",
            "Exemplars per second that Prometheus stored: the dots in the latency panels.",
            "0 with traffic: Prometheus runs without `--enable-feature=exemplar-storage`, or scrapes the classic text.",
            [query(f"sum({exemplars})", "stored")],
            "ops", width=6,
        ),
        timeseries(
            "Label sets that found no room",
            "Label sets per second that a full family (2,000) folded into `_overflow`, by family.",
            "numbers of single plugins are no longer right: fewer plugins, versions or actions, or a restart after many were removed.",
            [query(f"{total('family', rate(runner('series_overflow_total')))} > 0", "{{family}}", empty="no family is full")],
            "cps", width=6, runbook="series-overflow",
        ),
    ]  # fmt: skip


def _files():
    return [
        timeline(
            "What can be scraped",
            "Each target of Prometheus: whether its last scrape worked.",
            "without the runner nothing here is current; without the collector traces and logs wait in the spool.",
            [query('max by (job, instance) (up)', "{{job}} {{instance}}")],
            GOOD_BAD, width=8, runbook="runner-absent",
        ),
        timeline(
            "Store and configuration",
            "Whether the store took the last write, and whether the configuration was good when it was last loaded.",
            "store: is the disk full or read-only? Configuration: `spanglass config validate`; the old one stays in force.",
            [
                query(f"min by (instance) ({runner('store_writable')})", "{{instance}} takes writes"),
                query(f"min by (instance) ({runner('config_last_reload_successful')})", "{{instance}} configuration is good"),
            ],
            GOOD_BAD, width=8, runbook="store-not-writable",
        ),
        timeseries(
            "Room on the disk of the data folder",
            "Free space, by runner. Below 1 GiB it is an alert.",
            "remove old backups or versions, shorten `telemetry.spool.max`, or enlarge the disk.",
            [query(f"min by (instance) ({runner('data_dir_available_bytes')})", "{{instance}}")],
            "bytes", limits=[(2**30, "red")], runbook="data-disk-space-low",
        ),
    ]  # fmt: skip
