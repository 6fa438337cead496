//! Records of telemetry as rows. Runs on the telemetry thread.

use std::time::{Duration, SystemTime};

use crate::model::text::Text;
use crate::store::time::unix_ns;
use crate::telemetry::{Captured, LogRecord, OperationRecord, Record, RecordingData, Value};

use super::class::Class;
use super::rows::{CapturedRow, InvocationRow, LogRow, OperationRow, Row};
use super::spans::{self, put_object};

/// A plugin's clock may say anything. In the ledger a record is at most this much older, or newer, than the
/// moment at which it arrived; else it would never be deleted, or at once.
const OLDER_MAX: Duration = Duration::from_secs(24 * 3600);
const NEWER_MAX: Duration = Duration::from_secs(60);

/// `class` is that of an invocation.
pub(super) fn encode(record: &Record, class: Class) -> Row {
    match record {
        Record::Invocation(data) => Row::Invocation(Box::new(invocation(data, class))),
        Record::Log(record) => Row::Log(Box::new(log(record))),
        Record::Operation(record) => Row::Operation(Box::new(operation(record))),
    }
}

pub(super) fn encode_line(record: &LogRecord) -> Row {
    Row::Log(Box::new(log(record)))
}

fn invocation(data: &RecordingData, class: Class) -> InvocationRow {
    InvocationRow {
        invocation_id: data.invocation_id,
        trace_id: data.trace_id,
        root_span_id: data.root().id,
        trace_flags: data.flags,
        tracestate: data.tracestate.clone(),
        plugin: data.plugin.clone(),
        version: data.version.clone(),
        runtime: data.runtime,
        action: data.action.clone(),
        origin: data.origin,
        outcome: data.outcome,
        error: data.error.as_ref().map(|error| (error.kind, error.message.to_string())),
        attempts: data.attempts,
        cold_start: data.cold_start,
        created_at_ns: signed(data.created_at_unix_ns),
        duration_ns: nanoseconds(data.duration),
        queue_ns: nanoseconds(data.queue),
        prepare_ns: nanoseconds(data.prepare),
        usage: data.usage,
        span_count: data.spans().len(),
        spans: spans::encode(data),
        input: data.captured_input.as_ref().map(captured),
        output: data.captured_output.as_ref().map(captured),
        ending: log(&data.ending_log()),
        class,
    }
}

fn captured(captured: &Captured) -> CapturedRow {
    CapturedRow { json: captured.json.clone(), truncated: captured.truncated, redacted: captured.redacted }
}

fn log(record: &LogRecord) -> LogRow {
    let ids = record.ids.as_ref();
    LogRow {
        unix_ns: believable(signed(record.unix_ns)),
        severity: record.severity,
        stream: record.stream,
        plugin: record.plugin.clone(),
        version: record.version.clone(),
        event_name: record.event_name,
        trace_id: ids.map(|ids| ids.trace_id),
        span_id: ids.map(|ids| ids.span_id),
        invocation_id: ids.and_then(|ids| ids.invocation_id),
        body: record.body.to_string(),
        fields: (!record.fields.is_empty()).then(|| object(&record.fields)),
        dropped_fields: record.dropped_fields,
    }
}

/// A span outside calls: the array of `spans.rs`, with an id as parent and wall times.
fn operation(record: &OperationRecord) -> OperationRow {
    let parent = record.parent.map(|parent| parent.to_string());
    let events: Vec<_> = record
        .events
        .iter()
        .map(|event| {
            let at_ns = event.unix_ns.saturating_sub(record.start_unix_ns);
            serde_json::json!([&*event.name, at_ns, raw(&event.attributes)])
        })
        .collect();
    let span = serde_json::json!([[
        record.span_id.to_string(),
        parent,
        &*record.name,
        "i",
        0,
        record.end_unix_ns.saturating_sub(record.start_unix_ns),
        [raw(&record.attributes)],
        events,
        record.error.as_deref(),
    ]]);
    OperationRow { start_ns: signed(record.start_unix_ns), trace_id: record.trace_id, span: span.to_string() }
}

fn object(fields: &[(Text, Value)]) -> String {
    let mut text = Vec::new();
    put_object(&mut text, fields.iter().map(|(key, value)| (&**key, value)));
    String::from_utf8(text).expect("all of it was written from text")
}

pub(super) fn raw(fields: &[(Text, Value)]) -> serde_json::Value {
    serde_json::from_str(&object(fields)).expect("put_object writes an object")
}

fn believable(at_ns: i64) -> i64 {
    let now = unix_ns(SystemTime::now());
    at_ns.clamp(now.saturating_sub(nanoseconds(OLDER_MAX)), now.saturating_add(nanoseconds(NEWER_MAX)))
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
