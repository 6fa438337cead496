//! Refusals by the thousand. A call that is refused as `overloaded` costs its host some microseconds, and its row in
//! the ledger five times that, on a machine that has no time to spare; and ten thousand rows that say the same are
//! found where the others were looked for. So many a second are kept, the rest is counted. Metrics, log lines and
//! traces have all of them.

use std::time::Instant;

use crate::model::kind::ErrorKind;
use crate::telemetry::Record;

/// Refused calls that get a row, in a burst and then a second.
pub(super) const BURST: u32 = 4_096;
pub(super) const PER_S: u32 = 200;

/// A bucket of rows that refused calls may still have.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// How many, and when that was so; at first it is full.
    room: Option<(f64, Instant)>,
}

impl Flood {
    /// Whether the record gets a row.
    pub fn keeps(&mut self, record: &Record, now: Instant) -> bool {
        !is_refusal(record) || self.take(now)
    }

    fn take(&mut self, now: Instant) -> bool {
        let (room, since) = self.room.unwrap_or((f64::from(BURST), now));
        let filled = room + now.saturating_duration_since(since).as_secs_f64() * f64::from(PER_S);
        let room = filled.min(f64::from(BURST));
        let taken = room >= 1.0;
        self.room = Some((if taken { room - 1.0 } else { room }, now));
        taken
    }
}

/// Turned away before anything was tried.
fn is_refusal(record: &Record) -> bool {
    let Record::Invocation(call) = record else { return false };
    call.attempts == 0 && call.error.as_ref().is_some_and(|error| error.kind == ErrorKind::Overloaded)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_kept_and_then_so_many_a_second() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let kept = |flood: &mut Flood, now| (0..10_000).filter(|_| flood.take(now)).count() as u32;
        assert_eq!(kept(&mut flood, start), BURST);
        assert_eq!(kept(&mut flood, start), 0);
        assert_eq!(kept(&mut flood, start + Duration::from_secs(3)), 3 * PER_S);
        assert_eq!(kept(&mut flood, start + Duration::from_secs(3_600)), BURST, "it never holds more");
        // A trickle below the rate is kept whole, also in parts of a row.
        let mut now = start + Duration::from_secs(3_600);
        for _ in 0..1_000 {
            now += Duration::from_micros(5_100);
            assert!(flood.take(now));
        }
    }
}
