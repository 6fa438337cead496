//! The lines above the tree: what happened, how it ended, where the time went, by which ids to find it.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::forest::{Forest, Role, Span};
use crate::app::output::{self, Line, Paint, Style, bytes, count, nanoseconds, printable};
use crate::telemetry::names::{attribute, event};

/// Shares of the time below this are not worth a word.
const SHARE_MIN: f64 = 0.01;

/// Pieces that are joined with dots and broken between them where a line is full.
type Pieces = Vec<(Paint, String)>;

pub fn head(trace: &Value, forest: &Forest<'_>, style: &Style, out: &mut String) {
    let calls: Vec<&Span<'_>> = forest.spans.iter().filter(|span| span.role == Role::Invoke).collect();
    let top: Vec<&Span<'_>> = forest.roots.iter().map(|root| &forest.spans[*root]).collect();
    let main = match (calls.as_slice(), top.as_slice()) {
        ([call], _) => Some(*call),
        (_, [only]) if only.role == Role::Invoke => Some(*only),
        _ => None,
    };
    match main {
        Some(call) => one_call(call, forest, style, out),
        None if top.is_empty() => line(style, vec![(Paint::Dim, "this trace has no spans".to_owned())], out),
        None => several(&calls, &top, style, out),
    }
    line(style, ids(trace, main, &top), out);
    if trace.get("truncated").and_then(Value::as_bool) == Some(true) {
        let text = "not everything is here: the trace has more spans or log lines than one answer holds";
        line(style, vec![(Paint::Warning, text.to_owned())], out);
    }
}

fn one_call(call: &Span<'_>, forest: &Forest<'_>, style: &Style, out: &mut String) {
    let part = |key: &str| call.text(key).map(printable);
    let plugin = part(attribute::PLUGIN_NAME).unwrap_or_else(|| printable(call.name));
    let version = part(attribute::PLUGIN_VERSION).map(|version| format!(" {version}")).unwrap_or_default();
    let action = part(attribute::ACTION).filter(|action| action != "invoke");
    let action = action.map(|action| format!(" ({action})")).unwrap_or_default();
    let (paint, glyph, verb) = match call.text(attribute::OUTCOME) {
        Some("dropped") => (Paint::Warning, style.glyph("⊘", "-"), "dropped after"),
        _ if call.failed => (Paint::Bad, style.glyph("✗", "x"), "failed after"),
        _ => (Paint::Good, style.glyph("✓", "+"), "replied in"),
    };
    let kind = part(attribute::ERROR_TYPE).map(|kind| format!(": {kind}")).unwrap_or_default();
    let first = vec![
        (paint, glyph.to_owned()),
        (Paint::Strong, plugin),
        (Paint::Plain, format!("{version}{action}").trim().to_owned()),
        (paint, format!("{verb} {}{kind}", nanoseconds(call.duration_ns()))),
    ];
    joined(" ", style, first, out);
    line(style, facts(call), out);
    line(style, shares(call, forest, style), out);
}

fn several(calls: &[&Span<'_>], top: &[&Span<'_>], style: &Style, out: &mut String) {
    let start = top.iter().map(|span| span.start).min().unwrap_or(0);
    let end = top.iter().map(|span| span.end).max().unwrap_or(0);
    let spent = style.ascii(nanoseconds(end.saturating_sub(start).unsigned_abs()));
    let failed = calls.iter().filter(|call| call.failed).count();
    let number =
        |number: usize, what: &str| format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" });
    let mut pieces = match (calls, top) {
        ([], [only]) => vec![(Paint::Strong, printable(only.name)), (Paint::Plain, spent)],
        ([], _) => {
            vec![(Paint::Strong, number(top.len(), "operation")), (Paint::Plain, format!("within {spent}"))]
        }
        _ => vec![(Paint::Strong, number(calls.len(), "call")), (Paint::Plain, format!("within {spent}"))],
    };
    if failed > 0 {
        pieces.push((Paint::Bad, format!("{} failed", count(failed))));
    }
    line(style, pieces, out);
}

fn facts(call: &Span<'_>) -> Pieces {
    let number = |key: &str| call.attribute(key).and_then(Value::as_u64);
    let mut facts = Vec::new();
    if let Some(attempts) = number(attribute::ATTEMPTS).filter(|attempts| *attempts > 1) {
        facts.push((Paint::Warning, format!("{attempts} attempts")));
    }
    if call.attribute(attribute::COLD_START).and_then(Value::as_bool) == Some(true) {
        facts.push((Paint::Cold, "cold start".to_owned()));
    }
    let mut sizes = Vec::new();
    for (key, word) in [(attribute::INPUT_BYTES, "in"), (attribute::OUTPUT_BYTES, "out")] {
        sizes.extend(number(key).filter(|size| *size > 0).map(|size| format!("{} {word}", bytes(size))));
    }
    if let Some(seconds) =
        call.attribute(attribute::USAGE_CPU).and_then(Value::as_f64).filter(|cpu| *cpu > 0.0)
    {
        sizes.push(format!("cpu {}", output::milliseconds(seconds * 1e3)));
    }
    sizes.extend(
        number(attribute::USAGE_MEMORY_PEAK)
            .filter(|peak| *peak > 0)
            .map(|peak| format!("{} memory", bytes(peak))),
    );
    facts.extend(sizes.into_iter().map(|size| (Paint::Dim, size)));
    facts
}

/// Where the time went, largest first.
fn shares(call: &Span<'_>, forest: &Forest<'_>, style: &Style) -> Pieces {
    let whole = call.duration_ns().max(1) as f64;
    let mut parts = [
        (Paint::Accent, "running", sum(call, forest, Role::Execute)),
        (Paint::Cold, "starting", sum(call, forest, Role::Prepare)),
        (Paint::Warning, "queued", sum(call, forest, Role::Queue)),
        (Paint::Plain, "backing off", backoff(call)),
    ];
    parts.sort_by_key(|(_, _, spent)| std::cmp::Reverse(*spent));
    let worth = parts.into_iter().filter(|(_, _, spent)| *spent as f64 / whole >= SHARE_MIN);
    let piece = |(paint, word, spent): (Paint, &str, u64)| {
        let percent = (spent as f64 / whole * 100.0).min(100.0);
        (paint, format!("{percent:.0}% {word} {}", style.ascii(nanoseconds(spent))))
    };
    worth.map(piece).collect()
}

/// Of the call's own attempts; what it calls has its own account.
fn sum(call: &Span<'_>, forest: &Forest<'_>, role: Role) -> u64 {
    let attempts = call.children.iter().map(|place| &forest.spans[*place]);
    let steps = attempts.flat_map(|attempt| &attempt.children).map(|place| &forest.spans[*place]);
    steps.filter(|step| step.role == role).map(Span::duration_ns).sum()
}

fn backoff(call: &Span<'_>) -> u64 {
    let retried = call.events.iter().filter(|one| one.name == event::INVOCATION_RETRIED);
    let ms: f64 = retried.filter_map(|one| one.attribute("backoff_ms")?.as_f64()).sum();
    (ms.max(0.0) * 1e6) as u64
}

fn ids(trace: &Value, call: Option<&Span<'_>>, top: &[&Span<'_>]) -> Pieces {
    let id = trace.get("trace_id").and_then(Value::as_str).unwrap_or("?");
    let mut pieces = vec![(Paint::Dim, format!("trace {}", printable(id)))];
    if let Some(id) = call.and_then(|call| call.text(attribute::INVOCATION_ID)) {
        pieces.push((Paint::Dim, format!("invocation {}", printable(id))));
    }
    if let Some(start) = top.iter().map(|span| span.start).min() {
        let time = UNIX_EPOCH + Duration::from_nanos(u64::try_from(start).unwrap_or(0));
        let text = humantime::format_rfc3339_millis(time).to_string().replace('T', " ").replace('Z', " UTC");
        pieces.push((Paint::Dim, text));
    }
    pieces
}

fn line(style: &Style, pieces: Pieces, out: &mut String) {
    joined(style.glyph(" · ", " - "), style, pieces, out);
}

fn joined(separator: &str, style: &Style, pieces: Pieces, out: &mut String) {
    let mut line = Line::default();
    for (paint, text) in pieces.into_iter().filter(|(_, text)| !text.is_empty()) {
        let text = style.ascii(text);
        let before = if line.columns() == 0 { "" } else { separator };
        if line.columns() + output::width(before) + output::width(&text) <= style.width {
            line.push(style, Paint::Dim, before);
        } else if line.columns() > 0 {
            line.finish_into(out);
        }
        line.push(style, paint, &style.fit(&text, style.width));
    }
    if line.columns() > 0 {
        line.finish(out);
    }
}
