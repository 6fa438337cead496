//! What a data folder keeps, copied at one moment beside everything that goes on in it.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags};

use super::super::database::{self, Access};
use super::super::error::Error;
use super::super::folder::DataFolder;
use super::super::registry::Registry;
use super::{DATABASES, Database, LOCK_FILE, Work, room};
use crate::store::Packages;

/// A copy on the disk of the data folder, gone when it is dropped.
pub struct Snapshot {
    pub(super) work: Work,
    folder: DataFolder,
    pub(super) created_at: SystemTime,
    pub(super) registrations: usize,
    /// Names in the archive, and files.
    pub(super) parts: Vec<(String, PathBuf)>,
}

impl Snapshot {
    /// Registrations and the packages that they name. Whoever calls this keeps packages from being removed
    /// meanwhile: only then is each registration's package in it. It is quick: packages are linked, not copied.
    pub(in crate::store) fn take(folder: &DataFolder) -> Result<Snapshot, Error> {
        let bytes: u64 =
            DATABASES.iter().map(|one| database::size_bytes(&folder.path().join(one.name))).sum();
        room(folder, bytes)?;
        let work = Work::new(folder.path())?;
        let mut snapshot = Snapshot {
            work,
            folder: folder.clone(),
            created_at: SystemTime::now(),
            registrations: 0,
            parts: Vec::new(),
        };
        snapshot.copy(&DATABASES[0])?;
        let registrations = Registry::open_to_read(&snapshot.parts[0].1)?.list()?;
        snapshot.registrations = registrations.len();
        let packages = Packages::list_in(&folder.packages())?;
        let mut digests: Vec<_> = registrations.into_iter().map(|one| one.digest).collect();
        digests.sort();
        digests.dedup();
        for package in packages.iter().filter(|package| digests.binary_search(&package.digest).is_ok()) {
            let name = format!("packages/{}.zip", package.digest.hex());
            let copy = snapshot.work.0.join(&name);
            // Not every file system has links.
            fs::hard_link(&package.zip, &copy)
                .or_else(|_| fs::copy(&package.zip, &copy).map(drop))
                .map_err(Error::io("copy", &package.zip))?;
            snapshot.parts.push((name, copy));
        }
        let lock_file = folder.path().join(LOCK_FILE);
        if lock_file.exists() {
            let copy = snapshot.work.0.join(LOCK_FILE);
            fs::copy(&lock_file, &copy).map_err(Error::io("copy", &lock_file))?;
            snapshot.parts.push((LOCK_FILE.to_owned(), copy));
        }
        Ok(snapshot)
    }

    /// The other databases, each as it is at one moment. Takes its time on a large ledger, and holds up nobody.
    pub fn complete(&mut self) -> Result<(), Error> {
        DATABASES[1..].iter().try_for_each(|database| self.copy(database))
    }

    fn copy(&mut self, database: &Database) -> Result<(), Error> {
        let from = self.folder.path().join(database.name);
        if !from.exists() {
            return Ok(());
        }
        let engine = Error::engine(&from);
        // Refuses what has another schema, and damage at the very beginning.
        drop(database::open(&from, database.schema, Access::Reader)?);
        let to = self.work.0.join(database.name);
        let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = Connection::open_with_flags(&from, flags).map_err(&engine)?;
        connection.execute("VACUUM INTO ?1", [&*to.to_string_lossy()]).map_err(&engine)?;
        drop(connection);
        if let Some(leave_out) = database.leave_out {
            let copy = Connection::open(&to).map_err(Error::engine(&to))?;
            copy.execute_batch(leave_out).map_err(Error::engine(&to))?;
        }
        self.parts.push((database.name.to_owned(), to));
        Ok(())
    }
}
