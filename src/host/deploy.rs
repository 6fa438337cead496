//! How a version becomes a deployment: built from its manifest, its files and what the operator says, swapped
//! in, told; and how one that was taken out ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::inputs::{compile, config_of, secrets_of};
use super::observer::Observer;
use super::register::{RegisterError, is_called, lock};
use super::settings::PluginSettings;
use super::{CaptureMode, Host, STOP_GRACE, stack};
use crate::model::lifecycle::{Lifecycle, Stage};
use crate::package::manifest::Manifest;
use crate::pipeline::CalledPlugin;
use crate::pipeline::mask::Mask;
use crate::registry::{Body, Deployment, Running};
use crate::runtimes::pool::{Pool, PoolSettings};
use crate::runtimes::{Convention, DeploymentSpec};
use crate::store::Digest;
use crate::telemetry::PluginSeries;
use crate::telemetry::events::{LifecycleChanged, PluginRegistered};

/// How often it is looked whether the last call of a version that was taken away has ended.
const RETIRE_LOOK: Duration = Duration::from_millis(50);

/// Files and facts of a version that is to be deployed.
pub(super) struct Source {
    pub(super) manifest: Manifest,
    pub(super) digest: Arc<str>,
    pub(super) folder: PathBuf,
    pub(super) registered_at: SystemTime,
    pub(super) convention: Convention,
    pub(super) arrival: Arrival,
}

/// Where a deployment comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Somebody registered it now.
    New,
    /// It was registered before this process began, or is not registered at all.
    Known,
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
        let registered_at = SystemTime::now();
        Ok(self.deploy(Source {
            manifest,
            digest: "".into(),
            folder,
            registered_at,
            convention,
            arrival: Arrival::Known,
        }))
    }

    /// Builds a deployment and swaps it in. What keeps it from starting makes it `Failed`, not an error: it
    /// is registered and says so.
    pub(super) fn deploy(&self, source: Source) -> Arc<Deployment> {
        let name = source.manifest.name.clone();
        let version = source.manifest.version.to_string();
        let actions: Vec<&str> = source.manifest.action_names().collect();
        let series =
            self.telemetry.plugin(name.as_str(), &version, source.manifest.runtime.as_str(), &actions);
        let settings = self.settings.plugins.get(name.as_str()).cloned().unwrap_or_default();
        let mut manifest = source.manifest.clone();
        settings.limits.apply(&mut manifest.limits);
        let manifest = Arc::new(manifest);
        let body = if settings.enabled {
            self.build(&source, &settings, &manifest, &series)
                .map_or_else(|cause| Body::Failed { stage: Stage::Start, cause }, Body::Running)
        } else {
            Body::Disabled
        };
        let deployment = Arc::new(Deployment {
            manifest,
            digest: source.digest,
            registered_at_unix_ms: unix_ms(source.registered_at),
            series,
            body,
        });
        self.tell_start(&deployment, source.arrival);
        if let Some(replaced) = self.registry.insert(deployment.clone()) {
            // The same content: its package is still needed.
            self.retire(replaced, None);
        }
        let name = deployment.manifest.name.as_str();
        if self.registry.route(name, None).is_ok_and(|live| Arc::ptr_eq(&live, &deployment)) {
            deployment.series.reset_circuit();
        }
        deployment
    }

    /// The steps from nothing to where it stands. Those of a version that is not new are counted, and are
    /// news only if it did not come up.
    fn tell_start(&self, deployment: &Deployment, arrival: Arrival) {
        let series = &deployment.series;
        let mut from = Lifecycle::Initialized;
        for to in [Lifecycle::Registered, deployment.state()] {
            if to == from {
                continue;
            }
            let cause = matches!(to, Lifecycle::Failed { .. }).then(|| to.to_string());
            if arrival == Arrival::Known && cause.is_none() {
                self.telemetry.metrics().lifecycle(series.name(), label_of(&to));
            } else {
                let (from, to) = (Some(label_of(&from)), label_of(&to));
                self.telemetry.emit(LifecycleChanged { series, from, to, cause: cause.as_deref() });
            }
            from = to;
        }
        if arrival == Arrival::New && matches!(deployment.body, Body::Running(_)) {
            self.telemetry.emit(PluginRegistered { series, digest: &deployment.digest });
        }
    }

    fn build(
        &self,
        source: &Source,
        settings: &PluginSettings,
        manifest: &Arc<Manifest>,
        series: &Arc<PluginSeries>,
    ) -> Result<Running, String> {
        let kind = manifest.runtime.as_str();
        let runtime = self.runtimes.iter().find(|runtime| runtime.name() == kind);
        let runtime = runtime.ok_or_else(|| format!("this build has no runtime {kind}"))?;
        let secrets = secrets_of(manifest, &settings.secrets)?;
        let mask = Mask::new(secrets.iter().map(|(_, secret)| secret));
        let spec = Arc::new(DeploymentSpec {
            manifest: manifest.clone(),
            folder: source.folder.clone(),
            config: config_of(manifest, settings)?,
            secrets,
            convention: source.convention,
        });
        let launcher = runtime.deploy(spec).map_err(|error| error.message)?;
        let observer = Observer::new(self.telemetry.clone(), series.clone());
        let limits = &manifest.limits;
        let pool =
            Pool::new(launcher, PoolSettings::new(limits.instances_min, limits.instances_max), observer);
        let capture = &self.settings.capture;
        let plugin = Arc::new(CalledPlugin {
            input_schema: compile(manifest.input_schema.as_ref())?,
            output_schema: compile(manifest.output_schema.as_ref())?,
            capture_bytes_max: if capture.mode == CaptureMode::None { 0 } else { capture.bytes_max },
            manifest: manifest.clone(),
            mask,
        });
        Ok(Running { plugin, stack: stack::build(manifest, series, &pool, self.calls()), pool })
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
                changes.draining.retain(|digest| *digest != drained);
                // What cannot be removed now goes with the next one that is.
                let _ = changes.sweep(&store);
            };
            let _ = tokio::task::spawn_blocking(sweep).await;
        });
    }
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

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
