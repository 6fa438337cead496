//! What the benches share: samples and their ratios, CPU time, a host to measure, a collector.
//!
//! Every bench prints ratios of things that it measured side by side in one run, in turns, so that whatever
//! else the machine does hits all of them alike. Nothing here judges: absolute times belong to a machine.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::time::Duration;

pub mod collector;
pub mod cpu;
pub mod hosts;
pub mod instant;
pub mod open_loop;
pub mod served;

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// `--quick`: a tenth of the work, to see that a bench works. Its numbers mean nothing.
pub fn quick() -> bool {
    has_flag("--quick")
}

pub fn has_flag(flag: &str) -> bool {
    std::env::args().any(|argument| argument == flag)
}

/// The argument after `name`.
pub fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

pub fn scaled(count: usize) -> usize {
    if quick() { count.div_ceil(10) } else { count }
}

/// What a number belongs to. Names no machine.
pub fn print_machine() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let load = read("/proc/loadavg");
    println!(
        "{} cores, Linux {}, load {}{}",
        std::thread::available_parallelism().map_or(0, usize::from),
        read("/proc/sys/kernel/osrelease").split('-').next().unwrap_or_default(),
        load.split(' ').next().unwrap_or_default(),
        if quick() { ", QUICK: numbers mean nothing" } else { "" },
    );
}

/// One figure of one variant, once a round.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub fn iter(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied()
    }

    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
    }

    /// Round by round: what was measured one after the other is compared, and nothing else.
    pub fn over(&self, base: &Samples) -> Samples {
        Samples(self.0.iter().zip(&base.0).map(|(sample, base)| sample / base).collect())
    }
}

/// `median (least to most)`.
impl std::fmt::Display for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = match self.median().abs() {
            ..10.0 => 3,
            10.0..1000.0 => 1,
            _ => 0,
        };
        let text = format!("{:.digits$} ({:.digits$} to {:.digits$})", self.median(), self.min(), self.max());
        f.pad(&text)
    }
}

/// The order of the variants in a round: turned from round to round, so that none is always first.
pub fn order(variants: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..variants).map(move |place| (place + round) % variants)
}
