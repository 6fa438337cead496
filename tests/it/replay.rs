//! Replays on the built program: the kept input of an earlier call, run again and compared.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::support::server::{Client, Home, Reply, Server};
use crate::support::{PATIENCE, require};

const FIRST: &str = r#"
import os, time
def invoke(input_data):
    gate = input_data.get("gate")
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    return {"score": input_data["n"], "big": 10000000000000000001, "old": True}
"#;
const SECOND: &str = r#"
def invoke(input_data):
    if input_data["n"] == 13:
        raise ValueError("unlucky")
    return {"score": input_data["n"] + 1, "big": 10000000000000000001, "new": [1]}
"#;

/// Version 1.0.0 and a 1.1.0 that counts otherwise and breaks at 13.
fn home() -> Home {
    let home = Home::new();
    let input = "input_schema: {type: object, properties: {n: {type: integer}, pin: {type: string, x-sensitive: true}}}";
    home.write_plugin("plugins/first", "score", "1.0.0", input, FIRST);
    home.write_plugin("plugins/second", "score", "1.1.0", input, SECOND);
    home
}

/// A server that has both versions: folders are looked at one after the other.
async fn served(home: Home, arguments: &[&str]) -> Server {
    let server = home.serve_with(arguments).await;
    let start = Instant::now();
    for version in ["1.0.0", "1.1.0"] {
        let path = format!("/v1/plugins/score/versions/{version}");
        while server.client.get(&path).await.json()["state"] != "running" {
            assert!(start.elapsed() < PATIENCE, "{version} never takes calls");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    server
}

async fn called(server: &Server, version: &str, input: Value) -> (String, Reply) {
    let reply = server.client.call("score", json!({"input": input, "version": version}), &[]).await;
    let document = reply.json();
    let id = document.pointer("/meta/invocation_id").or(document.get("invocation_id")).unwrap();
    (id.as_str().unwrap().to_owned(), reply)
}

async fn replay(client: &Client, id: &str, body: &str) -> Reply {
    client.post(&format!("/v1/invocations/{id}/replay"), body.to_owned()).await
}

#[tokio::test]
async fn a_replay_is_a_call_of_its_own_on_the_same_version_and_says_what_differs_on_another() {
    if !require("python3") {
        return;
    }
    let server = served(home(), &[]).await;
    let (id, first) = called(&server, "=1.0.0", json!({"n": 7})).await;

    let same = replay(&server.client, &id, "").await;
    assert_eq!(same.status, 200, "{}", same.text());
    let document = same.json();
    assert_eq!(document["data"]["score"], 7);
    assert_eq!(document["replay"]["output"], json!({"equal": true, "changes": [], "more": 0}));
    assert_eq!(document["replay"]["original"]["invocation_id"], id.as_str());
    assert_eq!(document["replay"]["replayed"]["invocation_id"], document["meta"]["invocation_id"]);
    assert_eq!(document["replay"]["replayed"]["version"], "1.0.0");
    assert_ne!(document["meta"]["invocation_id"], id.as_str());
    assert_ne!(document["meta"]["trace_id"], first.json()["meta"]["trace_id"]);
    assert_eq!(same.header("idempotency-replayed"), None);

    let trace = server.client.trace(document["meta"]["trace_id"].as_str().unwrap()).await;
    let spans = trace["spans"].as_array().unwrap();
    let root = spans.iter().find(|span| span["name"] == "invoke score").unwrap();
    assert_eq!(root["attributes"]["spanglass.replay_of"], id.as_str(), "{root:#}");
    assert!(spans.iter().any(|span| span["name"] == "attempt"), "it ran: {trace:#}");

    let other = replay(&server.client, &id, r#"{"on": "^1.1", "timeout": "20s"}"#).await;
    let document = other.json();
    assert_eq!(document["meta"]["version"], "1.1.0");
    let changes = json!([
        {"op": "added", "pointer": "/new", "new": [1]},
        {"op": "removed", "pointer": "/old", "old": true},
        {"op": "changed", "pointer": "/score", "old": 7, "new": 8},
    ]);
    assert_eq!(document["replay"]["output"], json!({"equal": false, "changes": changes, "more": 0}));
    assert!(
        other.text().contains(r#""big":10000000000000000001"#)
            || other.text().contains("10000000000000000001")
    );
}

#[tokio::test]
async fn a_failed_call_and_its_replay_stand_beside_each_other_on_the_command_line_too() {
    if !require("python3") {
        return;
    }
    let mut server = served(home(), &[]).await;
    let (id, reply) = called(&server, "=1.1.0", json!({"n": 13})).await;
    assert_eq!(reply.status, 502);

    let again = replay(&server.client, &id, "{}").await;
    assert_eq!((again.status, again.header("content-type")), (502, Some("application/problem+json")));
    let problem = again.json();
    assert_eq!(problem["replay"]["original"]["error"]["kind"], "plugin_error");
    assert_eq!(problem["replay"]["replayed"]["error"]["kind"], "plugin_error");
    assert_eq!(problem["replay"]["output"]["equal"], Value::Null);

    let ran = server.home.run(&["replay", &id]).await;
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.stdout.contains("failed plugin_error") && ran.stderr.contains("unlucky"), "{ran:#?}");
    let ran = server.home.run(&["replay", &id, "--on", "1.0.0", "--json"]).await;
    assert_eq!((ran.code, &ran.json()["replay"]["replayed"]["outcome"]), (0, &json!("replied")), "{ran:#?}");

    // Without a server: the ledger and the registrations of the data folder.
    server.stop().await;
    let ran = server.home.run(&["replay", &id, "--on", "=1.0.0"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stderr.contains("in-process"), "{ran:#?}");
    assert!(ran.stdout.contains("1.1.0") && ran.stdout.contains("replied"), "{ran:#?}");
    assert!(ran.stdout.contains("not compared: the original has no output"), "{ran:#?}");
    let ran = server.home.run(&["replay", "01890a5d-ac96-774b-bcce-b302099a8057"]).await;
    assert_eq!(ran.code, 7, "{ran:#?}");
}

#[tokio::test]
async fn what_was_not_kept_as_it_was_given_is_not_replayed() {
    if !require("python3") {
        return;
    }
    let home = home();
    home.write("spanglass.yaml", "telemetry: {capture: {max: 1Ki}}\n");
    let server = served(home, &["--config", "spanglass.yaml"]).await;
    let (redacted, _) = called(&server, "=1.0.0", json!({"n": 1, "pin": "1234"})).await;
    let (truncated, _) = called(&server, "=1.0.0", json!({"n": 1, "text": "x".repeat(3000)})).await;
    let (kept, _) = called(&server, "=1.0.0", json!({"n": 1})).await;
    for (id, body, status, why) in [
        (redacted.as_str(), "", 409, "sensitive"),
        (truncated.as_str(), "", 409, "only in part"),
        ("01890a5d-ac96-774b-bcce-b302099a8057", "", 404, "there is no invocation"),
        ("7", "", 422, "UUID"),
        (kept.as_str(), r#"{"on": "newest"}"#, 422, "no version range"),
        (kept.as_str(), r#"{"input": {}}"#, 422, "unknown field"),
        (kept.as_str(), r#"{"on": "=9.0.0"}"#, 404, "9.0.0"),
    ] {
        let reply = replay(&server.client, id, body).await;
        assert_eq!(reply.status, status, "{id} {body}: {}", reply.text());
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(why), "{why}: {detail}");
    }
    let path = format!("/v1/invocations/{kept}/replay");
    for (header, value, status) in
        [("idempotency-key", "k", 422), ("origin", "http://evil.example", 403), ("host", "evil.example", 403)]
    {
        let reply = server.client.send(Method::POST, &path, &[(header, value)], "").await;
        assert_eq!(reply.status, status, "{header}: {}", reply.text());
    }
}

#[tokio::test]
async fn a_call_that_has_not_ended_is_not_replayed() {
    if !require("python3") {
        return;
    }
    let server = served(home(), &[]).await;
    let gate = server.home.path().join("gate");
    let body = json!({"input": {"n": 1, "gate": gate}, "version": "=1.0.0"}).to_string();
    let reply = server.client.post("/v1/plugins/score/invoke?mode=async", body).await;
    let id = reply.json()["invocation_id"].as_str().unwrap().to_owned();
    let refused = replay(&server.client, &id, "").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("has not ended"), "{}", refused.text());
    std::fs::write(&gate, "").unwrap();
    let start = Instant::now();
    while server.client.invocation(&id).await["state"] != "done" {
        assert!(start.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let replayed = replay(&server.client, &id, "").await;
    assert_eq!((replayed.status, &replayed.json()["replay"]["output"]["equal"]), (200, &json!(true)));
}
