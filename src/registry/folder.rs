//! What lies in the folders whose children are plugins, and whether it has changed. It looks at names, sizes
//! and times only, and believes nothing of what it finds: that is for `package`.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::package::archive::names::is_ignored;

/// More files than a package may have are not looked at: what is there is refused anyway.
const FILES_MAX: usize = 20_000;
/// Not part of a package either, as far as anybody runs it, and busy.
const BUSY: &str = "node_modules/.cache";

/// Changes whenever a file of the entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// One look.
#[derive(Debug, Default)]
pub struct Look {
    /// Folders and zips that may be plugins.
    pub entries: BTreeMap<PathBuf, Fingerprint>,
    /// Folders that could not be read: nothing is known about what is in them.
    pub unreadable: Vec<(PathBuf, std::io::Error)>,
}

impl Look {
    /// Looks at the children of `folders`, and at `paths` themselves. Blocks on the disk.
    pub fn at(folders: &[PathBuf], paths: &[PathBuf]) -> Look {
        let mut look = Look::default();
        for folder in folders {
            match fs::read_dir(folder) {
                Ok(children) => {
                    let children =
                        children.flatten().map(|child| child.path()).filter(|path| may_be_plugin(path));
                    children.for_each(|child| look.take(child));
                }
                Err(error) => look.unreadable.push((folder.clone(), error)),
            }
        }
        paths.iter().for_each(|path| look.take(path.clone()));
        look
    }

    fn take(&mut self, path: PathBuf) {
        if let Some(fingerprint) = fingerprint(&path) {
            self.entries.insert(path, fingerprint);
        }
    }

    /// Whether it is certain that nothing is at `path` any more.
    pub fn lacks(&self, path: &Path, folders: &[PathBuf], paths: &[PathBuf]) -> bool {
        let parent = path.parent();
        let watched = paths.iter().any(|known| known == path)
            || folders.iter().any(|folder| Some(folder.as_path()) == parent);
        let readable = self.unreadable.iter().all(|(folder, _)| Some(folder.as_path()) != parent);
        watched && readable && !self.entries.contains_key(path)
    }
}

/// Names with a dot in front are being written, or none of our business.
fn may_be_plugin(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && (path.is_dir() || path.extension().is_some_and(|extension| extension == "zip"))
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let about = fs::metadata(path).ok()?;
    let mut hasher = DefaultHasher::new();
    mix(&mut hasher, Path::new(""), &about);
    if about.is_dir() {
        let mut seen = 0;
        let mut folders = vec![path.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let Ok(children) = fs::read_dir(&folder) else { continue };
            let mut children: Vec<_> = children.flatten().map(|child| child.path()).collect();
            children.sort();
            for child in children {
                seen += 1;
                let relative = child.strip_prefix(path).unwrap_or(&child);
                // What no package takes along is no change: caches, our own data folder.
                let left_out = relative.to_str().is_some_and(is_ignored) || relative.ends_with(BUSY);
                let Ok(about) = fs::symlink_metadata(&child) else { continue };
                if left_out || seen > FILES_MAX {
                    continue;
                }
                mix(&mut hasher, relative, &about);
                if about.is_dir() {
                    folders.push(child);
                }
            }
        }
    }
    Some(Fingerprint(hasher.finish()))
}

/// A folder's own times change with each file that comes and goes in it, caches included: its name is enough.
fn mix(hasher: &mut DefaultHasher, name: &Path, about: &Metadata) {
    name.hash(hasher);
    if about.is_dir() {
        return;
    }
    (about.len(), about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec(), about.ino())
        .hash(hasher);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_file_is_seen_and_a_cache_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let plugin = temp.path().join("echo");
        fs::create_dir_all(plugin.join("deep")).unwrap();
        fs::write(plugin.join("deep/a.py"), "1").unwrap();
        fs::write(temp.path().join("notes.txt"), "").unwrap();
        fs::create_dir(temp.path().join(".hidden")).unwrap();
        let folders = [temp.path().to_path_buf()];
        let look = || Look::at(&folders, &[]).entries;
        let first = look();
        assert_eq!(first.keys().collect::<Vec<_>>(), [&plugin]);
        assert_eq!(look(), first);
        fs::create_dir(plugin.join("__pycache__")).unwrap();
        fs::write(plugin.join("__pycache__/a.pyc"), "x").unwrap();
        assert_eq!(look(), first);
        fs::write(plugin.join("deep/a.py"), "2").unwrap();
        let second = look();
        assert_ne!(second, first);
        fs::write(plugin.join("b"), "").unwrap();
        assert_ne!(look(), second);
        fs::remove_file(plugin.join("b")).unwrap();
        assert_eq!(look(), second);
    }

    #[test]
    fn a_folder_that_cannot_be_read_lacks_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let (there, gone) = (temp.path().join("there"), temp.path().join("gone"));
        fs::create_dir(&there).unwrap();
        let folders = [there.clone(), gone.clone()];
        let single = temp.path().join("single.zip");
        let paths = [single.clone()];
        let look = Look::at(&folders, &paths);
        assert!(look.lacks(&there.join("echo"), &folders, &paths));
        assert!(!look.lacks(&gone.join("echo"), &folders, &paths));
        assert!(look.lacks(&single, &folders, &paths));
        assert!(!look.lacks(&temp.path().join("elsewhere/echo"), &folders, &paths), "not watched");
        fs::write(&single, "").unwrap();
        assert!(!Look::at(&folders, &paths).lacks(&single, &folders, &paths));
    }
}
