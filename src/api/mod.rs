//! HTTP. One route table, one file a resource, one map from kinds of error to status codes. This room must
//! never decide anything about a call: it decodes, hands over to `host`, and encodes. Start with `router`.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::routing::{get, post};

use crate::host::Host;
use crate::model::invocation::Origin;

mod alerts;
mod asynchronous;
mod backup;
mod body;
mod changes;
mod docs;
mod drift;
mod error;
mod errors;
mod export;
mod feed;
mod guard;
mod health;
mod invoke;
mod looking;
mod operations;
pub mod openapi;
mod page;
mod path;
mod plugins;
mod purge;
mod query;
mod replay;
mod series;
mod stream;
mod trace_headers;

pub use error::{Problem, status_of};
pub use guard::Guard;
pub use health::{About, Doctor};
pub use invoke::{Success, meta_json};
pub use looking::Looking;
pub use plugins::plugin_json;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    pub host: Arc<Host>,
    pub looking: Looking,
    /// Where calls are said to come from: the network, but for commands that use the routes in-process.
    pub origin: Origin,
    /// `None`: there is no server, only its routes.
    pub about: Option<Arc<About>>,
}

/// A list answers with so many items unless asked otherwise, and never with more than the bound.
pub const LIST_DEFAULT: usize = 50;
pub const LIST_MAX: usize = 1000;

/// The routes as a server offers them.
pub fn guarded(api: Api, guard: Guard) -> Router {
    router(api).layer(middleware::from_fn_with_state(Arc::new(guard), guard::check))
}

pub fn router(api: Api) -> Router {
    let v1 = Router::new()
        .route("/plugins", get(plugins::list).post(changes::register))
        .route("/plugins/{name}", get(plugins::show))
        .route("/plugins/{name}/versions", get(plugins::versions))
        .route("/plugins/{name}/versions/{version}", get(plugins::version).delete(changes::remove))
        .route("/plugins/{name}/versions/{version}/enable", post(changes::enable))
        .route("/plugins/{name}/versions/{version}/disable", post(changes::disable))
        .route("/plugins/{name}/rollback", post(changes::rollback))
        .route("/lock", get(changes::lock))
        .route("/lock/update", post(changes::update))
        .route("/plugins/{name}/versions/{version}/package", get(plugins::package))
        .route("/plugins/{name}/invoke", post(invoke::invoke))
        .route("/invoke", post(invoke::envelope))
        .route("/backup", get(backup::backup))
        .route("/restore", post(backup::restore))
        .route("/stream", get(feed::follow))
        .route("/health", get(health::health))
        .route("/doctor", get(health::doctor))
        .route("/overview", get(series::overview))
        .route("/series", get(series::series))
        .route("/purge", post(purge::purge))
        .route("/alerts", get(alerts::list).post(alerts::receive))
        .route("/drift", get(drift::overview))
        .route("/drift/events", get(drift::events))
        .route("/plugins/{name}/drift", get(drift::version))
        .route("/plugins/{name}/drift/samples", get(drift::samples))
        .route("/plugins/{name}/baselines", get(drift::baselines).post(drift::pin))
        .route("/plugins/{name}/baselines/{id}", get(drift::baseline))
        .route("/invocations/{id}/replay", post(replay::replay))
        .route("/invocations/{id}/cancel", post(asynchronous::cancel))
        .merge(ledger_routes().with_state(api.looking.clone()))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::wrong_method);
    Router::new()
        .nest("/v1", v1)
        .route("/", get(page::index))
        .merge(page::routes())
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/docs/errors", get(docs::errors))
        .route("/docs/errors/{kind}", get(docs::error_page))
        .route("/docs/runbooks", get(docs::runbooks))
        .route("/docs/runbooks/{name}", get(docs::runbook))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(middleware::from_fn(trace_headers::add))
        .with_state(api)
}

/// The routes that need a ledger and nothing else.
pub fn ledger_router(looking: Looking) -> Router {
    Router::new()
        .nest("/v1", ledger_routes().with_state(looking))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::wrong_method)
}

fn ledger_routes() -> Router<Looking> {
    Router::new()
        .route("/invocations", get(looking::invocations))
        .route("/invocations/{id}", get(looking::invocation))
        .route("/traces", get(looking::traces))
        .route("/traces/{trace_id}", get(looking::trace))
        .route("/traces/{trace_id}/otlp", get(export::otlp))
        .route("/logs", get(looking::logs))
        .route("/errors", get(errors::list))
}

/// The value of a header if it is there once and readable.
fn header<'r>(request: &'r http::HeaderMap, name: &str) -> Option<&'r str> {
    request.get(name)?.to_str().ok()
}

/// The trace that a request continues.
fn trace_context(headers: &http::HeaderMap) -> Option<crate::model::trace_context::TraceContext> {
    let all = |name| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    crate::model::trace_context::TraceContext::from_headers(
        all("traceparent"),
        all("tracestate"),
        all("baggage"),
    )
}

/// Runs blocking work (queries, packages) off the threads that serve calls.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Problem::internal("the work behind the request panicked"))
}

/// What everybody may see: the page's files, the description, what operators' tools look at. All else is under `/v1`.
fn is_public(request: &Request) -> bool {
    let path = request.uri().path();
    path != "/v1" && !path.starts_with("/v1/")
}
