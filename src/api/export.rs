//! Traces for other tools.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use super::path::Named;
use super::{Looking, Problem, looking};
use crate::store::{SpanView, TraceView};
use crate::telemetry::otlp::json::{KeptEvent, KeptSpan, traces};

/// `GET /v1/traces/{trace_id}/otlp`: a file that a collector, and whatever else reads OTLP, takes.
pub async fn otlp(State(looking): State<Looking>, Named(id): Named<String>) -> Result<Response, Problem> {
    let id = looking::trace_id_of(&id)?;
    let trace = looking.trace(id).await?;
    let mut response = Json(traces(trace.spans.iter().map(|span| kept(&trace, span)))).into_response();
    let name = format!("attachment; filename=\"trace-{}.json\"", trace.trace_id);
    let name = HeaderValue::from_str(&name).expect("hex digits are ASCII");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

fn kept<'a>(trace: &'a TraceView, span: &'a SpanView) -> KeptSpan<'a> {
    let start_unix_ns = unix_ns(&span.start);
    KeptSpan {
        trace_id: &trace.trace_id,
        span_id: &span.span_id,
        parent_span_id: span.parent_span_id.as_deref(),
        name: &span.name,
        kind: span.kind,
        start_unix_ns,
        // Milliseconds with their fraction were made of nanoseconds.
        end_unix_ns: start_unix_ns.saturating_add((span.duration_ms * 1e6).round() as u64),
        error: (span.status == "error").then(|| span.status_message.as_deref().unwrap_or_default()),
        attributes: &span.attributes,
        events: span
            .events
            .iter()
            .map(|event| KeptEvent {
                name: &event.name,
                unix_ns: unix_ns(&event.time),
                attributes: &event.attributes,
            })
            .collect(),
        dropped_attributes: span.dropped_attributes,
        dropped_events: span.dropped_events,
    }
}

/// Of a time that the ledger has written.
fn unix_ns(rfc3339: &str) -> u64 {
    let since =
        humantime::parse_rfc3339(rfc3339).ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    u64::try_from(since.unwrap_or(Duration::ZERO).as_nanos()).unwrap_or(u64::MAX)
}
