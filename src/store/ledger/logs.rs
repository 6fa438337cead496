//! Queries about log records.

use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Row, Transaction, params_from_iter};
use serde_json::{Map, Value as Json};

use crate::model::guest::{LogStream, Severity};
use crate::model::ids::{InvocationId, TraceId};
use crate::model::kind::{ErrorKind, Outcome};
use crate::store::error::Error;
use crate::store::time::{rfc3339, unix_ns};
use crate::telemetry::names::log as names;

use super::conditions::{Conditions, containing};
use super::cursor::Cursor;
use super::invocations::{invocation_id, limit, page, span_id_text, trace_id_text, trace_of};
use super::reader::Reader;
use super::search;
use super::views::{LogFilter, LogPage, LogView};

pub(super) const COLUMNS: &str =
    "seq, unix_ns, severity, stream, plugin, version, event_name, trace_id, span_id, invocation_id, body, fields,
     dropped_fields";

/// A call's records may be this much older than its id says.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

pub(super) struct StoredLog {
    pub seq: i64,
    pub unix_ns: i64,
    view: LogView,
}

impl Reader {
    /// Newest first, page by page with `cursor`; with `after` what has arrived since, in order of arrival.
    pub fn logs(&self, filter: &LogFilter) -> Result<LogPage, Error> {
        let place = Place::of(filter)?;
        let limit = limit(filter.limit);
        self.query(|transaction| {
            let last_seq = last_seq(transaction)?;
            let filter = &by_id(transaction, filter)?;
            let (conditions, index) = narrow(transaction, filter, place)?;
            if by_blocks(filter, place) {
                let search = search::Search::new(filter, searched(filter), &conditions, limit + 1);
                let page = page(search.run(transaction)?, limit, StoredLog::cursor, |row| row.view.clone());
                let follow = Cursor::Arrival { seq: last_seq }.text();
                return Ok(LogPage { items: page.items, next: page.next, follow });
            }
            let order = match place {
                Place::After(_) => "seq",
                Place::Newest | Place::Before { .. } => "unix_ns DESC, seq DESC",
            };
            let sql = format!(
                "SELECT {COLUMNS} FROM logs {index} WHERE {} ORDER BY {order} LIMIT {}",
                conditions.sql(),
                limit + 1,
            );
            let mut statement = transaction.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(conditions.values()), StoredLog::read)?;
            let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            if let Place::After(after) = place {
                // A full page goes on after its last row; else all that there is has been looked at.
                let more = rows.len() > limit;
                rows.truncate(limit);
                let seen = rows.last().filter(|_| more).map_or(last_seq.max(after), |last| last.seq);
                let items = rows.into_iter().map(|row| row.view).collect();
                return Ok(LogPage { items, next: None, follow: Cursor::Arrival { seq: seen }.text() });
            }
            let page = page(rows, limit, StoredLog::cursor, |row| row.view.clone());
            Ok(LogPage {
                items: page.items,
                next: page.next,
                follow: Cursor::Arrival { seq: last_seq }.text(),
            })
        })
    }
}

/// Where a page of logs begins.
#[derive(Clone, Copy)]
enum Place {
    Newest,
    Before { ns: i64, seq: i64 },
    After(i64),
}

impl Place {
    fn of(filter: &LogFilter) -> Result<Place, Error> {
        let parse = |text: &Option<String>| text.as_deref().map(Cursor::parse).transpose();
        match (parse(&filter.cursor)?, parse(&filter.after)?) {
            (None, None) => Ok(Place::Newest),
            (Some(Cursor::Log { ns, seq }), None) => Ok(Place::Before { ns, seq }),
            (None, Some(Cursor::Arrival { seq })) => Ok(Place::After(seq)),
            _ => Err(Error::BadCursor),
        }
    }
}

/// Whether the blocks of lines say best where to look: for a text, or for what is seldom so bad.
fn by_blocks(filter: &LogFilter, place: Place) -> bool {
    let few = filter.trace_id.is_some() || filter.invocation_id.is_some();
    let severe = filter.plugin.is_none() && filter.level.is_some_and(|level| level >= Severity::Warn);
    !matches!(place, Place::After(_)) && !few && (searched(filter).is_some() || severe)
}

/// What is looked for in texts of all lines: not if a trace or a call is named, which has few.
fn searched(filter: &LogFilter) -> Option<&str> {
    let few = filter.trace_id.is_some() || filter.invocation_id.is_some();
    filter.q.as_deref().filter(|q| !q.is_empty() && !few)
}

/// Whoever looks for the id of a trace or a call that is known here wants its lines.
fn by_id(transaction: &Transaction<'_>, filter: &LogFilter) -> rusqlite::Result<LogFilter> {
    let mut filter = filter.clone();
    let Some(q) = searched(&filter).map(str::trim) else { return Ok(filter) };
    // A trace's id would pass for a UUID without hyphens.
    if let Some(id) = TraceId::parse(q) {
        let known = transaction
            .prepare_cached("SELECT 1 FROM logs WHERE trace_id = ?1 LIMIT 1")?
            .exists([id.as_bytes()])?;
        if known {
            (filter.trace_id, filter.q) = (Some(id), None);
        }
    } else if let Some(id) = InvocationId::parse(q)
        && trace_of(transaction, id)?.is_some()
    {
        (filter.invocation_id, filter.q) = (Some(id), None);
    }
    Ok(filter)
}

/// The conditions, and the index that finds the fewest rows.
fn narrow(
    transaction: &Transaction<'_>,
    filter: &LogFilter,
    place: Place,
) -> rusqlite::Result<(Conditions, &'static str)> {
    let mut conditions = Conditions::default();
    let mut since_ns = filter.since.map(unix_ns);
    let mut trace = filter.trace_id.map(|id| *id.as_bytes());
    if let Some(id) = filter.invocation_id {
        conditions.add("invocation_id = ?", [blob(id.as_bytes())]);
        trace = trace.or(trace_of(transaction, id)?);
        // A call that has not ended has no row yet, but its id says when it began.
        since_ns = since_ns.max(began_ns(id));
    }
    conditions.add_if("trace_id = ?", trace.as_ref().map(blob));
    conditions.add_if("plugin = ?", filter.plugin.clone());
    conditions.add_if("version = ?", filter.version.clone());
    // A plugin may name its fields as it likes.
    conditions.add_if(
        "(stream = 'host' AND json_extract(fields, '$.outcome') = ?)",
        filter.outcome.map(|outcome| outcome.as_str().to_owned()),
    );
    conditions.add_if(
        "(stream = 'host' AND json_extract(fields, '$.\"error.type\"') = ?)",
        filter.kind.map(|kind| kind.as_str().to_owned()),
    );
    // The endings of calls that failed have an index of their own; those that were dropped are not among them.
    let of_failed = filter.outcome == Some(Outcome::Failed)
        || filter.kind.is_some_and(|kind| kind != ErrorKind::Cancelled)
            && matches!(filter.outcome, None | Some(Outcome::Failed));
    if of_failed {
        conditions.add("event_name = 'invocation.finished' AND severity >= 13", []);
    }
    conditions.add_if("severity >= ?", filter.level.map(|level| level as i64));
    conditions.add_if("unix_ns >= ?", since_ns);
    conditions.add_if("unix_ns < ?", filter.until.map(unix_ns));
    if let Some(q) = filter.q.as_deref().filter(|q| !q.is_empty()) {
        let pattern = containing(q);
        conditions.add(r"(body LIKE ? ESCAPE '\' OR fields LIKE ? ESCAPE '\')", [pattern.clone(), pattern]);
    }
    match place {
        Place::Newest => {}
        Place::Before { ns, seq } => {
            conditions.add("unix_ns <= ? AND (unix_ns < ? OR seq < ?)", [ns.into(), ns.into(), seq.into()]);
        }
        Place::After(seq) => conditions.add("seq > ?", [seq.into()]),
    }
    let index = match place {
        Place::After(_) => "NOT INDEXED",
        _ if trace.is_some() => "INDEXED BY logs_trace",
        _ if of_failed => "INDEXED BY logs_failed",
        _ if filter.plugin.is_some() => "INDEXED BY logs_plugin",
        _ => "INDEXED BY logs_time",
    };
    Ok((conditions, index))
}

/// A UUIDv7 begins with 48 bits of milliseconds.
fn began_ns(id: InvocationId) -> Option<i64> {
    let ms = id.as_bytes()[..6].iter().fold(0_i64, |ms, byte| ms << 8 | i64::from(*byte));
    ms.checked_mul(1_000_000).map(|ns| ns.saturating_sub(i64::try_from(CLOCK_SLACK.as_nanos()).unwrap_or(0)))
}

fn last_seq(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'logs'), 0)";
    transaction.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

fn blob(bytes: &[u8; 16]) -> Value {
    Value::Blob(bytes.to_vec())
}

impl StoredLog {
    /// Reads [`COLUMNS`].
    pub fn read(row: &Row<'_>) -> rusqlite::Result<StoredLog> {
        let (seq, unix_ns) = (row.get(0)?, row.get(1)?);
        let severity = severity(row.get(2)?);
        let stream: String = row.get(3)?;
        let fields: Option<String> = row.get(11)?;
        let fields = fields.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let view = LogView {
            timestamp: rfc3339(unix_ns),
            severity_text: severity.as_str(),
            severity_number: severity as u8,
            plugin: row.get(4)?,
            version: row.get(5)?,
            event_name: row.get(6)?,
            trace_id: row.get::<_, Option<_>>(7)?.map(trace_id_text),
            span_id: row.get::<_, Option<_>>(8)?.map(span_id_text),
            invocation_id: row.get::<_, Option<_>>(9)?.map(|bytes| invocation_id(bytes).to_string()),
            body: row.get(10)?,
            dropped_fields: row.get::<_, u32>(12)?.into(),
            fields: safe_fields(fields, stream == LogStream::Host.as_str()),
            stream,
        };
        Ok(StoredLog { seq, unix_ns, view })
    }

    fn cursor(&self) -> Cursor {
        Cursor::Log { ns: self.unix_ns, seq: self.seq }
    }

    pub fn into_view(self) -> LogView {
        self.view
    }
}

/// A plugin's field that is named like a key of the record itself goes out as `field.{name}`.
pub(super) fn safe_fields(fields: Map<String, Json>, host: bool) -> Map<String, Json> {
    let of_record = |key: &str| match key {
        names::OUTCOME | names::ERROR_TYPE | names::DURATION_MS => !host,
        names::LOGGER => false,
        key => names::RESERVED.contains(&key),
    };
    fields
        .into_iter()
        .map(|(key, value)| if of_record(&key) { (format!("field.{key}"), value) } else { (key, value) })
        .collect()
}

fn severity(number: i64) -> Severity {
    let known = Severity::ALL.iter().rev().copied();
    known.into_iter().find(|severity| *severity as i64 <= number).unwrap_or(Severity::Trace)
}
