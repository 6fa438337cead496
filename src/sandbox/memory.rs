//! The bound of memory for all processes of a worker, judged from samples: what is too much, when to measure
//! exactly, when to look again. No I/O: `watch.rs` brings the numbers.
//!
//! Nothing stops an allocation here; whoever allocates is found at the next look. So what a worker may use
//! above its bound is what it can touch between two looks, and looks come quicker the nearer the bound is.

use std::time::{Duration, Instant};

/// Between two looks at a worker of which nothing is to be feared, at most.
pub const CALM_EVERY: Duration = Duration::from_millis(100);
/// So much a process can touch in a second, about: between two looks it must not be more than half of what it
/// may use, if that is not too little.
const TOUCHED_PER_SECOND: f64 = 2.5e9;
/// Once it uses more than half of what it may.
const NEAR_EVERY: Duration = Duration::from_millis(20);
/// While it grows so fast that it would be at the bound soon.
const GROWING_EVERY: Duration = Duration::from_millis(5);
/// At the present pace a look comes after this part of the way to the bound.
const LOOKS_ON_THE_WAY: u32 = 4;
/// An exact measurement may cost this part of the time at most, but for those who grow.
const MEASURING_SHARE: u32 = 20;

/// Of one tree of processes.
#[derive(Clone, Debug)]
pub struct MemoryBound {
    bytes_max: u64,
    calm_every: Duration,
    last: Option<(Instant, u64)>,
    /// Bytes a second, between the last two looks.
    growth: f64,
    /// Until then an exact measurement counts, which was below the bound.
    measured_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Below the bound; look again after so long.
    Fine(Duration),
    /// The sum is above the bound. But processes that were forked share pages, which it counts more than once:
    /// [`MemoryBound::measured`] wants to know it exactly.
    Measure,
}

impl MemoryBound {
    pub fn new(bytes_max: u64) -> MemoryBound {
        let calm_every = Duration::from_secs_f64(bytes_max as f64 / 2.0 / TOUCHED_PER_SECOND);
        let calm_every = calm_every.clamp(NEAR_EVERY, CALM_EVERY);
        MemoryBound { bytes_max, calm_every, last: None, growth: 0.0, measured_until: None }
    }

    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// `resident_bytes`: the sum over all processes, shared pages counted for each.
    pub fn judge(&mut self, resident_bytes: u64, now: Instant) -> Judgement {
        let before = self.last.replace((now, resident_bytes));
        if let Some((at, bytes)) = before.filter(|(at, _)| *at < now) {
            self.growth = resident_bytes.saturating_sub(bytes) as f64 / (now - at).as_secs_f64();
        }
        if resident_bytes <= self.bytes_max {
            self.measured_until = None;
            let calm = if resident_bytes > self.bytes_max / 2 { NEAR_EVERY } else { self.calm_every };
            // Of a new one nothing is known.
            let soon = before.is_none().then_some(GROWING_EVERY);
            let wait = soon.unwrap_or_else(|| self.on_the_way(resident_bytes).clamp(GROWING_EVERY, calm));
            return Judgement::Fine(wait);
        }
        match self.measured_until {
            Some(until) if now < until => Judgement::Fine((until - now).min(NEAR_EVERY)),
            _ => Judgement::Measure,
        }
    }

    /// The exact number for a sum that was above the bound, and what it took to find out; true: too much.
    pub fn measured(&mut self, fair_bytes: u64, took: Duration, now: Instant) -> bool {
        let rarely = NEAR_EVERY.max(took * MEASURING_SHARE);
        let often = GROWING_EVERY.max(took).min(rarely);
        self.measured_until = Some(now + self.on_the_way(fair_bytes).clamp(often, rarely));
        fair_bytes > self.bytes_max
    }

    /// A part of the time that it takes to the bound if it goes on growing like this.
    fn on_the_way(&self, bytes: u64) -> Duration {
        // Cut first: who grows by a page a minute is there in years, and who does not never.
        let seconds = (self.bytes_max.saturating_sub(bytes) as f64 / self.growth.max(1.0)).min(10.0);
        Duration::from_secs_f64(seconds) / LOOKS_ON_THE_WAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn bound() -> (MemoryBound, Instant) {
        (MemoryBound::new(1000 * MIB), Instant::now())
    }

    #[test]
    fn who_is_far_from_the_bound_is_looked_at_rarely() {
        let (mut bound, start) = bound();
        // Nothing is known yet.
        assert_eq!(bound.judge(100 * MIB, start), Judgement::Fine(GROWING_EVERY));
        let mut now = start + GROWING_EVERY;
        for bytes in [100 * MIB, 100 * MIB, 100 * MIB + 4096, 90 * MIB, 500 * MIB - 1] {
            now += Duration::from_secs(1);
            assert_eq!(bound.judge(bytes, now), Judgement::Fine(CALM_EVERY), "{bytes}");
        }
        now += CALM_EVERY;
        assert_eq!(bound.judge(600 * MIB, now + CALM_EVERY), Judgement::Fine(NEAR_EVERY));
    }

    #[test]
    fn a_small_bound_is_reached_sooner_so_looks_come_sooner() {
        for (bytes_max, ms) in [(4096, 100), (512, 100), (256, 53), (160, 33), (64, 20), (1, 20)] {
            let mut bound = MemoryBound::new(bytes_max * MIB);
            let now = Instant::now();
            bound.judge(0, now);
            let Judgement::Fine(wait) = bound.judge(0, now + CALM_EVERY) else { panic!("{bytes_max}") };
            assert_eq!(wait.as_millis(), ms, "{bytes_max} MiB");
        }
    }

    #[test]
    fn who_grows_fast_is_looked_at_often() {
        let (mut bound, start) = bound();
        bound.judge(100 * MIB, start);
        // 200 MiB in 100 ms, 700 to go: 350 ms, a quarter of which is 87.5 ms.
        let look = bound.judge(300 * MIB, start + CALM_EVERY);
        assert_eq!(look, Judgement::Fine(Duration::from_micros(87_500)));
        // 600 MiB more in 100 ms, 100 to go.
        let look = bound.judge(900 * MIB, start + 2 * CALM_EVERY);
        assert_eq!(look, Judgement::Fine(GROWING_EVERY));
    }

    #[test]
    fn who_grows_is_measured_often_also_where_a_little_is_shared() {
        let (mut bound, start) = bound();
        bound.judge(900 * MIB, start);
        // 10 MiB in 10 ms, of which 2 are shared with others.
        let now = start + Duration::from_millis(10);
        assert_eq!(bound.judge(1001 * MIB, now), Judgement::Measure);
        let took = Duration::from_millis(20);
        assert!(!bound.measured(999 * MIB, took, now));
        assert_eq!(bound.judge(1002 * MIB, now + took), Judgement::Measure, "not only after 400 ms");
    }

    #[test]
    fn shared_pages_are_not_held_against_anybody_and_measuring_is_rationed() {
        let (mut bound, start) = bound();
        assert_eq!(bound.judge(3000 * MIB, start), Judgement::Measure);
        let took = Duration::from_millis(3);
        assert!(!bound.measured(800 * MIB, took, start));
        assert_eq!(
            bound.judge(3000 * MIB, start + Duration::from_millis(10)),
            Judgement::Fine(NEAR_EVERY),
            "not again so soon"
        );
        let later = start + Duration::from_millis(60);
        assert_eq!(bound.judge(3000 * MIB, later), Judgement::Measure);
        assert!(bound.measured(1000 * MIB + 1, took, later));
        // Below the bound by the sum: nothing is left of that.
        bound.judge(900 * MIB, later);
        assert_eq!(bound.judge(1001 * MIB, later), Judgement::Measure);
        assert!(!bound.measured(1000 * MIB, took, later), "exactly the bound is allowed");
    }
}
