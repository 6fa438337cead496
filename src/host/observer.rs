//! Tells telemetry what happens in a deployment's pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::error::InvokeError;
use crate::model::hook::Hook;
use crate::model::kind::ErrorKind;
use crate::pipeline::mask::Mask;
use crate::runtimes::pool::{HookEnd, PoolObserver};
use crate::telemetry::events::{
    HookFailed, InstanceCrashLooping, InstanceExited, InstanceStartFailed, InstanceStarted,
};
use crate::telemetry::names::attribute;
use crate::telemetry::{ExitReason, InstanceState, Operation, OperationKind, PluginSeries, Telemetry};

pub struct Observer {
    telemetry: Telemetry,
    series: Arc<PluginSeries>,
    /// What a plugin says of its failures may hold its secrets.
    mask: Arc<Mask>,
}

impl Observer {
    pub fn new(telemetry: Telemetry, series: Arc<PluginSeries>, mask: Mask) -> Arc<Observer> {
        Arc::new(Observer { telemetry, series, mask: Arc::new(mask) })
    }
}

impl PoolObserver for Observer {
    fn instances(&self, state: InstanceState, change: i64) {
        for _ in 0..change.unsigned_abs() {
            if change > 0 {
                self.series.instance_entered(state);
            } else {
                self.series.instance_left(state);
            }
        }
    }

    fn exited(&self, reason: ExitReason) {
        // A failed start has an event of its own, which counts the exit.
        if reason == ExitReason::StartFailed {
            return;
        }
        self.telemetry.emit(InstanceExited { series: &self.series, pid: None, reason });
    }

    fn started(&self, pid: Option<u32>, took: Duration) {
        self.series.prepared(took, true);
        self.telemetry.emit(InstanceStarted { series: &self.series, pid, took });
    }

    fn start_failed(&self, error: &InvokeError, took: Duration) {
        self.series.prepared(took, false);
        let message = &self.mask.text(&error.message);
        self.telemetry.emit(InstanceStartFailed { series: &self.series, message });
    }
    fn crash_looping(&self, failures: u32, error: &InvokeError, retry_in: Duration) {
        let (series, message) = (&*self.series, &*self.mask.text(&error.message));
        self.telemetry.emit(InstanceCrashLooping { series, failures, retry_in, message });
    }

    fn hook(&self, hook: Hook) -> HookEnd {
        let mut operation = Operation::start(&self.telemetry, OperationKind::Hook, None);
        operation.set(attribute::HOOK, hook.as_str());
        operation.set(attribute::PLUGIN_NAME, self.series.name().to_string());
        operation.set(attribute::PLUGIN_VERSION, self.series.version().to_string());
        let (telemetry, series, mask) = (self.telemetry.clone(), self.series.clone(), self.mask.clone());
        let begun = Instant::now();
        Box::new(move |ended| {
            let Err(message) = ended else { return };
            let message = &*mask.text(message);
            operation.fail(ErrorKind::PluginError, message);
            telemetry.emit(HookFailed { series: &series, hook, took: begun.elapsed(), message });
        })
    }
}
