//! What more workers bring: calls a second with 1, 2 and 4 of them, of a plugin that works (1 ms of pure Python), one
//! that waits (5 ms), and one that does nothing (an echo of 1 KiB), by enough callers to keep them busy. In-process,
//! full telemetry but no collector.
//!
//! `cargo bench --bench workers [-- --quick | --only NAME]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use spanglass::package::manifest::Manifest;
use tokio::runtime::Runtime;

mod support;

use support::cpu::Spent;
use support::hosts::{self, Plugins, Rig, Watched};
use support::{Samples, order};

const WORKERS: [u32; 3] = [1, 2, 4];
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(1_000);
/// Callers beside one for each worker: whoever is served next waits already.
const MORE_CALLERS: u32 = 2;

const PLUGINS: [(&str, &str); 3] = [
    (
        "works 1 ms",
        "def invoke(input_data):\n    n = 0\n    for i in range(12_000):\n        n += i * i\n    return {'n': n}\n",
    ),
    ("waits 5 ms", "import time\n\ndef invoke(input_data):\n    time.sleep(0.005)\n    return {}\n"),
    ("echo", "def invoke(input_data):\n    return input_data\n"),
];

fn main() {
    spanglass::sandbox::supervisor::main_if_asked();
    support::print_machine();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let only = support::argument("--only").unwrap_or_default();
    println!("{ROUNDS} rounds; over the rounds: median (least to most)");
    println!(
        "{:<12} {:>8} {:>26} {:>26} {:>26} {:>10}",
        "", "workers", "calls/s", "over 1 worker", "host CPU us a call", "p50 ms"
    );
    for (name, source) in PLUGINS.into_iter().filter(|(name, _)| name.contains(&only)) {
        measure(&runtime, name, source);
    }
}

fn measure(runtime: &Runtime, name: &str, source: &str) {
    let rig = Rig::start(Watched::Full { collector: None }, Plugins::Python);
    let folder = rig.folder.path().join("plugin");
    hosts::write_echo(&folder);
    std::fs::write(folder.join("executor.py"), source).expect("a file of its own");
    let input = hosts::input_1k();
    runtime.block_on(async {
        for workers in WORKERS {
            rig.deploy(manifest(workers), folder.clone());
        }
    });
    let mut per_s = vec![Samples::default(); WORKERS.len()];
    let mut cpu_us = vec![Samples::default(); WORKERS.len()];
    let mut median_ms = vec![Samples::default(); WORKERS.len()];
    let lasts = if support::quick() { ROUND / 10 } else { ROUND };
    for round in 0..=ROUNDS {
        for index in order(WORKERS.len(), round) {
            let before = Spent::own();
            let (begun, times) =
                (Instant::now(), runtime.block_on(load(&rig, WORKERS[index], &input, lasts)));
            let (took, calls) = (begun.elapsed().as_secs_f64(), times.iter().count() as f64);
            rig.settle();
            let spent = Spent::own().since(before);
            // The first round starts the workers.
            if round > 0 {
                per_s[index].push(calls / took);
                cpu_us[index].push(spent.total() as f64 / 1e3 / calls);
                median_ms[index].push(times.median());
            }
        }
    }
    for (index, workers) in WORKERS.iter().enumerate() {
        println!(
            "{:<12} {workers:>8} {:>26} {:>26} {:>26} {:>10.3}",
            if index == 0 { name } else { "" },
            per_s[index].to_string(),
            per_s[index].over(&per_s[0]).to_string(),
            cpu_us[index].to_string(),
            median_ms[index].median(),
        );
    }
    runtime.block_on(rig.stop());
}

fn plugin(workers: u32) -> String {
    format!("workers-{workers}")
}

fn manifest(workers: u32) -> Manifest {
    hosts::manifest(&plugin(workers), workers)
}

/// Milliseconds of each call.
async fn load(rig: &Rig, workers: u32, input: &Arc<RawValue>, lasts: Duration) -> Samples {
    let end = Instant::now() + lasts;
    let callers: Vec<_> = (0..workers + MORE_CALLERS)
        .map(|_| {
            let (host, input) = (rig.host.clone(), input.clone());
            let plugin: Arc<str> = plugin(workers).into();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < end {
                    let begun = Instant::now();
                    drop(hosts::call(&host, &plugin, &input).await);
                    times.push(begun.elapsed().as_secs_f64() * 1e3);
                }
                times
            })
        })
        .collect();
    let mut all = Samples::default();
    for caller in callers {
        for time in caller.await.expect("no call panics") {
            all.push(time);
        }
    }
    all
}
