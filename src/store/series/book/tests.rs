use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::kind::Outcome;

const NOW: u32 = 1_700_000_000;

fn bounds(series_max: usize, steps_max: usize) -> Bounds {
    let resolution = |width_s, keep_s| Resolution { width_s, keep_s };
    Bounds {
        series_max,
        steps_max,
        resolutions: [resolution(1, 900), resolution(10, 21_600), resolution(60, 604_800)],
    }
}

fn call(outcome: Outcome, kind: Option<ErrorKind>) -> Ended {
    Ended {
        outcome,
        kind,
        reached_attempt: true,
        duration: Duration::from_millis(20),
        queue: Duration::from_millis(1),
        cpu: Duration::from_millis(2),
        memory_peak_bytes: 1 << 20,
        cold_start: false,
    }
}

fn example() -> Example {
    Example {
        at_unix_ns: u64::from(NOW) * 1_000_000_000,
        kind: None,
        message: String::new(),
        duration_ns: 1,
        invocation_id: String::new(),
        trace_id: String::new(),
    }
}

fn count(book: &mut Book, plugin: &str, version: Option<&str>, at: u32, call: &Ended) {
    let version: Option<Arc<str>> = version.map(Arc::from);
    book.count(&plugin.into(), version.as_ref(), call, u64::from(at) * 1_000_000_000, NOW, example);
}

fn sum(book: &Book, tier: usize, from: u32, until: u32) -> Slot {
    let mut sum = Slot::default();
    for (_, one) in book.ones() {
        one.range(tier, from, until).for_each(|(_, slot)| sum.add(slot));
    }
    sum
}

fn any_call() -> impl Strategy<Value = (u32, u8, u64, bool)> {
    // Up to 14 minutes late, in any order; from within a minute that begins whole.
    (0_u32..840, 0_u8..4, 0_u64..200_000_000, any::<bool>())
}

proptest! {
    /// Whatever the order and however late: over whole minutes that all of them keep, the sums are the same.
    #[test]
    fn all_resolutions_agree(calls in prop::collection::vec(any_call(), 1..200)) {
        let mut book = Book::new(bounds(500, 400_000));
        for (ago, outcome, micros, reached_attempt) in &calls {
            let (outcome, kind) = match outcome {
                0 => (Outcome::Replied, None),
                1 => (Outcome::Failed, Some(ErrorKind::PluginError)),
                2 => (Outcome::Failed, Some(ErrorKind::InvalidInput)),
                _ => (Outcome::Dropped, Some(ErrorKind::Cancelled)),
            };
            let ended = Ended {
                reached_attempt: *reached_attempt,
                duration: Duration::from_micros(*micros),
                ..call(outcome, kind)
            };
            count(&mut book, if micros % 2 == 0 { "a" } else { "b" }, Some("1.0.0"), NOW - ago, &ended);
        }
        let (from, until) = (NOW - 840 - (NOW - 840) % 60, NOW + 60);
        let fine = sum(&book, 0, from, until);
        prop_assert_eq!(fine.calls as usize, calls.len());
        prop_assert_eq!(&fine, &sum(&book, 1, from, until));
        prop_assert_eq!(&fine, &sum(&book, 2, from, until));
        // And step by step: a minute is its sixty seconds.
        for minute in (from..until).step_by(60) {
            prop_assert_eq!(sum(&book, 0, minute, minute + 60), sum(&book, 2, minute, minute + 60));
        }
    }
}

#[test]
fn a_late_call_goes_to_the_steps_that_are_still_kept() {
    let mut book = Book::new(bounds(500, 400_000));
    let replied = call(Outcome::Replied, None);
    count(&mut book, "a", Some("1.0.0"), NOW, &replied);
    count(&mut book, "a", Some("1.0.0"), NOW - 3_600, &replied);
    count(&mut book, "a", Some("1.0.0"), NOW - 8 * 24 * 3_600, &replied);
    // A clock that was set back.
    count(&mut book, "a", Some("1.0.0"), NOW + 500, &replied);
    let calls = |tier| sum(&book, tier, 0, u32::MAX).calls;
    assert_eq!([calls(0), calls(1), calls(2)], [2, 3, 3]);
}

#[test]
fn names_that_nobody_registered_are_one() {
    let mut book = Book::new(bounds(500, 400_000));
    let unknown = call(Outcome::Failed, Some(ErrorKind::NotFound));
    for name in 0..1_000 {
        count(&mut book, &format!("name-{name}"), None, NOW, &unknown);
    }
    count(&mut book, "known", Some("1.0.0"), NOW, &call(Outcome::Replied, None));
    count(&mut book, "known", None, NOW, &unknown);
    let of = |name: &str| book.ones_of(name).len();
    assert_eq!((of(OTHER), of("name-7"), of("known")), (1, 0, 2));
    assert_eq!(book.counts(), (3, 9));
}

#[test]
fn beyond_the_cap_calls_are_counted_together_and_said() {
    let mut book = Book::new(bounds(3, 400_000));
    let replied = call(Outcome::Replied, None);
    for name in 0..5 {
        count(&mut book, &format!("plugin-{name}"), Some("1.0.0"), NOW, &replied);
    }
    assert_eq!(book.overflowed, 2);
    let overflow: u32 = book.ones_of(OVERFLOW)[0].range(0, 0, u32::MAX).map(|(_, slot)| slot.calls).sum();
    assert_eq!(overflow, 2);
    assert_eq!(sum(&book, 2, 0, u32::MAX).calls, 5, "no call is lost");
}

#[test]
fn what_is_too_much_goes_oldest_first_and_is_said() {
    let mut book = Book::new(bounds(500, 1_000));
    let replied = call(Outcome::Replied, None);
    for ago in (0..5_000_u32).rev() {
        count(&mut book, "a", Some("1.0.0"), NOW - ago * 60, &replied);
    }
    let (_, steps) = book.counts();
    assert!(steps <= 1_000, "{steps}");
    let complete = book.complete_from(2, NOW);
    let kept = sum(&book, 2, complete, u32::MAX).calls;
    assert!(kept >= 400, "{kept} minutes are left");
    assert_eq!(kept as usize, ((NOW - NOW % 60 - complete) / 60 + 1) as usize, "from there on it is whole");
}

#[test]
fn what_is_old_goes_with_its_series() {
    let mut book = Book::new(bounds(500, 400_000));
    count(&mut book, "a", Some("1.0.0"), NOW, &call(Outcome::Replied, None));
    book.expire(NOW + 1_000);
    assert_eq!(book.counts(), (1, 2));
    book.expire(NOW + 8 * 24 * 3_600);
    assert_eq!(book.counts(), (0, 0));
    assert!(book.names().is_empty());
}

#[test]
fn a_step_is_written_once_unless_it_changes() {
    let mut book = Book::new(bounds(500, 400_000));
    let replied = call(Outcome::Replied, None);
    count(&mut book, "a", Some("1.0.0"), NOW - 30, &replied);
    assert_eq!(book.take_changes().len(), 3);
    assert_eq!(book.take_changes().len(), 0);
    count(&mut book, "a", Some("1.0.0"), NOW, &replied);
    let changes = book.take_changes();
    assert_eq!(changes.len(), 3);
    book.put_back(&changes);
    assert_eq!(book.take_changes().len(), 3, "they were not written");
    book.all_changed();
    assert_eq!(book.take_changes().len(), book.counts().1);
}

/// A server of many versions that was never quiet. Not a measurement, but far from it something is wrong.
#[test]
fn a_week_of_fifty_plugins_is_within_its_bounds_and_summed_quickly() {
    let mut book = Book::new(bounds(500, 400_000));
    let replied = call(Outcome::Replied, None);
    let names: Vec<Arc<str>> = (0..50).map(|number| format!("plugin-{number}").into()).collect();
    let version: Arc<str> = "1.0.0".into();
    for minute in (0..7 * 24 * 60_u32).rev() {
        for name in &names {
            let at = u64::from(NOW - minute * 60) * 1_000_000_000;
            book.count(name, Some(&version), &replied, at, NOW, example);
        }
    }
    let (series, steps) = book.counts();
    assert!(series == 50 && (300_000..=400_000).contains(&steps), "{steps}");
    assert!(size_of::<super::super::tier::Step>() <= 136);
    let start = std::time::Instant::now();
    assert!(sum(&book, 2, 0, u32::MAX).calls > 300_000);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    println!("{steps} steps summed in {:?}", start.elapsed());
}
