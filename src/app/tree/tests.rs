use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::app::output;

/// A trace that begins at a round time; spans and lines are given by their offset in ms.
struct Trace {
    spans: Vec<Value>,
    logs: Vec<Value>,
}

fn at(ms: f64) -> String {
    let start = humantime::parse_rfc3339("2026-02-03T04:05:06Z").unwrap();
    humantime::format_rfc3339_nanos(start + std::time::Duration::from_nanos((ms * 1e6) as u64)).to_string()
}

fn id(number: usize) -> String {
    format!("{number:016x}")
}

impl Trace {
    fn new() -> Trace {
        Trace { spans: Vec::new(), logs: Vec::new() }
    }

    fn span(&mut self, parent: Option<usize>, name: &str, start: f64, duration: f64) -> usize {
        let number = self.spans.len() + 1;
        self.spans.push(json!({
            "span_id": id(number), "parent_span_id": parent.map(id), "name": name, "kind": "internal",
            "start": at(start), "duration_ms": duration, "status": "unset", "attributes": {}, "events": [],
        }));
        number
    }

    fn set(&mut self, span: usize, key: &str, value: impl Into<Value>) -> &mut Trace {
        self.spans[span - 1]["attributes"][key] = value.into();
        self
    }

    fn fail(&mut self, span: usize, kind: &str, message: &str) {
        self.spans[span - 1]["status"] = "error".into();
        self.spans[span - 1]["status_message"] = message.into();
        self.set(span, "error.type", kind);
    }

    fn event(&mut self, span: usize, ms: f64, name: &str, attributes: Value) {
        let event = json!({"name": name, "time": at(ms), "attributes": attributes});
        self.spans[span - 1]["events"].as_array_mut().unwrap().push(event);
    }

    fn log(&mut self, span: Option<usize>, ms: f64, stream: &str, severity: &str, body: &str) {
        self.logs.push(json!({
            "timestamp": at(ms), "severity_text": severity, "body": body, "stream": stream, "span_id": span.map(id),
        }));
    }

    fn call(&mut self, parent: Option<usize>, plugin: &str, start: f64, duration: f64) -> usize {
        let call = self.span(parent, &format!("invoke {plugin}"), start, duration);
        self.set(call, "spanglass.plugin.name", plugin).set(call, "spanglass.plugin.version", "1.0.0");
        self.set(call, "spanglass.action", "invoke").set(call, "spanglass.outcome", "replied");
        self.set(call, "spanglass.attempts", 1).set(call, "spanglass.input.bytes", 96);
        self.set(call, "spanglass.invocation.id", "01976a5e-3c00-7000-8000-000000000001");
        call
    }

    /// Queue and execute in an attempt; returns both.
    fn attempt(&mut self, call: usize, start: f64, duration: f64) -> (usize, usize) {
        let attempt = self.span(Some(call), "attempt", start, duration);
        self.span(Some(attempt), "queue", start, 0.012);
        (attempt, self.span(Some(attempt), "execute", start + 0.02, duration - 0.02))
    }

    fn document(self) -> Value {
        json!({"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "spans": self.spans, "logs": self.logs})
    }
}

fn cold_success() -> Value {
    let mut trace = Trace::new();
    let call = trace.call(None, "fraud-score", 0.0, 84.2);
    trace.set(call, "spanglass.cold_start", true).set(call, "spanglass.usage.cpu_seconds", 0.0081);
    trace.set(call, "spanglass.output.bytes", 61).set(call, "spanglass.usage.memory_peak_bytes", 14 << 20);
    trace.span(Some(call), "validate_input", 0.03, 0.061);
    let attempt = trace.span(Some(call), "attempt", 0.1, 84.0);
    trace.span(Some(attempt), "queue", 0.1, 0.012);
    trace.span(Some(attempt), "prepare", 0.12, 71.0);
    let execute = trace.span(Some(attempt), "execute", 71.2, 12.8);
    let score = trace.span(Some(execute), "score", 72.0, 8.1);
    trace.set(score, "rules", 12).set(score, "model", "2026-01");
    let request = trace.span(Some(score), "GET", 74.0, 4.1);
    trace.spans[request - 1]["kind"] = "client".into();
    trace.set(request, "http.response.status_code", 200).set(
        request,
        "url.full",
        "https://api.example.com/risk",
    );
    trace.span(Some(call), "validate_output", 84.11, 0.08);
    trace.event(score, 79.0, "metric", json!({"metric.name": "rules_hit", "metric.value": 3}));
    trace.log(Some(execute), 71.9, "stdout", "INFO", "scoring 1 payment");
    trace.log(Some(execute), 81.0, "stderr", "WARN", "DeprecationWarning: \u{1b}[31mold\u{1b}[0m rule set");
    trace.log(Some(call), 84.2, "host", "INFO", "invocation replied");
    trace.logs[2]["event_name"] = "invocation.finished".into();
    trace.document()
}

fn failed_after_retries() -> Value {
    let mut trace = Trace::new();
    let call = trace.call(None, "flaky", 0.0, 262.0);
    trace.span(Some(call), "validate_input", 0.03, 0.04);
    let starts = [(0.1, 11.0), (52.0, 9.0), (180.0, 81.5)];
    for (number, (start, duration)) in starts.into_iter().enumerate() {
        let (attempt, execute) = trace.attempt(call, start, duration);
        let (kind, message) = match number {
            1 => ("timeout", "no reply within 8ms"),
            _ => ("plugin_error", "RuntimeError: drew 0.12, which is below 0.4"),
        };
        trace.fail(execute, kind, message);
        trace.fail(attempt, kind, message);
        trace.log(Some(execute), start + 2.0, "stdout", "INFO", &format!("attempt {}", number + 1));
        if number < 2 {
            let retried = json!({"spanglass.attempt": number + 1, "backoff_ms": starts[number + 1].0 - start - duration});
            trace.event(call, start + duration, "invocation.retried", retried);
        }
    }
    trace.set(call, "spanglass.attempts", 3).set(call, "spanglass.outcome", "failed");
    trace.fail(call, "plugin_error", "RuntimeError: drew 0.12, which is below 0.4");
    trace.event(call, 261.0, "exception", json!({"exception.type": "RuntimeError", "exception.message": "drew 0.12",
        "exception.stacktrace": "Traceback (most recent call last):\n  File \"executor.py\", line 12, in invoke\n    raise RuntimeError(\"drew {draw}\")\nRuntimeError: drew 0.12, which is below 0.4\n"}));
    trace.document()
}

fn streaming() -> Value {
    let mut trace = Trace::new();
    let call = trace.call(None, "csv-profile", 0.0, 1_204.0);
    let (_, execute) = trace.attempt(call, 0.1, 1_203.0);
    for column in 0..6 {
        let start = 20.0 + 195.0 * f64::from(column);
        let span = trace.span(Some(execute), "profile column", start, 190.0);
        trace.set(span, "column", format!("column-{column}")).set(span, "rows", 12_000 + column);
        trace.log(Some(span), start + 188.0, "sdk", "INFO", &format!("column-{column} done"));
    }
    trace.set(call, "spanglass.outcome", "dropped");
    trace.document()
}

fn nested_calls() -> Value {
    let mut trace = Trace::new();
    let outer = trace.call(None, "checkout", 0.0, 40.0);
    let (_, execute) = trace.attempt(outer, 0.1, 39.5);
    let step = trace.span(Some(execute), "call fraud-score", 5.0, 30.0);
    let inner = trace.call(Some(step), "fraud-score", 5.5, 29.0);
    let (_, execute) = trace.attempt(inner, 6.0, 28.0);
    trace.span(Some(execute), "attempt", 10.0, 10.0);
    trace.document()
}

/// What no honest host writes.
fn broken() -> Value {
    let mut trace = Trace::new();
    let call = trace.call(Some(77), "text-stats", 0.0, 5.0);
    trace.span(Some(88), "lost child", 1.0, 2.0);
    trace.span(Some(4), "circle one", 1.5, 1.0);
    trace.span(Some(3), "circle two", 1.6, 1.0);
    trace.span(Some(5), "own parent", 2.0, 0.5);
    let twin = trace.span(Some(call), "twin", 3.0, 0.1);
    trace.span(Some(twin), "", -7.0, -3.0);
    trace.spans[6]["span_id"] = id(twin).into();
    trace.spans[6]["start"] = "tomorrow".into();
    trace.log(Some(99), 2.0, "stdout", "INFO", "nobody's line");
    trace.document()
}

fn huge() -> Value {
    let mut trace = Trace::new();
    let call = trace.call(None, "fan-out", 0.0, 5_000.0);
    let (_, execute) = trace.attempt(call, 0.1, 4_999.0);
    for number in 0..3_000 {
        let span = trace.span(Some(execute), "item", f64::from(number), 0.5 + f64::from(number % 7));
        trace.log(Some(execute), f64::from(number), "stdout", "INFO", &format!("item {number}"));
        if number == 2_345 {
            trace.fail(span, "error", "this one matters");
        }
    }
    let mut deep = execute;
    for number in 0..2_000 {
        deep = trace.span(Some(deep), "deeper", 10.0 + f64::from(number), 1.0);
    }
    trace.document()
}

fn far_apart() -> Value {
    let mut trace = Trace::new();
    trace.call(None, "text-stats", 0.0, 3.0);
    let failed = trace.call(None, "text-stats", 3_720_000.0, 2.0);
    trace.fail(failed, "crashed", "the worker died: signal 11");
    trace.document()
}

fn screen(width: usize) -> Style {
    Style { terminal: true, ..Style::plain(width) }
}

/// Compares with a file beside this one; `SPANGLASS_UPDATE_SNAPSHOTS=1` writes it.
fn assert_snapshot(name: &str, shown: &str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/app/tree/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("SPANGLASS_UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, shown).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, kept, "\n{name} has changed:\n{shown}");
}

#[test]
fn pictures() {
    for (name, trace) in [
        ("cold_success", cold_success()),
        ("failed_after_retries", failed_after_retries()),
        ("streaming", streaming()),
        ("nested_calls", nested_calls()),
        ("broken", broken()),
        ("far_apart", far_apart()),
    ] {
        assert_snapshot(&format!("{name}-100"), &render_trace(&trace, &screen(100)));
        assert_snapshot(&format!("{name}-60"), &render_trace(&trace, &screen(60)));
    }
    assert_snapshot("cold_success-piped", &render_trace(&cold_success(), &Style::plain(100)));
    let ascii = Style { unicode: false, ..screen(80) };
    assert_snapshot("failed_after_retries-ascii", &render_trace(&failed_after_retries(), &ascii));
    assert_snapshot("huge-100", &render_trace(&huge(), &screen(100)));
    assert_snapshot("empty", &render_trace(&json!({"trace_id": "0", "spans": [], "logs": []}), &screen(80)));
}

#[test]
fn colours_add_nothing_but_colours() {
    let style = screen(80);
    let painted = render_trace(&cold_success(), &Style { color: true, ..style });
    let mut plain = String::new();
    for (index, part) in painted.split('\u{1b}').enumerate() {
        plain += if index == 0 { part } else { part.split_once('m').unwrap().1 };
    }
    let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    assert_eq!(trimmed(&plain), trimmed(&render_trace(&cold_success(), &style)));
}

#[test]
fn ascii_is_ascii() {
    let style = Style { unicode: false, ..screen(80) };
    for trace in [cold_success(), failed_after_retries(), broken(), huge(), far_apart()] {
        let shown = render_trace(&trace, &style);
        assert!(shown.is_ascii(), "{shown}");
    }
}

#[test]
fn what_is_left_out_is_counted_and_the_failure_is_not_left_out() {
    let trace = huge();
    let forest = Forest::read(&trace);
    let plan = rows::plan(&forest, 10, true);
    assert_eq!(plan.shown + plan.hidden, forest.spans.len());
    assert!(plan.hidden > 4_000);
    let shown = render_trace(&trace, &screen(100));
    assert!(shown.contains("this one matters"), "{shown}");
    assert!(shown.lines().count() < 700);
}

#[test]
fn a_document_of_another_shape_is_no_reason_to_panic() {
    for document in
        [json!(null), json!([]), json!({"spans": 1}), json!({"spans": [1, null, {}, {"events": [3]}]})]
    {
        assert!(!render_trace(&document, &screen(80)).is_empty());
    }
}

proptest::proptest! {
    #[test]
    fn no_span_is_lost_and_no_line_is_too_wide(
        spans in proptest::collection::vec((0usize..40, 0usize..40, -1e3..1e6f64, -10.0..1e5f64, ".{0,20}"), 0..60),
        width in 40usize..140,
    ) {
        let mut trace = Trace::new();
        for (parent, own, start, duration, name) in &spans {
            let number = trace.span(Some(*parent), name, start.abs(), *duration);
            trace.spans[number - 1]["span_id"] = id(*own).into();
            trace.log(Some(*own), *start, "stdout", "INFO", name);
        }
        let document = trace.document();
        let forest = Forest::read(&document);
        let plan = rows::plan(&forest, 6, false);
        proptest::prop_assert_eq!(plan.shown + plan.hidden, spans.len());
        for line in render_trace(&document, &screen(width)).lines() {
            proptest::prop_assert!(output::width(line) <= width, "{}", line);
        }
    }
}
