//! Time of a recording: the wall clock is read once, everything after is an offset of a cheap monotonic
//! clock. An anchor for the whole process would drift and break when the wall clock is stepped.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quanta::Instant;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    pub unix_ns: u64,
    instant: Instant,
    /// How long before `instant` the moment was.
    passed_ns: u64,
}

impl Anchor {
    pub fn now() -> Anchor {
        Anchor { unix_ns: unix_ns(), instant: Instant::now(), passed_ns: 0 }
    }

    /// A moment before now. One that the wall clock puts into the future, because it was set back, counts as
    /// now.
    pub fn at(unix_ns: u64) -> Anchor {
        Anchor { unix_ns, instant: Instant::now(), passed_ns: self::unix_ns().saturating_sub(unix_ns) }
    }

    /// Where on its scale the anchor was made: 0 for one of that moment.
    pub fn offset_ns_at_start(&self) -> u64 {
        self.passed_ns
    }

    /// Nanoseconds since the anchor.
    pub fn offset_ns(&self) -> u64 {
        self.passed_ns.saturating_add(nanoseconds(self.instant.elapsed()))
    }
}

/// Wall time in nanoseconds since the Unix epoch; 0 before it.
pub(super) fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanoseconds)
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The first reading calibrates the clock (0.6 ms); no call should pay for that.
pub(super) fn calibrate() {
    let _ = Instant::now();
}
