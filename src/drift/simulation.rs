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
/// Names pinned at most.
const NAMES_MAX: usize = 63;
/// Fields of every sort.
pub const MIXED: &[Field] = &[
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

/// Names with long tails: most of what is seen is seen once.
pub const TAILS: &[Field] = &[
    Field::Zipf(1.6, 1_000),
    Field::Zipf(1.3, 200),
    Field::Zipf(1.6, 200),
    Field::Zipf(1.05, 200),
    Field::Zipf(2.0, 1_000),
    Field::Zipf(1.8, 1_000),
    Field::Zipf(1.4, 300),
    Field::Zipf(1.0, 60),
    Field::Zipf(1.3, 100),
    Field::Zipf(1.6, 100),
];

/// What the values of a field are like. All are made from one normal number each, so that all can depend on the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field {
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
    /// So many names, the k-th as frequent as `1 / k` to this power.
    Zipf(f64, usize),
    /// One more with each call.
    Counter,
}

/// What a value has from those before it. The variance is 1 whatever it is.
#[derive(Clone, Copy, Debug)]
pub enum Past {
    /// So much of the one before (AR(1)), 0..1.
    Keeps(f64),
    /// Calls come in batches of so many, which share so much of the variance: 1 are runs of one value.
    Batches(usize, f64),
    /// Half of the variance is a wave of so many calls: a day and a night.
    Wave(usize),
}

#[derive(Clone, Copy, Debug)]
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
    pub fields: &'static [Field],
    pub past: Past,
    /// Of a window, and the calls between two.
    pub window: (usize, usize),
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
    /// Windows in which the baseline of a field is called unsteady.
    pub unsteady: usize,
    pub large_psi: usize,
    pub small_ks: usize,
    /// Streams that ever had an alert.
    pub alarmed: usize,
    /// Calls from the change to the alert of the field that has changed.
    pub delays: Vec<usize>,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            baseline: 500,
            calls: 2_200,
            fields: MIXED,
            past: Past::Keeps(0.0),
            window: (WINDOW, STEP),
            calibrated: true,
            change: None,
            others: false,
        }
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
    let (fields, (window, step)) = (setting.fields, setting.window);
    let samples: Vec<Vec<f64>> = (0..fields.len()).map(|at| stream(setting, at, random)).collect();
    let watched: Vec<Watched> =
        fields.iter().zip(&samples).map(|(field, samples)| Watched::new(*field, samples, setting)).collect();
    let mut states = vec![Persistence::default(); fields.len()];
    let (mut alarmed, mut delay) = (false, None);
    for end in (window..=setting.calls).step_by(step) {
        let from = setting.baseline + end - window;
        let windows: Vec<&[f64]> = samples.iter().map(|samples| &samples[from..from + window]).collect();
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
        found.unsteady += usize::from(comparisons.iter().any(|comparison| comparison.unsteady));
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
    let names = setting.fields[at].names();
    let (mut before, start) = (normal(random), random.usize(..1_000_000));
    (0..setting.baseline + setting.calls)
        .map(|call| {
            let place = match setting.past {
                Past::Keeps(keeps) => {
                    before = keeps * before + (1.0 - keeps * keeps).sqrt() * normal(random);
                    before
                }
                Past::Batches(calls, shared) => {
                    if (start + call).is_multiple_of(calls) {
                        before = normal(random);
                    }
                    shared.sqrt() * before + (1.0 - shared).sqrt() * normal(random)
                }
                Past::Wave(calls) => {
                    let wave = (std::f64::consts::TAU * (start + call) as f64 / calls as f64).sin();
                    wave + 0.5f64.sqrt() * normal(random)
                }
            };
            let change = setting
                .change
                .filter(|(field, _)| *field == at && call >= setting.baseline + BEFORE)
                .map(|(_, change)| change);
            match setting.fields[at] {
                Field::Counter => call as f64,
                field => value(field, &names, place, change, random),
            }
        })
        .collect()
}

fn value(field: Field, names: &[f64], place: f64, change: Option<Change>, random: &mut fastrand::Rng) -> f64 {
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
        Field::Zipf(..) => names.partition_point(|share| *share < below()) as f64,
        Field::Counter => f64::NAN,
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
    /// Of names with a long tail: which share of all values the names up to each have.
    fn names(self) -> Vec<f64> {
        let Field::Zipf(power, names) = self else { return Vec::new() };
        let weights = (1..=names).map(|k| (k as f64).powf(-power));
        let all: f64 = weights.clone().sum();
        weights
            .scan(0.0, |sum, weight| {
                *sum += weight / all;
                Some(*sum)
            })
            .collect()
    }

    fn is_number(self) -> bool {
        !matches!(self, Field::Categories(_) | Field::Boolean | Field::Zipf(..))
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
            false => Bins::Values(commonest(values, &sorted)),
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

/// As many as are pinned.
fn commonest(mut values: Vec<f64>, sorted: &[f64]) -> Vec<f64> {
    let count =
        |value: &f64| sorted.partition_point(|one| one <= value) - sorted.partition_point(|one| one < value);
    values.sort_by_key(|value| std::cmp::Reverse(count(value)));
    values.truncate(NAMES_MAX);
    values.sort_by(f64::total_cmp);
    values
}
