//! From counts to a verdict for each field, and from verdicts to a state. Pure.
//!
//! A field *exceeds* if one of its tests is significant among all tests of all fields (Holm), and the change is large enough
//! to matter (PSI). Significance alone finds every trifle once there are enough samples; PSI alone is mostly chance while
//! there are few. It is in *alert* if that is so again and again.

use serde::{Deserialize, Serialize};

use super::bins::SPECIAL;
use super::calibrate::Dispersion;
use super::statistics::chi_square::{ChiSquare, Order};
use super::statistics::special::normal_two_sided;
use super::statistics::{chi_square, fisher, holm, jensen_shannon, psi, ranks, total};

/// Of so many steps
const STEPS: u32 = 3;
/// so many have to exceed for an alert.
const STEPS_ALERT: u32 = 2;
/// Tests that each field has about.
const FIELD_TESTS: usize = 2;

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
    /// What is held against [`Thresholds::min_effect`]: PSI over all bins; of names, over the cells that are tested, or of
    /// what is new beyond what was to be expected, whichever is more.
    pub effect: Option<f64>,
    /// The smallest adjusted p-value of the field's tests, times [`Thresholds::looks`]: what is held against
    /// [`Thresholds::alpha`].
    pub pvalue: Option<f64>,
    pub tests: Vec<Test>,
    pub null_ratio: Option<f64>,
    pub new_category_ratio: Option<f64>,
    /// There are enough samples, and yet nothing can be said: the baseline varies so much within itself, or only ever grows,
    /// that even a window which has nothing in common with it would be no surprise.
    pub unsteady: bool,
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
    // As the smallest p-value of all would have to be.
    let decisive =
        thresholds.alpha / f64::from(thresholds.looks.max(1)) / (FIELD_TESTS * fields.len().max(1)) as f64;
    let mut comparisons: Vec<Comparison> =
        fields.iter().map(|field| measure(field, thresholds, decisive)).collect();
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
fn measure(field: &Compared<'_>, thresholds: &Thresholds, decisive: f64) -> Comparison {
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
        unsteady: false,
        verdict: Verdict::Insufficient,
    };
    if enough {
        let tests = tests(&baseline, &current, field);
        comparison.unsteady = is_unsteady(&baseline, &current, field, &tests, decisive);
        if !comparison.unsteady {
            comparison.psi = psi::psi(baseline.values, current.values);
            comparison.js = jensen_shannon::distance_base2(baseline.values, current.values);
            comparison.effect = effect(&baseline, &current, field);
            comparison.tests = tests;
        }
    }
    comparison
}

fn tests(baseline: &Split<'_>, current: &Split<'_>, field: &Compared<'_>) -> Vec<Test> {
    let test = |name, pvalue| Test { name, pvalue, adjusted: 1.0 };
    let mut tests = Vec::new();
    let dispersion = &field.dispersion;
    let found = chi_square(baseline, current.values, field);
    if found.degrees > 0 {
        tests.push(test("chi_square", found.pvalue));
    }
    if field.ordered && found.degrees > 1 {
        tests.push(test("rank_sum", rank_sum(baseline.regular, current.regular, dispersion)));
    }
    if current.other > 0 {
        tests.push(test("other", new_values(baseline, current.other, current.all, dispersion)));
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

fn chi_square(baseline: &Split<'_>, current: &[u32], field: &Compared<'_>) -> ChiSquare {
    let (then, now) = field.named(baseline, current);
    let order = if field.ordered { Order::Given } else { Order::ByCount };
    chi_square::two_sample_pooled(&then, &now, order).divided_by(field.dispersion.values)
}

fn rank_sum(baseline: &[u32], current: &[u32], dispersion: &Dispersion) -> f64 {
    normal_two_sided(ranks::rank_sum_z(baseline, current) / dispersion.place.max(1.0).sqrt())
}

/// Are there more new values than are to be expected? Fewer are no question.
fn new_values(baseline: &Split<'_>, new: u32, all: u64, dispersion: &Dispersion) -> f64 {
    let (expected, certainty) = baseline.expected_other(dispersion);
    let (now, all) = (f64::from(new), all as f64);
    if now / all <= expected / baseline.all as f64 {
        return 1.0;
    }
    rare((expected * certainty, baseline.all as f64 * certainty), (now, all), dispersion.other)
}

/// How large the change is, whether or not it is chance.
fn effect(baseline: &Split<'_>, current: &Split<'_>, field: &Compared<'_>) -> Option<f64> {
    if field.ordered {
        return psi::psi(field.baseline, field.current);
    }
    let (then, now) = field.named(baseline, current.values);
    let pooled = chi_square::pooled(&then, &now, Order::ByCount);
    let side = |of: fn(&(f64, f64)) -> f64, split: &Split<'_>| -> Vec<u32> {
        // What is more than a u32 becomes the largest one.
        pooled.iter().map(|cell| of(cell) as u32).chain([split.null, split.invalid]).collect()
    };
    let shown = psi::psi(&side(|cell| cell.0, baseline), &side(|cell| cell.1, current))?;
    let expected = baseline.expected_other(&field.dispersion).0 / baseline.all as f64 * current.all as f64;
    let new = (f64::from(current.other) - expected).max(0.0).round() as u32;
    let all = u32::try_from(current.all).unwrap_or(u32::MAX);
    Some(shown.max(psi::psi(&[1, 0], &[all - new.min(all), new])?))
}

/// Whether not even a window of as many samples that has nothing in common with the baseline could exceed.
/// Nulls and invalid values have a dispersion of their own: what they say stands.
fn is_unsteady(
    baseline: &Split<'_>,
    current: &Split<'_>,
    field: &Compared<'_>,
    tests: &[Test],
    decisive: f64,
) -> bool {
    let dispersion = &field.dispersion;
    if !dispersion.grows && dispersion.values.max(dispersion.place).max(dispersion.other) <= 1.0 {
        return false;
    }
    if tests.iter().any(|test| ["null", "invalid"].contains(&test.name) && test.pvalue < decisive) {
        return false;
    }
    let all = u32::try_from(current.all).unwrap_or(u32::MAX);
    let mut apart = vec![0; baseline.values.len()];
    let mut at_an_end = vec![0; baseline.regular.len()];
    if let (Some(other), Some(last)) = (apart.last_mut(), at_an_end.last_mut()) {
        (*other, *last) = (all, all);
    }
    let mut least =
        chi_square(baseline, &apart, field).pvalue.min(new_values(baseline, all, current.all, dispersion));
    if field.ordered {
        let highest = rank_sum(baseline.regular, &at_an_end, dispersion);
        at_an_end.reverse();
        least = least.min(highest).min(rank_sum(baseline.regular, &at_an_end, dispersion));
    }
    dispersion.grows || least >= decisive
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

impl Compared<'_> {
    /// The values of both sides, as they are tested: names that are too rare to say anything are one with `other`, and where
    /// there are new values, so are those that the baseline has from a single run of calls: it could as well have had others.
    fn named(&self, baseline: &Split<'_>, current: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let run = self.dispersion.run();
        let open = run > 1.0 && current.last().is_some_and(|&other| other > 0);
        chi_square::with_rest(baseline.values, current, |count| {
            (!self.ordered && count < chi_square::NAMED_MIN) || (open && runs(count, run) <= 1.0)
        })
    }
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
    /// that less certain than a count: its variance is `once + 2 twice`. The second number says how much less. What
    /// depends on others is seen once in a whole run of calls.
    fn expected_other(&self, dispersion: &Dispersion) -> (f64, f64) {
        let run = dispersion.run();
        let seen = |&&count: &&u32, times: f64| count > 0 && runs(count, run) == times;
        let once = self.regular.iter().filter(|count| seen(count, 1.0));
        let (runs, calls) = (once.clone().count() as f64, once.map(|&count| f64::from(count)).sum::<f64>());
        let twice = self.regular.iter().filter(|count| seen(count, 2.0)).count() as f64;
        (f64::from(self.other) + calls, (runs + 1.0) / (runs + 1.0 + 2.0 * twice))
    }
}

/// In how many runs of calls so many were seen.
fn runs(count: u32, run: f64) -> f64 {
    (f64::from(count) / run).round().max(1.0)
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
