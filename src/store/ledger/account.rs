//! What the ledger holds of what there was.

use rusqlite::OptionalExtension;
use serde::Serialize;

use crate::store::error::Error;
use crate::store::time::rfc3339;

use super::reader::Reader;
use super::tally::SAMPLED_UNTIL;

/// Plugins that are listed.
const PLUGINS_MAX: i64 = 100;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LedgerAccount {
    /// Rows that are there.
    pub invocations: u64,
    pub logs: u64,
    pub oldest: Option<String>,
    /// Of calls before this a fair sample is there, not each; `None`: each.
    pub sampled_until: Option<String>,
    /// Calls that have ended since the folder exists, exact.
    pub seen: u64,
    /// Those with most calls.
    pub plugins: Vec<PluginAccount>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PluginAccount {
    pub plugin: String,
    pub seen: u64,
    /// Calls of which there is a row.
    pub kept: u64,
}

impl Reader {
    /// Reads no rows but the sums of them: some milliseconds.
    pub fn account(&self) -> Result<LedgerAccount, Error> {
        self.query(|transaction| {
            let number = |sql: &str| -> rusqlite::Result<u64> {
                transaction
                    .prepare_cached(sql)?
                    .query_row([], |row| row.get::<_, i64>(0))
                    .map(i64::unsigned_abs)
            };
            let oldest: Option<i64> =
                transaction.query_row("SELECT min(created_at_ns) FROM invocations", [], |row| row.get(0))?;
            let sampled_until: Option<i64> = transaction
                .prepare_cached("SELECT value FROM facts WHERE name = ?1")?
                .query_row([SAMPLED_UNTIL], |row| row.get(0))
                .optional()?;
            let mut plugins = transaction.prepare_cached(
                "SELECT s.plugin, s.calls, coalesce((SELECT sum(c.rows) FROM cells c
                     WHERE c.plugin = s.plugin AND c.class <= 2), 0)
                 FROM seen s ORDER BY s.calls DESC, s.plugin LIMIT ?1",
            )?;
            let plugins = plugins.query_map([PLUGINS_MAX], |row| {
                let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok(PluginAccount { plugin: row.get(0)?, seen: number(1)?, kept: number(2)? })
            })?;
            Ok(LedgerAccount {
                invocations: number("SELECT coalesce(sum(rows), 0) FROM cells WHERE class <= 2")?,
                logs: number("SELECT coalesce(sum(rows), 0) FROM cells WHERE class IN (3, 4)")?,
                oldest: oldest.map(rfc3339),
                sampled_until: sampled_until
                    .filter(|until| oldest.is_some_and(|oldest| *until >= oldest))
                    .map(rfc3339),
                seen: number("SELECT coalesce(sum(calls), 0) FROM seen")?,
                plugins: plugins.collect::<rusqlite::Result<_>>()?,
            })
        })
    }
}
