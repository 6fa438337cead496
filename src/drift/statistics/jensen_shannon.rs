//! Jensen-Shannon distance: the square root of the divergence `(KL(r || m) + KL(c || m)) / 2` with `m = (r + c) / 2`.
//! Shares are taken as they are: a bin that is empty on one side is no trouble here. It is a metric; 0 for equal
//! shares.
//!
//! Two bases are in use and must not be mixed up: [`distance_base2`] lies in 0..=1 (NannyML; what this program shows),
//! [`distance_nats`] in 0..=0.8326, the root of ln 2 (`scipy.spatial.distance.jensenshannon` by default, Evidently).

use std::f64::consts::LN_2;

use super::shares;

/// In base 2: 0 for equal shares, 1 where no bin is shared.
pub fn distance_base2(reference: &[u32], current: &[u32]) -> Option<f64> {
    divergence_nats(reference, current).map(|nats| (nats / LN_2).sqrt().min(1.0))
}

/// With natural logarithms: at most the root of ln 2.
pub fn distance_nats(reference: &[u32], current: &[u32]) -> Option<f64> {
    divergence_nats(reference, current).map(f64::sqrt)
}

fn divergence_nats(reference: &[u32], current: &[u32]) -> Option<f64> {
    let against = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).ln() } else { 0.0 };
    let sum: f64 = shares(reference, current)?
        .into_iter()
        .map(|(r, c)| against(r, (r + c) / 2.0) + against(c, (r + c) / 2.0))
        .sum();
    // Rounding may leave something just below 0, of which there is no root.
    Some((sum / 2.0).clamp(0.0, LN_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_base() {
        assert_eq!(distance_base2(&[3, 0], &[0, 9]), Some(1.0));
        assert_eq!(distance_nats(&[3, 0], &[0, 9]), Some(LN_2.sqrt()));
        assert_eq!(distance_base2(&[3, 6], &[1, 2]), Some(0.0));
    }

    #[test]
    fn a_side_without_samples_has_no_distance() {
        assert_eq!(distance_base2(&[0, 0], &[1, 2]), None);
        assert_eq!(distance_nats(&[1], &[]), None);
    }
}
