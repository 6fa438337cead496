//! Streams of known character, judged window by window: how often does anything alarm while nothing changes, and how soon
//! after something has? Short in tests, long in `benches/drift_judge.rs`, which takes in this file.

use super::calibrate::{Dispersion, block_calls, dispersion};
use super::judge::{Compared, Persistence, State, Thresholds, Verdict, compare};
use super::statistics::special::normal_two_sided;
use super::statistics::{binning, chi_square, kolmogorov_smirnov, sorted};

const WINDOW: usize = 200;
const STEP: usize = 50;
/// What other tools take for drift.
const PSI_DRIFT: f64 = 0.1;
const KS_DRIFT: f64 = 0.05;
/// Calls after the baseline before a change.
pub const BEFORE: usize = 600;
/// A value that the baseline cannot have.
const NEW: f64 = 999.0;
const FIELDS: [Field; 10] = [
    Field::Normal,
    Field::Lognormal,
    Field::Poisson,
    Field::ZeroInflated,
    Field::Categories(3),
    Field::Categories(12),
    Field::Categories(60),
    Field::Nulls,
    Field::Uniform,
    Field::Boolean,
];

/// What the values of a field are like. All are made from one normal number each, so that all can depend on the past.
#[derive(Clone, Copy, PartialEq)]
enum Field {
    Normal,
    Lognormal,
    Poisson,
    ZeroInflated,
    /// So many, the k-th as frequent as `1 / k`.
    Categories(usize),
    /// Normal, 1 % of them null.
    Nulls,
    Uniform,
    Boolean,
}

#[derive(Clone, Copy)]
pub enum Change {
    /// By so many standard deviations.
    Moved(f64),
    /// So many of all values are null.
    Nulls(f64),
    /// So many are of a new category.
    New(f64),
}

/// One kind of stream.
#[derive(Clone, Copy)]
pub struct Setting {
    pub baseline: usize,
    /// After the baseline.
    pub calls: usize,
    /// What one value keeps of the one before it, 0..1 (AR(1)).
    pub keeps: f64,
    pub calibrated: bool,
    /// Of a field, after [`BEFORE`] calls.
    pub change: Option<(usize, Change)>,
    /// Ask the other tools' rules, too.
    pub others: bool,
}

/// What became of all streams of a kind.
#[derive(Default)]
pub struct Found {
    pub streams: usize,
    pub windows: usize,
    /// Windows in which a field exceeds, is in alert, has a large PSI, a small KS p-value.
    pub exceeding: usize,
    pub alarms: usize,
    pub large_psi: usize,
    pub small_ks: usize,
    /// Streams that ever had an alert.
    pub alarmed: usize,
    /// Calls from the change to the alert of the field that has changed.
    pub delays: Vec<usize>,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting { baseline: 500, calls: 2_200, keeps: 0.0, calibrated: true, change: None, others: false }
    }
}

impl Found {
    pub fn share(&self, windows: usize) -> f64 {
        windows as f64 / self.windows as f64
    }

    /// Of streams in which the change was found within so many calls.
    pub fn within(&self, calls: usize) -> f64 {
        self.delays.iter().filter(|&&delay| delay <= calls).count() as f64 / self.streams as f64
    }
}

/// Judges `streams` streams. The same seeds give the same streams.
pub fn run(setting: &Setting, seeds: std::ops::Range<u64>) -> Found {
    let mut found = Found::default();
    for seed in seeds {
        found.streams += 1;
        judge(setting, &mut fastrand::Rng::with_seed(seed), &mut found);
    }
    found
}

fn judge(setting: &Setting, random: &mut fastrand::Rng, found: &mut Found) {
    let samples: Vec<Vec<f64>> = (0..FIELDS.len()).map(|at| stream(setting, at, random)).collect();
    let watched: Vec<Watched> =
        FIELDS.iter().zip(&samples).map(|(field, samples)| Watched::new(*field, samples, setting)).collect();
    let mut states = [Persistence::default(); FIELDS.len()];
    let (mut alarmed, mut delay) = (false, None);
    for end in (WINDOW..=setting.calls).step_by(STEP) {
        let from = setting.baseline + end - WINDOW;
        let windows: Vec<&[f64]> = samples.iter().map(|samples| &samples[from..from + WINDOW]).collect();
        let counts: Vec<Vec<u32>> =
            watched.iter().zip(&windows).map(|(watched, window)| watched.count(window)).collect();
        let compared: Vec<Compared<'_>> = watched
            .iter()
            .zip(&counts)
            .map(|(watched, current)| Compared {
                baseline: &watched.baseline,
                current,
                ordered: watched.field.is_number(),
                dispersion: watched.dispersion,
            })
            .collect();
        let comparisons = compare(&compared, &Thresholds::default());
        found.windows += 1;
        found.exceeding +=
            usize::from(comparisons.iter().any(|comparison| comparison.verdict == Verdict::Exceeds));
        let alerts: Vec<bool> = states
            .iter_mut()
            .zip(&comparisons)
            .map(|(state, comparison)| state.step(comparison.verdict) == State::Alert)
            .collect();
        let any = alerts.contains(&true);
        found.alarms += usize::from(any);
        alarmed |= any;
        if setting.change.is_some_and(|(field, _)| end > BEFORE && alerts[field]) {
            delay = delay.or(Some(end - BEFORE));
        }
        if setting.others {
            let large = |psi: Option<f64>| psi.is_some_and(|psi| psi > PSI_DRIFT);
            found.large_psi += usize::from(comparisons.iter().any(|comparison| large(comparison.psi)));
            let small =
                watched.iter().zip(&windows).any(|(watched, window)| watched.pvalue(window) < KS_DRIFT);
            found.small_ks += usize::from(small);
        }
    }
    found.alarmed += usize::from(alarmed);
    found.delays.extend(delay);
}

/// All values of a field: those of the baseline, then the others. NaN: null.
fn stream(setting: &Setting, at: usize, random: &mut fastrand::Rng) -> Vec<f64> {
    let keeps = setting.keeps;
    let mut place = normal(random);
    (0..setting.baseline + setting.calls)
        .map(|call| {
            place = keeps * place + (1.0 - keeps * keeps).sqrt() * normal(random);
            let change = setting
                .change
                .filter(|(field, _)| *field == at && call >= setting.baseline + BEFORE)
                .map(|(_, change)| change);
            value(FIELDS[at], place, change, random)
        })
        .collect()
}

fn value(field: Field, place: f64, change: Option<Change>, random: &mut fastrand::Rng) -> f64 {
    let (place, nulls) = match change {
        Some(Change::Moved(by)) => (place + by, 0.0),
        Some(Change::Nulls(nulls)) => (place, nulls),
        Some(Change::New(share)) if random.f64() < share => return NEW,
        _ => (place, 0.01),
    };
    let below = || {
        let tail = normal_two_sided(place) / 2.0;
        if place > 0.0 { 1.0 - tail } else { tail }
    };
    match field {
        Field::Normal => place,
        Field::Lognormal => (0.9 * place).exp(),
        // Mean 3.
        Field::Poisson => nth(
            (0..30).scan((-3.0f64).exp(), |weight, k| {
                let this = *weight;
                *weight *= 3.0 / f64::from(k + 1);
                Some(this)
            }),
            below(),
        ),
        // 60 % zeros, else exponential, rounded so that there are ties.
        Field::ZeroInflated => match below() {
            zero if zero < 0.6 => 0.0,
            other => (((1.0 - other) / 0.4).ln().abs() * 500.0).round() / 100.0,
        },
        Field::Categories(count) => nth((1..=count).map(|k| 1.0 / k as f64), below()),
        Field::Nulls if random.f64() < nulls => f64::NAN,
        Field::Nulls => 10.0 + 2.0 * place,
        Field::Uniform => below(),
        Field::Boolean => f64::from(below() > 0.9),
    }
}

/// The first for which the weights up to it hold so much of all.
fn nth(weights: impl Iterator<Item = f64> + Clone, share: f64) -> f64 {
    let all: f64 = weights.clone().sum();
    let mut below = 0.0;
    let before = weights.take_while(|weight| {
        below += weight / all;
        below < share
    });
    before.count() as f64
}

/// Box and Muller.
fn normal(random: &mut fastrand::Rng) -> f64 {
    let (radius, angle) = (1.0 - random.f64(), random.f64());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

impl Field {
    fn is_number(self) -> bool {
        !matches!(self, Field::Categories(_) | Field::Boolean)
    }
}

/// A field with its baseline: bins as they are pinned.
struct Watched {
    field: Field,
    bins: Bins,
    baseline: Vec<u32>,
    /// For the other tools.
    sorted: Vec<f64>,
    dispersion: Dispersion,
}

enum Bins {
    Edges(Vec<f64>),
    Values(Vec<f64>),
}

impl Watched {
    fn new(field: Field, samples: &[f64], setting: &Setting) -> Watched {
        let samples = &samples[..setting.baseline];
        let sorted = sorted(samples);
        let mut values = sorted.clone();
        values.dedup();
        let bins = match field.is_number() && values.len() > binning::DISTINCT_MAX {
            true => Bins::Edges(binning::quantile_edges(samples, 10)),
            false => Bins::Values(values),
        };
        let mut watched =
            Watched { field, bins, baseline: Vec::new(), sorted, dispersion: Dispersion::default() };
        watched.baseline = watched.count(samples);
        if setting.calibrated {
            let blocks: Vec<Vec<u32>> =
                samples.chunks(block_calls(samples.len())).map(|block| watched.count(block)).collect();
            watched.dispersion = dispersion(&blocks);
        }
        watched
    }

    fn count(&self, samples: &[f64]) -> Vec<u32> {
        let regular = match &self.bins {
            Bins::Edges(edges) => edges.len() + 1,
            Bins::Values(values) => values.len(),
        };
        let mut counts = vec![0; regular + 3];
        for sample in samples {
            let bin = match &self.bins {
                _ if sample.is_nan() => regular + 1,
                Bins::Edges(edges) => edges.partition_point(|edge| edge < sample),
                Bins::Values(values) => {
                    values.binary_search_by(|value| value.total_cmp(sample)).unwrap_or(regular)
                }
            };
            counts[bin] += 1;
        }
        counts
    }

    /// What other tools ask: Kolmogorov and Smirnov about numbers, chi-square about the rest.
    fn pvalue(&self, window: &[f64]) -> f64 {
        if !self.field.is_number() {
            return chi_square::two_sample(&self.baseline, &self.count(window)).pvalue;
        }
        kolmogorov_smirnov::asymptotic(&self.sorted, window).map_or(1.0, |found| found.pvalue)
    }
}
