//! Distances and tests between a baseline and what came later, as plain functions on samples or counts. Where a tool
//! that people know defines one (Evidently 0.7, scipy 1.17, numpy 2.4), it gives what that tool gives; the golden
//! cases in `tests/data/drift` are their answers.
//!
//! *Samples* are numbers; what is not finite is left out first, and `-0.0` is `0.0`. *Counts* are per bin, both slices
//! of the same length; a bin that one slice lacks counts as 0. Nothing here panics, and nothing gives NaN: where there
//! is nothing to compare (a side is empty), a distance is `None` and a p-value 1. What would be beyond the largest
//! number is the largest number.

pub mod binning;
pub mod chi_square;
pub mod fisher;
pub mod holm;
pub mod jensen_shannon;
pub mod kolmogorov;
pub mod kolmogorov_smirnov;
pub mod proportions;
pub mod psi;
pub mod ranks;
pub mod special;
pub mod wasserstein;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

/// What is finite, in ascending order, without negative zeros.
pub fn sorted(samples: &[f64]) -> Vec<f64> {
    // Adding 0 turns -0.0, which would be sorted before 0.0, into 0.0.
    let mut finite: Vec<f64> =
        samples.iter().filter(|value| value.is_finite()).map(|value| value + 0.0).collect();
    finite.sort_unstable_by(f64::total_cmp);
    finite
}

/// Sum of counts. A u64, because sums of many u32 may be larger than a u32.
pub fn total(counts: &[u32]) -> u64 {
    counts.iter().map(|&count| u64::from(count)).sum()
}

/// Counts of both sides, bin by bin; the shorter side is filled up with zeros.
fn pairs<'a>(reference: &'a [u32], current: &'a [u32]) -> impl Iterator<Item = (f64, f64)> + 'a {
    let at = |counts: &[u32], bin: usize| f64::from(counts.get(bin).copied().unwrap_or(0));
    (0..reference.len().max(current.len())).map(move |bin| (at(reference, bin), at(current, bin)))
}

/// Shares of both sides, bin by bin; `None` if a side is empty.
fn shares(reference: &[u32], current: &[u32]) -> Option<Vec<(f64, f64)>> {
    let (references, currents) = (total(reference), total(current));
    (references > 0 && currents > 0).then(|| {
        pairs(reference, current).map(|(r, c)| (r / references as f64, c / currents as f64)).collect()
    })
}
