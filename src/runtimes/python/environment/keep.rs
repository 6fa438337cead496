//! Where environments lie: `<data_dir>/environments/<key>/`, made beside their place and renamed. A lock file per key
//! says who builds (exclusive) and who uses (shared); the kernel gives it back however its holder ends. So a builder
//! that was killed leaves only what the next one clears away, and nothing that is in use is ever removed.
//!
//! What is unused is removed when it has not been used for [`UNUSED_MAX`], and earlier, the longest unused first,
//! while all together take more than [`BYTES_MAX`]. It is looked for when a process needs its first environment, and
//! after each build.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

pub const UNUSED_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
pub const BYTES_MAX: u64 = 8 << 30;
/// How often another process's lock is looked at again.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// A use is written down once in so long.
const STAMP_EVERY: Duration = Duration::from_secs(3600);
/// Files of one environment that are looked at to know its size.
const FILES_MAX: usize = 500_000;

const REMOVE_TRIES: u32 = 100;

const BUILDING: &str = ".building-";
const REMOVED: &str = ".removed-";
const ABOUT: &str = "environment.json";

/// The folder of all environments.
#[derive(Debug)]
pub struct Keep {
    folder: PathBuf,
    /// Where Python keeps the bytecode of what lies in an environment.
    bytecode: PathBuf,
}

/// What an environment says about itself. Its time of change is that of its last use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub key: String,
    pub installer: String,
    pub python: String,
    pub packages: usize,
    pub bytes: u64,
}

/// A lock of one key.
#[derive(Debug)]
pub struct KeyLock {
    file: File,
    path: PathBuf,
}

impl Keep {
    pub fn new(data_dir: &Path) -> Keep {
        Keep { folder: data_dir.join("environments"), bytecode: data_dir.join("pycache") }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self, key: &str) -> PathBuf {
        self.folder.join(key)
    }

    /// Where `key` is built. Only who holds its lock exclusively may touch it.
    pub fn building(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{BUILDING}{key}"))
    }

    /// An environment that is there as a whole.
    pub fn ready(&self, key: &str) -> Option<About> {
        let folder = self.path(key);
        let about: About = serde_json::from_slice(&fs::read(folder.join(ABOUT)).ok()?).ok()?;
        // Follows the link: the Python that it was made with may have been removed.
        (about.key == key && folder.join("bin/python").exists()).then_some(about)
    }

    /// Whether an environment that was ready still is, as cheaply as can be told.
    pub fn is_there(&self, key: &str) -> bool {
        self.path(key).join(ABOUT).exists()
    }

    /// Writes down that it is used now. What cannot be written is only removed earlier.
    pub fn stamp(&self, key: &str) {
        let Ok(file) = File::options().append(true).open(self.path(key).join(ABOUT)) else { return };
        let now = SystemTime::now();
        let written = file.metadata().and_then(|about| about.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if now.duration_since(written).unwrap_or_default() >= STAMP_EVERY {
            let _ = file.set_modified(now);
        }
    }

    /// For a user, if nobody builds it now.
    pub fn try_share(&self, key: &str) -> io::Result<Option<KeyLock>> {
        self.try_lock(key, FlockOperation::NonBlockingLockShared)
    }

    /// For its builder. Waits for those of other processes; whoever calls bounds that.
    pub async fn lock(&self, key: &str) -> io::Result<KeyLock> {
        loop {
            if let Some(lock) = self.try_lock(key, FlockOperation::NonBlockingLockExclusive)? {
                return Ok(lock);
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    fn try_lock(&self, key: &str, operation: FlockOperation) -> io::Result<Option<KeyLock>> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{key}.lock"));
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            match rustix::fs::flock(&file, operation) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            // Whoever removed the environment took the file away too: then this is the lock of nothing.
            let (held, there) = (file.metadata()?, fs::metadata(&path));
            if there.is_ok_and(|there| there.ino() == held.ino() && there.dev() == held.dev()) {
                return Ok(Some(KeyLock { file, path }));
            }
        }
    }

    /// Makes what was built an environment, on the disk as a whole or not at all. Blocks.
    pub fn finish(&self, built: &Path, about: &About) -> io::Result<()> {
        let place = self.path(&about.key);
        self.remove(&about.key)?;
        fs::write(built.join(ABOUT), serde_json::to_vec(about)?)?;
        // After a power cut there are either all files or no environment.
        rustix::fs::syncfs(File::open(&self.folder)?)?;
        fs::rename(built, place)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Takes an environment out of the way and then away. Its lock is held exclusively.
    fn remove(&self, key: &str) -> io::Result<()> {
        let (place, removed) = (self.path(key), self.folder.join(format!("{REMOVED}{key}")));
        remove_tree(&removed)?;
        match fs::rename(&place, &removed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        let bytecode = place.strip_prefix("/").map(|place| self.bytecode.join(place));
        if let Ok(bytecode) = bytecode {
            let _ = fs::remove_dir_all(bytecode);
        }
        remove_tree(&removed)
    }

    /// Removes what dead builders left, and what is unused for too long or too much. Blocks. What cannot be removed is
    /// tried again by the next sweep.
    pub fn sweep(&self, unused_max: Duration, bytes_max: u64) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut kept: Vec<(SystemTime, u64, String)> = Vec::new();
        let mut locks = Vec::new();
        for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            if let Some(key) = name.strip_prefix(BUILDING).or_else(|| name.strip_prefix(REMOVED)) {
                self.if_unused(key, |_| {
                    let _ = remove_tree(&self.folder.join(&name));
                });
            } else if let Some(key) = name.strip_suffix(".lock") {
                locks.push(key.to_owned());
            } else {
                let used = fs::metadata(self.path(&name).join(ABOUT)).and_then(|about| about.modified());
                let bytes = self.ready(&name).map_or(0, |about| about.bytes);
                kept.push((used.unwrap_or(SystemTime::UNIX_EPOCH), bytes, name));
            }
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (used, bytes, key) in kept {
            let old = SystemTime::now().duration_since(used).is_ok_and(|unused| unused >= unused_max);
            if (old || total > bytes_max) && self.if_unused(&key, |_| self.remove(&key).is_ok()) == Some(true)
            {
                total -= bytes;
            }
        }
        for key in locks.iter().filter(|key| !self.path(key).exists()) {
            self.if_unused(key, |lock| {
                let _ = fs::remove_file(&lock.path);
            });
        }
    }

    /// Does something while nobody builds or uses `key`; `None`: somebody does.
    fn if_unused<T>(&self, key: &str, work: impl FnOnce(&KeyLock) -> T) -> Option<T> {
        let lock = self.try_lock(key, FlockOperation::NonBlockingLockExclusive).ok()??;
        Some(work(&lock))
    }
}

impl KeyLock {
    /// The builder becomes a user. For a moment it is neither, in which a sweep would find it freshly stamped.
    pub fn share(self) -> io::Result<KeyLock> {
        rustix::fs::flock(&self.file, FlockOperation::LockShared)?;
        Ok(self)
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child that is just being started shares the open file until it runs.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Bytes of all files below `folder`, as they are written.
pub fn size(folder: &Path) -> u64 {
    let (mut bytes, mut seen, mut folders) = (0, 0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            let Some(about) = entry.metadata().ok().filter(|_| seen <= FILES_MAX) else { continue };
            if about.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += about.len();
            }
        }
    }
    bytes
}

/// Removes a folder; one that is not there is fine. Somebody who is being killed may still write into it.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let mut tries_left = REMOVE_TRIES;
    loop {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries_left > 0 => {
                tries_left -= 1
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(keep: &Keep, key: &str, bytes: u64, unused: Duration) {
        let built = keep.building(key);
        fs::create_dir_all(built.join("bin")).unwrap();
        fs::write(built.join("bin/python"), "").unwrap();
        let about =
            About { key: key.into(), installer: "test".into(), python: "3".into(), packages: 1, bytes };
        keep.finish(&built, &about).unwrap();
        let file = File::options().append(true).open(keep.path(key).join(ABOUT)).unwrap();
        file.set_modified(SystemTime::now() - unused).unwrap();
    }

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[tokio::test]
    async fn the_old_and_the_too_large_go_but_not_what_is_in_use() {
        let data = tempfile::tempdir().unwrap();
        let keep = Keep::new(data.path());
        for (key, days) in [("old", 20), ("old-in-use", 20), ("older", 5), ("newer", 2)] {
            environment(&keep, key, 10, DAY * days);
        }
        let bytecode = data.path().join("pycache").join(keep.path("old").strip_prefix("/").unwrap());
        fs::create_dir_all(&bytecode).unwrap();
        let user = keep.try_share("old-in-use").unwrap().unwrap();
        keep.sweep(UNUSED_MAX, 1000);
        let left = |keep: &Keep| {
            let ready = ["old", "old-in-use", "older", "newer"].into_iter();
            ready.filter(|key| keep.ready(key).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(left(&keep), ["old-in-use", "older", "newer"]);
        assert!(!bytecode.exists());
        keep.sweep(UNUSED_MAX, 25);
        assert_eq!(left(&keep), ["old-in-use", "newer"]);
        drop(user);
        keep.stamp("old-in-use");
        keep.sweep(UNUSED_MAX, 1000);
        assert_eq!(left(&keep), ["old-in-use", "newer"]);
        keep.sweep(Duration::ZERO, 1000);
        assert_eq!(left(&keep), [""; 0]);
        // Nothing stays, lock files neither.
        keep.sweep(Duration::ZERO, 0);
        assert_eq!(fs::read_dir(keep.folder()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_dead_builder_left_is_removed_and_what_is_built_is_not() {
        let data = tempfile::tempdir().unwrap();
        let keep = Keep::new(data.path());
        for key in ["dead", "alive"] {
            fs::create_dir_all(keep.building(key)).unwrap();
        }
        fs::create_dir_all(keep.folder().join(".removed-gone")).unwrap();
        // Renamed, but damaged afterwards.
        fs::create_dir_all(keep.path("damaged")).unwrap();
        let builder = keep.lock("alive").await.unwrap();
        keep.sweep(UNUSED_MAX, BYTES_MAX);
        assert!(keep.building("alive").exists() && !keep.building("dead").exists());
        assert!(!keep.folder().join(".removed-gone").exists() && !keep.path("damaged").exists());
        assert!(keep.try_share("alive").unwrap().is_none());
        let user = builder.share().unwrap();
        assert!(keep.try_share("alive").unwrap().is_some());
        drop(user);
    }

    #[tokio::test]
    async fn a_lock_whose_file_was_removed_is_taken_anew() {
        let data = tempfile::tempdir().unwrap();
        let keep = Keep::new(data.path());
        let first = keep.lock("key").await.unwrap();
        let waiting = keep.lock("key");
        tokio::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        fs::remove_file(&first.path).unwrap();
        drop(first);
        let second = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
        assert!(second.path.exists());
        assert!(keep.try_share("key").unwrap().is_none());
    }
}
