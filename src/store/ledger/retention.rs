//! Keeps the ledger within its age and size: deletes the oldest rows in small steps and gives pages back.

use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::store::time::unix_ns;

/// Rows that one step deletes from one table.
const STEP_ROWS: i64 = 500;
/// Of a table that holds little, for its rows are large, a step deletes one part in so many: the newest rows stay.
const STEP_SHARE: i64 = 4;
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
}

/// Why rows have to go.
#[derive(Clone, Copy)]
enum Excess {
    /// As few as it takes.
    Size,
    /// All that began before.
    Age { before_ns: i64 },
}

struct Pages {
    count: i64,
    free: i64,
    size: i64,
}

impl Retention {
    pub fn new(age_max: Duration, bytes_max: u64) -> Retention {
        Retention { age_max, bytes_max, shrinking: false, age_due_at: Instant::now() }
    }

    /// One bounded round. Called after each batch and when nothing comes in. Where calls come in faster than
    /// rows can be deleted, the file's bound counts more than the round's: the queue may overflow, which is
    /// counted.
    pub fn round(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        let until = Instant::now() + ROUND_MAX;
        let mut gave_back = false;
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
            let deleted = (self.shrinking && delete_oldest(connection, Excess::Size)?)
                || self.delete_aged(connection)?;
            if !deleted {
                if !self.give_back(connection, &pages)? {
                    break;
                }
                gave_back = true;
            }
        }
        if gave_back {
            // Only then does the file itself become smaller.
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(())
    }

    fn delete_aged(&mut self, connection: &mut Connection) -> rusqlite::Result<bool> {
        if Instant::now() < self.age_due_at {
            return Ok(false);
        }
        let before = SystemTime::now().checked_sub(self.age_max).map_or(0, unix_ns);
        let deleted = delete_oldest(connection, Excess::Age { before_ns: before })?;
        if !deleted {
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

/// Deletes the oldest rows of the table that has the oldest. False: there is nothing to delete.
fn delete_oldest(connection: &mut Connection, excess: Excess) -> rusqlite::Result<bool> {
    let before_ns = match excess {
        Excess::Size => i64::MAX,
        Excess::Age { before_ns } => before_ns,
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let oldest = TABLES
        .iter()
        .map(|table| {
            let sql = format!("SELECT min({}) FROM {}", table.time, table.name);
            transaction.prepare_cached(&sql)?.query_row([], |row| row.get::<_, Option<i64>>(0))
        })
        .zip(TABLES)
        .filter_map(|(oldest, table)| oldest.transpose().map(|oldest| oldest.map(|oldest| (oldest, table))))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let Some((oldest, table)) = oldest.into_iter().min_by_key(|(oldest, _)| *oldest) else {
        return Ok(false);
    };
    if oldest > before_ns {
        return Ok(false);
    }
    let Table { name, time, companion } = table;
    let step = match excess {
        Excess::Age { .. } => STEP_ROWS,
        Excess::Size => {
            let rows: i64 = transaction
                .prepare_cached(&format!("SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT ?1)"))?
                .query_row([STEP_ROWS * STEP_SHARE], |row| row.get(0))?;
            (rows / STEP_SHARE).max(1)
        }
    };
    let last = transaction
        .prepare_cached(&format!(
            "SELECT {time} FROM {name} WHERE {time} <= ?1 ORDER BY {time} LIMIT 1 OFFSET ?2"
        ))?
        .query_row(params![before_ns, step - 1], |row| row.get::<_, i64>(0))
        .optional()?
        .unwrap_or(before_ns);
    for name in [Some(*name), *companion].into_iter().flatten() {
        transaction.prepare_cached(&format!("DELETE FROM {name} WHERE {time} <= ?1"))?.execute([last])?;
    }
    transaction.commit()?;
    Ok(true)
}

/// A table, the column that is its time, and a table that shares its keys.
struct Table {
    name: &'static str,
    time: &'static str,
    companion: Option<&'static str>,
}

const TABLES: &[Table] = &[
    Table { name: "invocations", time: "created_at_ns", companion: Some("recordings") },
    Table { name: "operations", time: "start_ns", companion: None },
    Table { name: "logs", time: "unix_ns", companion: None },
];
