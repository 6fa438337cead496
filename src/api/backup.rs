//! A backup of everything, and the way back.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::{Api, Problem, blocking, body};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::store::BACKUP_BYTES_MAX;

/// One at a time: each takes much of the disk.
static TURN: Semaphore = Semaphore::const_new(1);
const TURN_WAIT_MAX: Duration = Duration::from_secs(30);
/// So many pieces may lie between the disk and a slow reader; then the disk waits.
const PIECES_AHEAD_MAX: usize = 8;
const PIECE_BYTES: usize = 64 << 10;

/// The copy is made before the first byte is sent: what can fail, fails with a status.
pub async fn backup(State(api): State<Api>) -> Result<Response, Problem> {
    let turn = turn().await?;
    let host = api.host.clone();
    let snapshot = blocking(move || host.snapshot()).await?.map_err(Problem::from)?;
    let (sender, pieces) = mpsc::channel::<io::Result<Bytes>>(PIECES_AHEAD_MAX);
    tokio::task::spawn_blocking(move || {
        // To the end of the work, even if the reader has left.
        let _turn = turn;
        let mut out = BufWriter::with_capacity(PIECE_BYTES, Pieces(sender.clone()));
        if let Err(error) = snapshot.write(&mut out) {
            // The answer breaks off: a reader must not take what he has for the whole.
            let _ = sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
    });
    let pieces = stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) });
    let headers = [
        (header::CONTENT_TYPE, "application/gzip"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"spanglass-backup.tar.gz\""),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

pub async fn restore(State(api): State<Api>, body: Body) -> Result<Json<Value>, Problem> {
    let turn = turn().await?;
    let host = api.host.clone();
    let file =
        body::spool(body, host.spool()?, BACKUP_BYTES_MAX, "restore it while the server is stopped").await?;
    let restored = host.restore_backup(file).await;
    drop(turn);
    let restored = restored?;
    Ok(Json(json!({
        "created_at": restored.summary.created_at,
        "spanglass": restored.summary.spanglass,
        "registrations": restored.summary.registrations,
        "registered": restored.registered,
        "removed": restored.removed,
        "unchanged": restored.unchanged,
    })))
}

async fn turn() -> Result<tokio::sync::SemaphorePermit<'static>, InvokeError> {
    let turn = timeout(TURN_WAIT_MAX, TURN.acquire()).await.ok().and_then(Result::ok);
    turn.ok_or_else(|| {
        InvokeError::new(ErrorKind::Overloaded, "another backup or restore is under way")
            .help("try again in a while")
    })
}

/// Hands on what is written; an error once nobody reads any more.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(piece)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
