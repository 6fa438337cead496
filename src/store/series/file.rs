//! `series.db`: the steps, written every few seconds by a thread of its own and read at the start. What the disk does
//! not take stays in memory, marked, and is tried again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, params};

use super::book::{Bounds, Change};
use super::slot::{BUCKETS, Slot};
use crate::store::database::{self, Access, Schema};
use crate::store::error::Error;

/// A step's row is written over as long as the step is not over, and again when a late call comes.
pub(in crate::store) const SCHEMA: Schema = Schema {
    durable: false,
    steps: &["
        CREATE TABLE series (
            id INTEGER PRIMARY KEY,
            plugin TEXT NOT NULL,
            version TEXT
        ) STRICT;

        CREATE TABLE steps (
            width_s INTEGER NOT NULL,
            at INTEGER NOT NULL,
            series INTEGER NOT NULL,
            calls INTEGER NOT NULL,
            errors INTEGER NOT NULL,
            refused INTEGER NOT NULL,
            dropped INTEGER NOT NULL,
            cold_starts INTEGER NOT NULL,
            queue_ns INTEGER NOT NULL,
            cpu_ns INTEGER NOT NULL,
            memory_peak_bytes INTEGER NOT NULL,
            buckets TEXT NOT NULL,
            PRIMARY KEY (width_s, at, series)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE notes (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL
        ) STRICT;
    "],
};

pub(super) struct File {
    path: PathBuf,
    open: Option<Connection>,
    /// Which file it was: device and inode.
    identity: Option<(u64, u64)>,
}

/// What a file has.
#[derive(Default)]
pub(super) struct Loaded {
    pub last_id: i64,
    pub steps: Vec<Change>,
    pub notes: Vec<(String, String)>,
}

/// How a file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The one that was written last.
    Same,
    /// Another one, or the first.
    Another,
}

impl File {
    pub fn new(path: PathBuf) -> File {
        File { path, open: None, identity: None }
    }

    /// Has the file open, creating it if need be.
    pub fn connect(&mut self) -> Result<Found, Error> {
        // Somebody moved or removed it: what is written now must not go to a file without a name.
        let same = self.identity.is_some() && self.identity == database::identity(&self.path);
        if !same {
            self.open = None;
        }
        if self.open.is_none() {
            self.open = Some(database::open(&self.path, &SCHEMA, Access::Owner)?);
            self.identity = database::identity(&self.path);
        }
        Ok(if same { Found::Same } else { Found::Another })
    }

    /// Moves a damaged file out of the way.
    pub fn set_aside(&mut self) -> Result<PathBuf, Error> {
        self.open = None;
        database::set_aside(&self.path)
    }

    /// Nothing is taken for granted after a fault.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// The next look at it is as at the first.
    pub fn forget(&mut self) {
        self.open = None;
        self.identity = None;
    }

    /// The largest key, the newest steps, and the notes.
    pub fn load(&self, bounds: &Bounds) -> Result<Loaded, Error> {
        let Some(connection) = &self.open else { return Ok(Loaded::default()) };
        load(connection, bounds).map_err(Error::engine(&self.path))
    }

    /// Writes all of it or nothing.
    pub fn save(
        &mut self,
        bounds: &Bounds,
        changes: &[Change],
        notes: &[(String, String)],
    ) -> Result<(), Error> {
        let Some(connection) = &mut self.open else { return Ok(()) };
        let mut save = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            {
                let mut series = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO series (id, plugin, version) VALUES (?1, ?2, ?3)",
                )?;
                let mut steps = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO steps VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                )?;
                let mut last = None;
                for change in changes {
                    if last != Some(change.id) {
                        series.execute(params![change.id, &*change.plugin, change.version.as_deref()])?;
                        last = Some(change.id);
                    }
                    let slot = &change.slot;
                    steps.execute(params![
                        bounds.resolutions[change.tier].width_s,
                        change.at,
                        change.id,
                        slot.calls,
                        slot.errors,
                        slot.refused,
                        slot.dropped,
                        slot.cold_starts,
                        integer(slot.queue_ns),
                        integer(slot.cpu_ns),
                        integer(slot.memory_peak_bytes),
                        write_buckets(&slot.buckets),
                    ])?;
                }
                let mut note = transaction
                    .prepare_cached("INSERT OR REPLACE INTO notes (name, value) VALUES (?1, ?2)")?;
                for (name, value) in notes {
                    note.execute(params![name, value])?;
                }
            }
            transaction.commit()
        };
        save().map_err(Error::engine(&self.path))
    }

    /// Deletes the steps that are older than their time, and series of which none is left.
    pub fn expire(&mut self, bounds: &Bounds, now: u32) -> Result<(), Error> {
        let Some(connection) = &mut self.open else { return Ok(()) };
        let mut expire = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for resolution in bounds.resolutions {
                let before = now.saturating_sub(resolution.keep_s).saturating_sub(resolution.width_s);
                transaction
                    .prepare_cached("DELETE FROM steps WHERE width_s = ?1 AND at < ?2")?
                    .execute(params![resolution.width_s, before])?;
            }
            transaction.commit()?;
            connection.execute_batch("PRAGMA incremental_vacuum(256)")
        };
        expire().map_err(Error::engine(&self.path))
    }

    /// What is in the file belongs to somebody else.
    pub fn empty(&mut self) -> Result<(), Error> {
        let Some(connection) = &mut self.open else { return Ok(()) };
        let empty = connection.execute_batch("BEGIN; DELETE FROM steps; DELETE FROM series; COMMIT");
        empty.map_err(Error::engine(&self.path))
    }
}

fn load(connection: &Connection, bounds: &Bounds) -> rusqlite::Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut series: HashMap<i64, (Arc<str>, Option<Arc<str>>)> = HashMap::new();
    let mut statement = connection.prepare("SELECT id, plugin, version FROM series")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, plugin, version): (i64, String, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        loaded.last_id = loaded.last_id.max(id);
        series.insert(id, (plugin.into(), version.map(Into::into)));
    }
    let mut statement = connection.prepare(
        "SELECT series, at, calls, errors, refused, dropped, cold_starts, queue_ns, cpu_ns, memory_peak_bytes, buckets
         FROM steps WHERE width_s = ?1 AND at <= ?2 ORDER BY at DESC LIMIT ?3",
    )?;
    // Of each width as many as memory may hold of all; and none of a clock that was wrong.
    let (now, most) = (super::unix_s(SystemTime::now()), i64::try_from(bounds.steps_max).unwrap_or(i64::MAX));
    for (tier, resolution) in bounds.resolutions.iter().enumerate() {
        let first = loaded.steps.len();
        let mut rows = statement.query(params![resolution.width_s, now, most])?;
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            let Some((plugin, version)) = series.get(&id).cloned() else { continue };
            let large = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
            let slot = Slot {
                calls: row.get(2)?,
                errors: row.get(3)?,
                refused: row.get(4)?,
                dropped: row.get(5)?,
                cold_starts: row.get(6)?,
                queue_ns: large(7)?,
                cpu_ns: large(8)?,
                memory_peak_bytes: large(9)?,
                buckets: read_buckets(row.get_ref(10)?.as_str().unwrap_or_default()),
            };
            loaded.steps.push(Change { id, plugin, version, tier, at: row.get(1)?, slot });
        }
        drop(rows);
        loaded.steps[first..].reverse();
    }
    let mut notes = connection.prepare("SELECT name, value FROM notes")?;
    let notes = notes.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    loaded.notes = notes.collect::<rusqlite::Result<_>>()?;
    Ok(loaded)
}

/// Counts up to the last one that is not 0, with commas between them.
fn write_buckets(buckets: &[u32; BUCKETS]) -> String {
    let used = buckets.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    buckets[..used].iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

fn read_buckets(text: &str) -> [u32; BUCKETS] {
    let mut buckets = [0; BUCKETS];
    for (bucket, count) in buckets.iter_mut().zip(text.split(',')) {
        *bucket = count.parse().unwrap_or(0);
    }
    buckets
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
