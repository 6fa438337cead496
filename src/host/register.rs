//! Versions come and go: from a package to a registration that outlives this process, and back.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Host;
use super::deploy::{Arrival, Source, label_of};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::{Lifecycle, Stage};
use crate::package::diagnostic::Diagnostics;
use crate::package::manifest::{Manifest, SandboxTier};
use crate::package::{Package, PackageError};
use crate::registry::{Body, Deployment};
use crate::runtimes::Convention;
use crate::store::{self, Digest, PutError, ZipSource};
use crate::telemetry::events::{LifecycleChanged, PluginRegisterFailed, PluginRemoved};
use crate::telemetry::{Operation, OperationKind};

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

/// What registering and removing share. Held for a whole change: between the moment at which a package is
/// kept and that at which its registration is, nobody may find that nothing refers to it.
#[derive(Default)]
pub(super) struct Changes {
    /// Packages of versions that are gone, whose last calls still run.
    pub(super) draining: Vec<Digest>,
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

impl Host {
    /// Room on the disk for a zip that is on its way here. It has no name: nothing is left of it.
    pub fn spool(&self) -> Result<File, RegisterError> {
        let folder = self.store()?.folder().path();
        tempfile::tempfile_in(folder)
            .map_err(|error| refused(ErrorKind::Internal, format!("the package cannot be written: {error}")))
    }

    /// Registers the package in a zip that is open. Blocks on the disk.
    pub fn register_zip(&self, zip: File) -> Result<Registered, RegisterError> {
        self.register_loaded(Package::from_zip_file(zip))
    }

    /// Registers a folder or zip. Blocks on the disk.
    pub fn register_path(&self, path: &Path) -> Result<Registered, RegisterError> {
        self.register_loaded(Package::load(path))
    }

    fn register_loaded(&self, loaded: Result<Package, PackageError>) -> Result<Registered, RegisterError> {
        let mut operation = Operation::start(&self.telemetry, OperationKind::Register, None);
        let identity = loaded
            .as_ref()
            .ok()
            .map(|package| (package.manifest.name.shared(), package.manifest.version.to_string()));
        if let Some((name, version)) = &identity {
            operation.set("spanglass.plugin.name", name.clone());
            operation.set("spanglass.plugin.version", version.clone());
        }
        let registered =
            loaded.map_err(RegisterError::from).and_then(|package| self.register_package(&package));
        if let Err(error) = &registered {
            let message = error.to_string();
            operation.fail(error.kind(), &message);
            let plugin = identity.as_ref().map_or("_other", |(name, _)| name);
            let version = identity.as_ref().map(|(_, version)| version.as_str());
            let stage = Stage::Register.as_str();
            self.telemetry.emit(PluginRegisterFailed { plugin, version, stage, message: &message });
        }
        registered
    }

    fn register_package(&self, package: &Package) -> Result<Registered, RegisterError> {
        let manifest = &package.manifest;
        self.accept(manifest)?;
        let store = self.store()?;
        let digest = Digest::parse(&package.digest)?;
        let _one_at_a_time = lock(&self.changes);
        self.refuse_twin(manifest)?;
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

    /// A range, and so a caller, cannot tell versions apart that differ in build metadata only.
    fn refuse_twin(&self, manifest: &Manifest) -> Result<(), RegisterError> {
        let twin = |live: &&Arc<Deployment>| {
            let (live, new) = (&live.manifest.version, &manifest.version);
            live != new && live.cmp_precedence(new).is_eq()
        };
        let versions = self.registry.versions(manifest.name.as_str());
        let Some(live) = versions.iter().find(twin) else { return Ok(()) };
        let (name, new, live) = (&manifest.name, &manifest.version, &live.manifest.version);
        let message = format!("{name} {new} differs from the registered {live} in build metadata only");
        let error = InvokeError::new(ErrorKind::Conflict, message).help("raise the version in the manifest");
        Err(RegisterError::Refused(error))
    }

    pub(super) fn store(&self) -> Result<&store::Store, RegisterError> {
        self.store.as_deref().ok_or_else(|| refused(ErrorKind::Internal, "this host keeps nothing"))
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

    /// The zip of a registered package.
    pub fn package_zip(&self, digest: &str) -> Result<Vec<u8>, RegisterError> {
        let gone = || refused(ErrorKind::NotFound, "the package is not kept here");
        let store = self.store.as_ref().ok_or_else(gone)?;
        let stored = store.package(&Digest::parse(digest)?).ok_or_else(gone)?;
        std::fs::read(&stored.zip)
            .map_err(|error| refused(ErrorKind::Internal, format!("the package: {error}")))
    }

    /// Refuses what this host cannot keep its promise about.
    pub(super) fn accept(&self, manifest: &Manifest) -> Result<(), RegisterError> {
        if manifest.sandbox_min_tier > SandboxTier::S0 {
            let (name, tier) = (&manifest.name, manifest.sandbox_min_tier.as_str());
            let message = format!("{name} asks for sandbox tier {tier}, and this build has none");
            let error = InvokeError::new(ErrorKind::SandboxUnavailable, message)
                .help("plugins run at S0 for now: without isolation from this machine");
            return Err(RegisterError::Refused(error));
        }
        Ok(())
    }
}

fn refused(kind: ErrorKind, message: impl Into<String>) -> RegisterError {
    RegisterError::Refused(InvokeError::new(kind, message))
}

impl Changes {
    /// Removes the packages that nobody needs any more. Who downloads one at this moment has it open already.
    pub(super) fn sweep(&self, store: &store::Store) -> Result<(), store::Error> {
        store.remove_unreferenced_packages(&self.draining, Duration::ZERO).map(drop)
    }
}

pub(super) fn lock(changes: &Mutex<Changes>) -> MutexGuard<'_, Changes> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether anybody but the one who asks holds it. Each call does, from its route to its end; nothing tells
/// when the last lets go.
pub(super) fn is_called(deployment: &Arc<Deployment>) -> bool {
    Arc::strong_count(deployment) > 1
}
