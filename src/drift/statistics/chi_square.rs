//! Pearson's chi-square on counts. The statistic has no unit; under equal distributions it is about as large as its
//! degrees of freedom.

use super::special::chi_square_tail;
use super::{pairs, total};

/// Cells with a smaller expected count are put together: below it the chi-square distribution is a bad description.
pub const EXPECTED_MIN: f64 = 5.0;

/// Names that the reference has seen fewer times say nothing by themselves: which of many rare ones are among those seen is
/// chance, and later ones are others.
pub const NAMED_MIN: u32 = 5;

/// What a test found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiSquare {
    pub statistic: f64,
    /// 0 if there was nothing to compare; then the p-value is 1.
    pub degrees: u32,
    pub pvalue: f64,
}

impl ChiSquare {
    fn new(statistic: f64, cells: usize) -> ChiSquare {
        let degrees = u32::try_from(cells.saturating_sub(1)).unwrap_or(u32::MAX);
        ChiSquare { statistic, degrees, pvalue: chi_square_tail(statistic, degrees.into()) }
    }

    /// For samples that depend on each other: the statistic is that much too large.
    pub fn divided_by(self, dispersion: f64) -> ChiSquare {
        let statistic = self.statistic / dispersion.max(1.0);
        ChiSquare { statistic, pvalue: chi_square_tail(statistic, self.degrees.into()), ..self }
    }
}

/// Goodness of fit as Evidently does it: `sum (c - e)^2 / e` with `e` the reference's counts scaled to the current total.
/// It takes the reference as exact, so that it is too large by about `1 + currents / references`; here for comparison.
/// A bin that only the current side has makes it infinite, and p 0. Source: `scipy.stats.chisquare`.
pub fn goodness_of_fit(reference: &[u32], current: &[u32]) -> ChiSquare {
    let (references, currents) = (total(reference) as f64, total(current) as f64);
    if references == 0.0 || currents == 0.0 {
        return ChiSquare::new(0.0, 0);
    }
    let (mut statistic, mut cells) = (0.0, 0);
    for (r, c) in pairs(reference, current).filter(|&(r, c)| r + c > 0.0) {
        let expected = r * (currents / references);
        statistic += if expected > 0.0 { (c - expected).powi(2) / expected } else { f64::INFINITY };
        cells += 1;
    }
    ChiSquare::new(statistic, cells)
}

/// Two samples, both with their own chance: `sum (observed - expected)^2 / expected` over a table of two rows. Bins that
/// are empty on both sides are left out. Source: `scipy.stats.chi2_contingency(correction=False)`.
pub fn two_sample(reference: &[u32], current: &[u32]) -> ChiSquare {
    of_cells(&pairs(reference, current).filter(|&(r, c)| r + c > 0.0).collect::<Vec<_>>())
}

/// Which bins may be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Neighbours, as given: for numbers.
    Given,
    /// Those that are alike in size, by the count of both sides. By the count of one side alone its chance peaks would be put
    /// together, and always differ from the other side.
    ByCount,
}

/// Counts of names `[names.., other]` on both sides, with those in `other` which the reference has seen too
/// rarely. Kept apart, the names that the reference has seen once would be too rare in any later sample.
pub fn with_rest(reference: &[u32], current: &[u32], is_rare: impl Fn(u32) -> bool) -> (Vec<u32>, Vec<u32>) {
    let names = reference.len().saturating_sub(1);
    let (mut named, mut rest) = ((Vec::new(), Vec::new()), (0u32, 0u32));
    for (bin, &r) in reference.iter().enumerate() {
        let c = current.get(bin).copied().unwrap_or(0);
        if bin < names && !is_rare(r) {
            named.0.push(r);
            named.1.push(c);
        } else {
            rest = (rest.0.saturating_add(r), rest.1.saturating_add(c));
        }
    }
    named.0.push(rest.0);
    named.1.push(rest.1);
    named
}

/// [`two_sample`] after [`pooled`].
pub fn two_sample_pooled(reference: &[u32], current: &[u32], order: Order) -> ChiSquare {
    of_cells(&pooled(reference, current, order))
}

/// Cells of both sides, put together until each has an expected count of [`EXPECTED_MIN`] on the smaller side. Not all small
/// ones into a single cell, which would hide them all. The last bin (`other`) stays last.
pub fn pooled(reference: &[u32], current: &[u32], order: Order) -> Vec<(f64, f64)> {
    let (references, currents) = (total(reference) as f64, total(current) as f64);
    let smaller = references.min(currents) / (references + currents).max(1.0);
    let mut bins: Vec<(f64, f64)> = pairs(reference, current).collect();
    if let (Order::ByCount, [named @ .., _]) = (order, &mut bins[..]) {
        named.sort_by(|one, other| (other.0 + other.1).total_cmp(&(one.0 + one.1)));
    }
    let mut cells: Vec<(f64, f64)> = Vec::new();
    let mut open = (0.0, 0.0);
    for (r, c) in bins {
        open = (open.0 + r, open.1 + c);
        if (open.0 + open.1) * smaller >= EXPECTED_MIN {
            cells.push(open);
            open = (0.0, 0.0);
        }
    }
    match cells.last_mut() {
        Some(last) => *last = (last.0 + open.0, last.1 + open.1),
        None if open.0 + open.1 > 0.0 => cells.push(open),
        None => {}
    }
    cells
}

/// Pearson's statistic of a table of many rows, and its degrees of freedom: do all rows have the same shares? `(0, 0)` if there
/// is nothing to compare. Cells may be small: the statistic is right on average however small they are.
pub fn table(rows: &[Vec<f64>]) -> (f64, usize) {
    let totals: Vec<f64> = rows.iter().map(|row| row.iter().sum()).collect();
    let all: f64 = totals.iter().sum();
    let (mut statistic, mut cells) = (0.0, 0);
    for column in 0..rows.iter().map(Vec::len).max().unwrap_or(0) {
        let counts = || rows.iter().map(|row| row.get(column).copied().unwrap_or(0.0)).zip(&totals);
        let share = counts().map(|(count, _)| count).sum::<f64>() / all;
        if share > 0.0 {
            cells += 1;
            statistic += counts()
                .filter(|&(_, &total)| total > 0.0)
                .map(|(count, &total)| (count - total * share).powi(2) / (total * share))
                .sum::<f64>();
        }
    }
    let filled = totals.iter().filter(|&&total| total > 0.0).count();
    let degrees = (cells as usize).saturating_sub(1) * filled.saturating_sub(1);
    if degrees > 0 { (statistic, degrees) } else { (0.0, 0) }
}

fn of_cells(cells: &[(f64, f64)]) -> ChiSquare {
    let (references, currents) = cells.iter().fold((0.0, 0.0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
    let all = references + currents;
    if references == 0.0 || currents == 0.0 {
        return ChiSquare::new(0.0, 0);
    }
    let statistic = cells
        .iter()
        .map(|&(r, c)| {
            let (expected_r, expected_c) = ((r + c) * references / all, (r + c) * currents / all);
            (r - expected_r).powi(2) / expected_r + (c - expected_c).powi(2) / expected_c
        })
        .sum();
    ChiSquare::new(statistic, cells.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_without_samples_or_a_single_cell_says_nothing() {
        for (reference, current) in [(&[][..], &[][..]), (&[0, 0], &[3, 4]), (&[3, 4], &[0, 0]), (&[7], &[9])]
        {
            assert_eq!(two_sample(reference, current).pvalue, 1.0);
            assert_eq!(two_sample_pooled(reference, current, Order::Given).pvalue, 1.0);
            assert_eq!(goodness_of_fit(reference, current).pvalue, 1.0);
        }
    }

    #[test]
    fn what_the_reference_lacks_is_impossible_for_a_fit_and_only_unlikely_for_two_samples() {
        assert_eq!(goodness_of_fit(&[100, 0], &[99, 1]).pvalue, 0.0);
        assert!(two_sample(&[100, 0], &[99, 1]).pvalue > 0.3);
    }

    #[test]
    fn small_bins_are_put_together_until_each_cell_is_large_enough() {
        let counts = [50, 1, 2, 3, 50, 2];
        assert_eq!(pooled(&counts, &counts, Order::Given), [(50.0, 50.0), (6.0, 6.0), (52.0, 52.0)]);
        assert_eq!(pooled(&counts, &counts, Order::ByCount), [(50.0, 50.0), (50.0, 50.0), (8.0, 8.0)]);
        assert_eq!(pooled(&[1, 2], &[2, 1], Order::Given), [(3.0, 3.0)]);
        assert!(pooled(&[0, 0], &[0, 0], Order::ByCount).is_empty());
    }

    #[test]
    fn names_that_were_seen_too_rarely_are_one_with_other() {
        let (then, now) = with_rest(&[90, 4, 1, 5, 2], &[40, 0, 0, 3, 7, 9], |count| count < NAMED_MIN);
        assert_eq!((then, now), (vec![90, 5, 7], vec![40, 3, 7]));
        assert_eq!(with_rest(&[1, 2, 0], &[3, 4, 5], |_| false), (vec![1, 2, 0], vec![3, 4, 5]));
        assert_eq!(with_rest(&[], &[], |_| true), (vec![0], vec![0]));
    }

    #[test]
    fn dispersion_divides_the_statistic_and_never_raises_it() {
        let found = two_sample(&[100, 100], &[120, 80]);
        assert_eq!(found.divided_by(2.0).statistic, found.statistic / 2.0);
        assert_eq!(found.divided_by(0.5), found);
    }
}
