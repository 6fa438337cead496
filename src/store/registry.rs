//! Registrations and small documents: few rows, each change on the disk before it is acknowledged.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use semver::Version;

use crate::model::name::PluginName;

use super::database::{self, Access, Schema};
use super::error::Error;
use super::packages::Digest;
use super::time::{system_time, unix_ns};

pub(super) const SCHEMA: Schema = Schema {
    durable: true,
    steps: &[
        "
        CREATE TABLE registrations (
            name TEXT NOT NULL,
            version TEXT NOT NULL,
            digest TEXT NOT NULL,
            manifest TEXT NOT NULL,
            registered_at_ns INTEGER NOT NULL,
            enabled INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            UNIQUE (name, version)
        ) STRICT;
        CREATE TABLE documents (
            key TEXT NOT NULL PRIMARY KEY,
            value TEXT NOT NULL,
            revision INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
    ",
        "
        ALTER TABLE registrations ADD COLUMN held_back INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE registrations ADD COLUMN origin TEXT;
        CREATE TABLE transitions (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            version TEXT NOT NULL,
            at_ns INTEGER NOT NULL,
            from_state TEXT NOT NULL,
            to_state TEXT NOT NULL,
            cause TEXT,
            actor TEXT NOT NULL,
            reason TEXT
        ) STRICT;
        CREATE INDEX transitions_by_name ON transitions (name, seq);
    ",
    ],
};

const COLUMNS: &str =
    "name, version, digest, manifest, registered_at_ns, enabled, revision, held_back, origin";
/// Older transitions of a plugin are forgotten.
const TRANSITIONS_PER_PLUGIN_MAX: i64 = 1_000;

/// One registered version.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    pub name: PluginName,
    pub version: Version,
    pub digest: Digest,
    /// The manifest as JSON, as whoever registered it wants it back.
    pub manifest: String,
    pub registered_at: SystemTime,
    pub enabled: bool,
    /// Rolled back: it gets only the calls that name it.
    pub held_back: bool,
    /// The folder or zip in which it was found; `None` for one that somebody handed over.
    pub origin: Option<String>,
    /// 1 when registered, one more with each change.
    pub revision: u64,
}

/// A version to be registered, whose package was put before.
#[derive(Clone, Debug)]
pub struct Registering<'a> {
    pub name: &'a PluginName,
    pub version: &'a Version,
    pub digest: &'a Digest,
    pub manifest: &'a str,
    /// Where it was found. Other content under the same version is then what is there now, provided that
    /// the registered one was found there too; without an origin it is [`Error::Conflict`].
    pub origin: Option<&'a str>,
    /// On trial: it gets only the calls that name it.
    pub held_back: bool,
}

/// What [`super::Store::register`] did.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    pub registration: Registration,
    /// False: the same content was there already.
    pub created: bool,
}

/// One step in the life of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub name: PluginName,
    pub version: Version,
    pub at: SystemTime,
    pub from: String,
    pub to: String,
    pub cause: Option<String>,
    pub actor: String,
    pub reason: Option<String>,
}

/// A small JSON text under a key: what must outlive the process and is no registration, such as a rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub value: String,
    pub revision: u64,
}

/// `registry.db`.
pub(super) struct Registry {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Registry {
    pub fn open(path: &Path) -> Result<Registry, Error> {
        Registry::open_as(path, Access::Owner)
    }

    /// Beside the owner; nothing can be changed.
    pub fn open_to_read(path: &Path) -> Result<Registry, Error> {
        Registry::open_as(path, Access::Reader)
    }

    fn open_as(path: &Path, access: Access) -> Result<Registry, Error> {
        let connection = database::open(path, &SCHEMA, access)?;
        Ok(Registry { path: path.to_path_buf(), connection: Mutex::new(connection) })
    }

    /// Registers a version. Handed over by somebody it is enabled and no longer held back, also if it was
    /// there before; found in a folder, one that is there stays as it is.
    pub fn register(&self, new: &Registering<'_>) -> Result<Registered, Error> {
        let Registering { name, version, digest, manifest, origin, held_back } = *new;
        self.write(|transaction| {
            let stored = find(transaction, name, version)?.map(|row| self.read(row)).transpose()?;
            let same = stored.as_ref().is_some_and(|stored| stored.digest == *digest);
            if let Some(stored) = &stored
                && !stored.may_become(digest, origin)
            {
                return Err(stored.conflict(digest));
            }
            let now = unix_ns(SystemTime::now());
            transaction
                .prepare_cached(
                    "INSERT INTO registrations
                         (name, version, digest, manifest, registered_at_ns, enabled, revision, origin, held_back)
                     VALUES (?1, ?2, ?3, ?4, ?5, 1, 1, ?6, ?7)
                     ON CONFLICT (name, version) DO UPDATE
                     SET digest = excluded.digest, manifest = excluded.manifest,
                         enabled = enabled OR ?6 IS NULL, held_back = ?7 OR (held_back AND ?6 IS NOT NULL),
                         registered_at_ns = IIF(digest = excluded.digest, registered_at_ns, ?5),
                         revision = revision + 1
                     WHERE digest <> excluded.digest OR manifest <> excluded.manifest
                         OR (?6 IS NULL AND (held_back <> ?7 OR NOT enabled))",
                )
                .and_then(|mut insert| {
                    let (name, version) = (name.as_str(), version.to_string());
                    insert.execute(params![name, version, digest.as_str(), manifest, now, origin, held_back])
                })
                .map_err(self.engine())?;
            let registration = self.get_in(transaction, name, version)?;
            Ok(Registered { registration, created: !same })
        })
    }

    /// Holds a version back, or lets it go again.
    pub fn set_held_back(&self, name: &PluginName, version: &Version, held_back: bool) -> Result<(), Error> {
        self.write(|transaction| {
            self.get_in(transaction, name, version)?;
            transaction
                .execute(
                    "UPDATE registrations SET held_back = ?3, revision = revision + 1
                     WHERE name = ?1 AND version = ?2 AND held_back <> ?3",
                    params![name.as_str(), version.to_string(), held_back],
                )
                .map(drop)
                .map_err(self.engine())
        })
    }

    /// Writes down what happened to versions, in its order.
    pub fn record(&self, transitions: &[Transition]) -> Result<(), Error> {
        self.write(|transaction| {
            transitions.iter().try_for_each(|one| insert_transition(transaction, one)).map_err(self.engine())
        })
    }

    /// The last `limit` transitions of a plugin, newest first.
    pub fn transitions(&self, name: &PluginName, limit: u32) -> Result<Vec<Transition>, Error> {
        let connection = self.lock();
        let read = || {
            let mut select = connection.prepare_cached(
                "SELECT version, at_ns, from_state, to_state, cause, actor, reason FROM transitions
                 WHERE name = ?1 ORDER BY seq DESC LIMIT ?2",
            )?;
            let rows = select.query_map(params![name.as_str(), limit], |row| {
                let version: String = row.get(0)?;
                Ok(Version::parse(&version).ok().zip(Some((
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                    row.get(6)?,
                ))))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = read().map_err(self.engine())?;
        let transition = |(version, (at_ns, from, to, cause, actor, reason))| Transition {
            name: name.clone(),
            version,
            at: system_time(at_ns),
            from,
            to,
            cause,
            actor,
            reason,
        };
        Ok(rows.into_iter().flatten().map(transition).collect())
    }

    pub fn get(&self, name: &PluginName, version: &Version) -> Result<Option<Registration>, Error> {
        let connection = self.lock();
        let row = find(&connection, name, version)?;
        row.map(|row| self.read(row)).transpose()
    }

    /// All of them: by name, then by the precedence of versions.
    pub fn list(&self) -> Result<Vec<Registration>, Error> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM registrations ORDER BY name"))
            .map_err(self.engine())?;
        let rows = statement.query_map([], StoredRow::read).map_err(self.engine())?;
        let mut registrations = rows
            .map(|row| row.map_err(self.engine()).and_then(|row| self.read(row)))
            .collect::<Result<Vec<_>, Error>>()?;
        registrations.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.version.cmp(&b.version)));
        Ok(registrations)
    }

    pub fn set_enabled(
        &self,
        name: &PluginName,
        version: &Version,
        enabled: bool,
        if_revision: Option<u64>,
    ) -> Result<Registration, Error> {
        self.write(|transaction| {
            self.expect(transaction, name, version, if_revision)?;
            transaction
                .prepare_cached(
                    "UPDATE registrations SET enabled = ?3, revision = revision + 1
                     WHERE name = ?1 AND version = ?2 AND enabled <> ?3",
                )
                .and_then(|mut update| update.execute(params![name.as_str(), version.to_string(), enabled]))
                .map_err(self.engine())?;
            self.get_in(transaction, name, version)
        })
    }

    /// Forgets a version and returns what it was. Its package stays until nothing refers to it.
    pub fn remove(
        &self,
        name: &PluginName,
        version: &Version,
        if_revision: Option<u64>,
    ) -> Result<Registration, Error> {
        self.write(|transaction| {
            let registration = self.expect(transaction, name, version, if_revision)?;
            transaction
                .execute(
                    "DELETE FROM registrations WHERE name = ?1 AND version = ?2",
                    params![name.as_str(), version.to_string()],
                )
                .map_err(self.engine())?;
            Ok(registration)
        })
    }

    pub fn document(&self, key: &str) -> Result<Option<Document>, Error> {
        document(&self.lock(), key).map_err(self.engine())
    }

    /// Writes a document and returns its revision. `if_revision` 0 means: only if there is none yet.
    pub fn put_document(&self, key: &str, value: &str, if_revision: Option<u64>) -> Result<u64, Error> {
        self.write(|transaction| {
            self.expect_document(transaction, key, if_revision)?;
            transaction
                .query_row(
                    "INSERT INTO documents (key, value, revision) VALUES (?1, ?2, 1)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = revision + 1
                     RETURNING revision",
                    params![key, value],
                    |row| revision(row, 0),
                )
                .map_err(self.engine())
        })
    }

    /// Removes a document; one that is not there is fine, unless a revision was named.
    pub fn remove_document(&self, key: &str, if_revision: Option<u64>) -> Result<(), Error> {
        self.write(|transaction| {
            self.expect_document(transaction, key, if_revision)?;
            transaction
                .execute("DELETE FROM documents WHERE key = ?1", [key])
                .map(drop)
                .map_err(self.engine())
        })
    }

    /// What the engine finds wrong with the file.
    pub fn check(&self) -> Result<Vec<String>, Error> {
        database::quick_check(&self.lock()).map_err(self.engine())
    }

    /// One transaction, on the disk when it returns.
    fn write<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(self.engine())?;
        let result = change(&transaction)?;
        transaction.commit().map_err(self.engine())?;
        Ok(result)
    }

    fn expect(
        &self,
        connection: &Connection,
        name: &PluginName,
        version: &Version,
        if_revision: Option<u64>,
    ) -> Result<Registration, Error> {
        let registration = self.get_in(connection, name, version)?;
        match if_revision {
            Some(revision) if revision != registration.revision => {
                Err(Error::Changed { what: format!("{name} {version}") })
            }
            _ => Ok(registration),
        }
    }

    fn expect_document(
        &self,
        connection: &Connection,
        key: &str,
        if_revision: Option<u64>,
    ) -> Result<(), Error> {
        let Some(wanted) = if_revision else { return Ok(()) };
        let found = document(connection, key).map_err(self.engine())?.map_or(0, |document| document.revision);
        if found == wanted { Ok(()) } else { Err(Error::Changed { what: format!("document {key}") }) }
    }

    fn get_in(
        &self,
        connection: &Connection,
        name: &PluginName,
        version: &Version,
    ) -> Result<Registration, Error> {
        let row = find(connection, name, version)?;
        let row =
            row.ok_or_else(|| Error::NotFound { what: format!("version {version} of plugin {name}") })?;
        self.read(row)
    }

    fn read(&self, row: StoredRow) -> Result<Registration, Error> {
        let damaged = |what: &str| Error::Corrupt {
            file: self.path.clone(),
            detail: format!("registration {} {}: {what}", row.name, row.version),
        };
        Ok(Registration {
            name: PluginName::parse(&row.name).map_err(|_| damaged("bad name"))?,
            version: Version::from_str(&row.version).map_err(|_| damaged("bad version"))?,
            digest: Digest::parse(&row.digest).map_err(|_| damaged("bad digest"))?,
            registered_at: system_time(row.registered_at_ns),
            enabled: row.enabled,
            held_back: row.held_back,
            origin: row.origin,
            revision: row.revision,
            manifest: row.manifest,
        })
    }

    /// A panic of another thread left no transaction open: dropping one rolls it back.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn engine(&self) -> impl Fn(rusqlite::Error) -> Error + use<> {
        Error::engine(&self.path)
    }
}

/// A row as it lies there, not believed yet.
struct StoredRow {
    name: String,
    version: String,
    digest: String,
    manifest: String,
    registered_at_ns: i64,
    enabled: bool,
    revision: u64,
    held_back: bool,
    origin: Option<String>,
}

impl Registration {
    /// Whether this version may have that content from now on.
    pub fn may_become(&self, digest: &Digest, origin: Option<&str>) -> bool {
        self.digest == *digest || (origin.is_some() && self.origin.as_deref() == origin)
    }

    pub fn conflict(&self, offered: &Digest) -> Error {
        Error::Conflict {
            name: self.name.to_string(),
            version: self.version.to_string(),
            stored: self.digest.to_string(),
            offered: offered.to_string(),
        }
    }
}

impl StoredRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<StoredRow> {
        Ok(StoredRow {
            name: row.get(0)?,
            version: row.get(1)?,
            digest: row.get(2)?,
            manifest: row.get(3)?,
            registered_at_ns: row.get(4)?,
            enabled: row.get(5)?,
            revision: revision(row, 6)?,
            held_back: row.get(7)?,
            origin: row.get(8)?,
        })
    }
}

/// Revisions count from 1.
fn revision(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

fn find(connection: &Connection, name: &PluginName, version: &Version) -> Result<Option<StoredRow>, Error> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM registrations WHERE name = ?1 AND version = ?2"))
        .and_then(|mut select| {
            select.query_row(params![name.as_str(), version.to_string()], StoredRow::read).optional()
        })
        .map_err(Error::engine(Path::new(connection.path().unwrap_or_default())))
}

fn insert_transition(transaction: &Transaction<'_>, one: &Transition) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO transitions (name, version, at_ns, from_state, to_state, cause, actor, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            one.name.as_str(),
            one.version.to_string(),
            unix_ns(one.at),
            one.from,
            one.to,
            one.cause,
            one.actor,
            one.reason,
        ])?;
    transaction
        .prepare_cached(
            "DELETE FROM transitions WHERE name = ?1 AND seq <=
                 (SELECT seq FROM transitions WHERE name = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![one.name.as_str(), TRANSITIONS_PER_PLUGIN_MAX])
        .map(drop)
}

fn document(connection: &Connection, key: &str) -> rusqlite::Result<Option<Document>> {
    connection
        .prepare_cached("SELECT value, revision FROM documents WHERE key = ?1")?
        .query_row([key], |row| Ok(Document { value: row.get(0)?, revision: revision(row, 1)? }))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (tempfile::TempDir, Registry) {
        let temp = tempfile::tempdir().unwrap();
        let registry = Registry::open(&temp.path().join("registry.db")).unwrap();
        (temp, registry)
    }

    fn digest(byte: u8) -> Digest {
        Digest::from_sha256([byte; 32])
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn put(registry: &Registry, number: &str, byte: u8, origin: Option<&str>) -> Result<Registered, Error> {
        let (name, version, digest) = (PluginName::parse("echo").unwrap(), version(number), digest(byte));
        registry.register(&Registering {
            name: &name,
            version: &version,
            digest: &digest,
            manifest: "{}",
            origin,
            held_back: false,
        })
    }

    #[test]
    fn the_same_version_with_other_bytes_is_a_conflict() {
        let (_temp, registry) = registry();
        let name = PluginName::parse("echo").unwrap();
        assert!(put(&registry, "1.0.0", 1, None).unwrap().created);
        let again = put(&registry, "1.0.0", 1, None).unwrap();
        assert!(!again.created);
        assert_eq!(again.registration.revision, 1, "nothing changed");
        for origin in [None, Some("/plugins/echo")] {
            let other = put(&registry, "1.0.0", 2, origin).unwrap_err();
            assert!(matches!(other, Error::Conflict { .. }), "{other}");
        }
        assert_eq!(registry.get(&name, &version("1.0.0")).unwrap().unwrap().digest, digest(1));
    }

    #[test]
    fn the_list_follows_the_precedence_of_versions() {
        let (_temp, registry) = registry();
        for (name, number) in [("b", "1.0.0"), ("a", "1.10.0"), ("a", "1.9.0"), ("a", "1.10.0-rc.1")] {
            let (name, version, digest) = (PluginName::parse(name).unwrap(), version(number), digest(1));
            let new = Registering {
                name: &name,
                version: &version,
                digest: &digest,
                manifest: "{}",
                origin: None,
                held_back: false,
            };
            registry.register(&new).unwrap();
        }
        let list: Vec<_> =
            registry.list().unwrap().iter().map(|r| format!("{} {}", r.name, r.version)).collect();
        assert_eq!(list, ["a 1.9.0", "a 1.10.0-rc.1", "a 1.10.0", "b 1.0.0"]);
    }

    #[test]
    fn changes_check_the_revision() {
        let (_temp, registry) = registry();
        let (name, number) = (PluginName::parse("echo").unwrap(), version("1.0.0"));
        assert!(matches!(registry.set_enabled(&name, &number, false, None), Err(Error::NotFound { .. })));
        put(&registry, "1.0.0", 1, None).unwrap();
        let disabled = registry.set_enabled(&name, &number, false, Some(1)).unwrap();
        assert_eq!((disabled.enabled, disabled.revision), (false, 2));
        assert!(matches!(registry.remove(&name, &number, Some(1)), Err(Error::Changed { .. })));
        let enabled = put(&registry, "1.0.0", 1, None).unwrap().registration;
        assert_eq!((enabled.enabled, enabled.revision), (true, 3));
        registry.remove(&name, &number, Some(3)).unwrap();
        assert!(registry.list().unwrap().is_empty());
    }

    #[test]
    fn what_was_found_follows_its_folder_and_changes_no_decision() {
        let (_temp, registry) = registry();
        let (name, number) = (PluginName::parse("echo").unwrap(), version("1.0.0"));
        let here = Some("/plugins/echo");
        put(&registry, "1.0.0", 1, here).unwrap();
        registry.set_enabled(&name, &number, false, None).unwrap();
        registry.set_held_back(&name, &number, true).unwrap();
        assert!(!put(&registry, "1.0.0", 1, here).unwrap().created);
        let changed = put(&registry, "1.0.0", 2, here).unwrap();
        assert!(changed.created && changed.registration.digest == digest(2));
        assert!(!changed.registration.enabled && changed.registration.held_back);
        let elsewhere = put(&registry, "1.0.0", 3, Some("/plugins/other")).unwrap_err();
        assert!(matches!(elsewhere, Error::Conflict { .. }), "{elsewhere}");
        let decided = put(&registry, "1.0.0", 2, None).unwrap();
        assert!(!decided.created && decided.registration.enabled && !decided.registration.held_back);
    }

    #[test]
    fn the_newest_transitions_are_kept() {
        let (_temp, registry) = registry();
        let name = PluginName::parse("echo").unwrap();
        let transition = |number: i64| Transition {
            name: name.clone(),
            version: version("1.0.0"),
            at: SystemTime::UNIX_EPOCH,
            from: "registered".into(),
            to: "running".into(),
            cause: None,
            actor: number.to_string(),
            reason: Some("because".into()),
        };
        let all: Vec<_> = (0..TRANSITIONS_PER_PLUGIN_MAX + 5).map(transition).collect();
        registry.record(&all).unwrap();
        let kept = registry.transitions(&name, 2_000).unwrap();
        assert_eq!(kept.len(), usize::try_from(TRANSITIONS_PER_PLUGIN_MAX).unwrap());
        assert_eq!(kept[0], transition(TRANSITIONS_PER_PLUGIN_MAX + 4));
        assert_eq!(kept.last().unwrap().actor, "5");
    }

    #[test]
    fn documents_check_the_revision_too() {
        let (_temp, registry) = registry();
        assert_eq!(registry.document("rollback/echo").unwrap(), None);
        assert_eq!(registry.put_document("rollback/echo", "1", Some(0)).unwrap(), 1);
        assert!(matches!(registry.put_document("rollback/echo", "2", Some(0)), Err(Error::Changed { .. })));
        assert_eq!(registry.put_document("rollback/echo", "2", Some(1)).unwrap(), 2);
        assert_eq!(registry.document("rollback/echo").unwrap().unwrap().value, "2");
        registry.remove_document("rollback/echo", Some(2)).unwrap();
        registry.remove_document("rollback/echo", None).unwrap();
        assert_eq!(registry.document("rollback/echo").unwrap(), None);
    }
}
