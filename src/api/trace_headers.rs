//! Every answer under `/v1` says to which trace it belongs.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;

use super::error;
use crate::model::trace_context::{FLAG_SAMPLED, TraceContext, format_traceparent};
use crate::telemetry::ids;

const TRACEPARENT: &str = "traceparent";
const SERVER_TIMING: &str = "server-timing";

pub async fn add(request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/v1") {
        return next.run(request).await;
    }
    let parent = super::trace_context(request.headers());
    complete(next.run(request).await, parent.as_ref())
}

/// Names the trace of a request that was no call: the caller's, or a new one.
pub fn complete(mut response: Response, parent: Option<&TraceContext>) -> Response {
    if !response.headers().contains_key(TRACEPARENT) {
        let trace_id = parent.map_or_else(ids::trace_id, |parent| parent.trace_id);
        let flags = parent.map_or(FLAG_SAMPLED, |parent| parent.flags);
        set(&mut response, &format_traceparent(trace_id, ids::span_id(), flags));
        error::trace(&mut response, trace_id);
    }
    response
}

/// `traceparent` for programs, `Server-Timing` for pages, which can read nothing else of an answer's trace.
pub fn set(response: &mut Response, traceparent: &str) {
    let timing = format!("traceparent;desc=\"{traceparent}\"");
    let value = |text: &str| HeaderValue::from_str(text).expect("hex digits and dashes are a header value");
    response.headers_mut().insert(TRACEPARENT, value(traceparent));
    response.headers_mut().insert(SERVER_TIMING, value(&timing));
}
