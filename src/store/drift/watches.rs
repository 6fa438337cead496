//! What was counted: by version, by the folder that counted (replica), by the time since it began to (epoch), and by
//! pane. Counts are absolute, so a pane can be written again and again, and those of several replicas can be added.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{DriftStore, bounded, signed, unsigned};
use crate::store::error::Error;

/// What is written of a version: its state, and the panes that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedWatch {
    pub plugin: String,
    pub version: String,
    pub state: String,
    /// Panes of other epochs are over.
    pub epoch: u64,
    pub panes: Vec<SavedPane>,
    /// Panes before this one are over.
    pub keep_from: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedPane {
    pub pane: u64,
    pub counts: Vec<u32>,
}

/// What was written, panes in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedWatch {
    pub state: String,
    pub epoch: u64,
    pub panes: Vec<SavedPane>,
}

impl DriftStore {
    /// Writes all of it, or nothing.
    pub fn save(&self, saved: &[SavedWatch]) -> Result<(), Error> {
        saved.iter().try_for_each(|watch| bounded("the state of a watch", &watch.state))?;
        self.change(|transaction| write(transaction, self.replica(), saved))
    }

    pub fn load(&self, plugin: &str, version: &str) -> Result<Option<LoadedWatch>, Error> {
        self.read(|connection| {
            let replica = self.replica();
            let watch: Option<(String, u64)> = connection
                .prepare_cached(
                    "SELECT state, epoch FROM watches WHERE plugin = ?1 AND version = ?2 AND replica = ?3",
                )?
                .query_row(params![plugin, version, replica], |row| Ok((row.get(0)?, unsigned(row, 1)?)))
                .optional()?;
            let Some((state, epoch)) = watch else { return Ok(None) };
            let panes = connection
                .prepare_cached(
                    "SELECT pane, counts FROM panes
                     WHERE plugin = ?1 AND version = ?2 AND replica = ?3 AND epoch = ?4 ORDER BY pane",
                )?
                .query_map(params![plugin, version, replica, signed(epoch)], |row| {
                    let counts = row.get_ref(1)?.as_blob().unwrap_or_default();
                    Ok(SavedPane { pane: unsigned(row, 0)?, counts: decoded(counts) })
                })?
                .collect::<rusqlite::Result<Vec<SavedPane>>>()?;
            Ok(Some(LoadedWatch { state, epoch, panes }))
        })
    }
}

pub(super) fn write(
    transaction: &Transaction<'_>,
    replica: &str,
    saved: &[SavedWatch],
) -> rusqlite::Result<()> {
    let mut put_watch =
        transaction.prepare_cached("INSERT OR REPLACE INTO watches VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut put_pane =
        transaction.prepare_cached("INSERT OR REPLACE INTO panes VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut end_panes = transaction.prepare_cached(
        "DELETE FROM panes WHERE plugin = ?1 AND version = ?2 AND replica = ?3 AND (epoch <> ?4 OR pane < ?5)",
    )?;
    for SavedWatch { plugin, version, state, epoch, panes, keep_from } in saved {
        let epoch = signed(*epoch);
        put_watch.execute(params![plugin, version, replica, epoch, state])?;
        for SavedPane { pane, counts } in panes {
            let counts = encoded(counts);
            put_pane.execute(params![plugin, version, replica, epoch, signed(*pane), counts])?;
        }
        end_panes.execute(params![plugin, version, replica, epoch, signed(*keep_from)])?;
    }
    Ok(())
}

/// Four bytes a count, the lowest first.
fn encoded(counts: &[u32]) -> Vec<u8> {
    counts.iter().flat_map(|count| count.to_le_bytes()).collect()
}

fn decoded(bytes: &[u8]) -> Vec<u32> {
    let (counts, _) = bytes.as_chunks::<4>();
    counts.iter().map(|count| u32::from_le_bytes(*count)).collect()
}
