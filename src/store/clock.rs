//! The time by which what is kept grows old. It goes on as the machine's clock does, and never back: not when
//! that clock is set back, nor over a restart. So nothing lives longer than it was given, but for the time in
//! which nothing ran; and a clock that was wrong for a while costs nothing its time.
//!
//! A file that has one keeps it in a table `clock`, whose one row is written with every change.

use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OptionalExtension};

use super::time::unix_ns;

pub(super) struct Clock {
    now_ns: i64,
    read_at: Instant,
}

impl Clock {
    /// That of a file, as it was written down.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Clock> {
        let kept = connection.query_row("SELECT now_ns FROM clock", [], |row| row.get(0)).optional()?;
        Ok(Clock::new(kept.unwrap_or(0), unix_ns(SystemTime::now()), Instant::now()))
    }

    pub(super) fn now(&mut self) -> i64 {
        self.now_ns(unix_ns(SystemTime::now()), Instant::now())
    }

    /// `kept_ns`: what it said when it was last written down.
    fn new(kept_ns: i64, wall_ns: i64, at: Instant) -> Clock {
        Clock { now_ns: kept_ns.max(wall_ns), read_at: at }
    }

    fn now_ns(&mut self, wall_ns: i64, at: Instant) -> i64 {
        let passed = nanoseconds(at.saturating_duration_since(self.read_at));
        self.now_ns = self.now_ns.saturating_add(passed).max(wall_ns);
        self.read_at = at;
        self.now_ns
    }
}

/// In the transaction of every change.
pub(super) fn write_down(connection: &Connection, now_ns: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO clock (one, now_ns) VALUES (1, ?1)
               ON CONFLICT (one) DO UPDATE SET now_ns = excluded.now_ns";
    connection.prepare_cached(sql)?.execute([now_ns]).map(drop)
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
