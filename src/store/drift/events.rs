//! What was found, newest first.

use rusqlite::{Row, Transaction, params};

use super::{DriftStore, signed, unsigned};
use crate::store::Page;
use crate::store::error::Error;

/// How many are kept, of all plugins.
pub const EVENTS_MAX: u32 = 10_000;
/// Most of them in one page.
const PAGE_MAX: u32 = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub id: String,
    pub at_unix_ms: u64,
    pub kind: String,
    pub plugin: String,
    pub version: String,
    pub document: String,
}

/// What is `None` fits all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub plugin: Option<String>,
    pub version: Option<String>,
    pub kind: Option<String>,
    pub limit: u32,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

impl DriftStore {
    /// One that is there already is not added again.
    pub fn add_events(&self, events: &[StoredEvent]) -> Result<(), Error> {
        self.change(|transaction| add(transaction, events))
    }

    /// Those that fit, newest first.
    pub fn events(&self, filter: &EventFilter) -> Result<Page<StoredEvent>, Error> {
        let before = filter.cursor.as_deref().map(parse_cursor).transpose()?.unwrap_or(i64::MAX);
        let limit = filter.limit.clamp(1, PAGE_MAX);
        let mut found: Vec<(i64, StoredEvent)> = self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT place, id, at_unix_ms, type, plugin, version, document FROM events
                 WHERE place < ?1 AND (?2 IS NULL OR plugin = ?2) AND (?3 IS NULL OR version = ?3)
                     AND (?4 IS NULL OR type = ?4)
                 ORDER BY place DESC LIMIT ?5",
            )?;
            let values = params![before, filter.plugin, filter.version, filter.kind, limit + 1];
            select.query_map(values, |row| Ok((row.get(0)?, read(row)?)))?.collect()
        })?;
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| has_more).map(|(place, _)| format!("d{place:x}"));
        Ok(Page { items: found.into_iter().map(|(_, event)| event).collect(), next })
    }
}

pub(super) fn add(transaction: &Transaction<'_>, events: &[StoredEvent]) -> rusqlite::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO events (id, at_unix_ms, type, plugin, version, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for StoredEvent { id, at_unix_ms, kind, plugin, version, document } in events {
        insert.execute(params![id, signed(*at_unix_ms), kind, plugin, version, document])?;
    }
    transaction.execute(
        "DELETE FROM events WHERE place <= (SELECT place FROM events ORDER BY place DESC LIMIT 1 OFFSET ?1)",
        [EVENTS_MAX],
    )?;
    Ok(())
}

/// From the second column on.
fn read(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        id: row.get(1)?,
        at_unix_ms: unsigned(row, 2)?,
        kind: row.get(3)?,
        plugin: row.get(4)?,
        version: row.get(5)?,
        document: row.get(6)?,
    })
}

fn parse_cursor(text: &str) -> Result<i64, Error> {
    let place = text.strip_prefix('d').and_then(|hex| i64::from_str_radix(hex, 16).ok());
    place.filter(|place| *place >= 0).ok_or(Error::BadCursor)
}
