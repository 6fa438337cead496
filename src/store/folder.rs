//! The data folder: where things lie, and who owns it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::Error;

/// How often a waiting process looks whether the folder has become free.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Names inside a data folder. Making one touches no disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    pub fn new(path: impl Into<PathBuf>) -> DataFolder {
        DataFolder { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn registry(&self) -> PathBuf {
        self.path.join("registry.db")
    }

    pub fn ledger(&self) -> PathBuf {
        self.path.join("ledger.db")
    }

    pub fn series(&self) -> PathBuf {
        self.path.join("series.db")
    }

    pub fn kv(&self) -> PathBuf {
        self.path.join("kv.db")
    }

    pub fn drift(&self) -> PathBuf {
        self.path.join("drift.db")
    }

    pub fn calls(&self) -> PathBuf {
        self.path.join("calls.db")
    }

    /// What waits for a collector. Telemetry makes it, once there is something.
    pub fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    pub fn packages(&self) -> PathBuf {
        self.path.join("packages")
    }

    /// Creates what is missing, for its owner only. A folder that exists keeps its permissions: it may be
    /// anyone's. What is made inside is closed to others either way.
    pub fn create(&self) -> Result<(), Error> {
        create_folder(&self.path)?;
        create_folder(&self.packages())
    }

    /// Makes this process the owner; waits at most `wait` for another one to go. The folder is created.
    pub fn acquire(path: impl Into<PathBuf>, wait: Duration) -> Result<Lock, Error> {
        let folder = DataFolder::new(path);
        folder.create()?;
        let path = folder.path.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(Error::io("open", &path))?;
        let deadline = Instant::now() + wait;
        #[allow(clippy::disallowed_methods, reason = "a lock of files has no event to wait for")]
        let pause = || std::thread::sleep(LOCK_POLL);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(Error::InUse { pid: read_pid(&mut file), folder: folder.path });
                }
                Err(TryLockError::WouldBlock) => pause(),
            }
        }
        write_pid(&mut file).map_err(Error::io("write", &path))?;
        Ok(Lock { folder, file })
    }

    /// Bytes that this user may still write on the folder's file system.
    pub fn available_bytes(&self) -> Result<u64, Error> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|error| Error::io("ask for the free space of", &self.path)(error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Whether a small file can be written and read back now. For `doctor`: it waits for the disk.
    pub fn probe_write(&self) -> Result<(), Error> {
        let path = self.path.join(format!(".probe-{}", std::process::id()));
        let written = create_file(&path).and_then(|mut file| {
            file.write_all(&[0; 4096]).and_then(|()| file.sync_all()).map_err(Error::io("write", &path))
        });
        let _ = fs::remove_file(&path);
        written
    }
}

/// Ownership of a data folder, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    folder: DataFolder,
    file: File,
}

impl Lock {
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child that is just being started shares the open file until it runs.
        let _ = self.file.unlock();
    }
}

/// The process id is for people; the lock itself is what counts.
fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

pub(super) fn create_folder(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))
}

/// Opens `path` for writing, made for its owner only if it is not there.
pub(super) fn create_file(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(Error::io("create", path))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_owner_at_a_time_and_the_second_learns_who() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        let lock = DataFolder::acquire(&path, Duration::ZERO).unwrap();
        let error = DataFolder::acquire(&path, Duration::from_millis(30)).unwrap_err();
        assert!(matches!(error, Error::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
        drop(lock);
        DataFolder::acquire(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn what_is_made_is_closed_to_others() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("deep/data");
        let lock = DataFolder::acquire(&path, Duration::ZERO).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&lock.folder().packages()), 0o700);
        assert_eq!(mode(&path.join("lock")), 0o600);
        lock.folder().probe_write().unwrap();
        assert!(lock.folder().available_bytes().unwrap() > 0);
    }
}
