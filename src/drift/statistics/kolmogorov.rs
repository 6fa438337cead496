//! The distribution of Kolmogorov's statistic for one sample of n values: how likely is a distance of at least d? The
//! method is chosen by n and d as in Simard, L'Ecuyer, "Computing the two-sided Kolmogorov-Smirnov distribution", Journal
//! of Statistical Software 39(11), 2011; scipy's `kstwo` does the same.

use std::f64::consts::PI;

use super::special::ln_factorial;

/// Up to here the matrix is small.
const MATRIX_SAMPLES_MAX: u64 = 140;
/// From this `n d^2` on, for few and for many samples, twice the one-sided chance is all of the two-sided one.
const ONE_SIDED_FEW: f64 = 4.0;
const ONE_SIDED_MANY: f64 = 2.2;
/// Up to this `n d^1.5` the expansion is not good enough for more samples either,
const MATRIX_MAX: f64 = 1.4;
/// unless the root of `n d^2` is so small that the distance is always larger.
const CERTAIN: f64 = 0.2;

/// The chance that the largest distance between the distribution function and that of `n` samples from it is at least
/// `d`. 1 for d of at most 0, 0 from 1 on; n of 0 counts as 1.
pub fn tail(n: u64, d: f64) -> f64 {
    let n = n.max(1);
    let samples = n as f64;
    if d.is_nan() || samples * d <= 0.5 {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let squared = samples * d * d;
    let one_sided_from = if n <= MATRIX_SAMPLES_MAX { ONE_SIDED_FEW } else { ONE_SIDED_MANY };
    if d >= 0.5 || squared >= one_sided_from {
        return (2.0 * one_sided(n, d)).min(1.0);
    }
    if squared.sqrt() < CERTAIN {
        return 1.0;
    }
    let inside = if n <= MATRIX_SAMPLES_MAX || samples * d.powf(1.5) <= MATRIX_MAX {
        durbin(n, d)
    } else {
        pelz_good(samples, squared.sqrt())
    };
    (1.0 - inside).clamp(0.0, 1.0)
}

/// The chance of a distance of at least d on one side: `d sum_j C(n, j) (d + j/n)^(j-1) (1 - d - j/n)^(n-j)` over j up to
/// `n (1 - d)` (Birnbaum, Tingey 1951). All terms are positive, so that it is exact far out too.
fn one_sided(n: u64, d: f64) -> f64 {
    let samples = n as f64;
    let mut ln_choose = 0.0;
    let mut sum = 0.0;
    for j in 0..=n {
        let share = j as f64 / samples;
        let rest = 1.0 - d - share;
        if rest <= 0.0 {
            break;
        }
        sum += (ln_choose + (j as f64 - 1.0) * (d + share).ln() + (samples - j as f64) * rest.ln()).exp();
        ln_choose += ((samples - j as f64) / (j as f64 + 1.0)).ln();
    }
    (d * sum).min(1.0)
}

/// The exact chance of a smaller distance, as `n! / n^n` times an entry of a matrix's n-th power (Durbin 1973; Marsaglia,
/// Tsang, Wang 2003).
fn durbin(n: u64, d: f64) -> f64 {
    let place = n as f64 * d;
    let k = place.ceil().max(1.0);
    let h = k - place;
    let size = 2 * k as usize - 1;
    let mut matrix = Matrix::zero(size);
    for row in 0..size {
        for column in 0..size.min(row + 2) {
            let up = (row + 1 - column) as i32;
            let mut entry = 1.0;
            // The first column and the last row lack what the border cuts off.
            if column == 0 {
                entry -= h.powi(row as i32 + 1);
            }
            if row == size - 1 {
                entry -= h.powi((size - column) as i32);
            }
            if row == size - 1 && column == 0 && 2.0 * h > 1.0 {
                entry += (2.0 * h - 1.0).powi(size as i32);
            }
            matrix.entries[row * size + column] = entry / (1..=up).map(f64::from).product::<f64>();
        }
    }
    let power = matrix.power(n);
    let middle = k as usize - 1;
    let ln_scale = ln_factorial(n) - n as f64 * (n as f64).ln() + power.exponent * std::f64::consts::LN_2;
    (power.entries[middle * size + middle].ln() + ln_scale).exp().min(1.0)
}

/// `entries * 2^exponent`.
#[derive(Clone)]
struct Matrix {
    size: usize,
    entries: Vec<f64>,
    exponent: f64,
}

impl Matrix {
    /// Above this, entries are scaled down.
    const SCALE_AT: f64 = 1e100;
    const SCALE_BITS: i32 = 333;

    fn zero(size: usize) -> Matrix {
        Matrix { size, entries: vec![0.0; size * size], exponent: 0.0 }
    }

    fn power(self, n: u64) -> Matrix {
        if n == 1 {
            return self;
        }
        let half = self.clone().power(n / 2);
        let whole = half.times(&half);
        if n.is_multiple_of(2) { whole } else { whole.times(&self) }
    }

    fn times(&self, other: &Matrix) -> Matrix {
        let size = self.size;
        let mut product = Matrix::zero(size);
        product.exponent = self.exponent + other.exponent;
        for row in 0..size {
            let (left, target) =
                (&self.entries[row * size..][..size], &mut product.entries[row * size..][..size]);
            for (factor, right) in left.iter().zip(other.entries.chunks_exact(size)) {
                for (sum, entry) in target.iter_mut().zip(right) {
                    *sum += factor * entry;
                }
            }
        }
        if product.entries[size / 2 * (size + 1)] > Matrix::SCALE_AT {
            product.entries.iter_mut().for_each(|entry| *entry *= 2f64.powi(-Matrix::SCALE_BITS));
            product.exponent += f64::from(Matrix::SCALE_BITS);
        }
        product
    }
}

/// The chance of a smaller distance for many samples: Kolmogorov's limit and three terms in powers of `1 / sqrt(n)` (Pelz,
/// Good 1976), with `z = sqrt(n) d`.
fn pelz_good(samples: f64, z: f64) -> f64 {
    let (z2, pi2) = (z * z, PI * PI);
    let (z4, z6) = (z2 * z2, z2 * z2 * z2);
    let mut sums = [0.0f64; 4];
    // From the largest k down, small terms first; those beyond are 0.
    let last = (16.0 * z2 / PI).ceil() as i64 + 4;
    for k in (0..=last).rev() {
        // Twice, because a term is the same for k and -k - 1.
        let half = (k as f64 + 0.5).powi(2) * pi2;
        let weight = 2.0 * (-half / (2.0 * z2)).exp();
        sums[0] += weight;
        sums[1] += weight * (half - z2);
        sums[2] +=
            weight * (6.0 * z6 + 2.0 * z4 + half * (2.0 * z4 - 5.0 * z2) + half * half * (1.0 - 2.0 * z2));
        sums[3] += weight
            * (-30.0 * z6 - 90.0 * z6 * z2
                + half * (135.0 * z4 - 96.0 * z6)
                + half * half * (212.0 * z4 - 60.0 * z2)
                + half * half * half * (5.0 - 30.0 * z2));
    }
    let (mut second, mut third) = (0.0, 0.0);
    for k in (1..=last).rev() {
        let whole = (k as f64).powi(2) * pi2;
        let weight = 2.0 * (-whole / (2.0 * z2)).exp();
        second += weight * whole;
        third += weight * whole * (3.0 * z2 - whole);
    }
    let root = (PI / 2.0).sqrt();
    let limit = root * sums[0] / z;
    let first = root * sums[1] / (6.0 * z4);
    let second = root * (sums[2] / (72.0 * z6 * z) - second / (36.0 * z2 * z));
    let third = root * (sums[3] / (6480.0 * z6 * z4) + third / (216.0 * z6));
    (limit + first / samples.sqrt() + second / samples + third / samples.powf(1.5)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the golden cases do not lead: between few samples and so many that only the limit counts.
    #[test]
    fn the_tail_is_that_of_scipy_for_any_number_of_samples() {
        // `scipy.stats.kstwo.sf(d, n)`, scipy 1.17.1.
        for (samples, distance, expected) in [
            (143, 0.099, 0.113_266_066_827_625_08),
            (240, 0.08, 0.087_696_216_357_209_12),
            (283, 0.09, 0.019_134_670_102_027_76),
            (333, 0.06, 0.174_565_446_916_853_72),
            (1_000, 0.035, 0.168_484_797_137_387_4),
            (5_000, 0.02, 0.036_139_413_953_256_37),
        ] {
            let found = tail(samples, distance);
            assert!((found - expected).abs() < 1e-7, "{samples} {distance}: {found} is not {expected}");
        }
    }
}
