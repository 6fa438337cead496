//! How long lists, searches and traces take on a large ledger: 200,000 calls of ten plugins and 1,000,000 log lines.
//! `cargo bench --bench ledger_search [-- CALLS]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::time::{Duration, Instant};

use serde_json::json;
use spanglass::model::error::InvokeError;
use spanglass::model::guest::{GuestLog, LogStream, Severity};
use spanglass::model::ids::{InvocationId, TraceId};
use spanglass::model::invocation::{Origin, Usage};
use spanglass::model::kind::{ErrorKind, Outcome};
use spanglass::store::{InvocationFilter, Ledger, LedgerSettings, LogFilter, Reader, Store, check};
use spanglass::telemetry::{Begin, Captured, Ending, Settings, Telemetry};

const PATIENCE: Duration = Duration::from_secs(600);
const BURST: usize = 1_000;
const LINES_PER_CALL: usize = 4;
const REPEAT: usize = 40;
const PLUGINS: [&str; 10] = [
    "http-request",
    "text-stats",
    "fraud-score",
    "csv-report",
    "mail-out",
    "price-feed",
    "geo-lookup",
    "pdf-render",
    "ledger-sync",
    "heartbeat",
];
const WORDS: [&str; 24] = [
    "fetched",
    "pages",
    "catalogue",
    "order",
    "accepted",
    "payment",
    "declined",
    "retry",
    "after",
    "backoff",
    "customer",
    "address",
    "updated",
    "cache",
    "miss",
    "session",
    "expired",
    "connection",
    "reset",
    "peer",
    "invalid",
    "amount",
    "account",
    "done",
];

fn main() {
    let calls = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(200_000);
    let temp = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(temp.path(), Duration::ZERO).expect("a fresh folder");
    let settings = LedgerSettings { rows_per_s_max: u32::MAX, ..LedgerSettings::default() };
    let ledger = Ledger::open(&store, &settings).expect("a fresh ledger");
    let telemetry = Telemetry::start(Settings::default(), vec![Box::new(ledger.sink())]).expect("telemetry");
    let begun = Instant::now();
    let mut random = Random(42);
    for call in 0..calls {
        one_call(&telemetry, call, &mut random);
        if call % BURST == BURST - 1 {
            assert!(telemetry.flush(PATIENCE) && ledger.flush(PATIENCE));
        }
    }
    assert!(telemetry.flush(PATIENCE) && ledger.flush(PATIENCE));
    let stats = ledger.stats();
    assert_eq!(
        (stats.dropped_io, stats.dropped_queue_full, stats.sampled),
        (0, 0, 0),
        "nothing is lost in a bench"
    );
    println!(
        "{calls} calls with {} lines each in {:.1} s, {:.0} MiB",
        LINES_PER_CALL + 1,
        begun.elapsed().as_secs_f64(),
        stats.file_bytes as f64 / (1 << 20) as f64
    );
    let reader = ledger.reader();
    println!("{:44} {:>8} {:>8} {:>8}  rows", "milliseconds", "p50", "p95", "most");
    lists(&reader, calls);
    logs(&reader);
    let sound = check(store.folder());
    assert!(sound.ledger.problems.is_empty(), "{sound:?}");
}

/// xorshift64: the same ledger every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[(self.next() % all.len() as u64) as usize]
    }
}

fn one_call(telemetry: &Telemetry, number: usize, random: &mut Random) {
    // The last plugin is called a thousandth as often as the others.
    let plugin = if number.is_multiple_of(9_000) { PLUGINS[9] } else { PLUGINS[number % 9] };
    let series = telemetry.plugin(plugin, "1.0.0", "python", &["invoke"]);
    let begin =
        Begin { plugin: plugin.into(), action: "invoke".into(), parent: None, origin: Origin::Network };
    let mut call = telemetry.begin(begin);
    call.bind(series);
    let input = json!({ "order": random.next() % 10_000_000, "customer": format!("{:08x}", random.next() as u32), "note": "y".repeat(120) });
    call.capture_input(Captured { json: input.to_string(), truncated: false, redacted: false });
    call.attempt();
    let attempt = call.open("attempt", call.root());
    let execute = call.open("execute", attempt);
    for line in 0..LINES_PER_CALL {
        let body = format!(
            "{} {} order-{} user={:08x} {} took {} ms",
            random.of(&WORDS),
            random.of(&WORDS),
            random.next() % 10_000_000,
            random.next() as u32,
            random.of(&WORDS),
            random.next() % 5_000
        );
        let severity =
            if line == 3 && random.next().is_multiple_of(50) { Severity::Warn } else { Severity::Info };
        call.guest_log(
            execute,
            GuestLog {
                unix_ns: None,
                severity,
                stream: LogStream::Stdout,
                body,
                logger: None,
                fields: serde_json::Map::new(),
                code: None,
                span_id: None,
            },
        );
    }
    call.close(execute);
    call.close(attempt);
    let usage = Usage {
        cpu: Duration::from_micros(812),
        memory_peak_bytes: 31 << 20,
        input_bytes: 198,
        output_bytes: 198,
    };
    if random.next().is_multiple_of(20) {
        let kinds = [ErrorKind::PluginError, ErrorKind::Timeout, ErrorKind::InvalidInput];
        let kind = kinds[(random.next() % 3) as usize];
        let error =
            InvokeError::new(kind, format!("ValueError: amount {} is too large", random.next() % 100_000));
        call.finish(Ending::Failed { error: &error, usage });
    } else {
        call.capture_output(Captured {
            json: json!({ "x": "y".repeat(120) }).to_string(),
            truncated: false,
            redacted: false,
        });
        call.finish(Ending::Replied { usage });
    }
}

/// Prints the spread of `REPEAT` runs; `query` answers how many rows it found.
fn report(name: &str, mut query: impl FnMut(usize) -> usize) {
    let mut rows = 0;
    let mut times: Vec<f64> = (0..REPEAT)
        .map(|turn| {
            let begun = Instant::now();
            rows = query(turn);
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{name:44} {:8.2} {:8.2} {:8.2}  {rows}",
        times[REPEAT / 2],
        times[REPEAT * 95 / 100],
        times[REPEAT - 1]
    );
}

fn lists(reader: &Reader, calls: usize) {
    let all = InvocationFilter::default;
    let count = |filter: &InvocationFilter| reader.invocations(filter).expect("a page").items.len();
    report("invocations", |_| count(&all()));
    report("  of a plugin", |turn| {
        count(&InvocationFilter { plugin: Some(PLUGINS[turn % 10].into()), ..all() })
    });
    report("  of a plugin that is rarely called", |_| {
        count(&InvocationFilter { plugin: Some("heartbeat".into()), ..all() })
    });
    report("  of a version that is not there", |_| {
        count(&InvocationFilter { version: Some("9.9.9".into()), ..all() })
    });
    report("  failed", |_| count(&InvocationFilter { outcome: Some(Outcome::Failed), ..all() }));
    report("  of a kind", |_| count(&InvocationFilter { kind: Some(ErrorKind::Timeout), ..all() }));
    report("  of a kind and a plugin without", |_| {
        count(&InvocationFilter {
            kind: Some(ErrorKind::Crashed),
            plugin: Some("text-stats".into()),
            ..all()
        })
    });
    report("  failed, of the rare plugin", |_| {
        count(&InvocationFilter { outcome: Some(Outcome::Failed), plugin: Some("heartbeat".into()), ..all() })
    });
    report("  dropped: none", |_| count(&InvocationFilter { outcome: Some(Outcome::Dropped), ..all() }));
    report("  q: part of messages", |_| count(&InvocationFilter { q: Some("too large".into()), ..all() }));
    report("  q: part of an input", |turn| {
        let q = Some(format!("\"order\":{}", 1_000_000 + turn));
        count(&InvocationFilter { q, ..all() })
    });
    report("  q: nowhere", |_| count(&InvocationFilter { q: Some("nowhere to be found".into()), ..all() }));
    report("  q: nowhere, of a plugin", |_| {
        let plugin = Some("text-stats".into());
        count(&InvocationFilter { q: Some("nowhere".into()), plugin, ..all() })
    });
    let mut cursor = None;
    for _ in 0..calls / 2_000 {
        cursor = reader
            .invocations(&InvocationFilter { limit: Some(1_000), cursor, ..all() })
            .expect("a page")
            .next;
    }
    report("  page in the middle", |_| count(&InvocationFilter { cursor: cursor.clone(), ..all() }));
    report("traces", |_| reader.traces(&all()).expect("a page").items.len());
    let some =
        reader.invocations(&InvocationFilter { limit: Some(1_000), cursor, ..all() }).expect("a page").items;
    report("one invocation", |turn| {
        let id = InvocationId::parse(&some[turn * 7].invocation_id).expect("an id");
        usize::from(reader.invocation(id).expect("an answer").is_some())
    });
    report("one trace", |turn| {
        let id = TraceId::parse(&some[turn * 7].trace_id).expect("an id");
        reader.trace(id).expect("an answer").map_or(0, |trace| trace.logs.len())
    });
    report("logs of a trace", |turn| {
        let trace_id = TraceId::parse(&some[turn * 7].trace_id);
        reader.logs(&LogFilter { trace_id, ..LogFilter::default() }).expect("a page").items.len()
    });
}

fn logs(reader: &Reader) {
    let all = LogFilter::default;
    let count = |filter: &LogFilter| reader.logs(filter).expect("a page").items.len();
    let q = |text: &str| LogFilter { q: Some(text.into()), ..all() };
    report("logs", |_| count(&all()));
    report("  of a plugin", |turn| count(&LogFilter { plugin: Some(PLUGINS[turn % 10].into()), ..all() }));
    report("  of a plugin, error and above", |_| {
        count(&LogFilter { plugin: Some("text-stats".into()), level: Some(Severity::Error), ..all() })
    });
    report("  of a plugin, fatal: none", |_| {
        count(&LogFilter { plugin: Some("text-stats".into()), level: Some(Severity::Fatal), ..all() })
    });
    report("  fatal: none", |_| count(&LogFilter { level: Some(Severity::Fatal), ..all() }));
    report("  of calls that failed", |_| count(&LogFilter { outcome: Some(Outcome::Failed), ..all() }));
    report("  of a kind that is not there", |_| {
        count(&LogFilter { kind: Some(ErrorKind::Crashed), ..all() })
    });
    let line = |turn: usize| {
        let mut page = reader.logs(&LogFilter { limit: Some(1_000), ..all() }).expect("a page").items;
        page.swap_remove(turn * 7).body
    };
    let bodies: Vec<String> = (0..REPEAT).map(line).collect();
    report("  q: a word of many lines", |_| count(&q("declined")));
    report("  q: two letters", |_| count(&q("k ")));
    report("  q: an id that is there", |turn| {
        let id = bodies[turn].split(' ').find(|word| word.starts_with("user=")).unwrap_or("replied");
        count(&q(id))
    });
    report("  q: a number that is nowhere", |turn| count(&q(&format!("order-{}", 10_000_001 + turn))));
    report("  q: an id that is nowhere", |turn| {
        count(&q(&format!("{:016x}", 77_u64.wrapping_mul(turn as u64 + 1) << 40)))
    });
    report("  q: words that are nowhere together", |_| count(&q("fetched fetched fetched")));
    report("  q: common parts, nowhere", |_| count(&q("took ms")));
    report("  q: five digits", |turn| count(&q(&format!("{}", 45_000 + turn))));
    report("  q: three digits, rare plugin", |_| {
        count(&LogFilter { plugin: Some("heartbeat".into()), ..q("123") })
    });
    report("  q and warn", |_| count(&LogFilter { level: Some(Severity::Warn), ..q("declined") }));
    report("  q: one character that is nowhere", |_| count(&q("~")));
}
