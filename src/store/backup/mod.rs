//! Backups: a consistent copy of all that a data folder keeps, as one `.tar.gz`, and the way back. Secrets and
//! tokens are not part of it: they lie outside of the data folder.
//!
//! Read `snapshot.rs` (what is copied, beside a running server), `archive.rs` (the file: a stranger's bytes when it
//! comes back), then `staged.rs` (how it takes the place of what is there, as a whole or not at all).

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::calls;
use super::database::{self, Access, Schema};
use super::drift;
use super::error::Error;
use super::kv;
use super::ledger;
use super::registry;

mod archive;
mod snapshot;
mod staged;

pub use archive::verify;
pub use snapshot::Snapshot;
pub use staged::Staged;

pub(super) use staged::finish;

/// Largest backup file that is taken in.
pub const BACKUP_BYTES_MAX: u64 = 16 << 30;
/// Folders of work in progress; what a killed process left of them goes at the next open.
const WORK_PREFIX: &str = ".backup-";
/// This much of the disk is left to the calls that go on meanwhile.
const RESERVE_BYTES: u64 = 64 << 20;
/// `spanglass.lock` of the data folder: kept as it is.
const LOCK_FILE: &str = "spanglass.lock";
const MANIFEST_NAME: &str = "backup.json";
const FORMAT: u32 = 1;

/// A file of the engine, and what becomes of its rows.
struct Database {
    name: &'static str,
    schema: &'static Schema,
    /// Into the file of a running server: takes over the rows of the backup's, which is attached as `other`.
    import: Option<Import>,
    /// Into the backup's file, before it takes the place of the one that is there, which is attached as `other`:
    /// rows of the latter that stay.
    keep: Option<Import>,
    /// Of the copy: what must not go with it.
    leave_out: Option<&'static str>,
}

type Import = fn(&mut Connection) -> rusqlite::Result<()>;

/// The first must be there. Versions of plugins come back through the host, so that they are deployed.
const DATABASES: &[Database] = &[
    Database {
        name: "registry.db",
        schema: &registry::SCHEMA,
        import: Some(|connection| replace_tables(connection, &["documents"])),
        keep: None,
        leave_out: None,
    },
    Database {
        name: "ledger.db",
        schema: &ledger::SCHEMA,
        import: Some(ledger::merge),
        keep: Some(ledger::merge),
        leave_out: None,
    },
    Database {
        name: "kv.db",
        schema: &kv::SCHEMA,
        import: Some(|connection| replace_tables(connection, &["entries", "plugins"])),
        keep: None,
        leave_out: None,
    },
    Database {
        name: "drift.db",
        schema: &drift::SCHEMA,
        import: Some(drift::merge),
        keep: Some(drift::keep),
        leave_out: Some(drift::ANONYMIZE),
    },
    // What a running server has acknowledged since is worth more than what once waited: its queue stays as it is.
    Database {
        name: "calls.db",
        schema: &calls::SCHEMA,
        import: None,
        keep: Some(calls::keep),
        leave_out: None,
    },
];

/// `backup.json`, the last part of the archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub format: u32,
    pub created_at: String,
    /// The version of the program that wrote it.
    pub spanglass: String,
    pub registrations: usize,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
    /// Of a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<i64>,
}

/// What a part may be called. Nothing else comes out of an archive.
#[derive(Clone, Copy)]
enum PartKind {
    Database(&'static Database),
    Package,
    LockFile,
}

impl PartKind {
    fn of(name: &str) -> Option<PartKind> {
        if let Some(database) = DATABASES.iter().find(|database| database.name == name) {
            return Some(PartKind::Database(database));
        }
        if name == LOCK_FILE {
            return Some(PartKind::LockFile);
        }
        let hex = name.strip_prefix("packages/")?.strip_suffix(".zip")?;
        super::Digest::parse(&format!("sha256:{hex}")).ok().map(|_| PartKind::Package)
    }
}

/// The rows of these tables become those of `other`, in one transaction.
pub(super) fn replace_tables(connection: &mut Connection, tables: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for table in tables {
        transaction.execute_batch(&format!(
            "DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM other.{table}"
        ))?;
    }
    transaction.commit()
}

/// Opens `into` with `from` attached as `other`. Both have the schema of this program.
fn import(database: &Database, rows: Import, into: &Path, from: &Path, access: Access) -> Result<(), Error> {
    let engine = Error::engine(into);
    let mut connection = database::open(into, database.schema, access)?;
    connection.execute("ATTACH ?1 AS other", [&*from.to_string_lossy()]).map_err(&engine)?;
    rows(&mut connection).map_err(&engine)
}

/// A folder that goes with its owner.
struct Work(PathBuf);

impl Work {
    fn new(folder: &Path) -> Result<Work, Error> {
        let path = folder.join(super::packages::unique_name(WORK_PREFIX));
        super::folder::create_folder(&path)?;
        let work = Work(path);
        super::folder::create_folder(&work.0.join("packages"))?;
        Ok(work)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn room(folder: &super::DataFolder, bytes: u64) -> Result<(), Error> {
    if folder.available_bytes()? < bytes.saturating_add(RESERVE_BYTES) {
        return Err(Error::DiskFull { file: folder.path().to_path_buf() });
    }
    Ok(())
}

fn bad(detail: impl Into<String>) -> Error {
    Error::BadBackup { detail: detail.into() }
}

#[cfg(test)]
mod tests;
