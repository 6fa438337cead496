//! The endings of asynchronous calls. The first one that is written counts.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction, params};

use crate::model::error::InvokeError;
use crate::model::ids::InvocationId;
use crate::model::kind::{ErrorKind, Outcome};
use crate::model::text::truncate;
use crate::store::error::Error;

use super::keys;
use super::{CallEnd, Calls, Cancelled, Change, Count, QUEUED_COLUMNS, read_queued, signed};

/// Longest message and traceback that are kept of an error.
const TEXT_BYTES_MAX: usize = 8 << 10;

impl Calls {
    /// A running call has ended; so has its key's business, in the same transaction. False: somebody ended
    /// it before, and what came out now counts for nothing.
    pub fn end(&self, id: InvocationId, end: &CallEnd<'_>) -> Result<bool, Error> {
        self.write(|transaction, count| {
            let ended = finish(transaction, count, id, "running", end).map_err(self.engine())?;
            if !ended {
                return Ok(false);
            }
            match (end.outcome, end.output) {
                (Outcome::Replied, Some(output)) => keys::keep(transaction, count, id, end.version, output),
                _ => keys::free(transaction, count, id),
            }
            .map_err(self.engine())?;
            Ok(true)
        })
    }

    /// The caller wants no more of it.
    pub fn cancel(&self, id: InvocationId, message: &str) -> Result<Cancelled, Error> {
        self.write(|transaction, count| {
            let sql = format!("SELECT {QUEUED_COLUMNS}, state FROM calls WHERE invocation_id = ?1");
            let now_ns = count.now_ns;
            let found = transaction
                .query_row(&sql, [id.as_bytes()], |row| {
                    Ok((read_queued(row, now_ns)?, row.get::<_, String>(17)?))
                })
                .optional()
                .map_err(self.engine())?;
            let Some((queued, state)) = found else { return Ok(Cancelled::Unknown) };
            if state == "done" {
                return Ok(Cancelled::Done);
            }
            let error = InvokeError::new(ErrorKind::Cancelled, message);
            let end = CallEnd {
                outcome: Outcome::Dropped,
                attempts: queued.call.ids.attempts,
                error: Some(&error),
                ..CallEnd::nothing()
            };
            finish(transaction, count, id, &state, &end).map_err(self.engine())?;
            keys::free(transaction, count, id).map_err(self.engine())?;
            Ok(if state == "queued" { Cancelled::Queued(Box::new(queued)) } else { Cancelled::Running })
        })
    }
}

/// Whether the call was in that state, and is done now.
fn finish(
    transaction: &Transaction<'_>,
    count: &mut Count<'_>,
    id: InvocationId,
    state: &str,
    end: &CallEnd<'_>,
) -> rusqlite::Result<bool> {
    let output = end.output.map(|output| output.get());
    let exception = end.error.and_then(|error| error.exception.as_ref());
    let ended = transaction
        .prepare_cached(
            "UPDATE calls SET state = 'done', since_ns = ?3, outcome = ?4, version = ?5, attempts = ?6,
                 duration_ns = ?7, cold_start = ?8, error_kind = ?9, error_message = ?10, exception_type = ?11,
                 exception_traceback = ?12, output = ?13, output_bytes = ?14, input = 'null'
             WHERE invocation_id = ?1 AND state = ?2 RETURNING plugin, input_bytes",
        )?
        .query_row(
            params![
                id.as_bytes(),
                state,
                count.now_ns,
                end.outcome.as_str(),
                end.version,
                end.attempts,
                i64::try_from(end.duration.as_nanos()).unwrap_or(i64::MAX),
                end.cold_start,
                end.error.map(|error| error.kind.as_str()),
                end.error.map(|error| truncate(&error.message, TEXT_BYTES_MAX)),
                exception.map(|exception| truncate(&exception.type_name, TEXT_BYTES_MAX)),
                exception.map(|exception| truncate(&exception.traceback, TEXT_BYTES_MAX)),
                output,
                signed(output.map_or(0, str::len) as u64),
            ],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
        )
        .optional()?;
    let Some((plugin, input_bytes)) = ended else { return Ok(false) };
    let (waiting, running) = if state == "queued" { (-1, 0) } else { (0, -1) };
    let change = Change { waiting, running, input_bytes: -input_bytes };
    count.changes.push((Arc::from(plugin), change));
    count.kept.result(output.map_or(0, str::len));
    Ok(true)
}
