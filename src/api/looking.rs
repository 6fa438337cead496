//! What happened: the routes that read the ledger. They need no host, so that commands can use them on a
//! data folder whose server is not running.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::path::Named;
use super::query::Query;
use super::{LIST_DEFAULT, LIST_MAX, Problem, blocking};
use crate::host::Host;
use crate::model::error::{FieldError, InvokeError};
use crate::model::guest::Severity;
use crate::model::ids::{InvocationId, TraceId};
use crate::model::kind::{ErrorKind, Outcome};
use crate::model::units;
use crate::store::calls::{CallView, CallsReader};
use crate::store::{
    self, InvocationDetail, InvocationFilter, InvocationView, LogFilter, Page, Reader, TraceView,
};
use crate::telemetry::ActiveInvocation;

/// How long a query waits for what was recorded just before it.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// `?wait=` takes no more.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often a waiting request looks by itself: the ends of synchronous calls, and those in another process,
/// are not told.
const WAIT_LOOK: Duration = Duration::from_millis(100);
/// The states of a call that waits, that an instance has, and that has ended.
const QUEUED: &str = "queued";
const RUNNING: &str = "running";
const DONE: &str = "done";

/// Looks at once, of all callers; the others wait. Each has a thread and a connection to the files, and threads are
/// what calls need, too.
const LOOKS_MAX: usize = 16;
static LOOKS: Semaphore = Semaphore::const_new(LOOKS_MAX);

async fn look<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let _place = LOOKS.acquire().await.expect("the semaphore is never closed");
    blocking(work).await
}

/// The ledger, and the host that is filling it, if it lives in this process.
#[derive(Clone)]
pub struct Looking {
    pub reader: Reader,
    /// Asynchronous calls that wait or have a result, which the ledger does not know.
    pub calls: CallsReader,
    pub host: Option<Arc<Host>>,
}

impl Looking {
    /// Reads once all that ended before this moment can be read.
    pub(super) async fn read<T: Serialize + Send + 'static>(
        &self,
        query: impl FnOnce(&Reader) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<Json<T>, Problem> {
        let Looking { reader, host, .. } = self.clone();
        let read = move || {
            if let Some(host) = host {
                host.settle(SETTLE_MAX);
            }
            query(&reader)
        };
        look(read).await?.map(Json).map_err(Problem::from)
    }

    fn active(&self, id: InvocationId) -> Option<ActiveInvocation> {
        let active = self.host.as_ref()?.telemetry().active();
        active.into_iter().find(|active| active.invocation_id == id)
    }

    /// The calls without an ending that belong to the first page of a list.
    async fn pending_fitting(&self, filter: &InvocationFilter) -> Result<Vec<Pending>, Problem> {
        if filter.outcome.is_some() || filter.kind.is_some() || filter.cursor.is_some() {
            return Ok(Vec::new());
        }
        let calls = self.calls.clone();
        let waiting = look(move || calls.pending(LIST_MAX)).await??;
        let active = self.host.as_ref().map(|host| host.telemetry().active()).unwrap_or_default();
        let mut active: HashMap<InvocationId, ActiveInvocation> =
            active.into_iter().map(|active| (active.invocation_id, active)).collect();
        let waiting = waiting.into_iter().filter_map(|call| {
            let active = active.remove(&InvocationId::parse(&call.invocation_id)?);
            Pending::of_call(&self.as_it_stands(call, active.as_ref()))
        });
        let mut pending: Vec<Pending> = waiting.collect();
        pending.extend(active.values().map(Pending::of_active));
        pending.retain(|pending| pending.fits(filter));
        Ok(pending)
    }

    async fn call(&self, id: InvocationId) -> Result<Option<CallView>, Problem> {
        let calls = self.calls.clone();
        Ok(look(move || calls.call(id)).await??)
    }

    /// An asynchronous call without an ending, with what only its delivery knows.
    fn as_it_stands(&self, mut call: CallView, active: Option<&ActiveInvocation>) -> CallView {
        match active {
            Some(active) => {
                call.state = state(active).to_owned();
                call.version = active.version.as_deref().map(str::to_owned);
                call.attempts = active.attempts;
            }
            // It has left the queue, and its delivery has not begun.
            None if self.host.is_some() => call.state = QUEUED.to_owned(),
            None => {}
        }
        call
    }

    /// Waits until the invocation has an ending, or `longest` is over.
    async fn wait_for_end(&self, id: InvocationId, longest: Duration) -> Result<(), Problem> {
        let until = Instant::now() + longest;
        loop {
            // Listening begins before the look: an ending in between is heard.
            let mut endings = self.host.as_ref().map(|host| host.endings());
            let (waits, running) = match self.call(id).await? {
                Some(call) => (call.state != DONE, call.state == RUNNING),
                None => (self.active(id).is_some(), true),
            };
            if !waits || Instant::now() >= until || self.ends_waits(running) {
                return Ok(());
            }
            let heard = async {
                match &mut endings {
                    Some(endings) => while endings.recv().await.is_ok_and(|ended| ended != id) {},
                    None => std::future::pending().await,
                }
            };
            let look = (Instant::now() + WAIT_LOOK).min(until);
            let _ = timeout_at(look, heard).await;
        }
    }

    /// Whether the host stops, so that a call comes to no end here any more: one that only waits in the queue
    /// when the host begins to stop, one that runs when it is cut off.
    fn ends_waits(&self, running: bool) -> bool {
        let host = self.host.as_ref();
        host.is_some_and(|host| if running { host.is_cut_off() } else { !host.not_ready().is_empty() })
    }

    /// One invocation that has ended, with all that was kept of it.
    pub(super) async fn ended(&self, id: InvocationId) -> Result<InvocationDetail, Problem> {
        // Looked at first: a call that ends meanwhile is then found in the ledger.
        let active = self.active(id);
        let call = self.call(id).await?;
        if call.as_ref().map_or(active.is_some(), |call| call.state != DONE) {
            let message = format!("the invocation {id} has not ended; its input is kept when it has");
            return Err(Problem::new(ErrorKind::Conflict, message));
        }
        let Json(found) = self.read(move |reader| reader.invocation(id)).await?;
        match (found, call) {
            (Some(found), Some(call)) => Ok(with_result(found, call)),
            (Some(found), None) => Ok(found),
            (None, Some(_)) => Err(Problem::new(
                ErrorKind::Conflict,
                format!("the input of the invocation {id} was not kept"),
            )),
            (None, None) => Err(Problem::new(ErrorKind::NotFound, format!("there is no invocation {id}"))),
        }
    }

    /// Spans and log lines of a trace.
    pub(super) async fn trace(&self, id: TraceId) -> Result<TraceView, Problem> {
        let Json(found) = self.read(move |reader| reader.trace(id)).await?;
        found.ok_or_else(|| Problem::new(ErrorKind::NotFound, format!("there is no trace {id}")))
    }

    /// The document of one invocation, wherever it stands.
    pub(super) async fn document(&self, id: InvocationId) -> Result<Response, Problem> {
        // Looked at first: a call that ends meanwhile is then found in the ledger.
        let active = self.active(id);
        let call = self.call(id).await?;
        let call = match (call, &active) {
            (Some(call), _) if call.state != DONE => {
                return Ok(Json(self.as_it_stands(call, active.as_ref())).into_response());
            }
            (None, Some(active)) => return Ok(Json(Pending::of_active(active).document).into_response()),
            (call, _) => call,
        };
        let Json(found) = self.read(move |reader| reader.invocation(id)).await?;
        // Not by way of a parsed value, which would round the numbers in what went in and came out.
        match (found, call) {
            (Some(found), Some(call)) => Ok(Json(with_result(found, call)).into_response()),
            (Some(found), None) => Ok(Json(found).into_response()),
            // It ended when the ledger could not hear of it.
            (None, Some(call)) => Ok(Json(call).into_response()),
            (None, None) => Err(Problem::new(ErrorKind::NotFound, format!("there is no invocation {id}"))),
        }
    }
}

/// An asynchronous call's result is kept whole, for who asked for it.
fn with_result(mut found: InvocationDetail, call: CallView) -> InvocationDetail {
    if call.output.is_some() {
        found.output = call.output;
        found.output_truncated = false;
        found.output_redacted = false;
    }
    found
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Problem {
        let cursor = matches!(error, store::Error::BadCursor);
        let mut invoke = InvokeError::from(error);
        if cursor {
            invoke.fields.push(FieldError { pointer: "cursor".into(), message: invoke.message.clone() });
        }
        invoke.into()
    }
}

/// A line in the list of invocations.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    Pending(Value),
    Ended(Box<InvocationView>),
}

pub async fn invocations(
    State(looking): State<Looking>,
    RawQuery(query): RawQuery,
) -> Result<Json<impl Serialize>, Problem> {
    let filter = invocation_filter(query.as_deref())?;
    // Looked at first: a call that ends meanwhile is then found in the ledger as well, and left out here.
    let mut pending = looking.pending_fitting(&filter).await?;
    let limit = filter.limit.unwrap_or(LIST_DEFAULT);
    let Json(mut page) = looking.read(move |reader| reader.invocations(&filter)).await?;
    let ended: HashSet<&str> = page.items.iter().map(|ended| &*ended.invocation_id).collect();
    pending.retain(|pending| !ended.contains(&*pending.invocation_id.to_string()));
    pending.sort_by_key(|pending| Reverse(pending.created_at_unix_ns));
    pending.truncate(limit);
    page.shorten(limit - pending.len());
    let mut items: Vec<(u64, Listed)> = pending
        .into_iter()
        .map(|pending| (pending.created_at_unix_ns, Listed::Pending(pending.document)))
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
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = invocation_id(&id)?;
    let mut query = Query::new(query.as_deref());
    let wait = query.parsed("wait", |text| match units::parse_duration(text) {
        Ok(wait) if wait <= WAIT_MAX => Ok(wait),
        Ok(_) => Err(format!("at most {}", units::format_duration(WAIT_MAX))),
        Err(error) => Err(error.to_string()),
    });
    query.end()?;
    if let Some(wait) = wait {
        looking.wait_for_end(id, wait).await?;
    }
    looking.document(id).await
}

pub(super) fn invocation_id(text: &str) -> Result<InvocationId, Problem> {
    let problem = || Problem::new(ErrorKind::InvalidInput, "the id of an invocation is a UUID");
    InvocationId::parse(text).ok_or_else(problem)
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
    looking.trace(trace_id_of(&id)?).await.map(Json)
}

pub(super) fn trace_id_of(text: &str) -> Result<TraceId, Problem> {
    let problem =
        || Problem::new(ErrorKind::InvalidInput, "the id of a trace is 32 hex digits in lower case");
    TraceId::parse(text).ok_or_else(problem)
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
        trace_id: trace_id(&mut query, "trace"),
        invocation_id: query
            .parsed("invocation", |text| InvocationId::parse(text).ok_or_else(|| "not a UUID".into())),
        level: level(&mut query),
        since: query.time("since"),
        until: query.time("until"),
        q: query.search(),
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
        q: query.search(),
        limit: Some(query.limit()),
        cursor: query.text("cursor"),
    };
    query.end()?;
    Ok(filter)
}

pub(super) fn trace_id(query: &mut Query, name: &str) -> Option<TraceId> {
    query.parsed(name, |text| TraceId::parse(text).ok_or_else(|| "not 32 hex digits in lower case".into()))
}

pub(super) fn level(query: &mut Query) -> Option<Severity> {
    query.parsed("level", |text| {
        Severity::parse(text)
            .ok_or_else(|| format!("{text:?} is none of trace, debug, info, warn, error, fatal"))
    })
}

pub(super) fn outcome(query: &mut Query) -> Option<Outcome> {
    query.parsed("outcome", |text| {
        let known = Outcome::ALL.iter().copied().find(|outcome| outcome.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is none of replied, failed, dropped"))
    })
}

pub(super) fn kind(query: &mut Query) -> Option<ErrorKind> {
    query.parsed("kind", |text| ErrorKind::parse(text).ok_or_else(|| format!("{text:?} is no kind of error")))
}

/// A call that has begun and not ended, as lists show it.
pub(super) fn under_way(active: &ActiveInvocation) -> Value {
    Pending::of_active(active).document
}

/// A call without an ending, in the shape of one that has one. What only the end tells is null.
struct Pending {
    invocation_id: InvocationId,
    trace_id: String,
    plugin: String,
    version: Option<String>,
    action: String,
    created_at_unix_ns: u64,
    document: Value,
}

impl Pending {
    fn of_active(active: &ActiveInvocation) -> Pending {
        let version = active.version.as_deref().map(str::to_owned);
        let document = json!({
            "invocation_id": active.invocation_id.to_string(),
            "trace_id": active.trace_id.to_string(),
            "plugin": &*active.plugin,
            "version": version,
            "action": &*active.action,
            "state": state(active),
            "outcome": null,
            "error": null,
            "attempts": null,
            "created_at": humantime::format_rfc3339_nanos(time(active.created_at_unix_ns)).to_string(),
            "duration_ms": null,
            "cold_start": null,
            "usage": null,
        });
        Pending {
            invocation_id: active.invocation_id,
            trace_id: active.trace_id.to_string(),
            plugin: active.plugin.to_string(),
            version,
            action: active.action.to_string(),
            created_at_unix_ns: active.created_at_unix_ns,
            document,
        }
    }

    fn of_call(call: &CallView) -> Option<Pending> {
        Some(Pending {
            invocation_id: InvocationId::parse(&call.invocation_id)?,
            trace_id: call.trace_id.clone(),
            plugin: call.plugin.clone(),
            version: call.version.clone(),
            action: call.action.clone(),
            created_at_unix_ns: call.created_at_ns.unsigned_abs(),
            document: serde_json::to_value(call).ok()?,
        })
    }

    /// As the ledger looks at the calls that have ended.
    fn fits(&self, filter: &InvocationFilter) -> bool {
        let created_at = time(self.created_at_unix_ns);
        let found = |q: &str| {
            let holds = |text: &str| text.to_ascii_lowercase().contains(&q.to_ascii_lowercase());
            match (InvocationId::parse(q), TraceId::parse(q)) {
                (Some(id), _) => self.invocation_id == id,
                (None, Some(id)) => self.trace_id == id.to_string(),
                (None, None) => holds(&self.plugin) || holds(&self.action),
            }
        };
        filter.plugin.as_deref().is_none_or(|plugin| plugin == self.plugin)
            && filter.version.as_deref().is_none_or(|version| self.version.as_deref() == Some(version))
            && filter.since.is_none_or(|since| created_at >= since)
            && filter.until.is_none_or(|until| created_at < until)
            && filter.q.as_deref().is_none_or(|q| found(q.trim()))
    }
}

fn state(active: &ActiveInvocation) -> &'static str {
    if active.running { RUNNING } else { QUEUED }
}

fn time(unix_ns: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_ns)
}
