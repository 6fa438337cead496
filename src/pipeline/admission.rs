//! Admission: how many calls of a version may be under way at all, waiting or running, and whether a call that
//! would have to wait could still be over in time. Any other is refused at once, before anything is spent on it: a
//! late `timeout` costs its caller the wait, and everybody else the time of an instance.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::pace::{HELP, Pace, shown};
use super::{BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::limits::Limits;

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

    fn full(&self, before: usize) -> InvokeError {
        let message = format!("{} calls run and {} wait already", self.running_max, self.waiting_max);
        let help = "try again later, or raise limits.concurrency or limits.queue of the plugin";
        self.pace.refusal(message, before).help(help)
    }
}

impl Policy for Admission {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            let before = self.under_way();
            let Ok(_place) = self.places.try_acquire() else { return Err(self.full(before)) };
            let left = call.deadline.left();
            if let Some(needed) = self.pace.needed(before).filter(|needed| *needed > left) {
                let [needed, left] = [needed, left].map(shown);
                let message = format!("with those before it the call would take {needed}, and has {left}");
                return Err(self.pace.refusal(message, before).help(HELP));
            }
            let result = next.run(call).await;
            self.pace.ended(call, result.as_ref().err().map(|error| error.kind));
            result
        })
    }
}
