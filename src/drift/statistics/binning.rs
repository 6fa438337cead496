//! From samples to counts: our pinned quantile bins, and the bins of Evidently.

use std::collections::BTreeMap;

use super::sorted;

/// Up to so many distinct reference values Evidently makes one bin each.
pub const DISTINCT_MAX: usize = 20;

/// Inner edges that cut the finite samples into `parts` equally filled ones: quantiles `1/parts, 2/parts, ..` as
/// `numpy.quantile(method="linear")` has them, duplicates removed. Empty without samples.
pub fn quantile_edges(samples: &[f64], parts: usize) -> Vec<f64> {
    let sorted = sorted(samples);
    if sorted.is_empty() {
        return Vec::new();
    }
    // Shares as `numpy.linspace(0, 1, parts + 1)` has them, so that an edge on a value is on the same value.
    let step = 1.0 / parts as f64;
    let mut edges: Vec<f64> = (1..parts).map(|part| quantile(&sorted, part as f64 * step)).collect();
    edges.dedup();
    edges
}

/// Counts of finite samples in right-closed bins: the bin of a value is the number of edges strictly below it, so that
/// there is one bin more than edges.
pub fn counts(edges: &[f64], samples: &[f64]) -> Vec<u32> {
    let mut counts = vec![0; edges.len() + 1];
    for value in samples.iter().filter(|value| value.is_finite()) {
        counts[edges.partition_point(|edge| edge < value)] += 1;
    }
    counts
}

/// Counts of both sides over all values that either has, in the order of the values.
pub fn paired_counts<T: Ord>(
    reference: impl IntoIterator<Item = T>,
    current: impl IntoIterator<Item = T>,
) -> (Vec<u32>, Vec<u32>) {
    let mut both: BTreeMap<T, (u32, u32)> = BTreeMap::new();
    for value in reference {
        both.entry(value).or_default().0 += 1;
    }
    for value in current {
        both.entry(value).or_default().1 += 1;
    }
    both.into_values().unzip()
}

/// Counts of both sides in Evidently's bins for numbers: one for each distinct value if the reference has at most
/// [`DISTINCT_MAX`], else [`sturges_edges`] over both sides together. These bins move with each current side, and one
/// far value makes all others fall into one bin: for comparison only.
pub fn evidently_counts(reference: &[f64], current: &[f64]) -> (Vec<u32>, Vec<u32>) {
    let (reference, current) = (sorted(reference), sorted(current));
    let mut distinct = reference.clone();
    distinct.dedup();
    if distinct.len() <= DISTINCT_MAX {
        return paired_counts(
            reference.iter().map(|&value| Total(value)),
            current.iter().map(|&value| Total(value)),
        );
    }
    let edges = sturges_edges(&[&reference[..], &current[..]].concat());
    (histogram(&edges, &reference), histogram(&edges, &current))
}

/// `numpy.histogram_bin_edges(samples, bins="sturges")`: edges of bins of one width from the smallest to the largest
/// value, `ceil(range / (range / (log2 n + 1)))` of them; half a unit on both sides if all values are the same. Empty
/// without finite samples.
pub fn sturges_edges(samples: &[f64]) -> Vec<f64> {
    let sorted = sorted(samples);
    let (Some(&first), Some(&last)) = (sorted.first(), sorted.last()) else { return Vec::new() };
    if first == last {
        return vec![first - 0.5, last + 0.5];
    }
    let wanted = (sorted.len() as f64).log2() + 1.0;
    let range = last - first;
    if !range.is_finite() {
        // Beyond the largest number: a tenth of everything has the same bins.
        let tenth: Vec<f64> = sorted.iter().map(|value| value / 10.0).collect();
        return sturges_edges(&tenth).into_iter().map(|edge| edge * 10.0).collect();
    }
    // The division is numpy's, rounding included. The width of a range of denormal numbers may be 0.
    let width = range / wanted;
    let bins = if width > 0.0 { (range / width).ceil() } else { wanted.ceil() };
    let step = range / bins;
    let mut edges: Vec<f64> = (0..bins as usize).map(|at| at as f64 * step + first).collect();
    edges.push(last);
    edges
}

/// `numpy.histogram(samples, edges)`: bins are closed on the left, the last one on both sides; what lies outside is not
/// counted.
pub fn histogram(edges: &[f64], samples: &[f64]) -> Vec<u32> {
    let mut counts = vec![0; edges.len().saturating_sub(1)];
    for value in samples {
        let at_or_below = edges.partition_point(|edge| edge <= value);
        let bin = if edges.last() == Some(value) { edges.len() - 1 } else { at_or_below };
        if let Some(count) = bin.checked_sub(1).and_then(|bin| counts.get_mut(bin)) {
            *count += 1;
        }
    }
    counts
}

/// Linear between neighbours, from the nearer of them as numpy does, so that the last digit agrees.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (at, part) = (place.floor() as usize, place.fract());
    let low = sorted[at.min(sorted.len() - 1)];
    let high = sorted[(at + 1).min(sorted.len() - 1)];
    let gap = high - low;
    if !gap.is_finite() {
        return low * (1.0 - part) + high * part;
    }
    if part >= 0.5 { high - gap * (1.0 - part) } else { low + gap * part }
}

/// A finite number as a key.
#[derive(PartialEq)]
struct Total(f64);

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Total) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Total) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
