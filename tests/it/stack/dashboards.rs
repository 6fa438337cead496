//! The dashboards: what a dashboard linter checks; `expressions.rs` has the names and grammars of queries. One rule of Grafana's own linter is left out: matchers of `job` and `instance` everywhere. Families of the runner have
//! `instance` here, their prefix makes `job` superfluous, and span metrics have the instance of who made the span.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::queries::{self, Language, root, selectors};
use crate::support::{python_with, require};

const UIDS: [&str; 7] = [
    "spanglass-data",
    "spanglass-invocation",
    "spanglass-overview",
    "spanglass-plugin",
    "spanglass-reliability",
    "spanglass-slo",
    "spanglass-telemetry",
];

/// Panels that show counters as they are, because the equation holds for values and not for rates.
const RAW_COUNTERS: [&str; 2] = ["Where records went", "Difference (must be 0)"];

// --- the files

#[test]
fn the_committed_files_are_what_the_generator_writes() {
    if !require("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut generate = Command::new("python3");
    generate.arg(root().join("dashboards/generator")).arg(folder.path());
    let ran = generate.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let files = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let generated = entries.filter(|path| path.extension().is_some_and(|e| e == "json" || e == "jsonl"));
        let named = generated
            .map(|path| (path.file_name().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()));
        named.collect::<BTreeMap<_, _>>()
    };
    let (committed, written) = (files(&root().join("dashboards")), files(folder.path()));
    assert!(committed.keys().eq(written.keys()), "{:?} and {:?}", committed.keys(), written.keys());
    let differ: Vec<_> =
        committed.iter().filter(|(name, text)| written[*name] != **text).map(|(name, _)| name).collect();
    assert!(differ.is_empty(), "run scripts/dashboards.sh: {differ:?} differ");
}

#[test]
fn the_list_of_queries_has_every_query_of_the_dashboards_and_no_other() {
    let mut shown = BTreeSet::new();
    for dashboard in dashboards() {
        for (panel, target) in dashboard.targets() {
            shown.insert((
                dashboard.uid.clone(),
                text(panel, "title"),
                text(target, "refId"),
                query_of(target).to_owned(),
            ));
        }
        for annotation in list(&dashboard.json["annotations"]["list"]) {
            if let Some(expr) = annotation["expr"].as_str() {
                let name = format!("annotation: {}", text(annotation, "name"));
                shown.insert((dashboard.uid.clone(), name, "A".to_owned(), expr.to_owned()));
            }
        }
        for variable in dashboard.variables().filter(|variable| variable["type"] == "query") {
            let asked = variable["query"]["query"].as_str().unwrap();
            let series = asked.strip_prefix("label_values(").unwrap().rsplit_once(", ").unwrap().0;
            let name = format!("variable: {}", text(variable, "name"));
            shown.insert((dashboard.uid.clone(), name, "A".to_owned(), series.to_owned()));
        }
    }
    let listed = queries::all();
    let found: BTreeSet<_> = listed
        .iter()
        .map(|query| {
            (query.dashboard.clone(), query.panel.clone(), query.reference.clone(), query.written.clone())
        })
        .collect();
    assert_eq!(shown, found);
    assert_eq!(listed.len(), found.len(), "a query is listed twice");
    for query in listed {
        if let Some(reason) = &query.empty_when_healthy {
            assert!(reason.split(' ').count() > 2, "{}: not a reason: {reason}", query.place());
        }
    }
}

/// Grafana's own model of a dashboard reads them, and what it writes again lacks nothing: no key is misspelled.
#[test]
fn grafanas_model_knows_every_key() {
    let Some(python) = python_with("grafana_foundation_sdk") else { return };
    let mut check = Command::new(python);
    check.arg(root().join("tests/tools/check_dashboards.py"));
    let ran = check.args(dashboards().map(|dashboard| dashboard.path)).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

// --- dashboards and panels

#[test]
fn dashboards_are_complete() {
    let found: BTreeSet<_> = dashboards().map(|dashboard| dashboard.uid).collect();
    assert_eq!(found, UIDS.map(str::to_owned).into());
    for dashboard in dashboards() {
        let (uid, json) = (&dashboard.uid, &dashboard.json);
        assert_eq!(dashboard.path.file_stem().unwrap().to_str().unwrap(), uid);
        assert!(text(json, "title").starts_with("spanglass: "), "{uid}");
        assert!(text(json, "description").len() > 40, "{uid}: what is it for?");
        assert_eq!(json["tags"], json!(["spanglass"]), "{uid}: links go by this tag");
        assert_eq!(json["editable"], json!(false), "{uid}: it is provisioned");
        assert!(json["schemaVersion"].as_u64().unwrap() >= 39, "{uid}");
        assert_eq!(json["graphTooltip"], json!(1), "{uid}: one crosshair");

        let links = list(&json["links"]);
        let to_others = links.iter().find(|link| link["type"] == "dashboards").expect("links to the others");
        for key in ["includeVars", "keepTime"] {
            assert_eq!(to_others[key], json!(true), "{uid}: {key}");
        }

        let kinds: BTreeSet<_> = list(&json["annotations"]["list"])
            .iter()
            .map(|a| a["datasource"]["type"].as_str().unwrap())
            .collect();
        assert!(kinds.contains("loki") && kinds.contains("prometheus"), "{uid}: annotations from both");

        let variables: Vec<_> = dashboard.variables().map(|variable| text(variable, "name")).collect();
        assert_eq!(variables[..2], ["datasource", "instance"], "{uid}");
        assert_eq!(variables.last().unwrap(), "spanglass_url", "{uid}");
        for variable in dashboard.variables() {
            let name = text(variable, "name");
            assert!(text(variable, "description").len() > 15, "{uid}: what is ${name} for?");
            if variable["type"] == "query" {
                assert_eq!(
                    variable["refresh"],
                    json!(2),
                    "{uid}: ${name} is asked again with a new time range"
                );
                assert_eq!(variable["datasource"]["uid"], "${datasource}", "{uid}: ${name}");
                for key in ["multi", "includeAll"] {
                    assert_eq!(variable[key], json!(true), "{uid}: ${name} {key}");
                }
                assert_eq!(variable["allValue"], ".*", "{uid}: ${name}");
            }
        }
    }
}

#[test]
fn panels_are_complete() {
    let mut wrong = Vec::new();
    for dashboard in dashboards() {
        let mut titles = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in list(&dashboard.json["panels"]) {
            let title = text(panel, "title");
            let mut complain = |what: &str| wrong.push(format!("{} / {title}: {what}", dashboard.uid));
            let id = panel["id"].as_u64().unwrap_or(0);
            if id == 0 || !ids.insert(id) {
                complain("no id of its own");
            }
            if panel["type"] == "row" {
                continue;
            }
            if !titles.insert(title.clone()) {
                complain("another panel has this title");
            }
            let kind = text(panel, "type");
            let description = panel["description"].as_str().unwrap_or("");
            if kind != "text" && !description.contains("**If it looks bad:**") {
                complain("does not say what to do");
            }
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or("");
            if !["text", "logs", "traces"].contains(&kind.as_str()) && unit.is_empty() {
                complain("no unit");
            }
            let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
            if (kind == "text") != targets.is_empty() {
                complain("a panel has queries, a text has none");
            }
            if kind == "timeseries" {
                if panel["options"]["legend"]["showLegend"] != true {
                    complain("no legend");
                }
                for target in targets.iter().filter(|target| target["datasource"]["type"] == "prometheus") {
                    if target["legendFormat"] == "__auto" {
                        complain("a legend that nobody chose");
                    }
                }
            }
            for target in targets {
                let source = &target["datasource"];
                let expected = match source["type"].as_str().unwrap() {
                    "prometheus" => "${datasource}",
                    "tempo" => "tempo",
                    "loki" => "loki",
                    other => panic!("{other}"),
                };
                if source["uid"] != expected || *source != panel["datasource"] {
                    complain("another data source");
                }
            }
            let references: BTreeSet<_> = targets.iter().map(|target| text(target, "refId")).collect();
            if references.len() != targets.len() {
                complain("two queries with one refId");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn panels_stand_beside_each_other() {
    for dashboard in dashboards() {
        let mut taken = BTreeMap::new();
        for panel in list(&dashboard.json["panels"]) {
            let [x, y, width, height] =
                ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            let title = text(panel, "title");
            assert!(width > 0 && height > 0 && x + width <= 24, "{}: {title}", dashboard.uid);
            for place in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
                let other = taken.insert(place, title.clone());
                assert_eq!(other, None, "{}: {title} lies on another panel", dashboard.uid);
            }
        }
    }
}

// --- links

#[test]
fn links_keep_what_was_chosen_and_lead_somewhere() {
    let variables: BTreeMap<String, BTreeSet<String>> = dashboards()
        .map(|dashboard| {
            let names = dashboard.variables().map(|variable| text(variable, "name")).collect();
            (dashboard.uid, names)
        })
        .collect();
    let mut wrong = Vec::new();
    let (mut within, mut to_runbooks) = (0, 0);
    for dashboard in dashboards() {
        let here = &variables[&dashboard.uid];
        for (place, link) in dashboard.addresses() {
            let mut complain =
                |what: String| wrong.push(format!("{} / {place}: {what}: {link}", dashboard.uid));
            if let Some(page) = link.strip_prefix("${spanglass_url}/docs/runbooks/") {
                to_runbooks += 1;
                if !root().join(format!("docs/runbooks/{page}.md")).is_file() {
                    complain("no such runbook".into());
                }
            } else if let Some(page) = link.strip_prefix("${spanglass_url}/docs/errors/") {
                // Of a series with that label, whose values have a page each: `metrics_their_labels_and_values_exist`.
                if page != "${__field.labels.error_type}" {
                    complain("no such page".into());
                }
            } else if let Some((uid, query)) = link.strip_prefix("/d/").and_then(|rest| rest.split_once('?'))
            {
                within += 1;
                let Some(there) = variables.get(uid) else {
                    complain("no such dashboard".into());
                    continue;
                };
                for kept in ["${__url_time_range}", "${datasource:queryparam}", "${instance:queryparam}"] {
                    if !query.contains(kept) {
                        complain(format!("loses {kept}"));
                    }
                }
                for part in query.split('&') {
                    let (name, known) = match part.strip_prefix("var-") {
                        Some(set) => (set.split('=').next().unwrap(), there),
                        None => match part.strip_suffix(":queryparam}").and_then(|p| p.strip_prefix("${")) {
                            Some(name) if !here.contains(name) => (name, here),
                            Some(name) => (name, there),
                            None => continue,
                        },
                    };
                    if !known.contains(name) {
                        complain(format!("no variable {name}"));
                    }
                }
            } else {
                complain("an address of no known kind".into());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        within > 20 && to_runbooks > 50,
        "{within} links within, {to_runbooks} to runbooks: are they found?"
    );
}

/// What the dashboards call by a fixed uid is provisioned under it, and exemplars lead to a dashboard that takes them.
#[test]
fn data_sources_are_provisioned_as_the_dashboards_name_them() {
    let yaml = std::fs::read_to_string(root().join("stack/grafana/provisioning/datasources/spanglass.yaml"))
        .unwrap();
    let file: Value = serde_yaml::from_str(&yaml).unwrap();
    let sources: BTreeMap<String, &Value> =
        list(&file["datasources"]).iter().map(|source| (text(source, "uid"), source)).collect();
    for kind in ["prometheus", "tempo", "loki"] {
        assert_eq!(text(sources[kind], "type"), kind);
    }
    let exemplars = &sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"];
    let page =
        list(exemplars).iter().find_map(|to| to["url"].as_str()).expect("exemplars lead to the invocation");
    // Doubled, because Grafana fills in variables of its environment.
    assert_eq!(page, "/d/spanglass-invocation?var-trace_id=$${__value.raw}");
    let invocation = dashboards().find(|dashboard| dashboard.uid == "spanglass-invocation").unwrap();
    assert!(invocation.variables().any(|variable| variable["name"] == "trace_id"));
    for dashboard in dashboards() {
        let prometheus = dashboard.variables().next().unwrap();
        assert!(sources.contains_key(prometheus["current"]["value"].as_str().unwrap()), "{}", dashboard.uid);
    }
}

// --- queries

#[test]
fn counters_are_shown_as_rates() {
    let mut wrong = Vec::new();
    for query in queries::all().iter().filter(|query| query.language == Language::PromQl) {
        if query.panel.starts_with("variable: ") || RAW_COUNTERS.contains(&query.panel.as_str()) {
            continue;
        }
        for found in selectors(&query.written) {
            let counter = ["_total", "_bucket", "_sum", "_count"].iter().any(|end| found.name.ends_with(end));
            let under_a_rate = ["rate(", "increase("].iter().any(|function| found.before.ends_with(function));
            // `x unless x offset 1m`: a counter that has only begun is all increase.
            let begins = found.before.ends_with(" unless ") || found.after.starts_with(" unless ");
            if counter && !under_a_rate && !begins && !found.name.contains(':') {
                wrong.push(format!("{}: {}", query.place(), found.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rates_over_time_follow_the_scrape_interval() {
    let mut wrong = Vec::new();
    for dashboard in dashboards() {
        for (panel, target) in dashboard.targets().filter(|(_, target)| target["range"] == true) {
            for found in selectors(query_of(target)).iter().filter(|found| found.before.ends_with("rate(")) {
                if !found.after.starts_with("[$__rate_interval]") {
                    let window = found.after.split(')').next().unwrap();
                    wrong.push(format!("{} / {}: rate over {window}", dashboard.uid, text(panel, "title")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn latency_panels_show_exemplars_and_no_others_do() {
    let mut with = 0;
    for dashboard in dashboards() {
        for (panel, target) in dashboard.targets() {
            let over_time = ["timeseries", "heatmap"].contains(&panel["type"].as_str().unwrap());
            // Only this family has exemplars.
            let latency = query_of(target).contains("spanglass_invocation_duration_seconds_bucket");
            let asked = target["exemplar"] == true;
            assert_eq!(asked, over_time && latency, "{} / {}", dashboard.uid, text(panel, "title"));
            with += usize::from(asked);
            if panel["type"] == "heatmap" {
                assert_eq!(target["format"], "heatmap", "{}", text(panel, "title"));
            }
        }
    }
    assert!(with >= 6, "{with}");
}

#[test]
fn variables_of_queries_exist() {
    for dashboard in dashboards() {
        let known: BTreeSet<_> = dashboard.variables().map(|variable| text(variable, "name")).collect();
        for query in queries::all().iter().filter(|query| query.dashboard == dashboard.uid) {
            for part in query.written.split('$').skip(1) {
                let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = name.starts_with("__") || known.contains(&name);
                assert!(known, "{}: ${name} is no variable here", query.place());
            }
        }
    }
}

// --- reading dashboards

struct Dashboard {
    uid: String,
    path: PathBuf,
    json: Value,
}

impl Dashboard {
    fn variables(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["templating"]["list"]).iter()
    }

    fn targets(&self) -> impl Iterator<Item = (&Value, &Value)> {
        let panels = list(&self.json["panels"]).iter();
        panels.flat_map(|panel| {
            panel["targets"].as_array().into_iter().flatten().map(move |target| (panel, target))
        })
    }

    /// Every address that something on it leads to: panel links, data links, links in text.
    fn addresses(&self) -> Vec<(String, String)> {
        fn walk(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("url").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| walk(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
                _ => {}
            }
        }
        let mut addresses = Vec::new();
        for panel in list(&self.json["panels"]) {
            let mut found = Vec::new();
            walk(panel, &mut found);
            if let Some(markdown) = panel["options"]["content"].as_str() {
                found.extend(
                    markdown.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0.to_owned()),
                );
            }
            addresses.extend(found.into_iter().map(|address| (text(panel, "title"), address)));
        }
        addresses
    }
}

fn dashboards() -> impl Iterator<Item = Dashboard> {
    let entries = std::fs::read_dir(root().join("dashboards")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    paths.sort();
    paths.into_iter().map(|path| {
        let json: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        Dashboard { uid: text(&json, "uid"), path, json }
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

fn query_of(target: &Value) -> &str {
    target["expr"].as_str().or_else(|| target["query"].as_str()).expect("a query")
}
