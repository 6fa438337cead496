//! The time by which values expire. It goes on as the machine's clock does, and never back: not when that
//! clock is set back, nor over a restart. So nothing lives longer than it was given, but for the time in
//! which nothing ran.

use std::time::{Duration, Instant};

pub(super) struct Clock {
    now_ns: i64,
    read_at: Instant,
}

impl Clock {
    /// `kept_ns`: what it said when it was last written down.
    pub(super) fn new(kept_ns: i64, wall_ns: i64, at: Instant) -> Clock {
        Clock { now_ns: kept_ns.max(wall_ns), read_at: at }
    }

    pub(super) fn now_ns(&mut self, wall_ns: i64, at: Instant) -> i64 {
        let passed = nanoseconds(at.saturating_duration_since(self.read_at));
        self.now_ns = self.now_ns.saturating_add(passed).max(wall_ns);
        self.read_at = at;
        self.now_ns
    }
}

pub(super) fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut clock = Clock::new(0, 1_000 * SECOND, start);
        assert_eq!(clock.now_ns(1_010 * SECOND, later(10)), 1_010 * SECOND);
        // Back by an hour: ten seconds more have passed all the same.
        assert_eq!(clock.now_ns(0, later(20)), 1_020 * SECOND);
        assert_eq!(clock.now_ns(0, later(30)), 1_030 * SECOND);
        // The machine slept: no time of ours passed, but the wall's did.
        assert_eq!(clock.now_ns(9_000 * SECOND, later(31)), 9_000 * SECOND);
    }

    #[test]
    fn over_a_restart_it_goes_on_from_what_was_kept() {
        let start = Instant::now();
        let mut clock = Clock::new(5_000 * SECOND, 1_000 * SECOND, start);
        assert_eq!(clock.now_ns(1_003 * SECOND, start + Duration::from_secs(3)), 5_003 * SECOND);
    }
}
