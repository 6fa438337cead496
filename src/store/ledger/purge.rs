//! Deletes what was kept of a plugin, of a trace or from before a time, so that it is not in the file's bytes either:
//! the file is rewritten as a whole, its journal emptied.

use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, TransactionBehavior, params_from_iter};
use serde::Serialize;

use crate::model::ids::{InvocationId, TraceId};
use crate::store::error::Error;

use super::blocks;
use super::cells::{CALL_GONE, Changes, LINE_GONE, OPERATION_GONE};
use super::conditions::{Conditions, containing};
use super::grams::Grams;
use super::invocations::invocation_id;

/// Rows that one transaction deletes.
const STEP_ROWS: i64 = 2_000;
/// How long what was recorded before is waited for.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// How often the journal is tried to be emptied, each time for the busy timeout.
const EMPTY_TRIES: u32 = 3;

/// What is to be deleted: what fits all that is given. Whoever gives nothing means everything, which is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeFilter {
    pub plugin: Option<String>,
    pub trace_id: Option<TraceId>,
    /// Nanoseconds since 1970; what began before.
    pub before_ns: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    pub invocations: u64,
    pub operations: u64,
    pub logs: u64,
    /// Calls of the trace that was asked for.
    #[serde(skip)]
    pub(in crate::store) of_trace: Vec<InvocationId>,
}

/// Blocks for as long as it takes to rewrite the file.
pub(super) fn purge(connection: &mut Connection, filter: &PurgeFilter) -> rusqlite::Result<Purged> {
    let on = |connection: &Connection, on: bool| {
        connection.pragma_update_and_check(None, "secure_delete", on, |_| Ok(()))
    };
    on(connection, true)?;
    let purged = delete_all(connection, filter).and_then(|purged| {
        rewrite(connection)?;
        Ok(purged)
    });
    on(connection, false)?;
    purged
}

/// Whether the journal holds nothing any more is for the caller to report.
fn rewrite(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.execute_batch("VACUUM")?;
    empty_journal(connection)
}

/// What lies in the journal goes into the file, and the journal becomes empty.
pub(in crate::store) fn empty_journal(connection: &Connection) -> rusqlite::Result<()> {
    for _ in 0..EMPTY_TRIES {
        let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if !busy {
            return Ok(());
        }
    }
    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    Err(rusqlite::Error::SqliteFailure(busy, Some("the journal is being read".into())))
}

fn delete_all(connection: &mut Connection, filter: &PurgeFilter) -> rusqlite::Result<Purged> {
    let mut purged = Purged::default();
    if let Some(trace) = filter.trace_id {
        let mut statement =
            connection.prepare("SELECT invocation_id FROM invocations WHERE trace_id = ?1")?;
        let ids = statement.query_map([trace.as_bytes()], |row| row.get(0).map(invocation_id))?;
        purged.of_trace = ids.collect::<rusqlite::Result<_>>()?;
    }
    let plugin = filter.plugin.clone();
    let in_span = plugin
        .as_deref()
        .map(|plugin| containing(&format!("\"spanglass.plugin.name\":{}", serde_json::Value::from(plugin))));
    for (table, key, time, gone, of_plugin, plugin, count) in [
        (
            "invocations",
            "created_at_ns",
            "created_at_ns",
            CALL_GONE,
            "plugin = ?",
            plugin.clone().map(Value::from),
            &mut purged.invocations,
        ),
        (
            "operations",
            "start_ns",
            "start_ns",
            OPERATION_GONE,
            r"span LIKE ? ESCAPE '\'",
            in_span,
            &mut purged.operations,
        ),
        ("logs", "seq", "unix_ns", LINE_GONE, "plugin = ?", plugin.map(Value::from), &mut purged.logs),
    ] {
        let mut conditions = Conditions::default();
        conditions.add_if(of_plugin, plugin);
        conditions.add_if("trace_id = ?", filter.trace_id.map(|id| id.as_bytes().to_vec()));
        let before = if time == "unix_ns" {
            "unix_ns < ?"
        } else if time == "start_ns" {
            "start_ns < ?"
        } else {
            "created_at_ns < ?"
        };
        conditions.add_if(before, filter.before_ns);
        let sql = format!(
            "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {} LIMIT {STEP_ROWS}) RETURNING {gone}",
            conditions.sql()
        );
        loop {
            let deleted = step(connection, &sql, &conditions)?;
            *count += deleted;
            if deleted < STEP_ROWS.unsigned_abs() {
                break;
            }
        }
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "DELETE FROM recordings WHERE created_at_ns NOT IN (SELECT created_at_ns FROM invocations);
         DELETE FROM blocks;",
    )?;
    // Filters know of parts of what is gone.
    let mut grams = Grams::default();
    blocks::seal_all(&transaction, &mut grams)?;
    transaction.commit()?;
    Ok(purged)
}

fn step(connection: &mut Connection, sql: &str, conditions: &Conditions) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut changes = Changes::default();
    let mut deleted = 0;
    {
        let mut statement = transaction.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(conditions.values()))?;
        while let Some(row) = rows.next()? {
            changes.gone(row)?;
            deleted += 1;
        }
    }
    changes.write(&transaction)?;
    transaction.commit()?;
    Ok(deleted)
}

impl PurgeFilter {
    pub fn is_empty(&self) -> bool {
        *self == PurgeFilter::default()
    }
}

impl super::Ledger {
    /// Waits until what was recorded before is written, deletes on the thread that writes, and returns when the file
    /// holds nothing of it. Records wait meanwhile, as many as the queue takes. Blocks.
    pub fn purge(&self, filter: &PurgeFilter) -> Result<Purged, Error> {
        if !self.queue.flush(FLUSH_MAX) {
            let detail = "what came before is not written yet, and would be there after the purge: try again";
            return Err(Error::Database { file: self.path.clone(), detail: detail.into() });
        }
        let (filter, path) = (filter.clone(), self.path.clone());
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let errand = Box::new(move |connection: Result<&mut Connection, Error>| {
            let purged =
                connection.and_then(|connection| purge(connection, &filter).map_err(Error::engine(&path)));
            let _ = answer.send(purged);
        });
        self.queue.send(errand);
        answered.recv().unwrap_or_else(|_| {
            Err(Error::Database { file: self.path.clone(), detail: "the ledger is closed".into() })
        })
    }
}
