//! Asynchronous calls, idempotency keys and cancellation, on the built program: what is acknowledged is run,
//! whatever happens to the process.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::server::{Client, Home, Reply, Server};
use crate::support::{PATIENCE, require};

/// Sleeps, fails if told to, and writes down that it ran: a line for each beginning, one for each end.
const WORKER: &str = r#"
import os, time
def note(line):
    with open(NOTES, "a") as notes:
        notes.write(line + "\n")
def invoke(input_data, ctx):
    note("begin " + str(input_data.get("n")))
    gate = input_data.get("gate")
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    time.sleep(input_data.get("seconds", 0))
    if input_data.get("fail"):
        raise ValueError("told to")
    note("end " + str(input_data.get("n")))
    return {"n": input_data.get("n"), "id": ctx.invocation_id}
"#;

const RUNNER_KILLER: &str = r#"
import os, signal, time
def parent(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[1])
def invoke(input_data):
    while not os.path.exists(input_data["gate"]):
        time.sleep(0.01)
    # The worker's parent is the fork server, whose parent is the supervisor, whose parent is the runner.
    os.kill(parent(parent(os.getppid())), signal.SIGKILL)
    time.sleep(60)
"#;

const LIMITS: &str = "limits: {concurrency: 2, instances: {max: 2}, max_input: 2Ki}\ninput: {n: integer?, seconds: number?, fail: boolean?, gate: string?}";

/// A home with the plugin `work`, which takes notes.
fn home() -> Home {
    let home = Home::new();
    let notes = home.path().join("notes");
    let source = WORKER.replace("NOTES", &format!("{:?}", notes.to_str().unwrap()));
    home.plugin("work", LIMITS, &source)
}

fn notes(home: &Home, what: &str) -> HashMap<String, usize> {
    let text = std::fs::read_to_string(home.path().join("notes")).unwrap_or_default();
    let mut counts = HashMap::new();
    for n in text.lines().filter_map(|line| line.strip_prefix(what)) {
        *counts.entry(n.trim().to_owned()).or_default() += 1;
    }
    counts
}

async fn enqueue(client: &Client, plugin: &str, input: Value, headers: &[(&str, &str)]) -> Reply {
    let path = format!("/v1/plugins/{plugin}/invoke?mode=async");
    client.send(Method::POST, &path, headers, json!({"input": input}).to_string()).await
}

/// Enqueues, and gives the id.
async fn accepted(client: &Client, plugin: &str, input: Value) -> String {
    let reply = enqueue(client, plugin, input, &[]).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()["invocation_id"].as_str().unwrap().to_owned()
}

/// The document of a call once it is done.
async fn done(client: &Client, id: &str) -> Value {
    let reply = client.get(&format!("/v1/invocations/{id}?wait=30s")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let document = reply.json();
    assert_eq!(document["state"], "done", "{document:#}");
    document
}

async fn until_state(client: &Client, id: &str, state: &str) {
    let start = Instant::now();
    loop {
        let document = client.invocation(id).await;
        if document["state"] == state {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "never {state}: {document:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn cancel(client: &Client, id: &str) -> Reply {
    client.post(&format!("/v1/invocations/{id}/cancel"), "").await
}

fn open_gate(home: &Home) {
    home.write("gate", "");
}

fn gate(home: &Home) -> String {
    home.path().join("gate").to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_accepted_call_is_one_invocation_from_the_answer_to_its_ledger_row() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let reply = server
        .client
        .call("work", json!({"input": {"n": 7}}), &[("prefer", "respond-async"), ("traceparent", parent)])
        .await;
    assert_eq!((reply.status, reply.header("preference-applied")), (202, Some("respond-async")));
    let document = reply.json();
    let id = document["invocation_id"].as_str().unwrap();
    assert_eq!(reply.header("location").unwrap(), format!("/v1/invocations/{id}"));
    assert_eq!((&document["state"], &document["outcome"]), (&json!("queued"), &Value::Null));
    let (trace_id, root, _) = reply.traceparent();
    assert_eq!(trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");

    let ended = done(&server.client, id).await;
    assert_eq!((&ended["outcome"], &ended["attempts"]), (&json!("replied"), &json!(1)));
    assert_eq!(ended["output"], json!({"n": 7, "id": id}), "the plugin knows it by the same id");
    assert_eq!((&ended["trace_id"], &ended["root_span_id"]), (&json!(trace_id), &json!(root)));
    assert_eq!(ended["created_at"], document["created_at"]);

    let trace = server.client.trace(&trace_id).await;
    let spans = trace["spans"].as_array().unwrap();
    let span = spans.iter().find(|span| span["span_id"] == root.as_str()).unwrap();
    assert_eq!((&span["name"], &span["parent_span_id"]), (&json!("invoke work"), &json!("00f067aa0ba902b7")));
    assert!(span["attributes"]["spanglass.async.queue_ms"].as_f64().unwrap() > 0.0);
    let spent = ended["duration_ms"].as_f64().unwrap() - span["duration_ms"].as_f64().unwrap();
    assert!(spent.abs() < 1.0, "the root span is as long as the call: {ended:#} {span:#}");
    let labels = [("plugin", "work"), ("outcome", "replied")];
    assert_eq!(server.client.scrape().await.sum("spanglass_invocations_total", &labels), 1.0);
    server.lines_of(id).await;
}

#[tokio::test]
async fn what_cannot_run_is_refused_at_once_and_recorded() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let large = "x".repeat(3_000);
    for (plugin, body, status, kind) in [
        ("nobody", json!({"input": {}}), 404, "not_found"),
        ("work", json!({"input": {}, "version": "^9"}), 404, "not_found"),
        ("work", json!({"input": {}, "action": "fly"}), 404, "not_found"),
        ("work", json!({"input": {"n": "seven"}}), 422, "invalid_input"),
        ("work", json!({"input": [1]}), 422, "invalid_input"),
        ("work", json!({"input": {"gate": large}}), 413, "input_too_large"),
    ] {
        let path = format!("/v1/plugins/{plugin}/invoke?mode=async");
        let reply = server.client.post(&path, body.to_string()).await;
        assert_eq!((reply.status, &reply.json()["kind"]), (status, &json!(kind)), "{plugin} {body}");
        let id = reply.json()["invocation_id"].as_str().unwrap().to_owned();
        assert_eq!(server.client.invocation(&id).await["error"]["kind"], kind);
    }
    assert!(notes(&server.home, "begin").is_empty());
}

#[tokio::test]
async fn a_failure_is_kept_with_its_kind_and_the_commands_know_it() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let handed = server.home.run(&["invoke", "work", "--async", "-f", "fail=true"]).await;
    assert_eq!(handed.code, 0, "{handed:#?}");
    let id = handed.stdout.trim().to_owned();
    let waited = server.home.run(&["invocation", "wait", &id]).await;
    assert_eq!((waited.code, waited.stdout.as_str()), (4, ""), "{waited:#?}");
    assert!(waited.stderr.contains("told to"), "{waited:#?}");
    let document = server.home.run(&["invocation", "wait", &id, "--json"]).await;
    assert_eq!((document.code, &document.json()["error"]["kind"]), (4, &json!("plugin_error")));

    let good = server.home.run(&["invoke", "work", "--async", "-f", "n=3", "--json"]).await.json();
    let id = good["invocation_id"].as_str().unwrap().to_owned();
    let waited = server.home.run(&["invocation", "wait", &id]).await;
    assert_eq!(waited.code, 0, "{waited:#?}");
    assert_eq!(serde_json::from_str::<Value>(&waited.stdout).unwrap()["n"], 3);

    let gate = gate(&server.home);
    let id = accepted(&server.client, "work", json!({"gate": gate})).await;
    let late = server.home.run(&["invocation", "wait", &id, "--timeout", "100ms"]).await;
    assert_eq!(late.code, 5, "{late:#?}");
    let cancelled = server.home.run(&["invocation", "cancel", &id, "--json"]).await;
    assert_eq!((cancelled.code, &cancelled.json()["outcome"]), (0, &json!("dropped")));
    assert_eq!(server.home.run(&["invocation", "wait", &id]).await.code, 130);
    assert_eq!(server.home.run(&["invocation", "cancel", &id]).await.code, 6);
}

#[tokio::test]
async fn without_a_server_a_call_is_kept_for_the_next_one() {
    if !require("python3") {
        return;
    }
    let mut server = home().serve().await;
    server.stop().await;
    let handed = server.home.run(&["invoke", "work", "--async", "-f", "n=1"]).await;
    assert_eq!(handed.code, 0, "{handed:#?}");
    assert!(handed.stderr.contains("no server is running"), "{handed:#?}");
    let id = handed.stdout.trim().to_owned();
    let waited = server.home.run(&["invocation", "wait", &id]).await;
    assert_eq!(waited.code, 8, "{waited:#?}");
    let listed = server.home.run(&["invocation", "list", "--json"]).await.json();
    assert_eq!(
        (&listed["items"][0]["invocation_id"], &listed["items"][0]["state"]),
        (&json!(id), &json!("queued"))
    );
    let dropped = server.home.run(&["invoke", "work", "--async", "-f", "n=2"]).await.stdout.trim().to_owned();
    assert_eq!(server.home.run(&["invocation", "cancel", &dropped]).await.code, 0);
    server.restart().await;
    assert_eq!(done(&server.client, &id).await["outcome"], "replied");
    assert_eq!(done(&server.client, &dropped).await["outcome"], "dropped");
    assert!(!notes(&server.home, "begin").contains_key("2"));
}

#[tokio::test]
async fn a_slow_plugin_holds_up_nobody_else_and_keeps_its_own_order() {
    if !require("python3") {
        return;
    }
    let home = home().plugin("fast", "", "def invoke(i): return i");
    let server = home.serve().await;
    let gate = gate(&server.home);
    let mut slow = Vec::new();
    for n in 0..6 {
        slow.push(accepted(&server.client, "work", json!({"n": n, "gate": gate})).await);
    }
    for n in 0..3 {
        let id = accepted(&server.client, "fast", json!({"n": n})).await;
        assert_eq!(done(&server.client, &id).await["output"]["n"], n);
    }
    until_state(&server.client, &slow[1], "running").await;
    for waiting in &slow[2..] {
        assert_eq!(server.client.invocation(waiting).await["state"], "queued", "two may run at once");
    }
    let waiting = server.client.scrape().await.sum("spanglass_queued_invocations", &[("plugin", "work")]);
    assert_eq!(waiting, 4.0);
    let listed = server.client.get("/v1/invocations?plugin=work").await.json();
    let states: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|item| item["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["queued", "queued", "queued", "queued", "running", "running"]);
    open_gate(&server.home);
    for id in &slow {
        assert_eq!(done(&server.client, id).await["outcome"], "replied");
    }
}

#[tokio::test]
async fn a_call_under_way_is_the_same_in_the_list_and_by_its_id() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let gate = gate(&server.home);
    for n in 0..3 {
        accepted(&server.client, "work", json!({"n": n, "gate": gate})).await;
    }
    let start = Instant::now();
    while notes(&server.home, "begin").len() < 2 {
        assert!(start.elapsed() < PATIENCE, "they never run");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let listed = server.client.get("/v1/invocations?plugin=work").await.json();
    let mut seen = Vec::new();
    for item in listed["items"].as_array().unwrap() {
        assert_eq!(*item, server.client.invocation(item["invocation_id"].as_str().unwrap()).await);
        seen.push((item["state"].clone(), item["attempts"].clone(), item["version"].clone()));
    }
    let (running, queued) =
        ((json!("running"), json!(1), json!("1.0.0")), (json!("queued"), json!(0), Value::Null));
    assert_eq!(seen, [queued, running.clone(), running]);
}

#[tokio::test]
async fn cancelling_ends_a_call_wherever_it_is() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let gate = gate(&server.home);
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(accepted(&server.client, "work", json!({"n": n, "gate": gate})).await);
    }
    until_state(&server.client, &ids[0], "running").await;
    // One that runs, and one that waits behind it.
    for id in [&ids[0], &ids[2]] {
        let reply = cancel(&server.client, id).await;
        assert_eq!((reply.status, &reply.json()["outcome"]), (200, &json!("dropped")), "{}", reply.text());
        assert_eq!(reply.json()["error"]["kind"], "cancelled");
        let again = cancel(&server.client, id).await;
        assert_eq!((again.status, &again.json()["kind"]), (409, &json!("conflict")));
    }
    // A synchronous one, whose caller hears of it.
    let caller = server.client.clone();
    let input = json!({"n": 9, "gate": gate});
    let call = tokio::spawn(async move { caller.invoke("work", input).await });
    let id = loop {
        let listed = server.client.get("/v1/invocations?plugin=work").await.json();
        let items = listed["items"].as_array().unwrap();
        let sync = items.iter().find(|item| {
            item["state"] == "running" && !ids.iter().any(|id| item["invocation_id"] == id.as_str())
        });
        match sync {
            Some(sync) => break sync["invocation_id"].as_str().unwrap().to_owned(),
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!(cancel(&server.client, &id).await.json()["outcome"], "dropped");
    let heard = call.await.unwrap();
    assert_eq!((heard.status, &heard.json()["kind"]), (499, &json!("cancelled")));

    assert_eq!(cancel(&server.client, "01976a5e-3c00-7000-8000-000000000001").await.status, 404);
    assert_eq!(cancel(&server.client, "x").await.status, 422);
    open_gate(&server.home);
    assert_eq!(done(&server.client, &ids[1]).await["outcome"], "replied");
    assert_eq!(cancel(&server.client, &ids[1]).await.status, 409);
    assert!(!notes(&server.home, "begin").contains_key("2"), "the one that waited never ran");
    let dropped = [("plugin", "work"), ("outcome", "dropped")];
    assert_eq!(server.client.scrape().await.sum("spanglass_invocations_total", &dropped), 3.0);
}

#[tokio::test]
async fn a_key_has_one_reply() {
    if !require("python3") {
        return;
    }
    let mut server = home().serve().await;
    let key = [("idempotency-key", "one")];
    let first = server.client.call("work", json!({"input": {"n": 1}}), &key).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    server.restart().await;
    let again = server.client.call("work", json!({"input": {"n":1}}), &key).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    let (first, again) = (first.json(), again.json());
    assert_eq!(first["data"], again["data"]);
    let (first, meta) = (&first["meta"], &again["meta"]);
    assert_ne!(first["invocation_id"], meta["invocation_id"], "a repeat is an invocation of its own");
    assert_ne!(first["trace_id"], meta["trace_id"]);
    assert_eq!(meta["attempts"], 0);
    let trace = server.client.trace(meta["trace_id"].as_str().unwrap()).await;
    assert_eq!(trace["spans"][0]["attributes"]["spanglass.replay_of"], first["invocation_id"]);
    let row = server.client.invocation(meta["invocation_id"].as_str().unwrap()).await;
    assert_eq!((&row["outcome"], &row["attempts"]), (&json!("replied"), &json!(0)));

    for (body, status) in [
        (json!({"input": {"n": 2}}), 422),
        (json!({"input": {"n": 1}, "timeout": "3s"}), 422),
        (json!({"input": {"n": 1}, "version": "^1"}), 422),
        (json!({"input": {"n": 1}}), 200),
    ] {
        assert_eq!(server.client.call("work", body.clone(), &key).await.status, status, "{body}");
    }
    let streamed = server
        .client
        .send(Method::POST, "/v1/plugins/work/invoke?mode=stream", &key, r#"{"input":{"n":1}}"#)
        .await;
    assert_eq!(streamed.status, 422);
    let later = enqueue(&server.client, "work", json!({"n": 1}), &key).await;
    assert_eq!((later.status, later.header("idempotency-replayed")), (202, Some("true")));
    let later = done(&server.client, later.json()["invocation_id"].as_str().unwrap()).await;
    assert_eq!(later["output"], again["data"]);
    assert_eq!(notes(&server.home, "begin")["1"], 1, "it ran once");
}

#[tokio::test]
async fn a_key_in_flight_is_a_conflict_and_only_a_reply_keeps_it() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let gate = gate(&server.home);
    let key = [("idempotency-key", "k")];
    for (mode, n) in [("sync", 1), ("async", 2)] {
        let body = json!({"input": {"n": n, "gate": gate}});
        let path = format!("/v1/plugins/work/invoke?mode={mode}");
        let (caller, sent) = (server.client.clone(), body.to_string());
        let first =
            tokio::spawn(
                async move { caller.send(Method::POST, &path, &[("idempotency-key", "k")], sent).await },
            );
        let start = Instant::now();
        while !notes(&server.home, "begin").contains_key(&n.to_string()) {
            assert!(start.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let second = server.client.call("work", body, &key).await;
        assert_eq!((second.status, &second.json()["kind"]), (409, &json!("conflict")), "{mode}");
        let in_flight = second.json()["in_flight_invocation_id"].as_str().unwrap().to_owned();
        assert_eq!(server.client.invocation(&in_flight).await["state"], "running");
        // Dropped: the key is free, for another request as well.
        assert_eq!(cancel(&server.client, &in_flight).await.status, 200);
        first.await.unwrap();
        let failed = server.client.call("work", json!({"input": {"fail": true}}), &key).await;
        assert_eq!(failed.json()["kind"], "plugin_error", "{mode}: {}", failed.text());
    }
    // Failed: free again.
    let replied = server.client.call("work", json!({"input": {"n": 5}}), &key).await;
    assert_eq!((replied.status, replied.header("idempotency-replayed")), (200, None));
}

#[tokio::test]
async fn a_call_that_kills_the_runner_is_given_up() {
    if !require("python3") {
        return;
    }
    let home = home().plugin("killer", "", RUNNER_KILLER);
    let mut server = home.serve().await;
    let gate = gate(&server.home);
    let id = accepted(&server.client, "killer", json!({"gate": gate})).await;
    for _ in 0..3 {
        // Not before the server is up, or there would be nobody to look at.
        open_gate(&server.home);
        let start = Instant::now();
        while server.client.try_send(Method::GET, "/healthz", &[], "").await.is_ok() {
            assert!(start.elapsed() < PATIENCE, "the runner lives");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::fs::remove_file(&gate).unwrap();
        server.restart().await;
    }
    let ended = done(&server.client, &id).await;
    assert_eq!((&ended["outcome"], &ended["error"]["kind"]), (&json!("failed"), &json!("crashed")));
    assert_eq!(ended["attempts"], 3);
    let listed = server.client.get("/v1/invocations?kind=crashed").await.json();
    assert_eq!(listed["items"][0]["invocation_id"], id.as_str(), "kept and listed");
    let lines = server.lines_of(&id).await;
    assert!(lines.iter().any(|line| line["event_name"] == "invocation.poisoned"), "{lines:#?}");
}

#[tokio::test]
async fn a_stop_in_good_order_keeps_the_queue() {
    if !require("python3") {
        return;
    }
    let mut server = home().serve().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(accepted(&server.client, "work", json!({"n": n, "seconds": 0.4})).await);
    }
    until_state(&server.client, &ids[1], "running").await;
    assert!(server.stop().await.success());
    let (begun, ended) = (notes(&server.home, "begin"), notes(&server.home, "end"));
    assert_eq!(begun, ended, "what ran could finish");
    assert!(ended.len() < 6, "what waited was left: {ended:?}");
    server.restart().await;
    for id in &ids {
        let document = done(&server.client, id).await;
        assert_eq!(
            (&document["outcome"], &document["attempts"]),
            (&json!("replied"), &json!(1)),
            "{document:#}"
        );
    }
    assert!(notes(&server.home, "begin").values().all(|times| *times == 1), "each ran once");
}

/// Asks for the end of a call. Returns once the server has heard it, with what will be the answer.
async fn waiting_for(server: &Server, id: &str) -> impl Future<Output = Value> + Send + 'static {
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
    // Two requests in one: the answer to the first says that the second was read.
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let requests = get("/healthz") + &get(&format!("/v1/invocations/{id}?wait=60s"));
    socket.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    while !String::from_utf8_lossy(&answers).contains("200 OK") {
        assert!(socket.read_buf(&mut answers).await.unwrap() > 0);
    }
    async move {
        // The server closes the connection behind its answer.
        timeout(PATIENCE, socket.read_to_end(&mut answers)).await.unwrap().unwrap();
        let text = String::from_utf8(answers).unwrap();
        let (_, second) = text.split_at(text.rfind("HTTP/1.1 ").unwrap());
        assert!(second.starts_with("HTTP/1.1 200 OK"), "{text}");
        serde_json::from_str(second.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

#[tokio::test]
async fn who_waits_for_a_call_in_the_queue_is_answered_when_the_server_stops() {
    if !require("python3") {
        return;
    }
    let mut server = home().serve().await;
    let gate = gate(&server.home);
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(accepted(&server.client, "work", json!({"n": n, "gate": gate})).await);
    }
    for running in &ids[..2] {
        until_state(&server.client, running, "running").await;
    }
    let running = tokio::spawn(waiting_for(&server, &ids[0]).await);
    let queued = waiting_for(&server, &ids[2]).await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let queued = queued.await;
    assert_eq!(queued["state"], "queued", "{queued:#}");
    assert!(!running.is_finished(), "what runs may end yet");
    open_gate(&server.home);
    let running = running.await.unwrap();
    assert_eq!(running["outcome"], "replied", "{running:#}");
    assert!(server.stop().await.success());
}

#[tokio::test]
async fn a_call_that_a_stop_cuts_off_waits_again() {
    if !require("python3") {
        return;
    }
    let mut server = home().serve().await;
    let gate = gate(&server.home);
    let id = accepted(&server.client, "work", json!({"n": 1, "gate": gate})).await;
    until_state(&server.client, &id, "running").await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // Asked again once it has heard the first: it does not wait any longer.
    let start = Instant::now();
    while server.client.try_send(Method::GET, "/healthz", &[], "").await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "it goes on serving");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(server.stop().await.success());
    assert!(start.elapsed() < Duration::from_secs(8), "it waited for the call");
    let shown = server.home.run(&["invocation", "show", &id, "--json"]).await.json();
    assert_eq!((&shown["state"], &shown["attempts"]), (&json!("queued"), &json!(1)));
    open_gate(&server.home);
    server.restart().await;
    let ended = done(&server.client, &id).await;
    assert_eq!((&ended["outcome"], &ended["attempts"]), (&json!("replied"), &json!(2)));
}

/// So many rounds of killing and starting again; `SPANGLASS_TEST_KILL_ROUNDS` asks for more.
fn kill_rounds() -> u32 {
    std::env::var("SPANGLASS_TEST_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

/// The calls that were acknowledged, with their numbers.
async fn enqueue_until_it_dies(client: Client, first: u32) -> Vec<(String, u32)> {
    let mut acknowledged = Vec::new();
    for n in first.. {
        let key = format!("key-{n}");
        let body = json!({"input": {"n": n, "seconds": 0.01}}).to_string();
        let path = "/v1/plugins/work/invoke?mode=async";
        let Ok(reply) = client.try_send(Method::POST, path, &[("idempotency-key", &key)], body).await else {
            break;
        };
        assert_eq!(reply.status, 202, "{}", reply.text());
        acknowledged.push((reply.json()["invocation_id"].as_str().unwrap().to_owned(), n));
    }
    acknowledged
}

#[tokio::test]
async fn no_acknowledged_call_is_lost_to_kill_9_and_no_key_completes_twice() {
    if !require("python3") {
        return;
    }
    let mut server = home().serve().await;
    let mut random = fastrand::Rng::with_seed(20_261_122);
    // Acknowledged: id, and its number, which is also its key.
    let mut acknowledged: HashMap<String, u32> = HashMap::new();
    let mut next = 0;
    for round in 0..kill_rounds() {
        // Several clients at once, until the server dies under them.
        let clients: Vec<_> = (0..3)
            .map(|client| {
                let first = next + client * 10_000;
                tokio::spawn(enqueue_until_it_dies(server.client.clone(), first))
            })
            .collect();
        next += 30_000;
        tokio::time::sleep(Duration::from_millis(random.u64(200..700))).await;
        server.kill();
        for client in clients {
            acknowledged.extend(client.await.unwrap());
        }
        println!("round {round}: {} acknowledged", acknowledged.len());
        server.restart().await;
    }
    assert!(acknowledged.len() > 20, "too few calls to prove anything: {}", acknowledged.len());
    for (id, n) in &acknowledged {
        let ended = done(&server.client, id).await;
        assert_eq!((&ended["outcome"], &ended["output"]["n"]), (&json!("replied"), &json!(n)), "{ended:#}");
        assert_eq!(ended["output"]["id"], id.as_str(), "the same id at every delivery");
        // A repeat after all this gets the reply that there is: nothing completes twice.
        let key = format!("key-{n}");
        let body = json!({"input": {"n": n, "seconds": 0.01}});
        let again = server.client.call("work", body, &[("idempotency-key", &key)]).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{}", again.text());
        assert_eq!(again.json()["data"], ended["output"]);
    }
    // At most once more for each kill that met it: it began again, and never after its end was on the disk.
    let begun = notes(&server.home, "begin");
    let again = begun.values().filter(|times| **times > 1).count();
    assert!(again <= 2 * kill_rounds() as usize, "{again} ran again after {} kills", kill_rounds());
    for (n, times) in begun {
        assert!(times <= 3, "{n} ran {times} times");
    }
    assert_eq!(server.client.scrape().await.sum("spanglass_queued_invocations", &[]), 0.0);
    let mut cursor = String::new();
    let mut rows: HashMap<String, usize> = HashMap::new();
    loop {
        let page = server.client.get(&format!("/v1/invocations?limit=1000{cursor}")).await.json();
        for item in page["items"].as_array().unwrap() {
            *rows.entry(item["invocation_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(rows.values().all(|rows| *rows == 1), "one row a call");
}

#[tokio::test]
async fn a_call_whose_version_is_gone_waits_until_it_is_back() {
    if !require("python3") {
        return;
    }
    let home = home();
    home.write_plugin("plugins/newer", "work", "2.0.0", "", "def invoke(i): return i");
    let server = home.serve().await;
    let gate = gate(&server.home);
    let mut ids = Vec::new();
    for n in 0..5 {
        let body = json!({"input": {"n": n, "gate": gate}, "version": "1.0.0"});
        let path = "/v1/plugins/work/invoke?mode=async";
        let reply = server.client.post(path, body.to_string()).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        ids.push(reply.json()["invocation_id"].as_str().unwrap().to_owned());
    }
    until_state(&server.client, &ids[0], "running").await;
    let switch = |what: &str| format!("/v1/plugins/work/versions/1.0.0/{what}");
    assert_eq!(server.client.post(&switch("disable"), "").await.status, 200);
    open_gate(&server.home);
    let start = Instant::now();
    loop {
        let lines = server.log_lines();
        if lines.iter().any(|line| line["event_name"] == "invocation.requeued") {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "none was put back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let other = accepted(&server.client, "work", json!({"n": 9})).await;
    assert_eq!(done(&server.client, &other).await["version"], "2.0.0");
    let waiting = server.client.invocation(&ids[4]).await;
    assert_eq!((&waiting["outcome"], &waiting["attempts"]), (&Value::Null, &json!(0)), "{waiting:#}");
    assert_eq!(server.client.post(&switch("enable"), "").await.status, 200);
    for id in &ids {
        let ended = done(&server.client, id).await;
        assert_eq!((&ended["outcome"], &ended["version"]), (&json!("replied"), &json!("1.0.0")), "{ended:#}");
        assert_eq!(ended["attempts"], 1);
    }
}

#[tokio::test]
async fn a_call_that_finds_no_place_waits_for_one() {
    if !require("python3") {
        return;
    }
    let limits = "limits: {concurrency: 1, queue: 0, instances: {max: 1}}";
    let home = Home::new();
    let source = "import os, time\ndef invoke(i):\n    while not os.path.exists(i['gate']): time.sleep(0.01)\n    return i";
    let server = home.plugin("narrow", limits, source).serve().await;
    let gate = gate(&server.home);
    let caller = server.client.clone();
    let input = json!({"gate": gate});
    let sync = tokio::spawn(async move { caller.invoke("narrow", input).await });
    let start = Instant::now();
    while server.client.active("narrow").await < 1.0 {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let id = accepted(&server.client, "narrow", json!({"gate": gate, "n": 1})).await;
    loop {
        let requeued = |line: &Value| {
            line["event_name"] == "invocation.requeued" && line["invocation_id"] == id.as_str()
        };
        if server.log_lines().iter().any(requeued) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it was never put back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let document = server.client.invocation(&id).await;
    assert_eq!((&document["outcome"], &document["attempts"]), (&Value::Null, &json!(0)), "{document:#}");
    open_gate(&server.home);
    assert_eq!(sync.await.unwrap().status, 200);
    let ended = done(&server.client, &id).await;
    assert_eq!((&ended["outcome"], &ended["attempts"]), (&json!("replied"), &json!(1)));
    // One invocation, one ending.
    let labels = [("plugin", "narrow")];
    assert_eq!(server.client.scrape().await.sum("spanglass_invocations_total", &labels), 2.0);
    assert_eq!(server.client.active("narrow").await, 0.0);
}
