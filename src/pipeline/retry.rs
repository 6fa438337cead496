//! Retry: runs the attempt again when the kind of its error promises that this may help, after a backoff.

use std::time::Duration;

use super::validate::KeptChunks;
use super::{BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::limits::{Backoff, Jitter, RetrySettings};
use crate::telemetry::events::InvocationRetried;

pub struct Retry {
    settings: RetrySettings,
}

impl Retry {
    pub fn new(settings: RetrySettings) -> Retry {
        Retry { settings }
    }

    /// Whether `error`, which ended the attempt with this number, is worth another one, and after what wait.
    fn wait_before_next(&self, attempt: u32, error: &InvokeError, call: &Call) -> Option<Duration> {
        let may_help = self.settings.retry_on.contains(&error.kind);
        if !may_help || attempt >= self.settings.attempts_max || call.output.has_begun() {
            return None;
        }
        let wait =
            backoff(&self.settings, attempt, fastrand::f64()).max(error.retry_after.unwrap_or_default());
        (wait < call.deadline.left()).then_some(wait)
    }
}

impl Policy for Retry {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            let mut attempt = 1;
            loop {
                let error = match next.run(call).await {
                    Ok(reply) => return Ok(reply),
                    Err(error) => error,
                };
                let Some(wait) = self.wait_before_next(attempt, &error, call) else {
                    return Err(error);
                };
                let retried =
                    InvocationRetried { attempt, kind: error.kind, message: &error.message, backoff: wait };
                call.recording.emit(call.recording.root(), retried);
                call.output.begin_again();
                call.kept_chunks = KeptChunks::default();
                tokio::time::sleep(wait).await;
                attempt += 1;
            }
        })
    }
}

/// The wait after attempt number `attempt` (from 1). Exponential: `base * 2^(attempt - 1)`, at most `cap`;
/// full jitter draws evenly between 0 and that ("Exponential Backoff And Jitter", AWS Architecture Blog,
/// 2015). `draw` lies in 0..1.
fn backoff(settings: &RetrySettings, attempt: u32, draw: f64) -> Duration {
    let longest = match settings.backoff {
        Backoff::None => return Duration::ZERO,
        Backoff::Fixed => settings.base,
        Backoff::Exponential => {
            settings.base.saturating_mul(1u32.checked_shl(attempt - 1).unwrap_or(u32::MAX)).min(settings.cap)
        }
    };
    match settings.jitter {
        Jitter::None => longest,
        Jitter::Full => longest.mul_f64(draw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_backoff_doubles_up_to_the_cap_and_jitter_draws_below_it() {
        let mut settings = RetrySettings { jitter: Jitter::None, ..RetrySettings::default() };
        let waits = |settings: &RetrySettings, draw| {
            [1, 2, 3, 6, 40].map(|attempt| backoff(settings, attempt, draw).as_millis())
        };
        assert_eq!(waits(&settings, 0.5), [200, 400, 800, 5_000, 5_000]);
        settings.jitter = Jitter::Full;
        assert_eq!(waits(&settings, 0.5), [100, 200, 400, 2_500, 2_500]);
        assert_eq!(waits(&settings, 0.0), [0; 5]);
        settings.backoff = Backoff::Fixed;
        assert_eq!(waits(&settings, 1.0), [200; 5]);
        settings.backoff = Backoff::None;
        assert_eq!(waits(&settings, 1.0), [0; 5]);
    }
}
