//! `purge`, on a server and without one: what is gone is in no file of the data folder.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::require;
use crate::support::server::{Home, Server};

const SOURCE: &str =
    "def invoke(input_data):\n    print('printed', input_data['text'])\n    return input_data\n";

fn home() -> Home {
    Home::new().plugin("leaky", "", SOURCE).plugin("other", "", SOURCE)
}

/// Which files hold a text.
fn holders(folder: &Path, text: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file());
    files
        .filter(|file| {
            let bytes = std::fs::read(file.path()).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect()
}

async fn calls(server: &Server) {
    for n in 0..20 {
        for plugin in ["leaky", "other"] {
            let text = format!("{plugin}-said-{n}");
            assert_eq!(server.client.invoke(plugin, json!({"text": text})).await.status, 200);
        }
    }
    // One whose result and key are kept in another file.
    let body = json!({"input": {"text": "leaky-said-later"}});
    let path = "/v1/plugins/leaky/invoke?mode=async";
    let headers = [("idempotency-key", "once"), ("content-type", "application/json")];
    let reply = server.client.send(http::Method::POST, path, &headers, body.to_string()).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let location = reply.header("location").unwrap().to_owned();
    let done = server.client.get(&format!("{location}?wait=30s")).await.json();
    assert_eq!(done["state"], "done", "{done}");
}

#[tokio::test]
async fn a_server_purges_a_plugin_beside_its_calls_and_says_how_much() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    calls(&server).await;
    let folder = server.home.data_dir();
    let ran = server.home.run(&["purge", "--plugin", "leaky", "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let deleted = ran.json()["deleted"].clone();
    assert_eq!(deleted["invocations"], json!(21), "{deleted}");
    // Beside those of the calls, lines about the plugin itself.
    assert!(deleted["logs"].as_u64() >= Some(42), "{deleted}");
    assert_eq!(holders(&folder, "leaky-said-"), Vec::<String>::new());
    assert!(!holders(&folder, "other-said-").is_empty());
    for list in ["/v1/invocations?plugin=leaky", "/v1/logs?plugin=leaky", "/v1/logs?q=leaky-said"] {
        assert_eq!(server.client.get(list).await.json()["items"], json!([]), "{list}");
    }
    let others = server.client.get("/v1/invocations?plugin=other").await.json();
    assert_eq!(others["items"].as_array().map(Vec::len), Some(20));
    // A stranger's page cannot ask for it.
    let body = json!({"plugin": "other"}).to_string();
    let headers = [("origin", "http://evil.example"), ("content-type", "application/json")];
    let foreign = server.client.send(http::Method::POST, "/v1/purge", &headers, body).await;
    assert_eq!(foreign.status, 403);
}

#[tokio::test]
async fn a_folder_without_a_server_is_purged_too_and_something_must_be_named() {
    if !require("python3") {
        return;
    }
    let mut server = home().serve().await;
    calls(&server).await;
    let first = server.client.get("/v1/invocations?plugin=leaky&limit=1").await.json();
    let trace = first["items"][0]["trace_id"].as_str().unwrap().to_owned();
    server.stop().await;
    let home = &server.home;
    let ran = home.run(&["purge"]).await;
    assert_eq!(ran.code, 2, "{ran:#?}");
    let ran = home.run(&["purge", "--trace", "7", "--yes"]).await;
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(!holders(&home.data_dir(), "leaky-said-later").is_empty());
    let ran = home.run(&["purge", "--trace", &trace, "--json"]).await;
    assert_eq!((ran.code, &ran.json()["deleted"]["invocations"]), (0, &json!(1)), "{ran:#?}");
    assert_eq!(holders(&home.data_dir(), "leaky-said-later"), Vec::<String>::new());
    let ran = home.run(&["purge", "--before", "0s", "--yes"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stdout.contains("deleted") && ran.stdout.contains("40"), "{ran:#?}");
    for text in ["leaky-said-", "other-said-"] {
        assert_eq!(holders(&home.data_dir(), text), Vec::<String>::new(), "{text}");
    }
    let left: Value = home.run(&["invocation", "list", "--json"]).await.json();
    assert_eq!(left["items"], json!([]));
}
