//! `telemetry.capture`: what is kept of inputs and outputs, from the next call on, and what can be replayed of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{Home, Server};
use crate::support::{PATIENCE, require};

const SOURCE: &str = r#"
def invoke(input_data):
    if input_data.get("fail"):
        raise ValueError("as asked")
    return {"token": "s3cret-answer", "text": "seen " * 20}
"#;
const SCHEMAS: &str = "output_schema: {type: object, properties: {token: {type: string, x-sensitive: true}, text: {type: string}}}";

fn home(capture: &str) -> Home {
    let home = Home::new().plugin("teller", SCHEMAS, SOURCE);
    home.write("spanglass.yaml", configuration(capture));
    home
}

fn configuration(capture: &str) -> String {
    format!("telemetry: {{capture: {capture}}}\n")
}

/// The document of a call: a good one, or one that fails.
async fn called(server: &Server, input: Value) -> Value {
    let reply = server.client.invoke("teller", input).await.json();
    let id = reply.pointer("/meta/invocation_id").or(reply.get("invocation_id")).unwrap();
    server.client.invocation(id.as_str().unwrap()).await
}

async fn replay(server: &Server, document: &Value) -> (u16, String) {
    let id = document["invocation_id"].as_str().unwrap();
    let reply = server.client.post(&format!("/v1/invocations/{id}/replay"), "").await;
    (reply.status, reply.text().to_owned())
}

/// Good and failed calls keep what they should.
async fn check(server: &Server, good_is_kept: bool, failed_is_kept: bool) {
    for (input, kept) in [(json!({"n": 1}), good_is_kept), (json!({"fail": true}), failed_is_kept)] {
        let document = called(server, input.clone()).await;
        assert_eq!(document["input"], if kept { input.clone() } else { Value::Null }, "{document}");
        assert_eq!(document["replayable"], kept);
        let (status, text) = replay(server, &document).await;
        if kept {
            assert_ne!(status, 409, "{text}");
        } else {
            assert!(status == 409 && text.contains("was not kept"), "{status} {text}");
            assert_eq!(document["output"], Value::Null);
        }
    }
}

#[tokio::test]
async fn each_mode_keeps_what_it_says_and_a_reload_changes_it() {
    if !require("python3") {
        return;
    }
    let server = home("{mode: none}").serve_with(&["--config", "spanglass.yaml"]).await;
    check(&server, false, false).await;
    for (mode, good, failed) in [("errors", false, true), ("all", true, true), ("none", false, false)] {
        server.home.write("spanglass.yaml", configuration(&format!("{{mode: {mode}}}")));
        let start = Instant::now();
        loop {
            let good_now = called(&server, json!({"n": 1})).await["input"] != Value::Null;
            let failed_now = called(&server, json!({"fail": true})).await["input"] != Value::Null;
            if (good_now, failed_now) == (good, failed) {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{mode} never comes to be");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        check(&server, good, failed).await;
    }
}

#[tokio::test]
async fn sensitive_parts_of_an_output_are_nowhere_and_long_ones_are_cut() {
    if !require("python3") {
        return;
    }
    let mut server = home("{max: 64}").serve_with(&["--config", "spanglass.yaml"]).await;
    let document = called(&server, json!({"n": 1})).await;
    assert_eq!((&document["output_redacted"], &document["output_truncated"]), (&json!(true), &json!(true)));
    assert!(document["output"].as_str().unwrap().len() <= 64);
    // The output says nothing about whether the input can be replayed.
    assert_eq!((&document["replayable"], replay(&server, &document).await.0), (&json!(true), 200));
    let cut = called(&server, json!({"text": "x".repeat(100)})).await;
    assert_eq!((&cut["input_truncated"], &cut["replayable"]), (&json!(true), &json!(false)));
    assert_eq!(replay(&server, &cut).await.0, 409);
    server.stop().await;
    for file in ["ledger.db", "ledger.db-wal"] {
        let bytes = std::fs::read(server.home.data_dir().join(file)).unwrap_or_default();
        assert!(!bytes.windows(13).any(|window| window == b"s3cret-answer"), "{file}");
    }
}
