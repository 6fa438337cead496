//! The file: a `.tar.gz` of the parts, in any order, and last `backup.json` with the digest of each. Written and read as
//! a stream. What is read is a stranger's: names come from a closed set, sizes are bounded before a byte is written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::SystemTime;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tar::{Archive, Builder, EntryType, Header};

use super::super::error::Error;
use super::super::folder::{DataFolder, create_file};
use super::{FORMAT, MANIFEST_NAME, Part, PartKind, Snapshot, Summary, bad, room};

/// Most parts of one backup.
pub(super) const PARTS_MAX: usize = 100_000;
const MANIFEST_BYTES_MAX: u64 = 32 << 20;
const PACKAGE_BYTES_MAX: u64 = 128 << 20;
const DATABASE_BYTES_MAX: u64 = 32 << 30;
const LOCK_FILE_BYTES_MAX: u64 = 16 << 20;
/// What may stand behind the end of the archive: tar fills up its last block.
const TAIL_BYTES_MAX: u64 = 1 << 20;
const BUFFER_BYTES: usize = 64 << 10;

impl Snapshot {
    /// Writes the archive; returns what is in it.
    pub fn write(&self, out: impl Write) -> Result<Summary, Error> {
        let whole = Path::new("the backup");
        let mut archive = Builder::new(GzEncoder::new(out, Compression::fast()));
        let mut parts = Vec::with_capacity(self.parts.len());
        let seconds = self.created_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        for (name, path) in &self.parts {
            let file = File::open(path).map_err(Error::io("open", path))?;
            let bytes = file.metadata().map_err(Error::io("look at", path))?.len();
            let mut hashed = Hashed { inner: file.take(bytes), hash: Sha256::new(), bytes: 0 };
            archive
                .append_data(&mut header(bytes, seconds), name, &mut hashed)
                .map_err(Error::io("write", whole))?;
            let schema = match PartKind::of(name) {
                Some(PartKind::Database(database)) => Some(database.schema.version()),
                _ => None,
            };
            parts.push(Part { name: name.clone(), bytes, sha256: hashed.hex(), schema });
        }
        let summary = Summary {
            format: FORMAT,
            created_at: humantime::format_rfc3339_millis(self.created_at).to_string(),
            spanglass: env!("CARGO_PKG_VERSION").to_owned(),
            registrations: self.registrations,
            parts,
        };
        let manifest =
            serde_json::to_vec(&summary).map_err(|error| Error::io("write", whole)(error.into()))?;
        archive
            .append_data(&mut header(manifest.len() as u64, seconds), MANIFEST_NAME, &*manifest)
            .and_then(|()| archive.into_inner()?.finish()?.flush())
            .map_err(Error::io("write", whole))?;
        Ok(summary)
    }
}

/// Reads a whole backup and checks it against its own list, keeping nothing.
pub fn verify(from: impl Read) -> Result<Summary, Error> {
    read(from, |_, part| io::copy(part, &mut io::sink()).map(drop).map_err(unread))
}

/// As [`verify`], and keeps the parts in `work`. The disk is not filled up for it.
pub(super) fn unpack(from: impl Read, folder: &DataFolder, work: &Path) -> Result<Summary, Error> {
    read(from, |name, part| {
        room(folder, part.inner.limit())?;
        let path = work.join(name);
        let mut file = create_file(&path)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            // Apart: a broken archive is not a broken disk.
            let count = part.read(&mut buffer).map_err(unread)?;
            if count == 0 {
                return Ok(());
            }
            file.write_all(&buffer[..count]).map_err(Error::io("write", &path))?;
        }
    })
}

type PartReader<'r> = Hashed<io::Take<&'r mut dyn Read>>;

fn read(
    from: impl Read,
    mut keep: impl FnMut(&str, &mut PartReader<'_>) -> Result<(), Error>,
) -> Result<Summary, Error> {
    let mut archive = Archive::new(GzDecoder::new(from));
    let mut found: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut summary: Option<Summary> = None;
    // Raw: nothing is believed about long names, links and the like.
    for entry in archive.entries().map_err(unread)?.raw(true) {
        let mut entry = entry.map_err(unread)?;
        if summary.is_some() {
            return Err(bad(format!("something stands behind {MANIFEST_NAME}")));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let bytes = entry.header().size().map_err(unread)?;
        if entry.header().entry_type() != EntryType::Regular {
            return Err(bad(format!("{name:?} is not a plain file")));
        }
        if name == MANIFEST_NAME {
            bounded(&name, bytes, MANIFEST_BYTES_MAX)?;
            let mut text = Vec::new();
            entry.take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(unread)?;
            summary = Some(
                serde_json::from_slice(&text).map_err(|error| bad(format!("{MANIFEST_NAME}: {error}")))?,
            );
            continue;
        }
        let bytes_max = match PartKind::of(&name) {
            Some(PartKind::Database(_)) => DATABASE_BYTES_MAX,
            Some(PartKind::Package) => PACKAGE_BYTES_MAX,
            Some(PartKind::LockFile) => LOCK_FILE_BYTES_MAX,
            None => return Err(bad(format!("it holds {name:?}, which no backup has"))),
        };
        bounded(&name, bytes, bytes_max)?;
        if found.contains_key(&name) || found.len() == PARTS_MAX {
            return Err(bad(format!("{name:?} is one part too many")));
        }
        let inner: &mut dyn Read = &mut entry;
        let mut part = Hashed { inner: inner.take(bytes), hash: Sha256::new(), bytes: 0 };
        keep(&name, &mut part)?;
        found.insert(name, (part.bytes, part.hex()));
    }
    let summary = summary.ok_or_else(|| bad(format!("it is cut off: {MANIFEST_NAME} is missing")))?;
    // To the end of the stream, where its checksum is.
    io::copy(&mut archive.into_inner().take(TAIL_BYTES_MAX), &mut io::sink()).map_err(unread)?;
    compare(&summary, &found)?;
    Ok(summary)
}

fn compare(summary: &Summary, found: &BTreeMap<String, (u64, String)>) -> Result<(), Error> {
    if summary.format != FORMAT {
        let detail = format!(
            "its format is {}, this spanglass knows {FORMAT}; it was written by spanglass {}",
            summary.format, summary.spanglass
        );
        return Err(bad(detail));
    }
    for part in &summary.parts {
        let Some((bytes, sha256)) = found.get(&part.name) else {
            return Err(bad(format!("{:?} is missing", part.name)));
        };
        if (*bytes, sha256) != (part.bytes, &part.sha256) {
            return Err(bad(format!("{:?} is not as it was written", part.name)));
        }
    }
    if summary.parts.len() != found.len() {
        return Err(bad(format!("it has {} parts and lists {}", found.len(), summary.parts.len())));
    }
    if !found.contains_key(super::DATABASES[0].name) {
        return Err(bad("it has no registrations"));
    }
    Ok(())
}

fn bounded(name: &str, bytes: u64, bytes_max: u64) -> Result<(), Error> {
    if bytes > bytes_max {
        Err(bad(format!("{name:?} claims {bytes} bytes, more than {bytes_max}")))
    } else {
        Ok(())
    }
}

fn unread(error: io::Error) -> Error {
    bad(format!("it cannot be read: {error}"))
}

fn header(bytes: u64, seconds: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(seconds);
    header.set_entry_type(EntryType::Regular);
    header
}

/// Hashes what is read through it.
pub(super) struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> Hashed<R> {
    fn hex(self) -> String {
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// The number of bytes on the disk.
pub(super) fn sync(path: &Path) -> Result<(), Error> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("sync", path))
}
