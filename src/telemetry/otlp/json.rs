//! Spans as OTLP in its JSON encoding (`ExportTraceServiceRequest`, opentelemetry-proto 1.x): ids in hex, 64-bit
//! numbers as text, enumerations as numbers. What a collector takes at `/v1/traces` with `application/json`.

use serde_json::{Map, Value, json};

use crate::telemetry::names;

/// A span as it was kept. Times are nanoseconds since 1970.
#[derive(Clone, Debug)]
pub struct KeptSpan<'a> {
    pub trace_id: &'a str,
    pub span_id: &'a str,
    pub parent_span_id: Option<&'a str>,
    pub name: &'a str,
    /// `internal`, `server` or `client`.
    pub kind: &'a str,
    pub start_unix_ns: u64,
    pub end_unix_ns: u64,
    /// What failed; `None` is the status Unset.
    pub error: Option<&'a str>,
    pub attributes: &'a Map<String, Value>,
    pub events: Vec<KeptEvent<'a>>,
    pub dropped_attributes: u64,
    pub dropped_events: u64,
}

#[derive(Clone, Debug)]
pub struct KeptEvent<'a> {
    pub name: &'a str,
    pub unix_ns: u64,
    pub attributes: &'a Map<String, Value>,
}

const STATUS_ERROR: u8 = 2;

/// One request with all spans under one resource.
pub fn traces<'a>(spans: impl IntoIterator<Item = KeptSpan<'a>>) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let mut resource = Map::new();
    resource.insert("service.name".into(), "spanglass".into());
    resource.insert("service.version".into(), version.into());
    let spans: Vec<Value> = spans.into_iter().map(|span| self::span(&span)).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": attributes(&resource)},
        "scopeSpans": [{"scope": {"name": names::SCOPE, "version": version}, "spans": spans}],
    }]})
}

fn span(span: &KeptSpan<'_>) -> Value {
    let kind = match span.kind {
        "server" => 2,
        "client" => 3,
        _ => 1,
    };
    let events = span.events.iter().map(|event| {
        json!({"name": event.name, "timeUnixNano": event.unix_ns.to_string(),
            "attributes": attributes(event.attributes)})
    });
    let status =
        span.error.map_or_else(|| json!({}), |message| json!({"code": STATUS_ERROR, "message": message}));
    json!({
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_span_id.unwrap_or_default(),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": span.start_unix_ns.to_string(),
        "endTimeUnixNano": span.end_unix_ns.to_string(),
        "attributes": attributes(span.attributes),
        "events": events.collect::<Vec<_>>(),
        "status": status,
        "droppedAttributesCount": span.dropped_attributes,
        "droppedEventsCount": span.dropped_events,
    })
}

fn attributes(attributes: &Map<String, Value>) -> Vec<Value> {
    attributes.iter().map(|(key, value)| json!({"key": key, "value": any_value(value)})).collect()
}

fn any_value(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => json!({"intValue": integer.to_string()}),
            None => json!({"doubleValue": number}),
        },
        Value::String(text) => json!({"stringValue": text}),
        Value::Array(items) => {
            json!({"arrayValue": {"values": items.iter().map(any_value).collect::<Vec<_>>()}})
        }
        Value::Object(members) => json!({"kvlistValue": {"values": attributes(members)}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_types_of_the_protocol() {
        for (value, expected) in [
            (json!("a"), json!({"stringValue": "a"})),
            (json!(true), json!({"boolValue": true})),
            (json!(-7), json!({"intValue": "-7"})),
            (json!(i64::MAX), json!({"intValue": "9223372036854775807"})),
            (json!(0.5), json!({"doubleValue": 0.5})),
            (json!([1]), json!({"arrayValue": {"values": [{"intValue": "1"}]}})),
            (json!({"a": null}), json!({"kvlistValue": {"values": [{"key": "a", "value": {}}]}})),
        ] {
            assert_eq!(any_value(&value), expected);
        }
    }

    #[test]
    fn a_span_keeps_its_times_to_the_nanosecond() {
        let attributes = Map::new();
        let kept = KeptSpan {
            trace_id: "0af7651916cd43dd8448eb211c80319c",
            span_id: "b7ad6b7169203331",
            parent_span_id: None,
            name: "execute",
            kind: "server",
            start_unix_ns: 1_700_000_000_000_000_001,
            end_unix_ns: 1_700_000_000_000_000_003,
            error: Some("boom"),
            attributes: &attributes,
            events: vec![KeptEvent { name: "e", unix_ns: 2, attributes: &attributes }],
            dropped_attributes: 1,
            dropped_events: 0,
        };
        let request = traces([kept]);
        let span = &request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["startTimeUnixNano"], "1700000000000000001");
        assert_eq!((&span["kind"], &span["status"]["code"]), (&json!(2), &json!(2)));
        assert_eq!(span["events"][0]["timeUnixNano"], "2");
    }
}
