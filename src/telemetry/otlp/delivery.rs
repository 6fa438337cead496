//! Sends what is in one signal's outbox, in order, one batch at a time, until each is settled.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::telemetry::accounting::Signal;
use crate::telemetry::metrics::lock;
use crate::telemetry::outbox::Outbox;

use super::{Transport, Verdict};

/// Wait before the first retry; doubled for each one after it, up to the second.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// However long a collector asks to wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

pub(in crate::telemetry) type Report = Box<dyn Fn(Signal, Result<(), &str>) + Send>;

pub(in crate::telemetry) struct Lane {
    pub signal: Signal,
    pub transport: Transport,
    /// Locked for a step at a time, never while something is sent.
    pub outbox: Arc<Mutex<Outbox>>,
    /// There is something new in the outbox.
    pub ready: Arc<Notify>,
    /// True: send what is there, once, and end.
    pub stopping: watch::Receiver<bool>,
    /// Told about the first failure in a row, and about the success that ends it.
    pub report: Report,
}

impl Lane {
    pub async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let stopping = *self.stopping.borrow_and_update();
            let next = lock(&self.outbox).next();
            let Some(batch) = next else {
                if stopping {
                    return;
                }
                tokio::select! {
                    () = self.ready.notified() => {}
                    _ = self.stopping.changed() => {}
                }
                continue;
            };
            let (after, message) = match self.transport.send(batch.body).await {
                Verdict::Accepted { rejected } => {
                    lock(&self.outbox).accepted(rejected);
                    if std::mem::take(&mut failures) > 0 {
                        (self.report)(self.signal, Ok(()));
                    }
                    continue;
                }
                Verdict::Refused { message } => {
                    lock(&self.outbox).refused();
                    self.failed(&mut failures, &message);
                    continue;
                }
                Verdict::Retry { after, message } => (after, message),
            };
            lock(&self.outbox).postponed();
            self.failed(&mut failures, &message);
            if stopping {
                return;
            }
            let wait = after.map_or_else(|| backoff(failures), |after| after.min(RETRY_AFTER_MAX));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.stopping.changed() => {}
            }
        }
    }

    fn failed(&self, failures: &mut u32, message: &str) {
        if *failures == 0 {
            (self.report)(self.signal, Err(message));
        }
        *failures = failures.saturating_add(1);
    }
}

/// Exponential, and anywhere in its upper half: runners that lost the same collector do not come back at once.
fn backoff(failures: u32) -> Duration {
    let whole = BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MAX);
    whole.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_bound() {
        for failures in 1..40 {
            let whole = BACKOFF_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(BACKOFF_MAX);
            let wait = backoff(failures);
            assert!(wait >= whole / 2 && wait <= whole, "{failures}: {wait:?}");
        }
    }
}
