//! A quick plugin beside bad neighbours: p50, p99 and p99.9 of a call at a steady pace, measured from the moment at
//! which it was due, alone and beside others in the same server. Rounds in turns; the median of the rounds' ratios.
//!
//! Each neighbour is driven as long as its part of a round lasts: by callers that each call again after their last
//! answer, and where the answers are quick refusals, so often a second.
//!
//! `cargo bench --bench neighbours [-- --quick | --only NAME | --rounds N]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::time::Duration;

mod support;

use support::open_loop::{Load, Pace, Tally, invoke};
use support::served::{Served, Source};
use support::{Samples, order};

const ROUNDS: usize = 7;
const PART: Duration = Duration::from_secs(5);
const PER_S: f64 = 200.0;
const WARM: Duration = Duration::from_millis(300);
/// Connections of the paced caller: one that waits must not hold up the next.
const CONNECTIONS: usize = 64;
/// What is hoped for, of the p99.
const AIM: f64 = 1.2;

const QUICK: Source<'_> = ("quick", "", "def invoke(input_data):\n    return input_data\n");
/// A plugin, how many callers drive it at once, and how.
type Neighbour = (Source<'static>, usize, Pace);

const NEIGHBOURS: [Neighbour; 8] = [
    (
        (
            "flood",
            "limits: {timeout: 1s}\ncircuit_breaker: {min_calls: 1000000}",
            "import os\n\ndef invoke(input_data):\n    lines = (b'x' * 79 + b'\\n') * 800\n    while True:\n        os.write(1, lines)\n",
        ),
        1,
        Pace::Closed,
    ),
    (
        (
            "prints",
            "",
            "def invoke(input_data):\n    for number in range(1000):\n        print('line', number)\n    return {}\n",
        ),
        1,
        Pace::Closed,
    ),
    // All places taken, and all in the queue.
    (
        ("slow", "", "import time\n\ndef invoke(input_data):\n    time.sleep(0.2)\n    return {}\n"),
        68,
        Pace::Closed,
    ),
    // The same, and a thousand refusals a second.
    (
        ("overloaded", "", "import time\n\ndef invoke(input_data):\n    time.sleep(0.2)\n    return {}\n"),
        256,
        Pace::Random(1_000.0),
    ),
    (
        (
            "exits",
            "circuit_breaker: {min_calls: 1000000}",
            "import os\n\ndef invoke(input_data):\n    os._exit(1)\n",
        ),
        4,
        Pace::Closed,
    ),
    // Starting pauses, so nearly all answers are refusals.
    (
        ("never-starts", "circuit_breaker: {min_calls: 1000000}", "raise SystemExit('no')\n"),
        64,
        Pace::Random(500.0),
    ),
    (
        (
            "hog",
            "",
            "import time\n\ndef invoke(input_data):\n    end = time.thread_time() + 0.1\n    while time.thread_time() < end:\n        pass\n    return {}\n",
        ),
        4,
        Pace::Closed,
    ),
    (
        ("starts", "isolation: call\nstart: spawn", "def invoke(input_data):\n    return input_data\n"),
        4,
        Pace::Closed,
    ),
];

fn main() {
    support::print_machine();
    let only = support::argument("--only").unwrap_or_default();
    let rounds = support::argument("--rounds").and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.unwrap_or(if support::quick() { 1 } else { ROUNDS });
    let part = if support::quick() { PART / 4 } else { PART };
    let mut plugins = vec![QUICK];
    plugins.extend(NEIGHBOURS.iter().map(|(source, ..)| *source));
    let server = Served::start(&plugins);
    let quick = invoke(QUICK.0, "", r#"{"n": 1}"#);
    let mut caller = Load::connect(&server.address, CONNECTIONS);
    // Starts its worker.
    caller.run(&quick, Pace::Steady(PER_S), WARM, || {});
    // The first is nobody.
    let neighbours: Vec<_> = NEIGHBOURS.iter().filter(|(source, ..)| source.0.contains(&only)).collect();
    let mut figures = vec![[(); 3].map(|()| Samples::default()); neighbours.len() + 1];
    let mut failed = vec![0; neighbours.len() + 1];
    for round in 0..rounds {
        for index in order(neighbours.len() + 1, round) {
            let neighbour = index.checked_sub(1).map(|index| neighbours[index]);
            let tally = beside(&server, &mut caller, &quick, neighbour, part);
            failed[index] += tally.due() - tally.count(200);
            let latencies = tally.latencies(200, WARM);
            for (samples, part) in figures[index].iter_mut().zip([0.5, 0.99, 0.999]) {
                samples.push(latencies.quantile(part).as_secs_f64() * 1e6);
            }
        }
    }
    println!(
        "{PER_S} calls a second, us from when a call was due; {rounds} rounds of {part:?}, medians of the rounds"
    );
    println!(
        "{:<14} {:>9} {:>9} {:>9} {:>7}   over alone: {:>22} {:>24} {:>24}",
        "beside", "p50", "p99", "p99.9", "failed", "p50", "p99", "p99.9"
    );
    for (index, [p50, p99, p999]) in figures.iter().enumerate() {
        let name = index.checked_sub(1).map_or("nobody", |index| neighbours[index].0.0);
        let [alone50, alone99, alone999] = &figures[0];
        println!(
            "{name:<14} {:>9.0} {:>9.0} {:>9.0} {:>7}               {:>22} {:>24} {:>24}{}",
            p50.median(),
            p99.median(),
            p999.median(),
            failed[index],
            p50.over(alone50).to_string(),
            p99.over(alone99).to_string(),
            p999.over(alone999).to_string(),
            if p99.over(alone99).median() <= AIM { "" } else { "  above the aim" },
        );
    }
}

fn beside(
    server: &Served,
    caller: &mut Load,
    quick: &[u8],
    neighbour: Option<&Neighbour>,
    lasts: Duration,
) -> Tally {
    std::thread::scope(|scope| {
        let driven = neighbour.map(|((name, ..), callers, pace)| {
            let request = invoke(name, "", "{}");
            let mut load = Load::connect(&server.address, *callers);
            scope.spawn(move || load.run(&request, *pace, lasts, || {}))
        });
        let tally = caller.run(quick, Pace::Steady(PER_S), lasts, || {});
        if let Some(driven) = driven {
            let done = driven.join().expect("the load does not panic");
            assert!(!done.answers.is_empty(), "the neighbour does something");
        }
        tally
    })
}
