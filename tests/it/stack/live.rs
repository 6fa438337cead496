//! The stack at work: the runner, a real collector, a real Prometheus and a real Alertmanager with the
//! configurations of the repository. Receivers in this process stand where Tempo and Loki would.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use super::parts::{Alertmanager, Collector, Prometheus, collector_program};
use super::{expressions, queries};
use crate::support::server::{Client, Home, Server};
use crate::support::sink::{Sink, Transport};
use crate::support::{eventually, require};

pub const TOKEN: &str = "a-token-of-this-test";
/// How long something may take that goes through scrapes, rules and groups of alerts.
pub const LONG: Duration = Duration::from_secs(180);

/// Fails as long as there is a file.
const FRAGILE: &str = "import os\n\ndef invoke(input_data):\n    if os.path.exists(input_data['broken']):\n        raise ValueError('broken')\n    return {}\n";
const SOUND: &str = "def invoke(input_data):\n    return {}\n";
const OBJECTIVE: &str = "slo: {availability: 0.999, latency: {target: 0.95, under: 500ms}}";

pub struct Stack {
    pub server: Server,
    pub prometheus: Prometheus,
    _alertmanager: Alertmanager,
    _collector: Collector,
    tempo: Sink,
    pub loki: Sink,
    _folders: Vec<tempfile::TempDir>,
}

impl Stack {
    /// A server with the plugins of `home`. `speed`: by how much time passes faster for Prometheus and Alertmanager.
    pub async fn start(home: Home, layers: &'static [&'static str], speed: u64) -> Option<Stack> {
        Stack::around(home, layers, speed, async |home| home.serve_with(&["--token-file", "token"]).await)
            .await
    }

    /// The demo with its own plugins and traffic.
    async fn demo(layers: &'static [&'static str], speed: u64) -> Option<Stack> {
        let demo = async |home: Home| home.demo_with(&["--token-file", "token"]).await;
        Stack::around(Home::new(), layers, speed, demo).await
    }

    async fn around(
        home: Home,
        layers: &'static [&'static str],
        speed: u64,
        serve: impl AsyncFnOnce(Home) -> Server,
    ) -> Option<Stack> {
        if !(require("python3") && require("prometheus") && require("prometheus-alertmanager")) {
            return None;
        }
        let binary = collector_program()?;
        let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
        let (tempo, loki) = (Sink::start(Transport::Grpc), Sink::start(Transport::Http));
        let collector = Collector::start(&binary, layers, &tempo, &loki, &[]).await;
        let home = collector.behind(home);
        let token_file = home.write("token", TOKEN);
        let server = serve(home).await;
        let alertmanager = Alertmanager::start(folders[0].path(), server.url(), &token_file, speed).await;
        let [metrics, span_metrics] =
            ["METRICS", "SPAN_METRICS"].map(|port| collector.url(port, "").replace("http://", ""));
        let targets = [
            ("spanglass:7717", server.url().trim_start_matches("http://")),
            ("otel-collector:8888", &*metrics),
            ("otel-collector:8889", &*span_metrics),
            ("alertmanager:9093", &alertmanager.address),
            ("http://localhost:7717", server.url()),
        ];
        let prometheus = Prometheus::start(folders[1].path(), &targets, speed).await;
        Some(Stack {
            server,
            prometheus,
            _alertmanager: alertmanager,
            _collector: collector,
            tempo,
            loki,
            _folders: folders,
        })
    }

    /// The alerts that the runner was told of, newest last: (event, name, plugin).
    fn told(&self) -> Vec<(String, String, String)> {
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let lines = self.server.log_lines().into_iter();
        lines
            .map(|line| (text(&line, "event_name"), text(&line, "alert.name"), text(&line, "plugin.name")))
            .filter(|(event, ..)| event == "alert.fired" || event == "alert.resolved")
            .collect()
    }

    async fn until_told(&self, event: &str, alert: &str, plugin: &str) {
        let wanted = (event.to_owned(), alert.to_owned(), plugin.to_owned());
        eventually(&format!("{wanted:?}"), LONG, || self.told().contains(&wanted)).await;
    }
}

/// Calls at a steady pace until it is dropped.
struct Traffic(Arc<AtomicBool>);

impl Traffic {
    fn start(client: &Client, plugins: &[&str], input: &Value, per_s: f64) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        for plugin in plugins {
            let (client, plugin, stop) = (client.clone(), (*plugin).to_owned(), stop.clone());
            let body = json!({ "input": input });
            tokio::spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / per_s));
                while !stop.load(Ordering::Relaxed) {
                    pace.tick().await;
                    call(&client, &plugin, &body).await;
                }
            });
        }
        Traffic(stop)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn call(client: &Client, plugin: &str, body: &Value) -> u16 {
    let token = format!("Bearer {TOKEN}");
    let headers = [("authorization", token.as_str())];
    client.call(plugin, body.clone(), &headers).await.status
}

/// A plugin that begins to fail, with an objective and without: the page and the ticket arrive at the webhook, lead somewhere,
/// and are resolved after it has recovered. Nobody else is accused.
#[tokio::test]
async fn a_failing_plugin_is_told_and_its_recovery_too() {
    let home = Home::new()
        .plugin("promises", OBJECTIVE, FRAGILE)
        .plugin("plain", "circuit_breaker: {min_calls: 1000000}", FRAGILE)
        .plugin("sound", OBJECTIVE, SOUND);
    let Some(stack) = Stack::start(home, &["base.yaml", "tail-sampling.yaml"], 10).await else { return };
    let broken = stack.server.home.path().join("broken");
    let input = json!({ "broken": broken });
    let _traffic = Traffic::start(&stack.server.client, &["promises", "plain", "sound"], &input, 20.0);
    let scraped = "sum by (plugin) (rate(spanglass_invocations_total{outcome=\"replied\"}[1m])) > 0";
    until(LONG, "all three are seen to work", async || stack.prometheus.query(scraped).await.len() == 3)
        .await;
    let accused =
        || stack.told().into_iter().filter(|(_, alert, _)| alert.starts_with("Plugin")).collect::<Vec<_>>();
    assert_eq!(accused(), []);

    std::fs::write(&broken, "").unwrap();
    let begun = Instant::now();
    stack.until_told("alert.fired", "PluginErrorBudgetBurnFast", "promises").await;
    stack.until_told("alert.fired", "PluginErrorRateHigh", "plain").await;
    println!("fault to webhook: {:?}, with time passing 10 times faster", begun.elapsed());
    let lines = stack.server.log_lines();
    let page = lines.iter().find(|line| line["alert.name"] == "PluginErrorBudgetBurnFast").unwrap();
    assert_eq!((&page["alert.severity"], &page["severity_text"]), (&json!("page"), &json!("ERROR")));
    // The built-in rules tell, too; they know the runner's own pages only.
    let notified =
        |line: &&Value| line["event_name"] == "alert.fired" && !line["alert.dashboard_url"].is_null();
    for line in lines.iter().filter(notified) {
        links_lead_somewhere(&stack.server, line).await;
    }

    std::fs::remove_file(&broken).unwrap();
    stack.until_told("alert.resolved", "PluginErrorBudgetBurnFast", "promises").await;
    stack.until_told("alert.resolved", "PluginErrorRateHigh", "plain").await;
    let accused: BTreeSet<String> = stack.told().into_iter().map(|(_, _, plugin)| plugin).collect();
    assert!(!accused.contains("sound"), "{:?}", stack.told());
    // What the runner was told is there to be looked for.
    let found = stack
        .server
        .client
        .send(
            Method::GET,
            "/v1/logs?q=PluginErrorRateHigh",
            &[("authorization", &format!("Bearer {TOKEN}"))],
            "",
        )
        .await
        .json();
    assert!(!found["items"].as_array().unwrap().is_empty(), "{found:#}");
}

/// The runbook is served by the runner itself, and the dashboard is one of ours, with variables that it has.
pub async fn links_lead_somewhere(server: &Server, alert: &Value) {
    let runbook = alert["alert.runbook_url"].as_str().unwrap();
    let path = runbook.strip_prefix(server.url()).unwrap_or_else(|| panic!("{runbook}"));
    let page = server.client.get(path).await;
    assert_eq!(page.status, 200, "{runbook}");
    assert!(page.text().contains("## What to do"), "{runbook}");
    let url = reqwest::Url::parse(alert["alert.dashboard_url"].as_str().unwrap()).unwrap();
    let dashboard = url.path().strip_prefix("/d/").unwrap();
    let dashboard = super::parts::root().join(format!("dashboards/{dashboard}.json"));
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(dashboard).unwrap()).unwrap();
    let variables: Vec<String> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| format!("var-{}", variable["name"].as_str().unwrap()))
        .collect();
    for (key, value) in url.query_pairs() {
        assert!(
            variables.iter().any(|variable| *variable == key) && !value.is_empty(),
            "{url}: {variables:?}"
        );
    }
}

/// Every exemplar that Prometheus has is a way to a trace: the collector must have kept it, although it samples.
#[tokio::test]
async fn exemplars_lead_to_traces_that_the_collector_kept() {
    let slow = "import time\n\ndef invoke(input_data):\n    time.sleep(0.6)\n    return {}\n";
    let home = Home::new().plugin("sound", "", SOUND).plugin("slow", "", slow).plugin("fragile", "", FRAGILE);
    let Some(stack) = Stack::start(home, &["base.yaml", "tail-sampling.yaml"], 10).await else { return };
    let broken = stack.server.home.write("broken", "");
    let quick = Traffic::start(&stack.server.client, &["sound"], &json!({}), 100.0);
    let rare = Traffic::start(&stack.server.client, &["slow", "fragile"], &json!({ "broken": broken }), 2.0);
    // One a bucket and 10 s: several rounds of them.
    let mut exemplars = BTreeSet::new();
    until(LONG, "Prometheus has many exemplars", async || {
        exemplars = stack.prometheus.exemplars("spanglass_invocation_duration_seconds_bucket").await;
        exemplars.len() >= 24
    })
    .await;
    drop((quick, rare));
    exemplars.extend(stack.prometheus.exemplars("spanglass_invocation_duration_seconds_bucket").await);
    let calls = stack.server.client.scrape().await.sum("spanglass_invocations_total", &[]);
    let kept = || -> BTreeSet<String> {
        stack
            .tempo
            .spans()
            .into_iter()
            .filter(|span| span.name.starts_with("invoke "))
            .map(|span| span.trace_id)
            .collect()
    };
    eventually("the last traces are decided", LONG, || {
        let kept = kept();
        exemplars.iter().filter(|id| kept.contains(*id)).count() * 100 >= exemplars.len() * 95
    })
    .await;
    let kept = kept();
    println!("{} exemplars, {} of {calls} traces kept", exemplars.len(), kept.len());
    assert!((kept.len() as f64) < calls / 2.0, "it does sample: {} of {calls}", kept.len());
}

/// One call, one trace, one last line, one row: by id, behind a real collector that keeps everything.
#[tokio::test]
async fn calls_root_spans_and_last_lines_agree_one_to_one() {
    let home = Home::new().plugin("sound", "", SOUND).plugin("fragile", "", FRAGILE);
    let Some(stack) = Stack::start(home, &["base.yaml"], 10).await else { return };
    let broken = stack.server.home.write("broken", "");
    let client = stack.server.client.clone();
    for _ in 0..100 {
        assert_eq!(call(&client, "sound", &json!({ "input": {} })).await, 200);
        // Later on by its circuit.
        assert!(call(&client, "fragile", &json!({ "input": { "broken": broken } })).await >= 502);
        assert_eq!(call(&client, "nobody", &json!({ "input": {} })).await, 404);
        assert_eq!(call(&client, "sound", &json!({ "input": [] })).await, 422);
    }
    let roots = || -> Vec<String> {
        let spans = stack.tempo.spans().into_iter().filter(|span| span.name.starts_with("invoke "));
        spans.map(|span| span.attributes["spanglass.invocation.id"].as_str().unwrap().to_owned()).collect()
    };
    let lines = || -> Vec<String> {
        let logs = stack.loki.logs().into_iter().filter(|log| log.event_name == "invocation.finished");
        logs.map(|log| log.attributes["invocation_id"].as_str().unwrap().to_owned()).collect()
    };
    eventually("all have arrived", LONG, || roots().len() >= 400 && lines().len() >= 400).await;
    let counted = client.scrape().await.sum("spanglass_invocations_total", &[]);
    let distinct = |ids: Vec<String>| ids.into_iter().collect::<BTreeSet<_>>();
    let (roots, lines) = (roots(), lines());
    assert_eq!((counted, roots.len(), lines.len()), (400.0, 400, 400));
    assert_eq!(distinct(roots).len(), 400);
    let by_line = distinct(lines);
    assert_eq!(by_line.len(), 400);
    // And what Prometheus makes of both ways is the same number.
    let spans = "sum(traces_span_metrics_calls_total{span_name=~\"invoke .+\"})";
    until(LONG, "both ways agree", async || {
        let scraped = stack.prometheus.sum("sum(spanglass_invocations_total)").await;
        (scraped, stack.prometheus.sum(spans).await) == (400.0, 400.0)
    })
    .await;
}

/// Every query of every dashboard runs on this Prometheus and returns something, or says why it does not as long as all
/// is well; every name in dashboards and rules is that of a series that somebody exposes.
#[tokio::test]
async fn every_query_of_the_dashboards_has_data() {
    let Some(stack) = Stack::demo(&["base.yaml", "tail-sampling.yaml"], 5).await else { return };
    let queries: Vec<_> =
        queries::all().into_iter().filter(|query| query.language == queries::Language::PromQl).collect();
    assert!(queries.len() > 100, "{}", queries.len());
    let mut without: Vec<&queries::Query> = queries.iter().collect();
    let start = Instant::now();
    // Also those that are empty when all is well must run.
    while !without.is_empty() && start.elapsed() < LONG {
        let mut still = Vec::new();
        for query in without {
            let empty = stack.prometheus.query(&query.expr).await.is_empty();
            if empty && query.empty_when_healthy.is_none() {
                still.push(query);
            }
        }
        without = still;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let without: Vec<String> =
        without.iter().map(|query| format!("{}: {}", query.place(), query.expr)).collect();
    assert!(without.is_empty(), "no data after {LONG:?}: {without:#?}");

    let mut asked: BTreeSet<String> = BTreeSet::new();
    for expression in queries.iter().map(|query| query.expr.clone()).chain(rules()) {
        let names = queries::selectors(&expression).into_iter().map(|selector| selector.name.to_owned());
        // The range of a subquery, `[30d:5m]`, looks like a name.
        asked.extend(names.filter(|name| !name.starts_with(|first: char| first.is_ascii_digit())));
    }
    let mut unknown = asked.clone();
    while !unknown.is_empty() && start.elapsed() < 2 * LONG {
        let exposed = stack.prometheus.get("/api/v1/label/__name__/values", &[]).await;
        let exposed: BTreeSet<&str> =
            exposed["data"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        unknown.retain(|name| !exposed.contains(name.as_str()) && !BEGIN_LATER.contains(&name.as_str()));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(unknown.is_empty(), "nobody exposes {unknown:?}");
    let forgotten: Vec<_> = BEGIN_LATER.iter().filter(|name| !asked.contains(**name)).collect();
    assert!(forgotten.is_empty(), "nobody asks for {forgotten:?}");
}

fn rules() -> impl Iterator<Item = String> {
    expressions::rules().into_iter().map(|rule| rule.expr)
}

/// Series that dashboards and rules ask for, and that begin with the first event of their kind: a queue that was full, a
/// limit of a plugin, a log line that could not be written, the end of an instance, fields that can be judged. Other tests see each of ours.
const BEGIN_LATER: &[&str] = &[
    "otelcol_exporter_enqueue_failed_log_records_total",
    "otelcol_exporter_enqueue_failed_spans_total",
    "plugin_version:spanglass_invocations_idle:increase1d",
    "plugin_version_field:spanglass_field_new_category_ratio:median6h",
    "plugin_version_field:spanglass_field_null_ratio:median6h",
    "spanglass_drift_baseline_timestamp_seconds",
    "spanglass_drift_js",
    "spanglass_drift_psi",
    "spanglass_drift_pvalue",
    "spanglass_field_new_category_ratio",
    "spanglass_field_null_ratio",
    "spanglass_guest_dropped_total",
    "spanglass_instance_exits_total",
    "spanglass_log_lines_dropped_total",
];

pub async fn until(within: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
