//! OTLP as protobuf bytes, written straight from the records: no structs in between, no allocation but the
//! batch itself. A message whose length is unknown gets a placeholder that is filled in as a padded varint,
//! which is legal protobuf. The tests hold every byte against `opentelemetry-proto`.

use bytes::Bytes;

use crate::model::trace_context::FLAG_SAMPLED;

use crate::model::invocation::Origin;
use crate::telemetry::record::{LogRecord, RecordingData, SpanKind, SpanRecord, Value, id_text};

/// Width of a placeholder: lengths below 256 MiB.
const LENGTH_BYTES: usize = 4;
/// Bits of `Span.flags` beyond the W3C flags: whether the parent's remoteness is known, and what it is.
const FLAG_HAS_IS_REMOTE: u32 = 0x100;
const FLAG_IS_REMOTE: u32 = 0x200;

const STATUS_ERROR: u64 = 2;

/// A batch of spans or log records being written: `Export*ServiceRequest` with one resource and one scope.
pub(in crate::telemetry) struct Batch {
    bytes: Vec<u8>,
    resource: usize,
    scope: usize,
    records: u64,
}

/// Prebuilt `Resource` and `InstrumentationScope`, without tag and length.
#[derive(Clone, Debug, Default)]
pub(in crate::telemetry) struct Preamble {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Preamble {
    pub fn new(attributes: &[(String, String)], scope: &str, version: &str) -> Preamble {
        let mut preamble = Preamble::default();
        for (key, value) in attributes {
            write_attribute(&mut preamble.resource, 1, key, &Value::Text(value.clone().into()));
        }
        write_text(&mut preamble.scope, 1, scope);
        write_text(&mut preamble.scope, 2, version);
        preamble
    }
}

impl Batch {
    /// The same shape serves traces and logs: resource groups in field 1, scope groups in field 2 of each.
    pub fn begin(mut reused: Vec<u8>, preamble: &Preamble) -> Batch {
        reused.clear();
        let mut bytes = reused;
        let resource = open(&mut bytes, 1);
        write_bytes(&mut bytes, 1, &preamble.resource);
        let scope = open(&mut bytes, 2);
        write_bytes(&mut bytes, 1, &preamble.scope);
        Batch { bytes, resource, scope, records: 0 }
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All spans of an invocation.
    pub fn invocation(&mut self, data: &RecordingData) {
        for span in data.spans() {
            let at = open(&mut self.bytes, 2);
            write_span(&mut self.bytes, data, span);
            close(&mut self.bytes, at);
            self.records += 1;
        }
    }

    pub fn log(&mut self, record: &LogRecord) {
        let at = open(&mut self.bytes, 2);
        write_log(&mut self.bytes, record);
        close(&mut self.bytes, at);
        self.records += 1;
    }

    /// The request, and the buffer for the next one.
    pub fn end(mut self) -> (Bytes, Vec<u8>) {
        close(&mut self.bytes, self.scope);
        close(&mut self.bytes, self.resource);
        (Bytes::copy_from_slice(&self.bytes), self.bytes)
    }
}

fn write_span(out: &mut Vec<u8>, data: &RecordingData, span: &SpanRecord) {
    let root = span.id == data.root().id;
    write_bytes(out, 1, data.trace_id.as_bytes());
    write_bytes(out, 2, span.id.as_bytes());
    if let Some(tracestate) = &data.tracestate {
        write_text(out, 3, tracestate);
    }
    if let Some(parent) = span.parent {
        write_bytes(out, 4, parent.as_bytes());
    }
    write_text(out, 5, &span.name);
    write_number(
        out,
        6,
        match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        },
    );
    write_fixed64(out, 7, data.unix_ns(span.start_ns));
    write_fixed64(out, 8, data.unix_ns(span.end_ns));
    for field in data.walk_fields(span.fields) {
        write_attribute(out, 9, &field.key, &field.value);
    }
    if !root {
        for (key, value) in data.common() {
            write_attribute(out, 9, key, &value);
        }
    }
    if span.dropped_attributes > 0 {
        write_number(out, 10, span.dropped_attributes.into());
    }
    for event in data.walk_events(span) {
        let at = open(out, 11);
        write_fixed64(out, 1, data.unix_ns(event.at_ns));
        write_text(out, 2, &event.name);
        for field in data.walk_fields(event.fields) {
            write_attribute(out, 3, &field.key, &field.value);
        }
        close(out, at);
    }
    if span.dropped_events > 0 {
        write_number(out, 12, span.dropped_events.into());
    }
    if let Some(message) = &span.error {
        let at = open(out, 15);
        write_text(out, 2, message);
        write_number(out, 3, STATUS_ERROR);
        close(out, at);
    }
    let remote = root && span.parent.is_some() && data.origin == Origin::Network;
    let flags = u32::from(data.flags) | FLAG_HAS_IS_REMOTE | if remote { FLAG_IS_REMOTE } else { 0 };
    write_fixed32(out, 16, flags);
}

fn write_log(out: &mut Vec<u8>, record: &LogRecord) {
    write_fixed64(out, 1, record.unix_ns);
    write_number(out, 2, record.severity as u64);
    write_text(out, 3, record.severity.as_str());
    let body = any_text_length(&record.body);
    write_key(out, 5, 2);
    write_varint(out, body as u64);
    write_text(out, 1, &record.body);
    record.each_attribute(|key, value| write_attribute(out, 6, key, value));
    if record.dropped_fields > 0 {
        write_number(out, 7, record.dropped_fields.into());
    }
    if let Some(ids) = &record.ids {
        write_fixed32(out, 8, u32::from(ids.flags & FLAG_SAMPLED));
        write_bytes(out, 9, ids.trace_id.as_bytes());
        write_bytes(out, 10, ids.span_id.as_bytes());
    }
    write_fixed64(out, 11, record.unix_ns);
    if let Some(name) = record.event_name {
        write_text(out, 12, name);
    }
}

// === Protobuf ===

/// `KeyValue` in field `field`. Its lengths are computed first, so that it is written in one pass.
fn write_attribute(out: &mut Vec<u8>, field: u32, key: &str, value: &Value) {
    let value_length = any_length(value);
    let length = text_length(key) + 1 + varint_length(value_length as u64) + value_length;
    write_key(out, field, 2);
    write_varint(out, length as u64);
    write_text(out, 1, key);
    write_key(out, 2, 2);
    write_varint(out, value_length as u64);
    match value {
        Value::Text(text) => write_text(out, 1, text),
        Value::Id(id) => {
            let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
            write_text(out, 1, id_text(*id, &mut buffer));
        }
        Value::Bool(value) => {
            write_key(out, 2, 0);
            out.push(u8::from(*value));
        }
        Value::Int(value) => {
            write_key(out, 3, 0);
            write_varint(out, *value as u64);
        }
        Value::Float(value) => {
            write_key(out, 4, 1);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Length of an `AnyValue`. A member of a oneof is written even if it is empty or 0.
fn any_length(value: &Value) -> usize {
    match value {
        Value::Text(text) => any_text_length(text),
        Value::Id(_) => 2 + uuid::fmt::Hyphenated::LENGTH,
        Value::Bool(_) => 2,
        Value::Int(value) => 1 + varint_length(*value as u64),
        Value::Float(_) => 9,
    }
}

fn any_text_length(text: &str) -> usize {
    text_length(text)
}

/// Length of a text with its one-byte key.
fn text_length(text: &str) -> usize {
    1 + varint_length(text.len() as u64) + text.len()
}

fn write_text(out: &mut Vec<u8>, field: u32, text: &str) {
    write_bytes(out, field, text.as_bytes());
}

fn write_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    write_key(out, field, 2);
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_number(out: &mut Vec<u8>, field: u32, value: u64) {
    write_key(out, field, 0);
    write_varint(out, value);
}

fn write_fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    write_key(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn write_fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    write_key(out, field, 5);
    out.extend_from_slice(&value.to_le_bytes());
}

fn write_key(out: &mut Vec<u8>, field: u32, wire: u32) {
    write_varint(out, u64::from(field << 3 | wire));
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const fn varint_length(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Begins a message in field `field`; gives the place of its length for [`close`].
fn open(out: &mut Vec<u8>, field: u32) -> usize {
    write_key(out, field, 2);
    let at = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    at
}

/// Fills in the length of the message that ends here, padded to [`LENGTH_BYTES`].
fn close(out: &mut [u8], at: usize) {
    let mut length = out.len() - at - LENGTH_BYTES;
    for (index, byte) in out[at..at + LENGTH_BYTES].iter_mut().enumerate() {
        let more = if index + 1 < LENGTH_BYTES { 0x80 } else { 0 };
        *byte = (length & 0x7f) as u8 | more;
        length >>= 7;
    }
}

#[cfg(test)]
mod tests;
