//! A running server takes over what changes in its configuration, and keeps the old when that is wrong.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{Home, Server};
use crate::support::{PATIENCE, require};

const SHOW: &str = "def invoke(x, ctx): return [ctx.config.get('level'), ctx.secrets.get('KEY')]\n";
const MANIFEST: &str = "config: {level: info}\nsecrets: [KEY]\n\
                        config_schema: {properties: {level: {enum: [info, debug]}}}";

fn configuration(level: &str, more: &str) -> String {
    format!(
        "plugins:\n  show:\n    config: {{level: {level}}}\n    secrets: {{KEY: {{file: key.txt}}}}\n{more}"
    )
}

async fn until_says(server: &Server, wanted: Value) {
    let start = Instant::now();
    loop {
        let reply = server.client.invoke("show", json!({})).await;
        assert_eq!(reply.status, 200, "no call fails meanwhile: {}", reply.text());
        let data = reply.json()["data"].clone();
        if data == wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{data} instead of {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_metric(server: &Server, name: &str, wanted: f64) {
    let start = Instant::now();
    while server.client.scrape().await.sum(name, &[]) != wanted {
        assert!(start.elapsed() < PATIENCE, "{name} is not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn settings_and_secrets_are_taken_over_and_mistakes_are_not() {
    if !require("python3") {
        return;
    }
    let home = Home::new().plugin("show", MANIFEST, SHOW);
    home.write("key.txt", "first-value\n");
    home.write("spanglass.yaml", configuration("info", ""));
    let server = home.serve().await;
    let good = "spanglass_config_last_reload_successful";
    until_says(&server, json!(["info", "first-value"])).await;
    server.home.write("spanglass.yaml", configuration("debug", ""));
    until_says(&server, json!(["debug", "first-value"])).await;
    // A secret that is changed in its place.
    server.home.write("key.txt", "second-value\n");
    until_says(&server, json!(["debug", "second-value"])).await;
    // Not a valid file, then a valid one that a plugin cannot run with: nothing changes, and it is said.
    for bad in [configuration("info", "listne: x\n"), configuration("loud", "")] {
        server.home.write("spanglass.yaml", &bad);
        until_metric(&server, good, 0.0).await;
        until_says(&server, json!(["debug", "second-value"])).await;
        server.home.write("spanglass.yaml", configuration("debug", ""));
        until_metric(&server, good, 1.0).await;
    }
    // A secret that has gone, or is empty, changes nothing either; it is back with a new value.
    let mut kept = json!(["debug", "second-value"]);
    for (gone, value) in [(true, "third-value"), (false, "fourth-value")] {
        std::fs::remove_file(server.home.path().join("key.txt")).unwrap();
        if !gone {
            server.home.write("key.txt", "\n");
        }
        server.home.write("spanglass.yaml", configuration("info", ""));
        until_metric(&server, good, 0.0).await;
        until_says(&server, kept).await;
        server.home.write("key.txt", value);
        kept = json!(["debug", value]);
        until_says(&server, kept.clone()).await;
        server.home.write("spanglass.yaml", configuration("debug", "x-again: 1\n"));
        until_metric(&server, good, 1.0).await;
    }
    let lines = server.log_lines();
    let failures: Vec<_> = lines.iter().filter(|line| line["event_name"] == "config.load_failed").collect();
    for part in ["`listne`", "config_schema", "the secret KEY is missing"] {
        let told = failures.iter().any(|line| line["body"].as_str().unwrap().contains(part));
        assert!(told, "{part} is not in {failures:#?}");
    }
    assert!(!serde_json::to_string(&lines).unwrap().contains("-value"), "no secret is told");
    // How much is kept of calls concerns all plugins.
    server.home.write("spanglass.yaml", configuration("debug", "telemetry: {capture: {max: 4}}\n"));
    let start = Instant::now();
    loop {
        let called = server.client.invoke("show", json!({"long": "input"})).await.json();
        let id = called["meta"]["invocation_id"].as_str().unwrap();
        if server.client.invocation(id).await["input"] != json!({"long": "input"}) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "inputs are still kept whole");
    }
    // Disabled and enabled by the file.
    let off = "    enabled: false\n";
    server.home.write("spanglass.yaml", configuration("debug", off));
    let start = Instant::now();
    while server.client.invoke("show", json!({})).await.status != 404 {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.home.write("spanglass.yaml", configuration("debug", ""));
    let start = Instant::now();
    while server.client.invoke("show", json!({})).await.status != 200 {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn tokens_and_folders_follow_the_configuration() {
    let home = Home::new();
    home.write("tokens", "a-first-token-of-the-server\n");
    home.write_plugin("more/late", "late", "1.0.0", "", "");
    home.write("spanglass.yaml", "token_file: tokens\n");
    let server = home.serve().await;
    let ask = async |token: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        server.client.send(http::Method::GET, "/v1/plugins", &headers, "").await
    };
    assert_eq!(ask("a-first-token-of-the-server").await.status, 200);
    server.home.write("tokens", "another-token-of-the-server\n");
    let start = Instant::now();
    while ask("another-token-of-the-server").await.status != 200 {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask("a-first-token-of-the-server").await.status, 401);
    server.home.write("spanglass.yaml", "token_file: tokens\nplugins: {late: {path: more/late}}\n");
    let start = Instant::now();
    while ask("another-token-of-the-server").await.json()["items"][0]["name"] != "late" {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
