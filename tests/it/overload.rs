//! More load than there is capacity for, by an open loop (`benches/support/open_loop.rs`): what can be done is done,
//! the rest is refused at once, memory stays, and all is well soon after. `cargo bench --bench overload` has the
//! same with more steps and numbers to look at.
//!
//! What is asserted is compared with what the same run measured a moment before: the machine may be slow and busy.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::open_loop::{Load, Pace, Tally, invoke};
use crate::support::require;
use crate::support::server::{Home, Server};

/// The least part of the peak that is left at ten times the capacity.
const GOODPUT_MIN: f64 = 0.9;
/// Where refusals compete with the work for two cores, and neither the server nor this program is optimised.
const GOODPUT_MIN_SHARED: f64 = 0.6;
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const RECOVERY_MAX: Duration = Duration::from_secs(5);
const TIMES: f64 = 10.0;
const CONCURRENCY: usize = 4;
const CONNECTIONS: usize = 256;
const LASTS: Duration = Duration::from_secs(4);
const WARM: Duration = Duration::from_millis(800);
/// Recovered is who answers so many of a paced caller's calls in a row.
const PROBES: usize = 10;
const PROBES_PER_S: f64 = 20.0;

/// Waits as for somebody else: its capacity is 160 calls a second on any machine.
const SLEEP: &str =
    "import time\n\ndef invoke(input_data):\n    time.sleep(0.025)\n    return {'ok': True}\n";
const SPIN: &str = r#"
import time

def invoke(input_data):
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass
    return {"ok": True}
"#;

/// What a plugin did at ten times its capacity.
struct Overloaded {
    /// Replies a second: the most of all, and at ten times.
    peak: f64,
    goodput: f64,
    tally: Tally,
    /// When the paced caller was served again, from the last request of the load on; `None`: never.
    recovered: Option<Duration>,
    grown: u64,
}

/// Blocks.
fn overload(server: &Server, plugin: &str, query: &str) -> Overloaded {
    let request = invoke(plugin, query, "{}");
    let mut callers = Load::connect(server.url(), CONCURRENCY);
    callers.run(&request, Pace::Closed, Duration::from_millis(500), || {});
    let closed = callers.run(&request, Pace::Closed, LASTS / 2, || {});
    let capacity = closed.per_s(200, WARM / 2);
    assert!(capacity > 10.0, "{closed:?}");
    let before = server.resident_bytes();
    let mut load = Load::connect(server.url(), CONNECTIONS);
    let (tally, recovered, after) = std::thread::scope(|scope| {
        let (ended, over) = mpsc::sync_channel(1);
        let (load, request) = (&mut load, &request);
        let pace = Pace::Random(capacity * TIMES);
        let running = scope.spawn(move || load.run(request, pace, LASTS, move || ended.send(()).unwrap()));
        over.recv().unwrap();
        let after = server.resident_bytes();
        let recovered = recovery(server, request);
        (running.join().unwrap(), recovered, after)
    });
    let goodput = tally.per_s(200, WARM);
    Overloaded { peak: capacity.max(goodput), goodput, tally, recovered, grown: after.saturating_sub(before) }
}

fn recovery(server: &Server, request: &[u8]) -> Option<Duration> {
    let mut probe = Load::connect(server.url(), PROBES);
    let lasts = RECOVERY_MAX + Duration::from_secs_f64(PROBES as f64 / PROBES_PER_S);
    let mut answers = probe.run(request, Pace::Steady(PROBES_PER_S), lasts, || {}).answers;
    answers.sort_by_key(|answer| answer.due);
    let first = answers.windows(PROBES).find(|some| some.iter().all(|answer| answer.status == 200))?;
    Some(first[0].at)
}

impl Overloaded {
    fn check(&self, goodput_min: f64) {
        let Overloaded { peak, goodput, tally, recovered, grown } = self;
        let latency = |status, part| tally.latencies(status, WARM).quantile(part);
        let (good, refused) = (latency(200, 0.5), latency(503, 0.99));
        println!(
            "peak {peak:.0}/s, at {TIMES} times {goodput:.0}/s of {} due; good p50 {good:?}, refused p50 {:?} p99 \
             {refused:?}; {} unsent, {} broken, {grown} bytes more, recovered after {recovered:?}",
            tally.due(),
            latency(503, 0.5),
            tally.unsent,
            tally.broken,
        );
        assert!(*goodput >= goodput_min * peak, "{goodput} of {peak}");
        let statuses: Vec<u16> = tally.samples.keys().copied().collect();
        assert_eq!((&*statuses, tally.broken), (&[200, 503][..], 0), "{:#?}", tally.samples);
        let sample = tally.samples[&503].to_lowercase();
        assert!(
            sample.contains("\r\nretry-after: ") && sample.contains(r#""kind":"overloaded""#),
            "{sample}"
        );
        let asked = tally.answers.len() as f64 / tally.lasted.as_secs_f64();
        assert!(asked >= 5.0 * peak, "it is no overload: {asked} of {peak} a second");
        // Who is let in waits for those before him; who is not does not wait for anybody.
        assert!(refused < good / 2, "refused within {refused:?}, served within {good:?}");
        assert!(*grown <= GROWTH_BYTES_MAX, "{grown} bytes more");
        assert!(recovered.is_some_and(|after| after <= RECOVERY_MAX), "{recovered:?}");
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn at_ten_times_the_capacity_the_goodput_stays_and_refusals_are_quick() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("sleep", "", SLEEP).serve().await;
    let (server, done) = blocking(move || {
        let done = overload(&server, "sleep", "");
        (server, done)
    })
    .await;
    done.check(GOODPUT_MIN);

    // Each is counted, and each that the ledger has no row of, too.
    let scrape = server.client.scrape().await;
    let calls = |error: &str| {
        scrape.sum("spanglass_invocations_total", &[("plugin", "sleep"), ("error_type", error)])
    };
    assert_eq!(calls("overloaded"), done.tally.count(503) as f64);
    assert_eq!(scrape.sum("spanglass_active_invocations", &[]), 0.0);
    let kills = [("plugin", "sleep"), ("reason", "timeout")];
    assert_eq!(scrape.sum("spanglass_instance_exits_total", &kills), 0.0);
}

#[tokio::test]
async fn work_that_needs_the_cores_goes_on_beside_its_refusals() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("spin", "", SPIN).serve().await;
    blocking(move || overload(&server, "spin", "")).await.check(GOODPUT_MIN_SHARED);
}

/// Who would wait longer than his time is told so at once: no instance works for him in vain, and none is killed in
/// the middle of it.
#[tokio::test]
async fn calls_that_would_be_late_are_refused_and_cost_no_instance() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("sleep", "limits: {timeout: 200ms}", SLEEP).serve().await;
    let (server, done) = blocking(move || {
        let done = overload(&server, "sleep", "");
        (server, done)
    })
    .await;
    let Overloaded { peak, goodput, tally, .. } = &done;
    println!("peak {peak:.0}/s, {goodput:.0}/s; {:?}", tally.samples.keys());
    assert!(*goodput >= GOODPUT_MIN_SHARED * peak, "{goodput} of {peak}");
    let late = tally.count(504);
    assert!(late * 20 <= tally.count(200), "{late} timeouts, {} replies", tally.count(200));
    let scrape = server.client.scrape().await;
    let killed = scrape.sum("spanglass_instance_exits_total", &[("plugin", "sleep"), ("reason", "timeout")]);
    assert!(killed * 20.0 <= tally.count(200) as f64, "{killed} workers killed");
}

#[tokio::test]
async fn a_flood_of_one_plugin_pushes_no_other_out() {
    if !require("python3") {
        return;
    }
    const QUIET_PER_S: f64 = 30.0;
    let echo = "def invoke(input_data):\n    return input_data\n";
    let server = Home::new().plugin("flooded", "", SLEEP).plugin("quiet", "", echo).serve().await;
    let (alone, beside, flood) = blocking(move || {
        let (flooding, quiet) = (invoke("flooded", "", "{}"), invoke("quiet", "", r#"{"n": 1}"#));
        let mut caller = Load::connect(server.url(), 64);
        let pace = Pace::Steady(QUIET_PER_S);
        // Starts its worker.
        caller.run(&quiet, pace, Duration::from_millis(300), || {});
        let alone = caller.run(&quiet, pace, LASTS, || {});
        let mut load = Load::connect(server.url(), CONNECTIONS);
        std::thread::scope(|scope| {
            let load = &mut load;
            let pace_of_flood = Pace::Random(160.0 * TIMES);
            let running = scope.spawn(move || load.run(&flooding, pace_of_flood, LASTS, || {}));
            let beside = caller.run(&quiet, pace, LASTS, || {});
            (alone, beside, running.join().unwrap())
        })
    })
    .await;
    let p99 = |tally: &Tally| tally.latencies(200, WARM).quantile(0.99);
    println!("p99 alone {:?}, beside {} refusals {:?}", p99(&alone), flood.count(503), p99(&beside));
    assert!(flood.count(503) > 1_000, "it is a flood");
    for (what, tally) in [("alone", &alone), ("beside", &beside)] {
        assert_eq!(
            (tally.count(200), tally.due()),
            (tally.due(), tally.due()),
            "{what}: {:?}",
            tally.samples
        );
    }
    // Some refusals are before it, never all of them, and never a wait of the other's queue.
    let waits = flood.latencies(200, WARM).quantile(0.5);
    assert!(p99(&beside) < (p99(&alone) * 5).max(waits / 2), "{:?}, they wait {waits:?}", p99(&beside));
}

/// What is acknowledged is run, however many come; who cannot be taken in is told so.
#[tokio::test]
async fn a_flood_of_asynchronous_calls_is_taken_in_or_refused_and_holds_up_nobody() {
    if !require("python3") {
        return;
    }
    let echo = "def invoke(input_data):\n    return input_data\n";
    let server = Home::new().plugin("flooded", "", echo).plugin("quiet", "", echo).serve().await;
    let before = server.resident_bytes();
    let (server, flood, beside) = blocking(move || {
        let (flooding, quiet) = (invoke("flooded", "?mode=async", "{}"), invoke("quiet", "", "{}"));
        let mut caller = Load::connect(server.url(), 64);
        caller.run(&quiet, Pace::Steady(20.0), Duration::from_millis(300), || {});
        let mut load = Load::connect(server.url(), CONNECTIONS);
        let (flood, beside) = std::thread::scope(|scope| {
            let load = &mut load;
            let running = scope.spawn(move || load.run(&flooding, Pace::Random(3_000.0), LASTS / 2, || {}));
            let beside = caller.run(&quiet, Pace::Steady(20.0), LASTS / 2, || {});
            (running.join().unwrap(), beside)
        });
        (server, flood, beside)
    })
    .await;
    let grown = server.resident_bytes().saturating_sub(before);
    let accepted = flood.count(202);
    println!(
        "{accepted} taken in of {}, {} refused, {} unsent, p99 {:?}; beside p99 {:?}; {grown} bytes more",
        flood.due(),
        flood.count(503),
        flood.unsent,
        flood.latencies(202, WARM).quantile(0.99),
        beside.latencies(200, Duration::ZERO).quantile(0.99),
    );
    assert_eq!(accepted + flood.count(503), flood.answers.len() as u64, "{:#?}", flood.samples);
    assert!(accepted > 100, "{flood:?}");
    assert_eq!(beside.count(200), beside.due(), "{:#?}", beside.samples);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more");
    let start = std::time::Instant::now();
    let replied = [("plugin", "flooded"), ("outcome", "replied")];
    loop {
        let done = server.client.scrape().await.sum("spanglass_invocations_total", &replied);
        if done >= accepted as f64 {
            assert_eq!(done, accepted as f64, "each once");
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{done} of {accepted} have been run");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
