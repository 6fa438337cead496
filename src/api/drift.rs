//! Drift of the plugins' values: how it stands, what happened, and the baselines that calls are compared with.

use std::io::BufReader;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use semver::Version;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::path::Named;
use super::plugins::unknown;
use super::query::Query;
use super::{Api, Problem, blocking, body};
use crate::drift::lines::{LinesError, MISTAKES_MAX};
use crate::drift::picture::{BaselineHead, EventKind, VersionDrift};
use crate::drift::{BASELINE_LINES_MAX, PinError};
use crate::model::error::{FieldError, InvokeError};
use crate::model::kind::ErrorKind;
use crate::model::text::truncate;
use crate::store::Page;
use crate::store::drift::{BaselineFilter, BaselineRow, EventFilter, StoredEvent};

/// A file of calls that is to become a baseline.
const BASELINE_BYTES_MAX: u64 = 64 << 20;
/// So many are read at once; one more waits so long for its turn.
const READS_MAX: usize = 2;
const READ_WAIT_MAX: Duration = Duration::from_secs(30);
static READS: Semaphore = Semaphore::const_new(READS_MAX);

/// All versions that are watched.
pub async fn overview(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    Query::new(query.as_deref()).end()?;
    let items = blocking(move || api.host.drift_overview()).await?;
    Ok(Json(json!({"items": items, "next": null})))
}

/// One version: unless another is named, the one that takes calls.
pub async fn version(
    State(api): State<Api>,
    Named(name): Named<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<VersionDrift>, Problem> {
    let mut query = Query::new(query.as_deref());
    let asked = asked(&mut query);
    query.end()?;
    let version = version_of(&api, &name, asked)?;
    let drift = api.host.drift().clone();
    let (plugin, of) = (name.clone(), version.clone());
    let found = blocking(move || drift.version(&plugin, &of)).await?;
    found.map(Json).ok_or_else(|| unwatched(&name, &version).into())
}

/// What happened, newest first.
pub async fn events(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<impl Serialize>, Problem> {
    let mut query = Query::new(query.as_deref());
    let filter = EventFilter {
        plugin: query.text("plugin"),
        version: query.text("version"),
        kind: query.parsed("type", |text| {
            let known = EventKind::ALL.map(EventKind::as_str);
            let found = known.contains(&text).then(|| text.to_owned());
            found.ok_or_else(|| format!("{text:?} is none of {}", known.join(", ")))
        }),
        limit: u32::try_from(query.limit()).unwrap_or(u32::MAX),
        cursor: query.text("cursor"),
    };
    query.end()?;
    let drift = api.host.drift().clone();
    let page = blocking(move || drift.events(&filter)).await??;
    let document = |event: StoredEvent| RawValue::from_string(event.document);
    let items: Result<Vec<Box<RawValue>>, _> = page.items.into_iter().map(document).collect();
    let items = items.map_err(|_| Problem::internal("an event of drift that was kept is no JSON"))?;
    Ok(Json(Page { items, next: page.next }))
}

/// The watched values of some calls, as lines of calls.
pub async fn samples(
    State(api): State<Api>,
    Named(name): Named<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let asked = asked(&mut query);
    query.end()?;
    let version = version_of(&api, &name, asked)?;
    let drift = api.host.drift().clone();
    let (plugin, of) = (name.clone(), version.clone());
    let (watched, samples) =
        blocking(move || (drift.version(&plugin, &of).is_some(), drift.samples(&plugin, &of))).await?;
    if !watched {
        return Err(unwatched(&name, &version).into());
    }
    let lines = samples.ok_or_else(|| {
        InvokeError::new(ErrorKind::Conflict, format!("{name} {version} keeps no samples"))
            .help("ask for them in its manifest: `observe: {samples: 100}`")
    })?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

// === baselines ===

/// A baseline without its counts.
#[derive(Serialize)]
struct Listed {
    id: String,
    plugin: String,
    version: String,
    source: String,
    created_at: String,
    calls: u64,
    fields: u64,
    pinned: bool,
}

pub async fn baselines(
    State(api): State<Api>,
    Named(name): Named<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<impl Serialize>, Problem> {
    let mut query = Query::new(query.as_deref());
    let filter = BaselineFilter {
        plugin: name.clone(),
        version: asked(&mut query).map(|version| version.to_string()),
        limit: u32::try_from(query.limit()).unwrap_or(u32::MAX),
        cursor: query.text("cursor"),
    };
    query.end()?;
    let drift = api.host.drift().clone();
    let page = blocking(move || drift.baselines(&filter)).await??;
    if page.items.is_empty() && api.host.registry().versions(&name).is_empty() {
        return Err(unknown(&name, None));
    }
    Ok(Json(Page { items: page.items.into_iter().map(Listed::of).collect(), next: page.next }))
}

/// One baseline with its bins and counts.
pub async fn baseline(
    State(api): State<Api>,
    Named((name, id)): Named<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let drift = api.host.drift().clone();
    let (plugin, wanted) = (name.clone(), id.clone());
    let stored = blocking(move || drift.baseline(&plugin, &wanted)).await??;
    let stored = stored.ok_or_else(|| Problem::from(no_baseline(&name, &id)))?;
    let content: Value = serde_json::from_str(&stored.document)
        .map_err(|_| Problem::internal("a baseline that was kept is no JSON"))?;
    let mut document = serde_json::to_value(Listed::of(stored.row)).expect("texts and numbers are JSON");
    if let (Some(document), Value::Object(content)) = (document.as_object_mut(), content) {
        document.extend(content);
    }
    Ok(Json(document))
}

/// Pins a baseline: of the calls in the body, of the calls that were seen last, or one from before.
pub async fn pin(
    State(api): State<Api>,
    Named(name): Named<String>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let asked = asked(&mut query);
    let from = query.parsed("from", |text| match text {
        "window" => Ok(Source::Window),
        id if id.starts_with("sha256:") => Ok(Source::Earlier(id.to_owned())),
        _ => Err(format!("{text:?} is neither `window` nor the id of a baseline")),
    });
    query.end()?;
    let version = version_of(&api, &name, asked)?;
    let drift = api.host.drift().clone();
    let (plugin, of) = (name.clone(), version.clone());
    let pinned = match from {
        None => {
            let help = format!("{BASELINE_LINES_MAX} calls are more than enough: send a part of them");
            let file = body::spool(body, api.host.spool()?, BASELINE_BYTES_MAX, &help).await?;
            // Who sends slowly does not keep others waiting, and who hangs up does not make room: it is read on.
            let turn = timeout(READ_WAIT_MAX, READS.acquire()).await.map_err(|_| {
                let message = format!("{READS_MAX} other baselines are being read");
                InvokeError::new(ErrorKind::Overloaded, message).help("try again in a while")
            })?;
            blocking(move || {
                let _turn = turn;
                drift.pin_lines(&plugin, &of, BufReader::new(file))
            })
            .await?
        }
        Some(from) => {
            body::nothing(body).await?;
            blocking(move || match from {
                Source::Window => drift.pin_window(&plugin, &of),
                Source::Earlier(id) => drift.pin_earlier(&plugin, &of, &id),
            })
            .await?
        }
    };
    let head = pinned.map_err(|error| refused(&name, &version, error))?;
    let location = format!("/v1/plugins/{name}/baselines/{}", head.id);
    let document = Listed::of_head(head, name, version);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(document)).into_response())
}

/// Where a baseline comes from that is not in the body.
enum Source {
    Window,
    Earlier(String),
}

impl Listed {
    fn of(row: BaselineRow) -> Listed {
        let BaselineRow { id, plugin, version, source, created_unix_ms, calls, fields, pinned } = row;
        let created = std::time::UNIX_EPOCH + Duration::from_millis(created_unix_ms);
        let created_at = humantime::format_rfc3339_millis(created).to_string();
        Listed { id, plugin, version, source, created_at, calls, fields, pinned }
    }

    fn of_head(head: BaselineHead, plugin: String, version: String) -> Listed {
        let BaselineHead { id, source, created_at, calls, fields } = head;
        let (source, fields) = (source.as_str().to_owned(), fields as u64);
        Listed { id, plugin, version, source, created_at, calls, fields, pinned: true }
    }
}

fn refused(plugin: &str, version: &str, error: PinError) -> Problem {
    let message = error.to_string();
    let invalid = |help: &str| InvokeError::new(ErrorKind::InvalidInput, message.clone()).help(help);
    let refused = match error {
        PinError::NotWatched { .. } => unwatched(plugin, version),
        PinError::Lines(LinesError::Mistakes(mistakes)) => {
            let mut error = invalid("each line is a call: {\"input\": {…}, \"output\": …}");
            let field =
                |pointer: u64, message: String| FieldError { pointer: format!("line {pointer}"), message };
            let told = mistakes.into_iter().take(MISTAKES_MAX);
            error.fields = told.map(|mistake| field(mistake.line, mistake.message)).collect();
            error
        }
        PinError::Lines(LinesError::TooMany(_)) => invalid("send a part of the calls"),
        PinError::Lines(LinesError::Read(_)) => InvokeError::new(ErrorKind::Internal, message),
        PinError::TooFew { .. } => invalid("send more calls, or lower `observe.min_samples` in its manifest"),
        PinError::NoBins => InvokeError::new(ErrorKind::Conflict, message)
            .help("pin one from a file of calls; with `baseline: auto` the first calls make one"),
        PinError::Nothing => invalid("are the fields spelled as `observe.fields` has them?"),
        PinError::Unknown(id) => no_baseline(plugin, &id),
        PinError::OtherFields => InvokeError::new(ErrorKind::Conflict, message)
            .help("a baseline can be pinned for versions that watch the same fields"),
        PinError::Store(error) => return error.into(),
    };
    refused.into()
}

fn no_baseline(plugin: &str, id: &str) -> InvokeError {
    let id = truncate(id, 80);
    InvokeError::new(ErrorKind::NotFound, format!("{plugin} has no baseline {id:?}"))
        .help(format!("GET /v1/plugins/{plugin}/baselines lists them"))
}

fn unwatched(plugin: &str, version: &str) -> InvokeError {
    let message = format!("nothing of {plugin} {version} is watched for drift");
    InvokeError::new(ErrorKind::NotFound, message).help("say what in its manifest: `observe: auto`")
}

fn asked(query: &mut Query) -> Option<Version> {
    query.parsed("version", |text| {
        Version::parse(text).map_err(|error| format!("{text:?} is not a version as 1.2.3: {error}"))
    })
}

/// The version that was asked for, or the one that takes calls.
fn version_of(api: &Api, name: &str, asked: Option<Version>) -> Result<String, Problem> {
    let registry = api.host.registry();
    let found = match &asked {
        Some(version) => registry.get(name, version),
        None => registry.route(name, None).ok().or_else(|| registry.versions(name).first().cloned()),
    };
    match found {
        Some(live) => Ok(live.manifest.version.to_string()),
        None => Err(unknown(name, asked.as_ref())),
    }
}
