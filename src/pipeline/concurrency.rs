//! Concurrency: how many calls of a version run at once. The rest wait here, in order of arrival; how many
//! may wait is admission's business.

use std::time::Instant;

use tokio::sync::Semaphore;

use super::{BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::limits::Limits;
use crate::telemetry::names::span;

pub struct Concurrency {
    permits: Semaphore,
}

impl Concurrency {
    /// No more calls run than there may be instances to run them.
    pub fn new(limits: &Limits) -> Concurrency {
        let places = limits.instances_max.saturating_mul(limits.calls_per_instance);
        Concurrency { permits: Semaphore::new(limits.concurrency.min(places) as usize) }
    }
}

impl Policy for Concurrency {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            let queued = Instant::now();
            let span = call.recording.open(span::QUEUE, call.attempt_span());
            let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
            call.recording.close(span);
            call.recording.queue_wait(queued.elapsed());
            next.run(call).await
        })
    }
}
