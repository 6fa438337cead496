//! The ledger: what happened. Records go through a bounded queue to one thread that commits them in groups;
//! what does not fit or can't be written is counted, never waited for.
//!
//! Read `thin.rs` (who gets a row), `queue.rs`, then `writer.rs` (what happens when the disk is full or the file
//! damaged), then `schema.rs`, then `reader.rs` for the other direction.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::telemetry::events::{LedgerRecordsDropped, StoreRecovered, StoreWriteFailed};
use crate::telemetry::{Record, Sink, Telemetry, background};

use super::Store;
use super::database::{self, Access};
use super::error::Error;
use super::folder::{DataFolder, Lock};

mod account;
mod blocks;
mod cells;
mod class;
mod conditions;
mod cursor;
mod encode;
mod errors;
mod flood;
mod fresh;
mod grams;
mod insert;
mod invocations;
mod judge;
mod logs;
mod merge;
mod oldest;
mod pass;
mod purge;
mod queue;
mod reader;
mod retention;
mod rows;
mod schema;
mod search;
mod spans;
mod tally;
mod thin;
mod traces;
mod views;
mod writer;

pub use account::{LedgerAccount, PluginAccount};
pub use errors::{ErrorExample, ErrorFilter, ErrorGroup, ErrorGroups};
pub use purge::{PurgeFilter, Purged};
pub use reader::Reader;
pub use views::{
    ErrorView, EventView, ExceptionView, InvocationDetail, InvocationFilter, InvocationView, LedgerCounts,
    LogFilter, LogPage, LogView, Page, SpanView, TraceSummary, TraceView, UsageView,
};

pub(super) use merge::merge;
pub(super) use purge::empty_journal;
pub(super) use schema::SCHEMA;

use flood::Flood;
use queue::{Bounds, Queue};
use retention::Retention;
use tally::{Tally, UnknownNames};
use thin::{Thinner, Verdict};
use writer::{Status, Writer};

/// A commit has at most so many records.
const COMMIT_RECORDS_MAX: usize = 1_000;
/// And so many bytes, which is how far the file may exceed its bound.
const COMMIT_BYTES_MAX: usize = 4 << 20;
/// A record waits at most so long for others to share its commit.
const COMMIT_WAIT: Duration = Duration::from_millis(100);
/// Notices that nobody has asked for yet; further ones only count.
const NOTICES_MAX: usize = 64;
/// How long a ledger that is dropped waits for its last commit.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Reasons of `ledger_dropped_total`.
pub const REASON_QUEUE_FULL: &str = "queue_full";
pub const REASON_IO: &str = "io";
/// Refused calls by the thousand: so many a second are kept, see `flood.rs`.
pub const REASON_REFUSALS: &str = "refusals";
/// Records of a plugin that is called faster than rows are kept of it, see `thin.rs`.
pub const REASON_SAMPLED: &str = "sampled";

/// Checked settings of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// Older records are deleted.
    pub age_max: Duration,
    /// The file does not grow beyond this; its journal may add 16 MiB.
    pub bytes_max: u64,
    /// Records and bytes that may wait to be written.
    pub queue_records_max: usize,
    pub queue_bytes_max: usize,
    /// Of a plugin that is called more often a second, a sample of the calls gets rows.
    pub rows_per_s_max: u32,
}

/// What the ledger counts. `received` = `written` + `dropped_queue_full` + `dropped_io` + `dropped_refusals` +
/// `sampled` + what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerStats {
    pub received: u64,
    pub written: u64,
    pub dropped_queue_full: u64,
    pub dropped_io: u64,
    pub dropped_refusals: u64,
    pub sampled: u64,
    pub queued_records: u64,
    pub queued_bytes: u64,
    /// The last write was taken.
    pub writable: bool,
    /// The file with its journals.
    pub file_bytes: u64,
}

/// Something that whoever runs the place should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Records were lost since the last such notice.
    Dropped { queue_full: u64, io: u64, refusals: u64, sampled: u64 },
    /// From now on writes fail.
    WriteFailed { detail: String },
    /// Writes work again.
    Recovered,
    /// The file was damaged. It was moved, and a new one begun.
    SetAside { to: PathBuf, detail: String },
}

/// The writing side. Dropping it writes what waits, within 5 s.
pub struct Ledger {
    path: PathBuf,
    queue: Arc<Queue>,
    status: Arc<Status>,
    notices: Arc<Notices>,
    thread: Mutex<Option<JoinHandle<()>>>,
    rows_per_s_max: u32,
    /// The owner's: nobody else may own the folder while this writes.
    _lock: Option<Arc<Lock>>,
}

/// Takes records from telemetry. It never waits.
pub struct LedgerSink {
    queue: Arc<Queue>,
    flood: Flood,
    thinner: Thinner,
    unknown: UnknownNames,
}

/// Tells telemetry, once there is one.
#[derive(Default)]
struct Notices {
    telemetry: OnceLock<Telemetry>,
    pending: Mutex<VecDeque<Notice>>,
}

impl Default for LedgerSettings {
    fn default() -> LedgerSettings {
        LedgerSettings {
            age_max: Duration::from_secs(7 * 24 * 3600),
            bytes_max: 2 << 30,
            queue_records_max: 32_768,
            queue_bytes_max: 64 << 20,
            rows_per_s_max: 500,
        }
    }
}

impl Ledger {
    /// The ledger of an owned folder. A damaged file is set aside; a disk that takes nothing now is no
    /// error, for calls must go on.
    pub fn open(store: &Store, settings: &LedgerSettings) -> Result<Ledger, Error> {
        Ledger::start(store.folder().ledger(), Access::Owner, settings, Some(store.lock.clone()))
    }

    /// Writes beside the owner, if there is one. The folder is created.
    pub fn join(folder: &DataFolder, settings: &LedgerSettings) -> Result<Ledger, Error> {
        folder.create()?;
        Ledger::start(folder.ledger(), Access::Guest, settings, None)
    }

    fn start(
        path: PathBuf,
        access: Access,
        settings: &LedgerSettings,
        lock: Option<Arc<Lock>>,
    ) -> Result<Ledger, Error> {
        let queue = Arc::new(Queue::new(Bounds {
            rows_max: settings.queue_records_max,
            bytes_max: settings.queue_bytes_max,
            batch_rows_max: COMMIT_RECORDS_MAX,
            batch_bytes_max: COMMIT_BYTES_MAX,
            batch_wait: COMMIT_WAIT,
        }));
        let status = Arc::new(Status::default());
        let notices = Arc::new(Notices::default());
        let retention = Retention::new(settings.age_max, settings.bytes_max);
        let writer =
            Writer::open(path.clone(), access, queue.clone(), status.clone(), retention, notices.clone())?;
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || {
                background::step_back();
                writer.run();
            })
            .map_err(Error::io("start the writer of", &path))?;
        let rows_per_s_max = settings.rows_per_s_max;
        Ok(Ledger {
            path,
            queue,
            status,
            notices,
            thread: Mutex::new(Some(thread)),
            rows_per_s_max,
            _lock: lock,
        })
    }

    /// What `Telemetry::start` is given.
    pub fn sink(&self) -> LedgerSink {
        LedgerSink {
            queue: self.queue.clone(),
            flood: Flood::default(),
            thinner: Thinner::new(self.rows_per_s_max),
            unknown: UnknownNames::default(),
        }
    }

    /// The reading side.
    pub fn reader(&self) -> Reader {
        Reader::with(self.path.clone(), reader::QUERY_TIME_MAX, Some(self.status.clone()))
    }

    /// From now on losses and faults become events and metrics; those that were kept until now, at once.
    pub fn report_to(&self, telemetry: &Telemetry) {
        telemetry.metrics().set_store_writable(!self.status.failing.load(Ordering::Relaxed));
        if self.notices.telemetry.set(telemetry.clone()).is_ok() {
            for notice in self.take_notices() {
                emit(telemetry, notice);
            }
        }
    }

    /// What was not reported to telemetry, oldest first: for a process without one.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.notices.lock().drain(..).collect()
    }

    /// Waits until all that the sink was given before is written, or lost and counted. False: not within
    /// `timeout`. Blocks: not for an async task.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.queue.flush(timeout)
    }

    pub fn stats(&self) -> LedgerStats {
        let counts = self.queue.counts();
        LedgerStats {
            received: counts.accepted + counts.refused + counts.left_out + counts.sampled,
            written: self.status.written.load(Ordering::Relaxed),
            dropped_queue_full: counts.refused,
            dropped_io: self.status.lost.load(Ordering::Relaxed),
            dropped_refusals: counts.left_out,
            sampled: counts.sampled,
            queued_records: counts.rows as u64,
            queued_bytes: counts.bytes as u64,
            writable: !self.status.failing.load(Ordering::Relaxed),
            file_bytes: database::size_bytes(&self.path),
        }
    }

    /// Writes what waits and ends the thread. What comes later is refused and counted. False: the disk did
    /// not answer in time; the thread ends when it does. Idempotent. Blocks.
    pub fn close(&self, timeout: Duration) -> bool {
        self.queue.close();
        let written = self.queue.flush(timeout);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        match thread {
            Some(thread) if written => thread.join().is_ok(),
            _ => written,
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close(CLOSE_TIMEOUT);
    }
}

impl Sink for LedgerSink {
    fn accept(&mut self, batch: &[Record]) {
        for records in batch.chunks(COMMIT_RECORDS_MAX) {
            self.accept_some(records);
        }
    }
}

impl LedgerSink {
    fn accept_some(&mut self, records: &[Record]) {
        let mut tally = Tally::default();
        // Made before the queue is locked: whoever flushes or reads counts does not wait for it.
        let mut rows = Vec::with_capacity(records.len());
        let (mut refused, mut refusals, mut sampled) = (0, 0, 0);
        let (full, now) = (self.queue.is_full(), Instant::now());
        for record in records {
            if let Record::Invocation(call) = record {
                tally.add(call, &mut self.unknown);
            }
            if !self.flood.keeps(record, now) {
                refusals += 1;
                continue;
            }
            let (class, lines) = match self.thinner.judge(record, now) {
                Verdict::Keep(class) => (class, Vec::new()),
                Verdict::KeepWith(class, lines) => (class, lines),
                Verdict::LeaveOut { lines } => {
                    sampled += 1 + lines;
                    if let Record::Invocation(call) = record {
                        tally.sampled(i64::try_from(call.created_at_unix_ns).unwrap_or(i64::MAX));
                    }
                    continue;
                }
                Verdict::Hold { lines } => {
                    sampled += lines;
                    continue;
                }
            };
            if full {
                refused += 1 + lines.len() as u64;
                continue;
            }
            rows.extend(lines.iter().map(encode::encode_line));
            rows.push(encode::encode(record, class));
        }
        self.queue.refuse(refused);
        self.queue.leave_out(refusals, sampled);
        self.queue.tally(tally);
        self.queue.push(rows);
    }
}

impl Notices {
    fn tell(&self, notice: Notice) {
        if let Some(telemetry) = self.telemetry.get() {
            return emit(telemetry, notice);
        }
        let mut pending = self.lock();
        if pending.len() == NOTICES_MAX {
            pending.pop_front();
        }
        pending.push_back(notice);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Notice>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn emit(telemetry: &Telemetry, notice: Notice) {
    match notice {
        Notice::Dropped { queue_full, io, refusals, sampled } => {
            for (reason, records) in [
                (REASON_QUEUE_FULL, queue_full),
                (REASON_IO, io),
                (REASON_REFUSALS, refusals),
                (REASON_SAMPLED, sampled),
            ] {
                if records > 0 {
                    telemetry.emit(LedgerRecordsDropped { reason, records });
                }
            }
        }
        Notice::WriteFailed { detail } => telemetry.emit(StoreWriteFailed { message: &detail }),
        Notice::Recovered => telemetry.emit(StoreRecovered),
        Notice::SetAside { to, detail } => {
            let message = format!("the ledger was damaged ({detail}) and moved to `{}`", to.display());
            telemetry.emit(StoreWriteFailed { message: &message });
            telemetry.emit(StoreRecovered);
        }
    }
}

#[cfg(test)]
mod tests;
