//! What plugins cost that nobody calls: time of a call to one plugin with 1, 100 and 1,000 of them deployed,
//! memory for each, and the time of a scrape. In-process, with a runtime that answers at once.
//!
//! `cargo bench --bench idle_plugins [-- --quick]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use serde_json::value::RawValue;
use spanglass::package::manifest::Manifest;

mod support;

use support::cpu::{resident_bytes, thread_ns};
use support::hosts::{self, Plugins, Rig, Watched};
use support::{Samples, order, scaled};

const PLUGINS: [usize; 3] = [1, 100, 1_000];
const ROUNDS: usize = 15;
const CALLS: usize = 20_000;
const SCRAPES: usize = 5;
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0";

fn main() {
    support::print_machine();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let input = hosts::input_1k();
    let rigs: Vec<Rig> = PLUGINS
        .iter()
        .map(|count| {
            let rig = Rig::start(Watched::Off, Plugins::Instant);
            let before = resident_bytes();
            let begun = Instant::now();
            runtime.block_on(async { deploy(&rig, *count) });
            let each = |total: f64| total / *count as f64;
            println!(
                "{count:>5} plugins: deployed in {:.0} us each, {:.1} KiB of memory each",
                each(begun.elapsed().as_secs_f64() * 1e6),
                each((resident_bytes().saturating_sub(before)) as f64 / 1024.0)
            );
            rig
        })
        .collect();
    let mut wall = vec![Samples::default(); rigs.len()];
    let mut cpu = vec![Samples::default(); rigs.len()];
    let mut scrapes = vec![Samples::default(); rigs.len()];
    let calls = scaled(CALLS);
    for round in 0..ROUNDS {
        for index in order(rigs.len(), round) {
            let rig = &rigs[index];
            // In the middle of them all, by name.
            let target: Arc<str> = name(PLUGINS[index] / 2).into();
            let (took_ns, cpu_ns) = runtime.block_on(run(rig, &target, &input, calls));
            wall[index].push(took_ns / calls as f64);
            cpu[index].push(cpu_ns / calls as f64);
            rig.settle();
            for _ in 0..SCRAPES {
                let begun = Instant::now();
                std::hint::black_box(rig.host.telemetry().scrape(Some(ACCEPT)).body.len());
                scrapes[index].push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    println!("{ROUNDS} rounds of {calls} calls; over the rounds: median (least to most)");
    println!(
        "{:<8} {:>24} {:>24} {:>8} {:>26} {:>26} {:>10}",
        "plugins", "ns a call", "CPU ns of its thread", "minima", "over 1: time", "over 1: CPU", "scrape"
    );
    for (index, count) in PLUGINS.iter().enumerate() {
        let scrape = rigs[index].host.telemetry().scrape(Some(ACCEPT)).body.len();
        println!(
            "{count:<8} {:>24} {:>24} {:>8.2} {:>26} {:>26} {:>7.2} ms, {:.1} KiB",
            wall[index].to_string(),
            cpu[index].to_string(),
            wall[index].min() / wall[0].min(),
            wall[index].over(&wall[0]).to_string(),
            cpu[index].over(&cpu[0]).to_string(),
            scrapes[index].min(),
            scrape as f64 / 1024.0
        );
    }
    for rig in rigs {
        runtime.block_on(rig.stop());
    }
}

fn name(index: usize) -> String {
    format!("plugin-{index:04}")
}

fn deploy(rig: &Rig, count: usize) {
    for index in 0..count {
        rig.deploy(manifest(index), rig.folder.path().to_owned());
    }
}

/// Like a real one: schemas for input and output, some actions.
fn manifest(index: usize) -> Manifest {
    let mut manifest = hosts::manifest(&name(index), 4);
    manifest.input_schema = Some(Arc::new(json!({
        "type": "object",
        "properties": {"order": {"type": "string"}, "items": {"type": "array"}},
        "required": ["order"],
    })));
    manifest.output_schema = Some(Arc::new(json!({"type": "object"})));
    manifest
}

async fn run(rig: &Rig, target: &Arc<str>, input: &Arc<RawValue>, calls: usize) -> (f64, f64) {
    // Brings the kernel's figure of this thread up to date.
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let (begun, before) = (Instant::now(), thread_ns());
    for _ in 0..calls {
        std::hint::black_box(hosts::call(&rig.host, target, input).await);
    }
    let took = begun.elapsed();
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    (took.as_secs_f64() * 1e9, (thread_ns() - before) as f64)
}
