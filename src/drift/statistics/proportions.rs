//! Two-proportion z test: is a share the same on both sides?

use super::special::normal_two_sided;

/// `(a - b) / sqrt(p (1 - p) (1/n + 1/m))` with `p` the share on both sides together; positive if the reference has
/// more. 0 where there is nothing to compare: a side without samples, or the same answer everywhere. Each count is taken
/// as at most its total. Source: Evidently's `z_stattest`.
pub fn z_statistic(reference: u64, references: u64, current: u64, currents: u64) -> f64 {
    if references == 0 || currents == 0 {
        return 0.0;
    }
    let (n, m) = (references as f64, currents as f64);
    let (a, b) = (reference.min(references) as f64, current.min(currents) as f64);
    let pooled = (a + b) / (n + m);
    let spread = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    if spread > 0.0 { (a / n - b / m) / spread } else { 0.0 }
}

/// Two-sided p-value of [`z_statistic`] under the normal distribution: good from about 5 of each kind upwards; below that
/// [`super::fisher`] is exact.
pub fn z_test(reference: u64, references: u64, current: u64, currents: u64) -> f64 {
    normal_two_sided(z_statistic(reference, references, current, currents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_are_no_difference() {
        assert_eq!(z_test(5, 10, 50, 100), 1.0);
        assert_eq!(z_test(0, 10, 0, 100), 1.0);
        assert_eq!(z_test(10, 10, 100, 100), 1.0);
        assert_eq!(z_test(0, 0, 3, 100), 1.0);
    }

    #[test]
    fn the_sign_says_which_side_has_more() {
        assert!(z_statistic(9, 10, 1, 10) > 3.5);
        assert!(z_statistic(1, 10, 9, 10) < -3.5);
    }
}
