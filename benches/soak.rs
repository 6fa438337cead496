//! Memory over a million calls: a runtime that answers at once, ledger, log lines and a collector on.
//!
//! First as fast as the ledger takes them, so that nothing is lost; then, with `--flood`, as fast as the host
//! takes them, so that every queue stands at its bound and what does not fit is counted.
//!
//! `cargo bench --bench soak [-- --quick | --flood]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]
#![allow(clippy::disallowed_methods, reason = "nothing else runs on this thread: std::thread::sleep")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

mod support;

use support::collector::{self, Collector};
use support::cpu::resident_bytes;
use support::hosts::{self, Plugins, Rig, Watched};
use support::scaled;

const CALLS: usize = 1_000_000;
/// Where growth is counted from.
const WARM: usize = 100_000;
const STEPS: usize = 10;
const CALLERS: usize = 4;
/// Calls between two moments at which everybody waits for the ledger.
const BURST: usize = 2_000;
/// The aim.
const GROWTH_BYTES_MAX: i64 = 16 << 20;

fn main() {
    if collector::main_if_asked() {
        return;
    }
    support::print_machine();
    let flood = support::has_flag("--flood");
    let collector = Collector::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let rig = Rig::start(Watched::Full { collector: Some(&collector.url) }, Plugins::Instant);
    rig.echo(CALLERS as u32);
    let (calls, warm) = (scaled(CALLS), scaled(WARM));
    let input = small_input();
    let begun = Instant::now();
    let mut done = 0;
    let mut at_warm = 0;
    let step = calls / STEPS;
    while done < calls {
        let burst = if flood { step } else { BURST };
        runtime.block_on(run(&rig, &input, burst));
        done += burst;
        if !flood {
            rig.settle();
        }
        if done % step < burst {
            println!(
                "{done:>8} calls, {:>6.1} s, {} of memory",
                begun.elapsed().as_secs_f64(),
                mib(resident())
            );
        }
        if done >= warm && at_warm == 0 {
            at_warm = resident();
        }
    }
    let growth = resident() - at_warm;
    let per_s = done as f64 / begun.elapsed().as_secs_f64();
    rig.settle();
    let stats = rig.stats();
    println!("{done} calls, {per_s:.0} a second; ledger: {} written, {} lost", stats.written, rig.lost());
    println!("growth after the first {warm}: {}, aim: at most {}", mib(growth), mib(GROWTH_BYTES_MAX));
    println!("ledger file: {}", mib(stats.file_bytes as i64));
    runtime.block_on(rig.stop());
}

fn small_input() -> Arc<RawValue> {
    let text =
        serde_json::json!({"url": "https://api.example.com/v1/orders/17", "method": "GET"}).to_string();
    Arc::from(RawValue::from_string(text).expect("it is JSON"))
}

async fn run(rig: &Rig, input: &Arc<RawValue>, calls: usize) {
    let callers = (0..CALLERS).map(|_| {
        let (host, input) = (rig.host.clone(), input.clone());
        tokio::spawn(async move {
            let echo: Arc<str> = "echo".into();
            for _ in 0..calls / CALLERS {
                drop(hosts::call(&host, &echo, &input).await);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("no call panics");
    }
}

fn resident() -> i64 {
    // What is being written at this moment would only add noise.
    std::thread::sleep(Duration::from_millis(20));
    resident_bytes() as i64
}

fn mib(bytes: i64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
