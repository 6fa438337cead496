//! Memory of what lies idle: a deployment without an instance, one whose fork server waits, and each worker, spawned
//! or a copy. PSS counts a page that several processes share by its part; private memory is what would come back if
//! the process ended.
//!
//! `cargo bench --bench memory [-- --quick]`; the variable `SPANGLASS_BENCH_PYTHON` as in `cold_start`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spanglass::package::manifest::{Manifest, Start};
use spanglass::runtimes::python::PythonRuntime;
use spanglass::runtimes::{Convention, DeploymentSpec, Instance, Launcher, Runtime};
use tokio::runtime::Runtime as Tokio;

mod support;

use support::cpu::{Memory, descendants, resident_bytes};
use support::hosts::{self, Plugins, Rig, Watched};
use support::scaled;

const DEPLOYMENTS: usize = 200;
const WORKERS: usize = 8;
const IMPORTS: [&str; 4] = ["", "requests", "numpy", "pydantic"];
/// Freshly started processes still touch pages.
const SETTLE: Duration = Duration::from_millis(300);

fn main() {
    spanglass::sandbox::supervisor::main_if_asked();
    support::print_machine();
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    idle_deployments(&tokio);
    println!("\nMiB; a worker: the mean of {WORKERS}");
    println!(
        "{:<12} {:<8} {:>14} {:>16} {:>18} {:>18} {:>14}",
        "", "", "a worker: PSS", "private", "supervisor: PSS", "fork server: PSS", "runner, each"
    );
    for import in IMPORTS {
        for start in [Start::Spawn, Start::Auto] {
            workers(&tokio, import, start);
        }
    }
}

fn idle_deployments(tokio: &Tokio) {
    let rig = Rig::start(Watched::Off, Plugins::Python);
    let (count, before) = (scaled(DEPLOYMENTS), resident_bytes());
    tokio.block_on(async {
        for index in 0..count {
            rig.deploy(hosts::manifest(&format!("idle-{index}"), 4), rig.folder.path().to_owned());
        }
    });
    let grown = resident_bytes().saturating_sub(before);
    let (processes, kib) = (descendants(std::process::id()).len(), grown as f64 / 1024.0 / count as f64);
    println!("{count} deployments that nobody has called: {kib:.1} KiB each, {processes} processes");
    tokio.block_on(rig.stop());
}

fn workers(tokio: &Tokio, import: &str, start: Start) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let line = if import.is_empty() { String::new() } else { format!("import {import}\n") };
    let folder = home.path().join("plugin");
    hosts::write_echo(&folder);
    let source = format!("{line}\ndef invoke(input_data):\n    return input_data\n");
    std::fs::write(folder.join("executor.py"), source).expect("a file of its own");
    let launcher = launcher(home.path(), &folder, start);
    let name = if import.is_empty() { "no import" } else { import };
    let started = tokio.block_on(async {
        // Bytecode is written by the first.
        launcher.launch(&mut |_| {}).await.map(drop)?;
        tokio::time::sleep(SETTLE).await;
        let before = resident_bytes();
        let mut instances: Vec<Box<dyn Instance>> = Vec::new();
        for _ in 0..WORKERS {
            instances.push(launcher.launch(&mut |_| {}).await?);
        }
        tokio::time::sleep(SETTLE).await;
        Ok::<_, spanglass::model::error::InvokeError>((instances, resident_bytes().saturating_sub(before)))
    });
    let (instances, runner) = match started {
        Ok(started) => started,
        Err(error) => return println!("{name:<12} left out: {}", error.message),
    };
    let own: Vec<u32> = instances.iter().filter_map(|instance| instance.pid()).collect();
    let mean = |of: fn(&Memory) -> u64| {
        own.iter().map(|pid| of(&Memory::of(*pid))).sum::<u64>() as f64 / own.len() as f64
    };
    let [supervisor, fork_server] = others(&own);
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    println!(
        "{name:<12} {:<8} {:>14.2} {:>16.2} {:>18.2} {:>18} {:>14.3}",
        if start == Start::Spawn { "spawned" } else { "copies" },
        mib(mean(|memory| memory.pss)),
        mib(mean(|memory| memory.private)),
        mib(supervisor.unwrap_or_default().pss as f64),
        fork_server.map_or("-".to_owned(), |memory| format!("{:.2}", mib(memory.pss as f64))),
        mib(runner as f64 / WORKERS as f64),
    );
    drop(instances);
    tokio.block_on(launcher.stop());
}

/// Supervisor and fork server: the child of this process that is the ancestor of these workers, and whoever of its
/// children is none of them.
fn others(workers: &[u32]) -> [Option<Memory>; 2] {
    let all = descendants(std::process::id());
    let is_python = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(6).any(|word| word == b"python")
    };
    let mut others: Vec<u32> = all.into_iter().filter(|pid| !workers.contains(pid)).collect();
    // Those of the deployments before are gone or going: the latest count.
    others.sort_unstable_by_key(|pid| std::cmp::Reverse(*pid));
    [others.iter().find(|pid| !is_python(**pid)), others.iter().find(|pid| is_python(**pid))]
        .map(|pid| pid.map(|pid| Memory::of(*pid)))
}

fn launcher(home: &Path, folder: &Path, start: Start) -> Arc<dyn Launcher> {
    let runtime = PythonRuntime::new(hosts::workers(&home.join("data")), Some(hosts::interpreter()));
    let spec = DeploymentSpec {
        manifest: Arc::new(Manifest { start, ..hosts::manifest("under-measurement", 1) }),
        folder: folder.to_owned(),
        config: Default::default(),
        secrets: Vec::new(),
        convention: Convention::Plugin,
        debugging: None,
    };
    runtime.deploy(Arc::new(spec)).expect("it is a good manifest")
}
