//! What a browser gets: a first page that says what is here, and the pages that errors link to.

use axum::response::{Html, IntoResponse, Response};
use http::header;

use super::Problem;
use super::path::Named;
use crate::model::kind::ErrorKind;

const INDEX: &str = include_str!("index.html");

pub async fn index() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(INDEX)).into_response()
}

/// The page of `docs/errors/` about a kind.
pub async fn error_page(Named(kind): Named<String>) -> Result<Response, Problem> {
    let kind = ErrorKind::parse(kind.trim_end_matches(".md")).ok_or_else(|| {
        let known = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        Problem::new(ErrorKind::NotFound, format!("there is no such kind of error; there are: {known}"))
    })?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text_of(kind)).into_response())
}

fn text_of(kind: ErrorKind) -> &'static str {
    macro_rules! page {
        ($name:literal) => {
            include_str!(concat!("../../docs/errors/", $name, ".md"))
        };
    }
    match kind {
        ErrorKind::InvalidInput => page!("invalid_input"),
        ErrorKind::InputTooLarge => page!("input_too_large"),
        ErrorKind::Unauthenticated => page!("unauthenticated"),
        ErrorKind::Forbidden => page!("forbidden"),
        ErrorKind::NotFound => page!("not_found"),
        ErrorKind::Conflict => page!("conflict"),
        ErrorKind::Throttled => page!("throttled"),
        ErrorKind::Cancelled => page!("cancelled"),
        ErrorKind::InvalidOutput => page!("invalid_output"),
        ErrorKind::PluginError => page!("plugin_error"),
        ErrorKind::Crashed => page!("crashed"),
        ErrorKind::MemoryExceeded => page!("memory_exceeded"),
        ErrorKind::OutputTooLarge => page!("output_too_large"),
        ErrorKind::Timeout => page!("timeout"),
        ErrorKind::Unavailable => page!("unavailable"),
        ErrorKind::CircuitOpen => page!("circuit_open"),
        ErrorKind::SandboxViolation => page!("sandbox_violation"),
        ErrorKind::SandboxUnavailable => page!("sandbox_unavailable"),
        ErrorKind::Overloaded => page!("overloaded"),
        ErrorKind::Internal => page!("internal"),
    }
}
