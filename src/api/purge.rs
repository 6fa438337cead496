//! Deletes what is kept of calls.

use std::time::SystemTime;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::query::parse_time;
use super::{Api, Problem, blocking, body};
use crate::model::error::{FieldError, InvokeError};
use crate::model::ids::TraceId;
use crate::model::kind::ErrorKind;
use crate::store::PurgeFilter;

const BODY_BYTES_MAX: u64 = 64 << 10;

pub async fn purge(State(api): State<Api>, body: Body) -> Result<Json<Value>, Problem> {
    let bytes = body::read(body, BODY_BYTES_MAX, "name a plugin, a trace or a time").await?;
    let filter = filter(&bytes)?;
    let host = api.host.clone();
    let deleted = blocking(move || host.purge(&filter)).await?.map_err(Problem::from)?;
    Ok(Json(json!({ "deleted": deleted })))
}

/// Every mistake at once; nothing at all is one, too.
fn filter(bytes: &[u8]) -> Result<PurgeFilter, InvokeError> {
    let unreadable =
        |why: String| InvokeError::new(ErrorKind::InvalidInput, format!("the body is no JSON object: {why}"));
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
    crate::model::json::check(text).map_err(|error| unreadable(error.to_string()))?;
    let mut document: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    let mut mistakes = Vec::new();
    let mut member = |name: &str| match document.remove(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        Some(_) => {
            mistakes.push(FieldError {
                pointer: format!("/{name}"),
                message: "not a text with something in it".into(),
            });
            None
        }
    };
    let (plugin, trace, before) = (member("plugin"), member("trace_id"), member("before"));
    let trace_id = trace.and_then(|text| {
        let id = TraceId::parse(&text);
        if id.is_none() {
            let message = "not 32 hex digits in lower case".into();
            mistakes.push(FieldError { pointer: "/trace_id".into(), message });
        }
        id
    });
    let before_ns = before.and_then(|text| match parse_time(&text, SystemTime::now()) {
        Ok(time) => {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Some(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
        }
        Err(message) => {
            mistakes.push(FieldError { pointer: "/before".into(), message });
            None
        }
    });
    for key in document.keys() {
        mistakes.push(FieldError { pointer: format!("/{key}"), message: "there is no such member".into() });
    }
    let filter = PurgeFilter { plugin, trace_id, before_ns };
    if mistakes.is_empty() && filter.is_empty() {
        let error = InvokeError::new(ErrorKind::InvalidInput, "nothing says what is to be deleted");
        return Err(error.help("give at least one of plugin, trace_id and before"));
    }
    let Some(first) = mistakes.first() else { return Ok(filter) };
    let detail = format!("the body is not valid: {}: {}", first.pointer, first.message);
    let mut error = InvokeError::new(ErrorKind::InvalidInput, detail);
    error.fields = mistakes;
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_must_be_named_and_be_understood() {
        assert_eq!(filter(br#"{"plugin": "echo"}"#).unwrap().plugin.as_deref(), Some("echo"));
        let both =
            filter(br#"{"before": "1970-01-01T00:00:01Z", "trace_id": "0af7651916cd43dd8448eb211c80319c"}"#);
        let both = both.unwrap();
        assert_eq!(both.before_ns, Some(1_000_000_000));
        assert!(both.trace_id.is_some());
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"plugin": null}"#,
            r#"{"plugin": ""}"#,
            r#"{"plugin": 1}"#,
            r#"{"trace_id": "x"}"#,
            r#"{"before": "soon"}"#,
            r#"{"plugin": "echo", "plugni": "x"}"#,
        ] {
            assert!(filter(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
