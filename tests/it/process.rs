//! Process plugins: what can be wrong with an executable, the helper for Node, and the examples.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use spanglass::model::guest::{GuestAnswer, LogStream, Severity};
use spanglass::model::kind::ErrorKind;
use spanglass::package::manifest::RuntimeKind;
use spanglass::runtimes::Convention;

use crate::support::packages::zip_files;
use crate::support::server::Home;
use crate::support::{PATIENCE, Plugin, PluginSource, TestGuest, raw, require};

const HELPER: &str = include_str!("../../plugins/logger/bin/spanglass.js");

/// A plugin in Node: `source` stands below `const { serve, … } = require('./spanglass.js')`.
fn node(source: &str, actions: &[(&str, &str)]) -> Plugin {
    let head = "const { serve, InvalidInput, Unavailable } = require('./spanglass.js');\n";
    Plugin::from(PluginSource {
        runtime: RuntimeKind::Process,
        files: &[("main.js", &format!("{head}{source}")), ("spanglass.js", HELPER)],
        entrypoint: "main.js",
        actions,
        convention: Convention::Plugin,
        requires_python: None,
    })
}

// === What can be wrong with an executable ===

#[tokio::test]
async fn a_worker_that_does_not_start_says_why() {
    for (source, message) in [
        ("#!/bin/sh\necho oh no >&2; exit 3\n", "ended with exit code 3; last line of stderr: oh no"),
        ("#!/bin/sh\nkill -9 $$\n", "was killed by SIGKILL"),
        ("#!/bin/sh\nprintf 'hello, world' >&4; sleep 60\n", "something that is no frame was written"),
        ("#!/bin/sh\nprintf '\\004\\0\\0\\0oops' >&4; sleep 60\n", "a frame on descriptor 4 is not JSON"),
        ("#!/bin/sh\nexec 4>&-; sleep 60\n", "it closed descriptor 4"),
        (
            "#!/bin/sh\nprintf '\\024\\0\\0\\0{\"t\":\"ready\",\"v\":99}' >&4; sleep 60\n",
            "it speaks version 99 of the protocol, not 1",
        ),
        ("#!/no/such/shell\n", "main needs `/no/such/shell`, which is not on this machine"),
        ("not a program\n", "main is not executable"),
    ] {
        let error = Plugin::process(source).try_start().await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{source}: {error}");
        assert!(error.message.contains(message), "{source}: {error}");
    }
    // Said nothing, as long as anybody waits.
    let silent = Plugin::process("#!/bin/sh\nexec sleep 60\n");
    assert!(tokio::time::timeout(Duration::from_millis(200), silent.try_start()).await.is_err());
}

// A worker in sh that is ready, and then does `$1` when it is called.
fn ready_then(then: &str) -> String {
    format!(
        "#!/bin/sh\nprintf '\\023\\0\\0\\0{{\"t\":\"ready\",\"v\":1}}' >&4\n\
         dd bs=1 count=4 <&3 >/dev/null 2>&1\n{then}\nsleep 60\n"
    )
}

#[tokio::test]
async fn a_worker_that_breaks_the_protocol_in_a_call_has_crashed() {
    for (then, message) in [
        ("printf 'hello, world' >&4", "something that is no frame was written"),
        ("exit 7", "ended with exit code 7"),
        ("exec 4>&-", "it closed descriptor 4"),
    ] {
        let plugin = Plugin::process(&ready_then(then));
        let mut worker = plugin.start().await;
        let error = worker.error(json!({})).await;
        assert_eq!(error.kind, ErrorKind::Crashed, "{then}: {error}");
        assert!(error.message.contains(message), "{then}: {error}");
        assert!(!worker.instance.reusable());
    }
}

// === The helper for Node ===

const NODE: &str = r#"
async function invoke(input, ctx) {
  switch (input.how) {
    case 'context': return { level: ctx.config.level, token: ctx.secrets.API_TOKEN, action: ctx.action,
                             traceparent: ctx.traceparent, left: ctx.deadline > Date.now() };
    case 'nothing': return undefined;
    case 'type': return null.x;
    case 'nan': return { n: NaN };
    case 'bigint': return 1n;
    case 'large': return 'x'.repeat(2 << 20);
    case 'input': throw new InvalidInput('a url is needed');
    case 'away': throw new Unavailable('the service sleeps', 1500);
    case 'text': throw 'just text';
    case 'print': console.log('to out'); console.error('to err'); return 1;
    case 'exit': process.exit(3);
    case 'say':
      ctx.log.warn('careful', { n: 1 });
      ctx.metric('things', 2, { kind: 'good' });
      return ctx.span('outer', () => ctx.span('inner', async (span) => { span.set({ a: 1 }); return 'said'; }));
    case 'ask': return ctx.span('asking', () => ctx.services.http.request({ method: 'GET', url: input.url }));
    case 'forget': ctx.services.http.request({ method: 'GET', url: 'http://x/' }); return 'left';
    case 'call':
      try { return await ctx.services.call('other', { n: 1 }); } catch (error) { return `${error.kind}: ${error.message}`; }
  }
}

async function* count({ to }) { for (let n = 0; n < to; n++) yield { n }; }
function* fail() { yield 1; throw new RangeError('after one'); }
serve({ invoke, count, fail });
"#;

#[tokio::test]
async fn a_plugin_in_node_has_what_one_in_python_has() {
    if !require("node") {
        return;
    }
    let plugin = node(NODE, &[("count", "main.js"), ("fail", "main.js")]);
    let mut worker = plugin.start().await;
    let context = worker.output(json!({"how": "context"})).await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(
        context,
        json!({"level": "info", "token": "s3cr3t", "action": "invoke", "traceparent": traceparent, "left": true})
    );
    assert_eq!(worker.output(json!({"how": "nothing"})).await, json!(null));
    for (how, kind, message) in [
        ("type", ErrorKind::PluginError, "TypeError: Cannot read properties of null (reading 'x')"),
        ("nan", ErrorKind::InvalidOutput, "the output is not JSON: n is NaN"),
        ("bigint", ErrorKind::InvalidOutput, "the output is not JSON: Do not know how to serialize a BigInt"),
        ("large", ErrorKind::OutputTooLarge, "the output is larger than limits.max_output"),
        ("input", ErrorKind::InvalidInput, "a url is needed"),
        ("away", ErrorKind::Unavailable, "the service sleeps"),
        ("text", ErrorKind::PluginError, "string: just text"),
    ] {
        let error = worker.error(json!({"how": how})).await;
        assert_eq!((error.kind, error.message.as_str()), (kind, message), "{how}");
        assert_eq!(error.retry_after, (how == "away").then_some(Duration::from_millis(1500)));
    }

    let (guest, end) = worker.call(json!({"how": "print"})).await;
    assert!(end.unwrap().usage.memory_peak_bytes > 10 << 20);
    assert_eq!(
        (guest.lines(LogStream::Stdout), guest.lines(LogStream::Stderr)),
        (vec!["to out"], vec!["to err"])
    );

    let (guest, _) = worker.call(json!({"how": "say"})).await;
    let log = &guest.seen.logs[0];
    assert_eq!((log.severity, log.body.as_str(), &log.fields["n"]), (Severity::Warn, "careful", &json!(1)));
    assert_eq!((guest.seen.metrics[0].name.as_str(), guest.seen.metrics[0].value), ("things", 2.0));
    let [inner, outer] = &guest.seen.spans[..] else { panic!("{:?}", guest.seen.spans) };
    assert_eq!((inner.name.as_str(), inner.parent_id), ("inner", Some(outer.span_id)));
    assert_eq!((&inner.attributes["a"], outer.parent_id), (&json!(1), None));
    assert!(outer.start_unix_ns <= inner.start_unix_ns && inner.end_unix_ns <= outer.end_unix_ns);

    let error = worker.error(json!({"how": "exit"})).await;
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Crashed, "the worker ended with exit code 3")
    );
}

#[tokio::test]
async fn a_plugin_in_node_asks_the_host() {
    if !require("node") {
        return;
    }
    let plugin = node(NODE, &[]);
    let mut worker = plugin.start().await;
    let mut guest = TestGuest {
        answer: Some(Arc::new(|call| {
            let output: GuestAnswer = Ok(raw(json!({"asked": format!("{call:?}")})));
            Box::pin(std::future::ready(output))
        })),
        ..TestGuest::default()
    };
    let mut ask = async |input| {
        let end = worker.instance.call(crate::support::request(input), &mut guest).await.unwrap();
        serde_json::from_str::<serde_json::Value>(end.output.unwrap().get()).unwrap()
    };
    let answer = ask(json!({"how": "ask", "url": "http://127.0.0.1/"})).await;
    let asked = answer["asked"].as_str().unwrap();
    assert!(asked.contains(r#"method: "GET", url: "http://127.0.0.1/""#), "{asked}");
    assert!(asked.contains("parent_id: Some("), "asked within a span: {asked}");
    // Nobody waits for the answer: neither this call nor the next one minds.
    assert_eq!(ask(json!({"how": "forget"})).await, "left");
    assert_eq!(ask(json!({"how": "nothing"})).await, json!(null));
}

#[tokio::test]
async fn a_generator_in_node_is_a_stream() {
    if !require("node") {
        return;
    }
    let plugin = node(NODE, &[("count", "main.js"), ("fail", "main.js")]);
    let mut worker = plugin.start().await;
    let mut stream = async |action: &str, input| {
        let mut guest = TestGuest::default();
        let mut request = crate::support::request(input);
        request.action = action.into();
        let end = worker.instance.call(request, &mut guest).await;
        (guest.seen.chunks, end.map(|end| end.output.is_none()).map_err(|error| error.message))
    };
    assert_eq!(
        stream("count", json!({"to": 3})).await,
        (vec![json!({"n": 0}), json!({"n": 1}), json!({"n": 2})], Ok(true))
    );
    assert_eq!(stream("count", json!({"to": 0})).await, (vec![], Ok(true)));
    assert_eq!(stream("fail", json!({})).await, (vec![json!(1)], Err("RangeError: after one".into())));
}

#[tokio::test]
async fn hooks_in_node_are_asked() {
    if !require("node") {
        return;
    }
    let hooks = |health: &str| {
        node(
            &format!(
                "serve({{ invoke() {{ return 1; }} }}, {{ on_start(ctx) {{ ctx.log.info(ctx.config.level); }}, health() {{ {health} }}, on_stop() {{ throw new Error('I stay'); }} }});"
            ),
            &[],
        )
    };
    let within = Duration::from_secs(5);
    let plugin = hooks("return true;");
    let mut worker = plugin.start().await;
    let steps: Vec<_> = plugin.start_spans.lock().unwrap().iter().map(|span| span.name.clone()).collect();
    assert_eq!(steps, ["on_start"]);
    assert_eq!(plugin.start_logs.lock().unwrap()[0].body, "info");
    assert_eq!(worker.instance.health(within).await, Ok(()));
    assert_eq!(worker.output(json!({})).await, json!(1));
    assert_eq!(worker.instance.health(within).await, Ok(()));
    assert_eq!(worker.instance.stop(within).await, Err("the worker ended with exit code 1".into()));
    for (health, why) in [("return false;", "health said no"), ("throw new Error('no disk');", "no disk")] {
        let plugin = hooks(health);
        let mut worker = plugin.start().await;
        assert_eq!(worker.instance.health(within).await, Err(why.into()));
        assert!(!worker.instance.reusable(), "{health}");
    }
    let plugin = node("serve({});", &[]);
    let error = plugin.try_start().await.err().unwrap();
    assert_eq!(error.message, "there is no function for the action `invoke`");
}

// === As packages ===

/// Name, version, entry point, dependencies and configuration are enough, also in a zip that knows no modes.
#[tokio::test]
async fn the_least_descriptor_of_a_process_plugin_works() {
    if !require("node") {
        return;
    }
    let descriptor = json!({
        "name": "least",
        "version": "1.0.0",
        "entrypoint": "./bin/least.js",
        "dependencies": [{"name": "core-utils", "version": "^2.3.0", "required": false}],
        "config": {"level": "info", "output": "log"},
    });
    let source =
        "require('./spanglass.js').serve({ invoke: (input, ctx) => ({ ...ctx.config, ...input }) });\n";
    let script = "#!/usr/bin/env python3\nimport os\nos.execvp('node', ['node', __file__.replace('main', 'least.js')])\n";
    let mut wrapped = descriptor.clone();
    wrapped["name"] = json!("wrapped");
    wrapped["entrypoint"] = json!("bin/main");
    let zip = |descriptor: &serde_json::Value| {
        zip_files(&[
            ("plugin.json", descriptor.to_string().as_bytes()),
            ("bin/least.js", source.as_bytes()),
            ("bin/main", script.as_bytes()),
            ("bin/spanglass.js", HELPER.as_bytes()),
        ])
    };
    let home = Home::new();
    for (name, descriptor) in [("least", &descriptor), ("wrapped", &wrapped)] {
        let file = format!("{name}.zip");
        home.write(&file, zip(descriptor));
        let valid = home.run(&["plugin", "validate", &file, "--json"]).await;
        assert_eq!(valid.code, 0, "{valid:#?}");
        let registered = home.run(&["plugin", "register", &file, "--json"]).await;
        assert_eq!(registered.code, 0, "{registered:#?}");
        let called = home.run(&["invoke", name, "--input", r#"{"n": 1}"#, "--json"]).await;
        assert_eq!(called.code, 0, "{called:#?}");
        assert_eq!(called.json()["data"], json!({"level": "info", "output": "log", "n": 1}), "{called:#?}");
    }
}

#[tokio::test]
async fn a_new_process_plugin_and_the_examples_pass_their_tests() {
    if !require("node") || !require("python3") {
        return;
    }
    let home = Home::new();
    let new = home.run(&["plugin", "new", "fresh", "--runtime", "process", "--json"]).await;
    assert_eq!((new.code, &new.json()["runtime"]), (0, &json!("process")), "{new:#?}");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    let examples =
        ["logger", "core-utils", "disk-space"].map(|name| examples.join(name).display().to_string());
    for plugin in ["fresh".to_owned()].into_iter().chain(examples) {
        let tested = home.run(&["plugin", "test", &plugin, "--json"]).await;
        assert_eq!(tested.code, 0, "{tested:#?}");
        assert!(tested.json()["passed"].as_u64().unwrap() >= 1, "{tested:#?}");
    }
}

// === What a server says of hooks and crash loops ===

#[tokio::test]
async fn hooks_and_crash_loops_are_seen_in_telemetry() {
    if !require("python3") {
        return;
    }
    let hooked = "def on_start(): pass\ndef health(): pass\ndef on_stop(): raise OSError('I stay')\n\
                  def invoke(input_data): return {}\n";
    let home = Home::new().plugin("hooked", "", hooked).plugin(
        "looping",
        "circuit_breaker: {min_calls: 1000}",
        "import no_such_module\n",
    );
    let mut server = home.serve().await;

    let reply = server.client.invoke("hooked", json!({})).await;
    let trace_id = reply.json()["meta"]["trace_id"].as_str().unwrap().to_owned();
    let trace = server.client.trace(&trace_id).await;
    let spans = trace["spans"].as_array().unwrap();
    let span =
        |name: &str| spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("{trace:#}"));
    for hook in ["on_start", "health"] {
        assert_eq!(span(hook)["parent_span_id"], span("prepare")["span_id"], "{trace:#}");
    }

    let start = std::time::Instant::now();
    let said = |server: &crate::support::server::Server, event: &str| {
        server.log_lines().into_iter().find(|line| line["event_name"] == event)
    };
    while said(&server, "instance.crash_looping").is_none() {
        assert!(start.elapsed() < PATIENCE, "{:#?}", server.log_lines());
        server.client.invoke("looping", json!({})).await;
    }
    let line = said(&server, "instance.crash_looping").unwrap();
    assert_eq!((&line["plugin.name"], &line["failures"]), (&json!("looping"), &json!(3)));
    assert!(line["body"].as_str().unwrap().contains("no_such_module"), "{line:#}");

    server.stop().await;
    let line = said(&server, "hook.failed").unwrap();
    assert_eq!(
        (&line["plugin.name"], &line["spanglass.hook"], &line["severity_text"]),
        (&json!("hooked"), &json!("on_stop"), &json!("WARN"))
    );
    assert!(line["duration_ms"].is_number(), "{line:#}");
}
