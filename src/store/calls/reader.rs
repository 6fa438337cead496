//! The reading side: works beside the owner of the folder, in its process or another one, and with none.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::ids::{InvocationId, TraceId};
use crate::model::kind::ErrorKind;
use crate::store::database::{self, Access};
use crate::store::error::Error;
use crate::store::folder::DataFolder;
use crate::store::ledger::{ErrorView, ExceptionView};
use crate::store::time::{milliseconds, rfc3339};

use super::{read_id, schema, signed};

const COLUMNS: &str =
    "invocation_id, trace_id, plugin, version, action, state, outcome, error_kind, error_message,
    exception_type, exception_traceback, attempts, accepted_at_ns, duration_ns, cold_start";

/// An asynchronous call in the shape of the public contract. What only the end tells is null before it.
#[derive(Clone, Debug, Serialize)]
pub struct CallView {
    pub invocation_id: String,
    pub trace_id: String,
    pub plugin: String,
    pub version: Option<String>,
    pub action: String,
    pub state: String,
    pub outcome: Option<String>,
    pub error: Option<ErrorView>,
    pub attempts: u32,
    pub created_at: String,
    #[serde(skip)]
    pub created_at_ns: i64,
    pub duration_ms: Option<f64>,
    pub cold_start: Option<bool>,
    pub usage: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<RawValue>>,
}

/// Reads `calls.db`. All methods block. A file that is not there holds nothing.
#[derive(Clone, Debug)]
pub struct CallsReader {
    path: PathBuf,
}

impl CallsReader {
    pub fn new(folder: &DataFolder) -> CallsReader {
        CallsReader { path: folder.calls() }
    }

    /// One asynchronous call, waiting, running, or ended not long ago; with its output.
    pub fn call(&self, id: InvocationId) -> Result<Option<CallView>, Error> {
        self.query(|connection| {
            let sql = format!("SELECT {COLUMNS}, output FROM calls WHERE invocation_id = ?1");
            connection
                .query_row(&sql, [id.as_bytes()], |row| {
                    let output: Option<String> = row.get(15)?;
                    let mut view = read(row)?;
                    view.output = output.and_then(|output| RawValue::from_string(output).ok());
                    Ok(view)
                })
                .optional()
        })
        .map(Option::flatten)
    }

    /// Calls without an ending, the newest first.
    pub fn pending(&self, limit: usize) -> Result<Vec<CallView>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM calls WHERE state IN ('queued', 'running') ORDER BY accepted_at_ns DESC LIMIT ?1"
        );
        let views = self.query(|connection| {
            let mut select = connection.prepare(&sql)?;
            let rows = select.query_map(params![signed(limit as u64)], read)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(views.unwrap_or_default())
    }

    /// What the engine finds wrong with the file. Reads all of it.
    pub(in crate::store) fn check(&self) -> Result<Vec<String>, Error> {
        Ok(self.query(database::quick_check)?.unwrap_or_default())
    }

    /// `None`: there is no file.
    fn query<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<Option<T>, Error> {
        let connection = match database::open(&self.path, &schema::SCHEMA, Access::Reader) {
            Ok(connection) => connection,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        query(&connection).map(Some).map_err(Error::engine(&self.path))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<CallView> {
    let kind: Option<String> = row.get(7)?;
    let exception: Option<String> = row.get(9)?;
    let traceback: Option<String> = row.get(10)?;
    let message: Option<String> = row.get(8)?;
    let error = kind.map(|kind| ErrorView {
        blame: ErrorKind::parse(&kind).unwrap_or(ErrorKind::Internal).blame().as_str(),
        kind,
        message: message.unwrap_or_default(),
        exception: exception
            .map(|type_name| ExceptionView { type_name, traceback: traceback.unwrap_or_default() }),
    });
    let created_at_ns: i64 = row.get(12)?;
    Ok(CallView {
        invocation_id: read_id(row, 0)?.to_string(),
        trace_id: TraceId::from_bytes(row.get(1)?).map(|id| id.to_string()).unwrap_or_default(),
        plugin: row.get(2)?,
        version: row.get(3)?,
        action: row.get(4)?,
        state: row.get(5)?,
        outcome: row.get(6)?,
        error,
        attempts: row.get(11)?,
        created_at: rfc3339(created_at_ns),
        created_at_ns,
        duration_ms: row.get::<_, Option<i64>>(13)?.map(milliseconds),
        cold_start: row.get(14)?,
        usage: None,
        output: None,
    })
}
