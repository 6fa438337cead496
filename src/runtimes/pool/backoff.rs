//! Starts that fail in a row: how long starting pauses, and when to say that it does not get better.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::error::InvokeError;

/// How long starting pauses after failures in a row: doubled each time, with full jitter in the upper half.
const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(30);
/// So many failures in a row are a crash loop. It is said again at each doubling.
const LOOP_FAILURES: u32 = 3;

/// Why instances do not start, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct StartTrouble {
    /// Failed starts in a row; those that fail side by side count as one.
    pub failures: u32,
    /// Until then none is tried; `None`: the next call tries one.
    pub retry_in: Option<Duration>,
    pub error: InvokeError,
}

/// What a failed start means for the next ones.
pub(super) struct Setback {
    pub retry_in: Duration,
    /// Failures in a row, if it is time to say so.
    pub crash_loop: Option<u32>,
}

pub(super) struct Backoff {
    failures: u32,
    /// So many failures are said next.
    say_at: u32,
    blocked: Option<Blocked>,
}

/// Starts failed: until then there are no more.
struct Blocked {
    until: Instant,
    error: InvokeError,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { failures: 0, say_at: LOOP_FAILURES, blocked: None }
    }
}

impl Backoff {
    /// Whether a start may be tried.
    pub fn check(&self) -> Result<(), InvokeError> {
        match &self.blocked {
            Some(blocked) if blocked.until > Instant::now() => {
                Err(blocked.error.clone().retry_after(blocked.until - Instant::now()))
            }
            _ => Ok(()),
        }
    }

    /// A start failed. `random` is in 0..1.
    pub fn failed(&mut self, error: &InvokeError, random: f64) -> Setback {
        let now = Instant::now();
        let mut crash_loop = None;
        // Starts that fail side by side count as one.
        if self.blocked.as_ref().is_none_or(|blocked| blocked.until <= now) {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= self.say_at {
                self.say_at = self.say_at.saturating_mul(2);
                crash_loop = Some(self.failures);
            }
        }
        let retry_in = wait(self.failures, random);
        self.blocked = Some(Blocked { until: now + retry_in, error: error.clone() });
        Setback { retry_in, crash_loop }
    }

    /// A start succeeded: what was is forgotten.
    pub fn succeeded(&mut self) {
        *self = Backoff::default();
    }

    pub fn trouble(&self) -> Option<StartTrouble> {
        let blocked = self.blocked.as_ref()?;
        Some(StartTrouble {
            failures: self.failures,
            retry_in: blocked.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()),
            error: blocked.error.clone(),
        })
    }
}

/// The wait after so many failed starts in a row.
fn wait(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1);
    let whole = BASE.saturating_mul(2_u32.saturating_pow(doublings)).min(CAP);
    whole.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kind::ErrorKind;

    #[test]
    fn the_wait_doubles_up_to_its_cap_and_jitters_below() {
        assert_eq!(wait(1, 1.0), BASE);
        assert_eq!(wait(1, 0.0), BASE / 2);
        assert_eq!(wait(3, 1.0), BASE * 4);
        for failures in [20, 1000, u32::MAX] {
            assert_eq!(wait(failures, 1.0), CAP);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_is_said_at_the_third_failure_and_at_each_doubling() {
        let error = InvokeError::new(ErrorKind::Unavailable, "on fire");
        let mut backoff = Backoff::default();
        assert_eq!(backoff.trouble(), None);
        let mut said = Vec::new();
        for _ in 0..25 {
            let setback = backoff.failed(&error, 1.0);
            said.extend(setback.crash_loop);
            // One beside it is the same failure.
            assert_eq!(backoff.failed(&error, 1.0).crash_loop, None);
            assert_eq!(backoff.trouble().unwrap().retry_in, Some(setback.retry_in));
            assert!(backoff.check().is_err());
            tokio::time::advance(setback.retry_in).await;
            assert_eq!(backoff.check(), Ok(()));
        }
        assert_eq!(said, [3, 6, 12, 24]);
        assert_eq!(
            backoff.trouble(),
            Some(StartTrouble { failures: 25, retry_in: None, error: error.clone() })
        );
        backoff.succeeded();
        assert_eq!(backoff.trouble(), None);
        let again: Vec<_> = (0..2).filter_map(|_| backoff.failed(&error, 1.0).crash_loop).collect();
        assert_eq!(again, [0; 0]);
    }
}
