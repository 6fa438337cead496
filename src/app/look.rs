//! `invocation`, `trace`, `logs`: what happened. Everything comes from the routes that anybody else can ask;
//! `--json` prints their bodies as they are.

use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::Value;

use super::cli::{Global, Invocation, ListFilter, Logs, Trace};
use super::connect::{Need, connect};
use super::failure::Failure;
use super::invoke::escaped;
use super::output::{self, Bounds, Cell, Column, Line, Paint, Style, Table, printable};
use super::target::Target;
use super::tree;
use crate::config::Settings;

/// How often a follower asks for new lines.
const POLL: Duration = Duration::from_millis(500);
/// A follower asks so many times in vain before it gives up: ten seconds, enough for a restart.
const POLLS_IN_VAIN_MAX: u32 = 20;
/// New lines that one question brings.
const FOLLOW_LINES: usize = 1000;
const INPUT_CHARACTERS_MAX: usize = 200;
const EXIT_INTERRUPTED: u8 = 130;

pub async fn invocation(
    global: &Global,
    invocation: &Invocation,
    settings: &Settings,
) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Ledger)?;
    let looked = match invocation {
        Invocation::List(filter) => {
            list(&target, "invocations", filter, global.json, invocations_table).await
        }
        Invocation::Show { id } => show(&target, "invocations", id, global.json, call).await,
    };
    target.finish().await;
    looked
}

pub async fn trace(global: &Global, trace: &Trace, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Ledger)?;
    let looked = match trace {
        Trace::List(filter) => list(&target, "traces", filter, global.json, traces_table).await,
        Trace::Show { id } => show(&target, "traces", id, global.json, tree::render_trace).await,
    };
    target.finish().await;
    looked
}

pub async fn logs(global: &Global, logs: &Logs, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Ledger)?;
    let looked = if logs.follow {
        tokio::select! {
            followed = follow(&target, logs, global.json) => followed,
            // Without a handler for it, the signal would have ended the process already.
            _ = tokio::signal::ctrl_c() => Err(Failure::silent(EXIT_INTERRUPTED)),
        }
    } else {
        newest_logs(&target, logs, global.json).await
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
            outcome(item["outcome"].as_str(), kind, style),
            plugin(item).into(),
            duration(&item["duration_ms"], style).into(),
            output::ago(text(item, "created_at"), now).into(),
            printable(text(item, "invocation_id")).into(),
            Cell::new(Paint::Dim, input(item, style)),
        ]);
    }
    table
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

/// The first fields of what went in; for calls whose input is not kept, why they failed.
fn input(item: &Value, style: &Style) -> String {
    match (&item["input"], item["input_preview"].as_str()) {
        (Value::Null, Some(preview)) => match serde_json::from_str::<Value>(preview) {
            Ok(whole) => output::brief(&whole, style, INPUT_CHARACTERS_MAX),
            Err(_) => printable(preview),
        },
        (Value::Null, None) => printable(item["error"]["message"].as_str().unwrap_or_default()),
        (input, _) => output::brief(input, style, INPUT_CHARACTERS_MAX),
    }
}

// === One ===

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

/// One call with what went in and came out.
fn call(document: &Value, style: &Style) -> String {
    let mut out = String::new();
    let outcome = outcome(document["outcome"].as_str(), document["error"]["kind"].as_str(), style);
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

// === Logs ===

fn asked_logs(logs: &Logs) -> Vec<(&'static str, &str)> {
    let all = [
        ("plugin", &logs.plugin),
        ("trace", &logs.trace),
        ("level", &logs.level),
        ("since", &logs.since),
        ("q", &logs.q),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
}

async fn newest_logs(target: &Target, logs: &Logs, json: bool) -> Result<(), Failure> {
    let asked = asked_logs(logs);
    let fetched =
        fetch(target, &format!("/v1/logs?{}", query(&asked, Some(usize::from(logs.tail.max(1)))))).await?;
    if json {
        return print_body(&fetched.bytes);
    }
    let items = fetched.document["items"].as_array().map_or(&[][..], Vec::as_slice);
    if items.is_empty() {
        output::note(&nothing("log lines", &asked, "whatever a plugin prints comes here"));
    }
    let style = Style::stdout();
    let mut printer = Printer::new(style);
    let lines: String = items.iter().rev().map(|item| printer.line(item)).collect();
    output::print(&lines)
}

/// The newest lines, then each that arrives. The place goes by arrival, so that no line is lost or repeated,
/// whatever its time says.
async fn follow(target: &Target, logs: &Logs, json: bool) -> Result<(), Failure> {
    let mut asked = asked_logs(logs);
    let first =
        fetch(target, &format!("/v1/logs?{}", query(&asked, Some(usize::from(logs.tail.max(1)))))).await?;
    let mut printer = (!json).then(|| Printer::new(Style::stdout()));
    let items = first.document["items"].as_array().map_or(&[][..], Vec::as_slice);
    let newest = items.iter().take(usize::from(logs.tail)).rev();
    print_lines(newest, &mut printer)?;
    let mut after = place(&first.document)?;
    // What is old when it arrives is new all the same.
    asked.retain(|(name, _)| *name != "since");
    let mut in_vain = 0;
    let mut more = false;
    loop {
        if !more {
            tokio::time::sleep(POLL).await;
        }
        let mut asked = asked.clone();
        asked.push(("after", &after));
        let path = format!("/v1/logs?{}", query(&asked, Some(FOLLOW_LINES)));
        let fetched = match fetch(target, &path).await {
            Ok(fetched) => fetched,
            Err(failure) if failure.may_pass() && in_vain < POLLS_IN_VAIN_MAX => {
                in_vain += 1;
                more = false;
                if in_vain == 1 {
                    output::note(&format!("trying again: {failure}"));
                }
                continue;
            }
            Err(failure) => return Err(failure),
        };
        in_vain = 0;
        let mut items: Vec<&Value> = fetched.document["items"].as_array().into_iter().flatten().collect();
        // What arrived together, of several calls, reads best by its time.
        items.sort_by_key(|item| text(item, "timestamp"));
        more = items.len() == FOLLOW_LINES;
        print_lines(items.into_iter(), &mut printer)?;
        after = place(&fetched.document)?;
    }
}

fn place(document: &Value) -> Result<String, Failure> {
    let follow = document["follow"].as_str();
    follow
        .map(str::to_owned)
        .ok_or_else(|| Failure::internal("the server does not say where its log goes on"))
}

/// `None`: as JSON, a line each.
fn print_lines<'v>(
    items: impl Iterator<Item = &'v Value>,
    printer: &mut Option<Printer>,
) -> Result<(), Failure> {
    let lines: String = match printer {
        Some(printer) => items.map(|item| printer.line(item)).collect(),
        None => items.map(|item| format!("{item}\n")).collect(),
    };
    if lines.is_empty() { Ok(()) } else { output::print(&lines) }
}

/// Log lines for people. Days stand on lines of their own.
struct Printer {
    style: Style,
    day: String,
}

impl Printer {
    fn new(style: Style) -> Printer {
        let today = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Printer { style, day: today.split('T').next().unwrap_or_default().to_owned() }
    }

    fn line(&mut self, item: &Value) -> String {
        let style = &self.style;
        let mut out = String::new();
        let (day, time) = output::clock(text(item, "timestamp")).unwrap_or_default();
        if day != self.day {
            out +=
                &format!("{}\n", style.paint(Paint::Dim, &format!("{} {day} UTC", style.glyph("──", "--"))));
            self.day = day;
        }
        let severity = text(item, "severity_text");
        let paint = match severity {
            "ERROR" | "FATAL" => Paint::Bad,
            "WARN" => Paint::Warning,
            "INFO" => Paint::Good,
            _ => Paint::Dim,
        };
        let stream = text(item, "stream");
        let source = item["plugin.name"].as_str().unwrap_or("spanglass");
        let mut line = Line::default();
        line.push(style, Paint::Dim, &time).push(style, Paint::Plain, " ");
        line.push(style, paint, &printable(&format!("{severity:<5}"))).push(style, Paint::Plain, " ");
        line.push(style, Paint::Accent, &printable(source));
        let stream = if stream == "host" { String::new() } else { printable(&format!("/{stream}")) };
        line.push(style, Paint::Dim, &stream).push(style, Paint::Plain, "  ");
        line.push(
            style,
            if stream.is_empty() { Paint::Plain } else { Paint::Guest },
            &printable(text(item, "body").trim_end()),
        );
        line.push(style, Paint::Dim, &fields(item));
        line.finish(&mut out);
        out
    }
}

/// What a record has beyond the keys that every one has.
fn fields(item: &Value) -> String {
    const KNOWN: &[&str] = &[
        "timestamp",
        "severity_text",
        "severity_number",
        "body",
        "event_name",
        "trace_id",
        "span_id",
        "invocation_id",
        "plugin.name",
        "plugin.version",
        "stream",
        "outcome",
    ];
    let members = item.as_object().into_iter().flatten();
    let mut fields = String::new();
    for (key, value) in members.filter(|(key, _)| !KNOWN.contains(&key.as_str()) && !key.starts_with("code."))
    {
        let value = match (key.as_str(), value) {
            ("duration_ms", Value::Number(ms)) => {
                fields += &format!(" took {}", output::milliseconds(ms.as_f64().unwrap_or_default()));
                continue;
            }
            (_, Value::String(text)) => text.clone(),
            (_, value) => value.to_string(),
        };
        if !value.is_empty() {
            fields += &format!(" {}={}", printable(key), printable(&value));
        }
    }
    fields
}

fn text<'v>(document: &'v Value, member: &str) -> &'v str {
    document.get(member).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plain(width: usize) -> Style {
        Style { terminal: true, ..Style::plain(width) }
    }

    fn item() -> Value {
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

    #[test]
    fn one_call_is_shown_with_both_sides() {
        let mut document = item();
        document["output"] = json!({"score": 0.5});
        document["input_redacted"] = true.into();
        let shown = call(&document, &plain(80));
        for part in [
            "✓ replied  fraud-score@1.0.0  12.4ms\n",
            "input (sensitive parts replaced)\n",
            "output\n{\"score\": 0.5}\n",
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
    }

    #[test]
    fn log_lines_name_the_day_where_it_changes() {
        let mut printer = Printer { style: plain(80), day: "2026-02-03".into() };
        let line = |time: &str| {
            json!({"timestamp": time, "severity_text": "INFO", "body": "a\nb\u{7}", "stream": "stdout",
                "plugin.name": "slow", "logger": "x", "trace_id": "t"})
        };
        assert_eq!(
            printer.line(&line("2026-02-03T10:00:00.5Z")),
            "10:00:00.500 INFO  slow/stdout  a\\nb\\u{7} logger=x\n"
        );
        assert_eq!(
            printer.line(&line("2026-02-04T00:00:00Z")),
            "── 2026-02-04 UTC\n00:00:00.000 INFO  slow/stdout  a\\nb\\u{7} logger=x\n"
        );
    }
}
