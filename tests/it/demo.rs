//! The demo's release that goes wrong: it comes, fails on some payments, and stays rolled back.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{Home, Server};
use crate::support::{PATIENCE, require};

const RELEASE: &str = "src/app/demo/fraud-score-1.1.0";

/// Payments that ended so on a version, newest first.
async fn payments(server: &Server, version: &str, outcome: &str) -> Vec<Value> {
    let path = format!("/v1/invocations?plugin=fraud-score&version={version}&outcome={outcome}&limit=1000");
    server.client.get(&path).await.json()["items"].as_array().unwrap().clone()
}

/// Waits until there are more than `count` of them.
async fn more_payments(server: &Server, version: &str, outcome: &str, count: usize) -> Vec<Value> {
    let start = Instant::now();
    loop {
        let payments = payments(server, version, outcome).await;
        if payments.len() > count {
            return payments;
        }
        assert!(start.elapsed() < 2 * PATIENCE, "{} payments {outcome} on {version}", payments.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn versions(server: &Server) -> Vec<(String, bool)> {
    let shown = server.client.get("/v1/plugins/fraud-score/versions").await.json();
    let item = |version: &Value| {
        (version["version"].as_str().unwrap().to_owned(), version["held_back"].as_bool().unwrap())
    };
    shown["items"].as_array().unwrap().iter().map(item).collect()
}

#[tokio::test]
async fn the_release_fails_on_what_the_version_before_can_do_and_stays_rolled_back() {
    if !require("python3") {
        return;
    }
    let mut server = Home::new().demo_with(&["--release-after", "1s"]).await;
    let failed = more_payments(&server, "1.1.0", "failed", 0).await.pop().unwrap();
    assert_eq!(failed["error"]["kind"], "plugin_error", "{failed:#}");
    // On some only; and the version before failed on none.
    more_payments(&server, "1.1.0", "replied", 0).await;
    assert_eq!(payments(&server, "1.0.0", "failed").await, Vec::<Value>::new());

    // The cause is plain from what it printed.
    let trace = server.client.trace(failed["trace_id"].as_str().unwrap()).await;
    let printed = |text: &str| trace["logs"].as_array().unwrap().iter().any(|line| line["body"] == text);
    assert!(printed("pace: 60 minutes / 0 payments in the last hour"), "{trace:#}");

    let path = format!("/v1/invocations/{}/replay", failed["invocation_id"].as_str().unwrap());
    let replayed = server.client.post(&path, json!({"on": "1.0.0"}).to_string()).await;
    assert_eq!(replayed.status, 200, "{}", replayed.text());
    assert!(replayed.json()["data"]["score"].is_number(), "{}", replayed.text());

    let ran = server.home.run(&["plugin", "rollback", "fraud-score"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let before = payments(&server, "1.0.0", "replied").await.len();
    more_payments(&server, "1.0.0", "replied", before + 2).await;
    let rolled_back = [("1.1.0".to_owned(), true), ("1.0.0".to_owned(), false)];
    assert_eq!(versions(&server).await, rolled_back);

    // A later demo in the same folder does not undo it either, and says so.
    assert!(server.stop().await.success());
    let later =
        ["demo", "--no-open", "--listen", "127.0.0.1:0", "--release-after", "1ms", "--duration", "10s"];
    let later = server.home.run(&later).await;
    assert_eq!(later.code, 0, "{later:#?}");
    assert!(later.stderr.contains("1.1.0 is rolled back since an earlier demo and stays so"), "{later:#?}");
    assert!(!later.stderr.contains("takes the calls"), "{later:#?}");
    let shown = server.home.run(&["plugin", "show", "fraud-score", "--json"]).await;
    assert_eq!(shown.json()["version"], "1.0.0", "{shown:#?}");
}

#[tokio::test]
async fn the_release_passes_the_tests_of_its_author() {
    if !require("python3") {
        return;
    }
    let release = Path::new(env!("CARGO_MANIFEST_DIR")).join(RELEASE);
    let home = Home::new();
    let tested = home.run(&["plugin", "test", release.to_str().unwrap(), "--json"]).await;
    assert_eq!(tested.code, 0, "{tested:#?}");
    assert_eq!(tested.json()["passed"], 7, "{tested:#?}");
}

#[tokio::test]
async fn the_banner_announces_the_release_and_then_says_what_to_do() {
    if !require("python3") {
        return;
    }
    let home = Home::new();
    let errors = home.path().join("demo.err");
    let arguments = ["demo", "--no-open", "--listen", "127.0.0.1:0", "--release-after", "1s"];
    let mut demo = home.command(&arguments);
    demo.stdout(std::process::Stdio::null()).stderr(std::fs::File::create(&errors).unwrap());
    let mut demo = demo.spawn().unwrap();
    let start = Instant::now();
    let said = loop {
        let said = std::fs::read_to_string(&errors).unwrap();
        if said.contains("rollback") || start.elapsed() > 2 * PATIENCE {
            break said;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let _ = demo.kill();
    let _ = demo.wait();
    let mut rest = said.as_str();
    for words in [
        "UTC fraud-score 1.1.0 is released; watch http://127.0.0.1:",
        "fraud-score 1.1.0 is released and takes the calls",
        "fraud-score 1.1.0 fails on some payments",
        "/plugins/fraud-score\n",
        "invocation list --plugin fraud-score --version 1.1.0 --outcome failed",
        "trace show 0",
        "--on 1.0.0",
        "plugin rollback fraud-score",
    ] {
        let Some(place) = rest.find(words) else { panic!("{words:?} is not in the rest of\n{said}") };
        rest = &rest[place + words.len()..];
    }
}
