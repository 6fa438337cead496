//! The short table of the simulation; `benches/drift_judge.rs` prints the long one.

use super::simulation::{BEFORE, Change, Setting, run};

/// 2,050 windows of 10 clean fields each.
const STREAMS: u64 = 50;

#[test]
fn at_most_one_in_a_hundred_windows_of_clean_fields_alarms() {
    let found = run(&Setting { others: true, ..Setting::default() }, 0..STREAMS);
    let (alarms, psi, ks) =
        (found.share(found.alarms), found.share(found.large_psi), found.share(found.small_ks));
    println!(
        "{} windows of 10 clean fields, with an alarm: {:.2} %; PSI > 0.1: {:.0} %; KS p < 0.05: {:.0} %",
        found.windows,
        alarms * 100.0,
        psi * 100.0,
        ks * 100.0
    );
    assert!(found.windows >= 2_000);
    assert!(alarms <= 0.01 && found.share(found.exceeding) <= 0.01, "{alarms}");
    assert!(psi > 0.5 && ks > 0.2, "the rules that this is better than: {psi} {ks}");
}

#[test]
fn streams_that_depend_on_their_past_alarm_no_more_once_they_are_calibrated() {
    let setting = Setting { keeps: 0.8, ..Setting::default() };
    let calibrated = run(&setting, 0..20);
    assert!(calibrated.share(calibrated.alarms) <= 0.02, "{}", calibrated.share(calibrated.alarms));
    let not = run(&Setting { calibrated: false, ..setting }, 0..5);
    assert!(not.share(not.alarms) > 0.5, "{}", not.share(not.alarms));
}

#[test]
fn changes_are_found_within_300_calls() {
    for (field, change, least) in [
        (0, Change::Moved(0.5), 0.8),
        (1, Change::Moved(1.0), 1.0),
        (5, Change::New(0.05), 0.7),
        (7, Change::Nulls(0.12), 0.9),
    ] {
        let setting = Setting { calls: BEFORE + 300, change: Some((field, change)), ..Setting::default() };
        let found = run(&setting, 0..20);
        assert!(found.within(300) >= least, "field {field}: {}", found.within(300));
    }
}
