//! The tables of `calls.db`.

use rusqlite::{Connection, TransactionBehavior};

use crate::store::database::Schema;

pub(in crate::store) const SCHEMA: Schema = Schema {
    durable: true,
    steps: &[
        "
        -- Asynchronous calls. `place` orders the queue, whatever the clock says: a call that is put back goes
        -- to its end.
        CREATE TABLE calls (
            place INTEGER PRIMARY KEY AUTOINCREMENT,
            invocation_id BLOB NOT NULL UNIQUE,
            trace_id BLOB NOT NULL,
            root_span_id BLOB NOT NULL,
            parent_span_id BLOB,
            parent_flags INTEGER,
            tracestate TEXT,
            baggage TEXT,
            origin TEXT NOT NULL,
            plugin TEXT NOT NULL,
            version_asked TEXT,
            action TEXT NOT NULL,
            timeout_ns INTEGER,
            accepted_at_ns INTEGER NOT NULL,
            -- When it came or, once done, when it ended, by the clock of the file; for ages.
            since_ns INTEGER NOT NULL,
            state TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            deaths INTEGER NOT NULL DEFAULT 0,
            input_bytes INTEGER NOT NULL,
            output_bytes INTEGER NOT NULL DEFAULT 0,
            version TEXT,
            outcome TEXT,
            error_kind TEXT,
            error_message TEXT,
            exception_type TEXT,
            exception_traceback TEXT,
            duration_ns INTEGER,
            cold_start INTEGER,
            input TEXT NOT NULL,
            output TEXT
        ) STRICT;
        CREATE INDEX calls_queued ON calls (plugin, place) WHERE state = 'queued';
        CREATE INDEX calls_running ON calls (place) WHERE state = 'running';
        CREATE INDEX calls_done ON calls (since_ns, output_bytes) WHERE state = 'done';

        CREATE TABLE keys (
            tenant TEXT NOT NULL,
            plugin TEXT NOT NULL,
            action TEXT NOT NULL,
            key TEXT NOT NULL,
            -- SHA-256 of what was asked.
            request BLOB NOT NULL,
            invocation_id BLOB NOT NULL UNIQUE,
            -- An asynchronous call has its own row, and outlives the process.
            asynchronous INTEGER NOT NULL,
            since_ns INTEGER NOT NULL,
            output_bytes INTEGER NOT NULL DEFAULT 0,
            version TEXT,
            -- NULL as long as the call is under way.
            output TEXT,
            PRIMARY KEY (tenant, plugin, action, key)
        ) STRICT;
        CREATE INDEX keys_since ON keys (since_ns, output_bytes);
    ",
        "
        -- It goes on from the last that anything here has seen.
        CREATE TABLE clock (
            one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
            now_ns INTEGER NOT NULL
        ) STRICT;
        INSERT INTO clock SELECT 1, coalesce(max(since_ns), 0)
            FROM (SELECT since_ns FROM calls UNION ALL SELECT since_ns FROM keys);
    ",
    ],
};

/// Takes over the calls and keys of another file of this kind, attached as `other`, in place of those with the same
/// ids: for what waits there acknowledged must not be lost.
pub(in crate::store) fn keep(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Each file counts its places by itself.
    let columns: Vec<String> = {
        let mut names =
            transaction.prepare("SELECT name FROM pragma_table_info('calls') WHERE name <> 'place'")?;
        names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    let columns = columns.join(", ");
    transaction.execute_batch(&format!(
        "INSERT OR REPLACE INTO main.calls ({columns}) SELECT {columns} FROM other.calls ORDER BY place;
         INSERT OR REPLACE INTO main.keys SELECT * FROM other.keys;
         UPDATE main.clock SET now_ns = max(now_ns, (SELECT now_ns FROM other.clock));"
    ))?;
    transaction.commit()
}

/// What was running when its process ended without a word: it counts as an attempt, and as one death.
pub(super) const RECOVER: &str = "
    BEGIN IMMEDIATE;
    UPDATE calls SET state = 'queued', attempts = attempts + 1, deaths = deaths + 1 WHERE state = 'running';
    DELETE FROM keys WHERE output IS NULL AND NOT asynchronous;
    COMMIT;
";
