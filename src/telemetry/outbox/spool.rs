//! The spool of one signal: batches on disk, in order, until each is settled. Numbers of records come back from
//! every step; what they mean for the book is the outbox's affair.
//!
//! A segment is written by the process that made it, and read from its settled place on. Whoever finds it
//! later never appends to it. Nothing is synced: what a process has written survives its end, not a power cut.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::Batch;
use super::segment::{self, FRAME_HEADER_BYTES, Frame, HEADER_BYTES};

/// A segment is closed at this size, or at an eighth of the bound, so that giving one up frees a part of it.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENTS_MIN: u32 = 8;
/// What was written last also stays in memory up to this size: a collector that keeps up is never read for.
const CACHE_BYTES_MAX: usize = 16 << 20;
/// Small batches are sent together up to this size, so that a backlog of many small ones drains fast.
const JOINED_BYTES_MAX: usize = 256 << 10;
const SUFFIX: &str = ".segment";

/// One signal's part of the spool: where it lies and how much it may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolShare {
    pub folder: PathBuf,
    pub bytes_max: u64,
    pub age_max: Duration,
}

/// What an earlier process left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    pub records: u64,
    /// Files that could not be read as segments, or not to their end, and why.
    pub problems: Vec<String>,
}

pub struct Spool {
    share: SpoolShare,
    segment_bytes_max: u64,
    /// Oldest first. What is sent next lies in the first.
    segments: VecDeque<Segment>,
    next_number: u64,
    bytes: u64,
    cache: VecDeque<Cached>,
    cache_bytes: usize,
    in_flight: Option<InFlight>,
}

struct Segment {
    number: u64,
    /// Open while it is written or read.
    file: Option<File>,
    length: u64,
    /// Where what is not settled begins.
    settled: u64,
    /// Records that are not settled.
    records: u64,
    oldest_unix_ms: u64,
    newest_unix_ms: u64,
    /// Whether this process may append to it.
    open: bool,
}

/// A body that need not be read again.
struct Cached {
    segment: u64,
    frame: Frame,
    body: Bytes,
}

/// What was handed out of the first segment.
struct InFlight {
    end: u64,
    records: u64,
}

/// What comes next.
pub enum Next {
    Batch(Batch),
    /// So many records turned out to be damaged.
    Damaged(u64),
    Nothing,
}

// === impl Spool ===

impl Spool {
    /// Finds what is there. Makes nothing: a spool without records has no folder.
    pub fn open(share: SpoolShare) -> (Spool, Recovery) {
        let segment_bytes_max = share.bytes_max / u64::from(SEGMENTS_MIN);
        let mut spool = Spool {
            segment_bytes_max: segment_bytes_max.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            share,
            segments: VecDeque::new(),
            next_number: 1,
            bytes: 0,
            cache: VecDeque::new(),
            cache_bytes: 0,
            in_flight: None,
        };
        let mut recovery = Recovery::default();
        match numbers(&spool.share.folder) {
            Ok(numbers) => {
                for number in numbers {
                    spool.next_number = number + 1;
                    spool.recover(number, &mut recovery);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                recovery.problems.push(format!("{}: {error}", spool.share.folder.display()));
            }
        }
        (spool, recovery)
    }

    fn recover(&mut self, number: u64, recovery: &mut Recovery) {
        let path = self.path(number);
        let mut problem = |what: String| recovery.problems.push(format!("{}: {what}", path.display()));
        let nothing = match scan(&path, number) {
            Ok((segment, damaged)) => {
                if damaged > 0 {
                    problem(format!("{damaged} bytes cannot be read"));
                }
                let nothing = segment.records == 0;
                if !nothing {
                    recovery.records += segment.records;
                    self.bytes += segment.length;
                    self.segments.push_back(segment);
                }
                nothing
            }
            Err(error) => {
                problem(error.to_string());
                // No segment at all. One of another version, or one that cannot be read now, is left for later.
                matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
            }
        };
        if nothing {
            // Whatever stays behind is looked at again at the next start.
            let _ = fs::remove_file(&path);
        }
    }

    /// On disk, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn bytes_max(&self) -> u64 {
        self.share.bytes_max
    }

    /// Whether a body fits without giving anything up.
    pub fn has_room_for(&self, body: &[u8]) -> bool {
        self.bytes + needed(body) <= self.share.bytes_max
    }

    /// Whether a body fits at all.
    pub fn can_hold(&self, body: &[u8]) -> bool {
        needed(body) <= self.share.bytes_max
    }

    /// Writes a batch behind all others, whole or not at all.
    pub fn append(&mut self, batch: &Batch, now_unix_ms: u64) -> io::Result<()> {
        let part =
            u64::try_from(self.share.age_max.as_millis()).unwrap_or(u64::MAX) / u64::from(SEGMENTS_MIN);
        let fits = self.segments.back().is_some_and(|last| {
            last.open
                && last.length + FRAME_HEADER_BYTES + batch.body.len() as u64 <= self.segment_bytes_max
                && now_unix_ms.saturating_sub(last.oldest_unix_ms) <= part
        });
        if !fits {
            self.begin_segment(now_unix_ms)?;
        }
        let Some(last) = self.segments.back_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let Some(file) = &last.file else { return Err(io::ErrorKind::NotFound.into()) };
        let frame = Frame::new(last.length, batch.records, &batch.body, now_unix_ms);
        if let Err(error) = segment::append(file, &frame, &batch.body) {
            // It may have grown all the same; what lies behind its end is not a frame of ours.
            last.open = false;
            if last.records == 0 {
                self.remove(self.segments.len() - 1);
            }
            return Err(error);
        }
        self.bytes += frame.end() - last.length;
        last.length = frame.end();
        last.records += batch.records;
        last.newest_unix_ms = last.newest_unix_ms.max(now_unix_ms);
        let segment = last.number;
        if self.cache_bytes + batch.body.len() <= CACHE_BYTES_MAX {
            self.cache_bytes += batch.body.len();
            self.cache.push_back(Cached { segment, frame, body: batch.body.clone() });
        }
        Ok(())
    }

    fn begin_segment(&mut self, now_unix_ms: u64) -> io::Result<()> {
        let (number, file) = self.create()?;
        // The one before is only read from now on, and not before its turn.
        if self.segments.len() > 1
            && let Some(before) = self.segments.back_mut()
        {
            before.file = None;
        }
        self.bytes += HEADER_BYTES;
        self.segments.push_back(Segment {
            number,
            file: Some(file),
            length: HEADER_BYTES,
            settled: HEADER_BYTES,
            records: 0,
            oldest_unix_ms: now_unix_ms,
            newest_unix_ms: now_unix_ms,
            open: true,
        });
        Ok(())
    }

    /// A file under the next number that is free.
    fn create(&mut self) -> io::Result<(u64, File)> {
        loop {
            let number = self.next_number;
            match segment::create(&self.path(number)) {
                Ok(file) => {
                    self.next_number += 1;
                    return Ok((number, file));
                }
                // Somebody's, or one that could not be looked at: it is left alone.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.next_number += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    DirBuilder::new().recursive(true).mode(0o700).create(&self.share.folder)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What is sent next. It stays until it is settled or postponed.
    pub fn next(&mut self) -> io::Result<Next> {
        let Some(first) = self.segments.front() else { return Ok(Next::Nothing) };
        let Some((frame, body)) = self.read(first.settled)? else {
            // The end, and still records that were counted: damaged since.
            let lost = first_records(&self.segments);
            self.remove(0);
            return Ok(Next::Damaged(lost));
        };
        let Some(body) = body else {
            return Ok(Next::Damaged(self.settle_up_to(frame.end(), frame.records)));
        };
        let (mut end, mut records) = (frame.end(), frame.records);
        let mut joined = vec![body];
        let mut bytes = joined[0].len();
        // Two protobuf messages in a row are one, with the repeated fields of both.
        // What cannot be read now is a question of the next time.
        while let Ok(Some((frame, Some(body)))) = self.read(end) {
            bytes += body.len();
            if bytes > JOINED_BYTES_MAX {
                break;
            }
            (end, records) = (frame.end(), records + frame.records);
            joined.push(body);
        }
        let body = if joined.len() == 1 { joined.remove(0) } else { joined.concat().into() };
        self.in_flight = Some(InFlight { end, records });
        Ok(Next::Batch(Batch { records, body }))
    }

    /// The frame at or after a place in the first segment, and its body if that is sound.
    fn read(&mut self, from: u64) -> io::Result<Option<(Frame, Option<Bytes>)>> {
        let Some(first) = self.segments.front() else { return Ok(None) };
        let at = (first.number, from);
        while let Some(gone) =
            self.cache.pop_front_if(|cached| (cached.segment, cached.frame.at) < (at.0, first.settled))
        {
            self.cache_bytes -= gone.body.len();
        }
        let cached = self.cache.iter().take_while(|cached| (cached.segment, cached.frame.at) <= at).last();
        if let Some(cached) = cached.filter(|cached| (cached.segment, cached.frame.at) == at) {
            return Ok(Some((cached.frame, Some(cached.body.clone()))));
        }
        let length = first.length;
        let file = self.first_file()?;
        let Some(frame) = segment::find(file, from, length)? else { return Ok(None) };
        let body = segment::read(file, &frame, length)?;
        Ok(Some((frame, body.map(Bytes::from))))
    }

    /// The first segment's file. Those between the first and the last are closed.
    fn first_file(&mut self) -> io::Result<&File> {
        let number = self.segments.front().map_or(0, |first| first.number);
        let path = self.path(number);
        let Some(first) = self.segments.front_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        Ok(match &mut first.file {
            Some(file) => file,
            closed => closed.insert(segment::open(&path)?.file),
        })
    }

    /// What was handed out has come to its end.
    pub fn settle(&mut self) -> u64 {
        match self.in_flight.take() {
            Some(in_flight) => self.settle_up_to(in_flight.end, in_flight.records),
            None => 0,
        }
    }

    /// What was handed out has to wait.
    pub fn postpone(&mut self) {
        self.in_flight = None;
    }

    fn settle_up_to(&mut self, end: u64, records: u64) -> u64 {
        let Some(first) = self.segments.front_mut() else { return 0 };
        let records = records.min(first.records);
        first.records -= records;
        first.settled = end;
        if first.records == 0 {
            self.remove(0);
        } else {
            // If it cannot be noted down, the next process sends some of it once more.
            let _ = self.first_file().and_then(|file| segment::settle(file, end));
        }
        records
    }

    /// Gives up the oldest segment that is not being sent: its records, or `None` if there is none that could
    /// be removed.
    pub fn evict(&mut self) -> Option<u64> {
        let oldest = usize::from(self.in_flight.is_some());
        let segment = self.segments.get(oldest)?;
        let (number, records) = (segment.number, segment.records);
        match fs::remove_file(self.path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return None,
            _ => {}
        }
        self.forget(oldest);
        Some(records)
    }

    /// As [`Spool::evict`], if all of it is older than it may be.
    pub fn evict_expired(&mut self, now_unix_ms: u64) -> Option<u64> {
        let oldest = self.segments.get(usize::from(self.in_flight.is_some()))?;
        let age = Duration::from_millis(now_unix_ms.saturating_sub(oldest.newest_unix_ms));
        if age > self.share.age_max { self.evict() } else { None }
    }

    /// What cannot be read is lost: the records of the first segment.
    pub fn abandon(&mut self) -> u64 {
        let lost = first_records(&self.segments);
        self.remove(0);
        lost
    }

    fn remove(&mut self, index: usize) {
        if let Some(segment) = self.segments.get(index) {
            // A file that stays is looked at again by the next process.
            let _ = fs::remove_file(self.path(segment.number));
            self.forget(index);
        }
    }

    fn forget(&mut self, index: usize) {
        let Some(gone) = self.segments.remove(index) else { return };
        self.bytes -= gone.length;
        let cached: usize = self
            .cache
            .iter()
            .filter(|cached| cached.segment == gone.number)
            .map(|cached| cached.body.len())
            .sum();
        self.cache.retain(|cached| cached.segment != gone.number);
        self.cache_bytes -= cached;
    }

    fn path(&self, number: u64) -> PathBuf {
        self.share.folder.join(file_name(number))
    }
}

fn file_name(number: u64) -> String {
    format!("{number:020}{SUFFIX}")
}

fn first_records(segments: &VecDeque<Segment>) -> u64 {
    segments.front().map_or(0, |first| first.records)
}

fn needed(body: &[u8]) -> u64 {
    HEADER_BYTES + FRAME_HEADER_BYTES + body.len() as u64
}

/// The segments in a folder, oldest first.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok());
        // Names as this process writes them; others are somebody's.
        numbers.extend(number.filter(|number| *number < u64::MAX && name == *file_name(*number)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What is not settled in a segment of an earlier process, and how many bytes of it are no frames. Bodies are checked
/// when they are sent.
fn scan(path: &Path, number: u64) -> io::Result<(Segment, u64)> {
    let segment::Opened { file, length, settled } = segment::open(path)?;
    // Nothing guards the settled place. Where it does not stand before a frame, all of it is sent again.
    let sound =
        settled == length || segment::find(&file, settled, length)?.is_some_and(|frame| frame.at == settled);
    let settled = if sound { settled } else { HEADER_BYTES };
    let mut segment = Segment {
        number,
        file: None,
        length,
        settled,
        records: 0,
        oldest_unix_ms: u64::MAX,
        newest_unix_ms: 0,
        open: false,
    };
    let (mut from, mut damaged) = (settled, 0);
    while let Some(frame) = segment::find(&file, from, length)? {
        damaged += frame.at - from;
        segment.records += frame.records;
        segment.oldest_unix_ms = segment.oldest_unix_ms.min(frame.unix_ms);
        segment.newest_unix_ms = segment.newest_unix_ms.max(frame.unix_ms);
        from = frame.end();
    }
    // What is left behind the last frame, or what a frame that was cut off lacks.
    damaged += length.abs_diff(from);
    Ok((segment, damaged))
}
