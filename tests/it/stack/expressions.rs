//! What the dashboards ask: every name in it is one that something exposes, every family is shown, and every query
//! parses where it will be run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use spanglass::model::kind::{ErrorKind, Outcome};
use spanglass::telemetry::names::{DURATION_BUCKETS, FAMILIES};

use super::queries::{self, Language, comparisons, family, root, selectors};
use crate::support::require;

#[test]
fn metrics_their_labels_and_values_exist() {
    let recorded = recorded();
    let mut wrong = Vec::new();
    for query in queries::all().iter().filter(|query| query.language == Language::PromQl) {
        let mut complain = |what: String| wrong.push(format!("{}: {what}", query.place()));
        for found in selectors(&query.expr) {
            if found.name.contains(':') {
                if !recorded.contains(found.name) {
                    complain(format!("no rule records {}", found.name));
                }
                continue;
            }
            if !found.name.starts_with("spanglass_") {
                continue;
            }
            let Some(family) = family(found.name) else {
                complain(format!("{} is no family", found.name));
                continue;
            };
            for (label, value) in &found.matchers {
                if !family.labels.contains(label) && *label != "instance" {
                    complain(format!("{} has no label {label}", found.name));
                }
                let known: Vec<&str> = match *label {
                    "error_type" => ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect(),
                    "outcome" => Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect(),
                    "blame" => vec!["none", "caller", "plugin", "host"],
                    "le" => vec![],
                    _ => continue,
                };
                for value in value.split('|').filter(|value| !known.contains(value)) {
                    complain(format!("{} has no {label} {value}", found.name));
                }
            }
            if let Some((_, bound)) = found.matchers.iter().find(|(label, _)| *label == "le") {
                let exists = DURATION_BUCKETS.iter().any(|bucket| *bound == format!("{bucket:?}"));
                assert!(exists, "{}: no bucket prints as {bound}", query.place());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_family_is_on_a_dashboard_or_has_a_reason_not_to_be() {
    let shown: BTreeSet<_> = queries::all()
        .iter()
        .filter(|query| query.language == Language::PromQl && !query.panel.starts_with("variable: "))
        .flat_map(|query| {
            selectors(&query.expr).into_iter().map(|found| found.name.to_owned()).collect::<Vec<_>>()
        })
        .filter_map(|name| family(&name).map(|family| family.name))
        .collect();
    let text = std::fs::read_to_string(root().join("dashboards/not-shown.txt")).unwrap();
    let listed: BTreeMap<_, _> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no reason: {line}")))
        .collect();
    for (name, reason) in &listed {
        assert!(FAMILIES.iter().any(|family| family.name == *name), "{name} is no family");
        assert!(!shown.contains(name), "{name} is shown: take it off the list");
        assert!(reason.split(' ').count() > 2, "{name}: not a reason: {reason}");
    }
    let missing: Vec<_> = FAMILIES
        .iter()
        .map(|family| family.name)
        .filter(|name| !shown.contains(name) && !listed.contains_key(name))
        .collect();
    assert!(missing.is_empty(), "on no dashboard, and not in dashboards/not-shown.txt: {missing:?}");
}

#[test]
fn events_fields_and_attributes_exist() {
    let names = std::fs::read_to_string(root().join("src/telemetry/names.rs")).unwrap();
    // What Loki makes of resource and record beside our own keys.
    let of_loki = ["service_name"];
    for query in queries::all().iter().filter(|query| query.language != Language::PromQl) {
        for (name, value) in comparisons(&query.expr) {
            let place = query.place();
            if query.language == Language::TraceQl {
                let intrinsic = ["name", "status", "duration", "resource.service.name"].contains(&name);
                let attribute = name.strip_prefix("span.").map(|quoted| quoted.trim_matches('"'));
                let known = attribute.is_some_and(|attribute| names.contains(&format!("\"{attribute}\"")));
                assert!(intrinsic || known, "{place}: {name}");
                continue;
            }
            let key = ["_", "."].map(|mark| format!("\"{}\"", name.replacen('_', mark, 1)));
            assert!(of_loki.contains(&name) || key.iter().any(|key| names.contains(key)), "{place}: {name}");
            if name == "event_name" {
                for event in value.split('|').map(|event| event.replace("[.]", ".")) {
                    let (start, end) =
                        (event.trim_end_matches(".+"), if event.ends_with(".+") { "" } else { "\"" });
                    assert!(names.contains(&format!("\"{start}{end}")), "{place}: no event {event}");
                }
            }
        }
    }
}

// --- grammars

#[test]
fn every_query_parses_in_the_grammars_of_grafana() {
    let Some(folder) = grammars() else { return };
    let mut asked: Vec<(String, Language, String)> = queries::all()
        .into_iter()
        .filter(|query| query.written != "$trace_id") // Not TraceQL: Grafana fetches that trace.
        .map(|query| (query.place(), query.language, query.expr))
        .collect();
    asked
        .extend(rules().into_iter().map(|rule| (format!("rule {}", rule.name), Language::PromQl, rule.expr)));
    let errors = parse(&folder, asked.iter().map(|(_, language, expr)| (*language, expr.as_str())));
    let wrong: Vec<_> = asked.iter().zip(&errors).filter(|(_, errors)| **errors > 0).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for language in [Language::PromQl, Language::LogQl, Language::TraceQl] {
        assert!(asked.iter().any(|query| query.1 == language), "{language:?}");
    }
}

#[test]
fn the_grammars_refuse_what_is_wrong() {
    let Some(folder) = grammars() else { return };
    let bad = [
        (Language::PromQl, "sum by (plugin (rate(up[1m]))"),
        (Language::PromQl, "rate(up[$__rate_interval])"),
        (Language::PromQl, "up{plugin=}"),
        (Language::LogQl, "{service_name=\"spanglass\"} | plugin_name=~"),
        (Language::LogQl, "sum by (stream) (count_over_time({a=\"b\"} [$__auto]))"),
        (Language::TraceQl, "{ name=~\"invoke .+\" && }"),
        (Language::TraceQl, "{ status=error } | rate() by status"),
    ];
    let errors = parse(&folder, bad.into_iter());
    for (query, errors) in bad.iter().zip(errors) {
        assert!(errors > 0, "no error in {query:?}");
    }
}

/// Prometheus' own parser, which also knows types: `rate` of a number is refused.
#[test]
fn prometheus_accepts_every_query() {
    if !require("promtool") {
        return;
    }
    let rule = |index: usize, expr: &str| json!({"record": format!("query:number:{index}"), "expr": expr});
    let exprs: Vec<_> = queries::all()
        .into_iter()
        .filter(|query| query.language == Language::PromQl)
        .map(|query| query.expr)
        .collect();
    let check = |rules: Vec<Value>| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("queries.yaml");
        let groups = json!({"groups": [{"name": "queries", "rules": rules}]});
        std::fs::write(&file, groups.to_string()).unwrap();
        Command::new("promtool").args(["check", "rules"]).arg(file).output().unwrap()
    };
    let ran = check(exprs.iter().enumerate().map(|(index, expr)| rule(index, expr)).collect());
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(exprs.len() > 100, "{}", exprs.len());
    assert!(!check(vec![rule(0, "rate(1)")]).status.success(), "promtool refuses nothing");
}

// --- their files

pub struct Rule {
    pub name: String,
    pub expr: String,
    records: bool,
}

pub fn rules() -> Vec<Rule> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join("prometheus/rules")).unwrap() {
        let yaml = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let file: Value = serde_yaml::from_str(&yaml).unwrap();
        for rule in
            file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
        {
            let records = rule["record"].is_string();
            let text = |key: &str| rule[key].as_str().unwrap().to_owned();
            let name = text(if records { "record" } else { "alert" });
            found.push(Rule { name, expr: text("expr"), records });
        }
    }
    assert!(found.len() > 20, "{}", found.len());
    found
}

fn recorded() -> BTreeSet<String> {
    rules().into_iter().filter(|rule| rule.records).map(|rule| rule.name).collect()
}

/// The folder of scripts/grammars.sh. Its absence is said on stderr, or is an error where nothing may be skipped.
fn grammars() -> Option<PathBuf> {
    if !require("node") {
        return None;
    }
    let folder = std::env::var_os("SPANGLASS_TEST_GRAMMARS").map(PathBuf::from);
    if folder.is_none() {
        let all = std::env::var("SPANGLASS_TEST_REQUIRE").is_ok_and(|value| value == "all");
        let missing = "SPANGLASS_TEST_GRAMMARS is not set: scripts/grammars.sh prints the folder";
        assert!(!all, "{missing}");
        // Raw: the test harness captures `eprintln!`.
        let _ = writeln!(std::io::stderr(), "skipped: {missing}");
    }
    folder
}

/// How many errors the grammar finds in each query.
fn parse<'a>(folder: &Path, queries: impl Iterator<Item = (Language, &'a str)>) -> Vec<u64> {
    let mut node = Command::new("node");
    node.arg(root().join("tests/tools/grammars/parse.cjs")).arg(folder);
    let mut child = node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = String::new();
    let mut count = 0;
    for (language, expr) in queries {
        input += &format!("{}\n", json!({"language": language.as_str(), "expr": expr}));
        count += 1;
    }
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let ran = child.wait_with_output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let errors: Vec<u64> =
        String::from_utf8(ran.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(errors.len(), count);
    errors
}
