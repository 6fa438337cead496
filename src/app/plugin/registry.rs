//! Registered plugins: register, list, show, remove, against a server or in this process.

use std::io::Cursor;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::files;
use crate::app::cli::Global;
use crate::app::connect::{Need, connect};
use crate::app::failure::Failure;
use crate::app::invoke::escaped;
use crate::app::output::{self, Bounds, Cell, Column, Line, Paint, Style, Table, printable};
use crate::app::target::Target;
use crate::config::Settings;
use crate::package::Package;

const DESCRIPTION_CHARACTERS_MAX: usize = 200;
/// What one list holds at most.
const LIST_MAX: usize = 1000;
const SCHEMA_BOUNDS: Bounds = Bounds { lines: 60, characters: 200 };

pub async fn register(global: &Global, path: &Path, settings: &Settings) -> Result<(), Failure> {
    // Here first: mistakes are then shown with their source.
    let package = Package::load(path)?;
    let mut zip = Cursor::new(Vec::new());
    package.write_zip(&mut zip)?;
    if !global.json {
        files::remarks(&package);
    }
    let target = connect(global, settings, Need::Host)?;
    let registered = async {
        let answer = target.send(Method::POST, "/v1/plugins", Some(Bytes::from(zip.into_inner()))).await?;
        let document = answer.json().await?;
        if global.json { output::print_json(&document) } else { output::print(&registered_text(&document)) }
    }
    .await;
    target.finish().await;
    registered
}

pub async fn list(global: &Global, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Host)?;
    let listed = async {
        let document = target.get(&format!("/v1/plugins?limit={LIST_MAX}")).await?;
        if global.json {
            return output::print_json(&document);
        }
        let items = document["items"].as_array().map_or(&[][..], Vec::as_slice);
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

pub async fn remove(global: &Global, target_text: &str, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Host)?;
    let removed = async {
        let (name, version) = match target_text.split_once('@') {
            Some((name, version)) => (name, version.to_owned()),
            None => (target_text, only_version(&target, target_text).await?),
        };
        target.send(Method::DELETE, &path_of(&format!("{name}@{version}")), None).await?.json().await?;
        if global.json {
            return output::print_json(&json!({"name": name, "version": version, "removed": true}));
        }
        output::print(&format!("removed {} {}\n", printable(name), printable(&version)))
    }
    .await;
    target.finish().await;
    removed
}

/// The version to remove when none is named: there must be no doubt.
async fn only_version(target: &Target, name: &str) -> Result<String, Failure> {
    let document = target.get(&path_of(name)).await?;
    let versions: Vec<&str> =
        document["versions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match versions.as_slice() {
        [only] => Ok((*only).to_owned()),
        several => {
            let message =
                format!("{} has several versions: {}", printable(name), printable(&several.join(", ")));
            Err(Failure::usage(message)
                .help(format!("name one: spanglass plugin remove {}@VERSION", printable(name))))
        }
    }
}

/// The route of `NAME` or `NAME@VERSION`.
fn path_of(target: &str) -> String {
    match target.split_once('@') {
        Some((name, version)) => format!("/v1/plugins/{}/versions/{}", escaped(name), escaped(version)),
        None => format!("/v1/plugins/{}", escaped(target)),
    }
}

fn registered_text(document: &Value) -> String {
    let style = Style::stdout();
    let (name, version) = (text(document, "name"), text(document, "version"));
    let word = if document["created"] == false { "already registered" } else { "registered" };
    let mut out =
        format!("{} {name} {version}  {}\n", style.paint(Paint::Good, word), text(document, "digest"));
    if let Some(cause) = document["cause"].as_str() {
        let line = format!("it cannot be called yet: {}", printable(cause));
        out += &format!("{} {line}\n", style.paint(Paint::Warning, style.glyph("!", "!")));
    }
    out
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
    let limits = &document["limits"];
    let facts = [
        ("", text(document, "description")),
        ("cause", text(document, "cause")),
        ("owner", text(document, "owner")),
        ("runtime", text(document, "runtime")),
        ("versions", list("versions")),
        ("actions", list("actions")),
        ("secrets", list("secrets")),
        (
            "limits",
            if limits.is_null() {
                String::new()
            } else {
                output::brief(limits, style, DESCRIPTION_CHARACTERS_MAX)
            },
        ),
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

/// A document as one word of a shell.
fn shell_quoted(value: &Value) -> String {
    format!("'{}'", printable(&value.to_string()).replace('\'', "'\\''"))
}

fn text(document: &Value, member: &str) -> String {
    printable(document[member].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
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
            "actions": ["invoke"], "limits": {"timeout": "30s"}, "input_schema": {"type": "object"},
            "examples": [{"name": "a", "input": {"who": "O'Hara"}}]});
        let shown = details(&document, &Style::plain(80));
        for part in [
            "echo 1.0.0  failed\n",
            "cause       the secret A",
            "versions    1.0.0, 0.9.0\n",
            "limits      timeout=30s\n",
            "input\n{\"type\": \"object\"}\n",
            r#"--input '{"who":"O'\''Hara"}'"#,
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
    }
}
