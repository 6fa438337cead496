//! The rules of `prometheus/`, Alertmanager's routes and the runbooks: what the tools say of them, and what an alert
//! must have so that somebody can act on it. No server is started here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use spanglass::telemetry::names::FAMILIES;

use super::parts::root;
use crate::support::require;
use crate::support::server::Home;

/// Whatever else fires waits for the day.
const PAGES: [&str; 3] = ["PluginErrorBudgetBurnFast", "RunnerAbsent", "StoreNotWritable"];
const DASHBOARDS: [&str; 7] = [
    "spanglass-overview",
    "spanglass-plugin",
    "spanglass-invocation",
    "spanglass-slo",
    "spanglass-reliability",
    "spanglass-data",
    "spanglass-telemetry",
];
const SECTIONS: [&str; 6] =
    ["What it means", "Impact", "Quick checks", "Causes", "What to do", "When it is over"];
/// Its page is about its absence, and has other sections.
const WATCHDOG: &str = "Watchdog";

#[test]
fn promtool_finds_nothing_wrong() {
    if !require("promtool") {
        return;
    }
    said_yes("promtool", &["check", "config", "--lint=all", "--lint-fatal", "prometheus/prometheus.yaml"]);
    for path in files("prometheus/rules", "yaml") {
        said_yes("promtool", &["check", "rules", "--lint=all", "--lint-fatal", &path]);
    }
}

#[test]
fn the_unit_tests_of_the_rules_pass() {
    if !require("promtool") {
        return;
    }
    let tests = files("prometheus/tests", "yaml");
    let running: Vec<_> = tests.iter().map(|path| run("promtool", &["test", "rules", path])).collect();
    for (path, process) in tests.iter().zip(running) {
        let output = process.wait_with_output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{path}: {said}");
    }
}

#[test]
fn alertmanager_takes_its_configuration_and_the_examples_in_it() {
    if !require("amtool") {
        return;
    }
    said_yes("amtool", &["check-config", "prometheus/alertmanager.yaml"]);
    let text = read("prometheus/alertmanager.yaml");
    let (before, receivers) = text.split_once("\nreceivers:\n").unwrap();
    let example = |line: &str| line.starts_with("    #   ") || line.ends_with("_configs:");
    let uncommented = receivers
        .lines()
        .map(|line| if example(line) { line.replacen("    # ", "    ", 1) } else { line.to_owned() });
    let uncommented = uncommented.collect::<Vec<_>>().join("\n");
    for kind in ["webhook_configs", "slack_configs", "email_configs", "pagerduty_configs"] {
        assert!(uncommented.contains(&format!("\n    {kind}:\n")), "no example of {kind}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alertmanager.yaml");
    std::fs::write(&path, format!("{before}\nreceivers:\n{uncommented}\n")).unwrap();
    said_yes("amtool", &["check-config", path.to_str().unwrap()]);
}

#[test]
fn an_alert_goes_to_the_runner_and_to_whom_its_severity_says() {
    if !require("amtool") {
        return;
    }
    for (labels, receivers) in [
        ("alertname=PluginErrorBudgetBurnFast severity=page plugin=shop", "spanglass,page"),
        ("alertname=PluginErrorRateHigh severity=ticket plugin=shop", "spanglass,ticket"),
        ("alertname=Watchdog severity=none", "spanglass,watchdog"),
        ("alertname=OfSomebodyElse", "spanglass"),
    ] {
        let mut arguments = vec!["config", "routes", "test", "--config.file=prometheus/alertmanager.yaml"];
        arguments.extend(labels.split(' '));
        assert_eq!(said_yes("amtool", &arguments).trim(), receivers, "{labels}");
    }
}

#[test]
fn what_alertmanager_inhibits_by_are_alerts_that_exist() {
    let config = yaml("prometheus/alertmanager.yaml");
    let names: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    let rules = list(&config["inhibit_rules"]);
    assert!(!rules.is_empty());
    for rule in rules {
        // With several runners, or plugins, the one that inhibits may not be the one that is inhibited.
        let held_back: Vec<&str> = list(&rule["target_matchers"]).iter().map(text).collect();
        let named = |name: &&str| held_back.iter().any(|matcher| matcher.contains(name));
        let no_page = held_back.contains(&"severity=\"ticket\"")
            || !(held_back.iter().any(|matcher| matcher.contains(".+")) || PAGES.iter().any(named));
        assert!(no_page, "a page may be held back: {rule}");
        for side in ["source_matchers", "target_matchers"] {
            let matchers: Vec<&str> = list(&rule[side]).iter().map(text).collect();
            let named = matchers.iter().filter(|matcher| matcher.starts_with("alertname"));
            for alternative in named.flat_map(|matcher| matcher.split('"').nth(1).unwrap().split('|')) {
                let found = match alternative.strip_suffix(".+") {
                    Some(prefix) => names.iter().any(|name| name.starts_with(prefix) && name != prefix),
                    None => names.contains(alternative),
                };
                assert!(found, "{side} names {alternative}, which is no alert");
            }
        }
    }
}

#[test]
fn an_alert_says_how_bad_it_is_whose_it_is_and_where_to_look() {
    let alerts = alerts();
    let mut pages = BTreeSet::new();
    for Alert { name, rule } in &alerts {
        let (labels, annotations) = (&rule["labels"], &rule["annotations"]);
        let severity = text(&labels["severity"]);
        assert!(["page", "ticket", "none"].contains(&severity), "{name}: severity {severity}");
        assert_eq!(severity == "none", name == WATCHDOG, "{name}: severity {severity}");
        assert_eq!(labels["service"], "spanglass", "{name}");
        assert!(["platform", "plugin"].contains(&text(&labels["owner"])), "{name}: owner");
        if severity == "page" {
            pages.insert(name.as_str());
        }
        let keys: BTreeSet<&str> = annotations.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = BTreeSet::from(["summary", "description", "dashboard_url", "runbook_url"]);
        assert_eq!(keys, expected, "{name}: annotations");
        // With what it is about and how bad it is, where there is something to say.
        let summary = text(&annotations["summary"]);
        assert!(
            summary.contains("{{") || name == WATCHDOG,
            "{name}: the summary is the same for all: {summary}"
        );
        let link = text(&annotations["dashboard_url"]);
        let path =
            link.strip_prefix("{{ $externalLabels.grafana_url }}/d/").unwrap_or_else(|| panic!("{link}"));
        let (uid, query) = path.split_once('?').unwrap_or((path, ""));
        assert!(DASHBOARDS.contains(&uid), "{name}: no dashboard {uid}");
        assert!(["", "var-plugin={{ $labels.plugin }}"].contains(&query), "{name}: {query}");
        let expected = format!("{{{{ $externalLabels.spanglass_url }}}}/docs/runbooks/{}", kebab(name));
        assert_eq!(text(&annotations["runbook_url"]), expected);
    }
    assert_eq!(pages, BTreeSet::from(PAGES));
    assert!(alerts.len() > 20, "only {} alerts were read", alerts.len());
}

#[test]
fn the_links_of_alerts_are_configured_and_no_part_of_their_identity() {
    let config = yaml("prometheus/prometheus.yaml");
    let labels = config["global"]["external_labels"].as_object().unwrap();
    let names: Vec<&str> = labels.keys().map(String::as_str).collect();
    assert_eq!(names, ["grafana_url", "spanglass_url"]);
    let relabel = &config["alerting"]["alert_relabel_configs"][0];
    assert_eq!(
        (text(&relabel["action"]), text(&relabel["regex"])),
        ("labeldrop", "grafana_url|spanglass_url")
    );
}

/// Of one alert at the times at which a group of unit tests looks at it: seconds, and whether it fires.
type Looks = Vec<(u64, bool)>;

#[test]
fn each_alert_is_tested_firing_quiet_and_resolved() {
    let mut looks: BTreeMap<String, Vec<Looks>> = BTreeMap::new();
    for path in files("prometheus/tests", "yaml") {
        for group in list(&yaml(&path)["tests"]) {
            let mut of_group: BTreeMap<&str, Looks> = BTreeMap::new();
            for test in list(&group["alert_rule_test"]) {
                let fires = list(&test["exp_alerts"]);
                for alert in fires {
                    assert_eq!(alert["exp_labels"]["service"], "spanglass", "{path}: {test}");
                    let annotations = alert["exp_annotations"].as_object().unwrap();
                    assert_eq!(annotations.len(), 4, "{path}: {test}");
                }
                let look = (seconds(text(&test["eval_time"])), !fires.is_empty());
                of_group.entry(text(&test["alertname"])).or_default().push(look);
            }
            for (name, mut of_alert) in of_group {
                of_alert.sort_unstable();
                looks.entry(name.to_owned()).or_default().push(of_alert);
            }
        }
    }
    let names: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    assert_eq!(looks.keys().cloned().collect::<BTreeSet<_>>(), names, "what is tested, and what there is");
    for (name, groups) in looks {
        let fires = |look: &(u64, bool)| look.1;
        assert!(groups.iter().flatten().any(fires), "{name} is never seen firing");
        if name == WATCHDOG {
            continue;
        }
        assert!(groups.iter().any(|looks| !looks.iter().any(fires)), "{name} is never seen quiet");
        let resolves = |looks: &Looks| looks.windows(2).any(|pair| pair[0].1 && !pair[1].1);
        assert!(groups.iter().any(resolves), "{name} is never seen resolved");
    }
}

#[test]
fn rules_and_runbooks_name_series_that_exist() {
    let recorded = recorded();
    let mut named = BTreeSet::new();
    let mut sources: Vec<(String, String)> =
        files("prometheus/rules", "yaml").into_iter().map(|path| (path.clone(), read(&path))).collect();
    for path in files("docs/runbooks", "md") {
        sources.push((path.clone(), read(&path)));
    }
    for (path, text) in &sources {
        for name in series_names(text) {
            named.insert(name.clone());
            if name.contains(':') {
                assert!(recorded.contains(&name), "{path}: {name} is not recorded");
                continue;
            }
            let family = ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part));
            let found = FAMILIES.iter().any(|known| known.name == name || Some(known.name) == family);
            assert!(found, "{path}: {name} is no family of telemetry/names.rs");
        }
    }
    assert!(named.len() > 40, "only {} names were found", named.len());
}

#[test]
fn each_alert_has_a_runbook_that_ends_in_something_to_do() {
    let index = read("docs/runbooks/README.md");
    let mut pages: BTreeSet<String> = files("docs/runbooks", "md").into_iter().collect();
    pages.remove("docs/runbooks/README.md");
    for Alert { name, rule } in alerts() {
        let path = format!("docs/runbooks/{}.md", kebab(&name));
        let page = read(&path);
        pages.remove(&path);
        assert!(page.starts_with(&format!("# {name}\n")), "{path} is about something else");
        let severity = text(&rule["labels"]["severity"]);
        let row = format!("| [{name}]({}.md) | {severity} |", kebab(&name));
        assert!(index.contains(&row), "README.md does not list {name} as {severity}");
        if name == WATCHDOG {
            continue;
        }
        let owner = text(&rule["labels"]["owner"]);
        assert!(page.contains(&format!("\n| {severity} |")), "{path}: another severity than {severity}");
        assert!(page.contains(&format!("| {owner} |\n")), "{path}: another owner than {owner}");
        let headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, SECTIONS, "{path}");
        let checks = section(&page, "Quick checks");
        for language in ["promql", "logql"] {
            assert!(checks.contains(&format!("```{language}\n")), "{path}: no quick check in {language}");
        }
        // Something that changes the state of affairs, not only something to look at.
        let action = section(&page, "What to do");
        let acts = ["plugin rollback", "plugin disable", "plugin remove", "spanglass restore", "compose up"];
        let settings = ["Raise", "raise", "Lower", "lower", "Free disk", "Correct", "docker compose"];
        assert!(
            acts.iter().chain(&settings).any(|act| action.contains(act)),
            "{path}: nothing to do but look: {action}"
        );
    }
    // What the runner judges by itself has one, too, as a test of that room sees to.
    for rule in spanglass::alerting::RuleName::ALL {
        pages.remove(&format!("{}.md", rule.runbook().trim_start_matches('/')));
        assert!(index.contains(rule.runbook().trim_start_matches("/docs/runbooks/")), "{}", rule.as_str());
    }
    assert!(pages.is_empty(), "runbooks of no alert: {pages:?}");
}

#[test]
fn the_queries_of_runbooks_are_promql() {
    if !require("promtool") {
        return;
    }
    let mut queries = Vec::new();
    for path in files("docs/runbooks", "md") {
        for query in blocks(&read(&path), "promql").lines() {
            queries.push(format!("  - record: q{}\n    expr: >-\n      {query}\n", queries.len()));
        }
    }
    assert!(queries.len() > 60, "only {} queries were found", queries.len());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queries.yaml");
    std::fs::write(&path, format!("groups:\n- name: queries\n  rules:\n{}", queries.concat())).unwrap();
    said_yes("promtool", &["check", "rules", path.to_str().unwrap()]);
}

#[tokio::test]
async fn the_commands_of_runbooks_exist() {
    let mut asked: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    let mut pages: Vec<String> = files("docs/runbooks", "md").iter().map(|path| read(path)).collect();
    let of_runbooks = pages.len();
    for path in files("dashboards", "json") {
        descriptions(&serde_json::from_str(&read(&path)).unwrap(), &mut pages);
    }
    assert!(pages.len() > of_runbooks + 40, "only {} descriptions were found", pages.len() - of_runbooks);
    for page in pages {
        let block = blocks(&page, "sh");
        let inline = page.split('`').skip(1).step_by(2).filter(|code| !code.contains('\n'));
        for command in block.lines().chain(inline).filter_map(|line| line.strip_prefix("spanglass ")) {
            let words = command.split_whitespace();
            let is_word = |word: &&str| word.chars().all(|character| character.is_ascii_lowercase());
            let subcommand: Vec<String> = words.clone().take_while(is_word).map(str::to_owned).collect();
            let flags = words.filter(|word| word.starts_with('-')).map(str::to_owned);
            asked.entry(subcommand).or_default().extend(flags);
        }
    }
    assert!(asked.len() > 12, "only {} commands were found", asked.len());
    let home = Home::new();
    for (subcommand, flags) in asked {
        let mut arguments: Vec<&str> = subcommand.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = home.run(&arguments).await;
        assert_eq!(help.code, 0, "there is no `spanglass {}`: {}", subcommand.join(" "), help.stderr);
        // An unknown word would be taken for a command that only prints its parent's help.
        let usage = format!("Usage: spanglass {}", subcommand.join(" "));
        assert!(help.stdout.contains(usage.trim_end()), "{usage}: {}", help.stdout);
        for flag in flags {
            let known = help.stdout.split([' ', ',', '\n']).any(|word| word == flag);
            assert!(known, "`spanglass {}` has no {flag}", subcommand.join(" "));
        }
    }
}

#[test]
fn the_links_of_runbooks_lead_somewhere() {
    let mut links = 0;
    for path in files("docs/runbooks", "md") {
        let page = read(&path);
        for target in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.starts_with("http") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { root().join(&path) } else { root().join("docs/runbooks").join(file) };
            assert!(file.exists(), "{path} links to {target}");
            if !anchor.is_empty() {
                let slug =
                    |heading: &str| heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                let text = std::fs::read_to_string(&file).unwrap();
                let found =
                    text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
                assert!(found, "{path} links to {target}, which has no such heading");
            }
        }
    }
    assert!(links > 50, "only {links} links were found");
}

// === What the tests read ===

struct Alert {
    name: String,
    rule: Value,
}

fn rules() -> Vec<Value> {
    let groups =
        files("prometheus/rules", "yaml").into_iter().flat_map(|path| list(&yaml(&path)["groups"]).to_vec());
    groups.flat_map(|group| list(&group["rules"]).to_vec()).collect()
}

/// Several rules may have the name of one alert: windows of the same burn.
fn alerts() -> Vec<Alert> {
    let named = |rule: Value| Some(Alert { name: rule["alert"].as_str()?.to_owned(), rule });
    rules().into_iter().filter_map(named).collect()
}

fn recorded() -> BTreeSet<String> {
    rules().iter().filter_map(|rule| Some(rule["record"].as_str()?.to_owned())).collect()
}

/// Names of spanglass' own metrics and of recorded series. A name that goes on with something else, as a pattern
/// does, is none.
fn series_names(text: &str) -> Vec<String> {
    let part = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    let words = text.split(|character: char| !part(character)).map(|word| word.trim_end_matches(':'));
    let ours = words.filter(|word| {
        let metric =
            word.strip_prefix("spanglass_").is_some_and(|rest| rest != "url" && rest != "plugin_name");
        let recorded = word.contains(":spanglass_") || word.starts_with("spanglass:");
        (metric && !word.ends_with('_')) || recorded
    });
    ours.map(str::to_owned).collect()
}

/// What dashboards say about themselves and their panels.
fn descriptions(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("description").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| descriptions(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| descriptions(item, into)),
        _ => {}
    }
}

/// `PluginErrorRateHigh`, `plugin-error-rate-high`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

/// `1h3m30s`.
fn seconds(duration: &str) -> u64 {
    let (mut total, mut number) = (0, 0);
    for character in duration.chars() {
        match character {
            '0'..='9' => number = number * 10 + u64::from(character) - u64::from('0'),
            unit => {
                let unit = match unit {
                    's' => 1,
                    'm' => 60,
                    'h' => 3600,
                    other => panic!("{other} in {duration}"),
                };
                total += number * unit;
                number = 0;
            }
        }
    }
    total
}

fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    rest.split("\n## ").next().unwrap()
}

/// The lines of all code blocks in a language.
fn blocks(page: &str, language: &str) -> String {
    let opening = format!("```{language}\n");
    let opened = page.split(&opening).skip(1);
    opened.map(|rest| rest.split("```").next().unwrap()).collect()
}

fn files(folder: &str, extension: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let fits = |name: &String| Path::new(name).extension().is_some_and(|found| found == extension);
    let mut paths: Vec<String> = names.filter(fits).map(|name| format!("{folder}/{name}")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} is empty");
    paths
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn run(program: &str, arguments: &[&str]) -> std::process::Child {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What it printed.
fn said_yes(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments).wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
    out.into_owned()
}
