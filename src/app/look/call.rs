//! One call with what went in and came out, for people.

use std::time::SystemTime;

use serde_json::Value;

use super::{duration, plugin, standing, text};
use crate::app::output::{self, Bounds, Line, Paint, Style, printable};

/// One call with what went in and came out.
pub fn render(document: &Value, style: &Style) -> String {
    let mut out = String::new();
    let outcome = standing(document, document["error"]["kind"].as_str(), style);
    let mut first = Line::default();
    first.push(style, outcome.paint, &outcome.text).push(
        style,
        Paint::Strong,
        &format!("  {}", plugin(document)),
    );
    if document["duration_ms"].is_number() {
        first.push(style, Paint::Plain, &format!("  {}", duration(&document["duration_ms"], style)));
    }
    first.finish(&mut out);
    let started = text(document, "created_at");
    let when = format!("{started} ({})", output::ago(started, SystemTime::now()));
    let facts = [
        ("invocation", text(document, "invocation_id").to_owned()),
        ("trace", text(document, "trace_id").to_owned()),
        ("started", when),
        ("attempts", attempts(document, style)),
        ("used", used(&document["usage"], style)),
    ];
    for (name, fact) in facts {
        if !fact.is_empty() {
            let mut line = Line::default();
            line.push(style, Paint::Dim, name).pad_to(12).push(style, Paint::Plain, &printable(&fact));
            line.finish(&mut out);
        }
    }
    error(&document["error"], style, &mut out);
    for side in ["input", "output"] {
        captured(document, side, style, &mut out);
    }
    let id = printable(text(document, "trace_id"));
    out += &format!("{}\n", style.paint(Paint::Dim, &format!("its steps: spanglass trace show {id}")));
    out
}

fn attempts(document: &Value, style: &Style) -> String {
    let Some(attempts) = document["attempts"].as_u64() else { return String::new() };
    let mut words = vec![attempts.to_string()];
    for (member, word) in [("queue_ms", "queued"), ("prepare_ms", "starting")] {
        if let Some(ms) = document[member].as_f64().filter(|ms| *ms >= 0.1) {
            words.push(format!("{word} {}", style.ascii(output::milliseconds(ms))));
        }
    }
    if document["cold_start"] == true {
        words.push("cold start".to_owned());
    }
    words.join(", ")
}

fn used(usage: &Value, style: &Style) -> String {
    let mut words = Vec::new();
    if let Some(ms) = usage["cpu_ms"].as_f64().filter(|ms| *ms > 0.0) {
        words.push(format!("cpu {}", style.ascii(output::milliseconds(ms))));
    }
    for (member, word) in [("memory_peak_bytes", "memory"), ("input_bytes", "in"), ("output_bytes", "out")] {
        if let Some(bytes) = usage[member].as_u64().filter(|bytes| *bytes > 0) {
            words.push(format!("{} {word}", output::bytes(bytes)));
        }
    }
    words.join(", ")
}

fn error(error: &Value, style: &Style, out: &mut String) {
    let Some(message) = error["message"].as_str() else { return };
    *out +=
        &format!("{}\n", style.paint(Paint::Bad, &printable(&format!("{}: {message}", text(error, "kind")))));
    let traceback = error["exception"]["traceback"].as_str().unwrap_or_default();
    for line in traceback.trim_end().lines() {
        *out += &format!("{} {}\n", style.paint(Paint::Dim, "|"), printable(line));
    }
}

fn captured(document: &Value, side: &str, style: &Style, out: &mut String) {
    let flag = |what: &str| document[format!("{side}_{what}")] == true;
    let note = match (&document[side], flag("truncated"), flag("redacted")) {
        (Value::Null, ..) if side == "output" && document["outcome"] != "replied" => " (none)",
        (Value::Null, ..) => " (not kept)",
        (_, true, true) => " (cut, and sensitive parts replaced)",
        (_, true, false) => " (cut)",
        (_, false, true) => " (sensitive parts replaced)",
        (_, false, false) => "",
    };
    *out += &format!("{}{}\n", style.paint(Paint::Strong, side), style.paint(Paint::Dim, note));
    match &document[side] {
        Value::Null => {}
        // What is cut is no document any more, only the beginning of one.
        Value::String(beginning) if flag("truncated") => *out += &format!("{}\n", printable(beginning)),
        value => *out += &output::pretty(value, style, Bounds::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::look::tests::{item, plain};
    use serde_json::json;

    #[test]
    fn one_call_is_shown_with_both_sides() {
        let mut document = item();
        document["output"] = json!({"score": 0.5});
        document["input_redacted"] = true.into();
        let shown = render(&document, &plain(80));
        for part in [
            "✓ replied  fraud-score@1.0.0  12.4ms\n",
            "input (sensitive parts replaced)\n",
            "output\n{\"score\": 0.5}\n",
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
        document["output"] = serde_json::Value::Null;
        assert!(render(&document, &plain(80)).contains("output (not kept)\n"));
        document["outcome"] = "failed".into();
        assert!(render(&document, &plain(80)).contains("output (none)\n"));
    }
}
