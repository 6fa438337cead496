//! `logs`: the newest lines, and with `-f` each that arrives.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{fetch, nothing, print_body, query, text};
use crate::app::cli::{Global, Logs};
use crate::app::connect::{Need, connect};
use crate::app::failure::Failure;
use crate::app::output::{self, Line, Paint, Style, printable};
use crate::app::target::Target;
use crate::config::Settings;

/// How often a follower asks for new lines.
pub const POLL: Duration = Duration::from_millis(500);
/// A follower asks so many times in vain before it gives up: ten seconds, enough for a restart.
const POLLS_IN_VAIN_MAX: u32 = 20;
/// New lines that one question brings.
const FOLLOW_LINES: usize = 1000;
const EXIT_INTERRUPTED: u8 = 130;
const ENDED: &str = "invocation.finished";
const TRACE_DIGITS: usize = 8;

pub async fn command(global: &Global, logs: &Logs, settings: &Settings) -> Result<(), Failure> {
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

/// The newest lines, then each that arrives.
async fn follow(target: &Target, logs: &Logs, json: bool) -> Result<(), Failure> {
    let asked = asked_logs(logs).into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    let mut printer = (!json).then(|| Printer::new(Style::stdout()));
    let (mut follower, newest) = Follower::start(target, asked, usize::from(logs.tail)).await?;
    print_lines(newest.iter(), &mut printer)?;
    let mut in_vain = 0;
    loop {
        if !follower.more {
            tokio::time::sleep(POLL).await;
        }
        match follower.next(target).await {
            Ok(items) => {
                if in_vain > 0 {
                    output::note("it answers again");
                }
                in_vain = 0;
                print_lines(items.iter(), &mut printer)?;
            }
            Err(failure) if failure.may_pass() && in_vain < POLLS_IN_VAIN_MAX => {
                in_vain += 1;
                if in_vain == 1 {
                    output::note(&format!("trying again: {failure}"));
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Asks for what has arrived, again and again. The place goes by arrival, so that no line is lost or repeated,
/// whatever its time says.
pub struct Follower {
    asked: Vec<(&'static str, String)>,
    after: String,
    /// There was more than one answer holds: nothing is to be waited for.
    pub more: bool,
}

impl Follower {
    /// Also gives the `tail` newest lines that are there, oldest first.
    pub async fn start(
        target: &Target,
        mut asked: Vec<(&'static str, String)>,
        tail: usize,
    ) -> Result<(Follower, Vec<Value>), Failure> {
        let path = format!("/v1/logs?{}", query(&borrowed(&asked), Some(tail.max(1))));
        let mut first = fetch(target, &path).await?;
        let after = place(&first.document)?;
        // What is old when it arrives is new all the same.
        asked.retain(|(name, _)| *name != "since");
        let mut newest = taken_items(&mut first.document);
        newest.truncate(tail);
        newest.reverse();
        Ok((Follower { asked, after, more: false }, newest))
    }

    /// What has arrived since. After a failure the next time asks for the same.
    pub async fn next(&mut self, target: &Target) -> Result<Vec<Value>, Failure> {
        self.more = false;
        let mut asked = borrowed(&self.asked);
        asked.push(("after", &self.after));
        let path = format!("/v1/logs?{}", query(&asked, Some(FOLLOW_LINES)));
        let mut fetched = fetch(target, &path).await?;
        self.after = place(&fetched.document)?;
        let mut items = taken_items(&mut fetched.document);
        // What arrived together, of several calls, reads best by its time.
        items.sort_by(|left, right| text(left, "timestamp").cmp(text(right, "timestamp")));
        self.more = items.len() == FOLLOW_LINES;
        Ok(items)
    }
}

fn borrowed<'a>(asked: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    asked.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn taken_items(document: &mut Value) -> Vec<Value> {
    match document["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
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
pub struct Printer {
    style: Style,
    day: String,
}

impl Printer {
    pub fn new(style: Style) -> Printer {
        let today = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Printer { style, day: today.split('T').next().unwrap_or_default().to_owned() }
    }

    pub fn line(&mut self, item: &Value) -> String {
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
        // Where a call ends stands where its trace is: so much of the id is enough to find it.
        if text(item, "event_name") == ENDED
            && let Some(beginning) = text(item, "trace_id").get(..TRACE_DIGITS)
        {
            line.push(style, Paint::Dim, &printable(&format!(" trace={beginning}")));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::look::tests::plain;
    use serde_json::json;

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
        let ended = json!({"timestamp": "2026-02-04T00:00:00Z", "severity_text": "ERROR", "body": "no",
            "stream": "host", "event_name": "invocation.finished", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"});
        assert_eq!(printer.line(&ended), "00:00:00.000 ERROR spanglass  no trace=4bf92f35\n");
    }
}
