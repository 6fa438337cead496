//! What waits in the queue: rows as they will lie in the tables.

use std::sync::Arc;

use crate::model::guest::{LogStream, Severity};
use crate::model::ids::{InvocationId, SpanId, TraceId};
use crate::model::invocation::{Origin, Usage};
use crate::model::kind::{ErrorKind, Outcome};

use super::class::Class;

/// One record of telemetry.
pub(super) enum Row {
    Invocation(Box<InvocationRow>),
    Log(Box<LogRow>),
    Operation(Box<OperationRow>),
}

pub(super) struct InvocationRow {
    pub invocation_id: InvocationId,
    pub trace_id: TraceId,
    pub root_span_id: SpanId,
    pub trace_flags: u8,
    pub tracestate: Option<Arc<str>>,
    pub plugin: Arc<str>,
    pub version: Option<Arc<str>>,
    pub runtime: Option<&'static str>,
    pub action: Arc<str>,
    pub origin: Origin,
    pub outcome: Outcome,
    pub error: Option<(ErrorKind, String)>,
    pub attempts: u32,
    pub cold_start: bool,
    pub created_at_ns: i64,
    pub duration_ns: i64,
    pub queue_ns: i64,
    pub prepare_ns: i64,
    pub usage: Usage,
    pub span_count: usize,
    /// See `spans.rs`.
    pub spans: String,
    pub input: Option<CapturedRow>,
    pub output: Option<CapturedRow>,
    /// The log record that the call ended with.
    pub ending: LogRow,
    pub class: Class,
}

pub(super) struct CapturedRow {
    pub json: String,
    pub truncated: bool,
    pub redacted: bool,
}

pub(super) struct LogRow {
    pub unix_ns: i64,
    pub severity: Severity,
    pub stream: LogStream,
    pub plugin: Option<Arc<str>>,
    pub version: Option<Arc<str>>,
    pub event_name: Option<&'static str>,
    pub trace_id: Option<TraceId>,
    pub span_id: Option<SpanId>,
    pub invocation_id: Option<InvocationId>,
    pub body: String,
    /// A JSON object.
    pub fields: Option<String>,
    pub dropped_fields: u32,
}

pub(super) struct OperationRow {
    pub start_ns: i64,
    pub trace_id: TraceId,
    pub span: String,
}

const TRUNCATED: u8 = 1;
const REDACTED: u8 = 2;

impl Row {
    /// What it takes in memory, near enough.
    pub fn bytes(&self) -> usize {
        match self {
            Row::Invocation(row) => {
                let captured = |captured: &Option<CapturedRow>| captured.as_ref().map_or(0, |c| c.json.len());
                let error = row.error.as_ref().map_or(0, |(_, message)| message.len());
                size_of::<InvocationRow>()
                    + row.spans.len()
                    + row.ending.text_bytes()
                    + captured(&row.input)
                    + captured(&row.output)
                    + error
            }
            Row::Log(row) => size_of::<LogRow>() + row.text_bytes(),
            Row::Operation(row) => size_of::<OperationRow>() + row.span.len(),
        }
    }
}

impl LogRow {
    pub fn text_bytes(&self) -> usize {
        self.body.len() + self.fields.as_ref().map_or(0, String::len)
    }
}

impl CapturedRow {
    /// Both flags as one small number.
    pub fn cut(captured: Option<&CapturedRow>) -> u8 {
        captured.map_or(0, |c| u8::from(c.truncated) * TRUNCATED + u8::from(c.redacted) * REDACTED)
    }

    pub fn is_truncated(cut: u8) -> bool {
        cut & TRUNCATED != 0
    }

    pub fn is_redacted(cut: u8) -> bool {
        cut & REDACTED != 0
    }
}
