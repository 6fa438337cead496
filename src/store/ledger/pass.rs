//! Lets go what was judged: every second call of a plugin's ten minutes, with its lines, in steps.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::cells::{CALL_GONE, Changes, LINE_GONE, OPERATION_GONE, SLOT_NS};
use super::class::Class;
use super::judge::Target;
use super::tally;
use super::thin::lot;

/// Rows that one step looks at.
const STEP_ROWS: i64 = 500;
/// Of the newest calls of all, one part in so many is spared: whoever has just called finds his call.
const NEWEST_SPARED: i64 = 4;

pub(super) struct Pass {
    target: Target,
    /// Rows up to this one have been looked at.
    after_ns: i64,
    /// Rows from this one on stay.
    until_ns: i64,
}

pub(super) struct Step {
    pub deleted: usize,
    pub over: bool,
}

impl Pass {
    pub fn begin(connection: &Connection, target: Target) -> rusqlite::Result<Pass> {
        let (from_ns, mut until_ns) = (target.slot * SLOT_NS, (target.slot + 1) * SLOT_NS);
        if is_of_calls(target.class) {
            let newest: Option<i64> = connection
                .prepare_cached("SELECT max(created_at_ns) FROM invocations INDEXED BY invocations_plugin WHERE plugin = ?1")?
                .query_row([&target.plugin], |row| row.get(0))?;
            if newest.is_some_and(|newest| newest < until_ns) {
                let spared: Option<i64> = connection
                    .prepare_cached(
                        "SELECT created_at_ns FROM invocations INDEXED BY invocations_plugin
                         WHERE plugin = ?1 AND created_at_ns >= ?2 AND class = ?3
                         ORDER BY created_at_ns DESC LIMIT 1 OFFSET ?4",
                    )?
                    .query_row(
                        params![target.plugin, from_ns, target.class as i64, target.rows / NEWEST_SPARED],
                        |row| row.get(0),
                    )
                    .optional()?;
                until_ns = spared.unwrap_or(until_ns);
            }
        }
        Ok(Pass { target, after_ns: from_ns - 1, until_ns })
    }

    pub fn step(&mut self, connection: &mut Connection) -> rusqlite::Result<Step> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut changes = Changes::default();
        let step = match self.target.class {
            Class::Outside | Class::Lines => self.lines(&transaction, &mut changes)?,
            Class::Operations => self.operations(&transaction, &mut changes)?,
            _ => self.calls(&transaction, &mut changes)?,
        };
        changes.write(&transaction)?;
        if step.over {
            let Target { plugin, class, slot, .. } = &self.target;
            transaction
                .prepare_cached(
                    "UPDATE cells SET passes = passes + 1 WHERE plugin = ?1 AND class = ?2 AND slot = ?3",
                )?
                .execute(params![plugin, *class as i64, slot])?;
        }
        transaction.commit()?;
        Ok(step)
    }

    fn calls(&mut self, transaction: &Transaction<'_>, changes: &mut Changes) -> rusqlite::Result<Step> {
        let rows: Vec<(i64, [u8; 16], [u8; 16])> = transaction
            .prepare_cached(
                "SELECT created_at_ns, invocation_id, trace_id FROM invocations INDEXED BY invocations_plugin
                 WHERE plugin = ?1 AND created_at_ns > ?2 AND created_at_ns < ?3 AND class = ?4
                 ORDER BY created_at_ns LIMIT ?5",
            )?
            .query_map(
                params![
                    self.target.plugin,
                    self.after_ns,
                    self.until_ns,
                    self.target.class as i64,
                    STEP_ROWS
                ],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?
            .collect::<rusqlite::Result<_>>()?;
        let mut deleted = 0;
        for (created_at_ns, invocation, trace) in &rows {
            self.after_ns = *created_at_ns;
            if self.goes(trace) {
                delete_call(transaction, changes, *created_at_ns, invocation, trace)?;
                deleted += 1;
            }
        }
        if deleted > 0 {
            tally::set_sampled_until(transaction, self.after_ns)?;
        }
        Ok(Step { deleted, over: (rows.len() as i64) < STEP_ROWS })
    }

    /// Each pass goes by another bit of what the trace has drawn, so that each takes half of what is there.
    fn goes(&self, trace: &[u8; 16]) -> bool {
        self.target.whole || lot(trace) >> (self.target.passes % 16) & 1 == 1
    }

    fn lines(&self, transaction: &Transaction<'_>, changes: &mut Changes) -> rusqlite::Result<Step> {
        let none = self.target.plugin.is_empty();
        let sql = format!(
            "DELETE FROM logs WHERE seq IN (SELECT seq FROM logs {} WHERE {} AND unix_ns > ?1 AND unix_ns < ?2
             AND invocation_id IS NULL ORDER BY unix_ns LIMIT ?3) RETURNING {LINE_GONE}",
            if none { "INDEXED BY logs_time" } else { "INDEXED BY logs_plugin" },
            if none { "plugin IS NULL" } else { "plugin = ?4" },
        );
        let mut values: Vec<Value> = vec![self.after_ns.into(), self.until_ns.into(), STEP_ROWS.into()];
        if !none {
            values.push(self.target.plugin.clone().into());
        }
        let deleted = delete(transaction, changes, &sql, rusqlite::params_from_iter(values))?;
        Ok(Step { deleted, over: (deleted as i64) < STEP_ROWS })
    }

    fn operations(&self, transaction: &Transaction<'_>, changes: &mut Changes) -> rusqlite::Result<Step> {
        let sql = format!(
            "DELETE FROM operations WHERE start_ns IN (SELECT start_ns FROM operations
             WHERE start_ns > ?1 AND start_ns < ?2 ORDER BY start_ns LIMIT ?3) RETURNING {OPERATION_GONE}"
        );
        let deleted = delete(transaction, changes, &sql, params![self.after_ns, self.until_ns, STEP_ROWS])?;
        Ok(Step { deleted, over: (deleted as i64) < STEP_ROWS })
    }
}

fn is_of_calls(class: Class) -> bool {
    matches!(class, Class::Failed | Class::Slow | Class::Ordinary)
}

/// One call with all that was kept of it. Returns how many lines went with it.
pub(super) fn delete_call(
    transaction: &Transaction<'_>,
    changes: &mut Changes,
    created_at_ns: i64,
    invocation: &[u8; 16],
    trace: &[u8; 16],
) -> rusqlite::Result<usize> {
    let sql = format!("DELETE FROM invocations WHERE created_at_ns = ?1 RETURNING {CALL_GONE}");
    delete(transaction, changes, &sql, [created_at_ns])?;
    transaction
        .prepare_cached("DELETE FROM recordings WHERE created_at_ns = ?1")?
        .execute([created_at_ns])?;
    let sql = format!("DELETE FROM logs WHERE trace_id = ?1 AND invocation_id = ?2 RETURNING {LINE_GONE}");
    delete(transaction, changes, &sql, [trace, invocation])
}

/// Runs a `DELETE … RETURNING` and takes what went out of the picture.
pub(super) fn delete(
    transaction: &Transaction<'_>,
    changes: &mut Changes,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<usize> {
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut deleted = 0;
    while let Some(row) = rows.next()? {
        changes.gone(row)?;
        deleted += 1;
    }
    Ok(deleted)
}
