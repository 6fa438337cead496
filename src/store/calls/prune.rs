//! What is kept of ended calls goes after its time, and results before it where there are too many.

use rusqlite::{Connection, params};

use crate::store::clock;
use crate::store::error::Error;

use super::{Bounds, Calls, KEPT_MAX, signed};

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub results: u64,
    pub result_bytes: u64,
    pub keys: u64,
    pub key_bytes: u64,
}

/// What [`Calls::prune`] took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Results and keys whose time was over.
    pub expired: u64,
    /// Results that went before their time, because there were too many.
    pub dropped: u64,
}

impl Calls {
    /// Whether there are more results than may be kept, so that [`Calls::prune`] should not wait.
    pub fn is_overfull(&self) -> bool {
        let kept = self.lock().kept;
        kept.results > self.bounds.results_max || kept.result_bytes > self.bounds.result_bytes_max
    }

    /// Call it every now and then.
    pub fn prune(&self) -> Result<Pruned, Error> {
        self.write(|transaction, count| {
            let (now_ns, Bounds { results_max, result_bytes_max, .. }) = (count.now_ns, count.bounds);
            let run = || {
                // Time goes on where nothing happens, too.
                clock::write_down(transaction, now_ns)?;
                let kept_ns = signed(u64::try_from(KEPT_MAX.as_nanos()).unwrap_or(u64::MAX));
                let before = now_ns.saturating_sub(kept_ns);
                let calls = transaction
                    .execute("DELETE FROM calls WHERE state = 'done' AND since_ns <= ?1", [before])?;
                let keys = transaction
                    .execute("DELETE FROM keys WHERE output IS NOT NULL AND since_ns <= ?1", [before])?;
                let dropped = transaction.execute(
                    "DELETE FROM calls WHERE place IN (
                         SELECT place FROM (
                             SELECT place, row_number() OVER newest AS number, sum(output_bytes) OVER newest AS bytes
                             FROM calls WHERE state = 'done' WINDOW newest AS (ORDER BY since_ns DESC, place DESC)
                         ) WHERE number > ?1 OR bytes > ?2)",
                    params![signed(results_max), signed(result_bytes_max)],
                )?;
                let kept = Kept::count(transaction)?;
                Ok((kept, Pruned { expired: (calls + keys) as u64, dropped: dropped as u64 }))
            };
            let (kept, pruned) = run().map_err(self.engine())?;
            count.kept = kept;
            Ok(pruned)
        })
    }
}

impl Kept {
    pub fn count(connection: &Connection) -> rusqlite::Result<Kept> {
        let count = |sql: &str| {
            connection.query_row(sql, [], |row| {
                let number = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok((number(0)?, number(1)?))
            })
        };
        let (results, result_bytes) =
            count("SELECT count(*), coalesce(sum(output_bytes), 0) FROM calls WHERE state = 'done'")?;
        let (keys, key_bytes) = count("SELECT count(*), coalesce(sum(output_bytes), 0) FROM keys")?;
        Ok(Kept { results, result_bytes, keys, key_bytes })
    }

    pub fn result(&mut self, output_bytes: usize) {
        self.results += 1;
        self.result_bytes += output_bytes as u64;
    }

    pub fn key_gone(&mut self, output_bytes: usize) {
        self.keys = self.keys.saturating_sub(1);
        self.key_bytes = self.key_bytes.saturating_sub(output_bytes as u64);
    }
}
