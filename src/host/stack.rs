//! The order of the policies, outermost first: the one place that knows it.

use std::sync::Arc;

use crate::package::manifest::Manifest;
use crate::pipeline::Stack;
use crate::pipeline::admission::Admission;
use crate::pipeline::attempt::RecordAttempt;
use crate::pipeline::breaker::CircuitBreaker;
use crate::pipeline::deadline::HoldToDeadline;
use crate::pipeline::execute::Execute;
use crate::pipeline::idempotency::Idempotency;
use crate::pipeline::pace::Pace;
use crate::pipeline::retry::Retry;
use crate::pipeline::validate::Validate;
use crate::runtimes::pool::Pool;
use crate::store::calls::Calls;
use crate::telemetry::PluginSeries;

pub fn build(
    manifest: &Manifest,
    series: &Arc<PluginSeries>,
    pool: &Arc<Pool>,
    calls: Option<Arc<Calls>>,
) -> Stack {
    let pace = Arc::new(Pace::new(&manifest.limits));
    Stack::new(vec![
        // Refuses at the price of some atomics when too much is under way already, or too much for the call's time.
        Box::new(Admission::new(&manifest.limits, pace.clone())),
        // Inside of admission, so that a refused call costs no write; outside of all that may still turn a
        // reply into an error, because what is kept for a key must be what its first caller got.
        Box::new(Idempotency::new(calls)),
        // The caller's time begins when the call is let in; everything further in may wait.
        Box::new(HoldToDeadline),
        // A wrong input is refused once, before any attempt; an output is judged once, after the last.
        Box::new(Validate),
        // Around all that a new attempt must pass again; holds nothing while it backs off.
        Box::new(Retry::new(manifest.retry.clone())),
        // Sees every attempt; an open circuit costs neither a place in the queue nor an attempt.
        Box::new(CircuitBreaker::new(manifest.breaker.clone(), series.clone())),
        // Outside of the queue, because waiting there is part of the attempt and of its time.
        Box::new(RecordAttempt::new(manifest.retry.attempt_timeout)),
        // As far in as can be: a place among those that run is held only while an instance works, and not at all for a
        // call whose turn comes too late.
        Box::new(Execute::new(pool.clone(), pace)),
    ])
}
