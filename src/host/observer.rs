//! Tells telemetry what happens in a deployment's pool.

use std::sync::Arc;
use std::time::Duration;

use crate::runtimes::pool::{self, PoolObserver};
use crate::telemetry::events::InstanceExited;
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
    fn instances(&self, state: pool::InstanceState, change: i64) {
        let state = match state {
            pool::InstanceState::Starting => InstanceState::Starting,
            pool::InstanceState::Idle => InstanceState::Idle,
            pool::InstanceState::Busy => InstanceState::Busy,
        };
        for _ in 0..change.unsigned_abs() {
            if change > 0 { self.series.instance_entered(state) } else { self.series.instance_left(state) }
        }
    }

    fn exited(&self, reason: pool::ExitReason) {
        let reason = match reason {
            pool::ExitReason::Idle => ExitReason::Idle,
            pool::ExitReason::Crashed => ExitReason::Crashed,
            pool::ExitReason::Killed => ExitReason::Killed,
            pool::ExitReason::Timeout => ExitReason::Timeout,
            pool::ExitReason::Stopped => ExitReason::Stopped,
            pool::ExitReason::StartFailed => {
                self.series.prepared(Duration::ZERO, false);
                ExitReason::StartFailed
            }
        };
        self.telemetry.emit(InstanceExited { series: &self.series, pid: None, reason });
    }

    fn cold_start(&self, took: Duration) {
        self.series.prepared(took, true);
    }
}
