//! The spans of one call as one JSON text. A span is an array, what it does not have is left off its end:
//! `[id, parent, name, kind, start_ns, duration_ns, attributes, events, error, dropped attributes, dropped
//! events]`. The parent is an index into the text, or an id, or null; times count from the call's beginning.
//! An event is `[name, at_ns, attributes]`.
//!
//! Attributes that follow from the call's own row (half of the bytes, otherwise) are left out and put back
//! by the reader: `attributes` is an object then, and an array that holds the object where it is complete.

use std::io::Write;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::model::ids::{InvocationId, SpanId};
use crate::model::kind::{ErrorKind, Outcome};
use crate::telemetry::names::attribute;
use crate::telemetry::{RecordingData, SpanKind, SpanRecord, Value};

/// The isolation tier that a row implies. Calls of another tier carry theirs in the text.
const IMPLIED_TIER: &str = "S0";

/// What of a call's row its spans' attributes follow from.
pub(super) struct Facts<'a> {
    pub invocation_id: InvocationId,
    pub plugin: &'a str,
    pub version: Option<&'a str>,
    pub runtime: Option<&'a str>,
    pub action: &'a str,
    pub outcome: Outcome,
    pub error: Option<ErrorKind>,
    pub attempts: u32,
    pub cold_start: bool,
    pub cpu: Duration,
    pub memory_peak_bytes: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
}

/// A span as it was read; times count from the call's beginning.
#[derive(Debug, Default, PartialEq)]
pub(super) struct StoredSpan {
    pub id: String,
    pub parent: Option<String>,
    pub name: String,
    pub kind: &'static str,
    pub start_ns: i64,
    pub duration_ns: i64,
    pub attributes: Map<String, Json>,
    pub events: Vec<StoredEvent>,
    pub error: Option<String>,
    pub dropped_attributes: u64,
    pub dropped_events: u64,
}

#[derive(Debug, PartialEq)]
pub(super) struct StoredEvent {
    pub name: String,
    pub at_ns: i64,
    pub attributes: Map<String, Json>,
}

// === Writing ===

pub(super) fn encode(data: &RecordingData) -> String {
    let facts = Facts::of(data);
    let root = facts.root();
    let common = facts.common();
    let mut text = Vec::with_capacity(96 * data.spans().len() + 64);
    text.push(b'[');
    for (index, span) in data.spans().iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        let implied: &[(&str, Value)] = if index == 0 { &root } else { &common };
        encode_span(&mut text, data, span, implied);
    }
    text.push(b']');
    String::from_utf8(text).expect("all of it was written from text")
}

fn encode_span(text: &mut Vec<u8>, data: &RecordingData, span: &SpanRecord, implied: &[(&str, Value)]) {
    let duration_ns = span.end_ns.saturating_sub(span.start_ns);
    put(text, format_args!("[\"{}\",", span.id));
    match span.parent.map(|parent| (parent, position(data, parent))) {
        Some((_, Some(index))) => put(text, format_args!("{index}")),
        Some((parent, None)) => put(text, format_args!("\"{parent}\"")),
        None => text.extend(b"null"),
    }
    text.push(b',');
    put_text(text, &span.name);
    put(text, format_args!(",\"{}\",{},{duration_ns}", letter(span.kind), span.start_ns));
    let attributes = Part { text: attributes(data, span, implied), default: b"{}" };
    let events = Part { text: events(data, span), default: b"[]" };
    let mut error = Vec::new();
    match &span.error {
        Some(message) => put_text(&mut error, message),
        None => error.extend(b"null"),
    }
    let error = Part { text: error, default: b"null" };
    let number = |number: u32| Part { text: number.to_string().into_bytes(), default: b"0" };
    let parts = [attributes, events, error, number(span.dropped_attributes), number(span.dropped_events)];
    let needed = parts.iter().rposition(|part| part.text != part.default).map_or(0, |last| last + 1);
    for part in &parts[..needed] {
        text.push(b',');
        text.extend(&part.text);
    }
    text.push(b']');
}

/// One of the places at a span's end, and what it holds when it says nothing.
struct Part {
    text: Vec<u8>,
    default: &'static [u8],
}

fn attributes(data: &RecordingData, span: &SpanRecord, implied: &[(&str, Value)]) -> Vec<u8> {
    let own: Vec<(&str, Value)> = data.attributes(span).collect();
    let follows = |(key, value): &(&str, Value)| implied.iter().any(|(k, v)| k == key && v == value);
    let complete = implied.iter().any(|attribute| !own.contains(attribute));
    let mut text = Vec::new();
    if complete {
        text.push(b'[');
    }
    let left = own.iter().filter(|attribute| complete || !follows(attribute));
    put_object(&mut text, left.map(|(key, value)| (*key, value)));
    if complete {
        text.push(b']');
    }
    text
}

fn events(data: &RecordingData, span: &SpanRecord) -> Vec<u8> {
    let mut text = vec![b'['];
    for (index, (event, fields)) in data.events(span).enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.push(b'[');
        put_text(&mut text, &event.name);
        put(&mut text, format_args!(",{},", event.at_ns));
        put_object(&mut text, fields);
        text.push(b']');
    }
    text.push(b']');
    text
}

fn position(data: &RecordingData, id: SpanId) -> Option<usize> {
    data.spans().iter().position(|span| span.id == id)
}

const fn letter(kind: SpanKind) -> char {
    match kind {
        SpanKind::Internal => 'i',
        SpanKind::Server => 's',
        SpanKind::Client => 'c',
        SpanKind::Producer => 'p',
        SpanKind::Consumer => 'q',
    }
}

/// A JSON object from fields.
pub(super) fn put_object<'a>(text: &mut Vec<u8>, fields: impl Iterator<Item = (&'a str, &'a Value)>) {
    text.push(b'{');
    for (index, (key, value)) in fields.enumerate() {
        if index > 0 {
            text.push(b',');
        }
        put_text(text, key);
        text.push(b':');
        match value {
            Value::Text(value) => put_text(text, value),
            Value::Int(value) => put(text, format_args!("{value}")),
            Value::Float(value) => serde_json::to_writer(&mut *text, value).expect(IN_MEMORY),
            Value::Bool(value) => put(text, format_args!("{value}")),
            Value::Id(value) => put(text, format_args!("\"{value}\"")),
        }
    }
    text.push(b'}');
}

fn put_text(text: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(text, value).expect(IN_MEMORY);
}

fn put(text: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect(IN_MEMORY);
}

const IN_MEMORY: &str = "writing to memory does not fail";

// === What follows from the row ===

impl<'a> Facts<'a> {
    pub fn of(data: &'a RecordingData) -> Facts<'a> {
        Facts {
            invocation_id: data.invocation_id,
            plugin: &data.plugin,
            version: data.version.as_deref(),
            runtime: data.runtime,
            action: &data.action,
            outcome: data.outcome,
            error: data.error.as_ref().map(|error| error.kind),
            attempts: data.attempts,
            cold_start: data.cold_start,
            cpu: data.usage.cpu,
            memory_peak_bytes: data.usage.memory_peak_bytes,
            input_bytes: data.usage.input_bytes,
            output_bytes: data.usage.output_bytes,
        }
    }

    /// What the root span has. Rows that were written rely on this list: with another one, old rows would
    /// be read wrongly.
    fn root(&self) -> Vec<(&'static str, Value)> {
        let text = |text: &str| Value::from(text.to_owned());
        let mut fields = vec![
            (attribute::INVOCATION_ID, Value::Id(self.invocation_id)),
            (attribute::PLUGIN_NAME, text(self.plugin)),
        ];
        if let (Some(version), Some(runtime)) = (self.version, self.runtime) {
            fields.extend([
                (attribute::PLUGIN_VERSION, text(version)),
                (attribute::PLUGIN_RUNTIME, text(runtime)),
            ]);
        }
        fields.extend([
            (attribute::ACTION, text(self.action)),
            (attribute::OUTCOME, self.outcome.as_str().into()),
        ]);
        if let Some(kind) = self.error {
            fields.extend([
                (attribute::ERROR_TYPE, kind.as_str().into()),
                (attribute::BLAME, kind.blame().as_str().into()),
            ]);
        }
        fields.extend([
            (attribute::ATTEMPTS, self.attempts.into()),
            (attribute::COLD_START, self.cold_start.into()),
            (attribute::SANDBOX_TIER, IMPLIED_TIER.into()),
            (attribute::INPUT_BYTES, self.input_bytes.into()),
            (attribute::OUTPUT_BYTES, self.output_bytes.into()),
        ]);
        if self.attempts > 0 {
            fields.extend([
                (attribute::USAGE_CPU, self.cpu.as_secs_f64().into()),
                (attribute::USAGE_MEMORY_PEAK, self.memory_peak_bytes.into()),
            ]);
        }
        fields
    }

    /// What every other span has.
    fn common(&self) -> Vec<(&'static str, Value)> {
        vec![
            (attribute::INVOCATION_ID, Value::Id(self.invocation_id)),
            (attribute::PLUGIN_NAME, Value::from(self.plugin.to_owned())),
            (attribute::SANDBOX_TIER, IMPLIED_TIER.into()),
        ]
    }
}

// === Reading ===

/// `None`: the text is not what [`encode`] writes.
pub(super) fn decode(text: &str, facts: &Facts<'_>) -> Option<Vec<StoredSpan>> {
    let spans: Vec<Vec<Json>> = serde_json::from_str(text).ok()?;
    let ids: Vec<String> = spans.iter().map(|span| id_of(span)).collect::<Option<_>>()?;
    let (root, common) = (json_object(&facts.root()), json_object(&facts.common()));
    let spans = spans.into_iter().enumerate();
    spans.map(|(index, span)| decode_span(span, &ids, if index == 0 { &root } else { &common })).collect()
}

/// A span outside calls: nothing follows from its row.
pub(super) fn decode_operation(text: &str) -> Option<Vec<StoredSpan>> {
    let spans: Vec<Vec<Json>> = serde_json::from_str(text).ok()?;
    spans.into_iter().map(|span| decode_span(span, &[], &Map::new())).collect()
}

fn id_of(span: &[Json]) -> Option<String> {
    span.first()?.as_str().map(str::to_owned)
}

fn decode_span(span: Vec<Json>, ids: &[String], implied: &Map<String, Json>) -> Option<StoredSpan> {
    let mut parts = span.into_iter();
    let id = text_of(parts.next()?)?;
    let parent = match parts.next()? {
        Json::Null => None,
        Json::Number(index) => Some(ids.get(usize::try_from(index.as_u64()?).ok()?)?.clone()),
        other => Some(text_of(other)?),
    };
    let name = text_of(parts.next()?)?;
    let kind = match parts.next()?.as_str()? {
        "s" => SpanKind::Server.as_str(),
        "c" => SpanKind::Client.as_str(),
        "p" => SpanKind::Producer.as_str(),
        "q" => SpanKind::Consumer.as_str(),
        _ => SpanKind::Internal.as_str(),
    };
    let (start_ns, duration_ns) = (parts.next()?.as_i64()?, parts.next()?.as_i64()?);
    let attributes = match parts.next() {
        Some(Json::Array(complete)) => object_of(complete.into_iter().next()?)?,
        own => {
            let mut all = implied.clone();
            all.extend(own.map_or(Some(Map::new()), object_of)?);
            all
        }
    };
    let events = match parts.next() {
        Some(Json::Array(events)) => events.into_iter().map(decode_event).collect::<Option<_>>()?,
        _ => Vec::new(),
    };
    let error = parts.next().and_then(text_of);
    let mut number = || parts.next().and_then(|number| number.as_u64()).unwrap_or(0);
    let (dropped_attributes, dropped_events) = (number(), number());
    Some(StoredSpan {
        id,
        parent,
        name,
        kind,
        start_ns,
        duration_ns,
        attributes,
        events,
        error,
        dropped_attributes,
        dropped_events,
    })
}

fn decode_event(event: Json) -> Option<StoredEvent> {
    let Json::Array(parts) = event else { return None };
    let mut parts = parts.into_iter();
    Some(StoredEvent {
        name: text_of(parts.next()?)?,
        at_ns: parts.next()?.as_i64()?,
        attributes: object_of(parts.next()?)?,
    })
}

fn text_of(json: Json) -> Option<String> {
    if let Json::String(text) = json { Some(text) } else { None }
}

fn object_of(json: Json) -> Option<Map<String, Json>> {
    if let Json::Object(object) = json { Some(object) } else { None }
}

fn json_object(fields: &[(&'static str, Value)]) -> Map<String, Json> {
    let mut text = Vec::new();
    put_object(&mut text, fields.iter().map(|(key, value)| (*key, value)));
    serde_json::from_slice(&text).expect("put_object writes an object")
}
