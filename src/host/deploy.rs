//! How a package becomes a deployment: checked against this host, stored, built, made live. Also the reverse.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::observer::Observer;
use super::settings::{PluginSettings, SecretSource};
use super::{CaptureMode, Host, STOP_GRACE, stack};
use crate::model::error::InvokeError;
use crate::model::guest::Secret;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::{Lifecycle, Stage};
use crate::package::diagnostic::Diagnostics;
use crate::package::manifest::{Manifest, SandboxTier};
use crate::package::schema::Schema;
use crate::package::{Package, PackageError};
use crate::pipeline::CalledPlugin;
use crate::registry::{Body, Deployment, Running};
use crate::runtimes::pool::{Pool, PoolSettings};
use crate::runtimes::{Convention, DeploymentSpec};
use crate::store::{self, Digest, PutError, ZipSource};
use crate::telemetry::events::{LifecycleChanged, PluginRegisterFailed, PluginRegistered, PluginRemoved};
use crate::telemetry::{Operation, OperationKind};

/// A secret longer than this is not one.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// How often it is looked whether the last call of a version that was taken away has ended.
const RETIRE_LOOK: Duration = Duration::from_millis(50);

/// What registering and removing share. Held for a whole change: between the moment at which a package is
/// kept and that at which its registration is, nobody may find that nothing refers to it.
#[derive(Default)]
pub(super) struct Changes {
    /// Packages of versions that are gone, whose last calls still run.
    draining: Vec<Digest>,
}

/// A version that has been made live.
pub struct Registered {
    pub deployment: Arc<Deployment>,
    /// False: the same bytes were registered before.
    pub created: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It is a good package, but not for this host.
    #[error("{0}")]
    Refused(InvokeError),
}

impl RegisterError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            RegisterError::Package(_) => ErrorKind::InvalidInput,
            RegisterError::Store(error) => error.kind(),
            RegisterError::Refused(error) => error.kind,
        }
    }

    pub fn help(&self) -> Option<String> {
        match self {
            RegisterError::Package(error) => error.help(),
            RegisterError::Store(error) => error.help().map(str::to_owned),
            RegisterError::Refused(error) => error.help.clone(),
        }
    }

    pub fn diagnostics(&self) -> Option<&Diagnostics> {
        match self {
            RegisterError::Package(error) => error.diagnostics(),
            _ => None,
        }
    }
}

/// Files and facts of a version that is to be deployed.
struct Source {
    manifest: Manifest,
    digest: Arc<str>,
    folder: PathBuf,
    registered_at: SystemTime,
    convention: Convention,
    arrival: Arrival,
}

/// Where a deployment comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// Somebody registered it now.
    New,
    /// It was registered before this process began, or is not registered at all.
    Known,
}

impl Host {
    /// Registers the package in a zip's bytes. Blocks on the disk.
    pub fn register_zip(&self, bytes: Bytes) -> Result<Registered, RegisterError> {
        self.observe_register(|host| {
            let package = Package::from_zip_bytes(bytes)?;
            host.register_package(&package)
        })
    }

    /// Registers a folder or zip. Blocks on the disk.
    pub fn register_path(&self, path: &Path) -> Result<Registered, RegisterError> {
        self.observe_register(|host| {
            let package = Package::load(path)?;
            host.register_package(&package)
        })
    }

    fn observe_register(
        &self,
        register: impl FnOnce(&Host) -> Result<Registered, RegisterError>,
    ) -> Result<Registered, RegisterError> {
        let mut operation = Operation::start(&self.telemetry, OperationKind::Register, None);
        let registered = register(self);
        match &registered {
            Ok(Registered { deployment, .. }) => {
                operation.set("spanglass.plugin.name", deployment.manifest.name.shared());
                operation.set("spanglass.plugin.version", deployment.manifest.version.to_string());
            }
            Err(error) => {
                operation.fail(error.kind(), &error.to_string());
                let message = error.to_string();
                let (plugin, stage) = ("_other", Stage::Register.as_str());
                self.telemetry.emit(PluginRegisterFailed { plugin, version: None, stage, message: &message });
            }
        }
        registered
    }

    fn register_package(&self, package: &Package) -> Result<Registered, RegisterError> {
        let manifest = &package.manifest;
        self.accept(manifest)?;
        let store =
            self.store.as_ref().ok_or_else(|| refused(ErrorKind::Internal, "this host keeps nothing"))?;
        let digest = Digest::parse(&package.digest)?;
        let _one_at_a_time = lock(&self.changes);
        // The zip is kept as we would write it, so that the same content always has the same bytes.
        let mut zip = tempfile::NamedTempFile::new_in(store.folder().path()).map_err(|error| {
            refused(ErrorKind::Internal, format!("the package cannot be written: {error}"))
        })?;
        package.write_zip(zip.as_file_mut())?;
        let put =
            store.put_package(&digest, ZipSource::File(zip.path()), |folder| package.unpack_into(folder));
        let stored = put.map_err(|error| match error {
            PutError::Store(error) => RegisterError::Store(error),
            PutError::Unpack(error) => RegisterError::Package(error),
        })?;
        let registered =
            store.register(&manifest.name, &manifest.version, &digest, &package.manifest_text)?;
        if let Some(live) = self.registry.get(manifest.name.as_str(), &manifest.version)
            && !registered.created
            && matches!(live.body, Body::Running(_))
        {
            return Ok(Registered { deployment: live, created: false });
        }
        let deployment = self.deploy(Source {
            manifest: manifest.clone(),
            digest: digest.as_str().into(),
            folder: stored.folder,
            registered_at: registered.registration.registered_at,
            convention: Convention::Plugin,
            arrival: Arrival::New,
        });
        Ok(Registered { deployment, created: registered.created })
    }

    /// Deploys everything that was registered before. One that cannot be started stays, as failed.
    pub fn restore(&self) -> Result<usize, RegisterError> {
        let Some(store) = &self.store else { return Ok(0) };
        let registrations = store.registrations()?;
        let mut restored = 0;
        for registration in registrations.into_iter().filter(|registration| registration.enabled) {
            let Some(stored) = store.package(&registration.digest) else {
                self.report_lost(
                    registration.name.as_str(),
                    &registration.version.to_string(),
                    "its package is gone",
                );
                continue;
            };
            match Package::load(&stored.folder) {
                Ok(package) => {
                    self.deploy(Source {
                        manifest: package.manifest,
                        digest: registration.digest.as_str().into(),
                        folder: stored.folder,
                        registered_at: registration.registered_at,
                        convention: Convention::Plugin,
                        arrival: Arrival::Known,
                    });
                    restored += 1;
                }
                Err(error) => {
                    let version = registration.version.to_string();
                    self.report_lost(registration.name.as_str(), &version, &error.to_string());
                }
            }
        }
        Ok(restored)
    }

    fn report_lost(&self, plugin: &str, version: &str, message: &str) {
        let stage = Stage::Start.as_str();
        self.telemetry.emit(PluginRegisterFailed { plugin, version: Some(version), stage, message });
    }

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

    /// Takes a version away. Its workers end when its last call has. Blocks on the disk.
    pub fn remove(&self, deployment: Arc<Deployment>) -> Result<(), RegisterError> {
        let mut operation = Operation::start(&self.telemetry, OperationKind::Remove, None);
        let (name, version) = (&deployment.manifest.name, &deployment.manifest.version);
        operation.set("spanglass.plugin.name", name.shared());
        operation.set("spanglass.plugin.version", version.to_string());
        let mut changes = lock(&self.changes);
        if let Some(store) = &self.store {
            store.remove_registration(name, version, None)?;
        }
        let removed = self.registry.remove(name.as_str(), version);
        drop(deployment);
        if let Some(removed) = removed {
            let series = &removed.series;
            let (from, to) = (Some(label_of(&removed.state())), label_of(&Lifecycle::Destroyed));
            self.telemetry.emit(LifecycleChanged { series, from, to, cause: None });
            self.telemetry.emit(PluginRemoved { series });
            let draining = is_called(&removed).then(|| Digest::parse(&removed.digest).ok()).flatten();
            changes.draining.extend(draining.clone());
            self.retire(removed, draining);
        }
        if let Some(store) = &self.store {
            changes.sweep(store)?;
        }
        Ok(())
    }

    /// A deployment that was replaced or removed: its workers end, and its files go, once the last call has
    /// let go of it. `draining`: the package that waits for that.
    fn retire(&self, deployment: Arc<Deployment>, draining: Option<Digest>) {
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

    /// The zip of a registered package.
    pub fn package_zip(&self, digest: &str) -> Result<Vec<u8>, RegisterError> {
        let gone = || refused(ErrorKind::NotFound, "the package is not kept here");
        let store = self.store.as_ref().ok_or_else(gone)?;
        let stored = store.package(&Digest::parse(digest)?).ok_or_else(gone)?;
        std::fs::read(&stored.zip)
            .map_err(|error| refused(ErrorKind::Internal, format!("the package: {error}")))
    }

    /// Refuses what this host cannot keep its promise about.
    fn accept(&self, manifest: &Manifest) -> Result<(), RegisterError> {
        if manifest.sandbox_min_tier > SandboxTier::S0 {
            let (name, tier) = (&manifest.name, manifest.sandbox_min_tier.as_str());
            let message = format!("{name} asks for sandbox tier {tier}, and this build has none");
            let error = InvokeError::new(ErrorKind::SandboxUnavailable, message)
                .help("plugins run at S0 for now: without isolation from this machine");
            return Err(RegisterError::Refused(error));
        }
        Ok(())
    }

    /// Builds a deployment and swaps it in. What keeps it from starting makes it `Failed`, not an error: it
    /// is registered and says so.
    fn deploy(&self, source: Source) -> Arc<Deployment> {
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
        series: &Arc<crate::telemetry::PluginSeries>,
    ) -> Result<Running, String> {
        let kind = manifest.runtime.as_str();
        let runtime = self.runtimes.iter().find(|runtime| runtime.name() == kind);
        let runtime = runtime.ok_or_else(|| format!("this build has no runtime {kind}"))?;
        let spec = Arc::new(DeploymentSpec {
            manifest: manifest.clone(),
            folder: source.folder.clone(),
            config: config_of(manifest, settings)?,
            secrets: secrets_of(manifest, &settings.secrets)?,
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
        });
        Ok(Running { plugin, stack: stack::build(manifest, series, &pool), pool })
    }
}

fn refused(kind: ErrorKind, message: impl Into<String>) -> RegisterError {
    RegisterError::Refused(InvokeError::new(kind, message))
}

impl Changes {
    /// Removes the packages that nobody needs any more. Who downloads one at this moment has it open already.
    fn sweep(&self, store: &store::Store) -> Result<(), store::Error> {
        store.remove_unreferenced_packages(&self.draining, Duration::ZERO).map(drop)
    }
}

fn lock(changes: &Mutex<Changes>) -> MutexGuard<'_, Changes> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether anybody but the one who asks holds it. Each call does, from its route to its end; nothing tells
/// when the last lets go.
fn is_called(deployment: &Arc<Deployment>) -> bool {
    Arc::strong_count(deployment) > 1
}

fn compile(schema: Option<&Arc<Value>>) -> Result<Option<Schema>, String> {
    let compiled = schema.map(|schema| Schema::compile(schema.clone())).transpose();
    compiled.map_err(|problems| problems.first().map_or_else(String::new, |problem| problem.message.clone()))
}

/// The manifest's defaults with the operator's values laid over them, fit to `config_schema`.
fn config_of(manifest: &Manifest, settings: &PluginSettings) -> Result<Map<String, Value>, String> {
    let mut config = manifest.config.clone();
    config.extend(settings.config.clone());
    if let Some(schema) = compile(manifest.config_schema.as_ref())? {
        schema.check(&Value::Object(config.clone())).map_err(|fields| {
            let first = fields
                .first()
                .map_or_else(String::new, |field| format!("{}: {}", field.pointer, field.message));
            format!("its config does not fit config_schema: {first}")
        })?;
    }
    Ok(config)
}

fn secrets_of(
    manifest: &Manifest,
    sources: &BTreeMap<String, SecretSource>,
) -> Result<Vec<(String, Secret)>, String> {
    let read = |name: &String| {
        let value = match sources.get(name) {
            Some(source) => read_secret(name, source)?,
            None => {
                return Err(format!(
                    "the secret {name} is missing: set plugins.{}.secrets.{name}",
                    manifest.name
                ));
            }
        };
        Ok((name.clone(), value))
    };
    manifest.secrets.iter().map(read).collect()
}

/// Messages name the secret and its source, never its value.
pub fn read_secret(name: &str, source: &SecretSource) -> Result<Secret, String> {
    match source {
        SecretSource::Environment(variable) => {
            let value = std::env::var(variable)
                .map_err(|_| format!("the secret {name} is missing: the variable {variable} is not set"))?;
            Ok(Secret::new(&value))
        }
        SecretSource::File(path) => {
            let missing = |error: &dyn std::fmt::Display| {
                format!("the secret {name} is missing: {}: {error}", path.display())
            };
            let size = std::fs::metadata(path).map_err(|error| missing(&error))?.len();
            if size > SECRET_BYTES_MAX {
                return Err(missing(&format!("the file has more than {SECRET_BYTES_MAX} bytes")));
            }
            let value = std::fs::read_to_string(path).map_err(|error| missing(&error))?;
            Ok(Secret::new(value.trim_end_matches(['\r', '\n'])))
        }
    }
}

fn label_of(state: &Lifecycle) -> crate::telemetry::Lifecycle {
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
