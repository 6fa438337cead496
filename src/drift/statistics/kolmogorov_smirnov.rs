//! The two-sample Kolmogorov-Smirnov test. It is for samples that are at hand as they are; counts in bins are judged by
//! chi-square.

use super::kolmogorov;
use super::sorted;

/// Up to so many on either side [`exact`] is worth its time, n * m steps.
pub const EXACT_MAX: usize = 10_000;

/// What a test found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KolmogorovSmirnov {
    /// The largest distance between the two empirical distribution functions, 0..=1.
    pub statistic: f64,
    /// Two-sided.
    pub pvalue: f64,
}

/// With the p-value for large samples: the distribution of Kolmogorov's statistic for one sample of `n m / (n + m)`
/// values, rounded half to even (and at least 1). `None` if a side has no finite sample. Time: n log n. Source:
/// `scipy.stats.ks_2samp(method="asymp")`.
pub fn asymptotic(reference: &[f64], current: &[f64]) -> Option<KolmogorovSmirnov> {
    let (reference, current) = (sorted(reference), sorted(current));
    let statistic =
        largest_gap(&reference, &current)? as f64 / (reference.len() as f64 * current.len() as f64);
    let (n, m) = (reference.len() as f64, current.len() as f64);
    let samples = (n * m / (n + m)).round_ties_even().max(1.0);
    Some(KolmogorovSmirnov { statistic, pvalue: kolmogorov::tail(samples as u64, statistic) })
}

/// With the exact p-value (for samples without ties; with ties it is on the safe side), up to [`EXACT_MAX`] samples a
/// side; beyond that the same as [`asymptotic`]. Source: `scipy.stats.ks_2samp(method="auto")`.
pub fn exact(reference: &[f64], current: &[f64]) -> Option<KolmogorovSmirnov> {
    let (reference, current) = (sorted(reference), sorted(current));
    if reference.len().max(current.len()) > EXACT_MAX {
        return asymptotic(&reference, &current);
    }
    let gap = largest_gap(&reference, &current)?;
    let statistic = gap as f64 / (reference.len() as f64 * current.len() as f64);
    Some(KolmogorovSmirnov { statistic, pvalue: paths_outside(reference.len(), current.len(), gap) })
}

/// The largest distance between the distribution functions times `n * m`: a whole number, so that nothing is rounded.
fn largest_gap(reference: &[f64], current: &[f64]) -> Option<u64> {
    if reference.is_empty() || current.is_empty() {
        return None;
    }
    let (n, m) = (reference.len() as u64, current.len() as u64);
    let (mut i, mut j, mut gap) = (0, 0, 0);
    while let (Some(&r), Some(&c)) = (reference.get(i), current.get(j)) {
        let next = r.min(c);
        while reference.get(i) == Some(&next) {
            i += 1;
        }
        while current.get(j) == Some(&next) {
            j += 1;
        }
        gap = gap.max((i as u64 * m).abs_diff(j as u64 * n));
    }
    Some(gap)
}

/// All orders of the n + m samples are equally likely; each is a path from (0, 0) to (n, m). The share of paths that touch
/// a point where the distance is at least `gap`: the last step to (i, j) comes from (i - 1, j) with chance i / (i + j).
/// Only sums of positive terms, so that the smallest p-values are exact too.
fn paths_outside(n: usize, m: usize, gap: u64) -> f64 {
    if gap == 0 {
        return 1.0;
    }
    let outside = |i: usize, j: usize| (i as u64 * m as u64).abs_diff(j as u64 * n as u64) >= gap;
    let mut row = vec![0.0f64; m + 1];
    for i in 0..=n {
        for j in 0..=m {
            row[j] = if outside(i, j) {
                1.0
            } else if i + j == 0 {
                0.0
            } else {
                let from_left = if j > 0 { row[j - 1] * j as f64 } else { 0.0 };
                (row[j] * i as f64 + from_left) / (i + j) as f64
            };
        }
    }
    row[m].clamp(0.0, 1.0)
}
