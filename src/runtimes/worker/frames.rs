//! Frames as data: what is sent to a worker, what a worker may send, and how much of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::model::guest::{CodeLocation, GuestEvent, GuestLog, GuestMetric, GuestSpan, LogStream, Severity};
use crate::model::ids::SpanId;
use crate::model::span_kind::SpanKind;
use crate::model::text::truncate;

pub const PROTOCOL_VERSION: u32 = 1;
pub const HEADER_BYTES: usize = 4;
/// What a frame may have beyond the output in it: all frames that hold no output are smaller.
pub const FRAME_HEADROOM_BYTES: u64 = 2 << 20;
/// Per call.
pub const SPANS_MAX: u64 = 1_000;
pub const LOGS_MAX: u64 = 10_000;
pub const METRICS_MAX: u64 = 1_000;
/// At the same time.
pub const ASKS_MAX: usize = 16;
/// Of one record.
const TEXT_BYTES_MAX: usize = 8 << 10;
const NAME_BYTES_MAX: usize = 256;
const FIELDS_MAX: usize = 64;
const EVENTS_MAX: usize = 64;
const TRACEBACK_BYTES_MAX: usize = 64 << 10;

// --- to the worker

#[derive(Serialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ToWorker<'a> {
    Hello {
        v: u32,
        plugin: &'a str,
        version: &'a str,
        folder: &'a str,
        entrypoints: BTreeMap<&'a str, &'a str>,
        convention: &'a str,
        config: &'a Map<String, Value>,
        secrets: BTreeMap<&'a str, &'a str>,
        max_frame: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        debug: Option<DebugFrame<'a>>,
        /// It is to be a fork server: it loads the plugin, and its copies get a `hello` of their own.
        #[serde(skip_serializing_if = "is_false")]
        forks: bool,
    },
    Call {
        id: u64,
        attempt: u32,
        action: &'a str,
        invocation_id: String,
        input: &'a RawValue,
        traceparent: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tracestate: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        baggage: Option<&'a str>,
        deadline_ms: u64,
        output_max: u64,
    },
    Reply {
        seq: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<ReplyError<'a>>,
    },
    /// Asks the hook `health`; between calls.
    Health {
        id: u64,
    },
    Shutdown {
        grace_ms: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Serialize)]
pub struct DebugFrame<'a> {
    pub socket: &'a Path,
    pub post_mortem: bool,
}

#[derive(Serialize)]
pub struct ReplyError<'a> {
    pub kind: &'a str,
    pub message: &'a str,
    /// The invocation that failed, when another plugin was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
}

/// Appends `frame` with its length.
pub fn encode(buffer: &mut Vec<u8>, frame: &ToWorker<'_>) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    serde_json::to_writer(&mut *buffer, frame)
        .expect("frames have string keys, and a vector takes all bytes");
    let length = u32::try_from(buffer.len() - start - HEADER_BYTES).expect("inputs and answers are bounded");
    buffer[start..start + HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
}

// --- from the worker

/// The fields by which a frame is dispatched, and those of the frames that every call has.
#[derive(Deserialize)]
pub struct Frame<'a> {
    #[serde(borrow)]
    pub t: Cow<'a, str>,
    pub id: Option<u64>,
    #[serde(default)]
    pub seq: u64,
    #[serde(borrow, default, deserialize_with = "present")]
    pub output: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub data: Option<&'a RawValue>,
    pub usage: Option<UsageFrame>,
    pub dropped: Option<DroppedFrame>,
    /// The worker must not be called again.
    #[serde(default)]
    pub last: bool,
}

impl Frame<'_> {
    /// Whether it is a log record that belongs to no call.
    pub fn is_stray(&self) -> bool {
        self.id.is_none() && self.t == "log"
    }
}

/// `null` is a value too.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Clone, Copy, Default, Deserialize)]
pub struct UsageFrame {
    #[serde(default)]
    pub cpu_us: u64,
    #[serde(default)]
    pub rss_peak_kib: u64,
}

/// What the worker itself cut off.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct DroppedFrame {
    pub log: u64,
    pub span: u64,
    pub metric: u64,
    pub event: u64,
}

#[derive(Deserialize)]
pub struct ReadyFrame {
    #[serde(default)]
    pub v: u32,
    pub error: Option<FailureFrame>,
    /// Why what should be a fork server cannot be one.
    pub spawn_only: Option<String>,
    /// Hooks that it can be asked for.
    #[serde(default)]
    pub hooks: Vec<String>,
}

/// The answer of the hook `health`.
#[derive(Deserialize)]
pub struct HealthyFrame {
    #[serde(default)]
    pub id: u64,
    pub ok: bool,
    pub message: Option<String>,
}

impl HealthyFrame {
    /// Why it is not well.
    pub fn verdict(self) -> Result<(), String> {
        if self.ok {
            return Ok(());
        }
        Err(self.message.map_or_else(|| "health said no".to_owned(), |text| truncated(text, TEXT_BYTES_MAX)))
    }
}

/// What an `error` frame and a failed `ready` say.
#[derive(Deserialize)]
#[serde(default)]
pub struct FailureFrame {
    pub kind: String,
    #[serde(rename = "type")]
    pub type_name: String,
    pub message: String,
    pub traceback: String,
    /// What the plugin's author can do about it.
    pub help: Option<String>,
    pub retry_after_ms: Option<u64>,
    /// A failed import: the module that was not found.
    pub missing_module: Option<String>,
}

impl Default for FailureFrame {
    fn default() -> FailureFrame {
        FailureFrame {
            kind: "plugin_error".into(),
            type_name: "Error".into(),
            message: String::new(),
            traceback: String::new(),
            help: None,
            retry_after_ms: None,
            missing_module: None,
        }
    }
}

impl FailureFrame {
    pub fn bounded(mut self) -> FailureFrame {
        cut(&mut self.type_name, NAME_BYTES_MAX);
        cut(&mut self.message, TEXT_BYTES_MAX);
        cut(&mut self.traceback, TRACEBACK_BYTES_MAX);
        if let Some(help) = &mut self.help {
            cut(help, TEXT_BYTES_MAX);
        }
        self
    }
}

#[derive(Deserialize)]
pub struct LogFrame {
    time: Option<u64>,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    body: String,
    /// `stdout` or `stderr`: a line that would have been printed, but belongs to no call.
    stream: Option<String>,
    logger: Option<String>,
    #[serde(default)]
    fields: Map<String, Value>,
    code: Option<CodeFrame>,
    /// The span that was open.
    span_id: Option<String>,
}

#[derive(Deserialize)]
struct CodeFrame {
    file: String,
    line: u32,
    function: String,
}

impl LogFrame {
    pub fn into_log(self) -> GuestLog {
        GuestLog {
            unix_ns: self.time,
            severity: Severity::parse(&self.severity).unwrap_or(Severity::Info),
            stream: match self.stream.as_deref() {
                Some("stdout") => LogStream::Stdout,
                Some("stderr") => LogStream::Stderr,
                _ => LogStream::Sdk,
            },
            body: truncated(self.body, TEXT_BYTES_MAX),
            logger: self.logger.map(|name| truncated(name, NAME_BYTES_MAX)),
            fields: bounded(self.fields),
            code: self.code.map(|code| CodeLocation {
                file: truncated(code.file, TEXT_BYTES_MAX),
                line: code.line,
                function: truncated(code.function, NAME_BYTES_MAX),
            }),
            span_id: self.span_id.as_deref().and_then(SpanId::parse),
        }
    }
}

#[derive(Deserialize)]
pub struct SpanFrame {
    span_id: String,
    parent_id: Option<String>,
    name: String,
    #[serde(default)]
    client: bool,
    /// Says more than `client`.
    kind: Option<String>,
    start: u64,
    end: u64,
    error: Option<String>,
    #[serde(default)]
    attributes: Map<String, Value>,
    #[serde(default)]
    events: Vec<EventFrame>,
}

#[derive(Deserialize)]
struct EventFrame {
    time: u64,
    name: String,
    #[serde(default)]
    attributes: Map<String, Value>,
}

impl SpanFrame {
    /// The span and how many of its events were too many; `None`: it has no valid id.
    pub fn into_span(mut self) -> Option<(GuestSpan, u64)> {
        let span_id = SpanId::parse(&self.span_id)?;
        let excess = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.truncate(EVENTS_MAX);
        let events = self.events.into_iter().map(|event| GuestEvent {
            unix_ns: event.time,
            name: truncated(event.name, NAME_BYTES_MAX),
            attributes: bounded(event.attributes),
        });
        let kind = self.kind.as_deref().and_then(SpanKind::parse);
        let kind = kind.unwrap_or(if self.client { SpanKind::Client } else { SpanKind::Internal });
        let span = GuestSpan {
            span_id,
            parent_id: self.parent_id.as_deref().and_then(SpanId::parse),
            name: truncated(self.name, NAME_BYTES_MAX),
            kind,
            start_unix_ns: self.start,
            end_unix_ns: self.end.max(self.start),
            error: self.error.map(|error| truncated(error, TEXT_BYTES_MAX)),
            attributes: bounded(self.attributes),
            events: events.collect(),
        };
        Some((span, excess as u64))
    }
}

#[derive(Deserialize)]
pub struct MetricFrame {
    name: String,
    value: f64,
    #[serde(default)]
    attributes: Map<String, Value>,
}

impl MetricFrame {
    pub fn into_metric(self) -> GuestMetric {
        GuestMetric {
            name: truncated(self.name, NAME_BYTES_MAX),
            value: self.value,
            attributes: bounded(self.attributes),
        }
    }
}

fn cut(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

pub(super) fn truncated(mut text: String, bytes_max: usize) -> String {
    cut(&mut text, bytes_max);
    text
}

/// At most so many fields, none longer than a text may be; a larger structure becomes cut text.
fn bounded(mut fields: Map<String, Value>) -> Map<String, Value> {
    if fields.len() > FIELDS_MAX {
        fields = fields.into_iter().take(FIELDS_MAX).collect();
    }
    for value in fields.values_mut() {
        match value {
            Value::String(text) => cut(text, TEXT_BYTES_MAX),
            Value::Array(_) | Value::Object(_) => {
                let text = value.to_string();
                if text.len() > TEXT_BYTES_MAX {
                    *value = Value::String(truncate(&text, TEXT_BYTES_MAX).to_owned());
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    if fields.keys().all(|name| name.len() <= NAME_BYTES_MAX) {
        return fields;
    }
    fields.into_iter().map(|(name, value)| (truncated(name, NAME_BYTES_MAX), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_output_is_an_output() {
        let frame: Frame<'_> = serde_json::from_str(r#"{"t":"end","id":1,"output":null}"#).unwrap();
        assert_eq!(frame.output.unwrap().get(), "null");
        let frame: Frame<'_> = serde_json::from_str(r#"{"t":"end","id":1,"x":[]}"#).unwrap();
        assert!(frame.output.is_none());
    }

    #[test]
    fn records_are_bounded_whatever_is_sent() {
        let long = "x".repeat(100_000);
        let fields: Map<String, Value> =
            (0..500).map(|i| (format!("{i}{long}"), Value::from(long.clone()))).collect();
        let log = serde_json::json!({"body": long, "severity": "nonsense", "fields": fields});
        let log = serde_json::from_value::<LogFrame>(log).unwrap().into_log();
        assert_eq!(log.body.len(), TEXT_BYTES_MAX);
        assert_eq!(log.severity, Severity::Info);
        assert_eq!(log.fields.len(), FIELDS_MAX);
        assert!(
            log.fields
                .iter()
                .all(|(k, v)| k.len() <= NAME_BYTES_MAX && v.as_str().unwrap().len() <= TEXT_BYTES_MAX)
        );
    }

    #[test]
    fn a_span_has_the_kind_that_it_says_or_the_older_word_for_it() {
        let kind = |extra: serde_json::Value| {
            let mut span =
                serde_json::json!({"span_id": "00f067aa0ba902b7", "name": "n", "start": 1, "end": 2});
            span.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            serde_json::from_value::<SpanFrame>(span).unwrap().into_span().unwrap().0.kind
        };
        for known in SpanKind::ALL {
            assert_eq!(kind(serde_json::json!({"kind": known.as_str(), "client": true})), *known);
        }
        assert_eq!(kind(serde_json::json!({"client": true})), SpanKind::Client);
        assert_eq!(kind(serde_json::json!({"kind": "nonsense"})), SpanKind::Internal);
        let log =
            |id: &str| serde_json::from_value::<LogFrame>(serde_json::json!({"body": "b", "span_id": id}));
        let span_id = |id: &str| log(id).unwrap().into_log().span_id.map(|id| id.to_string());
        assert_eq!(span_id("00f067aa0ba902b7").as_deref(), Some("00f067aa0ba902b7"));
        assert_eq!((span_id("0000000000000000"), span_id("../etc")), (None, None));
    }

    #[test]
    fn frames_carry_their_length() {
        let mut buffer = vec![7];
        encode(&mut buffer, &ToWorker::Shutdown { grace_ms: 5 });
        assert_eq!(&buffer[1..5], 29_u32.to_le_bytes());
        assert_eq!(&buffer[5..], br#"{"t":"shutdown","grace_ms":5}"#.as_slice());
    }
}
