//! Tells telemetry what happens in a deployment's pool.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::error::InvokeError;
use crate::model::hook::Hook;
use crate::model::kind::ErrorKind;
use crate::pipeline::mask::Mask;
use crate::runtimes::StartNews;
use crate::runtimes::pool::{HookEnd, PoolObserver, Preparation};
use crate::telemetry::events::{
    EnvironmentInstallFailed, ForkServerRefused, HookFailed, InstanceCrashLooping, InstanceExited,
    InstanceStartFailed, InstanceStarted,
};
use crate::telemetry::names::attribute;
use crate::telemetry::{
    ExitReason, InstanceState, Operation, OperationKind, PluginSeries, PrepareResult, Telemetry,
};

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

impl Observer {
    fn operation(&self, kind: OperationKind) -> Operation {
        let mut operation = Operation::start(&self.telemetry, kind, None);
        operation.set(attribute::PLUGIN_NAME, self.series.name().to_string());
        operation.set(attribute::PLUGIN_VERSION, self.series.version().to_string());
        operation
    }
}

/// What a start says that belongs to no call.
pub(super) fn hear(
    telemetry: &Telemetry,
    series: &PluginSeries,
    mask: &Mask,
    prepare: &mut Operation,
    news: StartNews,
) {
    match news {
        StartNews::Log(log) => telemetry.guest_log(series, mask.log(log)),
        StartNews::Span(step) => {
            let took_ms = step.end_unix_ns.saturating_sub(step.start_unix_ns) as f64 / 1e6;
            // Hooks are named by their plugin's side of the protocol, everything else by us.
            let key = match Hook::parse(&step.name) {
                Some(hook) => format!("spanglass.hook.{}.duration_ms", hook.as_str()),
                None => format!("spanglass.{}.duration_ms", step.name),
            };
            prepare.set(key, took_ms);
            for (key, value) in step.attributes {
                if let Some(text) = value.as_str() {
                    prepare.set(format!("spanglass.{key}"), text.to_owned());
                }
            }
        }
        StartNews::Mode(mode) => {
            prepare.set(attribute::START_MODE, mode.as_str());
            if let Some(why) = mode.why() {
                prepare.set(attribute::START_REASON, why.to_owned());
            }
        }
    }
}

fn lock(operation: &Mutex<Operation>) -> MutexGuard<'_, Operation> {
    operation.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.series.prepared(took, PrepareResult::Ok);
        self.telemetry.emit(InstanceStarted { series: &self.series, pid, took });
    }

    fn start_failed(&self, error: &InvokeError, took: Duration) {
        self.series.prepared(took, PrepareResult::Failed);
        let message = &self.mask.text(&error.message);
        self.telemetry.emit(InstanceStartFailed { series: &self.series, message });
    }

    fn install_failed(&self, error: &InvokeError, requirement: Option<&str>, took: Duration) {
        self.series.prepared(took, PrepareResult::InstallFailed);
        let message = &self.mask.text(&error.message);
        let requirement = requirement.map(|requirement| self.mask.text(requirement));
        let (series, requirement) = (&*self.series, requirement.as_deref());
        self.telemetry.emit(EnvironmentInstallFailed { series, requirement, message });
        self.telemetry.emit(InstanceStartFailed { series, message });
    }

    fn fork_refused(&self, why: &str) {
        self.telemetry.emit(ForkServerRefused { series: &self.series, why: &self.mask.text(why) });
    }

    fn preparing(&self) -> Preparation {
        let prepare = self.operation(OperationKind::Prepare);
        let prepare = Arc::new(Mutex::new(prepare));
        let (telemetry, series, mask) = (self.telemetry.clone(), self.series.clone(), self.mask.clone());
        let heard = prepare.clone();
        let news = move |news| hear(&telemetry, &series, &mask, &mut lock(&heard), news);
        let mask = self.mask.clone();
        let ended = move |ended: Result<(), &InvokeError>| {
            if let Err(error) = ended {
                lock(&prepare).fail(error.kind, &mask.text(&error.message));
            }
        };
        Preparation { news: Box::new(news), ended: Box::new(ended) }
    }

    fn crash_looping(&self, failures: u32, error: &InvokeError, retry_in: Duration) {
        let (series, message) = (&*self.series, &*self.mask.text(&error.message));
        self.telemetry.emit(InstanceCrashLooping { series, failures, retry_in, message });
    }

    fn hook(&self, hook: Hook) -> HookEnd {
        let mut operation = self.operation(OperationKind::Hook);
        operation.set(attribute::HOOK, hook.as_str());
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
