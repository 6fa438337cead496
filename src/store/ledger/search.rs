//! Looks for a text in log lines, the newest first: block by block, of those whose filter does not rule it out.

use rusqlite::types::Value;
use rusqlite::{Transaction, params_from_iter};

use crate::store::time::unix_ns;

use super::blocks;
use super::conditions::Conditions;
use super::grams::Needle;
use super::logs::{COLUMNS, StoredLog};
use super::views::LogFilter;

pub(super) struct Search<'a> {
    filter: &'a LogFilter,
    needle: Needle,
    /// All that a line must fulfil.
    conditions: &'a Conditions,
    wanted: usize,
}

impl<'a> Search<'a> {
    pub fn new(
        filter: &'a LogFilter,
        q: Option<&str>,
        conditions: &'a Conditions,
        wanted: usize,
    ) -> Search<'a> {
        Search { filter, needle: Needle::of(q, filter.plugin.as_deref()), conditions, wanted }
    }

    /// The newest `wanted` lines, newest first.
    pub fn run(&self, transaction: &Transaction<'_>) -> rusqlite::Result<Vec<StoredLog>> {
        let since_ns = self.filter.since.map_or(i64::MIN, unix_ns);
        let until_ns = self.filter.until.map_or(i64::MAX, unix_ns);
        let severity = self.filter.level.map_or(0, |level| level as i64);
        let sql = format!(
            "SELECT {COLUMNS} FROM logs NOT INDEXED WHERE seq BETWEEN ? AND ? AND {}",
            self.conditions.sql()
        );
        let mut statement = transaction.prepare_cached(&sql)?;
        let mut found: Vec<StoredLog> = Vec::new();
        for candidate in blocks::candidates(transaction, since_ns, until_ns, severity)? {
            // A block may reach back behind lines of another one: clocks of plugins, and calls that wait.
            let enough = found.len() >= self.wanted && found[self.wanted - 1].unix_ns > candidate.newest_ns;
            if enough {
                break;
            }
            if !candidate.may_hold(transaction, &self.needle)? {
                continue;
            }
            let range = [Value::from(*candidate.seqs.start()), Value::from(*candidate.seqs.end())];
            let values = range.iter().chain(self.conditions.values());
            let before = found.len();
            for line in statement.query_map(params_from_iter(values), StoredLog::read)? {
                found.push(line?);
            }
            if found.len() > before {
                found.sort_by_key(|line| std::cmp::Reverse((line.unix_ns, line.seq)));
                found.truncate(self.wanted);
            }
        }
        Ok(found)
    }
}
