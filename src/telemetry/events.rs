//! Typed events: a noun and what happened to it. One event drives its log line, its metric and, inside an
//! invocation, a span event. To add one: a name in `names::event`, a struct, its `Event`.

use std::borrow::Cow;
use std::time::Duration;

use crate::model::guest::{LogStream, Severity};
use crate::model::hook::Hook;
use crate::model::ids::InvocationId;
use crate::model::kind::ErrorKind;
use crate::model::text::{Text, truncate};

use super::metrics::{CircuitState, ExitReason, Lifecycle, Metrics, PluginSeries};
use super::names::{self, attribute, event};
use super::record::{LogRecord, TEXT_BYTES_MAX, Value};

mod alert;
mod delivery;
mod drift;
mod kept;

pub use alert::AlertNotified;
pub use delivery::{
    TelemetryDropped, TelemetryExportFailed, TelemetryExportRecovered, TelemetryRecovered,
    TelemetrySpoolDamaged, TelemetrySpoolFailed, TelemetrySpoolRecovered,
};
pub use drift::{
    BaselinePinned, DriftDetected, DriftExample, DriftFinding, DriftResolved, DriftSaveFailed,
    DriftSaveRecovered, DriftWarned,
};
pub use kept::{LedgerRecordsDropped, SeriesRecovered, SeriesWriteFailed, StoreRecovered, StoreWriteFailed};

/// Implemented here only. Each method is called once per emission, on the emitting thread; none may block.
pub trait Event {
    /// From `names::event`.
    fn name(&self) -> &'static str;
    /// The log record, without ids and time.
    fn log(&self) -> LogRecord;
    fn count(&self, _metrics: &Metrics) {}
}

/// The server listens.
pub struct ServerStarted<'a> {
    pub url: &'a str,
    pub data_dir: &'a str,
}

pub struct ServerStopped {
    pub uptime: Duration,
}

/// A version takes calls now.
pub struct PluginRegistered<'a> {
    pub series: &'a PluginSeries,
    pub digest: &'a str,
}

/// A package was refused, or its deployment could not be made.
pub struct PluginRegisterFailed<'a> {
    pub plugin: &'a str,
    /// Where it was found, if it was.
    pub origin: Option<&'a str>,
    pub version: Option<&'a str>,
    pub stage: &'static str,
    pub message: &'a str,
}

/// A version is gone. Its gauges vanish.
pub struct PluginRemoved<'a> {
    pub series: &'a PluginSeries,
}

/// Any transition of a deployment; the only event that counts in `lifecycle_transitions_total`.
pub struct LifecycleChanged<'a> {
    pub series: &'a PluginSeries,
    pub from: Option<Lifecycle>,
    pub to: Lifecycle,
    /// Why it failed: stage and cause.
    pub cause: Option<&'a str>,
    /// Who made it so, and why.
    pub actor: Option<&'a str>,
    pub reason: Option<&'a str>,
}

/// Calls go back to an earlier version.
pub struct PluginRolledBack<'a> {
    /// Of the version that gets the calls now.
    pub series: &'a PluginSeries,
    pub from: &'a str,
    pub actor: &'a str,
}

/// A plugin was restarted with secrets that have changed.
pub struct SecretsRefreshed<'a> {
    pub plugin: &'a str,
}

/// A folder with plugins cannot be read; what came from it stays.
pub struct FolderUnreadable<'a> {
    pub path: &'a str,
    pub message: &'a str,
}

/// `spanglass.lock` cannot be read; it is made anew by the next change.
pub struct LockFileUnreadable<'a> {
    pub message: &'a str,
}

pub struct InstanceStarted<'a> {
    pub series: &'a PluginSeries,
    pub pid: Option<u32>,
    pub took: Duration,
}

pub struct InstanceStartFailed<'a> {
    pub series: &'a PluginSeries,
    pub message: &'a str,
}

/// What a plugin requires could not be installed. The start that needed it has failed.
pub struct EnvironmentInstallFailed<'a> {
    pub series: &'a PluginSeries,
    /// Which requirement it was, if that is known.
    pub requirement: Option<&'a str>,
    pub message: &'a str,
}

pub struct InstanceExited<'a> {
    pub series: &'a PluginSeries,
    pub pid: Option<u32>,
    pub reason: ExitReason,
}

/// Instances fail to start again and again.
pub struct InstanceCrashLooping<'a> {
    pub series: &'a PluginSeries,
    /// Failed starts in a row.
    pub failures: u32,
    pub retry_in: Duration,
    pub message: &'a str,
}

/// A plugin cannot be loaded once and copied: each of its instances loads it.
pub struct ForkServerRefused<'a> {
    pub series: &'a PluginSeries,
    pub why: &'a str,
}

/// `on_stop` or `health` of an instance failed, or took too long.
pub struct HookFailed<'a> {
    pub series: &'a PluginSeries,
    pub hook: Hook,
    pub took: Duration,
    pub message: &'a str,
}

/// An attempt failed and another one follows.
pub struct InvocationRetried<'a> {
    /// The attempt that failed, from 1.
    pub attempt: u32,
    pub kind: ErrorKind,
    pub message: &'a str,
    pub backoff: Duration,
}

/// An asynchronous call is on the disk and has been acknowledged.
pub struct InvocationQueued<'a> {
    pub invocation_id: InvocationId,
    pub plugin: &'a str,
}

/// A delivery of an asynchronous call came to nothing, and it waits for the next.
pub struct InvocationRequeued<'a> {
    pub attempts: u32,
    pub message: &'a str,
    /// How long at least.
    pub wait: Duration,
}

/// The runner died under each delivery of an asynchronous call; it is not tried again.
pub struct InvocationPoisoned {
    pub deaths: u32,
}

/// Kept results of asynchronous calls that went before their time, to make room.
pub struct CallResultsDropped {
    pub results: u64,
}

pub struct CircuitOpened<'a> {
    pub series: &'a PluginSeries,
    pub failure_ratio: f64,
    pub open_for: Duration,
}

pub struct CircuitHalfOpened<'a> {
    pub series: &'a PluginSeries,
}

pub struct CircuitClosed<'a> {
    pub series: &'a PluginSeries,
}

pub struct ConfigLoaded<'a> {
    pub path: Option<&'a str>,
}

pub struct ConfigLoadFailed<'a> {
    pub path: &'a str,
    pub message: &'a str,
}

/// A log record of the host, put together.
struct Entry(LogRecord);

impl Entry {
    fn new(severity: Severity, body: impl Into<Cow<'static, str>>) -> Entry {
        let body = match body.into() {
            Cow::Borrowed(text) => Text::Static(text),
            Cow::Owned(text) => truncate(&text, TEXT_BYTES_MAX).to_owned().into(),
        };
        Entry(LogRecord {
            unix_ns: 0,
            severity,
            stream: LogStream::Host,
            body,
            event_name: None,
            ids: None,
            plugin: None,
            version: None,
            fields: Vec::new(),
            dropped_fields: 0,
        })
    }

    fn of(mut self, series: &PluginSeries) -> Entry {
        self.0.plugin = Some(series.name().clone());
        self.0.version = Some(series.version().clone());
        self
    }

    fn with(mut self, key: &'static str, value: impl Into<Value>) -> Entry {
        self.0.fields.push((key.into(), value.into().bounded()));
        self
    }

    fn pid(self, pid: Option<u32>) -> Entry {
        match pid {
            Some(pid) => self.with(attribute::INSTANCE_PID, pid),
            None => self,
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}

impl Event for ServerStarted<'_> {
    fn name(&self) -> &'static str {
        event::SERVER_STARTED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Info, format!("listening on {}", self.url))
            .with("url", self.url.to_owned())
            .with("data_dir", self.data_dir.to_owned())
            .0
    }
}

impl Event for ServerStopped {
    fn name(&self) -> &'static str {
        event::SERVER_STOPPED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Info, "stopped").with("uptime_ms", milliseconds(self.uptime)).0
    }
}

impl Event for PluginRegistered<'_> {
    fn name(&self) -> &'static str {
        event::PLUGIN_REGISTERED
    }

    fn log(&self) -> LogRecord {
        let body = format!("registered {} {}", self.series.name(), self.series.version());
        Entry::new(Severity::Info, body).of(self.series).with("digest", self.digest.to_owned()).0
    }
}

impl Event for PluginRegisterFailed<'_> {
    fn name(&self) -> &'static str {
        event::PLUGIN_REGISTER_FAILED
    }

    fn log(&self) -> LogRecord {
        let what = self.origin.unwrap_or(self.plugin);
        let mut entry = Entry::new(Severity::Error, format!("could not register {what}: {}", self.message))
            .with("stage", self.stage);
        if let Some(origin) = self.origin {
            entry = entry.with("path", origin.to_owned());
        }
        let mut log = entry.0;
        log.plugin = Some(truncate(self.plugin, names::PLUGIN_BYTES_MAX).into());
        log.version = self.version.map(|version| truncate(version, names::PLUGIN_BYTES_MAX).into());
        log
    }
}

impl Event for PluginRemoved<'_> {
    fn name(&self) -> &'static str {
        event::PLUGIN_REMOVED
    }

    fn log(&self) -> LogRecord {
        let body = format!("removed {} {}", self.series.name(), self.series.version());
        Entry::new(Severity::Info, body).of(self.series).0
    }

    fn count(&self, _metrics: &Metrics) {
        self.series.retire();
    }
}

impl Event for LifecycleChanged<'_> {
    fn name(&self) -> &'static str {
        event::LIFECYCLE_CHANGED
    }

    fn log(&self) -> LogRecord {
        let severity = if self.to == Lifecycle::Failed { Severity::Error } else { Severity::Info };
        let (name, version, to) = (self.series.name(), self.series.version(), self.to.as_str());
        let body = match self.cause {
            Some(cause) => format!("{name} {version} is {to}: {cause}"),
            None => format!("{name} {version} is {to}"),
        };
        let mut entry = Entry::new(severity, body).of(self.series).with("to", to);
        let more =
            [("from", self.from.map(Lifecycle::as_str)), ("actor", self.actor), ("reason", self.reason)];
        for (key, value) in more.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            entry = entry.with(key, value.to_owned());
        }
        entry.0
    }

    fn count(&self, _metrics: &Metrics) {
        self.series.lifecycle(self.to);
    }
}

impl Event for PluginRolledBack<'_> {
    fn name(&self) -> &'static str {
        event::PLUGIN_ROLLED_BACK
    }

    fn log(&self) -> LogRecord {
        let (name, to) = (self.series.name(), self.series.version());
        Entry::new(Severity::Warn, format!("{name} was rolled back from {} to {to}", self.from))
            .of(self.series)
            .with("from", self.from.to_owned())
            .with("actor", self.actor.to_owned())
            .0
    }
}

impl Event for SecretsRefreshed<'_> {
    fn name(&self) -> &'static str {
        event::SECRETS_REFRESHED
    }

    fn log(&self) -> LogRecord {
        let mut log = Entry::new(Severity::Info, format!("{} has its changed secrets", self.plugin)).0;
        log.plugin = Some(self.plugin.into());
        log
    }
}

impl Event for FolderUnreadable<'_> {
    fn name(&self) -> &'static str {
        event::FOLDER_UNREADABLE
    }

    fn log(&self) -> LogRecord {
        let body = format!("the plugin folder {} cannot be read: {}", self.path, self.message);
        Entry::new(Severity::Error, body).with("path", self.path.to_owned()).0
    }
}

impl Event for LockFileUnreadable<'_> {
    fn name(&self) -> &'static str {
        event::LOCK_FILE_UNREADABLE
    }

    fn log(&self) -> LogRecord {
        let body = format!("spanglass.lock {}; dependencies are chosen anew", self.message);
        Entry::new(Severity::Error, body).0
    }
}

impl Event for InstanceStarted<'_> {
    fn name(&self) -> &'static str {
        event::INSTANCE_STARTED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Info, format!("an instance of {} is ready", self.series.name()))
            .of(self.series)
            .pid(self.pid)
            .with(names::log::DURATION_MS, milliseconds(self.took))
            .0
    }
}

impl Event for InstanceStartFailed<'_> {
    fn name(&self) -> &'static str {
        event::INSTANCE_START_FAILED
    }

    fn log(&self) -> LogRecord {
        let body = format!("no instance of {} could be started: {}", self.series.name(), self.message);
        Entry::new(Severity::Error, body).of(self.series).0
    }

    fn count(&self, _metrics: &Metrics) {
        self.series.instance_exited(ExitReason::StartFailed);
    }
}

impl Event for EnvironmentInstallFailed<'_> {
    fn name(&self) -> &'static str {
        event::ENVIRONMENT_INSTALL_FAILED
    }

    fn log(&self) -> LogRecord {
        let body = format!("the environment of {} cannot be built: {}", self.series.name(), self.message);
        let entry = Entry::new(Severity::Error, body).of(self.series);
        match self.requirement {
            Some(requirement) => entry.with("requirement", requirement.to_owned()).0,
            None => entry.0,
        }
    }
}

impl Event for InstanceExited<'_> {
    fn name(&self) -> &'static str {
        event::INSTANCE_EXITED
    }

    fn log(&self) -> LogRecord {
        let severity = match self.reason {
            ExitReason::Stopped | ExitReason::Idle | ExitReason::Recycled => Severity::Info,
            ExitReason::Killed
            | ExitReason::Timeout
            | ExitReason::Crashed
            | ExitReason::MemoryExceeded
            | ExitReason::Unhealthy
            | ExitReason::StartFailed => Severity::Warn,
        };
        let body = format!("an instance of {} ended: {}", self.series.name(), self.reason.as_str());
        Entry::new(severity, body).of(self.series).pid(self.pid).with("reason", self.reason.as_str()).0
    }

    fn count(&self, _metrics: &Metrics) {
        self.series.instance_exited(self.reason);
    }
}

impl Event for InstanceCrashLooping<'_> {
    fn name(&self) -> &'static str {
        event::INSTANCE_CRASH_LOOPING
    }

    fn log(&self) -> LogRecord {
        let (name, failures) = (self.series.name(), self.failures);
        let body = format!("{failures} starts of {name} failed in a row: {}", self.message);
        Entry::new(Severity::Error, body)
            .of(self.series)
            .with("failures", failures)
            .with("retry_in_ms", milliseconds(self.retry_in))
            .0
    }
}

impl Event for ForkServerRefused<'_> {
    fn name(&self) -> &'static str {
        event::FORK_SERVER_REFUSED
    }

    fn log(&self) -> LogRecord {
        let body = format!("instances of {} are spawned, not copied: {}", self.series.name(), self.why);
        Entry::new(Severity::Warn, body).of(self.series).with(attribute::START_REASON, self.why.to_owned()).0
    }
}

impl Event for HookFailed<'_> {
    fn name(&self) -> &'static str {
        event::HOOK_FAILED
    }

    fn log(&self) -> LogRecord {
        let body = format!("{} of {} failed: {}", self.hook.as_str(), self.series.name(), self.message);
        Entry::new(Severity::Warn, body)
            .of(self.series)
            .with(attribute::HOOK, self.hook.as_str())
            .with(names::log::DURATION_MS, milliseconds(self.took))
            .0
    }
}

impl Event for InvocationRetried<'_> {
    fn name(&self) -> &'static str {
        event::INVOCATION_RETRIED
    }

    fn log(&self) -> LogRecord {
        Entry::new(
            Severity::Warn,
            format!("attempt {} failed, another follows: {}", self.attempt, self.message),
        )
        .with(attribute::ATTEMPT, self.attempt)
        .with(names::log::ERROR_TYPE, self.kind.as_str())
        .with("backoff_ms", milliseconds(self.backoff))
        .0
    }
}

impl Event for InvocationQueued<'_> {
    fn name(&self) -> &'static str {
        event::INVOCATION_QUEUED
    }

    fn log(&self) -> LogRecord {
        let mut log = Entry::new(Severity::Debug, "asynchronous call accepted")
            .with(attribute::INVOCATION_ID, self.invocation_id)
            .0;
        log.plugin = Some(truncate(self.plugin, names::PLUGIN_BYTES_MAX).into());
        log
    }
}

impl Event for InvocationRequeued<'_> {
    fn name(&self) -> &'static str {
        event::INVOCATION_REQUEUED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Warn, format!("the call goes back to the queue: {}", self.message))
            .with(attribute::ATTEMPTS, self.attempts)
            .with("wait_ms", milliseconds(self.wait))
            .0
    }
}

impl Event for InvocationPoisoned {
    fn name(&self) -> &'static str {
        event::INVOCATION_POISONED
    }

    fn log(&self) -> LogRecord {
        let body = format!("the runner died under {} deliveries in a row; the call is given up", self.deaths);
        Entry::new(Severity::Error, body).with("deaths", self.deaths).0
    }
}

impl Event for CallResultsDropped {
    fn name(&self) -> &'static str {
        event::CALL_RESULTS_DROPPED
    }

    fn log(&self) -> LogRecord {
        let body = format!("{} results of asynchronous calls were dropped to make room", self.results);
        Entry::new(Severity::Warn, body).with("results", self.results).0
    }
}

impl Event for CircuitOpened<'_> {
    fn name(&self) -> &'static str {
        event::CIRCUIT_OPENED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Warn, format!("the circuit of {} opened", self.series.name()))
            .of(self.series)
            .with("failure_ratio", self.failure_ratio)
            .with("open_for_ms", milliseconds(self.open_for))
            .0
    }

    fn count(&self, _metrics: &Metrics) {
        self.series.set_circuit(CircuitState::Open);
    }
}

impl Event for CircuitHalfOpened<'_> {
    fn name(&self) -> &'static str {
        event::CIRCUIT_HALF_OPENED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Info, format!("the circuit of {} lets one call try", self.series.name()))
            .of(self.series)
            .0
    }

    fn count(&self, _metrics: &Metrics) {
        self.series.set_circuit(CircuitState::HalfOpen);
    }
}

impl Event for CircuitClosed<'_> {
    fn name(&self) -> &'static str {
        event::CIRCUIT_CLOSED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Info, format!("the circuit of {} closed", self.series.name())).of(self.series).0
    }

    fn count(&self, _metrics: &Metrics) {
        self.series.set_circuit(CircuitState::Closed);
    }
}

impl Event for ConfigLoaded<'_> {
    fn name(&self) -> &'static str {
        event::CONFIG_LOADED
    }

    fn log(&self) -> LogRecord {
        let entry = Entry::new(Severity::Info, "configuration loaded");
        match self.path {
            Some(path) => entry.with("path", path.to_owned()).0,
            None => entry.0,
        }
    }

    fn count(&self, metrics: &Metrics) {
        metrics.set_config_good(true);
    }
}

impl Event for ConfigLoadFailed<'_> {
    fn name(&self) -> &'static str {
        event::CONFIG_LOAD_FAILED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Error, format!("the configuration is bad, the old one stays: {}", self.message))
            .with("path", self.path.to_owned())
            .0
    }

    fn count(&self, metrics: &Metrics) {
        metrics.set_config_good(false);
    }
}
