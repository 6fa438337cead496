//! Versions come and go: from a package to a registration that outlives this process, and back.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::deploy::Source;
use super::{Host, off_thread};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::{Actor, Lifecycle, Stage};
use crate::package::diagnostic::Diagnostics;
use crate::package::manifest::{Manifest, SandboxTier};
use crate::package::{Package, PackageError};
use crate::registry::{Body, Deployment};
use crate::runtimes::Convention;
use crate::store::{self, Digest, PutError, Registering, ZipSource};
use crate::telemetry::events::{PluginRegisterFailed, PluginRegistered};
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

/// How a version comes in.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// Somebody hands it over: it is enabled, and no longer held back.
    Handed(Actor),
    /// The same, but to be tried out by those who name it: an instance of it is started first, without one it
    /// is refused, and it gets no other calls until somebody enables it.
    OnTrial(Actor),
    /// It lies in this folder or zip. What was decided about it before stays.
    Found(Arc<str>),
}

impl Arrival {
    fn actor(&self) -> Actor {
        match self {
            Arrival::Handed(actor) | Arrival::OnTrial(actor) => actor.clone(),
            Arrival::Found(path) => Actor::new("folder").because(path.clone()),
        }
    }

    fn origin(&self) -> Option<&str> {
        match self {
            Arrival::Handed(_) | Arrival::OnTrial(_) => None,
            Arrival::Found(path) => Some(path),
        }
    }

    fn is_trial(&self) -> bool {
        matches!(self, Arrival::OnTrial(_))
    }
}

/// What changes to the registry share. Locked for each step that must be seen as one.
#[derive(Default)]
pub(super) struct Changes {
    /// Packages that nothing in the store refers to, and that are needed: of versions that are on their way
    /// in, or gone while their last calls run. Once for each need.
    pub(super) held: Vec<Digest>,
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

    /// Registers a package, to the end even if the caller does not wait for it. Before it takes calls from
    /// another version an instance of it is started: if that fails it is registered as failed, and the other
    /// keeps its calls.
    pub async fn register(
        self: &Arc<Self>,
        package: Result<Package, PackageError>,
        arrival: Arrival,
    ) -> Result<Registered, RegisterError> {
        let host = self.clone();
        let work = async move {
            let mut operation = Operation::start(&host.telemetry, OperationKind::Register, None);
            let identity = package
                .as_ref()
                .ok()
                .map(|package| (package.manifest.name.shared(), package.manifest.version.to_string()));
            if let Some((name, version)) = &identity {
                operation.set("spanglass.plugin.name", name.clone());
                operation.set("spanglass.plugin.version", version.clone());
            }
            operation.set("spanglass.actor", arrival.actor().by);
            let arrived = arrival.origin().map(str::to_owned);
            let registered = match package {
                Ok(package) => host.take_in(package, arrival, &operation).await,
                Err(error) => Err(error.into()),
            };
            note_failure(&mut operation, &registered);
            if let Err(error) = &registered {
                let plugin = identity.as_ref().map_or("_other", |(name, _)| name);
                let version = identity.as_ref().map(|(_, version)| version.as_str());
                let (stage, message) = (Stage::Register.as_str(), error.to_string());
                let origin = arrived.as_deref();
                host.telemetry.emit(PluginRegisterFailed {
                    plugin,
                    origin,
                    version,
                    stage,
                    message: &message,
                });
            }
            registered
        };
        super::to_its_end(work).await
    }

    /// Registers what lies in a folder or zip, as handed over.
    pub async fn register_path(
        self: &Arc<Self>,
        path: &Path,
        actor: Actor,
    ) -> Result<Registered, RegisterError> {
        let path = path.to_owned();
        let package = off_thread(move || Package::load(&path)).await;
        self.register(package, Arrival::Handed(actor)).await
    }

    async fn take_in(
        self: &Arc<Self>,
        package: Package,
        arrival: Arrival,
        operation: &Operation,
    ) -> Result<Registered, RegisterError> {
        let name = package.manifest.name.shared();
        let _turn = self.turns.of(&name).await;
        let (host, arriving) = (self.clone(), arrival.clone());
        let (package, kept) = off_thread(move || {
            let kept = host.keep(&package, &arriving);
            (package, kept)
        })
        .await;
        let (source, hold) = match kept? {
            Kept::Live(deployment) => return Ok(Registered { deployment, created: false }),
            Kept::New(source, hold) => (source, hold),
        };
        let deployment = if arrival.is_trial() {
            self.try_out(*source, operation).await.map_err(RegisterError::Refused)?
        } else {
            self.bring_up(*source, operation).await
        };
        let host = self.clone();
        off_thread(move || {
            let committed = host.commit(&package, deployment, &arrival);
            drop(hold);
            committed
        })
        .await
    }

    /// Looks whether a package may come in, and keeps it on the disk.
    fn keep(self: &Arc<Self>, package: &Package, arrival: &Arrival) -> Result<Kept, RegisterError> {
        let manifest = &package.manifest;
        self.accept(manifest)?;
        let store = self.store()?;
        let digest = Digest::parse(&package.digest)?;
        let registration = store.registration(&manifest.name, &manifest.version)?;
        if let Some(registration) = &registration {
            if !registration.may_become(&digest, arrival.origin()) {
                return Err(registration.conflict(&digest).into());
            }
            if arrival.is_trial() && !registration.held_back {
                return Err(in_earnest(manifest));
            }
            let live = self.registry.get(manifest.name.as_str(), &manifest.version);
            let settled =
                matches!(arrival, Arrival::Found(_)) || (registration.enabled && !registration.held_back);
            let stays = |live: &Arc<Deployment>| match live.body {
                Body::Running(_) => true,
                Body::Registered => matches!(arrival, Arrival::Found(_)),
                Body::Failed { .. } => false,
            };
            if let Some(live) = live.filter(stays)
                && settled
                && registration.digest == digest
            {
                return Ok(Kept::Live(live));
            }
        }
        let hold = {
            let mut changes = lock(&self.changes);
            self.refuse_twin(manifest)?;
            self.choose(manifest)?;
            changes.held.push(digest.clone());
            Hold { changes: self.changes.clone(), digest: digest.clone() }
        };
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
        let found = matches!(arrival, Arrival::Found(_));
        let before = registration.as_ref().filter(|_| found);
        let source = Source {
            manifest: manifest.clone(),
            digest: digest.as_str().into(),
            folder: stored.folder,
            registered_at: registration
                .as_ref()
                .filter(|registration| registration.digest == digest)
                .map_or_else(SystemTime::now, |registration| registration.registered_at),
            convention: Convention::Plugin,
            origin: arrival.origin().map(Arc::from),
            enabled: before.is_none_or(|registration| registration.enabled),
            held_back: arrival.is_trial() || before.is_some_and(|registration| registration.held_back),
        };
        Ok(Kept::New(Box::new(source), hold))
    }

    /// Makes a version that was brought up a registered and live one: on the disk, then for calls.
    fn commit(
        &self,
        package: &Package,
        mut deployment: Deployment,
        arrival: &Arrival,
    ) -> Result<Registered, RegisterError> {
        let manifest = &package.manifest;
        let store = self.store()?;
        let digest = Digest::parse(&package.digest)?;
        let mut changes = lock(&self.changes);
        let live = self.registry.get(manifest.name.as_str(), &manifest.version);
        let other_content = live.as_ref().is_some_and(|live| live.digest != deployment.digest);
        if let (true, Body::Failed { cause, .. }) = (other_content, &deployment.body) {
            // The version that serves has the same number: this one cannot be registered beside it.
            let error =
                InvokeError::new(ErrorKind::Unavailable, format!("its new content does not start: {cause}"));
            return Err(RegisterError::Refused(error.help("the content from before keeps serving")));
        }
        self.refuse_twin(manifest)?;
        // Others may have come and gone since it was looked at first.
        let choices = self.choose(manifest)?;
        self.lock_in(manifest, &package.digest, choices)?;
        if other_content && let Some(live) = &live {
            changes.held.extend(Digest::parse(&live.digest).ok());
        }
        let registered = store.register(&Registering {
            name: &manifest.name,
            version: &manifest.version,
            digest: &digest,
            manifest: &package.manifest_text,
            origin: arrival.origin(),
            held_back: arrival.is_trial(),
        })?;
        deployment.registered_at_unix_ms = super::deploy::unix_ms(registered.registration.registered_at);
        let actor = arrival.actor();
        let state = deployment.state();
        match &live {
            Some(live) if other_content => self.tell(live, &live.state(), &[Lifecycle::Destroyed], &actor),
            _ => {}
        }
        let deployment = self.swap_in(deployment);
        let from = live.filter(|_| !other_content).map_or(Lifecycle::Initialized, |live| live.state());
        if from != state {
            self.tell(&deployment, &from, &[Lifecycle::Registered, state], &actor);
        }
        if registered.created && matches!(deployment.body, Body::Running(_)) {
            self.telemetry.emit(PluginRegistered { series: &deployment.series, digest: &deployment.digest });
        }
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

/// A trial must not take a version away from those whom it serves.
fn in_earnest(manifest: &Manifest) -> RegisterError {
    let message = format!("{} {} is registered, and not on trial", manifest.name, manifest.version);
    let error = InvokeError::new(ErrorKind::Conflict, message);
    RegisterError::Refused(error.help("try it under another version, a pre-release for instance"))
}

/// What `keep` found out.
enum Kept {
    /// The same content is there, and nothing changes.
    Live(Arc<Deployment>),
    New(Box<Source>, Hold),
}

/// Keeps a package on the disk although no registration names it, until it is dropped.
struct Hold {
    changes: Arc<Mutex<Changes>>,
    digest: Digest,
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.changes).let_go(&self.digest);
    }
}

/// Marks the span of a change that failed.
pub(super) fn note_failure<T>(operation: &mut Operation, result: &Result<T, RegisterError>) {
    if let Err(error) = result {
        operation.fail(error.kind(), &error.to_string());
    }
}

pub(super) fn refused(kind: ErrorKind, message: impl Into<String>) -> RegisterError {
    RegisterError::Refused(InvokeError::new(kind, message))
}

impl Changes {
    /// Removes the packages that nobody needs any more. Who downloads one at this moment has it open already.
    pub(super) fn sweep(&self, store: &store::Store) -> Result<(), store::Error> {
        store.remove_unreferenced_packages(&self.held, Duration::ZERO).map(drop)
    }

    /// One need of a package less.
    pub(super) fn let_go(&mut self, digest: &Digest) {
        if let Some(place) = self.held.iter().position(|held| held == digest) {
            self.held.swap_remove(place);
        }
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
