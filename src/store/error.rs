//! What can go wrong between the program and its data folder.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::error::InvokeError;
use crate::model::ids::InvocationId;
use crate::model::kind::ErrorKind;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One process owns a data folder.
    #[error("data folder `{}` is in use{}", folder.display(), owner_text(*pid))]
    InUse { folder: PathBuf, pid: Option<u32> },
    /// The same version was registered with other content.
    #[error("{name} {version} is already registered as {stored}, not as {offered}")]
    Conflict { name: String, version: String, stored: String, offered: String },
    /// The first call under the key has not ended.
    #[error("a call under the idempotency key {key:?} is under way")]
    KeyInFlight { key: String, invocation_id: InvocationId },
    /// The first call under the key asked for something else.
    #[error("the idempotency key {key:?} was used for another request")]
    KeyReused { key: String },
    #[error("{what} holds as much as it may: {limit}")]
    Full { what: String, limit: String },
    /// `if_revision` did not match.
    #[error("{what} was changed in the meantime")]
    Changed { what: String },
    #[error("there is no {what}")]
    NotFound { what: String },
    #[error("the cursor is not one that this list has given out")]
    BadCursor,
    #[error("`{text}` is not a digest: expected sha256: and 64 hex digits in lower case")]
    BadDigest { text: String },
    #[error("the query took longer than {} s and was stopped", limit.as_secs_f32())]
    QueryTooSlow { limit: Duration },
    #[error("`{}` was written by a newer spanglass (schema {found}, this one knows {known})", file.display())]
    SchemaTooNew { file: PathBuf, found: i64, known: i64 },
    /// Only the owner of a data folder brings its files up to date.
    #[error("`{}` has schema {found}, this spanglass needs {known}", file.display())]
    SchemaTooOld { file: PathBuf, found: i64, known: i64 },
    /// What was brought back is no whole backup.
    #[error("this is not a backup that can be restored: {detail}")]
    BadBackup { detail: String },
    #[error("no room left on the disk for `{}`", file.display())]
    DiskFull { file: PathBuf },
    #[error("`{}` is damaged: {detail}", file.display())]
    Corrupt { file: PathBuf, detail: String },
    #[error("`{}` is being written by another process", file.display())]
    Busy { file: PathBuf },
    #[error("could not {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// Anything else that the engine said.
    #[error("`{}`: {detail}", file.display())]
    Database { file: PathBuf, detail: String },
}

impl Error {
    /// How a caller of the program sees it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            // Of another schema: nothing is broken, program and folder do not fit each other.
            Error::InUse { .. }
            | Error::Conflict { .. }
            | Error::KeyInFlight { .. }
            | Error::Changed { .. }
            | Error::SchemaTooNew { .. }
            | Error::SchemaTooOld { .. } => ErrorKind::Conflict,
            Error::BadBackup { .. } => ErrorKind::InvalidInput,
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::BadCursor | Error::BadDigest { .. } | Error::KeyReused { .. } => ErrorKind::InvalidInput,
            Error::QueryTooSlow { .. } | Error::Busy { .. } | Error::Full { .. } | Error::DiskFull { .. } => {
                ErrorKind::Overloaded
            }
            Error::Corrupt { .. } | Error::Io { .. } | Error::Database { .. } => ErrorKind::Internal,
        }
    }

    /// What the reader can do about it.
    pub const fn help(&self) -> Option<&'static str> {
        Some(match self {
            Error::InUse { .. } => {
                "stop the other process, talk to it with --server, or use another --data-dir"
            }
            Error::Conflict { .. } => "raise the version in the manifest, or remove the registered one first",
            Error::KeyInFlight { .. } => "wait for its end, then repeat the request to get its reply",
            Error::KeyReused { .. } => "use a new key for a new request",
            Error::Full { .. } => "try again when some of it is done",
            Error::Changed { .. } => "read it again and repeat the change",
            Error::BadCursor => "start again without a cursor",
            Error::QueryTooSlow { .. } => "narrow the query with since, until or plugin",
            Error::SchemaTooNew { .. } => "use that newer spanglass, or another --data-dir",
            Error::SchemaTooOld { .. } => {
                "start the server of this version once; it brings the file up to date"
            }
            Error::BadBackup { .. } => "take another copy of it; nothing was changed",
            Error::DiskFull { .. } => "make room, or lower telemetry.retention.max",
            Error::Corrupt { .. } => "restore a backup; spanglass doctor says more",
            Error::Busy { .. } => "try again",
            Error::NotFound { .. } | Error::BadDigest { .. } | Error::Io { .. } | Error::Database { .. } => {
                return None;
            }
        })
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull { file: path },
            _ => Error::Io { action, path, source },
        }
    }

    /// The engine's error about `file`.
    pub(super) fn engine(file: &Path) -> impl Fn(rusqlite::Error) -> Error + use<> {
        let file = file.to_path_buf();
        move |error| {
            let file = file.clone();
            let detail = error.to_string();
            match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::DiskFull) => Error::DiskFull { file },
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                    Error::Corrupt { file, detail }
                }
                Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                    Error::Busy { file }
                }
                _ => Error::Database { file, detail },
            }
        }
    }
}

impl From<Error> for InvokeError {
    fn from(error: Error) -> InvokeError {
        let mut invoke = InvokeError::new(error.kind(), error.to_string());
        invoke.help = error.help().map(str::to_owned);
        if let Error::KeyInFlight { invocation_id, .. } = error {
            invoke.in_flight = Some(invocation_id);
        }
        invoke
    }
}

fn owner_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}
