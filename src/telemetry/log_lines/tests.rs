use std::sync::{Condvar, Mutex};

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::model::guest::{LogStream, Severity};
use crate::model::text::Text;
use crate::telemetry::record::{LogIds, TEXT_BYTES_MAX};
use crate::telemetry::{ids, testing};

fn record(body: &str, fields: Vec<(Text, Value)>) -> LogRecord {
    LogRecord {
        unix_ns: 1_790_000_000_123_456_789,
        severity: Severity::Warn,
        stream: LogStream::Host,
        body: body.to_owned().into(),
        event_name: None,
        ids: None,
        plugin: None,
        version: None,
        fields,
        dropped_fields: 0,
    }
}

fn parse(record: &LogRecord) -> serde_json::Map<String, Json> {
    let mut line = Vec::new();
    write_line(&mut line, record);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
    assert_eq!(line.last(), Some(&b'\n'));
    assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
    serde_json::from_slice(&line).unwrap()
}

#[test]
fn a_line_of_a_call_has_all_ids_and_another_has_none() {
    let mut inside =
        record("x", vec![("outcome".into(), "replied".into()), ("duration_ms".into(), 1.5.into())]);
    let ids = LogIds {
        trace_id: ids::trace_id(),
        span_id: ids::span_id(),
        flags: 1,
        invocation_id: Some(ids::invocation_id(7)),
    };
    inside.ids = Some(ids);
    inside.plugin = Some("echo".into());
    inside.event_name = Some("invocation.finished");
    let line = parse(&inside);
    assert_eq!(line["timestamp"], "2026-09-21T14:13:20.123456789Z");
    assert_eq!((&line["severity_text"], &line["severity_number"]), (&"WARN".into(), &13.into()));
    assert_eq!(line["trace_id"], ids.trace_id.to_string());
    assert_eq!(line["span_id"], ids.span_id.to_string());
    assert_eq!(line["invocation_id"], ids.invocation_id.unwrap().to_string());
    assert_eq!((&line["plugin.name"], &line["stream"]), (&"echo".into(), &"host".into()));
    assert_eq!((&line["outcome"], &line["duration_ms"]), (&"replied".into(), &1.5.into()));
    let outside = parse(&record("x", Vec::new()));
    for key in ["trace_id", "span_id", "invocation_id", "plugin.name", "event_name"] {
        assert!(!outside.contains_key(key), "{key}");
    }
}

#[test]
fn a_line_is_bounded_and_says_what_it_left_out() {
    let field = |number: usize| (format!("k{number}").into(), "\u{1}".repeat(TEXT_BYTES_MAX).into());
    let line = parse(&record(&"\u{1}".repeat(TEXT_BYTES_MAX), (0..64).map(field).collect()));
    assert_eq!(line["dropped_fields"], 64);
    assert_eq!(parse(&record("x", vec![("k".into(), f64::NAN.into())]))["k"], "NaN");
}

proptest! {
    #[test]
    fn any_text_stays_one_object_on_one_line(body in any::<String>(), key in "[^\u{0}]{1,20}", value in any::<String>()) {
        prop_assume!(!crate::telemetry::names::log::RESERVED.contains(&key.as_str()));
        let line = parse(&record(&body, vec![(key.clone().into(), value.clone().into())]));
        prop_assert_eq!(&line["body"], &Json::from(body));
        prop_assert_eq!(&line[&key], &Json::from(value));
    }
}

#[test]
fn lines_reach_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    let settings = crate::telemetry::Settings { logs: LogTarget::Path(path.clone()), ..Default::default() };
    let (telemetry, _) = testing::kept_with(settings);
    let finished = testing::call(&telemetry);
    telemetry.shutdown(Duration::from_secs(5));
    let text = std::fs::read_to_string(path).unwrap();
    let line: Json = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(line["event_name"], "invocation.finished");
    assert_eq!(line["trace_id"], finished.trace_id.to_string());
    assert_eq!(line["outcome"], "replied");
}

#[test]
fn a_stuck_reader_stops_nobody_and_lost_lines_are_counted() {
    struct Stuck(Arc<(Mutex<bool>, Condvar)>);
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut free = self.0.0.lock().unwrap();
            while !*free {
                free = self.0.1.wait(free).unwrap();
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let metrics = Metrics::new().unwrap();
    let mut lines =
        LogLines::start_with(Output::Test(Box::new(Stuck(gate.clone()))), metrics.clone()).unwrap();
    for _ in 0..CHUNKS_MAX + 10 {
        lines.line(&record("x", Vec::new()));
        lines.pass_on();
    }
    let text = crate::telemetry::exposition::render(&metrics, None).body;
    let dropped = text
        .lines()
        .find_map(|line| line.strip_prefix("spanglass_log_lines_dropped_total{reason=\"writer_stuck\"} "));
    // One chunk may be in the writer's hands.
    assert!(["9", "10"].contains(&dropped.unwrap()), "{dropped:?}");
    let begun = Instant::now();
    lines.finish(begun + Duration::from_millis(50));
    assert!(begun.elapsed() < Duration::from_secs(5));
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
}
