//! A folder or a zip as a bounded set of plain files. Listing comes first and reads no content: whatever can be
//! refused by name, kind, number or claimed size is refused before a byte is unpacked or written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::diagnostic::quote;
use super::error::PackageError;

mod folder;
pub mod names;
mod pack;
mod zipped;

/// Largest zip, in bytes.
pub const PACKAGE_BYTES_MAX: u64 = 100 << 20;
/// Most bytes of all files together.
pub const UNPACKED_BYTES_MAX: u64 = 256 << 20;
pub const ENTRIES_MAX: usize = 20_000;
/// How many times larger than its compressed form a file may be, above [`RATIO_FROM_BYTES`].
pub const RATIO_MAX: u64 = 200;
/// Small files are not bombs, however well they compress.
pub const RATIO_FROM_BYTES: u64 = 1 << 20;

const BUFFER_BYTES: usize = 64 << 10;
/// By so many of its first bytes a program is known.
const MARK_BYTES: usize = 4;

/// The files of a package and where their bytes are.
#[derive(Debug)]
pub struct Contents {
    source: Source,
    /// Sorted by name.
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Source {
    Folder(PathBuf),
    Zip(zipped::Data),
}

#[derive(Clone, Debug)]
struct Entry {
    name: Box<str>,
    size: u64,
    /// Zeros until [`Contents::hash`] has read it.
    sha256: [u8; 32],
    /// Whether it can be executed; not known either until then.
    program: bool,
    /// `None`: a file in a folder.
    zipped: Option<zipped::Extent>,
}

impl Contents {
    /// Lists a folder or a zip file.
    pub fn list(path: &Path) -> Result<Contents, PackageError> {
        let metadata = fs::metadata(path).map_err(PackageError::reading(path))?;
        if metadata.is_dir() {
            return Ok(Contents { entries: folder::list(path)?, source: Source::Folder(path.to_owned()) });
        }
        if !metadata.is_file() {
            return Err(PackageError::NotAFile {
                name: quote(&path.display().to_string()),
                what: "neither a file nor a folder",
            });
        }
        let file = open_plain(path).map_err(PackageError::reading(path))?;
        Contents::of_zip(zipped::Data::File(file, metadata.len()))
    }

    /// Lists a zip that is open.
    pub fn of_zip_file(file: File) -> Result<Contents, PackageError> {
        let length = file.metadata().map_err(PackageError::reading(Path::new("the package")))?.len();
        Contents::of_zip(zipped::Data::File(file, length))
    }

    /// Lists a zip in memory.
    pub fn of_zip_bytes(bytes: Bytes) -> Result<Contents, PackageError> {
        Contents::of_zip(zipped::Data::Memory(bytes))
    }

    fn of_zip(data: zipped::Data) -> Result<Contents, PackageError> {
        Ok(Contents { entries: zipped::list(&data)?, source: Source::Zip(data) })
    }

    /// Sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|entry| &*entry.name)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Size of a file in bytes.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.find(name).map(|entry| entry.size)
    }

    /// Size of all files in bytes.
    pub fn total_size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// Drops files from the set.
    pub(super) fn leave_out(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.entries.retain(|entry| !unwanted(&entry.name));
    }

    /// A file's first bytes, at most `bytes_max`; `None`: there is no such file.
    pub fn read(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, PackageError> {
        let Some(entry) = self.find(name) else { return Ok(None) };
        let mut content = Vec::new();
        let mut reader = self.open(entry)?.take(bytes_max as u64);
        reader.read_to_end(&mut content).map_err(|error| unread(entry, error))?;
        Ok(Some(content))
    }

    /// Whether a file is a program by its first bytes; what cannot be read is none.
    pub fn is_program(&self, name: &str) -> bool {
        self.read(name, MARK_BYTES).is_ok_and(|head| head.is_some_and(|head| is_program(&head)))
    }

    /// A file's hash, once [`Contents::hash`] has run.
    pub(super) fn sha256_of(&self, name: &str) -> Option<[u8; 32]> {
        self.find(name).map(|entry| entry.sha256)
    }

    /// Writes one file; its bytes must be those that were hashed.
    pub(super) fn copy_file(&self, name: &str, out: &mut dyn Write) -> Result<(), PackageError> {
        self.find(name).map_or(Ok(()), |entry| self.copy_checked(entry, out))
    }

    /// Reads every file once, which checks it, and remembers its hash.
    pub(super) fn hash(&mut self) -> Result<(), PackageError> {
        for index in 0..self.entries.len() {
            let mut head = Head::default();
            let sha256 = self.copy(&self.entries[index], &mut head)?;
            let entry = &mut self.entries[index];
            (entry.sha256, entry.program) = (sha256, is_program(&head.bytes[..head.filled]));
        }
        Ok(())
    }

    /// `sha256:<hex>` over the text that `sha256sum` prints for all files in the order of their names (as bytes):
    /// for each file its SHA-256 in hex, two spaces, its name, a line feed.
    pub fn digest(&self) -> String {
        let mut whole = Sha256::new();
        for entry in &self.entries {
            whole.update(hex(&entry.sha256));
            whole.update("  ");
            whole.update(entry.name.as_bytes());
            whole.update("\n");
        }
        format!("sha256:{}", hex(&whole.finalize()))
    }

    /// Writes all files under `folder`, which must be empty if it exists; it appears whole or not at all.
    pub fn unpack_into(&self, folder: &Path) -> Result<(), PackageError> {
        let is_empty = |folder| fs::read_dir(folder).is_ok_and(|mut children| children.next().is_none());
        if fs::symlink_metadata(folder).is_ok() && !is_empty(folder) {
            return Err(PackageError::Exists { path: folder.to_owned() });
        }
        let parent =
            folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(PackageError::writing(parent))?;
        // In the same folder, so that the rename stays within one file system. Dropping it removes it.
        let fresh = tempfile::Builder::new()
            .prefix(".unpack-")
            .tempdir_in(parent)
            .map_err(PackageError::writing(parent))?;
        for entry in &self.entries {
            let path = fresh.path().join(&*entry.name);
            if let Some(above) = path.parent() {
                fs::create_dir_all(above).map_err(PackageError::writing(above))?;
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(entry.mode())
                .open(&path)
                .map_err(PackageError::writing(&path))?;
            self.copy_checked(entry, &mut file)?;
        }
        readable(fresh.path())?;
        fs::rename(fresh.path(), folder).map_err(PackageError::writing(folder))?;
        // What it pointed to is gone; its cleanup finds nothing to do.
        drop(fresh.keep());
        Ok(())
    }

    /// Writes all files as a zip: the same content gives the same bytes.
    ///
    /// # Errors
    /// A file changed since it was listed, the zip grows beyond [`PACKAGE_BYTES_MAX`], or writing failed.
    pub fn write_zip(&self, out: impl Write + io::Seek) -> Result<(), PackageError> {
        pack::write(self, out)
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        let index = self.entries.binary_search_by(|entry| (*entry.name).cmp(name)).ok()?;
        Some(&self.entries[index])
    }

    fn open<'a>(&'a self, entry: &'a Entry) -> Result<Box<dyn Read + 'a>, PackageError> {
        match (&self.source, &entry.zipped) {
            (Source::Zip(data), Some(extent)) => Ok(extent.open(data, entry.size)),
            (Source::Zip(_), None) => Err(PackageError::Changed { name: quote(&entry.name) }),
            (Source::Folder(root), _) => {
                let path = root.join(&*entry.name);
                let file = open_plain(&path).map_err(PackageError::reading(&path))?;
                if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
                    return Err(PackageError::Changed { name: quote(&entry.name) });
                }
                Ok(Box::new(file))
            }
        }
    }

    /// Copies one file and returns its hash; its size must be what the listing said.
    fn copy(&self, entry: &Entry, out: &mut dyn Write) -> Result<[u8; 32], PackageError> {
        // One byte more than there should be, so that a file that grew is seen.
        let mut reader = self.open(entry)?.take(entry.size + 1);
        let mut hash = Sha256::new();
        let mut copied: u64 = 0;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unread(entry, error)),
            };
            copied += count as u64;
            if copied > entry.size {
                break;
            }
            hash.update(&buffer[..count]);
            out.write_all(&buffer[..count]).map_err(PackageError::writing(Path::new(&*entry.name)))?;
        }
        if copied != entry.size {
            return Err(self.changed(entry));
        }
        Ok(hash.finalize().into())
    }

    /// As [`Contents::copy`]; the bytes must be those that were hashed.
    fn copy_checked(&self, entry: &Entry, out: &mut dyn Write) -> Result<(), PackageError> {
        if self.copy(entry, out)? == entry.sha256 { Ok(()) } else { Err(self.changed(entry)) }
    }

    fn changed(&self, entry: &Entry) -> PackageError {
        let name = quote(&entry.name);
        match self.source {
            Source::Folder(_) => PackageError::Changed { name },
            Source::Zip(_) => PackageError::Forged { name, what: "is not as large as the archive says" },
        }
    }
}

impl Entry {
    /// Follows from the content alone, so that it survives tools and systems that keep no permissions, and the
    /// same content gives the same bytes.
    fn mode(&self) -> u32 {
        if self.program { 0o755 } else { 0o644 }
    }
}

/// A script that names its interpreter, or an executable of this system.
fn is_program(head: &[u8]) -> bool {
    head.starts_with(b"#!") || head.starts_with(b"\x7fELF")
}

/// Keeps the first bytes of what is written.
#[derive(Default)]
struct Head {
    bytes: [u8; MARK_BYTES],
    filled: usize,
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(MARK_BYTES - self.filled);
        self.bytes[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unread(entry: &Entry, source: io::Error) -> PackageError {
    let name = quote(&entry.name);
    match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            PackageError::Forged { name, what: "cannot be unpacked" }
        }
        _ => PackageError::NotReadable { what: name, source },
    }
}

/// Opens without waiting, should the path have become a pipe.
fn open_plain(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("flags of open fit in an int");
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// `tempfile` makes folders that only their owner may read; packages are not secret.
fn readable(folder: &Path) -> Result<(), PackageError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(PackageError::writing(folder))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
