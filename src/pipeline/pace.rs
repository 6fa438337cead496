//! How long the calls of a version hold their place once it is their turn, and so whether a turn is worth waiting
//! for. Shared by who lets calls in and who looks at them when their turn has come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Call;
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::limits::Limits;
use crate::model::units::format_duration;

/// Each call counts for an eighth: some ten calls tell of a change, one of them alone does not.
const WEIGHT: u64 = 8;
/// Who waited no longer than this found a place free, and may try whatever the others took.
const NO_WAIT: Duration = Duration::from_millis(1);
/// What a refused caller is told to wait: until those before him have ended, within these bounds.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Pace {
    /// How long a place is held, what the start of an instance takes included.
    held: Average,
    /// Without that: what is counted as a call's own time.
    worked: Average,
    /// So many calls run at once.
    width: u32,
}

impl Pace {
    pub fn new(limits: &Limits) -> Pace {
        let places = limits.instances_max.saturating_mul(limits.calls_per_instance);
        let width = limits.concurrency.min(places).max(1);
        Pace { held: Average::default(), worked: Average::default(), width }
    }

    /// A call has ended. One that was cut off would have taken longer: it never makes the others look shorter. That
    /// would let in more than can be done, to be cut off in turn, for good.
    pub fn ended(&self, call: &Call, error: Option<ErrorKind>) {
        let Some((held, prepared)) = call.recording.since_its_turn() else { return };
        match error {
            // Told at its turn that it comes too late.
            Some(ErrorKind::Overloaded) => {}
            error => self.took(held, prepared, error == Some(ErrorKind::Timeout)),
        }
    }

    fn took(&self, held: Duration, prepared: Duration, cut_off: bool) {
        for (average, time) in [(&self.held, held), (&self.worked, held.saturating_sub(prepared))] {
            average.add(if cut_off { time.max(average.get()) } else { time });
        }
    }

    /// How long a call takes once it is let in, if so many are before it; `None`: it need not wait, and nobody
    /// knows.
    pub fn needed(&self, before: usize) -> Option<Duration> {
        let ends = (before + 1).checked_sub(self.width as usize).filter(|ends| *ends > 0)?;
        Some(self.held.get().mul_f64(ends as f64 / f64::from(self.width)) + self.worked.get())
    }

    /// For a call whose turn has come when it cannot be over in time any more: an instance would work for a caller
    /// who is told `timeout`, and be killed in the middle of it. The next in the queue has more of his time left.
    pub fn too_late(&self, call: &Call) -> Option<InvokeError> {
        let (needed, left) = (self.worked.get(), call.time_left());
        // A delivery that ends here would not be tried again.
        let may_try = call.recording.waited() <= NO_WAIT || call.invocation.delivery.is_some();
        (needed > left && !may_try).then(|| {
            let [needed, left] = [needed, left].map(shown);
            let message = format!("its turn came when it had {left} left, and calls take about {needed}");
            self.refusal(message, 0).help(HELP)
        })
    }

    pub fn refusal(&self, message: String, before: usize) -> InvokeError {
        let wait = self.needed(before).unwrap_or_default().clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
        // Those who are refused together do not come back together.
        let wait = wait.mul_f64(0.5 + fastrand::f64());
        InvokeError::new(ErrorKind::Overloaded, message).retry_after(wait)
    }
}

/// For who is refused because of his time.
pub const HELP: &str = "try again later, allow the call more time, or raise limits.concurrency of the plugin";

/// As much of an estimate as is worth telling.
pub fn shown(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    format_duration(Duration::from_millis(ms))
}

/// Follows what is measured. Of two calls that end at once one may be lost: it is an estimate.
#[derive(Debug, Default)]
struct Average(AtomicU64);

impl Average {
    fn add(&self, time: Duration) {
        let now = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        let before = self.0.load(Ordering::Relaxed);
        // The first one is all that is known.
        let after = if before == 0 { now } else { before - before / WEIGHT + now / WEIGHT };
        self.0.store(after, Ordering::Relaxed);
    }

    /// Zero until a call has ended.
    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn needed_is_the_wait_for_the_calls_before_and_the_call_itself() {
        let pace = Pace::new(&Limits { concurrency: 4, instances_max: 8, ..Limits::default() });
        assert_eq!(pace.needed(1_000), Some(Duration::ZERO), "nothing is known");
        pace.took(100 * MS, Duration::ZERO, false);
        for (before, needed_ms) in
            [(0, None), (3, None), (4, Some(125)), (7, Some(200)), (11, Some(300)), (67, Some(1_700))]
        {
            assert_eq!(pace.needed(before).map(|needed| needed.as_millis()), needed_ms, "{before}");
        }
    }

    #[test]
    fn starts_hold_up_who_waits_and_are_no_part_of_the_calls_own_time() {
        let pace = Pace::new(&Limits { concurrency: 1, ..Limits::default() });
        pace.took(500 * MS, 490 * MS, false);
        assert_eq!(pace.needed(1), Some(510 * MS));
    }

    #[test]
    fn some_calls_tell_of_a_change_and_one_alone_does_not() {
        let average = Average::default();
        let add = |count: u32, time: Duration| (0..count).for_each(|_| average.add(time));
        add(1, 10 * MS);
        add(1, 100 * MS);
        assert!(average.get() < 25 * MS, "{average:?}");
        add(30, 100 * MS);
        assert!(average.get() > 95 * MS, "{average:?}");
        add(60, MS);
        assert!(average.get() < 2 * MS, "{average:?}");
        add(10_000, Duration::ZERO);
        assert!(average.get() < MS / 1_000, "{average:?}");
    }

    #[test]
    fn calls_that_were_cut_off_make_no_other_look_shorter() {
        let pace = Pace::new(&Limits::default());
        pace.took(100 * MS, Duration::ZERO, false);
        (0..30).for_each(|_| pace.took(5 * MS, Duration::ZERO, true));
        assert!(pace.worked.get() > 99 * MS, "{pace:?}");
        (0..30).for_each(|_| pace.took(300 * MS, Duration::ZERO, true));
        assert!(pace.worked.get() > 280 * MS, "{pace:?}");
    }

    #[test]
    fn refusals_say_when_to_come_again_and_not_all_the_same() {
        let pace = Pace::new(&Limits::default());
        let waits: Vec<_> = (0..100).filter_map(|_| pace.refusal(String::new(), 0).retry_after).collect();
        assert!(waits.iter().all(|wait| (500 * MS..1_500 * MS).contains(wait)), "{waits:?}");
        assert!(waits.iter().max() > waits.iter().min());
        pace.took(40_000 * MS, Duration::ZERO, false);
        assert!(pace.refusal(String::new(), 60).retry_after.is_some_and(|wait| wait < 46_000 * MS));
    }
}
