//! The tables of `ledger.db`.

use crate::store::database::Schema;

/// Row ids of `invocations` and `operations` are the time of the start in ns (one more where that is taken):
/// each table is its own index by time. What lists show is apart from what only one call's page shows, so
/// that a list reads little. The spans of a call are one JSON text: one row per span took 1.8 times the
/// bytes, and half of the time that the whole call takes now (docs/data-folder.md has the numbers).
///
/// `logs.seq` is the order of arrival, which a follower reads by; a plugin's clock may say anything.
pub(in crate::store) const SCHEMA: Schema = Schema {
    durable: false,
    steps: &["
        CREATE TABLE invocations (
            created_at_ns INTEGER PRIMARY KEY,
            invocation_id BLOB NOT NULL,
            trace_id BLOB NOT NULL,
            root_span_id BLOB NOT NULL,
            trace_flags INTEGER NOT NULL,
            plugin TEXT NOT NULL,
            version TEXT,
            runtime TEXT,
            action TEXT NOT NULL,
            origin TEXT NOT NULL,
            outcome TEXT NOT NULL,
            error_kind TEXT,
            error_message TEXT,
            attempts INTEGER NOT NULL,
            cold_start INTEGER NOT NULL,
            duration_ns INTEGER NOT NULL,
            queue_ns INTEGER NOT NULL,
            prepare_ns INTEGER NOT NULL,
            cpu_ns INTEGER NOT NULL,
            memory_peak_bytes INTEGER NOT NULL,
            input_bytes INTEGER NOT NULL,
            output_bytes INTEGER NOT NULL,
            span_count INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX invocations_id ON invocations (invocation_id);
        CREATE INDEX invocations_trace ON invocations (trace_id);
        CREATE INDEX invocations_plugin ON invocations (plugin);
        CREATE INDEX invocations_outcome ON invocations (outcome) WHERE error_kind IS NOT NULL;
        CREATE INDEX invocations_kind ON invocations (error_kind) WHERE error_kind IS NOT NULL;

        CREATE TABLE recordings (
            created_at_ns INTEGER PRIMARY KEY,
            spans TEXT NOT NULL,
            tracestate TEXT,
            input TEXT,
            input_cut INTEGER NOT NULL,
            output TEXT,
            output_cut INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE operations (
            start_ns INTEGER PRIMARY KEY,
            trace_id BLOB NOT NULL,
            span TEXT NOT NULL
        ) STRICT;
        CREATE INDEX operations_trace ON operations (trace_id);

        CREATE TABLE logs (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            unix_ns INTEGER NOT NULL,
            severity INTEGER NOT NULL,
            stream TEXT NOT NULL,
            plugin TEXT,
            version TEXT,
            event_name TEXT,
            trace_id BLOB,
            span_id BLOB,
            invocation_id BLOB,
            body TEXT NOT NULL,
            fields TEXT,
            dropped_fields INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX logs_time ON logs (unix_ns);
        CREATE INDEX logs_plugin ON logs (plugin, unix_ns) WHERE plugin IS NOT NULL;
        CREATE INDEX logs_trace ON logs (trace_id) WHERE trace_id IS NOT NULL;
    "],
};
