//! How often does drift's judge alarm while nothing changes, beside the rules that other tools have, and how soon does it
//! find what has changed? Streams with and without a memory of their past.
//!
//! `cargo bench --bench drift_judge [-- --quick]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use spanglass::drift::{calibrate, judge, statistics};

#[path = "../src/drift/simulation.rs"]
mod simulation;

use simulation::{BEFORE, Change, Field, Past, Setting, TAILS, run};

const STREAMS: u64 = 300;
const STREAMS_QUICK: u64 = 10;

fn main() {
    let streams =
        if std::env::args().any(|argument| argument == "--quick") { STREAMS_QUICK } else { STREAMS };
    clean(streams);
    changed(streams);
    hard(streams);
}

fn clean(streams: u64) {
    println!(
        "share of windows with any alarm, 10 clean fields, windows of 200 by steps of 50, {streams} streams"
    );
    println!(
        "{:>6} {:>9} {:>11} {:>9} {:>9} {:>10} {:>9} {:>11}",
        "keeps", "baseline", "calibrated", "windows", "alarm", "PSI > 0.1", "KS < .05", "streams ever"
    );
    for keeps in [0.0, 0.3, 0.5, 0.8, 0.95] {
        for (baseline, calibrated) in [(500, false), (500, true), (1_000, true)] {
            let found = run(
                &Setting {
                    baseline,
                    past: Past::Keeps(keeps),
                    calibrated,
                    others: true,
                    ..Setting::default()
                },
                0..streams,
            );
            let percent = |windows: usize| format!("{:.2} %", found.share(windows) * 100.0);
            println!(
                "{keeps:>6} {baseline:>9} {calibrated:>11} {:>9} {:>9} {:>10} {:>9} {:>9.1} %",
                found.windows,
                percent(found.alarms),
                percent(found.large_psi),
                percent(found.small_ks),
                found.alarmed as f64 / found.streams as f64 * 100.0
            );
        }
    }
}

fn changed(streams: u64) {
    println!("\nshare of streams in which a change is found within so many calls, baseline of 500");
    println!("{:>6} {:<28} {:>6} {:>6} {:>6} {:>6}", "keeps", "change", "200", "300", "500", "1000");
    for keeps in [0.0, 0.5, 0.8] {
        for (name, field, change) in [
            ("normal, by 0.3 sd", 0, Change::Moved(0.3)),
            ("normal, by 0.5 sd", 0, Change::Moved(0.5)),
            ("normal, by 1 sd", 0, Change::Moved(1.0)),
            ("lognormal, by 0.5 sd", 1, Change::Moved(0.5)),
            ("Poisson, by 0.5 sd", 2, Change::Moved(0.5)),
            ("12 categories, 5 % new", 5, Change::New(0.05)),
            ("1 % nulls become 8 %", 7, Change::Nulls(0.08)),
            ("1 % nulls become 12 %", 7, Change::Nulls(0.12)),
        ] {
            let change = Some((field, change));
            let found = run(
                &Setting { past: Past::Keeps(keeps), calls: BEFORE + 1_000, change, ..Setting::default() },
                0..streams,
            );
            let [a, b, c, d] = [200, 300, 500, 1_000].map(|calls| found.within(calls) * 100.0);
            println!("{keeps:>6} {name:<28} {a:>4.0} % {b:>4.0} % {c:>4.0} % {d:>4.0} %");
        }
    }
}

/// What is hard to know from a baseline of 500 calls.
fn hard(streams: u64) {
    const ONE: &[Field] = &[Field::Normal];
    const FEW: &[Field] = &[Field::Categories(5)];
    println!(
        "\nshare of windows with an alarm, of unsteady ones, and of streams in which 2 sd (or 20 % new) are found within 300 calls"
    );
    println!("{:<44} {:>8} {:>8} {:>8} {:>8}", "stream of one field", "alarm", "long", "unsteady", "found");
    let row = |name: &str, setting: Setting, change: Option<Change>| {
        let clean = run(&Setting { calls: 5_000, ..setting }, 0..streams);
        let long = run(&Setting { calls: 5_000, window: (2_000, 250), ..setting }, 0..streams);
        let found = change.map(|change| {
            let change = Some((0, change));
            run(&Setting { calls: BEFORE + 300, change, ..setting }, 0..streams).within(300)
        });
        println!(
            "{name:<44} {:>6.2} % {:>6.2} % {:>6.0} % {:>8}",
            clean.share(clean.alarms) * 100.0,
            long.share(long.alarms) * 100.0,
            clean.share(clean.unsteady) * 100.0,
            found.map_or("-".into(), |found| format!("{:.0} %", found * 100.0))
        );
    };
    for (name, past) in [
        ("independent", Past::Keeps(0.0)),
        ("keeps 0.8", Past::Keeps(0.8)),
        ("keeps 0.95", Past::Keeps(0.95)),
        ("batches of 25, half of the variance", Past::Batches(25, 0.5)),
        ("batches of 100, a fifth of the variance", Past::Batches(100, 0.2)),
        ("batches of 100, half of the variance", Past::Batches(100, 0.5)),
        ("runs of 10", Past::Batches(10, 1.0)),
        ("runs of 50", Past::Batches(50, 1.0)),
        ("wave of 200", Past::Wave(200)),
        ("wave of 500", Past::Wave(500)),
        ("wave of 1,000", Past::Wave(1_000)),
    ] {
        row(name, Setting { fields: ONE, past, ..Setting::default() }, Some(Change::Moved(2.0)));
        let name = format!("5 categories, {name}");
        row(&name, Setting { fields: FEW, past, ..Setting::default() }, Some(Change::New(0.2)));
    }
    row(
        "10 fields of names with long tails",
        Setting { fields: TAILS, ..Setting::default() },
        Some(Change::New(0.2)),
    );
    row("a counter", Setting { fields: &[Field::Counter], ..Setting::default() }, None);
}
