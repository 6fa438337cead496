//! A backup that has been unpacked beside what is there, checked, and not put in its place yet.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::super::database::{self, Access, Schema};
use super::super::error::Error;
use super::super::folder::{DataFolder, Lock, sync_folder};
use super::super::packages::{self, Digest, Packages, PutError, StoredPackage, ZipSource};
use super::super::registry::{Registration, Registry};
use super::{DATABASES, LOCK_FILE, Summary, WORK_PREFIX, Work, archive, bad, import};

/// A restored folder that only has to be put in its place. Its name is the point of no return: what bears it is whole.
const READY: &str = ".restore-ready";
/// In it: the packages as they were.
const OLD_PACKAGES: &str = "old-packages";
const UNPACKED: &str = "unpacked";

/// Gone when it is dropped.
pub struct Staged {
    work: Work,
    pub summary: Summary,
}

impl Staged {
    /// Unpacks a backup and checks everything but what is inside of packages. Changes nothing that is in use.
    pub fn unpack(folder: &DataFolder, from: impl Read) -> Result<Staged, Error> {
        let work = Work::new(folder.path())?;
        let summary = archive::unpack(from, folder, &work.0)?;
        let staged = Staged { work, summary };
        for database in DATABASES {
            let path = staged.path(database.name);
            if path.exists() {
                check_database(&path, database.schema).map_err(|error| match error {
                    Error::Corrupt { detail, .. } | Error::Database { detail, .. } => {
                        bad(format!("{}: {detail}", database.name))
                    }
                    error => error,
                })?;
            }
        }
        for registration in staged.registrations()? {
            if !staged.zip(&registration.digest).is_file() {
                let (name, version) = (&registration.name, &registration.version);
                return Err(bad(format!("the package of {name} {version} is missing")));
            }
        }
        Ok(staged)
    }

    pub fn registrations(&self) -> Result<Vec<Registration>, Error> {
        Registry::open_to_read(&self.path(DATABASES[0].name))?.list()
    }

    /// `spanglass.lock`, if the backup has one.
    pub fn lock_text(&self) -> Result<Option<String>, Error> {
        DataFolder::new(&self.work.0).read_lock_file()
    }

    /// All packages in it, as strangers' zips: not believed yet.
    pub fn zips(&self) -> Vec<(Digest, PathBuf)> {
        let digest = |name: &str| {
            let hex = name.strip_prefix("packages/")?.strip_suffix(".zip")?;
            Digest::parse(&format!("sha256:{hex}")).ok()
        };
        self.summary
            .parts
            .iter()
            .filter_map(|part| Some((digest(&part.name)?, self.path(&part.name))))
            .collect()
    }

    pub fn zip(&self, digest: &Digest) -> PathBuf {
        self.path("packages").join(format!("{}.zip", digest.hex()))
    }

    /// For a folder without a server: unpacks a package, as registering it does.
    pub fn put_package<E>(
        &self,
        digest: &Digest,
        unpack: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<StoredPackage, PutError<E>> {
        let folder = self.path(UNPACKED);
        super::super::folder::create_folder(&folder)?;
        Packages::open(folder)?.put(digest, ZipSource::File(&self.zip(digest)), unpack)
    }

    /// Takes the rows of all databases over into those of a running server.
    pub(in crate::store) fn import(&self, folder: &DataFolder) -> Result<(), Error> {
        for (database, rows) in DATABASES.iter().filter_map(|one| Some((one, one.import?))) {
            let from = self.path(database.name);
            if from.exists() {
                import(database, rows, &folder.path().join(database.name), &from, Access::Guest)?;
            }
        }
        Ok(())
    }

    /// Puts everything in its place: as a whole or not at all, also when the process is killed on its way. The folder
    /// belongs to the caller, and nobody else has a file of it open.
    pub fn install(self, lock: &Lock) -> Result<Summary, Error> {
        let summary = self.commit(lock)?;
        finish(lock.folder())?;
        Ok(summary)
    }

    /// From here on the restore will be finished, by whoever opens the folder next.
    pub(super) fn commit(self, lock: &Lock) -> Result<Summary, Error> {
        let folder = lock.folder();
        for (database, rows) in DATABASES.iter().filter_map(|one| Some((one, one.keep?))) {
            let (kept, staged) = (folder.path().join(database.name), self.path(database.name));
            if kept.exists() {
                // Up to date first: both sides have the same tables.
                drop(database::open(&kept, database.schema, Access::Owner)?);
                import(database, rows, &staged, &kept, Access::Owner)?;
            }
        }
        for database in DATABASES {
            let path = self.path(database.name);
            if path.exists() {
                into_one_file(&path)?;
                archive::sync(&path)?;
            }
        }
        if self.path(LOCK_FILE).exists() {
            archive::sync(&self.path(LOCK_FILE))?;
        }
        remove(&self.path("packages"))?;
        super::super::folder::create_folder(&self.path(UNPACKED))?;
        rename(&self.path(UNPACKED), &self.path("packages"))?;
        sync_folder(&self.work.0)?;
        rename(&self.work.0, &folder.path().join(READY))?;
        sync_folder(folder.path())?;
        Ok(self.summary.clone())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.0.join(name)
    }
}

/// What a killed process left: an unfinished restore is finished, other work is thrown away. For the folder's owner,
/// before anything is opened.
pub(in crate::store) fn finish(folder: &DataFolder) -> Result<(), Error> {
    let ready = folder.path().join(READY);
    // The registrations come last: as long as they are there, the rest may not be done.
    if ready.join(DATABASES[0].name).exists() {
        put_in_place(folder, &ready)?;
    }
    remove(&ready)?;
    let entries = fs::read_dir(folder.path()).map_err(Error::io("list", folder.path()))?;
    let left = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(WORK_PREFIX));
    left.into_iter().try_for_each(|entry| remove(&entry.path()))
}

/// Each step may have been done before.
fn put_in_place(folder: &DataFolder, ready: &Path) -> Result<(), Error> {
    let packages = ready.join("packages");
    if packages.exists() {
        let (kept, old) = (folder.packages(), ready.join(OLD_PACKAGES));
        if old.exists() {
            // They were moved away before, and an empty folder was made in their place since.
            let _ = fs::remove_dir(&kept);
        } else if kept.exists() {
            rename(&kept, &old)?;
        }
        rename(&packages, &kept)?;
    }
    let (lock_file, kept) = (ready.join(LOCK_FILE), folder.path().join(LOCK_FILE));
    if lock_file.exists() {
        rename(&lock_file, &kept)?;
    }
    for database in DATABASES.iter().rev() {
        let (restored, kept) = (ready.join(database.name), folder.path().join(database.name));
        if !restored.exists() {
            continue;
        }
        // Journals of the old file mean nothing to the new one.
        for suffix in ["-wal", "-shm"] {
            let mut journal = kept.clone().into_os_string();
            journal.push(suffix);
            remove(Path::new(&journal))?;
        }
        sync_folder(folder.path())?;
        rename(&restored, &kept)?;
    }
    sync_folder(folder.path())
}

/// A database of a stranger: sound, of a schema that this program knows, and with nothing in it that the program did
/// not put there, such as triggers.
fn check_database(path: &Path, schema: &'static Schema) -> Result<(), Error> {
    let engine = Error::engine(path);
    let connection = database::open(path, schema, Access::Owner)?;
    if let Some(problem) = database::quick_check(&connection).map_err(&engine)?.first() {
        return Err(bad(format!("{}: {problem}", path.file_name().unwrap_or_default().display())));
    }
    let model = Connection::open_in_memory().map_err(&engine)?;
    schema.steps.iter().try_for_each(|step| model.execute_batch(step)).map_err(&engine)?;
    if shape(&model).map_err(&engine)? != shape(&connection).map_err(&engine)? {
        return Err(bad(format!("{} has other tables", path.file_name().unwrap_or_default().display())));
    }
    Ok(())
}

fn shape(connection: &Connection) -> rusqlite::Result<Vec<(String, String, Option<String>)>> {
    let mut statement =
        connection.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// Without journals beside it.
fn into_one_file(path: &Path) -> Result<(), Error> {
    let engine = Error::engine(path);
    let connection = Connection::open(path).map_err(&engine)?;
    connection
        .pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0))
        .map(drop)
        .map_err(&engine)
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("rename", from))
}

fn remove(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return packages::remove_tree(path);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
