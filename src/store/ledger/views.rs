//! What queries answer, in the shapes of the public contract.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use crate::model::guest::Severity;
use crate::model::ids::{InvocationId, TraceId};
use crate::model::kind::{ErrorKind, Outcome};

use super::cursor::Cursor;

/// What lists of invocations and traces are narrowed by.
#[derive(Clone, Debug, Default)]
pub struct InvocationFilter {
    pub plugin: Option<String>,
    pub version: Option<String>,
    pub outcome: Option<Outcome>,
    pub kind: Option<ErrorKind>,
    /// Begun at this time or later.
    pub since: Option<SystemTime>,
    /// Begun before this time.
    pub until: Option<SystemTime>,
    /// An invocation's or trace's id, or a part of plugin, action, kind or message of the error.
    pub q: Option<String>,
    /// Default 50, at most 1000.
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    pub plugin: Option<String>,
    pub version: Option<String>,
    /// Only the last records of calls that ended so.
    pub outcome: Option<Outcome>,
    /// Only records of an error of this kind.
    pub kind: Option<ErrorKind>,
    pub trace_id: Option<TraceId>,
    pub invocation_id: Option<InvocationId>,
    /// This severity or a higher one.
    pub level: Option<Severity>,
    pub since: Option<SystemTime>,
    pub until: Option<SystemTime>,
    /// A part of the text.
    pub q: Option<String>,
    pub limit: Option<usize>,
    /// `next` of the page before: goes on to older records.
    pub cursor: Option<String>,
    /// `follow` of the page before: what has arrived since, in order of arrival.
    pub after: Option<String>,
}

/// Part of a list. `next` is `None` on the last page.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

impl Page<InvocationView> {
    /// Keeps the first `count` items, for whoever adds some of his own; the next page begins after them.
    pub fn shorten(&mut self, count: usize) {
        if count < self.items.len() {
            self.items.truncate(count);
            let ns = self.items.last().map_or(i64::MAX, |last| last.created_at_ns);
            self.next = Some(Cursor::Time { ns }.text());
        }
    }
}

/// Newest first; with `after` in order of arrival.
#[derive(Clone, Debug, Serialize)]
pub struct LogPage {
    pub items: Vec<LogView>,
    pub next: Option<String>,
    /// Give this as `after` to get what arrives from now on.
    pub follow: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct InvocationView {
    pub invocation_id: String,
    pub trace_id: String,
    pub plugin: String,
    pub version: Option<String>,
    pub action: String,
    /// Always `done`: the ledger knows only what has ended.
    pub state: &'static str,
    pub outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorView>,
    pub attempts: u32,
    pub created_at: String,
    #[serde(skip)]
    pub created_at_ns: i64,
    pub duration_ms: f64,
    pub queue_ms: f64,
    pub prepare_ms: f64,
    pub cold_start: bool,
    pub usage: UsageView,
    /// `network` or `local`.
    pub origin: String,
    pub root_span_id: String,
    /// How many spans were recorded.
    pub spans: u64,
    /// The beginning of the input's JSON, as it was kept. Only in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_preview: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ErrorView {
    pub kind: String,
    pub blame: &'static str,
    pub message: String,
    /// Only where one invocation is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<ExceptionView>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExceptionView {
    #[serde(rename = "type")]
    pub type_name: String,
    pub traceback: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct UsageView {
    pub cpu_ms: f64,
    pub memory_peak_bytes: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
}

/// One invocation with what went in and came out.
#[derive(Clone, Debug, Serialize)]
pub struct InvocationDetail {
    #[serde(flatten)]
    pub invocation: InvocationView,
    /// `None`: nothing was captured. A truncated one is a JSON string that holds the beginning.
    pub input: Option<Box<RawValue>>,
    pub input_truncated: bool,
    pub input_redacted: bool,
    pub output: Option<Box<RawValue>>,
    pub output_truncated: bool,
    pub output_redacted: bool,
    /// The input is here as it was given.
    pub replayable: bool,
}

/// One line in a list of traces: the call that it began with here.
#[derive(Clone, Debug, Serialize)]
pub struct TraceSummary {
    pub trace_id: String,
    pub name: String,
    pub invocation_id: String,
    pub plugin: String,
    pub version: Option<String>,
    pub outcome: String,
    pub kind: Option<String>,
    pub start: String,
    pub duration_ms: f64,
    /// Of all invocations in the trace.
    pub spans: u64,
    pub invocations: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct TraceView {
    pub trace_id: String,
    /// By their start.
    pub spans: Vec<SpanView>,
    /// In order of time.
    pub logs: Vec<LogView>,
    /// There are more spans or logs than an answer may hold.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct SpanView {
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub name: String,
    /// `internal`, `server` or `client`.
    pub kind: &'static str,
    pub start: String,
    pub duration_ms: f64,
    /// `unset` or `error`.
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    pub attributes: Map<String, Json>,
    pub events: Vec<EventView>,
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped_attributes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped_events: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct EventView {
    pub name: String,
    pub time: String,
    pub attributes: Map<String, Json>,
}

/// A log record with the keys of a log line.
#[derive(Clone, Debug, Serialize)]
pub struct LogView {
    pub timestamp: String,
    pub severity_text: &'static str,
    pub severity_number: u8,
    pub body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    #[serde(rename = "plugin.name", skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    #[serde(rename = "plugin.version", skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub stream: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped_fields: u64,
    /// `outcome`, `error.type` and `duration_ms` at the end of a call; what a plugin added.
    #[serde(flatten)]
    pub fields: Map<String, Json>,
}

/// How much a ledger holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LedgerCounts {
    pub invocations: u64,
    pub operations: u64,
    pub logs: u64,
    pub oldest_invocation: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
