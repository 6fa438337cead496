//! Holm's step-down correction: with many tests some p-values are small by chance alone.

/// Adjusted p-values, in the order given: the i-th smallest of m becomes `p * (m - i + 1)`, at least what the one
/// before it became, at most 1. Reject those at most alpha, and the chance of any false one is at most alpha, however
/// the tests depend on each other. What is NaN counts as 1. Source: Holm, "A simple sequentially rejective multiple
/// test procedure", 1979.
pub fn adjusted(pvalues: &[f64]) -> Vec<f64> {
    let pvalue = |at: usize| if pvalues[at].is_nan() { 1.0 } else { pvalues[at].clamp(0.0, 1.0) };
    let mut order: Vec<usize> = (0..pvalues.len()).collect();
    order.sort_by(|&one, &other| pvalue(one).total_cmp(&pvalue(other)));
    let mut adjusted = vec![1.0; pvalues.len()];
    let mut before = 0.0f64;
    for (place, &at) in order.iter().enumerate() {
        before = before.max(pvalue(at) * (pvalues.len() - place) as f64).min(1.0);
        adjusted[at] = before;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::adjusted;

    #[test]
    fn each_is_multiplied_by_how_many_are_left() {
        assert_eq!(adjusted(&[0.01, 0.04, 0.005, 0.5]), [0.03, 0.08, 0.02, 0.5]);
    }

    #[test]
    fn none_is_smaller_than_one_before_it_or_larger_than_1() {
        assert_eq!(adjusted(&[0.02, 0.021, 0.9]), [0.06, 0.06, 0.9]);
        assert_eq!(adjusted(&[0.6, 0.7]), [1.0, 1.0]);
        assert_eq!(adjusted(&[f64::NAN, 0.01]), [1.0, 0.02]);
        assert!(adjusted(&[]).is_empty());
    }
}
