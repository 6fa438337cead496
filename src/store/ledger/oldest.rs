//! Deletes the oldest rows of all: those that are too old, and what nothing else lets go.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::cells::{CALL_GONE, Changes, LINE_GONE, OPERATION_GONE};
use super::tally;

/// Rows that one step deletes from one table.
const STEP_ROWS: i64 = 500;
/// Of a table that holds little, for its rows are large, a step deletes one part in so many: the newest rows stay.
const STEP_SHARE: i64 = 4;

/// Why rows have to go.
#[derive(Clone, Copy)]
pub(super) enum Excess {
    /// As few as it takes.
    Size,
    /// All that began before.
    Age { before_ns: i64 },
}

/// Deletes the oldest rows of the table that has the oldest. False: there is nothing to delete.
pub(super) fn delete(connection: &mut Connection, excess: Excess) -> rusqlite::Result<bool> {
    let before_ns = match excess {
        Excess::Size => i64::MAX,
        Excess::Age { before_ns } => before_ns,
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let oldest = TABLES
        .iter()
        .map(|table| {
            let sql = format!("SELECT min({}) FROM {}", table.time, table.name);
            transaction.prepare_cached(&sql)?.query_row([], |row| row.get::<_, Option<i64>>(0))
        })
        .zip(TABLES)
        .filter_map(|(oldest, table)| oldest.transpose().map(|oldest| oldest.map(|oldest| (oldest, table))))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let Some((oldest, table)) = oldest.into_iter().min_by_key(|(oldest, _)| *oldest) else {
        return Ok(false);
    };
    if oldest > before_ns {
        return Ok(false);
    }
    let Table { name, time, companion, returning } = table;
    let step = match excess {
        Excess::Age { .. } => STEP_ROWS,
        Excess::Size => {
            let rows: i64 = transaction
                .prepare_cached(&format!("SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT ?1)"))?
                .query_row([STEP_ROWS * STEP_SHARE], |row| row.get(0))?;
            (rows / STEP_SHARE).max(1)
        }
    };
    let last = transaction
        .prepare_cached(&format!(
            "SELECT {time} FROM {name} WHERE {time} <= ?1 ORDER BY {time} LIMIT 1 OFFSET ?2"
        ))?
        .query_row(params![before_ns, step - 1], |row| row.get::<_, i64>(0))
        .optional()?
        .unwrap_or(before_ns);
    let mut changes = Changes::default();
    {
        let sql = format!("DELETE FROM {name} WHERE {time} <= ?1 RETURNING {returning}");
        let mut statement = transaction.prepare_cached(&sql)?;
        let mut rows = statement.query([last])?;
        while let Some(row) = rows.next()? {
            changes.gone(row)?;
        }
    }
    if let Some(name) = companion {
        transaction.prepare_cached(&format!("DELETE FROM {name} WHERE {time} <= ?1"))?.execute([last])?;
    }
    changes.write(&transaction)?;
    if let Excess::Size = excess {
        tally::set_sampled_until(&transaction, last)?;
    }
    transaction.commit()?;
    Ok(true)
}

/// A table, the column that is its time, and a table that shares its keys.
struct Table {
    name: &'static str,
    time: &'static str,
    companion: Option<&'static str>,
    returning: &'static str,
}

const TABLES: &[Table] = &[
    Table { name: "invocations", time: "created_at_ns", companion: Some("recordings"), returning: CALL_GONE },
    Table { name: "operations", time: "start_ns", companion: None, returning: OPERATION_GONE },
    Table { name: "logs", time: "unix_ns", companion: None, returning: LINE_GONE },
];
