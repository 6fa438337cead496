//! The reading side: connections of its own, each query bounded in rows and in time. Works beside a running
//! owner, in its process or another one, and with none.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction};

use crate::store::database::{self, Access, identity};
use crate::store::error::Error;
use crate::store::folder::DataFolder;
use crate::store::time::rfc3339;

use super::schema::SCHEMA;
use super::views::LedgerCounts;
use super::writer::Status;
use super::{blocks, cells};

/// Queries that run at once; further ones wait, which counts against their time.
const CONNECTIONS_MAX: usize = 4;
/// A query is stopped after this.
pub(super) const QUERY_TIME_MAX: Duration = Duration::from_secs(5);
/// How many steps the engine takes between two looks at the clock: some 0.1 ms.
const STEPS_PER_LOOK: i32 = 10_000;

/// Reads a ledger. Cheap to clone. All methods block: not for an async task.
#[derive(Clone)]
pub struct Reader(Arc<Inner>);

struct Inner {
    path: PathBuf,
    time_max: Duration,
    pool: Mutex<Pool>,
    returned: Condvar,
    /// Where doubts about the file go.
    status: Option<Arc<Status>>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Pooled>,
    lent: usize,
}

/// A connection, and to which file: the path may name another one by now.
struct Pooled {
    connection: Connection,
    identity: Option<(u64, u64)>,
}

impl Reader {
    /// Opens nothing yet: a ledger that is not there is an error of the first query.
    pub fn new(folder: &DataFolder) -> Reader {
        Reader::with(folder.ledger(), QUERY_TIME_MAX, None)
    }

    /// The same reader with another bound for each query.
    pub fn time_max(&self, time_max: Duration) -> Reader {
        Reader::with(self.0.path.clone(), time_max, self.0.status.clone())
    }

    pub(super) fn with(path: PathBuf, time_max: Duration, status: Option<Arc<Status>>) -> Reader {
        let (pool, returned) = (Mutex::default(), Condvar::new());
        Reader(Arc::new(Inner { path, time_max, pool, returned, status }))
    }

    /// What the engine finds wrong with the file, and how much is in it. Reads the whole file.
    pub(in crate::store) fn check(&self) -> Result<(Vec<String>, LedgerCounts), Error> {
        self.query(|transaction| {
            let mut problems = database::quick_check(transaction)?;
            problems.extend(blocks::check(transaction)?);
            problems.extend(cells::check(transaction)?);
            Ok((problems, count_rows(transaction)?))
        })
    }

    /// Runs one query on one snapshot.
    pub(super) fn query<T>(
        &self,
        query: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.0.time_max;
        let mut pooled = self.0.lend(deadline)?;
        let look = move || Instant::now() >= deadline;
        let result = pooled
            .connection
            .progress_handler(STEPS_PER_LOOK, Some(look))
            .and_then(|()| pooled.connection.transaction())
            .and_then(|transaction| query(&transaction));
        match result {
            Ok(value) => {
                self.0.take_back(Some(pooled));
                Ok(value)
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                self.0.take_back(Some(pooled));
                Err(Error::QueryTooSlow { limit: self.0.time_max })
            }
            Err(error) => {
                // A connection that failed is not trusted again.
                self.0.take_back(None);
                let error = Error::engine(&self.0.path)(error);
                if let (Error::Corrupt { .. }, Some(status)) = (&error, &self.0.status) {
                    status.suspect.store(true, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }
}

impl Inner {
    fn lend(&self, deadline: Instant) -> Result<Pooled, Error> {
        let mut pool = self.lock();
        while pool.lent >= CONNECTIONS_MAX {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::QueryTooSlow { limit: self.time_max });
            }
            pool = self.returned.wait_timeout(pool, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        pool.lent += 1;
        let current = identity(&self.path);
        pool.idle.retain(|pooled| pooled.identity == current);
        let idle = pool.idle.pop();
        drop(pool);
        if let Some(pooled) = idle {
            return Ok(pooled);
        }
        let opened = database::open(&self.path, &SCHEMA, Access::Reader);
        match opened {
            Ok(connection) => Ok(Pooled { connection, identity: current }),
            Err(error) => {
                self.take_back(None);
                Err(error)
            }
        }
    }

    fn take_back(&self, pooled: Option<Pooled>) {
        let mut pool = self.lock();
        pool.lent -= 1;
        pool.idle.extend(pooled);
        self.returned.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count_rows(transaction: &Transaction<'_>) -> rusqlite::Result<LedgerCounts> {
    let count = |table: &str| -> rusqlite::Result<u64> {
        let count = transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0));
        count.map(i64::unsigned_abs)
    };
    let oldest: Option<i64> =
        transaction.query_row("SELECT min(created_at_ns) FROM invocations", [], |row| row.get(0))?;
    Ok(LedgerCounts {
        invocations: count("invocations")?,
        operations: count("operations")?,
        logs: count("logs")?,
        oldest_invocation: oldest.map(rfc3339),
    })
}
