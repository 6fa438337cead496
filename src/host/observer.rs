//! Tells telemetry what happens in a deployment's pool.

use std::sync::Arc;
use std::time::Duration;

use crate::model::error::InvokeError;
use crate::runtimes::pool::PoolObserver;
use crate::telemetry::events::{InstanceExited, InstanceStartFailed, InstanceStarted};
use crate::telemetry::{ExitReason, InstanceState, PluginSeries, Telemetry};

pub struct Observer {
    telemetry: Telemetry,
    series: Arc<PluginSeries>,
}

impl Observer {
    pub fn new(telemetry: Telemetry, series: Arc<PluginSeries>) -> Arc<Observer> {
        Arc::new(Observer { telemetry, series })
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
        self.telemetry.emit(InstanceStartFailed { series: &self.series, message: &error.message });
    }
}
