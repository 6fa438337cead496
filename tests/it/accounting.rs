//! produced + recovered = exported + queued + spooled + dropped: at every scrape, whatever the collector does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::metrics::Scrape;
use crate::support::server::{Home, Server};
use crate::support::sink::{Mood, Sink, Transport};
use crate::support::{PATIENCE, require};

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
    let settled = book.until(&server, "nothing is queued", |scrape| queued(scrape) == 0.0).await;
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
    let down = book.until(&server, "something waits", |scrape| queued(scrape) > 0.0).await;
    assert_eq!(
        down.sum("spanglass_telemetry_exported_total", &[]),
        settled.sum("spanglass_telemetry_exported_total", &[])
    );
    sink.reopen().await;
    let up = book.until(&server, "nothing is queued again", |scrape| queued(scrape) == 0.0).await;
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

fn queued(scrape: &Scrape) -> f64 {
    scrape.sum("spanglass_telemetry_queued_records", &[])
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
