//! Keeps the ledger within its age and size: what is too old goes; when room is short, what `judge.rs` says. In small
//! steps, and pages are given back.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, TransactionBehavior};

use crate::store::time::unix_ns;

use super::cells::{self, SLOT_NS};
use super::judge::judge;
use super::oldest::{self, Excess};
use super::pass::Pass;
use super::{blocks, tally};

/// Blocks of lines that one round looks at, whether there are lines left.
const STEP_BLOCKS: i64 = 64;
/// Pages that one step gives back to the file system.
const STEP_PAGES: i64 = 512;
/// Longest that the writer is kept from writing.
const ROUND_MAX: Duration = Duration::from_millis(50);
const AGE_CHECK_EVERY: Duration = Duration::from_secs(60);
/// Once too large, rows go until this much of the bound is used.
const LOW_WATER: f64 = 0.95;
/// The file may be larger than its bound by one part in so many while rows are deleted in between.
const OVERSHOOT: u64 = 16;
/// Above this share of free pages the file is made smaller even if it is within its bound.
const FREE_SHARE_MAX: f64 = 0.25;

pub(super) struct Retention {
    age_max: Duration,
    bytes_max: u64,
    shrinking: bool,
    age_due_at: Instant,
    /// What was judged to go and is not gone.
    passes: VecDeque<Pass>,
    blocks_after: i64,
    /// Pages were given back, and are not in the file's length yet.
    checkpoint_due: bool,
}

struct Pages {
    count: i64,
    free: i64,
    size: i64,
}

impl Retention {
    pub fn new(age_max: Duration, bytes_max: u64) -> Retention {
        Retention {
            age_max,
            checkpoint_due: false,
            bytes_max,
            shrinking: false,
            age_due_at: Instant::now(),
            passes: VecDeque::new(),
            blocks_after: 0,
        }
    }

    /// One bounded round. Called after each batch and when nothing comes in. Where calls come in faster than
    /// rows can be deleted, the file's bound counts more than the round's: the queue may overflow, which is
    /// counted.
    pub fn round(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        let until = Instant::now() + ROUND_MAX;
        let mut gave_back = false;
        let mut deleted_any = false;
        loop {
            let pages = Pages::read(connection)?;
            if Instant::now() >= until
                && pages.file_bytes() <= self.bytes_max.saturating_add(self.bytes_max / OVERSHOOT)
            {
                break;
            }
            self.shrinking = match pages.used_bytes() {
                used if used > self.bytes_max => true,
                used => self.shrinking && used as f64 > self.bytes_max as f64 * LOW_WATER,
            };
            let deleted =
                (self.shrinking && self.shrink(connection, &pages)?) || self.delete_aged(connection)?;
            deleted_any |= deleted;
            if !deleted {
                if !self.give_back(connection, &pages)? {
                    break;
                }
                gave_back = true;
            }
        }
        if deleted_any {
            self.blocks_after = blocks::forget_empty(connection, self.blocks_after, STEP_BLOCKS)?;
        }
        self.checkpoint_due |= gave_back;
        if self.checkpoint_due {
            // Only then does the file itself become smaller. Readers may hold up a part of it: then again, later.
            let (journal, taken): (i64, i64) =
                connection
                    .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))?;
            self.checkpoint_due = taken < journal;
        }
        Ok(())
    }

    /// One step of what was judged to go. False: there is nothing to delete.
    fn shrink(&mut self, connection: &mut Connection, pages: &Pages) -> rusqlite::Result<bool> {
        if self.passes.is_empty() {
            let low_water = self.bytes_max as f64 * LOW_WATER;
            let excess = (pages.used_bytes() as f64 - low_water) as i64;
            let now_slot = unix_ns(SystemTime::now()) / SLOT_NS;
            let targets = judge(&cells::picture(connection)?, now_slot, excess);
            self.passes = targets
                .into_iter()
                .map(|target| Pass::begin(connection, target))
                .collect::<Result<_, _>>()?;
        }
        while let Some(pass) = self.passes.front_mut() {
            let step = pass.step(connection)?;
            if step.over {
                self.passes.pop_front();
            }
            if step.deleted > 0 {
                return Ok(true);
            }
        }
        // What was judged to go is gone already, or cannot go: lines whose call has none, the newest calls.
        oldest::delete(connection, Excess::Size)
    }

    fn delete_aged(&mut self, connection: &mut Connection) -> rusqlite::Result<bool> {
        if Instant::now() < self.age_due_at {
            return Ok(false);
        }
        let now = SystemTime::now();
        let before = now.checked_sub(self.age_max).map_or(0, unix_ns);
        let deleted = oldest::delete(connection, Excess::Age { before_ns: before })?;
        if !deleted {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tally::age(&transaction, unix_ns(now), before)?;
            transaction.commit()?;
            self.age_due_at = Instant::now() + AGE_CHECK_EVERY;
        }
        Ok(deleted)
    }

    fn give_back(&self, connection: &Connection, pages: &Pages) -> rusqlite::Result<bool> {
        let too_many = pages.free > STEP_PAGES && pages.free as f64 > pages.count as f64 * FREE_SHARE_MAX;
        let too_large = pages.free > 0 && pages.file_bytes() > self.bytes_max;
        if !too_many && !too_large {
            return Ok(false);
        }
        // Each row of the answer is one page; the pragma works only while it is being read.
        let mut vacuum = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        Ok(true)
    }
}

impl Pages {
    fn read(connection: &Connection) -> rusqlite::Result<Pages> {
        let ask = |pragma: &str| connection.prepare_cached(pragma)?.query_row([], |row| row.get(0));
        Ok(Pages {
            count: ask("PRAGMA page_count")?,
            free: ask("PRAGMA freelist_count")?,
            size: ask("PRAGMA page_size")?,
        })
    }

    fn file_bytes(&self) -> u64 {
        (self.count * self.size).unsigned_abs()
    }

    fn used_bytes(&self) -> u64 {
        ((self.count - self.free) * self.size).unsigned_abs()
    }
}
