//! Every name that leaves this process: metric families, labels, spans, attributes, events. Code, tests,
//! rules and dashboards use these and nothing else.

/// What kind of metric a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric family as it appears on `/metrics`.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// With the prefix `spanglass_`, and `_total` for counters.
    pub name: &'static str,
    pub kind: FamilyKind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub const $constant: Family = Family {
            name: concat!("spanglass_", $name),
            kind: FamilyKind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// Every family that this build can expose.
        pub const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    INVOCATIONS = Counter "invocations_total" ["plugin", "version", "action", "outcome", "error_type", "blame"]
        "Invocations by their ending; error_type and blame are none when it replied.";
    INVOCATION_DURATION = Histogram "invocation_duration_seconds" ["plugin", "version", "outcome"]
        "Time from the call to its ending, of calls that reached an attempt.";
    QUEUE_WAIT = Histogram "queue_wait_seconds" ["plugin"]
        "Time that an attempt waited for an instance.";
    PREPARE_DURATION = Histogram "prepare_duration_seconds" ["plugin"]
        "Time that preparing an instance took.";
    ATTEMPTS = Counter "attempts_total" ["plugin", "result"]
        "Attempts by their result.";
    COLD_STARTS = Counter "cold_starts_total" ["plugin"]
        "Invocations that had to wait for an instance to start.";
    ACTIVE_INVOCATIONS = Gauge "active_invocations" ["plugin"]
        "Invocations that have not ended.";
    QUEUED_INVOCATIONS = Gauge "queued_invocations" ["plugin"]
        "Asynchronous invocations that wait in the durable queue.";
    INSTANCES = Gauge "instances" ["plugin", "state"]
        "Live instances by state.";
    CIRCUIT_STATE = Gauge "circuit_state" ["plugin", "state"]
        "1 for the state that the circuit breaker is in, else 0.";
    PLUGIN_CPU = Counter "plugin_cpu_seconds_total" ["plugin", "version"]
        "CPU time that calls used.";
    PLUGIN_MEMORY_PEAK = Gauge "plugin_memory_peak_bytes" ["plugin", "version"]
        "Highest resident memory of a worker that a call reported.";
    PLUGIN_LOG_LINES = Counter "plugin_log_lines_total" ["plugin", "version", "stream"]
        "Log lines and records of plugins.";
    GUEST_DROPPED = Counter "guest_dropped_total" ["plugin", "what"]
        "Messages of plugins that a limit cut off.";
    LIFECYCLE_TRANSITIONS = Counter "lifecycle_transitions_total" ["plugin", "to"]
        "Lifecycle transitions of deployments by the state they led to.";
    INSTANCE_EXITS = Counter "instance_exits_total" ["plugin", "reason"]
        "Instances that ended, by reason.";
    PREPARE = Counter "prepare_total" ["plugin", "result"]
        "Preparations of an instance or its environment by result.";
    SLO_EVENTS = Counter "slo_events_total" ["plugin", "version", "slo", "result"]
        "Ended invocations that count for an objective of the version, good and bad ones.";
    SLO_OBJECTIVE = Gauge "slo_objective_ratio" ["plugin", "version", "slo"]
        "Share of good events that the version promises.";
    DRIFT_PSI = Gauge "drift_psi" ["plugin", "version", "field"]
        "Population stability index of a field's window against its baseline; absent while there are too few samples.";
    DRIFT_JS = Gauge "drift_js" ["plugin", "version", "field"]
        "Jensen-Shannon distance, base 2, of a field's window to its baseline; absent while there are too few samples.";
    DRIFT_PVALUE = Gauge "drift_pvalue" ["plugin", "version", "field"]
        "Smallest p-value of a field's tests, corrected for all tests of the version; absent while there are too few samples.";
    DRIFT_STATE = Gauge "drift_state" ["plugin", "version", "field"]
        "0 insufficient, 1 ok, 2 warn, 3 alert.";
    FIELD_NULL_RATIO = Gauge "field_null_ratio" ["plugin", "version", "field"]
        "Share of a field's window that is null or missing; absent while there are too few samples.";
    FIELD_NEW_CATEGORY_RATIO = Gauge "field_new_category_ratio" ["plugin", "version", "field"]
        "Share of a field's window that its baseline does not know; absent while there are too few samples.";
    DRIFT_WINDOW_SAMPLES = Gauge "drift_window_samples" ["plugin", "version"]
        "Calls in the window that is compared with the baseline.";
    DRIFT_BASELINE_TIMESTAMP = Gauge "drift_baseline_timestamp_seconds" ["plugin", "version"]
        "When the baseline was pinned, as Unix time; absent as long as there is none.";
    TELEMETRY_PRODUCED = Counter "telemetry_produced_total" ["signal"]
        "Records handed to the delivery of telemetry.";
    TELEMETRY_RECOVERED = Counter "telemetry_recovered_total" ["signal"]
        "Records found in the spool at the start.";
    TELEMETRY_EXPORTED = Counter "telemetry_exported_total" ["signal"]
        "Records that the collector accepted.";
    TELEMETRY_DROPPED = Counter "telemetry_dropped_total" ["signal", "reason"]
        "Records given up, by reason.";
    TELEMETRY_QUEUED = Gauge "telemetry_queued_records" ["signal"]
        "Records that wait in memory.";
    TELEMETRY_SPOOLED = Gauge "telemetry_spooled_records" ["signal"]
        "Records that wait on disk.";
    TELEMETRY_LAST_EXPORT = Gauge "telemetry_last_export_timestamp_seconds" ["signal"]
        "When the collector last accepted something, as Unix time; 0 if never.";
    TELEMETRY_SPOOL_BYTES = Gauge "telemetry_spool_bytes" ["signal"]
        "Size of the spool on disk.";
    LOG_LINES_DROPPED = Counter "log_lines_dropped_total" ["reason"]
        "JSON log lines that were not written.";
    SERIES_OVERFLOW = Counter "series_overflow_total" ["family"]
        "Label sets that were folded into _overflow because the family was full.";
    BUILD_INFO = Gauge "build_info" ["version"]
        "1, labelled with the version of this build.";
    CONFIG_LAST_RELOAD = Gauge "config_last_reload_successful" []
        "1 if the configuration was good when it was last loaded, else 0.";
    STORE_WRITABLE = Gauge "store_writable" []
        "1 if the store took the last write, else 0.";
    DATA_DIR_AVAILABLE = Gauge "data_dir_available_bytes" []
        "Free space of the file system that holds the data folder.";
    LEDGER_DROPPED = Counter "ledger_dropped_total" ["reason"]
        "Records that did not reach the ledger.";
}

/// Bounds of `invocation_duration_seconds` and the other duration histograms. Part of the contract: rules
/// and objectives name them.
pub const DURATION_BUCKETS: [f64; 19] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
];

/// Label value of what is not in the registry.
pub const OTHER: &str = "_other";
/// Label value of the series that takes what a full family refuses.
pub const OVERFLOW: &str = "_overflow";
/// `error_type` and `blame` of a reply.
pub const NONE: &str = "none";

/// Longest name of a plugin or version in a log record, when it comes from outside.
pub const PLUGIN_BYTES_MAX: usize = 128;

/// Name of the instrumentation scope.
pub const SCOPE: &str = "spanglass";

/// The isolation that calls have in this build.
pub const SANDBOX_TIER: &str = "S0";

/// Names of spans.
pub mod span {
    pub const INVOKE_PREFIX: &str = "invoke ";
    pub const VALIDATE_INPUT: &str = "validate_input";
    pub const ATTEMPT: &str = "attempt";
    pub const QUEUE: &str = "queue";
    pub const PREPARE: &str = "prepare";
    pub const EXECUTE: &str = "execute";
    pub const VALIDATE_OUTPUT: &str = "validate_output";
    /// `call {plugin}`: one plugin calls another.
    pub const CALL_PREFIX: &str = "call ";
    /// `kv {operation}`: a plugin reads or changes what it keeps.
    pub const KEY_VALUE_PREFIX: &str = "kv ";
}

/// Keys of attributes, on spans and log records alike.
pub mod attribute {
    pub const INVOCATION_ID: &str = "spanglass.invocation.id";
    pub const PLUGIN_NAME: &str = "spanglass.plugin.name";
    pub const PLUGIN_VERSION: &str = "spanglass.plugin.version";
    pub const PLUGIN_RUNTIME: &str = "spanglass.plugin.runtime";
    pub const ACTION: &str = "spanglass.action";
    pub const OUTCOME: &str = "spanglass.outcome";
    pub const ERROR_TYPE: &str = "error.type";
    pub const BLAME: &str = "spanglass.blame";
    pub const ATTEMPTS: &str = "spanglass.attempts";
    /// Which attempt an `attempt` span is, from 1.
    pub const ATTEMPT: &str = "spanglass.attempt";
    pub const COLD_START: &str = "spanglass.cold_start";
    pub const USAGE_CPU: &str = "spanglass.usage.cpu_seconds";
    pub const USAGE_MEMORY_PEAK: &str = "spanglass.usage.memory_peak_bytes";
    pub const INPUT_BYTES: &str = "spanglass.input.bytes";
    pub const OUTPUT_BYTES: &str = "spanglass.output.bytes";
    /// How long an asynchronous call lay in the durable queue.
    pub const ASYNC_QUEUE_MS: &str = "spanglass.async.queue_ms";
    /// The invocation whose reply a repeat under the same idempotency key got.
    pub const REPLAY_OF: &str = "spanglass.replay_of";
    pub const SANDBOX_TIER: &str = "spanglass.sandbox.tier";
    pub const SAMPLING_KEEP: &str = "sampling.keep";
    /// `spanglass.dropped.{what}`: how many messages of the plugin a limit cut off.
    pub const DROPPED_PREFIX: &str = "spanglass.dropped.";
    pub const INSTANCE_PID: &str = "process.pid";
    /// How an instance came to be: `fork` or `spawn`.
    pub const START_MODE: &str = "spanglass.start.mode";
    /// Why it was spawned although copies were wanted.
    pub const START_REASON: &str = "spanglass.start.reason";
    /// Which hook of a plugin a span is about.
    pub const HOOK: &str = "spanglass.hook";
    pub const METRIC_NAME: &str = "metric.name";
    pub const METRIC_VALUE: &str = "metric.value";
    pub const CODE_FILE: &str = "code.file.path";
    pub const CODE_LINE: &str = "code.line.number";
    pub const CODE_FUNCTION: &str = "code.function.name";
    pub const EXCEPTION_TYPE: &str = "exception.type";
    pub const EXCEPTION_MESSAGE: &str = "exception.message";
    pub const EXCEPTION_STACKTRACE: &str = "exception.stacktrace";
    /// Of a `call {plugin}` span: whom it called. The ids of the span itself are the caller's.
    pub const CALLEE_NAME: &str = "spanglass.callee.plugin.name";
    pub const CALLEE_VERSION: &str = "spanglass.callee.plugin.version";
    pub const CALLEE_ACTION: &str = "spanglass.callee.action";
    pub const CALLEE_INVOCATION_ID: &str = "spanglass.callee.invocation.id";
    /// Semantic conventions for databases: system, namespace (the plugin), operation, keys of an answer.
    pub const DB_SYSTEM: &str = "db.system.name";
    pub const DB_NAMESPACE: &str = "db.namespace";
    pub const DB_OPERATION: &str = "db.operation.name";
    pub const DB_RETURNED_ROWS: &str = "db.response.returned_rows";
    /// Share of failed tries at which a circuit opened.
    pub const FAILURE_RATIO: &str = "failure_ratio";
    /// Of an alert that was notified.
    pub const ALERT_NAME: &str = "alert.name";
    pub const ALERT_SEVERITY: &str = "alert.severity";
    pub const ALERT_FINGERPRINT: &str = "alert.fingerprint";
    pub const ALERT_SUMMARY: &str = "alert.summary";
    pub const ALERT_RUNBOOK_URL: &str = "alert.runbook_url";
    pub const ALERT_DASHBOARD_URL: &str = "alert.dashboard_url";
    pub const ALERT_STARTS_AT: &str = "alert.starts_at";
    pub const ALERT_ENDS_AT: &str = "alert.ends_at";
    /// Of drift: which field, what was found, against which baseline.
    pub const DRIFT_FIELD: &str = "drift.field";
    pub const DRIFT_PSI: &str = "drift.psi";
    pub const DRIFT_JS: &str = "drift.js";
    pub const DRIFT_PVALUE: &str = "drift.pvalue";
    pub const DRIFT_SUMMARY: &str = "drift.summary";
    pub const DRIFT_BASELINE_ID: &str = "drift.baseline.id";
    pub const DRIFT_BASELINE_SOURCE: &str = "drift.baseline.source";
    pub const DRIFT_BASELINE_CALLS: &str = "drift.baseline.calls";
    /// Calls that show it, separated by commas.
    pub const DRIFT_EXAMPLE_INVOCATIONS: &str = "drift.example.invocation_ids";
    pub const DRIFT_EXAMPLE_TRACES: &str = "drift.example.trace_ids";
    /// What a plugin may not set: it would speak in the host's name.
    pub const RESERVED_PREFIXES: &[&str] = &["spanglass.", "sampling."];
}

/// Keys of a log line and of an OTLP log record's attributes.
pub mod log {
    pub const TIMESTAMP: &str = "timestamp";
    pub const SEVERITY_TEXT: &str = "severity_text";
    pub const SEVERITY_NUMBER: &str = "severity_number";
    pub const BODY: &str = "body";
    pub const EVENT_NAME: &str = "event_name";
    pub const TRACE_ID: &str = "trace_id";
    pub const SPAN_ID: &str = "span_id";
    pub const INVOCATION_ID: &str = "invocation_id";
    pub const PLUGIN_NAME: &str = "plugin.name";
    pub const PLUGIN_VERSION: &str = "plugin.version";
    pub const STREAM: &str = "stream";
    pub const OUTCOME: &str = "outcome";
    pub const ERROR_TYPE: &str = "error.type";
    pub const DURATION_MS: &str = "duration_ms";
    pub const LOGGER: &str = "logger";
    pub const DROPPED_FIELDS: &str = "dropped_fields";
    pub const FIELD_PREFIX: &str = "field.";
    /// Keys that belong to the record itself; a plugin's field of that name goes out as `field.{name}`.
    pub const RESERVED: &[&str] = &[
        TIMESTAMP,
        SEVERITY_TEXT,
        SEVERITY_NUMBER,
        BODY,
        EVENT_NAME,
        TRACE_ID,
        SPAN_ID,
        INVOCATION_ID,
        PLUGIN_NAME,
        PLUGIN_VERSION,
        STREAM,
        OUTCOME,
        ERROR_TYPE,
        DURATION_MS,
        LOGGER,
        DROPPED_FIELDS,
    ];
}

/// Names of events.
pub mod event {
    pub const INVOCATION_FINISHED: &str = "invocation.finished";
    pub const INVOCATION_RETRIED: &str = "invocation.retried";
    pub const INVOCATION_QUEUED: &str = "invocation.queued";
    pub const INVOCATION_REQUEUED: &str = "invocation.requeued";
    pub const INVOCATION_POISONED: &str = "invocation.poisoned";
    pub const CALL_RESULTS_DROPPED: &str = "call_results.dropped";
    pub const EXCEPTION: &str = "exception";
    pub const METRIC: &str = "metric";
    pub const SERVER_STARTED: &str = "server.started";
    pub const SERVER_STOPPED: &str = "server.stopped";
    pub const PLUGIN_REGISTERED: &str = "plugin.registered";
    pub const PLUGIN_REGISTER_FAILED: &str = "plugin.register_failed";
    pub const PLUGIN_REMOVED: &str = "plugin.removed";
    pub const PLUGIN_ROLLED_BACK: &str = "plugin.rolled_back";
    pub const LOCK_FILE_UNREADABLE: &str = "lock_file.unreadable";
    pub const SECRETS_REFRESHED: &str = "secrets.refreshed";
    pub const FOLDER_UNREADABLE: &str = "folder.unreadable";
    pub const LIFECYCLE_CHANGED: &str = "lifecycle.changed";
    pub const INSTANCE_STARTED: &str = "instance.started";
    pub const INSTANCE_START_FAILED: &str = "instance.start_failed";
    pub const ENVIRONMENT_INSTALL_FAILED: &str = "environment.install_failed";
    pub const INSTANCE_EXITED: &str = "instance.exited";
    pub const INSTANCE_CRASH_LOOPING: &str = "instance.crash_looping";
    pub const FORK_SERVER_REFUSED: &str = "fork_server.refused";
    pub const HOOK_FAILED: &str = "hook.failed";
    pub const CIRCUIT_OPENED: &str = "circuit.opened";
    pub const CIRCUIT_HALF_OPENED: &str = "circuit.half_opened";
    pub const CIRCUIT_CLOSED: &str = "circuit.closed";
    pub const CONFIG_LOADED: &str = "config.loaded";
    pub const CONFIG_LOAD_FAILED: &str = "config.load_failed";
    pub const LEDGER_RECORDS_DROPPED: &str = "ledger.records_dropped";
    pub const STORE_WRITE_FAILED: &str = "store.write_failed";
    pub const STORE_RECOVERED: &str = "store.recovered";
    pub const SERIES_WRITE_FAILED: &str = "series.write_failed";
    pub const SERIES_RECOVERED: &str = "series.recovered";
    pub const TELEMETRY_DROPPED: &str = "telemetry.dropped";
    pub const TELEMETRY_EXPORT_FAILED: &str = "telemetry.export_failed";
    pub const TELEMETRY_EXPORT_RECOVERED: &str = "telemetry.export_recovered";
    pub const TELEMETRY_RECOVERED: &str = "telemetry.recovered";
    pub const TELEMETRY_SPOOL_DAMAGED: &str = "telemetry.spool_damaged";
    pub const TELEMETRY_SPOOL_FAILED: &str = "telemetry.spool_failed";
    pub const TELEMETRY_SPOOL_RECOVERED: &str = "telemetry.spool_recovered";
    pub const DRIFT_DETECTED: &str = "drift.detected";
    pub const DRIFT_WARNED: &str = "drift.warned";
    pub const DRIFT_RESOLVED: &str = "drift.resolved";
    pub const DRIFT_BASELINE_PINNED: &str = "drift.baseline_pinned";
    pub const DRIFT_SAVE_FAILED: &str = "drift.save_failed";
    pub const DRIFT_SAVE_RECOVERED: &str = "drift.save_recovered";
    pub const ALERT_FIRED: &str = "alert.fired";
    pub const ALERT_RESOLVED: &str = "alert.resolved";
    pub const ALERT_HEARTBEAT: &str = "alert.heartbeat";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_documented_and_named_by_the_rules() {
        let page = include_str!("../../docs/telemetry.md");
        for family in FAMILIES {
            let short = family.name.strip_prefix("spanglass_").unwrap();
            assert!(page.contains(&format!("`{short}`")), "{short} is missing in docs/telemetry.md");
            assert_eq!(family.kind == FamilyKind::Counter, family.name.ends_with("_total"), "{short}");
            assert!(family.help.ends_with('.'), "{short}");
        }
    }
}
