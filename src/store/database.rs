//! Opening a file of the engine: pragmas, schema versions, permissions.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::Error;
use super::folder::{create_file, sync_folder};
use super::time::unix_ns;

/// How long a writer waits for the writer of another process. Transactions are far shorter.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// What the writer of a ledger keeps in memory: trace ids are random, so each call touches another page of
/// their indexes.
const LEDGER_CACHE_KIB: i64 = 16 << 10;
/// 16 MiB between two checkpoints, instead of 4: fewer pages are written twice.
const CHECKPOINT_PAGES: i64 = 4_000;
/// The log is cut back to this after a checkpoint.
const WAL_BYTES_MAX: i64 = 16 << 20;

/// The history of one file: the n-th step leads from schema n to n + 1. Steps are only ever added.
pub(super) struct Schema {
    pub steps: &'static [&'static str],
    /// Whether a commit is on the disk when it returns; else it survives the process, and a power cut may
    /// take the last ones.
    pub durable: bool,
}

impl Schema {
    pub(super) fn version(&self) -> i64 {
        i64::try_from(self.steps.len()).expect("a handful of steps")
    }
}

/// Who opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Holds the folder's lock: creates the file and brings it up to date.
    Owner,
    /// Writes beside the owner; creates the file if there is none.
    Guest,
    Reader,
}

pub(super) fn open(path: &Path, schema: &Schema, access: Access) -> Result<Connection, Error> {
    let engine = Error::engine(path);
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if access == Access::Reader {
        if !path.exists() {
            return Err(Error::NotFound { what: format!("file `{}`", path.display()) });
        }
        flags |= OpenFlags::SQLITE_OPEN_READ_ONLY;
    } else {
        create(path)?;
        refuse_newer(path, schema)?;
        flags |= OpenFlags::SQLITE_OPEN_READ_WRITE;
    }
    let mut connection = Connection::open_with_flags(path, flags).map_err(&engine)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(&engine)?;
    connection.set_prepared_statement_cache_capacity(64);
    prepare(&mut connection, schema, access).map_err(&engine)?;
    let found = schema_version(&connection).map_err(&engine)?;
    let (file, known) = (path.to_path_buf(), schema.version());
    if found > known {
        return Err(Error::SchemaTooNew { file, found, known });
    }
    if found < known && (access == Access::Owner || (access == Access::Guest && found == 0)) {
        migrate(&mut connection, schema).map_err(&engine)?;
    } else if found < known {
        return Err(Error::SchemaTooOld { file, found, known });
    }
    Ok(connection)
}

/// Before anything may be written: settings of the engine, and closing the file, already change it.
fn refuse_newer(path: &Path, schema: &Schema) -> Result<(), Error> {
    let engine = Error::engine(path);
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, flags).map_err(&engine)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(&engine)?;
    let (found, known) = (schema_version(&connection).map_err(&engine)?, schema.version());
    if found > known { Err(Error::SchemaTooNew { file: path.to_path_buf(), found, known }) } else { Ok(()) }
}

/// Of a file that may be in use, whatever wrote it; `None`: it cannot be read.
pub(super) fn schema_version_of(path: &Path) -> Option<i64> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, flags).ok()?;
    connection.busy_timeout(BUSY_TIMEOUT).ok()?;
    schema_version(&connection).ok()
}

/// A new one that no file keeps; `name` stands for it in errors.
pub(super) fn open_in_memory(name: &Path, schema: &Schema) -> Result<Connection, Error> {
    let engine = Error::engine(name);
    let mut connection = Connection::open_in_memory().map_err(&engine)?;
    migrate(&mut connection, schema).map_err(&engine)?;
    Ok(connection)
}

pub(super) fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// All that is wrong with the file, in the engine's words; empty: sound. Reads the whole file.
pub(super) fn quick_check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA quick_check(10)")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    lines.filter(|line| !matches!(line, Ok(line) if line == "ok")).collect()
}

fn create(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    // The engine gives its journals the permissions of the file itself.
    let file = create_file(path)?;
    file.sync_all().map_err(Error::io("sync", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

fn prepare(connection: &mut Connection, schema: &Schema, access: Access) -> rusqlite::Result<()> {
    // A file from outside may not run code of its own making.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    if access == Access::Reader {
        return connection.pragma_update(None, "query_only", true);
    }
    // Has an effect on an empty file only, and only before the first page is written.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection
        .pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_MAX, |row| row.get::<_, i64>(0))?;
    connection.pragma_update(None, "synchronous", if schema.durable { "FULL" } else { "NORMAL" })?;
    if !schema.durable {
        connection.pragma_update(None, "cache_size", -LEDGER_CACHE_KIB)?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |row| {
            row.get::<_, i64>(0)
        })?;
    }
    Ok(())
}

fn migrate(connection: &mut Connection, schema: &Schema) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    let found = usize::try_from(schema_version(&transaction)?).unwrap_or(0);
    for step in schema.steps.iter().skip(found) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", schema.version())?;
    transaction.commit()
}

/// Bytes of a file of the engine with its journals.
pub(super) fn size_bytes(path: &Path) -> u64 {
    let files = ["", "-wal", "-shm"].iter().filter_map(|suffix| fs::metadata(with_suffix(path, suffix)).ok());
    files.map(|file| file.len()).sum()
}

/// Device and inode.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Moves a damaged file out of the way, journals too, for whoever wants to look into it. Nobody may have it open.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let aside = with_suffix(path, &format!(".corrupt-{}", unix_ns(SystemTime::now()) / 1_000_000));
    fs::rename(path, &aside).map_err(Error::io("rename", path))?;
    for suffix in ["-wal", "-shm"] {
        let _ = fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix));
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestChild, child_folder, say, until};
    use super::*;

    const ONE: Schema = Schema { steps: &["CREATE TABLE a (x INTEGER) STRICT"], durable: true };
    const TWO: Schema = Schema {
        steps: &["CREATE TABLE a (x INTEGER) STRICT", "ALTER TABLE a ADD COLUMN y TEXT"],
        durable: true,
    };

    #[test]
    fn the_owner_migrates_step_by_step_and_a_newer_schema_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.db");
        open(&path, &ONE, Access::Owner).unwrap().execute("INSERT INTO a VALUES (7)", []).unwrap();
        for access in [Access::Guest, Access::Reader] {
            assert!(matches!(open(&path, &TWO, access), Err(Error::SchemaTooOld { found: 1, known: 2, .. })));
        }
        let moved = open(&path, &TWO, Access::Owner).unwrap();
        let row: (i64, Option<String>) =
            moved.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, (7, None));
        assert!(matches!(
            open(&path, &ONE, Access::Owner),
            Err(Error::SchemaTooNew { found: 2, known: 1, .. })
        ));
    }

    #[test]
    fn a_newer_file_is_refused_with_both_versions_and_not_touched() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.db");
        drop(open(&path, &TWO, Access::Owner).unwrap());
        let (before, bytes) = (fs::metadata(&path).unwrap().modified().unwrap(), fs::read(&path).unwrap());
        for access in [Access::Owner, Access::Guest, Access::Reader] {
            let error = open(&path, &ONE, access).unwrap_err();
            assert_eq!(error.kind(), crate::model::kind::ErrorKind::Conflict);
            let said = format!("{error}; {}", error.help().unwrap());
            assert!(
                said.contains("schema 2") && said.contains("knows 1") && said.contains("newer"),
                "{said}"
            );
        }
        assert!(fs::read(&path).unwrap() == bytes, "it was written");
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    }

    /// Its second step takes minutes: the parent kills it on its way.
    const ENDLESS: Schema = Schema {
        steps: &[
            "CREATE TABLE a (x INTEGER) STRICT",
            "CREATE TABLE b (y INTEGER) STRICT;
             INSERT INTO b WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 1000000000)
             SELECT i FROM n",
        ],
        durable: true,
    };

    #[test]
    fn child_that_migrates() {
        let Some(folder) = child_folder() else { return };
        say(format_args!("begun"));
        drop(open(&folder.join("x.db"), &ENDLESS, Access::Owner));
    }

    #[test]
    fn a_killed_migration_leaves_the_old_version() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.db");
        open(&path, &ONE, Access::Owner).unwrap().execute("INSERT INTO a VALUES (7)", []).unwrap();
        let mut child = TestChild::start("store::database::tests::child_that_migrates", temp.path());
        child.hear().expect("the child works");
        // Half-done work has reached the disk: more than the cache holds was written.
        until("the step has written", || size_bytes(&path) > 8 << 20);
        child.kill();
        let connection = open(&path, &ONE, Access::Owner).unwrap();
        assert_eq!(schema_version(&connection).unwrap(), 1);
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
        drop(connection);
        let moved = open(&path, &TWO, Access::Owner).unwrap();
        assert_eq!(moved.query_row("SELECT x FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
    }

    /// A step that fails takes the whole migration back.
    #[test]
    fn a_migration_is_one_transaction() {
        const BROKEN: Schema = Schema {
            steps: &[
                "CREATE TABLE a (x INTEGER) STRICT",
                "CREATE TABLE b (y INTEGER) STRICT",
                "CREATE NONSENSE",
            ],
            durable: true,
        };
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.db");
        drop(open(&path, &ONE, Access::Owner).unwrap());
        assert!(matches!(open(&path, &BROKEN, Access::Owner), Err(Error::Database { .. })));
        let connection = open(&path, &ONE, Access::Owner).unwrap();
        assert!(connection.prepare("SELECT y FROM b").is_err());
    }

    #[test]
    fn a_new_file_is_private_and_can_shrink() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.db");
        let connection = open(&path, &ONE, Access::Guest).unwrap();
        let vacuum: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0)).unwrap();
        assert_eq!(vacuum, 2);
        for file in ["x.db", "x.db-wal", "x.db-shm"] {
            let mode = fs::metadata(temp.path().join(file)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{file}");
        }
    }

    #[test]
    fn rubbish_is_called_damaged() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.db");
        fs::write(&path, [7; 8192]).unwrap();
        assert!(matches!(open(&path, &ONE, Access::Owner), Err(Error::Corrupt { .. })));
    }
}
