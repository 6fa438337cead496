//! How many rows there are, and how large they are, by plugin, class and ten minutes: the picture that retention judges
//! by. Each change is part of the transaction that changes the rows, so that the picture is always true.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::class::Class;
use super::judge::Cell;

/// Ten minutes. The migration in `schema.rs` and retention rely on it.
pub(super) const SLOT_NS: i64 = 600_000_000_000;
/// What a row takes beside its texts, with its places in indexes.
pub(super) const CALL_BYTES: i64 = 300;
pub(super) const LINE_BYTES: i64 = 150;

/// What a `DELETE` has to return of a row for [`Changes::gone`].
pub(super) const CALL_GONE: &str = "plugin, class, created_at_ns, bytes";
pub(super) const LINE_GONE: &str = "coalesce(plugin, ''), iif(invocation_id IS NULL, 4, 3), unix_ns,
    150 + octet_length(body) + coalesce(octet_length(fields), 0)";
pub(super) const OPERATION_GONE: &str = "'', 5, start_ns, 150 + octet_length(span)";

/// Changes to the picture that wait for the end of the transaction.
#[derive(Debug, Default)]
pub(super) struct Changes(HashMap<(Arc<str>, Class, i64), (i64, i64)>);

impl Changes {
    pub fn add(&mut self, plugin: &Arc<str>, class: Class, at_ns: i64, rows: i64, bytes: i64) {
        let change = self.0.entry((plugin.clone(), class, at_ns / SLOT_NS)).or_default();
        change.0 += rows;
        change.1 += bytes;
    }

    /// Reads [`CALL_GONE`] and the like.
    pub fn gone(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        self.changed(row, -1)
    }

    /// The same for a row that was inserted.
    pub fn came(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        self.changed(row, 1)
    }

    fn changed(&mut self, row: &Row<'_>, rows: i64) -> rusqlite::Result<()> {
        let (plugin, class): (Arc<str>, i64) = (row.get(0)?, row.get(1)?);
        let (at_ns, bytes): (i64, i64) = (row.get(2)?, row.get(3)?);
        let class = Class::parse(class).unwrap_or(Class::Ordinary);
        self.add(&plugin, class, at_ns, rows, rows * bytes);
        Ok(())
    }

    pub fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut change = connection.prepare_cached(
            "INSERT INTO cells (plugin, class, slot, rows, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET rows = rows + excluded.rows, bytes = max(0, bytes + excluded.bytes)",
        )?;
        let mut shrunk = false;
        for ((plugin, class, slot), (rows, bytes)) in self.0 {
            change.execute(params![&*plugin, class as i64, slot, rows, bytes])?;
            shrunk |= rows < 0;
        }
        if shrunk {
            connection.prepare_cached("DELETE FROM cells WHERE rows <= 0")?.execute([])?;
        }
        Ok(())
    }
}

/// All cells.
pub(super) fn picture(connection: &Connection) -> rusqlite::Result<Vec<Cell>> {
    let mut statement =
        connection.prepare_cached("SELECT plugin, class, slot, rows, bytes, passes FROM cells")?;
    let cells = statement.query_map([], |row| {
        Ok(Cell {
            plugin: row.get(0)?,
            class: Class::parse(row.get(1)?).unwrap_or(Class::Ordinary),
            slot: row.get(2)?,
            rows: row.get(3)?,
            bytes: row.get(4)?,
            passes: row.get(5)?,
        })
    })?;
    cells.collect()
}

/// Where the picture and the tables differ, in sentences. Reads all rows.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "
        WITH there AS (
            SELECT plugin, class, created_at_ns / 600000000000 AS slot, count(*) AS rows FROM invocations GROUP BY 1, 2, 3
            UNION ALL
            SELECT coalesce(plugin, ''), iif(invocation_id IS NULL, 4, 3), unix_ns / 600000000000, count(*)
                FROM logs GROUP BY 1, 2, 3
            UNION ALL
            SELECT '', 5, start_ns / 600000000000, count(*) FROM operations GROUP BY 3)
        SELECT coalesce(t.plugin, c.plugin), coalesce(t.class, c.class), coalesce(t.slot, c.slot),
               coalesce(t.rows, 0), coalesce(c.rows, 0)
        FROM there t FULL JOIN cells c USING (plugin, class, slot)
        WHERE coalesce(t.rows, 0) != coalesce(c.rows, 0) LIMIT 10";
    let mut statement = connection.prepare(sql)?;
    let problems = statement.query_map([], |row| {
        let (plugin, class): (String, i64) = (row.get(0)?, row.get(1)?);
        let (there, counted): (i64, i64) = (row.get(3)?, row.get(4)?);
        Ok(format!("of plugin {plugin:?}, class {class}, there are {there} rows, and {counted} were counted"))
    })?;
    problems.collect()
}
