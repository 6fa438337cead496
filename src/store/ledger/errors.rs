//! Failed calls, grouped: how many from the exact counts, and the newest of them that has a row as an example.

use std::collections::HashMap;
use std::time::SystemTime;

use rusqlite::{OptionalExtension, Transaction, params};
use serde::Serialize;

use crate::model::kind::{Blame, ErrorKind};
use crate::store::error::Error;
use crate::store::time::{rfc3339, unix_ns};

use super::invocations::{invocation_id, trace_id_text};
use super::reader::Reader;

/// Groups of an answer.
const GROUPS_MAX: usize = 200;
const NS_PER_MINUTE: i64 = 60_000_000_000;

#[derive(Clone, Debug, Default)]
pub struct ErrorFilter {
    pub plugin: Option<String>,
    pub since: Option<SystemTime>,
    pub until: Option<SystemTime>,
    pub blame: Option<Blame>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ErrorGroups {
    /// The one that was seen last in front.
    pub items: Vec<ErrorGroup>,
    /// Groups beyond those.
    pub more: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct ErrorGroup {
    pub plugin: String,
    pub kind: String,
    pub blame: &'static str,
    pub count: u64,
    pub versions: Vec<String>,
    pub first_seen: String,
    pub last_seen: String,
    pub message: String,
    pub example: ErrorExample,
}

#[derive(Clone, Debug, Serialize)]
pub struct ErrorExample {
    pub invocation_id: String,
    pub trace_id: String,
    pub version: Option<String>,
}

#[derive(Default)]
struct Sum {
    calls: i64,
    versions: Vec<String>,
    first_ns: i64,
    last_ns: i64,
}

impl Reader {
    /// By plugin and kind. A call counts by when it ended, at the edges of the time to the minute; to the hour where
    /// that is longer than a day ago. A group of which no call has a row any more is left out.
    pub fn errors(&self, filter: &ErrorFilter) -> Result<ErrorGroups, Error> {
        let since_ns = filter.since.map_or(0, unix_ns);
        let until_ns = filter.until.map_or(i64::MAX, unix_ns);
        self.query(|transaction| {
            let mut sums: Vec<((String, ErrorKind), Sum)> =
                sums(transaction, filter, since_ns, until_ns)?.into_iter().collect();
            sums.sort_by(|a, b| b.1.last_ns.cmp(&a.1.last_ns).then_with(|| a.0.0.cmp(&b.0.0)));
            let mut items = Vec::new();
            let mut more = 0;
            for ((plugin, kind), sum) in sums {
                if items.len() == GROUPS_MAX {
                    more += 1;
                    continue;
                }
                items.extend(group(transaction, plugin, kind, sum, until_ns)?);
            }
            Ok(ErrorGroups { items, more })
        })
    }
}

fn sums(
    transaction: &Transaction<'_>,
    filter: &ErrorFilter,
    since_ns: i64,
    until_ns: i64,
) -> rusqlite::Result<HashMap<(String, ErrorKind), Sum>> {
    let mut statement = transaction.prepare_cached(
        "SELECT plugin, kind, version, sum(calls), min(first_ns), max(last_ns) FROM counts
         WHERE minute >= ?1 AND minute <= ?2 AND outcome = 'failed' AND last_ns >= ?3 AND first_ns < ?4
             AND (?5 IS NULL OR plugin = ?5)
         GROUP BY 1, 2, 3",
    )?;
    // Where minutes were added up, the hour stands at its beginning.
    let from = since_ns / NS_PER_MINUTE / 60 * 60;
    let mut rows =
        statement.query(params![from, until_ns / NS_PER_MINUTE, since_ns, until_ns, filter.plugin])?;
    let mut sums: HashMap<(String, ErrorKind), Sum> = HashMap::new();
    while let Some(row) = rows.next()? {
        let kind = ErrorKind::parse(row.get_ref(1)?.as_str()?).unwrap_or(ErrorKind::Internal);
        if filter.blame.is_some_and(|blame| blame != kind.blame()) {
            continue;
        }
        let (version, calls): (String, i64) = (row.get(2)?, row.get(3)?);
        let (first_ns, last_ns): (i64, i64) = (row.get(4)?, row.get(5)?);
        let sum =
            sums.entry((row.get(0)?, kind)).or_insert_with(|| Sum { first_ns, last_ns, ..Sum::default() });
        sum.calls += calls;
        sum.first_ns = sum.first_ns.min(first_ns);
        sum.last_ns = sum.last_ns.max(last_ns);
        if !version.is_empty() {
            sum.versions.push(version);
        }
    }
    Ok(sums)
}

fn group(
    transaction: &Transaction<'_>,
    plugin: String,
    kind: ErrorKind,
    sum: Sum,
    until_ns: i64,
) -> rusqlite::Result<Option<ErrorGroup>> {
    let example = transaction
        .prepare_cached(
            "SELECT invocation_id, trace_id, version, error_message FROM invocations INDEXED BY invocations_failed
             WHERE plugin = ?1 AND error_kind = ?2 AND error_kind IS NOT NULL AND created_at_ns < ?3
             ORDER BY created_at_ns DESC LIMIT 1",
        )?
        .query_row(params![plugin, kind.as_str(), until_ns], |row| {
            let example = ErrorExample {
                invocation_id: invocation_id(row.get(0)?).to_string(),
                trace_id: trace_id_text(row.get(1)?),
                version: row.get(2)?,
            };
            Ok((example, row.get::<_, Option<String>>(3)?.unwrap_or_default()))
        })
        .optional()?;
    let mut versions = sum.versions;
    versions.sort();
    versions.dedup();
    Ok(example.map(|(example, message)| ErrorGroup {
        plugin,
        kind: kind.as_str().to_owned(),
        blame: kind.blame().as_str(),
        count: sum.calls.unsigned_abs(),
        versions,
        first_seen: rfc3339(sum.first_ns),
        last_seen: rfc3339(sum.last_ns),
        message,
        example,
    }))
}
