//! OpenTelemetry in a Python plugin's environment: what it and its libraries open appears under `execute`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use spanglass::model::guest::{GuestSpan, LogStream, Severity};
use spanglass::model::span_kind::SpanKind;
use spanglass::package::manifest::RuntimeKind;
use spanglass::runtimes::Convention;

use crate::support::server::{Home, Server};
use crate::support::sink::{Sink, Transport};
use crate::support::upstream::Upstream;
use crate::support::{Plugin, PluginSource, TestGuest, Worker, python_with, request};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const EXECUTE_ID: &str = "00f067aa0ba902b7";

/// A Python with the API, the SDK and the instrumentations of `urllib` and `sqlite3`.
fn python() -> Option<PathBuf> {
    python_with(
        "opentelemetry.sdk.trace, opentelemetry.instrumentation.urllib, opentelemetry.instrumentation.sqlite3",
    )
}

fn plugin(python: PathBuf, files: &[(&str, &str)]) -> Plugin {
    let source = PluginSource {
        runtime: RuntimeKind::Python,
        files,
        entrypoint: "executor.py:invoke",
        actions: &[],
        convention: Convention::Plugin,
        requires_python: None,
    };
    Plugin::with_python(source, Some(python), |_| {})
}

/// What a plugin said in a call that worked, and what it returned.
async fn call(worker: &mut Worker, input: Value) -> (TestGuest, Value) {
    let (guest, result) = worker.call(input).await;
    let end = result.unwrap_or_else(|error| panic!("{error:#?}"));
    let output = end.output.map_or(Value::Null, |output| serde_json::from_str(output.get()).unwrap());
    (guest, output)
}

/// Runs `source` once.
async fn run(python: PathBuf, source: &str) -> (TestGuest, Value) {
    let plugin = plugin(python, &[("executor.py", source)]);
    let mut worker = plugin.start().await;
    call(&mut worker, json!({})).await
}

fn span<'g>(guest: &'g TestGuest, name: &str) -> &'g GuestSpan {
    let mut found = guest.seen.spans.iter().filter(|span| span.name == name);
    match (found.next(), found.next()) {
        (Some(span), None) => span,
        (found, _) => panic!("{name}: {found:?} of {:#?}", guest.seen.spans),
    }
}

/// Every span with the names of those around it, the innermost first; nothing around it: it lies in `execute`.
fn tree(guest: &TestGuest) -> BTreeMap<&str, Vec<&str>> {
    let by_id: BTreeMap<String, &GuestSpan> =
        guest.seen.spans.iter().map(|span| (span.span_id.to_string(), span)).collect();
    let around = |span: &GuestSpan| {
        let mut path = Vec::new();
        let mut parent = span.parent_id;
        while let Some(id) = parent {
            let span = by_id.get(&id.to_string()).unwrap_or_else(|| panic!("no span {id}: {by_id:#?}"));
            path.push(span.name.as_str());
            parent = span.parent_id;
        }
        path
    };
    guest.seen.spans.iter().map(|span| (span.name.as_str(), around(span))).collect()
}

#[tokio::test]
async fn spans_join_the_trace_in_both_directions() {
    let Some(python) = python() else { return };
    let source = r#"
import logging, sys
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber, get_logger

tracer = trace.get_tracer("orders", "1.2")

@tracer.start_as_current_span("whole")
def invoke(input_data, ctx):
    with tracer.start_as_current_span("outer", kind=trace.SpanKind.PRODUCER, attributes={"sizes": (1, 2)}) as outer:
        with ctx.span("step"):
            trace.get_current_span().set_attribute("through", "opentelemetry")
            with tracer.start_as_current_span("inner"):
                logging.getLogger("shop").warning("plain")
                with ctx.span("deep"):
                    ctx.log.info("of the sdk")
                    ctx.services.kv.get("key")
                get_logger("events").emit(severity_number=SeverityNumber.ERROR3, body={"n": 1},
                                          attributes={"k": [1]}, event_name="order.placed")
        outer.add_event("half", {"done": 0.5})
        outer.update_name("renamed")
    logging.getLogger("shop").warning("in whole")
    try:
        with tracer.start_as_current_span("broken"):
            raise KeyError("sku")
    except KeyError:
        pass
    return [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
"#;
    let plugin = plugin(python, &[("executor.py", source)]);
    let mut worker = plugin.start().await;
    let mut guest = TestGuest {
        answer: Some(std::sync::Arc::new(|_| Box::pin(async { Ok(crate::support::raw(Value::Null)) }))),
        ..TestGuest::default()
    };
    let end = worker.instance.call(request(json!({})), &mut guest).await.unwrap();
    assert_eq!(end.output.unwrap().get(), "[]", "the API alone is enough");
    assert_eq!(
        tree(&guest),
        BTreeMap::from([
            ("whole", vec![]),
            ("renamed", vec!["whole"]),
            ("step", vec!["renamed", "whole"]),
            ("inner", vec!["step", "renamed", "whole"]),
            ("deep", vec!["inner", "step", "renamed", "whole"]),
            ("broken", vec!["whole"]),
        ])
    );
    let outer = span(&guest, "renamed");
    assert_eq!((outer.kind, &outer.error), (SpanKind::Producer, &None));
    assert_eq!(
        Value::Object(outer.attributes.clone()),
        json!({"otel.scope.name": "orders", "otel.scope.version": "1.2", "sizes": [1, 2]})
    );
    assert_eq!((outer.events[0].name.as_str(), &outer.events[0].attributes["done"]), ("half", &json!(0.5)));
    assert!(outer.start_unix_ns <= outer.events[0].unix_ns && outer.events[0].unix_ns <= outer.end_unix_ns);
    assert_eq!(span(&guest, "step").attributes["through"], "opentelemetry");
    let broken = span(&guest, "broken");
    assert_eq!(broken.error.as_deref(), Some("KeyError: 'sku'"));
    let exception = &broken.events[0];
    assert_eq!(
        (exception.name.as_str(), &exception.attributes["exception.type"]),
        ("exception", &json!("KeyError"))
    );
    let stack = exception.attributes["exception.stacktrace"].as_str().unwrap();
    assert!(stack.contains("raise KeyError") && !stack.contains("spanglass_"), "{stack}");

    // Log records know the span that was open.
    let log = |body: &str| guest.seen.logs.iter().find(|log| log.body == body).unwrap();
    let id = |name: &str| Some(span(&guest, name).span_id);
    assert_eq!(log("plain").span_id, id("inner"));
    assert_eq!(log("of the sdk").span_id, id("deep"));
    assert_eq!(log("in whole").span_id, id("whole"));
    let event = log(r#"{"n":1}"#);
    assert_eq!((event.span_id, event.severity, event.stream), (id("inner"), Severity::Error, LogStream::Sdk));
    assert_eq!(event.logger.as_deref(), Some("events"));
    assert_eq!(Value::Object(event.fields.clone()), json!({"k": [1], "event.name": "order.placed"}));
    // And the host's services too.
    let spanglass::model::guest::GuestCall::KeyValue(asked) = &guest.seen.calls[0] else { panic!() };
    assert_eq!(asked.parent_id, id("deep"));
}

#[tokio::test]
async fn tasks_threads_and_streams_keep_their_parents() {
    let Some(python) = python() else { return };
    let source = r#"
import asyncio, contextvars, threading
from opentelemetry import trace

tracer = trace.get_tracer("async")

async def item(n):
    with tracer.start_as_current_span(f"item {n}"):
        await asyncio.sleep(0.001 * (3 - n))
        with tracer.start_as_current_span(f"leaf {n}"):
            await asyncio.sleep(0.001 * n)
            run = contextvars.copy_context().run
            await asyncio.get_running_loop().run_in_executor(
                None, run, lambda: tracer.start_span(f"thread {n}").end())

@tracer.start_as_current_span("decorated")
async def decorated():
    await asyncio.gather(*[item(n) for n in range(3)])

def alone():
    with tracer.start_as_current_span("thread without context"):
        pass

async def invoke(input_data, ctx):
    with ctx.span("all"):
        await decorated()
        thread = threading.Thread(target=alone)
        thread.start()
        thread.join()
    with tracer.start_as_current_span("stream"):
        for n in range(2):
            with tracer.start_as_current_span(f"part {n}"):
                yield n
                await asyncio.sleep(0)
"#;
    let (guest, _) = run(python, source).await;
    assert_eq!(guest.seen.chunks, [0, 1]);
    let tree = tree(&guest);
    assert_eq!(tree["decorated"], ["all"]);
    for n in 0..3 {
        let (item, leaf) = (format!("item {n}"), format!("leaf {n}"));
        assert_eq!(tree[item.as_str()], ["decorated", "all"]);
        assert_eq!(tree[leaf.as_str()], [item.as_str(), "decorated", "all"]);
        assert_eq!(tree[format!("thread {n}").as_str()], [leaf.as_str(), item.as_str(), "decorated", "all"]);
        assert_eq!(tree.get(format!("part {n}").as_str()), (n < 2).then(|| vec!["stream"]).as_ref());
    }
    assert!(tree["thread without context"].is_empty());
    assert!(tree["stream"].is_empty());
    let took = |name: &str| span(&guest, name).end_unix_ns - span(&guest, name).start_unix_ns;
    assert!(
        took("decorated") >= took("item 0"),
        "a decorated coroutine is one span from its start to its end"
    );
}

#[tokio::test]
async fn a_generator_that_is_left_behind_brings_no_old_context_back() {
    let Some(python) = python() else { return };
    let source = r#"
from opentelemetry import trace

tracer = trace.get_tracer("left")
left = []

def parts():
    with tracer.start_as_current_span("generator"):
        yield 1

def invoke(input_data, ctx):
    if not left:
        left.append(parts())
        next(left[0])
        left.append(tracer.start_span("across"))
    else:
        left[0].close()
        left[1].end()
        with tracer.start_as_current_span("second call"):
            pass
    return left[1].is_recording()
"#;
    let plugin = plugin(python, &[("executor.py", source)]);
    let mut worker = plugin.start().await;
    let (first, open) = call(&mut worker, json!({})).await;
    // What a call leaves open ends with it, and says so.
    assert_eq!(open, true);
    for name in ["generator", "across"] {
        assert_eq!(span(&first, name).attributes["otel.unended"], true);
    }
    let (second, open) = call(&mut worker, json!({})).await;
    assert_eq!(open, false);
    assert_eq!(tree(&second), BTreeMap::from([("second call", vec![])]));
    assert!(second.seen.dropped.is_empty(), "{:?}", second.seen.dropped);
}

#[tokio::test]
async fn libraries_are_instrumented_and_tell_the_trace_on() {
    let Some(python) = python() else { return };
    let source = r#"
import sqlite3, urllib.request
from opentelemetry import baggage, trace

def invoke(input_data, ctx):
    with ctx.span("load"):
        urllib.request.urlopen(input_data["url"]).read()
    sqlite3.connect(":memory:").cursor().execute("select 1")
    here = trace.get_current_span()
    return {"recording": here.is_recording(), "id": trace.format_span_id(here.get_span_context().span_id),
            "baggage": dict(baggage.get_all())}
"#;
    let upstream = Upstream::start().await;
    let plugin = plugin(python, &[("executor.py", source)]);
    let mut worker = plugin.start().await;
    let mut guest = TestGuest::default();
    let mut request = request(json!({"url": upstream.url("/")}));
    request.tracestate = Some("vendor=1".into());
    request.baggage = Some("user=ann".into());
    request.traceparent = format!("00-{TRACE_ID}-{EXECUTE_ID}-00");
    let end = worker.instance.call(request, &mut guest).await.unwrap();
    let output: Value = serde_json::from_str(end.output.unwrap().get()).unwrap();
    assert_eq!(output, json!({"recording": false, "id": EXECUTE_ID, "baggage": {"user": "ann"}}));
    assert_eq!(tree(&guest), BTreeMap::from([("load", vec![]), ("GET", vec!["load"]), ("select", vec![])]));
    let get = span(&guest, "GET");
    assert_eq!(get.kind, SpanKind::Client);
    assert_eq!(get.attributes["otel.scope.name"], "opentelemetry.instrumentation.urllib");
    let seen = upstream.take();
    assert_eq!(seen.len(), 1);
    // Also when the trace is not sampled, which is written on.
    assert_eq!(seen[0]["traceparent"], format!("00-{TRACE_ID}-{}-00", get.span_id));
    assert_eq!(seen[0]["tracestate"], "vendor=1");
    assert_eq!(seen[0]["baggage"], "user=ann");
}

#[tokio::test]
async fn an_instrumentation_that_fails_is_a_warning() {
    let Some(python) = python() else { return };
    let files = [
        ("executor.py", "import urllib.request\ndef invoke(input_data):\n    return {}\n"),
        ("broken.py", "class Broken:\n    def instrument(self, **options):\n        raise SystemExit(3)\n"),
        ("absent.py", "import no_such_library\n"),
        ("broken-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n"),
        (
            "broken-1.0.dist-info/entry_points.txt",
            "[opentelemetry_instrumentor]\nbroken = broken:Broken\nabsent = absent:Absent\n",
        ),
    ];
    let plugin = plugin(python, &files);
    let mut worker = plugin.start().await;
    let logs = std::mem::take(&mut *plugin.start_logs.lock().unwrap());
    let [warning] = &logs[..] else { panic!("{logs:#?}") };
    assert_eq!(warning.severity, Severity::Warn);
    assert_eq!(warning.body, "the instrumentation `broken` could not be activated: SystemExit: 3");
    assert_eq!(worker.output(json!({})).await, json!({}));
}

#[tokio::test]
async fn a_plugin_that_sets_its_own_provider_is_left_alone() {
    let Some(python) = python() else { return };
    let source = r#"
import urllib.request
from opentelemetry import trace
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

early = trace.get_tracer("early")
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))

def invoke(input_data, ctx):
    if trace.get_tracer_provider() is not provider:
        trace.set_tracer_provider(provider)
        URLLibInstrumentor().instrument(request_hook=lambda span, request: span.set_attribute("hooked", True))
    exporter.clear()
    with early.start_as_current_span("theirs"):
        with ctx.span("step"):
            with trace.get_tracer("late").start_as_current_span("inner"):
                pass
            try:
                urllib.request.urlopen("http://127.0.0.1:1/")
            except OSError:
                pass
    return [[span.name, trace.format_trace_id(span.context.trace_id), trace.format_span_id(span.parent.span_id),
             span.attributes.get("hooked", False)] for span in exporter.get_finished_spans()]
"#;
    let plugin = plugin(python, &[("executor.py", source)]);
    let mut worker = plugin.start().await;
    for _ in 0..2 {
        let (guest, output) = call(&mut worker, json!({})).await;
        assert_eq!(tree(&guest), BTreeMap::from([("step", vec![])]), "no span twice");
        let step = span(&guest, "step").span_id.to_string();
        assert_eq!(
            output,
            json!([
                ["inner", TRACE_ID, step, false],
                ["GET", TRACE_ID, step, true],
                ["theirs", TRACE_ID, EXECUTE_ID, false],
            ])
        );
        assert!(guest.seen.logs.is_empty(), "{:#?}", guest.seen.logs);
    }
}

#[tokio::test]
async fn what_is_too_much_is_dropped_and_counted() {
    let Some(python) = python() else { return };
    let source = r#"
from opentelemetry import trace

tracer = trace.get_tracer("many")

def invoke(input_data, ctx):
    with tracer.start_as_current_span("first") as first:
        for n in range(1_200):
            with tracer.start_as_current_span(f"span {n}") as span:
                if n == 1_100:
                    with ctx.span("beyond"):
                        pass
        for n in range(100):
            first.add_event("event")
            first.set_attribute(f"key {n}", "x" * 10_000)
        return [first.is_recording(), span.is_recording()]
"#;
    let (guest, output) = run(python, source).await;
    assert_eq!(output, json!([true, false]));
    assert_eq!(guest.seen.spans.len(), 1_000);
    // Of 1,202: who began first has his place, although he ends last.
    assert_eq!((guest.dropped("spans"), guest.dropped("span_events")), (202, 36));
    let first = span(&guest, "first");
    assert_eq!((first.events.len(), first.attributes.len()), (64, 64));
    assert_eq!(first.attributes["key 0"].as_str().unwrap().len(), 8 << 10);
    let path = tree(&guest);
    assert!(path.iter().filter(|(name, _)| name.starts_with("span")).all(|(_, path)| *path == ["first"]));
}

#[tokio::test]
async fn odd_values_and_orders_are_taken_as_the_specification_says() {
    let Some(python) = python() else { return };
    let source = r#"
import enum
from opentelemetry import trace

tracer = trace.get_tracer("odd")
ERROR, OK, UNSET = trace.StatusCode.ERROR, trace.StatusCode.OK, trace.StatusCode.UNSET

class Rude:
    def __str__(self):
        raise RuntimeError("no")

class Size(enum.IntEnum):
    L = 3

def invoke(input_data, ctx):
    sizes = [1]
    with tracer.start_as_current_span("values") as span:
        span.set_attributes({"rude": Rude(), "size": Size.L, "sizes": sizes, "nothing": None, "bytes": b"x",
                             "inf": float("inf"), "big": 2**70, "odd": "\ud800", "mixed": [1, "a"], "": 1})
        span.set_attribute(3, 4)
        sizes.append(2)
        span.add_event(Rude(), {"rude": Rude()}, timestamp="soon")
        span.record_exception("no exception")
    for name, statuses in {"ok stays": [OK, ERROR], "error stays": [ERROR, UNSET], "ok wins": [ERROR, OK]}.items():
        with tracer.start_as_current_span(name) as span:
            for status in statuses:
                span.set_status(status, "why" if status is ERROR else None)
    span = tracer.start_span("times", start_time=1_000)
    span.end(2_000)
    span.end(3_000)
    span.set_attribute("late", 1)
    span.add_event("late")
    span.update_name("late")
    span.set_status(ERROR)
    remote = trace.SpanContext(0xabc, 0xdef, True)
    far = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    with tracer.start_as_current_span("linked", links=[trace.Link(remote, {"why": "batch"})]):
        pass
    with tracer.start_as_current_span("remote parent", context=far):
        pass
    return [span.is_recording(), span.get_span_context().is_valid]
"#;
    let (guest, output) = run(python, source).await;
    assert_eq!(output, json!([false, true]));
    let values = span(&guest, "values");
    assert_eq!(
        Value::Object(values.attributes.clone()),
        json!({"otel.scope.name": "odd", "rude": "<Rude whose str() raised RuntimeError>", "size": 3, "sizes": [1],
               "nothing": null, "bytes": "b'x'", "inf": "inf", "big": (1_u128 << 70).to_string(),
               "odd": "\\ud800", "mixed": [1, "a"]})
    );
    assert_eq!(values.events.len(), 2);
    let error = |name: &str| span(&guest, name).error.as_deref();
    assert_eq!([error("ok stays"), error("error stays"), error("ok wins")], [None, Some("why"), None]);
    let times = span(&guest, "times");
    assert_eq!((times.start_unix_ns, times.end_unix_ns, &times.error), (1_000, 2_000, &None));
    assert_eq!((times.attributes.len(), times.events.len()), (1, 0));
    for (name, parent) in [("linked", json!("batch")), ("remote parent", Value::Null)] {
        let link = &span(&guest, name).events[0];
        assert_eq!(link.name, "link");
        assert_eq!(link.attributes["link.trace_id"], format!("{:032x}", 0xabc));
        assert_eq!(link.attributes["link.span_id"], format!("{:016x}", 0xdef));
        assert_eq!(link.attributes.get("why").unwrap_or(&Value::Null), &parent);
        assert_eq!(span(&guest, name).parent_id, None, "a trace has one root");
    }
}

/// A server whose plugins run on `python`.
async fn serve(python: &std::path::Path, sink: &Sink, source: &str, more: &[(&str, &str)]) -> Server {
    let mut home = Home::new().plugin("traced", "", source);
    home.env.extend(sink.variables());
    home.env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let folders = std::env::var("PATH").unwrap_or_default();
    let own = python.parent().unwrap().to_str().unwrap();
    let path = if own.is_empty() { folders } else { format!("{own}:{folders}") };
    home.env("PATH", path).serve().await
}

#[tokio::test]
async fn the_collector_and_the_ledger_see_one_tree() {
    let Some(python) = python() else { return };
    let source = r#"
import logging, sqlite3, urllib.request
from opentelemetry import trace

tracer = trace.get_tracer("shop")

def invoke(input_data):
    with tracer.start_as_current_span("order", kind=trace.SpanKind.CONSUMER):
        urllib.request.urlopen(input_data["url"]).read()
        sqlite3.connect(":memory:").cursor().execute("select 1")
        logging.warning("ordered")
    return {}
"#;
    let sink = Sink::start(Transport::Http);
    let upstream = Upstream::start().await;
    let disabled = [("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "sqlite3, flask")];
    let server = serve(&python, &sink, source, &disabled).await;
    let reply = server.client.invoke("traced", json!({"url": upstream.url("/")})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (trace_id, ..) = reply.traceparent();
    let spans = sink.spans_of(&trace_id, 9).await;
    let find =
        |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{spans:#?}"));
    let (execute, order, get) = (find("execute"), find("order"), find("GET"));
    assert_eq!((&order.parent_id, order.kind), (&Some(execute.span_id.clone()), 5));
    assert_eq!((&get.parent_id, get.kind), (&Some(order.span_id.clone()), 3));
    assert_eq!(spans.len(), 9, "`sqlite3` is disabled: {spans:#?}");
    assert_eq!(upstream.take()[0]["traceparent"], format!("00-{trace_id}-{}-01", get.span_id));
    let logs = sink.logs_of(&trace_id, 2).await;
    let ordered = logs.iter().find(|log| log.body == "ordered").unwrap();
    assert_eq!(ordered.span_id.as_ref(), Some(&order.span_id));

    let kept = server.client.trace(&trace_id).await;
    let of = |name: &str| kept["spans"].as_array().unwrap().iter().find(|span| span["name"] == name).unwrap();
    assert_eq!((&of("order")["kind"], &of("order")["span_id"]), (&json!("consumer"), &json!(order.span_id)));
    assert_eq!(of("GET")["parent_span_id"], order.span_id);
    let line = kept["logs"].as_array().unwrap().iter().find(|line| line["body"] == "ordered").unwrap();
    assert_eq!(line["span_id"], order.span_id);
}

#[tokio::test]
async fn it_can_be_imported_in_the_middle_of_a_call() {
    let Some(python) = python() else { return };
    // The packages without the instrumentations, as a plugin may bring them along: nothing imports them at the start.
    let source = r#"
import sys

def invoke(input_data, ctx):
    before = "opentelemetry.trace" in sys.modules
    with ctx.span("outer"):
        with ctx.span("inner"):
            from opentelemetry import trace
            tracer = trace.get_tracer("late")
            with tracer.start_as_current_span("a"):
                with ctx.span("deep"):
                    pass
        with tracer.start_as_current_span("b"):
            pass
    with tracer.start_as_current_span("c"):
        pass
    return before
"#;
    let api = api_alone(&python);
    let files: Vec<(&str, &str)> = std::iter::once(("executor.py", source))
        .chain(api.iter().map(|(path, text)| (path.as_str(), text.as_str())))
        .collect();
    let plugin = plugin(PathBuf::from("python3"), &files);
    let mut worker = plugin.start().await;
    for before in [false, true] {
        let (guest, output) = call(&mut worker, json!({})).await;
        assert_eq!(output, before);
        assert_eq!(
            tree(&guest),
            BTreeMap::from([
                ("outer", vec![]),
                ("inner", vec!["outer"]),
                ("a", vec!["inner", "outer"]),
                ("deep", vec!["a", "inner", "outer"]),
                ("b", vec!["outer"]),
                ("c", vec![]),
            ])
        );
    }
}

/// The files of `opentelemetry-api` and what it needs, out of the environment of `python`.
fn api_alone(python: &std::path::Path) -> Vec<(String, String)> {
    let list = "import importlib.metadata as m\n\
                needed = {'opentelemetry_api', 'typing_extensions', 'importlib_metadata', 'zipp', 'deprecated', 'wrapt'}\n\
                found = [d for d in m.distributions() if d.metadata['Name'].lower().replace('-', '_') in needed]\n\
                kept = ('.py', 'entry_points.txt', 'METADATA')\n\
                [print(f, f.locate()) for d in found for f in d.files if str(f).endswith(kept)]";
    let listed = std::process::Command::new(python).args(["-c", list]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files = listed.lines().map(|line| {
        let (name, path) = line.split_once(' ').unwrap();
        (name.to_owned(), std::fs::read_to_string(path).unwrap())
    });
    files.collect()
}
