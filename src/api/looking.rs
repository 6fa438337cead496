//! What happened: the routes that read the ledger. They need no host, so that commands can use them on a
//! data folder whose server is not running.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::path::Named;
use super::query::Query;
use super::{LIST_DEFAULT, Problem, blocking};
use crate::host::Host;
use crate::model::error::{FieldError, InvokeError};
use crate::model::guest::Severity;
use crate::model::ids::{InvocationId, TraceId};
use crate::model::kind::{ErrorKind, Outcome};
use crate::store::{self, InvocationFilter, InvocationView, LogFilter, Page, Reader};
use crate::telemetry::ActiveInvocation;

/// How long a query waits for what was recorded just before it.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// The ledger, and the host that is filling it, if it lives in this process.
#[derive(Clone)]
pub struct Looking {
    pub reader: Reader,
    pub host: Option<Arc<Host>>,
}

impl Looking {
    /// Reads once all that ended before this moment can be read.
    async fn read<T: Serialize + Send + 'static>(
        &self,
        query: impl FnOnce(&Reader) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<Json<T>, Problem> {
        let Looking { reader, host } = self.clone();
        let read = move || {
            if let Some(host) = host {
                host.settle(SETTLE_MAX);
            }
            query(&reader)
        };
        blocking(read).await?.map(Json).map_err(Problem::from)
    }

    fn active(&self, id: InvocationId) -> Option<ActiveInvocation> {
        let active = self.host.as_ref()?.telemetry().active();
        active.into_iter().find(|active| active.invocation_id == id)
    }

    /// The calls without an ending that belong to the first page of a list, newest first.
    fn active_fitting(&self, filter: &InvocationFilter) -> Vec<ActiveInvocation> {
        let ended_only = filter.outcome.is_some() || filter.kind.is_some();
        let Some(host) = self.host.as_ref().filter(|_| !ended_only && filter.cursor.is_none()) else {
            return Vec::new();
        };
        let mut active = host.telemetry().active();
        active.retain(|active| fits(active, filter));
        active.sort_by_key(|active| Reverse(active.created_at_unix_ns));
        active
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Problem {
        let mut invoke = InvokeError::new(error.kind(), error.to_string());
        invoke.help = error.help().map(str::to_owned);
        if matches!(error, store::Error::BadCursor) {
            invoke.fields.push(FieldError { pointer: "cursor".into(), message: error.to_string() });
        }
        invoke.into()
    }
}

/// A line in the list of invocations.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    Active(Value),
    Ended(Box<InvocationView>),
}

pub async fn invocations(
    State(looking): State<Looking>,
    RawQuery(query): RawQuery,
) -> Result<Json<impl Serialize>, Problem> {
    let filter = invocation_filter(query.as_deref())?;
    // Looked at first: a call that ends meanwhile is then found in the ledger as well, and left out here.
    let mut active = looking.active_fitting(&filter);
    let limit = filter.limit.unwrap_or(LIST_DEFAULT);
    let Json(mut page) = looking.read(move |reader| reader.invocations(&filter)).await?;
    let ended: HashSet<&str> = page.items.iter().map(|ended| &*ended.invocation_id).collect();
    active.retain(|active| !ended.contains(&*active.invocation_id.to_string()));
    active.truncate(limit);
    page.shorten(limit - active.len());
    let mut items: Vec<(u64, Listed)> = active
        .iter()
        .map(|active| (active.created_at_unix_ns, Listed::Active(active_json(active))))
        .chain(
            page.items
                .into_iter()
                .map(|ended| (ended.created_at_ns.unsigned_abs(), Listed::Ended(Box::new(ended)))),
        )
        .collect();
    items.sort_by_key(|(created_at_ns, _)| Reverse(*created_at_ns));
    let items = items.into_iter().map(|(_, listed)| listed).collect();
    Ok(Json(Page { items, next: page.next }))
}

pub async fn invocation(
    State(looking): State<Looking>,
    Named(id): Named<String>,
) -> Result<Response, Problem> {
    let id = InvocationId::parse(&id)
        .ok_or_else(|| Problem::new(ErrorKind::InvalidInput, "the id of an invocation is a UUID"))?;
    // Looked at first: a call that ends meanwhile is then found in the ledger.
    if let Some(active) = looking.active(id) {
        return Ok(Json(active_json(&active)).into_response());
    }
    let Json(found) = looking.read(move |reader| reader.invocation(id)).await?;
    let found =
        found.ok_or_else(|| Problem::new(ErrorKind::NotFound, format!("there is no invocation {id}")))?;
    // Not by way of a parsed value, which would round the numbers in what went in and came out.
    Ok(Json(found).into_response())
}

pub async fn traces(
    State(looking): State<Looking>,
    RawQuery(query): RawQuery,
) -> Result<Json<impl Serialize>, Problem> {
    let filter = invocation_filter(query.as_deref())?;
    looking.read(move |reader| reader.traces(&filter)).await
}

pub async fn trace(
    State(looking): State<Looking>,
    Named(id): Named<String>,
) -> Result<Json<impl Serialize>, Problem> {
    let id = TraceId::parse(&id).ok_or_else(|| {
        Problem::new(ErrorKind::InvalidInput, "the id of a trace is 32 hex digits in lower case")
    })?;
    let Json(found) = looking.read(move |reader| reader.trace(id)).await?;
    found.map(Json).ok_or_else(|| Problem::new(ErrorKind::NotFound, format!("there is no trace {id}")))
}

pub async fn logs(
    State(looking): State<Looking>,
    RawQuery(query): RawQuery,
) -> Result<Json<impl Serialize>, Problem> {
    let mut query = Query::new(query.as_deref());
    let filter = LogFilter {
        plugin: query.text("plugin"),
        version: query.text("version"),
        outcome: outcome(&mut query),
        kind: kind(&mut query),
        trace_id: query.parsed("trace", |text| {
            TraceId::parse(text).ok_or_else(|| "not 32 hex digits in lower case".into())
        }),
        invocation_id: query
            .parsed("invocation", |text| InvocationId::parse(text).ok_or_else(|| "not a UUID".into())),
        level: query.parsed("level", |text| {
            Severity::parse(text)
                .ok_or_else(|| format!("{text:?} is none of trace, debug, info, warn, error, fatal"))
        }),
        since: query.time("since"),
        until: query.time("until"),
        q: query.text("q"),
        limit: Some(query.limit()),
        cursor: query.text("cursor"),
        after: query.text("after"),
    };
    query.end()?;
    looking.read(move |reader| reader.logs(&filter)).await
}

fn invocation_filter(query: Option<&str>) -> Result<InvocationFilter, Problem> {
    let mut query = Query::new(query);
    let filter = InvocationFilter {
        plugin: query.text("plugin"),
        version: query.text("version"),
        outcome: outcome(&mut query),
        kind: kind(&mut query),
        since: query.time("since"),
        until: query.time("until"),
        q: query.text("q"),
        limit: Some(query.limit()),
        cursor: query.text("cursor"),
    };
    query.end()?;
    Ok(filter)
}

fn outcome(query: &mut Query) -> Option<Outcome> {
    query.parsed("outcome", |text| {
        let known = Outcome::ALL.iter().copied().find(|outcome| outcome.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is none of replied, failed, dropped"))
    })
}

fn kind(query: &mut Query) -> Option<ErrorKind> {
    query.parsed("kind", |text| ErrorKind::parse(text).ok_or_else(|| format!("{text:?} is no kind of error")))
}

/// As the ledger looks at the calls that have ended.
fn fits(active: &ActiveInvocation, filter: &InvocationFilter) -> bool {
    let created_at = created_at(active);
    let found = |q: &str| {
        let holds = |text: &str| text.to_ascii_lowercase().contains(&q.to_ascii_lowercase());
        match (InvocationId::parse(q), TraceId::parse(q)) {
            (Some(id), _) => active.invocation_id == id,
            (None, Some(id)) => active.trace_id == id,
            (None, None) => holds(&active.plugin) || holds(&active.action),
        }
    };
    filter.plugin.as_deref().is_none_or(|plugin| plugin == &*active.plugin)
        && filter.version.as_deref().is_none_or(|version| active.version.as_deref() == Some(version))
        && filter.since.is_none_or(|since| created_at >= since)
        && filter.until.is_none_or(|until| created_at < until)
        && filter.q.as_deref().is_none_or(|q| found(q.trim()))
}

fn created_at(active: &ActiveInvocation) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(active.created_at_unix_ns)
}

/// A call without an ending, in the shape of one that has one. What only the end tells is null.
fn active_json(active: &ActiveInvocation) -> Value {
    json!({
        "invocation_id": active.invocation_id.to_string(),
        "trace_id": active.trace_id.to_string(),
        "plugin": &*active.plugin,
        "version": active.version.as_deref(),
        "action": &*active.action,
        "state": if active.running { "running" } else { "queued" },
        "outcome": null,
        "error": null,
        "attempts": null,
        "created_at": humantime::format_rfc3339_nanos(created_at(active)).to_string(),
        "duration_ms": null,
        "cold_start": null,
        "usage": null,
    })
}
