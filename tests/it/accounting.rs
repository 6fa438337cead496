//! produced + recovered = exported + queued + spooled + dropped: at every scrape, whatever the collector does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::metrics::Scrape;
use crate::support::server::{Home, Server};
use crate::support::sink::{Mood, Sink, Transport};
use crate::support::{PATIENCE, mount_tmpfs, require};

const CHATTY: &str = "def invoke(input_data):\n    print('one')\n    print('two')\n    return {}\n";

async fn serve(variables: Vec<(String, String)>) -> Server {
    let mut home = Home::new().plugin("chatty", "", CHATTY);
    home.env.extend(variables);
    home.serve().await
}

#[tokio::test]
async fn the_book_balances_over_http() {
    the_book_balances(Transport::Http).await;
}

#[tokio::test]
async fn the_book_balances_over_grpc() {
    the_book_balances(Transport::Grpc).await;
}

async fn the_book_balances(transport: Transport) {
    if !require("python3") {
        return;
    }
    let mut sink = Sink::start(transport);
    let server = serve(sink.variables()).await;
    let mut book = Book::default();
    for mood in
        [Mood::Well, Mood::Unavailable, Mood::Picky, Mood::Hanging, Mood::Well, Mood::Refusing, Mood::Well]
    {
        println!("{mood:?}");
        sink.set(mood);
        let requests = sink.requests();
        book.calls(&server, 10).await;
        let sent = |_: &Scrape| sink.requests().iter().zip(requests).all(|(now, before)| *now > before);
        book.until(&server, "both signals were sent", sent).await;
    }
    let settled = book.until(&server, "nothing waits", |scrape| waiting(scrape) == 0.0).await;
    for (signal, kept) in [("traces", sink.spans().len()), ("logs", sink.logs().len())] {
        let of = |name: &str, reason: &[(&str, &str)]| {
            settled.sum(&format!("spanglass_telemetry_{name}"), &[&[("signal", signal)], reason].concat())
        };
        assert_eq!(of("exported_total", &[]), kept as f64, "what counts as exported has arrived");
        assert!(of("dropped_total", &[("reason", "rejected")]) >= 1.0, "partial success");
        assert!(of("dropped_total", &[("reason", "refused")]) >= 1.0, "refused for good");
        assert_eq!(of("produced_total", &[]), of("exported_total", &[]) + of("dropped_total", &[]));
        assert!(of("last_export_timestamp_seconds", &[]) > 1.7e9);
    }

    // Killed in the middle, and there again.
    sink.kill();
    book.calls(&server, 20).await;
    let down = book.until(&server, "something waits", |scrape| waiting(scrape) > 0.0).await;
    assert_eq!(
        down.sum("spanglass_telemetry_exported_total", &[]),
        settled.sum("spanglass_telemetry_exported_total", &[])
    );
    sink.reopen().await;
    let up = book.until(&server, "nothing waits again", |scrape| waiting(scrape) == 0.0).await;
    let dropped = |scrape: &Scrape| scrape.sum("spanglass_telemetry_dropped_total", &[]);
    assert_eq!(dropped(&up), dropped(&settled), "a collector that comes back has missed nothing");
    assert_eq!(
        up.sum("spanglass_telemetry_exported_total", &[]),
        (sink.spans().len() + sink.logs().len()) as f64
    );
}

#[tokio::test]
async fn without_an_endpoint_every_family_stands_at_zero() {
    if !require("python3") {
        return;
    }
    let server = serve(Vec::new()).await;
    let mut book = Book::default();
    book.calls(&server, 5).await;
    let scrape = server.client.scrape().await;
    let telemetry: Vec<_> =
        scrape.samples.iter().filter(|sample| sample.name.starts_with("spanglass_telemetry_")).collect();
    assert!(telemetry.len() > 3 * 7, "{}", telemetry.len());
    assert_eq!(telemetry.iter().filter(|sample| sample.value != 0.0).count(), 0, "{telemetry:#?}");
}

#[tokio::test]
async fn a_collector_that_says_nothing_does_not_keep_the_server_from_ending() {
    if !require("python3") {
        return;
    }
    let sink = Sink::start(Transport::Http);
    let mut variables = sink.variables();
    variables.retain(|(name, _)| name != "OTEL_EXPORTER_OTLP_TIMEOUT");
    sink.set(Mood::Hanging);
    let mut server = serve(variables).await;
    for _ in 0..3 {
        // Calls do not wait for it either.
        let start = Instant::now();
        assert_eq!(server.client.invoke("chatty", json!({})).await.status, 200);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    let start = Instant::now();
    assert!(server.stop().await.success());
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
}

/// Calls while nobody listens, an end of the server, and a collector that is there again: whatever the end, each
/// call's trace and last log line arrive, once or (the request in flight) twice.
async fn what_was_spooled_arrives_after_a_restart(end: impl AsyncFn(&mut Server)) {
    if !require("python3") {
        return;
    }
    let mut sink = Sink::start(Transport::Http);
    sink.kill();
    let mut server = serve(sink.variables()).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let reply = server.client.invoke("chatty", json!({})).await;
        ids.push(reply.json()["meta"]["trace_id"].as_str().unwrap().to_owned());
    }
    let before = Book::default().until(&server, "all of it is on disk", spooled).await;
    end(&mut server).await;
    server.restart().await;
    let mut book = Book::default();
    let after = book.scrape(&server).await;
    let recovered = |scrape: &Scrape| scrape.sum("spanglass_telemetry_recovered_total", &[]);
    // What the end itself said may have been added.
    assert!(
        recovered(&after) >= before.sum("spanglass_telemetry_spooled_records", &[]),
        "{}",
        recovered(&after)
    );
    sink.reopen().await;
    let settled = book.until(&server, "nothing waits", |scrape| waiting(scrape) == 0.0).await;
    assert_eq!(settled.sum("spanglass_telemetry_dropped_total", &[]), 0.0);
    let (spans, logs) = (sink.spans(), sink.logs());
    for id in &ids {
        assert!(spans.iter().any(|span| span.trace_id == *id && span.name == "invoke chatty"), "{id}");
        let last = |log: &crate::support::sink::SeenLog| {
            log.trace_id.as_deref() == Some(id) && log.event_name == "invocation.finished"
        };
        assert!(logs.iter().any(last), "{id}");
        let prints = |text: &str| {
            logs.iter().filter(|log| log.trace_id.as_deref() == Some(id) && log.body == text).count()
        };
        assert!(prints("one") >= 1 && prints("two") >= 1, "{id}");
    }
    assert!(logs.iter().any(|log| log.event_name == "telemetry.recovered"));
    assert!(
        !server.home.data_dir().join("spool/traces").read_dir().unwrap().any(|_| true),
        "nothing is left"
    );
}

#[tokio::test]
async fn what_was_spooled_arrives_after_kill_9() {
    what_was_spooled_arrives_after_a_restart(async |server| server.kill()).await;
}

#[tokio::test]
async fn what_was_spooled_arrives_after_a_stop() {
    what_was_spooled_arrives_after_a_restart(async |server| assert!(server.stop().await.success())).await;
}

#[tokio::test]
async fn the_spool_keeps_to_its_bound_and_counts_what_gave_way() {
    if !require("python3") {
        return;
    }
    let mut sink = Sink::start(Transport::Http);
    sink.kill();
    // 8 KiB a line.
    let loud =
        "def invoke(input_data):\n    for _ in range(100):\n        print('x' * 8000)\n    return {}\n";
    let mut home = Home::new().plugin("loud", "", loud);
    home.env.extend(sink.variables());
    home.write("spanglass.yaml", "telemetry: {spool: {max: 1Mi, age: 1h}}\n");
    let server = home.serve().await;
    let mut book = Book::default();
    for _ in 0..10 {
        assert_eq!(server.client.invoke("loud", json!({})).await.status, 200);
        let scrape = book.scrape(&server).await;
        assert!(scrape.sum("spanglass_telemetry_spool_bytes", &[]) <= f64::from(1 << 20));
    }
    let gave_way = [("signal", "logs"), ("reason", "spool_full")];
    let full = book
        .until(&server, "the oldest gave way", |scrape| {
            scrape.sum("spanglass_telemetry_dropped_total", &gave_way) > 0.0
        })
        .await;
    assert_eq!(
        full.sum("spanglass_telemetry_dropped_total", &[("signal", "traces")]),
        0.0,
        "lines push out no span"
    );
    sink.reopen().await;
    let settled = book.until(&server, "nothing waits", |scrape| waiting(scrape) == 0.0).await;
    assert_eq!(
        settled.sum("spanglass_telemetry_exported_total", &[("signal", "logs")]),
        sink.logs().len() as f64
    );
    // The newest are there: the end of the last call.
    let ends = sink.logs().iter().filter(|log| log.event_name == "invocation.finished").count();
    assert!(ends >= 1);
    assert_eq!(sink.spans().iter().filter(|span| span.name == "invoke loud").count(), 10);
}

#[tokio::test]
async fn a_full_disk_under_the_spool_loses_nothing_while_memory_lasts() {
    let mut sink = Sink::start(Transport::Http);
    sink.kill();
    let mut home = Home::new().plugin("chatty", "", CHATTY);
    home.env.extend(sink.variables());
    let Some(_disk) = require("python3").then(|| mount_tmpfs(&home.data_dir().join("spool"), 64)).flatten()
    else {
        return;
    };
    let server = home.serve().await;
    let mut book = Book::default();
    let calls = 60;
    book.calls(&server, calls).await;
    let full = book
        .until(&server, "both memory and disk hold some", |scrape| {
            scrape.sum("spanglass_telemetry_queued_records", &[("signal", "traces")]) > 0.0
                && scrape.sum("spanglass_telemetry_spooled_records", &[("signal", "traces")]) > 0.0
        })
        .await;
    assert_eq!(full.sum("spanglass_telemetry_dropped_total", &[]), 0.0);
    let told = || server.log_lines().iter().any(|line| line["event_name"] == "telemetry.spool_failed");
    crate::support::eventually("it is said", PATIENCE, told).await;
    sink.reopen().await;
    let settled = book.until(&server, "nothing waits", |scrape| waiting(scrape) == 0.0).await;
    assert_eq!(settled.sum("spanglass_telemetry_dropped_total", &[]), 0.0);
    assert_eq!(sink.spans().iter().filter(|span| span.name == "invoke chatty").count(), calls);
    // The next batch finds room.
    book.calls(&server, 1).await;
    let told = || server.log_lines().iter().any(|line| line["event_name"] == "telemetry.spool_recovered");
    crate::support::eventually("the end of it, too", PATIENCE, told).await;
}

/// In memory and on disk.
fn waiting(scrape: &Scrape) -> f64 {
    scrape.sum("spanglass_telemetry_queued_records", &[])
        + scrape.sum("spanglass_telemetry_spooled_records", &[])
}

/// All that is known of the calls so far is on disk.
fn spooled(scrape: &Scrape) -> bool {
    scrape.sum("spanglass_telemetry_queued_records", &[]) == 0.0
        && scrape.sum("spanglass_telemetry_spooled_records", &[]) > 0.0
}

/// Scrapes again and again; each scrape must balance, and no counter may fall.
#[derive(Default)]
struct Book {
    last: BTreeMap<String, f64>,
}

impl Book {
    async fn scrape(&mut self, server: &Server) -> Scrape {
        let scrape = server.client.scrape().await;
        assert_eq!(scrape.unbalanced(), [""; 0]);
        for sample in scrape.samples.iter().filter(|sample| sample.name.ends_with("_total")) {
            let key = format!("{}{:?}", sample.name, sample.labels);
            let before = self.last.insert(key.clone(), sample.value).unwrap_or(0.0);
            assert!(sample.value >= before, "{key} fell from {before} to {}", sample.value);
        }
        scrape
    }

    async fn calls(&mut self, server: &Server, count: usize) {
        for _ in 0..count {
            assert_eq!(server.client.invoke("chatty", json!({})).await.status, 200);
            self.scrape(server).await;
        }
    }

    async fn until(&mut self, server: &Server, what: &str, condition: impl Fn(&Scrape) -> bool) -> Scrape {
        let start = Instant::now();
        loop {
            let scrape = self.scrape(server).await;
            if condition(&scrape) {
                return scrape;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
