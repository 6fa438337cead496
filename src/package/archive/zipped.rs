//! Reading zip archives, strictly. The same bytes can be read as several archives by lenient readers (a second
//! directory in the comment, sizes that differ between directory and entry, entries that overlap); here such an
//! archive is refused, and what is listed is exactly what is unpacked.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::super::diagnostic::quote;
use super::super::error::PackageError;
use super::names::{self, Collisions};
use super::{
    BUFFER_BYTES, ENTRIES_MAX, Entry, PACKAGE_BYTES_MAX, RATIO_FROM_BYTES, RATIO_MAX, UNPACKED_BYTES_MAX,
};

const END: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
const ZIP64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const ZIP64_LOCATOR_BYTES: u64 = 20;
const DIRECTORY: [u8; 4] = *b"PK\x01\x02";
const DIRECTORY_BYTES: usize = 46;
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;
const COMMENT_BYTES_MAX: usize = 0xffff;
/// Name, extra fields and comment of one entry together.
const ENTRY_TEXT_BYTES_MAX: usize = 8 << 10;
const DIRECTORY_BYTES_MAX: u64 = 16 << 20;

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_SIZES_FOLLOW: u16 = 1 << 3;
const FLAG_PATCH: u16 = 1 << 5;
const FLAG_STRONG_ENCRYPTION: u16 = 1 << 6;
const FLAG_MASKED: u16 = 1 << 13;
const METHOD_STORED: u16 = 0;
const METHOD_DEFLATED: u16 = 8;
const METHOD_AES: u16 = 99;

/// The bytes of an archive.
#[derive(Debug)]
pub enum Data {
    File(File, u64),
    Memory(Bytes),
}

impl Data {
    fn len(&self) -> u64 {
        match self {
            Data::File(_, len) => *len,
            Data::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Data::File(file, _) => file.read_at(buffer, offset),
            Data::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let count = buffer.len().min(bytes.len() - start);
                buffer[..count].copy_from_slice(&bytes[start..start + count]);
                Ok(count)
            }
        }
    }

    fn slice(&self, start: u64, length: u64) -> Slice<'_> {
        Slice { data: self, at: start, end: start.saturating_add(length) }
    }
}

/// A stretch of an archive, read once from its start.
struct Slice<'a> {
    data: &'a Data,
    at: u64,
    end: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        let count = self.data.read_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Where an entry's content is.
#[derive(Clone, Debug)]
pub struct Extent {
    start: u64,
    length: u64,
    deflated: bool,
    crc32: u32,
}

impl Extent {
    /// The unpacked content; reading it to its end checks it. `size` is what it should have.
    pub fn open<'a>(&self, data: &'a Data, size: u64) -> Box<dyn Read + 'a> {
        let packed = data.slice(self.start, self.length);
        let inner: Box<dyn Read + 'a> = if self.deflated {
            Box::new(DeflateDecoder::new(BufReader::with_capacity(BUFFER_BYTES, packed)))
        } else {
            Box::new(packed)
        };
        Box::new(Checked { inner, crc: Crc::new(), crc32: self.crc32, left: size })
    }
}

/// Compares checksum and size at the end. Gives at most one byte more than it should, so that whoever counts
/// sees an entry that is larger than it claims, and nobody unpacks it.
struct Checked<'a> {
    inner: Box<dyn Read + 'a>,
    crc: Crc,
    crc32: u32,
    left: u64,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        if count == 0 && (self.left > 0 || self.crc.sum() != self.crc32) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "checksum or size is wrong"));
        }
        self.crc.update(&buffer[..count]);
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "larger than it claims"))?;
        Ok(count)
    }
}

/// What the directory says of one entry.
struct Record {
    name: String,
    made_by_mode: u32,
    flags: u16,
    method: u16,
    crc32: u32,
    packed: u32,
    size: u32,
    offset: u32,
}

/// Lists an archive. Reads its directory and the entries' headers, no content.
pub fn list(data: &Data) -> Result<Vec<Entry>, PackageError> {
    if data.len() > PACKAGE_BYTES_MAX {
        return Err(PackageError::TooLarge { bytes: data.len(), bytes_max: PACKAGE_BYTES_MAX });
    }
    let directory = find_directory(data)?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, data.slice(directory.start, directory.length));
    let mut entries: Vec<Entry> = Vec::new();
    let mut extents: Vec<(u64, u64)> = Vec::new();
    let mut collisions = Collisions::default();
    let mut total: u64 = 0;
    for _ in 0..directory.entries {
        let record = read_record(&mut reader)?;
        check_record(&record)?;
        if let Some(folder) = record.name.strip_suffix('/') {
            names::check(folder).map_err(|why| bad_name(&record.name, why))?;
            if record.size > 0 {
                return Err(forged(&record.name, "is a folder with content"));
            }
            collisions.add_folder(folder)?;
            continue;
        }
        names::check(&record.name).map_err(|why| bad_name(&record.name, why))?;
        collisions.add_file(&record.name)?;
        total += u64::from(record.size);
        if total > UNPACKED_BYTES_MAX {
            return Err(PackageError::UnpacksTooLarge { bytes_max: UNPACKED_BYTES_MAX });
        }
        check_ratio(&record)?;
        let extent = locate(data, &record, directory.start)?;
        extents.push((record.offset.into(), extent.start + extent.length));
        if !names::is_ignored(&record.name) {
            let name = record.name.into_boxed_str();
            entries.push(Entry {
                name,
                size: record.size.into(),
                sha256: [0; 32],
                program: false,
                zipped: Some(extent),
            });
        }
    }
    if !reader.buffer().is_empty() || reader.get_ref().at != reader.get_ref().end {
        return Err(PackageError::NotAZip { why: "its directory holds more than it says" });
    }
    extents.sort_unstable();
    if extents.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err(PackageError::NotAZip { why: "its entries overlap" });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

struct Directory {
    start: u64,
    length: u64,
    entries: usize,
}

fn find_directory(data: &Data) -> Result<Directory, PackageError> {
    let damaged = |why| PackageError::NotAZip { why };
    let tail_bytes = data.len().min((END_BYTES + COMMENT_BYTES_MAX) as u64);
    let tail_start = data.len() - tail_bytes;
    let mut tail = Vec::new();
    data.slice(tail_start, tail_bytes)
        .read_to_end(&mut tail)
        .map_err(|source| PackageError::NotReadable { what: "the archive".to_owned(), source })?;
    // The last mark, and it must end the file: otherwise another reader could find another directory.
    let at = tail
        .windows(END.len())
        .rposition(|window| window == END)
        .ok_or_else(|| damaged("it has no directory at its end"))?;
    let end = tail.get(at..at + END_BYTES).ok_or_else(|| damaged("its end is cut off"))?;
    if at + END_BYTES + usize::from(u16_at(end, 20)) != tail.len() {
        return Err(damaged("something follows its end"));
    }
    let end_offset = tail_start + at as u64;
    let (entries_here, entries) = (u16_at(end, 8), u16_at(end, 10));
    let (length, start) = (u32_at(end, 12), u32_at(end, 16));
    let locator = end_offset.checked_sub(ZIP64_LOCATOR_BYTES).filter(|locator| {
        let mut mark = [0; 4];
        data.read_at(&mut mark, *locator).is_ok_and(|count| count == 4) && mark == ZIP64_LOCATOR
    });
    if locator.is_some() || entries == u16::MAX || length == u32::MAX || start == u32::MAX {
        return Err(damaged("it is a zip64 archive, which no package needs"));
    }
    if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 || entries_here != entries {
        return Err(damaged("it is one part of several"));
    }
    if usize::from(entries) > ENTRIES_MAX {
        return Err(PackageError::TooManyEntries { entries_max: ENTRIES_MAX });
    }
    let (start, length) = (u64::from(start), u64::from(length));
    if start + length != end_offset {
        return Err(damaged("its directory is not where it says"));
    }
    if length > DIRECTORY_BYTES_MAX {
        return Err(damaged("its directory is too large"));
    }
    Ok(Directory { start, length, entries: entries.into() })
}

fn read_record(reader: &mut impl Read) -> Result<Record, PackageError> {
    let cut_off = |_| PackageError::NotAZip { why: "its directory is cut off" };
    let mut head = [0; DIRECTORY_BYTES];
    reader.read_exact(&mut head).map_err(cut_off)?;
    if head[..4] != DIRECTORY {
        return Err(PackageError::NotAZip { why: "its directory is damaged" });
    }
    let name_bytes = usize::from(u16_at(&head, 28));
    let rest_bytes = name_bytes + usize::from(u16_at(&head, 30)) + usize::from(u16_at(&head, 32));
    if rest_bytes > ENTRY_TEXT_BYTES_MAX {
        return Err(PackageError::NotAZip { why: "its directory has an entry that is too large" });
    }
    let mut rest = vec![0; rest_bytes];
    reader.read_exact(&mut rest).map_err(cut_off)?;
    rest.truncate(name_bytes);
    let name = String::from_utf8(rest)
        .map_err(|error| bad_name(&String::from_utf8_lossy(error.as_bytes()), "it is not UTF-8"))?;
    Ok(Record {
        name,
        made_by_mode: u32_at(&head, 38) >> 16,
        flags: u16_at(&head, 8),
        method: u16_at(&head, 10),
        crc32: u32_at(&head, 16),
        packed: u32_at(&head, 20),
        size: u32_at(&head, 24),
        offset: u32_at(&head, 42),
    })
}

fn check_record(record: &Record) -> Result<(), PackageError> {
    const KIND: u32 = 0o170_000;
    let name = || quote(&record.name);
    let not_a_file = |what| Err(PackageError::NotAFile { name: name(), what });
    if record.flags & (FLAG_ENCRYPTED | FLAG_STRONG_ENCRYPTION | FLAG_MASKED) != 0
        || record.method == METHOD_AES
    {
        return Err(PackageError::Encrypted { name: name() });
    }
    if !matches!(record.method, METHOD_STORED | METHOD_DEFLATED) || record.flags & FLAG_PATCH != 0 {
        return Err(PackageError::Unsupported { name: name(), what: "a compression other than deflate" });
    }
    if [record.packed, record.size, record.offset].contains(&u32::MAX) {
        return Err(PackageError::Unsupported { name: name(), what: "zip64, which no package needs" });
    }
    // Whatever system wrote it: an unpacker elsewhere may look at the same bits.
    match record.made_by_mode & KIND {
        0 | 0o100_000 | 0o040_000 => Ok(()),
        0o120_000 => not_a_file("a symbolic link"),
        _ => not_a_file("a device, pipe or socket"),
    }
}

fn check_ratio(record: &Record) -> Result<(), PackageError> {
    if record.method == METHOD_STORED && record.packed != record.size {
        return Err(forged(&record.name, "is stored with two sizes"));
    }
    let (size, packed) = (u64::from(record.size), u64::from(record.packed));
    if size > RATIO_FROM_BYTES && size.cmp(&(packed * RATIO_MAX)) == Ordering::Greater {
        return Err(PackageError::Bomb { name: quote(&record.name), ratio_max: RATIO_MAX });
    }
    Ok(())
}

/// Reads the header that stands before the content and compares it with the directory.
fn locate(data: &Data, record: &Record, content_end: u64) -> Result<Extent, PackageError> {
    let damaged = |what| forged(&record.name, what);
    let offset = u64::from(record.offset);
    let mut head = vec![0; LOCAL_BYTES + record.name.len()];
    data.slice(offset, head.len() as u64)
        .read_exact(&mut head)
        .map_err(|_| damaged("begins outside the archive"))?;
    if head[..4] != LOCAL {
        return Err(damaged("does not begin where the archive says"));
    }
    let same_name =
        usize::from(u16_at(&head, 26)) == record.name.len() && head[LOCAL_BYTES..] == *record.name.as_bytes();
    if !same_name {
        return Err(damaged("has another name in its own header"));
    }
    let kind = FLAG_ENCRYPTED | FLAG_SIZES_FOLLOW | FLAG_STRONG_ENCRYPTION;
    if u16_at(&head, 8) != record.method || u16_at(&head, 6) & kind != record.flags & kind {
        return Err(damaged("is of another kind in its own header"));
    }
    let sizes = (u32_at(&head, 14), u32_at(&head, 18), u32_at(&head, 22));
    // A writer that streams fills them in later, or keeps them in an extra field.
    let sizes_follow = record.flags & FLAG_SIZES_FOLLOW != 0 || sizes.1 == u32::MAX;
    if !sizes_follow && sizes != (record.crc32, record.packed, record.size) {
        return Err(damaged("has other sizes in its own header"));
    }
    let start = offset + head.len() as u64 + u64::from(u16_at(&head, 28));
    let length = u64::from(record.packed);
    if start + length > content_end {
        return Err(damaged("reaches into the directory"));
    }
    Ok(Extent { start, length, deflated: record.method == METHOD_DEFLATED, crc32: record.crc32 })
}

fn bad_name(name: &str, why: &'static str) -> PackageError {
    PackageError::BadName { name: quote(name), why }
}

fn forged(name: &str, what: &'static str) -> PackageError {
    PackageError::Forged { name: quote(name), what }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
