//! What a row is worth when room is short: failed calls are kept longest, then slow ones, then a fair sample of the
//! others. Decided once, when the call has ended.

use std::time::Duration;

use crate::model::kind::{Blame, ErrorKind};

/// The numbers stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    /// Failed, and not by the caller's fault.
    Failed = 0,
    /// Took longer than nearly all recent calls of its plugin.
    Slow = 1,
    Ordinary = 2,
    /// Lines of calls. They follow their call.
    Lines = 3,
    /// Lines outside of calls.
    Outside = 4,
    /// Spans outside of calls.
    Operations = 5,
}

/// Classes of calls, the one that goes first in front.
pub(super) const OF_CALLS: [Class; 3] = [Class::Ordinary, Class::Slow, Class::Failed];

impl Class {
    pub fn of(error: Option<ErrorKind>, slow: bool) -> Class {
        match error {
            Some(kind) if kind.blame() != Blame::Caller => Class::Failed,
            _ if slow => Class::Slow,
            _ => Class::Ordinary,
        }
    }

    pub fn parse(number: i64) -> Option<Class> {
        use Class::{Failed, Lines, Operations, Ordinary, Outside, Slow};
        [Failed, Slow, Ordinary, Lines, Outside, Operations].into_iter().find(|class| *class as i64 == number)
    }
}

/// Calls that a plugin must have had before one of them is called slow.
const CALLS_MIN: u32 = 100;
/// After so many calls, older ones count half.
const CALLS_HALVED: u32 = 4_096;
/// The share of calls that are not slow.
const QUANTILE: f64 = 0.95;
/// Buckets of durations: so many for each doubling of nanoseconds.
const PER_OCTAVE: u32 = 4;
const BUCKETS: usize = (64 * PER_OCTAVE) as usize;
/// The bound is looked for again after so many calls.
const REFRESH: u32 = 64;

/// How long a plugin's recent calls took.
pub(super) struct Pace {
    buckets: Box<[u32; BUCKETS]>,
    calls: u32,
    bound: Option<usize>,
    stale: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { buckets: Box::new([0; BUCKETS]), calls: 0, bound: None, stale: 0 }
    }
}

impl Pace {
    /// Whether the call was slow: above the bucket that holds the 95th percentile of those before it.
    pub fn is_slow(&mut self, duration: Duration) -> bool {
        let bucket = bucket(duration);
        let slow = self.bound.is_some_and(|bound| bucket > bound);
        self.buckets[bucket] += 1;
        self.calls += 1;
        self.stale += 1;
        if self.calls >= CALLS_HALVED {
            self.buckets.iter_mut().for_each(|calls| *calls /= 2);
            self.calls = self.buckets.iter().sum();
        }
        if self.calls >= CALLS_MIN && (self.bound.is_none() || self.stale >= REFRESH) {
            self.refresh();
        }
        slow
    }

    fn refresh(&mut self) {
        self.stale = 0;
        let below = (f64::from(self.calls) * QUANTILE) as u32;
        let mut sum = 0;
        self.bound = self.buckets.iter().position(|calls| {
            sum += calls;
            sum > below
        });
    }
}

fn bucket(duration: Duration) -> usize {
    let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1);
    let octave = ns.ilog2();
    let within = if octave >= 2 { (ns >> (octave - 2)) & 3 } else { 0 };
    (octave * PER_OCTAVE) as usize + within as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_slow_by_what_its_plugin_took_lately() {
        let mut pace = Pace::default();
        let ms = Duration::from_millis;
        assert!(!pace.is_slow(ms(5_000)), "nothing is known yet");
        let mut slow = 0;
        for n in 0..10_000_u64 {
            slow += u32::from(pace.is_slow(ms(10 + n % 10)));
        }
        assert_eq!(slow, 0, "they are all alike");
        assert!(pace.is_slow(ms(40)));
        assert!(!pace.is_slow(ms(20)));
        // It has become slower for good: after a while that is its pace.
        for _ in 0..10_000 {
            pace.is_slow(ms(400));
        }
        assert!(!pace.is_slow(ms(401)) && pace.is_slow(ms(900)));
    }

    #[test]
    fn at_most_one_in_twenty_is_slow_where_durations_spread() {
        let mut pace = Pace::default();
        let slow = (0..100_000_u64)
            .filter(|n| {
                // Evenly over ten doublings.
                let spread = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1 << 24);
                pace.is_slow(Duration::from_secs_f64(1e-4 * (10.0 * spread).exp2()))
            })
            .count();
        assert!((100..7_000).contains(&slow), "{slow}");
    }

    #[test]
    fn only_the_callers_own_failures_are_ordinary() {
        for kind in ErrorKind::ALL {
            let ordinary = kind.blame() == Blame::Caller;
            assert_eq!(Class::of(Some(*kind), false) == Class::Ordinary, ordinary, "{kind}");
        }
        assert_eq!(Class::of(None, true), Class::Slow);
        for class in 0..6 {
            assert_eq!(Class::parse(class).unwrap() as i64, class);
        }
    }
}
