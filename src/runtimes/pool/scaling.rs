//! When to have one instance more: pure bookkeeping of what waiting costs and what a start costs.
//!
//! The rule is that of renting skis: wait for an instance until waiting, summed over all who wait, has cost as much as a
//! start would have; then start. So nothing costs more than twice what would have been best in hindsight, whatever comes
//! (Karlin, Manasse, Rudolph, Sleator: Competitive Snoopy Caching, Algorithmica 3, 1988). Where calls take longer than a
//! start, nobody waits at all.

use std::time::Duration;

use tokio::time::Instant;

/// Weight of the newest call in the mean of calls, and of the newest start in that of starts.
const CALL_WEIGHT: f64 = 0.1;
const START_WEIGHT: f64 = 0.3;
/// The share of its time that a pool may wait without ever growing: waits that far apart are no queue.
const WAITING_SHARE: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// Waiting cannot pay: start one for whoever comes.
    Now,
    /// Wait for an instance for so long; then start one beside.
    After(Duration),
}

#[derive(Debug)]
pub(super) struct Scaling {
    /// Means in seconds; `None`: there was none yet.
    call: Option<f64>,
    start: Option<f64>,
    /// Seconds waited, summed over all who waited since the last start, less what is allowed.
    waited: f64,
    seen: Instant,
}

impl Scaling {
    pub fn new(now: Instant) -> Scaling {
        Scaling { call: None, start: None, waited: 0.0, seen: now }
    }

    /// So many want an instance and find none idle, while `busy` run calls.
    pub fn growth(&self, busy: u32, waiting: usize) -> Growth {
        // Who does not know what a call takes had better not wait for the end of one.
        let (Some(call), Some(start)) = (self.call, self.start) else { return Growth::Now };
        let left = start - self.waited;
        if busy == 0 || call / f64::from(busy) >= start || left <= 0.0 {
            return Growth::Now;
        }
        Growth::After(Duration::from_secs_f64(left / waiting.max(1) as f64))
    }

    /// Until now so many waited; their number is about to change.
    pub fn pass(&mut self, now: Instant, waiting: usize) {
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        self.seen = now;
        self.waited = (self.waited + passed * (waiting as f64 - WAITING_SHARE)).max(0.0);
    }

    pub fn call_took(&mut self, took: Duration) {
        self.call = Some(mean(self.call, took, CALL_WEIGHT));
    }

    pub fn start_took(&mut self, took: Duration) {
        self.start = Some(mean(self.start, took, START_WEIGHT));
    }

    /// Whether starts are known to take no longer than this.
    pub fn starts_within(&self, bound: Duration) -> bool {
        self.start.is_some_and(|start| start <= bound.as_secs_f64())
    }

    /// A start begins: from here the next one is waited for.
    pub fn start_begun(&mut self) {
        self.waited = 0.0;
    }
}

fn mean(before: Option<f64>, took: Duration, weight: f64) -> f64 {
    let took = took.as_secs_f64();
    before.map_or(took, |before| before + (took - before) * weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn known(call: Duration, start: Duration) -> (Scaling, Instant) {
        let now = Instant::now();
        let mut scaling = Scaling::new(now);
        scaling.call_took(call);
        scaling.start_took(start);
        (scaling, now)
    }

    fn left(scaling: &Scaling, waiting: usize) -> f64 {
        match scaling.growth(1, waiting) {
            Growth::Now => 0.0,
            Growth::After(left) => left.as_secs_f64(),
        }
    }

    #[test]
    fn nobody_waits_where_nothing_is_known_or_calls_are_long() {
        assert_eq!(Scaling::new(Instant::now()).growth(1, 1), Growth::Now);
        for (call, start, busy, growth) in [
            (50 * MS, 10 * MS, 1, Growth::Now),
            (50 * MS, 10 * MS, 5, Growth::Now),
            (50 * MS, 10 * MS, 6, Growth::After(10 * MS)),
            (MS, 10 * MS, 1, Growth::After(10 * MS)),
            (MS, 10 * MS, 0, Growth::Now),
        ] {
            let (scaling, _) = known(call, start);
            assert_eq!(scaling.growth(busy, 1), growth, "{call:?} {start:?} {busy}");
        }
    }

    #[test]
    fn many_wait_less_long_than_one() {
        let (mut scaling, now) = known(MS, 12 * MS);
        assert_eq!(scaling.growth(1, 4), Growth::After(3 * MS));
        // Three waited for 2 ms: half of the price is paid.
        scaling.pass(now + 2 * MS, 3);
        assert!((left(&scaling, 4) - 0.0015).abs() < 1e-4, "{scaling:?}");
        scaling.start_begun();
        assert_eq!(scaling.growth(1, 4), Growth::After(3 * MS));
    }

    #[test]
    fn a_wait_now_and_then_is_forgotten_and_a_steady_queue_is_not() {
        let (mut scaling, mut now) = known(MS, 10 * MS);
        let mut wait = |scaling: &mut Scaling, idle: Duration| {
            now += idle;
            scaling.pass(now, 0);
            now += MS;
            scaling.pass(now, 1);
        };
        for _ in 0..1_000 {
            wait(&mut scaling, 99 * MS);
        }
        assert!(left(&scaling, 1) >= 0.009, "{scaling:?}");
        for _ in 0..20 {
            wait(&mut scaling, MS);
        }
        assert_eq!(scaling.growth(1, 1), Growth::Now);
    }
}
