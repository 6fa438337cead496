//! Calls that wait: claimed in order, and put back.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::model::ids::InvocationId;
use crate::store::error::Error;

use super::{Calls, Change, Load, NewCall, QUEUED_COLUMNS, QueuedCall, read_queued, signed};

/// Calls that stay where they are for now.
#[derive(Clone, Debug, Default)]
pub struct PassedOver {
    /// Those under which the runner died so often.
    pub deaths: Range<u32>,
    /// Those that ask for this, see [`NewCall::asked`].
    pub asked: Vec<String>,
}

/// As [`NewCall::asked`] puts it.
const ASKED: &str = "action || ' ' || coalesce(version_asked, '')";

impl NewCall {
    /// What the call asks of its plugin: an action, and a range of versions. No action has a space in it.
    pub fn asked(&self) -> String {
        format!("{} {}", self.action, self.version.as_deref().unwrap_or_default())
    }
}

impl Calls {
    /// How many calls wait, by plugin; none that has none.
    pub fn waiting(&self) -> Vec<(Arc<str>, u64)> {
        let state = self.lock();
        let waiting = state.loads.iter().filter(|(_, load)| load.waiting > 0);
        waiting.map(|(plugin, load)| (plugin.clone(), load.waiting)).collect()
    }

    /// The first calls of a plugin that wait, at most `most`; from now on they are running.
    pub fn claim(
        &self,
        plugin: &str,
        most: usize,
        passed_over: &PassedOver,
    ) -> Result<Vec<QueuedCall>, Error> {
        self.write(|transaction, count| {
            let now_ns = count.now_ns;
            let sql = format!(
                "SELECT {QUEUED_COLUMNS} FROM calls WHERE state = 'queued' AND plugin = ?1
                     AND NOT (deaths >= ?3 AND deaths < ?4)
                     AND {ASKED} NOT IN (SELECT value FROM json_each(?5)) ORDER BY place LIMIT ?2"
            );
            let PassedOver { deaths, asked } = passed_over;
            let asked = serde_json::Value::from(asked.clone()).to_string();
            let calls = transaction
                .prepare_cached(&sql)
                .and_then(|mut select| {
                    let values = params![plugin, signed(most as u64), deaths.start, deaths.end, asked];
                    let rows = select.query_map(values, |row| read_queued(row, now_ns))?;
                    rows.collect::<rusqlite::Result<Vec<_>>>()
                })
                .map_err(self.engine())?;
            for queued in &calls {
                transaction
                    .prepare_cached("UPDATE calls SET state = 'running' WHERE invocation_id = ?1")
                    .and_then(|mut update| update.execute([queued.call.ids.invocation_id.as_bytes()]))
                    .map_err(self.engine())?;
            }
            let claimed = signed(calls.len() as u64);
            let change = Change { waiting: -claimed, running: claimed, input_bytes: 0 };
            count.changes.push((plugin.into(), change));
            Ok(calls)
        })
    }

    /// A running call waits again, behind all others. False: it has ended meanwhile.
    pub fn put_back(&self, id: InvocationId, plugin: &Arc<str>, attempts: u32) -> Result<bool, Error> {
        self.write(|transaction, count| {
            let changed = transaction
                .execute(
                    "UPDATE calls SET state = 'queued', attempts = ?2, deaths = 0,
                         place = (SELECT seq FROM sqlite_sequence WHERE name = 'calls') + 1
                     WHERE invocation_id = ?1 AND state = 'running'",
                    params![id.as_bytes(), attempts],
                )
                .map_err(self.engine())?;
            if changed == 0 {
                return Ok(false);
            }
            transaction
                .execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'calls'", [])
                .map_err(self.engine())?;
            count.changes.push((plugin.clone(), Change { waiting: 1, running: -1, input_bytes: 0 }));
            Ok(true)
        })
    }
}

/// What every plugin has without an ending.
pub(super) fn loads(connection: &Connection) -> rusqlite::Result<HashMap<Arc<str>, Load>> {
    let mut select = connection.prepare(
        "SELECT plugin, count(*), sum(input_bytes) FROM calls WHERE state = 'queued' GROUP BY plugin",
    )?;
    let rows = select.query_map([], |row| {
        let number = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let load = Load { waiting: number(1)?, running: 0, input_bytes: number(2)? };
        Ok((Arc::<str>::from(row.get::<_, String>(0)?), load))
    })?;
    rows.collect()
}
