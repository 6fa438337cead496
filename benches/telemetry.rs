//! What full telemetry costs warm calls of a Python plugin: ledger, log lines and OTLP to a collector in
//! another process, against two baselines between which "no telemetry at all" lies.
//!
//! - `host, off`: the same host; calls are recorded and counted, and nobody gets the records. Holds a part of
//!   telemetry's cost, so the comparison with it flatters.
//! - `no host`: the same workers called directly, without host and policies, hence without recording. Lacks
//!   more than telemetry, so the comparison with it exaggerates.
//!
//! `no ledger` is full telemetry but for the ledger, which is the dearest part of it.
//!
//! `cargo bench --bench telemetry [-- --quick]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use spanglass::model::error::InvokeError;
use spanglass::model::guest::{GuestAnswer, GuestCall, GuestLog, GuestMetric, GuestSpan};
use spanglass::model::ids::SpanId;
use spanglass::package::Package;
use spanglass::runtimes::{
    BoxFuture, CallRequest, Convention, DeploymentSpec, Guest, Instance, Launcher, Runtime as _,
};
use spanglass::telemetry::ids;
use tokio::runtime::Runtime;

mod support;

use support::collector::{self, Collector};
use support::cpu::Spent;
use support::hosts::{self, Plugins, Rig, Watched};
use support::{Samples, order, scaled};

const ROUNDS: usize = 11;
/// Calls of one variant in one round, all callers together.
const CALLS: usize = 6_000;
const WARM_UP: usize = 300;

fn main() {
    spanglass::sandbox::supervisor::main_if_asked();
    if collector::main_if_asked() {
        return;
    }
    support::print_machine();
    let collector = Collector::start();
    for (plugin, input) in [("text-stats", text_input()), ("echo", hosts::input_1k())] {
        for callers in [1, 4] {
            compare(plugin, &input, callers, &collector.url);
        }
    }
}

/// About 1 KiB of text.
fn text_input() -> Arc<RawValue> {
    let text = "The trace is the product. The rest is plumbing, isn't it? ".repeat(17);
    Arc::from(serde_json::value::to_raw_value(&serde_json::json!({ "text": text })).expect("JSON"))
}

#[derive(Default)]
struct Figures {
    calls_per_s: Samples,
    process_us: Samples,
    call_threads_us: Samples,
    background_us: Samples,
    worker_us: Samples,
}

enum Variant {
    Host(Rig),
    Direct(Vec<Box<dyn Instance>>),
}

fn compare(plugin: &str, input: &Arc<RawValue>, callers: usize, collector: &str) {
    let runtime = runtime(callers);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut variants = [
        ("no host", runtime.block_on(direct(plugin, callers, folder.path()))),
        ("host, off", rig(plugin, callers, Watched::Off)),
        ("no ledger", rig(plugin, callers, Watched::Exported { collector })),
        ("host, full", rig(plugin, callers, Watched::Full { collector: Some(collector) })),
    ];
    let mut figures: [Figures; 4] = Default::default();
    for (_, variant) in &mut variants {
        run(&runtime, variant, plugin, input, callers, WARM_UP);
    }
    let calls = scaled(CALLS);
    for round in 0..ROUNDS {
        for index in order(variants.len(), round) {
            let before = Spent::own();
            let begun = Instant::now();
            let worker = run(&runtime, &mut variants[index].1, plugin, input, callers, calls);
            let took = begun.elapsed();
            let spent = Spent::own().since(before);
            let per_call = |ns: u64| ns as f64 / 1e3 / calls as f64;
            let figure = &mut figures[index];
            figure.calls_per_s.push(calls as f64 / took.as_secs_f64());
            figure.process_us.push(per_call(spent.total()));
            figure.call_threads_us.push(per_call(spent.calls));
            figure.background_us.push(per_call(spent.background));
            figure.worker_us.push(worker.as_secs_f64() * 1e6 / calls as f64);
        }
    }
    println!("\n{plugin}, callers: {callers}, {ROUNDS} rounds of {calls} calls");
    println!(
        "{:<12} {:>26} {:>24} {:>24} {:>24} {:>24}",
        "", "calls/s", "CPU us: process", "its call threads", "telemetry and ledger", "worker"
    );
    for ((name, _), figure) in variants.iter().zip(&figures) {
        println!(
            "{name:<12} {:>26} {:>24} {:>24} {:>24} {:>24}",
            figure.calls_per_s.to_string(),
            figure.process_us.to_string(),
            figure.call_threads_us.to_string(),
            figure.background_us.to_string(),
            figure.worker_us.to_string(),
        );
    }
    let [direct, off, exported, full] = &figures;
    println!("calls/s of no ledger over off: {}", exported.calls_per_s.over(&off.calls_per_s));
    println!("CPU of no ledger over off, process with worker: {}", whole(exported).over(&whole(off)));
    println!("calls/s of full over off:     {}", full.calls_per_s.over(&off.calls_per_s));
    println!("calls/s of full over no host: {}", full.calls_per_s.over(&direct.calls_per_s));
    println!("CPU of full over off, process with worker: {}", whole(full).over(&whole(off)));
    for (_, variant) in variants {
        if let Variant::Host(rig) = variant {
            assert_eq!(rig.lost(), 0, "nothing is lost in this bench");
            runtime.block_on(rig.stop());
        }
    }
}

/// What a call costs the machine.
fn whole(figures: &Figures) -> Samples {
    let mut whole = Samples::default();
    for (process, worker) in figures.process_us.iter().zip(figures.worker_us.iter()) {
        whole.push(process + worker);
    }
    whole
}

/// As a single caller sees it: everything of a call on one thread. As a server does it: a pool of threads.
fn runtime(callers: usize) -> Runtime {
    let mut builder = match callers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build().expect("a runtime")
}

fn rig(plugin: &str, callers: usize, watched: Watched<'_>) -> Variant {
    let rig = Rig::start(watched, Plugins::Python);
    match plugin {
        "echo" => rig.echo(callers as u32),
        example => rig.example(example),
    }
    Variant::Host(rig)
}

async fn direct(plugin: &str, callers: usize, folder: &std::path::Path) -> Variant {
    let package = folder.join("echo");
    let (manifest, package) = match plugin {
        "echo" => {
            hosts::write_echo(&package);
            (hosts::manifest(plugin, callers as u32), package)
        }
        example => {
            let folder = hosts::example(example);
            (Package::load(&folder).expect("examples are good packages").manifest, folder)
        }
    };
    let spec = DeploymentSpec {
        config: manifest.config.clone(),
        manifest: Arc::new(manifest),
        folder: package,
        secrets: Vec::new(),
        convention: Convention::Plugin,
        debugging: None,
    };
    let python = hosts::python(&folder.join("data"));
    let launcher: Arc<dyn Launcher> = python.deploy(Arc::new(spec)).expect("it can be deployed");
    let mut instances = Vec::new();
    for _ in 0..callers {
        instances.push(launcher.launch(&mut |_| {}).await.expect("a worker starts"));
    }
    Variant::Direct(instances)
}

/// So many calls, shared among the callers, until everything about them has been written and sent. Returns
/// the workers' CPU time.
fn run(
    runtime: &Runtime,
    variant: &mut Variant,
    plugin: &str,
    input: &Arc<RawValue>,
    callers: usize,
    calls: usize,
) -> Duration {
    let each = calls / callers;
    match variant {
        Variant::Host(rig) => {
            let cpu = runtime.block_on(through_host(rig, plugin, input, callers, each));
            rig.settle();
            cpu
        }
        Variant::Direct(instances) => {
            let (idle, cpu) = runtime.block_on(directly(std::mem::take(instances), input, each));
            *instances = idle;
            cpu
        }
    }
}

async fn through_host(
    rig: &Rig,
    plugin: &str,
    input: &Arc<RawValue>,
    callers: usize,
    each: usize,
) -> Duration {
    let plugin: Arc<str> = plugin.into();
    let caller = |_| {
        let (host, plugin, input) = (rig.host.clone(), plugin.clone(), input.clone());
        async move {
            let mut cpu = Duration::ZERO;
            for _ in 0..each {
                cpu += hosts::call(&host, &plugin, &input).await.meta.usage.cpu;
            }
            cpu
        }
    };
    sum((0..callers).map(caller)).await
}

async fn directly(
    instances: Vec<Box<dyn Instance>>,
    input: &Arc<RawValue>,
    each: usize,
) -> (Vec<Box<dyn Instance>>, Duration) {
    let callers = instances.into_iter().map(|mut instance| {
        let input = input.clone();
        tokio::spawn(async move {
            let mut cpu = Duration::ZERO;
            for _ in 0..each {
                let ended = instance.call(request(&input), &mut Nobody).await.expect("the call succeeds");
                cpu += ended.usage.cpu;
            }
            (instance, cpu)
        })
    });
    let (mut instances, mut cpu) = (Vec::new(), Duration::ZERO);
    for caller in callers.collect::<Vec<_>>() {
        let (instance, spent) = caller.await.expect("no call panics");
        instances.push(instance);
        cpu += spent;
    }
    (instances, cpu)
}

async fn sum(callers: impl Iterator<Item = impl Future<Output = Duration> + Send + 'static>) -> Duration {
    let tasks: Vec<_> = callers.map(tokio::spawn).collect();
    let mut sum = Duration::ZERO;
    for task in tasks {
        sum += task.await.expect("no call panics");
    }
    sum
}

fn request(input: &Arc<RawValue>) -> CallRequest {
    CallRequest {
        invocation_id: ids::invocation_id(1_790_000_000_000_000_000),
        attempt: 1,
        action: "invoke".into(),
        input: input.clone(),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        tracestate: None,
        baggage: None,
        deadline: Duration::from_secs(30),
        output_bytes_max: 1 << 20,
    }
}

/// A guest's other side that records nothing.
struct Nobody;

impl Guest for Nobody {
    fn chunk(&mut self, _part: Arc<RawValue>) -> BoxFuture<'_, Result<(), InvokeError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn log(&mut self, _log: GuestLog) {}

    fn span(&mut self, _span: GuestSpan) {}

    fn metric(&mut self, _metric: GuestMetric) {}

    fn ask(&mut self, _call: GuestCall) -> BoxFuture<'static, GuestAnswer> {
        unreachable!("these plugins ask nothing")
    }

    fn execute_span(&self) -> SpanId {
        SpanId::from_bytes([7; 8]).expect("it is not zero")
    }

    fn dropped(&mut self, _what: &'static str, _count: u64) {}
}
