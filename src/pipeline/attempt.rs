//! Attempt: one try of an invocation, with its span and its own bound in time.

use std::time::Duration;

use super::deadline::{Deadline, within};
use super::{Attempt, BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::kind::Outcome;
use crate::telemetry::names::{attribute, span};

pub struct RecordAttempt {
    timeout: Option<Duration>,
}

impl RecordAttempt {
    pub fn new(timeout: Option<Duration>) -> RecordAttempt {
        RecordAttempt { timeout }
    }
}

impl Policy for RecordAttempt {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            // Those of earlier deliveries count on.
            let number = call.recording.attempts() + 1;
            let span = call.recording.open(span::ATTEMPT, call.recording.root());
            call.recording.set(span, attribute::ATTEMPT, number);
            call.recording.attempt();
            let deadline = call.deadline.clone();
            let limit = self.timeout.map(Deadline::after);
            call.attempt = Some(Attempt { number, span, limit: limit.clone() });
            let result = within(&deadline, limit.as_ref(), next.run(call)).await;
            match &result {
                Ok(_) => call.recording.close(span),
                Err(error) => call.recording.fail(span, error.kind, &error.message),
            }
            call.recording.attempt_ended(result.as_ref().map_or(Outcome::Failed, |_| Outcome::Replied));
            result
        })
    }
}
