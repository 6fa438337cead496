//! Plugins that fail, crash, flood and cheat: each ends its own call with a typed error, and nothing else.

use std::time::Duration;

use serde_json::json;
use spanglass::model::guest::LogStream;
use spanglass::model::kind::ErrorKind;
use spanglass::package::manifest::RuntimeKind;
use spanglass::runtimes::Convention;
use spanglass::runtimes::worker::dropped;

use crate::support::{PATIENCE, Plugin, PluginSource, TestGuest, alive, eventually, request, require};

#[tokio::test]
async fn what_a_plugin_raises_is_told_without_our_own_frames() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import sys

class Custom(Exception):
    def __str__(self):
        raise RuntimeError("not even this")

def deeper(n):
    raise ValueError("no such thing: %d" % n)

def recurse(n):
    return recurse(n + 1)

def invoke(input_data, ctx):
    how = input_data["how"]
    if how == "raise": deeper(7)
    if how == "exit": sys.exit(3)
    if how == "exit text": raise SystemExit("so long")
    if how == "interrupt": raise KeyboardInterrupt
    if how == "custom": raise Custom
    if how == "recurse": recurse(0)
    if how == "input": raise ctx.errors.InvalidInput("a url is needed")
    if how == "away": raise ctx.errors.Unavailable("the service sleeps", retry_after=1.5)
    return "fine"
"#,
    );
    let mut worker = plugin.start().await;
    for (how, kind, message) in [
        ("raise", ErrorKind::PluginError, "ValueError: no such thing: 7"),
        ("exit", ErrorKind::PluginError, "the plugin called sys.exit(3)"),
        ("exit text", ErrorKind::PluginError, "the plugin called sys.exit('so long')"),
        ("interrupt", ErrorKind::PluginError, "KeyboardInterrupt"),
        ("custom", ErrorKind::PluginError, "executor.Custom: <Custom whose str() raised RuntimeError>"),
        ("recurse", ErrorKind::PluginError, "RecursionError: maximum recursion depth exceeded"),
        ("input", ErrorKind::InvalidInput, "a url is needed"),
        ("away", ErrorKind::Unavailable, "the service sleeps"),
    ] {
        let error = worker.error(json!({"how": how})).await;
        assert_eq!(error.kind, kind, "{how}");
        assert!(error.message.starts_with(message), "{how}: {error}");
        assert_eq!(error.retry_after, (how == "away").then_some(Duration::from_millis(1500)));
        if how == "raise" {
            let exception = error.exception.unwrap();
            assert_eq!(exception.type_name, "ValueError");
            let frames: Vec<_> = exception.traceback.lines().filter(|line| line.contains("File ")).collect();
            assert_eq!(frames.len(), 2, "{}", exception.traceback);
            assert!(frames.iter().all(|frame| frame.contains("executor.py")));
        }
        // It lives on.
        assert_eq!(worker.output(json!({"how": "fine"})).await, "fine");
    }
}

#[tokio::test]
async fn an_output_that_is_not_json_is_named_by_its_path() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
def deep(n):
    value = []
    for _ in range(n): value = [value]
    return value

cyclic = {}
cyclic["self"] = cyclic

OUTPUTS = {
    "nan": {"a": [1, {"b": float("nan")}]},
    "infinity": [float("-inf")],
    "set": {"odd key": {1, 2}},
    "object": object(),
    "surrogate": {"text": "\udc80"},
    "key": {"a": {(1, 2): 3}},
    "bytes": b"x",
    "iterator": iter([1]),
    "cyclic": cyclic,
    "deep": deep(150),
    "very deep": deep(100_000),
    "huge": 10 ** 400,
}

def invoke(input_data):
    return OUTPUTS[input_data["what"]]
"#,
    );
    let mut worker = plugin.start().await;
    for (what, message) in [
        ("nan", "the output is not JSON at $.a[1].b: nan"),
        ("infinity", "the output is not JSON at $[0]: -inf"),
        ("set", "the output is not JSON at $['odd key']: a value of type set"),
        ("object", "the output is not JSON at $: a value of type object"),
        ("surrogate", "the output is not JSON at $.text: a string with a lone surrogate"),
        ("key", "the output is not JSON at $.a: a key of type tuple"),
        ("bytes", "the output is not JSON at $: a value of type bytes"),
        ("iterator", "the output is not JSON at $: a value of type list_iterator"),
        ("cyclic", "the output is not JSON at $: it is nested too deeply, or contains itself"),
        ("deep", "the output is not usable JSON: recursion limit exceeded"),
        ("very deep", "the output is not JSON at $: it is nested too deeply, or contains itself"),
        ("huge", "the output is not usable JSON: number out of range"),
    ] {
        let error = worker.error(json!({"what": what})).await;
        assert_eq!(error.kind, ErrorKind::InvalidOutput, "{what}: {error}");
        assert!(error.message.starts_with(message), "{what}: {error}");
        assert!(worker.instance.reusable(), "{what}");
    }
}

#[tokio::test]
async fn an_output_that_is_nearly_json_comes_with_advice() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import dataclasses, datetime, decimal, enum

@dataclasses.dataclass
class Point:
    x: int

class Color(enum.Enum):
    RED = "r"

OUTPUTS = {
    "dataclass": Point(1), "decimal": [decimal.Decimal("1.1")], "datetime": datetime.datetime(2026, 11, 22),
    "set": {1}, "bytes": b"x", "enum": Color.RED, "nan": float("nan"), "object": object(),
}

def invoke(data):
    return OUTPUTS[data["what"]]
"#,
    );
    let mut worker = plugin.start().await;
    for (what, help) in [
        ("dataclass", Some("return a dict: dataclasses.asdict(value)")),
        ("decimal", Some("return text or a number: str(value) or float(value)")),
        ("datetime", Some("return text: value.isoformat()")),
        ("set", Some("return a list: sorted(value)")),
        ("bytes", Some("return text: value.decode(), or base64 if it is no text")),
        ("enum", Some("return its value: value.value")),
        ("nan", Some("JSON has no NaN and no Infinity: return None instead")),
        ("object", None),
    ] {
        let error = worker.error(json!({"what": what})).await;
        assert_eq!((error.kind, error.help.as_deref()), (ErrorKind::InvalidOutput, help), "{what}");
    }
}

#[tokio::test]
async fn too_much_output_is_refused_whole_or_in_parts() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
def parts(n):
    try:
        for _ in range(n): yield "x" * 1000
    finally:
        print("closed")

def invoke(input_data):
    n = input_data["n"]
    return parts(n) if input_data.get("parts") else "x" * n
"#,
    );
    let mut worker = plugin.start().await;
    let error = worker.error(json!({"n": 50 << 20})).await;
    assert_eq!(error.kind, ErrorKind::OutputTooLarge);
    let (guest, result) = worker.call(json!({"n": 5000, "parts": true})).await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::OutputTooLarge);
    assert_eq!(guest.seen.chunks.len(), (1 << 20) / 1002);
    assert_eq!(guest.lines(LogStream::Stdout), ["closed"]);
    // Exactly the bound fits.
    let output = worker.output(json!({"n": (1 << 20) - 2})).await;
    assert_eq!(output.as_str().unwrap().len(), (1 << 20) - 2);
}

#[tokio::test]
async fn a_death_ends_the_call_at_once_and_says_how() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import ctypes, os, signal, sys, time
def invoke(input_data):
    how = input_data["how"]
    print("last words", file=sys.stderr)
    if how == "exit": os._exit(7)
    if how == "segv": ctypes.string_at(0)
    if how == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if how == "abort": os.abort()
    if how == "close":
        os.close(4)
        time.sleep(60)
"#,
    );
    for (how, message) in [
        ("exit", "the worker ended with exit code 7; last line of stderr: last words"),
        ("segv", "the worker was killed by SIGSEGV"),
        ("kill", "the worker was killed by SIGKILL"),
        ("abort", "the worker was killed by SIGABRT"),
        ("close", "the worker had to be killed: it closed descriptor 4"),
    ] {
        let mut worker = plugin.start().await;
        let start = std::time::Instant::now();
        let (guest, result) = worker.call(json!({"how": how})).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Crashed, "{how}");
        assert!(error.message.starts_with(message), "{how}: {error}");
        assert!(error.exception.unwrap().traceback.starts_with("last words"), "{how}");
        assert!(guest.lines(LogStream::Stderr).contains(&"last words"), "{how}");
        assert!(guest.seen.usage[0].cpu > Duration::ZERO, "{how}");
        assert!(start.elapsed() < Duration::from_secs(5), "{how}");
        assert!(!worker.instance.reusable(), "{how}");
    }
}

#[tokio::test]
async fn a_worker_killed_from_outside_is_seen_in_the_call_and_when_idle() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        "import time\ndef invoke(data):\n    open(data['at'], 'w').close()\n    time.sleep(60)\n",
    );
    let mut worker = plugin.start().await;
    let pid = rustix::process::Pid::from_raw(worker.pid().cast_signed()).unwrap();
    let at = plugin.data_dir.join("running");
    let kill = async {
        eventually("the call runs", PATIENCE, || at.exists()).await;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    let (error, ()) = tokio::join!(worker.error(json!({"at": at})), kill);
    assert_eq!(error.kind, ErrorKind::Crashed);
    assert!(error.message.contains("SIGKILL"), "{error}");

    let mut idle = plugin.start().await;
    let pid = rustix::process::Pid::from_raw(idle.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("it is seen", PATIENCE, || !idle.instance.reusable()).await;
}

#[tokio::test]
async fn a_reply_written_before_the_death_counts() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import os
def invoke(data):
    body = b'{"t":"end","id":1,"output":"first"}'
    os.write(4, len(body).to_bytes(4, "little") + body)
    os._exit(1)
"#,
    );
    let mut worker = plugin.start().await;
    assert_eq!(worker.output(json!({})).await, "first");
    eventually("its death is seen", PATIENCE, || !worker.instance.reusable()).await;
}

#[tokio::test]
async fn floods_are_cut_and_counted_and_fail_nothing() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import os
def invoke(data):
    fd = data["fd"]
    if data["line"]:
        block = b"x" * 65536
        for _ in range(800): os.write(fd, block)
    else:
        block = b"yes\n" * 16384
        for _ in range(800): os.write(fd, block)
    return "done"
"#,
    );
    let mut worker = plugin.start().await;
    for (fd, stream, name) in
        [(1, LogStream::Stdout, dropped::STDOUT_LINES), (2, LogStream::Stderr, dropped::STDERR_LINES)]
    {
        let (guest, result) = worker.call(json!({"fd": fd, "line": false})).await;
        assert_eq!(result.unwrap().output.unwrap().get(), r#""done""#);
        let kept = guest.lines(stream).len() as u64;
        assert_eq!(kept, 10_000);
        assert_eq!(kept + guest.dropped(name), 800 * 16384);

        let (guest, result) = worker.call(json!({"fd": fd, "line": true})).await;
        assert!(result.is_ok());
        assert_eq!(guest.lines(stream), ["x".repeat(8 << 10)]);
        assert_eq!(guest.dropped(dropped::LINES_CUT), 1);
    }
}

#[tokio::test]
async fn records_beyond_their_number_are_counted() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import json, os
def invoke(data, ctx):
    for i in range(data["n"]):
        if data["cheat"]:
            for t in ("log", "metric"):
                body = json.dumps({"t": t, "id": 2, "body": "x", "name": "m", "value": 1}).encode()
                os.write(4, len(body).to_bytes(4, "little") + body)
        else:
            ctx.log.info("x")
            ctx.metric("m", 1)
            with ctx.span("s"): pass
    ctx.log.info("x" * 100_000, **{"f%d" % i: "y" * 100_000 for i in range(100)})
"#,
    );
    let mut worker = plugin.start().await;
    let (guest, result) = worker.call(json!({"n": 10_500, "cheat": false})).await;
    assert!(result.is_ok());
    assert_eq!((guest.seen.logs.len(), guest.dropped(dropped::LOGS)), (10_000, 501));
    assert_eq!((guest.seen.metrics.len(), guest.dropped(dropped::METRICS)), (1_000, 9_500));
    assert_eq!((guest.seen.spans.len(), guest.dropped(dropped::SPANS)), (1_000, 9_500));
    // Without the worker's own bounds.
    let (guest, result) = worker.call(json!({"n": 10_500, "cheat": true})).await;
    assert!(result.is_ok());
    assert_eq!((guest.seen.logs.len(), guest.dropped(dropped::LOGS)), (10_000, 501));
    assert_eq!((guest.seen.metrics.len(), guest.dropped(dropped::METRICS)), (1_000, 9_500));
    let (guest, _) = worker.call(json!({"n": 0, "cheat": false})).await;
    let log = &guest.seen.logs[0];
    assert_eq!((log.body.len(), log.fields.len()), (8192, 64));
    assert!(log.fields.values().all(|value| value.as_str().unwrap().len() == 8192));
}

#[tokio::test]
async fn garbage_in_the_frame_pipe_ends_the_worker_and_nothing_else() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import os, time
FRAMES = {
    "text": b"garbage, as print would write it",
    "zero": bytes(4),
    "length only": (1 << 31).to_bytes(4, "little"),
    "not json": (5).to_bytes(4, "little") + b"{oops",
    "binary": (4).to_bytes(4, "little") + b"\xff\xfe\x00\x01",
    "array": (2).to_bytes(4, "little") + b"[]",
    "too long": (100 << 20).to_bytes(4, "little") + b'{"t":"end","id":1,"output":"',
}
def invoke(data):
    os.write(4, FRAMES[data["what"]])
    time.sleep(60)
"#,
    );
    for what in ["text", "zero", "length only", "not json", "binary", "array", "too long"] {
        let mut worker = plugin.start().await;
        let pid = worker.pid();
        let error = worker.error(json!({"what": what})).await;
        let kind = if what == "too long" { ErrorKind::OutputTooLarge } else { ErrorKind::Crashed };
        assert_eq!(error.kind, kind, "{what}: {error}");
        assert!(!worker.instance.reusable(), "{what}");
        eventually("it is gone", PATIENCE, || !alive(pid)).await;
    }
}

#[tokio::test]
async fn replies_to_other_calls_are_dropped_and_counted() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import json, os
def say(**frame):
    body = json.dumps(frame).encode()
    os.write(4, len(body).to_bytes(4, "little") + body)
def invoke(data, ctx):
    n = data["n"]
    say(t="end", id=n + 1000, output="foreign")
    say(t="end", id=n - 1, output="stale")
    say(t="end", output="no id")
    say(t="log", id=n - 1, body="stale")
    say(t="what is this", id=n)
    if data["twice"]:
        say(t="end", id=n, output="first")
    return "own"
"#,
    );
    let mut worker = plugin.start().await;
    let (guest, result) = worker.call(json!({"n": 1, "twice": true})).await;
    assert_eq!(result.unwrap().output.unwrap().get(), r#""first""#);
    assert_eq!((guest.seen.logs.len(), guest.dropped(dropped::FRAMES)), (0, 5));
    // The second reply of the first call is still in the pipe.
    let (guest, result) = worker.call(json!({"n": 2, "twice": false})).await;
    assert_eq!(result.unwrap().output.unwrap().get(), r#""own""#);
    assert_eq!(guest.dropped(dropped::FRAMES), 6);
}

#[tokio::test]
async fn a_plugin_that_forks_and_returns_answers_once() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import multiprocessing, os
def square(n): return n * n
def invoke(data):
    if data.get("pool"):
        with multiprocessing.get_context(data["pool"]).Pool(2) as pool:
            return pool.map(square, range(4))
    pid = os.fork()
    return "parent" if pid else "child"
"#,
    );
    let mut worker = plugin.start().await;
    for _ in 0..5 {
        let mut worker = plugin.start().await;
        let (guest, result) = worker.call(json!({})).await;
        assert_eq!(result.unwrap().output.unwrap().get(), r#""parent""#);
        assert_eq!(guest.dropped(dropped::FRAMES), 0);
    }
    for method in ["fork", "spawn", "forkserver"] {
        assert_eq!(worker.output(json!({"pool": method})).await, json!([0, 1, 4, 9]), "{method}");
    }
}

#[tokio::test]
async fn closed_and_replaced_standard_streams_do_no_harm() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import io, os, sys
def invoke(data):
    how = data["how"]
    if how == "close object": sys.stdout.close()
    if how == "replace": sys.stdout = io.StringIO()
    if how == "none": sys.stdout = None
    if how == "close descriptor": os.closerange(1, 3)
    if how == "stdin": return [sys.stdin.read(), os.read(0, 10).decode()]
    return how
"#,
    );
    for how in ["close object", "replace", "none", "close descriptor"] {
        let mut worker = plugin.start().await;
        for _ in 0..2 {
            assert_eq!(worker.output(json!({"how": how})).await, how);
        }
    }
    assert_eq!(plugin.start().await.output(json!({"how": "stdin"})).await, json!(["", ""]));
}

#[tokio::test]
async fn what_cannot_be_loaded_is_unavailable_and_says_where() {
    if !require("python3") {
        return;
    }
    for (source, message) in [
        (
            "\n\nimport no_such_module\n",
            "ModuleNotFoundError: No module named 'no_such_module' (executor.py:3)",
        ),
        ("def invoke(data)\n    pass\n", "SyntaxError: "),
        ("def other(data): pass\n", "executor.py has no function `invoke`; it defines other"),
        ("invoke = 3\n", "executor.py has no function `invoke`; it defines no function"),
        ("def invoke(): pass\n", "invoke must take (input_data) or (input_data, ctx)"),
        ("def invoke(a, b, c): pass\n", "invoke must take (input_data) or (input_data, ctx)"),
        (
            "def f():\n    return 1/0\nf()\ndef invoke(data): pass\n",
            "ZeroDivisionError: division by zero (executor.py:2)",
        ),
        ("import sys\nsys.exit(4)\n", "the plugin called sys.exit(4) while it was loaded (executor.py:2)"),
        (
            "def invoke(data): pass\ndef on_start(ctx):\n    raise OSError('no disk')\n",
            "OSError: no disk (executor.py:3)",
        ),
        (
            "import os, sys\nsys.stderr.write('why\\n')\nos._exit(9)\n",
            "the worker was not ready yet and ended with exit code 9; last line of stderr: why",
        ),
    ] {
        let plugin = Plugin::new(source);
        let Err(error) = plugin.try_start().await else { panic!("{source}") };
        assert_eq!(error.kind, ErrorKind::Unavailable, "{source}");
        assert!(error.message.starts_with(message), "{source}: {error}");
        if message.starts_with("SyntaxError") {
            assert!(error.message.contains("executor.py"), "{error}");
            assert!(error.message.contains('1'), "{error}");
        }
    }
}

#[tokio::test]
async fn requirements_that_are_not_supported_are_explained() {
    if !require("python3") {
        return;
    }
    let source = |files| PluginSource {
        runtime: RuntimeKind::Python,
        files,
        entrypoint: "executor.py:invoke",
        actions: &[],
        convention: Convention::Plugin,
        requires_python: None,
    };
    let broken = ("executor.py", "import no_such_module\n");
    let files = [broken, ("requirements.txt", "# none\n-e .\n")];
    let with = Plugin::from(source(&files));
    let error = with.try_start().await.err().unwrap();
    assert_eq!(error.message, "requirements.txt:2: an editable install is not supported");
    let files = [broken, ("requirements.txt", "# none\n\n")];
    let without = Plugin::from(source(&files));
    assert_eq!(without.try_start().await.err().unwrap().help, None);
}

#[tokio::test]
async fn a_python_that_does_not_fit_is_unavailable() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::from(PluginSource {
        runtime: RuntimeKind::Python,
        files: &[("executor.py", "def invoke(data): pass\n")],
        entrypoint: "executor.py:invoke",
        actions: &[],
        convention: Convention::Plugin,
        requires_python: Some(">=4"),
    });
    let error = plugin.try_start().await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.starts_with("requires.python asks for `>=4`, and this is Python 3."), "{error}");
}

#[tokio::test]
async fn an_unknown_action_is_an_error_of_the_call() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("def invoke(data): pass\n");
    let mut worker = plugin.start().await;
    let mut call = request(json!({}));
    call.action = "other".into();
    let error = worker.instance.call(call, &mut TestGuest::default()).await.unwrap_err();
    assert_eq!(error.message, "there is no action `other`");
}

#[tokio::test]
async fn large_inputs_reach_a_worker_that_prints_meanwhile() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new(
        r#"
import threading
def chatter():
    while True: print("y" * 1000)
def invoke(data):
    if data.get("start"): threading.Thread(target=chatter, daemon=True).start()
    return len(data.get("text", ""))
"#,
    );
    let mut worker = plugin.start().await;
    worker.output(json!({"start": true})).await;
    for _ in 0..3 {
        assert_eq!(worker.output(json!({"text": "x".repeat(4 << 20)})).await, 4 << 20);
    }
}
