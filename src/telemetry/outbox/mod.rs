//! What has been encoded and waits for the collector, one signal at a time: first on disk (`spool.rs`), if there
//! is one and it can be written, else in memory. Older is always on disk, newer in memory, so order is kept.
//!
//! Everything is written ahead: a batch is in the spool before it is sent, so that neither a hanging collector
//! nor a kill loses it. Both sides, the thread that encodes and the lane that sends, run on the telemetry
//! thread; each step is told to the book before the next one begins.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::accounting::{Book, DropReason, Place, Signal};
use super::clock;

mod segment;
mod spool;
#[cfg(test)]
mod tests;

pub use spool::SpoolShare;
use spool::{Next, Recovery, Spool};

/// Encoded batches of one signal that may wait in memory.
pub const BUFFER_BYTES_MAX: usize = 32 << 20;
/// Batches that wait in memory are joined up to this size.
const JOINED_BYTES_MAX: usize = 64 << 10;

/// A request that waits for the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub records: u64,
    pub body: Bytes,
}

/// Whether the spool takes what it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    #[default]
    Well,
    /// The bound leaves no room, and what takes it up is being sent.
    Full,
    /// What the system said, and whether more room would help.
    Failed { message: String, no_room: bool },
}

/// So often in a row reading may fail, about 10 s long, before what cannot be read is given up.
const READS_MAX: u32 = 50;

pub struct Outbox {
    signal: Signal,
    book: Arc<Book>,
    spool: Option<Spool>,
    disk: Disk,
    memory: VecDeque<Batch>,
    memory_bytes: usize,
    memory_bytes_max: usize,
    in_flight: Option<Place>,
    /// The last segment was given up for nothing: the next write failed all the same.
    evicted_in_vain: bool,
    /// Reads that failed since the last that did not.
    failed_reads: u32,
}

// === impl Outbox ===

impl Outbox {
    /// Takes over what an earlier process left in the spool.
    pub fn open(
        signal: Signal,
        book: Arc<Book>,
        memory_bytes_max: usize,
        spool: Option<SpoolShare>,
    ) -> (Outbox, Recovery) {
        let (spool, recovery) = spool.map(Spool::open).unzip();
        let recovery = recovery.unwrap_or_default();
        let mut outbox = Outbox {
            signal,
            book,
            spool,
            disk: Disk::Well,
            memory: VecDeque::new(),
            memory_bytes: 0,
            memory_bytes_max,
            in_flight: None,
            evicted_in_vain: false,
            failed_reads: 0,
        };
        let bytes = outbox.spool_bytes();
        outbox.book.write(signal, |page| {
            page.recovered(recovery.records);
            page.spool_bytes = bytes;
        });
        // The bound may have been higher.
        while outbox.spool.as_ref().is_some_and(|spool| spool.bytes() > spool.bytes_max())
            && outbox.evict(DropReason::SpoolFull)
        {}
        outbox.expire();
        (outbox, recovery)
    }

    /// A batch is ready: records that were in work.
    pub fn push(&mut self, batch: Batch) {
        self.book.write(self.signal, |page| page.moved(batch.records, Place::Work, Place::Memory));
        self.keep(batch);
        self.write_ahead();
        while self.memory_bytes > self.memory_bytes_max {
            let (reason, room_helps) = match (&self.spool, &self.disk) {
                (None, _) => (DropReason::BufferFull, false),
                (Some(_), Disk::Well | Disk::Full) => (DropReason::SpoolFull, true),
                (Some(_), Disk::Failed { no_room, .. }) => (DropReason::SpoolIo, *no_room),
            };
            // The oldest goes first, if that makes room for the others.
            if room_helps && !self.evicted_in_vain && self.evict(reason) {
                let before = self.memory_bytes;
                self.write_ahead();
                self.evicted_in_vain = self.memory_bytes == before;
            } else if !self.drop_from_memory(reason) {
                break;
            }
        }
    }

    /// Metrics are cumulative: a newer export takes the place of one that nobody took yet.
    pub fn replace(&mut self, batch: Batch) {
        self.book.write(self.signal, |page| {
            page.produced(batch.records);
            page.moved(batch.records, Place::Work, Place::Memory);
        });
        while self.drop_from_memory(DropReason::Superseded) {}
        self.memory_bytes += batch.body.len();
        self.memory.push_back(batch);
    }

    /// The batch to send next. It stays here until it is settled or postponed.
    pub fn next(&mut self) -> Option<Batch> {
        while let Some(spool) = &mut self.spool {
            let (lost, reason) = match spool.next() {
                Ok(Next::Nothing) => break,
                Ok(Next::Batch(batch)) => {
                    self.failed_reads = 0;
                    self.in_flight = Some(Place::Spool);
                    return Some(batch);
                }
                Ok(Next::Damaged(records)) => (records, DropReason::Corrupt),
                Err(error) if is_damage(&error) => (spool.abandon(), DropReason::Corrupt),
                Err(_) if self.failed_reads >= READS_MAX => (spool.abandon(), DropReason::SpoolIo),
                // It may pass, such as a lack of descriptors. What is in memory is younger, and has to wait, too.
                Err(error) => {
                    self.failed_reads += 1;
                    self.disk = failed(&error);
                    return None;
                }
            };
            self.failed_reads = 0;
            let bytes = spool.bytes();
            self.book.write(self.signal, |page| {
                page.dropped(lost, Place::Spool, reason);
                page.spool_bytes = bytes;
            });
        }
        let batch = self.memory.front().cloned();
        self.in_flight = batch.as_ref().map(|_| Place::Memory);
        batch
    }

    /// The collector took the batch in flight, but for `rejected` records.
    pub fn accepted(&mut self, rejected: u64) {
        self.settle(|page, records, place| page.exported(records, place, rejected));
    }

    /// The collector will never take the batch in flight.
    pub fn refused(&mut self) {
        self.settle(|page, records, place| page.dropped(records, place, DropReason::Refused));
    }

    /// The batch in flight has to wait.
    pub fn postponed(&mut self) {
        self.in_flight = None;
        if let Some(spool) = &mut self.spool {
            spool.postpone();
        }
    }

    fn settle(&mut self, step: impl FnOnce(&mut super::accounting::Page, u64, Place)) {
        let Some(place) = self.in_flight.take() else { return };
        let records = match (place, &mut self.spool) {
            (Place::Spool, Some(spool)) => spool.settle(),
            _ => self.memory.pop_front().map_or(0, |batch| {
                self.memory_bytes -= batch.body.len();
                batch.records
            }),
        };
        let bytes = self.spool_bytes();
        self.book.write(self.signal, |page| {
            step(page, records, place);
            page.spool_bytes = bytes;
        });
    }

    /// Time has passed: what is too old goes, and a disk that failed is tried again.
    pub fn tick(&mut self) {
        self.expire();
        self.write_ahead();
    }

    /// The end: what is in memory and cannot be written down is lost.
    pub fn close(&mut self) {
        self.postponed();
        self.write_ahead();
        while self.drop_from_memory(DropReason::Shutdown) {}
        self.book.write(self.signal, |page| page.give_up());
    }

    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Whether there is something that could not be read when it was asked for.
    pub fn is_to_be_read_again(&self) -> bool {
        self.failed_reads > 0
    }

    // === Memory ===

    fn keep(&mut self, batch: Batch) {
        self.memory_bytes += batch.body.len();
        let waiting = self.memory.len() > self.first_waiting();
        match self.memory.back_mut().filter(|_| waiting) {
            // As in the spool: two messages in a row are one.
            Some(last) if last.body.len() + batch.body.len() <= JOINED_BYTES_MAX => {
                last.body = [&*last.body, &*batch.body].concat().into();
                last.records += batch.records;
            }
            _ => self.memory.push_back(batch),
        }
    }

    fn drop_from_memory(&mut self, reason: DropReason) -> bool {
        let Some(gone) = self.memory.remove(self.first_waiting()) else { return false };
        self.memory_bytes -= gone.body.len();
        self.book.write(self.signal, |page| page.dropped(gone.records, Place::Memory, reason));
        true
    }

    /// The first batch in memory that is not being sent.
    fn first_waiting(&self) -> usize {
        usize::from(self.in_flight == Some(Place::Memory))
    }

    // === Disk ===

    /// Moves what is in memory to the disk, as far as it goes.
    fn write_ahead(&mut self) {
        // What is being sent from memory is the oldest there is: nothing may get behind it on disk.
        if self.spool.is_none() || self.in_flight == Some(Place::Memory) {
            return;
        }
        let now = clock::unix_ns() / 1_000_000;
        while let Some(batch) = self.memory.front().cloned() {
            match self.write(&batch, now) {
                Ok(()) => self.disk = Disk::Well,
                Err(disk) => {
                    self.disk = disk;
                    return;
                }
            }
            self.evicted_in_vain = false;
            self.memory.pop_front();
            self.memory_bytes -= batch.body.len();
            let bytes = self.spool_bytes();
            self.book.write(self.signal, |page| {
                page.moved(batch.records, Place::Memory, Place::Spool);
                page.spool_bytes = bytes;
            });
        }
    }

    fn write(&mut self, batch: &Batch, now_unix_ms: u64) -> Result<(), Disk> {
        loop {
            let Some(spool) = &mut self.spool else { return Err(Disk::Full) };
            if spool.has_room_for(&batch.body) {
                return spool.append(batch, now_unix_ms).map_err(|error| failed(&error));
            }
            if !spool.can_hold(&batch.body) || !self.evict(DropReason::SpoolFull) {
                return Err(Disk::Full);
            }
        }
    }

    fn expire(&mut self) {
        let now = clock::unix_ns() / 1_000_000;
        while let Some(records) = self.spool.as_mut().and_then(|spool| spool.evict_expired(now)) {
            self.evicted(records, DropReason::Expired);
        }
    }

    /// Gives up the oldest part of what is on disk.
    fn evict(&mut self, reason: DropReason) -> bool {
        let evicted = self.spool.as_mut().and_then(Spool::evict);
        evicted.map(|records| self.evicted(records, reason)).is_some()
    }

    fn evicted(&mut self, records: u64, reason: DropReason) {
        let bytes = self.spool_bytes();
        self.book.write(self.signal, |page| {
            page.dropped(records, Place::Spool, reason);
            page.spool_bytes = bytes;
        });
    }

    fn spool_bytes(&self) -> u64 {
        self.spool.as_ref().map_or(0, Spool::bytes)
    }
}

fn failed(error: &io::Error) -> Disk {
    let no_room = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    Disk::Failed { message: error.to_string(), no_room }
}

/// Whether asking again would be in vain.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
}
