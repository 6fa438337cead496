//! Errors as RFC 9457 problem documents: the one map from kinds to status codes.

use axum::body::Body;
use axum::extract::OriginalUri;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::model::error::InvokeError;
use crate::model::ids::TraceId;
use crate::model::invocation::{Completed, Meta};
use crate::model::kind::ErrorKind;

/// nginx's word for a caller who closed the request; seen in logs only.
const CLIENT_CLOSED_REQUEST: u16 = 499;

pub fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::InputTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Throttled => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Cancelled => StatusCode::from_u16(CLIENT_CLOSED_REQUEST).expect("499 is a status code"),
        ErrorKind::InvalidOutput
        | ErrorKind::PluginError
        | ErrorKind::Crashed
        | ErrorKind::MemoryExceeded
        | ErrorKind::OutputTooLarge
        | ErrorKind::SandboxViolation => StatusCode::BAD_GATEWAY,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Unavailable
        | ErrorKind::CircuitOpen
        | ErrorKind::SandboxUnavailable
        | ErrorKind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a reader sees before the details.
const fn title_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidInput => "The input is not valid",
        ErrorKind::InputTooLarge => "The input is too large",
        ErrorKind::Unauthenticated => "A valid token is needed",
        ErrorKind::Forbidden => "Not allowed",
        ErrorKind::NotFound => "Not found",
        ErrorKind::Conflict => "In conflict with what is there",
        ErrorKind::Throttled => "Too many requests",
        ErrorKind::Cancelled => "The caller left",
        ErrorKind::InvalidOutput => "The plugin's output is not valid",
        ErrorKind::PluginError => "The plugin failed",
        ErrorKind::Crashed => "The plugin's process died",
        ErrorKind::MemoryExceeded => "The plugin used too much memory",
        ErrorKind::OutputTooLarge => "The plugin's output is too large",
        ErrorKind::Timeout => "The call took too long",
        ErrorKind::Unavailable => "The plugin cannot be called now",
        ErrorKind::CircuitOpen => "The plugin's circuit is open",
        ErrorKind::SandboxViolation => "The plugin left its sandbox",
        ErrorKind::SandboxUnavailable => "The sandbox that was asked for is not there",
        ErrorKind::Overloaded => "Too much is under way",
        ErrorKind::Internal => "An error of the host",
    }
}

/// An error on its way out.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    error: InvokeError,
    /// That of the error's kind, but for the few that HTTP has a word of its own for.
    status: StatusCode,
    ids: Option<(String, String)>,
    extra: Map<String, Value>,
}

impl Problem {
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Problem {
        InvokeError::new(kind, detail).into()
    }

    pub fn internal(detail: impl Into<String>) -> Problem {
        Problem::new(ErrorKind::Internal, detail)
    }

    /// The end of a call that failed.
    pub fn of_call(meta: &Meta, error: InvokeError) -> Problem {
        let ids = (meta.invocation_id.to_string(), meta.trace_id.to_string());
        let mut problem = Problem::from(error);
        problem.0.ids = Some(ids);
        problem
    }

    /// Adds a member beyond the common ones.
    pub fn with(mut self, member: &str, value: Value) -> Problem {
        self.0.extra.insert(member.into(), value);
        self
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What happened, without HTTP's part of it.
    pub fn into_error(self) -> InvokeError {
        self.0.error
    }

    /// The document.
    pub fn to_json(&self) -> Value {
        let error = &self.0.error;
        let mut document = json!({
            "type": format!("/docs/errors/{}", error.kind),
            "title": title_of(error.kind),
            "status": self.status().as_u16(),
            "detail": error.message,
            "kind": error.kind.as_str(),
            "blame": error.blame().as_str(),
        });
        let members = document.as_object_mut().expect("it was written as an object");
        if let Some((invocation_id, trace_id)) = &self.0.ids {
            members.insert("invocation_id".into(), invocation_id.as_str().into());
            members.insert("trace_id".into(), trace_id.as_str().into());
        }
        if let Some(help) = &error.help {
            members.insert("help".into(), help.as_str().into());
        }
        if let Some(wait) = error.retry_after {
            members
                .insert("retry_after_ms".into(), u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).into());
        }
        if let Some(id) = error.in_flight {
            members.insert("in_flight_invocation_id".into(), id.to_string().into());
        }
        if !error.fields.is_empty() {
            let field = |field: &crate::model::error::FieldError| json!({"pointer": field.pointer, "message": field.message});
            members.insert("errors".into(), error.fields.iter().map(field).collect());
        }
        if let Some(exception) = &error.exception {
            let exception = json!({"type": exception.type_name, "traceback": exception.traceback});
            members.insert("exception".into(), exception);
        }
        members.extend(self.0.extra.clone());
        document
    }
}

impl From<InvokeError> for Problem {
    fn from(error: InvokeError) -> Problem {
        Problem(Box::new(Parts { status: status_of(error.kind), error, ids: None, extra: Map::new() }))
    }
}

/// The document of a problem that was no call's: the trace of its answer is not known yet.
#[derive(Clone)]
struct Untraced(Value);

/// Puts the answer's trace into a problem that has none.
pub fn trace(response: &mut Response, trace_id: TraceId) {
    let Some(Untraced(mut document)) = response.extensions_mut().remove() else { return };
    document["trace_id"] = trace_id.to_string().into();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(document.to_string());
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = self.to_json();
        let mut response = Response::new(Body::from(document.to_string()));
        if self.0.ids.is_none() {
            response.extensions_mut().insert(Untraced(document));
        }
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(self.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            // Whole seconds, rounded up: who waits so long is not too early. Without a better guess, one.
            let wait = self.0.error.retry_after.map_or(1, |wait| wait.as_millis().div_ceil(1000).max(1));
            let value = HeaderValue::from_str(&wait.to_string()).expect("digits are a header value");
            headers.insert(header::RETRY_AFTER, value);
        }
        if self.status() == StatusCode::PAYLOAD_TOO_LARGE {
            // What is left of the body, beyond what was drained, is not read: the connection is of no more use.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Either end of a call as its JSON document: the body that HTTP and `--json` share.
pub fn document_of(completed: &Completed) -> Result<super::Success<'_>, Problem> {
    match &completed.result {
        Ok(output) => Ok(super::Success::new(output.as_deref(), &completed.meta)),
        Err(error) => Err(Problem::of_call(&completed.meta, error.clone())),
    }
}

pub async fn no_such_route(OriginalUri(uri): OriginalUri) -> Problem {
    let path = crate::model::text::truncate(uri.path(), 200).to_owned();
    InvokeError::new(ErrorKind::NotFound, format!("there is no route {path}"))
        .help("GET /openapi.json lists the routes")
        .into()
}

pub async fn wrong_method(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let path = crate::model::text::truncate(uri.path(), 200).to_owned();
    let problem = InvokeError::new(ErrorKind::NotFound, format!("{method} is not a method of {path}"))
        .help("GET /openapi.json lists the routes and their methods");
    let mut problem = Problem::from(problem);
    problem.0.status = StatusCode::METHOD_NOT_ALLOWED;
    problem
}
