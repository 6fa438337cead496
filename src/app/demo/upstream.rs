//! A small service on loopback for `http-request` to call: quick, slow, unsteady and missing pages.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::app::failure::Failure;

/// Starts it on a free port; it lives as long as the program. Returns its base address.
pub async fn start() -> Result<String, Failure> {
    let cannot = |error| Failure::internal(format!("the demo's own service cannot be started: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let asked = Arc::new(AtomicU32::new(0));
    let routes = Router::new()
        .route("/status", get(async || "{\"healthy\": true}"))
        .route(
            "/orders/{id}",
            get(async |Path(id): Path<u32>| format!("{{\"id\": {id}, \"state\": \"paid\"}}")),
        )
        .route("/slow", get(slow))
        .route("/unsteady", get(unsteady))
        .with_state(asked);
    // It ends with the runtime.
    tokio::spawn(axum::serve(listener, routes).into_future());
    Ok(format!("http://{address}"))
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(300)).await;
    "{\"healthy\": true}"
}

/// Every second answer is 503, so that retries can be seen.
async fn unsteady(State(asked): State<Arc<AtomicU32>>) -> (StatusCode, &'static str) {
    match asked.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "try again"),
        _ => (StatusCode::OK, "{\"healthy\": true}"),
    }
}
