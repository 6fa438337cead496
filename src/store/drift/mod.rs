//! `drift.db`: baselines, the counts of the windows that are judged by them, and what was found. What is in it was
//! computed by others and is only kept; a count is written as it is, never added to, so that writing it twice is
//! writing it once. All methods block on the disk, and none is on the way of a call.
//!
//! A file that is damaged is moved aside, one that was taken away is made anew; what is in memory must then be put
//! again ([`DriftStore::incarnation`]).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::Store;
use super::database::{self, Access, Schema};
use super::error::Error;
use super::folder::{DataFolder, Lock};

mod baselines;
mod events;
mod watches;

pub use baselines::{BASELINES_MAX, BaselineFilter, BaselineRow, NewBaseline, StoredBaseline};
pub use events::{EVENTS_MAX, EventFilter, StoredEvent};
pub use watches::{LoadedWatch, SavedPane, SavedWatch};

/// Longest document, a baseline or the state of a watch.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 20;

pub(super) const SCHEMA: Schema = Schema {
    durable: true,
    steps: &["
        CREATE TABLE meta (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL
        ) STRICT;

        CREATE TABLE baselines (
            place INTEGER PRIMARY KEY,
            plugin TEXT NOT NULL,
            version TEXT NOT NULL,
            id TEXT NOT NULL,
            source TEXT NOT NULL,
            created_unix_ms INTEGER NOT NULL,
            calls INTEGER NOT NULL,
            fields INTEGER NOT NULL,
            document TEXT NOT NULL,
            UNIQUE (plugin, version, id)
        ) STRICT;

        CREATE TABLE pins (
            plugin TEXT NOT NULL,
            version TEXT NOT NULL,
            id TEXT NOT NULL,
            PRIMARY KEY (plugin, version)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE watches (
            plugin TEXT NOT NULL,
            version TEXT NOT NULL,
            replica TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            state TEXT NOT NULL,
            PRIMARY KEY (plugin, version, replica)
        ) STRICT;

        CREATE TABLE panes (
            plugin TEXT NOT NULL,
            version TEXT NOT NULL,
            replica TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            pane INTEGER NOT NULL,
            counts BLOB NOT NULL,
            PRIMARY KEY (plugin, version, replica, epoch, pane)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE events (
            place INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            at_unix_ms INTEGER NOT NULL,
            type TEXT NOT NULL,
            plugin TEXT NOT NULL,
            version TEXT NOT NULL,
            document TEXT NOT NULL
        ) STRICT;
        CREATE INDEX events_by_plugin ON events (plugin, place);
    "],
};

/// What a copy of the file must not say of itself: two folders with one name could not be added up.
pub(super) const ANONYMIZE: &str = "DELETE FROM meta WHERE name = 'replica'";

/// What is kept of drift. Cheap to share behind an `Arc`.
pub struct DriftStore {
    path: PathBuf,
    replica: String,
    file: Mutex<File>,
    /// The folder stays owned as long as something is written into it.
    _lock: Arc<Lock>,
}

#[derive(Default)]
struct File {
    open: Option<Connection>,
    /// Which file it was: device and inode.
    identity: Option<(u64, u64)>,
    incarnation: u64,
    set_aside: Option<PathBuf>,
}

impl DriftStore {
    /// A damaged file is moved aside, see [`DriftStore::set_aside`].
    pub fn open(store: &Store) -> Result<DriftStore, Error> {
        let mut drift = DriftStore {
            path: store.folder().drift(),
            replica: format!("{:016x}", fastrand::u64(..)),
            file: Mutex::default(),
            _lock: Arc::clone(&store.lock),
        };
        let replica = drift.read(|connection| {
            connection.query_row("SELECT value FROM meta WHERE name = 'replica'", [], |row| row.get(0))
        })?;
        drift.replica = replica;
        Ok(drift)
    }

    /// The name of this data folder among those whose counts may be added up: made once, at random.
    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// Grows when the file is another one than before, and has nothing of what was put.
    pub fn incarnation(&self) -> u64 {
        self.file().incarnation
    }

    /// Where the last damaged file is now.
    pub fn set_aside(&self) -> Option<PathBuf> {
        self.file().set_aside.clone()
    }

    /// Writes all of it, or nothing: baselines that are pinned from now on, what goes on, and what happened. Written
    /// one after the other, a kill in between would leave a state whose event nobody ever finds.
    pub fn save_all(
        &self,
        baselines: &[NewBaseline],
        states: &[SavedWatch],
        events: &[StoredEvent],
    ) -> Result<(), Error> {
        baselines.iter().try_for_each(|baseline| bounded("a baseline", &baseline.document))?;
        states.iter().try_for_each(|watch| bounded("the state of a watch", &watch.state))?;
        self.change(|transaction| {
            for baseline in baselines {
                baselines::put(transaction, baseline)?;
                baselines::pin(transaction, &baseline.plugin, &baseline.version, &baseline.id)?;
            }
            watches::write(transaction, &self.replica, states)?;
            events::add(transaction, events)
        })
    }

    /// Takes back all that is kept of a version.
    pub fn forget(&self, plugin: &str, version: &str) -> Result<(), Error> {
        self.change(|transaction| {
            for table in ["baselines", "pins", "watches", "panes", "events"] {
                let delete = format!("DELETE FROM {table} WHERE plugin = ?1 AND version = ?2");
                transaction.execute(&delete, params![plugin, version])?;
            }
            Ok(())
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let mut file = self.file();
        let connection = self.connect(&mut file)?;
        let answer = read(connection).map_err(Error::engine(&self.path));
        self.judge(&mut file, answer)
    }

    /// All of it or nothing.
    fn change<T>(
        &self,
        change: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut file = self.file();
        let connection = self.connect(&mut file)?;
        let work = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = change(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        };
        let answer = work().map_err(Error::engine(&self.path));
        self.judge(&mut file, answer)
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the file open, creating it if need be.
    fn connect<'a>(&self, file: &'a mut File) -> Result<&'a mut Connection, Error> {
        // Somebody moved or removed it: what is written now must not go to a file without a name.
        if file.identity.is_none() || file.identity != database::identity(&self.path) {
            file.open = None;
        }
        if file.open.is_none() {
            let (connection, is_new) = match self.open_file() {
                Err(Error::Corrupt { .. }) => {
                    file.set_aside = Some(database::set_aside(&self.path)?);
                    self.open_file()?
                }
                opened => opened?,
            };
            let identity = database::identity(&self.path);
            // A new file may have got the number of the one that was removed.
            if is_new || file.identity != identity {
                file.incarnation += 1;
            }
            file.identity = identity;
            file.open = Some(connection);
        }
        Ok(file.open.as_mut().expect("it was opened above"))
    }

    /// And whether it had no name yet.
    fn open_file(&self) -> Result<(Connection, bool), Error> {
        let mut connection = database::open(&self.path, &SCHEMA, Access::Owner)?;
        // Values of a version that is gone must not lie on in free pages.
        let ready = connection
            .pragma_update_and_check(None, "secure_delete", true, |row| row.get::<_, i64>(0))
            .and_then(|_| self.adopt(&mut connection));
        let is_new = ready.map_err(Error::engine(&self.path))?;
        Ok((connection, is_new))
    }

    /// A file without a name gets ours: it is new, or the copy of another one.
    fn adopt(&self, connection: &mut Connection) -> rusqlite::Result<bool> {
        let named: Option<String> = connection
            .query_row("SELECT value FROM meta WHERE name = 'replica'", [], |row| row.get(0))
            .optional()?;
        if named.is_some() {
            return Ok(false);
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("INSERT INTO meta VALUES ('replica', ?1)", [&self.replica])?;
        for table in ["watches", "panes"] {
            transaction.execute(&format!("UPDATE {table} SET replica = ?1"), [&self.replica])?;
        }
        transaction.commit()?;
        Ok(true)
    }

    /// A damaged file is not asked again, and after most faults nothing is taken for granted. A full disk takes no
    /// new journal either: what is open can still be read.
    fn judge<T>(&self, file: &mut File, answer: Result<T, Error>) -> Result<T, Error> {
        match &answer {
            Err(Error::Corrupt { .. }) => {
                file.open = None;
                file.set_aside = database::set_aside(&self.path).ok();
            }
            Ok(_) | Err(Error::DiskFull { .. } | Error::Busy { .. }) => {}
            Err(_) => file.open = None,
        }
        answer
    }
}

/// For `doctor`: what is wrong with the file.
pub(super) fn check(folder: &DataFolder) -> Result<Vec<String>, Error> {
    let path = folder.drift();
    let connection = database::open(&path, &SCHEMA, Access::Reader)?;
    database::quick_check(&connection).map_err(Error::engine(&path))
}

/// Takes over baselines and events of another file of this kind, attached as `other`. What a running server counts,
/// and what it judges by, stays.
pub(super) fn merge(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "INSERT OR IGNORE INTO main.baselines (plugin, version, id, source, created_unix_ms, calls, fields, document)
             SELECT plugin, version, id, source, created_unix_ms, calls, fields, document
             FROM other.baselines ORDER BY place;
         INSERT OR IGNORE INTO main.pins SELECT * FROM other.pins;
         INSERT OR IGNORE INTO main.events (id, at_unix_ms, type, plugin, version, document)
             SELECT id, at_unix_ms, type, plugin, version, document FROM other.events ORDER BY place;",
    )?;
    transaction.commit()
}

/// Before a backup's file takes the place of the one that is there, which is attached as `other`: what was found since
/// stays, and the folder keeps its name.
pub(super) fn keep(connection: &mut Connection) -> rusqlite::Result<()> {
    merge(connection)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "INSERT OR REPLACE INTO main.meta SELECT * FROM other.meta WHERE name = 'replica';
         UPDATE OR REPLACE main.watches SET replica = (SELECT value FROM main.meta WHERE name = 'replica');
         UPDATE OR REPLACE main.panes SET replica = (SELECT value FROM main.meta WHERE name = 'replica');",
    )?;
    transaction.commit()
}

fn bounded(what: &str, document: &str) -> Result<(), Error> {
    if document.len() <= DOCUMENT_BYTES_MAX {
        return Ok(());
    }
    Err(Error::Full { what: what.to_owned(), limit: format!("{DOCUMENT_BYTES_MAX} bytes") })
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests;
