//! One file of the spool: a header with the place up to which everything is settled, then frames. Everything
//! that is read is checked, and a length that lies costs nothing: a frame is looked at within its file only.
//!
//! ```text
//! segment: magic 8 · version u32 · reserved u32 · settled u64                     (little endian)
//! frame:   magic u32 · records u32 · length u32 · crc of the body u32 · unix ms u64 · crc of these u32 · body
//! ```
//! Both checksums are CRC-32 (IEEE 802.3). The body is one OTLP request, as it will be sent. It is written
//! before its header: a process that dies in between leaves a hole that nobody takes for a frame.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

pub const HEADER_BYTES: u64 = 24;
pub const FRAME_HEADER_BYTES: u64 = 28;

const MAGIC: &[u8; 8] = b"SPGSPOOL";
const VERSION: u32 = 1;
const SETTLED_AT: u64 = 16;
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"FRAM");
/// So much is searched at once for the next frame behind damage.
const SEARCH_BYTES: usize = 64 << 10;

/// A frame without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where its header begins.
    pub at: u64,
    pub records: u64,
    pub length: u32,
    pub unix_ms: u64,
    checksum: u32,
}

// === impl Frame ===

impl Frame {
    pub fn new(at: u64, records: u64, body: &[u8], unix_ms: u64) -> Frame {
        Frame {
            at,
            records,
            // A request is a few megabytes at most (`otlp::BATCH_BYTES_MAX`).
            length: u32::try_from(body.len()).unwrap_or(u32::MAX),
            unix_ms,
            checksum: crc32fast::hash(body),
        }
    }

    pub fn end(&self) -> u64 {
        self.at + FRAME_HEADER_BYTES + u64::from(self.length)
    }

    fn encode(&self) -> [u8; FRAME_HEADER_BYTES as usize] {
        let mut bytes = [0; FRAME_HEADER_BYTES as usize];
        bytes[0..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&u32::try_from(self.records).unwrap_or(u32::MAX).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.unix_ms.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..24]);
        bytes[24..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(at: u64, bytes: &[u8]) -> Option<Frame> {
        let u32_at = |place: usize| {
            bytes.get(place..place + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
        };
        if u32_at(0)? != FRAME_MAGIC || u32_at(24)? != crc32fast::hash(&bytes[..24]) {
            return None;
        }
        Some(Frame {
            at,
            records: u32_at(4)?.into(),
            length: u32_at(8)?,
            checksum: u32_at(12)?,
            unix_ms: u64::from_le_bytes(bytes[16..24].try_into().ok()?),
        })
    }
}

// === Writing ===

/// Makes a segment that must not exist yet.
pub fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..].copy_from_slice(&HEADER_BYTES.to_le_bytes());
    let written = file.write_all_at(&header, 0);
    if written.is_err() {
        // Best effort: an empty segment is removed at the next start, too.
        let _ = std::fs::remove_file(path);
    }
    written.map(|()| file)
}

/// Writes a frame, whole or not at all: after an error the file is as long as it was.
pub fn append(file: &File, frame: &Frame, body: &[u8]) -> io::Result<()> {
    let written = file
        .write_all_at(body, frame.at + FRAME_HEADER_BYTES)
        .and_then(|()| file.write_all_at(&frame.encode(), frame.at));
    if written.is_err() {
        file.set_len(frame.at)?;
    }
    written
}

/// Everything before `at` is settled.
pub fn settle(file: &File, at: u64) -> io::Result<()> {
    file.write_all_at(&at.to_le_bytes(), SETTLED_AT)
}

// === Reading ===

/// A segment that is there.
pub struct Opened {
    pub file: File,
    pub length: u64,
    /// Where what is not settled begins: within the file, behind its header.
    pub settled: u64,
}

/// `InvalidData` or `UnexpectedEof`: it is no segment. `Unsupported`: it is one of another version.
pub fn open(path: &Path) -> io::Result<Opened> {
    // Never through a link, never a device or a pipe that would block.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "not a file"));
    }
    let mut header = [0; HEADER_BYTES as usize];
    file.read_exact_at(&mut header, 0)?;
    if header[..8] != *MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a segment"));
    }
    if header[8..12] != VERSION.to_le_bytes() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "a segment of another version of spanglass"));
    }
    let mut settled = [0; 8];
    settled.copy_from_slice(&header[16..]);
    let settled = u64::from_le_bytes(settled);
    let length = metadata.len();
    let settled = if settled <= length { settled.max(HEADER_BYTES) } else { HEADER_BYTES };
    Ok(Opened { file, length, settled })
}

/// The first frame at or after `from`, within `length`. Damage is skipped.
pub fn find(file: &File, from: u64, length: u64) -> io::Result<Option<Frame>> {
    if from + FRAME_HEADER_BYTES > length {
        return Ok(None);
    }
    let mut header = [0; FRAME_HEADER_BYTES as usize];
    file.read_exact_at(&mut header, from)?;
    match Frame::decode(from, &header) {
        Some(frame) => Ok(Some(frame)),
        None => search(file, from + 1, length),
    }
}

fn search(file: &File, mut from: u64, length: u64) -> io::Result<Option<Frame>> {
    let mut buffer = vec![0; SEARCH_BYTES];
    let frame_header = FRAME_HEADER_BYTES as usize;
    while from + FRAME_HEADER_BYTES <= length {
        let part = usize::try_from(length - from).unwrap_or(usize::MAX).min(SEARCH_BYTES);
        file.read_exact_at(&mut buffer[..part], from)?;
        let places = memchr::memmem::find_iter(&buffer[..part], b"FRAM");
        for place in places.take_while(|place| place + frame_header <= part) {
            if let Some(frame) = Frame::decode(from + place as u64, &buffer[place..place + frame_header]) {
                return Ok(Some(frame));
            }
        }
        // A header may lie across two parts.
        from += (part - (frame_header - 1)) as u64;
    }
    Ok(None)
}

/// The body of a frame, or `None` if it is not what was written.
pub fn read(file: &File, frame: &Frame, length: u64) -> io::Result<Option<Vec<u8>>> {
    if frame.end() > length {
        return Ok(None);
    }
    let mut body = vec![0; frame.length as usize];
    file.read_exact_at(&mut body, frame.at + FRAME_HEADER_BYTES)?;
    Ok((crc32fast::hash(&body) == frame.checksum).then_some(body))
}
