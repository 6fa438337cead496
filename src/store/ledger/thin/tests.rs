use super::*;
use crate::model::error::InvokeError;
use crate::model::invocation::Origin;
use crate::model::kind::ErrorKind;
use crate::store::ledger::tests::{line, recorded};
use crate::telemetry::{Begin, Ending};

/// Records of real calls: `(fails, prints)` of each.
fn records(calls: &[(bool, bool)]) -> Vec<Record> {
    recorded(|telemetry| {
        for (fails, prints) in calls {
            let begin =
                Begin { plugin: "echo".into(), action: "invoke".into(), parent: None, origin: Origin::Local };
            let mut call = telemetry.begin(begin);
            if *prints {
                call.guest_log(call.root(), line("printed"));
            }
            let usage = Default::default();
            if *fails {
                let error = InvokeError::new(ErrorKind::PluginError, "no");
                call.finish(Ending::Failed { error: &error, usage });
            } else {
                call.finish(Ending::Replied { usage });
            }
        }
    })
}

fn kept(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Keep(_) | Verdict::KeepWith(..))
}

#[test]
fn below_the_rate_each_call_is_kept_and_beyond_it_a_sample() {
    let records = records(&vec![(false, false); 3_000]);
    let mut thinner = Thinner::new(100);
    let start = Instant::now();
    // 50 calls a second for twenty seconds.
    for (n, record) in records[..1_000].iter().enumerate() {
        let now = start + Duration::from_millis(20) * n as u32;
        assert!(kept(&thinner.judge(record, now)));
    }
    // 1,000 a second, for two.
    let start = start + Duration::from_secs(60);
    let mut by_second = [0; 2];
    for (n, record) in records[1_000..].iter().enumerate() {
        let now = start + Duration::from_millis(1) * n as u32;
        by_second[n / 1_000] += u32::from(kept(&thinner.judge(record, now)));
    }
    assert!((200..450).contains(&by_second[0]), "{by_second:?}");
    assert!((60..160).contains(&by_second[1]), "{by_second:?}");
}

#[test]
fn a_burst_of_failures_is_kept_whole_and_a_flood_of_them_is_not() {
    let records = records(&vec![(true, false); 3_000]);
    let mut thinner = Thinner::new(100);
    let start = Instant::now();
    let mut judge = |records: &[Record], at: Instant| {
        records.iter().filter(|record| kept(&thinner.judge(record, at))).count()
    };
    assert_eq!(judge(&records[..800], start), 800);
    let flood = judge(&records[800..2_200], start + Duration::from_secs(1));
    assert!(flood < 400, "{flood}");
    // A minute later there may be a burst again.
    assert_eq!(judge(&records[2_200..], start + Duration::from_secs(61)), 800);
}

#[test]
fn failed_calls_in_a_flood_are_kept_with_what_they_printed() {
    let mut calls = vec![(false, true); 5_000];
    calls[4_000].0 = true;
    let mut thinner = Thinner::new(10);
    let now = Instant::now();
    let (mut with_lines, mut held, mut left_out) = (0, 0_u64, 0_u64);
    for record in records(&calls) {
        match thinner.judge(&record, now) {
            Verdict::KeepWith(Class::Failed, lines) => {
                assert_eq!(lines.iter().map(|line| &*line.body).collect::<Vec<_>>(), ["printed"]);
                with_lines += 1;
            }
            Verdict::Hold { lines } => {
                held += 1;
                left_out += lines;
            }
            Verdict::KeepWith(_, lines) => left_out += lines.len() as u64,
            Verdict::LeaveOut { lines } => left_out += lines,
            _ => {}
        }
    }
    assert_eq!(with_lines, 1);
    assert_eq!(held, left_out + 1, "all others went");
    assert_eq!((thinner.held.lines, thinner.held.bytes, thinner.held.order.len()), (0, 0, 0));
}

#[test]
fn what_is_held_is_bounded() {
    let mut held = Held::default();
    let Some(Record::Log(line)) =
        records(&[(false, true)]).into_iter().find(|record| matches!(record, Record::Log(_)))
    else {
        panic!("it printed")
    };
    let mut gone = 0;
    for n in 0..10_000_u128 {
        gone += held.put(InvocationId::new(uuid::Uuid::from_u128(n)), (*line).clone());
        assert!(held.lines <= HELD_LINES_MAX && held.bytes <= HELD_BYTES_MAX);
    }
    assert_eq!(gone + held.lines as u64, 10_000);
}

#[test]
fn lots_are_spread_evenly_and_the_same_for_each_call_of_a_trace() {
    let mut below = 0;
    for n in 0..10_000_u64 {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&n.to_be_bytes());
        below += u32::from(lot(&id) < 6_554);
        assert_eq!(lot(&id), lot(&id.clone()));
    }
    assert!((850..1_150).contains(&below), "{below}");
}
