use super::*;

const BASELINE: [u32; 7] = [100, 100, 100, 100, 0, 4, 0];

fn compared<'a>(baseline: &'a [u32], current: &'a [u32]) -> Compared<'a> {
    Compared { baseline, current, ordered: true, dispersion: Dispersion::default() }
}

fn one(baseline: &[u32], current: &[u32]) -> Comparison {
    compare(&[compared(baseline, current)], &Thresholds::default()).remove(0)
}

fn strongest(comparison: &Comparison) -> &'static str {
    comparison.tests.iter().min_by(|one, other| one.pvalue.total_cmp(&other.pvalue)).unwrap().name
}

#[test]
fn below_the_minimum_nothing_is_said() {
    let found = one(&BASELINE, &[60, 60, 60, 10, 0, 9, 0]);
    assert_eq!(found.verdict, Verdict::Insufficient);
    assert_eq!((found.psi, found.js, found.effect, found.pvalue), (None, None, None, None));
    assert_eq!((found.samples, found.baseline_samples), (199, 404));
    assert_eq!(one(&[0; 7], &BASELINE).verdict, Verdict::Insufficient);
    assert_eq!(one(&[], &[]).verdict, Verdict::Insufficient);
}

#[test]
fn what_has_not_changed_is_quiet() {
    let found = one(&BASELINE, &[52, 48, 51, 49, 0, 2, 0]);
    assert_eq!(found.verdict, Verdict::Quiet);
    assert!(found.psi.unwrap() < 0.01 && found.pvalue.unwrap() > 0.9, "{found:?}");
}

#[test]
fn each_kind_of_change_is_seen_by_its_test() {
    for (current, name) in [
        ([10, 30, 60, 100, 0, 2, 0], "rank_sum"),
        ([95, 5, 5, 95, 0, 2, 0], "chi_square"),
        ([45, 46, 45, 46, 0, 20, 0], "null"),
        ([48, 47, 48, 47, 12, 2, 0], "other"),
        ([48, 47, 48, 47, 0, 2, 12], "invalid"),
    ] {
        let found = one(&BASELINE, &current);
        assert_eq!((found.verdict, strongest(&found)), (Verdict::Exceeds, name), "{found:?}");
    }
}

#[test]
fn nulls_are_apart_from_the_distance_of_the_values() {
    let found = one(&BASELINE, &[45, 45, 45, 45, 0, 20, 0]);
    assert_eq!((found.psi, found.js), (Some(0.0), Some(0.0)));
    assert!(found.effect.unwrap() > 0.1);
    assert_eq!(found.null_ratio, Some(0.1));
}

#[test]
fn a_significant_trifle_is_quiet() {
    let found = one(&[100_000, 100_000, 0, 0, 0], &[102_000, 98_000, 0, 0, 0]);
    assert!(found.pvalue.unwrap() < 1e-6 && found.effect.unwrap() < 0.1);
    assert_eq!(found.verdict, Verdict::Quiet);
}

#[test]
fn many_fields_and_many_looks_make_each_less_sure() {
    let current = [68, 50, 48, 34, 0, 2, 0];
    let alone = one(&BASELINE, &current).pvalue.unwrap();
    let fields = [compared(&BASELINE, &current); 5];
    let together = compare(&fields, &Thresholds::default());
    assert!(together[0].pvalue.unwrap() > alone);
    let once = compare(&fields[..1], &Thresholds { looks: 1, ..Thresholds::default() })[0].pvalue.unwrap();
    assert!((alone / once / 12.0 - 1.0).abs() < 1e-9, "{alone} {once}");
}

#[test]
fn dispersion_makes_less_sure_of_what_it_is_about() {
    let dispersed = |dispersion| {
        let field = Compared { dispersion, ..compared(&BASELINE, &[10, 30, 60, 100, 3, 20, 0]) };
        let found = compare(&[field], &Thresholds::default()).remove(0);
        let pvalue = |name| found.tests.iter().find(|test| test.name == name).unwrap().pvalue;
        ["chi_square", "rank_sum", "other", "null"].map(pvalue)
    };
    let none = dispersed(Dispersion::default());
    for (at, dispersion) in [
        Dispersion { values: 4.0, ..Dispersion::default() },
        Dispersion { place: 4.0, ..Dispersion::default() },
        Dispersion { other: 3.0, ..Dispersion::default() },
        Dispersion { missing: 4.0, ..Dispersion::default() },
    ]
    .into_iter()
    .enumerate()
    {
        let found = dispersed(dispersion);
        for test in 0..4 {
            assert_eq!(found[test] > none[test], test == at, "{dispersion:?}: {found:?} {none:?}");
        }
    }
}

#[test]
fn new_values_are_expected_where_many_were_seen_once() {
    let rare = [&[200, 200][..], &[1; 40], &[0, 0, 0]].concat();
    let common = [&[200, 200][..], &[10; 4], &[0, 0, 0]].concat();
    let with_new = |baseline: &[u32]| {
        let mut current = vec![0; baseline.len()];
        (current[0], current[1]) = (90, 90);
        current[baseline.len() - 3] = 20;
        let field = Compared { ordered: false, ..compared(baseline, &current) };
        let found = compare(&[field], &Thresholds::default()).remove(0);
        found.tests.iter().find(|test| test.name == "other").unwrap().pvalue
    };
    assert!(with_new(&rare) > 0.3 && with_new(&common) < 1e-8);
}

/// 40 names seen once each: some of them are missing in any window, and others are new.
#[test]
fn rare_names_are_neither_a_difference_nor_an_effect_and_fewer_new_ones_are_no_question() {
    let baseline = [&[300, 160][..], &[1; 40], &[0, 0, 0]].concat();
    let mut current = vec![0; baseline.len()];
    (current[0], current[1], current[40 + 2]) = (120, 64, 16);
    let names = |current: &[u32]| {
        let field = Compared { ordered: false, ..compared(&baseline, current) };
        compare(&[field], &Thresholds::default()).remove(0)
    };
    let found = names(&current);
    assert!(found.psi.unwrap() > 0.3 && found.effect.unwrap() < 0.01, "{found:?}");
    assert!(found.tests.iter().all(|test| test.pvalue > 0.5), "{found:?}");
    (current[0], current[40 + 2]) = (136, 1);
    let fewer = names(&current);
    assert_eq!(fewer.tests.iter().find(|test| test.name == "other").unwrap().pvalue, 1.0);
    // 7 % more than expected is a small change of the cell, yet so many are of a kind that was not there.
    current[40 + 2] = 32;
    assert!(names(&current).effect.unwrap() > 0.1);
    current[40 + 2] = 60;
    assert_eq!(names(&current).verdict, Verdict::Exceeds);
}

#[test]
fn what_could_not_exceed_whatever_came_is_unsteady_and_not_ok() {
    let with = |dispersion, current: &[u32]| {
        compare(&[Compared { dispersion, ..compared(&BASELINE, current) }], &Thresholds::default()).remove(0)
    };
    let all = |factor| Dispersion { values: factor, place: factor, other: factor, ..Dispersion::default() };
    let same = [52, 48, 51, 49, 0, 2, 0];
    let unsteady = with(all(78.0), &same);
    assert_eq!((unsteady.unsteady, unsteady.verdict), (true, Verdict::Insufficient));
    assert_eq!((unsteady.psi, unsteady.effect, unsteady.pvalue), (None, None, None));
    let steady = with(all(12.0), &same);
    assert_eq!((steady.unsteady, steady.verdict), (false, Verdict::Quiet));
    assert_eq!(with(all(12.0), &[0, 0, 0, 200, 0, 2, 0]).verdict, Verdict::Exceeds);
    let grows = Dispersion { grows: true, ..Dispersion::default() };
    assert!(with(grows, &same).unsteady);
    assert_eq!(
        with(all(78.0), &[45, 45, 45, 45, 0, 60, 0]).verdict,
        Verdict::Exceeds,
        "nulls are not values"
    );
}

#[test]
fn the_largest_counts_are_counted() {
    let found = one(&[u32::MAX; 9], &[0, u32::MAX, u32::MAX, 0, u32::MAX, 1, 2, u32::MAX, 0]);
    assert_eq!(found.samples, u32::MAX);
    assert!(found.pvalue.is_some_and(|pvalue| (0.0..=1.0).contains(&pvalue)));
}

fn states(verdicts: &[Verdict]) -> Vec<State> {
    let mut persistence = Persistence::default();
    verdicts.iter().map(|verdict| persistence.step(*verdict)).collect()
}

#[test]
fn an_alert_takes_two_of_three_steps_and_ends_after_three_quiet_ones() {
    use State::{Alert, Insufficient as Unknown, Ok, Warn};
    use Verdict::{Exceeds, Insufficient, Quiet};
    for (verdicts, expected) in [
        (&[Quiet, Exceeds, Quiet, Quiet, Quiet][..], &[Ok, Warn, Warn, Warn, Ok][..]),
        (&[Exceeds, Exceeds, Quiet, Quiet, Quiet], &[Warn, Alert, Alert, Alert, Ok]),
        (&[Exceeds, Quiet, Exceeds, Quiet, Exceeds, Quiet], &[Warn, Warn, Alert, Alert, Alert, Alert]),
        (&[Exceeds, Quiet, Quiet, Exceeds], &[Warn, Warn, Warn, Warn]),
        (&[Exceeds, Exceeds, Insufficient, Exceeds], &[Warn, Alert, Unknown, Warn]),
    ] {
        assert_eq!(states(verdicts), expected, "{verdicts:?}");
    }
}

#[test]
fn persistence_survives_a_restart() {
    let mut before = Persistence::default();
    before.step(Verdict::Exceeds);
    let mut after: Persistence = serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();
    assert_eq!(after.state(), State::Warn);
    assert_eq!(after.step(Verdict::Exceeds), State::Alert);
}
