//! Admission: how many calls of a version may be under way at all, waiting or running. Beyond that a call is
//! refused at once, before anything is spent on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::limits::Limits;

/// What a refused caller is told to wait: long enough for a queue to move, short enough to be tried.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub struct Admission {
    places: Arc<Semaphore>,
    running_max: u32,
    waiting_max: u32,
}

impl Admission {
    pub fn new(limits: &Limits) -> Admission {
        let places = limits.concurrency as usize + limits.queue as usize;
        Admission {
            places: Arc::new(Semaphore::new(places)),
            running_max: limits.concurrency,
            waiting_max: limits.queue,
        }
    }
}

impl Policy for Admission {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            let Ok(_place) = self.places.try_acquire() else {
                let (running, waiting) = (self.running_max, self.waiting_max);
                let message = format!("{running} calls run and {waiting} wait already");
                let help = "try again later, or raise limits.concurrency or limits.queue of the plugin";
                return Err(InvokeError::new(ErrorKind::Overloaded, message)
                    .help(help)
                    .retry_after(RETRY_AFTER));
            };
            next.run(call).await
        })
    }
}
