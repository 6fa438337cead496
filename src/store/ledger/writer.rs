//! The thread that writes the ledger. It outlives every fault of the disk: what can't be written is counted
//! and said, and the next batch is tried again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::store::database::{self, Access, identity};
use crate::store::error::Error;

use super::grams::Grams;
use super::insert::insert;
use super::queue::{Errand, Next, Queue};
use super::retention::Retention;
use super::rows::Row;
use super::schema::SCHEMA;
use super::tally::Tally;
use super::{Notice, Notices};

/// How often the writer looks after the file when nothing comes in.
const IDLE: Duration = Duration::from_secs(1);
/// Losses are told at most so often, and always with the exact number.
const LOSS_NOTICE_EVERY: Duration = Duration::from_secs(1);
/// And that there is a sample of calls only.
const SAMPLED_NOTICE_EVERY: Duration = Duration::from_secs(60);
/// How often a batch is tried while another process writes, each time for the busy timeout.
const BUSY_TRIES: u32 = 3;

/// What others may know of the writer.
#[derive(Debug, Default)]
pub(super) struct Status {
    pub written: AtomicU64,
    /// Rows given up because the file would not take them.
    pub lost: AtomicU64,
    pub failing: AtomicBool,
    /// A reader found the file damaged.
    pub suspect: AtomicBool,
}

pub(super) struct Writer {
    path: PathBuf,
    access: Access,
    queue: Arc<Queue>,
    status: Arc<Status>,
    retention: Retention,
    notices: Arc<Notices>,
    open: Option<Open>,
    grams: Grams,
    told: Told,
}

/// An open file, and which one it was.
struct Open {
    connection: Connection,
    identity: Option<(u64, u64)>,
}

/// What has been told already.
struct Told {
    refused: u64,
    lost: u64,
    left_out: u64,
    sampled: u64,
    sampled_at: Option<Instant>,
    at: Instant,
}

impl Writer {
    /// Opens the file. One that is damaged is set aside by the owner of the folder; one that can't be
    /// written now is tried again with each batch; one of a newer schema is an error.
    pub fn open(
        path: PathBuf,
        access: Access,
        queue: Arc<Queue>,
        status: Arc<Status>,
        retention: Retention,
        notices: Arc<Notices>,
    ) -> Result<Writer, Error> {
        let told =
            Told { refused: 0, lost: 0, left_out: 0, sampled: 0, sampled_at: None, at: Instant::now() };
        let grams = Grams::default();
        let mut writer = Writer { path, access, queue, status, retention, notices, open: None, grams, told };
        match writer.connect() {
            Err(Error::Corrupt { detail, .. }) if access == Access::Owner => {
                writer.set_aside(&detail)?;
                writer.connect()?;
            }
            Err(
                error @ (Error::SchemaTooNew { .. } | Error::SchemaTooOld { .. } | Error::Corrupt { .. }),
            ) => {
                return Err(error);
            }
            Err(error) => writer.fail(&error),
            Ok(()) => {}
        }
        Ok(writer)
    }

    /// Returns when the queue is closed and empty.
    pub fn run(mut self) {
        loop {
            match self.queue.take(IDLE) {
                Next::Write(rows, tally) => {
                    self.write(&rows, tally);
                    self.queue.settle(rows.len());
                }
                Next::Run(errand) => self.run_errand(errand),
                Next::Idle => self.look_after(),
                Next::Closed => break,
            }
            self.keep_bounds();
            self.tell_losses(false);
        }
        self.tell_losses(true);
    }

    fn run_errand(&mut self, errand: Errand) {
        let connected = self.connect();
        let connection = match (connected, &mut self.open) {
            (Ok(()), Some(open)) => Ok(&mut open.connection),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(Error::NotFound { what: format!("file `{}`", self.path.display()) }),
        };
        errand(connection);
    }

    fn write(&mut self, rows: &[Row], tally: Tally) {
        let mut tries = 1;
        let error = loop {
            let error = match self.try_write(rows, &tally) {
                Ok(()) => return self.succeed(rows.len()),
                Err(error) => error,
            };
            match &error {
                Error::Busy { .. } if tries < BUSY_TRIES => {}
                Error::DiskFull { .. } if tries == 1 => self.empty_journal(),
                Error::Corrupt { detail, .. } if tries == 1 && self.access == Access::Owner => {
                    if let Err(error) = self.set_aside(detail) {
                        break error;
                    }
                }
                _ => break error,
            }
            tries += 1;
        };
        self.queue.tally_again(tally);
        self.status.lost.fetch_add(rows.len() as u64, Ordering::Relaxed);
        self.fail(&error);
    }

    fn try_write(&mut self, rows: &[Row], tally: &Tally) -> Result<(), Error> {
        self.connect()?;
        let Some(open) = &mut self.open else { return Ok(()) };
        insert(&mut open.connection, rows, tally, &mut self.grams).map_err(Error::engine(&self.path))
    }

    fn connect(&mut self) -> Result<(), Error> {
        // Somebody moved or removed it: what is written now must not go to a file without a name.
        self.open.take_if(|open| open.identity != identity(&self.path));
        if self.open.is_none() {
            let connection = database::open(&self.path, &SCHEMA, self.access)?;
            self.open = Some(Open { connection, identity: identity(&self.path) });
        }
        Ok(())
    }

    fn succeed(&mut self, rows: usize) {
        self.status.written.fetch_add(rows as u64, Ordering::Relaxed);
        if self.status.failing.swap(false, Ordering::Relaxed) {
            self.notices.tell(Notice::Recovered);
        }
    }

    fn fail(&mut self, error: &Error) {
        // After a full disk the connection is sound; after anything else nothing is taken for granted.
        if !matches!(error, Error::DiskFull { .. }) {
            self.open = None;
        }
        if !self.status.failing.swap(true, Ordering::Relaxed) {
            self.notices.tell(Notice::WriteFailed { detail: error.to_string() });
        }
    }

    /// Moves a damaged file out of the way, journals too, for whoever wants to look into it.
    fn set_aside(&mut self, detail: &str) -> Result<(), Error> {
        self.open = None;
        let aside = database::set_aside(&self.path)?;
        self.notices.tell(Notice::SetAside { to: aside, detail: detail.to_owned() });
        Ok(())
    }

    /// When there is time: is the file still there, and is it sound if a reader doubted it?
    fn look_after(&mut self) {
        if self.status.suspect.swap(false, Ordering::Relaxed) && self.access == Access::Owner {
            let problems = match &self.open {
                Some(open) => database::quick_check(&open.connection),
                None => return,
            };
            let detail = match problems {
                Ok(problems) if problems.is_empty() => return,
                Ok(problems) => problems.join("; "),
                Err(error) => error.to_string(),
            };
            if let Err(error) = self.set_aside(&detail) {
                self.fail(&error);
            }
        }
        let failing = self.status.failing.load(Ordering::Relaxed);
        let looked_after = if failing { self.probe() } else { self.connect() };
        match looked_after {
            Ok(()) => self.succeed(0),
            Err(error) => self.fail(&error),
        }
    }

    /// What the journal holds goes into the file, and the journal begins again from its start: on a full disk
    /// that may be all the room there is.
    fn empty_journal(&self) {
        if let Some(open) = &self.open {
            let emptied = open.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
            tracing::debug!(?emptied, "disk full: journal");
        }
    }

    /// Writes something, so that recovery is seen even if nothing comes in.
    fn probe(&mut self) -> Result<(), Error> {
        self.connect()?;
        let Some(open) = &self.open else { return Ok(()) };
        let version = database::schema_version(&open.connection).map_err(Error::engine(&self.path))?;
        open.connection.pragma_update(None, "user_version", version).map_err(Error::engine(&self.path))
    }

    fn keep_bounds(&mut self) {
        let Some(open) = &mut self.open else { return };
        if let Err(error) = self.retention.round(&mut open.connection).map_err(Error::engine(&self.path)) {
            match error {
                Error::Busy { .. } => {}
                Error::Corrupt { .. } => self.status.suspect.store(true, Ordering::Relaxed),
                error => self.fail(&error),
            }
        }
    }

    fn tell_losses(&mut self, now: bool) {
        if !now && self.told.at.elapsed() < LOSS_NOTICE_EVERY {
            return;
        }
        let (counts, lost) = (self.queue.counts(), self.status.lost.load(Ordering::Relaxed));
        let (refused, left_out, sampled) = (counts.refused, counts.left_out, counts.sampled);
        let told = &self.told;
        // That a plugin is sampled is no loss, and lasts: it is told now and then.
        let sampling = sampled != told.sampled
            && (now || told.sampled_at.is_none_or(|at| at.elapsed() >= SAMPLED_NOTICE_EVERY));
        let sampled = if sampling { sampled } else { told.sampled };
        if sampling || (refused, lost, left_out) != (told.refused, told.lost, told.left_out) {
            self.notices.tell(Notice::Dropped {
                queue_full: refused - self.told.refused,
                io: lost - self.told.lost,
                refusals: left_out - self.told.left_out,
                sampled: sampled - self.told.sampled,
            });
            let sampled_at = if sampling { Some(Instant::now()) } else { self.told.sampled_at };
            self.told = Told { refused, lost, left_out, sampled, sampled_at, at: Instant::now() };
        }
    }
}
