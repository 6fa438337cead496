//! Backups of what a host keeps, and the way back: beside all calls, or into a folder that nobody serves.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::register::{RegisterError, lock, note_failure};
use super::{Arrival, Host, off_thread};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::Actor;
use crate::package::Package;
use crate::registry::resolve::{Candidate, Standing, order};
use crate::store::{self, Digest, Lock, PutError, Registration, Snapshot, Staged, Summary};
use crate::telemetry::{Operation, OperationKind};

/// Calls that have ended are in a backup, if telemetry keeps up.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// What a restore did to the versions of a running host.
#[derive(Debug)]
pub struct Restored {
    pub summary: Summary,
    pub registered: usize,
    pub removed: usize,
    pub unchanged: usize,
}

impl Host {
    /// Copies what is kept, ready to be written into an archive. Blocks on the disk.
    pub fn snapshot(&self) -> Result<Snapshot, RegisterError> {
        let mut operation = Operation::start(&self.telemetry, OperationKind::Storage, None);
        self.settle(SETTLE_MAX);
        let taken = self.take_snapshot();
        taken.inspect_err(|error| operation.fail(error.kind(), &error.to_string()))
    }

    fn take_snapshot(&self) -> Result<Snapshot, RegisterError> {
        let store = self.store()?;
        let mut snapshot = {
            // No package goes between the registrations and theirs.
            let _held = lock(&self.changes);
            store.snapshot()?
        };
        snapshot.complete()?;
        Ok(snapshot)
    }

    /// Makes the versions of a backup those of this host, and adds what happened. All of it is checked before
    /// anything changes. Calls under way end on the version that they began with.
    pub async fn restore_backup(self: &Arc<Self>, backup: File) -> Result<Restored, RegisterError> {
        let host = self.clone();
        let work = async move {
            let mut operation = Operation::start(&host.telemetry, OperationKind::Storage, None);
            let restored = host.take_over(backup).await;
            note_failure(&mut operation, &restored);
            restored
        };
        super::to_its_end(work).await
    }

    async fn take_over(self: &Arc<Self>, backup: File) -> Result<Restored, RegisterError> {
        let host = self.clone();
        let (staged, wanted, here) = off_thread(move || {
            let store = host.store()?;
            let staged = Staged::unpack(store.folder(), backup)?;
            check_packages(&staged, |manifest| host.accept(manifest))?;
            let wanted = in_order(&staged)?;
            let here = store.registrations()?;
            Ok::<_, RegisterError>((staged, wanted, here))
        })
        .await?;
        let is_same = |a: &Registration, b: &Registration| {
            (&a.name, &a.version, &a.digest) == (&b.name, &b.version, &b.digest)
        };
        let stands = |one: &Registration| (one.enabled, one.held_back, one.origin.clone());
        let mut restored =
            Restored { summary: staged.summary.clone(), registered: 0, removed: 0, unchanged: 0 };
        let mut gone = Vec::new();
        for registration in &wanted {
            let same = here.iter().find(|one| is_same(one, registration));
            if same.is_some_and(|same| stands(same) == stands(registration)) {
                restored.unchanged += 1;
                continue;
            }
            // The same version with other content gives way at the last moment, and so does one that callers could
            // not tell from it.
            let in_the_way = |one: &&Registration| {
                one.name == registration.name
                    && one.version.cmp_precedence(&registration.version).is_eq()
                    && !is_same(one, registration)
            };
            for one in here.iter().filter(in_the_way) {
                self.forget(one).await?;
                gone.push((&one.name, &one.version));
            }
            self.bring_back(staged.zip(&registration.digest), registration).await?;
            restored.registered += 1;
        }
        for one in here.iter().filter(|one| !wanted.iter().any(|wanted| is_same(one, wanted))) {
            if !gone.contains(&(&one.name, &one.version)) {
                self.forget(one).await?;
                gone.push((&one.name, &one.version));
            }
        }
        restored.removed = gone.len();
        let host = self.clone();
        off_thread(move || {
            host.take_over_lock(staged.lock_text()?.as_deref())?;
            Ok::<_, RegisterError>(host.store()?.import(&staged)?)
        })
        .await?;
        Ok(restored)
    }

    async fn bring_back(
        self: &Arc<Self>,
        zip: PathBuf,
        registration: &Registration,
    ) -> Result<(), RegisterError> {
        let package = off_thread(move || Package::load(&zip)).await;
        let arrival = match &registration.origin {
            Some(origin) => Arrival::Found(origin.as_str().into()),
            None => Arrival::Handed(restoring()),
        };
        self.register(package, arrival).await?;
        let (name, version) = (&registration.name, &registration.version);
        self.set_enabled(name, version, registration.enabled, restoring()).await?;
        if registration.held_back {
            self.live(name, version)?.hold_back(true);
            self.store()?.set_held_back(name, version, true)?;
        }
        Ok(())
    }

    /// Removes a version, whoever needs it: those are restored too. One that has gone meanwhile is fine.
    async fn forget(self: &Arc<Self>, registration: &Registration) -> Result<(), RegisterError> {
        let (name, version) = (&registration.name, &registration.version);
        match self.remove_at_any_rate(name, version, restoring()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

fn restoring() -> Actor {
    Actor::new("restore")
}

/// The versions of a backup, each after those that it may need.
fn in_order(staged: &Staged) -> Result<Vec<Registration>, RegisterError> {
    let registrations = staged.registrations()?;
    let candidate = |registration: &Registration| {
        let manifest = load(&registration.digest, &staged.zip(&registration.digest))?.manifest;
        Ok(Candidate {
            name: manifest.name.shared(),
            version: manifest.version,
            dependencies: manifest.dependencies,
            standing: Standing::Running,
        })
    };
    let candidates = registrations.iter().map(candidate).collect::<Result<Vec<_>, RegisterError>>()?;
    Ok(order(&candidates).into_iter().map(|index| registrations[index].clone()).collect())
}

/// Into a folder that the caller owns and nobody serves: as a whole or not at all. Blocks on the disk.
pub fn restore_offline(folder: &Lock, backup: File) -> Result<Summary, RegisterError> {
    let staged = Staged::unpack(folder.folder(), backup)?;
    check_packages(&staged, |_| Ok(()))?;
    for (digest, zip) in staged.zips() {
        let package = Package::load(&zip)?;
        staged.put_package(&digest, |folder| package.unpack_into(folder)).map_err(put_failed)?;
    }
    Ok(staged.install(folder)?)
}

/// Each package is what its name says, and what its registration says; bounded as any package of a stranger.
fn check_packages(
    staged: &Staged,
    accept: impl Fn(&crate::package::manifest::Manifest) -> Result<(), RegisterError>,
) -> Result<(), RegisterError> {
    let registrations = staged.registrations()?;
    for (digest, zip) in staged.zips() {
        let package = load(&digest, &zip)?;
        if package.digest != digest.as_str() {
            return Err(refused(format!("{digest} has other content: {}", package.digest)));
        }
        for one in registrations.iter().filter(|one| one.digest == digest) {
            let manifest = &package.manifest;
            if (&one.name, &one.version) != (&manifest.name, &manifest.version) {
                return Err(refused(format!(
                    "{} {} is registered with the package of {} {}",
                    one.name, one.version, manifest.name, manifest.version
                )));
            }
            accept(manifest)?;
        }
    }
    Ok(())
}

fn load(digest: &Digest, zip: &Path) -> Result<Package, RegisterError> {
    let file = File::open(zip).map_err(|error| unreadable(digest, &error))?;
    Package::from_zip_file(file).map_err(|error| refused(format!("the package {digest}: {error}")))
}

fn put_failed(error: PutError<crate::package::PackageError>) -> RegisterError {
    match error {
        PutError::Store(error) => RegisterError::Store(error),
        PutError::Unpack(error) => RegisterError::Package(error),
    }
}

fn unreadable(digest: &Digest, error: &std::io::Error) -> RegisterError {
    RegisterError::Refused(InvokeError::new(ErrorKind::Internal, format!("the package {digest}: {error}")))
}

fn refused(detail: String) -> RegisterError {
    RegisterError::Store(store::Error::BadBackup { detail })
}
