//! The first reply of a fresh instance: started, loaded, called once. Against the same imports by `python3 -c`, which
//! is as fast as it gets without us, and, for plugins that are no Python, against their bare interpreter.
//!
//! *spawn* (`start: spawn`): a process of its own. *copy* (`start: auto`): of a fork server that has loaded the plugin
//! before. *first copy*: the fork server has to be started for it. At the end `isolation: call`, where each call has
//! an instance of its own, beside a warm one.
//!
//! `cargo bench --bench cold_start [-- --quick | --only KIND]`; the variable `SPANGLASS_BENCH_PYTHON` names a Python
//! that has `requests`, `numpy` and `pydantic`. What it lacks is left out, and said.
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use spanglass::model::error::InvokeError;
use spanglass::model::guest::{GuestAnswer, GuestCall, GuestLog, GuestMetric, GuestSpan};
use spanglass::model::ids::{InvocationId, SpanId};
use spanglass::package::manifest::{Isolation, Manifest, RuntimeKind, Start};
use spanglass::runtimes::process::ProcessRuntime;
use spanglass::runtimes::python::PythonRuntime;
use spanglass::runtimes::{BoxFuture, CallRequest, Convention, DeploymentSpec, Guest, Launcher, Runtime};
use tokio::runtime::Runtime as Tokio;

mod support;

use support::hosts::{self, Plugins, Rig, Watched};
use support::{Samples, order, scaled};

const ROUNDS: usize = 40;
const CALLS: usize = 200;
/// Imports of Python plugins.
const IMPORTS: [&str; 4] = ["", "requests", "numpy", "pydantic"];
const HELPER: &str = include_str!("../plugins/logger/bin/spanglass.js");
const NODE: &str = "const { serve } = require('./spanglass.js');\nserve({ invoke: (input) => input });\n";
/// As little as speaks the protocol: ready, the hello, one call, its end.
const SH: &str = r#"#!/bin/sh
frame() { length=$(dd bs=4 count=1 <&3 2>/dev/null | od -An -tu4); dd bs=1 count=$length <&3 >/dev/null 2>&1; }
printf '\023\0\0\0{"t":"ready","v":1}' >&4
frame
frame
printf '\037\0\0\0{"t":"end","id":1,"output":{}}\n' >&4
exec sleep 60
"#;

/// A kind of plugin, and what it takes without us.
struct Kind {
    name: String,
    bare: Vec<String>,
    python: bool,
    folder: PathBuf,
    manifest: Manifest,
}

fn main() {
    spanglass::sandbox::supervisor::main_if_asked();
    support::print_machine();
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let home = tempfile::tempdir().expect("a temporary folder");
    let only = support::argument("--only").unwrap_or_default();
    println!(
        "ms to the first reply, {} rounds; minimum, then over the rounds: median (least to most)",
        scaled(ROUNDS)
    );
    println!(
        "{:<18} {:<12} {:>8} {:>26} {:>16} {:>22}",
        "", "", "minimum", "median", "minima over bare", "medians over bare"
    );
    for kind in kinds(home.path()) {
        if kind.name.contains(&only) {
            measure(&tokio, &home.path().join("data"), &kind);
        }
    }
    if only.is_empty() {
        per_call(&tokio);
    }
}

fn kinds(home: &Path) -> Vec<Kind> {
    let python = hosts::interpreter();
    let runs = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let mut kinds = Vec::new();
    for import in IMPORTS {
        let line = if import.is_empty() { String::new() } else { format!("import {import}\n") };
        let bare = if import.is_empty() { "pass".to_owned() } else { format!("import {import}") };
        if !runs(&python, &["-c", &bare]) {
            println!("left out: {} cannot `{bare}`", python.display());
            continue;
        }
        let name = if import.is_empty() { "no import" } else { import };
        let source = format!("{line}\ndef invoke(input_data):\n    return input_data\n");
        let bare = [&*real_path(&python), "-c", &bare].map(str::to_owned).to_vec();
        kinds.push(kind(home, name, true, bare, &[("executor.py", &source)]));
    }
    let sh = ["sh", "-c", ":"].map(str::to_owned).to_vec();
    kinds.push(kind(home, "process in sh", false, sh, &[("main", SH)]));
    if runs(Path::new("node"), &["--version"]) {
        let node = ["node", "-e", ""].map(str::to_owned).to_vec();
        kinds.push(kind(
            home,
            "process in node",
            false,
            node,
            &[("main.js", NODE), ("spanglass.js", HELPER)],
        ));
    } else {
        println!("left out: there is no node");
    }
    kinds
}

/// The interpreter itself: what is called `python3` may be a script that looks for one.
fn real_path(python: &Path) -> String {
    let found = Command::new(python).args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(found.expect("it ran before").stdout).expect("a path").trim().to_owned()
}

fn kind(home: &Path, name: &str, python: bool, bare: Vec<String>, files: &[(&str, &str)]) -> Kind {
    use std::os::unix::fs::PermissionsExt;
    let folder = home.join(name.replace(' ', "-"));
    std::fs::create_dir_all(&folder).expect("a folder of its own");
    for (path, text) in files {
        std::fs::write(folder.join(path), text).expect("a file of its own");
        std::fs::set_permissions(folder.join(path), std::fs::Permissions::from_mode(0o755))
            .expect("it is ours");
    }
    let mut manifest = hosts::manifest("under-measurement", 1);
    if !python {
        manifest.runtime = RuntimeKind::Process;
        files[0].0.clone_into(&mut manifest.entrypoint);
    }
    Kind { name: name.to_owned(), bare, python, folder, manifest }
}

fn measure(tokio: &Tokio, data_dir: &Path, kind: &Kind) {
    let mut variants: Vec<(&str, Option<Start>)> = vec![("bare", None), ("spawn", Some(Start::Spawn))];
    if kind.python {
        variants.extend([("copy", Some(Start::Auto)), ("first copy", Some(Start::Auto))]);
    }
    let launchers: Vec<_> =
        variants.iter().map(|(_, start)| start.map(|start| launcher(data_dir, kind, start))).collect();
    let mut samples = vec![Samples::default(); variants.len()];
    // The kernel's caches, bytecode, and the fork server of those that have one.
    for launcher in launchers.iter().flatten() {
        first_reply(tokio, &**launcher);
    }
    for round in 0..scaled(ROUNDS) {
        for index in order(variants.len(), round) {
            let took = match (&launchers[index], variants[index].0) {
                (None, _) => bare(&kind.bare),
                (Some(_), "first copy") => first_reply(tokio, &*launcher(data_dir, kind, Start::Auto)),
                (Some(launcher), _) => first_reply(tokio, &**launcher),
            };
            samples[index].push(took.as_secs_f64() * 1e3);
        }
    }
    for (index, (name, _)) in variants.iter().enumerate() {
        println!(
            "{:<18} {name:<12} {:>8.2} {:>26} {:>16.3} {:>22}",
            if index == 0 { &*kind.name } else { "" },
            samples[index].min(),
            samples[index].to_string(),
            samples[index].min() / samples[0].min(),
            format!("{:.3}", samples[index].median() / samples[0].median()),
        );
    }
    for launcher in launchers.into_iter().flatten() {
        tokio.block_on(launcher.stop());
    }
}

fn launcher(data_dir: &Path, kind: &Kind, start: Start) -> Arc<dyn Launcher> {
    let workers = hosts::workers(data_dir);
    let runtime: Box<dyn Runtime> = if kind.python {
        Box::new(PythonRuntime::new(workers, Some(hosts::interpreter())))
    } else {
        Box::new(ProcessRuntime::new(workers))
    };
    let manifest = Manifest { start, ..kind.manifest.clone() };
    let spec = DeploymentSpec {
        manifest: Arc::new(manifest),
        folder: kind.folder.clone(),
        config: Default::default(),
        secrets: Vec::new(),
        convention: Convention::Plugin,
        debugging: None,
    };
    runtime.deploy(Arc::new(spec)).expect("it is a good manifest")
}

fn bare(argv: &[String]) -> Duration {
    let begun = Instant::now();
    let status = Command::new(&argv[0]).args(&argv[1..]).stdin(Stdio::null()).status();
    let took = begun.elapsed();
    assert!(status.is_ok_and(|status| status.success()), "{argv:?} ran before");
    took
}

fn first_reply(tokio: &Tokio, launcher: &dyn Launcher) -> Duration {
    tokio.block_on(async {
        let begun = Instant::now();
        let mut instance = launcher.launch(&mut |_| {}).await.expect("the worker starts");
        let ended = instance.call(request(), &mut NoGuest).await;
        let took = begun.elapsed();
        ended.expect("the call succeeds");
        drop(instance);
        // Its death is not the next one's business.
        tokio::time::sleep(Duration::from_millis(5)).await;
        took
    })
}

fn request() -> CallRequest {
    CallRequest {
        invocation_id: InvocationId::parse("01890a5d-ac96-774b-bcce-b302099a8057").expect("it is an id"),
        attempt: 1,
        action: "invoke".into(),
        input: Arc::from(RawValue::from_string("{}".into()).expect("it is JSON")),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        tracestate: None,
        baggage: None,
        deadline: Duration::from_secs(30),
        output_bytes_max: 1 << 20,
    }
}

/// Nobody listens.
struct NoGuest;

impl Guest for NoGuest {
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

/// `isolation: call` beside `isolation: worker`, by one caller, through a host.
fn per_call(tokio: &Tokio) {
    let rig = Rig::start(Watched::Off, Plugins::Python);
    let input = hosts::input_1k();
    let names: [Arc<str>; 2] = ["worker".into(), "call".into()];
    tokio.block_on(async {
        for (name, isolation) in names.iter().zip([Isolation::Worker, Isolation::Call]) {
            let folder = rig.folder.path().join(&**name);
            hosts::write_echo(&folder);
            rig.deploy(Manifest { isolation, ..hosts::manifest(name, 1) }, folder);
        }
    });
    let mut samples = vec![Samples::default(); names.len()];
    let (rounds, calls) = (scaled(ROUNDS), scaled(CALLS));
    for round in 0..=rounds {
        for index in order(names.len(), round) {
            let mut times = Samples::default();
            for _ in 0..calls {
                let begun = Instant::now();
                tokio.block_on(hosts::call(&rig.host, &names[index], &input));
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            // The first round warms up.
            if round > 0 {
                samples[index].push(times.median());
            }
        }
    }
    println!(
        "\na call with 1 KiB by one caller, ms; over {rounds} rounds of {calls}: median of the rounds' medians"
    );
    for (name, samples) in names.iter().zip(&samples) {
        println!("isolation: {name:<12} {:>26}", samples.to_string());
    }
    println!("call over worker: {}", samples[1].over(&samples[0]));
    tokio.block_on(rig.stop());
}
