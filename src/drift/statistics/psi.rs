//! Population Stability Index: `sum over bins of (c - r) * ln(c / r)` with `r` and `c` the shares of reference and
//! current. Unit: nats; 0 for equal shares, symmetric, without upper bound. By custom 0.1 is a change and 0.25 a large
//! one, whatever the number of samples: with few of them chance alone gives about `(bins - 1) * (1/n + 1/m)`
//! ([`expected_by_chance`]).
//!
//! A share of 0 would make it infinite, so empty bins get a small share instead, and shares are not normalised again.
//! The two functions differ only in that small share.

use super::shares;

/// What an empty bin is taken to hold.
pub const SHARE_MIN: f64 = 1e-4;

/// PSI on pinned bins: each share is at least [`SHARE_MIN`]. This is the one that streams are judged by.
pub fn psi(reference: &[u32], current: &[u32]) -> Option<f64> {
    let shares = shares(reference, current)?;
    Some(shares.iter().map(|&(r, c)| term(r.max(SHARE_MIN), c.max(SHARE_MIN))).sum())
}

/// PSI as Evidently computes it (`evidently.legacy.calculations.stattests.psi`): an empty bin gets [`SHARE_MIN`], or a
/// millionth of the smallest share that is there, if that is not larger than [`SHARE_MIN`]; each side by itself.
/// The bins are those of [`super::binning::evidently_counts`].
pub fn psi_evidently(reference: &[u32], current: &[u32]) -> Option<f64> {
    let shares = shares(reference, current)?;
    let fill = |side: fn(&(f64, f64)) -> f64| {
        let smallest = shares.iter().map(side).filter(|&share| share > 0.0).fold(f64::INFINITY, f64::min);
        if smallest <= SHARE_MIN { smallest / 1e6 } else { SHARE_MIN }
    };
    let (empty_reference, empty_current) = (fill(|share| share.0), fill(|share| share.1));
    let filled = |share: f64, fill: f64| if share > 0.0 { share } else { fill };
    Some(shares.iter().map(|&(r, c)| term(filled(r, empty_reference), filled(c, empty_current))).sum())
}

/// What PSI is on average between two samples of the same distribution: `(bins - 1) * (1/n + 1/m)`. `bins` are those
/// that hold something on either side. Source: Yurdakul, Naranjo, "Statistical properties of the population stability
/// index", 2020.
pub fn expected_by_chance(bins: usize, reference_samples: u64, current_samples: u64) -> f64 {
    if reference_samples == 0 || current_samples == 0 {
        return 0.0;
    }
    bins.saturating_sub(1) as f64 * (1.0 / reference_samples as f64 + 1.0 / current_samples as f64)
}

fn term(r: f64, c: f64) -> f64 {
    (c - r) * (c / r).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_are_no_distance_and_swapping_the_sides_changes_nothing() {
        assert_eq!(psi(&[10, 20, 30], &[1, 2, 3]), Some(0.0));
        let (there, back) = (psi(&[10, 20, 30], &[30, 20, 10]), psi(&[30, 20, 10], &[10, 20, 30]));
        assert!((there.unwrap() - back.unwrap()).abs() < 1e-15);
    }

    #[test]
    fn an_empty_bin_counts_as_one_in_ten_thousand() {
        let expected = (0.1 - 1e-4) * (0.1f64 / 1e-4).ln() + (0.9 - 1.0) * 0.9f64.ln();
        assert!((psi(&[100, 0], &[90, 10]).unwrap() - expected).abs() < 1e-12);
        assert_eq!(psi_evidently(&[100, 0], &[90, 10]), psi(&[100, 0], &[90, 10]));
    }

    #[test]
    fn evidently_fills_with_less_where_there_are_smaller_shares() {
        // 1 of 20,000 is less than 1e-4: what is empty on that side becomes a millionth of it.
        let (r, c) = (5e-5f64 / 1e6, 0.5f64);
        let expected =
            (c - r) * (c / r).ln() + (0.5 - 0.99995) * (0.5f64 / 0.99995).ln() + (1e-4 - 5e-5) * 2f64.ln();
        assert!((psi_evidently(&[19_999, 1, 0], &[10, 0, 10]).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn without_samples_there_is_no_answer() {
        for (reference, current) in [(&[][..], &[][..]), (&[0, 0], &[1, 2]), (&[1, 2], &[0, 0])] {
            assert_eq!(psi(reference, current), None);
            assert_eq!(psi_evidently(reference, current), None);
        }
        assert_eq!(psi(&[5], &[5, 0]), Some(0.0), "the shorter side is filled up");
        assert_eq!(expected_by_chance(10, 500, 0), 0.0);
    }

    #[test]
    fn few_samples_have_a_large_index_by_chance() {
        assert!((expected_by_chance(10, 500, 200) - 0.063).abs() < 1e-12);
    }
}
