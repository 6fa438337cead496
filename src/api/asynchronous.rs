//! Asynchronous calls: accepted and cancelled. Waiting for one is a matter of looking at it.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::invoke::{IDEMPOTENCY_REPLAYED, encode};
use super::looking::invocation_id;
use super::path::Named;
use super::{Api, Problem, trace_headers};
use crate::host::Acceptance;
use crate::model::ids::InvocationId;
use crate::model::invocation::{Delivery, Invocation};
use crate::model::trace_context::format_traceparent;

/// `202` once the call is on the disk.
pub async fn accept(api: &Api, invocation: Invocation) -> Response {
    let (host, asked) = (&api.host, invocation.clone());
    match host.enqueue(invocation).await {
        Acceptance::Queued(ids) => {
            let flags = host.telemetry().trace_flags(ids.trace_id, asked.parent.as_ref());
            let traceparent = format_traceparent(ids.trace_id, ids.root_span_id, flags);
            accepted(ids.invocation_id, Json(queued(&asked, &ids)), &traceparent)
        }
        Acceptance::Replayed(completed) => {
            let meta = &completed.meta;
            let traceparent = format_traceparent(meta.trace_id, meta.root_span_id, meta.trace_flags);
            let document = api.looking.document(meta.invocation_id).await;
            let mut response = accepted(meta.invocation_id, document, &traceparent);
            response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
            response
        }
        Acceptance::Refused(completed) => encode(&completed),
    }
}

pub async fn cancel(State(api): State<Api>, Named(id): Named<String>) -> Result<Response, Problem> {
    let id = invocation_id(&id)?;
    api.host.cancel(id).await?;
    api.looking.document(id).await
}

fn accepted(id: InvocationId, document: impl IntoResponse, traceparent: &str) -> Response {
    let mut response = document.into_response();
    *response.status_mut() = StatusCode::ACCEPTED;
    let location = HeaderValue::from_str(&format!("/v1/invocations/{id}")).expect("a UUID is a header value");
    response.headers_mut().insert(header::LOCATION, location);
    trace_headers::set(&mut response, traceparent);
    response
}

/// The document of a call that waits.
fn queued(invocation: &Invocation, ids: &Delivery) -> Value {
    let accepted_at = Duration::from_nanos(ids.accepted_at_unix_ns);
    let created_at = humantime::format_rfc3339_nanos(SystemTime::UNIX_EPOCH + accepted_at);
    json!({
        "invocation_id": ids.invocation_id.to_string(),
        "trace_id": ids.trace_id.to_string(),
        "plugin": &*invocation.plugin,
        "version": null,
        "action": &*invocation.action,
        "state": "queued",
        "outcome": null,
        "error": null,
        "attempts": 0,
        "created_at": created_at.to_string(),
        "duration_ms": null,
        "cold_start": null,
        "usage": null,
    })
}
