//! Every way in which an invocation can end, and what each leaves behind: the answer, the exit code, spans in
//! the ledger and at the collector, counters, the histogram, the last log line, the ledger's row.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::metrics::Scrape;
use crate::support::server::{Client, Home, Reply, Server};
use crate::support::sink::{SeenSpan, Sink, Transport};
use crate::support::{PATIENCE, alive, eventually, read_pid, require};

/// One way to end.
struct Ending {
    name: &'static str,
    plugin: &'static str,
    /// The body of the call.
    body: &'static str,
    arrange: Arrange,
    status: u16,
    /// `kind` and blame; `None` when it replied.
    error: Option<(&'static str, &'static str)>,
    exit: i32,
    attempts: u64,
    /// Part of the message.
    detail: &'static str,
    /// Labels of the counter: plugin, version, action.
    counted_as: [&'static str; 3],
    /// Spans below the root, without `prepare`: name, parent, whether it failed.
    spans: &'static [(&'static str, &'static str, bool)],
}

#[derive(Clone, Copy, PartialEq)]
enum Arrange {
    Nothing,
    /// A call that fails, so that the circuit opens.
    OneFailure,
    /// A call that occupies the only place.
    Occupied,
}

const UNKNOWN: [&str; 3] = ["_other", "_other", "_other"];
const INPUT: (&str, &str, bool) = ("validate_input", "root", false);
const QUEUE: (&str, &str, bool) = ("queue", "attempt", false);
const FAILED_IN_EXECUTE: &[(&str, &str, bool)] =
    &[INPUT, ("attempt", "root", true), QUEUE, ("execute", "attempt", true)];

const ENDINGS: &[Ending] = &[
    Ending {
        name: "replied",
        plugin: "echo",
        body: r#"{"input": {"v": 123456789012345678901234567890}}"#,
        arrange: Arrange::Nothing,
        status: 200,
        error: None,
        exit: 0,
        attempts: 1,
        detail: "",
        counted_as: ["echo", "1.0.0", "invoke"],
        spans: &[
            INPUT,
            ("attempt", "root", false),
            QUEUE,
            ("execute", "attempt", false),
            ("validate_output", "root", false),
        ],
    },
    Ending {
        name: "replied by another action",
        plugin: "echo",
        body: r#"{"input": {}, "action": "other", "version": "^1"}"#,
        arrange: Arrange::Nothing,
        status: 200,
        error: None,
        exit: 0,
        attempts: 1,
        detail: "",
        counted_as: ["echo", "1.0.0", "other"],
        spans: &[
            INPUT,
            ("attempt", "root", false),
            QUEUE,
            ("execute", "attempt", false),
            ("validate_output", "root", false),
        ],
    },
    Ending {
        name: "the input does not fit",
        plugin: "typed",
        body: r#"{"input": {"n": "one", "how": 1}}"#,
        arrange: Arrange::Nothing,
        status: 422,
        error: Some(("invalid_input", "caller")),
        exit: 3,
        attempts: 0,
        detail: "the input does not fit its schema",
        counted_as: ["typed", "1.0.0", "invoke"],
        spans: &[("validate_input", "root", true)],
    },
    Ending {
        name: "the input is no object",
        plugin: "echo",
        body: r#"{"input": [1]}"#,
        arrange: Arrange::Nothing,
        status: 422,
        error: Some(("invalid_input", "caller")),
        exit: 3,
        attempts: 0,
        detail: "not a JSON object",
        counted_as: ["echo", "1.0.0", "invoke"],
        spans: &[("validate_input", "root", true)],
    },
    Ending {
        name: "a key of the input stands twice",
        plugin: "echo",
        body: r#"{"input": {"a": {"b": 1, "b": 2}}}"#,
        arrange: Arrange::Nothing,
        status: 422,
        error: Some(("invalid_input", "caller")),
        exit: 3,
        attempts: 0,
        detail: "the key `b` stands twice",
        counted_as: ["echo", "1.0.0", "invoke"],
        spans: &[("validate_input", "root", true)],
    },
    Ending {
        name: "a number of the input fits no double",
        plugin: "echo",
        body: r#"{"input": {"a": 1e999}}"#,
        arrange: Arrange::Nothing,
        status: 422,
        error: Some(("invalid_input", "caller")),
        exit: 3,
        attempts: 0,
        detail: "number out of range",
        counted_as: ["echo", "1.0.0", "invoke"],
        spans: &[("validate_input", "root", true)],
    },
    Ending {
        name: "a text of the input is half a character",
        plugin: "echo",
        body: r#"{"input": {"a": "\ud800"}}"#,
        arrange: Arrange::Nothing,
        status: 422,
        error: Some(("invalid_input", "caller")),
        exit: 3,
        attempts: 0,
        detail: "the input is not usable JSON",
        counted_as: ["echo", "1.0.0", "invoke"],
        spans: &[("validate_input", "root", true)],
    },
    Ending {
        name: "the input is too large",
        plugin: "typed",
        body: r#"{"input": {"n": 1, "padding": "0123456789012345678901234567890123456789012345678901234567890123456789"}}"#,
        arrange: Arrange::Nothing,
        status: 413,
        error: Some(("input_too_large", "caller")),
        exit: 3,
        attempts: 0,
        detail: "the limit is",
        counted_as: ["typed", "1.0.0", "invoke"],
        spans: &[("validate_input", "root", true)],
    },
    Ending {
        name: "no such plugin",
        plugin: "nobody",
        body: r#"{"input": {}}"#,
        arrange: Arrange::Nothing,
        status: 404,
        error: Some(("not_found", "caller")),
        exit: 7,
        attempts: 0,
        detail: "nobody",
        counted_as: UNKNOWN,
        spans: &[],
    },
    Ending {
        name: "no such version",
        plugin: "echo",
        body: r#"{"input": {}, "version": "7.0.0"}"#,
        arrange: Arrange::Nothing,
        status: 404,
        error: Some(("not_found", "caller")),
        exit: 7,
        attempts: 0,
        detail: "no version of echo fits",
        counted_as: UNKNOWN,
        spans: &[],
    },
    Ending {
        name: "no such action",
        plugin: "echo",
        body: r#"{"input": {}, "action": "dance"}"#,
        arrange: Arrange::Nothing,
        status: 404,
        error: Some(("not_found", "caller")),
        exit: 7,
        attempts: 0,
        detail: "echo has no action \"dance\"",
        counted_as: UNKNOWN,
        spans: &[],
    },
    Ending {
        name: "the output does not fit",
        plugin: "typed",
        body: r#"{"input": {"n": 1, "how": "wrong-type"}}"#,
        arrange: Arrange::Nothing,
        status: 502,
        error: Some(("invalid_output", "plugin")),
        exit: 4,
        attempts: 1,
        detail: "the output does not fit its schema",
        counted_as: ["typed", "1.0.0", "invoke"],
        spans: &[
            INPUT,
            ("attempt", "root", false),
            QUEUE,
            ("execute", "attempt", false),
            ("validate_output", "root", true),
        ],
    },
    Ending {
        name: "the output is no JSON",
        plugin: "typed",
        body: r#"{"input": {"n": 1, "how": "nan"}}"#,
        arrange: Arrange::Nothing,
        status: 502,
        error: Some(("invalid_output", "plugin")),
        exit: 4,
        attempts: 1,
        detail: "",
        counted_as: ["typed", "1.0.0", "invoke"],
        spans: FAILED_IN_EXECUTE,
    },
    Ending {
        name: "an exception",
        plugin: "typed",
        body: r#"{"input": {"n": 1, "how": "raise"}}"#,
        arrange: Arrange::Nothing,
        status: 502,
        error: Some(("plugin_error", "plugin")),
        exit: 4,
        attempts: 1,
        detail: "ValueError: on purpose",
        counted_as: ["typed", "1.0.0", "invoke"],
        spans: FAILED_IN_EXECUTE,
    },
    Ending {
        name: "an exception, three times",
        plugin: "stubborn",
        body: r#"{"input": {}}"#,
        arrange: Arrange::Nothing,
        status: 502,
        error: Some(("plugin_error", "plugin")),
        exit: 4,
        attempts: 3,
        detail: "RuntimeError: again",
        counted_as: ["stubborn", "1.0.0", "invoke"],
        spans: &[
            INPUT,
            ("attempt", "root", true),
            QUEUE,
            ("execute", "attempt", true),
            ("attempt", "root", true),
            QUEUE,
            ("execute", "attempt", true),
            ("attempt", "root", true),
            QUEUE,
            ("execute", "attempt", true),
        ],
    },
    Ending {
        name: "the process exits",
        plugin: "typed",
        body: r#"{"input": {"n": 1, "how": "exit"}}"#,
        arrange: Arrange::Nothing,
        status: 502,
        error: Some(("crashed", "plugin")),
        exit: 4,
        attempts: 1,
        detail: "exit code 3",
        counted_as: ["typed", "1.0.0", "invoke"],
        spans: FAILED_IN_EXECUTE,
    },
    Ending {
        name: "the process is killed",
        plugin: "typed",
        body: r#"{"input": {"n": 1, "how": "kill"}}"#,
        arrange: Arrange::Nothing,
        status: 502,
        error: Some(("crashed", "plugin")),
        exit: 4,
        attempts: 1,
        detail: "SIGKILL",
        counted_as: ["typed", "1.0.0", "invoke"],
        spans: FAILED_IN_EXECUTE,
    },
    Ending {
        name: "the output is too large",
        plugin: "typed",
        body: r#"{"input": {"n": 1, "how": "large"}}"#,
        arrange: Arrange::Nothing,
        status: 502,
        error: Some(("output_too_large", "plugin")),
        exit: 5,
        attempts: 1,
        detail: "",
        counted_as: ["typed", "1.0.0", "invoke"],
        spans: FAILED_IN_EXECUTE,
    },
    Ending {
        name: "it takes too long",
        plugin: "typed",
        body: r#"{"input": {"n": 1, "how": "sleep"}, "timeout": "200ms"}"#,
        arrange: Arrange::Nothing,
        status: 504,
        error: Some(("timeout", "plugin")),
        exit: 5,
        attempts: 1,
        detail: "the call was not over after 200ms",
        counted_as: ["typed", "1.0.0", "invoke"],
        spans: FAILED_IN_EXECUTE,
    },
    Ending {
        name: "it cannot be imported",
        plugin: "broken",
        body: r#"{"input": {}}"#,
        arrange: Arrange::Nothing,
        status: 503,
        error: Some(("unavailable", "plugin")),
        exit: 4,
        attempts: 1,
        detail: "no_such_module",
        counted_as: ["broken", "1.0.0", "invoke"],
        spans: &[INPUT, ("attempt", "root", true), QUEUE],
    },
    Ending {
        name: "a secret is missing",
        plugin: "secretive",
        body: r#"{"input": {}}"#,
        arrange: Arrange::Nothing,
        status: 503,
        error: Some(("unavailable", "plugin")),
        exit: 4,
        attempts: 0,
        detail: "API_TOKEN",
        counted_as: ["secretive", "1.0.0", "invoke"],
        spans: &[],
    },
    Ending {
        name: "the circuit is open",
        plugin: "fuse",
        body: r#"{"input": {}}"#,
        arrange: Arrange::OneFailure,
        status: 503,
        error: Some(("circuit_open", "plugin")),
        exit: 4,
        attempts: 0,
        detail: "the circuit is open",
        counted_as: ["fuse", "1.0.0", "invoke"],
        spans: &[INPUT],
    },
    Ending {
        name: "there is no place",
        plugin: "single",
        body: r#"{"input": {}}"#,
        arrange: Arrange::Occupied,
        status: 503,
        error: Some(("overloaded", "host")),
        exit: 5,
        attempts: 0,
        detail: "1 calls run and 0 wait already",
        counted_as: ["single", "1.0.0", "invoke"],
        spans: &[],
    },
];

const ECHO: &str =
    "def invoke(input_data):\n    return input_data\n\ndef other(input_data):\n    return {}\n";

const TYPED: &str = r#"
import os, signal, time

def invoke(input_data):
    match input_data.get("how"):
        case "wrong-type": return {"n": "text"}
        case "nan": return {"n": float("nan")}
        case "raise": raise ValueError("on purpose")
        case "exit": os._exit(3)
        case "kill": os.kill(os.getpid(), signal.SIGKILL)
        case "large": return {"n": 1, "padding": "x" * 5000}
        case "sleep": time.sleep(60)
    return {"n": 1}
"#;

const WAITING: &str = r#"
import os, time

def invoke(input_data):
    while "while_exists" in input_data and os.path.exists(input_data["while_exists"]):
        time.sleep(0.01)
    return {}
"#;

/// Runs `executor.py`'s functions without the program's own worker: the protocol written by hand, as in any other
/// language.
const SPEAKER: &str = r#"
import json as _json, os as _os, resource as _resource, struct as _struct, sys as _sys

def _send(**frame):
    body = _json.dumps(frame, allow_nan=False).encode()
    _os.write(4, _struct.pack("<I", len(body)) + body)

def _read(count):
    data = b""
    while len(data) < count:
        part = _os.read(3, count - len(data))
        if not part:
            _os._exit(0)
        data += part
    return data

def _call(id, action, input, **rest):
    used = _resource.getrusage(_resource.RUSAGE_SELF)
    usage = {"cpu_us": int(used.ru_utime * 1e6), "rss_peak_kib": used.ru_maxrss}
    try:
        output = globals()[action](input)
        if not hasattr(output, "__next__"):
            return _send(t="end", id=id, output=output, usage=usage)
        count = 0
        for part in output:
            _send(t="chunk", id=id, seq=count, data=part)
            count += 1
        _send(t="end", id=id, chunks=count, usage=usage)
    except Exception as error:
        kind = "invalid_output" if "JSON" in str(error) else "plugin_error"
        _send(t="error", id=id, kind=kind, type=type(error).__name__, message=str(error), usage=usage)

while True:
    _frame = _json.loads(_read(_struct.unpack("<I", _read(4))[0]))
    _kind = _frame.pop("t")
    if _kind == "hello":
        _send(t="ready", v=1, language="python by hand")
    elif _kind == "call":
        _call(**_frame)
    elif _kind == "shutdown":
        _sys.exit(0)
"#;

/// A runtime for which the contract holds, and how the plugins of these tests are written for it.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Python,
    Process,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Python => "python",
            Kind::Process => "process",
        }
    }

    /// `rest` is YAML below name and version, without actions; `source` has a function for each action.
    fn plugin(self, home: Home, name: &str, rest: &str, actions: &[&str], source: &str) -> Home {
        let action = |action: &&str| match self {
            Kind::Python => format!("{action}: {{entrypoint: 'executor.py:{action}'}}"),
            Kind::Process => format!("{action}: {{description: of the same executable}}"),
        };
        let actions: Vec<String> = actions.iter().map(action).collect();
        let rest = format!("actions: {{{}}}\n{rest}", actions.join(", "));
        if self == Kind::Python {
            return home.plugin(name, &rest, source);
        }
        let manifest = format!("name: {name}\nversion: 1.0.0\nentrypoint: ./bin/main\n{rest}\n");
        home.write(&format!("plugins/{name}/manifest.yaml"), manifest);
        home.write(&format!("plugins/{name}/bin/main"), format!("#!/usr/bin/env python3\n{source}{SPEAKER}"));
        home
    }
}

fn home(kind: Kind, sink: &Sink) -> Home {
    let plugins: [(&str, &str, &[&str], &str); 7] = [
        ("echo", "", &["other"], ECHO),
        (
            "typed",
            "input: {n: integer, how: string?}\noutput: {n: integer}\nlimits: {max_input: 64, max_output: 1Ki}\ncircuit_breaker: {min_calls: 1000}",
            &[],
            TYPED,
        ),
        (
            "stubborn",
            "retry: {max_attempts: 3, backoff: none, retry_on: [plugin_error]}",
            &[],
            "def invoke(input_data):\n    raise RuntimeError('again')\n",
        ),
        ("broken", "", &[], "import no_such_module\n"),
        ("secretive", "secrets: [API_TOKEN]", &[], ECHO),
        (
            "fuse",
            "circuit_breaker: {min_calls: 1, failure_ratio: 0.1, open_for: 10m}",
            &[],
            "def invoke(input_data):\n    raise RuntimeError('blown')\n",
        ),
        ("single", "limits: {concurrency: 1, queue: 0}", &[], WAITING),
    ];
    let mut home = plugins.into_iter().fold(Home::new(), |home, (name, rest, actions, source)| {
        kind.plugin(home, name, rest, actions, source)
    });
    home.env.extend(sink.variables());
    home
}

#[tokio::test]
async fn every_ending_of_a_python_plugin_leaves_what_the_contract_says() {
    every_ending_leaves_what_the_contract_says(Kind::Python).await;
}

#[tokio::test]
async fn every_ending_of_a_process_plugin_leaves_what_the_contract_says() {
    every_ending_leaves_what_the_contract_says(Kind::Process).await;
}

async fn every_ending_leaves_what_the_contract_says(kind: Kind) {
    if !require("python3") {
        return;
    }
    let sink = Sink::start(Transport::Http);
    let server = home(kind, &sink).serve().await;
    for ending in ENDINGS {
        println!("{}", ending.name);
        let occupant = arrange(&server, ending).await;
        let before = server.client.scrape().await;
        let path = format!("/v1/plugins/{}/invoke", ending.plugin);
        let reply = server.client.post(&path, ending.body).await;

        assert_eq!(reply.status, ending.status, "{}", reply.text());
        let (invocation_id, trace_id) = check_answer(&server.client, ending, &reply).await;
        let after = server.client.scrape().await;
        check_counters(ending, &before, &after);
        check_ledger(&server.client, ending, &invocation_id, &trace_id).await;
        let trace = server.client.trace(&trace_id).await;
        check_spans(kind, ending, &spans_of_ledger(&trace), Some("server"));
        let received = sink.spans_of(&trace_id, trace["spans"].as_array().unwrap().len()).await;
        check_spans(kind, ending, &spans_of_sink(&received), Some("server"));
        check_log_line(&server, ending, &invocation_id, &trace_id).await;

        check_command(&server, ending).await;
        if let Some(occupant) = occupant {
            std::fs::remove_file(server.home.path().join("busy")).unwrap();
            assert_eq!(occupant.await.unwrap().status, 200);
        }
    }
}

/// The counter's families are complete: no ending was forgotten, none counted twice.
fn check_counters(ending: &Ending, before: &Scrape, after: &Scrape) {
    let (kind, blame) = ending.error.unwrap_or(("none", "none"));
    let outcome = if ending.error.is_some() { "failed" } else { "replied" };
    let [plugin, version, action] = ending.counted_as;
    let labels: BTreeMap<String, String> = [
        ("plugin", plugin),
        ("version", version),
        ("action", action),
        ("outcome", outcome),
        ("error_type", kind),
        ("blame", blame),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    assert_eq!(after.changes(before, "spanglass_invocations_total"), [(labels.clone(), 1.0)]);
    // What ratios of errors are made of exists at 0; callers' mistakes appear with the first one.
    if plugin != "_other" && blame != "caller" {
        let labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let registered = before.has("spanglass_invocations_total", &labels);
        assert!(registered, "a registered plugin's counters exist at 0: {labels:?}");
    }

    let histogram = after.changes(before, "spanglass_invocation_duration_seconds_count");
    let reached = ending.attempts > 0;
    assert_eq!(histogram.len(), usize::from(reached), "{histogram:?}");
    for (labels, change) in histogram {
        let labels = [&labels["plugin"], &labels["version"], &labels["outcome"]];
        assert_eq!((labels, change), ([plugin, version, outcome].map(String::from).each_ref(), 1.0));
    }
    let attempts = after.changes(before, "spanglass_attempts_total");
    assert_eq!(
        attempts.iter().map(|(_, change)| *change as u64).sum::<u64>(),
        ending.attempts,
        "{attempts:?}"
    );
    assert_eq!(after.changes(before, "spanglass_active_invocations"), []);
    assert_eq!(after.unbalanced(), [""; 0]);
}

/// The answer's shape; its ids.
async fn check_answer(client: &Client, ending: &Ending, reply: &Reply) -> (String, String) {
    let (header_trace_id, ..) = reply.traceparent();
    let document = reply.json();
    let Some((kind, blame)) = ending.error else {
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(document["status"], "success");
        let meta = &document["meta"];
        assert_eq!(meta["trace_id"], header_trace_id);
        assert_eq!(keys(&document), ["data", "meta", "status"]);
        let members = [
            "action",
            "attempts",
            "cold_start",
            "duration_ms",
            "invocation_id",
            "plugin",
            "queue_ms",
            "trace_id",
            "version",
        ];
        assert_eq!(keys(meta), members);
        assert_eq!((&meta["plugin"], &meta["version"]), (&json!(ending.plugin), &json!("1.0.0")));
        assert_eq!(meta["attempts"], ending.attempts);
        assert!(meta["duration_ms"].as_f64().unwrap() > 0.0 && meta["queue_ms"].as_f64().unwrap() >= 0.0);
        return ids(meta);
    };
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!((&document["kind"], &document["blame"]), (&json!(kind), &json!(blame)));
    assert_eq!(document["status"], ending.status);
    assert_eq!(document["trace_id"], header_trace_id);
    assert!(document["detail"].as_str().unwrap().contains(ending.detail), "{document:#}");
    assert!(!document["title"].as_str().unwrap().is_empty());
    let page = client.get(document["type"].as_str().unwrap()).await;
    assert_eq!(page.status, 200, "{document:#}");
    assert!(page.text().contains(kind));
    if ending.status == 503 {
        let seconds: u64 = reply.header("retry-after").expect("503 says when to come back").parse().unwrap();
        assert!(seconds >= 1);
        if let Some(ms) = document["retry_after_ms"].as_u64() {
            assert!(seconds * 1000 >= ms, "Retry-After must not be earlier than {ms} ms");
        }
    }
    if matches!(kind, "circuit_open" | "overloaded") {
        assert!(document["retry_after_ms"].is_u64(), "{document:#}");
    }
    for error in document["errors"].as_array().into_iter().flatten() {
        assert_eq!(keys(error), ["message", "pointer"]);
    }
    ids(&document)
}

async fn check_ledger(client: &Client, ending: &Ending, invocation_id: &str, trace_id: &str) {
    let row = client.invocation(invocation_id).await;
    assert_eq!(row["invocation_id"], invocation_id);
    assert_eq!(row["trace_id"], trace_id);
    assert_eq!((&row["state"], &row["plugin"]), (&json!("done"), &json!(ending.plugin)));
    assert_eq!(row["attempts"], ending.attempts);
    assert!(row["duration_ms"].is_f64() && row["cold_start"].is_boolean() && row["usage"].is_object());
    assert!(humantime::parse_rfc3339(row["created_at"].as_str().unwrap()).is_ok());
    match ending.error {
        None => assert_eq!((&row["outcome"], &row["error"]), (&json!("replied"), &Value::Null)),
        Some((kind, blame)) => {
            assert_eq!(row["outcome"], "failed");
            let error = &row["error"];
            assert_eq!((&error["kind"], &error["blame"]), (&json!(kind), &json!(blame)));
            assert!(error["message"].as_str().unwrap().contains(ending.detail), "{row:#}");
        }
    }
    let found = client.get(&format!("/v1/invocations?q={invocation_id}")).await.json();
    assert_eq!(found["items"][0]["invocation_id"], invocation_id);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

async fn check_log_line(server: &Server, ending: &Ending, invocation_id: &str, trace_id: &str) {
    let lines = server.lines_of(invocation_id).await;
    let last: Vec<_> = lines.iter().filter(|line| line["event_name"] == "invocation.finished").collect();
    assert_eq!(last.len(), 1, "{lines:#?}");
    let line = last[0];
    let outcome = if ending.error.is_some() { "failed" } else { "replied" };
    assert_eq!(line["outcome"], outcome);
    assert_eq!(line["trace_id"], trace_id);
    assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
    assert_eq!((&line["plugin.name"], &line["stream"]), (&json!(ending.plugin), &json!("host")));
    assert_eq!(line["error.type"], json!(ending.error.map(|(kind, _)| kind)));
    assert!(line["duration_ms"].is_number());
    let severity = match ending.error {
        None => "INFO",
        Some((_, "caller")) => "WARN",
        Some(_) => "ERROR",
    };
    assert_eq!(line["severity_text"], severity);
}

/// The same call from the command line, against the same server.
async fn check_command(server: &Server, ending: &Ending) {
    let body: BTreeMap<String, Box<serde_json::value::RawValue>> = serde_json::from_str(ending.body).unwrap();
    let text = |name: &str| body.get(name).map(|value| serde_json::from_str::<String>(value.get()).unwrap());
    let mut target = ending.plugin.to_owned();
    if let Some(version) = text("version") {
        target += &format!("@{version}");
    }
    let mut arguments =
        vec!["invoke".to_owned(), target, "--json".into(), "--input".into(), body["input"].get().into()];
    for option in ["action", "timeout"] {
        if let Some(value) = text(option) {
            arguments.extend([format!("--{option}"), value]);
        }
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = server.home.run(&arguments).await;
    assert_eq!(ran.code, ending.exit, "{ran:#?}");
    let document = ran.json();
    match ending.error {
        None => {
            assert_eq!(document["status"], "success");
            let input = body["input"].get();
            assert!(
                ending.plugin != "echo"
                    || text("action").is_some()
                    || ran.stdout.contains(input.split(':').nth(1).unwrap().trim_matches([' ', '}'])),
                "{ran:#?}"
            );
        }
        Some((kind, _)) => {
            assert_eq!((&document["kind"], &document["status"]), (&json!(kind), &json!(ending.status)))
        }
    }
}

async fn arrange(server: &Server, ending: &Ending) -> Option<tokio::task::JoinHandle<Reply>> {
    match ending.arrange {
        Arrange::Nothing => None,
        Arrange::OneFailure => {
            assert_eq!(server.client.invoke(ending.plugin, json!({})).await.status, 502);
            None
        }
        Arrange::Occupied => {
            let busy = server.home.write("busy", "");
            let (client, plugin) = (server.client.clone(), ending.plugin);
            let occupant =
                tokio::spawn(async move { client.invoke(plugin, json!({"while_exists": busy})).await });
            wait_active(&server.client, plugin, 1).await;
            Some(occupant)
        }
    }
}

async fn wait_active(client: &Client, plugin: &str, count: u32) {
    let start = std::time::Instant::now();
    while client.active(plugin).await != f64::from(count) {
        assert!(start.elapsed() < PATIENCE, "{plugin} has never {count} active calls");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A span as both the ledger and the collector know it.
#[derive(Clone, Debug)]
struct Span {
    id: String,
    parent: Option<String>,
    name: String,
    kind: &'static str,
    failed: bool,
    attributes: BTreeMap<String, Value>,
}

fn spans_of_ledger(trace: &Value) -> Vec<Span> {
    let kind =
        |kind: &Value| ["internal", "server", "client"].into_iter().find(|known| kind == known).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let span = |span: &Value| Span {
        id: text(&span["span_id"]).unwrap(),
        parent: text(&span["parent_span_id"]),
        name: text(&span["name"]).unwrap(),
        kind: kind(&span["kind"]),
        failed: span["status"] == "error",
        attributes: span["attributes"].as_object().unwrap().clone().into_iter().collect(),
    };
    trace["spans"].as_array().unwrap().iter().map(span).collect()
}

fn spans_of_sink(spans: &[SeenSpan]) -> Vec<Span> {
    let span = |span: &SeenSpan| Span {
        id: span.span_id.clone(),
        parent: span.parent_id.clone(),
        name: span.name.clone(),
        kind: ["", "internal", "server", "client"][span.kind as usize],
        failed: span.error.is_some(),
        attributes: span.attributes.clone(),
    };
    spans.iter().map(span).collect()
}

fn check_spans(kind: Kind, ending: &Ending, spans: &[Span], root_kind: Option<&str>) {
    let root = check_root(spans, ending, root_kind);
    if ending.counted_as[1] != "_other" {
        assert_eq!(root.attributes["spanglass.plugin.runtime"], kind.name());
    }
    let name_of = |id: &str| match spans.iter().find(|span| span.id == id) {
        Some(parent) if parent.id == root.id => "root".to_owned(),
        Some(parent) => parent.name.clone(),
        None => panic!("{id} is no span of this trace: {spans:#?}"),
    };
    let mut found: Vec<(String, String, bool)> = Vec::new();
    for span in spans.iter().filter(|span| span.id != root.id) {
        let parent = name_of(span.parent.as_deref().expect("only the root has no parent"));
        if span.name == "prepare" {
            // Only where no instance was waiting.
            assert_eq!(parent, "attempt");
        } else {
            found.push((span.name.clone(), parent, span.failed));
        }
        assert_eq!(span.kind, "internal", "{span:?}");
    }
    let mut expected: Vec<_> =
        ending.spans.iter().map(|(n, p, failed)| (n.to_string(), p.to_string(), *failed)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

fn check_root<'a>(spans: &'a [Span], ending: &Ending, kind: Option<&str>) -> &'a Span {
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent.is_none()).collect();
    assert_eq!(roots.len(), 1, "{spans:#?}");
    let root = roots[0];
    assert_eq!(root.name, format!("invoke {}", ending.plugin));
    assert_eq!(Some(root.kind), kind);
    assert_eq!(root.failed, ending.error.is_some());
    let attribute = |name: &str| root.attributes.get(name).cloned().unwrap_or_default();
    assert_eq!(attribute("spanglass.plugin.name"), ending.plugin);
    assert_eq!(attribute("spanglass.outcome"), if ending.error.is_some() { "failed" } else { "replied" });
    assert_eq!(attribute("spanglass.attempts"), ending.attempts);
    assert_eq!(attribute("spanglass.sandbox.tier"), "S0");
    assert_eq!(attribute("error.type"), json!(ending.error.map(|(kind, _)| kind)));
    assert_eq!(attribute("spanglass.blame"), json!(ending.error.map(|(_, blame)| blame)));
    assert!(attribute("spanglass.cold_start").is_boolean());
    for name in
        ["spanglass.invocation.id", "spanglass.action", "spanglass.input.bytes", "spanglass.output.bytes"]
    {
        assert!(root.attributes.contains_key(name), "{name}: {root:#?}");
    }
    if ending.counted_as[1] != "_other" {
        assert_eq!(attribute("spanglass.plugin.version"), "1.0.0");
    }
    if ending.attempts > 0 {
        assert!(attribute("spanglass.usage.cpu_seconds").is_number(), "{root:#?}");
        assert!(attribute("spanglass.usage.memory_peak_bytes").is_number(), "{root:#?}");
    }
    root
}

fn ids(document: &Value) -> (String, String) {
    let id =
        |name: &str| document[name].as_str().unwrap_or_else(|| panic!("{name}: {document:#}")).to_owned();
    let invocation_id = id("invocation_id");
    assert_eq!(&invocation_id[14..15], "7", "a UUIDv7: {invocation_id}");
    (invocation_id, id("trace_id"))
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

// === The caller who leaves ===

const PATIENT: &str = r#"
import os, time

def invoke(input_data):
    with open(input_data["pid_file"] + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(input_data["pid_file"] + ".new", input_data["pid_file"])
    time.sleep(60)

def chunks(input_data):
    yield {"n": 1}
    invoke(input_data)
"#;

#[tokio::test]
async fn a_caller_who_leaves_ends_the_call_as_dropped_and_its_worker() {
    if !require("python3") {
        return;
    }
    for kind in [Kind::Python, Kind::Process] {
        a_caller_leaves(kind).await;
    }
}

async fn a_caller_leaves(kind: Kind) {
    let home = kind.plugin(Home::new(), "patient", "", &["chunks"], PATIENT);
    let server = home.serve().await;
    for (action, mode) in [("invoke", "sync"), ("chunks", "stream"), ("chunks", "sync")] {
        println!("{action} {mode}");
        let pid_file = server.home.path().join(format!("pid-{action}-{mode}"));
        let before = server.client.scrape().await;
        let body = json!({"input": {"pid_file": pid_file}, "action": action});
        let client = Client::new(server.url());
        let path = format!("/v1/plugins/patient/invoke?mode={mode}");
        let call =
            tokio::spawn(
                async move { client.try_send(Method::POST, &path, &[], body.to_string()).await.is_ok() },
            );
        eventually("the call runs", PATIENCE, || read_pid(&pid_file).is_some()).await;
        let worker = read_pid(&pid_file).unwrap();
        assert!(alive(worker));
        call.abort();

        eventually("the worker is gone", Duration::from_secs(1), || !alive(worker)).await;
        wait_active(&server.client, "patient", 0).await;
        let after = server.client.scrape().await;
        let endings = after.changes(&before, "spanglass_invocations_total");
        assert_eq!(endings.len(), 1, "{endings:?}");
        let (labels, count) = &endings[0];
        assert_eq!(
            (labels["outcome"].as_str(), labels["error_type"].as_str(), *count),
            ("dropped", "cancelled", 1.0)
        );
        assert_eq!((labels["blame"].as_str(), labels["action"].as_str()), ("caller", action));
        let histogram = after.changes(&before, "spanglass_invocation_duration_seconds_count");
        assert_eq!(histogram.len(), 1);
        assert_eq!(histogram[0].0["outcome"], "dropped");

        let rows = server.client.get("/v1/invocations?outcome=dropped&limit=1").await.json();
        let row = &rows["items"][0];
        assert_eq!((&row["action"], &row["error"]["kind"]), (&json!(action), &json!("cancelled")));
        let trace = server.client.trace(row["trace_id"].as_str().unwrap()).await;
        let root = spans_of_ledger(&trace).into_iter().find(|span| span.parent.is_none()).unwrap();
        assert!(!root.failed, "Error is for failed invocations only");
        assert_eq!(root.attributes["spanglass.outcome"], "dropped");
        let lines = server.lines_of(row["invocation_id"].as_str().unwrap()).await;
        let last = lines.last().unwrap();
        assert_eq!((&last["outcome"], &last["error.type"]), (&json!("dropped"), &json!("cancelled")));
    }
}

// === Who is not let in ===

#[tokio::test]
async fn who_is_not_let_in_gets_a_problem_and_makes_no_invocation() {
    if !require("python3") {
        return;
    }
    let home = Home::new().plugin("echo", "", ECHO);
    home.write("tokens", "first-token-0123456789\nsecond-token-0123456789\n");
    let server = home.serve_with(&["--token-file", "tokens"]).await;
    let before = server.client.scrape().await;
    let authorized = ("authorization", "Bearer first-token-0123456789");
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Headers<'_>, u16, &str); 4] = [
        (&[], 401, "unauthenticated"),
        (&[("authorization", "Bearer third-token-0123456789")], 401, "unauthenticated"),
        (&[authorized, ("origin", "http://evil.example")], 403, "forbidden"),
        (&[authorized, ("host", "evil.example")], 403, "forbidden"),
    ];
    for (headers, status, kind) in cases {
        let reply = server.client.call("echo", json!({"input": {}}), headers).await;
        assert_eq!(reply.status, status, "{headers:?}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert_eq!(reply.header("www-authenticate").is_some(), status == 401);
        reply.traceparent();
        let problem = reply.json();
        assert_eq!((&problem["kind"], &problem["blame"]), (&json!(kind), &json!("caller")));
        assert_eq!(
            (&problem["status"], &problem["type"]),
            (&json!(status), &json!(format!("/docs/errors/{kind}")))
        );
        assert!(
            !problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty()
        );
    }
    let after = server.client.scrape().await;
    assert_eq!(after.changes(&before, "spanglass_invocations_total"), []);

    for (arguments, code) in [
        (vec!["invoke", "echo", "--json"], 6),
        (vec!["invoke", "echo", "--json", "--token-file", "tokens"], 0),
    ] {
        let ran = server.home.run(&arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
        assert_eq!(ran.json()["kind"], if code == 6 { json!("unauthenticated") } else { Value::Null });
    }
}

// === Streams ===

const STREAMING: &str = r#"
import os, signal

def invoke(input_data):
    with open(input_data["runs"], "a") as file:
        file.write("x")
    for n in range(input_data["chunks"]):
        yield {"n": n}
    match input_data["end"]:
        case "raise": raise ValueError("after the chunks")
        case "kill": os.kill(os.getpid(), signal.SIGKILL)
        case "wrong": yield {"n": "text"}
        case "large": yield {"n": 1, "padding": "x" * 700}

async def asynchronous(input_data):
    for n in range(input_data["chunks"]):
        yield {"n": n}
"#;

#[tokio::test]
async fn a_stream_is_chunks_and_one_end() {
    if !require("python3") {
        return;
    }
    let rest = "output: {n: integer}\nlimits: {max_output: 1Ki}\ncircuit_breaker: {min_calls: 1000}\nretry: {max_attempts: 3, backoff: none, retry_on: [plugin_error, crashed]}\nactions: {asynchronous: {entrypoint: 'executor.py:asynchronous'}}";
    let server = Home::new().plugin("streaming", rest, STREAMING).serve().await;
    // How it ends, chunks before that, the kind, how often the plugin ran: no retry after the first chunk.
    let cases = [
        ("well", 3, None, 1),
        ("well", 0, None, 1),
        ("raise", 2, Some("plugin_error"), 1),
        ("raise", 0, Some("plugin_error"), 3),
        ("kill", 2, Some("crashed"), 1),
        ("kill", 0, Some("crashed"), 3),
        ("wrong", 2, Some("invalid_output"), 1),
        // A chunk has about 8 bytes, the last one 720; together 1024 are allowed.
        ("large", 2, None, 1),
        ("large", 90, Some("output_too_large"), 1),
        ("well", 90, None, 1),
        ("well", 140, Some("output_too_large"), 1),
    ];
    for (number, (end, chunks, kind, runs)) in cases.into_iter().enumerate() {
        println!("{end} after {chunks} chunks");
        let file = server.home.path().join(format!("runs-{number}"));
        let input = json!({"chunks": chunks, "end": end, "runs": file});
        let before = server.client.scrape().await;
        let (reply, events) = server.client.stream("streaming", input.clone()).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
        let (trace_id, ..) = reply.traceparent();
        let (last, data) = events.last().unwrap();
        let sent: Vec<_> = events[..events.len() - 1].to_vec();
        assert!(sent.iter().enumerate().all(|(n, (name, data))| {
            name == "chunk" && (data["n"] == n || end == "large" && data["n"] == 1)
        }));
        assert_eq!(data["trace_id"], trace_id);
        assert_eq!(std::fs::read(&file).unwrap().len(), runs, "runs of the plugin");
        match kind {
            None => {
                assert_eq!(last, "end");
                assert_eq!(sent.len(), chunks + usize::from(end == "large"));
                assert_eq!((&data["attempts"], &data["plugin"]), (&json!(runs), &json!("streaming")));
            }
            Some(kind) => {
                assert_eq!(last, "error");
                assert_eq!(data["kind"], kind);
                assert!(sent.len() <= chunks);
                if kind != "output_too_large" {
                    assert_eq!(sent.len(), chunks);
                }
            }
        }
        let after = server.client.scrape().await;
        let endings = after.changes(&before, "spanglass_invocations_total");
        assert_eq!(endings.len(), 1);
        assert_eq!((endings[0].0["error_type"].as_str(), endings[0].1), (kind.unwrap_or("none"), 1.0));

        // The same in one answer: the list of all chunks.
        let whole = server.client.invoke("streaming", input).await;
        let document = whole.json();
        match kind {
            None => {
                let expected: Vec<_> = sent.iter().map(|(_, data)| data.clone()).collect();
                assert_eq!(document["data"], json!(expected));
            }
            Some(kind) => assert_eq!(document["kind"], kind),
        }
    }

    // On the command line: a line for each event.
    let arguments = [
        "invoke",
        "streaming",
        "--action",
        "asynchronous",
        "--stream",
        "--json",
        "--input",
        r#"{"chunks": 3}"#,
    ];
    let ran = server.home.run(&arguments).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let lines = ran.json_lines();
    let names: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["chunk", "chunk", "chunk", "end"]);
    assert_eq!(lines[2]["data"], json!({"n": 2}));
    let failing = server.home.path().join("runs-cli");
    let input = json!({"chunks": 1, "end": "raise", "runs": failing}).to_string();
    let ran = server.home.run(&["invoke", "streaming", "--stream", "--json", "--input", &input]).await;
    assert_eq!(ran.code, 4, "{ran:#?}");
    let lines = ran.json_lines();
    assert_eq!(
        (lines.len(), &lines[1]["event"], &lines[1]["data"]["kind"]),
        (2, &json!("error"), &json!("plugin_error"))
    );
}

/// A function that returns has one chunk: its reply.
#[tokio::test]
async fn a_plain_reply_is_a_stream_of_one_chunk() {
    if !require("python3") {
        return;
    }
    let server =
        Home::new().plugin("plain", "", "def invoke(input_data):\n    return {'n': 1}\n").serve().await;
    let (_, events) = server.client.stream("plain", json!({})).await;
    let names: Vec<&str> = events.iter().map(|event| event.0.as_str()).collect();
    assert_eq!((names, &events[0].1), (vec!["chunk", "end"], &json!({"n": 1})));
    let id = events[1].1["invocation_id"].as_str().unwrap();
    assert_eq!(server.client.invocation(id).await["output"], json!({"n": 1}));
}

/// What an attempt sent before it failed is in neither the reply nor the ledger.
#[tokio::test]
async fn the_chunks_of_a_failed_attempt_are_forgotten() {
    if !require("python3") {
        return;
    }
    let source = "import os, pathlib\n\ndef invoke(input_data):\n    mark = pathlib.Path(input_data['mark'])\n    \
                  first = not mark.exists()\n    mark.touch()\n    yield {'first': first}\n    \
                  if first:\n        os._exit(5)\n    yield {'done': True}\n";
    let rest = "retry: {max_attempts: 2, base: 1ms, retry_on: [crashed]}\n";
    let server = Home::new().plugin("again", rest, source).serve().await;
    let folder = tempfile::tempdir().unwrap();
    let reply = server.client.invoke("again", json!({"mark": folder.path().join("mark")})).await.json();
    let expected = json!([{"first": false}, {"done": true}]);
    assert_eq!(reply["data"], expected);
    let id = reply["meta"]["invocation_id"].as_str().unwrap();
    assert_eq!(server.client.invocation(id).await["output"], expected);
}
