//! Working folders of workers. Those of a runner that was killed are removed by the next one: a runner holds
//! a lock on its own folder, which the kernel gives back however the runner ends.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;
use tempfile::TempDir;

const LOCK: &str = "lock";

/// The folder of this runner, in which each worker gets one.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Removes what dead runners left in `parent` and makes a folder of our own.
    pub fn open(parent: &Path) -> io::Result<Scratch> {
        std::fs::create_dir_all(parent)?;
        for entry in std::fs::read_dir(parent)?.flatten() {
            let folder = entry.path();
            // A folder without a lock is being made or removed right now.
            let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // What cannot be removed is tried again by the next runner.
                let _ = std::fs::remove_dir_all(folder);
            }
        }
        let folder = tempfile::tempdir_in(parent)?;
        // Locked under another name first: a lock file that nobody holds means that its runner is dead.
        let making = folder.path().join("lock.new");
        let lock = File::create(&making)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        std::fs::rename(making, folder.path().join(LOCK))?;
        Ok(Scratch { folder, _lock: lock })
    }

    pub fn worker(&self, plugin: &str) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix(plugin).tempdir_in(self.folder.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_runners_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join("dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), "").unwrap();
        std::fs::write(dead.join("left"), "").unwrap();
        let first = Scratch::open(parent.path()).unwrap();
        let folder = first.worker("plugin").unwrap();
        let _second = Scratch::open(parent.path()).unwrap();
        assert!(!dead.exists());
        assert!(folder.path().exists());
        drop(folder);
        drop(first);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
