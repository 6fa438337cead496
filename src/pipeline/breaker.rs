//! Circuit breaker: after too many failed attempts it refuses calls for a while, then lets one probe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::circuit::{Change, Circuit, Ending};
use super::{BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::kind::{Blame, ErrorKind};
use crate::model::limits::BreakerSettings;
use crate::model::units::format_duration;
use crate::telemetry::PluginSeries;
use crate::telemetry::events::{CircuitClosed, CircuitHalfOpened, CircuitOpened};

pub struct CircuitBreaker {
    series: Arc<PluginSeries>,
    circuit: Arc<Circuit>,
}

impl CircuitBreaker {
    pub fn new(settings: BreakerSettings, series: Arc<PluginSeries>) -> CircuitBreaker {
        CircuitBreaker { series, circuit: Circuit::new(settings) }
    }

    fn refusal(&self, wait: Duration) -> InvokeError {
        let window = format_duration(self.circuit.settings().window);
        let message = format!("the circuit is open: too many calls failed within {window}");
        InvokeError::new(ErrorKind::CircuitOpen, message)
            .help("look at the plugin's last errors; calls are let through again when a probe succeeds")
            .retry_after(wait)
    }
}

impl Policy for CircuitBreaker {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            let passage = self.circuit.enter(Instant::now()).map_err(|wait| self.refusal(wait))?;
            let root = call.recording.root();
            if passage.is_probe() {
                call.recording.emit(root, CircuitHalfOpened { series: &self.series });
            }
            let result = next.run(call).await;
            match passage.end(ending_of(&result, call)) {
                Some(Change::Opened { failure_ratio }) => {
                    let (series, open_for) = (&*self.series, self.circuit.settings().open_for);
                    call.recording.emit(root, CircuitOpened { series, failure_ratio, open_for });
                }
                Some(Change::Closed) => call.recording.emit(root, CircuitClosed { series: &self.series }),
                None => {}
            }
            result
        })
    }
}

fn ending_of(result: &Result<Reply, InvokeError>, call: &Call) -> Ending {
    let allowed = call.plugin.manifest.limits.timeout;
    let hurried = call.invocation.timeout.is_some_and(|asked| asked < allowed);
    match result.as_ref().map_err(InvokeError::blame) {
        Ok(_) => Ending::Good,
        // Too many callers are no fault of what they call: who finds no place now says nothing of those who do.
        Err(_) if matches!(result, Err(error) if error.kind == ErrorKind::Overloaded) => Ending::Neither,
        // A caller in a hurry must not shut the others out.
        Err(_) if hurried && matches!(result, Err(error) if error.kind == ErrorKind::Timeout) => {
            Ending::Neither
        }
        Err(Blame::Plugin | Blame::Host) => Ending::Failed,
        Err(Blame::Caller) => Ending::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{self, Telemetry};

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let telemetry = Telemetry::start(telemetry::Settings::default(), Vec::new()).unwrap();
        let series = telemetry.plugin("p", "1.0.0", "python", &["invoke"]);
        let breaker = CircuitBreaker::new(BreakerSettings::default(), series);
        let error = breaker.refusal(Duration::from_secs(15));
        assert_eq!((error.kind, error.retry_after), (ErrorKind::CircuitOpen, Some(Duration::from_secs(15))));
    }
}
