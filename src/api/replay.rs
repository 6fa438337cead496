//! `POST /v1/invocations/{id}/replay`: the kept input of an earlier call, run again as a call of its own.

use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use serde::Deserialize;

use super::invoke::{IDEMPOTENCY_KEY, decode, encode_replay, parse_timeout, parse_version};
use super::looking::invocation_id;
use super::path::Named;
use super::query::Query;
use super::{Api, Problem, body};
use crate::host::{compare, replay_of};
use crate::model::kind::ErrorKind;
use crate::pipeline::Output;

/// There is no input in it.
const BODY_BYTES_MAX: u64 = 64 << 10;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with on and timeout, or no body at all")]
struct ReplayBody {
    on: Option<String>,
    timeout: Option<String>,
}

pub async fn replay(
    State(api): State<Api>,
    Named(id): Named<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let id = invocation_id(&id)?;
    Query::new(query.as_deref()).end()?;
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(IDEMPOTENCY_KEY) {
        let message = "an idempotency key cannot be used with a replay, whose purpose is to run again";
        return Err(Problem::new(ErrorKind::InvalidInput, message));
    }
    let bytes = body::read(body, BODY_BYTES_MAX, "send only on and timeout").await?;
    let asked =
        if bytes.trim_ascii().is_empty() { ReplayBody::default() } else { decode::<ReplayBody>(&bytes)? };
    let on = asked.on.as_deref().map(parse_version).transpose()?;
    let timeout = asked.timeout.as_deref().map(parse_timeout).transpose()?;
    let original = api.looking.ended(id).await?;
    let mut invocation = replay_of(id, &original, on, timeout, api.origin)?;
    invocation.parent = super::trace_context(&parts.headers);
    let completed = api.host.invoke(invocation, Output::whole()).await;
    Ok(encode_replay(&completed, &compare(&original, &completed)))
}
