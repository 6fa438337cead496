//! Every query finds what telemetry recorded.

use super::*;

#[test]
fn a_call_is_found_with_all_that_it_left() {
    let scene = Scene::new();
    let done = scene.call();
    scene.flush();
    let detail = scene.reader.invocation(done.invocation_id).unwrap().unwrap();
    let json = serde_json::to_value(&detail).unwrap();
    assert_eq!(json["invocation_id"], done.invocation_id.to_string());
    assert_eq!(json["trace_id"], done.trace_id.to_string());
    assert_eq!(json["version"], "1.2.3");
    assert_eq!(json["state"], "done");
    assert_eq!(json["outcome"], "replied");
    assert_eq!(json.get("error"), None);
    assert_eq!(
        json["usage"],
        json!({"cpu_ms": 1.5, "memory_peak_bytes": 9 << 20, "input_bytes": 7, "output_bytes": 3})
    );
    assert_eq!(json["queue_ms"], 0.25);
    assert_eq!(json["input"], json!({"a": 1}));
    assert_eq!((&json["output"], &json["output_truncated"]), (&json!("[1,2"), &json!(true)));
    assert_eq!(json["replayable"], true);
    assert_eq!(json["spans"], 4);
    assert!(json["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(json["created_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn calls_of_a_list_show_the_beginning_of_their_input() {
    let scene = Scene::new();
    let done = scene.call();
    scene.flush();
    let listed = scene.reader.invocations(&InvocationFilter::default()).unwrap();
    assert_eq!(listed.items[0].input_preview.as_deref(), Some(r#"{"a":1}"#));
    let detail = scene.reader.invocation(done.invocation_id).unwrap().unwrap();
    assert_eq!(detail.invocation.input_preview, None);
}

#[test]
fn a_failure_shows_what_the_plugin_raised() {
    let scene = Scene::new();
    let done = scene.call_of("echo", Err(failure()));
    scene.flush();
    let error = scene.reader.invocation(done.invocation_id).unwrap().unwrap().invocation.error;
    let error = serde_json::to_value(error.unwrap()).unwrap();
    let exception = json!({"type": "ValueError", "traceback": "Traceback …"});
    assert_eq!(
        error,
        json!({"kind": "plugin_error", "blame": "plugin", "message": "50%_off went wrong", "exception": exception})
    );
}

#[test]
fn a_trace_has_every_span_with_its_attributes_and_every_log() {
    let scene = Scene::new();
    let done = scene.call();
    scene.flush();
    let trace = scene.reader.trace(done.trace_id).unwrap().unwrap();
    let json = serde_json::to_value(&trace).unwrap();
    let spans = json["spans"].as_array().unwrap();
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let (root, execute, fetch) = (named("invoke echo"), named("execute"), named("fetch"));
    assert_eq!((&root["kind"], &root["parent_span_id"]), (&json!("server"), &json!(null)));
    assert_eq!(root["span_id"], done.root_span_id.to_string());
    let expected = [
        ("spanglass.invocation.id", json!(done.invocation_id.to_string())),
        ("spanglass.plugin.name", json!("echo")),
        ("spanglass.plugin.version", json!("1.2.3")),
        ("spanglass.plugin.runtime", json!("python")),
        ("spanglass.outcome", json!("replied")),
        ("spanglass.attempts", json!(1)),
        ("spanglass.cold_start", json!(false)),
        ("spanglass.usage.cpu_seconds", json!(0.0015)),
        ("spanglass.sandbox.tier", json!("S0")),
    ];
    for (key, value) in expected {
        assert_eq!(root["attributes"][key], value, "{key}");
    }
    assert_eq!(execute["attributes"]["process.pid"], 77);
    assert_eq!(execute["attributes"]["spanglass.plugin.name"], "echo");
    assert_eq!(fetch["parent_span_id"], execute["span_id"]);
    assert_eq!((&fetch["kind"], &fetch["status"]), (&json!("client"), &json!("error")));
    assert_eq!(fetch["status_message"], "refused");
    assert_eq!(fetch["attributes"]["url.full"], "http://x/ä\"");
    assert_eq!(fetch["events"][0]["name"], "dns");
    let logs = json["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 2);
    assert_eq!(logs[0]["body"], "working");
    assert_eq!((&logs[0]["n"], &logs[0]["field.outcome"]), (&json!(1), &json!("mine")));
    assert_eq!(logs[0]["plugin.name"], "echo");
    assert_eq!(logs[1]["event_name"], "invocation.finished");
    assert_eq!(logs[1]["outcome"], "replied");
    assert!(scene.reader.trace(ids::trace_id()).unwrap().is_none());
}

#[test]
fn what_the_reader_puts_back_is_what_telemetry_recorded() {
    struct Check(Arc<Mutex<usize>>);
    impl Sink for Check {
        fn accept(&mut self, batch: &[Record]) {
            for record in batch {
                let Record::Invocation(data) = record else { continue };
                let text = spans::encode(data);
                let read = spans::decode(&text, &spans::Facts::of(data)).unwrap();
                assert_eq!(read.len(), data.spans().len());
                for (span, read) in data.spans().iter().zip(&read) {
                    assert_eq!(read.id, span.id.to_string());
                    assert_eq!(read.parent, span.parent.map(|id| id.to_string()));
                    assert_eq!((read.name.as_str(), read.kind), (&*span.name, span.kind.as_str()));
                    let attributes: Vec<_> = data.attributes(span).collect();
                    let mut text = Vec::new();
                    spans::put_object(&mut text, attributes.iter().map(|(key, value)| (*key, value)));
                    let written: serde_json::Value = serde_json::from_slice(&text).unwrap();
                    assert_eq!(serde_json::Value::Object(read.attributes.clone()), written);
                    assert_eq!(read.events.len(), data.events(span).count());
                }
                *self.0.lock().unwrap() += 1;
            }
        }
    }
    let mut scene = Scene::new();
    let checked = Arc::new(Mutex::new(0));
    scene.telemetry = Telemetry::start(Settings::default(), vec![Box::new(Check(checked.clone()))]).unwrap();
    scene.call();
    scene.call_of("echo", Err(failure()));
    scene.call_of("nobody-knows", Err(InvokeError::new(ErrorKind::NotFound, "no such plugin")));
    assert!(scene.telemetry.flush(PATIENCE));
    assert_eq!(*checked.lock().unwrap(), 3);
}

#[test]
fn lists_are_narrowed_by_every_filter() {
    let scene = Scene::new();
    let good = scene.call();
    let bad = scene.call_of("echo", Err(failure()));
    let unknown = scene.call_of("nobody", Err(InvokeError::new(ErrorKind::NotFound, "no plugin nobody")));
    scene.flush();
    let ids = |filter: InvocationFilter| -> Vec<String> {
        let invocations = scene.reader.invocations(&filter).unwrap().items;
        let ids: Vec<String> = invocations.into_iter().map(|one| one.invocation_id).collect();
        let traces = scene.reader.traces(&filter).unwrap().items;
        assert_eq!(ids, traces.into_iter().map(|one| one.invocation_id).collect::<Vec<_>>());
        ids
    };
    let all = || InvocationFilter::default();
    let [good, bad, unknown] = [good, bad, unknown].map(|one| one.invocation_id.to_string());
    assert_eq!(ids(all()), [&*unknown, &*bad, &*good]);
    assert_eq!(ids(InvocationFilter { plugin: Some("echo".into()), ..all() }), [&*bad, &*good]);
    assert_eq!(ids(InvocationFilter { version: Some("1.2.3".into()), ..all() }), [&*bad, &*good]);
    assert_eq!(ids(InvocationFilter { outcome: Some(Outcome::Replied), ..all() }), [&*good]);
    assert_eq!(ids(InvocationFilter { outcome: Some(Outcome::Failed), ..all() }), [&*unknown, &*bad]);
    assert_eq!(ids(InvocationFilter { kind: Some(ErrorKind::NotFound), ..all() }), [&*unknown]);
    let kind_and_plugin =
        InvocationFilter { kind: Some(ErrorKind::PluginError), plugin: Some("echo".into()), ..all() };
    assert_eq!(ids(kind_and_plugin), [&*bad]);
    assert_eq!(ids(InvocationFilter { q: Some("50%_off".into()), ..all() }), [&*bad]);
    assert!(ids(InvocationFilter { q: Some("50__off".into()), ..all() }).is_empty());
    assert_eq!(ids(InvocationFilter { q: Some(good.clone()), ..all() }), [&*good]);
    let now = std::time::SystemTime::now();
    assert!(ids(InvocationFilter { since: Some(now), ..all() }).is_empty());
    assert_eq!(ids(InvocationFilter { until: Some(now), ..all() }).len(), 3);
    assert!(scene.reader.invocation(InvocationId::new(uuid::Uuid::nil())).unwrap().is_none());
}

#[test]
fn logs_are_narrowed_and_followed() {
    let scene = Scene::new();
    let done = scene.call();
    scene.call_of("nobody", Err(InvokeError::new(ErrorKind::NotFound, "no plugin")));
    scene.flush();
    let bodies = |filter: &LogFilter| -> Vec<String> {
        scene.reader.logs(filter).unwrap().items.into_iter().map(|one| one.body).collect()
    };
    let all = LogFilter::default;
    assert_eq!(bodies(&all()), ["no plugin", "working", "invocation replied", "working"]);
    assert_eq!(
        bodies(&LogFilter { plugin: Some("echo".into()), ..all() }),
        ["invocation replied", "working"]
    );
    assert_eq!(bodies(&LogFilter { trace_id: Some(done.trace_id), ..all() }).len(), 2);
    assert_eq!(bodies(&LogFilter { invocation_id: Some(done.invocation_id), ..all() }).len(), 2);
    assert_eq!(bodies(&LogFilter { level: Some(Severity::Warn), ..all() }).len(), 3);
    assert_eq!(bodies(&LogFilter { q: Some("REPLIED".into()), ..all() }), ["invocation replied"]);
    let first = scene.reader.logs(&LogFilter { limit: Some(3), ..all() }).unwrap();
    let second = scene.reader.logs(&LogFilter { limit: Some(3), cursor: first.next, ..all() }).unwrap();
    assert_eq!((second.items.len(), second.next), (1, None));

    let follow =
        |after: &str| scene.reader.logs(&LogFilter { after: Some(after.to_owned()), ..all() }).unwrap();
    let nothing = follow(&first.follow);
    assert!(nothing.items.is_empty());
    scene.call();
    scene.flush();
    let news = follow(&nothing.follow);
    assert_eq!(
        news.items.iter().map(|one| &*one.body).collect::<Vec<_>>(),
        ["working", "invocation replied"]
    );
    assert!(follow(&news.follow).items.is_empty());
}

#[test]
fn logs_of_a_call_that_has_not_ended_are_found_by_its_id() {
    let scene = Scene::new();
    let mut call = scene.telemetry.begin(Begin {
        plugin: "echo".into(),
        action: "invoke".into(),
        parent: None,
        origin: Origin::Local,
    });
    let root = call.root();
    call.guest_log(root, line("still at it"));
    scene.flush();
    let filter = LogFilter { invocation_id: Some(call.invocation_id()), ..LogFilter::default() };
    assert_eq!(scene.reader.logs(&filter).unwrap().items.len(), 1);
}

#[test]
fn a_foreign_cursor_is_an_error() {
    let scene = Scene::new();
    for cursor in ["", "x", "l1.1", "a1"] {
        let filter = InvocationFilter { cursor: Some(cursor.into()), ..InvocationFilter::default() };
        assert!(matches!(scene.reader.invocations(&filter), Err(Error::BadCursor)), "{cursor}");
        assert!(matches!(scene.reader.traces(&filter), Err(Error::BadCursor)), "{cursor}");
    }
    let filter = LogFilter { after: Some("t1".into()), ..LogFilter::default() };
    assert!(matches!(scene.reader.logs(&filter), Err(Error::BadCursor)));
}

#[test]
fn calls_of_one_trace_are_one_line_in_the_list() {
    let scene = Scene::new();
    let parent = crate::model::trace_context::TraceContext {
        trace_id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
        span_id: ids::span_id(),
        flags: 1,
        tracestate: None,
        baggage: None,
    };
    let begin = |plugin: &str| Begin {
        plugin: plugin.into(),
        action: "invoke".into(),
        parent: Some(parent.clone()),
        origin: Origin::Network,
    };
    let first = scene.telemetry.begin(begin("first"));
    let second = scene.telemetry.begin(begin("second"));
    drop((second, first));
    scene.flush();
    let traces = scene.reader.traces(&InvocationFilter::default()).unwrap().items;
    assert_eq!(traces.len(), 1);
    assert_eq!((&*traces[0].plugin, traces[0].invocations, traces[0].spans), ("first", 2, 2));
    let trace = scene.reader.trace(parent.trace_id).unwrap().unwrap();
    assert!(trace.spans.iter().all(|span| span.parent_span_id == Some(parent.span_id.to_string())));
}

#[test]
fn a_reader_needs_a_ledger_but_no_owner() {
    let temp = tempfile::tempdir().unwrap();
    let folder = DataFolder::new(temp.path());
    let reader = Reader::new(&folder);
    assert!(matches!(reader.invocations(&InvocationFilter::default()), Err(Error::NotFound { .. })));
    drop(Ledger::join(&folder, &LedgerSettings::default()).unwrap());
    assert!(reader.invocations(&InvocationFilter::default()).unwrap().items.is_empty());
}

#[test]
fn a_span_of_the_control_plane_stands_in_its_trace() {
    let scene = Scene::new();
    let mut operation = Operation::start(&scene.telemetry, OperationKind::Register, None);
    operation.set("digest", "sha256:1");
    let context = operation.context().unwrap();
    let mut child = Operation::start(&scene.telemetry, OperationKind::Storage, Some(&context));
    child.fail(ErrorKind::Internal, "no room");
    drop((child, operation));
    scene.flush();
    let trace = scene.reader.trace(context.trace_id).unwrap().unwrap();
    let [parent, child] = &trace.spans[..] else { panic!("{trace:?}") };
    assert_eq!((&parent.parent_span_id, parent.status), (&None, "unset"));
    assert_eq!(parent.attributes["digest"], "sha256:1");
    assert_eq!(child.parent_span_id.as_ref(), Some(&parent.span_id));
    assert_eq!((child.status, child.status_message.as_deref()), ("error", Some("no room")));
}
