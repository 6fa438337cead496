//! The short table of the simulation; `benches/drift_judge.rs` prints the long one.

use super::simulation::{BEFORE, Change, Field, Past, Setting, TAILS, run};

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
    let setting = Setting { past: Past::Keeps(0.8), ..Setting::default() };
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

#[test]
fn names_with_long_tails_are_quiet_in_short_windows_and_in_long_ones() {
    for (window, calls) in [((200, 50), 2_200), ((2_000, 250), 4_000)] {
        let found = run(&Setting { fields: TAILS, window, calls, ..Setting::default() }, 0..15);
        assert!(found.share(found.exceeding) <= 0.01, "{window:?}: {}", found.share(found.exceeding));
    }
}

/// Batches share half of the variance, a wave as much: short blocks show little of it.
#[test]
fn batches_and_waves_alarm_seldom_and_large_changes_in_them_are_found() {
    const ONE: &[Field] = &[Field::Normal];
    for (past, most, least) in [
        (Past::Batches(25, 0.5), 0.01, 0.8),
        (Past::Batches(100, 0.5), 0.15, 0.4),
        (Past::Batches(10, 1.0), 0.01, 0.8),
        (Past::Wave(200), 0.01, 0.5),
        (Past::Wave(500), 0.01, 0.25),
    ] {
        let clean = Setting { fields: ONE, past, calls: 3_000, ..Setting::default() };
        let found = run(&clean, 0..30);
        assert!(found.share(found.alarms) <= most, "{past:?}: {}", found.share(found.alarms));
        let change = Some((0, Change::Moved(2.0)));
        let found = run(&Setting { calls: BEFORE + 300, change, ..clean }, 0..30);
        assert!(found.within(300) >= least, "{past:?}: {} found", found.within(300));
    }
}

#[test]
fn what_cannot_be_judged_is_not_called_ok() {
    for (fields, past) in
        [(&[Field::Counter][..], Past::Keeps(0.0)), (&[Field::Normal][..], Past::Batches(50, 1.0))]
    {
        for window in [(200, 50), (2_000, 250)] {
            let found = run(&Setting { fields, past, window, calls: 4_000, ..Setting::default() }, 0..10);
            assert!(found.share(found.alarms) <= 0.01, "{past:?} {window:?}");
            let must_say = window.0 == 200 || matches!(fields[0], Field::Counter);
            assert!(!must_say || found.share(found.unsteady) > 0.9, "{past:?} {window:?}");
        }
    }
}

#[test]
fn an_unseen_category_is_found_among_runs_of_others() {
    const FEW: &[Field] = &[Field::Categories(5)];
    let change = Some((0, Change::New(1.0)));
    let setting = Setting { fields: FEW, past: Past::Batches(10, 1.0), change, ..Setting::default() };
    let found = run(&Setting { calls: BEFORE + 300, ..setting }, 0..20);
    assert!(found.within(300) >= 0.9, "{}", found.within(300));
}
