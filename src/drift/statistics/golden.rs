//! The golden cases: what Evidently and scipy say about pairs of samples.

use std::path::Path;

use serde_json::Value;

use super::binning::{counts, evidently_counts, paired_counts, quantile_edges};
use super::*;

const EXACT: f64 = 1e-9;
const PVALUE: f64 = 1e-6;

#[test]
fn numbers_have_the_distances_and_tests_of_evidently_and_scipy() {
    for case in cases("numeric") {
        let id = case["id"].as_str().unwrap();
        let (reference, current) = (numbers(&case["reference"]), numbers(&case["current"]));
        let near = |name: &str, actual: f64, expected: &Value| assert_near(id, name, actual, expected, EXACT);

        let (r, c) = evidently_counts(&reference, &current);
        if let Some(expected) = case["evidently_bins"].get("ref_counts") {
            assert_eq!((&r, &c), (&whole(expected), &whole(&case["evidently_bins"]["cur_counts"])), "{id}");
        }
        let evidently = |name: &str| &case["evidently"][name]["value"];
        near("psi", psi::psi_evidently(&r, &c).unwrap(), evidently("psi"));
        near("js", jensen_shannon::distance_nats(&r, &c).unwrap(), evidently("jensenshannon"));
        let normed = wasserstein::normed_distance(&reference, &current).unwrap();
        near("wasserstein", normed, evidently("wasserstein"));
        let distance = wasserstein::distance(&reference, &current).unwrap();
        near("wasserstein", distance, &case["scipy"]["wasserstein"]);
        near("deviation", wasserstein::deviation(&reference), &case["scipy"]["ref_std_pop"]);

        let asymptotic = kolmogorov_smirnov::asymptotic(&reference, &current).unwrap();
        near("ks", asymptotic.statistic, &case["scipy"]["ks_stat"]);
        assert!((asymptotic.pvalue - case["scipy"]["ks_p_asymp"].as_f64().unwrap()).abs() < PVALUE, "{id}");
        assert_near(id, "ks p", asymptotic.pvalue, &case["scipy"]["ks_p_asymp"], PVALUE);
        let exact = kolmogorov_smirnov::exact(&reference, &current).unwrap();
        assert_near(id, "ks exact", exact.pvalue, evidently("ks"), 1e-8);
    }
}

#[test]
fn pinned_bins_count_as_numpy_does() {
    for case in cases("numeric") {
        let id = case["id"].as_str().unwrap();
        let (reference, current) = (numbers(&case["reference"]), numbers(&case["current"]));
        let pinned = &case["pinned_ref_quantile10"];
        let edges = quantile_edges(&reference, 10);
        assert_eq!(edges, numbers(&pinned["edges"]), "{id}");
        let (r, c) = (counts(&edges, &reference), counts(&edges, &current));
        assert_eq!((&r, &c), (&whole(&pinned["ref_counts"]), &whole(&pinned["cur_counts"])), "{id}");
        assert_near(id, "psi", psi::psi(&r, &c).unwrap(), &pinned["psi"], EXACT);
        assert_near(id, "js", jensen_shannon::distance_nats(&r, &c).unwrap(), &pinned["js_nat"], EXACT);
        assert_near(id, "js", jensen_shannon::distance_base2(&r, &c).unwrap(), &pinned["js_base2"], EXACT);
    }
}

#[test]
fn categories_have_the_distances_and_tests_of_evidently_and_scipy() {
    for case in cases("categorical") {
        let id = case["id"].as_str().unwrap();
        let near = |name: &str, actual: f64, expected: &Value| assert_near(id, name, actual, expected, EXACT);
        let (r, c) = paired_counts(texts(&case["reference"]), texts(&case["current"]));
        let evidently = |name: &str| &case["evidently"][name]["value"];
        near("psi", psi::psi_evidently(&r, &c).unwrap(), evidently("psi"));
        near("js", jensen_shannon::distance_nats(&r, &c).unwrap(), evidently("jensenshannon"));
        near("fit", chi_square::goodness_of_fit(&r, &c).pvalue, evidently("chisquare"));
        let table = chi_square::two_sample(&r, &c);
        near("table", table.statistic, &case["scipy"]["chi2_contingency_stat"]);
        near("table", table.pvalue, &case["scipy"]["chi2_contingency_p"]);
        assert_eq!(u64::from(table.degrees), case["scipy"]["dof"], "{id}");
        if let [_, _] = r[..] {
            let pvalue = proportions::z_test(r[1].into(), total(&r), c[1].into(), total(&c));
            near("z", pvalue, evidently("z"));
        }
    }
}

#[test]
fn evidentlys_default_for_few_distinct_numbers_is_a_z_test() {
    let constant = cases("numeric").into_iter().find(|case| case["id"] == "dev_constant_ref").unwrap();
    let (r, c) = evidently_counts(&numbers(&constant["reference"]), &numbers(&constant["current"]));
    let pvalue = proportions::z_test(r[1].into(), total(&r), c[1].into(), total(&c));
    assert_near("dev_constant_ref", "z", pvalue, &constant["evidently_default_value"], EXACT);
}

/// Cases of a kind. There are 17 of both.
fn cases(kind: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/drift/golden_dev.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 17);
    cases.iter().filter(|case| case["kind"] == kind).cloned().collect()
}

/// Nulls become NaN, as they do in a data frame.
fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
}

fn texts(values: &Value) -> Vec<&str> {
    values.as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

fn whole(values: &Value) -> Vec<u32> {
    values.as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as u32).collect()
}

fn assert_near(id: &str, name: &str, actual: f64, expected: &Value, relative: f64) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("{id}: no {name}"));
    let bound = expected.abs() * relative;
    assert!((actual - expected).abs() <= bound, "{id}, {name}: {actual:e} is not {expected:e}");
}
