//! HTTP. One route table, one file a resource, one map from kinds of error to status codes. This room must
//! never decide anything about a call: it decodes, hands over to `host`, and encodes. Start with `router`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::routing::{get, post};

use crate::host::Host;

mod error;
mod guard;
mod invocations;
mod invoke;
mod logs;
mod operations;
pub mod openapi;
mod page;
mod plugins;
mod query;
mod stream;
mod trace_headers;
mod traces;

pub use error::{Problem, status_of};
pub use guard::Guard;
pub use invoke::{Success, meta_json};
pub use plugins::plugin_json;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    pub host: Arc<Host>,
    pub guard: Arc<Guard>,
}

/// A list answers with so many items unless asked otherwise, and never with more than the bound.
pub const LIST_DEFAULT: usize = 50;
pub const LIST_MAX: usize = 1000;

/// How long a query waits for what was recorded just before it.
const SETTLE_MAX: Duration = Duration::from_secs(1);

pub fn router(api: Api) -> Router {
    let v1 = Router::new()
        .route("/plugins", get(plugins::list).post(plugins::register))
        .route("/plugins/{name}", get(plugins::show))
        .route("/plugins/{name}/versions", get(plugins::versions))
        .route("/plugins/{name}/versions/{version}", get(plugins::version).delete(plugins::remove))
        .route("/plugins/{name}/versions/{version}/package", get(plugins::package))
        .route("/plugins/{name}/invoke", post(invoke::invoke))
        .route("/invoke", post(invoke::envelope))
        .route("/invocations", get(invocations::list))
        .route("/invocations/{id}", get(invocations::show))
        .route("/traces", get(traces::list))
        .route("/traces/{trace_id}", get(traces::show))
        .route("/logs", get(logs::list))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(middleware::from_fn(trace_headers::add));
    Router::new()
        .nest("/v1", v1)
        .route("/", get(page::index))
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/docs/errors/{kind}", get(page::error_page))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(middleware::from_fn_with_state(api.clone(), guard::check))
        .with_state(api)
}

/// The value of a header if it is there once and readable.
fn header<'r>(request: &'r http::HeaderMap, name: &str) -> Option<&'r str> {
    request.get(name)?.to_str().ok()
}

/// The trace that a request continues.
fn trace_context(headers: &http::HeaderMap) -> Option<crate::model::trace_context::TraceContext> {
    let all = |name| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    crate::model::trace_context::TraceContext::from_headers(all("traceparent"), all("tracestate"), all("baggage"))
}

/// Runs blocking work (queries, packages) off the threads that serve calls.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::internal("the work behind the request panicked"))
}

/// Waits until what ended before this moment can be read from the ledger.
async fn settle(host: &Arc<Host>) -> Result<(), Problem> {
    let host = host.clone();
    blocking(move || {
        host.settle(SETTLE_MAX);
    })
    .await
}

/// Marks a request's path for guards without a route table of their own.
fn is_public(request: &Request) -> bool {
    let path = request.uri().path();
    matches!(path, "/" | "/healthz" | "/readyz" | "/metrics" | "/openapi.json") || path.starts_with("/docs/")
}
