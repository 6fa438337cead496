//! What is recorded, as compact plain data: an invocation with its spans, a log record, a span of the
//! control plane. The ledger and the encoders read these; only `recorder` writes them.

use std::sync::Arc;
use std::time::Duration;

use crate::model::guest::{LogStream, Severity};
use crate::model::ids::{InvocationId, SpanId, TraceId};
use crate::model::invocation::{Origin, Usage};
use crate::model::kind::{ErrorKind, Outcome};
pub use crate::model::span_kind::SpanKind;
use crate::model::text::{Text, truncate};
use crate::model::trace_context::FLAG_SAMPLED;

use super::names;

/// Longest text of one attribute, log field or message.
pub const TEXT_BYTES_MAX: usize = 8 << 10;

/// One thing that happened. Sinks get them in the order in which each thread handed them over.
#[derive(Clone, Debug)]
pub enum Record {
    /// An invocation that has ended.
    Invocation(Box<RecordingData>),
    /// A line of a plugin, or an event of the host. Lines of a call come before its invocation.
    Log(Box<LogRecord>),
    /// A span of the control plane: start-up, register, prepare, storage.
    Operation(Box<OperationRecord>),
}

/// A consumer on the telemetry thread. It sees records in order, must not block and must not emit events.
pub trait Sink: Send {
    fn accept(&mut self, batch: &[Record]);
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Text),
    Int(i64),
    Float(f64),
    Bool(bool),
    Id(InvocationId),
}

/// `key = value` of a span, a span event or a log record.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub key: Text,
    pub value: Value,
    /// The next field of the same owner.
    pub(super) next: u32,
}

/// One span of an invocation. Times are nanoseconds since `RecordingData::created_at_unix_ns`.
#[derive(Clone, Debug)]
pub struct SpanRecord {
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub name: Text,
    pub kind: SpanKind,
    pub start_ns: u64,
    pub end_ns: u64,
    /// What failed; `None` is the status Unset.
    pub error: Option<Text>,
    /// Attributes and events that a limit cut off.
    pub dropped_attributes: u32,
    pub dropped_events: u32,
    pub(super) open: bool,
    pub(super) fields: Chain,
    pub(super) events: Chain,
}

/// Something that happened within a span.
#[derive(Clone, Debug)]
pub struct EventRecord {
    pub name: Text,
    /// Nanoseconds since `RecordingData::created_at_unix_ns`.
    pub at_ns: u64,
    pub(super) fields: Chain,
    pub(super) next: u32,
}

/// The error of an invocation, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedError {
    pub kind: ErrorKind,
    pub message: Text,
}

/// JSON that went into or came out of a call, as it may be kept: bounded and redacted by whoever took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    pub json: String,
    pub truncated: bool,
    pub redacted: bool,
}

/// One ended invocation with its spans. The first span is the root.
#[derive(Clone, Debug)]
pub struct RecordingData {
    pub invocation_id: InvocationId,
    pub trace_id: TraceId,
    pub flags: u8,
    pub tracestate: Option<Arc<str>>,
    pub origin: Origin,
    /// As asked; a name that nobody registered stands here too, bounded.
    pub plugin: Arc<str>,
    /// `None`: no version was found to call.
    pub version: Option<Arc<str>>,
    pub runtime: Option<&'static str>,
    pub action: Arc<str>,
    pub created_at_unix_ns: u64,
    /// How long after that the root span began: 0, but for a call that waited in the durable queue.
    pub begun_ns: u64,
    pub duration: Duration,
    pub attempts: u32,
    pub queue: Duration,
    pub prepare: Duration,
    pub cold_start: bool,
    pub outcome: Outcome,
    pub error: Option<RecordedError>,
    pub usage: Usage,
    pub captured_input: Option<Captured>,
    pub captured_output: Option<Captured>,
    pub(super) spans: Vec<SpanRecord>,
    pub(super) fields: Vec<Field>,
    pub(super) events: Vec<EventRecord>,
    /// Bytes of text that this recording owns, for the bounds of the queue.
    pub(super) text_bytes: usize,
}

/// What ties a log record to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIds {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub flags: u8,
    /// `None` in the control plane, whose spans belong to no invocation.
    pub invocation_id: Option<InvocationId>,
}

/// One log record, of a plugin or of the host.
#[derive(Clone, Debug)]
pub struct LogRecord {
    pub unix_ns: u64,
    pub severity: Severity,
    pub stream: LogStream,
    pub body: Text,
    pub event_name: Option<&'static str>,
    pub ids: Option<LogIds>,
    pub plugin: Option<Arc<str>>,
    pub version: Option<Arc<str>>,
    pub fields: Vec<(Text, Value)>,
    pub dropped_fields: u32,
}

/// A closed span of the control plane.
#[derive(Clone, Debug)]
pub struct OperationRecord {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent: Option<SpanId>,
    pub name: Text,
    pub start_unix_ns: u64,
    pub end_unix_ns: u64,
    pub error: Option<Text>,
    pub attributes: Vec<(Text, Value)>,
    pub events: Vec<OperationEvent>,
    pub(super) sdk: opentelemetry_sdk::trace::SpanData,
}

/// Something that happened within a span of the control plane.
#[derive(Clone, Debug)]
pub struct OperationEvent {
    pub name: Text,
    pub unix_ns: u64,
    pub attributes: Vec<(Text, Value)>,
}

/// A list threaded through one vector that several owners share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    first: u32,
    last: u32,
}

const END: u32 = u32::MAX;

// === impl Value ===

/// An invocation's id as text, without allocation.
pub(super) fn id_text(id: InvocationId, buffer: &mut [u8; uuid::fmt::Hyphenated::LENGTH]) -> &str {
    uuid::Uuid::from_bytes(*id.as_bytes()).hyphenated().encode_lower(buffer)
}

impl Value {
    /// Bytes that the value owns beyond its own size.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Value::Text(Text::Shared(text)) => text.len(),
            _ => 0,
        }
    }

    /// Cuts an owned text to [`TEXT_BYTES_MAX`].
    pub(super) fn bounded(self) -> Value {
        match self {
            Value::Text(Text::Shared(text)) if text.len() > TEXT_BYTES_MAX => {
                Value::Text(truncate(&text, TEXT_BYTES_MAX).to_owned().into())
            }
            value => value,
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Value {
        Value::Text(Text::Static(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Value {
        Value::Text(Text::Shared(text))
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Value {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Int(value.into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<InvocationId> for Value {
    fn from(id: InvocationId) -> Value {
        Value::Id(id)
    }
}

// === impl Chain ===

impl Chain {
    pub(super) const EMPTY: Chain = Chain { first: END, last: END };

    pub(super) fn push_field(&mut self, fields: &mut Vec<Field>, key: Text, value: Value) {
        let Some(index) = next_index(fields.len()) else { return };
        fields.push(Field { key, value, next: END });
        match fields.get_mut(self.last as usize) {
            Some(last) if self.first != END => last.next = index,
            _ => self.first = index,
        }
        self.last = index;
    }

    pub(super) fn find_mut<'a>(self, fields: &'a mut [Field], key: &str) -> Option<&'a mut Field> {
        let mut at = self.first;
        while let Some(field) = fields.get(at as usize) {
            if *field.key == *key {
                return fields.get_mut(at as usize);
            }
            at = field.next;
        }
        None
    }

    fn push_event(&mut self, events: &mut Vec<EventRecord>, event: EventRecord) {
        let Some(index) = next_index(events.len()) else { return };
        events.push(event);
        match events.get_mut(self.last as usize) {
            Some(last) if self.first != END => last.next = index,
            _ => self.first = index,
        }
        self.last = index;
    }
}

fn next_index(length: usize) -> Option<u32> {
    u32::try_from(length).ok().filter(|index| *index != END)
}

fn walk_fields(fields: &[Field], chain: Chain) -> impl Iterator<Item = &Field> {
    std::iter::successors(fields.get(chain.first as usize), |field| fields.get(field.next as usize))
}

// === impl RecordingData ===

impl RecordingData {
    /// Whether its spans are exported and its ids may become an exemplar.
    pub const fn sampled(&self) -> bool {
        self.flags & FLAG_SAMPLED != 0
    }

    pub fn spans(&self) -> &[SpanRecord] {
        &self.spans
    }

    pub fn root(&self) -> &SpanRecord {
        &self.spans[0]
    }

    /// The attributes of `span`, in the order in which they were set. Every span but the root, which has
    /// them anyway, also carries the invocation's id, the plugin and the sandbox tier.
    pub fn attributes<'a>(&'a self, span: &'a SpanRecord) -> impl Iterator<Item = (&'a str, Value)> + 'a {
        let own = walk_fields(&self.fields, span.fields).map(|field| (&*field.key, field.value.clone()));
        let common = (span.id != self.root().id).then(|| self.common());
        own.chain(common.into_iter().flatten())
    }

    /// The events of `span` with their attributes.
    pub fn events<'a>(
        &'a self,
        span: &'a SpanRecord,
    ) -> impl Iterator<Item = (&'a EventRecord, impl Iterator<Item = (&'a str, &'a Value)> + 'a)> + 'a {
        self.walk_events(span).map(|event| {
            (event, walk_fields(&self.fields, event.fields).map(|field| (&*field.key, &field.value)))
        })
    }

    /// Wall time of an offset.
    pub const fn unix_ns(&self, offset_ns: u64) -> u64 {
        self.created_at_unix_ns.saturating_add(offset_ns)
    }

    /// When the invocation ended.
    pub fn ended_unix_ns(&self) -> u64 {
        self.unix_ns(self.begun_ns.saturating_add(super::clock::nanoseconds(self.duration)))
    }

    /// The log record that every call ends with.
    pub fn ending_log(&self) -> LogRecord {
        let mut fields: Vec<(Text, Value)> = Vec::with_capacity(3);
        fields.push((names::log::OUTCOME.into(), self.outcome.as_str().into()));
        if let Some(error) = &self.error {
            fields.push((names::log::ERROR_TYPE.into(), error.kind.as_str().into()));
        }
        fields.push((names::log::DURATION_MS.into(), (self.duration.as_nanos() as f64 / 1e6).into()));
        LogRecord {
            unix_ns: self.ended_unix_ns(),
            severity: self.ending_severity(),
            stream: LogStream::Host,
            body: self.ending_body(),
            event_name: Some(names::event::INVOCATION_FINISHED),
            ids: Some(self.ids(self.root().id)),
            plugin: Some(self.plugin.clone()),
            version: self.version.clone(),
            fields,
            dropped_fields: 0,
        }
    }

    pub(super) fn ids(&self, span_id: SpanId) -> LogIds {
        LogIds {
            trace_id: self.trace_id,
            span_id,
            flags: self.flags,
            invocation_id: Some(self.invocation_id),
        }
    }

    pub(super) fn ending_body(&self) -> Text {
        match (&self.error, self.outcome) {
            (_, Outcome::Replied) => "invocation replied".into(),
            (Some(error), Outcome::Failed) => error.message.clone(),
            (None, Outcome::Failed) => "invocation failed".into(),
            (Some(error), Outcome::Dropped) => format!("invocation dropped: {}", error.message).into(),
            (None, Outcome::Dropped) => "invocation dropped".into(),
        }
    }

    pub(super) fn ending_severity(&self) -> Severity {
        use crate::model::kind::Blame;
        match (self.outcome, &self.error) {
            (Outcome::Replied | Outcome::Dropped, _) => Severity::Info,
            (Outcome::Failed, Some(error)) if error.kind.blame() == Blame::Caller => Severity::Warn,
            (Outcome::Failed, _) => Severity::Error,
        }
    }

    /// How much memory it holds while it waits in a queue.
    pub(super) fn bytes(&self) -> usize {
        let captured =
            |captured: &Option<Captured>| captured.as_ref().map_or(0, |captured| captured.json.len());
        size_of::<RecordingData>()
            + self.spans.len() * size_of::<SpanRecord>()
            + self.fields.len() * size_of::<Field>()
            + self.events.len() * size_of::<EventRecord>()
            + self.text_bytes
            + captured(&self.captured_input)
            + captured(&self.captured_output)
    }

    pub(super) fn walk_fields(&self, chain: Chain) -> impl Iterator<Item = &Field> {
        walk_fields(&self.fields, chain)
    }

    pub(super) fn walk_events<'a>(&'a self, span: &SpanRecord) -> impl Iterator<Item = &'a EventRecord> {
        std::iter::successors(self.events.get(span.events.first as usize), |event| {
            self.events.get(event.next as usize)
        })
    }

    /// What every span but the root gets when it is read.
    pub(super) fn common(&self) -> [(&'static str, Value); 3] {
        [
            (names::attribute::INVOCATION_ID, Value::Id(self.invocation_id)),
            (names::attribute::PLUGIN_NAME, Value::Text(Text::Shared(self.plugin.clone()))),
            (names::attribute::SANDBOX_TIER, names::SANDBOX_TIER.into()),
        ]
    }

    pub(super) fn push_field(&mut self, span: usize, key: Text, value: Value) {
        let RecordingData { spans, fields, text_bytes, .. } = self;
        if let Some(span) = spans.get_mut(span) {
            *text_bytes += value.text_bytes();
            span.fields.push_field(fields, key, value);
        }
    }

    pub(super) fn push_event(
        &mut self,
        span: usize,
        name: Text,
        at_ns: u64,
        attributes: impl IntoIterator<Item = (Text, Value)>,
    ) {
        let RecordingData { spans, fields, events, text_bytes, .. } = self;
        let Some(span) = spans.get_mut(span) else { return };
        let mut chain = Chain::EMPTY;
        for (key, value) in attributes {
            *text_bytes += value.text_bytes();
            chain.push_field(fields, key, value);
        }
        span.events.push_event(events, EventRecord { name, at_ns, fields: chain, next: END });
    }
}

// === impl LogRecord ===

impl LogRecord {
    /// What the record says beside its time, severity, body, event and trace, in this order.
    pub fn each_attribute(&self, mut visit: impl FnMut(&str, &Value)) {
        if let Some(id) = self.ids.and_then(|ids| ids.invocation_id) {
            visit(names::log::INVOCATION_ID, &Value::Id(id));
        }
        if let Some(plugin) = &self.plugin {
            visit(names::log::PLUGIN_NAME, &Value::Text(Text::Shared(plugin.clone())));
        }
        if let Some(version) = &self.version {
            visit(names::log::PLUGIN_VERSION, &Value::Text(Text::Shared(version.clone())));
        }
        visit(names::log::STREAM, &self.stream.as_str().into());
        for (key, value) in &self.fields {
            visit(key, value);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(key, value)| text_bytes(key) + value.text_bytes()).sum();
        size_of::<LogRecord>()
            + self.fields.len() * size_of::<(Text, Value)>()
            + text_bytes(&self.body)
            + fields
    }
}

pub(super) fn text_bytes(text: &Text) -> usize {
    match text {
        Text::Static(_) => 0,
        Text::Shared(text) => text.len(),
    }
}

impl Record {
    /// How much memory it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Record::Invocation(recording) => recording.bytes(),
            Record::Log(log) => log.bytes(),
            Record::Operation(operation) => {
                size_of::<OperationRecord>() + operation.attributes.len() * size_of::<(Text, Value)>() * 2
            }
        }
    }
}
