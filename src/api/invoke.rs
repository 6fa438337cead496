//! Calls: decode the request, knock at the host's door, encode the end.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use semver::VersionReq;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::document_of;
use super::path::Named;
use super::query::Query;
use super::{Api, Problem, asynchronous, body, stream, trace_headers};
use crate::host::Comparison;
use crate::model::error::{FieldError, InvokeError};
use crate::model::invocation::{Completed, DEFAULT_ACTION, Invocation, Meta};
use crate::model::kind::ErrorKind;
use crate::model::limits::Limits;
use crate::model::trace_context::{TraceContext, format_traceparent};
use crate::model::units;
use crate::pipeline::Output;
use crate::telemetry::names::OTHER;

/// No plugin can answer faster; a caller who asks for less only kills its workers.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// Says that a repeat under this key shall not run again (draft-ietf-httpapi-idempotency-key-header).
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
pub(super) const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";
/// What a request may hold beside its input.
const ENVELOPE_BYTES_MAX: u64 = 64 << 10;

/// How a caller wants the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Sync,
    Stream,
    Async {
        /// It was asked for with `Prefer`, which the answer acknowledges.
        preferred: bool,
    },
}

/// The body of `POST /v1/plugins/{name}/invoke`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with input, and perhaps action, version and timeout")]
struct CallBody<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
    action: Option<String>,
    version: Option<String>,
    timeout: Option<String>,
}

/// The body of `POST /v1/invoke`.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with plugin_id and payload, and perhaps action, metadata and signature"
)]
struct Envelope<'a> {
    action: Option<String>,
    plugin_id: String,
    #[serde(borrow)]
    payload: &'a RawValue,
    /// Free for the caller; not looked at.
    #[serde(borrow)]
    #[allow(dead_code, reason = "accepted so that callers may send it, and kept out of the call")]
    metadata: Option<&'a RawValue>,
    /// Not checked yet; accepted so that signing clients work today.
    #[serde(borrow)]
    #[allow(dead_code, reason = "its check belongs to the signature capability")]
    signature: Option<&'a RawValue>,
}

/// The document of a call that replied.
#[derive(Serialize)]
pub struct Success<'a> {
    status: &'static str,
    data: Option<&'a RawValue>,
    meta: MetaDocument<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<&'a Comparison>,
}

impl<'a> Success<'a> {
    pub fn new(output: Option<&'a RawValue>, meta: &'a Meta) -> Success<'a> {
        Success { status: "success", data: output, meta: MetaDocument::new(meta), replay: None }
    }
}

/// The facts of a call as its answer has them.
#[derive(Serialize)]
struct MetaDocument<'a> {
    invocation_id: String,
    trace_id: String,
    plugin: &'a str,
    version: Option<&'a str>,
    action: &'a str,
    attempts: u32,
    duration_ms: f64,
    queue_ms: f64,
    cold_start: bool,
}

impl<'a> MetaDocument<'a> {
    fn new(meta: &'a Meta) -> MetaDocument<'a> {
        let ms = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        MetaDocument {
            invocation_id: meta.invocation_id.to_string(),
            trace_id: meta.trace_id.to_string(),
            plugin: &meta.plugin,
            version: meta.version.as_deref(),
            action: &meta.action,
            attempts: meta.attempts,
            duration_ms: ms(meta.duration),
            queue_ms: ms(meta.queue),
            cold_start: meta.cold_start,
        }
    }
}

pub fn meta_json(meta: &Meta) -> Value {
    serde_json::to_value(MetaDocument::new(meta)).expect("it is a struct of texts and numbers")
}

pub async fn invoke(
    State(api): State<Api>,
    name: Result<Named<String>, Problem>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let parent = super::trace_context(&parts.headers);
    let name = match name {
        Ok(Named(name)) => name,
        // A call of a plugin that cannot exist is a call, and can be found.
        Err(problem) => return answer(&api, OTHER, parent.as_ref(), Err(problem.into_error())).await,
    };
    let decoded = async {
        let mode = mode_of(query.as_deref(), &parts.headers)?;
        let bytes = read(&api, &name, body).await?;
        let body: CallBody<'_> = decode(&bytes)?;
        let invocation = Invocation {
            version: body.version.as_deref().map(parse_version).transpose()?,
            action: body.action.as_deref().unwrap_or(DEFAULT_ACTION).into(),
            timeout: body.timeout.as_deref().map(parse_timeout).transpose()?,
            parent: parent.clone(),
            idempotency_key: idempotency_key(mode, &parts.headers)?,
            ..Invocation::new(name.as_str(), body.input.to_owned(), api.origin)
        };
        Ok((mode, invocation))
    };
    answer(&api, &name, parent.as_ref(), decoded.await).await
}

pub async fn envelope(State(api): State<Api>, RawQuery(query): RawQuery, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let parent = super::trace_context(&parts.headers);
    // Until the body has said which.
    let mut name = OTHER.to_owned();
    let decoded = async {
        let mode = mode_of(query.as_deref(), &parts.headers)?;
        // Which plugin is meant stands in the body: the largest that any of them takes may come.
        let bytes = read_up_to(api.host.input_bytes_max() + ENVELOPE_BYTES_MAX, body).await?;
        let envelope: Envelope<'_> = decode(&bytes)?;
        name.clone_from(&envelope.plugin_id);
        let invocation = Invocation {
            action: envelope.action.as_deref().unwrap_or(DEFAULT_ACTION).into(),
            parent: parent.clone(),
            idempotency_key: idempotency_key(mode, &parts.headers)?,
            ..Invocation::new(envelope.plugin_id, envelope.payload.to_owned(), api.origin)
        };
        Ok((mode, invocation))
    }
    .await;
    answer(&api, &name, parent.as_ref(), decoded).await
}

async fn answer(
    api: &Api,
    name: &str,
    parent: Option<&TraceContext>,
    decoded: Result<(Mode, Invocation), InvokeError>,
) -> Response {
    match decoded {
        Ok((Mode::Sync, invocation)) => encode(&api.host.invoke(invocation, Output::whole()).await),
        Ok((Mode::Stream, invocation)) => stream::answer(&api.host, invocation),
        Ok((Mode::Async { preferred }, invocation)) => {
            let mut response = asynchronous::accept(api, invocation).await;
            if preferred && response.status() == StatusCode::ACCEPTED {
                let applied = HeaderValue::from_static("respond-async");
                response.headers_mut().insert("preference-applied", applied);
            }
            response
        }
        Err(error) => encode(&api.host.refuse(name, parent, api.origin, error)),
    }
}

pub(super) fn encode(completed: &Completed) -> Response {
    encode_with(completed, None)
}

/// The answer to a replay: that of any call, and how it compares with the first one.
pub(super) fn encode_replay(completed: &Completed, comparison: &Comparison) -> Response {
    encode_with(completed, Some(comparison))
}

fn encode_with(completed: &Completed, replay: Option<&Comparison>) -> Response {
    let mut response = match document_of(completed) {
        Ok(success) => {
            let success = Success { replay, ..success };
            let body = serde_json::to_vec(&success).expect("the document is JSON all through");
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(problem) => match replay {
            // Nothing came out, so no number of an output can be rounded here.
            Some(replay) => problem.with("replay", json!(replay)).into_response(),
            None => problem.into_response(),
        },
    };
    let meta = &completed.meta;
    trace_headers::set(
        &mut response,
        &format_traceparent(meta.trace_id, meta.root_span_id, meta.trace_flags),
    );
    if meta.replay_of.is_some() {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// `?mode=` says it outright; else `Prefer` (RFC 7240) and `Accept` are looked at.
fn mode_of(query: Option<&str>, headers: &HeaderMap) -> Result<Mode, InvokeError> {
    let asked = Query::new(query).text("mode");
    let mode = match asked.as_deref() {
        Some(mode) => mode,
        None if prefers_async(headers) => return Ok(Mode::Async { preferred: true }),
        None if prefers_events(headers) => "stream",
        None => "sync",
    };
    match mode {
        "sync" => Ok(Mode::Sync),
        "stream" => Ok(Mode::Stream),
        "async" => Ok(Mode::Async { preferred: false }),
        other => Err(InvokeError::new(ErrorKind::InvalidInput, format!("{other:?} is no mode"))
            .help("mode is sync, async or stream")),
    }
}

/// The value of `Idempotency-Key` as it is written.
fn idempotency_key(mode: Mode, headers: &HeaderMap) -> Result<Option<Arc<str>>, InvokeError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    let invalid = |why: String| {
        let mut error = InvokeError::new(ErrorKind::InvalidInput, format!("the idempotency key {why}"));
        error.fields.push(FieldError { pointer: IDEMPOTENCY_KEY.into(), message: why });
        error
    };
    if mode == Mode::Stream {
        return Err(invalid("cannot be used with a stream".into()).help("use mode sync or async"));
    }
    let key = value.as_bytes();
    let fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    if !fits || values.next().is_some() {
        let help = "a random UUID for each new request is a good one";
        let why = format!("must be one value of 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters");
        return Err(invalid(why).help(help));
    }
    Ok(std::str::from_utf8(key).ok().map(Arc::from))
}

fn prefers_async(headers: &HeaderMap) -> bool {
    let name = |preference: &str| preference.split([';', '=']).next().unwrap_or_default().trim().to_owned();
    listed(headers, &header::HeaderName::from_static("prefer"))
        .any(|preference| name(preference).eq_ignore_ascii_case("respond-async"))
}

/// `Accept` names a stream, and nothing that the whole reply would be with a higher weight (RFC 9110, 12.5.1).
fn prefers_events(headers: &HeaderMap) -> bool {
    let weight_of = |wanted: &str| {
        let ranges = listed(headers, &header::ACCEPT).map(weighted);
        ranges.filter(|(range, _)| range.eq_ignore_ascii_case(wanted)).map(|(_, weight)| weight).next()
    };
    let events = weight_of("text/event-stream").unwrap_or(0.0);
    let whole = ["application/json", "application/*", "*/*"].into_iter().find_map(weight_of).unwrap_or(0.0);
    events > 0.0 && events >= whole
}

/// The members of a header that is a list, in however many lines.
fn listed<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// A media range and its weight, which is 1 where nothing readable says otherwise.
fn weighted(range: &str) -> (&str, f32) {
    let mut parts = range.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().ok())?
    });
    (range, weight.unwrap_or(1.0))
}

async fn read(api: &Api, name: &str, body: Body) -> Result<Bytes, InvokeError> {
    // Which version is meant stands in the body; validation holds the input against that one's own limit.
    let versions = api.host.registry().versions(name);
    let limit = versions.iter().map(|live| live.manifest.limits.input_bytes_max).max();
    // An unknown plugin's input is read as well, within the usual bound, so that the answer is `not_found`.
    read_up_to(limit.unwrap_or(Limits::default().input_bytes_max) + ENVELOPE_BYTES_MAX, body).await
}

async fn read_up_to(bytes_max: u64, body: Body) -> Result<Bytes, InvokeError> {
    body::read(body, bytes_max, "send less, or raise limits.max_input of the plugin").await
}

pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, InvokeError> {
    let malformed = |why: &str| {
        let message = format!("the request is not as it should be: {why}");
        let mut invalid = InvokeError::new(ErrorKind::InvalidInput, message)
            .help("GET /openapi.json describes the request");
        invalid.fields.push(FieldError { pointer: String::new(), message: why.to_owned() });
        invalid
    };
    match bytes.trim_ascii_start() {
        [] => Err(malformed("it has no body, expected a JSON object")),
        // serde would take a list of the members in their order.
        [b'[', ..] => Err(malformed("it is a list, expected an object")),
        _ => serde_json::from_slice(bytes).map_err(|error| malformed(&error.to_string())),
    }
}

pub(super) fn parse_version(text: &str) -> Result<VersionReq, InvokeError> {
    crate::registry::split::parse_range(text).map_err(|error| {
        let mut invalid =
            InvokeError::new(ErrorKind::InvalidInput, format!("{text:?} is no version range: {error}"));
        invalid.fields.push(FieldError { pointer: "/version".into(), message: error.to_string() });
        invalid
    })
}

pub(super) fn parse_timeout(text: &str) -> Result<Duration, InvokeError> {
    let parsed = units::parse_duration(text).map_err(|error| error.to_string());
    let long_enough = parsed.and_then(|timeout| {
        if timeout < TIMEOUT_MIN { Err("it is at least 1ms".to_owned()) } else { Ok(timeout) }
    });
    long_enough.map_err(|error| {
        let mut invalid =
            InvokeError::new(ErrorKind::InvalidInput, format!("the timeout is not valid: {error}"));
        invalid.fields.push(FieldError { pointer: "/timeout".into(), message: error.to_string() });
        invalid
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(query: Option<&str>, name: &'static str, value: &'static str) -> Result<Mode, ErrorKind> {
        let headers =
            HeaderMap::from_iter([(header::HeaderName::from_static(name), HeaderValue::from_static(value))]);
        mode_of(query, &headers).map_err(|error| error.kind)
    }

    #[test]
    fn accept_decides_by_weight() {
        for streams in [
            "text/event-stream",
            "TEXT/Event-Stream;q=0.3",
            "application/json, text/event-stream",
            "text/event-stream, */*;q=0.1",
            "application/json;q=0.5,text/event-stream;charset=utf-8;q=0.9",
        ] {
            assert_eq!(mode(None, "accept", streams), Ok(Mode::Stream), "{streams}");
        }
        for whole in [
            "",
            "*/*",
            "text/*",
            "text/event-stream;q=0",
            "text/event-stream; q=0.000, application/json",
            "text/event-stream;q=0.5, application/json",
            "text/event-stream;q=0.5, */*",
            "text/event-streams",
        ] {
            assert_eq!(mode(None, "accept", whole), Ok(Mode::Sync), "{whole}");
        }
    }

    #[test]
    fn a_mode_is_decoded_and_goes_before_headers() {
        assert_eq!(mode(Some("x=1&mode=%73tream"), "accept", "application/json"), Ok(Mode::Stream));
        assert_eq!(mode(Some("mode=sync"), "accept", "text/event-stream"), Ok(Mode::Sync));
        assert_eq!(mode(Some("mode=loud"), "accept", "*/*"), Err(ErrorKind::InvalidInput));
        assert_eq!(mode(None, "prefer", "wait=10, Respond-Async"), Ok(Mode::Async { preferred: true }));
        assert_eq!(mode(Some("mode=sync"), "prefer", "respond-async"), Ok(Mode::Sync));
        assert_eq!(mode(Some("mode=async"), "accept", "*/*"), Ok(Mode::Async { preferred: false }));
        assert_eq!(mode(None, "prefer", "not-respond-async"), Ok(Mode::Sync));
    }

    #[test]
    fn keys_are_bounded_and_visible() {
        let long = "k".repeat(255);
        for (keys, good) in [
            (vec!["a"], true),
            (vec![&*long], true),
            (vec!["\"quoted\""], true),
            (vec![&*format!("{long}k")], false),
            (vec![""], false),
            (vec!["two words"], false),
            (vec!["a", "a"], false),
        ] {
            let mut headers = HeaderMap::new();
            for key in &keys {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::from_str(key).unwrap());
            }
            assert_eq!(idempotency_key(Mode::Sync, &headers).is_ok(), good, "{keys:?}");
            assert!(idempotency_key(Mode::Stream, &headers).is_err());
        }
        assert_eq!(idempotency_key(Mode::Stream, &HeaderMap::new()), Ok(None));
    }
}
