//! From counts to a verdict for each field, and from verdicts to a state. Pure.
//!
//! A field *exceeds* if one of its tests is significant among all tests of all fields (Holm), and the change is large enough
//! to matter (PSI). Significance alone finds every trifle once there are enough samples; PSI alone is mostly chance while
//! there are few. It is in *alert* if that is so again and again.

use serde::{Deserialize, Serialize};

use super::bins::SPECIAL;
use super::calibrate::Dispersion;
use super::statistics::chi_square::Order;
use super::statistics::special::normal_two_sided;
use super::statistics::{chi_square, fisher, holm, jensen_shannon, psi, ranks, total};

/// Of so many steps
const STEPS: u32 = 3;
/// so many have to exceed for an alert.
const STEPS_ALERT: u32 = 2;

/// What is asked of a change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// The chance that any field exceeds in any of the windows that a call is in, if nothing has changed.
    pub alpha: f64,
    /// PSI (nats) over all bins, special ones too.
    pub min_effect: f64,
    /// With fewer samples on either side nothing is said.
    pub min_samples: u32,
    /// In how many windows each call is looked at: a change by chance has as many chances to be found. 200 calls by steps of 50
    /// and 2,000 by 250 make 12; two files that are compared once, 1.
    #[serde(skip)]
    pub looks: u32,
}

/// One field: counts in the same bins, `[regular.., other, null, invalid]`.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    pub baseline: &'a [u32],
    pub current: &'a [u32],
    /// The regular bins are in the order of the numbers in them. Categories have no order, not even that of their counts: the
    /// commonest are so partly by chance, and later less common.
    pub ordered: bool,
    /// How much more the baseline's counts vary than those of independent samples.
    pub dispersion: Dispersion,
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
    /// The smallest adjusted p-value of the field's tests, times [`Thresholds::looks`]: what is held against
    /// [`Thresholds::alpha`].
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
        Thresholds { alpha: 0.01, min_effect: 0.1, min_samples: 200, looks: 12 }
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
    let (baseline, current) = (Split::new(field.baseline), Split::new(field.current));
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
        comparison.tests = tests(&baseline, &current, field);
    }
    comparison
}

fn tests(baseline: &Split<'_>, current: &Split<'_>, field: &Compared<'_>) -> Vec<Test> {
    let test = |name, pvalue| Test { name, pvalue, adjusted: 1.0 };
    let mut tests = Vec::new();
    let dispersion = &field.dispersion;
    let order = if field.ordered { Order::Given } else { Order::ByCount };
    let found = chi_square::two_sample_pooled(baseline.values, current.values, order);
    let found = found.divided_by(dispersion.values);
    if found.degrees > 0 {
        tests.push(test("chi_square", found.pvalue));
    }
    if field.ordered && found.degrees > 1 {
        let z = ranks::rank_sum_z(baseline.regular, current.regular) / dispersion.place.max(1.0).sqrt();
        tests.push(test("rank_sum", normal_two_sided(z)));
    }
    if current.other > 0 {
        let (expected, certainty) = baseline.expected_other();
        let now = (current.other.into(), current.all as f64);
        let pvalue = rare((expected * certainty, baseline.all as f64 * certainty), now, dispersion.other);
        tests.push(test("other", pvalue));
    }
    // What is seen on neither side is no question, and must not make the others' answers weaker.
    for (name, then, now) in
        [("null", baseline.null, current.null), ("invalid", baseline.invalid, current.invalid)]
    {
        if then > 0 || now > 0 {
            let (then, now) = ((then.into(), baseline.all as f64), (now.into(), current.all as f64));
            tests.push(test(name, rare(then, now, dispersion.missing)));
        }
    }
    tests
}

/// Fisher's exact test of two counts, each of so many, as if each sample that depends on others were only a part of one.
fn rare(then: (f64, f64), now: (f64, f64), dispersion: f64) -> f64 {
    let scaled = |count: f64| (count / dispersion.max(1.0)).round() as u64;
    fisher::exact(scaled(then.0), scaled(then.1), scaled(now.0), scaled(now.1))
}

fn decide(comparison: &mut Comparison, thresholds: &Thresholds) {
    let Some(effect) = comparison.effect else { return };
    let smallest = comparison.tests.iter().map(|test| test.adjusted).fold(1.0, f64::min);
    let pvalue = (smallest * f64::from(thresholds.looks.max(1))).min(1.0);
    comparison.pvalue = Some(pvalue);
    let exceeds = pvalue < thresholds.alpha && effect >= thresholds.min_effect;
    comparison.verdict = if exceeds { Verdict::Exceeds } else { Verdict::Quiet };
}

/// One side, taken apart.
pub(super) struct Split<'a> {
    pub regular: &'a [u32],
    /// Regular bins and `other`.
    pub values: &'a [u32],
    pub other: u32,
    pub null: u32,
    pub invalid: u32,
    pub all: u64,
}

impl<'a> Split<'a> {
    /// What is too short to have special bins has none.
    pub fn new(counts: &'a [u32]) -> Split<'a> {
        let all = total(counts);
        let (regular, special) = counts.split_at(counts.len().saturating_sub(SPECIAL));
        match *special {
            [other, null, invalid] => {
                Split { regular, values: &counts[..=regular.len()], other, null, invalid, all }
            }
            _ => Split { regular: counts, values: counts, other: 0, null: 0, invalid: 0, all },
        }
    }

    /// How many of this side, from which the bins were made, would be in `other` had the bins been made from another: each
    /// value that was seen once would be new beside the rest of its side (Good 1953). Values that were seen twice make
    /// that less certain than a count: its variance is `once + 2 twice`. The second number says how much less.
    fn expected_other(&self) -> (f64, f64) {
        let seen = |times: u32| self.regular.iter().filter(|&&count| count == times).count() as f64;
        let (once, twice) = (seen(1), seen(2));
        (f64::from(self.other) + once, (once + 1.0) / (once + 1.0 + 2.0 * twice))
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

    /// The state after one more step. The first step that exceeds warns; two of the last three alert; an
    /// alert ends after three quiet steps in a row, so that one which comes and goes is one alert, and a warning after
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

#[cfg(test)]
mod tests;
