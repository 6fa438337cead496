//! Request bodies: read whole or into a file, within a bound in bytes and in time.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::units::{format_bytes, format_duration};

/// A body that brings nothing for so long is given up.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// And so is one that brings less than this for each second beyond the first ones: who holds a place for an upload
/// gives it back in time.
const RATE_MIN_BYTES: u64 = 64 << 10;
const RATE_GRACE: Duration = Duration::from_secs(30);
/// Bodies that are being read hold so much in all, beside the first part of each. Who comes when that is full is
/// refused, not kept waiting: slow uploads would keep everybody.
const READING_BYTES_MAX: u64 = 256 << 20;
const READING_BYTES_FREE: u64 = 16 << 10;
const READING_RETRY_AFTER: Duration = Duration::from_secs(1);
/// So much is read of a body where none is wanted.
const NOTHING_BYTES_MAX: u64 = 64 << 10;
/// How a zip begins: with its first file, or with its end if it holds none.
const ZIP_SIGNATURES: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
const ZIP_SIGNATURE_BYTES: usize = 4;
/// A body that is too large is read on for a while, unkept: many clients look at an answer only when they
/// have sent everything, and see a broken pipe if they cannot.
const DRAIN_BYTES_MAX: u64 = 128 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(30);

/// The whole body, at most `bytes_max` of it. `help` is for whoever sent more.
///
/// # Errors
/// `input_too_large`; `invalid_input` for a body that ended early or stopped coming.
pub async fn read(body: Body, bytes_max: u64, help: &str) -> Result<Bytes, InvokeError> {
    let mut parts = Parts::of(body);
    let mut bytes = BytesMut::new();
    let mut held = READING.none();
    while let Some(part) = parts.next().await? {
        let length = bytes.len() as u64 + part.len() as u64;
        if length > bytes_max || !held.grow(length.saturating_sub(READING_BYTES_FREE)) {
            drop((bytes, held));
            drain(parts.body).await;
            return Err(if length > bytes_max { too_large(bytes_max, help) } else { too_many() });
        }
        // One part is the rule for small bodies: no copy.
        if bytes.is_empty() && parts.body.is_end_stream() {
            return Ok(part);
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}

/// What all bodies that are being read hold together.
static READING: Budget = Budget { bytes_max: READING_BYTES_MAX, held: AtomicU64::new(0) };

struct Budget {
    bytes_max: u64,
    held: AtomicU64,
}

/// A part of the budget, given back when it is dropped.
struct Held<'b> {
    budget: &'b Budget,
    bytes: u64,
}

impl Budget {
    fn none(&self) -> Held<'_> {
        Held { budget: self, bytes: 0 }
    }
}

impl Held<'_> {
    /// Holds so much from now on. False: there is no room, and it holds what it held.
    fn grow(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let fits = |held: u64| held.checked_add(more).filter(|sum| *sum <= self.budget.bytes_max);
        let grown =
            more == 0 || self.budget.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if grown {
            self.bytes += more;
        }
        grown
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn too_many() -> InvokeError {
    let limit = format_bytes(READING_BYTES_MAX);
    InvokeError::new(ErrorKind::Overloaded, format!("requests that are being sent hold {limit} already"))
        .help("try again later")
        .retry_after(READING_RETRY_AFTER)
}

/// For routes whose parameters stand in the query: a body that says something would go unheard.
pub async fn nothing(body: Body) -> Result<(), InvokeError> {
    let bytes = read(body, NOTHING_BYTES_MAX, "send no body").await?;
    match bytes.trim_ascii() {
        b"" | b"{}" => Ok(()),
        _ => Err(InvokeError::new(ErrorKind::InvalidInput, "this route takes no body")
            .help("its parameters stand in the query")),
    }
}

/// Writes the body into a file, at most `bytes_max` of it. Of one that does not begin like a zip only the
/// beginning is kept, enough to see that it is none.
///
/// # Errors
/// As [`read`], and `internal` or `overloaded` if the file can't be written.
pub async fn spool_zip(body: Body, file: File, bytes_max: u64, help: &str) -> Result<File, InvokeError> {
    let mut parts = Parts::of(body);
    let mut file = tokio::fs::File::from_std(file);
    let mut head = BytesMut::with_capacity(ZIP_SIGNATURE_BYTES);
    while let Some(part) = parts.next().await? {
        if parts.bytes > bytes_max {
            drain(parts.body).await;
            return Err(too_large(bytes_max, help));
        }
        if head.len() < ZIP_SIGNATURE_BYTES {
            head.extend_from_slice(&part[..part.len().min(ZIP_SIGNATURE_BYTES - head.len())]);
            if head.len() == ZIP_SIGNATURE_BYTES && !ZIP_SIGNATURES.contains(&&*head) {
                file.set_len(0).await.map_err(unwritten)?;
                file.rewind().await.map_err(unwritten)?;
                file.write_all(&head).await.map_err(unwritten)?;
                drain(parts.body).await;
                break;
            }
        }
        file.write_all(&part).await.map_err(unwritten)?;
    }
    file.flush().await.map_err(unwritten)?;
    Ok(file.into_std().await)
}

/// Writes the body into a file, at most `bytes_max` of it. The file is read from its start next.
///
/// # Errors
/// As [`spool_zip`].
pub async fn spool(body: Body, file: File, bytes_max: u64, help: &str) -> Result<File, InvokeError> {
    let mut parts = Parts::of(body);
    let mut file = tokio::fs::File::from_std(file);
    while let Some(part) = parts.next().await? {
        if parts.bytes > bytes_max {
            drain(parts.body).await;
            return Err(too_large(bytes_max, help));
        }
        file.write_all(&part).await.map_err(unwritten)?;
    }
    file.flush().await.map_err(unwritten)?;
    file.rewind().await.map_err(unwritten)?;
    Ok(file.into_std().await)
}

/// A body on its way, and how fast it comes.
struct Parts {
    body: Body,
    begun: Instant,
    bytes: u64,
}

impl Parts {
    fn of(body: Body) -> Parts {
        Parts { body, begun: Instant::now(), bytes: 0 }
    }

    /// The next part; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, InvokeError> {
        loop {
            let until = self.begun + RATE_GRACE + Duration::from_millis(self.bytes * 1_000 / RATE_MIN_BYTES);
            let until = until.min(Instant::now() + IDLE_MAX);
            let frame = timeout_at(until, self.body.frame()).await.map_err(|_| self.too_slow())?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame
                .map_err(|_| InvokeError::new(ErrorKind::InvalidInput, "the request's body ended early"))?;
            // Trailers say nothing that matters here.
            if let Ok(part) = frame.into_data() {
                self.bytes += part.len() as u64;
                return Ok(Some(part));
            }
        }
    }

    fn too_slow(&self) -> InvokeError {
        let (bytes, waited) = (format_bytes(self.bytes), format_duration(self.begun.elapsed()));
        let message = format!("the request's body came too slowly: {bytes} in {waited}");
        let rate = format_bytes(RATE_MIN_BYTES);
        InvokeError::new(ErrorKind::InvalidInput, message).help(format!("{rate} a second are enough"))
    }
}

fn too_large(bytes_max: u64, help: &str) -> InvokeError {
    let message = format!("the request has more than {}", format_bytes(bytes_max));
    InvokeError::new(ErrorKind::InputTooLarge, message).help(help)
}

fn unwritten(error: io::Error) -> InvokeError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Overloaded,
        _ => ErrorKind::Internal,
    };
    InvokeError::new(kind, format!("the request's body cannot be written: {error}"))
}

async fn drain(mut body: Body) {
    let until = Instant::now() + DRAIN_TIME_MAX;
    let mut drained = 0;
    while drained < DRAIN_BYTES_MAX {
        let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await else { return };
        drained += frame.data_ref().map_or(0, |part| part.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece every 20 s: never idle for long, and never done.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up() {
        let trickle = |bytes: usize| {
            Body::from_stream(futures_util::stream::unfold((), move |()| async move {
                tokio::time::sleep(Duration::from_secs(20)).await;
                Some((Ok::<_, io::Error>(Bytes::from(vec![b'x'; bytes])), ()))
            }))
        };
        let begun = Instant::now();
        let error = read(trickle(1), 1 << 20, "").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidInput);
        assert!(error.message.contains("too slowly"), "{}", error.message);
        assert!(begun.elapsed() <= RATE_GRACE + Duration::from_secs(1), "{:?}", begun.elapsed());
        // Fast enough on the whole: it may take as long as it needs.
        let error = read(trickle(2 << 20), 64 << 20, "").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InputTooLarge);
    }

    #[test]
    fn bodies_that_are_being_read_share_a_budget_and_give_it_back() {
        let budget = Budget { bytes_max: 100, held: AtomicU64::new(0) };
        let (mut first, mut second) = (budget.none(), budget.none());
        assert!(first.grow(60) && first.grow(60) && first.grow(20), "what is held already costs nothing");
        assert!(second.grow(40) && !second.grow(41));
        assert!(!first.grow(u64::MAX));
        drop(first);
        assert!(second.grow(100));
        drop(second);
        assert_eq!(budget.held.into_inner(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_given_up() {
        let begun = Instant::now();
        let error =
            read(Body::from_stream(futures_util::stream::pending::<io::Result<Bytes>>()), 1 << 20, "").await;
        assert_eq!(error.unwrap_err().kind, ErrorKind::InvalidInput);
        assert!(begun.elapsed() <= IDLE_MAX + Duration::from_secs(1));
    }
}
