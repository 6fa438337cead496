//! What happened in one step of time, as sums. Pure.

use std::time::Duration;

use crate::model::kind::{Blame, ErrorKind, Outcome};
use crate::telemetry::names::DURATION_BUCKETS;

/// One for each bound, and one above all of them.
pub const BUCKETS: usize = DURATION_BUCKETS.len() + 1;

/// Sums of a step. Counts stop at their largest value instead of beginning again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    pub calls: u32,
    /// Failed, with blame plugin or host.
    pub errors: u32,
    /// Failed, with blame caller.
    pub refused: u32,
    pub dropped: u32,
    pub cold_starts: u32,
    /// Durations of the calls that reached an attempt.
    pub buckets: [u32; BUCKETS],
    /// What those waited for an instance, all together.
    pub queue_ns: u64,
    pub cpu_ns: u64,
    pub memory_peak_bytes: u64,
}

/// An ended call, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub outcome: Outcome,
    pub kind: Option<ErrorKind>,
    pub reached_attempt: bool,
    pub duration: Duration,
    pub queue: Duration,
    pub cpu: Duration,
    pub memory_peak_bytes: u64,
    pub cold_start: bool,
}

impl Ended {
    /// Whether it counts against the plugin or the host.
    pub fn is_error(&self) -> bool {
        self.outcome == Outcome::Failed && self.kind.is_none_or(|kind| kind.blame() != Blame::Caller)
    }
}

impl Slot {
    pub fn count(&mut self, call: &Ended) {
        let count = |number: &mut u32, one: bool| *number = number.saturating_add(one.into());
        count(&mut self.calls, true);
        count(&mut self.errors, call.is_error());
        count(&mut self.refused, call.outcome == Outcome::Failed && !call.is_error());
        count(&mut self.dropped, call.outcome == Outcome::Dropped);
        count(&mut self.cold_starts, call.cold_start);
        if call.reached_attempt {
            let seconds = call.duration.as_secs_f64();
            count(&mut self.buckets[DURATION_BUCKETS.partition_point(|bound| *bound < seconds)], true);
            self.queue_ns = self.queue_ns.saturating_add(nanoseconds(call.queue));
        }
        self.cpu_ns = self.cpu_ns.saturating_add(nanoseconds(call.cpu));
        self.memory_peak_bytes = self.memory_peak_bytes.max(call.memory_peak_bytes);
    }

    pub fn add(&mut self, other: &Slot) {
        let add = |number: &mut u32, more: u32| *number = number.saturating_add(more);
        add(&mut self.calls, other.calls);
        add(&mut self.errors, other.errors);
        add(&mut self.refused, other.refused);
        add(&mut self.dropped, other.dropped);
        add(&mut self.cold_starts, other.cold_starts);
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            add(bucket, more);
        }
        self.queue_ns = self.queue_ns.saturating_add(other.queue_ns);
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.memory_peak_bytes = self.memory_peak_bytes.max(other.memory_peak_bytes);
    }

    /// Calls that reached an attempt.
    pub fn attempted(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    /// Calls that say something about the plugin: not those that the caller spoilt or left.
    pub fn judged(&self) -> u32 {
        self.calls.saturating_sub(self.refused).saturating_sub(self.dropped)
    }

    pub fn error_ratio(&self) -> Option<f64> {
        (self.judged() > 0).then(|| f64::from(self.errors) / f64::from(self.judged()))
    }

    /// In seconds, as `histogram_quantile` of Prometheus does it: durations are taken to lie evenly in their bucket,
    /// whose lower end is the bound before (0 for the first); in the one above all bounds it is the last bound.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.attempted();
        if total == 0 {
            return None;
        }
        let rank = q * total as f64;
        let mut below = 0.0;
        for (at, count) in self.buckets.iter().enumerate() {
            let count = f64::from(*count);
            if count > 0.0 && below + count >= rank {
                let Some(upper) = DURATION_BUCKETS.get(at) else { break };
                let lower = at.checked_sub(1).map_or(0.0, |before| DURATION_BUCKETS[before]);
                return Some(lower + (upper - lower) * ((rank - below) / count));
            }
            below += count;
        }
        DURATION_BUCKETS.last().copied()
    }

    pub fn mean_queue_ns(&self) -> Option<f64> {
        let attempted = self.attempted();
        (attempted > 0).then(|| self.queue_ns as f64 / attempted as f64)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(buckets: &[(usize, u32)]) -> Slot {
        let mut slot = Slot::default();
        for (at, count) in buckets {
            slot.buckets[*at] = *count;
        }
        slot
    }

    /// Values that Prometheus 3 gives for the same buckets.
    #[test]
    fn quantiles_are_those_of_prometheus() {
        // 10 calls in (0.05, 0.1], 10 in (0.1, 0.25].
        let slot = of(&[(10, 10), (11, 10)]);
        let near = |q: f64, expected: f64| {
            let found = slot.quantile(q).unwrap();
            assert!((found - expected).abs() < 1e-12, "{q}: {found} for {expected}");
        };
        near(0.5, 0.1);
        near(0.25, 0.075);
        near(0.95, 0.235);
        near(0.99, 0.247);
        assert_eq!(of(&[(0, 4)]).quantile(0.5), Some(0.000_025));
        assert_eq!(of(&[(19, 4)]).quantile(0.5), Some(60.0), "above all bounds");
        assert_eq!(of(&[]).quantile(0.5), None);
    }

    #[test]
    fn endings_are_told_apart_by_blame() {
        let call = |outcome, kind| Ended {
            outcome,
            kind,
            reached_attempt: outcome == Outcome::Replied,
            duration: Duration::from_millis(100),
            queue: Duration::from_millis(3),
            cpu: Duration::from_millis(7),
            memory_peak_bytes: 5,
            cold_start: outcome == Outcome::Replied,
        };
        let mut slot = Slot::default();
        slot.count(&call(Outcome::Replied, None));
        slot.count(&call(Outcome::Failed, Some(ErrorKind::PluginError)));
        slot.count(&call(Outcome::Failed, Some(ErrorKind::Overloaded)));
        slot.count(&call(Outcome::Failed, Some(ErrorKind::InvalidInput)));
        slot.count(&call(Outcome::Dropped, Some(ErrorKind::Cancelled)));
        assert_eq!((slot.calls, slot.errors, slot.refused, slot.dropped, slot.cold_starts), (5, 2, 1, 1, 1));
        assert_eq!(
            (slot.judged(), slot.attempted(), slot.cpu_ns, slot.queue_ns),
            (3, 1, 35_000_000, 3_000_000)
        );
        // As in the histogram of /metrics, a bound belongs to its bucket.
        assert_eq!(slot.buckets[10], 1);
        assert_eq!(slot.memory_peak_bytes, 5);
    }
}
