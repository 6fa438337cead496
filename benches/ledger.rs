//! What a recorded call costs, in time and on the disk, and what one row per span would cost instead.
//! `cargo bench --bench ledger [-- CALLS]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use spanglass::model::guest::{GuestLog, GuestSpan, LogStream, Severity};
use spanglass::model::ids::TraceId;
use spanglass::model::invocation::{Origin, Usage};
use spanglass::model::span_kind::SpanKind;
use spanglass::store::{InvocationFilter, Ledger, LedgerSettings, LogFilter, Reader, SpanView, Store, check};
use spanglass::telemetry::{Begin, Captured, Ending, Record, Settings, Sink, Telemetry, ids};

const PATIENCE: Duration = Duration::from_secs(600);
/// Calls that are handed over before the bench waits, so that nothing overflows.
const BURST: usize = 1_000;

fn main() {
    let calls = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let nothing = run_calls(calls, Vec::new(), |_| {});
    println!("calls: {calls}, each with 7 spans, 2 log records, 200 bytes of input and of output");
    println!("recording, no sink:          {:7.2} us CPU per call", nothing.cpu_us);

    let counting = run_calls(calls, vec![Box::new(Ignore)], |_| {});
    println!("with a sink that ignores it: {:7.2} us CPU per call", counting.cpu_us);

    let temp = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(temp.path(), Duration::ZERO).expect("a fresh folder");
    let ledger = Ledger::open(&store, &LedgerSettings::default()).expect("a fresh ledger");
    let run = run_calls(calls, vec![Box::new(ledger.sink())], |telemetry| {
        assert!(telemetry.flush(PATIENCE) && ledger.flush(PATIENCE));
    });
    let stats = ledger.stats();
    assert_eq!((stats.dropped_io, stats.dropped_queue_full), (0, 0), "nothing is lost in a bench");
    println!(
        "with the ledger:             {:7.2} us CPU per call ({:.2} more), {:.2} us wall",
        run.cpu_us,
        run.cpu_us - counting.cpu_us,
        run.wall_us
    );
    let reader = ledger.reader();
    let flushes = time(50, || {
        one_call(&run.telemetry);
        assert!(run.telemetry.flush(PATIENCE) && ledger.flush(PATIENCE));
    });
    println!("call, both flushes:          {flushes:7.2} us wall");
    run.telemetry.shutdown(PATIENCE);
    ledger.close(PATIENCE);
    let bytes = std::fs::metadata(store.folder().ledger()).expect("the ledger").len();
    println!("ledger.db:                   {:7.0} bytes per call", bytes as f64 / calls as f64);
    sizes(&store.folder().ledger(), calls);
    queries(&reader);
    compare_spans(&reader, temp.path(), calls.min(5_000));
    let sound = check(store.folder());
    assert!(sound.ledger.problems.is_empty(), "{sound:?}");
}

struct Ignore;

impl Sink for Ignore {
    fn accept(&mut self, batch: &[Record]) {
        std::hint::black_box(batch);
    }
}

struct Run {
    telemetry: Telemetry,
    cpu_us: f64,
    wall_us: f64,
}

fn run_calls(calls: usize, sinks: Vec<Box<dyn Sink>>, settle: impl Fn(&Telemetry)) -> Run {
    let telemetry = Telemetry::start(Settings::default(), sinks).expect("telemetry");
    let (cpu, wall) = (cpu_time(), Instant::now());
    for call in 0..calls {
        one_call(&telemetry);
        if call % BURST == BURST - 1 {
            assert!(telemetry.flush(PATIENCE));
            settle(&telemetry);
        }
    }
    assert!(telemetry.flush(PATIENCE));
    settle(&telemetry);
    let per_call = |time: Duration| time.as_secs_f64() * 1e6 / calls as f64;
    Run { cpu_us: per_call(cpu_time() - cpu), wall_us: per_call(wall.elapsed()), telemetry }
}

fn one_call(telemetry: &Telemetry) {
    let series = telemetry.plugin("http-request", "1.0.0", "python", &["invoke"]);
    let begin = Begin {
        plugin: "http-request".into(),
        action: "invoke".into(),
        parent: None,
        origin: Origin::Network,
    };
    let mut call = telemetry.begin(begin);
    call.bind(series);
    let captured =
        || Captured { json: json!({ "x": "y".repeat(190) }).to_string(), truncated: false, redacted: false };
    call.capture_input(captured());
    let validate = call.open("validate_input", call.root());
    call.close(validate);
    call.attempt();
    let attempt = call.open("attempt", call.root());
    call.set(attempt, "spanglass.attempt", 1_i64);
    let queue = call.open("queue", attempt);
    call.close(queue);
    call.queue_wait(Duration::from_micros(40));
    let execute = call.open("execute", attempt);
    call.set(execute, "process.pid", 31_337_i64);
    call.guest_log(
        execute,
        GuestLog {
            unix_ns: None,
            severity: Severity::Info,
            stream: LogStream::Stdout,
            body: "fetched 3 pages of the catalogue".into(),
            logger: None,
            fields: serde_json::Map::new(),
            code: None,
            span_id: None,
        },
    );
    call.guest_span(execute, GuestSpan {
        span_id: ids::span_id(),
        parent_id: None,
        name: "GET".into(),
        kind: SpanKind::Client,
        start_unix_ns: u64::MAX,
        end_unix_ns: u64::MAX,
        error: None,
        attributes: json!({"http.request.method": "GET", "url.full": "https://api.example.com/v1/pages", "http.response.status_code": 200})
            .as_object()
            .expect("an object")
            .clone(),
        events: Vec::new(),
    });
    call.close(execute);
    call.close(attempt);
    let validate = call.open("validate_output", call.root());
    call.close(validate);
    call.capture_output(captured());
    let usage = Usage {
        cpu: Duration::from_micros(812),
        memory_peak_bytes: 31 << 20,
        input_bytes: 198,
        output_bytes: 198,
    };
    call.finish(Ending::Replied { usage });
}

/// CPU time of all threads that live.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let of_task = |task: std::fs::DirEntry| -> Option<u64> {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(tasks.flatten().filter_map(of_task).sum())
}

/// Mean time in microseconds.
fn time(repeat: u32, mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..repeat {
        work();
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(repeat)
}

/// Where the bytes are.
fn sizes(path: &Path, calls: usize) {
    let file = rusqlite::Connection::open(path).expect("the ledger");
    let mut statement = file
        .prepare("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 9")
        .expect("the engine has dbstat");
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
    for (name, bytes) in rows.expect("dbstat answers").flatten() {
        println!("  {name:24} {:9.1}", bytes as f64 / calls as f64);
    }
    let mean = "SELECT avg(length(CAST(spans AS BLOB))) FROM recordings";
    let spans: f64 = file.query_row(mean, [], |row| row.get(0)).expect("a mean");
    println!("  spans of a call as text  {spans:9.1}");
}

fn queries(reader: &Reader) {
    let all = InvocationFilter::default;
    let report = |name: &str, time_us: f64| println!("{name:28} {time_us:8.0} us");
    report("invocations, 50", time(50, || drop(reader.invocations(&all()).expect("a page"))));
    let plugin = InvocationFilter { plugin: Some("http-request".into()), ..all() };
    report("  of one plugin", time(50, || drop(reader.invocations(&plugin).expect("a page"))));
    report("traces, 50", time(50, || drop(reader.traces(&all()).expect("a page"))));
    let absent = InvocationFilter { q: Some("nowhere".into()), ..all() };
    report("  with q that finds none", time(5, || drop(reader.invocations(&absent).expect("a page"))));
    let logs = LogFilter { plugin: Some("http-request".into()), ..LogFilter::default() };
    report("logs of one plugin, 50", time(50, || drop(reader.logs(&logs).expect("a page"))));
    let trace = reader.traces(&all()).expect("a page").items.remove(0);
    let id = TraceId::parse(&trace.trace_id).expect("an id");
    report("one trace", time(50, || drop(reader.trace(id).expect("a trace"))));
}

/// The same spans as rows: id columns, name, times, attributes as JSON, an index by trace; without the
/// attributes that the ledger leaves out as well.
fn compare_spans(reader: &Reader, folder: &Path, calls: usize) {
    let mut traces: Vec<(TraceId, Vec<SpanView>)> = Vec::with_capacity(calls);
    let mut cursor = None;
    while traces.len() < calls {
        let filter = InvocationFilter { limit: Some(1000), cursor, ..InvocationFilter::default() };
        let page = reader.invocations(&filter).expect("a page");
        for one in page.items {
            let id = TraceId::parse(&one.trace_id).expect("an id");
            traces.push((id, reader.trace(id).expect("a trace").expect("is there").spans));
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let path = folder.join("rows.db");
    let mut file = rusqlite::Connection::open(&path).expect("a fresh file");
    file.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         CREATE TABLE spans (trace_id BLOB, span_id BLOB, parent_id BLOB, name TEXT, kind TEXT, start_ns INTEGER,
             duration_ns INTEGER, error TEXT, attributes TEXT, events TEXT);
         CREATE INDEX spans_trace ON spans (trace_id);",
    )
    .expect("a fresh file");
    let begun = cpu_time();
    for group in traces.chunks(BURST) {
        let transaction = file.transaction().expect("a transaction");
        let mut insert = transaction
            .prepare_cached("INSERT INTO spans VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
            .expect("an insert");
        for (trace, spans) in group {
            for (index, span) in spans.iter().enumerate() {
                let own = span.attributes.iter().filter(|(key, _)| !key.starts_with("spanglass."));
                let attributes = serde_json::to_string(&own.collect::<BTreeMap<_, _>>()).expect("JSON");
                let id = spanglass::model::ids::SpanId::parse(&span.span_id).expect("an id");
                insert
                    .execute(rusqlite::params![
                        trace.as_bytes(),
                        id.as_bytes(),
                        id.as_bytes(),
                        span.name,
                        span.kind,
                        1_795_000_000_000_000_000_i64 + index as i64,
                        100_000,
                        None::<String>,
                        attributes,
                        "[]",
                    ])
                    .expect("an insert");
            }
        }
        drop(insert);
        transaction.commit().expect("a commit");
    }
    let cpu_us = (cpu_time() - begun).as_secs_f64() * 1e6 / traces.len() as f64;
    file.close().expect("it closes");
    let bytes = std::fs::metadata(path).expect("the file").len();
    println!(
        "spans as rows instead:       {cpu_us:7.2} us CPU per call, {:.0} bytes per call",
        bytes as f64 / traces.len() as f64
    );
}
