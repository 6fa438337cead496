//! Wasserstein distance of order 1 (earth mover's): the area between the two empirical distribution functions. Unit:
//! that of the samples. Source: `scipy.stats.wasserstein_distance`.

use super::sorted;

/// What Evidently divides by at least: a constant reference has no spread.
const SPREAD_MIN: f64 = 1e-3;

/// `integral of |F(x) - G(x)| dx`; `None` if a side has no finite sample. Time: n log n.
pub fn distance(reference: &[f64], current: &[f64]) -> Option<f64> {
    let (reference, current) = (sorted(reference), sorted(current));
    halved(&reference, &current).map(doubled)
}

/// The distance in units of the reference's (population) standard deviation, which is taken as at least
/// 0.001. Evidently's default for large references; there 0.1 is drift.
pub fn normed_distance(reference: &[f64], current: &[f64]) -> Option<f64> {
    let (reference, current) = (sorted(reference), sorted(current));
    let halved = halved(&reference, &current)?;
    // Both halved: for samples up to 1e308 neither has to be a number beyond the largest.
    Some((halved / halved_deviation(&reference).max(SPREAD_MIN / 2.0)).min(f64::MAX))
}

/// Population standard deviation of the finite samples; 0 without any.
pub fn deviation(samples: &[f64]) -> f64 {
    doubled(halved_deviation(samples))
}

/// Half the distance. Samples are halved before they are subtracted, so that no difference is infinite.
fn halved(reference: &[f64], current: &[f64]) -> Option<f64> {
    let (&first_reference, &first_current) = (reference.first()?, current.first()?);
    let mut before = first_reference.min(first_current);
    let (mut references, mut currents, mut area) = (0, 0, 0.0);
    while references < reference.len() || currents < current.len() {
        let next = match (reference.get(references), current.get(currents)) {
            (Some(&r), Some(&c)) => r.min(c),
            (Some(&one), None) | (None, Some(&one)) => one,
            (None, None) => break,
        };
        let height =
            (references as f64 / reference.len() as f64 - currents as f64 / current.len() as f64).abs();
        if height > 0.0 {
            area += height * (next / 2.0 - before / 2.0);
        }
        while reference.get(references) == Some(&next) {
            references += 1;
        }
        while current.get(currents) == Some(&next) {
            currents += 1;
        }
        before = next;
    }
    Some(area)
}

fn halved_deviation(samples: &[f64]) -> f64 {
    let finite = || samples.iter().copied().filter(|value| value.is_finite());
    let count = finite().count() as f64;
    let largest = finite().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if count == 0.0 || largest == 0.0 {
        return 0.0;
    }
    // Scaled to 1 at most, so that squares neither overflow nor vanish.
    let mean = finite().map(|value| value / largest).sum::<f64>() / count;
    let variance = finite().map(|value| (value / largest - mean).powi(2)).sum::<f64>() / count;
    variance.sqrt() * (largest / 2.0)
}

fn doubled(half: f64) -> f64 {
    (half * 2.0).min(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_copy_is_as_far_as_it_was_moved() {
        assert_eq!(distance(&[0.0, 1.0, 3.0], &[5.0, 6.0, 8.0]), Some(5.0));
        assert_eq!(distance(&[1.0, 1.0, 2.0], &[2.0, 1.0, 1.0]), Some(0.0));
        assert_eq!(distance(&[0.0, 1.0], &[0.5]), Some(0.5));
    }

    #[test]
    fn a_constant_reference_has_the_least_spread() {
        assert_eq!(normed_distance(&[7.0; 5], &[7.5; 2]), Some(500.0));
    }

    #[test]
    fn the_largest_numbers_have_a_distance() {
        let (low, high) = ([-1e308, -1.5e308], [1e308, 1.5e308]);
        assert_eq!(distance(&low, &high), Some(f64::MAX));
        assert!((normed_distance(&low, &high).unwrap() - 10.0).abs() < 1e-9);
        assert_eq!(deviation(&[1e308, -1e308]), 1e308);
        assert_eq!(deviation(&[5e-324, 5e-324]), 0.0);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        assert_eq!(distance(&[f64::NAN, 1.0], &[2.0, f64::INFINITY]), Some(1.0));
        assert_eq!(distance(&[f64::NAN], &[2.0]), None);
    }
}
