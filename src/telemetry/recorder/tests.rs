//! Exactly one ending, whatever happens; and what guests say stays under their own call, within bounds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Map, Value as Json, json};

use super::*;
use crate::model::error::GuestException;
use crate::model::guest::{CodeLocation, GuestEvent, GuestLog, GuestMetric, GuestSpan, LogStream, Severity};
use crate::model::kind::Blame;
use crate::telemetry::events::InvocationRetried;
use crate::telemetry::record::Record;
use crate::telemetry::testing::{begin, call, kept, remote_parent};

fn attribute_of(data: &RecordingData, span: &SpanRecord, key: &str) -> Option<Value> {
    data.attributes(span).find(|(known, _)| *known == key).map(|(_, value)| value)
}

fn root(data: &RecordingData, key: &str) -> Option<Value> {
    attribute_of(data, data.root(), key)
}

fn map(value: Json) -> Map<String, Json> {
    value.as_object().unwrap().clone()
}

fn id(byte: u8) -> SpanId {
    SpanId::from_bytes([byte; 8]).unwrap()
}

fn guest_span(byte: u8, parent: Option<SpanId>) -> GuestSpan {
    GuestSpan {
        span_id: id(byte),
        parent_id: parent,
        name: format!("step {byte}"),
        kind: SpanKind::Internal,
        start_unix_ns: 0,
        end_unix_ns: u64::MAX,
        error: None,
        attributes: Map::new(),
        events: Vec::new(),
    }
}

fn guest_log(body: &str) -> GuestLog {
    GuestLog {
        unix_ns: None,
        severity: Severity::Info,
        stream: LogStream::Stdout,
        body: body.to_owned(),
        logger: None,
        fields: Map::new(),
        code: None,
        span_id: None,
    }
}

fn count(telemetry: &Telemetry, series: &str) -> f64 {
    let text = telemetry.scrape(None).body;
    let line =
        text.lines().find(|line| line.starts_with(&format!("{series} "))).map(|line| line.rsplit_once(' '));
    line.flatten().map_or(0.0, |(_, value)| value.parse().unwrap())
}

const DROPPED: &str = "spanglass_invocations_total{action=\"invoke\",blame=\"caller\",error_type=\"cancelled\",\
    outcome=\"dropped\",plugin=\"echo\",version=\"1.0.0\"}";

#[test]
fn a_reply_leaves_the_same_ids_everywhere() {
    let (telemetry, kept) = kept();
    let finished = call(&telemetry);
    let data = kept.one(&telemetry);
    assert_eq!((data.invocation_id, data.trace_id), (finished.invocation_id, finished.trace_id));
    let names: Vec<&str> = data.spans().iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["invoke echo", "attempt", "queue", "execute"]);
    assert_eq!(data.root().kind, SpanKind::Server);
    assert_eq!(data.spans()[2].parent, Some(data.spans()[1].id));
    assert!(data.spans().iter().all(|span| span.error.is_none() && span.end_ns >= span.start_ns));
    assert_eq!(root(&data, attribute::OUTCOME), Some("replied".into()));
    assert_eq!(root(&data, attribute::ERROR_TYPE), None);
    assert_eq!(root(&data, attribute::PLUGIN_VERSION), Some("1.0.0".into()));
    assert_eq!(root(&data, attribute::ATTEMPTS), Some(1_u32.into()));
    assert_eq!(root(&data, attribute::SAMPLING_KEEP), Some(true.into()), "the bucket's first exemplar");
    for span in data.spans() {
        assert_eq!(attribute_of(&data, span, attribute::INVOCATION_ID), Some(finished.invocation_id.into()));
        assert_eq!(attribute_of(&data, span, attribute::PLUGIN_NAME), Some("echo".into()));
        assert_eq!(attribute_of(&data, span, attribute::SANDBOX_TIER), Some("S0".into()));
    }
    let log = data.ending_log();
    assert_eq!(log.ids.unwrap().trace_id, finished.trace_id);
    assert_eq!(log.ids.unwrap().span_id, finished.root_span_id);
}

#[test]
fn a_failure_is_an_error_of_every_open_span_and_of_nothing_else() {
    let (telemetry, kept) = kept();
    let mut recording = telemetry.begin(begin());
    recording.bind(telemetry.plugin("echo", "1.0.0", "python", &["invoke"]));
    let root_span = recording.root();
    let done = recording.open("validate_input", root_span);
    recording.close(done);
    let attempt = recording.open("attempt", root_span);
    recording.attempt();
    let mut error = InvokeError::new(ErrorKind::PluginError, "it raised");
    error.exception =
        Some(Box::new(GuestException { type_name: "ValueError".into(), traceback: "File x".into() }));
    recording.finish(Ending::Failed { error: &error, usage: Usage::default() });
    let data = kept.one(&telemetry);
    let errors: Vec<Option<&str>> = data.spans().iter().map(|span| span.error.as_deref()).collect();
    assert_eq!(errors, [Some("it raised"), None, Some("it raised")]);
    assert_eq!(data.spans()[attempt.index as usize].end_ns, data.root().end_ns);
    assert_eq!(root(&data, attribute::ERROR_TYPE), Some("plugin_error".into()));
    assert_eq!(root(&data, attribute::BLAME), Some(Blame::Plugin.as_str().into()));
    let exception = data.events(data.root()).next().unwrap().0;
    assert_eq!(&*exception.name, names::event::EXCEPTION);
    assert_eq!(count(&telemetry, "spanglass_attempts_total{plugin=\"echo\",result=\"failed\"}"), 1.0);
}

#[test]
fn dropping_ends_it_once_and_so_does_a_panic() {
    let (telemetry, kept) = kept();
    let series = telemetry.plugin("echo", "1.0.0", "python", &["invoke"]);
    let mut recording = telemetry.begin(begin());
    recording.bind(series.clone());
    assert_eq!((series.active(), telemetry.active().len()), (1, 1));
    drop(recording);
    let data = kept.one(&telemetry);
    assert_eq!((data.outcome, data.error.as_ref().unwrap().kind), (Outcome::Dropped, ErrorKind::Cancelled));
    assert!(data.root().error.is_none(), "who leaves has not failed");

    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut recording = telemetry.begin(begin());
        recording.bind(series.clone());
        panic!("a bug in a policy");
    }));
    assert!(unwound.is_err());
    assert_eq!(kept.one(&telemetry).outcome, Outcome::Dropped);
    assert_eq!(count(&telemetry, DROPPED), 2.0);
    assert_eq!((series.active(), telemetry.active().len()), (0, 0));

    let finished = telemetry.begin(begin()).finish(Ending::Dropped);
    assert_eq!(
        kept.one(&telemetry).invocation_id,
        finished.invocation_id,
        "finishing and dropping is one ending"
    );
}

#[test]
fn the_kind_cancelled_is_a_drop() {
    let (telemetry, kept) = kept();
    let error = InvokeError::new(ErrorKind::Cancelled, "the caller left");
    telemetry.begin(begin()).finish(Ending::Failed { error: &error, usage: Usage::default() });
    assert_eq!(kept.one(&telemetry).outcome, Outcome::Dropped);
}

#[test]
fn an_unknown_plugin_counts_as_other_but_keeps_its_name_in_the_trace() {
    let (telemetry, kept) = kept();
    let plugin = "x".repeat(500);
    let error = InvokeError::new(ErrorKind::NotFound, "no such plugin");
    let begun = Begin { plugin: plugin.as_str().into(), ..begin() };
    telemetry.begin(begun).finish(Ending::Failed { error: &error, usage: Usage::default() });
    let data = kept.one(&telemetry);
    assert_eq!(data.plugin.len(), PluginName::LENGTH_MAX);
    assert_eq!(&*data.root().name, format!("invoke {}", "x".repeat(64)));
    let series = "spanglass_invocations_total{action=\"_other\",blame=\"caller\",error_type=\"not_found\",\
        outcome=\"failed\",plugin=\"_other\",version=\"_other\"}";
    assert_eq!(count(&telemetry, series), 1.0);
    assert!(!telemetry.scrape(None).body.contains("xxx"));
}

#[test]
fn a_trace_is_continued_with_its_flags() {
    let (telemetry, kept) = kept();
    let parent = remote_parent();
    let recording = telemetry.begin(Begin { parent: Some(parent.clone()), ..begin() });
    let traceparent = recording.traceparent(recording.root());
    assert!(traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && traceparent.ends_with("-01"));
    drop(recording);
    let data = kept.one(&telemetry);
    assert_eq!((data.trace_id, data.root().parent), (parent.trace_id, Some(parent.span_id)));
    assert_eq!(data.tracestate, parent.tracestate);
}

#[test]
fn an_unsampled_call_is_never_an_exemplar() {
    let (telemetry, kept) = kept();
    let mut parent = remote_parent();
    parent.flags = 0;
    let mut recording = telemetry.begin(Begin { parent: Some(parent), ..begin() });
    recording.bind(telemetry.plugin("echo", "1.0.0", "python", &["invoke"]));
    recording.attempt();
    recording.finish(Ending::Replied { usage: Usage::default() });
    assert_eq!(root(&kept.one(&telemetry), attribute::SAMPLING_KEEP), None);
    assert!(!telemetry.scrape(Some("application/openmetrics-text")).body.contains("trace_id"));
}

#[test]
fn setting_a_key_again_replaces_its_value() {
    let (telemetry, kept) = kept();
    let mut recording = telemetry.begin(begin());
    let span = recording.root();
    recording.set(span, "k", 1_i64);
    recording.set(span, "other", "x".repeat(TEXT_BYTES_MAX + 10));
    recording.set(span, "k", 2_i64);
    drop(recording);
    let data = kept.one(&telemetry);
    assert_eq!(root(&data, "k"), Some(2_i64.into()));
    assert_eq!(data.attributes(data.root()).filter(|(key, _)| *key == "k").count(), 1);
    let Some(Value::Text(text)) = root(&data, "other") else { panic!("no text") };
    assert_eq!(text.len(), TEXT_BYTES_MAX);
}

#[test]
fn host_spans_beyond_the_limit_fold_into_their_parent() {
    let (telemetry, kept) = kept();
    let mut recording = telemetry.begin(begin());
    let root_span = recording.root();
    let mut last = root_span;
    for _ in 0..SPANS_MAX + 5 {
        last = recording.open("step", root_span);
        recording.set(last, "k", "v");
        recording.close(last);
    }
    assert_eq!(recording.span_id(last), recording.span_id(root_span));
    drop(recording);
    let data = kept.one(&telemetry);
    assert_eq!(data.spans().len(), SPANS_MAX);
    assert_eq!(root(&data, "spanglass.dropped.spans"), Some(6_i64.into()));
    assert_eq!(root(&data, "k"), None);
}

#[test]
fn guest_spans_hang_together_whatever_they_claim() {
    let (telemetry, kept) = kept();
    let mut recording = telemetry.begin(begin());
    let execute = recording.open("execute", recording.root());
    let execute_id = recording.span_id(execute);
    // A child may come before its parent.
    recording.guest_span(execute, guest_span(2, Some(id(1))));
    recording.guest_span(execute, guest_span(1, None));
    // A parent that nobody knows, a circle, itself, and an id that is the host's.
    recording.guest_span(execute, guest_span(3, Some(id(99))));
    recording.guest_span(execute, guest_span(4, Some(id(5))));
    recording.guest_span(execute, guest_span(5, Some(id(4))));
    recording.guest_span(execute, guest_span(6, Some(id(6))));
    let impostor = GuestSpan { span_id: execute_id, ..guest_span(7, None) };
    recording.guest_span(execute, impostor);
    drop(recording);
    let data = kept.one(&telemetry);
    let parent = |byte: u8| data.spans().iter().find(|span| span.id == id(byte)).unwrap().parent.unwrap();
    assert_eq!(parent(2), id(1));
    for byte in [1, 3, 4, 5, 6] {
        assert_eq!(parent(byte), execute_id, "{byte}");
    }
    assert_eq!(root(&data, "spanglass.dropped.spans"), Some(1_i64.into()));
    for span in data.spans() {
        assert!(span.start_ns <= span.end_ns && span.end_ns <= data.root().end_ns, "within the invocation");
    }
}

#[test]
fn guests_speak_within_bounds_and_not_in_the_host_s_name() {
    let (telemetry, kept) = kept();
    let mut recording = telemetry.begin(begin());
    recording.bind(telemetry.plugin("echo", "1.0.0", "python", &["invoke"]));
    let root_span = recording.root();
    let mut span = guest_span(1, None);
    span.attributes = map(json!({
        "sampling.keep": true, "spanglass.outcome": "replied", "http.method": "GET", "n": 1.5, "none": null,
        "nested": {"a": [1]}, "long": "x".repeat(100_000),
    }));
    span.events = vec![GuestEvent { unix_ns: 0, name: "e".into(), attributes: map(json!({"k": 1})) }; 200];
    recording.guest_span(root_span, span);
    for byte in 0..=255 {
        let mut bytes = [7; 8];
        bytes[0] = byte;
        let mut span = guest_span(2, None);
        span.span_id = SpanId::from_bytes(bytes).unwrap();
        span.attributes = map(json!({"long": "x".repeat(4_000)}));
        recording.guest_span(root_span, span);
    }
    recording
        .guest_metric(root_span, GuestMetric { name: "rows".into(), value: 3.0, attributes: Map::new() });
    drop(recording);
    let data = kept.one(&telemetry);
    let span = data.spans().iter().find(|span| span.id == id(1)).unwrap();
    let keys: Vec<&str> = data.attributes(span).map(|(key, _)| key).collect();
    assert!(keys.starts_with(&["http.method", "n", "nested", "long"]), "{keys:?}");
    assert!(!keys.contains(&"sampling.keep") && !keys.contains(&"spanglass.outcome"));
    assert_eq!((span.dropped_attributes, span.dropped_events), (3, 72));
    assert!(data.bytes() < 2 * GUEST_BYTES_MAX, "{}", data.bytes());
    let Some(Value::Int(dropped)) = root(&data, "spanglass.dropped.spans") else { panic!("nothing dropped") };
    assert_eq!(dropped + data.spans().len() as i64, 256 + 2);
    assert_eq!(
        count(&telemetry, "spanglass_guest_dropped_total{plugin=\"echo\",what=\"spans\"}"),
        dropped as f64
    );
}

#[test]
fn a_line_goes_out_at_once_with_the_ids_of_its_call() {
    let (telemetry, kept) = kept();
    let mut recording = telemetry.begin(begin());
    recording.bind(telemetry.plugin("echo", "1.0.0", "python", &["invoke"]));
    let mut log = guest_log(&"é".repeat(TEXT_BYTES_MAX));
    log.stream = LogStream::Sdk;
    log.fields = map(json!({"trace_id": "forged", "rows": 3}));
    log.code = Some(CodeLocation { file: "a.py".into(), line: 7, function: "f".into() });
    log.unix_ns = Some(0);
    let root_span = recording.root();
    recording.guest_log(root_span, log);
    let logs = kept.take_logs(&telemetry);
    let record = &logs[0];
    assert_eq!(record.ids.unwrap().trace_id, recording.trace_id());
    assert_eq!(record.ids.unwrap().invocation_id, Some(recording.invocation_id()));
    assert_eq!(record.body.len(), TEXT_BYTES_MAX);
    assert_eq!(record.unix_ns, recording.created_at_unix_ns(), "clamped into the call");
    let keys: Vec<&str> = record.fields.iter().map(|(key, _)| &**key).collect();
    assert_eq!(
        keys,
        ["field.trace_id", "rows", attribute::CODE_FILE, attribute::CODE_LINE, attribute::CODE_FUNCTION]
    );
    let series = "spanglass_plugin_log_lines_total{plugin=\"echo\",stream=\"sdk\",version=\"1.0.0\"}";
    assert_eq!(count(&telemetry, series), 1.0);
    drop(recording);
    assert_eq!(kept.one(&telemetry).outcome, Outcome::Dropped);
}

#[test]
fn lines_of_a_call_come_before_its_ending_even_from_other_threads() {
    struct Order(Arc<std::sync::Mutex<Vec<bool>>>);
    impl crate::telemetry::Sink for Order {
        fn accept(&mut self, batch: &[Record]) {
            let endings = batch.iter().map(|record| matches!(record, Record::Invocation(_)));
            self.0.lock().unwrap().extend(endings);
        }
    }
    let order = Arc::default();
    let telemetry = Telemetry::start(Default::default(), vec![Box::new(Order(Arc::clone(&order)))]).unwrap();
    for _ in 0..8 {
        let mut recording = telemetry.begin(begin());
        std::thread::spawn(move || {
            let root_span = recording.root();
            recording.guest_log(root_span, guest_log("hello"));
        })
        .join()
        .unwrap();
        assert!(telemetry.flush(Duration::from_secs(5)));
    }
    assert_eq!(*order.lock().unwrap(), [false, true].repeat(8));
}

#[test]
fn an_event_inside_a_call_is_a_log_record_and_an_event_of_the_span() {
    let (telemetry, kept) = kept();
    let mut recording = telemetry.begin(begin());
    let root_span = recording.root();
    let retried = InvocationRetried {
        attempt: 1,
        kind: ErrorKind::Crashed,
        message: "the worker died",
        backoff: Duration::from_millis(200),
    };
    recording.emit(root_span, retried);
    let trace_id = recording.trace_id();
    drop(recording);
    let logs = kept.take_logs(&telemetry);
    assert_eq!(logs[0].event_name, Some(names::event::INVOCATION_RETRIED));
    assert_eq!(logs[0].ids.unwrap().trace_id, trace_id);
    let data = kept.one(&telemetry);
    let (event, fields) = data.events(data.root()).next().unwrap();
    assert_eq!(&*event.name, names::event::INVOCATION_RETRIED);
    assert!(fields.into_iter().any(|(key, value)| key == "error.type" && *value == "crashed".into()));
}

#[test]
fn active_invocations_tell_how_far_they_are() {
    let (telemetry, _) = kept();
    let mut first = telemetry.begin(begin());
    let second = telemetry.begin(begin());
    first.bind(telemetry.plugin("echo", "1.0.0", "python", &["invoke"]));
    first.attempt();
    first.queue_wait(Duration::from_millis(1));
    let active = telemetry.active();
    let ids: Vec<_> = active.iter().map(|active| active.invocation_id).collect();
    assert_eq!(ids, [first.invocation_id(), second.invocation_id()]);
    assert_eq!((active[0].running, active[0].version.as_deref()), (true, Some("1.0.0")));
    assert_eq!((active[1].running, active[1].version.as_deref()), (false, None));
}

#[test]
fn a_reused_recording_remembers_nothing() {
    let (telemetry, kept) = kept();
    let mut recording = telemetry.begin(Begin { parent: Some(remote_parent()), ..begin() });
    recording.bind(telemetry.plugin("echo", "1.0.0", "python", &["invoke"]));
    recording.attempt();
    recording.cold_start(Duration::from_secs(1));
    recording.capture_input(Captured { json: "{}".into(), truncated: true, redacted: false });
    let root_span = recording.root();
    recording.set(root_span, "mine", "x".to_owned());
    let error = InvokeError::new(ErrorKind::Crashed, "gone");
    recording.finish(Ending::Failed { error: &error, usage: Usage { output_bytes: 7, ..Usage::default() } });
    let first = kept.one(&telemetry);
    assert_eq!(first.captured_input.as_ref().unwrap().json, "{}");
    drop(telemetry.begin(begin()));
    let second = kept.one(&telemetry);
    assert_eq!(second.spans().len(), 1);
    assert!(second.version.is_none() && second.runtime.is_none() && second.captured_input.is_none());
    assert!(!second.cold_start && second.attempts == 0 && second.tracestate.is_none());
    assert_eq!(second.usage, Usage::default());
    assert_eq!(root(&second, "mine"), None);
    assert_eq!(second.error.as_ref().unwrap().kind, ErrorKind::Cancelled);
}
