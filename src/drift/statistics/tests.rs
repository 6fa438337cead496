//! Functions against scipy 1.17.1 (values to all digits), and against whatever a stream may hold.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn assert_near(actual: f64, expected: f64, relative: f64) {
    let near = (actual - expected).abs() <= expected.abs() * relative;
    assert!(near, "{actual:e} is not {expected:e}");
}

#[test]
fn chi_square_tails_are_exact_far_out() {
    for (statistic, degrees, expected) in [
        (0.5, 1.0, 0.47950012218695337),
        (10.0, 1.0, 0.001565402258002549),
        (150.0, 1.0, 1.7336432457178413e-34),
        (3.0, 9.0, 0.9642949726850891),
        (40.0, 9.0, 7.598525229464264e-06),
        (200.0, 9.0, 3.312992393909567e-38),
        (75.0, 62.0, 0.12435321067022458),
        (400.0, 62.0, 6.583850990571689e-51),
        (1e-3, 5.0, 0.9999999983185123),
        (98_000.0, 100_000.0, 0.9999966152457719),
        (1_400.0, 3.0, 2.945619361016289e-303),
    ] {
        assert_near(special::chi_square_tail(statistic, degrees), expected, 1e-11);
    }
    assert_eq!(special::chi_square_tail(f64::INFINITY, 3.0), 0.0);
    assert_eq!(special::chi_square_tail(3.0, 0.0), 1.0);
}

#[test]
fn gamma_and_normal_tails_are_exact() {
    for (x, expected) in [
        (0.5, 0.5723649429247),
        (1.5, -0.12078223763524526),
        (10.5, 13.940625219403763),
        (15.0, 25.191221182738683),
        (12_345.5, 103_958.24296512322),
        (1e9, 19_723_265_827.503716),
    ] {
        assert_near(special::ln_gamma(x), expected, 1e-12);
    }
    assert!(special::ln_gamma(1.0).abs() < 1e-14 && special::ln_gamma(2.0).abs() < 1e-14);
    assert_near(special::normal_two_sided(1.959963984540054), 0.05, 1e-12);
    assert_near(special::normal_two_sided(-12.0), 3.5529642241553767e-33, 1e-11);
}

#[test]
fn fisher_is_that_of_scipy() {
    for (reference, references, current, currents, expected) in [
        (5, 500, 24, 200, 8.712799779752047e-10),
        (0, 500, 10, 200, 3.076553690089571e-06),
        (3, 10, 9, 10, 0.019766611097880443),
        (0, 1_000, 3, 200, 0.004571839916680707),
        (100, 1_000, 100, 1_000, 1.0),
        (100, 1_000, 10, 1_000, 9.574900178748631e-21),
        (1, 500, 0, 200, 1.0),
        (400, 500, 120, 200, 1.0787601468458157e-07),
        (50_000, 100_000, 51_000, 100_000, 7.89828955730827e-06),
        (7, 7, 0, 9, 8.741258741258743e-05),
        (0, 100_000, 60, 100_000, 1.7194343785527682e-18),
    ] {
        assert_near(fisher::exact(reference, references, current, currents), expected, 1e-8);
        assert_near(fisher::exact(current, currents, reference, references), expected, 1e-8);
    }
    assert_eq!(fisher::exact(0, 0, 3, 5), 1.0);
    assert_eq!(fisher::exact(9, 5, 9, 5), 1.0, "a count is at most its total");
}

#[test]
fn kolmogorovs_tail_is_that_of_scipy_in_all_its_regions() {
    for (samples, distance, expected) in [
        (1, 0.6, 0.8),
        (2, 0.4, 0.82),
        (10, 0.1, 0.99963712),
        (10, 0.04, 1.0),
        (10, 0.3, 0.27053557479999946),
        (10, 0.7, 1.9544800000000034e-05),
        (50, 0.1, 0.6623112704658186),
        (140, 0.05, 0.8576480297656114),
        (140, 0.12, 0.03252638258561632),
        (140, 0.2, 2.1981563302200222e-05),
        (141, 0.03, 0.9992107601012719),
        (141, 0.05, 0.854845693009663),
        (141, 0.1, 0.11128445516467944),
        (200, 0.02, 0.9999948480179858),
        (667, 0.01, 0.9999997962641647),
        (667, 0.02, 0.9474697282214574),
        (667, 0.05, 0.0688387216652675),
        (667, 0.1, 2.934265259213928e-06),
        (667, 0.3, 9.825610234768004e-54),
        (2_000, 0.01, 0.9871373661366796),
        (2_000, 0.02, 0.3953133626892045),
        (50_000, 0.001, 0.9999999997471354),
        (50_000, 0.004, 0.3994316646755731),
        (50_000, 0.01, 9.018048811843602e-05),
        (50_000, 0.03, 1.5783051787103078e-39),
    ] {
        assert_near(kolmogorov::tail(samples, distance), expected, 1e-8);
    }
}

#[test]
fn kolmogorov_smirnov_of_few_samples_is_exact() {
    let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [3.5, 4.5, 6.0, 7.0, 8.0, 9.0]);
    assert_near(kolmogorov_smirnov::exact(&low, &high).unwrap().pvalue, 0.10822510822510821, 1e-12);
    let low: Vec<f64> = (0..300).map(f64::from).collect();
    let high: Vec<f64> = (0..200).map(|at| f64::from(at) + 150.5).collect();
    assert_near(kolmogorov_smirnov::exact(&low, &high).unwrap().pvalue, 3.8332752875486307e-28, 1e-9);
    assert_eq!(kolmogorov_smirnov::exact(&low, &[]), None);
    assert_eq!(kolmogorov_smirnov::asymptotic(&[7.0; 9], &[7.0; 5]).unwrap().pvalue, 1.0);
}

#[test]
fn rank_sums_are_those_of_scipy() {
    for (reference, current, expected) in [
        (&[10, 20, 30][..], &[30, 20, 10][..], 8.449624619987721e-06),
        (&[50; 10], &[10, 20, 20, 20, 20, 20, 20, 20, 25, 25], 0.07716990060459025),
        (&[5, 0, 3], &[5, 1, 3], 0.9118147754049267),
    ] {
        assert_near(ranks::rank_sum(reference, current), expected, 1e-11);
    }
    assert!(ranks::rank_sum_z(&[9, 1], &[1, 9]) > 3.0, "positive: higher than it was");
    assert_eq!(ranks::rank_sum(&[4], &[5]), 1.0);
}

#[test]
fn bins_are_those_of_numpy() {
    assert_eq!(binning::quantile_edges(&[3.0, 1.0, 2.0], 2), [2.0]);
    assert_eq!(binning::quantile_edges(&[0.0, 1.0], 4), [0.25, 0.5, 0.75]);
    assert_eq!(binning::quantile_edges(&[5.0; 9], 10), [5.0], "duplicates are removed");
    assert_eq!(
        binning::counts(&[1.0, 2.0], &[1.0, 1.5, 2.0, 2.1, f64::NAN]),
        [1, 2, 1],
        "closed on the right"
    );
    let samples = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0];
    let edges = binning::sturges_edges(&samples);
    assert_eq!(edges, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    assert_eq!(binning::histogram(&edges, &samples), [2, 2, 2, 2, 2], "closed on the left, the last on both");
    assert_eq!(binning::sturges_edges(&[2.0, 2.0]), [1.5, 2.5]);
}

#[test]
fn negative_zero_is_zero() {
    assert_eq!(binning::quantile_edges(&[-0.0, 0.0, -0.0], 10), [0.0]);
    assert_eq!(binning::evidently_counts(&[-0.0, 0.0], &[0.0, -0.0, 1.0]), (vec![2, 0], vec![2, 1]));
    assert_eq!(kolmogorov_smirnov::asymptotic(&[-0.0; 3], &[0.0; 3]).unwrap().statistic, 0.0);
}

#[test]
fn the_largest_and_smallest_numbers_have_bins() {
    let samples: Vec<f64> =
        (0..40).map(|at| [1e308, -1e308, f64::MAX, f64::MIN, 5e-324][at % 5] / (at + 1) as f64).collect();
    let edges = binning::quantile_edges(&samples, 10);
    assert!(edges.is_sorted() && edges.iter().all(|edge| edge.is_finite()), "{edges:?}");
    let edges = binning::sturges_edges(&samples);
    assert!(edges.is_sorted() && edges.len() == 8, "{edges:?}");
    let (reference, current) = binning::evidently_counts(&samples, &samples);
    assert_eq!((total(&reference), reference), (40, current));
    let tiny: Vec<f64> = (0..30).map(|at| f64::from_bits(at % 5)).collect();
    assert_eq!(total(&binning::histogram(&binning::sturges_edges(&tiny), &tiny)), 30);
}

/// As many as a file may have; n * m steps would take hours.
#[test]
fn a_hundred_thousand_samples_are_no_trouble() {
    let reference: Vec<f64> = (0..100_000).map(|at| f64::from(at * 7_919 % 100_003)).collect();
    let current: Vec<f64> = reference.iter().map(|value| value + 500.0).collect();
    let found = kolmogorov_smirnov::exact(&reference, &current).unwrap();
    assert!(found.pvalue > 0.1 && found.pvalue < 0.2, "{found:?}");
    assert_near(wasserstein::distance(&reference, &current).unwrap(), 500.0, 1e-9);
    assert!(psi::psi_evidently(&[1; 1_000], &[2; 1_000]).unwrap().abs() < 1e-12);
}

fn any_samples() -> impl Strategy<Value = Vec<f64>> {
    let hostile =
        prop::sample::select(vec![0.0, -0.0, 5e-324, 1e308, -1e308, f64::MAX, f64::NAN, f64::INFINITY]);
    prop::collection::vec(prop_oneof![hostile, -3.0..3.0f64, (0..4i32).prop_map(f64::from)], 0..60)
}

fn any_counts() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(prop_oneof![Just(0), 0..9u32, Just(u32::MAX), 0..1_000u32], 0..12)
}

proptest! {
    #[test]
    fn samples_never_give_anything_but_numbers(reference in any_samples(), current in any_samples()) {
        let sides = sorted(&reference).len().min(sorted(&current).len());
        for distance in [
            wasserstein::distance(&reference, &current),
            wasserstein::normed_distance(&reference, &current),
        ] {
            prop_assert_eq!(distance.is_some(), sides > 0);
            prop_assert!(distance.is_none_or(|value| value.is_finite() && value >= 0.0));
        }
        for found in [
            kolmogorov_smirnov::asymptotic(&reference, &current),
            kolmogorov_smirnov::exact(&reference, &current),
        ] {
            prop_assert!(found.is_none_or(|found| (0.0..=1.0).contains(&found.statistic)));
            prop_assert!(found.is_none_or(|found| (0.0..=1.0).contains(&found.pvalue)));
        }
        let edges = binning::quantile_edges(&reference, 10);
        prop_assert!(edges.is_sorted() && edges.iter().all(|edge| edge.is_finite()));
        prop_assert_eq!(total(&binning::counts(&edges, &current)), sorted(&current).len() as u64);
        let (r, c) = binning::evidently_counts(&reference, &current);
        prop_assert_eq!((total(&r), total(&c)), (sorted(&reference).len() as u64, sorted(&current).len() as u64));
        prop_assert!(psi::psi_evidently(&r, &c).is_none_or(|value| value.is_finite() && value >= 0.0));
    }

    #[test]
    fn counts_never_give_anything_but_numbers(reference in any_counts(), current in any_counts()) {
        let both = total(&reference) > 0 && total(&current) > 0;
        for distance in [
            psi::psi(&reference, &current),
            psi::psi_evidently(&reference, &current),
            jensen_shannon::distance_base2(&reference, &current),
            jensen_shannon::distance_nats(&reference, &current),
        ] {
            prop_assert_eq!(distance.is_some(), both);
            prop_assert!(distance.is_none_or(|value| value.is_finite() && value >= 0.0));
        }
        for found in [
            chi_square::goodness_of_fit(&reference, &current),
            chi_square::two_sample(&reference, &current),
            chi_square::two_sample_pooled(&reference, &current, chi_square::Order::ByCount),
        ] {
            prop_assert!((0.0..=1.0).contains(&found.pvalue) && !found.statistic.is_nan());
        }
        prop_assert!((0.0..=1.0).contains(&ranks::rank_sum(&reference, &current)));
    }

    #[test]
    fn rare_counts_never_give_anything_but_chances(a in 0..40u64, n in 0..40u64, b in 0..40u64, m in 0..40u64) {
        prop_assert!((0.0..=1.0).contains(&fisher::exact(a, n, b, m)));
        prop_assert!((0.0..=1.0).contains(&proportions::z_test(a, n, b, m)));
        prop_assert!((fisher::exact(a, n, b, m) - fisher::exact(b, m, a, n)).abs() < 1e-9);
    }
}
