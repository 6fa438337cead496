//! The collector as deployed: the files of otel-collector/, the real program behind the real runner, and a backend
//! that can fail. Metrics that rules and dashboards use are asked of a live one.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use super::parts::{Collector, collector_program, configured, root};
use crate::support::PATIENCE;
use crate::support::metrics::Scrape;
use crate::support::server::{Client, Home, Server};
use crate::support::sink::{Mood, SeenSpan, Sink, Transport};

const BASE: &[&str] = &["base.yaml"];
const SAMPLED: &[&str] = &["base.yaml", "tail-sampling.yaml"];

const PLUGIN: &str = r#"
def invoke(input_data, ctx):
    what = input_data.get("what")
    if what == "fail":
        raise RuntimeError("asked to fail")
    if what == "much":
        for number in range(250):
            with ctx.span("step"):
                print(number)
        raise RuntimeError("a trace that sampling keeps")
    if what == "leak":
        attributes = {"http.request.header.authorization": "Bearer aaaaaaaaaaaaaaaaaaaaaa1",
                      "note": "sent authorization: Bearer aaaaaaaaaaaaaaaaaaaaaa2 to them",
                      "long": "x" * 8000}
        with ctx.span("leaks", **attributes):
            print("authorization: Bearer aaaaaaaaaaaaaaaaaaaaaa3")
            ctx.log.info("calling", header="Bearer aaaaaaaaaaaaaaaaaaaaaa4", cookie="aaaaaaaaaaaaaaaaaaaaaa5")
        raise RuntimeError("401 for Bearer aaaaaaaaaaaaaaaaaaaaaa6")
    return {}
"#;

/// How many calls span metrics know of, whatever became of them.
fn counted(scrape: &Scrape) -> f64 {
    let calls = scrape.of("traces_span_metrics_calls_total", &[]);
    calls.filter(|sample| sample.labels["span_name"].starts_with("invoke ")).map(|sample| sample.value).sum()
}

fn roots(spans: &[SeenSpan]) -> BTreeSet<String> {
    let roots = spans.iter().filter(|span| span.name.starts_with("invoke "));
    roots.map(|span| span.trace_id.clone()).collect()
}

fn home() -> Home {
    Home::new().plugin("under-test", "", PLUGIN)
}

/// The trace ids of so many calls.
async fn calls(server: &Server, count: usize, what: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(server.client.invoke("under-test", json!({"what": what})).await.traceparent().0);
    }
    ids
}

#[test]
fn every_layering_is_valid() {
    let Some(binary) = collector_program() else { return };
    for layers in [BASE, SAMPLED] {
        let mut command = Command::new(&binary);
        command.arg("validate");
        configured(&mut command, layers);
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{layers:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[tokio::test]
async fn sampling_keeps_errors_and_exemplars_and_span_metrics_count_every_call() {
    let Some(binary) = collector_program() else { return };
    let (traces, logs) = (Sink::start(Transport::Grpc), Sink::start(Transport::Http));
    // Nothing of the ordinary ones, so that what is kept was kept for a reason.
    let changes = [("COLLECTOR_BASELINE_PERCENT", "0"), ("COLLECTOR_SLOW_MS", "60000")];
    let collector = Collector::start(&binary, SAMPLED, &traces, &logs, &changes).await;
    let server = collector.behind(home()).serve().await;

    let ordinary = calls(&server, 40, "").await;
    let failed = calls(&server, 10, "fail").await;
    let metrics = collector.until("SPAN_METRICS", "calls in span metrics", 50.0, counted).await;

    let name = "traces_span_metrics_calls_total";
    let root = [("span_name", "invoke under-test"), ("spanglass_plugin_name", "under-test")];
    let of = |more: &[(&str, &str)]| metrics.sum(name, &[&root[..], more].concat());
    assert_eq!(of(&[("service_name", "spanglass"), ("error_type", "plugin_error")]), 10.0);
    assert_eq!(of(&[("status_code", "STATUS_CODE_UNSET")]), 40.0);
    let buckets = metrics.sum("traces_span_metrics_duration_seconds_count", &root);
    assert_eq!(buckets, 50.0);
    // As many as the runner itself counts: the cross-check that an alert makes.
    let own = server.client.scrape().await.sum("spanglass_invocations_total", &[("plugin", "under-test")]);
    assert_eq!(own, 50.0);

    // All are decided about, and then sent or gone.
    let decided = "otelcol_processor_tail_sampling_global_count_traces_sampled_total";
    let of_all = |scrape: &Scrape| {
        let seen = scrape.sum("otelcol_processor_tail_sampling_new_trace_id_received_total", &[]);
        seen - scrape.sum(decided, &[])
    };
    collector.until("METRICS", "traces that wait", 0.0, of_all).await;
    let queue = |scrape: &Scrape| scrape.sum("otelcol_exporter_queue_size", &[]);
    collector.until("METRICS", "queued", 0.0, queue).await;
    traces.spans_of(failed.last().unwrap(), 3).await;

    let exemplars: BTreeSet<String> = server
        .client
        .scrape()
        .await
        .samples
        .iter()
        .filter(|sample| sample.name == "spanglass_invocation_duration_seconds_bucket")
        .filter_map(|sample| Some(sample.exemplar.as_ref()?.labels["trace_id"].clone()))
        .collect();
    let kept = roots(&traces.spans());
    let errors: BTreeSet<String> = failed.into_iter().collect();
    assert!(errors.is_subset(&kept), "failed, and not kept: {:?}", errors.difference(&kept));
    assert!(!exemplars.is_empty() && exemplars.is_subset(&kept), "{exemplars:?} of {kept:?}");
    // `sampling.keep` is on those that were exemplars at some time; nothing else is a reason here.
    let spans = traces.spans();
    for trace in kept.difference(&errors) {
        let root = spans.iter().find(|span| span.trace_id == *trace && span.name.starts_with("invoke "));
        assert_eq!(root.unwrap().attributes["sampling.keep"], true, "{trace}");
    }
    let ordinary: BTreeSet<String> = ordinary.into_iter().collect();
    assert!(ordinary.intersection(&kept).count() < 40, "nothing was sampled away");
    // A trace is kept whole.
    for trace in &kept {
        assert!(spans.iter().filter(|span| span.trace_id == *trace).count() >= 3, "{trace} is not whole");
    }
}

#[tokio::test]
async fn slow_calls_and_a_share_of_the_rest_are_kept() {
    let Some(binary) = collector_program() else { return };
    let (traces, logs) = (Sink::start(Transport::Grpc), Sink::start(Transport::Http));
    // Every call is slow by this measure.
    let changes = [("COLLECTOR_BASELINE_PERCENT", "0"), ("COLLECTOR_SLOW_MS", "0")];
    let collector = Collector::start(&binary, SAMPLED, &traces, &logs, &changes).await;
    let server = collector.behind(home()).serve().await;
    for trace in calls(&server, 10, "").await {
        traces.spans_of(&trace, 3).await;
    }

    let changes = [("COLLECTOR_BASELINE_PERCENT", "100"), ("COLLECTOR_SLOW_MS", "60000")];
    let collector = Collector::start(&binary, SAMPLED, &traces, &logs, &changes).await;
    let server = collector.behind(home()).serve().await;
    for trace in calls(&server, 10, "").await {
        traces.spans_of(&trace, 3).await;
    }
}

/// More traces than may wait for a decision: the intake waits, and none is dropped.
#[tokio::test]
async fn more_traces_than_tail_sampling_has_room_for_are_decided_about_one_after_the_other() {
    let Some(binary) = collector_program() else { return };
    let (traces, logs) = (Sink::start(Transport::Grpc), Sink::start(Transport::Http));
    let changes = [
        ("COLLECTOR_BASELINE_PERCENT", "0"),
        ("COLLECTOR_SLOW_MS", "60000"),
        ("COLLECTOR_SAMPLING_TRACES", "40"),
    ];
    let collector = Collector::start(&binary, SAMPLED, &traces, &logs, &changes).await;
    // A request waits for several decisions, as it never would with the room of a deployment.
    let server = collector.behind(home()).env("OTEL_EXPORTER_OTLP_TIMEOUT", "30000").serve().await;
    let failed: BTreeSet<String> = calls(&server, 150, "fail").await.into_iter().collect();

    let start = Instant::now();
    while !failed.is_subset(&roots(&traces.spans())) {
        let missing = failed.len() - roots(&traces.spans()).len();
        assert!(start.elapsed() < PATIENCE, "{missing} traces with an error were not kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let early = "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total";
    assert_eq!(collector.scrape("METRICS").await.sum(early, &[]), 0.0);
}

#[tokio::test]
async fn credentials_do_not_leave_the_collector() {
    let Some(binary) = collector_program() else { return };
    let (traces, logs) = (Sink::start(Transport::Grpc), Sink::start(Transport::Http));
    let collector = Collector::start(&binary, BASE, &traces, &logs, &[]).await;
    let server = collector.behind(home()).serve().await;
    let trace = calls(&server, 1, "leak").await.remove(0);

    // root, validate?, attempt, execute, leaks: those that matter are among the first that come together.
    let start = Instant::now();
    let spans = loop {
        let spans = traces.spans_of(&trace, 3).await;
        if spans.iter().any(|span| span.name == "leaks") && spans.iter().any(|span| span.parent_id.is_none())
        {
            break spans;
        }
        assert!(start.elapsed() < PATIENCE, "{spans:#?}");
    };
    let lines = logs.logs_of(&trace, 3).await;

    let seen = format!("{spans:?} {lines:?}");
    let through: Vec<&str> =
        seen.match_indices("aaaaaaaa").map(|(at, _)| &seen[at.saturating_sub(200)..at + 24]).collect();
    assert!(through.is_empty(), "credentials came through: {through:#?}");
    let leaks = spans.iter().find(|span| span.name == "leaks").unwrap();
    assert!(!leaks.attributes.contains_key("http.request.header.authorization"));
    assert_eq!(leaks.attributes["note"], "sent authorization: ***");
    assert_eq!(leaks.attributes["long"].as_str().unwrap().len(), 4096);
    assert!(lines.iter().any(|line| line.body == "authorization: ***"), "{lines:#?}");
    let logged = lines.iter().find(|line| line.body == "calling").unwrap();
    assert_eq!(logged.attributes["header"], "Bearer ***");
    assert!(!logged.attributes.contains_key("cookie"));
    // Loki finds events by this attribute.
    assert!(
        lines.iter().any(|line| line.attributes.get("event_name") == Some(&json!("invocation.finished")))
    );
}

#[tokio::test]
async fn kill_9_of_the_collector_while_the_backends_are_down_loses_nothing() {
    let Some(binary) = collector_program() else { return };
    let (traces, logs) = (Sink::start(Transport::Grpc), Sink::start(Transport::Http));
    traces.set(Mood::Unavailable);
    logs.set(Mood::Unavailable);
    let mut collector = Collector::start(&binary, BASE, &traces, &logs, &[]).await;
    let mut server = collector.behind(home()).serve().await;
    let ids = calls(&server, 30, "").await;
    collector.until("SPAN_METRICS", "calls in span metrics", 30.0, counted).await;
    // The runner has handed all of it over, so that only the collector has it.
    let start = Instant::now();
    loop {
        let scrape = server.client.scrape().await;
        let of = |name| ["traces", "logs"].map(|signal| scrape.sum(name, &[("signal", signal)]));
        if of("spanglass_telemetry_exported_total") == of("spanglass_telemetry_produced_total") {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{:?}", scrape.unbalanced());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.kill();
    collector.kill();
    assert!(traces.spans().is_empty() && logs.logs().is_empty());

    traces.set(Mood::Well);
    logs.set(Mood::Well);
    collector.run().await;
    for trace in &ids {
        traces.spans_of(trace, 3).await;
        logs.logs_of(trace, 1).await;
    }
    let queue = |scrape: &Scrape| scrape.sum("otelcol_exporter_queue_size", &[]);
    collector.until("METRICS", "queued", 0.0, queue).await;
    let spans = traces.spans();
    let distinct: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(roots(&spans).len(), 30);
    assert_eq!(distinct.len(), spans.len(), "spans came twice");
}

#[tokio::test]
async fn what_the_memory_limiter_refuses_comes_again() {
    let Some(binary) = collector_program() else { return };
    let (traces, logs) = (Sink::start(Transport::Grpc), Sink::start(Transport::Http));
    // Less than the program itself needs: it refuses everything.
    let full = [("COLLECTOR_MEMORY_MIB", "2"), ("COLLECTOR_MEMORY_SPIKE_MIB", "1")];
    let mut collector = Collector::start(&binary, BASE, &traces, &logs, &full).await;
    let server = collector.behind(home()).serve().await;
    // Its first look at its memory comes a second after its start.
    let refused = |scrape: &Scrape| scrape.sum("otelcol_receiver_refused_spans_total", &[]);
    let mut ids = Vec::new();
    let start = Instant::now();
    while refused(&collector.scrape("METRICS").await) == 0.0 {
        ids.extend(calls(&server, 1, "").await);
        assert!(start.elapsed() < PATIENCE, "nothing was refused");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ids.extend(calls(&server, 5, "").await);
    let held = server.client.scrape().await;
    assert!(held.sum("spanglass_telemetry_dropped_total", &[]) == 0.0);

    collector.kill();
    collector.variables.remove("COLLECTOR_MEMORY_MIB");
    collector.variables.remove("COLLECTOR_MEMORY_SPIKE_MIB");
    collector.run().await;
    for trace in &ids {
        traces.spans_of(trace, 3).await;
        logs.logs_of(trace, 1).await;
    }
    let after = server.client.scrape().await;
    assert_eq!(after.sum("spanglass_telemetry_dropped_total", &[]), 0.0);
}

/// A name that no collector exposes is an alert that never fires. Those that only come to be with the first failure
/// are made to.
#[tokio::test]
async fn what_rules_and_dashboards_ask_of_the_collector_exists() {
    let Some(binary) = collector_program() else { return };
    let (traces, logs) = (Sink::start(Transport::Grpc), Sink::start(Transport::Http));
    // Full after ten calls that say much.
    let small = [("COLLECTOR_QUEUE_RECORDS", "2048")];
    let collector = Collector::start(&binary, SAMPLED, &traces, &logs, &small).await;
    let server = collector.behind(home()).serve().await;

    let wanted = asked();
    assert!(wanted.iter().any(|name| name.starts_with("otelcol_")), "nobody asks: {wanted:?}");
    // What is turned away; then what a backend refuses for good; then what arrives.
    for (mood, first) in
        [(Mood::Unavailable, "enqueue_failed"), (Mood::Refusing, "send_failed"), (Mood::Well, "")]
    {
        traces.set(mood);
        logs.set(mood);
        let start = Instant::now();
        loop {
            calls(&server, 5, "much").await;
            let mut live: BTreeSet<String> = BTreeSet::new();
            for port in ["METRICS", "SPAN_METRICS"] {
                live.extend(collector.scrape(port).await.samples.into_iter().map(|sample| sample.name));
            }
            let missing: Vec<_> = wanted.difference(&live).filter(|name| name.contains(first)).collect();
            if missing.is_empty() {
                break;
            }
            assert!(start.elapsed() < PATIENCE * 2, "{mood:?}: no such metric: {missing:?}");
        }
    }
}

/// The collector's metrics that rules and dashboards name.
fn asked() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["prometheus/rules", "dashboards"] {
        for file in std::fs::read_dir(root().join(folder)).unwrap().flatten() {
            let path = file.path();
            if !path.extension().is_some_and(|end| end == "yaml" || end == "json") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let ours = words.filter(|word| {
                let collector = word.starts_with("otelcol_") || word.starts_with("traces_span_metrics_");
                collector && !word.ends_with('_')
            });
            names.extend(ours.map(str::to_owned));
        }
    }
    names
}

/// What a person downloads is what a collector takes: the kept trace is sent by hand and arrives whole.
#[tokio::test]
async fn an_exported_trace_is_taken_by_a_collector() {
    let Some(binary) = collector_program() else { return };
    let (traces, logs) = (Sink::start(Transport::Grpc), Sink::start(Transport::Http));
    let collector = Collector::start(&binary, BASE, &traces, &logs, &[]).await;
    let server = home().serve().await;
    let id = calls(&server, 1, "fail").await.remove(0);
    let kept = server.client.trace(&id).await;
    let exported = server.client.get(&format!("/v1/traces/{id}/otlp")).await;
    assert!(exported.header("content-disposition").unwrap().contains(&format!("trace-{id}.json")));

    let taken = Client::new(&collector.url("HTTP", ""))
        .send(Method::POST, "/v1/traces", &[("content-type", "application/json")], exported.body)
        .await;
    assert_eq!(
        (taken.status, taken.json()["partialSuccess"]["rejectedSpans"].as_u64()),
        (200, None),
        "{taken:?}"
    );
    let spans = kept["spans"].as_array().unwrap();
    let seen = traces.spans_of(&id, spans.len()).await;
    for span in spans {
        let seen = seen.iter().find(|seen| seen.span_id == span["span_id"]).unwrap();
        assert_eq!(
            (&seen.name[..], seen.parent_id.as_deref()),
            (span["name"].as_str().unwrap(), span["parent_span_id"].as_str())
        );
        assert_eq!(seen.error.is_some(), span["status"] == "error", "{}", seen.name);
        let kept = span["attributes"].as_object().unwrap();
        assert!(kept.keys().all(|key| seen.attributes.contains_key(key)), "{seen:?}\n{kept:?}");
    }
}
