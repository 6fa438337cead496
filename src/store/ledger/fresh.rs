//! Records that have just ended, in the shape in which the ledger will list them: for whoever shows them before
//! they have been read from a file.

use serde_json::Value as Json;

use crate::store::time::{milliseconds, rfc3339};
use crate::telemetry::{LogRecord, RecordingData};

use super::encode;
use super::insert::beginning;
use super::logs::safe_fields;
use super::views::{ErrorView, InvocationView, LogView, UsageView};

impl InvocationView {
    /// A line of a list.
    pub fn of(data: &RecordingData) -> InvocationView {
        let ns = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let created_at_ns = i64::try_from(data.created_at_unix_ns).unwrap_or(i64::MAX);
        InvocationView {
            invocation_id: data.invocation_id.to_string(),
            trace_id: data.trace_id.to_string(),
            plugin: data.plugin.to_string(),
            version: data.version.as_deref().map(str::to_owned),
            action: data.action.to_string(),
            state: "done",
            outcome: data.outcome.as_str().to_owned(),
            error: data.error.as_ref().map(|error| ErrorView {
                kind: error.kind.as_str().to_owned(),
                blame: error.kind.blame().as_str(),
                message: error.message.to_string(),
                exception: None,
            }),
            attempts: data.attempts,
            created_at: rfc3339(created_at_ns),
            created_at_ns,
            duration_ms: milliseconds(ns(data.duration)),
            queue_ms: milliseconds(ns(data.queue)),
            prepare_ms: milliseconds(ns(data.prepare)),
            cold_start: data.cold_start,
            usage: UsageView {
                cpu_ms: milliseconds(ns(data.usage.cpu)),
                memory_peak_bytes: data.usage.memory_peak_bytes,
                input_bytes: data.usage.input_bytes,
                output_bytes: data.usage.output_bytes,
            },
            origin: data.origin.as_str().to_owned(),
            root_span_id: data.root().id.to_string(),
            spans: data.spans().len() as u64,
            input_preview: data.captured_input.as_ref().map(|input| beginning(&input.json).to_owned()),
        }
    }
}

impl LogView {
    pub fn of(record: &LogRecord) -> LogView {
        let host = record.stream == crate::model::guest::LogStream::Host;
        let Json::Object(fields) = encode::raw(&record.fields) else { unreachable!("fields are an object") };
        LogView {
            timestamp: rfc3339(i64::try_from(record.unix_ns).unwrap_or(i64::MAX)),
            severity_text: record.severity.as_str(),
            severity_number: record.severity as u8,
            body: record.body.to_string(),
            event_name: record.event_name.map(str::to_owned),
            trace_id: record.ids.map(|ids| ids.trace_id.to_string()),
            span_id: record.ids.map(|ids| ids.span_id.to_string()),
            invocation_id: record.ids.and_then(|ids| ids.invocation_id).map(|id| id.to_string()),
            plugin: record.plugin.as_deref().map(str::to_owned),
            version: record.version.as_deref().map(str::to_owned),
            stream: record.stream.as_str().to_owned(),
            dropped_fields: record.dropped_fields.into(),
            fields: safe_fields(fields, host),
        }
    }
}
