//! For whoever operates the server: liveness, readiness, scrape.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::Api;

/// The process answers.
pub async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The server takes calls: what was registered has been deployed, and the store can be written.
pub async fn readyz(State(api): State<Api>) -> Response {
    let waiting = api.host.not_ready();
    let status = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if waiting.is_empty() { "ready" } else { "not ready" };
    (status, Json(json!({"status": word, "waiting_for": waiting}))).into_response()
}

pub async fn metrics(State(api): State<Api>, headers: HeaderMap) -> Response {
    let accept = super::header(&headers, "accept").map(str::to_owned);
    let host = api.host.clone();
    let exposition = super::blocking(move || {
        host.measure();
        host.telemetry().scrape(accept.as_deref())
    })
    .await;
    match exposition {
        Ok(exposition) => {
            ([(header::CONTENT_TYPE, exposition.content_type)], exposition.body).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}
