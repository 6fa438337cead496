//! Fisher's exact test of a 2x2 table: is what is rare as frequent on both sides? It is right however small the counts
//! are, so that a new category or a few nulls are seen at once.

use super::special::ln_factorial;

/// Tables that are as likely as the one seen, but for rounding, belong to the tail.
const AS_LIKELY: f64 = 1e-7;

/// Two-sided p-value of `reference` of `references` against `current` of `currents`: the sum of the probabilities of all
/// tables with the same margins that are no more likely than this one. 1 if a side is empty. Each count is taken as at
/// most its total. Time: the smaller margin. Source: `scipy.stats.fisher_exact`, R's `fisher.test`.
pub fn exact(reference: u64, references: u64, current: u64, currents: u64) -> f64 {
    let (reference, current) = (reference.min(references), current.min(currents));
    let table = Hypergeometric { marked: reference + current, drawn: currents, all: references + currents };
    let (low, high) = table.range();
    if low == high {
        return 1.0;
    }
    let seen = table.ln_probability(current);
    let bound = seen + AS_LIKELY;
    let mode = table.mode();
    // The far end of the other tail that is no more likely than what was seen. Probabilities fall on both sides of the mode.
    let (below, above) = if current <= mode {
        (Some(current), partition(mode, high, |value| table.ln_probability(value) <= bound))
    } else {
        (partition_down(low, mode, |value| table.ln_probability(value) <= bound), Some(current))
    };
    let lower = below.map_or(0.0, |at| table.tail(at, low));
    let upper = above.map_or(0.0, |at| table.tail(at, high));
    (lower + upper).min(1.0)
}

/// Of `all`, `marked` are of the rare kind; how many of them are among those `drawn`?
struct Hypergeometric {
    marked: u64,
    drawn: u64,
    all: u64,
}

impl Hypergeometric {
    fn range(&self) -> (u64, u64) {
        ((self.marked + self.drawn).saturating_sub(self.all), self.marked.min(self.drawn))
    }

    fn mode(&self) -> u64 {
        let (low, high) = self.range();
        let mode = (u128::from(self.marked) + 1) * (u128::from(self.drawn) + 1) / (u128::from(self.all) + 2);
        u64::try_from(mode).unwrap_or(u64::MAX).clamp(low, high)
    }

    fn ln_probability(&self, value: u64) -> f64 {
        ln_choose(self.marked, value) + ln_choose(self.all - self.marked, self.drawn - value)
            - ln_choose(self.all, self.drawn)
    }

    /// The sum from `from` outwards to `end`, by the ratio of neighbours: terms only become smaller.
    fn tail(&self, from: u64, end: u64) -> f64 {
        let unmarked = self.all - self.marked;
        let (mut at, mut term, mut sum) = (from, 1.0, 1.0);
        while at != end && term > sum * f64::EPSILON {
            // From `value` to `value + 1`; the other way the ratio is turned over.
            let value = at.min(if end > at { at } else { at - 1 });
            let ratio = ((self.marked - value) as f64 * (self.drawn - value) as f64)
                / ((value + 1) as f64 * (unmarked + value + 1 - self.drawn) as f64);
            term *= if end > at { ratio } else { 1.0 / ratio };
            sum += term;
            at = if end > at { at + 1 } else { at - 1 };
        }
        self.ln_probability(from).exp() * sum
    }
}

fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// The first of `low..=high` for which it holds, given that it then holds for all after it.
fn partition(low: u64, high: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    let (mut from, mut to) = (low, high + 1);
    while from < to {
        let middle = from + (to - from) / 2;
        if holds(middle) { to = middle } else { from = middle + 1 }
    }
    (from <= high).then_some(from)
}

/// The last of `low..=high` for which it holds, given that it holds for all before it.
fn partition_down(low: u64, high: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    partition(0, high - low, |distance| holds(high - distance)).map(|distance| high - distance)
}
