//! Plugins: list, show, download. What changes them is in `changes.rs`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use semver::Version;
use serde_json::{Value, json};

use super::path::Named;
use super::query::Query;
use super::{Api, LIST_MAX, Problem, blocking};
use crate::host::Refusal;
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::Lifecycle;
use crate::model::name::PluginName;
use crate::model::slo::Slo;
use crate::model::units::{format_bytes, format_duration};
use crate::registry::{Body, Deployment};
use crate::store::Transition;

/// What a version must be to be listed.
struct VersionFilter {
    version: Option<Version>,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
    q: Option<String>,
}

impl VersionFilter {
    fn of(query: &mut Query) -> VersionFilter {
        VersionFilter {
            version: query.parsed("version", |text| {
                Version::parse(text).map_err(|error| format!("{text:?} is not a version as 1.2.3: {error}"))
            }),
            since: query.time("since"),
            until: query.time("until"),
            q: query.search(),
        }
    }

    fn fits(&self, live: &Deployment) -> bool {
        let (manifest, registered_at) = (&live.manifest, registered_at(live));
        let holds = |q: &String| {
            let described = manifest.description.as_ref().is_some_and(|text| text.contains(q.as_str()));
            manifest.name.as_str().contains(q.as_str()) || described
        };
        self.version.as_ref().is_none_or(|version| *version == manifest.version)
            && self.since.is_none_or(|since| registered_at >= since)
            && self.until.is_none_or(|until| registered_at < until)
            && self.q.as_ref().is_none_or(holds)
    }
}

pub async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let mut query = Query::new(query.as_deref());
    let (limit, only) = (query.limit(), query.text("plugin"));
    let after = query.cursor(|text| PluginName::parse(text.strip_prefix("plugin:")?).ok());
    let filter = VersionFilter::of(&mut query);
    query.end()?;
    let mut names: Vec<Arc<str>> =
        api.host.registry().all().iter().map(|live| live.manifest.name.shared()).collect();
    names.dedup();
    let fits = |name: &&Arc<str>| {
        only.as_deref().is_none_or(|only| only == &***name)
            && after.as_ref().is_none_or(|after| &***name > after.as_str())
    };
    let mut items: Vec<Value> = Vec::new();
    let mut next = None;
    for name in names.iter().filter(fits) {
        let versions = api.host.registry().versions(name);
        if !versions.iter().any(|live| filter.fits(live)) {
            continue;
        }
        let Some(item) = plugin_json(&versions, current(&api, name).as_deref(), false) else { continue };
        if items.len() == limit {
            next = items.last().and_then(|item| item["name"].as_str()).map(|name| format!("plugin:{name}"));
            break;
        }
        items.push(item);
    }
    let refusal = |(path, refusal): (PathBuf, Refusal)| {
        json!({"path": path.display().to_string(), "kind": refusal.kind.as_str(), "message": refusal.message,
            "help": refusal.help})
    };
    // What lies in a plugin folder and could not be registered has no name to be listed under.
    let refused: Vec<Value> = api.host.refusals().into_iter().take(LIST_MAX).map(refusal).collect();
    Ok(Json(json!({"items": items, "next": next, "refused": refused})))
}

pub async fn show(State(api): State<Api>, Named(name): Named<String>) -> Result<Json<Value>, Problem> {
    let versions = api.host.registry().versions(&name);
    let current = current(&api, &name);
    let mut document =
        plugin_json(&versions, current.as_deref(), true).ok_or_else(|| unknown(&name, None))?;
    if let Some(shown) = current.as_ref().or(versions.first()) {
        document["config"] = api.host.shown_config(shown).into();
    }
    let (host, name) = (api.host.clone(), parse_name(&name)?);
    let history = blocking(move || host.history(&name)).await??;
    document["history"] = history.iter().map(transition_json).collect();
    Ok(Json(document))
}

fn transition_json(transition: &Transition) -> Value {
    json!({
        "at": humantime::format_rfc3339_millis(transition.at).to_string(),
        "version": transition.version.to_string(),
        "from": transition.from,
        "to": transition.to,
        "cause": transition.cause,
        "by": transition.actor,
        "reason": transition.reason,
    })
}

pub async fn versions(
    State(api): State<Api>,
    Named(name): Named<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = Query::new(query.as_deref());
    let limit = query.limit();
    let after = query.cursor(|text| {
        // In a query `+` is a space, and not every client encodes a cursor.
        Version::parse(&text.strip_prefix("version:")?.replace('_', "+")).ok()
    });
    let filter = VersionFilter::of(&mut query);
    query.end()?;
    let versions = api.host.registry().versions(&name);
    if versions.is_empty() {
        return Err(unknown(&name, None));
    }
    let older = |live: &&Arc<Deployment>| after.as_ref().is_none_or(|after| live.manifest.version < *after);
    let mut fitting = versions.iter().filter(older).filter(|live| filter.fits(live));
    let page: Vec<_> = fitting.by_ref().take(limit).collect();
    let last = page.last().filter(|_| fitting.next().is_some());
    let next = last.map(|live| format!("version:{}", live.manifest.version).replace('+', "_"));
    let items: Vec<Value> = page.iter().map(|live| version_json(live, false)).collect();
    Ok(Json(json!({"items": items, "next": next})))
}

pub async fn version(
    State(api): State<Api>,
    Named((name, version)): Named<(String, String)>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(version_json(&*find(&api, &name, &version)?, true)))
}

pub async fn package(
    State(api): State<Api>,
    Named((name, version)): Named<(String, String)>,
) -> Result<Response, Problem> {
    let deployment = find(&api, &name, &version)?;
    let host = api.host.clone();
    let digest = deployment.digest.clone();
    let bytes = blocking(move || host.package_zip(&digest)).await?.map_err(Problem::from)?;
    let file = format!("attachment; filename=\"{name}-{}.zip\"", deployment.manifest.version);
    let file = HeaderValue::from_str(&file).expect("names and versions are ASCII");
    let kind = HeaderValue::from_static("application/zip");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, file)], bytes).into_response())
}

/// A plugin as its routes show it; `None` for one without versions.
pub fn plugin_json(versions: &[Arc<Deployment>], current: Option<&Deployment>, whole: bool) -> Option<Value> {
    // The newest stands for a plugin none of whose versions gets calls.
    let shown = current.or_else(|| versions.first().map(|newest| &**newest))?;
    let mut document = version_json(shown, whole);
    document["version"] = current.map_or(Value::Null, |current| current.manifest.version.to_string().into());
    document["versions"] =
        versions.iter().map(|live| Value::from(live.manifest.version.to_string())).collect();
    Some(document)
}

/// What every answer about a version begins with.
pub(super) fn head_json(deployment: &Deployment) -> Value {
    let state = deployment.state();
    let cause = match &state {
        Lifecycle::Failed { cause, .. } => Some(cause.clone()),
        _ => None,
    };
    json!({
        "name": deployment.manifest.name.as_str(),
        "version": deployment.manifest.version.to_string(),
        "state": state.as_str(),
        "cause": cause,
        "held_back": deployment.is_held_back(),
        "digest": &*deployment.digest,
    })
}

fn version_json(deployment: &Deployment, whole: bool) -> Value {
    let manifest = &deployment.manifest;
    let registered_at = registered_at(deployment);
    let mut document = head_json(deployment);
    let members = document.as_object_mut().expect("it was written as an object");
    members.insert("runtime".into(), manifest.runtime.as_str().into());
    members.insert("description".into(), manifest.description.clone().into());
    members.insert("owner".into(), manifest.owner.clone().into());
    members
        .insert("registered_at".into(), humantime::format_rfc3339_millis(registered_at).to_string().into());
    members.insert("actions".into(), manifest.action_names().map(Value::from).collect());
    if whole {
        let schema = |schema: &Option<Arc<Value>>| schema.as_deref().cloned().unwrap_or(Value::Null);
        members.insert("input_schema".into(), schema(&manifest.input_schema));
        members.insert("output_schema".into(), schema(&manifest.output_schema));
        let examples = manifest
            .examples
            .iter()
            .map(|example| json!({"name": example.name, "action": example.action, "input": &*example.input}));
        members.insert("examples".into(), examples.collect());
        let limits = &manifest.limits;
        let limits = json!({
            "timeout": format_duration(limits.timeout),
            "memory": format_bytes(limits.memory_bytes),
            "max_input": format_bytes(limits.input_bytes_max),
            "max_output": format_bytes(limits.output_bytes_max),
            "concurrency": limits.concurrency,
            "queue": limits.queue,
            "instances": {
                "min": limits.instances_min,
                "max": limits.instances_max,
                "idle": format_duration(limits.instance_idle),
                "max_calls": limits.instance_calls_max,
                "max_memory": limits.instance_memory_max.map(format_bytes),
            },
            "calls_per_instance": limits.calls_per_instance,
        });
        members.insert("limits".into(), limits);
        members.insert("slo".into(), slo(&manifest.slo));
        members.insert("secrets".into(), manifest.secrets.clone().into());
        members.insert("crash_loop".into(), crash_loop(deployment));
        members.insert("start".into(), start(deployment));
        members.insert("origin".into(), deployment.origin.as_deref().into());
        let dependencies = manifest.dependencies.iter().map(|dependency| {
            json!({"name": dependency.name.as_str(), "version": dependency.version.to_string(),
                "required": dependency.required})
        });
        members.insert("dependencies".into(), dependencies.collect());
    }
    document
}

/// What it promises; null if nothing.
fn slo(slo: &Slo) -> Value {
    if slo.is_empty() {
        return Value::Null;
    }
    let latency =
        slo.latency.map(|latency| json!({"target": latency.target, "under": format_duration(latency.under)}));
    json!({"window": format_duration(slo.window), "availability": slo.availability, "latency": latency})
}

/// Why its instances do not start, if that is so; null when they do.
fn crash_loop(deployment: &Deployment) -> Value {
    let Body::Running(running) = &deployment.body else { return Value::Null };
    running.pool.start_trouble().map_or(Value::Null, |trouble| {
        json!({
            "failures": trouble.failures,
            "retry_after_ms": trouble.retry_in.map(|retry_in| retry_in.as_secs_f64() * 1e3),
            "error": running.plugin.mask.error(trouble.error).message,
        })
    })
}

/// How its last instance came to be; null: there was none yet.
fn start(deployment: &Deployment) -> Value {
    let Body::Running(running) = &deployment.body else { return Value::Null };
    running.pool.start_mode().map_or(Value::Null, |mode| {
        let reason = mode.why().map(|why| running.plugin.mask.text(why).into_owned());
        json!({"mode": mode.as_str(), "reason": reason})
    })
}

fn registered_at(deployment: &Deployment) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(deployment.registered_at_unix_ms)
}

/// The version that a call without a wish gets.
fn current(api: &Api, name: &str) -> Option<Arc<Deployment>> {
    api.host.registry().route(name, None).ok()
}

/// A name that no plugin can have is one that is not there.
pub(super) fn parse_name(name: &str) -> Result<PluginName, Problem> {
    PluginName::parse(name).map_err(|_| unknown(name, None))
}

pub(super) fn parse_version(version: &str) -> Result<Version, Problem> {
    Version::parse(version).map_err(|error| {
        Problem::new(ErrorKind::InvalidInput, format!("{version:?} is not a version as 1.2.3: {error}"))
    })
}

fn find(api: &Api, name: &str, version: &str) -> Result<Arc<Deployment>, Problem> {
    let parsed = parse_version(version)?;
    api.host.registry().get(name, &parsed).ok_or_else(|| unknown(name, Some(&parsed)))
}

pub(super) fn unknown(name: &str, version: Option<&Version>) -> Problem {
    let what = version
        .map_or_else(|| format!("plugin {name:?}"), |version| format!("version {version} of {name:?}"));
    let error = InvokeError::new(ErrorKind::NotFound, format!("there is no {what}"));
    error.help("GET /v1/plugins lists the registered ones").into()
}
