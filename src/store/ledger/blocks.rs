//! Seals lines into blocks, each with its filter, and finds the blocks that a search has to read. Lines that are not
//! sealed yet are read by every search, so that nothing waits for the filter and a search is right at any time.

use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::grams::{Grams, Needle};

/// Lines of a block, and bytes of their texts.
pub(super) const LINES: i64 = 256;
const BYTES_MAX: usize = 64 << 10;
/// Blocks that one commit seals: twice what a commit can bring, so that a ledger of an older schema catches up.
const SEALED_MAX: usize = 8;

/// Seals what has come in since. Inside of the transaction that brought it: a filter and its lines are never apart.
/// Lines of other processes are sealed by whoever commits next.
pub(super) fn seal(transaction: &Transaction<'_>, grams: &mut Grams) -> rusqlite::Result<()> {
    for _ in 0..SEALED_MAX {
        if !seal_one(transaction, grams)? {
            break;
        }
    }
    Ok(())
}

/// Seals all that there is.
pub(super) fn seal_all(transaction: &Transaction<'_>, grams: &mut Grams) -> rusqlite::Result<()> {
    while seal_one(transaction, grams)? {}
    Ok(())
}

/// How many lines no block holds.
#[cfg(test)]
pub(super) fn unsealed(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FROM logs WHERE seq > (SELECT coalesce(max(last_seq), 0) FROM blocks)";
    connection.query_row(sql, [], |row| row.get(0))
}

fn seal_one(transaction: &Transaction<'_>, grams: &mut Grams) -> rusqlite::Result<bool> {
    let (sealed, last): (i64, i64) = transaction
        .prepare_cached(
            "SELECT coalesce((SELECT max(last_seq) FROM blocks), 0), coalesce((SELECT max(seq) FROM logs), 0)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if last - sealed < LINES {
        return Ok(false);
    }
    grams.clear();
    let mut statement = transaction.prepare_cached(
        "SELECT seq, unix_ns, severity, body, fields, plugin FROM logs WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = statement.query([sealed, LINES])?;
    let (mut last_seq, mut bytes, mut severity_max) = (sealed, 0, 0);
    let (mut oldest_ns, mut newest_ns) = (i64::MAX, 0);
    while let Some(row) = rows.next()? {
        let (seq, unix_ns, severity): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        (oldest_ns, newest_ns) = (oldest_ns.min(unix_ns), newest_ns.max(unix_ns));
        severity_max = severity_max.max(severity);
        last_seq = seq;
        for column in [3, 4] {
            if let Some(text) = row.get_ref(column)?.as_str_or_null()? {
                grams.add(text);
                bytes += text.len();
            }
        }
        if let Some(plugin) = row.get_ref(5)?.as_str_or_null()? {
            grams.add_name(plugin);
        }
        if bytes >= BYTES_MAX {
            break;
        }
    }
    transaction.prepare_cached("INSERT INTO blocks VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        last_seq,
        sealed + 1,
        oldest_ns,
        newest_ns,
        severity_max,
        grams.folded()
    ])?;
    Ok(true)
}

/// Lines that a search reads together.
pub(super) struct Candidate {
    pub seqs: RangeInclusive<i64>,
    /// None of its lines is newer.
    pub newest_ns: i64,
    /// Its filter was not asked.
    sealed: bool,
}

/// All blocks with lines of this time and severity, and those that are in none; those with the newest lines first.
pub(super) fn candidates(
    connection: &Connection,
    since_ns: i64,
    until_ns: i64,
    severity: i64,
) -> rusqlite::Result<Vec<Candidate>> {
    let sealed: i64 = connection
        .prepare_cached("SELECT coalesce(max(last_seq), 0) FROM blocks")?
        .query_row([], |row| row.get(0))?;
    let mut candidates = vec![Candidate { seqs: sealed + 1..=i64::MAX, newest_ns: i64::MAX, sealed: false }];
    let mut statement = connection.prepare_cached(
        "SELECT first_seq, last_seq, newest_ns FROM blocks
         WHERE newest_ns >= ?1 AND oldest_ns < ?2 AND severity_max >= ?3",
    )?;
    let blocks = statement.query_map([since_ns, until_ns, severity], |row| {
        Ok(Candidate { seqs: row.get(0)?..=row.get(1)?, newest_ns: row.get(2)?, sealed: true })
    })?;
    for block in blocks {
        candidates.push(block?);
    }
    candidates.sort_by_key(|candidate| std::cmp::Reverse((candidate.newest_ns, *candidate.seqs.end())));
    Ok(candidates)
}

impl Candidate {
    pub fn may_hold(&self, connection: &Connection, needle: &Needle) -> rusqlite::Result<bool> {
        if !self.sealed {
            return Ok(true);
        }
        let may = connection
            .prepare_cached("SELECT grams FROM blocks WHERE last_seq = ?1")?
            .query_row([self.seqs.end()], |row| Ok(needle.may_be_in(row.get_ref(0)?.as_blob()?)))
            .optional()?;
        Ok(may.unwrap_or(true))
    }
}

/// Forgets blocks whose lines are all gone, among the next `limit` after `after`. Returns where to go on, 0 at the end.
pub(super) fn forget_empty(connection: &Connection, after: i64, limit: i64) -> rusqlite::Result<i64> {
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT max(last_seq) FROM (SELECT last_seq FROM blocks WHERE last_seq > ?1 ORDER BY last_seq LIMIT ?2)",
        )?
        .query_row([after, limit], |row| row.get(0))?;
    let Some(last) = last else { return Ok(0) };
    // The last block says up to where lines are sealed.
    connection
        .prepare_cached(
            "DELETE FROM blocks WHERE last_seq > ?1 AND last_seq <= ?2
             AND last_seq < (SELECT max(last_seq) FROM blocks)
             AND NOT EXISTS (SELECT 1 FROM logs WHERE seq BETWEEN first_seq AND last_seq)",
        )?
        .execute([after, last])?;
    Ok(last)
}

/// What is wrong with the filters, in sentences; empty: every line is found by its texts. Reads all lines.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut blocks = connection.prepare(
        "SELECT first_seq, last_seq, oldest_ns, newest_ns, severity_max, grams FROM blocks ORDER BY last_seq",
    )?;
    let mut lines = connection
        .prepare("SELECT unix_ns, severity, body, fields, plugin FROM logs WHERE seq BETWEEN ?1 AND ?2")?;
    let mut blocks = blocks.query([])?;
    let mut grams = Grams::default();
    while let Some(block) = blocks.next()? {
        let (first, last): (i64, i64) = (block.get(0)?, block.get(1)?);
        let (oldest_ns, newest_ns, severity_max): (i64, i64, i64) =
            (block.get(2)?, block.get(3)?, block.get(4)?);
        let filter = block.get_ref(5)?.as_blob()?;
        grams.clear();
        let mut outside = false;
        let mut rows = lines.query([first, last])?;
        while let Some(row) = rows.next()? {
            let (unix_ns, severity): (i64, i64) = (row.get(0)?, row.get(1)?);
            outside |= unix_ns < oldest_ns || unix_ns > newest_ns || severity > severity_max;
            for column in [2, 3] {
                if let Some(text) = row.get_ref(column)?.as_str_or_null()? {
                    grams.add(text);
                }
            }
            if let Some(plugin) = row.get_ref(4)?.as_str_or_null()? {
                grams.add_name(plugin);
            }
        }
        if outside || !grams.is_part_of(filter) {
            problems.push(format!("the search index of log lines {first} to {last} does not know them all"));
        }
        if problems.len() >= 10 {
            break;
        }
    }
    Ok(problems)
}
