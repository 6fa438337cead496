//! The runner's own rules: a failing plugin and a silent one are told of, by the server itself, with the times that it has.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::server::{Home, Server};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, require};

const FAILS: &str = "def invoke(input_data):\n    if input_data.get('bad'):\n        raise KeyError('country')\n    return input_data\n";

/// The alert of a rule, once it is so.
async fn alert(server: &Server, rule: &str, state: &str) -> Value {
    let start = Instant::now();
    loop {
        let list = server.client.get("/v1/alerts").await.json();
        let found = list["items"].as_array().unwrap().iter().find(|alert| alert["rule"] == rule);
        if let Some(found) = found.filter(|alert| alert["state"] == state) {
            return found.clone();
        }
        assert!(start.elapsed() < 4 * PATIENCE, "{rule} is never {state}: {list:#}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_failing_and_a_silent_plugin_are_told_of() {
    if !require("python3") {
        return;
    }
    let receiver = Upstream::start().await;
    let home = Home::new().plugin("scores", "", FAILS).plugin("nightly", "expect_every: 1s", FAILS);
    let told = home.path().join("told.json");
    let script = format!("cat >> {}", told.display());
    let configuration =
        |more: &str| format!("notifications:\n  - webhook: {}\n{more}", receiver.url("/hunter2"));
    home.write("spanglass.yaml", configuration(""));
    let mut server = home.serve().await;
    let silent = alert(&server, "PluginSilent", "firing").await;
    assert_eq!((&silent["plugin"], &silent["version"]), (&json!("nightly"), &json!(null)));
    // A target that is added while the server runs is told of what comes then.
    server.home.write("spanglass.yaml", configuration(&format!("  - command: [sh, -c, {script:?}]\n")));
    let start = Instant::now();
    while server.client.get("/v1/alerts").await.json()["notifications"].as_array().unwrap().len() < 2 {
        assert!(start.elapsed() < PATIENCE, "it is never taken over");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // One in four fails.
    for number in 0..24 {
        server.client.invoke("scores", json!({"bad": number % 4 == 0})).await;
    }
    let start = Instant::now();
    let firing = alert(&server, "PluginErrorRatio", "firing").await;
    assert!(start.elapsed().as_secs() < 30, "after {:?}", start.elapsed());
    assert_eq!((&firing["plugin"], &firing["version"]), (&json!("scores"), &json!("1.0.0")));
    assert_eq!(firing["value"], 0.25);
    let summary = firing["summary"].as_str().unwrap();
    assert!(summary.starts_with("6 of 24 calls of scores 1.0.0 failed in the last 1m"), "{summary}");
    let id = firing["example"]["invocation_id"].as_str().unwrap();
    assert_eq!(server.client.invocation(id).await["outcome"], "failed");
    let runbook = server.client.get(firing["runbook"].as_str().unwrap()).await;
    assert_eq!(runbook.status, 200);
    let start = Instant::now();
    let list = loop {
        let list = server.client.get("/v1/alerts").await.json();
        let sent = |target: &Value| target["sent"].as_u64().unwrap();
        let targets = list["notifications"].as_array().unwrap();
        if sent(&targets[0]) == 2 && sent(&targets[1]) == 1 {
            break list;
        }
        assert!(start.elapsed() < PATIENCE, "they are never told: {list:#}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert!(!list.to_string().contains("hunter2"));
    assert_eq!(receiver.take().len(), 2);
    let body: Value = serde_json::from_slice(&std::fs::read(&told).unwrap()).unwrap();
    assert_eq!((&body["status"], &body["alerts"][0]["id"]), (&json!("firing"), &firing["id"]));
    let rules = list["rules"].as_array().unwrap();
    assert_eq!(rules.iter().filter(|rule| rule["state"] == "firing").count(), 2);
    let logged = server.client.get("/v1/logs?q=PluginErrorRatio").await.json();
    assert_eq!(logged["items"][0]["event_name"], "alert.fired");
    // After a restart it still fires, and nobody is told again: the first rounds are over when the silent one is judged.
    server.stop().await;
    server.restart().await;
    alert(&server, "PluginErrorRatio", "firing").await;
    for number in 0..8 {
        server.client.invoke("scores", json!({"bad": number % 2 == 0})).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    alert(&server, "PluginErrorRatio", "firing").await;
    assert_eq!(receiver.take().len(), 0);
}
