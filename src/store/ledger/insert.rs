//! Writes a batch of rows in one transaction.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, ErrorCode, TransactionBehavior, ffi, params};

use super::blocks;
use super::cells::{CALL_BYTES, Changes, LINE_BYTES};
use super::class::Class;
use super::grams::Grams;
use super::rows::{CapturedRow, InvocationRow, LogRow, OperationRow, Row};
use super::tally::Tally;

/// So many starts may share one nanosecond before a row is given up as a duplicate.
const SAME_NS_MAX: i64 = 10_000;
/// Of the input, lists show so much; `q` looks there, too.
pub(super) const PREVIEW_CHARACTERS: usize = 200;

pub(super) fn insert(
    connection: &mut Connection,
    rows: &[Row],
    tally: &Tally,
    grams: &mut Grams,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut statements = Statements::prepare(&transaction)?;
        for row in rows {
            match row {
                Row::Invocation(row) => statements.invocation(row)?,
                Row::Log(row) => statements.log(row)?,
                Row::Operation(row) => statements.operation(row)?,
            }
        }
        statements.changes.write(&transaction)?;
        tally.write(&transaction)?;
        blocks::seal(&transaction, grams)?;
    }
    transaction.commit()
}

struct Statements<'a> {
    invocation: CachedStatement<'a>,
    recording: CachedStatement<'a>,
    operation: CachedStatement<'a>,
    log: CachedStatement<'a>,
    changes: Changes,
    /// The plugin of rows that have none.
    nobody: Arc<str>,
}

impl<'a> Statements<'a> {
    fn prepare(connection: &'a Connection) -> rusqlite::Result<Statements<'a>> {
        Ok(Statements {
            invocation: connection.prepare_cached(
                "INSERT INTO invocations VALUES
                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
                  ?22, ?23, ?24, ?25, ?26)",
            )?,
            recording: connection
                .prepare_cached("INSERT OR REPLACE INTO recordings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?,
            operation: connection.prepare_cached("INSERT INTO operations VALUES (?1, ?2, ?3)")?,
            log: connection.prepare_cached(
                "INSERT INTO logs VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?,
            changes: Changes::default(),
            nobody: "".into(),
        })
    }

    /// A second row of the same invocation is left out: whoever retries a batch may send it twice.
    fn invocation(&mut self, row: &InvocationRow) -> rusqlite::Result<()> {
        let origin = row.origin.as_str();
        let (kind, message) = row.error.as_ref().map(|(kind, message)| (kind.as_str(), message)).unzip();
        let (input, output) = (row.input.as_ref(), row.output.as_ref());
        let length = |captured: Option<&CapturedRow>| captured.map_or(0, |captured| captured.json.len());
        let preview = input.map(|input| beginning(&input.json));
        let texts = row.spans.len() + length(input) + length(output) + preview.map_or(0, str::len);
        let bytes = CALL_BYTES + signed(texts);
        let insert = |at_ns: i64| {
            self.invocation.execute(params![
                at_ns,
                row.invocation_id.as_bytes(),
                row.trace_id.as_bytes(),
                row.root_span_id.as_bytes(),
                row.trace_flags,
                &*row.plugin,
                row.version.as_deref(),
                row.runtime,
                &*row.action,
                origin,
                row.outcome.as_str(),
                kind,
                message,
                row.attempts,
                row.cold_start,
                row.duration_ns,
                row.queue_ns,
                row.prepare_ns,
                signed(row.usage.cpu.as_nanos()),
                signed(row.usage.memory_peak_bytes),
                signed(row.usage.input_bytes),
                signed(row.usage.output_bytes),
                signed(row.span_count as u64),
                row.class as i64,
                bytes,
                preview,
            ])
        };
        let Some(at_ns) = insert_at_free(row.created_at_ns, insert)? else { return Ok(()) };
        self.changes.add(&row.plugin, row.class, at_ns, 1, bytes);
        self.recording.execute(params![
            at_ns,
            row.spans,
            row.tracestate.as_deref(),
            input.map(|captured| &captured.json),
            CapturedRow::cut(input),
            output.map(|captured| &captured.json),
            CapturedRow::cut(output),
        ])?;
        self.log(&row.ending)
    }

    fn operation(&mut self, row: &OperationRow) -> rusqlite::Result<()> {
        let insert = |at_ns: i64| self.operation.execute(params![at_ns, row.trace_id.as_bytes(), row.span]);
        if let Some(at_ns) = insert_at_free(row.start_ns, insert)? {
            let bytes = LINE_BYTES + signed(row.span.len());
            self.changes.add(&self.nobody, Class::Operations, at_ns, 1, bytes);
        }
        Ok(())
    }

    fn log(&mut self, row: &LogRow) -> rusqlite::Result<()> {
        let class = if row.invocation_id.is_some() { Class::Lines } else { Class::Outside };
        let bytes = LINE_BYTES + signed(row.text_bytes());
        self.changes.add(row.plugin.as_ref().unwrap_or(&self.nobody), class, row.unix_ns, 1, bytes);
        self.log
            .execute(params![
                row.unix_ns,
                row.severity as i64,
                row.stream.as_str(),
                row.plugin.as_deref(),
                row.version.as_deref(),
                row.event_name,
                row.trace_id.as_ref().map(|id| id.as_bytes()),
                row.span_id.as_ref().map(|id| id.as_bytes()),
                row.invocation_id.as_ref().map(|id| id.as_bytes()),
                row.body,
                row.fields,
                row.dropped_fields,
            ])
            .map(drop)
    }
}

/// Inserts at the first free nanosecond from `at_ns` on; `None`: what makes the row unique is there already.
fn insert_at_free(
    at_ns: i64,
    mut insert: impl FnMut(i64) -> rusqlite::Result<usize>,
) -> rusqlite::Result<Option<i64>> {
    for at_ns in at_ns..=at_ns.saturating_add(SAME_NS_MAX) {
        match insert(at_ns) {
            Ok(_) => return Ok(Some(at_ns)),
            Err(error) if error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) => {
                return Err(error);
            }
            Err(rusqlite::Error::SqliteFailure(code, _))
                if code.extended_code == ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {}
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// As much as lists show.
pub(super) fn beginning(text: &str) -> &str {
    text.char_indices().nth(PREVIEW_CHARACTERS).map_or(text, |(end, _)| &text[..end])
}

fn signed(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
