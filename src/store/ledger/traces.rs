//! Queries about traces: everything that one trace id ties together.

use rusqlite::{Row, Transaction, params_from_iter};

use crate::model::ids::TraceId;
use crate::store::error::Error;
use crate::store::time::{milliseconds, rfc3339};
use crate::telemetry::names::span;

use super::cursor::Cursor;
use super::invocations::{self, COLUMN_COUNT, StoredInvocation, narrow, page};
use super::logs::{self, StoredLog};
use super::reader::Reader;
use super::spans::{self, StoredEvent, StoredSpan};
use super::views::{EventView, InvocationFilter, LogView, Page, SpanView, TraceSummary, TraceView};

/// What one answer holds at most.
const SPANS_MAX: usize = 20_000;
const LOGS_MAX: usize = 20_000;

impl Reader {
    /// Newest first. The filter looks at the call that a trace began with.
    pub fn traces(&self, filter: &InvocationFilter) -> Result<Page<TraceSummary>, Error> {
        let (conditions, limit) = narrow(filter)?;
        let sql = format!(
            "SELECT {},
                 (SELECT sum(t.span_count) FROM invocations t WHERE t.trace_id = i.trace_id),
                 (SELECT count(*) FROM invocations t WHERE t.trace_id = i.trace_id)
             FROM invocations i {} WHERE {}
                 AND NOT EXISTS (SELECT 1 FROM invocations e
                                 WHERE e.trace_id = i.trace_id AND e.created_at_ns < i.created_at_ns)
             ORDER BY i.created_at_ns DESC LIMIT {}",
            invocations::COLUMNS,
            invocations::index(filter),
            conditions.sql(),
            limit + 1,
        );
        let rows = self.query(|transaction| {
            let mut statement = transaction.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(conditions.values()), read_summary)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(page(rows, limit, |(ns, _)| Cursor::Time { ns: *ns }, |(_, summary)| summary.clone()))
    }

    /// All spans and logs of a trace; `None`: the ledger knows none.
    pub fn trace(&self, id: TraceId) -> Result<Option<TraceView>, Error> {
        self.query(|transaction| {
            let (mut spans, spans_cut) = spans_of(transaction, id)?;
            let (logs, logs_cut) = logs_of(transaction, id)?;
            if spans.is_empty() && logs.is_empty() {
                return Ok(None);
            }
            spans.sort_by(|a, b| a.start.cmp(&b.start));
            Ok(Some(TraceView { trace_id: id.to_string(), spans, logs, truncated: spans_cut || logs_cut }))
        })
    }
}

fn read_summary(row: &Row<'_>) -> rusqlite::Result<(i64, TraceSummary)> {
    let stored = StoredInvocation::read(row)?;
    let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let summary = TraceSummary {
        trace_id: stored.trace_id,
        name: format!("{}{}", span::INVOKE_PREFIX, stored.plugin),
        invocation_id: stored.invocation_id.to_string(),
        plugin: stored.plugin,
        version: stored.version,
        outcome: stored.outcome,
        kind: stored.error.map(|(kind, _)| kind),
        start: rfc3339(stored.created_at_ns),
        duration_ms: milliseconds(stored.duration_ns),
        spans: count(COLUMN_COUNT)?,
        invocations: count(COLUMN_COUNT + 1)?,
    };
    Ok((stored.created_at_ns, summary))
}

/// The spans of all invocations and operations of a trace, and whether some were left out.
fn spans_of(transaction: &Transaction<'_>, id: TraceId) -> rusqlite::Result<(Vec<SpanView>, bool)> {
    let mut views = Vec::new();
    let sql = format!(
        "SELECT {}, r.spans FROM invocations i INDEXED BY invocations_trace JOIN recordings r USING (created_at_ns)
         WHERE i.trace_id = ?1 ORDER BY i.created_at_ns",
        invocations::COLUMNS
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut rows = statement.query([id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        if views.len() >= SPANS_MAX {
            return Ok((views, true));
        }
        let stored = StoredInvocation::read(row)?;
        let spans = stored.spans(&row.get::<_, String>(COLUMN_COUNT)?);
        views.extend(spans.into_iter().map(|span| view(span, stored.created_at_ns)));
    }
    let mut statement = transaction
        .prepare_cached("SELECT start_ns, span FROM operations WHERE trace_id = ?1 ORDER BY start_ns")?;
    let mut rows = statement.query([id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        if views.len() >= SPANS_MAX {
            return Ok((views, true));
        }
        let start_ns: i64 = row.get(0)?;
        let spans = spans::decode_operation(&row.get::<_, String>(1)?).unwrap_or_default();
        views.extend(spans.into_iter().map(|span| view(span, start_ns)));
    }
    Ok((views, false))
}

fn logs_of(transaction: &Transaction<'_>, id: TraceId) -> rusqlite::Result<(Vec<LogView>, bool)> {
    let sql = format!(
        "SELECT {} FROM logs INDEXED BY logs_trace WHERE trace_id = ?1 ORDER BY unix_ns, seq LIMIT {}",
        logs::COLUMNS,
        LOGS_MAX + 1
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([id.as_bytes()], |row| StoredLog::read(row).map(StoredLog::into_view))?;
    let mut logs = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let cut = logs.len() > LOGS_MAX;
    logs.truncate(LOGS_MAX);
    Ok((logs, cut))
}

fn view(span: StoredSpan, began_ns: i64) -> SpanView {
    let time = |ns: i64| rfc3339(began_ns.saturating_add(ns));
    let event = |event: StoredEvent| EventView {
        name: event.name,
        time: time(event.at_ns),
        attributes: event.attributes,
    };
    SpanView {
        start: time(span.start_ns),
        duration_ms: milliseconds(span.duration_ns),
        span_id: span.id,
        parent_span_id: span.parent,
        name: span.name,
        kind: span.kind,
        status: if span.error.is_some() { "error" } else { "unset" },
        status_message: span.error,
        attributes: span.attributes,
        events: span.events.into_iter().map(event).collect(),
        dropped_attributes: span.dropped_attributes,
        dropped_events: span.dropped_events,
    }
}
