//! What changes the registry: register, enable, disable, roll back, remove, update.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use semver::Version;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::path::Named;
use super::plugins::{head_json, parse_name, parse_version};
use super::query::Query;
use super::{Api, Problem, blocking, body};
use crate::host::{Arrival, RegisterError};
use crate::model::error::{FieldError, InvokeError};
use crate::model::invocation::Origin;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::Actor;
use crate::package::Package;
use crate::package::archive::PACKAGE_BYTES_MAX;

/// So many packages are taken in at once: each may fill the disk, and keeps it busy.
const UPLOADS_MAX: usize = 2;
/// One more waits so long for its turn.
const UPLOAD_WAIT_MAX: Duration = Duration::from_secs(30);
static UPLOADS: Semaphore = Semaphore::const_new(UPLOADS_MAX);

pub async fn register(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let arrival = arrival(&api, query.as_deref())?;
    let turn = timeout(UPLOAD_WAIT_MAX, UPLOADS.acquire()).await.map_err(|_| {
        let message = format!("{UPLOADS_MAX} other packages are being registered");
        InvokeError::new(ErrorKind::Overloaded, message).help("try again in a while")
    })?;
    let help = "leave out of the package what is not needed to run";
    let file = body::spool_zip(body, api.host.spool()?, PACKAGE_BYTES_MAX, help).await?;
    let package = blocking(move || Package::from_zip_file(file)).await?;
    let registered = api.host.register(package, arrival).await;
    drop(turn);
    let registered = registered?;
    let status = if registered.created { StatusCode::CREATED } else { StatusCode::OK };
    let deployment = &registered.deployment;
    let mut document = head_json(deployment);
    document["created"] = registered.created.into();
    let location =
        format!("/v1/plugins/{}/versions/{}", deployment.manifest.name, deployment.manifest.version);
    Ok((status, [(header::LOCATION, location)], Json(document)).into_response())
}

pub async fn remove(
    State(api): State<Api>,
    Named((name, version)): Named<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    let actor = only_actor(&api, query.as_deref())?;
    api.host.remove(&parse_name(&name)?, &parse_version(&version)?, actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn enable(
    state: State<Api>,
    path: Named<(String, String)>,
    query: RawQuery,
    body: Body,
) -> Result<Json<Value>, Problem> {
    set_enabled(state, path, query, body, true).await
}

pub async fn disable(
    state: State<Api>,
    path: Named<(String, String)>,
    query: RawQuery,
    body: Body,
) -> Result<Json<Value>, Problem> {
    set_enabled(state, path, query, body, false).await
}

async fn set_enabled(
    State(api): State<Api>,
    Named((name, version)): Named<(String, String)>,
    RawQuery(query): RawQuery,
    body: Body,
    enabled: bool,
) -> Result<Json<Value>, Problem> {
    body::nothing(body).await?;
    let actor = only_actor(&api, query.as_deref())?;
    let (name, version) = (parse_name(&name)?, parse_version(&version)?);
    let mut document = head_json(&*api.host.set_enabled(&name, &version, enabled, actor).await?);
    if !enabled {
        document["used_by"] = api.host.users_of(name.as_str(), |used| *used == version).into();
    }
    Ok(Json(document))
}

/// To the next lower version that takes calls, or to the one that `?to=` names.
pub async fn rollback(
    State(api): State<Api>,
    Named(name): Named<String>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<Value>, Problem> {
    body::nothing(body).await?;
    let mut query = Query::new(query.as_deref());
    let to = query.parsed("to", |text| {
        Version::parse(text).map_err(|error| format!("{text:?} is not a version as 1.2.3: {error}"))
    });
    let actor = actor(&api, &mut query);
    query.end()?;
    let rolled_back = api.host.roll_back(&parse_name(&name)?, to, actor).await?;
    let mut document = head_json(&rolled_back.to);
    document["from"] = rolled_back.from.to_string().into();
    let goal = &rolled_back.to.manifest.version;
    document["used_by"] = api.host.users_of(&name, |used| used > goal && *used <= rolled_back.from).into();
    Ok(Json(document))
}

/// Moves dependencies to the highest versions that fit.
pub async fn update(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<Value>, Problem> {
    body::nothing(body).await?;
    let mut query = Query::new(query.as_deref());
    let only = query.text("plugin");
    let actor = actor(&api, &mut query);
    query.end()?;
    let host = api.host.clone();
    let moved = blocking(move || host.update(only.as_deref(), &actor)).await??;
    let item = |moved: &crate::host::Moved| {
        json!({
            "plugin": &*moved.plugin,
            "version": moved.version.to_string(),
            "dependency": &*moved.dependency,
            "from": moved.from.as_ref().map(ToString::to_string),
            "to": moved.to.to_string(),
        })
    };
    Ok(Json(json!({"updated": moved.iter().map(item).collect::<Vec<_>>()})))
}

/// The lock, as the file has it.
pub async fn lock(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], api.host.lock_text()).into_response()
}

/// `?trial=true`: for those who name the version, if it starts.
fn arrival(api: &Api, query: Option<&str>) -> Result<Arrival, Problem> {
    let mut query = Query::new(query);
    let trial = query.parsed("trial", |text| {
        text.parse::<bool>().map_err(|_| format!("{text:?} is neither true nor false"))
    });
    let actor = actor(api, &mut query);
    query.end()?;
    Ok(if trial == Some(true) { Arrival::OnTrial(actor) } else { Arrival::Handed(actor) })
}

fn only_actor(api: &Api, query: Option<&str>) -> Result<Actor, Problem> {
    let mut query = Query::new(query);
    let actor = actor(api, &mut query);
    query.end()?;
    Ok(actor)
}

/// Who makes the change and why, as he says himself: nothing proves a name yet.
fn actor(api: &Api, query: &mut Query) -> Actor {
    fn bounded(max: usize) -> impl FnOnce(&str) -> Result<String, String> {
        move |text| match text.len() {
            length if length > max => Err(format!("it has more than {max} bytes")),
            _ if text.chars().any(char::is_control) => Err("it has control characters".to_owned()),
            _ => Ok(text.to_owned()),
        }
    }
    let by = query.parsed("by", bounded(Actor::BY_BYTES_MAX));
    let reason = query.parsed("reason", bounded(Actor::REASON_BYTES_MAX));
    let anonymous = if api.origin == Origin::Network { "http" } else { "local" };
    let actor = Actor::new(by.as_deref().unwrap_or(anonymous));
    match reason {
        Some(reason) => actor.because(reason),
        None => actor,
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Problem {
        let diagnostics = error.diagnostics().map(|diagnostics| diagnostics.to_json()["diagnostics"].clone());
        let mut invoke = InvokeError::new(error.kind(), error.to_string());
        invoke.help = error.help();
        if let RegisterError::Refused(refused) = &error {
            invoke.exception = refused.exception.clone();
        }
        for diagnostic in diagnostics.iter().filter_map(Value::as_array).flatten() {
            let text = |member: &str| diagnostic[member].as_str().unwrap_or_default();
            let pointer = format!("/{}", text("path").replace('.', "/"));
            let place = format!("line {}, column {}", diagnostic["line"], diagnostic["column"]);
            invoke.fields.push(FieldError { pointer, message: format!("{} ({place})", text("message")) });
        }
        let problem = Problem::from(invoke);
        match diagnostics {
            Some(diagnostics) => problem.with("diagnostics", diagnostics),
            None => problem,
        }
    }
}
