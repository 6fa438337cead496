//! How much more do counts vary than those of independent samples would? Calls often depend on those before them: then two
//! stretches of one stream that did not change differ more than tests expect. The baseline's own blocks tell how much.
//!
//! The variance of a sum over `w` calls, divided by what it would be for independent ones, is `V(w)`. It grows with `w` up to
//! the factor that is sought. Short blocks do not show all of it, of long ones there are too few, so blocks are doubled until
//! they are a few times longer than what they show (`settled`), and what is not known for lack of blocks is added
//! (`unsure`). Where nothing shows, the factor is exactly 1: calibration costs independent streams nothing.

use serde::{Deserialize, Serialize};

use super::judge::Split;
use super::statistics::chi_square::table;
use super::statistics::special::chi_square_tail;
use super::statistics::total;

/// Calls of the smallest blocks.
const BLOCK_CALLS_MIN: usize = 5;
/// Blocks of a baseline at most.
const BLOCKS_MAX: usize = 200;
/// With fewer blocks too little is known about how they differ.
const BLOCKS_MIN: usize = 8;
/// Differences between the smallest blocks that are less likely than this are not chance,
const SIGNIFICANT: f64 = 0.02;
/// and for what is rare, where few clusters are chance.
const SIGNIFICANT_RARE: f64 = 1e-3;
/// The rarest values, as a share of all samples.
const RARE: f64 = 0.1;
/// Blocks are long enough if they are so many times longer than the factor that they show.
const LONG_ENOUGH: f64 = 2.0;
/// Dependence is all seen if twice as long blocks show at most so many times as much.
const SETTLED: f64 = 1.3;
/// What few blocks may add.
const UNSURE_MAX: f64 = 1.5;
/// Of all pairs of blocks that differ, so many are in one order where values only grow (or only fall),
const ONE_WAY: f64 = 0.95;
/// and so many of all pairs differ.
const DIFFERENT: f64 = 0.4;
/// The square of the normal quantile at which tests of a handful of fields decide (two-sided 5e-4).
const DECISIVE: f64 = 12.1;

/// Values of a block for a baseline of so many: small blocks see more, but there are at most 200 of them.
pub fn block_calls(baseline_calls: usize) -> usize {
    baseline_calls.div_ceil(BLOCKS_MAX).max(BLOCK_CALLS_MIN)
}

/// What calibration found: each at least 1, the factor by which the variance between two stretches of the baseline is larger
/// than that of independent samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispersion {
    /// Of the whole table of values. Not all of a table depends on the past alike; this lies between what is so on average and
    /// the most of it, because the most decides how often chance alone is large.
    pub values: f64,
    /// Of the place of values in the order of the bins.
    pub place: f64,
    /// Of what is rare: what is new comes in clusters as the rarest values do.
    pub other: f64,
    /// Of nulls and invalid values, which may depend on something else than values do.
    pub missing: f64,
    /// Values only grow, or only fall: a counter, a time. No window is ever like those before it.
    #[serde(default)]
    pub grows: bool,
}

impl Default for Dispersion {
    /// Of independent samples.
    fn default() -> Dispersion {
        Dispersion { values: 1.0, place: 1.0, other: 1.0, missing: 1.0, grows: false }
    }
}

impl Dispersion {
    /// Calls that are as good as one, where it is about which values there are.
    pub fn run(&self) -> f64 {
        self.values.max(self.other).max(1.0)
    }
}

/// `blocks` are the counts of consecutive blocks of [`block_calls`] values, in order, all in the same bins
/// `[regular.., other, null, invalid]`. Without enough of them all factors are 1. Source: batch means, as for the error of
/// simulations (Geyer, "Practical Markov chain Monte Carlo", 1992).
pub fn dispersion(blocks: &[Vec<u32>]) -> Dispersion {
    let calls = blocks.iter().map(|block| total(block)).sum::<u64>() as f64 / blocks.len().max(1) as f64;
    let values: Vec<Vec<f64>> = blocks.iter().map(|block| numbers(Split::new(block).values)).collect();
    let totals = values.iter().fold(Vec::new(), |sum, row| add(&sum, row));
    let (places, rare) = (places(&totals), rare(&totals));
    let shares = |part: fn(&Split<'_>) -> u32| {
        let rows: Vec<Vec<f64>> = blocks
            .iter()
            .map(|block| {
                let split = Split::new(block);
                numbers(&[part(&split), u32::try_from(split.all).unwrap_or(u32::MAX) - part(&split)])
            })
            .collect();
        factor(&rows, calls, SIGNIFICANT_RARE, |rows| of_scores(rows, &[0.0, 1.0]))
    };
    let place = factor(&values, calls, SIGNIFICANT, |rows| of_scores(rows, &places));
    let average = factor(&values, calls, SIGNIFICANT, table);
    Dispersion {
        values: (average * place.max(average)).sqrt(),
        place,
        other: factor(&values, calls, SIGNIFICANT_RARE, |rows| of_scores(rows, &rare)),
        missing: shares(|split| split.null).max(shares(|split| split.invalid)),
        grows: only_grow(&values, &places),
    }
}

/// Whether the mean places of the blocks go one way only (Kendall's tau without its ties).
fn only_grow(blocks: &[Vec<f64>], places: &[f64]) -> bool {
    let means: Vec<f64> = blocks
        .iter()
        .filter_map(|block| {
            let sum: f64 = block.iter().zip(places).map(|(count, place)| count * place).sum();
            let all: f64 = block.iter().sum();
            (all > 0.0).then(|| sum / all)
        })
        .collect();
    let (mut up, mut down) = (0u32, 0u32);
    for (at, mean) in means.iter().enumerate() {
        for later in &means[at + 1..] {
            up += u32::from(later > mean);
            down += u32::from(later < mean);
        }
    }
    let (pairs, different) = (means.len() * means.len().saturating_sub(1) / 2, f64::from(up + down));
    means.len() >= BLOCKS_MIN
        && different >= pairs as f64 * DIFFERENT
        && f64::from(up.abs_diff(down)) >= different * ONE_WAY
}

/// Doubles blocks until they are long enough. `measure` gives a statistic that is chi-square with so many degrees of freedom
/// if samples are independent.
fn factor(
    blocks: &[Vec<f64>],
    calls: f64,
    significant: f64,
    measure: impl Fn(&[Vec<f64>]) -> (f64, usize),
) -> f64 {
    let (mut rows, mut calls) = (blocks.to_vec(), calls);
    let (mut found, mut shows, mut significant) = (1.0f64, false, significant);
    let mut before = f64::NEG_INFINITY;
    while rows.len() >= BLOCKS_MIN {
        let (statistic, degrees) = measure(&rows);
        if degrees == 0 {
            break;
        }
        let ratio = statistic / degrees as f64;
        shows |= chi_square_tail(statistic, degrees as f64) < significant;
        if shows {
            found = (settled(ratio, calls) * unsure(rows.len() - 1)).max(1.0);
            // Where only a part of the variance depends on the past, short blocks show little of it: it still grows.
            if ratio * LONG_ENOUGH <= calls && ratio <= before * SETTLED {
                break;
            }
        }
        before = ratio;
        rows = rows.chunks_exact(2).map(|pair| add(&pair[0], &pair[1])).collect();
        calls *= 2.0;
        // So that all looks together find no more by chance than twice the first.
        significant /= 2.0;
    }
    found
}

/// What `V(w)` grows to: `V(w) = D - D^2 / 3w`, as for runs of `D` calls that are alike. Not more than the blocks are long:
/// how long runs are that are longer cannot be told from these blocks.
fn settled(ratio: f64, calls: f64) -> f64 {
    calls * (1.5 - (2.25 - 3.0 * ratio / calls).max(0.0).sqrt()).min(1.0)
}

/// A variance from few blocks may be too small by chance. The factor by which a squared quantile of Student's distribution is
/// larger than the normal one, where tests decide (Wallace 1959), but at most [`UNSURE_MAX`]: more makes fields of few long runs
/// deaf and spares hardly an alarm.
fn unsure(degrees: usize) -> f64 {
    let degrees = degrees as f64;
    let stretch = ((8.0 * degrees + 3.0) / (8.0 * degrees + 1.0)).powi(2);
    (degrees * ((DECISIVE / degrees * stretch).exp() - 1.0) / DECISIVE).min(UNSURE_MAX)
}

/// The place of each bin in the order of all samples.
fn places(totals: &[f64]) -> Vec<f64> {
    let mut below = 0.0;
    totals
        .iter()
        .map(|count| {
            let middle = below + count / 2.0;
            below += count;
            middle
        })
        .collect()
}

/// 1 for the rarest bins, together at most [`RARE`] of all samples (or the rarest alone), 0 for the others.
fn rare(totals: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..totals.len()).filter(|&bin| totals[bin] > 0.0).collect();
    order.sort_by(|&one, &other| totals[one].total_cmp(&totals[other]));
    let (all, mut sum, mut rare) = (totals.iter().sum::<f64>(), 0.0, vec![0.0; totals.len()]);
    for (place, bin) in order.into_iter().enumerate() {
        sum += totals[bin];
        if place > 0 && sum > all * RARE {
            break;
        }
        rare[bin] = 1.0;
    }
    rare
}

/// The variance of block sums of scores, against that of single samples.
fn of_scores(rows: &[Vec<f64>], scores: &[f64]) -> (f64, usize) {
    let sum = |weight: &dyn Fn(f64) -> f64, row: &[f64]| -> f64 {
        row.iter().zip(scores).map(|(count, &score)| count * weight(score)).sum()
    };
    let all: f64 = rows.iter().map(|row| sum(&|_| 1.0, row)).sum();
    let mean = rows.iter().map(|row| sum(&|score| score, row)).sum::<f64>() / all;
    let variance = rows.iter().map(|row| sum(&|score| (score - mean).powi(2), row)).sum::<f64>() / all;
    if all == 0.0 || variance <= 0.0 {
        return (0.0, 0);
    }
    let filled = rows.iter().map(|row| (sum(&|score| score - mean, row), sum(&|_| 1.0, row)));
    let filled: Vec<(f64, f64)> = filled.filter(|&(_, count)| count > 0.0).collect();
    let statistic = filled.iter().map(|(sum, count)| sum * sum / (count * variance)).sum();
    (statistic, filled.len().saturating_sub(1))
}

fn numbers(counts: &[u32]) -> Vec<f64> {
    counts.iter().map(|&count| f64::from(count)).collect()
}

/// The longer one decides how many there are.
fn add(one: &[f64], other: &[f64]) -> Vec<f64> {
    let at = |row: &[f64], bin: usize| row.get(bin).copied().unwrap_or(0.0);
    (0..one.len().max(other.len())).map(|bin| at(one, bin) + at(other, bin)).collect()
}

#[cfg(test)]
mod tests;
