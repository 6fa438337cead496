//! Registered plugins: list and show, against a server or in this process.

use std::time::SystemTime;

use serde_json::Value;

use crate::app::cli::Global;
use crate::app::connect::{Need, connect};
use crate::app::failure::Failure;
use crate::app::invoke::escaped;
use crate::app::output::{self, Bounds, Cell, Column, Line, Paint, Style, Table, printable};
use crate::config::Settings;

const DESCRIPTION_CHARACTERS_MAX: usize = 200;
/// What one list holds at most.
const LIST_MAX: usize = 1000;
/// So many steps of a plugin's history are shown to people.
const HISTORY_SHOWN: usize = 10;
const SCHEMA_BOUNDS: Bounds = Bounds { lines: 60, characters: 200 };

pub async fn list(global: &Global, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Host)?;
    let listed = async {
        let document = target.get(&format!("/v1/plugins?limit={LIST_MAX}")).await?;
        if global.json {
            return output::print_json(&document);
        }
        let items = document["items"].as_array().map_or(&[][..], Vec::as_slice);
        for refused in document["refused"].as_array().into_iter().flatten() {
            let path = text(refused, "path");
            let message = output::printable_lines(refused["message"].as_str().unwrap_or_default());
            output::note(&format!("not registered: {path}: {}", message.replace('\n', "\n    ")));
        }
        if items.is_empty() {
            output::note("no plugins yet; spanglass plugin register PATH makes one callable");
            return Ok(());
        }
        let style = Style::stdout();
        output::print(&table(items).render(&style))
    }
    .await;
    target.finish().await;
    listed
}

pub async fn show(global: &Global, target_text: &str, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Host)?;
    let shown = async {
        let document = target.get(&path_of(target_text)).await?;
        if global.json {
            return output::print_json(&document);
        }
        output::print(&details(&document, &Style::stdout()))
    }
    .await;
    target.finish().await;
    shown
}

/// The route of `NAME` or `NAME@VERSION`.
pub(super) fn path_of(target: &str) -> String {
    match target.split_once('@') {
        Some((name, version)) => format!("/v1/plugins/{}/versions/{}", escaped(name), escaped(version)),
        None => format!("/v1/plugins/{}", escaped(target)),
    }
}

fn table(items: &[Value]) -> Table {
    let columns = vec![
        Column::left("NAME"),
        Column::left("VERSION"),
        Column::left("STATE"),
        Column::left("RUNTIME"),
        Column::left("VERSIONS"),
        Column::elastic("DESCRIPTION"),
    ];
    let mut table = Table::new(columns);
    for item in items {
        let versions = item["versions"].as_array().map_or(0, Vec::len);
        let description: String =
            text(item, "description").chars().take(DESCRIPTION_CHARACTERS_MAX).collect();
        table.push(vec![
            Cell::new(Paint::Strong, text(item, "name")),
            item["version"].as_str().map_or_else(|| "-".to_owned(), printable).into(),
            state(item),
            text(item, "runtime").into(),
            output::count(versions).into(),
            Cell::new(Paint::Dim, description),
        ]);
    }
    table
}

fn state(item: &Value) -> Cell {
    let state = text(item, "state");
    let paint = match state.as_str() {
        "running" | "Running" => Paint::Good,
        "failed" | "Failed" => Paint::Bad,
        _ => Paint::Warning,
    };
    Cell::new(paint, state)
}

fn details(document: &Value, style: &Style) -> String {
    let mut out = String::new();
    let state = state(document);
    let mut first = Line::default();
    first.push(style, Paint::Strong, &text(document, "name"));
    first.push(style, Paint::Plain, &format!(" {}  ", text(document, "version")));
    first.push(style, state.paint, &state.text);
    first.finish(&mut out);
    let list = |member: &str| {
        let items = document[member].as_array().into_iter().flatten().filter_map(Value::as_str);
        items.map(printable).collect::<Vec<_>>().join(", ")
    };
    let registered = text(document, "registered_at");
    let brief = |member: &str| match &document[member] {
        Value::Null => String::new(),
        value => output::brief(value, style, DESCRIPTION_CHARACTERS_MAX),
    };
    let facts = [
        ("", text(document, "description")),
        ("cause", text(document, "cause")),
        ("crash loop", crash_loop(&document["crash_loop"])),
        ("start", start(&document["start"])),
        ("owner", text(document, "owner")),
        ("runtime", text(document, "runtime")),
        ("versions", list("versions")),
        ("actions", list("actions")),
        ("secrets", list("secrets")),
        ("limits", brief("limits")),
        ("promises", brief("slo")),
        ("needs", dependencies(document)),
        ("found in", text(document, "origin")),
        ("digest", text(document, "digest")),
        ("registered", format!("{registered} ({})", output::ago(&registered, SystemTime::now()))),
    ];
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        let mut line = Line::default();
        if !name.is_empty() {
            line.push(style, Paint::Dim, name).pad_to(12);
        }
        line.push(style, Paint::Plain, fact);
        line.finish(&mut out);
    }
    for (title, member) in [("input", "input_schema"), ("output", "output_schema")] {
        if !document[member].is_null() {
            out += &format!(
                "{}\n{}",
                style.paint(Paint::Strong, title),
                output::pretty(&document[member], style, SCHEMA_BOUNDS)
            );
        }
    }
    out += &history(document, style);
    if let Some(example) = document["examples"].as_array().and_then(|examples| examples.first()) {
        let call = format!(
            "spanglass invoke {} --input {}",
            text(document, "name"),
            shell_quoted(&example["input"])
        );
        out += &format!("{}\n", style.paint(Paint::Dim, &call));
    }
    out
}

fn crash_loop(trouble: &Value) -> String {
    match trouble["failures"].as_u64() {
        Some(failures) => format!("{failures} failed starts in a row: {}", text(trouble, "error")),
        None => String::new(),
    }
}

/// How its workers start, once one has.
fn start(start: &Value) -> String {
    match (start["mode"].as_str(), start["reason"].as_str()) {
        (Some("fork"), _) => "workers are copies of a process that has loaded the plugin".to_owned(),
        (Some(_), Some(reason)) => format!("workers are spawned: {}", printable(reason)),
        (Some(_), None) => "workers are spawned".to_owned(),
        (None, _) => String::new(),
    }
}

fn dependencies(document: &Value) -> String {
    let dependency = |one: &Value| {
        let optional = if one["required"] == false { " (optional)" } else { "" };
        format!("{} {}{optional}", text(one, "name"), text(one, "version"))
    };
    document["dependencies"].as_array().into_iter().flatten().map(dependency).collect::<Vec<_>>().join(", ")
}

/// What happened last, newest first.
fn history(document: &Value, style: &Style) -> String {
    let Some(history) = document["history"].as_array().filter(|history| !history.is_empty()) else {
        return String::new();
    };
    let columns = vec![
        Column::left("WHEN"),
        Column::left("VERSION"),
        Column::left("STEP"),
        Column::left("BY"),
        Column::elastic("WHY"),
    ];
    let mut table = Table::new(columns);
    for step in history.iter().take(HISTORY_SHOWN) {
        let (from, to) = (text(step, "from"), text(step, "to"));
        let what = if from == to { to } else { format!("{from} {} {to}", style.glyph("→", "->")) };
        let why = [text(step, "cause"), text(step, "reason")];
        let why: Vec<_> = why.into_iter().filter(|why| !why.is_empty()).collect();
        let when = output::ago(&text(step, "at"), SystemTime::now());
        table.push(vec![
            when.into(),
            text(step, "version").into(),
            what.into(),
            text(step, "by").into(),
            why.join("; ").into(),
        ]);
    }
    format!("{}\n{}", style.paint(Paint::Strong, "history"), table.render(style))
}

/// A document as one word of a shell.
pub(super) fn shell_quoted(value: &Value) -> String {
    format!("'{}'", printable(&value.to_string()).replace('\'', "'\\''"))
}

pub(super) fn text(document: &Value, member: &str) -> String {
    printable(document[member].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_is_no_way_to_another_route() {
        assert_eq!(path_of("echo"), "/v1/plugins/echo");
        assert_eq!(path_of("echo@1.0.0+build"), "/v1/plugins/echo/versions/1.0.0%2Bbuild");
        assert_eq!(path_of("../x?y"), "/v1/plugins/..%2Fx%3Fy");
    }

    #[test]
    fn details_name_everything_that_is_known() {
        let document = json!({"name": "echo", "version": "1.0.0", "state": "failed", "cause": "the secret A is missing",
            "versions": ["1.0.0", "0.9.0"], "digest": "sha256:00", "registered_at": "2026-02-03T04:05:06Z",
            "actions": ["invoke"], "limits": {"timeout": "30s"}, "slo": {"availability": 0.999}, "input_schema": {"type": "object"},
            "examples": [{"name": "a", "input": {"who": "O'Hara"}}]});
        let shown = details(&document, &Style::plain(80));
        for part in [
            "echo 1.0.0  failed\n",
            "cause       the secret A",
            "versions    1.0.0, 0.9.0\n",
            "limits      timeout=30s\n",
            "promises    availability=0.999\n",
            "input\n{\"type\": \"object\"}\n",
            r#"--input '{"who":"O'\''Hara"}'"#,
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
    }
}
