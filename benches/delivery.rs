//! What the state of the collector does to calls: p50, p99 and p99.9 at a steady pace, measured from the moment at
//! which each call was due, with a collector that takes everything against none at all, one that is gone, one that never
//! answers and one that says 503. A server for each, driven in turns; the median of the rounds' ratios.
//!
//! `cargo bench --bench delivery [-- --quick | --rounds N]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::time::Duration;

mod support;

use support::collector::{self, Collector};
use support::open_loop::{Load, Pace, invoke};
use support::order;
use support::served::{Served, Source};

const ROUNDS: usize = 11;
const PART: Duration = Duration::from_secs(5);
const WARM: Duration = Duration::from_millis(300);
/// Well below what two processors do, so that what is measured is not the queue before them.
const PER_S: f64 = 400.0;
const CONNECTIONS: usize = 64;
/// What is hoped for, of the p99.
const AIM: f64 = 1.05;
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// A line that it prints, and the one that every call ends with.
const PLUGIN: Source<'_> =
    ("echo", "", "def invoke(input_data):\n    print('hello')\n    return input_data\n");

fn main() {
    if collector::main_if_asked() {
        return;
    }
    support::print_machine();
    let rounds = support::argument("--rounds").and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.unwrap_or(if support::quick() { 1 } else { ROUNDS });
    let part = if support::quick() { PART / 4 } else { PART };
    let collector = Collector::start();
    let states = [
        ("takes everything", Some(collector.url.clone())),
        ("none", None),
        ("gone", Some("http://127.0.0.1:1".to_owned())),
        ("never answers", Some(format!("{}/hanging", collector.url))),
        ("503", Some(format!("{}/unavailable", collector.url))),
    ];
    let request = invoke(PLUGIN.0, "", r#"{"n": 1}"#);
    let mut rigs: Vec<(Served, Load)> = states
        .iter()
        .map(|(_, endpoint)| {
            let server = Served::exporting(&[PLUGIN], endpoint.as_deref());
            let mut load = Load::connect(&server.address, CONNECTIONS);
            // Starts its worker.
            load.run(&request, Pace::Steady(PER_S), WARM, || {});
            (server, load)
        })
        .collect();
    // By state and quantile, a figure a round.
    let mut figures = vec![[(); QUANTILES.len()].map(|()| Vec::new()); states.len()];
    let mut failed = vec![0; states.len()];
    for round in 0..rounds {
        for index in order(states.len(), round) {
            let tally = rigs[index].1.run(&request, Pace::Steady(PER_S), part, || {});
            failed[index] += tally.due() - tally.count(200);
            let latencies = tally.latencies(200, WARM);
            for (figures, (_, quantile)) in figures[index].iter_mut().zip(QUANTILES) {
                figures.push(latencies.quantile(quantile).as_secs_f64() * 1e6);
            }
        }
    }
    println!(
        "{PER_S} calls/s, {rounds} rounds of {part:?}; median of the ratios to a collector that takes everything"
    );
    println!("(aim: p99 at most {AIM}), in parentheses the median in microseconds\n");
    println!("| collector | p50 | p99 | p99.9 | failed | unaccounted |");
    println!("|---|---|---|---|---|---|");
    for (index, (name, _)) in states.iter().enumerate() {
        let cells = (0..QUANTILES.len()).map(|quantile| {
            let (own, base) = (&figures[index][quantile], &figures[0][quantile]);
            let ratios = own.iter().zip(base).map(|(own, base)| own / base).collect();
            format!("{:.2} ({:.0})", median(ratios), median(own.clone()))
        });
        let cells = cells.collect::<Vec<_>>().join(" | ");
        println!("| {name} | {cells} | {} | {} |", failed[index], unaccounted(&rigs[index].0));
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// produced + recovered - exported - queued - spooled - dropped, of traces and logs, in one scrape.
fn unaccounted(server: &Served) -> f64 {
    let text = server.get("/metrics");
    let term = |line: &str| {
        let (series, value) = line.strip_prefix("spanglass_telemetry_")?.rsplit_once(' ')?;
        let sign = match series.split_once('{')?.0 {
            "produced_total" | "recovered_total" => 1.0,
            "exported_total" | "dropped_total" | "queued_records" | "spooled_records" => -1.0,
            _ => return None,
        };
        value.parse::<f64>().ok().map(|value| sign * value)
    };
    text.lines().filter_map(term).sum()
}
