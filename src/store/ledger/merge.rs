//! Takes over what another ledger holds: nothing that is here goes, nothing comes twice.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::cells::{CALL_GONE, Changes, LINE_GONE, OPERATION_GONE};

/// So many rows share one transaction: who writes beside this gets his turn.
const STEP_ROWS: i64 = 500;

/// From the database that is attached as `other`, which has the same tables.
pub fn merge(connection: &mut Connection) -> rusqlite::Result<()> {
    keyed_by_time(
        connection,
        "invocations",
        "created_at_ns",
        "o.invocation_id = m.invocation_id",
        Some("recordings"),
    )?;
    keyed_by_time(connection, "operations", "start_ns", "o.trace_id = m.trace_id AND o.span = m.span", None)?;
    logs(connection)?;
    counts(connection)
}

/// A table whose key is a time, which another row may have here: then the next free one is taken.
fn keyed_by_time(
    connection: &mut Connection,
    table: &str,
    time: &str,
    same: &str,
    companion: Option<&str>,
) -> rusqlite::Result<()> {
    let columns = columns(connection, table)?;
    let companion = companion.map(|name| Ok::<_, rusqlite::Error>((name, self::columns(connection, name)?)));
    let companion = companion.transpose()?;
    let mut after = i64::MIN;
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let times: Vec<i64> = transaction
            .prepare_cached(&format!(
                "SELECT {time} FROM other.{table} WHERE {time} > ?1 ORDER BY 1 LIMIT ?2"
            ))?
            .query_map([after, STEP_ROWS], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let Some(last) = times.last() else { return Ok(()) };
        after = *last;
        let mut changes = Changes::default();
        for from in times {
            let known = transaction
                .prepare_cached(&format!(
                    "SELECT 1 FROM other.{table} o JOIN main.{table} m ON {same} WHERE o.{time} = ?1"
                ))?
                .exists([from])?;
            if known {
                continue;
            }
            let mut to = from;
            let mut taken =
                transaction.prepare_cached(&format!("SELECT 1 FROM main.{table} WHERE {time} = ?1"))?;
            while taken.exists([to])? {
                to += 1;
            }
            for (table, columns) in
                [(table, &columns)].into_iter().chain(companion.as_ref().map(|(t, c)| (*t, c)))
            {
                transaction
                    .prepare_cached(&format!(
                        "INSERT OR REPLACE INTO main.{table} SELECT ?1, {columns} FROM other.{table} WHERE {time} = ?2"
                    ))?
                    .execute([to, from])?;
            }
            let came = if table == "invocations" { CALL_GONE } else { OPERATION_GONE };
            transaction
                .prepare_cached(&format!("SELECT {came} FROM main.{table} WHERE {time} = ?1"))?
                .query_row([to], |row| changes.came(row))?;
        }
        changes.write(&transaction)?;
        transaction.commit()?;
    }
}

/// Log lines have no identity but what they say and when.
fn logs(connection: &mut Connection) -> rusqlite::Result<()> {
    let columns = columns(connection, "logs")?;
    let mut after = i64::MIN;
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last: Option<i64> = transaction
            .prepare_cached(
                "SELECT max(seq) FROM (SELECT seq FROM other.logs WHERE seq > ?1 ORDER BY seq LIMIT ?2)",
            )?
            .query_row([after, STEP_ROWS], |row| row.get(0))
            .optional()?
            .flatten();
        let Some(last) = last else { return Ok(()) };
        let mut changes = Changes::default();
        {
            let mut statement = transaction.prepare_cached(&format!(
                "INSERT INTO main.logs ({columns}) SELECT {columns} FROM other.logs o WHERE seq > ?1 AND seq <= ?2
                 AND NOT EXISTS (SELECT 1 FROM main.logs m WHERE m.unix_ns = o.unix_ns AND m.body = o.body
                 AND m.invocation_id IS o.invocation_id AND m.span_id IS o.span_id AND m.plugin IS o.plugin
                 AND m.fields IS o.fields) RETURNING {LINE_GONE}"
            ))?;
            let mut rows = statement.query(params![after, last])?;
            while let Some(row) = rows.next()? {
                changes.came(row)?;
            }
        }
        changes.write(&transaction)?;
        transaction.commit()?;
        after = last;
    }
}

/// Where the other one counted more calls in an hour than this one, it knows more: a backup of this ledger counted the
/// same calls.
fn counts(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "INSERT INTO main.counts
             SELECT o.hour * 60, o.plugin, o.version, o.outcome, o.kind, o.calls - coalesce(m.calls, 0), o.first_ns,
                    o.last_ns
             FROM (SELECT minute / 60 AS hour, plugin, version, outcome, kind, sum(calls) AS calls,
                          min(first_ns) AS first_ns, max(last_ns) AS last_ns
                   FROM other.counts GROUP BY 1, 2, 3, 4, 5) o
             LEFT JOIN (SELECT minute / 60 AS hour, plugin, version, outcome, kind, sum(calls) AS calls
                   FROM main.counts GROUP BY 1, 2, 3, 4, 5) m USING (hour, plugin, version, outcome, kind)
             WHERE o.calls > coalesce(m.calls, 0)
             ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, first_ns = min(first_ns, excluded.first_ns),
                 last_ns = max(last_ns, excluded.last_ns);
         INSERT INTO main.seen SELECT plugin, calls FROM other.seen WHERE true
             ON CONFLICT DO UPDATE SET calls = max(calls, excluded.calls);
         INSERT INTO main.facts SELECT name, value FROM other.facts WHERE true
             ON CONFLICT DO UPDATE SET value = max(value, excluded.value);",
    )?;
    transaction.commit()
}

/// All but the first, which is the key.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<String> {
    let mut statement =
        connection.prepare("SELECT name FROM pragma_table_info(?1) WHERE cid > 0 ORDER BY cid")?;
    let names = statement.query_map([table], |row| row.get::<_, String>(0))?;
    Ok(names.collect::<rusqlite::Result<Vec<_>>>()?.join(", "))
}
