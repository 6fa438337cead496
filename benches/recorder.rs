//! What telemetry costs the thread of a call: CPU nanoseconds per invocation of 4 spans and about 26
//! attributes, with telemetry off, recording only, and delivering everything to a collector that takes all.
//!
//! `cargo bench --bench recorder`
#![allow(clippy::print_stdout, reason = "what a bench is for")]
#![allow(clippy::disallowed_methods, reason = "nothing else runs on this thread: std::thread::sleep")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spanglass::model::invocation::{Origin, Usage};
use spanglass::model::kind::Outcome;
use spanglass::telemetry::names::{attribute, span};
use spanglass::telemetry::{Begin, Ending, PluginSeries, Record, Settings, Sink, Telemetry};

mod support;

const CALLS: u32 = 20_000;
const ROUNDS: usize = 15;
/// Pause after each stretch of calls, so that the telemetry thread keeps up as it does in life.
const STRETCH: u32 = 500;

/// Stands for the ledger: looks at everything, keeps nothing.
struct Nothing;

impl Sink for Nothing {
    fn accept(&mut self, batch: &[Record]) {
        black_box(batch.len());
    }
}

fn main() {
    let collector = support::collector::in_thread();
    let variables = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| collector.clone());
    let delivering = Settings::from_env(variables).expect("the address is good");
    let recording = Telemetry::start(Settings::default(), vec![Box::new(Nothing)]).expect("it starts");
    let delivering = Telemetry::start(delivering, vec![Box::new(Nothing)]).expect("it starts");

    let off = measure(|| {
        black_box(work());
    });
    println!("{:<44} {:>8}", "CPU of the call's thread, per invocation", "ns");
    println!("{:<44} {:>8.0}", "off (a little work only)", off);
    for (name, telemetry) in
        [("recording, for ledger and /metrics", &recording), ("delivering to a collector", &delivering)]
    {
        let series = telemetry.plugin("echo", "1.0.0", "python", &["invoke"]);
        let thread_before = telemetry_threads_ns();
        let cost = measure(|| {
            black_box(work());
            call(telemetry, &series);
        });
        println!("{name:<44} {:>8.0}  (+{:.0})", cost, cost - off);
        assert!(telemetry.flush(Duration::from_secs(10)), "the telemetry thread is alive");
        let calls = f64::from(CALLS) * ROUNDS as f64;
        let spent = (telemetry_threads_ns() - thread_before) as f64 / calls;
        println!("{:<44} {spent:>8.0}", "  on the telemetry thread");
    }
    let begun = Instant::now();
    for _ in 0..20 {
        black_box(delivering.scrape(Some("application/openmetrics-text")).body.len());
    }
    println!("{:<44} {:>8.0}", "one scrape of this process", begun.elapsed().as_nanos() as f64 / 20.0);
    delivering.shutdown(Duration::from_secs(20));
    let account = delivering.accounting();
    println!("{:?}", account.traces);
    assert!(account.balances());
}

fn work() -> u64 {
    (0..64_u64).fold(1, |sum, each| black_box(sum.wrapping_mul(31).wrapping_add(each)))
}

fn call(telemetry: &Telemetry, series: &Arc<PluginSeries>) {
    let begin = Begin {
        plugin: series.name().clone(),
        action: series.name().clone(),
        parent: None,
        origin: Origin::Network,
    };
    let mut recording = telemetry.begin(begin);
    recording.bind(series.clone());
    let root = recording.root();
    recording.set(root, "http.request.method", "POST");
    recording.set(root, "http.route", "/v1/plugins/{name}/invoke");
    let attempt = recording.open(span::ATTEMPT, root);
    recording.attempt();
    recording.set(attempt, attribute::ATTEMPT, 1_u32);
    let queue = recording.open(span::QUEUE, attempt);
    recording.close(queue);
    recording.queue_wait(Duration::from_micros(2));
    let execute = recording.open(span::EXECUTE, attempt);
    recording.set(execute, attribute::INSTANCE_PID, 4_242_u32);
    recording.close(execute);
    recording.attempt_ended(Outcome::Replied);
    recording.close(attempt);
    recording.finish(Ending::Replied {
        usage: Usage {
            cpu: Duration::from_micros(80),
            memory_peak_bytes: 20 << 20,
            input_bytes: 100,
            output_bytes: 200,
        },
    });
}

/// The best round, in CPU nanoseconds of this thread per call.
fn measure(mut call: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let before = cpu_ns();
        for _ in 0..CALLS / STRETCH {
            for _ in 0..STRETCH {
                call();
            }
            // Also makes the kernel bring the thread's figure up to date.
            std::thread::sleep(Duration::from_millis(3));
        }
        best = best.min((cpu_ns() - before) as f64 / f64::from(CALLS));
    }
    best
}

fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// CPU time of all threads called `telemetry`.
fn telemetry_threads_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let read = |task: &std::fs::DirEntry, file: &str| {
        std::fs::read_to_string(task.path().join(file)).unwrap_or_default()
    };
    tasks
        .filter(|task| read(task, "comm").trim() == "telemetry")
        .filter_map(|task| read(&task, "schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok()))
        .sum()
}
