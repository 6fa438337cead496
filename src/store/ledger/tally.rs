//! Counts of all calls that have ended, also of those that get no row. They wait in memory until a commit takes them,
//! and come back if it fails.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::model::kind::{ErrorKind, Outcome};
use crate::telemetry::RecordingData;

const NS_PER_MINUTE: i64 = 60_000_000_000;
/// Names that nobody registered come from callers: so many are counted by themselves, the others as one.
const UNKNOWN_NAMES_MAX: usize = 32;
/// Counts that wait, while nothing can be written; beyond, only those of [`OTHER`] are told apart.
const WAITING_MAX: usize = 10_000;
pub(super) const OTHER: &str = "_other";
/// The newest time of which only a sample has rows.
pub(super) const SAMPLED_UNTIL: &str = "sampled_until_ns";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    minute: i64,
    plugin: Arc<str>,
    version: Option<Arc<str>>,
    outcome: Outcome,
    kind: Option<ErrorKind>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    calls: i64,
    first_ns: i64,
    last_ns: i64,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: HashMap<Key, Count>,
    sampled_until_ns: i64,
}

/// Names of plugins that are counted although no version of them was found.
#[derive(Debug, Default)]
pub(super) struct UnknownNames(Vec<Arc<str>>);

impl Tally {
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.sampled_until_ns == 0
    }

    pub fn add(&mut self, call: &RecordingData, unknown: &mut UnknownNames) {
        let began = i64::try_from(call.created_at_unix_ns).unwrap_or(i64::MAX);
        let at_ns = began.saturating_add(i64::try_from(call.duration.as_nanos()).unwrap_or(i64::MAX));
        let plugin = if call.version.is_some() { call.plugin.clone() } else { unknown.name(&call.plugin) };
        let key = Key {
            minute: at_ns / NS_PER_MINUTE,
            plugin,
            version: call.version.clone(),
            outcome: call.outcome,
            kind: call.error.as_ref().map(|error| error.kind),
        };
        self.merge_one(key, Count { calls: 1, first_ns: at_ns, last_ns: at_ns });
    }

    /// A call that began then gets no row.
    pub fn sampled(&mut self, began_ns: i64) {
        self.sampled_until_ns = self.sampled_until_ns.max(began_ns);
    }

    pub fn merge(&mut self, other: Tally) {
        self.sampled(other.sampled_until_ns);
        for (key, count) in other.counts {
            self.merge_one(key, count);
        }
    }

    fn merge_one(&mut self, mut key: Key, count: Count) {
        if self.counts.len() >= WAITING_MAX && !self.counts.contains_key(&key) {
            key = Key { minute: key.minute / 60 * 60, plugin: OTHER.into(), version: None, ..key };
        }
        let sum = self.counts.entry(key).or_insert(Count { calls: 0, ..count });
        sum.calls += count.calls;
        sum.first_ns = sum.first_ns.min(count.first_ns);
        sum.last_ns = sum.last_ns.max(count.last_ns);
    }

    pub fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut count = connection.prepare_cached(
            "INSERT INTO counts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, first_ns = min(first_ns, excluded.first_ns),
                 last_ns = max(last_ns, excluded.last_ns)",
        )?;
        let mut seen = connection.prepare_cached(
            "INSERT INTO seen VALUES (?1, ?2) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
        )?;
        for (key, sum) in &self.counts {
            count.execute(params![
                key.minute,
                &*key.plugin,
                key.version.as_deref().unwrap_or_default(),
                key.outcome.as_str(),
                key.kind.map_or("", |kind| kind.as_str()),
                sum.calls,
                sum.first_ns,
                sum.last_ns,
            ])?;
            seen.execute(params![&*key.plugin, sum.calls])?;
        }
        if self.sampled_until_ns > 0 {
            set_sampled_until(connection, self.sampled_until_ns)?;
        }
        Ok(())
    }
}

pub(super) fn set_sampled_until(connection: &Connection, at_ns: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO facts VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
        )?
        .execute(params![SAMPLED_UNTIL, at_ns])
        .map(drop)
}

/// Minutes become hours after this many, so that the table stays small.
const MINUTES_KEPT: i64 = 25 * 60;

/// Adds up old minutes, and forgets what is older than rows may be. Some milliseconds, once a minute.
pub(super) fn age(connection: &Connection, now_ns: i64, before_ns: i64) -> rusqlite::Result<()> {
    let old = now_ns / NS_PER_MINUTE - MINUTES_KEPT;
    let old = old / 60 * 60;
    let any = connection
        .prepare_cached("SELECT 1 FROM counts WHERE minute < ?1 AND minute % 60 != 0 LIMIT 1")?
        .exists([old])?;
    if any {
        connection
            .prepare_cached(
                "INSERT INTO counts SELECT minute / 60 * 60, plugin, version, outcome, kind, sum(calls), min(first_ns),
                     max(last_ns) FROM counts WHERE minute < ?1 AND minute % 60 != 0 GROUP BY 1, 2, 3, 4, 5
                 ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, first_ns = min(first_ns, excluded.first_ns),
                     last_ns = max(last_ns, excluded.last_ns)",
            )?
            .execute([old])?;
        connection
            .prepare_cached("DELETE FROM counts WHERE minute < ?1 AND minute % 60 != 0")?
            .execute([old])?;
    }
    let gone = before_ns / NS_PER_MINUTE / 60 * 60;
    connection.prepare_cached("DELETE FROM counts WHERE minute < ?1")?.execute([gone])?;
    Ok(())
}

impl UnknownNames {
    fn name(&mut self, name: &Arc<str>) -> Arc<str> {
        if self.0.iter().any(|known| known == name) {
            return name.clone();
        }
        if self.0.len() >= UNKNOWN_NAMES_MAX {
            return OTHER.into();
        }
        self.0.push(name.clone());
        name.clone()
    }
}
