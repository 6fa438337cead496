//! What goes wrong around calls, on purpose: processes are killed, plugins flood their output, too many callers
//! come at once, clients stall.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::packages::zip_of;
use crate::support::server::{Client, Home, Reply, Server};
use crate::support::{PATIENCE, alive, eventually, read_pid, require};

const ECHO: &str = "def invoke(input_data):\n    return input_data\n";

/// Writes its pid, and that of a child that left its session, and sleeps.
const PARENT: &str = r#"
import os, subprocess, time

def invoke(input_data):
    if "pids" not in input_data:
        return {}
    child = subprocess.Popen(["sleep", "300"], start_new_session=True)
    for name, pid in (("worker", os.getpid()), ("child", child.pid)):
        path = os.path.join(input_data["pids"], name)
        with open(path + ".new", "w") as file:
            file.write(str(pid))
        os.rename(path + ".new", path)
    time.sleep(60)
"#;

/// Starts a call that sleeps; the pids of its worker and of the child that this started.
async fn sleeper(server: &Server, name: &str) -> (tokio::task::JoinHandle<reqwest::Result<Reply>>, [u32; 2]) {
    let folder = server.home.path().join(name);
    std::fs::create_dir(&folder).unwrap();
    let body = json!({"input": {"pids": folder}}).to_string();
    let client = server.client.clone();
    let call =
        tokio::spawn(
            async move { client.try_send(Method::POST, "/v1/plugins/parent/invoke", &[], body).await },
        );
    eventually("the call runs", PATIENCE, || read_pid(&folder.join("child")).is_some()).await;
    (call, ["worker", "child"].map(|name| read_pid(&folder.join(name)).unwrap()))
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_a_call_fails_only_this_call() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("parent", "", PARENT).serve().await;
    let (doomed, [worker, child]) = sleeper(&server, "doomed").await;
    let (other, [other_worker, _]) = sleeper(&server, "other").await;
    let killed = Instant::now();
    kill(worker);

    let reply = doomed.await.unwrap().unwrap();
    assert!(
        killed.elapsed() < Duration::from_secs(2),
        "a crash ends the call at once: {:?}",
        killed.elapsed()
    );
    assert_eq!((reply.status, &reply.json()["kind"]), (502, &json!("crashed")));
    eventually("what the worker started is gone", Duration::from_secs(2), || !alive(child)).await;
    assert!(alive(other_worker) && !other.is_finished(), "the call beside it goes on");
    other.abort();
    assert_eq!(server.client.invoke("parent", json!({})).await.status, 200, "it is replaced");
    let scrape = server.client.scrape().await;
    let exits = scrape.sum("spanglass_instance_exits_total", &[("plugin", "parent"), ("reason", "crashed")]);
    assert_eq!(exits, 1.0);
}

#[tokio::test]
async fn a_runner_killed_in_the_middle_of_calls_leaves_no_process_and_loses_no_registration() {
    if !require("python3") {
        return;
    }
    let mut server = Home::new().plugin("parent", "", PARENT).serve().await;
    let package = zip_of("kept", "2.1.0", "", ECHO);
    assert_eq!(server.client.post("/v1/plugins", package).await.status, 201);
    let before = server.client.invoke("kept", json!({"n": 1})).await.json();
    let id = before["meta"]["invocation_id"].as_str().unwrap().to_owned();
    // Reading waits until what came before is on the disk.
    server.client.invocation(&id).await;
    let mut calls = Vec::new();
    let mut pids = Vec::new();
    for number in 0..3 {
        let (call, of_call) = sleeper(&server, &format!("call-{number}")).await;
        calls.push(call);
        pids.extend(of_call);
    }
    pids.extend(server.descendants());
    assert!(pids.len() >= 7, "{pids:?}");
    let killed = Instant::now();
    server.kill();

    eventually("no process is left", Duration::from_secs(2), || !pids.iter().any(|pid| alive(*pid))).await;
    println!("all gone after {:?}", killed.elapsed());
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
    server.restart().await;
    let shown = server.client.get("/v1/plugins/kept").await;
    assert_eq!((shown.status, &shown.json()["version"]), (200, &json!("2.1.0")));
    assert_eq!(server.client.invoke("kept", json!({"n": 2})).await.json()["data"], json!({"n": 2}));
    assert_eq!(server.client.invoke("parent", json!({})).await.status, 200);
    let row = server.client.invocation(&id).await;
    assert_eq!((&row["outcome"], &row["input"]), (&json!("replied"), &json!({"n": 1})));
}

/// Resident memory of the server while something else goes on.
async fn peak_bytes_during<T>(server: &Server, work: impl Future<Output = T>) -> (T, u64) {
    let mut work = std::pin::pin!(work);
    let mut peak = server.resident_bytes();
    loop {
        tokio::select! {
            done = &mut work => return (done, peak.max(server.resident_bytes())),
            () = tokio::time::sleep(Duration::from_millis(5)) => peak = peak.max(server.resident_bytes()),
        }
    }
}

#[tokio::test]
async fn floods_of_output_fail_no_call_and_fill_no_memory() {
    if !require("python3") {
        return;
    }
    const MEBIBYTES: u64 = 100;
    let source = r#"
import os, sys

def invoke(input_data):
    line = b"x" * 99 + b"\n" if input_data["lines"] else b"x" * 100
    block = line * 10_000
    left = input_data["bytes"]
    while left > 0:
        left -= os.write(input_data["descriptor"], block[:left])
    print("after the flood", flush=True)
    return {"written": input_data["bytes"]}
"#;
    let server = Home::new().plugin("flood", "", source).serve().await;
    let input = |descriptor: u8, lines: bool, bytes: u64| json!({"descriptor": descriptor, "lines": lines, "bytes": bytes});
    for descriptor in [1, 2] {
        assert_eq!(server.client.invoke("flood", input(descriptor, true, 1000)).await.status, 200);
    }
    let before = server.resident_bytes();
    for (descriptor, lines) in [(1, true), (1, false), (2, true), (2, false)] {
        let old = server.client.scrape().await;
        let call = server.client.invoke("flood", input(descriptor, lines, MEBIBYTES << 20));
        let (reply, peak) = peak_bytes_during(&server, call).await;
        assert_eq!((reply.status, &reply.json()["data"]["written"]), (200, &json!(MEBIBYTES << 20)));
        let grown = peak.saturating_sub(before) >> 20;
        println!("descriptor {descriptor}, lines {lines}: {grown} MiB more");
        assert!(grown <= 32, "{grown} MiB more");
        // What was cut off is counted; what was kept is bounded.
        let new = server.client.scrape().await;
        let dropped: f64 =
            new.changes(&old, "spanglass_guest_dropped_total").iter().map(|(_, change)| change).sum();
        assert!(dropped > 0.0, "what is dropped is counted");
        let id = reply.json()["meta"]["trace_id"].as_str().unwrap().to_owned();
        let logs = server.client.get(&format!("/v1/logs?trace={id}&limit=1000")).await.json();
        let longest =
            logs["items"].as_array().unwrap().iter().map(|log| log["body"].as_str().unwrap().len()).max();
        assert!(longest.unwrap() <= 8 << 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_callers_at_once_all_get_an_answer() {
    const CALLERS: usize = 2000;
    if !require("python3") {
        return;
    }
    raise_file_limit();
    let source = "import time\n\ndef invoke(input_data):\n    time.sleep(0.002)\n    return input_data\n";
    let server = Home::new().plugin("busy", "", source).serve().await;
    let before = server.client.scrape().await;
    let gate = std::sync::Arc::new(tokio::sync::Barrier::new(CALLERS));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (client, gate) = (server.client.clone(), gate.clone());
            tokio::spawn(async move {
                gate.wait().await;
                (number, client.invoke("busy", json!({"n": number})).await)
            })
        })
        .collect();
    let (mut replied, mut overloaded) = (0, 0);
    for caller in callers {
        let (number, reply) = caller.await.unwrap();
        match reply.status {
            200 => {
                assert_eq!(reply.json()["data"], json!({"n": number}), "to each his own answer");
                replied += 1;
            }
            503 => {
                assert_eq!(reply.json()["kind"], "overloaded", "{}", reply.text());
                assert!(reply.header("retry-after").is_some());
                overloaded += 1;
            }
            other => panic!("{other}: {}", reply.text()),
        }
    }
    println!("{replied} replied, {overloaded} overloaded");
    assert!(replied >= 68, "those who run and those who wait: {replied}");

    let after = server.client.scrape().await;
    for (count, labels) in [
        (replied, [("outcome", "replied"), ("error_type", "none")]),
        (overloaded, [("outcome", "failed"), ("error_type", "overloaded")]),
    ] {
        let name = "spanglass_invocations_total";
        assert_eq!(after.sum(name, &labels) - before.sum(name, &labels), f64::from(count), "{labels:?}");
    }
    let total: f64 =
        after.changes(&before, "spanglass_invocations_total").iter().map(|(_, change)| change).sum();
    assert_eq!(total, CALLERS as f64);
    assert_eq!(after.sum("spanglass_active_invocations", &[]), 0.0);
    assert_eq!(after.sum("spanglass_ledger_dropped_total", &[]), 0.0);
    let mut rows = 0;
    let mut cursor = String::new();
    loop {
        let page = server
            .client
            .get(&format!("/v1/invocations?plugin=busy&limit=1000&cursor={cursor}"))
            .await
            .json();
        rows += page["items"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(rows, CALLERS, "the ledger has a row for each");
    assert_eq!(server.client.invoke("busy", json!({})).await.status, 200, "the server lives");
}

/// Each caller has a connection of his own.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[tokio::test]
async fn many_quick_calls_do_not_add_up_in_memory() {
    if !require("python3") {
        return;
    }
    // By then the ledger's page cache, 16 MiB, is nearly full; after it nothing should grow any more.
    let (first, all) = (10_000, 20_000);
    let server = Home::new().plugin("echo", "", ECHO).env("OTEL_SDK_DISABLED", "true").serve().await;
    let start = Instant::now();
    let mut after_first = 0;
    let mut done = 0;
    while done < all {
        assert_eq!(server.client.invoke("echo", json!({"n": done})).await.status, 200);
        done += 1;
        if done == first {
            after_first = server.resident_bytes();
        }
    }
    let grown = server.resident_bytes().saturating_sub(after_first) >> 10;
    println!("{done} calls in {:?}, {grown} KiB more after the first {first}", start.elapsed());
    assert!(grown <= 12 << 10, "{grown} KiB more");
    let scrape = server.client.scrape().await;
    assert_eq!(scrape.sum("spanglass_invocations_total", &[("outcome", "replied")]), f64::from(done));
}

#[tokio::test]
async fn clients_that_stall_keep_nobody_else_waiting() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("echo", "", ECHO).serve().await;
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let beginnings = [
        "POST /v1/plugins/echo/invoke HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned(),
        "POST /v1/plugins/echo/invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
            .to_owned(),
        "POST /v1/plugins HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nPK"
            .to_owned(),
    ];
    let mut stalled = Vec::new();
    for beginning in beginnings.iter().cycle().take(150) {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(beginning.as_bytes()).await.unwrap();
        stalled.push(socket);
    }
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(server.client.invoke("echo", json!({})).await.status, 200);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    // Who hangs up in the middle of his request has made no call.
    let before = server.client.scrape().await;
    drop(stalled);
    assert_eq!(server.client.invoke("echo", json!({})).await.status, 200);
    let after = server.client.scrape().await;
    let replied = after
        .changes(&before, "spanglass_invocations_total")
        .into_iter()
        .filter(|(labels, _)| labels["outcome"] == "replied");
    assert_eq!(replied.map(|(_, change)| change).sum::<f64>(), 1.0);
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_without_being_kept() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("echo", "", ECHO).serve().await;
    server.client.invoke("echo", json!({})).await;
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    for (path, mebibytes) in
        [("/v1/plugins/echo/invoke", 64), ("/v1/invoke", 64), ("/v1/plugins/nobody/invoke", 64)]
    {
        let before = server.resident_bytes();
        let ((status, text), peak) = peak_bytes_during(&server, pour(&address, path, mebibytes << 20)).await;
        assert_eq!(status, 413, "{path}: {text}");
        assert!(text.contains("\"kind\":\"input_too_large\""), "{path}: {text}");
        let grown = peak.saturating_sub(before) >> 20;
        assert!(grown <= 16, "{path}: {grown} MiB more");
    }
    assert_eq!(server.client.invoke("echo", json!({})).await.status, 200);
}

/// Sends a body of unknown length until the server answers; status and body of the answer.
async fn pour(address: &str, path: &str, bytes: usize) -> (u16, String) {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = socket.into_split();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let pouring = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await?;
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        for _ in 0..bytes / 0x10000 {
            writer.write_all(&chunk).await?;
        }
        writer.write_all(b"0\r\n\r\n").await?;
        // Handed back, not dropped: a client that closes its side has left.
        Ok::<_, std::io::Error>(writer)
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut answer)).await.expect("an answer in time");
    pouring.abort();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {answer:?}")), answer)
}

#[tokio::test]
async fn a_plugin_that_cannot_be_killed_politely_is_killed_at_its_deadline() {
    if !require("python3") {
        return;
    }
    let source = r#"
import os, signal, time

def invoke(input_data):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with open(input_data["pid"], "w") as file:
        file.write(str(os.getpid()))
    while True:
        pass
"#;
    let server = Home::new().plugin("stubborn", "limits: {timeout: 500ms}", source).serve().await;
    let pid = server.home.path().join("pid");
    let start = Instant::now();
    let reply = server.client.invoke("stubborn", json!({"pid": pid})).await;
    assert_eq!((reply.status, &reply.json()["kind"]), (504, &json!("timeout")));
    let cold_start = start.elapsed();
    assert!(cold_start < Duration::from_secs(5), "{cold_start:?}");
    eventually("the worker is gone", Duration::from_secs(1), || !alive(read_pid(&pid).unwrap())).await;
    let row: Value = server.client.invocation(reply.json()["invocation_id"].as_str().unwrap()).await;
    assert_eq!(row["error"]["kind"], "timeout");
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_lets_calls_end() {
    if !require("python3") {
        return;
    }
    let source = "import time\n\ndef invoke(input_data):\n    time.sleep(0.5)\n    return {'done': True}\n";
    let mut server = Home::new().plugin("slow", "", source).serve().await;
    server.client.invoke("slow", json!({})).await;
    let client = Client::new(server.url());
    let call = tokio::spawn(async move { client.invoke("slow", json!({})).await });
    let start = Instant::now();
    while server.client.active("slow").await < 1.0 {
        assert!(start.elapsed() < PATIENCE);
    }
    let status = server.stop().await;
    assert!(status.success(), "{status:?}: {}", server.stderr());
    let reply = call.await.unwrap();
    assert_eq!((reply.status, &reply.json()["data"]["done"]), (200, &json!(true)));
    let id = reply.json()["meta"]["invocation_id"].clone();
    assert!(!server.home.data_dir().join("server.json").exists());
    server.restart().await;
    assert_eq!(
        server.client.invocation(id.as_str().unwrap()).await["outcome"],
        "replied",
        "and nothing is lost"
    );
}

/// Who asks twice does not wait for the calls that are still running: they end, and their callers hear of it.
#[tokio::test]
async fn calls_that_a_stop_cuts_off_end_as_failed() {
    if !require("python3") {
        return;
    }
    let source = "import time\n\ndef invoke(input_data):\n    time.sleep(25)\n";
    let mut server = Home::new().plugin("endless", "", source).serve().await;
    let (caller, reader) = (Client::new(server.url()), Client::new(server.url()));
    let call = tokio::spawn(async move { caller.invoke("endless", json!({})).await });
    let stream = tokio::spawn(async move { reader.stream("endless", json!({})).await });
    let start = Instant::now();
    while server.client.active("endless").await < 2.0 {
        assert!(start.elapsed() < PATIENCE);
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // The second one counts only once the first has been heard: then nobody is let in any more.
    let start = Instant::now();
    while tokio::net::TcpStream::connect(server.url().trim_start_matches("http://")).await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "the server goes on listening");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(server.stop().await.success());
    let reply = call.await.unwrap();
    assert_eq!((reply.status, &reply.json()["kind"]), (503, &json!("overloaded")));
    let (_, events) = stream.await.unwrap();
    assert_eq!(events.last().unwrap().0, "error");
    let ids = [&reply.json()["invocation_id"], &events.last().unwrap().1["invocation_id"]];
    server.restart().await;
    for id in ids {
        let row = server.client.invocation(id.as_str().unwrap()).await;
        assert_eq!((&row["outcome"], &row["error"]["kind"]), (&json!("failed"), &json!("overloaded")));
    }
}
