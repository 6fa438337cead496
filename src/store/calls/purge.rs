//! Lets go of kept results before their time: somebody wants what they hold gone.

use rusqlite::params;

use crate::store::error::Error;
use crate::store::ledger::{PurgeFilter, Purged, empty_journal};

use super::Calls;
use super::prune::Kept;

impl Calls {
    /// Deletes results and kept replies that fit; what has not ended stays. `purged`: what the ledger found.
    pub(in crate::store) fn purge(&self, filter: &PurgeFilter, purged: &Purged) -> Result<(), Error> {
        let trace = filter.trace_id.map(|id| id.as_bytes().to_vec());
        self.write(|transaction, count| {
            let run = || {
                let mut ids: Vec<Vec<u8>> = purged.of_trace.iter().map(|id| id.as_bytes().to_vec()).collect();
                if let Some(trace) = &trace {
                    let mut statement =
                        transaction.prepare("SELECT invocation_id FROM calls WHERE trace_id = ?1")?;
                    for id in statement.query_map([trace], |row| row.get(0))? {
                        ids.push(id?);
                    }
                }
                transaction.execute(
                    "DELETE FROM calls WHERE state = 'done' AND (?1 IS NULL OR plugin = ?1)
                     AND (?2 IS NULL OR trace_id = ?2) AND (?3 IS NULL OR accepted_at_ns < ?3)",
                    params![filter.plugin, trace, filter.before_ns],
                )?;
                let of_others =
                    "output IS NOT NULL AND (?1 IS NULL OR plugin = ?1) AND (?2 IS NULL OR since_ns < ?2)";
                if trace.is_none() {
                    let sql = format!("DELETE FROM keys WHERE {of_others}");
                    transaction.execute(&sql, params![filter.plugin, filter.before_ns])?;
                }
                for id in ids {
                    let sql = format!("DELETE FROM keys WHERE {of_others} AND invocation_id = ?3");
                    transaction.execute(&sql, params![filter.plugin, filter.before_ns, id])?;
                }
                Kept::count(transaction)
            };
            count.kept = run().map_err(self.engine())?;
            Ok(())
        })?;
        let state = self.lock();
        // Unlike what is freed, what was moved within a page is not overwritten.
        state.connection.execute_batch("VACUUM").map_err(self.engine())?;
        empty_journal(&state.connection).map_err(self.engine())
    }
}
