//! `invocation`, `trace`, `logs`: what happened. Everything comes from the routes that anybody else can ask;
//! `--json` prints their bodies as they are.

use std::time::SystemTime;

use http::Method;
use serde_json::Value;

use super::cli::{Global, Invocation, ListFilter, Trace};
use super::connect::{Need, connect};
use super::failure::Failure;
use super::invoke::escaped;
use super::output::{self, Cell, Column, Paint, Style, Table, printable};
use super::target::Target;
use super::tree;
use crate::config::Settings;

mod call;
pub mod find;
pub mod logs;
mod wait;

const INPUT_CHARACTERS_MAX: usize = 200;

pub async fn invocation(
    global: &Global,
    invocation: &Invocation,
    settings: &Settings,
) -> Result<(), Failure> {
    let need = if matches!(invocation, Invocation::Cancel { .. }) { Need::Host } else { Need::Ledger };
    let target = connect(global, settings, need)?;
    let looked = match invocation {
        Invocation::Wait { id, timeout } => wait::wait(&target, id, *timeout, global.json).await,
        // Nothing is ended that was not named in full.
        Invocation::Cancel { id } => wait::cancel(&target, id, global.json).await,
        Invocation::List(filter) => {
            list(&target, "invocations", filter, global.json, invocations_table).await
        }
        Invocation::Show { id } => match find::invocation(&target, id).await {
            Ok(id) => show(&target, "invocations", &id, global.json, call::render).await,
            Err(failure) => Err(failure),
        },
    };
    target.finish().await;
    looked
}

pub async fn trace(global: &Global, trace: &Trace, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Ledger)?;
    let looked = match trace {
        Trace::List(filter) => list(&target, "traces", filter, global.json, traces_table).await,
        Trace::Show { id } => match find::trace(&target, id).await {
            Ok(id) => show(&target, "traces", &id, global.json, tree::render_trace).await,
            Err(failure) => Err(failure),
        },
    };
    target.finish().await;
    looked
}

/// A body, and the document in it.
struct Fetched {
    bytes: Vec<u8>,
    document: Value,
}

async fn fetch(target: &Target, path: &str) -> Result<Fetched, Failure> {
    let (status, bytes) = target.send(Method::GET, path, None).await?.bytes().await?;
    let document: Value = serde_json::from_slice(&bytes).map_err(|_| {
        Failure::internal(format!("{path} answered {status} with something that is not JSON"))
    })?;
    if status.is_success() { Ok(Fetched { bytes, document }) } else { Err(Failure::problem(document)) }
}

fn print_body(bytes: &[u8]) -> Result<(), Failure> {
    output::print_bytes(bytes)?;
    output::print("\n")
}

// === Lists ===

async fn list(
    target: &Target,
    what: &str,
    filter: &ListFilter,
    json: bool,
    table: fn(&[Value], &Style) -> Table,
) -> Result<(), Failure> {
    let asked = asked(filter);
    let fetched =
        fetch(target, &format!("/v1/{what}?{}", query(&asked, Some(usize::from(filter.limit))))).await?;
    if json {
        return print_body(&fetched.bytes);
    }
    let items = fetched.document["items"].as_array().map_or(&[][..], Vec::as_slice);
    if items.is_empty() {
        output::note(&nothing(what, &asked, "spanglass invoke NAME makes one"));
        return Ok(());
    }
    let style = Style::stdout();
    output::print(&table(items, &style).render(&style))?;
    if let Some(next) = fetched.document["next"].as_str() {
        output::note(
            &Style::stderr().paint(Paint::Dim, &format!("there are more: --cursor {}", printable(next))),
        );
    }
    Ok(())
}

/// The parameters of a list that narrow it, by the names of both the query and the flags.
fn asked(filter: &ListFilter) -> Vec<(&'static str, &str)> {
    let all = [
        ("plugin", &filter.plugin),
        ("version", &filter.version),
        ("outcome", &filter.outcome),
        ("kind", &filter.kind),
        ("since", &filter.since),
        ("until", &filter.until),
        ("q", &filter.q),
        ("cursor", &filter.cursor),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
}

fn query(asked: &[(&str, &str)], limit: Option<usize>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(asked);
    if let Some(limit) = limit {
        query.append_pair("limit", &limit.to_string());
    }
    query.finish()
}

/// An empty list says why: nothing there, or nothing that fits the filter.
fn nothing(what: &str, asked: &[(&str, &str)], first: &str) -> String {
    if asked.is_empty() {
        return format!("no {what} yet; {first}");
    }
    let flags: Vec<String> =
        asked.iter().map(|(name, value)| printable(&format!("--{name} {value}"))).collect();
    format!("no {what} with {}", flags.join(" "))
}

fn invocations_table(items: &[Value], style: &Style) -> Table {
    let columns = vec![
        Column::left("OUTCOME"),
        Column::left("PLUGIN"),
        Column::right("TIME"),
        Column::right("WHEN"),
        Column::left("INVOCATION"),
        Column::elastic("INPUT"),
    ];
    let mut table = Table::new(columns);
    let now = SystemTime::now();
    for item in items {
        let kind = item["error"]["kind"].as_str();
        table.push(vec![
            standing(item, kind, style),
            plugin(item).into(),
            duration(&item["duration_ms"], style).into(),
            output::ago(text(item, "created_at"), now).into(),
            printable(text(item, "invocation_id")).into(),
            Cell::new(Paint::Dim, input(item, style)),
        ]);
    }
    table
}

/// A call on one line, for a list that is no table.
pub fn summary(item: &Value, style: &Style, now: SystemTime) -> String {
    let what = standing(item, item["error"]["kind"].as_str(), style).text;
    let ago = output::ago(text(item, "created_at"), now);
    let took = duration(&item["duration_ms"], style);
    let message = printable(item["error"]["message"].as_str().unwrap_or_default());
    format!("{what}  {}  {took}  {ago}  {}  {message}", plugin(item), input(item, style))
}

fn traces_table(items: &[Value], style: &Style) -> Table {
    let columns = vec![
        Column::left("OUTCOME"),
        Column::left("NAME"),
        Column::right("TIME"),
        Column::right("WHEN"),
        Column::right("SPANS"),
        Column::right("CALLS"),
        Column::left("TRACE"),
    ];
    let mut table = Table::new(columns);
    let now = SystemTime::now();
    let count =
        |value: &Value| output::count(usize::try_from(value.as_u64().unwrap_or(0)).unwrap_or(usize::MAX));
    for item in items {
        table.push(vec![
            outcome(item["outcome"].as_str(), item["kind"].as_str(), style),
            printable(text(item, "name")).into(),
            duration(&item["duration_ms"], style).into(),
            output::ago(text(item, "start"), now).into(),
            count(&item["spans"]).into(),
            count(&item["invocations"]).into(),
            printable(text(item, "trace_id")).into(),
        ]);
    }
    table
}

/// The outcome of a call or, before it has one, where it is.
fn standing(item: &Value, kind: Option<&str>, style: &Style) -> Cell {
    match item["state"].as_str() {
        Some("queued") => Cell::new(Paint::Accent, format!("{} queued", style.glyph("…", "."))),
        _ => outcome(item["outcome"].as_str(), kind, style),
    }
}

fn outcome(outcome: Option<&str>, kind: Option<&str>, style: &Style) -> Cell {
    match (outcome, kind) {
        (Some("replied"), _) => Cell::new(Paint::Good, format!("{} replied", style.glyph("✓", "+"))),
        (Some("dropped"), _) => Cell::new(Paint::Warning, format!("{} dropped", style.glyph("⊘", "-"))),
        (Some(_), kind) => Cell::new(
            Paint::Bad,
            printable(&format!("{} {}", style.glyph("✗", "x"), kind.unwrap_or("failed"))),
        ),
        (None, _) => Cell::new(Paint::Accent, format!("{} running", style.glyph("…", "."))),
    }
}

fn plugin(item: &Value) -> String {
    let version = item["version"].as_str().map(|version| format!("@{version}")).unwrap_or_default();
    let action = item["action"].as_str().filter(|action| *action != "invoke");
    let action = action.map(|action| format!(" {action}")).unwrap_or_default();
    printable(&format!("{}{version}{action}", text(item, "plugin")))
}

fn duration(ms: &Value, style: &Style) -> String {
    ms.as_f64().map_or_else(|| "-".to_owned(), |ms| style.ascii(output::milliseconds(ms)))
}

/// The first fields of what went in; where there are none, why the call failed.
fn input(item: &Value, style: &Style) -> String {
    let shown = match (&item["input"], item["input_preview"].as_str()) {
        (Value::Null, Some(preview)) => match serde_json::from_str::<Value>(preview) {
            Ok(whole) => output::brief(&whole, style, INPUT_CHARACTERS_MAX),
            Err(_) => printable(preview),
        },
        (Value::Null, None) => String::new(),
        (input, _) => output::brief(input, style, INPUT_CHARACTERS_MAX),
    };
    if shown.is_empty() { printable(item["error"]["message"].as_str().unwrap_or_default()) } else { shown }
}

async fn show(
    target: &Target,
    what: &str,
    id: &str,
    json: bool,
    render: fn(&Value, &Style) -> String,
) -> Result<(), Failure> {
    let fetched = fetch(target, &format!("/v1/{what}/{}", escaped(id))).await?;
    if json {
        return print_body(&fetched.bytes);
    }
    output::print(&render(&fetched.document, &Style::stdout()))
}

fn text<'v>(document: &'v Value, member: &str) -> &'v str {
    document.get(member).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    pub fn plain(width: usize) -> Style {
        Style { terminal: true, ..Style::plain(width) }
    }

    pub fn item() -> Value {
        let created =
            humantime::format_rfc3339_millis(SystemTime::now() - Duration::from_secs(3)).to_string();
        json!({
            "invocation_id": "01976a5e-3c00-7000-8000-000000000001", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "plugin": "fraud-score", "version": "1.0.0", "action": "invoke", "state": "done", "outcome": "replied",
            "attempts": 1, "created_at": created, "duration_ms": 12.42, "queue_ms": 0.01, "prepare_ms": 0.0,
            "cold_start": false, "input": {"amount": 42.5, "country": "FR", "channel": "pos"},
            "usage": {"cpu_ms": 3.1, "memory_peak_bytes": 14 << 20, "input_bytes": 96, "output_bytes": 61},
        })
    }

    #[test]
    fn calls_in_a_list_can_be_told_apart() {
        let failed = json!({"invocation_id": "01976a5e-3c00-7000-8000-000000000002", "plugin": "flaky", "version": null,
            "action": "head", "outcome": "failed", "error": {"kind": "timeout", "message": "no reply\u{1b} within 2s"},
            "created_at": "2020-01-01T00:00:00Z", "duration_ms": null});
        let table =
            |width: usize| invocations_table(&[item(), failed.clone()], &plain(width)).render(&plain(width));
        let wide = table(150);
        assert!(
            wide.contains("01976a5e-3c00-7000-8000-000000000001  amount=42.5 country=FR channel=pos\n"),
            "{wide}"
        );
        assert!(wide.contains("✗ timeout  flaky head"), "{wide}");
        assert!(wide.contains("no reply\\u{1b} within 2s"), "{wide}");
        let narrow = table(80);
        assert!(narrow.contains("\n    amount=42.5 country=FR channel=pos\n"), "{narrow}");
    }

    #[test]
    fn a_preview_may_be_cut() {
        let shown = |preview: &str| input(&json!({"input_preview": preview}), &plain(80));
        assert_eq!(shown(r#"{"a":1,"b":"x"}"#), "a=1 b=x");
        assert_eq!(shown(r#"{"a":1,"b":"xx"#), r#"{"a":1,"b":"xx"#);
    }

    #[test]
    fn an_empty_list_names_its_filter() {
        assert_eq!(nothing("traces", &[], "make one"), "no traces yet; make one");
        let asked = [("plugin", "a\u{1b}"), ("outcome", "failed")];
        assert_eq!(nothing("traces", &asked, ""), "no traces with --plugin a\\u{1b} --outcome failed");
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(
            query(&[("q", "a b&c=ä"), ("since", "5m")], Some(20)),
            "q=a+b%26c%3D%C3%A4&since=5m&limit=20"
        );
    }
}
