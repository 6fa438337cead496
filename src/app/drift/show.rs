//! One version, field by field: the numbers in a table, and for those that differ both distributions, why, which
//! calls show it, and what to do next.

use std::time::SystemTime;

use serde_json::Value;

use super::chart::{self, Bar};
use super::{items, number, path_of, percent, query, score, short_id, state, text};
use crate::app::cli::Global;
use crate::app::failure::Failure;
use crate::app::output::{self, Cell, Column, Line, Paint, Style, Table, printable};
use crate::app::target::Target;
use crate::model::field::FieldPath;

const NAME_COLUMNS: usize = 12;
/// Example calls of a field that are shown.
const EXAMPLES_SHOWN: usize = 3;

pub async fn show(global: &Global, target: &Target, name: &str, fields: &[FieldPath]) -> Result<(), Failure> {
    let (path, version) = path_of(name, "drift");
    let document = target.get(&(path + &query([("version", version)]))).await?;
    let asked: Vec<String> = fields.iter().map(ToString::to_string).collect();
    let known: Vec<&str> =
        items(&document, "fields").iter().filter_map(|field| field["field"].as_str()).collect();
    if let Some(missing) = asked.iter().find(|asked| !known.contains(&asked.as_str())) {
        return Err(Failure::usage(format!("{missing} is not watched"))
            .help(format!("these are: {}", known.join(", "))));
    }
    if global.json {
        return output::print_json(&document);
    }
    output::print(&render(&document, &asked, &Style::stdout(), SystemTime::now()))
}

fn render(document: &Value, asked: &[String], style: &Style, now: SystemTime) -> String {
    let mut out = String::new();
    let (plugin, version) = (text(document, "plugin"), text(document, "version"));
    let whole = state(document["state"].as_str().unwrap_or_default());
    let mut first = Line::default();
    first.push(style, Paint::Strong, &plugin).push(style, Paint::Plain, &format!(" {version}  "));
    first.push(style, whole.paint, &whole.text);
    if let Some(since) = document["since"].as_str() {
        let since = match &*output::ago(since, now) {
            "now" => ", since just now".to_owned(),
            ago => format!(", since {ago}"),
        };
        first.push(style, Paint::Dim, &since);
    }
    first.finish(&mut out);
    for (name, fact) in facts(document, now) {
        let mut line = Line::default();
        line.push(style, Paint::Dim, name).pad_to(NAME_COLUMNS).push(style, Paint::Plain, &fact);
        line.finish(&mut out);
    }
    let fields = items(document, "fields");
    out.push('\n');
    out += &table(fields, now).render(style);
    let differs = |field: &Value| matches!(field["state"].as_str(), Some("warn" | "alert"));
    let detailed = fields.iter().filter(|field| match asked {
        [] => differs(field),
        asked => asked.iter().any(|name| field["field"] == name.as_str()),
    });
    for field in detailed {
        out.push('\n');
        detail(field, style, &mut out);
    }
    next(document, &plugin, &version, style, &mut out);
    out
}

fn facts(document: &Value, now: SystemTime) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let fill = |window: &Value| {
        let (calls, wanted) = (number(window, "calls"), number(window, "wanted"));
        let step = output::count(number(window, "step"));
        format!("{} of {} calls, judged every {step}", output::count(calls), output::count(wanted))
    };
    match document["phase"].as_str() {
        Some("capturing") => {
            let capture = &document["capture"];
            let (calls, wanted) = (number(capture, "calls"), number(capture, "wanted"));
            let counted = format!("{} of {} calls", output::count(calls), output::count(wanted));
            facts.push(("baseline", format!("is being made: {counted}")));
        }
        Some("waiting") => facts.push(("baseline", "none yet: somebody has to pin one".to_owned())),
        _ => {
            let baseline = &document["baseline"];
            let source = match baseline["source"].as_str() {
                Some("first_calls") => "its first calls",
                Some("file") => "a file",
                Some("window") => "a window",
                _ => "-",
            };
            let (calls, made) = (number(baseline, "calls"), text(baseline, "created_at"));
            let (calls, made) = (output::count(calls), output::ago(&made, now));
            let id = short_id(baseline["id"].as_str().unwrap_or_default());
            facts.push(("baseline", format!("{calls} calls of {source}, {made}  {id}")));
            facts.push(("window", fill(&document["window"])));
            facts.push(("long window", fill(&document["long_window"])));
        }
    }
    let settings = &document["settings"];
    let alerts = format!(
        "p below {} and PSI from {}, from {} values on",
        settings["alpha"],
        settings["min_effect"],
        number(settings, "min_samples")
    );
    facts.push(("differs if", alerts));
    facts
}

fn table(fields: &[Value], now: SystemTime) -> Table {
    let columns = vec![
        Column::left("FIELD"),
        Column::left("KIND"),
        Column::left("STATE"),
        Column::left("SINCE"),
        Column::right("PSI"),
        Column::right("JS"),
        Column::right("P"),
        Column::right("NULL"),
        Column::right("UNSEEN"),
        Column::right("VALUES"),
        Column::left("LONG"),
    ];
    let mut table = Table::new(columns);
    for field in fields {
        let known = |member: &str| score(field[member].as_f64());
        let long = field["long"]["state"].as_str().unwrap_or_default();
        table.push(vec![
            Cell::new(Paint::Strong, text(field, "field")),
            Cell::new(Paint::Dim, text(field, "kind")),
            state(field["state"].as_str().unwrap_or_default()),
            Cell::new(
                Paint::Dim,
                field["since"].as_str().map_or_else(|| "-".to_owned(), |since| output::ago(since, now)),
            ),
            known("psi").into(),
            known("js").into(),
            known("pvalue").into(),
            nulls(field).into(),
            percent(field["new_category_ratio"].as_f64()).into(),
            output::count(number(field, "samples")).into(),
            state(long),
        ]);
    }
    table
}

/// `1.2 % → 12 %` if it is not the same.
fn nulls(field: &Value) -> String {
    let now = percent(field["null_ratio"].as_f64());
    let before = percent(field["baseline_null_ratio"].as_f64());
    if now == "-" || now == before { now } else { format!("{before} > {now}") }
}

fn detail(field: &Value, style: &Style, out: &mut String) {
    let shown = state(field["state"].as_str().unwrap_or_default());
    let mut line = Line::default();
    line.push(style, Paint::Strong, &text(field, "field")).push(style, Paint::Plain, "  ");
    line.push(style, shown.paint, &shown.text);
    line.finish(out);
    let mut fact = |name: &str, words: &str| {
        let mut line = Line::default();
        line.pad_to(2).push(style, Paint::Dim, name).pad_to(2 + NAME_COLUMNS).push(
            style,
            Paint::Plain,
            words,
        );
        line.finish(out);
    };
    if let Some(reason) = field["reason"].as_str() {
        fact("why", &printable(reason));
    }
    let samples =
        [number(field, "samples"), number(field, "baseline_samples")].map(output::count).join(" beside ");
    fact("values", &format!("{samples} of the baseline"));
    if let Some(dispersion) = field["dispersion"].as_f64().filter(|dispersion| *dispersion > 1.05) {
        fact(
            "calibrated",
            &format!("its baseline varies {dispersion:.1} times as much as independent calls"),
        );
    }
    let bars: Vec<Bar> = items(field, "bins").iter().map(bar).collect();
    if !bars.is_empty() {
        *out += &chart::render(&bars, style);
    }
    for example in items(field, "examples").iter().take(EXAMPLES_SHOWN) {
        let mut line = Line::default();
        line.pad_to(2).push(style, Paint::Dim, "call").pad_to(2 + NAME_COLUMNS);
        line.push(style, Paint::Plain, &text(example, "invocation_id"));
        line.push(style, Paint::Dim, &format!("  {}", text(example, "bin")));
        line.finish(out);
    }
}

fn bar(bin: &Value) -> Bar {
    Bar {
        label: text(bin, "label"),
        baseline: bin["baseline"].as_f64().unwrap_or(0.0),
        current: bin["current"].as_f64().unwrap_or(0.0),
        grew: bin["grew"] == true,
    }
}

/// What to do next, as commands.
fn next(document: &Value, plugin: &str, version: &str, style: &Style, out: &mut String) {
    let target = format!("{plugin}@{version}");
    let example = items(document, "fields")
        .iter()
        .filter(|field| field["state"] == "alert" || field["state"] == "warn")
        .find_map(|field| items(field, "examples").first())
        .map(|example| text(example, "invocation_id"));
    let mut steps: Vec<(String, &str)> = Vec::new();
    match (document["phase"].as_str(), document["state"].as_str()) {
        (Some("waiting"), _) => {
            steps.push((
                format!("spanglass drift baseline {target} --from calls.jsonl"),
                "pins one from a file",
            ));
        }
        (Some("capturing"), _) => {
            steps.push((
                format!("spanglass drift baseline {target} --from calls.jsonl"),
                "does not wait for calls",
            ));
        }
        (_, Some("warn" | "alert")) => {
            if let Some(id) = example {
                steps.push((format!("spanglass invocation show {id}"), "a call that shows it"));
            }
            steps.push((format!("spanglass drift events {plugin}"), "when it began"));
            steps.push((
                format!("spanglass drift baseline {target} --from-window"),
                "if this is how it shall be from now on",
            ));
        }
        _ => {}
    }
    if steps.is_empty() {
        return;
    }
    out.push('\n');
    let widest = steps.iter().map(|(command, _)| output::width(command)).max().unwrap_or(0);
    for (command, why) in steps {
        let mut line = Line::default();
        line.push(style, Paint::Accent, &command).pad_to(widest + 2).push(style, Paint::Dim, why);
        line.finish(out);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(name: &str, state: &str) -> Value {
        json!({"field": name, "kind": "number", "state": state, "since": "2026-02-03T04:00:06Z", "samples": 200,
            "baseline_samples": 498, "psi": 0.312, "js": 0.2, "pvalue": 3e-10, "null_ratio": 0.12, "baseline_null_ratio": 0.012,
            "new_category_ratio": null, "dispersion": 1.8, "reason": "PSI 0.312 is at least 0.1",
            "long": {"state": "ok"}, "history": [],
            "bins": [{"label": "up to 3", "kind": "range", "baseline": 0.5, "current": 0.2, "grew": false},
                {"label": "more than 3", "kind": "range", "baseline": 0.5, "current": 0.8, "grew": true}],
            "examples": [{"invocation_id": "0197-a", "trace_id": "t", "at": "", "bin": "more than 3"}]})
    }

    fn document(state: &str, fields: Vec<Value>) -> Value {
        json!({"plugin": "fraud", "version": "1.1.0", "state": state, "since": "2026-02-03T04:00:06Z", "phase": "watching",
            "capture": null, "baseline": {"id": "sha256:0123456789abcdef", "source": "first_calls",
                "created_at": "2026-02-03T02:05:06Z", "calls": 500, "fields": 2},
            "window": {"calls": 200, "wanted": 200, "step": 50}, "long_window": {"calls": 950, "wanted": 2000, "step": 250},
            "settings": {"alpha": 0.01, "min_effect": 0.1, "min_samples": 200}, "fields": fields})
    }

    fn shown(document: &Value, asked: &[String]) -> String {
        let now = humantime::parse_rfc3339("2026-02-03T04:05:06Z").unwrap();
        render(document, asked, &Style::plain(120), now)
    }

    #[test]
    fn what_differs_is_shown_with_its_reason_its_calls_and_the_next_step() {
        let document =
            document("alert", vec![field("$.input.amount", "alert"), field("$.input.quiet", "ok")]);
        let text = shown(&document, &[]);
        for part in [
            "fraud 1.1.0  alert, since 5m ago\n",
            "500 calls of its first calls, 2h ago  sha256:0123456789ab\n",
            "950 of 2,000 calls, judged every 250\n",
            "p below 0.01 and PSI from 0.1, from 200 values on\n",
            "3e-10",
            "1.2 % > 12 %",
            "why         PSI 0.312 is at least 0.1\n",
            "varies 1.8 times",
            "▲ more than 3",
            "call        0197-a  more than 3\n",
            "spanglass invocation show 0197-a",
            "spanglass drift baseline fraud@1.1.0 --from-window",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert_eq!(text.matches("$.input.quiet").count(), 1, "only in the table\n{text}");
        let text = shown(&document, &["$.input.quiet".to_owned()]);
        assert_eq!(text.matches("$.input.amount").count(), 1, "only in the table\n{text}");
        assert_eq!(text.matches("$.input.quiet").count(), 2, "{text}");
    }

    #[test]
    fn a_version_without_a_baseline_says_how_to_get_one() {
        let mut document = document("insufficient", Vec::new());
        (document["phase"], document["baseline"]) = ("waiting".into(), Value::Null);
        let text = shown(&document, &[]);
        assert!(text.contains("none yet") && text.contains("--from calls.jsonl"), "{text}");
        (document["phase"], document["capture"]) = ("capturing".into(), json!({"calls": 120, "wanted": 500}));
        let text = shown(&document, &[]);
        assert!(text.contains("is being made: 120 of 500 calls"), "{text}");
    }
}
