//! Punctual: whose turn has come too late is not begun. An instance would work for a caller who is told `timeout`, and
//! be killed in the middle of it; the next in the queue has more of his time left.

use std::sync::Arc;
use std::time::Duration;

use super::pace::{Pace, whole_ms};
use super::{BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::units::format_duration;

/// By then the calls before it have ended, or others are late in its place.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Who waited no longer than this found a place free, and may try whatever the others took.
const NO_WAIT: Duration = Duration::from_millis(1);

pub struct Punctual {
    pace: Arc<Pace>,
}

impl Punctual {
    pub fn new(pace: Arc<Pace>) -> Punctual {
        Punctual { pace }
    }
}

impl Policy for Punctual {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        let left = call.time_left();
        // A delivery that ends here would not be tried again.
        let is_delivery = call.invocation.delivery.is_some();
        if is_delivery || call.recording.waited() <= NO_WAIT || self.pace.allows(left) {
            return next.run(call);
        }
        let [typical, left] = [self.pace.typical(), left].map(|time| format_duration(whole_ms(time)));
        let message = format!("its turn came when it had {left} left, and calls take about {typical}");
        let error = InvokeError::new(ErrorKind::Overloaded, message)
            .help("try again later, allow the call more time, or raise limits.concurrency of the plugin")
            .retry_after(RETRY_AFTER.mul_f64(0.5 + fastrand::f64()));
        Box::pin(std::future::ready(Err(error)))
    }
}
