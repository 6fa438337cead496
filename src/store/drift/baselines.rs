//! Baselines: they never change, and one of them is pinned.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{DriftStore, bounded, signed, unsigned};
use crate::store::Page;
use crate::store::error::Error;

/// How many of a version are kept: the newest, and the one that is pinned.
pub const BASELINES_MAX: u32 = 20;
/// Most of them in one page.
const PAGE_MAX: u32 = 1_000;

/// A baseline that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBaseline {
    pub plugin: String,
    pub version: String,
    /// `sha256:` of its content.
    pub id: String,
    pub source: String,
    pub created_unix_ms: u64,
    pub calls: u64,
    pub fields: u64,
    pub document: String,
}

/// What a list says of a baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineRow {
    pub id: String,
    pub plugin: String,
    pub version: String,
    pub source: String,
    pub created_unix_ms: u64,
    pub calls: u64,
    pub fields: u64,
    /// The version is judged by it.
    pub pinned: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBaseline {
    pub row: BaselineRow,
    pub document: String,
}

/// What is `None` fits all.
#[derive(Clone, Debug, Default)]
pub struct BaselineFilter {
    pub plugin: String,
    pub version: Option<String>,
    pub limit: u32,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

const COLUMNS: &str = "place, id, plugin, version, source, created_unix_ms, calls, fields,
    EXISTS (SELECT 1 FROM pins WHERE pins.plugin = baselines.plugin AND pins.version = baselines.version
        AND pins.id = baselines.id) AS pinned";

impl DriftStore {
    /// Keeps a baseline. One that is there stays as it is.
    pub fn put_baseline(&self, baseline: &NewBaseline) -> Result<(), Error> {
        bounded("a baseline", &baseline.document)?;
        self.change(|transaction| put(transaction, baseline))
    }

    /// From now on a version is judged by this one of its baselines.
    pub fn pin(&self, plugin: &str, version: &str, id: &str) -> Result<(), Error> {
        let pinned = self.change(|transaction| pin(transaction, plugin, version, id))?;
        if pinned == 0 {
            return Err(Error::NotFound { what: format!("baseline {id} of {plugin} {version}") });
        }
        Ok(())
    }

    pub fn pinned(&self, plugin: &str, version: &str) -> Result<Option<StoredBaseline>, Error> {
        self.read(|connection| {
            let query = format!(
                "SELECT {COLUMNS}, document FROM baselines WHERE plugin = ?1 AND version = ?2 AND pinned"
            );
            connection.query_row(&query, params![plugin, version], stored).optional()
        })
    }

    /// Those of a plugin or of one of its versions, newest first, without what is in them.
    pub fn baselines(&self, filter: &BaselineFilter) -> Result<Page<BaselineRow>, Error> {
        let before = filter.cursor.as_deref().map(parse_cursor).transpose()?.unwrap_or(i64::MAX);
        let limit = filter.limit.clamp(1, PAGE_MAX);
        let mut found: Vec<(i64, BaselineRow)> = self.read(|connection| {
            let query = format!(
                "SELECT {COLUMNS} FROM baselines WHERE place < ?1 AND plugin = ?2 AND (?3 IS NULL OR version = ?3)
                 ORDER BY place DESC LIMIT ?4"
            );
            let values = params![before, filter.plugin, filter.version, limit + 1];
            let mut select = connection.prepare_cached(&query)?;
            select.query_map(values, |row| Ok((row.get(0)?, listed(row)?)))?.collect()
        })?;
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| has_more).map(|(place, _)| format!("b{place:x}"));
        Ok(Page { items: found.into_iter().map(|(_, baseline)| baseline).collect(), next })
    }

    /// If several versions have it, the pinned one, then the newest.
    pub fn baseline(&self, plugin: &str, id: &str) -> Result<Option<StoredBaseline>, Error> {
        self.read(|connection| {
            let query = format!(
                "SELECT {COLUMNS}, document FROM baselines WHERE plugin = ?1 AND id = ?2
                 ORDER BY pinned DESC, place DESC LIMIT 1"
            );
            connection.query_row(&query, params![plugin, id], stored).optional()
        })
    }
}

pub(super) fn put(transaction: &Transaction<'_>, baseline: &NewBaseline) -> rusqlite::Result<()> {
    let NewBaseline { plugin, version, id, source, created_unix_ms, calls, fields, document } = baseline;
    transaction.execute(
        "INSERT INTO baselines (plugin, version, id, source, created_unix_ms, calls, fields, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        params![
            plugin,
            version,
            id,
            source,
            signed(*created_unix_ms),
            signed(*calls),
            signed(*fields),
            document
        ],
    )?;
    transaction.execute(
        "DELETE FROM baselines WHERE plugin = ?1 AND version = ?2
            AND id NOT IN (SELECT id FROM pins WHERE plugin = ?1 AND version = ?2)
            AND place NOT IN (SELECT place FROM baselines WHERE plugin = ?1 AND version = ?2
                ORDER BY place DESC LIMIT ?3)",
        params![plugin, version, BASELINES_MAX],
    )?;
    Ok(())
}

/// How many there are of that id, none or one.
pub(super) fn pin(
    transaction: &Transaction<'_>,
    plugin: &str,
    version: &str,
    id: &str,
) -> rusqlite::Result<usize> {
    transaction.execute(
        "INSERT OR REPLACE INTO pins SELECT plugin, version, id FROM baselines
         WHERE plugin = ?1 AND version = ?2 AND id = ?3",
        params![plugin, version, id],
    )
}

fn listed(row: &Row<'_>) -> rusqlite::Result<BaselineRow> {
    Ok(BaselineRow {
        id: row.get("id")?,
        plugin: row.get("plugin")?,
        version: row.get("version")?,
        source: row.get("source")?,
        created_unix_ms: unsigned(row, 5)?,
        calls: unsigned(row, 6)?,
        fields: unsigned(row, 7)?,
        pinned: row.get("pinned")?,
    })
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredBaseline> {
    Ok(StoredBaseline { row: listed(row)?, document: row.get("document")? })
}

fn parse_cursor(text: &str) -> Result<i64, Error> {
    let place = text.strip_prefix('b').and_then(|hex| i64::from_str_radix(hex, 16).ok());
    place.filter(|place| *place >= 0).ok_or(Error::BadCursor)
}
