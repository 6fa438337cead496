//! What it costs to watch ten fields for drift: six numbers and four categories, beside the same version that watches
//! none. Both have schemas, so that both parse; windows are judged four times a second, as a server does it.
//!
//! `cargo bench --bench drift [-- --quick]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]
#![allow(clippy::disallowed_methods, reason = "a plain thread judges: std::thread::sleep")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use spanglass::drift::JUDGE_EVERY;
use spanglass::package::manifest::Manifest;
use spanglass::package::observe::{Observe, ObservedFields};
use tokio::runtime::Runtime;

mod support;

use support::cpu::Spent;
use support::hosts::{self, Plugins, Rig, Watched};
use support::{Samples, order, scaled};

const ROUNDS: usize = 21;
const INSTANT_CALLS: usize = 20_000;
const PYTHON_CALLS: usize = 2_000;
const FIELDS: [&str; 10] = [
    "$.input.amount",
    "$.input.age",
    "$.input.hour",
    "$.input.distance",
    "$.input.ratio",
    "$.output.score",
    "$.input.country",
    "$.input.channel",
    "$.input.currency",
    "$.output.decision",
];

fn main() {
    spanglass::sandbox::supervisor::main_if_asked();
    support::print_machine();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let inputs = inputs();
    println!("{ROUNDS} rounds; over the rounds: median (least to most)");
    for (what, plugins, watched, calls) in [
        ("instant plugin, telemetry off", Plugins::Instant, Watched::Off, scaled(INSTANT_CALLS)),
        ("Python plugin, telemetry off", Plugins::Python, Watched::Off, scaled(PYTHON_CALLS)),
    ] {
        let rigs = [false, true].map(|observed| rig(plugins, watched, observed));
        compare(what, &runtime, &rigs, &inputs, calls);
        for rig in rigs {
            runtime.block_on(rig.stop());
        }
    }
}

fn compare(what: &str, runtime: &Runtime, rigs: &[Rig; 2], inputs: &[Arc<RawValue>], calls: usize) {
    let mut cpu = [Samples::default(), Samples::default()];
    let mut rate = [Samples::default(), Samples::default()];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(JUDGE_EVERY);
                rigs.iter().for_each(|rig| rig.host.drift().round());
            }
        });
        for rig in rigs {
            run(runtime, rig, inputs, scaled(2_000));
        }
        for round in 0..ROUNDS {
            for index in order(2, round) {
                let (before, begun) = (Spent::own().calls, Instant::now());
                run(runtime, &rigs[index], inputs, calls);
                rate[index].push(calls as f64 / begun.elapsed().as_secs_f64());
                cpu[index].push((Spent::own().calls - before) as f64 / calls as f64 / 1e3);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("\n{what}, {calls} calls a round");
    println!(
        "  CPU of a call, us        none {:>26}  ten fields {:>26}",
        cpu[0].to_string(),
        cpu[1].to_string()
    );
    let added: Vec<f64> = cpu[1].iter().zip(cpu[0].iter()).map(|(with, without)| with - without).collect();
    let mut differences = Samples::default();
    added.into_iter().for_each(|one| differences.push(one));
    println!("  added CPU of a call, us  {differences}");
    println!("  throughput, over none    {}", rate[1].over(&rate[0]));
    let shown = rigs[1].host.drift().version("watched", "1.0.0").expect("it is watched");
    println!(
        "  {} calls observed, state {}, at most {} bytes a field",
        shown.calls,
        shown.state.as_str(),
        shown.memory_bytes / FIELDS.len() as u64
    );
    assert!(shown.calls > calls as u64, "it has been watched");
}

fn run(runtime: &Runtime, rig: &Rig, inputs: &[Arc<RawValue>], calls: usize) {
    let plugin: Arc<str> = "watched".into();
    runtime.block_on(async {
        for call in 0..calls {
            drop(hosts::call(&rig.host, &plugin, &inputs[call % inputs.len()]).await);
        }
    });
    rig.settle();
}

fn rig(plugins: Plugins, watched: Watched<'_>, observed: bool) -> Rig {
    let rig = Rig::start(watched, plugins);
    let mut manifest: Manifest = hosts::manifest("watched", 1);
    let number = || json!({"type": "number"});
    let text = || json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {
        "amount": number(), "age": number(), "hour": number(), "distance": number(), "ratio": number(),
        "score": number(), "country": text(), "channel": text(), "currency": text(), "decision": text(),
    }});
    manifest.input_schema = Some(Arc::new(schema.clone()));
    manifest.output_schema = Some(Arc::new(schema));
    if observed {
        let fields = FIELDS.map(|field| field.parse().expect("it is a path")).to_vec();
        manifest.observe = Some(Observe { fields: ObservedFields::List(fields), ..Observe::default() });
    }
    let folder = rig.folder.path().join("watched");
    hosts::write_echo(&folder);
    rig.deploy(manifest, folder);
    rig
}

/// Calls that do not drift, each other than the one before.
fn inputs() -> Vec<Arc<RawValue>> {
    let mut random = fastrand::Rng::with_seed(7);
    let raw = |value: Value| Arc::from(RawValue::from_string(value.to_string()).expect("it is JSON"));
    (0..4_096)
        .map(|_| {
            raw(json!({
                "amount": random.f64() * random.f64() * 1_200.0,
                "age": random.u32(..2_000),
                "hour": random.u32(..24),
                "distance": random.f64() * 50.0,
                "ratio": random.f64(),
                "score": random.f64(),
                "country": random.choice(["FR", "DE", "ES", "NL", "IT", "BR", "PL", "SE"]),
                "channel": random.choice(["web", "app", "pos", "phone"]),
                "currency": random.choice(["EUR", "USD", "BRL"]),
                "decision": random.choice(["accept", "review", "decline"]),
            }))
        })
        .collect()
}
