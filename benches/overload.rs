//! More load than a plugin can take: half, once, twice, five and ten times what it did at most, then a quiet end.
//! The real program as a server, full telemetry; the load is an open loop over loopback (`support/open_loop.rs`).
//!
//! Goodput is what was replied a second; *peak* is the most of any step, the closed loop at the beginning included.
//!
//! `cargo bench --bench overload [-- --quick | --only NAME | --step SECONDS]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

mod support;

use support::cpu::Spent;
use support::open_loop::{Load, Pace, Tally, invoke};
use support::served::{Served, Source};

/// Requests under way at once, at most.
const CONNECTIONS: usize = 512;
const STEPS: [f64; 5] = [0.5, 1.0, 2.0, 5.0, 10.0];
const STEP: Duration = Duration::from_secs(8);
/// The part of a step that is not counted: queues fill.
const WARM: f64 = 0.2;
/// Recovered is who answers so many of the probe's calls in a row.
const PROBES: usize = 20;
const PROBES_PER_S: f64 = 40.0;
const CONCURRENCY: usize = 4;

const LIMITS: &str = "limits: {concurrency: 4, queue: 64, instances: {max: 4}}";
/// Waits, as for a service; uses no core.
const SLEEP: Source<'_> = (
    "sleep-10ms",
    LIMITS,
    "import time\n\ndef invoke(input_data):\n    time.sleep(0.010)\n    return {'ok': True}\n",
);
/// Work and refusals compete for the same cores.
const SPIN: Source<'_> = (
    "spin-5ms",
    LIMITS,
    "import time\n\ndef invoke(input_data):\n    end = time.thread_time() + 0.005\n    \
     while time.thread_time() < end:\n        pass\n    return {'ok': True}\n",
);
/// The hardest: ten times its capacity is more refusals than anybody wants to pay for.
const SHORT: Source<'_> = (
    "spin-1ms",
    LIMITS,
    "import time\n\ndef invoke(input_data):\n    end = time.thread_time() + 0.001\n    \
     while time.thread_time() < end:\n        pass\n    return {'ok': True}\n",
);

fn main() {
    support::print_machine();
    let step = support::argument("--step").and_then(|seconds| seconds.parse().ok());
    let step = step.map_or(if support::quick() { STEP / 8 } else { STEP }, Duration::from_secs_f64);
    let only = support::argument("--only").unwrap_or_default();
    for plugin in [SLEEP, SPIN, SHORT] {
        if plugin.0.contains(&only) {
            overload(plugin, step);
        }
    }
}

fn overload(plugin: Source<'_>, step: Duration) {
    let name = plugin.0;
    let server = Served::start(&[plugin]);
    let request = invoke(name, "", "{}");
    let warm = step.mul_f64(WARM);
    let mut callers = Load::connect(&server.address, CONCURRENCY);
    // Starts the workers.
    callers.run(&request, Pace::Closed, Duration::from_secs(1), || {});
    let closed = callers.run(&request, Pace::Closed, step / 2, || {});
    let capacity = closed.per_s(200, warm / 2);
    let mut peak = capacity;
    println!("\n{name}: {capacity:.0} calls/s by {CONCURRENCY} callers, each after its last answer");
    println!(
        "{:<6} {:>9} {:>9} {:>8} {:>9} {:>20} {:>20} {:>8} {:>8} {:>10} {:>9}",
        "load",
        "due/s",
        "good/s",
        "of peak",
        "refused/s",
        "good p50 p99 ms",
        "refused p50 p99 ms",
        "unsent",
        "other",
        "server CPU",
        "memory"
    );
    let mut load = Load::connect(&server.address, CONNECTIONS);
    let mut goodput = Vec::new();
    let mut recovery = None;
    for times in STEPS {
        let before = Spent::of_process(server.pid());
        let begun = Instant::now();
        let last = times == STEPS[STEPS.len() - 1];
        let tally = std::thread::scope(|scope| {
            let (ended, over) = mpsc::sync_channel(1);
            let (load, request) = (&mut load, &request);
            let running = scope.spawn(move || {
                load.run(request, Pace::Random(capacity * times), step, move || {
                    let _ = ended.send(());
                })
            });
            if over.recv().is_ok() && last {
                recovery = Some(recover(&server, request));
            }
            running.join().expect("the load does not panic")
        });
        let spent = Spent::of_process(server.pid()).since(before);
        let cores = |ns: u64| ns as f64 / 1e9 / begun.elapsed().as_secs_f64();
        peak = peak.max(tally.per_s(200, warm));
        goodput.push(tally.per_s(200, warm));
        print_step(times, &tally, peak, warm);
        println!(
            " {:>4.2}+{:>4.2} {:>5.1} MiB",
            cores(spent.calls),
            cores(spent.background),
            server.resident_bytes() as f64 / f64::from(1 << 20)
        );
    }
    let at_most = goodput.last().copied().unwrap_or_default();
    println!("goodput at {}x over the peak: {:.3}", STEPS[STEPS.len() - 1], at_most / peak);
    match recovery.flatten() {
        Some(after) => println!("recovered {:.3} s after the last request was due", after.as_secs_f64()),
        None => println!("NOT RECOVERED"),
    }
    let dropped = server.metric("spanglass_ledger_dropped_total", &[]);
    let refused = server.metric("spanglass_invocations_total", &["error_type=\"overloaded\""]);
    println!("{refused:.0} calls counted as overloaded; ledger rows left out, and counted: {dropped:.0}");
}

fn print_step(times: f64, tally: &Tally, peak: f64, warm: Duration) {
    let ms = |status: u16| {
        let latencies = tally.latencies(status, warm);
        let [p50, p99] = [0.5, 0.99].map(|part| latencies.quantile(part).as_secs_f64() * 1e3);
        format!("{p50:>9.2} {p99:>9.2}")
    };
    let good = tally.per_s(200, warm);
    let other = tally.answers.len() as u64 - tally.count(200) - tally.count(503) + tally.broken;
    print!(
        "{:<6} {:>9.0} {:>9.0} {:>8.3} {:>9.0} {:>20} {:>20} {:>8} {:>8}",
        format!("{times}x"),
        tally.due() as f64 / tally.lasted.as_secs_f64(),
        good,
        good / peak,
        tally.per_s(503, warm),
        ms(200),
        ms(503),
        tally.unsent,
        other,
    );
}

/// How long until a paced caller is served again, call after call.
fn recover(server: &Served, request: &[u8]) -> Option<Duration> {
    let mut probe = Load::connect(&server.address, PROBES);
    let tally = probe.run(request, Pace::Steady(PROBES_PER_S), Duration::from_secs(6), || {});
    let mut answers = tally.answers;
    answers.sort_by_key(|answer| answer.due);
    let good: Vec<bool> = answers.iter().map(|answer| answer.status == 200).collect();
    let first = good.windows(PROBES).position(|probes| probes.iter().all(|good| *good))?;
    Some(answers[first].at)
}
