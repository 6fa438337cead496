//! The data folder: packages, registrations and the ledger of what happened. Only this room knows the
//! engine (SQLite); no type of the engine leaves it. It never decides what is kept or redacted, never runs
//! or believes a plugin's bytes, and never makes a call wait: what the ledger can't take is counted.
//!
//! Read `folder.rs` (what lies where, who owns it), then `registry.rs` (durable before acknowledged), then
//! `ledger/mod.rs` (fast, bounded, and honest about loss).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use semver::Version;

use crate::model::name::PluginName;

mod backup;
pub mod calls;
mod check;
mod clock;
mod database;
pub mod drift;
mod error;
mod folder;
mod kv;
mod ledger;
mod lock_file;
mod packages;
mod registry;
pub mod series;
mod time;

pub use backup::{BACKUP_BYTES_MAX, Part, Snapshot, Staged, Summary, verify};
pub use check::{Check, FileCheck, check};
pub use error::Error;
pub use folder::{DataFolder, Lock};
pub use kv::{KeyValueAnswer, KeyValueEntry, KeyValueError, KeyValueStore};
pub use ledger::{
    ErrorExample, ErrorFilter, ErrorGroup, ErrorGroups, ErrorView, EventView, ExceptionView,
    InvocationDetail, InvocationFilter, InvocationView, Ledger, LedgerAccount, LedgerCounts, LedgerSettings,
    LedgerSink, LedgerStats, LogFilter, LogPage, LogView, Notice, Page, PluginAccount, PurgeFilter, Purged,
    REASON_IO, REASON_QUEUE_FULL, REASON_REFUSALS, REASON_SAMPLED, Reader, SpanView, TraceSummary, TraceView,
    UsageView,
};
pub use packages::{Digest, PutError, StoredPackage, ZipSource};
pub use registry::{Document, Registered, Registering, Registration, Transition};

use calls::{Bounds, Calls};
use packages::Packages;
use registry::Registry;

/// An owned data folder: its packages, registrations and documents. All methods block on the disk.
pub struct Store {
    registry: Registry,
    packages: Packages,
    kv: KeyValueStore,
    calls: Arc<Calls>,
    /// Last: the folder is given up after its files are closed.
    lock: Arc<Lock>,
}

impl Store {
    /// Takes ownership of `data_dir`, creating it if need be, after waiting at most `wait` for another
    /// owner; clears away what a killed process left half-done.
    pub fn open(data_dir: impl Into<PathBuf>, wait: Duration) -> Result<Store, Error> {
        let lock = DataFolder::acquire(data_dir, wait)?;
        backup::finish(lock.folder())?;
        let packages = Packages::open(lock.folder().packages())?;
        let registry = Registry::open(&lock.folder().registry())?;
        let kv = KeyValueStore::open(&lock.folder().kv())?;
        let calls = Arc::new(Calls::open(&lock.folder().calls(), Bounds::default())?);
        Ok(Store { registry, packages, kv, calls, lock: Arc::new(lock) })
    }

    pub fn folder(&self) -> &DataFolder {
        self.lock.folder()
    }

    /// What plugins keep.
    pub fn kv(&self) -> &KeyValueStore {
        &self.kv
    }

    /// The durable queue and the idempotency keys.
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Keeps a package: `unpack` fills the folder that it is given. Durable when it returns; with a digest
    /// that is there already nothing is called or written.
    pub fn put_package<E>(
        &self,
        digest: &Digest,
        zip: ZipSource<'_>,
        unpack: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<StoredPackage, PutError<E>> {
        self.packages.put(digest, zip, unpack)
    }

    pub fn package(&self, digest: &Digest) -> Option<StoredPackage> {
        self.packages.get(digest)
    }

    pub fn packages(&self) -> Result<Vec<StoredPackage>, Error> {
        self.packages.list()
    }

    /// Removes the packages that no registration names, that are not in `in_use` and that were put longer
    /// ago than `age`; returns them.
    pub fn remove_unreferenced_packages(
        &self,
        in_use: &[Digest],
        age: Duration,
    ) -> Result<Vec<Digest>, Error> {
        let mut referenced: Vec<Digest> = self.registry.list()?.into_iter().map(|one| one.digest).collect();
        referenced.extend_from_slice(in_use);
        let mut removed = Vec::new();
        for package in self.packages.unreferenced(&referenced, age)? {
            self.packages.remove(&package.digest)?;
            removed.push(package.digest);
        }
        Ok(removed)
    }

    /// Registers a version whose package was put before; on the disk when it returns. Other content under the
    /// same version is [`Error::Conflict`], unless both were found in one and the same place.
    pub fn register(&self, new: &Registering<'_>) -> Result<Registered, Error> {
        if self.packages.get(new.digest).is_none() {
            return Err(Error::NotFound { what: format!("package {}", new.digest) });
        }
        self.registry.register(new)
    }

    /// Holds a version back from calls that do not name it, or lets it go again.
    pub fn set_held_back(&self, name: &PluginName, version: &Version, held_back: bool) -> Result<(), Error> {
        self.registry.set_held_back(name, version, held_back)
    }

    /// Writes down what happened to versions, in its order.
    pub fn record_transitions(&self, transitions: &[Transition]) -> Result<(), Error> {
        self.registry.record(transitions)
    }

    /// The last `limit` transitions of a plugin, newest first.
    pub fn transitions(&self, name: &PluginName, limit: u32) -> Result<Vec<Transition>, Error> {
        self.registry.transitions(name, limit)
    }

    pub fn registration(&self, name: &PluginName, version: &Version) -> Result<Option<Registration>, Error> {
        self.registry.get(name, version)
    }

    /// All of them: by name, then by the precedence of versions.
    pub fn registrations(&self) -> Result<Vec<Registration>, Error> {
        self.registry.list()
    }

    /// With `if_revision` only if nobody changed it since: else [`Error::Changed`].
    pub fn set_enabled(
        &self,
        name: &PluginName,
        version: &Version,
        enabled: bool,
        if_revision: Option<u64>,
    ) -> Result<Registration, Error> {
        self.registry.set_enabled(name, version, enabled, if_revision)
    }

    /// Forgets a version. Its package stays until [`Store::remove_unreferenced_packages`].
    pub fn remove_registration(
        &self,
        name: &PluginName,
        version: &Version,
        if_revision: Option<u64>,
    ) -> Result<Registration, Error> {
        self.registry.remove(name, version, if_revision)
    }

    /// Deletes what fits from the ledger and from what is kept of asynchronous calls, out of the files' bytes too.
    pub fn purge(&self, ledger: &Ledger, filter: &PurgeFilter) -> Result<Purged, Error> {
        let purged = ledger.purge(filter)?;
        self.calls.purge(filter, &purged)?;
        Ok(purged)
    }

    /// The first part of a backup; `backup/snapshot.rs` says what the caller must hold meanwhile.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Snapshot::take(self.folder())
    }

    /// Takes over the rows of a backup, beside all that goes on. Versions are the caller's part.
    pub fn import(&self, staged: &Staged) -> Result<(), Error> {
        staged.import(self.folder())
    }

    pub fn document(&self, key: &str) -> Result<Option<Document>, Error> {
        self.registry.document(key)
    }

    /// Writes a small JSON text and returns its revision. `if_revision` 0: only if there is none yet.
    pub fn put_document(&self, key: &str, value: &str, if_revision: Option<u64>) -> Result<u64, Error> {
        self.registry.put_document(key, value, if_revision)
    }

    pub fn remove_document(&self, key: &str, if_revision: Option<u64>) -> Result<(), Error> {
        self.registry.remove_document(key, if_revision)
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
