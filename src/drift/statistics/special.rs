//! The special functions that p-values are made of. They are exact to about 1e-12 relative also far out in the tails,
//! where `1 - cdf` would be 0.

use std::f64::consts::{PI, SQRT_2};

/// Below this [`ln_gamma`] walks up, so that the series beyond is exact.
const STIRLING_MIN: f64 = 15.0;
/// Terms of a series or a continued fraction; far more than any of them takes (about the root of the degrees of freedom).
const TERMS_MAX: usize = 200_000;
/// Instead of a 0 in a denominator of the continued fraction.
const TINY: f64 = 1e-300;

/// `ln Γ(x)` for positive x: Stirling's series.
pub fn ln_gamma(x: f64) -> f64 {
    if !x.is_finite() || x <= 0.0 {
        return f64::INFINITY;
    }
    let (mut x, mut product) = (x, 1.0);
    while x < STIRLING_MIN {
        product *= x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = (1.0 / 12.0
        - square
            * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square * (1.0 / 1188.0)))))
        / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + series - product.ln()
}

/// `ln n!`.
pub fn ln_factorial(n: u64) -> f64 {
    ln_gamma(n as f64 + 1.0)
}

/// `Q(a, x)`, the upper regularised incomplete gamma function: a series left of the maximum, a continued fraction
/// (Lentz) right of it. 1 for x of at most 0.
pub fn gamma_upper(a: f64, x: f64) -> f64 {
    if a.is_nan() || x.is_nan() || a <= 0.0 || x <= 0.0 {
        return 1.0;
    }
    if x.is_infinite() {
        return 0.0;
    }
    let scale = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for step in 1..TERMS_MAX {
            term *= x / (a + step as f64);
            sum += term;
            if term < sum * f64::EPSILON {
                break;
            }
        }
        return (1.0 - scale * sum).clamp(0.0, 1.0);
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut fraction = d;
    for step in 1..TERMS_MAX {
        let step = step as f64;
        let numerator = step * (a - step);
        b += 2.0;
        d = 1.0 / away_from_zero(numerator * d + b);
        c = away_from_zero(b + numerator / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    (scale * fraction).clamp(0.0, 1.0)
}

/// The chance that a chi-square variable with so many degrees of freedom is at least `statistic`; 1 with none.
pub fn chi_square_tail(statistic: f64, degrees: f64) -> f64 {
    if degrees > 0.0 { gamma_upper(degrees / 2.0, statistic / 2.0) } else { 1.0 }
}

/// The chance that a standard normal variable is at least `z` away from 0.
pub fn normal_two_sided(z: f64) -> f64 {
    if z.is_nan() { 1.0 } else { gamma_upper(0.5, (z / SQRT_2).powi(2)) }
}

fn away_from_zero(value: f64) -> f64 {
    if value.abs() < TINY { TINY } else { value }
}
