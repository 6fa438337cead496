//! A warm call of a Python plugin by `Host::invoke`, 1 KiB of JSON in and out, against the least that could
//! be done: a bare worker that reads a length and JSON from a pipe, parses it, and writes the same back, with
//! the same JSON library, and a host that writes, reads blocking and parses the reply.
//!
//! `cargo bench --bench warm_call [-- --quick | --only WORDS]`; `--only`, for a profiler, runs beside the bare
//! loop only the hosts whose name has these words.
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

mod support;

use support::hosts::{self, Plugins, Rig, Watched};
use support::{Samples, order, scaled};

const ROUNDS: usize = 15;
const CALLS: usize = 3_000;
const WARM_UP: usize = 300;

/// As the worker does it: one read for header and body where possible, one write, the same encoder.
const BARE_WORKER: &str = r#"
import json, os
decode = json.JSONDecoder().decode
encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
data = b""
while True:
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "little"):
        more = os.read(0, 65536)
        if not more:
            os._exit(0)
        data += more
    end = 4 + int.from_bytes(data[:4], "little")
    call = decode(data[4:end].decode("utf-8"))
    data = data[end:]
    reply = encode({"t": "end", "id": call["id"], "output": call["input"]}).encode("utf-8")
    os.write(1, len(reply).to_bytes(4, "little") + reply)
"#;

fn main() {
    spanglass::sandbox::supervisor::main_if_asked();
    support::print_machine();
    let input = hosts::input_1k();
    let one_thread = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let pool = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let hosts = [
        ("host, one thread, telemetry off", &one_thread, Watched::Off),
        ("host, one thread, ledger and log file", &one_thread, Watched::Full { collector: None }),
        ("host, pool of threads, telemetry off", &pool, Watched::Off),
        ("host, pool of threads, ledger and log file", &pool, Watched::Full { collector: None }),
    ];
    let mut variants: Vec<(&str, Variant<'_>)> = vec![("bare pipe loop", Variant::Bare(Bare::start()))];
    let only = support::argument("--only").unwrap_or_default();
    let hosts = hosts.into_iter().filter(|(name, ..)| name.contains(&only));
    variants.extend(hosts.map(|(name, runtime, watched)| {
        let rig = Rig::start(watched, Plugins::Python);
        rig.echo(1);
        (name, Variant::Host(runtime, rig))
    }));
    for (_, variant) in &mut variants {
        variant.run(&input, WARM_UP);
    }
    let mut minima = vec![Samples::default(); variants.len()];
    let mut medians = vec![Samples::default(); variants.len()];
    let mut tails = vec![Samples::default(); variants.len()];
    let calls = scaled(CALLS);
    for round in 0..ROUNDS {
        for index in order(variants.len(), round) {
            let times = variants[index].1.run(&input, calls);
            minima[index].push(times.min());
            medians[index].push(times.median());
            tails[index].push(times.quantile(0.99));
        }
    }
    println!(
        "1 KiB of JSON, {ROUNDS} rounds of {calls} calls, us a call; over the rounds: median (least to most)"
    );
    println!(
        "{:<44} {:>8} {:>24} {:>24} {:>26}",
        "", "minimum", "round's minimum", "round's p50", "round's p99"
    );
    for (index, (name, _)) in variants.iter().enumerate() {
        println!(
            "{name:<44} {:>8.1} {:>24} {:>24} {:>26}",
            minima[index].min(),
            minima[index].to_string(),
            medians[index].to_string(),
            tails[index].to_string()
        );
    }
    println!("{:<44} {:>8} {:>24} {:>24}", "over the bare loop:", "minima", "rounds' minima", "rounds' p50");
    for (index, (name, _)) in variants.iter().enumerate().skip(1) {
        println!(
            "{name:<44} {:>8.2} {:>24} {:>24}",
            minima[index].min() / minima[0].min(),
            minima[index].over(&minima[0]).to_string(),
            medians[index].over(&medians[0]).to_string()
        );
    }
    for (_, variant) in variants {
        if let Variant::Host(runtime, rig) = variant {
            runtime.block_on(rig.stop());
        }
    }
}

enum Variant<'r> {
    Bare(Bare),
    Host(&'r Runtime, Rig),
}

impl Variant<'_> {
    /// Microseconds of each call.
    fn run(&mut self, input: &Arc<RawValue>, calls: usize) -> Samples {
        match self {
            Variant::Bare(bare) => {
                let mut times = Samples::default();
                for _ in 0..calls {
                    let begun = Instant::now();
                    let reply = bare.call(input);
                    times.push(begun.elapsed().as_secs_f64() * 1e6);
                    assert!(reply["output"].is_object(), "the worker answers");
                }
                times
            }
            Variant::Host(runtime, rig) => {
                let (host, input) = (rig.host.clone(), input.clone());
                // A task of its own, as a server's handler is.
                let caller = runtime.spawn(async move {
                    let echo: Arc<str> = "echo".into();
                    let mut times = Samples::default();
                    for _ in 0..calls {
                        let begun = Instant::now();
                        let completed = hosts::call(&host, &echo, &input).await;
                        times.push(begun.elapsed().as_secs_f64() * 1e6);
                        drop(completed);
                    }
                    times
                });
                let times = runtime.block_on(caller).expect("no call panics");
                rig.settle();
                times
            }
        }
    }
}

struct Bare {
    child: Child,
    to: Option<ChildStdin>,
    from: ChildStdout,
    frame: Vec<u8>,
    reply: Vec<u8>,
    id: u64,
}

impl Bare {
    fn start() -> Bare {
        // The interpreter itself: what is called `python3` may be a script that looks for one.
        let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let found = String::from_utf8(found.expect("python3 runs").stdout).expect("a path");
        let mut child = Command::new(found.trim())
            .args(["-I", "-X", "utf8", "-c", BARE_WORKER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let to = child.stdin.take();
        let from = child.stdout.take().expect("it is piped");
        Bare { child, to, from, frame: Vec::new(), reply: vec![0; 64 << 10], id: 0 }
    }

    fn call(&mut self, input: &RawValue) -> Value {
        self.id += 1;
        self.frame.clear();
        self.frame.extend_from_slice(&[0; 4]);
        write!(self.frame, r#"{{"t":"call","id":{},"input":{input}}}"#, self.id).expect("it is memory");
        let length = u32::try_from(self.frame.len() - 4).expect("it is short");
        self.frame[..4].copy_from_slice(&length.to_le_bytes());
        self.to.as_mut().expect("it is open").write_all(&self.frame).expect("the worker reads");
        let (mut have, mut end) = (0, 4);
        while have < end {
            let read = self.from.read(&mut self.reply[have..]).expect("the worker writes");
            assert!(read > 0, "the worker lives");
            have += read;
            if have >= 4 {
                let length = self.reply[..4].try_into().expect("four bytes");
                end = 4 + u32::from_le_bytes(length) as usize;
            }
        }
        serde_json::from_slice(&self.reply[4..end]).expect("the worker writes JSON")
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ = self.child.wait();
    }
}
