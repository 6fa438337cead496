//! How many workers a version has, how they start and how long they live, as its manifest says and as a caller sees.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::server::{Home, Server};
use crate::support::{PATIENCE, require};

const PID: &str = "import os, time\ncalls = []\ndef invoke(input_data):\n    calls.append(1)\n    \
                   time.sleep(input_data.get('seconds', 0))\n    return [os.getpid(), len(calls)]\n";

/// Waits until so many instances of the plugin are in that state.
async fn until_instances(server: &Server, plugin: &str, state: &str, wanted: f64) {
    let start = Instant::now();
    loop {
        let scrape = server.client.scrape().await;
        let found = scrape.sum("spanglass_instances", &[("plugin", plugin), ("state", state)]);
        if found == wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{found} {state} instances of {plugin}, not {wanted}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn called(server: &Server, plugin: &str, input: Value) -> (u64, u64) {
    let reply = server.client.invoke(plugin, input).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let data = reply.json()["data"].clone();
    (data[0].as_u64().unwrap(), data[1].as_u64().unwrap())
}

#[tokio::test]
async fn isolated_calls_have_a_process_each() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("alone", "isolation: call", PID).serve().await;
    let mut pids = BTreeSet::new();
    for _ in 0..5 {
        let (pid, calls) = called(&server, "alone", json!({})).await;
        assert_eq!(calls, 1, "nothing is left of the call before");
        assert!(pids.insert(pid), "{pids:?}");
    }
    let scrape = server.client.scrape().await;
    let recycled = [("plugin", "alone"), ("reason", "recycled")];
    assert_eq!(scrape.sum("spanglass_instance_exits_total", &recycled), 5.0);
    assert_eq!(scrape.sum("spanglass_cold_starts_total", &[("plugin", "alone")]), 1.0, "the first waited");
}

#[tokio::test]
async fn workers_are_there_before_the_first_call_and_replaced_after_their_share() {
    if !require("python3") {
        return;
    }
    let limits = "limits: {instances: {min: 1, max: 2, max_calls: 2, idle: 5s}}";
    let server = Home::new().plugin("ready", limits, PID).serve().await;
    until_instances(&server, "ready", "idle", 1.0).await;
    let (first, _) = called(&server, "ready", json!({})).await;
    assert_eq!(called(&server, "ready", json!({})).await, (first, 2));
    until_instances(&server, "ready", "idle", 1.0).await;
    let (second, calls) = called(&server, "ready", json!({})).await;
    assert_eq!((second != first, calls), (true, 1));
    let scrape = server.client.scrape().await;
    assert_eq!(scrape.sum("spanglass_cold_starts_total", &[("plugin", "ready")]), 0.0, "nobody waited");
    let limits = &server.client.get("/v1/plugins/ready").await.json()["limits"]["instances"];
    assert_eq!(*limits, json!({"min": 1, "max": 2, "idle": "5s", "max_calls": 2, "max_memory": null}));
}

/// Loading took long and the first call did not; copies are quick all the same.
#[tokio::test]
async fn calls_side_by_side_have_a_worker_each_from_the_second_on() {
    if !require("python3") {
        return;
    }
    let server =
        Home::new().plugin("heavy", "", &format!("import time\ntime.sleep(1.5)\n{PID}")).serve().await;
    called(&server, "heavy", json!({})).await;
    let slow = || called(&server, "heavy", json!({"seconds": 0.5}));
    let ((one, _), (two, _), (three, _)) = tokio::join!(slow(), slow(), slow());
    assert_eq!(BTreeSet::from([one, two, three]).len(), 3);
}

#[tokio::test]
async fn a_new_version_starts_with_as_many_workers_as_served_the_old_one() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("swapped", "", PID).serve().await;
    let slow = || called(&server, "swapped", json!({"seconds": 0.5}));
    let ((one, _), (two, _), (three, _)) = tokio::join!(slow(), slow(), slow());
    assert_eq!(BTreeSet::from([one, two, three]).len(), 3);
    until_instances(&server, "swapped", "idle", 3.0).await;
    server.home.write_plugin("plugins/swapped", "swapped", "1.1.0", "", PID);
    let start = Instant::now();
    loop {
        let shown = server.client.get("/v1/plugins/swapped").await.json();
        if shown["version"] == "1.1.0" {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{shown}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // Those of the old one go, those of the new one come; no call has been made.
    let before = server.client.scrape().await.sum("spanglass_cold_starts_total", &[("plugin", "swapped")]);
    until_instances(&server, "swapped", "idle", 3.0).await;
    let ((four, _), (five, _), (six, _)) = tokio::join!(slow(), slow(), slow());
    assert_eq!(BTreeSet::from([one, two, three, four, five, six]).len(), 6);
    let after = server.client.scrape().await.sum("spanglass_cold_starts_total", &[("plugin", "swapped")]);
    assert_eq!(after, before, "nobody waited for a start");
}

#[tokio::test]
async fn how_workers_start_is_in_the_trace_and_with_the_plugin() {
    if !require("python3") {
        return;
    }
    let threaded = format!("import threading\nthreading.Timer(60, print).start()\n{PID}");
    let home = Home::new().plugin("copied", "", PID).plugin("threaded", "", &threaded);
    let server = home.plugin("spawned", "start: spawn", PID).serve().await;
    for (plugin, mode, reason) in [
        ("copied", "fork", Value::Null),
        (
            "threaded",
            "spawn",
            "loading the plugin started a thread (Thread-1), which copies would lack".into(),
        ),
        ("spawned", "spawn", Value::Null),
    ] {
        assert_eq!(server.client.get(&format!("/v1/plugins/{plugin}")).await.json()["start"], Value::Null);
        let reply = server.client.invoke(plugin, json!({})).await.json();
        let trace = server.client.trace(reply["meta"]["trace_id"].as_str().unwrap()).await;
        let prepare = trace["spans"].as_array().unwrap().iter().find(|span| span["name"] == "prepare");
        let attributes = &prepare.unwrap()["attributes"];
        assert_eq!(attributes["spanglass.start.mode"], mode, "{plugin}");
        assert_eq!(attributes["spanglass.start.reason"], reason, "{plugin}");
        let shown = server.client.get(&format!("/v1/plugins/{plugin}")).await.json();
        assert_eq!(shown["start"], json!({"mode": mode, "reason": reason}), "{plugin}");
    }
    let refused = |line: &&Value| line["event_name"] == "fork_server.refused";
    let lines = server.log_lines();
    let lines: Vec<_> = lines.iter().filter(refused).collect();
    assert_eq!((lines.len(), &lines[0]["plugin.name"]), (1, &json!("threaded")), "{lines:?}");
    let shown = server.home.run(&["plugin", "show", "threaded", "--server", server.url()]).await;
    assert!(
        shown.stdout.contains("workers are spawned: loading the plugin started a thread"),
        "{}",
        shown.stdout
    );
}
