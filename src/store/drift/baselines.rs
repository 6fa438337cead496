//! Baselines: they never change, and one of them is pinned.

use rusqlite::{OptionalExtension, Row, params};

use super::{DriftStore, bounded, signed, unsigned};
use crate::store::error::Error;

/// How many of a version are kept: the newest, and the one that is pinned.
pub const BASELINES_MAX: u32 = 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBaseline {
    /// `sha256:` of its content.
    pub id: String,
    pub plugin: String,
    pub version: String,
    pub source: String,
    pub created_unix_ms: u64,
    /// The version is judged by it.
    pub pinned: bool,
    pub document: String,
}

const SELECT: &str = "
    SELECT id, plugin, version, source, created_unix_ms, document,
        EXISTS (SELECT 1 FROM pins WHERE pins.plugin = baselines.plugin AND pins.version = baselines.version
            AND pins.id = baselines.id) AS pinned
    FROM baselines";

impl DriftStore {
    /// Keeps a baseline. One that is there stays as it is.
    pub fn put_baseline(
        &self,
        plugin: &str,
        version: &str,
        id: &str,
        created_unix_ms: u64,
        source: &str,
        document: &str,
    ) -> Result<(), Error> {
        bounded("a baseline", document)?;
        self.change(|transaction| {
            transaction.execute(
                "INSERT INTO baselines (plugin, version, id, source, created_unix_ms, document)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                params![plugin, version, id, source, signed(created_unix_ms), document],
            )?;
            transaction.execute(
                "DELETE FROM baselines WHERE plugin = ?1 AND version = ?2
                    AND id NOT IN (SELECT id FROM pins WHERE plugin = ?1 AND version = ?2)
                    AND place NOT IN (SELECT place FROM baselines WHERE plugin = ?1 AND version = ?2
                        ORDER BY place DESC LIMIT ?3)",
                params![plugin, version, BASELINES_MAX],
            )?;
            Ok(())
        })
    }

    /// From now on a version is judged by this one of its baselines.
    pub fn pin(&self, plugin: &str, version: &str, id: &str) -> Result<(), Error> {
        let pinned = self.change(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO pins SELECT plugin, version, id FROM baselines
                 WHERE plugin = ?1 AND version = ?2 AND id = ?3",
                params![plugin, version, id],
            )
        })?;
        if pinned == 0 {
            return Err(Error::NotFound { what: format!("baseline {id} of {plugin} {version}") });
        }
        Ok(())
    }

    pub fn pinned(&self, plugin: &str, version: &str) -> Result<Option<StoredBaseline>, Error> {
        self.read(|connection| {
            let query = format!("{SELECT} WHERE plugin = ?1 AND version = ?2 AND pinned");
            connection.query_row(&query, params![plugin, version], read).optional()
        })
    }

    /// Those of a plugin or of one of its versions, newest first.
    pub fn baselines(&self, plugin: &str, version: Option<&str>) -> Result<Vec<StoredBaseline>, Error> {
        self.read(|connection| {
            let query =
                format!("{SELECT} WHERE plugin = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY place DESC");
            connection.prepare_cached(&query)?.query_map(params![plugin, version], read)?.collect()
        })
    }

    /// If several versions have it, the pinned one, then the newest.
    pub fn baseline(&self, plugin: &str, id: &str) -> Result<Option<StoredBaseline>, Error> {
        self.read(|connection| {
            let query =
                format!("{SELECT} WHERE plugin = ?1 AND id = ?2 ORDER BY pinned DESC, place DESC LIMIT 1");
            connection.query_row(&query, params![plugin, id], read).optional()
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredBaseline> {
    Ok(StoredBaseline {
        id: row.get(0)?,
        plugin: row.get(1)?,
        version: row.get(2)?,
        source: row.get(3)?,
        created_unix_ms: unsigned(row, 4)?,
        document: row.get(5)?,
        pinned: row.get(6)?,
    })
}
