//! Packages by the digest of their content: a zip and its unpacked folder, there as a whole or not at all.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::error::Error;
use super::folder::{create_file, create_folder, sync_folder};

/// What is being put; gone after the put, or at the next open.
const TEMPORARY_PREFIX: &str = ".put-";
/// What is being removed.
const REMOVED_PREFIX: &str = ".removed-";
/// Up to so many files are synced one by one (some 3 ms each); more with one call for the file system.
const SYNC_EACH_MAX: usize = 128;

/// `sha256:` and 64 hex digits in lower case. Safe as a file name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

/// A package that is there as a whole.
#[derive(Clone, Debug)]
pub struct StoredPackage {
    pub digest: Digest,
    /// The unpacked files. Nothing is ever written there.
    pub folder: PathBuf,
    pub zip: PathBuf,
    pub put_at: SystemTime,
}

/// Where the bytes of a package's zip come from.
#[derive(Clone, Copy, Debug)]
pub enum ZipSource<'a> {
    Bytes(&'a [u8]),
    File(&'a Path),
}

/// A put fails for the store's reasons or for the caller's.
#[derive(Debug, thiserror::Error)]
pub enum PutError<E> {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("could not unpack")]
    Unpack(E),
}

/// The folder `packages/`. Only the owner of the data folder has one.
#[derive(Debug)]
pub(super) struct Packages {
    path: PathBuf,
}

impl Digest {
    const PREFIX: &str = "sha256:";

    pub fn parse(text: &str) -> Result<Digest, Error> {
        let hex = text.strip_prefix(Self::PREFIX).unwrap_or_default();
        let fits = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if fits { Ok(Digest(text.to_owned())) } else { Err(Error::BadDigest { text: text.to_owned() }) }
    }

    pub fn from_sha256(bytes: [u8; 32]) -> Digest {
        let mut text = String::from(Self::PREFIX);
        for byte in bytes {
            text.push_str(&format!("{byte:02x}"));
        }
        Digest(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn hex(&self) -> &str {
        &self.0[Self::PREFIX.len()..]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Packages ===

impl Packages {
    /// Clears away what a killed process left half-done.
    pub fn open(path: PathBuf) -> Result<Packages, Error> {
        let packages = Packages { path };
        for name in packages.names()? {
            let path = packages.path.join(&name);
            let orphan = name.strip_suffix(".zip").is_some_and(|hex| !packages.path.join(hex).is_dir());
            if name.starts_with(TEMPORARY_PREFIX) || name.starts_with(REMOVED_PREFIX) {
                remove_tree(&path)?;
            } else if orphan {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(packages)
    }

    /// Keeps a package: `unpack` fills the folder that it is given. Durable when it returns; with a digest
    /// that is there already nothing is called or written.
    pub fn put<E>(
        &self,
        digest: &Digest,
        zip: ZipSource<'_>,
        unpack: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<StoredPackage, PutError<E>> {
        if let Some(package) = self.get(digest) {
            return Ok(package);
        }
        let temporary = Temporary(self.path.join(unique_name(TEMPORARY_PREFIX)));
        let (content, archive) = (temporary.0.join("content"), temporary.0.join("package.zip"));
        create_folder(&content)?;
        write_zip(&archive, zip)?;
        unpack(&content).map_err(PutError::Unpack)?;
        sync_tree(&temporary.0)?;
        // The folder comes last: where it is, the zip is too.
        rename(&archive, &self.zip_path(digest))?;
        rename(&content, &self.folder_path(digest))?;
        sync_folder(&self.path)?;
        self.get(digest).ok_or_else(|| Error::NotFound { what: format!("package {digest}") }.into())
    }

    pub fn get(&self, digest: &Digest) -> Option<StoredPackage> {
        let folder = self.folder_path(digest);
        let about = fs::metadata(&folder).ok().filter(fs::Metadata::is_dir)?;
        let zip = self.zip_path(digest);
        let put_at = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        zip.is_file().then_some(StoredPackage { digest: digest.clone(), folder, zip, put_at })
    }

    /// What lies in a folder that somebody else may own.
    pub fn list_in(path: &Path) -> Result<Vec<StoredPackage>, Error> {
        Packages { path: path.to_path_buf() }.list()
    }

    pub fn list(&self) -> Result<Vec<StoredPackage>, Error> {
        let digests =
            self.names()?.into_iter().filter_map(|hex| Digest::parse(&format!("sha256:{hex}")).ok());
        let mut packages: Vec<_> = digests.filter_map(|digest| self.get(&digest)).collect();
        packages.sort_by(|a, b| a.digest.cmp(&b.digest));
        Ok(packages)
    }

    /// Takes a package away; one that is not there is fine.
    pub fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let removed = self.path.join(unique_name(REMOVED_PREFIX));
        let folder = self.folder_path(digest);
        if folder.exists() {
            rename(&folder, &removed)?;
        }
        let zip = self.zip_path(digest);
        match fs::remove_file(&zip) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &zip)(error));
            }
            _ => {}
        }
        remove_tree(&removed)
    }

    /// The packages outside `referenced` that were put longer ago than `age`, which leaves time for those
    /// that are about to be registered.
    pub fn unreferenced(&self, referenced: &[Digest], age: Duration) -> Result<Vec<StoredPackage>, Error> {
        let now = SystemTime::now();
        let old =
            |package: &StoredPackage| now.duration_since(package.put_at).is_ok_and(|passed| passed >= age);
        let mut packages = self.list()?;
        packages.retain(|package| !referenced.contains(&package.digest) && old(package));
        Ok(packages)
    }

    fn folder_path(&self, digest: &Digest) -> PathBuf {
        self.path.join(digest.hex())
    }

    fn zip_path(&self, digest: &Digest) -> PathBuf {
        self.path.join(format!("{}.zip", digest.hex()))
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.path).map_err(Error::io("list", &self.path))?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }
}

/// Removed however the put ends; what a kill leaves is removed at the next open.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn unique_name(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn write_zip(path: &Path, source: ZipSource<'_>) -> Result<(), Error> {
    let mut file = create_file(path)?;
    match source {
        ZipSource::Bytes(bytes) => io::Write::write_all(&mut file, bytes).map_err(Error::io("write", path)),
        ZipSource::File(from) => {
            let mut from_file = fs::File::open(from).map_err(Error::io("open", from))?;
            io::copy(&mut from_file, &mut file).map(drop).map_err(Error::io("write", path))
        }
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("rename", from))
}

pub(super) fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes everything below `root` durable.
fn sync_tree(root: &Path) -> Result<(), Error> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let entry = entry.map_err(Error::io("list", &folder))?;
            let kind = entry.file_type().map_err(Error::io("look at", &entry.path()))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    if files.len() + folders.len() > SYNC_EACH_MAX {
        let whole = fs::File::open(root).map_err(Error::io("open", root))?;
        return rustix::fs::syncfs(&whole).map_err(|error| Error::io("sync", root)(error.into()));
    }
    for file in &files {
        fs::File::open(file).and_then(|file| file.sync_all()).map_err(Error::io("sync", file))?;
    }
    folders.iter().rev().try_for_each(|folder| sync_folder(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fill: char) -> Digest {
        Digest::parse(&format!("sha256:{}", fill.to_string().repeat(64))).unwrap()
    }

    fn one_file(folder: &Path) -> Result<(), io::Error> {
        fs::write(folder.join("executor.py"), "def invoke(x): return x")
    }

    #[test]
    fn a_put_is_whole_and_the_second_does_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let packages = Packages::open(temp.path().into()).unwrap();
        let put = packages.put(&digest('a'), ZipSource::Bytes(b"zip"), one_file).unwrap();
        assert_eq!(fs::read(&put.zip).unwrap(), b"zip");
        assert!(put.folder.join("executor.py").is_file());
        let again = packages
            .put(&digest('a'), ZipSource::Bytes(b"other"), |_| -> Result<(), ()> { panic!("called") });
        assert_eq!(fs::read(again.unwrap().zip).unwrap(), b"zip");
        assert_eq!(packages.names().unwrap().len(), 2, "no temporary folder is left");
    }

    #[test]
    fn a_put_that_fails_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let packages = Packages::open(temp.path().into()).unwrap();
        let failed = packages.put(&digest('a'), ZipSource::Bytes(b"zip"), |folder| {
            one_file(folder).unwrap();
            Err("bad package")
        });
        assert!(matches!(failed, Err(PutError::Unpack("bad package"))));
        assert!(packages.names().unwrap().is_empty());
    }

    #[test]
    fn a_large_tree_is_put_too() {
        let temp = tempfile::tempdir().unwrap();
        let packages = Packages::open(temp.path().into()).unwrap();
        let put = packages.put(&digest('b'), ZipSource::Bytes(b""), |folder| {
            (0..SYNC_EACH_MAX + 1).try_for_each(|n| fs::write(folder.join(n.to_string()), "x"))
        });
        assert_eq!(fs::read_dir(put.unwrap().folder).unwrap().count(), SYNC_EACH_MAX + 1);
    }

    #[test]
    fn what_a_kill_left_is_cleared_at_the_next_open() {
        let temp = tempfile::tempdir().unwrap();
        let packages = Packages::open(temp.path().into()).unwrap();
        packages.put(&digest('a'), ZipSource::Bytes(b"zip"), one_file).unwrap();
        fs::create_dir_all(temp.path().join(".put-1-0/content/deep")).unwrap();
        fs::create_dir_all(temp.path().join(".removed-1-0/x")).unwrap();
        fs::write(packages.zip_path(&digest('b')), "half").unwrap();
        let packages = Packages::open(temp.path().into()).unwrap();
        assert_eq!(packages.list().unwrap().len(), 1);
        assert_eq!(packages.names().unwrap().len(), 2);
    }

    #[test]
    fn only_old_unreferenced_packages_may_go() {
        let temp = tempfile::tempdir().unwrap();
        let packages = Packages::open(temp.path().into()).unwrap();
        for fill in ['a', 'b'] {
            packages.put(&digest(fill), ZipSource::Bytes(b"zip"), one_file).unwrap();
        }
        let referenced = [digest('a')];
        assert!(packages.unreferenced(&referenced, Duration::from_secs(3600)).unwrap().is_empty());
        let old = packages.unreferenced(&referenced, Duration::ZERO).unwrap();
        assert_eq!(old.iter().map(|package| &package.digest).collect::<Vec<_>>(), [&digest('b')]);
        packages.remove(&digest('b')).unwrap();
        packages.remove(&digest('b')).unwrap();
        assert!(packages.get(&digest('b')).is_none());
    }

    #[test]
    fn a_digest_is_nothing_else() {
        for bad in ["", "sha256:", "sha256:../../x", &format!("sha256:{}", "A".repeat(64)), &"a".repeat(71)] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Digest::from_sha256([0xab; 32]).as_str(), format!("sha256:{}", "ab".repeat(32)));
    }
}
