//! Admission: how many calls of a version may be under way at all, waiting or running, and whether a call that
//! would have to wait would still be of use at its turn. Any other is refused at once, before anything is spent on
//! it: a late `timeout` costs its caller the wait, and everybody else the time of an instance.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::pace::Pace;
use super::{BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::limits::Limits;
use crate::model::units::format_duration;

/// What a refused caller is told to wait: until those before him have ended, within these bounds.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

pub struct Admission {
    places: Semaphore,
    running_max: u32,
    waiting_max: u32,
    pace: Arc<Pace>,
}

impl Admission {
    pub fn new(limits: &Limits, pace: Arc<Pace>) -> Admission {
        let (running_max, waiting_max) = (limits.concurrency, limits.queue);
        let places = Semaphore::new(running_max as usize + waiting_max as usize);
        Admission { places, running_max, waiting_max, pace }
    }

    /// How many calls are under way.
    fn under_way(&self) -> usize {
        let places = self.running_max as usize + self.waiting_max as usize;
        places.saturating_sub(self.places.available_permits())
    }

    fn full(&self) -> InvokeError {
        let (running, waiting) = (self.running_max, self.waiting_max);
        let message = format!("{running} calls run and {waiting} wait already");
        let help = "try again later, or raise limits.concurrency or limits.queue of the plugin";
        InvokeError::new(ErrorKind::Overloaded, message).help(help).retry_after(self.retry_after())
    }

    fn too_late(&self, needed: Duration, left: Duration) -> InvokeError {
        let [needed, left] = [needed, left].map(|time| format_duration(round(time)));
        let message = format!("with those before it the call would take about {needed}, and has {left}");
        let help = "try again later, allow the call more time, or raise limits.concurrency of the plugin";
        InvokeError::new(ErrorKind::Overloaded, message).help(help).retry_after(self.retry_after())
    }

    /// Those who are refused together do not come back together.
    fn retry_after(&self) -> Duration {
        let until_empty = self.pace.wait(self.under_way()) + self.pace.typical();
        let wait = until_empty.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
        wait.mul_f64(0.5 + fastrand::f64())
    }
}

impl Policy for Admission {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            let wait = self.pace.wait(self.under_way());
            let Ok(_place) = self.places.try_acquire() else { return Err(self.full()) };
            // Who need not wait may try whatever the others took.
            if !wait.is_zero() {
                let (needed, left) = (wait + self.pace.typical(), call.deadline.left());
                if needed > left {
                    return Err(self.too_late(needed, left));
                }
            }
            let result = next.run(call).await;
            if let Some(time) = call.recording.since_its_turn() {
                self.pace.took(time);
            }
            result
        })
    }
}

/// As much as an estimate is worth.
fn round(time: Duration) -> Duration {
    let ms = time.as_millis().max(1);
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}
