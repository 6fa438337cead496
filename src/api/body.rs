//! Request bodies: read whole, within a bound in bytes and in time.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::units::{format_bytes, format_duration};

/// A body that brings nothing for so long is given up.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// A body that is too large is read on for a while, unkept: many clients look at an answer only when they
/// have sent everything, and see a broken pipe if they cannot.
const DRAIN_BYTES_MAX: u64 = 128 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// The whole body, at most `bytes_max` of it. `help` is for whoever sent more.
///
/// # Errors
/// `input_too_large`; `invalid_input` for a body that ended early or stopped coming.
pub async fn read(mut body: Body, bytes_max: u64, help: &str) -> Result<Bytes, InvokeError> {
    let mut bytes = BytesMut::new();
    loop {
        let frame = timeout(IDLE_MAX, body.frame()).await.map_err(|_| {
            let waited = format_duration(IDLE_MAX);
            InvokeError::new(
                ErrorKind::InvalidInput,
                format!("nothing came of the request's body for {waited}"),
            )
        })?;
        let Some(frame) = frame else { return Ok(bytes.freeze()) };
        let frame =
            frame.map_err(|_| InvokeError::new(ErrorKind::InvalidInput, "the request's body ended early"))?;
        // Trailers say nothing that matters here.
        let Ok(part) = frame.into_data() else { continue };
        if bytes.len() as u64 + part.len() as u64 > bytes_max {
            drop(bytes);
            drain(body).await;
            let message = format!("the request has more than {}", format_bytes(bytes_max));
            return Err(InvokeError::new(ErrorKind::InputTooLarge, message).help(help));
        }
        // One part is the rule for small bodies: no copy.
        if bytes.is_empty() && body.is_end_stream() {
            return Ok(part);
        }
        bytes.extend_from_slice(&part);
    }
}

async fn drain(mut body: Body) {
    let until = Instant::now() + DRAIN_TIME_MAX;
    let mut drained = 0;
    while drained < DRAIN_BYTES_MAX {
        let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await else { return };
        drained += frame.data_ref().map_or(0, |part| part.len() as u64);
    }
}
