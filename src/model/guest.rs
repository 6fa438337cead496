//! What a plugin says to the host while a call runs. All of it is data from a stranger: bounded by whoever
//! reads it, escaped by whoever prints it, and never looked into for ids.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::ids::{InvocationId, SpanId};
use super::span_kind::SpanKind;

/// Where a log line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    Host,
    Stdout,
    Stderr,
    /// `ctx.log` and the language's own logging.
    Sdk,
}

impl LogStream {
    pub const ALL: &'static [LogStream] =
        &[LogStream::Host, LogStream::Stdout, LogStream::Stderr, LogStream::Sdk];

    pub const fn as_str(self) -> &'static str {
        match self {
            LogStream::Host => "host",
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
            LogStream::Sdk => "sdk",
        }
    }
}

/// Severities with OpenTelemetry's numbers (Logs Data Model, `SeverityNumber`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Trace = 1,
    Debug = 5,
    Info = 9,
    Warn = 13,
    Error = 17,
    Fatal = 21,
}

impl Severity {
    pub const ALL: &'static [Severity] =
        &[Severity::Trace, Severity::Debug, Severity::Info, Severity::Warn, Severity::Error, Severity::Fatal];

    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Trace => "TRACE",
            Severity::Debug => "DEBUG",
            Severity::Info => "INFO",
            Severity::Warn => "WARN",
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }

    /// Also takes lower case and Python's `WARNING` and `CRITICAL`.
    pub fn parse(text: &str) -> Option<Severity> {
        Some(match text.to_ascii_uppercase().as_str() {
            "TRACE" => Severity::Trace,
            "DEBUG" => Severity::Debug,
            "INFO" => Severity::Info,
            "WARN" | "WARNING" => Severity::Warn,
            "ERROR" => Severity::Error,
            "FATAL" | "CRITICAL" => Severity::Fatal,
            _ => return None,
        })
    }
}

/// One line or record that a plugin logged or printed.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestLog {
    /// Wall time in ns since the Unix epoch; `None`: when it was read.
    pub unix_ns: Option<u64>,
    pub severity: Severity,
    pub stream: LogStream,
    pub body: String,
    pub logger: Option<String>,
    pub fields: Map<String, Value>,
    pub code: Option<CodeLocation>,
    /// The plugin's span that was open; `None`: the call's `execute` span.
    pub span_id: Option<SpanId>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CodeLocation {
    pub file: String,
    pub line: u32,
    pub function: String,
}

/// A span that a plugin closed. Times are ns since the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestSpan {
    pub span_id: SpanId,
    /// `None`: a child of the call's `execute` span.
    pub parent_id: Option<SpanId>,
    pub name: String,
    pub kind: SpanKind,
    pub start_unix_ns: u64,
    pub end_unix_ns: u64,
    /// The message of a failed step.
    pub error: Option<String>,
    pub attributes: Map<String, Value>,
    pub events: Vec<GuestEvent>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GuestEvent {
    pub unix_ns: u64,
    pub name: String,
    pub attributes: Map<String, Value>,
}

/// `ctx.metric(name, value)`.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestMetric {
    pub name: String,
    pub value: f64,
    pub attributes: Map<String, Value>,
}

/// Something a plugin asks of the host during a call.
#[derive(Clone, Debug)]
pub enum GuestCall {
    Http(HttpRequest),
    KeyValue(KeyValueRequest),
    Plugin(PluginCall),
}

/// `ctx.services.http`: the host makes the request, so that its span, retries and limits are the host's.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
    pub timeout: Option<Duration>,
    /// The guest span that was open when the plugin asked.
    pub parent_id: Option<SpanId>,
}

/// `ctx.services.kv`: one operation on what the plugin keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyValueRequest {
    pub operation: KeyValueOperation,
    pub parent_id: Option<SpanId>,
}

/// Values are JSON texts. `if_revision`: only if the key is still at that revision, 0 if it is not there.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyValueOperation {
    Get {
        key: String,
    },
    Set {
        key: String,
        value: String,
        time_to_live: Option<Duration>,
        if_revision: Option<u64>,
    },
    Delete {
        key: String,
        if_revision: Option<u64>,
    },
    /// A page of the keys that begin with `prefix` and come after `after`, in the order of their bytes.
    Keys {
        prefix: String,
        after: Option<String>,
    },
    /// Adds to an integer; a key that is not there counts as 0.
    Increment {
        key: String,
        by: i64,
    },
}

impl KeyValueOperation {
    pub const fn name(&self) -> &'static str {
        match self {
            KeyValueOperation::Get { .. } => "get",
            KeyValueOperation::Set { .. } => "set",
            KeyValueOperation::Delete { .. } => "delete",
            KeyValueOperation::Keys { .. } => "keys",
            KeyValueOperation::Increment { .. } => "increment",
        }
    }
}

/// `ctx.services.call`: one plugin calls another.
#[derive(Clone, Debug)]
pub struct PluginCall {
    pub plugin: String,
    pub action: Option<String>,
    pub input: Arc<RawValue>,
    pub timeout: Option<Duration>,
    pub parent_id: Option<SpanId>,
}

/// The host's answer to a [`GuestCall`]: any JSON.
pub type GuestAnswer = Result<Arc<RawValue>, GuestCallError>;

/// What the plugin sees as an exception: `kind` is a short word such as `timeout`, `connect`, `refused`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct GuestCallError {
    pub kind: &'static str,
    pub message: String,
    /// The invocation that failed, if it was one.
    pub invocation_id: Option<InvocationId>,
}

impl GuestCallError {
    pub fn new(kind: &'static str, message: impl Into<String>) -> GuestCallError {
        GuestCallError { kind, message: message.into(), invocation_id: None }
    }
}

/// A secret's value: prints as `***` wherever it might slip out.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(value: &str) -> Secret {
        Secret(value.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
