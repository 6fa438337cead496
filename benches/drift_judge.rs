//! How often does drift's judge alarm while nothing changes, beside the rules that other tools have, and how soon does it
//! find what has changed? Streams with and without a memory of their past.
//!
//! `cargo bench --bench drift_judge [-- --quick]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use spanglass::drift::{calibrate, judge, statistics};

#[path = "../src/drift/simulation.rs"]
mod simulation;

use simulation::{BEFORE, Change, Setting, run};

const STREAMS: u64 = 300;
const STREAMS_QUICK: u64 = 10;

fn main() {
    let streams =
        if std::env::args().any(|argument| argument == "--quick") { STREAMS_QUICK } else { STREAMS };
    clean(streams);
    changed(streams);
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
            let found =
                run(&Setting { baseline, keeps, calibrated, others: true, ..Setting::default() }, 0..streams);
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
            let found =
                run(&Setting { keeps, calls: BEFORE + 1_000, change, ..Setting::default() }, 0..streams);
            let [a, b, c, d] = [200, 300, 500, 1_000].map(|calls| found.within(calls) * 100.0);
            println!("{keeps:>6} {name:<28} {a:>4.0} % {b:>4.0} % {c:>4.0} % {d:>4.0} %");
        }
    }
}
