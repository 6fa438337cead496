//! How long the calls of a version take once it is their turn, and so how long a turn is worth waiting for. Shared
//! by those who let calls in and by those who give them their turn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::limits::Limits;

/// Each call counts for an eighth: some ten calls tell of a change, one of them alone does not.
const WEIGHT: u64 = 8;

/// An average that follows what is measured. Two calls that end at once may lose one of both: it is an estimate.
#[derive(Debug)]
pub struct Pace {
    typical_ns: AtomicU64,
    /// So many calls run at once.
    width: u32,
}

impl Pace {
    pub fn new(limits: &Limits) -> Pace {
        let places = limits.instances_max.saturating_mul(limits.calls_per_instance);
        Pace { typical_ns: AtomicU64::new(0), width: limits.concurrency.min(places).max(1) }
    }

    /// A call ended so long after its turn had come.
    pub fn took(&self, time: Duration) {
        let now = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        let before = self.typical_ns.load(Ordering::Relaxed);
        // The first one is all that is known.
        let typical = if before == 0 { now } else { before - before / WEIGHT + now / WEIGHT };
        self.typical_ns.store(typical, Ordering::Relaxed);
    }

    /// Zero until a call has ended.
    pub fn typical(&self) -> Duration {
        Duration::from_nanos(self.typical_ns.load(Ordering::Relaxed))
    }

    /// How long until the turn of a call comes before which so many are let in that have not ended.
    pub fn wait(&self, before: usize) -> Duration {
        let ends = (before + 1).saturating_sub(self.width as usize);
        self.typical().mul_f64(ends as f64 / f64::from(self.width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_that_for_the_calls_before_and_none_where_a_place_is_free() {
        let pace = Pace::new(&Limits { concurrency: 4, instances_max: 8, ..Limits::default() });
        assert_eq!(pace.wait(1_000), Duration::ZERO, "nothing is known");
        pace.took(Duration::from_millis(100));
        assert_eq!(pace.typical(), Duration::from_millis(100));
        for (before, wait_ms) in [(0, 0), (3, 0), (4, 25), (7, 100), (11, 200)] {
            assert_eq!(pace.wait(before).as_millis(), wait_ms, "{before}");
        }
    }

    #[test]
    fn some_calls_tell_of_a_change_and_one_alone_does_not() {
        let pace = Pace::new(&Limits::default());
        pace.took(Duration::from_millis(10));
        pace.took(Duration::from_millis(100));
        assert!(pace.typical() < Duration::from_millis(25), "{:?}", pace.typical());
        (0..30).for_each(|_| pace.took(Duration::from_millis(100)));
        assert!(pace.typical() > Duration::from_millis(95), "{:?}", pace.typical());
        (0..60).for_each(|_| pace.took(Duration::from_millis(1)));
        assert!(pace.typical() < Duration::from_millis(2), "{:?}", pace.typical());
        (0..10_000).for_each(|_| pace.took(Duration::ZERO));
        assert!(pace.typical() < Duration::from_micros(1));
    }
}
