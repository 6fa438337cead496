//! How a version becomes a deployment: built from its manifest, its files and what the operator says, swapped
//! in, told; and how one that was taken out ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::inputs::{compile, config_of, secrets_of};
use super::observer::{Observer, hear};
use super::register::{RegisterError, is_called, lock};
use super::settings::{Capture, PluginSettings, Settings};
use super::{CaptureMode, Host, STOP_GRACE, off_thread, stack};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::{Actor, Lifecycle, Stage};
use crate::package::manifest::{Isolation, Manifest};
use crate::pipeline::CalledPlugin;
use crate::pipeline::circuit::Circuits;
use crate::pipeline::mask::Mask;
use crate::registry::{Body, Deployment, Running};
use crate::runtimes::pool::{Pool, PoolSettings};
use crate::runtimes::{Convention, DeploymentSpec};
use crate::store::Digest;
use crate::telemetry::{Operation, OperationKind, PluginSeries};

/// How often it is looked whether the last call of a version that was taken away has ended.
const RETIRE_LOOK: Duration = Duration::from_millis(50);

/// Longer than anybody looks into one call.
const DEBUGGING_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Files and facts of a version that is to be deployed.
pub(super) struct Source {
    pub(super) manifest: Manifest,
    pub(super) digest: Arc<str>,
    pub(super) folder: PathBuf,
    pub(super) registered_at: SystemTime,
    pub(super) convention: Convention,
    pub(super) origin: Option<Arc<str>>,
    pub(super) enabled: bool,
    pub(super) held_back: bool,
}

impl Host {
    /// Makes a version callable in this process only: nothing is stored.
    pub fn deploy_transient(
        &self,
        manifest: Manifest,
        folder: PathBuf,
        convention: Convention,
    ) -> Result<Arc<Deployment>, RegisterError> {
        self.accept(&manifest)?;
        let source = Source {
            manifest,
            digest: "".into(),
            folder,
            registered_at: SystemTime::now(),
            convention,
            origin: None,
            enabled: true,
            held_back: false,
        };
        let deployment = self.swap_in(self.assemble(source, &self.settings.load()));
        self.count_start(&deployment);
        Ok(deployment)
    }

    /// Puts together what a version needs to take calls. What keeps it from that makes it `Failed`, not an
    /// error: it is registered and says so. Nothing is started, and nobody sees it yet.
    pub(super) fn assemble(&self, source: Source, all: &Settings) -> Deployment {
        let name = source.manifest.name.clone();
        let version = source.manifest.version.to_string();
        let actions: Vec<&str> = source.manifest.action_names().collect();
        let series =
            self.telemetry.plugin(name.as_str(), &version, source.manifest.runtime.as_str(), &actions);
        let settings = all.plugins.get(name.as_str()).cloned().unwrap_or_default();
        let mut manifest = source.manifest.clone();
        settings.limits.apply(&mut manifest.limits);
        if settings.debugging.is_some() {
            take_time(&mut manifest);
        }
        let manifest = Arc::new(manifest);
        let body = if settings.enabled && source.enabled {
            self.build(&source, &settings, &all.capture, &manifest, &series)
                .map_or_else(|cause| Body::Failed { stage: Stage::Start, cause }, Body::Running)
        } else {
            Body::Registered
        };
        Deployment {
            manifest,
            digest: source.digest,
            registered_at_unix_ms: unix_ms(source.registered_at),
            series,
            origin: source.origin,
            held_back: AtomicBool::new(source.held_back),
            body,
        }
    }

    /// Assembles a version. If it is about to take calls from one that runs, an instance of it is started
    /// first: what cannot start takes nothing over.
    pub(super) async fn bring_up(self: &Arc<Self>, source: Source, operation: &Operation) -> Deployment {
        self.bring_up_with(source, self.settings.load_full(), operation).await
    }

    /// The same with settings that do not count yet.
    pub(super) async fn bring_up_with(
        self: &Arc<Self>,
        source: Source,
        settings: Arc<Settings>,
        operation: &Operation,
    ) -> Deployment {
        let host = self.clone();
        let mut deployment = off_thread(move || host.assemble(source, &settings)).await;
        let Body::Running(running) = &deployment.body else { return deployment };
        let name = deployment.manifest.name.as_str();
        let replaced = self.registry.route(name, None).ok();
        let from_running = replaced.is_some_and(|live| matches!(live.body, Body::Running(_)));
        if !from_running || !self.registry.would_route(&deployment) {
            return deployment;
        }
        let first = self.start_first(&deployment.series, running, operation).await;
        if let Err(error) = first {
            deployment.body = Body::Failed { stage: Stage::Start, cause: error.message };
        }
        deployment
    }

    /// Assembles a version of which an instance must start.
    pub(super) async fn try_out(
        self: &Arc<Self>,
        source: Source,
        operation: &Operation,
    ) -> Result<Deployment, InvokeError> {
        let (host, settings) = (self.clone(), self.settings.load_full());
        let deployment = off_thread(move || host.assemble(source, &settings)).await;
        match &deployment.body {
            Body::Running(running) => self.start_first(&deployment.series, running, operation).await?,
            Body::Failed { cause, .. } => {
                return Err(InvokeError::new(ErrorKind::Unavailable, cause.clone()));
            }
            Body::Registered => {
                let name = &deployment.manifest.name;
                let error = InvokeError::new(ErrorKind::Conflict, format!("{name} is disabled"));
                return Err(error.help(format!("plugins.{name}.enabled of the configuration says so")));
            }
        }
        Ok(deployment)
    }

    /// Starts an instance before there are calls. If it does not start, the pool is at its end.
    async fn start_first(
        &self,
        series: &Arc<PluginSeries>,
        running: &Running,
        operation: &Operation,
    ) -> Result<(), InvokeError> {
        let mut prepare =
            Operation::start(&self.telemetry, OperationKind::Prepare, operation.context().as_ref());
        let mask = &running.plugin.mask;
        let listener = &mut |news| hear(&self.telemetry, series, mask, &mut prepare, news);
        let first = running.pool.acquire(listener).await;
        let Err(error) = first else { return Ok(()) };
        let error = mask.error(error);
        prepare.fail(error.kind, &error.message);
        running.pool.stop(STOP_GRACE).await;
        Err(error)
    }

    /// Makes a version live, in place of the one with the same name and version.
    pub(super) fn swap_in(&self, deployment: Deployment) -> Arc<Deployment> {
        let deployment = Arc::new(deployment);
        let name = deployment.manifest.name.shared();
        let before = self.registry.route(&name, None).ok();
        // Not before: until now another content of this version may have been the one that promised.
        deployment.series.set_slo(&deployment.manifest.slo);
        if let Some(replaced) = self.registry.insert(deployment.clone()) {
            let draining = (replaced.digest != deployment.digest).then(|| replaced.digest.clone());
            self.retire(replaced, draining.and_then(|digest| Digest::parse(&digest).ok()));
        }
        if self.registry.route(&name, None).is_ok_and(|live| Arc::ptr_eq(&live, &deployment)) {
            deployment.series.reset_circuit();
            self.warm(&deployment, before.as_deref().map_or(0, live_instances));
            before.into_iter().for_each(superseded);
        }
        deployment
    }

    /// Has a version that gets calls start the instances that it is to keep, and as many as served them before.
    /// Not while what was there before the start comes back: then all follow at once.
    pub(super) fn warm(&self, deployment: &Deployment, before: u32) {
        if let Body::Running(running) = &deployment.body
            && self.ready.load(Ordering::Relaxed)
        {
            running.pool.warm(before);
        }
    }

    /// The same for all that get calls.
    pub(super) fn warm_all(&self) {
        for live in self.registry.all() {
            let name = live.manifest.name.as_str();
            if self.registry.route(name, None).is_ok_and(|routed| Arc::ptr_eq(&routed, &live)) {
                self.warm(&live, 0);
            }
        }
    }

    /// A version that is not new is counted; it is news only if it did not come up.
    pub(super) fn count_start(&self, deployment: &Deployment) {
        let state = deployment.state();
        if matches!(state, Lifecycle::Failed { .. }) {
            let steps = [Lifecycle::Registered, state];
            return self.tell(deployment, &Lifecycle::Initialized, &steps, &Actor::new("start"));
        }
        let metrics = self.telemetry.metrics();
        metrics.lifecycle(deployment.series.name(), label_of(&Lifecycle::Registered));
        if state != Lifecycle::Registered {
            metrics.lifecycle(deployment.series.name(), label_of(&state));
        }
    }

    fn build(
        &self,
        source: &Source,
        settings: &PluginSettings,
        capture: &Capture,
        manifest: &Arc<Manifest>,
        series: &Arc<PluginSeries>,
    ) -> Result<Running, String> {
        let kind = manifest.runtime.as_str();
        let runtime = self.runtimes.iter().find(|runtime| runtime.name() == kind);
        let runtime = runtime.ok_or_else(|| format!("this build has no runtime {kind}"))?;
        let secrets = secrets_of(manifest, &settings.secrets)?;
        let mask = Mask::new(secrets.iter().map(|(_, secret)| secret));
        let secrets_mark = super::reload::mark(&secrets);
        let spec = Arc::new(DeploymentSpec {
            manifest: manifest.clone(),
            folder: source.folder.clone(),
            config: config_of(manifest, settings)?,
            secrets,
            convention: source.convention,
            debugging: settings.debugging.clone(),
        });
        let launcher = runtime.deploy(spec).map_err(|error| error.message)?;
        let observer = Observer::new(self.telemetry.clone(), series.clone(), mask.clone());
        let limits = &manifest.limits;
        let mut pool = PoolSettings::new(limits.instances_min, limits.instances_max);
        pool.calls_max = limits.concurrency.min(limits.instances_max).max(1);
        pool.calls_per_life = limits.instance_calls_max;
        pool.memory_peak_max = limits.instance_memory_max;
        pool.idle_timeout = limits.instance_idle;
        pool.gate = self.starts.clone();
        if manifest.isolation == Isolation::Call {
            pool.one_call_each();
        }
        if settings.debugging.is_some() {
            (pool.start_timeout, pool.idle_timeout) = (DEBUGGING_MAX, DEBUGGING_MAX);
        }
        let pool = Pool::new(launcher, pool, observer);
        let plugin = Arc::new(CalledPlugin {
            input_schema: compile(manifest.input_schema.as_ref())?,
            output_schema: compile(manifest.output_schema.as_ref())?,
            capture_bytes_max: if capture.mode == CaptureMode::None { 0 } else { capture.bytes_max },
            circuits: Circuits::new(manifest.breaker.clone()),
            watch: self.drift.watch(manifest),
            manifest: manifest.clone(),
            mask,
        });
        let stack = stack::build(manifest, series, &pool, self.calls());
        Ok(Running { plugin, stack, pool, secrets: secrets_mark })
    }

    /// A deployment that was replaced or removed: its workers end, and its files go, once the last call has
    /// let go of it. `draining`: the package that waits for that.
    pub(super) fn retire(&self, deployment: Arc<Deployment>, draining: Option<Digest>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (changes, store) = (self.changes.clone(), self.store.clone());
        runtime.spawn(async move {
            while is_called(&deployment) {
                tokio::time::sleep(RETIRE_LOOK).await;
            }
            if let Body::Running(running) = &deployment.body {
                running.pool.stop(STOP_GRACE).await;
            }
            let (Some(store), Some(drained)) = (store, draining) else { return };
            let sweep = move || {
                let mut changes = lock(&changes);
                changes.let_go(&drained);
                // What cannot be removed now goes with the next one that is.
                let _ = changes.sweep(&store);
            };
            let _ = tokio::task::spawn_blocking(sweep).await;
        });
    }
}

pub(super) fn live_instances(deployment: &Deployment) -> u32 {
    match &deployment.body {
        Body::Running(running) => running.pool.live(),
        Body::Registered | Body::Failed { .. } => 0,
    }
}

/// Another version gets its calls: its workers need not wait for them.
pub(super) fn superseded(deployment: Arc<Deployment>) {
    if let (Body::Running(running), Ok(runtime)) = (&deployment.body, tokio::runtime::Handle::try_current()) {
        let pool = running.pool.clone();
        runtime.spawn(async move { pool.trim().await });
    }
}

/// A person looks into the calls: one after the other, once each, for as long as he likes.
fn take_time(manifest: &mut Manifest) {
    let limits = &mut manifest.limits;
    limits.timeout = DEBUGGING_MAX;
    (limits.concurrency, limits.instances_max) = (1, 1);
    limits.instances_min = limits.instances_min.min(1);
    (manifest.retry.attempts_max, manifest.retry.attempt_timeout) = (1, None);
    manifest.breaker.calls_min = u32::MAX;
}

pub(super) fn label_of(state: &Lifecycle) -> crate::telemetry::Lifecycle {
    use crate::telemetry::Lifecycle as Label;
    match state {
        Lifecycle::Initialized => Label::Initialized,
        Lifecycle::Registered => Label::Registered,
        Lifecycle::Running => Label::Running,
        Lifecycle::Destroyed => Label::Destroyed,
        Lifecycle::Failed { .. } => Label::Failed,
    }
}

pub(super) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
