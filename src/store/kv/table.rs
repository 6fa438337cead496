//! The operations, within a transaction that somebody else begins and ends.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Answered, KEY_BYTES_MAX, KEYS_MAX, KeyValueAnswer, KeyValueEntry, KeyValueError, PAGE_KEYS_MAX,
    PLUGIN_BYTES_MAX, VALUE_BYTES_MAX,
};
use crate::model::guest::KeyValueOperation;
use crate::store::clock::{self, nanoseconds};
use crate::store::error::Error;

/// Expired entries that are cleared away with each transaction; they are invisible before that.
const SWEPT_MAX: u64 = 64;

pub(super) struct Table<'c, E> {
    pub connection: &'c Connection,
    pub now_ns: i64,
    pub engine: E,
}

/// An entry as it lies there; it may have expired.
struct Stored {
    id: i64,
    entry: KeyValueEntry,
    bytes: u64,
    expires_at_ns: Option<i64>,
}

/// What a plugin has.
#[derive(Clone, Copy, Default)]
struct Usage {
    keys: u64,
    bytes: u64,
    revision: u64,
}

impl<E: Fn(rusqlite::Error) -> Error> Table<'_, E> {
    /// Before the first change of a transaction.
    pub fn begin_changes(&self) -> Result<(), Error> {
        clock::write_down(self.connection, self.now_ns).map_err(&self.engine)?;
        self.sweep(None, SWEPT_MAX)
    }

    pub fn answer(&self, plugin: &str, operation: &KeyValueOperation) -> Answered {
        match operation {
            KeyValueOperation::Get { key } => {
                Ok(KeyValueAnswer::Entry(self.live(plugin, checked(key)?)?.map(|stored| stored.entry)))
            }
            KeyValueOperation::Set { key, value, time_to_live, if_revision } => {
                self.expect(plugin, checked(key)?, *if_revision)?;
                let expires_at_ns = time_to_live.map(|time| self.after(time));
                let revision = self.put(plugin, key, value, expires_at_ns)?;
                Ok(KeyValueAnswer::Written { revision })
            }
            KeyValueOperation::Delete { key, if_revision } => {
                self.expect(plugin, checked(key)?, *if_revision)?;
                let live = self.live(plugin, key)?;
                if let Some(stored) = &live {
                    self.remove(plugin, stored.id, stored.bytes)?;
                }
                Ok(KeyValueAnswer::Deleted(live.is_some()))
            }
            KeyValueOperation::Keys { prefix, after } => self.keys(plugin, prefix, after.as_deref()),
            KeyValueOperation::Increment { key, by } => self.increment(plugin, checked(key)?, *by),
        }
    }

    fn increment(&self, plugin: &str, key: &str, by: i64) -> Answered {
        let live = self.live(plugin, key)?;
        let number = live.as_ref().map_or(Some(0), |stored| stored.entry.value.parse::<i64>().ok());
        let value = number.and_then(|number| number.checked_add(by));
        let value = value.ok_or_else(|| KeyValueError::NotAnInteger { key: key.to_owned() })?;
        let expires_at_ns = live.and_then(|stored| stored.expires_at_ns);
        let revision = self.put(plugin, key, &value.to_string(), expires_at_ns)?;
        Ok(KeyValueAnswer::Counted { value, revision })
    }

    fn put(
        &self,
        plugin: &str,
        key: &str,
        value: &str,
        expires_at_ns: Option<i64>,
    ) -> Result<u64, KeyValueError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(KeyValueError::ValueTooLarge { bytes: value.len() });
        }
        let bytes = (key.len() + value.len()) as u64;
        let with_it = |usage: Usage, replaced: Option<u64>| Usage {
            keys: usage.keys + u64::from(replaced.is_none()),
            bytes: usage.bytes - replaced.unwrap_or(0) + bytes,
            revision: usage.revision + 1,
        };
        let replaced = self.stored(plugin, key)?.map(|stored| stored.bytes);
        let mut usage = with_it(self.usage(plugin)?, replaced);
        if usage.is_too_much() {
            self.sweep(Some(plugin), KEYS_MAX)?;
            let replaced = self.stored(plugin, key)?.map(|stored| stored.bytes);
            usage = with_it(self.usage(plugin)?, replaced);
        }
        if usage.is_too_much() {
            let Usage { keys, bytes, .. } = self.usage(plugin)?;
            return Err(KeyValueError::Full { plugin: plugin.to_owned(), keys, bytes });
        }
        self.execute(
            "INSERT INTO entries (plugin, key, value, revision, bytes, expires_at_ns)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value, revision = excluded.revision,
                 bytes = excluded.bytes, expires_at_ns = excluded.expires_at_ns",
            params![plugin, key, value, signed(usage.revision), signed(bytes), expires_at_ns],
        )?;
        self.execute(
            "INSERT INTO plugins (plugin, keys, bytes, revision) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (plugin) DO UPDATE SET keys = excluded.keys, bytes = excluded.bytes,
                 revision = excluded.revision",
            params![plugin, signed(usage.keys), signed(usage.bytes), signed(usage.revision)],
        )?;
        Ok(usage.revision)
    }

    fn keys(&self, plugin: &str, prefix: &str, after: Option<&str>) -> Answered {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT key FROM entries
                 WHERE plugin = ?1 AND key >= ?2 AND key > ?3
                     AND (expires_at_ns IS NULL OR expires_at_ns > ?4)
                 ORDER BY key",
            )
            .map_err(&self.engine)?;
        let mut rows = statement
            .query(params![plugin, prefix, after.unwrap_or_default(), self.now_ns])
            .map_err(&self.engine)?;
        let mut keys: Vec<String> = Vec::new();
        // In the order of their bytes all keys with one prefix stand together.
        while let Some(row) = rows.next().map_err(&self.engine)? {
            let key: String = row.get(0).map_err(&self.engine)?;
            if !key.starts_with(prefix) {
                break;
            }
            if keys.len() == PAGE_KEYS_MAX {
                let next = keys.last().cloned();
                return Ok(KeyValueAnswer::Keys { keys, next });
            }
            keys.push(key);
        }
        Ok(KeyValueAnswer::Keys { keys, next: None })
    }

    fn expect(&self, plugin: &str, key: &str, if_revision: Option<u64>) -> Result<(), KeyValueError> {
        let Some(expected) = if_revision else { return Ok(()) };
        let found = self.live(plugin, key)?.map_or(0, |stored| stored.entry.revision);
        if found == expected {
            return Ok(());
        }
        Err(KeyValueError::Conflict { key: key.to_owned(), expected, found })
    }

    fn live(&self, plugin: &str, key: &str) -> Result<Option<Stored>, Error> {
        let stored = self.stored(plugin, key)?;
        Ok(stored.filter(|stored| stored.expires_at_ns.is_none_or(|at| at > self.now_ns)))
    }

    fn stored(&self, plugin: &str, key: &str) -> Result<Option<Stored>, Error> {
        let query =
            "SELECT id, value, revision, bytes, expires_at_ns FROM entries WHERE plugin = ?1 AND key = ?2";
        let mut statement = self.connection.prepare_cached(query).map_err(&self.engine)?;
        statement.query_row([plugin, key], Stored::read).optional().map_err(&self.engine)
    }

    fn usage(&self, plugin: &str) -> Result<Usage, Error> {
        let query = "SELECT keys, bytes, revision FROM plugins WHERE plugin = ?1";
        let mut statement = self.connection.prepare_cached(query).map_err(&self.engine)?;
        let usage = statement.query_row([plugin], Usage::read).optional().map_err(&self.engine)?;
        Ok(usage.unwrap_or_default())
    }

    /// Clears away what has expired, of one plugin or of all.
    fn sweep(&self, plugin: Option<&str>, count_max: u64) -> Result<(), Error> {
        let expired: Vec<(i64, String, u64)> = {
            let mut statement = self
                .connection
                .prepare_cached(
                    "SELECT id, plugin, bytes FROM entries
                     WHERE expires_at_ns <= ?1 AND (?2 IS NULL OR plugin = ?2) LIMIT ?3",
                )
                .map_err(&self.engine)?;
            let rows = statement.query_map(params![self.now_ns, plugin, signed(count_max)], |row| {
                Ok((row.get(0)?, row.get(1)?, unsigned(row, 2)?))
            });
            rows.and_then(Iterator::collect).map_err(&self.engine)?
        };
        expired.into_iter().try_for_each(|(id, plugin, bytes)| self.remove(&plugin, id, bytes))
    }

    fn remove(&self, plugin: &str, id: i64, bytes: u64) -> Result<(), Error> {
        self.execute("DELETE FROM entries WHERE id = ?1", params![id])?;
        self.execute(
            "UPDATE plugins SET keys = keys - 1, bytes = bytes - ?2 WHERE plugin = ?1",
            params![plugin, signed(bytes)],
        )
    }

    fn execute(&self, query: &str, values: impl rusqlite::Params) -> Result<(), Error> {
        let statement = self.connection.prepare_cached(query);
        statement.and_then(|mut statement| statement.execute(values)).map(drop).map_err(&self.engine)
    }

    fn after(&self, time: Duration) -> i64 {
        self.now_ns.saturating_add(nanoseconds(time))
    }
}

impl Usage {
    fn read(row: &Row<'_>) -> rusqlite::Result<Usage> {
        Ok(Usage { keys: unsigned(row, 0)?, bytes: unsigned(row, 1)?, revision: unsigned(row, 2)? })
    }

    fn is_too_much(self) -> bool {
        self.keys > KEYS_MAX || self.bytes > PLUGIN_BYTES_MAX
    }
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
        Ok(Stored {
            id: row.get(0)?,
            entry: KeyValueEntry { value: row.get(1)?, revision: unsigned(row, 2)? },
            bytes: unsigned(row, 3)?,
            expires_at_ns: row.get(4)?,
        })
    }
}

fn checked(key: &str) -> Result<&str, KeyValueError> {
    match key.len() {
        1..=KEY_BYTES_MAX => Ok(key),
        bytes => Err(KeyValueError::BadKey { bytes }),
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
