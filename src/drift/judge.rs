//! From counts to a verdict for each field, and from verdicts to a state. Pure.
//!
//! A field *exceeds* if one of its tests is significant among all tests of all fields (Holm), and the change is large enough
//! to matter (PSI). Significance alone finds every trifle once there are enough samples; PSI alone is mostly chance while
//! there are few. It is in *alert* if that is so again and again.

use serde::{Deserialize, Serialize};

use super::statistics::{chi_square, fisher, holm, jensen_shannon, psi, ranks, total};

/// Each slice of counts ends with three special bins: other, null, invalid.
const SPECIAL: usize = 3;
/// Of so many steps
const STEPS: u32 = 3;
/// so many have to exceed for an alert.
const STEPS_ALERT: u32 = 2;

/// What is asked of a change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// The chance that any field exceeds in a window in which nothing has changed.
    pub alpha: f64,
    /// PSI (nats) over all bins, special ones too.
    pub min_effect: f64,
    /// With fewer samples on either side nothing is said.
    pub min_samples: u32,
}

/// One field: counts in the same bins, `[regular.., other, null, invalid]`.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    pub baseline: &'a [u32],
    pub current: &'a [u32],
    /// At least 1: how much more counts vary than independent samples would ([`super::calibrate::dispersion`]).
    pub dispersion: f64,
}

/// What was found out about one field. What cannot be said is `None`, never 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub samples: u32,
    pub baseline_samples: u32,
    /// PSI (nats) over the values: regular bins and `other`. Nulls and invalid values are apart, as for everybody else.
    pub psi: Option<f64>,
    /// Jensen-Shannon distance in base 2 over the same bins.
    pub js: Option<f64>,
    /// PSI over all bins: what is held against [`Thresholds::min_effect`].
    pub effect: Option<f64>,
    /// The smallest adjusted p-value of the field's tests.
    pub pvalue: Option<f64>,
    pub tests: Vec<Test>,
    pub null_ratio: Option<f64>,
    pub new_category_ratio: Option<f64>,
    pub verdict: Verdict,
}

/// One test of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    pub name: &'static str,
    pub pvalue: f64,
    /// Holm's, over all tests of all fields that were compared together.
    pub adjusted: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Insufficient,
    Quiet,
    Exceeds,
}

/// How a field is. The number is that of the metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Insufficient,
    Ok,
    Warn,
    Alert,
}

/// The verdicts of the last steps, and the state that they make. Kept over a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    state: State,
    /// Whether each of the last steps exceeded, the newest in the lowest bit.
    exceeded: u8,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds { alpha: 0.01, min_effect: 0.1, min_samples: 200 }
    }
}

/// Judges fields that are watched together. The order is kept.
pub fn compare(fields: &[Compared<'_>], thresholds: &Thresholds) -> Vec<Comparison> {
    let mut comparisons: Vec<Comparison> = fields.iter().map(|field| measure(field, thresholds)).collect();
    let pvalues: Vec<f64> =
        comparisons.iter().flat_map(|comparison| &comparison.tests).map(|test| test.pvalue).collect();
    let adjusted = holm::adjusted(&pvalues);
    let tests = comparisons.iter_mut().flat_map(|comparison| &mut comparison.tests);
    tests.zip(adjusted).for_each(|(test, adjusted)| test.adjusted = adjusted);
    for comparison in &mut comparisons {
        decide(comparison, thresholds);
    }
    comparisons
}

/// All but what depends on the other fields.
fn measure(field: &Compared<'_>, thresholds: &Thresholds) -> Comparison {
    let (baseline, current) = (Counts::new(field.baseline), Counts::new(field.current));
    let enough = baseline.all.min(current.all) >= u64::from(thresholds.min_samples.max(1));
    let ratio = |part: u32| (current.all > 0).then(|| f64::from(part) / current.all as f64);
    let mut comparison = Comparison {
        samples: current.all.min(u32::MAX.into()) as u32,
        baseline_samples: baseline.all.min(u32::MAX.into()) as u32,
        psi: None,
        js: None,
        effect: None,
        pvalue: None,
        tests: Vec::new(),
        null_ratio: ratio(current.null),
        new_category_ratio: ratio(current.other),
        verdict: Verdict::Insufficient,
    };
    if enough {
        comparison.psi = psi::psi(baseline.values, current.values);
        comparison.js = jensen_shannon::distance_base2(baseline.values, current.values);
        comparison.effect = psi::psi(field.baseline, field.current);
        comparison.tests = tests(&baseline, &current, field.dispersion);
    }
    comparison
}

fn tests(baseline: &Counts<'_>, current: &Counts<'_>, dispersion: f64) -> Vec<Test> {
    let dispersion = if dispersion.is_finite() { dispersion.max(1.0) } else { 1.0 };
    let test = |name, pvalue| Test { name, pvalue, adjusted: 1.0 };
    let mut tests = Vec::new();
    let found = chi_square::two_sample_pooled(baseline.regular, current.regular).divided_by(dispersion);
    if found.degrees > 0 {
        tests.push(test("chi_square", found.pvalue));
    }
    if found.degrees > 1 {
        let z = ranks::rank_sum_z(baseline.regular, current.regular) / dispersion.sqrt();
        tests.push(test("rank_sum", super::statistics::special::normal_two_sided(z)));
    }
    // What is seen on neither side is no question, and must not make the others' answers weaker.
    for (name, then, now) in [
        ("other", baseline.other, current.other),
        ("null", baseline.null, current.null),
        ("invalid", baseline.invalid, current.invalid),
    ] {
        if then > 0 || now > 0 {
            let scaled = |count: f64| (count / dispersion).round() as u64;
            let pvalue = fisher::exact(
                scaled(then.into()),
                scaled(baseline.all as f64),
                scaled(now.into()),
                scaled(current.all as f64),
            );
            tests.push(test(name, pvalue));
        }
    }
    tests
}

fn decide(comparison: &mut Comparison, thresholds: &Thresholds) {
    let Some(effect) = comparison.effect else { return };
    let smallest = comparison.tests.iter().map(|test| test.adjusted).fold(1.0, f64::min);
    comparison.pvalue = Some(smallest);
    let exceeds = smallest < thresholds.alpha && effect >= thresholds.min_effect;
    comparison.verdict = if exceeds { Verdict::Exceeds } else { Verdict::Quiet };
}

/// One side, taken apart.
struct Counts<'a> {
    regular: &'a [u32],
    /// Regular bins and `other`.
    values: &'a [u32],
    other: u32,
    null: u32,
    invalid: u32,
    all: u64,
}

impl<'a> Counts<'a> {
    /// What is too short to have special bins has none.
    fn new(counts: &'a [u32]) -> Counts<'a> {
        let (regular, special) = counts.split_at(counts.len().saturating_sub(SPECIAL));
        let &[other, null, invalid] = special else {
            return Counts {
                regular: counts,
                values: counts,
                other: 0,
                null: 0,
                invalid: 0,
                all: total(counts),
            };
        };
        let values = &counts[..counts.len() - 2];
        Counts { regular, values, other, null, invalid, all: total(counts) }
    }
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Insufficient => "insufficient",
            State::Ok => "ok",
            State::Warn => "warn",
            State::Alert => "alert",
        }
    }

    /// As the metric has it.
    pub const fn as_number(self) -> u8 {
        match self {
            State::Insufficient => 0,
            State::Ok => 1,
            State::Warn => 2,
            State::Alert => 3,
        }
    }
}

impl Persistence {
    pub fn state(&self) -> State {
        self.state
    }

    /// The state after one more step. The first step that exceeds warns; [`STEPS_ALERT`] of the last [`STEPS`] alert; an
    /// alert ends after [`STEPS`] quiet steps in a row, so that one which comes and goes is one alert, and a warning after
    /// the same. A step without a verdict forgets what was before.
    pub fn step(&mut self, verdict: Verdict) -> State {
        self.exceeded = match verdict {
            Verdict::Insufficient => 0,
            Verdict::Quiet => self.exceeded << 1,
            Verdict::Exceeds => self.exceeded << 1 | 1,
        } & ((1 << STEPS) - 1);
        self.state = match (verdict, self.exceeded.count_ones()) {
            (Verdict::Insufficient, _) => State::Insufficient,
            (_, 0) => State::Ok,
            (_, exceeded) if exceeded >= STEPS_ALERT || self.state == State::Alert => State::Alert,
            _ => State::Warn,
        };
        self.state
    }
}
