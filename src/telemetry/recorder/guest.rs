//! What a plugin says during a call: bounded, clamped, and kept under its own invocation.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use crate::model::guest::{GuestLog, GuestMetric, GuestSpan, LogStream};
use crate::model::ids::SpanId;
use crate::model::text::{Text, truncate};
use crate::telemetry::names::{self, attribute};
use crate::telemetry::record::{LogRecord, Record, RecordingData, SpanRecord, TEXT_BYTES_MAX, Value};

use super::{ALIVE, EVENTS_MAX, Recording, SpanRef, owned};

/// Spans of the plugin in one invocation.
pub const GUEST_SPANS_MAX: usize = 256;
/// Attributes of one guest span, event or log record.
pub const GUEST_FIELDS_MAX: usize = 64;
/// Bytes that the guest's spans, events and metrics may hold in one invocation.
pub const GUEST_BYTES_MAX: usize = 256 << 10;
/// Log lines and records of one invocation.
pub const GUEST_LOGS_MAX: u32 = 10_000;
/// Longest name of a guest's span, event or attribute.
const GUEST_NAME_BYTES_MAX: usize = 256;
/// All fields of one log record together.
const LOG_BYTES_MAX: usize = 64 << 10;

impl Recording {
    /// Adopts a span that the plugin closed. It stands under its parent if that is a span of this call, else
    /// under `under`. Its times are clamped into the invocation.
    pub fn guest_span(&mut self, under: SpanRef, span: GuestSpan) {
        self.adopt(under, span, attribute::RESERVED_PREFIXES);
    }

    /// Adopts a span that the host made on the plugin's behalf: within the same bounds, since the plugin
    /// decides how many there are, but its attributes may say what is the host's to say.
    pub fn service_span(&mut self, under: SpanRef, span: GuestSpan) {
        self.adopt(under, span, &[]);
    }

    fn adopt(&mut self, under: SpanRef, span: GuestSpan, refused: &[&str]) {
        let now = self.anchor.offset_ns();
        let host = self.span_id(under);
        let data = self.data.as_mut().expect(ALIVE);
        let bytes = guest_span_bytes(&span);
        let taken = data.spans.iter().any(|known| known.id == span.span_id);
        if taken || self.guests.len() >= GUEST_SPANS_MAX || self.guest_bytes + bytes > GUEST_BYTES_MAX {
            return self.dropped("spans", 1);
        }
        self.guest_bytes += bytes;
        let offset = |unix_ns: u64| unix_ns.saturating_sub(data.created_at_unix_ns).min(now);
        let start_ns = offset(span.start_unix_ns);
        let name = owned(truncate(&span.name, GUEST_NAME_BYTES_MAX));
        let index = data.spans.len();
        let mut record =
            SpanRecord::open(span.span_id, Some(span.parent_id.unwrap_or(host)), name, span.kind, start_ns);
        record.open = false;
        record.end_ns = offset(span.end_unix_ns).max(start_ns);
        record.error = span.error.as_deref().map(owned);
        let events_kept = span.events.len().min(EVENTS_MAX);
        record.dropped_events = (span.events.len() - events_kept) as u32;
        let (attributes, cut) = guest_fields(span.attributes, refused);
        record.dropped_attributes = cut;
        let events: Vec<_> = span
            .events
            .into_iter()
            .take(events_kept)
            .map(|event| (event.name, offset(event.unix_ns), event.attributes))
            .collect();
        data.spans.push(record);
        for (key, value) in attributes {
            data.push_field(index, key, value);
        }
        for (name, at_ns, attributes) in events {
            let (attributes, cut) = guest_fields(attributes, refused);
            data.spans[index].dropped_attributes += cut;
            data.push_event(index, owned(truncate(&name, GUEST_NAME_BYTES_MAX)), at_ns, attributes);
        }
        self.guests.push((index as u32, host));
    }

    /// A line or record of the plugin. It goes out at once, so that logs are live.
    pub fn guest_log(&mut self, under: SpanRef, log: GuestLog) {
        if let Some(series) = &self.series {
            series.log_line(log.stream);
        }
        if self.logs >= GUEST_LOGS_MAX {
            return self.dropped("logs", 1);
        }
        self.logs += 1;
        let data = self.data();
        let begun = data.created_at_unix_ns;
        let now = begun.saturating_add(self.anchor.offset_ns());
        let unix_ns = log.unix_ns.map_or(now, |at| at.clamp(begun, now));
        // A span that is open, and so is not known yet.
        let span_id = log.span_id.unwrap_or_else(|| self.span_id(under));
        let mut record = log_record(log, unix_ns);
        record.ids = Some(data.ids(span_id));
        record.plugin = Some(data.plugin.clone());
        record.version.clone_from(&data.version);
        self.telemetry.hand_over(Some(self.slot), Record::Log(Box::new(record)));
    }

    /// A number that the plugin measured: an event of `under`. It never becomes a label.
    pub fn guest_metric(&mut self, under: SpanRef, metric: GuestMetric) {
        let bytes = metric.name.len() + json_bytes(&metric.attributes);
        if self.guest_bytes + bytes > GUEST_BYTES_MAX || self.data().events.len() >= EVENTS_MAX {
            return self.dropped("metrics", 1);
        }
        self.guest_bytes += bytes;
        let (mut fields, _) = guest_fields(metric.attributes, attribute::RESERVED_PREFIXES);
        let name = owned(truncate(&metric.name, GUEST_NAME_BYTES_MAX));
        fields.push((attribute::METRIC_NAME.into(), name.into()));
        fields.push((attribute::METRIC_VALUE.into(), metric.value.into()));
        self.event(under, names::event::METRIC, fields);
    }
}

/// A guest names its parents itself. Whatever does not lead to a span of the host is put under the span of
/// the call that it came from: nothing in a trace hangs loose or in a circle.
pub(super) fn adopt_orphans(data: &mut RecordingData, guests: &[(u32, SpanId)]) {
    if guests.is_empty() {
        return;
    }
    let mut parents: HashMap<SpanId, Option<SpanId>> =
        data.spans.iter().map(|span| (span.id, span.parent)).collect();
    for (index, host) in guests {
        let span = &mut data.spans[*index as usize];
        if !span.parent.is_some_and(|parent| parents.contains_key(&parent)) {
            span.parent = Some(*host);
            parents.insert(span.id, span.parent);
        }
    }
    let in_a_circle = |start: SpanId| {
        let root = data.spans[0].id;
        let path = std::iter::successors(Some(start), |at| parents.get(at).copied().flatten());
        !path.take(parents.len() + 1).any(|at| at == root)
    };
    let loose: Vec<bool> =
        guests.iter().map(|(index, _)| in_a_circle(data.spans[*index as usize].id)).collect();
    for ((index, host), _) in guests.iter().zip(loose).filter(|(_, loose)| *loose) {
        data.spans[*index as usize].parent = Some(*host);
    }
}

// === Bounding what guests say ===

/// A guest's log as a record without ids.
pub(in crate::telemetry) fn log_record(log: GuestLog, unix_ns: u64) -> LogRecord {
    let (mut fields, mut dropped_fields) = guest_fields(log.fields, &[]);
    for (key, _) in &mut fields {
        if names::log::RESERVED.contains(&&**key) {
            *key = format!("{}{key}", names::log::FIELD_PREFIX).into();
        }
    }
    if let Some(logger) = log.logger {
        fields.push((names::log::LOGGER.into(), owned(truncate(&logger, GUEST_NAME_BYTES_MAX)).into()));
    }
    if let Some(code) = log.code {
        fields.push((attribute::CODE_FILE.into(), owned(&code.file).into()));
        fields.push((attribute::CODE_LINE.into(), code.line.into()));
        fields.push((attribute::CODE_FUNCTION.into(), owned(&code.function).into()));
    }
    let body = owned(&log.body);
    let mut bytes = body.len();
    fields.retain(|(key, value)| {
        bytes += key.len() + value.text_bytes();
        let fits = bytes <= LOG_BYTES_MAX;
        dropped_fields += u32::from(!fits);
        fits
    });
    LogRecord {
        unix_ns,
        severity: log.severity,
        stream: if log.stream == LogStream::Host { LogStream::Sdk } else { log.stream },
        body,
        event_name: None,
        ids: None,
        plugin: None,
        version: None,
        fields,
        dropped_fields,
    }
}

/// A guest's attributes, bounded, and how many were left out. Keys that begin with one of `refused` are: they
/// would speak in the host's name.
fn guest_fields(map: Map<String, Json>, refused: &[&str]) -> (Vec<(Text, Value)>, u32) {
    let all = map.len();
    let fields: Vec<(Text, Value)> = map
        .into_iter()
        .filter(|(key, _)| !key.is_empty() && !refused.iter().any(|prefix| key.starts_with(prefix)))
        .take(GUEST_FIELDS_MAX)
        .filter_map(|(key, value)| Some((owned(truncate(&key, GUEST_NAME_BYTES_MAX)), guest_value(value)?)))
        .collect();
    let cut = (all - fields.len()) as u32;
    (fields, cut)
}

fn guest_value(value: Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(value) => value.into(),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64()?.into(),
        },
        Json::String(text) => owned(&text).into(),
        nested => owned(&nested.to_string()).into(),
    })
}

fn guest_span_bytes(span: &GuestSpan) -> usize {
    let events: usize =
        span.events.iter().map(|event| event.name.len() + json_bytes(&event.attributes) + 64).sum();
    size_of::<SpanRecord>() + span.name.len() + json_bytes(&span.attributes) + events
}

/// About what the map holds once it is bounded; nested values count as the text they become.
fn json_bytes(map: &Map<String, Json>) -> usize {
    let value = |value: &Json| match value {
        Json::String(text) => text.len().min(TEXT_BYTES_MAX),
        Json::Array(_) | Json::Object(_) => TEXT_BYTES_MAX,
        _ => 8,
    };
    map.iter()
        .take(GUEST_FIELDS_MAX)
        .map(|(key, json)| key.len().min(GUEST_NAME_BYTES_MAX) + value(json) + 64)
        .sum()
}
