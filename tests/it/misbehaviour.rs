//! Plugins that do every wrong thing, one after the other, in a server: each ends its own call in its own way, the
//! next call works, nothing is left, and telemetry has seen one ending.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spanglass::model::kind::ErrorKind;

use crate::support::server::{Home, Server};
use crate::support::{PATIENCE, Plugin, alive_since, eventually, kernel_now, parent, read_pid, require};

/// What both kinds of plugin can do wrong.
const WRONGS: &str = r#"
import json, os, resource, signal, sys, time

# The same on each machine.
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
calls = 0
OWN = object()

def frame(body):
    data = memoryview(len(body).to_bytes(4, "little") + body)
    while data: data = data[os.write(4, data):]

def reply(output, number=None):
    frame(b'{"t":"end","id":%d,"output":%s}' % (number or calls, output))

def note(path):
    with open(path + ".new", "w") as file: file.write(str(os.getpid()))
    os.rename(path + ".new", path)

def flood(fd, block, count):
    for _ in range(count): os.write(fd, block)

def grow(until):
    held = []
    while len(held) < until: held.append(b"x" * (1 << 20))
    time.sleep(60)

def bomb(depth, path, seconds):
    # 2 ** depth processes in all, and none of them for long.
    end = time.monotonic() + seconds
    for level in range(depth):
        if os.fork() == 0: continue
    if path: note(path + "/" + str(os.getpid()))
    time.sleep(max(end - time.monotonic(), 0))
    os._exit(0)

def run_away(seconds):
    # Never the same process for long: it forks and is gone.
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.fork() != 0: os._exit(0)
    os._exit(0)

def invoke(data):
    global calls
    calls += 1
    how, path = data["how"], data.get("path")
    if how == "fine": return {"pid": os.getpid(), "cwd": os.listdir(".")}
    if "bytes" in data: os.write(4, bytes.fromhex(data["bytes"]))
    elif "frame" in data: frame(bytes.fromhex(data["frame"]).replace(b"CALL", b"%d" % calls))
    elif "output" in data:
        reply(bytes.fromhex(data["output"]))
        return OWN
    elif how == "twice":
        reply(b"1")
        reply(b"2")
        return OWN
    elif how == "foreign":
        for number in (calls + 1000, calls - 1 or 77): reply(b'"foreign"', number)
        return "own"
    elif how == "dribble":
        body = b'{"t":"end","id":%d,"output":"slow"}' % calls
        for byte in len(body).to_bytes(4, "little") + body:
            os.write(4, bytes([byte]))
            time.sleep(0.005)
        return OWN
    elif how == "dribble without end":
        os.write(4, (1000).to_bytes(4, "little") + b'{"t":')
        while True:
            os.write(4, b" ")
            time.sleep(0.05)
    elif how == "print without end":
        while True:
            os.write(1, b"y")
            time.sleep(0.05)
    elif how == "large": reply(b'"' + b"x" * (50 << 20) + b'"')
    elif how == "deep":
        reply(b"[" * 10_000 + b"]" * 10_000)
        return OWN
    elif how == "flood":
        flood(data["fd"], b"x" * 65536 if data["line"] else b"yes\n" * 16384, 320)
        return "flooded"
    elif how == "loop":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True: pass
    elif how == "exit": os._exit(7)
    elif how == "segv": os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "close": os.close(4)
    elif how == "stop": os.kill(os.getpid(), signal.SIGSTOP)
    elif how == "grow": grow(400)
    elif how == "grow in children":
        for _ in range(4):
            if os.fork() == 0: grow(60)
    elif how == "shared":
        # Each of the four has all of it, and all have it once.
        held = b"x" * (70 << 20)
        pids = []
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                time.sleep(0.6)
                os._exit(len(held) & 1)
            pids.append(pid)
        return [os.waitpid(pid, 0)[1] for pid in pids]
    elif how == "bomb": bomb(data["depth"], path, data["seconds"])
    elif how == "run away":
        pids = []
        for _ in range(6):
            pid = os.fork()
            if pid == 0: run_away(10)
            pids.append(pid)
        return [os.waitpid(pid, 0)[1] for pid in pids]
    elif how == "flood without end":
        while True: os.write(1, b"yes\n" * 1000)
    elif how == "remove":
        os.rmdir(os.getcwd())
        return "removed"
    elif how == "daemon":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                note(path + "/daemon")
                time.sleep(300)
            while not os.path.exists(path + "/daemon"): time.sleep(0.005)
            os._exit(0)
        os.wait()
        return "left"
    elif how == "descriptors":
        while True: leaked.append(open(os.devnull))
    elif how == "some descriptors":
        for _ in range(600): leaked.append(open(os.devnull))
        return len(leaked)
    else: raise ValueError(how)
    time.sleep(60)

leaked = []
"#;

/// The protocol, written by hand.
const SPEAKER: &str = r#"
def read(count):
    data = b""
    while len(data) < count:
        part = os.read(3, count - len(data))
        if not part: os._exit(0)
        data += part
    return data

while True:
    got = json.loads(read(int.from_bytes(read(4), "little")))
    if got["t"] == "hello": frame(b'{"t":"ready","v":1}')
    elif got["t"] == "shutdown": os._exit(0)
    elif got["t"] == "call":
        try:
            output = invoke(got["input"])
        except Exception as error:
            told = {"t": "error", "id": got["id"], "type": type(error).__name__, "message": str(error)}
            frame(json.dumps(told).encode())
            continue
        if output is not OWN: reply(json.dumps(output).encode())
"#;

/// The worker has sent a reply of its own; what this function returns is one too many.
const IN_PYTHON: &str = r#"
own_invoke = invoke
def invoke(data):
    output = own_invoke(data)
    return None if output is OWN else output
"#;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Python,
    Process,
}

use Kind::{Process, Python};

/// What becomes of the worker.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Worker {
    Kept,
    /// The next call gets another one, and this is why.
    Gone(&'static str),
}

use Worker::{Gone, Kept};

struct Wrong {
    name: &'static str,
    of: &'static [Kind],
    input: Value,
    /// Kind of error and a part of the message; `None`: the call replies.
    error: Option<(&'static str, &'static str)>,
    worker: Worker,
    /// What `spanglass_guest_dropped_total` counts, at least, when the next call has ended.
    dropped: Option<(&'static str, u64)>,
}

const BOTH: &[Kind] = &[Python, Process];

fn wrong(
    name: &'static str,
    input: Value,
    error: Option<(&'static str, &'static str)>,
    worker: Worker,
) -> Wrong {
    let mut input = input;
    input["how"] = input.get("how").cloned().unwrap_or_else(|| json!(name));
    Wrong { name, of: BOTH, input, error, worker, dropped: None }
}

impl Wrong {
    fn of(self, of: &'static [Kind]) -> Wrong {
        Wrong { of, ..self }
    }

    fn dropped(self, what: &'static str, count: u64) -> Wrong {
        Wrong { dropped: Some((what, count)), ..self }
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

const NOT_JSON: &str = "a frame on descriptor 4 is not JSON";
const NO_FRAME: &str = "something that is no frame was written to descriptor 4";

/// Bytes and frames that break the protocol.
fn of_the_protocol() -> Vec<Wrong> {
    let crash = |name, key: &str, bytes: &[u8], message| {
        let mut input = json!({});
        input[key] = json!(hex(bytes));
        wrong(name, input, Some(("crashed", message)), Gone("crashed"))
    };
    vec![
        crash("text", "bytes", b"garbage, as print would write it", NO_FRAME),
        crash("a length of zero", "bytes", &[0; 4], NO_FRAME),
        crash("the largest length", "bytes", &[0xff; 8], NO_FRAME),
        crash("no JSON", "frame", b"{oops", NOT_JSON),
        crash("an array", "frame", b"[]", NOT_JSON),
        crash("no kind of frame", "frame", b"{\"id\":1}", NOT_JSON),
        crash("a byte order mark", "frame", b"\xef\xbb\xbf{\"t\":\"log\"}", NOT_JSON),
        crash("invalid UTF-8", "frame", b"{\"t\":\"end\",\"id\":1,\"output\":\"\xff\xfe\"}", NOT_JSON),
        crash("UTF-16", "frame", b"{\0\"\0t\0\"\0}\0", NOT_JSON),
        crash("NaN", "frame", b"{\"t\":\"end\",\"id\":1,\"output\":NaN}", NOT_JSON),
        crash("-Infinity", "frame", b"{\"t\":\"end\",\"id\":1,\"output\":[-Infinity]}", NOT_JSON),
        crash(
            "two kinds of frame",
            "frame",
            b"{\"t\":\"end\",\"t\":\"error\",\"id\":1}",
            "duplicate field `t`",
        ),
        crash(
            "two outputs in a frame",
            "frame",
            b"{\"t\":\"end\",\"id\":1,\"output\":1,\"output\":2}",
            "duplicate field `output`",
        ),
        crash("a chunk without data", "frame", b"{\"t\":\"chunk\",\"id\":CALL}", "a chunk has no data"),
        wrong("close", json!({}), Some(("crashed", "it closed descriptor 4")), Gone("crashed")),
        wrong("dribble", json!({}), None, Kept),
        wrong("dribble without end", json!({}), Some(("timeout", "")), Gone("timeout")),
        wrong("twice", json!({}), None, Kept).dropped("frames", 1),
        wrong("foreign", json!({}), None, Kept).dropped("frames", 2),
        wrong("large", json!({}), Some(("output_too_large", "1048576 are allowed")), Gone("crashed")),
        wrong(
            "a length without a body",
            json!({"bytes": hex((50_u32 << 20).to_le_bytes())}),
            Some(("timeout", "")),
            Gone("timeout"),
        ),
    ]
}

/// Frames that are in order, with an output that nobody can use.
fn of_the_output() -> Vec<Wrong> {
    let output = |name, text: &[u8], message| {
        let input = json!({"output": hex(text)});
        wrong(name, input, Some(("invalid_output", message)), Kept)
    };
    vec![
        output("1e999", b"[1e999]", "the output is not usable JSON: number out of range"),
        output("half a character", b"{\"a\":\"\\ud800\"}", "the output is not usable JSON: "),
        output("half a character in a key", b"{\"\\udfff\":1}", "the output is not usable JSON: "),
        output("a key twice", b"{\"a\":{\"b\":1,\"c\":2,\"b\":3}}", "the key `b` stands twice"),
        output("a key twice, written differently", b"{\"a\":1,\"\\u0061\":2}", "the key `a` stands twice"),
        wrong("deep", json!({}), Some(("invalid_output", "recursion limit exceeded")), Kept),
    ]
}

fn of_the_process() -> Vec<Wrong> {
    let flood = |name, fd: u8, line: bool, dropped, count| {
        let input = json!({"how": "flood", "fd": fd, "line": line});
        wrong(name, input, None, Kept).dropped(dropped, count)
    };
    vec![
        wrong("exit", json!({}), Some(("crashed", "the worker ended with exit code 7")), Gone("crashed")),
        wrong("segv", json!({}), Some(("crashed", "the worker was killed by SIGSEGV")), Gone("crashed")),
        wrong("loop", json!({}), Some(("timeout", "")), Gone("timeout")),
        wrong("print without end", json!({}), Some(("timeout", "")), Gone("timeout")),
        wrong("stop", json!({}), Some(("crashed", "it had been stopped (SIGSTOP)")), Gone("killed")),
        flood("a flood of lines on stdout", 1, false, "stdout_lines", 5_000_000),
        flood("a flood of lines on stderr", 2, false, "stderr_lines", 5_000_000),
        flood("a line without end on stdout", 1, true, "lines_cut", 1),
        flood("a line without end on stderr", 2, true, "lines_cut", 1),
        // The worker's child lives on when the call ends; a process plugin says nothing of that.
        wrong("daemon", json!({}), None, Kept),
        wrong("remove", json!({}), None, Kept).of(&[Python]),
        wrong("descriptors", json!({}), Some(("plugin_error", "Too many open files")), Gone("recycled"))
            .of(&[Python]),
        wrong("some descriptors", json!({}), None, Gone("recycled")).of(&[Python]),
        wrong("some descriptors", json!({}), None, Kept).of(&[Process]),
    ]
}

fn of_what_it_uses() -> Vec<Wrong> {
    let memory = Some(("memory_exceeded", "Mi of memory; limits.memory allows 160Mi"));
    vec![
        wrong("grow", json!({}), memory, Gone("memory_exceeded")),
        wrong("grow in children", json!({}), memory, Gone("memory_exceeded")),
        wrong("shared", json!({}), None, Kept),
        wrong("run away", json!({}), None, Kept),
    ]
}

fn of_the_number_of_processes() -> Vec<Wrong> {
    vec![wrong(
        "bomb",
        json!({"depth": 10, "seconds": 20}),
        Some(("crashed", "more than 512 processes")),
        Gone("killed"),
    )]
}

const BOUNDED: &str = "limits: {timeout: 30s, memory: 160Mi}";
const UNBOUNDED: &str = "limits: {timeout: 30s, memory: 8Gi, concurrency: 8, instances: {max: 8}}";

fn plugin(kind: Kind, limits: &str, home: Home) -> Home {
    let limits = &format!("{limits}\ncircuit_breaker: {{min_calls: 1000}}");
    match kind {
        Python => home.plugin("bad", limits, &format!("{WRONGS}{IN_PYTHON}")),
        Process => {
            let manifest = format!("name: bad\nversion: 1.0.0\nentrypoint: ./main\n{limits}\n");
            home.write("plugins/bad/manifest.yaml", manifest);
            home.write("plugins/bad/main", format!("#!/usr/bin/env python3\n{WRONGS}{SPEAKER}"));
            home
        }
    }
}

async fn all_of(kind: Kind, limits: &str, wrongs: Vec<Wrong>) {
    if !require("python3") {
        return;
    }
    let server = plugin(kind, limits, Home::new()).serve().await;
    let mut worker = fine(&server, "before").await;
    let settled = Settled::now(&server);
    for mut wrong in wrongs.into_iter().filter(|wrong| wrong.of.contains(&kind)) {
        println!("{kind:?}: {}", wrong.name);
        let folder = tempfile::tempdir().unwrap();
        if wrong.name == "daemon" {
            wrong.input["path"] = json!(folder.path());
        }
        let before = server.client.scrape().await;
        let start = Instant::now();
        // Who must be ended by the deadline gets a short one; the others are not hurried on a busy machine.
        let timeout = if wrong.error.is_some_and(|(kind, _)| kind == "timeout") { "1500ms" } else { "20s" };
        let body = json!({"input": wrong.input, "timeout": timeout});
        let reply = server.client.call("bad", body, &[]).await;
        let document = reply.json();

        let (outcome, error) = match wrong.error {
            None => {
                assert_eq!(reply.status, 200, "{document:#}");
                ("replied", "none")
            }
            Some((error, message)) => {
                assert_eq!(document["kind"], error, "{document:#}");
                let detail = document["detail"].as_str().unwrap();
                assert!(detail.contains(message), "{detail}");
                ("failed", error)
            }
        };
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
        // One ending, of this kind.
        let after = server.client.scrape().await;
        let endings = after.changes(&before, "spanglass_invocations_total");
        assert_eq!(endings.len(), 1, "{endings:?}");
        let (labels, count) = &endings[0];
        assert_eq!((&*labels["outcome"], &*labels["error_type"], *count), (outcome, error, 1.0));

        if error == "memory_exceeded" {
            let row = server.client.invocation(document["invocation_id"].as_str().unwrap()).await;
            let peak = row["usage"]["memory_peak_bytes"].as_u64().unwrap();
            println!("  peak {} MiB of 160", peak >> 20);
            assert!(peak > 160 << 20, "{peak}");
        }

        // The next call works, in the same worker or in another.
        let next = fine(&server, wrong.name).await;
        assert_eq!(next == worker, wrong.worker == Kept, "{}: worker {worker}, then {next}", wrong.name);
        let after = server.client.scrape().await;
        let exits = after.changes(&before, "spanglass_instance_exits_total");
        let exits: Vec<_> = exits.iter().map(|(labels, count)| (&*labels["reason"], *count)).collect();
        match wrong.worker {
            Kept => assert_eq!(exits, []),
            Gone(reason) => assert_eq!(exits, [(reason, 1.0)]),
        }
        if let Some((what, count)) = wrong.dropped {
            let dropped = after.sum("spanglass_guest_dropped_total", &[("what", what)])
                - before.sum("spanglass_guest_dropped_total", &[("what", what)]);
            assert!(dropped >= count as f64, "{what}: {dropped}");
        }
        assert_eq!(after.unbalanced(), [""; 0]);
        worker = next;

        nothing_is_left(&server, worker, folder.path(), &settled).await;
    }
}

/// A call that works; the worker's process id.
async fn fine(server: &Server, after: &str) -> u32 {
    let reply = server.client.invoke("bad", json!({"how": "fine"})).await;
    assert_eq!(reply.status, 200, "after {after}: {}", reply.text());
    assert_eq!(reply.json()["data"]["cwd"], json!([]), "an empty working folder");
    reply.json()["data"]["pid"].as_u64().unwrap().try_into().unwrap()
}

/// What there is while one worker is idle: it, its supervisor, and for Python a fork server.
struct Settled {
    processes: usize,
    descriptors: Descriptors,
    folders: usize,
}

impl Settled {
    fn now(server: &Server) -> Settled {
        let processes = server.descendants().len();
        Settled { processes, descriptors: server.descriptors(), folders: server.scratch_folders() }
    }
}

async fn nothing_is_left(server: &Server, worker: u32, folder: &Path, settled: &Settled) {
    let settles = || {
        let below = server.descendants();
        below.len() <= settled.processes && below.contains(&worker)
    };
    eventually("no process is left", Duration::from_secs(2), settles).await;
    let (noted, moment) = (noted(folder), kernel_now());
    let one = || noted.iter().any(|pid| alive_since(*pid, moment));
    eventually("all that it had started is gone", Duration::from_secs(2), || !one()).await;
    no_more_descriptors(server, &settled.descriptors).await;
    eventually("no folder is left", PATIENCE, || server.scratch_folders() <= settled.folders).await;
}

type Descriptors = BTreeMap<&'static str, usize>;

async fn no_more_descriptors(server: &Server, before: &Descriptors) {
    // Connections of our own client come and go.
    const CONNECTIONS: usize = 4;
    let start = Instant::now();
    loop {
        let now = server.descriptors();
        let fits = |kind| now[kind] <= before[kind] + if kind == "socket" { CONNECTIONS } else { 0 };
        if ["pipe", "anon_inode", "socket"].into_iter().all(fits) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{now:?} is more than {before:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The processes that have left their ids in `folder`.
fn noted(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.filter_map(|entry| read_pid(&entry.unwrap().path())).collect()
}

#[tokio::test]
async fn python_plugins_that_break_the_protocol() {
    all_of(Python, BOUNDED, of_the_protocol()).await;
}

#[tokio::test]
async fn process_plugins_that_break_the_protocol() {
    all_of(Process, BOUNDED, of_the_protocol()).await;
}

#[tokio::test]
async fn python_plugins_with_unusable_outputs() {
    all_of(Python, BOUNDED, of_the_output()).await;
}

#[tokio::test]
async fn process_plugins_with_unusable_outputs() {
    all_of(Process, BOUNDED, of_the_output()).await;
}

#[tokio::test]
async fn python_plugins_that_misuse_their_process() {
    all_of(Python, BOUNDED, of_the_process()).await;
}

#[tokio::test]
async fn process_plugins_that_misuse_their_process() {
    all_of(Process, BOUNDED, of_the_process()).await;
}

#[tokio::test]
async fn python_plugins_that_use_too_much() {
    all_of(Python, BOUNDED, of_what_it_uses()).await;
}

#[tokio::test]
async fn process_plugins_that_use_too_much() {
    all_of(Process, BOUNDED, of_what_it_uses()).await;
}

#[tokio::test]
async fn python_plugins_that_are_fork_bombs() {
    all_of(Python, UNBOUNDED, of_the_number_of_processes()).await;
}

#[tokio::test]
async fn process_plugins_that_are_fork_bombs() {
    all_of(Process, UNBOUNDED, of_the_number_of_processes()).await;
}

/// Its neighbours are copies of the same process, and it takes a moment to die.
#[tokio::test]
async fn who_uses_too_much_takes_no_neighbour_along() {
    if !require("python3") {
        return;
    }
    let source = r#"
def invoke(data):
    held = []
    while data["grow"]: held.append(b"x" * (1 << 20))
"#;
    let plugin = Plugin::python(source, |manifest| manifest.limits.memory_bytes = 300 << 20);
    let mut neighbour = plugin.start().await;
    for _ in 0..5 {
        let mut worker = plugin.start().await;
        assert_eq!(parent(worker.pid()), parent(neighbour.pid()), "both are copies");
        let error = worker.error(json!({"grow": true})).await;
        assert_eq!(error.kind, ErrorKind::MemoryExceeded, "{error}");
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(400) {
            neighbour.output(json!({"grow": false})).await;
        }
    }
}

/// A worker in shell that dies in each call.
const DYING: &str = r#"#!/bin/sh
dd bs=64k count=1 <&3 >/dev/null 2>&1
printf '\023\0\0\0{"t":"ready","v":1}' >&4
dd bs=64k count=1 <&3 >/dev/null 2>&1
exit 7
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_crashes_leave_no_trace_in_the_runner() {
    const CRASHES: usize = 1000;
    const CALLERS: usize = 4;
    let home = Home::new();
    let rest = "entrypoint: ./main\ncircuit_breaker: {min_calls: 100000}\n";
    home.write("plugins/dying/manifest.yaml", format!("name: dying\nversion: 1.0.0\n{rest}"));
    home.write("plugins/dying/main", DYING);
    let server = home.serve().await;
    let crash = async || {
        let reply = server.client.invoke("dying", json!({})).await;
        assert_eq!((reply.status, &reply.json()["kind"]), (502, &json!("crashed")), "{}", reply.text());
    };
    futures_util::future::join_all((0..CALLERS).map(|_| crash())).await;
    eventually("all is gone", PATIENCE, || server.descendants().is_empty()).await;
    let (descriptors, resident) = (server.descriptors(), server.resident_bytes());
    let caller = async || {
        for _ in 0..CRASHES / CALLERS {
            crash().await;
        }
    };
    futures_util::future::join_all((0..CALLERS).map(|_| caller())).await;
    eventually("no process is left", Duration::from_secs(2), || server.descendants().is_empty()).await;
    no_more_descriptors(&server, &descriptors).await;
    eventually("no folder is left", PATIENCE, || server.scratch_folders() == 0).await;
    let grown = server.resident_bytes().saturating_sub(resident) >> 20;
    println!("{grown} MiB more after {CRASHES} crashes");
    assert!(grown <= 32, "{grown} MiB more");
    let scrape = server.client.scrape().await;
    let exits = scrape.sum("spanglass_instance_exits_total", &[("reason", "crashed")]);
    assert_eq!(exits, (CRASHES + CALLERS) as f64);
}

/// kill -9 of the server while all of that is going on at once.
#[tokio::test]
async fn a_runner_killed_under_fire_leaves_no_process() {
    if !require("python3") {
        return;
    }
    for kind in [Python, Process] {
        let mut server = plugin(kind, UNBOUNDED, Home::new()).serve().await;
        let folder = tempfile::tempdir().unwrap();
        let mut calls = Vec::new();
        for input in [
            json!({"how": "stop"}),
            json!({"how": "loop"}),
            json!({"how": "flood without end"}),
            json!({"how": "daemon", "path": folder.path()}),
            json!({"how": "run away"}),
            json!({"how": "bomb", "depth": 8, "seconds": 15, "path": folder.path()}),
        ] {
            let client = server.client.clone();
            let body = json!({"input": input}).to_string();
            calls.push(tokio::spawn(async move {
                client.try_send(http::Method::POST, "/v1/plugins/bad/invoke", &[], body).await
            }));
        }
        eventually("the bomb has gone off", PATIENCE, || noted(folder.path()).len() >= 200).await;
        let below = server.descendants();
        let (killed, moment) = (Instant::now(), kernel_now());
        server.kill();

        let left = || {
            let all = [below.clone(), noted(folder.path())].concat();
            all.into_iter().filter(|pid| alive_since(*pid, moment)).count()
        };
        eventually("no process is left", Duration::from_secs(2), || left() == 0).await;
        println!("{kind:?}: {} processes gone after {:?}", below.len(), killed.elapsed());
        for call in calls {
            // The daemon's call has ended before.
            drop(call.await.unwrap());
        }
    }
}
