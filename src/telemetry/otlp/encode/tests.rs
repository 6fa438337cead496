//! Every byte against `opentelemetry-proto`: what we write decodes to exactly the structs that its own
//! types describe.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::model::error::InvokeError;
use crate::model::guest::{LogStream, Severity};
use crate::model::invocation::Usage;
use crate::model::kind::ErrorKind;
use crate::model::text::Text;
use crate::telemetry::record::LogIds;
use crate::telemetry::recorder::{Begin, Ending};
use crate::telemetry::{ids, testing};

fn oracle_value(value: &Value) -> AnyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text.to_string()),
        Value::Id(id) => any_value::Value::StringValue(id.to_string()),
        Value::Int(value) => any_value::Value::IntValue(*value),
        Value::Float(value) => any_value::Value::DoubleValue(*value),
        Value::Bool(value) => any_value::Value::BoolValue(*value),
    };
    AnyValue { value: Some(value) }
}

fn pair(key: &str, value: &Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(oracle_value(value)), ..KeyValue::default() }
}

fn expected_span(data: &RecordingData, span: &SpanRecord) -> trace::Span {
    let root = span.id == data.root().id;
    trace::Span {
        trace_id: data.trace_id.as_bytes().to_vec(),
        span_id: span.id.as_bytes().to_vec(),
        trace_state: data.tracestate.as_deref().unwrap_or("").to_owned(),
        parent_span_id: span.parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
        flags: u32::from(data.flags)
            | 0x100
            | if root && span.parent.is_some() && data.origin == Origin::Network { 0x200 } else { 0 },
        name: span.name.to_string(),
        kind: match span.kind {
            SpanKind::Internal => trace::span::SpanKind::Internal,
            SpanKind::Server => trace::span::SpanKind::Server,
            SpanKind::Client => trace::span::SpanKind::Client,
            SpanKind::Producer => trace::span::SpanKind::Producer,
            SpanKind::Consumer => trace::span::SpanKind::Consumer,
        } as i32,
        start_time_unix_nano: data.unix_ns(span.start_ns),
        end_time_unix_nano: data.unix_ns(span.end_ns),
        attributes: data.attributes(span).map(|(key, value)| pair(key, &value)).collect(),
        dropped_attributes_count: span.dropped_attributes,
        events: data
            .events(span)
            .map(|(event, fields)| trace::span::Event {
                time_unix_nano: data.unix_ns(event.at_ns),
                name: event.name.to_string(),
                attributes: fields.map(|(key, value)| pair(key, value)).collect(),
                dropped_attributes_count: 0,
            })
            .collect(),
        dropped_events_count: span.dropped_events,
        links: Vec::new(),
        dropped_links_count: 0,
        status: span.error.as_ref().map(|message| trace::Status {
            message: message.to_string(),
            code: trace::status::StatusCode::Error as i32,
        }),
    }
}

fn expected_log(record: &LogRecord) -> logs::LogRecord {
    let mut attributes = Vec::new();
    record.each_attribute(|key, value| attributes.push(pair(key, value)));
    logs::LogRecord {
        time_unix_nano: record.unix_ns,
        observed_time_unix_nano: record.unix_ns,
        severity_number: record.severity as i32,
        severity_text: record.severity.as_str().to_owned(),
        body: Some(oracle_value(&Value::Text(record.body.clone()))),
        attributes,
        dropped_attributes_count: record.dropped_fields,
        flags: record.ids.map_or(0, |ids| u32::from(ids.flags & FLAG_SAMPLED)),
        trace_id: record.ids.map(|ids| ids.trace_id.as_bytes().to_vec()).unwrap_or_default(),
        span_id: record.ids.map(|ids| ids.span_id.as_bytes().to_vec()).unwrap_or_default(),
        event_name: record.event_name.unwrap_or("").to_owned(),
    }
}

fn preamble() -> (Preamble, Resource, InstrumentationScope) {
    let attributes = [("service.name".to_owned(), "spanglass".to_owned()), ("a".to_owned(), String::new())];
    let resource = Resource {
        attributes: attributes
            .iter()
            .map(|(key, value)| pair(key, &Value::Text(value.clone().into())))
            .collect(),
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "spanglass".into(),
        version: "1.2.3".into(),
        ..InstrumentationScope::default()
    };
    (Preamble::new(&attributes, "spanglass", "1.2.3"), resource, scope)
}

fn assert_trace_equals_the_oracle(all: &[RecordingData]) {
    let (preamble, resource, scope) = preamble();
    let mut batch = Batch::begin(Vec::new(), &preamble);
    for data in all {
        batch.invocation(data);
    }
    let records = batch.records();
    let (bytes, _) = batch.end();
    let spans: Vec<_> =
        all.iter().flat_map(|data| data.spans().iter().map(|span| expected_span(data, span))).collect();
    assert_eq!(records, spans.len() as u64);
    let expected = ExportTraceServiceRequest {
        resource_spans: vec![trace::ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![trace::ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    };
    assert_eq!(ExportTraceServiceRequest::decode(bytes).unwrap(), expected);
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<String>().prop_map(Value::from),
        "[a-z]{0,300}".prop_map(Value::from),
        any::<i64>().prop_map(Value::Int),
        (-1e300..1e300_f64).prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(|ns| Value::Id(ids::invocation_id(ns))),
    ]
}

fn fields() -> impl Strategy<Value = Vec<(String, Value)>> {
    prop::collection::vec((any::<String>(), value()), 0..12)
}

fn record() -> impl Strategy<Value = LogRecord> {
    let ids = prop::option::of((any::<bool>(), any::<u8>()));
    (any::<u64>(), 0..6_usize, any::<String>(), fields(), ids, any::<u32>(), any::<bool>()).prop_map(
        |(unix_ns, severity, body, fields, with_ids, dropped_fields, event)| LogRecord {
            unix_ns,
            severity: Severity::ALL[severity],
            stream: LogStream::Stderr,
            body: body.into(),
            event_name: event.then_some("something.happened"),
            ids: with_ids.map(|(invocation, flags)| LogIds {
                trace_id: ids::trace_id(),
                span_id: ids::span_id(),
                flags,
                invocation_id: invocation.then(|| ids::invocation_id(unix_ns)),
            }),
            plugin: event.then(|| "p".into()),
            version: None,
            fields: fields.into_iter().map(|(key, value)| (Text::from(key), value)).collect(),
            dropped_fields,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn spans_decode_to_what_the_oracle_says(
        spans in prop::collection::vec((any::<String>(), fields(), fields(), any::<bool>()), 0..6),
        network in any::<bool>(),
        failed in any::<bool>(),
        parent in any::<bool>(),
    ) {
        let (telemetry, kept) = testing::kept();
        let parent = parent.then(testing::remote_parent);
        let origin = if network { Origin::Network } else { Origin::Local };
        let begin = Begin { plugin: "p".into(), action: "invoke".into(), parent, origin };
        let mut recording = telemetry.begin(begin);
        let mut under = recording.root();
        for (name, attributes, event, fail) in spans {
            let span = recording.open(name, under);
            for (key, value) in attributes {
                recording.set(span, key, value);
            }
            recording.event(span, "e", event.into_iter().map(|(key, value)| (key.into(), value)).collect());
            if fail {
                recording.fail(span, ErrorKind::Crashed, "it fell");
            } else {
                under = span;
            }
        }
        let error = InvokeError::new(ErrorKind::Timeout, "too late");
        recording.finish(match failed {
            true => Ending::Failed { error: &error, usage: Usage { cpu: Duration::from_millis(3), ..Usage::default() } },
            false => Ending::Replied { usage: Usage::default() },
        });
        prop_assert!(telemetry.flush(Duration::from_secs(5)));
        assert_trace_equals_the_oracle(&kept.take_invocations());
    }

    #[test]
    fn logs_decode_to_what_the_oracle_says(records in prop::collection::vec(record(), 0..6)) {
        let (preamble, resource, scope) = preamble();
        let mut batch = Batch::begin(vec![1, 2, 3], &preamble);
        for record in &records {
            batch.log(record);
        }
        let (bytes, _) = batch.end();
        let expected = ExportLogsServiceRequest {
            resource_logs: vec![logs::ResourceLogs {
                resource: Some(resource),
                scope_logs: vec![logs::ScopeLogs {
                    scope: Some(scope),
                    log_records: records.iter().map(expected_log).collect(),
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        };
        prop_assert_eq!(ExportLogsServiceRequest::decode(bytes).unwrap(), expected);
    }
}

#[test]
fn several_invocations_share_a_request() {
    let (telemetry, kept) = testing::kept();
    for _ in 0..3 {
        testing::call(&telemetry);
    }
    assert!(telemetry.flush(Duration::from_secs(5)));
    let all = kept.take_invocations();
    assert_eq!(all.len(), 3);
    assert_trace_equals_the_oracle(&all);
}

#[test]
fn varint_lengths_are_those_of_the_bytes() {
    for shift in 0..64 {
        for value in [1_u64 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            assert_eq!(varint_length(value), out.len(), "{value}");
        }
    }
}
