//! Queries about invocations.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, Transaction, params_from_iter};
use serde_json::value::RawValue;

use crate::model::ids::{InvocationId, SpanId, TraceId};
use crate::model::kind::{ErrorKind, Outcome};
use crate::store::error::Error;
use crate::store::time::{milliseconds, rfc3339, unix_ns};
use crate::telemetry::names::{attribute, event};

use super::conditions::{Conditions, containing};
use super::cursor::Cursor;
use super::reader::Reader;
use super::rows::CapturedRow;
use super::spans::{self, Facts, StoredSpan};
use super::views::{
    ErrorView, ExceptionView, InvocationDetail, InvocationFilter, InvocationView, Page, UsageView,
};

/// Rows of a page.
pub(super) const LIMIT_DEFAULT: usize = 50;
pub(super) const LIMIT_MAX: usize = 1_000;

pub(super) const COLUMNS: &str =
    "i.created_at_ns, i.invocation_id, i.trace_id, i.root_span_id, i.plugin, i.version, i.runtime, i.action,
     i.origin, i.outcome, i.error_kind, i.error_message, i.attempts, i.cold_start, i.duration_ns, i.queue_ns,
     i.prepare_ns, i.cpu_ns, i.memory_peak_bytes, i.input_bytes, i.output_bytes, i.span_count";
/// How many [`COLUMNS`] there are.
pub(super) const COLUMN_COUNT: usize = 22;
/// The beginning of what went in, which tells the calls of a list apart.
const INPUT_PREVIEW: &str = "coalesce(i.preview, (SELECT substr(r.input, 1, 200) FROM recordings r WHERE r.created_at_ns = i.created_at_ns))";

/// A row of `invocations` as it lies there.
pub(super) struct StoredInvocation {
    pub created_at_ns: i64,
    pub invocation_id: InvocationId,
    pub trace_id: String,
    pub root_span_id: String,
    pub plugin: String,
    pub version: Option<String>,
    pub runtime: Option<String>,
    pub action: String,
    pub origin: String,
    pub outcome: String,
    pub error: Option<(String, String)>,
    pub attempts: u32,
    pub cold_start: bool,
    pub duration_ns: i64,
    pub queue_ns: i64,
    pub prepare_ns: i64,
    pub cpu_ns: i64,
    pub memory_peak_bytes: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub span_count: u64,
}

impl Reader {
    /// Newest first.
    pub fn invocations(&self, filter: &InvocationFilter) -> Result<Page<InvocationView>, Error> {
        let (conditions, limit) = narrow(filter)?;
        let sql = format!(
            "SELECT {COLUMNS}, {INPUT_PREVIEW} FROM invocations i {} WHERE {}
             ORDER BY i.created_at_ns DESC LIMIT {}",
            index(filter),
            conditions.sql(),
            limit + 1,
        );
        let rows = self.query(|transaction| {
            let mut statement = transaction.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(conditions.values()), read_listed)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(page(rows, limit, |(ns, _)| Cursor::Time { ns: *ns }, |(_, view)| view.clone()))
    }

    /// One invocation that has ended; `None`: the ledger does not know it.
    pub fn invocation(&self, id: InvocationId) -> Result<Option<InvocationDetail>, Error> {
        let sql = format!(
            "SELECT {COLUMNS}, r.spans, r.input, r.input_cut, r.output, r.output_cut
             FROM invocations i JOIN recordings r USING (created_at_ns) WHERE i.invocation_id = ?1"
        );
        self.query(|transaction| {
            transaction.prepare_cached(&sql)?.query_row([id.as_bytes()], read_detail).optional()
        })
    }
}

/// The conditions of a filter, and how many rows it wants.
pub(super) fn narrow(filter: &InvocationFilter) -> Result<(Conditions, usize), Error> {
    let mut conditions = Conditions::default();
    conditions.add_if("i.plugin = ?", filter.plugin.clone());
    conditions.add_if("i.version = ?", filter.version.clone());
    if let Some(outcome) = filter.outcome {
        conditions.add("i.outcome = ?", [outcome.as_str().to_owned().into()]);
        if outcome != Outcome::Replied {
            conditions.add("i.error_kind IS NOT NULL", []);
        }
    }
    if filter.kind.is_some() {
        conditions.add("i.error_kind IS NOT NULL", []);
    }
    conditions.add_if("i.error_kind = ?", filter.kind.map(|kind| kind.as_str().to_owned()));
    conditions.add_if("i.created_at_ns >= ?", filter.since.map(unix_ns));
    conditions.add_if("i.created_at_ns < ?", filter.until.map(unix_ns));
    if let Some(q) = filter.q.as_deref().map(str::trim).filter(|q| !q.is_empty()) {
        search(&mut conditions, q);
    }
    if let Some(cursor) = &filter.cursor {
        let Cursor::Time { ns } = Cursor::parse(cursor)? else { return Err(Error::BadCursor) };
        conditions.add("i.created_at_ns < ?", [ns.into()]);
    }
    Ok((conditions, limit(filter.limit)))
}

/// The index that finds the fewest rows and still gives them in order. Without statistics the planner
/// guesses, and a wrong guess reads the whole table.
pub(super) fn index(filter: &InvocationFilter) -> &'static str {
    let id = filter.q.as_deref().map(str::trim);
    if id.is_some_and(|q| TraceId::parse(q).is_some()) {
        "INDEXED BY invocations_trace"
    } else if id.is_some_and(|q| InvocationId::parse(q).is_some()) {
        "INDEXED BY invocations_id"
    } else if filter.kind.is_some() && filter.plugin.is_some() {
        "INDEXED BY invocations_failed"
    } else if filter.kind.is_some() {
        "INDEXED BY invocations_kind"
    } else if filter.outcome.is_some_and(|outcome| outcome != Outcome::Replied) {
        "INDEXED BY invocations_outcome"
    } else if filter.plugin.is_some() {
        "INDEXED BY invocations_plugin"
    } else {
        "NOT INDEXED"
    }
}

fn search(conditions: &mut Conditions, q: &str) {
    // A trace's id would pass for a UUID without hyphens.
    if let Some(id) = TraceId::parse(q) {
        conditions.add("i.trace_id = ?", [Value::Blob(id.as_bytes().to_vec())]);
    } else if let Some(id) = InvocationId::parse(q) {
        conditions.add("i.invocation_id = ?", [Value::Blob(id.as_bytes().to_vec())]);
    } else {
        let pattern = containing(q);
        conditions.add(
            r"(i.plugin LIKE ? ESCAPE '\' OR i.action LIKE ? ESCAPE '\' OR i.error_kind LIKE ? ESCAPE '\'
               OR i.error_message LIKE ? ESCAPE '\' OR i.preview LIKE ? ESCAPE '\')",
            [pattern.clone(), pattern.clone(), pattern.clone(), pattern.clone(), pattern],
        );
    }
}

pub(super) fn limit(asked: Option<usize>) -> usize {
    asked.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
}

/// Turns `limit + 1` rows or fewer into a page: the row too many only says that there is more.
pub(super) fn page<R, T>(
    mut rows: Vec<R>,
    limit: usize,
    cursor: impl Fn(&R) -> Cursor,
    view: impl FnMut(&R) -> T,
) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|last| cursor(last).text());
    Page { items: rows.iter().map(view).collect(), next }
}

impl StoredInvocation {
    /// Reads [`COLUMNS`].
    pub fn read(row: &Row<'_>) -> rusqlite::Result<StoredInvocation> {
        let unsigned =
            |column: usize| row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0));
        let kind: Option<String> = row.get(10)?;
        let message: Option<String> = row.get(11)?;
        Ok(StoredInvocation {
            created_at_ns: row.get(0)?,
            invocation_id: invocation_id(row.get(1)?),
            trace_id: trace_id_text(row.get(2)?),
            root_span_id: span_id_text(row.get(3)?),
            plugin: row.get(4)?,
            version: row.get(5)?,
            runtime: row.get(6)?,
            action: row.get(7)?,
            origin: row.get(8)?,
            outcome: row.get(9)?,
            error: kind.zip(message),
            attempts: row.get(12)?,
            cold_start: row.get(13)?,
            duration_ns: row.get(14)?,
            queue_ns: row.get(15)?,
            prepare_ns: row.get(16)?,
            cpu_ns: row.get(17)?,
            memory_peak_bytes: unsigned(18)?,
            input_bytes: unsigned(19)?,
            output_bytes: unsigned(20)?,
            span_count: unsigned(21)?,
        })
    }

    pub fn view(&self) -> InvocationView {
        InvocationView {
            invocation_id: self.invocation_id.to_string(),
            trace_id: self.trace_id.clone(),
            plugin: self.plugin.clone(),
            version: self.version.clone(),
            action: self.action.clone(),
            state: "done",
            outcome: self.outcome.clone(),
            error: self.error.as_ref().map(|(kind, message)| ErrorView {
                blame: ErrorKind::parse(kind).map_or("host", |kind| kind.blame().as_str()),
                kind: kind.clone(),
                message: message.clone(),
                exception: None,
            }),
            attempts: self.attempts,
            created_at: rfc3339(self.created_at_ns),
            created_at_ns: self.created_at_ns,
            duration_ms: milliseconds(self.duration_ns),
            queue_ms: milliseconds(self.queue_ns),
            prepare_ms: milliseconds(self.prepare_ns),
            cold_start: self.cold_start,
            usage: UsageView {
                cpu_ms: milliseconds(self.cpu_ns),
                memory_peak_bytes: self.memory_peak_bytes,
                input_bytes: self.input_bytes,
                output_bytes: self.output_bytes,
            },
            origin: self.origin.clone(),
            root_span_id: self.root_span_id.clone(),
            spans: self.span_count,
            input_preview: None,
        }
    }

    /// Its spans from their text. A text that can't be read counts as none: the row is worth showing.
    pub fn spans(&self, text: &str) -> Vec<StoredSpan> {
        let facts = Facts {
            invocation_id: self.invocation_id,
            plugin: &self.plugin,
            version: self.version.as_deref(),
            runtime: self.runtime.as_deref(),
            action: &self.action,
            outcome: Outcome::ALL
                .iter()
                .copied()
                .find(|o| o.as_str() == self.outcome)
                .unwrap_or(Outcome::Failed),
            error: self.error.as_ref().and_then(|(kind, _)| ErrorKind::parse(kind)),
            attempts: self.attempts,
            cold_start: self.cold_start,
            cpu: std::time::Duration::from_nanos(self.cpu_ns.unsigned_abs()),
            memory_peak_bytes: self.memory_peak_bytes,
            input_bytes: self.input_bytes,
            output_bytes: self.output_bytes,
        };
        spans::decode(text, &facts).unwrap_or_default()
    }
}

fn read_listed(row: &Row<'_>) -> rusqlite::Result<(i64, InvocationView)> {
    let stored = StoredInvocation::read(row)?;
    let view = InvocationView { input_preview: row.get(COLUMN_COUNT)?, ..stored.view() };
    Ok((stored.created_at_ns, view))
}

fn read_detail(row: &Row<'_>) -> rusqlite::Result<InvocationDetail> {
    let stored = StoredInvocation::read(row)?;
    let mut invocation = stored.view();
    if let Some(error) = &mut invocation.error {
        error.exception = exception(&stored.spans(&row.get::<_, String>(COLUMN_COUNT)?));
    }
    let (input, input_cut): (Option<String>, u8) = (row.get(COLUMN_COUNT + 1)?, row.get(COLUMN_COUNT + 2)?);
    let (output, output_cut): (Option<String>, u8) = (row.get(COLUMN_COUNT + 3)?, row.get(COLUMN_COUNT + 4)?);
    let (input_truncated, input_redacted) =
        (CapturedRow::is_truncated(input_cut), CapturedRow::is_redacted(input_cut));
    Ok(InvocationDetail {
        replayable: input.is_some() && !input_truncated && !input_redacted,
        input: input.map(json),
        input_truncated,
        input_redacted,
        output: output.map(json),
        output_truncated: CapturedRow::is_truncated(output_cut),
        output_redacted: CapturedRow::is_redacted(output_cut),
        invocation,
    })
}

/// What the plugin raised stands in the root span's last event of that name.
fn exception(spans: &[StoredSpan]) -> Option<ExceptionView> {
    let events = &spans.first()?.events;
    let fields = &events.iter().rfind(|one| one.name == event::EXCEPTION)?.attributes;
    let text = |key: &str| fields.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    Some(ExceptionView {
        type_name: text(attribute::EXCEPTION_TYPE),
        traceback: text(attribute::EXCEPTION_STACKTRACE),
    })
}

/// As it is, or as a string if it is only the beginning of a JSON text.
fn json(text: String) -> Box<RawValue> {
    RawValue::from_string(text.clone()).unwrap_or_else(|_| {
        let quoted = serde_json::to_string(&text).expect("a string is JSON");
        RawValue::from_string(quoted).expect("to_string writes JSON")
    })
}

pub(super) fn invocation_id(bytes: [u8; 16]) -> InvocationId {
    InvocationId::new(uuid::Uuid::from_bytes(bytes))
}

pub(super) fn trace_id_text(bytes: [u8; 16]) -> String {
    TraceId::from_bytes(bytes).map(|id| id.to_string()).unwrap_or_default()
}

pub(super) fn span_id_text(bytes: [u8; 8]) -> String {
    SpanId::from_bytes(bytes).map(|id| id.to_string()).unwrap_or_default()
}

/// Whether there is an invocation with this id, and in which trace.
pub(super) fn trace_of(
    transaction: &Transaction<'_>,
    id: InvocationId,
) -> rusqlite::Result<Option<[u8; 16]>> {
    transaction
        .prepare_cached("SELECT trace_id FROM invocations WHERE invocation_id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()
}
