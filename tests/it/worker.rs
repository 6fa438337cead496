//! One Python worker in good health: how functions are called, what `ctx` offers, where output goes.

use std::sync::Arc;

use serde_json::{Value, json};
use spanglass::model::guest::{GuestAnswer, GuestCall, GuestCallError, LogStream, Severity};
use spanglass::model::span_kind::SpanKind;
use spanglass::package::manifest::RuntimeKind;
use spanglass::runtimes::Convention;

use crate::support::{PATIENCE, Plugin, PluginSource, TestGuest, alone, eventually, raw, request, require};

#[tokio::test]
async fn a_function_is_called_again_and_again() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("def invoke(input_data):\n    return {'got': input_data}\n");
    let mut worker = plugin.start().await;
    for number in 0..3 {
        assert_eq!(
            worker.output(json!({"n": number, "text": "ä\n😀"})).await,
            json!({"got": {"n": number, "text": "ä\n😀"}})
        );
    }
    assert!(worker.instance.reusable());
}

#[tokio::test]
async fn what_is_returned_decides_how_it_is_run() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import functools

def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

async def slow(n):
    import asyncio
    await asyncio.sleep(0.001)
    return n

def parts(n):
    for i in range(n):
        yield {"i": i}

async def async_parts(n):
    for i in range(n):
        yield {"i": await slow(i)}

@decorated
def invoke(input_data, ctx):
    kind, n = input_data["kind"], input_data["n"]
    return {"value": lambda: n, "none": lambda: None, "async": lambda: slow(n), "parts": lambda: parts(n),
            "async_parts": lambda: async_parts(n)}[kind]()
"#,
    );
    let mut worker = plugin.start().await;
    for (kind, expected) in [("value", json!(3)), ("none", Value::Null), ("async", json!(3))] {
        assert_eq!(worker.output(json!({"kind": kind, "n": 3})).await, expected, "{kind}");
    }
    for kind in ["parts", "async_parts"] {
        let (guest, result) = worker.call(json!({"kind": kind, "n": 3})).await;
        assert!(result.unwrap().output.is_none(), "{kind}");
        assert_eq!(guest.seen.chunks, [json!({"i": 0}), json!({"i": 1}), json!({"i": 2})], "{kind}");
        let (guest, result) = worker.call(json!({"kind": kind, "n": 0})).await;
        assert!(result.unwrap().output.is_none() && guest.seen.chunks.is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn the_second_parameter_is_the_context_only_if_it_is_meant_to_be() {
    if !require("python3") {
        return;
    }
    let source = r#"
import functools
def plain(data): return "no ctx"
def required(data, context_of_call): return context_of_call.action
def by_name(data, ctx=None): return ctx.action
def other_default(data, verbose=False): return verbose
def keyword(data, *, ctx): return ctx.action
def variable(*args): return args[1].action
partial = functools.partial(lambda extra, data, ctx: ctx.action, "extra")
class Callable:
    def __call__(self, data, ctx): return ctx.action
instance = Callable()
"#;
    let names =
        ["plain", "required", "by_name", "other_default", "keyword", "variable", "partial", "instance"];
    let entrypoints: Vec<_> = names.iter().map(|name| format!("executor.py:{name}")).collect();
    let actions: Vec<_> = names.iter().copied().zip(entrypoints.iter().map(String::as_str)).collect();
    let plugin = Plugin::from(PluginSource {
        runtime: RuntimeKind::Python,
        files: &[("executor.py", source)],
        entrypoint: "executor.py:plain",
        actions: &actions,
        convention: Convention::Plugin,
        requires_python: Some(">=3.9"),
    });
    let mut worker = plugin.start().await;
    for name in names {
        let mut call = request(json!({}));
        call.action = name.into();
        let end = worker.instance.call(call, &mut TestGuest::default()).await.unwrap();
        let expected = match name {
            "plain" => json!("no ctx"),
            "other_default" => json!(false),
            _ => json!(name),
        };
        assert_eq!(end.output.unwrap().get(), expected.to_string(), "{name}");
    }
}

#[tokio::test]
async fn the_context_knows_the_call() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
def invoke(input_data, ctx):
    ctx.config["changed"] = True
    return {"config": ctx.config, "token": ctx.secrets["API_TOKEN"], "action": ctx.action, "attempt": ctx.attempt,
            "id": ctx.invocation_id, "traceparent": ctx.traceparent, "left": 25 < ctx.deadline <= 30,
            "again": ctx.remaining() <= 30}

def on_start(ctx):
    ctx.log.info("starting")
"#,
    );
    let mut worker = plugin.start().await;
    assert!(plugin.start_logs.lock().unwrap().iter().any(|log| log.body == "starting"));
    for _ in 0..2 {
        let output = worker.output(json!({})).await;
        let expected = json!({
            "config": {"level": "info", "changed": true}, "token": "s3cr3t", "action": "invoke", "attempt": 1,
            "id": "01890a5d-ac96-774b-bcce-b302099a8057",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "left": true, "again": true,
        });
        assert_eq!(output, expected);
    }
}

#[tokio::test]
async fn spans_logs_and_metrics_arrive_with_what_they_hold() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import asyncio, math

async def step(ctx, name):
    async with ctx.span(name):
        await asyncio.sleep(0.001)

async def invoke(input_data, ctx):
    with ctx.span("outer", size=3, odd=float("nan"), big=10**30) as outer:
        outer.set(found=True)
        outer.event("looked", at="here")
        with ctx.span("inner", client=True):
            pass
        try:
            with ctx.span("broken"):
                raise KeyError("lost")
        except KeyError:
            pass
        await asyncio.gather(step(ctx, "a"), step(ctx, "b"))
    ctx.log.warning("careful", count=2, thing=object)
    ctx.log("plain \udc80")
    ctx.metric("rows", 7, table="t")
    try:
        ctx.metric("rows", math.inf)
    except ValueError:
        return "refused"
"#,
    );
    let mut worker = plugin.start().await;
    let (guest, result) = worker.call(json!({})).await;
    assert_eq!(result.unwrap().output.unwrap().get(), r#""refused""#);

    let span = |name: &str| guest.seen.spans.iter().find(|span| span.name == name).unwrap();
    let outer = span("outer");
    assert_eq!(outer.parent_id, None);
    assert_eq!(
        Value::from(outer.attributes.clone()),
        json!({"size": 3, "odd": "nan", "big": "1000000000000000000000000000000", "found": true})
    );
    assert_eq!(
        (outer.events[0].name.as_str(), &outer.events[0].attributes["at"]),
        ("looked", &json!("here"))
    );
    for name in ["inner", "broken", "a", "b"] {
        let inner = span(name);
        assert_eq!(inner.parent_id, Some(outer.span_id), "{name}");
        assert!(
            inner.start_unix_ns >= outer.start_unix_ns && inner.end_unix_ns <= outer.end_unix_ns,
            "{name}"
        );
    }
    assert_eq!((span("inner").kind, outer.kind), (SpanKind::Client, SpanKind::Internal));
    let broken = span("broken");
    assert_eq!(broken.error.as_deref(), Some("KeyError: 'lost'"));
    assert_eq!(broken.events[0].attributes["exception.type"], "KeyError");

    let [careful, plain] = &guest.seen.logs[..] else { panic!("{:?}", guest.seen.logs) };
    assert_eq!(
        (careful.severity, careful.stream, careful.body.as_str()),
        (Severity::Warn, LogStream::Sdk, "careful")
    );
    assert_eq!(careful.fields["count"], 2);
    assert_eq!(careful.code.as_ref().unwrap().function, "invoke");
    assert_eq!(plain.body, "plain \\udc80");
    let [metric] = &guest.seen.metrics[..] else { panic!() };
    assert_eq!((metric.name.as_str(), metric.value), ("rows", 7.0));
    assert_eq!(metric.attributes["table"], "t");
}

#[tokio::test]
async fn everything_printed_belongs_to_the_call_that_printed_it() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import ctypes, logging, os, subprocess, sys, threading, warnings

print("while loading")
libc = ctypes.CDLL(None)

def invoke(input_data, ctx):
    n = input_data["n"]
    print("print", n)
    print("error", n, file=sys.stderr)
    os.write(1, b"raw %d\n" % n)
    os.write(2, b"raw error %d\n" % n)
    subprocess.run(["sh", "-c", "echo child %d; echo child error %d >&2" % (n, n)])
    libc.printf(b"printf %d\n", n)
    logging.getLogger("own").info("logged %d", n)
    logging.debug("not at this level")
    thread = threading.Thread(target=print, args=("thread", n))
    thread.start()
    thread.join()
    sys.stdout.write("no newline %d" % n)
    return n
"#,
    );
    let mut worker = plugin.start().await;
    let starting: Vec<_> = plugin.start_logs.lock().unwrap().iter().map(|log| log.body.clone()).collect();
    assert_eq!(starting, ["while loading"]);
    for n in 0..20 {
        let (guest, result) = worker.call(json!({"n": n})).await;
        assert_eq!(result.unwrap().output.unwrap().get(), n.to_string());
        let mut stdout = guest.lines(LogStream::Stdout);
        stdout.sort_unstable();
        // `printf` comes with the last flush, in the middle of the open line or after it.
        let rest: String = stdout.join("|");
        for part in ["print", "raw", "child", "printf", "thread", "no newline"] {
            assert!(rest.contains(&format!("{part} {n}")), "{part} {n}: {rest}");
        }
        let mut stderr = guest.lines(LogStream::Stderr);
        stderr.sort_unstable();
        assert_eq!(stderr, [format!("child error {n}"), format!("error {n}"), format!("raw error {n}")]);
        let sdk = guest.seen.logs.iter().find(|log| log.stream == LogStream::Sdk).unwrap();
        assert_eq!((sdk.body.as_str(), sdk.logger.as_deref()), (format!("logged {n}").as_str(), Some("own")));
        assert!(sdk.code.as_ref().unwrap().file.ends_with("executor.py"));
    }
    assert_eq!(plugin.stray.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn logging_that_a_plugin_sets_up_itself_still_works() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
def invoke(input_data, ctx):
    # Imported only now.
    import logging
    if input_data["how"] == "basic":
        logging.basicConfig(level=logging.DEBUG, format="own format %(message)s")
        logging.debug("detail")
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("mine: %(message)s"))
        logging.getLogger().addHandler(handler)
        logging.error("seen once")
    return len(logging.getLogger().handlers)
"#,
    );
    let mut worker = plugin.start().await;
    let (guest, _) = worker.call(json!({"how": "basic"})).await;
    assert_eq!(guest.lines(LogStream::Sdk), ["detail"]);
    assert_eq!(guest.seen.logs.len(), 1);
    assert_eq!(guest.seen.logs[0].severity, Severity::Debug);
    let (guest, _) = worker.call(json!({"how": "handler"})).await;
    assert_eq!(guest.lines(LogStream::Stderr), ["mine: seen once"]);
    assert_eq!(guest.seen.logs.len(), 1);
}

#[tokio::test]
async fn what_is_printed_between_calls_belongs_to_none() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import os, threading, time

def invoke(input_data):
    def later():
        while not os.path.exists(input_data["go"]): time.sleep(0.005)
        print("too late", flush=True)
        open(input_data["done"], "w").close()
    if input_data["later"]:
        threading.Thread(target=later).start()
    else:
        print("in time")
"#,
    );
    let mut worker = plugin.start().await;
    let (go, done) = (plugin.data_dir.join("go"), plugin.data_dir.join("done"));
    let (first, _) = worker.call(json!({"later": true, "go": go, "done": done})).await;
    std::fs::write(&go, "").unwrap();
    eventually("the thread has printed", PATIENCE, || done.exists()).await;
    let (second, _) = worker.call(json!({"later": false})).await;
    assert_eq!(first.seen.logs, []);
    assert_eq!(second.lines(LogStream::Stdout), ["in time"]);
    let stray: Vec<_> = plugin.stray.lock().unwrap().iter().map(|log| log.body.clone()).collect();
    assert_eq!(stray, ["too late"]);
}

#[tokio::test]
async fn what_a_thread_says_later_is_not_said_by_another_call() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import logging, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(1)

def wait_for(path):
    while not os.path.exists(path): time.sleep(0.005)

def later(data):
    wait_for(data["go"])
    print("late", "print")
    print("late error", file=sys.stderr)
    logging.warning("late record")
    child = threading.Thread(target=print, args=("late child",))
    child.start()
    child.join()
    open(data["done"], "w").close()

def invoke(data):
    if data["first"]:
        pool.submit(print, "first").result()
        threading.Thread(target=later, args=(data,)).start()
        return
    open(data["go"], "w").close()
    wait_for(data["done"])
    print("main")
    pool.submit(print, "pool").result()
    thread = threading.Thread(target=print, args=("own thread",))
    thread.start()
    thread.join()
    logging.warning("own record")
"#,
    );
    let mut worker = plugin.start().await;
    let (go, done) = (plugin.data_dir.join("go"), plugin.data_dir.join("done"));
    let (first, _) = worker.call(json!({"first": true, "go": go, "done": done})).await;
    assert_eq!(first.lines(LogStream::Stdout), ["first"]);
    let (second, result) = worker.call(json!({"first": false, "go": go, "done": done})).await;
    result.unwrap();
    assert_eq!(second.lines(LogStream::Stdout), ["main", "pool", "own thread"]);
    assert_eq!(second.lines(LogStream::Stderr), [""; 0]);
    assert_eq!(second.lines(LogStream::Sdk), ["own record"]);
    assert_eq!(second.seen.dropped, []);
    let stray = plugin.stray.lock().unwrap();
    let stray: Vec<_> = stray.iter().map(|log| (log.stream, log.body.as_str())).collect();
    let expected = [
        (LogStream::Stdout, "late print"),
        (LogStream::Stderr, "late error"),
        (LogStream::Sdk, "late record"),
        (LogStream::Stdout, "late child"),
    ];
    assert_eq!(stray, expected);
}

#[tokio::test]
async fn a_call_finds_the_process_as_the_first_one_did() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import io, os, sys
os.umask(0o27)
def invoke(data):
    found = [os.getcwd(), os.umask(0o77)]
    print("heard")
    print("heard", file=sys.stderr)
    os.chdir("/")
    if data["how"] == "close":
        sys.stdout.close()
        sys.stderr.close()
    elif data["how"] == "replace":
        sys.stdout, sys.stderr = io.StringIO(), None
    return found
"#,
    );
    let mut worker = plugin.start().await;
    let first = worker.output(json!({"how": ""})).await;
    assert_eq!(first[1], 0o27);
    for how in ["close", "replace", "close", ""] {
        let (guest, result) = worker.call(json!({"how": how})).await;
        assert_eq!(result.unwrap().output.unwrap().get(), first.to_string(), "{how}");
        assert_eq!(guest.lines(LogStream::Stdout), ["heard"], "{how}");
        assert_eq!(guest.lines(LogStream::Stderr), ["heard"], "{how}");
    }
}

#[tokio::test]
async fn http_goes_through_the_host() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import asyncio, concurrent.futures

def fetch(ctx, path):
    return ctx.services.http.get("http://x/" + path).json()["path"]

async def together(ctx):
    responses = await asyncio.gather(*(ctx.services.http.aget("http://x/%d" % i) for i in range(8)))
    return [r.json()["path"] for r in responses]

def invoke(input_data, ctx):
    how = input_data["how"]
    if how == "post":
        with ctx.span("asking"):
            r = ctx.services.http.post("http://x/post", json={"a": 1}, params={"q": "1 2"}, timeout=1.5)
        return {"status": r.status, "type": r.headers["content-type"], "ok": r.ok}
    if how == "async":
        return together(ctx)
    if how == "threads":
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda i: fetch(ctx, str(i)), range(32)))
    try:
        ctx.services.http.get("http://x/fail")
    except TimeoutError as error:
        return {"kind": error.kind, "message": str(error), "service": isinstance(error, ctx.services.Error)}
"#,
    );
    let mut worker = plugin.start().await;
    let answer = Arc::new(|call: GuestCall| -> spanglass::runtimes::BoxFuture<'static, GuestAnswer> {
        let GuestCall::Http(http) = call else { panic!("{call:?}") };
        Box::pin(async move {
            let path = http.url.rsplit('/').next().unwrap().to_owned();
            // Later ones are answered first.
            let number: u64 = path.parse().unwrap_or(0);
            tokio::time::sleep(std::time::Duration::from_millis(16 - number.min(16))).await;
            if path == "fail" {
                return Err(GuestCallError::new("timeout", "no answer within 5 s"));
            }
            let body = json!({"path": path}).to_string();
            Ok(raw(json!({"status": 201, "headers": {"Content-Type": "text/x"}, "body": body})))
        })
    });
    let mut ask = async |how: &str| {
        let mut guest = TestGuest { answer: Some(answer.clone()), ..TestGuest::default() };
        let end = worker.instance.call(request(json!({"how": how})), &mut guest).await.unwrap();
        let output: Value = serde_json::from_str(end.output.unwrap().get()).unwrap();
        (guest, output)
    };

    let (guest, output) = ask("post").await;
    assert_eq!(output, json!({"status": 201, "type": "text/x", "ok": true}));
    let [GuestCall::Http(http)] = &guest.seen.calls[..] else { panic!() };
    assert_eq!((http.method.as_str(), http.url.as_str()), ("POST", "http://x/post?q=1+2"));
    assert_eq!(http.body.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(http.headers["content-type"], "application/json");
    assert_eq!(http.timeout, Some(std::time::Duration::from_millis(1500)));
    let asking = guest.seen.spans.iter().find(|span| span.name == "asking").unwrap();
    assert_eq!(http.parent_id, Some(asking.span_id));

    let (_, output) = ask("async").await;
    assert_eq!(output, json!((0..8).map(|n| n.to_string()).collect::<Vec<_>>()));
    let (_, output) = ask("threads").await;
    assert_eq!(output, json!((0..32).map(|n| n.to_string()).collect::<Vec<_>>()));
    let (_, output) = ask("fail").await;
    assert_eq!(output, json!({"kind": "timeout", "message": "no answer within 5 s", "service": true}));
}

#[tokio::test]
async fn modules_are_found_beside_the_plugin_under_their_real_names() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::from(PluginSource {
        runtime: RuntimeKind::Python,
        files: &[
            (
                "string.py",
                "import helper\ndef invoke(data):\n    return [__name__, helper.__name__, helper.VALUE]\n",
            ),
            ("helper.py", "VALUE = 42\n"),
            ("inside/tool.py", "import beside\ndef run(data):\n    return [__name__, beside.VALUE]\n"),
            ("inside/beside.py", "VALUE = 43\n"),
            ("pack/__init__.py", ""),
            ("pack/part.py", "from . import other\ndef run(data):\n    return [__name__, other.VALUE]\n"),
            ("pack/other.py", "VALUE = 44\n"),
        ],
        entrypoint: "string.py:invoke",
        actions: &[("inside", "inside/tool.py:run"), ("pack", "pack/part.py:run")],
        convention: Convention::Plugin,
        requires_python: None,
    });
    let mut worker = plugin.start().await;
    let cases = [
        // The standard library has a module of this name, which may be loaded already.
        ("invoke", json!(["helper", 42])),
        ("inside", json!(["tool", 43])),
        ("pack", json!(["pack.part", 44])),
    ];
    for (action, expected) in cases {
        let mut call = request(json!({}));
        call.action = action.into();
        let end = worker.instance.call(call, &mut TestGuest::default()).await.unwrap();
        let output: Vec<Value> = serde_json::from_str(end.output.unwrap().get()).unwrap();
        let own = if action == "invoke" { &output[1..] } else { &output[..] };
        assert_eq!(json!(own), expected, "{action}");
    }
}

#[tokio::test]
async fn a_worker_has_a_scratch_folder_and_leaves_nothing_behind() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        "import os\ndef invoke(data):\n    open('left.txt', 'w').close()\n    return [os.getcwd(), dict(os.environ)]\n",
    );
    let mut worker = plugin.start().await;
    let output = worker.output(json!({})).await;
    let cwd = std::path::PathBuf::from(output[0].as_str().unwrap());
    assert!(cwd.starts_with(&plugin.data_dir) && cwd.join("left.txt").is_file(), "{cwd:?}");
    // Set by cargo for this test, so also in the environment of the runner.
    assert_eq!(output[1].get("CARGO_MANIFEST_DIR"), None);
    assert!(output[1].get("PATH").is_some());
    worker.instance.stop(PATIENCE).await.unwrap();
    eventually("the scratch folder is removed", PATIENCE, || !cwd.exists()).await;
    let left: Vec<_> =
        std::fs::read_dir(&plugin.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["executor.py"], "no bytecode beside the plugin");
}

#[tokio::test]
async fn a_worker_that_is_stopped_may_say_goodbye() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("def invoke(data): pass\n\ndef on_stop(ctx):\n    print('bye')\n");
    let mut worker = plugin.start().await;
    worker.output(json!({})).await;
    let pid = worker.pid();
    worker.instance.stop(PATIENCE).await.unwrap();
    assert!(plugin.stray.lock().unwrap().iter().any(|log| log.body == "bye"));
    eventually("it has ended", PATIENCE, || !crate::support::alive(pid)).await;
}

#[tokio::test]
async fn usage_is_plausible() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import subprocess, sys, time
def invoke(data):
    if data["where"] == "child":
        subprocess.run([sys.executable, "-S", "-c", "import time\nwhile time.process_time() < 0.2: pass"])
    else:
        end = time.process_time() + 0.2
        while time.process_time() < end: pass
    return "x" * 100
"#,
    );
    let mut worker = plugin.start().await;
    for place in ["here", "child"] {
        let (guest, result) = worker.call(json!({"where": place})).await;
        let usage = result.unwrap().usage;
        assert!((0.19..2.0).contains(&usage.cpu.as_secs_f64()), "{place}: {usage:?}");
        assert!((4 << 20..1 << 30).contains(&usage.memory_peak_bytes), "{usage:?}");
        assert_eq!((usage.input_bytes, usage.output_bytes), (raw_len(place), 102));
        assert_eq!(guest.seen.usage, [usage]);
    }
}

fn raw_len(place: &str) -> u64 {
    json!({"where": place}).to_string().len() as u64
}

#[tokio::test]
async fn a_thousand_calls_and_fifty_workers_leave_nothing_open() {
    if require("python3") {
        alone("worker::calls_and_workers_counted_alone").await;
    }
}

#[tokio::test]
#[ignore = "counts what this process holds; another test starts it in a process of its own"]
async fn calls_and_workers_counted_alone() {
    let plugin = Plugin::new(
        "import os\ndef invoke(data):\n    print('x')\n    return len(os.listdir('/proc/self/fd'))\n",
    );
    let mut worker = plugin.start().await;
    let descriptors = worker.output(json!({})).await;
    let before = (open_descriptors(), children());
    for number in 0..1000 {
        let (guest, result) = worker.call(json!({"n": number})).await;
        assert_eq!(result.unwrap().output.unwrap().get(), descriptors.to_string());
        assert_eq!(guest.lines(LogStream::Stdout), ["x"]);
    }
    assert_eq!((open_descriptors(), children()), before);
    drop(worker);
    for _ in 0..50 {
        drop(plugin.start().await);
    }
    let worker = plugin.start().await;
    eventually("nothing is left of them", PATIENCE, || (open_descriptors(), children()) <= before).await;
    drop(worker);
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Of all threads, zombies included.
fn children() -> usize {
    let lists = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = lists.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.map(|list| list.split_whitespace().count()).sum()
}

#[tokio::test]
async fn on_start_is_a_step_of_the_start() {
    if !require("python3") {
        return;
    }
    let plugin =
        Plugin::spawned("def on_start(ctx): ctx.log.info('warming up')\ndef invoke(data): return 1\n");
    plugin.start().await;
    let steps = |plugin: &Plugin| {
        let spans = plugin.start_spans.lock().unwrap();
        spans.iter().map(|span| (span.name.clone(), span.error.clone())).collect::<Vec<_>>()
    };
    assert_eq!(steps(&plugin), [("on_start".to_owned(), None)]);

    std::fs::write(
        plugin.folder.join("executor.py"),
        "def on_start(): raise OSError('cold')\ndef invoke(data): return 1\n",
    )
    .unwrap();
    let error = plugin.try_start().await.err().unwrap();
    assert!(error.message.starts_with("OSError: cold"), "{error}");
    assert_eq!(steps(&plugin), [("on_start".to_owned(), Some(error.message))]);

    std::fs::write(
        plugin.folder.join("executor.py"),
        "import os\ndef on_start(): os._exit(33)\ndef invoke(data): return 1\n",
    )
    .unwrap();
    let error = plugin.try_start().await.err().unwrap();
    assert_eq!(error.message, "the worker was not ready yet and ended with exit code 33");
    assert_eq!(steps(&plugin), [("on_start".to_owned(), Some(error.message))]);

    std::fs::write(plugin.folder.join("executor.py"), "def invoke(data): return 1\n").unwrap();
    plugin.start().await;
    assert_eq!(steps(&plugin), []);
}
