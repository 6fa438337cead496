//! The front door. Every call, wherever it comes from, enters by [`Host::begin`] and ends in [`Begun::run`];
//! every version comes in by `register.rs`. `stack.rs` orders the policies, `deploy.rs` builds a
//! deployment, `services/` answers guests.
//!
//! This room must never know how a call arrived (HTTP is `api`) nor how a runtime talks to its workers.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use semver::VersionReq;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::alerting::{Alerting, AlertingSettings};
use crate::drift::Drift;
use crate::model::error::InvokeError;
use crate::model::ids::InvocationId;
use crate::model::invocation::{Completed, Delivery, Invocation, Meta, Origin, Usage};
use crate::model::kind::ErrorKind;
use crate::model::limits::Limits;
use crate::model::trace_context::TraceContext;
use crate::package::manifest::Manifest;
use crate::pipeline::deadline::Deadline;
use crate::pipeline::{Call, Door, GuestServices, Output};
use crate::registry::locked::Locked;
use crate::registry::{Body, Deployment, Registry, Running};
use crate::runtimes::pool::StartGate;
use crate::runtimes::{BoxFuture, Runtime};
use crate::store::series::Series;
use crate::store::{Ledger, LedgerStats, Store};
use crate::telemetry::names::attribute;
use crate::telemetry::{Begin, Ending, Recording, Telemetry};

use feed::Feed;
use queue::Queue;
use turns::Turns;

mod alerts;
mod asynchronous;
mod backup;
mod delivery;
mod dependencies;
mod deploy;
mod difference;
mod drift;
pub mod feed;
mod folders;
mod inputs;
mod lifecycle;
mod observer;
mod purge;
mod queue;
mod register;
mod reload;
mod remove;
mod replay;
mod restore;
pub mod services;
pub mod settings;
mod stack;
mod turns;

pub use alerts::Received;
pub use asynchronous::Acceptance;
pub use backup::{Restored, restore_offline};
pub use dependencies::Moved;
pub use folders::{FolderWatch, Folders, Refusal};
pub use inputs::read_secret;
pub use lifecycle::RolledBack;
pub use register::{Arrival, RegisterError, Registered};
pub use replay::{Comparison, compare, replay_of};
pub use settings::{CaptureMode, Settings};

/// Longest part of an unknown name that is kept.
const ASKED_NAME_BYTES_MAX: usize = 64;

pub struct Host {
    telemetry: Telemetry,
    registry: Registry,
    /// `None`: nothing is registered for good.
    store: Option<Arc<Store>>,
    ledger: Option<Arc<Ledger>>,
    series: Option<Arc<Series>>,
    alerting: Option<Arc<Alerting>>,
    drift: Arc<Drift>,
    runtimes: Vec<Arc<dyn Runtime>>,
    services: Arc<dyn GuestServices>,
    settings: ArcSwap<Settings>,
    /// Which version of each plugin that it depends on a version uses.
    locked: ArcSwap<Locked>,
    /// Whether the file says the same.
    lock_is_written: AtomicBool,
    /// What was wrong with the file at the start.
    lock_problem: OnceLock<String>,
    changes: Arc<Mutex<register::Changes>>,
    turns: Turns,
    refusals: Mutex<BTreeMap<PathBuf, Refusal>>,
    /// What was there before has been deployed, and the server is not stopping.
    ready: AtomicBool,
    /// Which of the calls under way are to end at once.
    ends: watch::Sender<Ends>,
    queue: Queue,
    /// Which notifications about alerts have been recorded.
    alerts: alerts::Alerts,
    /// What starts of instances pass through.
    starts: Arc<StartGate>,
    feed: Feed,
}

/// Calls that are to end before their time.
#[derive(Debug, Default)]
struct Ends {
    all: bool,
    cancelled: Vec<InvocationId>,
}

impl Ends {
    fn concern(&self, id: InvocationId) -> bool {
        self.all || self.cancelled.contains(&id)
    }
}

/// What a host is put together from.
pub struct Parts {
    pub telemetry: Telemetry,
    pub store: Option<Arc<Store>>,
    pub ledger: Option<Arc<Ledger>>,
    /// `None`: the data folder is not this host's.
    pub series: Option<Arc<Series>>,
    pub drift: Arc<Drift>,
    pub runtimes: Vec<Arc<dyn Runtime>>,
    pub services: Arc<dyn GuestServices>,
    pub settings: Settings,
}

impl Host {
    pub fn new(parts: Parts) -> Host {
        let feed = Feed::default();
        parts.telemetry.add_sink(feed.sink());
        let alerting = parts.series.as_ref().map(|series| {
            let settings = AlertingSettings::default();
            Arc::new(Alerting::new(parts.telemetry.clone(), series.clone(), settings))
        });
        let Parts { telemetry, store, ledger, series, drift, runtimes, services, settings } = parts;
        let registry = Registry::new(settings.ranges());
        let (ready, ends) = (AtomicBool::new(false), watch::Sender::default());
        Host {
            telemetry,
            registry,
            store,
            ledger,
            series,
            alerting,
            drift,
            runtimes,
            services,
            settings: ArcSwap::from_pointee(settings),
            locked: ArcSwap::default(),
            lock_is_written: AtomicBool::new(false),
            lock_problem: OnceLock::new(),
            changes: Arc::default(),
            turns: Turns::default(),
            refusals: Mutex::default(),
            ready,
            ends,
            queue: Queue::default(),
            alerts: alerts::Alerts::default(),
            starts: Arc::default(),
            feed,
        }
    }

    /// Runs one call from beginning to end. Dropping the future is how a caller leaves.
    pub async fn invoke(self: &Arc<Self>, invocation: Invocation, output: Output) -> Completed {
        self.begin(invocation).run(output).await
    }

    /// Gives a call its ids and begins to record it.
    pub fn begin(self: &Arc<Self>, invocation: Invocation) -> Begun {
        let mut recording = self.record(
            &invocation.plugin,
            &invocation.action,
            invocation.parent.as_ref(),
            invocation.origin,
            invocation.delivery.as_ref(),
        );
        if let Some(original) = invocation.replay_of {
            recording.set(recording.root(), attribute::REPLAY_OF, original);
        }
        Begun { host: self.clone(), invocation, recording }
    }

    /// A call that ends before it could be read: recorded like any other, so that it can be found.
    pub fn refuse(
        &self,
        plugin: &str,
        parent: Option<&TraceContext>,
        origin: Origin,
        error: InvokeError,
    ) -> Completed {
        let action: Arc<str> = crate::model::invocation::DEFAULT_ACTION.into();
        let mut recording = self.record(&plugin.into(), &action, parent, origin, None);
        if let Ok(deployment) = self.registry.route(plugin, None) {
            recording.bind(deployment.series.clone());
        }
        Ended::early(recording, error).close()
    }

    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// What happens, for those who follow.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// What versions did lately; of a host that owns its data folder.
    pub fn series(&self) -> Option<&Arc<Series>> {
        self.series.as_ref()
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The largest input that any version takes.
    pub fn input_bytes_max(&self) -> u64 {
        let limits = self.registry.all().into_iter().map(|live| live.manifest.limits.input_bytes_max);
        limits.max().unwrap_or_default().max(Limits::default().input_bytes_max)
    }

    /// Waits until all that ended before can be read from the ledger, or the time is up. Blocks.
    pub fn settle(&self, timeout: Duration) -> bool {
        let telemetry = self.telemetry.flush(timeout);
        self.ledger.as_ref().is_none_or(|ledger| ledger.flush(timeout)) && telemetry
    }

    /// What the ledger counts; `None`: nothing is kept.
    pub fn ledger_stats(&self) -> Option<LedgerStats> {
        self.ledger.as_ref().map(|ledger| ledger.stats())
    }

    /// Free space beside the data folder.
    pub fn available_bytes(&self) -> Option<u64> {
        self.store.as_ref()?.folder().available_bytes().ok()
    }

    /// Brings the gauges up to date that nothing else sets. Before a scrape.
    pub fn measure(&self) {
        if let Some(available) = self.available_bytes() {
            self.telemetry.metrics().set_data_dir_available(available);
        }
        self.measure_queue();
    }

    /// Ends the calls under way as failed, so that their callers hear of it, and refuses new ones.
    pub fn cut_off(&self) {
        self.ends.send_modify(|ends| ends.all = true);
    }

    /// A host that is not ready any more delivers no more of what waits in the queue.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
        self.queue.wake();
        if ready {
            self.warm_all();
        }
    }

    /// What keeps this host from taking calls; empty when nothing does.
    pub fn not_ready(&self) -> Vec<&'static str> {
        let starting = !self.ready.load(Ordering::Relaxed);
        let waiting = [(starting, "the registered plugins")];
        waiting.into_iter().filter_map(|(waits, what)| waits.then_some(what)).collect()
    }

    /// Ends all workers: in good order within the grace time, then by force.
    pub async fn stop(&self) {
        self.set_ready(false);
        self.stop_queue().await;
        let stops = self.registry.all().into_iter().map(|deployment| async move {
            if let Body::Running(running) = &deployment.body {
                running.pool.stop(STOP_GRACE).await;
            }
        });
        futures_util::future::join_all(stops).await;
        // Calls that were cut off still have to say how they ended.
        let until = tokio::time::Instant::now() + ENDINGS_MAX;
        while !self.telemetry.active().is_empty() && tokio::time::Instant::now() < until {
            tokio::time::sleep(ENDINGS_LOOK).await;
        }
    }

    fn refused_entries(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Refusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(
        &self,
        plugin: &Arc<str>,
        action: &Arc<str>,
        parent: Option<&TraceContext>,
        origin: Origin,
        delivery: Option<&Delivery>,
    ) -> Recording {
        let bounded = |text: &Arc<str>| match crate::model::text::truncate(text, ASKED_NAME_BYTES_MAX) {
            kept if kept.len() < text.len() => kept.into(),
            _ => text.clone(),
        };
        let begin =
            Begin { plugin: bounded(plugin), action: bounded(action), parent: parent.cloned(), origin };
        match delivery {
            Some(delivery) => self.telemetry.resume(begin, delivery),
            None => self.telemetry.begin(begin),
        }
    }

    /// Which version gets the call, and whether it has the action.
    fn route(&self, invocation: &Invocation) -> Result<Arc<Deployment>, InvokeError> {
        let deployment = self.registry.route(&invocation.plugin, invocation.version.as_ref())?;
        if deployment.manifest.entrypoint_of(&invocation.action).is_none() {
            let actions = deployment.manifest.action_names().collect::<Vec<_>>().join(", ");
            let message =
                format!("{} has no action {:?}; it has: {actions}", invocation.plugin, &*invocation.action);
            return Err(InvokeError::new(ErrorKind::NotFound, message));
        }
        Ok(deployment)
    }
}

impl Door for Host {
    fn dependency_range(&self, caller: &Manifest, dependency: &str) -> Option<VersionReq> {
        Host::dependency_range(self, caller, dependency)
    }

    fn enter(self: Arc<Self>, invocation: Invocation) -> (InvocationId, BoxFuture<'static, Completed>) {
        let begun = self.begin(invocation);
        (begun.invocation_id(), Box::pin(begun.run(Output::whole())))
    }
}

/// A call that has its ids and has not run yet.
pub struct Begun {
    host: Arc<Host>,
    invocation: Invocation,
    recording: Recording,
}

impl Begun {
    pub fn invocation_id(&self) -> InvocationId {
        self.recording.invocation_id()
    }

    /// The trace and the root span, for whoever must know before the end.
    pub fn traceparent(&self) -> String {
        self.recording.traceparent(self.recording.root())
    }

    /// Route, run the stack, close. One ending, whatever happens; when this future is dropped on its way,
    /// the recording ends as `dropped`.
    pub async fn run(self, output: Output) -> Completed {
        self.execute(output).await.close()
    }

    /// All but the close.
    async fn execute(self, output: Output) -> Ended {
        let Begun { host, invocation, mut recording } = self;
        let deployment = match host.route(&invocation) {
            Ok(deployment) => deployment,
            Err(error) => return Ended::early(recording, error),
        };
        recording.bind(deployment.series.clone());
        let running = match running(&deployment) {
            Ok(running) => running,
            Err(error) => return Ended::early(recording, error),
        };
        let id = recording.invocation_id();
        let limit = deployment.manifest.limits.timeout;
        let mut call = Call {
            deadline: Deadline::after(invocation.timeout.map_or(limit, |asked| asked.min(limit))),
            invocation,
            plugin: running.plugin.clone(),
            recording,
            output,
            services: host.services.clone(),
            door: host.clone(),
            attempt: None,
            usage: Usage::default(),
            kept_chunks: Default::default(),
            sighting: None,
            replay_of: None,
        };
        let mut ends = host.ends.subscribe();
        let reply = tokio::select! {
            biased;
            reply = running.stack.run(&mut call) => reply,
            ended = ends.wait_for(|ends| ends.concern(id)) => {
                Err(if ended.is_ok_and(|ends| ends.all) { stopped() } else { cancelled() })
            }
        };
        call.observe();
        let reply = call.deliver(reply).await;
        let result = reply.map(|reply| call.whole_output(&reply));
        let Call { mut recording, usage, replay_of, .. } = call;
        if host.settings.load().forgets(result.is_ok()) {
            recording.forget_captured();
        }
        Ended { recording, result, usage, replay_of }
    }
}

/// Runs blocking work (disk, packages) off the threads that serve calls.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    unwound(tokio::task::spawn_blocking(work).await)
}

/// Runs a change to its end, even if the one who asked for it has left.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    unwound(tokio::spawn(work).await)
}

fn unwound<T>(joined: Result<T, tokio::task::JoinError>) -> T {
    joined.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => unreachable!("nobody cancels it: {error}"),
    })
}

/// A call that is over, and whose recording is not.
struct Ended {
    recording: Recording,
    /// `None`: it went out in chunks.
    result: Result<Option<Arc<RawValue>>, InvokeError>,
    usage: Usage,
    replay_of: Option<InvocationId>,
}

impl Ended {
    /// Nothing was run.
    fn early(recording: Recording, error: InvokeError) -> Ended {
        Ended { recording, result: Err(error), usage: Usage::default(), replay_of: None }
    }

    /// The one ending.
    fn close(self) -> Completed {
        let Ended { recording, result, usage, replay_of } = self;
        let (invocation_id, trace_id) = (recording.invocation_id(), recording.trace_id());
        let (root_span_id, trace_flags) = (recording.span_id(recording.root()), recording.flags());
        let finished = recording.finish(match &result {
            Ok(_) => Ending::Replied { usage },
            Err(error) => Ending::Failed { error, usage },
        });
        Completed {
            meta: Meta {
                invocation_id,
                trace_id,
                root_span_id,
                trace_flags,
                plugin: finished.plugin,
                version: finished.version,
                action: finished.action,
                attempts: finished.attempts,
                duration: finished.duration,
                queue: finished.queue,
                cold_start: finished.cold_start,
                usage,
                replay_of,
            },
            result,
        }
    }
}

/// What runs the calls of a version, if it takes any.
fn running(deployment: &Deployment) -> Result<&Running, InvokeError> {
    match &deployment.body {
        Body::Running(running) => Ok(running),
        Body::Registered | Body::Failed { .. } => {
            let (plugin, state) = (&deployment.manifest.name, deployment.state());
            Err(InvokeError::new(ErrorKind::Unavailable, format!("{plugin} is {state}")))
        }
    }
}

fn stopped() -> InvokeError {
    InvokeError::new(ErrorKind::Overloaded, "the server stopped before the call was over")
        .help("call again when it is back")
}

fn cancelled() -> InvokeError {
    InvokeError::new(ErrorKind::Cancelled, "the call was cancelled")
}

/// How long a stopping deployment waits for its workers to end in good order.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How long a stopping host waits for the endings of its last calls, and how often it looks.
const ENDINGS_MAX: Duration = Duration::from_secs(1);
const ENDINGS_LOOK: Duration = Duration::from_millis(5);
