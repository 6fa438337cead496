//! Backups of what a host keeps, and the way back: beside all calls, or into a folder that nobody serves.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::Host;
use super::register::{RegisterError, lock};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::package::Package;
use crate::store::{self, Digest, Lock, PutError, Registration, Snapshot, Staged, Summary, ZipSource};
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
    /// anything changes. Calls under way end on the version that they began with. Blocks on the disk.
    pub fn restore_backup(&self, backup: File) -> Result<Restored, RegisterError> {
        let mut operation = Operation::start(&self.telemetry, OperationKind::Storage, None);
        let restored = self.take_over(backup);
        restored.inspect_err(|error| operation.fail(error.kind(), &error.to_string()))
    }

    fn take_over(&self, backup: File) -> Result<Restored, RegisterError> {
        let store = self.store()?;
        let staged = Staged::unpack(store.folder(), backup)?;
        check_packages(&staged, |manifest| self.accept(manifest))?;
        let (wanted, here) = (staged.registrations()?, store.registrations()?);
        let mut restored =
            Restored { summary: staged.summary.clone(), registered: 0, removed: 0, unchanged: 0 };
        let mut gone = Vec::new();
        let is_same = |a: &Registration, b: &Registration| {
            (&a.name, &a.version, &a.digest) == (&b.name, &b.version, &b.digest)
        };
        for registration in &wanted {
            let same = here.iter().find(|one| is_same(one, registration));
            if same.is_some_and(|one| one.enabled == registration.enabled) {
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
                self.forget(one)?;
                gone.push((&one.name, &one.version));
            }
            self.bring_back(&staged, registration)?;
            restored.registered += 1;
        }
        for one in here.iter().filter(|one| !wanted.iter().any(|wanted| is_same(one, wanted))) {
            if !gone.contains(&(&one.name, &one.version)) {
                self.forget(one)?;
                gone.push((&one.name, &one.version));
            }
        }
        restored.removed = gone.len();
        store.import(&staged)?;
        Ok(restored)
    }

    fn bring_back(&self, staged: &Staged, registration: &Registration) -> Result<(), RegisterError> {
        let zip = staged.zip(&registration.digest);
        if registration.enabled {
            let file = File::open(&zip).map_err(|error| unreadable(&registration.digest, &error))?;
            return self.register_zip(file).map(drop);
        }
        let (name, version) = (&registration.name, &registration.version);
        let package = Package::load(&zip)?;
        let _one_at_a_time = lock(&self.changes);
        let store = self.store()?;
        let put = store
            .put_package(&registration.digest, ZipSource::File(&zip), |folder| package.unpack_into(folder));
        put.map_err(put_failed)?;
        store.register(name, version, &registration.digest, &registration.manifest)?;
        store.set_enabled(name, version, false, None)?;
        if let Some(live) = self.registry.remove(name.as_str(), version) {
            self.retire(live, None);
        }
        Ok(())
    }

    /// Removes a version, whether it is deployed or not. One that has gone meanwhile is fine.
    fn forget(&self, registration: &Registration) -> Result<(), RegisterError> {
        let (name, version) = (&registration.name, &registration.version);
        let removed = match self.registry.get(name.as_str(), version) {
            Some(live) => self.remove(live),
            None => {
                let changes = lock(&self.changes);
                let store = self.store()?;
                store
                    .remove_registration(name, version, None)
                    .and_then(|_| changes.sweep(store))
                    .map_err(Into::into)
            }
        };
        match removed {
            Err(RegisterError::Store(store::Error::NotFound { .. })) => Ok(()),
            removed => removed,
        }
    }
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
