//! Deadline: bounds the whole invocation, queue and backoff included. Cold starts do not count: the clock
//! stands still while an instance is prepared, which has a bound of its own.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::units::format_duration;

/// The moment at which a call must be over. Shared by those who wait on the call's behalf.
pub struct Deadline {
    limit: Duration,
    clock: Mutex<Clock>,
    resumed: Notify,
}

struct Clock {
    end: Instant,
    paused_at: Option<Instant>,
}

impl Deadline {
    pub fn after(limit: Duration) -> Arc<Deadline> {
        let clock = Clock { end: Instant::now() + limit, paused_at: None };
        Arc::new(Deadline { limit, clock: Mutex::new(clock), resumed: Notify::new() })
    }

    /// What is left. While paused it does not shrink.
    pub fn left(&self) -> Duration {
        let clock = self.clock();
        clock.end.saturating_duration_since(clock.paused_at.unwrap_or_else(Instant::now))
    }

    /// Stops the clock until the guard is dropped.
    pub fn pause(self: &Arc<Self>) -> Paused {
        self.clock().paused_at.get_or_insert_with(Instant::now);
        Paused(self.clone())
    }

    /// Waits until nothing is left.
    pub async fn passed(&self) {
        loop {
            let end = {
                let clock = self.clock();
                clock.paused_at.is_none().then_some(clock.end)
            };
            match end {
                Some(end) if end <= Instant::now() => return,
                Some(end) => tokio::select! {
                    () = sleep_until(end) => {}
                    () = self.resumed.notified() => {}
                },
                None => self.resumed.notified().await,
            }
        }
    }

    pub fn error(&self) -> InvokeError {
        let limit = format_duration(self.limit);
        InvokeError::new(ErrorKind::Timeout, format!("the call was not over after {limit}"))
            .help("raise limits.timeout of the plugin or the timeout of the call, or make the plugin faster")
    }

    fn clock(&self) -> std::sync::MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Paused(Arc<Deadline>);

impl Drop for Paused {
    fn drop(&mut self) {
        let mut clock = self.0.clock();
        if let Some(since) = clock.paused_at.take() {
            clock.end += since.elapsed();
        }
        drop(clock);
        self.0.resumed.notify_waiters();
    }
}

/// Holds what lies within to the call's deadline. Attempts hold themselves to it too, so that the policies
/// between see an error; this one catches what passes outside of an attempt.
pub struct HoldToDeadline;

impl Policy for HoldToDeadline {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            let deadline = call.deadline.clone();
            within(&deadline, None, next.run(call)).await
        })
    }
}

/// Runs `work` until the deadline, or until `limit` has passed on the clock that pauses with it.
pub async fn within<T>(
    deadline: &Arc<Deadline>,
    limit: Option<&Arc<Deadline>>,
    work: impl Future<Output = Result<T, InvokeError>>,
) -> Result<T, InvokeError> {
    let limit_passed = async {
        match limit {
            Some(limit) => limit.passed().await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        result = work => result,
        () = deadline.passed() => Err(deadline.error()),
        () = limit_passed => Err(limit.map_or_else(|| deadline.error(), |limit| limit.error())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_prolongs_the_deadline_by_its_length() {
        let deadline = Deadline::after(Duration::from_secs(1));
        let started = Instant::now();
        let waiter = tokio::spawn({
            let deadline = deadline.clone();
            async move {
                deadline.passed().await;
                started.elapsed()
            }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        let pause = deadline.pause();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(deadline.left(), Duration::from_millis(500));
        drop(pause);
        let elapsed = waiter.await.unwrap();
        assert!((6_000..6_010).contains(&elapsed.as_millis()), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_a_timeout_that_names_the_limit() {
        let deadline = Deadline::after(Duration::from_millis(200));
        let error = within(&deadline, None, pending::<Result<(), _>>()).await.unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Timeout, "the call was not over after 200ms")
        );
    }
}
