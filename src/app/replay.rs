//! `replay`: run the input of an earlier call again, and show both side by side.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::cli::{Global, Replay};
use super::connect::{Need, connect};
use super::failure::Failure;
use super::invoke::escaped;
use super::look;
use super::output::{self, Bounds, Line, Paint, Style, printable};
use crate::config::Settings;
use crate::model::units::format_duration;

/// Columns of the names of facts, and of one side.
const NAME_COLUMNS: usize = 12;
const SIDE_COLUMNS: usize = 38;

pub async fn command(global: &Global, replay: &Replay, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Host)?;
    let replayed = async {
        let mut body = json!({});
        if let Some(on) = &replay.on {
            body["on"] = on.as_str().into();
        }
        if let Some(timeout) = replay.timeout {
            body["timeout"] = format_duration(timeout).into();
        }
        let id = look::find::invocation(&target, &replay.id).await?;
        let path = format!("/v1/invocations/{}/replay", escaped(&id));
        let answer = target.send(Method::POST, &path, Some(Bytes::from(body.to_string()))).await?;
        let (status, bytes) = answer.bytes().await?;
        let document: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Failure::internal(format!("the server answered {status} with something that is not JSON"))
        })?;
        if global.json && status.is_success() {
            // As it came: numbers of any length included.
            output::print_bytes(&bytes)?;
            return output::print("\n");
        }
        if !global.json && document["replay"].is_object() {
            output::print(&render(&document, &Style::stdout()))?;
        }
        if status.is_success() { Ok(()) } else { Err(Failure::problem(document)) }
    }
    .await;
    target.finish().await;
    replayed
}

/// Both calls, fact by fact, and what differs in what came out.
fn render(document: &Value, style: &Style) -> String {
    let mut out = String::new();
    let replay = &document["replay"];
    let (original, replayed) = (&replay["original"], &replay["replayed"]);
    let mut row = |name: &str, paint: Paint, fact: &dyn Fn(&Value) -> String| {
        let mut line = Line::default();
        line.push(style, Paint::Dim, name).pad_to(NAME_COLUMNS);
        line.push(style, paint, &fact(original)).push(style, Paint::Plain, " ");
        line.pad_to(NAME_COLUMNS + SIDE_COLUMNS).push(style, paint, &fact(replayed));
        line.finish(&mut out);
    };
    let text = |side: &Value, member: &str| printable(side[member].as_str().unwrap_or("-"));
    row("", Paint::Strong, &|side| if std::ptr::eq(side, original) { "original" } else { "replayed" }.into());
    row("invocation", Paint::Plain, &|side| text(side, "invocation_id"));
    row("trace", Paint::Plain, &|side| text(side, "trace_id"));
    row("version", Paint::Plain, &|side| text(side, "version"));
    row("outcome", Paint::Plain, &|side| match side["error"]["kind"].as_str() {
        Some(kind) => format!("{} {}", text(side, "outcome"), printable(kind)),
        None => text(side, "outcome"),
    });
    row("duration", Paint::Plain, &|side| {
        style.ascii(output::milliseconds(side["duration_ms"].as_f64().unwrap_or_default()))
    });
    row("attempts", Paint::Plain, &|side| side["attempts"].to_string());
    differences(&replay["output"], style, &mut out);
    // Beside nothing it is shown whole: a call that failed before works here.
    if original["outcome"] != "replied" && replayed["outcome"] == "replied" {
        out += &output::pretty(&document["data"], style, Bounds::default());
    }
    out
}

fn differences(compared: &Value, style: &Style, out: &mut String) {
    let changes = compared["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let more = compared["more"].as_u64().unwrap_or_default();
    let words = match (compared["reason"].as_str(), changes.len()) {
        (Some(reason), _) => format!("not compared: {reason}"),
        (None, 0) => "the same".to_owned(),
        (None, 1) if more == 0 => "1 difference".to_owned(),
        (None, count) => format!("{} differences", count as u64 + more),
    };
    let mut line = Line::default();
    line.push(style, Paint::Dim, "output").pad_to(NAME_COLUMNS).push(style, Paint::Plain, &printable(&words));
    line.finish(out);
    for change in changes {
        let (mark, paint) = match change["op"].as_str() {
            Some("added") => ("+", Paint::Good),
            Some("removed") => ("-", Paint::Bad),
            _ => ("~", Paint::Warning),
        };
        let sides = ["old", "new"].into_iter().filter_map(|side| change.get(side));
        let values: Vec<String> = sides.map(|value| printable(&value.to_string())).collect();
        let cut = if change["truncated"] == true { " (cut)" } else { "" };
        let pointer = match change["pointer"].as_str() {
            None | Some("") => "(all)".to_owned(),
            Some(pointer) => printable(pointer),
        };
        *out += &format!("{} {pointer}  {}{cut}\n", style.paint(paint, mark), values.join(" -> "));
    }
    if more > 0 {
        *out += &format!("  and {more} more\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_calls_stand_side_by_side() {
        let side = |id: &str, outcome: &str, error: Value, ms: f64| {
            json!({"invocation_id": id, "trace_id": "t", "version": "1.0.0", "outcome": outcome, "error": error,
                "attempts": 1, "duration_ms": ms})
        };
        let replay = json!({
            "original": side("a", "failed", json!({"kind": "plugin_error", "message": "m"}), 12.4),
            "replayed": side("b", "replied", Value::Null, 3.1),
            "output": {"equal": false, "more": 2, "changes": [
                {"op": "changed", "pointer": "/score", "old": 0.5, "new": 0.7},
                {"op": "added", "pointer": "/evil\u{1b}[2J", "new": "x"},
            ]},
        });
        let document = json!({"data": {"score": 0.7}, "replay": replay});
        let shown = render(&document, &Style::plain(80));
        for part in [
            "failed plugin_error                   replied\n",
            "~ /score  0.5 -> 0.7\n",
            "+ /evil\\u{1b}[2J  \"x\"\n",
            "4 differences\n",
            "  and 2 more\n{\"score\": 0.7}\n",
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
    }
}
