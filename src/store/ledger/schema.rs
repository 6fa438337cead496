//! The tables of `ledger.db`.

use crate::store::database::Schema;

/// Row ids of `invocations` and `operations` are the time of the start in ns (one more where that is taken):
/// each table is its own index by time. What lists show is apart from what only one call's page shows, so
/// that a list reads little. The spans of a call are one JSON text: one row per span took 1.8 times the
/// bytes, and half of the time that the whole call takes now (docs/data-folder.md has the numbers).
///
/// `logs.seq` is the order of arrival, which a follower reads by; a plugin's clock may say anything.
///
/// Since schema 2: `class` and `bytes` are what retention goes by, `preview` is what lists show and search of the
/// input; `cells` adds up the rows by plugin, class and ten minutes, in the same transactions as the rows
/// (`cells.rs`); `counts` and `seen` know every call, also those without a row (`tally.rs`); `blocks` says which lines
/// may hold a text (`grams.rs`). Old rows keep a NULL preview: the reader looks into their recording.
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
    ", "
        ALTER TABLE invocations ADD COLUMN class INTEGER NOT NULL DEFAULT 2;
        ALTER TABLE invocations ADD COLUMN bytes INTEGER NOT NULL DEFAULT 1500;
        ALTER TABLE invocations ADD COLUMN preview TEXT;
        UPDATE invocations SET class = 0 WHERE error_kind IN
            ('invalid_output', 'plugin_error', 'crashed', 'memory_exceeded', 'output_too_large', 'timeout',
             'unavailable', 'circuit_open', 'sandbox_violation', 'sandbox_unavailable', 'overloaded', 'internal');
        CREATE INDEX invocations_failed ON invocations (plugin, error_kind) WHERE error_kind IS NOT NULL;

        DROP INDEX logs_time;
        DROP INDEX logs_plugin;
        CREATE INDEX logs_time ON logs (unix_ns, severity);
        CREATE INDEX logs_plugin ON logs (plugin, unix_ns, severity) WHERE plugin IS NOT NULL;
        CREATE INDEX logs_failed ON logs (unix_ns) WHERE event_name = 'invocation.finished' AND severity >= 13;

        CREATE TABLE cells (
            plugin TEXT NOT NULL,
            class INTEGER NOT NULL,
            slot INTEGER NOT NULL,
            rows INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            passes INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (plugin, class, slot)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO cells (plugin, class, slot, rows, bytes)
            SELECT plugin, class, created_at_ns / 600000000000, count(*), sum(bytes) FROM invocations GROUP BY 1, 2, 3;
        INSERT INTO cells (plugin, class, slot, rows, bytes)
            SELECT coalesce(plugin, ''), iif(invocation_id IS NULL, 4, 3), unix_ns / 600000000000, count(*), 250 * count(*)
            FROM logs GROUP BY 1, 2, 3;
        INSERT INTO cells (plugin, class, slot, rows, bytes)
            SELECT '', 5, start_ns / 600000000000, count(*), 300 * count(*) FROM operations GROUP BY 3;

        CREATE TABLE counts (
            minute INTEGER NOT NULL,
            plugin TEXT NOT NULL,
            version TEXT NOT NULL,
            outcome TEXT NOT NULL,
            kind TEXT NOT NULL,
            calls INTEGER NOT NULL,
            first_ns INTEGER NOT NULL,
            last_ns INTEGER NOT NULL,
            PRIMARY KEY (minute, plugin, version, outcome, kind)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO counts
            SELECT (created_at_ns + duration_ns) / 3600000000000 * 60, plugin, coalesce(version, ''), outcome,
                   coalesce(error_kind, ''), count(*), min(created_at_ns + duration_ns), max(created_at_ns + duration_ns)
            FROM invocations GROUP BY 1, 2, 3, 4, 5;
        CREATE TABLE seen (
            plugin TEXT NOT NULL PRIMARY KEY,
            calls INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        INSERT INTO seen SELECT plugin, count(*) FROM invocations GROUP BY 1;
        CREATE TABLE facts (
            name TEXT NOT NULL PRIMARY KEY,
            value INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE blocks (
            last_seq INTEGER PRIMARY KEY,
            first_seq INTEGER NOT NULL,
            oldest_ns INTEGER NOT NULL,
            newest_ns INTEGER NOT NULL,
            severity_max INTEGER NOT NULL,
            grams BLOB NOT NULL
        ) STRICT;
    "],
};
