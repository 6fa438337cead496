//! Every query of the dashboards with its variables filled in, from `dashboards/queries.jsonl`, and what is in them.
//! `dashboards.rs` proves that the list and the dashboards agree.

use std::path::{Path, PathBuf};

use serde_json::Value;
use spanglass::telemetry::names::{FAMILIES, Family, FamilyKind};

/// What a dashboard's variables stand for in tests: everything, over the last minutes.
const VARIABLES: &[(&str, &str)] = &[
    ("$__rate_interval", "1m"),
    ("$__range", "15m"),
    ("$__auto", "1m"),
    ("$trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ("$instance", ".*"),
    ("$plugin", ".*"),
    ("$version", ".*"),
    ("$slo", ".*"),
];

#[expect(clippy::enum_variant_names, reason = "that is what they are called")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    PromQl,
    LogQl,
    TraceQl,
}

impl Language {
    pub const fn as_str(self) -> &'static str {
        match self {
            Language::PromQl => "promql",
            Language::LogQl => "logql",
            Language::TraceQl => "traceql",
        }
    }
}

/// One query of one panel, annotation or variable.
#[derive(Clone, Debug)]
pub struct Query {
    pub dashboard: String,
    /// Title of the panel, or `annotation: NAME`, `variable: NAME`.
    pub panel: String,
    pub reference: String,
    pub language: Language,
    /// As Grafana has it, with variables.
    pub written: String,
    /// As a server takes it.
    pub expr: String,
    /// Why it has no data as long as all is well. A query without a reason must return some.
    pub empty_when_healthy: Option<String>,
}

impl Query {
    /// Where it stands, for messages.
    pub fn place(&self) -> String {
        format!("{} / {} / {}", self.dashboard, self.panel, self.reference)
    }
}

pub fn all() -> Vec<Query> {
    let text = std::fs::read_to_string(root().join("dashboards/queries.jsonl")).unwrap();
    text.lines().map(|line| query(&serde_json::from_str(line).unwrap())).collect()
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// `expr` with its variables filled in; panics at one that is not known here.
pub fn substituted(expr: &str) -> String {
    let mut filled = expr.to_owned();
    for (variable, value) in VARIABLES {
        filled = filled.replace(variable, value);
    }
    assert!(!filled.contains('$'), "a variable is left in {filled}");
    filled
}

fn query(line: &Value) -> Query {
    let text = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned();
    Query {
        dashboard: text("dashboard"),
        panel: text("panel"),
        reference: text("ref"),
        language: match line["language"].as_str().unwrap() {
            "promql" => Language::PromQl,
            "logql" => Language::LogQl,
            "traceql" => Language::TraceQl,
            other => panic!("a language that no test knows: {other}"),
        },
        written: text("expr"),
        expr: substituted(line["expr"].as_str().unwrap()),
        empty_when_healthy: line["empty_when_healthy"].as_str().map(str::to_owned),
    }
}

/// A metric in an expression, with what stands before and after it.
pub struct Selector<'a> {
    pub name: &'a str,
    pub matchers: Vec<(&'a str, &'a str)>,
    pub before: &'a str,
    pub after: &'a str,
}

/// The metrics of an expression that have a prefix of ours or the collector's, or were recorded by a rule.
pub fn selectors(expr: &str) -> Vec<Selector<'_>> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let ours = |name: &str| {
        name.contains(':')
            || ["spanglass_", "otelcol_", "traces_"].iter().any(|prefix| name.starts_with(prefix))
    };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = expr[at..].find(|c: char| part(c) || c == '"').map(|offset| at + offset) {
        if expr[start..].starts_with('"') {
            at = start + 1 + expr[start + 1..].find('"').unwrap() + 1;
            continue;
        }
        let end = expr[start..].find(|c| !part(c)).map_or(expr.len(), |length| start + length);
        let (name, rest) = (&expr[start..end], &expr[end..]);
        at = end;
        if !ours(name) {
            continue;
        }
        let braces = rest.strip_prefix('{').map(|inside| inside.split_once('}').unwrap().0);
        at = end + braces.map_or(0, |inside| inside.len() + 2);
        let matchers = braces.map(comparisons).unwrap_or_default();
        found.push(Selector { name, matchers, before: &expr[..start], after: &expr[at..] });
    }
    found
}

/// What is compared with a text or a word: `a="b"`, `a=~"b"`, `span."a"!="b"`, `status=error`.
pub fn comparisons(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['=', '!', '>', '<']) {
        let name = rest[..at].trim_end();
        let begin = name.rfind([' ', ',', '{', '(', '|']).map_or(0, |before| before + 1);
        let value = rest[at..].trim_start_matches(['=', '!', '~', '>', '<']).trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap(),
            None => value.split_at(value.find([' ', ',', ')', '}']).unwrap_or(value.len())),
        };
        found.push((&name[begin..], value));
        rest = after;
    }
    found
}

/// The family that a series is of: a histogram's have suffixes.
pub fn family(series: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| match family.kind {
        FamilyKind::Histogram => series
            .strip_prefix(family.name)
            .is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix)),
        _ => series == family.name,
    })
}
