//! Wilcoxon's rank-sum test (Mann-Whitney) on bins that are in order: has the whole moved up or down? Where all of a field
//! moves, it sees half of what a chi-square needs, because it spends no degrees of freedom on shapes. It is valid for bins in
//! any order, and then only sees what happens to go along with that order.

use super::special::normal_two_sided;
use super::{pairs, total};

/// z of the rank sum with mid-ranks for ties and the variance that belongs to them; positive if the current side lies
/// higher. 0 if a side is empty or all lies in one bin. Source: `scipy.stats.mannwhitneyu(use_continuity=False,
/// method="asymptotic")` on bin numbers.
pub fn rank_sum_z(reference: &[u32], current: &[u32]) -> f64 {
    let (references, currents) = (total(reference) as f64, total(current) as f64);
    let all = references + currents;
    if references == 0.0 || currents == 0.0 || all < 2.0 {
        return 0.0;
    }
    let (mut below, mut sum, mut ties) = (0.0, 0.0, 0.0);
    for (r, c) in pairs(reference, current) {
        let here = r + c;
        sum += c * (below + here / 2.0 - all / 2.0);
        ties += here * (here * here - 1.0);
        below += here;
    }
    let variance = references * currents / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    if variance > 0.0 { sum / variance.sqrt() } else { 0.0 }
}

/// Two-sided p-value of [`rank_sum_z`] under the normal distribution.
pub fn rank_sum(reference: &[u32], current: &[u32]) -> f64 {
    normal_two_sided(rank_sum_z(reference, current))
}
