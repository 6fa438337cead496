//! What is watched, and what was found.

use std::time::SystemTime;

use serde_json::Value;

use super::{items, number, state, text};
use crate::app::cli::Global;
use crate::app::failure::Failure;
use crate::app::output::{self, Cell, Column, Paint, Style, Table, printable};
use crate::app::target::Target;

/// Fields in alert that are named in a line.
const DRIFTING_SHOWN: usize = 3;

pub async fn list(global: &Global, target: &Target) -> Result<(), Failure> {
    let document = target.get("/v1/drift").await?;
    if global.json {
        return output::print_json(&document);
    }
    let watched = items(&document, "items");
    if watched.is_empty() {
        output::note("nothing is watched yet; a manifest asks for it: `observe: auto`");
        return Ok(());
    }
    let style = Style::stdout();
    output::print(&table(watched, SystemTime::now()).render(&style))
}

fn table(watched: &[Value], now: SystemTime) -> Table {
    let columns = vec![
        Column::left("PLUGIN"),
        Column::left("VERSION"),
        Column::left("STATE"),
        Column::left("SINCE"),
        Column::right("FIELDS"),
        Column::left("BASELINE"),
        Column::elastic("DRIFTING"),
    ];
    let mut table = Table::new(columns);
    for item in watched {
        let version = text(item, "version");
        let since = item["since"].as_str().map_or_else(|| "-".to_owned(), |since| output::ago(since, now));
        table.push(vec![
            Cell::new(Paint::Strong, text(item, "plugin")),
            Cell::new(if item["takes_calls"] == true { Paint::Plain } else { Paint::Dim }, version),
            state(item["state"].as_str().unwrap_or_default()),
            Cell::new(Paint::Dim, since),
            output::count(number(item, "fields")).into(),
            baseline(item, now).into(),
            Cell::new(Paint::Bad, drifting(item)),
        ]);
    }
    table
}

fn baseline(item: &Value, now: SystemTime) -> String {
    match item["phase"].as_str() {
        Some("capturing") => {
            let capture = &item["capture"];
            format!("{} of {} calls", number(capture, "calls"), number(capture, "wanted"))
        }
        Some("waiting") => "none yet".to_owned(),
        _ => item["baseline_created_at"].as_str().map_or_else(|| "-".to_owned(), |at| output::ago(at, now)),
    }
}

fn drifting(item: &Value) -> String {
    let fields = items(item, "drifting");
    let mut names: Vec<String> =
        fields.iter().take(DRIFTING_SHOWN).filter_map(Value::as_str).map(printable).collect();
    if fields.len() > DRIFTING_SHOWN {
        names.push(format!("and {} more", fields.len() - DRIFTING_SHOWN));
    }
    names.join(", ")
}

pub async fn events(global: &Global, target: &Target, query: &str) -> Result<(), Failure> {
    let document = target.get(&format!("/v1/drift/events{query}")).await?;
    if global.json {
        return output::print_json(&document);
    }
    let found = items(&document, "items");
    if found.is_empty() {
        output::note("nothing was found");
        return Ok(());
    }
    let columns = vec![
        Column::left("WHEN"),
        Column::left("WHAT"),
        Column::left("PLUGIN"),
        Column::left("VERSION"),
        Column::left("FIELD"),
        Column::elastic("SUMMARY"),
    ];
    let mut table = Table::new(columns);
    let now = SystemTime::now();
    for event in found {
        let kind = event["type"].as_str().unwrap_or_default();
        let (paint, what) = match kind {
            "drift.detected" => (Paint::Bad, "alert"),
            "drift.warned" => (Paint::Warning, "warn"),
            "drift.resolved" => (Paint::Good, "resolved"),
            "drift.baseline_pinned" => (Paint::Accent, "baseline"),
            other => (Paint::Plain, other),
        };
        table.push(vec![
            Cell::new(Paint::Dim, output::ago(&text(event, "at"), now)),
            Cell::new(paint, printable(what)),
            Cell::new(Paint::Strong, text(event, "plugin")),
            text(event, "version").into(),
            text(event, "field").into(),
            text(event, "summary").into(),
        ]);
    }
    output::print(&table.render(&Style::stdout()))?;
    if let Some(next) = document["next"].as_str() {
        output::note(&format!("more: --cursor {}", printable(next)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_is_a_line_with_what_drifts() {
        let now = humantime::parse_rfc3339("2026-02-03T04:05:06Z").unwrap();
        let watched = [
            json!({"plugin": "a", "version": "1.0.0", "takes_calls": true, "state": "alert", "since": "2026-02-03T04:00:06Z",
                "phase": "watching", "baseline_created_at": "2026-02-03T02:05:06Z", "fields": 6,
                "drifting": ["$.input.a", "$.input.b", "$.input.c", "$.input.d\u{1b}"]}),
            json!({"plugin": "b", "version": "2.0.0", "takes_calls": true, "state": "insufficient", "since": null,
                "phase": "capturing", "capture": {"calls": 120, "wanted": 500}, "fields": 2, "drifting": []}),
            json!({"plugin": "c", "version": "1.0.0", "state": "insufficient", "phase": "waiting", "fields": 2, "drifting": []}),
        ];
        let shown = table(&watched, now).render(&Style::plain(120));
        for part in [
            "alert",
            "5m ago",
            "2h ago",
            "$.input.a, $.input.b, $.input.c, and 1 more",
            "120 of 500 calls",
            "none yet",
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
    }
}
