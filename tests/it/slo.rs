//! What a manifest promises is counted, call by call, and vanishes with the version.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::support::metrics::Scrape;
use crate::support::server::{Home, Server};
use crate::support::{PATIENCE, require};

/// Does what the input says: replies, fails, or takes too long.
const OBEDIENT: &str = "import time

def invoke(input_data):
    time.sleep(input_data.get('seconds', 0))
    if input_data.get('fail'):
        raise ValueError('as asked')
    return {}
";
/// Long enough for a cold start of Python on a slow machine.
const GENEROUS: &str = "slo: {availability: 0.999, latency: {target: 0.95, under: 60s}}";
/// Too short for any call of Python.
const STRICT: &str = "slo: {latency: {target: 0.5, under: 50us}}";

type Events = [Option<f64>; 4];

fn events(scrape: &Scrape, plugin: &str) -> Events {
    [("availability", "good"), ("availability", "bad"), ("latency", "good"), ("latency", "bad")].map(
        |(slo, result)| {
            let labels = [("plugin", plugin), ("version", "1.0.0"), ("slo", slo), ("result", result)];
            scrape.of("spanglass_slo_events_total", &labels).next().map(|sample| sample.value)
        },
    )
}

fn objective(scrape: &Scrape, plugin: &str, slo: &str) -> Option<f64> {
    let labels = [("plugin", plugin), ("version", "1.0.0"), ("slo", slo)];
    scrape.of("spanglass_slo_objective_ratio", &labels).next().map(|sample| sample.value)
}

async fn serve() -> Server {
    let input = "input: {seconds: number?, fail: boolean?}\n";
    Home::new()
        .plugin("generous", &format!("{input}{GENEROUS}"), OBEDIENT)
        .plugin("strict", &format!("{input}{STRICT}"), OBEDIENT)
        .plugin("silent", input, OBEDIENT)
        .serve()
        .await
}

#[tokio::test]
async fn promises_are_counted_by_their_endings() {
    if !require("python3") {
        return;
    }
    let server = serve().await;
    let before = server.client.scrape().await;
    assert_eq!(events(&before, "generous"), [Some(0.0); 4], "at 0 from the registration on");
    assert_eq!(events(&before, "strict"), [None, None, Some(0.0), Some(0.0)]);
    assert_eq!(events(&before, "silent"), [None; 4]);
    assert_eq!(objective(&before, "generous", "availability"), Some(0.999));
    assert_eq!(objective(&before, "generous", "latency"), Some(0.95));
    assert_eq!(objective(&before, "strict", "availability"), None);
    assert_eq!(objective(&before, "strict", "latency"), Some(0.5));

    let shown = server.client.get("/v1/plugins/generous").await.json();
    let promised =
        json!({"window": "30d", "availability": 0.999, "latency": {"target": 0.95, "under": "1m"}});
    assert_eq!(shown["slo"], promised);
    assert!(server.client.get("/v1/plugins/silent").await.json()["slo"].is_null());

    for plugin in ["generous", "strict", "silent"] {
        // A reply, the plugin's failure, the caller's.
        for (input, status) in [(json!({}), 200), (json!({"fail": true}), 502), (json!({"fail": 1}), 422)] {
            let reply = server.client.invoke(plugin, input).await;
            assert_eq!(reply.status, status, "{}", reply.text());
        }
    }
    let after = server.client.scrape().await;
    assert_eq!(events(&after, "generous"), [Some(1.0), Some(1.0), Some(1.0), Some(0.0)]);
    assert_eq!(events(&after, "strict"), [None, None, Some(0.0), Some(1.0)]);
    assert_eq!(events(&after, "silent"), [None; 4]);

    // Callers who leave.
    for plugin in ["generous", "strict"] {
        let client = server.client.clone();
        let waiting = tokio::spawn(async move { client.invoke(plugin, json!({"seconds": 30})).await });
        // Into its attempt: only then does a drop count.
        let busy = [("plugin", plugin), ("state", "busy")];
        until(&server, "the call runs", |scrape| scrape.sum("spanglass_instances", &busy) == 1.0).await;
        waiting.abort();
        let active = [("plugin", plugin)];
        let none = |scrape: &Scrape| scrape.sum("spanglass_active_invocations", &active) == 0.0;
        until(&server, "it was dropped", none).await;
    }
    let after = server.client.scrape().await;
    assert_eq!(
        events(&after, "generous"),
        [Some(1.0), Some(1.0), Some(1.0), Some(0.0)],
        "he did not wait long"
    );
    assert_eq!(events(&after, "strict"), [None, None, Some(0.0), Some(2.0)], "he waited too long");

    // An asynchronous call counts by its delivery.
    let path = "/v1/plugins/generous/invoke?mode=async";
    let accepted = server.client.send(Method::POST, path, &[], r#"{"input": {}}"#).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    until(&server, "it is counted", |scrape| events(scrape, "generous")[2] == Some(2.0)).await;

    assert_eq!(server.client.delete("/v1/plugins/generous/versions/1.0.0").await.status, 204);
    let gone = |scrape: &Scrape| objective(scrape, "generous", "latency").is_none();
    let last = until(&server, "its gauges vanish", gone).await;
    assert_eq!(objective(&last, "generous", "availability"), None);
    assert_eq!(events(&last, "generous"), [Some(2.0), Some(1.0), Some(2.0), Some(0.0)], "counters stay");
    assert_eq!(objective(&last, "strict", "latency"), Some(0.5), "others keep theirs");
}

async fn until(server: &Server, what: &str, done: impl Fn(&Scrape) -> bool) -> Scrape {
    let start = Instant::now();
    loop {
        let scrape = server.client.scrape().await;
        if done(&scrape) {
            return scrape;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: it did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
