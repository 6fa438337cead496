//! One invocation carries one trace id in its reply, headers, spans, log lines, exemplar and ledger rows, on
//! the wire to whom its plugin calls, and from whom called it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::require;
use crate::support::server::{Home, Reply, Server};
use crate::support::sink::{SeenSpan, Sink, Transport};
use crate::support::upstream::Upstream;

const TALKATIVE: &str = r#"
import logging, sys

def invoke(input_data, ctx):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.getLogger("app").warning("to logging")
    ctx.log.info("to the sdk", answer=42)
    with ctx.span("work", depth=1):
        answer = ctx.services.http.get(input_data["url"])
    return {"status": answer.status, "traceparent": ctx.traceparent}
"#;

const QUIET: &str = "def invoke(input_data):\n    return {}\n";

async fn serve(sink: &Sink) -> Server {
    let mut home = Home::new().plugin("talkative", "", TALKATIVE).plugin("quiet", "", QUIET);
    home.env.extend(sink.variables());
    home.serve().await
}

#[tokio::test]
async fn one_trace_id_everywhere_over_http() {
    one_trace_id_everywhere(Transport::Http).await;
}

#[tokio::test]
async fn one_trace_id_everywhere_over_grpc() {
    one_trace_id_everywhere(Transport::Grpc).await;
}

async fn one_trace_id_everywhere(transport: Transport) {
    if !require("python3") {
        return;
    }
    let sink = Sink::start(transport);
    let upstream = Upstream::start().await;
    let server = serve(&sink).await;
    let reply = server.client.invoke("talkative", json!({"url": upstream.url("/hello?secret=1")})).await;

    // The reply and its headers.
    assert_eq!(reply.status, 200, "{}", reply.text());
    let document = reply.json();
    let (trace_id, root_id, flags) = reply.traceparent();
    assert_eq!((&document["meta"]["trace_id"], flags.as_str()), (&json!(trace_id), "01"));
    let invocation_id = document["meta"]["invocation_id"].as_str().unwrap();

    // Spans at the collector: structure, attributes, resource.
    let spans = sink.spans_of(&trace_id, 9).await;
    let chain = |name: &str| path_to_root(&spans, name);
    assert_eq!(chain("invoke talkative"), ["invoke talkative"]);
    assert_eq!(chain("validate_input"), ["validate_input", "invoke talkative"]);
    assert_eq!(chain("validate_output"), ["validate_output", "invoke talkative"]);
    assert_eq!(chain("queue"), ["queue", "attempt", "invoke talkative"]);
    assert_eq!(chain("prepare"), ["prepare", "attempt", "invoke talkative"]);
    assert_eq!(chain("GET"), ["GET", "work", "execute", "attempt", "invoke talkative"]);
    assert_eq!(spans.len(), 9, "{spans:#?}");
    let root = span(&spans, "invoke talkative");
    assert_eq!((&root.span_id, root.kind), (&root_id, 2));
    assert_eq!(root.attributes["spanglass.invocation.id"], invocation_id);
    assert_eq!(root.attributes["sampling.keep"], true);
    assert_eq!(root.resource["service.name"], "spanglass");
    assert_eq!(span(&spans, "work").attributes["depth"], 1);
    let client = span(&spans, "GET");
    assert_eq!((client.kind, &client.attributes["http.response.status_code"]), (3, &json!(200)));
    assert_eq!(client.attributes["url.full"], upstream.url("/hello"), "a query is not written down");

    // What the plugin was told, and what it told on.
    let execute = &span(&spans, "execute").span_id;
    assert_eq!(document["data"]["traceparent"], format!("00-{trace_id}-{execute}-01"));
    let seen = upstream.take();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["traceparent"], format!("00-{trace_id}-{}-01", client.span_id));

    // Logs: at the collector, on standard output, in the ledger.
    let expected = BTreeMap::from([
        ("to stdout", "stdout"),
        ("to stderr", "stderr"),
        ("to logging", "sdk"),
        ("to the sdk", "sdk"),
        ("invocation replied", "host"),
    ]);
    let logs = sink.logs_of(&trace_id, expected.len()).await;
    let at_collector: BTreeMap<&str, &str> = logs
        .iter()
        .map(|log| (log.body.as_str().unwrap(), log.attributes["stream"].as_str().unwrap()))
        .collect();
    assert_eq!((&at_collector, logs.len()), (&expected, expected.len()));
    for log in &logs {
        assert_eq!(log.attributes["invocation_id"], invocation_id, "{log:#?}");
        let ending = log.body == "invocation replied";
        assert_eq!(log.event_name, if ending { "invocation.finished" } else { "" });
        let under = if ending { &root_id } else { execute };
        assert_eq!(log.span_id.as_ref(), Some(under), "{log:#?}");
    }
    let lines = server.lines_of(invocation_id).await;
    let ledger = server.client.get(&format!("/v1/logs?trace={trace_id}")).await.json();
    let trace = server.client.trace(&trace_id).await;
    for lines in [&lines, ledger["items"].as_array().unwrap(), trace["logs"].as_array().unwrap()] {
        let found: BTreeMap<&str, &str> = lines
            .iter()
            .map(|line| (line["body"].as_str().unwrap(), line["stream"].as_str().unwrap()))
            .collect();
        assert_eq!((&found, lines.len()), (&expected, expected.len()));
        for line in lines {
            assert_eq!(
                (&line["trace_id"], &line["invocation_id"]),
                (&json!(trace_id), &json!(invocation_id))
            );
            assert_eq!(
                (&line["plugin.name"], &line["plugin.version"]),
                (&json!("talkative"), &json!("1.0.0"))
            );
        }
    }
    let sdk_line = lines.iter().find(|line| line["body"] == "to the sdk").unwrap();
    assert_eq!(sdk_line["answer"], 42);

    // The exemplar.
    let scrape = server.client.scrape().await;
    let exemplars: Vec<_> = scrape
        .of("spanglass_invocation_duration_seconds_bucket", &[("plugin", "talkative")])
        .filter_map(|sample| sample.exemplar.as_ref().map(|exemplar| (&sample.labels, exemplar)))
        .collect();
    assert_eq!(exemplars.len(), 1, "{exemplars:#?}");
    let (labels, exemplar) = exemplars[0];
    assert_eq!((&exemplar.labels["trace_id"], &exemplar.labels["span_id"]), (&trace_id, &root_id));
    assert!(labels["le"] == "+Inf" || exemplar.value <= labels["le"].parse().unwrap());
    let seconds = document["meta"]["duration_ms"].as_f64().unwrap() / 1e3;
    assert!((exemplar.value - seconds).abs() < 1e-5, "{exemplar:?} and {seconds} s");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - exemplar.timestamp).abs() < 60.0, "{exemplar:?} at {now}");

    // The ledger's rows.
    let row = server.client.invocation(invocation_id).await;
    assert_eq!((&row["trace_id"], &row["root_span_id"]), (&json!(trace_id), &json!(root_id)));
    let listed = server.client.get("/v1/traces?plugin=talkative").await.json();
    assert_eq!(listed["items"][0]["trace_id"], trace_id);
    let mut in_ledger: Vec<&str> =
        trace["spans"].as_array().unwrap().iter().map(|s| s["span_id"].as_str().unwrap()).collect();
    let mut received: Vec<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    in_ledger.sort_unstable();
    received.sort_unstable();
    assert_eq!(in_ledger, received);
}

#[tokio::test]
async fn a_callers_trace_goes_on() {
    if !require("python3") {
        return;
    }
    let sink = Sink::start(Transport::Http);
    let upstream = Upstream::start().await;
    let server = serve(&sink).await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-01");
    let headers = [
        ("traceparent", traceparent.as_str()),
        ("tracestate", "vendor=value, other=1"),
        ("baggage", "user=ada,plan=free"),
    ];
    let body = json!({"input": {"url": upstream.url("/")}});
    for path in ["/v1/plugins/talkative/invoke", "/v1/invoke"] {
        let body = if path == "/v1/invoke" {
            json!({"action": "invoke", "plugin_id": "talkative", "payload": body["input"], "metadata": {"a": 1}})
        } else {
            body.clone()
        };
        let reply = server.client.send(http::Method::POST, path, &headers, body.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let (id, root_id, flags) = reply.traceparent();
        assert_eq!((id.as_str(), flags.as_str()), (trace_id, "01"));
        assert_ne!(root_id, "00f067aa0ba902b7", "the root span is ours");
        let seen = upstream.take();
        assert!(seen[0]["traceparent"].to_str().unwrap().starts_with(&format!("00-{trace_id}-")));
        assert_eq!(seen[0]["tracestate"], "vendor=value,other=1");
        assert_eq!(seen[0]["baggage"], "user=ada,plan=free");
    }
    let spans = sink.spans_of(trace_id, 17).await;
    let roots: Vec<_> = spans.iter().filter(|span| span.name == "invoke talkative").collect();
    assert_eq!(roots.len(), 2);
    for root in roots {
        assert_eq!(root.parent_id.as_deref(), Some("00f067aa0ba902b7"));
        assert_eq!(root.trace_state, "vendor=value,other=1");
    }
    // Routes that are no calls answer within the caller's trace as well.
    for path in ["/v1/plugins", "/v1/plugins/nobody", "/v1/nowhere", "/v1/logs?level=loud"] {
        let reply = server.client.send(http::Method::GET, path, &headers, "").await;
        assert_eq!(reply.traceparent().0, trace_id, "{path}");
    }
}

#[tokio::test]
async fn a_traceparent_that_is_not_one_begins_a_new_trace() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("quiet", "", QUIET).serve().await;
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let call = async |headers: &[(&str, &str)]| -> Reply {
        let reply = server.client.call("quiet", json!({"input": {}}), headers).await;
        assert_eq!(reply.status, 200, "{headers:?}");
        reply
    };
    let invalid = [
        String::new(),
        "nonsense".into(),
        format!("00-{}-{span}-01", "0".repeat(32)),
        format!("00-{trace}-{}-01", "0".repeat(16)),
        format!("00-{}-{span}-01", trace.to_uppercase()),
        format!("ff-{trace}-{span}-01"),
        format!("00-{trace}-{span}-01-more"),
        format!("00-{trace}-{span}-1"),
        format!("00-{trace}-{span}"),
        format!("00-{trace}-{span}-0x"),
        format!("0-{trace}-{span}-01"),
        format!("00-{}-{span}-01", &trace[1..]),
        format!("cc-{trace}-{span}-01.what"),
    ];
    for header in &invalid {
        let reply = call(&[("traceparent", header), ("tracestate", "vendor=value")]).await;
        let (id, _, flags) = reply.traceparent();
        assert_ne!(id, trace, "{header}");
        assert_eq!(flags, "01");
        let stored = server.client.trace(&id).await;
        assert!(stored["spans"][0]["parent_span_id"].is_null(), "{header}");
    }
    let valid = format!("00-{trace}-{span}-01");
    let twice = call(&[("traceparent", &valid), ("traceparent", &valid)]).await;
    assert_ne!(twice.traceparent().0, trace, "two of them are none");
    // A version to come may say more, in the same form.
    for header in
        [format!("cc-{trace}-{span}-01"), format!("cc-{trace}-{span}-01-what-comes"), format!(" {valid} ")]
    {
        assert_eq!(call(&[("traceparent", &header)]).await.traceparent().0, trace, "{header}");
    }
    // A broken tracestate alone is left out.
    assert_eq!(
        call(&[("traceparent", &valid), ("tracestate", "no equals sign")]).await.traceparent().0,
        trace
    );
}

#[tokio::test]
async fn who_does_not_sample_gets_no_spans_exported() {
    if !require("python3") {
        return;
    }
    let sink = Sink::start(Transport::Http);
    let server = serve(&sink).await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-00");
    let reply = server.client.call("quiet", json!({"input": {}}), &[("traceparent", &traceparent)]).await;
    let (id, _, flags) = reply.traceparent();
    assert_eq!((id.as_str(), flags.as_str()), (trace_id, "00"));

    // Everything is sent in order: once the next call's spans have arrived, those of this one would have.
    let next = server.client.invoke("quiet", json!({})).await.traceparent().0;
    sink.spans_of(&next, 6).await;
    assert_eq!(sink.spans().iter().filter(|span| span.trace_id == trace_id).count(), 0);
    let scrape = server.client.scrape().await;
    let exemplars = scrape.samples.iter().filter_map(|sample| sample.exemplar.as_ref());
    assert!(exemplars.clone().all(|exemplar| exemplar.labels["trace_id"] != trace_id));
    assert!(scrape.unbalanced().is_empty(), "{:?}", scrape.unbalanced());
    // What it was can be seen all the same.
    let trace = server.client.trace(trace_id).await;
    assert!(trace["spans"].as_array().unwrap().len() >= 5);
    let row: Value = server.client.invocation(reply.json()["meta"]["invocation_id"].as_str().unwrap()).await;
    assert_eq!(row["trace_id"], trace_id);
}

fn span<'a>(spans: &'a [SeenSpan], name: &str) -> &'a SeenSpan {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no span {name}: {spans:#?}"));
    assert!(found.next().is_none(), "several spans {name}");
    span
}

/// The names from this span up to the one without a parent.
fn path_to_root<'a>(spans: &'a [SeenSpan], name: &str) -> Vec<&'a str> {
    let mut at = span(spans, name);
    let mut path = vec![at.name.as_str()];
    while let Some(parent) = &at.parent_id {
        at = spans.iter().find(|span| span.span_id == *parent).expect("every parent is a span of the trace");
        path.push(&at.name);
    }
    path
}

/// What a plugin prints, logs, raises and returns of its secrets is nowhere but in its reply.
#[tokio::test]
async fn secrets_are_taken_out_of_what_a_plugin_says() {
    if !require("python3") {
        return;
    }
    let secret = "correct-horse-battery";
    let source = "import logging\n\ndef invoke(input_data, ctx):\n    key = ctx.secrets['KEY']\n    print('the key', key)\n    \
                  ctx.log.info('logged', key=key)\n    logging.warning('warned %s', key)\n    \
                  with ctx.span('spent', key=key):\n        pass\n    if input_data.get('fail'):\n        \
                  raise ValueError('bad key ' + key)\n    return {'key': key}\n";
    let home = Home::new().plugin("teller", "secrets: [KEY]\n", source).env("TELLER_KEY", secret);
    home.write("spanglass.yaml", "plugins: {teller: {secrets: {KEY: {env: TELLER_KEY}}}}\n");
    let server = home.serve().await;
    let good = server.client.invoke("teller", json!({})).await.json();
    assert_eq!(good["data"]["key"], secret, "the reply is the plugin's own business");
    let bad = server.client.invoke("teller", json!({"fail": true})).await.json();
    assert_eq!((&bad["kind"], &bad["detail"]), (&json!("plugin_error"), &json!("ValueError: bad key ***")));
    assert!(!bad.to_string().contains(secret), "{bad}");
    for reply in [&good["meta"], &bad] {
        let trace = server.client.get(&format!("/v1/traces/{}", reply["trace_id"].as_str().unwrap())).await;
        let trace = trace.text();
        assert!(trace.contains("the key ***"), "{trace}");
        assert!(!trace.contains(secret), "{trace}");
        let id = reply["invocation_id"].as_str().unwrap();
        assert!(!server.client.invocation(id).await.to_string().contains(secret));
        for line in server.lines_of(id).await {
            assert!(!line.to_string().contains(secret), "{line}");
        }
    }
}
