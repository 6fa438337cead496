//! What the host does for plugins: it keeps values for them, lets them call each other, and leaves a failing
//! upstream alone.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::server::{Home, Server};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, require};

/// Does one operation on what it keeps, and says how it failed.
const KEEPER: &str = r#"
import asyncio

async def together(kv, count):
    await asyncio.gather(*(kv.aincrement("together") for _ in range(count)))
    await kv.aset("last", {"n": 1.5}, ttl=3600)
    return [await kv.aget("together"), await kv.aget("last"), await kv.akeys("tog"), await kv.adelete("last")]

def add(kv, by):
    tries = 0
    while True:
        value, revision = kv.get_with_revision("sum", 0)
        tries += 1
        try:
            kv.set("sum", value + by, if_revision=revision)
            return tries
        except ctx_errors.Conflict as error:
            assert error.kind == "conflict"

def invoke(data, ctx):
    global ctx_errors
    ctx_errors = ctx.services
    kv, how = ctx.services.kv, data["how"]
    if how == "together":
        return together(kv, data["count"])
    try:
        if how == "add":
            return add(kv, data["by"])
        with ctx.span("keeping"):
            return getattr(kv, how)(*data.get("args", []), **data.get("options", {}))
    except ctx.services.Error as error:
        return {"kind": error.kind, "message": error.message}
"#;

/// Calls another plugin as its input says, and says how that failed unless it is to fail itself.
const CALLER: &str = r#"
def invoke(data, ctx):
    options = data.get("options", {})
    try:
        with ctx.span("asking"):
            return ctx.services.call(data["plugin"], data.get("input"), **options)
    except ctx.services.Error as error:
        if data.get("uncaught"):
            raise
        return {"kind": error.kind, "message": error.message, "invocation_id": error.invocation_id}
"#;

const CALLEE: &str = r#"
import time

def invoke(data, ctx):
    how = data.get("how")
    if how == "wait":
        time.sleep(60)
    if how == "parts":
        return (part for part in [1, 2.50, "three"])
    if how == "refuse":
        raise ctx.errors.InvalidInput("a cat is no dog")
    if how == "raise":
        raise ValueError("out of luck")
    if how == "deadline":
        return ctx.deadline
    return {"baggage": ctx.baggage, "tracestate": ctx.tracestate, "traceparent": ctx.traceparent}

def other(data):
    return "the other action"
"#;

const ON_CALLEE: &str = "dependencies: [{name: callee, version: ^1.0.0}]";

fn home() -> Home {
    let actions = "actions: {other: {entrypoint: \"executor.py:other\"}}";
    Home::new()
        .plugin("keeper", "", KEEPER)
        .plugin("caller", ON_CALLEE, CALLER)
        .plugin("callee", actions, CALLEE)
}

/// The output of a call that must work.
async fn output(server: &Server, plugin: &str, input: Value) -> Value {
    let reply = server.client.invoke(plugin, input).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["data"].clone()
}

async fn keep(server: &Server, plugin: &str, how: &str, args: Value, options: Value) -> Value {
    output(server, plugin, json!({"how": how, "args": args, "options": options})).await
}

fn span<'t>(trace: &'t Value, name: &str) -> &'t Value {
    let spans = trace["spans"].as_array().unwrap();
    let mut found = spans.iter().filter(|span| span["name"] == name);
    let span = found.next().unwrap_or_else(|| panic!("no span {name}: {trace:#}"));
    assert!(found.next().is_none(), "several spans {name}: {trace:#}");
    span
}

/// Names from a span to the root.
fn path(trace: &Value, name: &str) -> Vec<String> {
    let spans = trace["spans"].as_array().unwrap();
    let parent = |of: &&Value| spans.iter().find(|span| span["span_id"] == of["parent_span_id"]);
    std::iter::successors(Some(span(trace, name)), parent)
        .map(|span| span["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn invocations(server: &Server, plugin: &str) -> Vec<Value> {
    let list = server.client.get(&format!("/v1/invocations?plugin={plugin}")).await.json();
    list["items"].as_array().unwrap().clone()
}

// === what plugins keep ===

#[tokio::test]
async fn what_a_plugin_keeps_survives_a_kill_and_is_its_own() {
    if !require("python3") {
        return;
    }
    let mut server = home().plugin("stranger", "", KEEPER).serve().await;
    let sets = (0..40).map(|number| {
        let (key, value) = (format!("k{number:02}"), json!({"n": number, "ratio": 1.25}));
        let server = &server;
        async move { keep(server, "keeper", "set", json!([key, value]), json!({})).await }
    });
    let mut revisions: Vec<u64> =
        join_all(sets).await.iter().map(|revision| revision.as_u64().unwrap()).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=40).collect::<Vec<_>>());

    server.restart().await;
    for number in [0, 17, 39] {
        let kept = keep(&server, "keeper", "get", json!([format!("k{number:02}")]), json!({})).await;
        assert_eq!(kept, json!({"n": number, "ratio": 1.25}));
    }
    assert_eq!(keep(&server, "keeper", "keys", json!(["k"]), json!({})).await.as_array().unwrap().len(), 40);
    assert_eq!(keep(&server, "stranger", "keys", json!([]), json!({})).await, json!([]));
    assert_eq!(keep(&server, "stranger", "get", json!(["k00", "nothing"]), json!({})).await, "nothing");

    // Another version of the plugin finds it, also after the first is gone.
    server.home.write_plugin("next", "keeper", "1.1.0", "", KEEPER);
    assert_eq!(server.home.run(&["plugin", "register", "next"]).await.code, 0);
    let reply = server.client.delete("/v1/plugins/keeper/versions/1.0.0").await;
    assert!(reply.status < 300, "{}", reply.text());
    let kept = keep(&server, "keeper", "get_with_revision", json!(["k00"]), json!({})).await;
    assert_eq!(kept[0], json!({"n": 0, "ratio": 1.25}));
}

#[tokio::test]
async fn two_workers_that_change_one_key_lose_nothing() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let adds = (0..40).map(|_| output(&server, "keeper", json!({"how": "add", "by": 5})));
    let tries: u64 = join_all(adds).await.iter().map(|tries| tries.as_u64().unwrap()).sum();
    assert!(tries >= 40);
    assert_eq!(keep(&server, "keeper", "get", json!(["sum"]), json!({})).await, 200);
    let together = output(&server, "keeper", json!({"how": "together", "count": 12})).await;
    assert_eq!(together, json!([12, {"n": 1.5}, ["together"], true]));
}

#[tokio::test]
async fn a_plugin_sees_what_is_wrong_with_what_it_keeps() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let kind = async |how: &str, args: Value, options: Value| {
        keep(&server, "keeper", how, args, options).await["kind"].clone()
    };
    assert_eq!(kind("set", json!(["k", "x".repeat(256 << 10)]), json!({})).await, "value_too_large");
    assert_eq!(kind("set", json!(["k".repeat(513), 1]), json!({})).await, "bad_key");
    assert_eq!(kind("get", json!([""]), json!({})).await, "bad_key");
    assert_eq!(kind("set", json!(["k", 1]), json!({"if_revision": 7})).await, "conflict");
    keep(&server, "keeper", "set", json!(["text", "one"]), json!({})).await;
    assert_eq!(kind("increment", json!(["text"]), json!({})).await, "not_an_integer");

    let answer = keep(&server, "keeper", "set", json!(["soon", 1]), json!({"ttl": 0.05})).await;
    assert!(answer.is_u64(), "{answer}");
    let start = Instant::now();
    while keep(&server, "keeper", "get", json!(["soon", "gone"]), json!({})).await != "gone" {
        assert!(start.elapsed() < PATIENCE);
    }
}

#[tokio::test]
async fn each_operation_is_a_span_that_does_not_tell_the_key() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let reply = server.client.invoke("keeper", json!({"how": "get", "args": ["a private key"]})).await;
    let trace = server.client.trace(&reply.traceparent().0).await;
    assert_eq!(
        path(&trace, "kv get"),
        ["kv get", "keeping", "execute", "attempt", "invoke keeper"],
        "{trace:#}"
    );
    let get = span(&trace, "kv get");
    assert_eq!(get["attributes"]["db.system.name"], "spanglass_kv");
    assert_eq!(get["attributes"]["db.namespace"], "keeper");
    assert_eq!(get["attributes"]["db.operation.name"], "get");
    assert_eq!(get["attributes"]["db.response.returned_rows"], 0);
    assert!(!get.to_string().contains("private"), "{get:#}");
    assert_eq!(get["status"], "unset", "{get:#}");
}

// === one plugin calls another ===

#[tokio::test]
async fn a_call_of_another_plugin_is_one_trace_and_two_invocations() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let headers = [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "vendor=1"),
        ("baggage", "customer=7"),
    ];
    let body = json!({"input": {"plugin": "callee"}});
    let reply = server.client.call("caller", body, &headers).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let document = reply.json();
    assert_eq!(document["data"]["baggage"], "customer=7");
    assert_eq!(document["data"]["tracestate"], "vendor=1");

    let (caller, callee) =
        (&invocations(&server, "caller").await[0], &invocations(&server, "callee").await[0]);
    assert_eq!(caller["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(callee["trace_id"], caller["trace_id"]);
    assert_ne!(callee["invocation_id"], caller["invocation_id"]);
    assert_eq!((&callee["outcome"], &caller["outcome"]), (&json!("replied"), &json!("replied")));

    let trace = server.client.trace("4bf92f3577b34da6a3ce929d0e0e4736").await;
    let callees = span(&trace, "invoke callee");
    assert_eq!(
        path(&trace, "invoke callee"),
        ["invoke callee", "call callee", "asking", "execute", "attempt", "invoke caller"]
    );
    let call = span(&trace, "call callee");
    assert_eq!(call["attributes"]["spanglass.callee.plugin.name"], "callee");
    assert_eq!(call["attributes"]["spanglass.callee.plugin.version"], "1.0.0");
    assert_eq!(call["attributes"]["spanglass.callee.action"], "invoke");
    assert_eq!(call["attributes"]["spanglass.callee.invocation.id"], callee["invocation_id"]);
    assert_eq!(call["attributes"]["spanglass.invocation.id"], caller["invocation_id"]);
    assert_eq!(call["kind"], "internal", "{call:#}");
    assert_eq!(callees["attributes"]["spanglass.invocation.id"], callee["invocation_id"]);
}

#[tokio::test]
async fn a_call_reaches_an_action_and_collects_a_stream() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let parts = output(&server, "caller", json!({"plugin": "callee", "input": {"how": "parts"}})).await;
    assert_eq!(parts, json!([1, 2.5, "three"]));
    let input = json!({"plugin": "callee", "options": {"action": "other"}});
    assert_eq!(output(&server, "caller", input).await, "the other action");
}

#[tokio::test]
async fn the_callees_failure_is_an_exception_of_the_caller() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    for (how, kind, message) in
        [("refuse", "invalid_input", "a cat is no dog"), ("raise", "plugin_error", "out of luck")]
    {
        let failed = output(&server, "caller", json!({"plugin": "callee", "input": {"how": how}})).await;
        assert_eq!(failed["kind"], kind, "{failed}");
        assert!(failed["message"].as_str().unwrap().contains(message), "{failed}");
        let row = server.client.invocation(failed["invocation_id"].as_str().unwrap()).await;
        assert_eq!((&row["plugin"], &row["error"]["kind"]), (&json!("callee"), &json!(kind)), "{row:#}");
    }
    // What it does not catch is its own error.
    let input = json!({"plugin": "callee", "input": {"how": "refuse"}, "uncaught": true});
    let problem = server.client.invoke("caller", input).await.json();
    assert_eq!(
        (&problem["kind"], &problem["blame"]),
        (&json!("plugin_error"), &json!("plugin")),
        "{problem:#}"
    );
    let unknown = output(&server, "caller", json!({"plugin": "callee", "options": {"action": "no"}})).await;
    assert_eq!(unknown["kind"], "not_found", "{unknown}");
}

#[tokio::test]
async fn only_what_is_declared_may_be_called() {
    if !require("python3") {
        return;
    }
    let old = "dependencies: [{name: callee, version: ^0.9, required: false}]";
    let server = home().plugin("late", old, CALLER).serve().await;
    let failed = output(&server, "caller", json!({"plugin": "keeper"})).await;
    assert_eq!(failed["kind"], "forbidden", "{failed}");
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.contains("caller 1.0.0") && message.contains("{name: keeper, version: \"*\"}"),
        "{message}"
    );
    assert!(invocations(&server, "keeper").await.is_empty());
    let failed = output(&server, "late", json!({"plugin": "callee"})).await;
    assert_eq!(failed["kind"], "not_found", "no version is in the range: {failed}");
}

#[tokio::test]
async fn calls_are_bounded_in_depth_and_number() {
    if !require("python3") {
        return;
    }
    let source = r#"
def invoke(data, ctx):
    number = int(ctx.config["number"])
    try:
        return 1 + ctx.services.call("step-%d" % (number + 1))
    except ctx.services.Error as error:
        assert error.kind == "refused", error
        assert "8 deep" in error.message, error
        return 0
"#;
    let many = r#"
def invoke(data, ctx):
    for number in range(300):
        try:
            ctx.services.call("callee")
        except ctx.services.Error as error:
            return [number, error.kind, error.message]
"#;
    let mut home = home().plugin("many", ON_CALLEE, many).plugin("step-10", "", CALLEE);
    for number in (0..10).rev() {
        let next = number + 1;
        let rest =
            format!("dependencies: [{{name: step-{next}, version: ^1.0.0}}]\nconfig: {{number: {number}}}");
        home = home.plugin(&format!("step-{number}"), &rest, source);
    }
    let server = home.serve().await;
    assert_eq!(output(&server, "step-0", json!({})).await, 8);
    assert_eq!(invocations(&server, "step-8").await.len(), 1);
    assert!(invocations(&server, "step-9").await.is_empty());
    let refused = output(&server, "many", json!({})).await;
    assert_eq!((&refused[0], &refused[1]), (&json!(256), &json!("refused")), "{refused}");
}

#[tokio::test]
async fn a_callee_has_no_more_time_than_its_caller() {
    if !require("python3") {
        return;
    }
    let one = "limits: {concurrency: 1, instances: {max: 1}}";
    let on_narrow = "dependencies: [{name: narrow, version: ^1.0.0}]";
    let server = home().plugin("narrow", one, CALLEE).plugin("waiting", on_narrow, CALLER).serve().await;
    let body = json!({"input": {"plugin": "callee", "input": {"how": "deadline"}}, "timeout": "10s"});
    let left = server.client.call("caller", body, &[]).await.json()["data"].as_f64().unwrap();
    assert!((1.0..10.0).contains(&left), "{left}");

    let asked = json!({"plugin": "callee", "input": {"how": "wait"}, "options": {"timeout": 0.3}});
    let failed = output(&server, "caller", asked).await;
    assert_eq!(failed["kind"], "timeout", "{failed}");

    // The callee's only place is taken for longer than the caller lives.
    let client = server.client.clone();
    let holding = tokio::spawn(async move { client.invoke("narrow", json!({"how": "wait"})).await });
    let start = Instant::now();
    while server.client.active("narrow").await < 1.0 {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let body = json!({"input": {"plugin": "narrow"}, "timeout": "500ms"});
    let reply = server.client.call("waiting", body, &[]).await.json();
    let kind = [&reply["kind"], &reply["data"]["kind"]].into_iter().find_map(Value::as_str);
    assert_eq!(kind, Some("timeout"), "{reply:#}");
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    holding.abort();
}

#[tokio::test]
async fn a_caller_who_leaves_takes_the_callee_along() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let client = server.client.clone();
    let asked = tokio::spawn(async move {
        client.invoke("caller", json!({"plugin": "callee", "input": {"how": "wait"}})).await
    });
    let start = Instant::now();
    while server.client.active("callee").await < 1.0 {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asked.abort();
    let start = Instant::now();
    let ended = loop {
        let ended: Vec<Value> = [invocations(&server, "callee").await, invocations(&server, "caller").await]
            .concat()
            .into_iter()
            .filter(|row| row["state"] == "done")
            .collect();
        if ended.len() == 2 {
            break ended;
        }
        assert!(start.elapsed() < PATIENCE, "{ended:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(ended.iter().all(|row| row["outcome"] == "dropped"), "{ended:#?}");
    // The trace hangs together all the same.
    let trace = server.client.trace(ended[0]["trace_id"].as_str().unwrap()).await;
    assert!(path(&trace, "invoke callee").contains(&"invoke caller".to_owned()), "{trace:#}");
}

// === upstreams that fail ===

#[tokio::test]
async fn a_host_that_keeps_failing_is_left_alone_for_a_while() {
    if !require("python3") {
        return;
    }
    let source = r#"
def invoke(data, ctx):
    try:
        return ctx.services.http.post(data["url"]).status
    except ctx.services.Error as error:
        return {"kind": error.kind, "message": error.message}
"#;
    let breaker = "circuit_breaker: {min_calls: 3, window: 10s, open_for: 700ms}";
    let server = Home::new().plugin("asking", breaker, source).plugin("other", breaker, source).serve().await;
    let (upstream, healthy) = (Upstream::start().await, Upstream::start().await);
    let ask = async |plugin: &str, url: String| {
        let reply = server.client.invoke(plugin, json!({"url": url})).await;
        let trace = server.client.trace(&reply.traceparent().0).await;
        let events = span(&trace, "POST")["events"].clone();
        let events: Vec<String> = events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["name"].as_str().unwrap().to_owned())
            .collect();
        (reply.json()["data"].clone(), events)
    };
    upstream.answer_with(500);
    for opened in [false, false, true] {
        let (status, events) = ask("asking", upstream.url("/")).await;
        assert_eq!((status, events.contains(&"circuit.opened".to_owned())), (json!(500), opened));
    }
    let (refused, _) = ask("asking", upstream.url("/other path")).await;
    assert_eq!(refused["kind"], "circuit_open", "{refused}");
    assert_eq!(upstream.take().len(), 3, "nothing was sent");
    // Neither another host nor another plugin has to do with it.
    assert_eq!(ask("asking", healthy.url("/")).await.0, 200);
    assert_eq!(ask("other", upstream.url("/")).await.0, 500);

    upstream.answer_with(200);
    let start = Instant::now();
    let events = loop {
        let (status, events) = ask("asking", upstream.url("/")).await;
        if status == 200 {
            break events;
        }
        assert_eq!(status["kind"], "circuit_open", "{status}");
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(events, ["circuit.half_opened", "circuit.closed"]);
    assert_eq!(ask("asking", upstream.url("/")).await, (json!(200), Vec::new()));

    // A port on which nobody listens counts too; a POST that was not sent is tried again.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reply = server.client.invoke("asking", json!({"url": format!("http://{nobody}/")})).await;
    assert_eq!(reply.json()["data"]["kind"], "connect");
    let trace = server.client.trace(&reply.traceparent().0).await;
    let tries = trace["spans"].as_array().unwrap().iter().filter(|span| span["name"] == "POST").count();
    assert_eq!(tries, 3, "the third opens the circuit, and there is no fourth");
}

// === in examples ===

#[tokio::test]
async fn an_example_begins_with_nothing_kept_and_calls_nobody() {
    if !require("python3") {
        return;
    }
    let source = r#"
def invoke(data, ctx):
    if "plugin" not in data:
        return ctx.services.kv.increment("n")
    try:
        ctx.services.call(data["plugin"])
    except ctx.services.Error as error:
        return error.kind
"#;
    let examples = r#"
dependencies: [{name: callee}]
examples:
  - {name: first, input: {}, expect: {output: 1}}
  - {name: second, input: {}, expect: {output: 1}}
  - {name: third, input: {plugin: callee}, expect: {output: no_stub}}
"#;
    let home = Home::new();
    home.write_plugin("tried", "tried", "1.0.0", examples, source);
    let ran = home.run(&["plugin", "test", "tried", "--json"]).await;
    assert_eq!((ran.code, &ran.json()["passed"]), (0, &json!(3)), "{ran:#?}");
}
