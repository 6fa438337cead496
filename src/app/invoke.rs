//! `invoke`: call a plugin, show the reply, and with `--watch` what happened on the way to it.

use std::io::Read;

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::cli::{Global, Input, Invoke};
use super::connect::{Need, connect};
use super::events::{EventReader, StreamEvent};
use super::failure::Failure;
use super::output::{self, Bounds, Paint, Style};
use super::target::{Answer, Target};
use super::tree;
use crate::config::Settings;
use crate::model::kind::ErrorKind;
use crate::model::units::format_duration;
use crate::package::schema::{self, Schema};

/// An input from a file or from standard input has at most so many bytes.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// A call, ready to be sent.
pub struct Request {
    pub plugin: String,
    pub body: CallBody,
    pub stream: bool,
    pub watch: bool,
    pub idempotency_key: Option<String>,
}

/// What is sent. The input stays as it was written: a number of any length reaches the plugin whole.
#[derive(Serialize)]
pub struct CallBody {
    pub input: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

pub async fn command(global: &Global, invoke: &Invoke, settings: &Settings) -> Result<(), Failure> {
    let (plugin, version) = match invoke.target.split_once('@') {
        Some((plugin, version)) => (plugin, Some(version)),
        None => (invoke.target.as_str(), None),
    };
    let target = connect(global, settings, Need::Host)?;
    let called = async {
        let input = match whole_input(&invoke.input)? {
            Some(input) => input,
            None => raw(&typed_fields(&target, plugin, version, &invoke.input.fields).await?)?,
        };
        let body = CallBody {
            input,
            action: invoke.action.clone(),
            version: version.map(str::to_owned),
            timeout: invoke.timeout.map(format_duration),
        };
        let request = Request {
            plugin: plugin.to_owned(),
            body,
            stream: invoke.stream,
            watch: invoke.watch,
            idempotency_key: invoke.idempotency_key.clone(),
        };
        if invoke.asynchronous {
            return hand_over(&target, &request, global.json).await;
        }
        send(&target, &request, global.json).await
    }
    .await;
    target.finish().await;
    called
}

/// Sends the call and prints its end.
pub async fn send(target: &Target, request: &Request, json: bool) -> Result<(), Failure> {
    let answer = post(target, request).await?;
    print_end(target, request, answer, json).await
}

/// Sends the call.
pub async fn post(target: &Target, request: &Request) -> Result<Answer, Failure> {
    post_as(target, request, if request.stream { "stream" } else { "sync" }).await
}

/// Prints how the call ended.
pub async fn print_end(
    target: &Target,
    request: &Request,
    answer: Answer,
    json: bool,
) -> Result<(), Failure> {
    let trace_id = answer.trace_id().map(str::to_owned);
    let ended = if request.stream && answer.status.is_success() {
        print_stream(answer, json, request.watch).await
    } else {
        print_reply(answer, json, request.watch).await
    };
    if matches!(&ended, Err(failure) if failure.is_broken_pipe()) {
        return ended;
    }
    if let Some(trace_id) = trace_id {
        show_trace(target, &trace_id, request.watch, json).await;
    }
    ended
}

/// Leaves the call in the queue, and says how to get at its end.
async fn hand_over(target: &Target, request: &Request, json: bool) -> Result<(), Failure> {
    let (status, bytes) = post_as(target, request, "async").await?.bytes().await?;
    let document: Value = serde_json::from_slice(&bytes).map_err(|_| {
        Failure::internal(format!("the server answered {status} with something that is not JSON"))
    })?;
    if !status.is_success() {
        return Err(Failure::problem(document));
    }
    let id = output::printable(document["invocation_id"].as_str().unwrap_or_default());
    if json {
        output::print_bytes(&bytes)?;
    } else {
        output::print(&id)?;
    }
    output::print("\n")?;
    if matches!(target, Target::Local(_)) && document["state"] != "done" {
        output::note("no server is running: the call is kept, and the next 'spanglass serve' here runs it");
    }
    if !json {
        output::note(&format!("spanglass invocation wait {id}"));
    }
    Ok(())
}

async fn post_as(target: &Target, request: &Request, mode: &str) -> Result<Answer, Failure> {
    let path = format!("/v1/plugins/{}/invoke?mode={mode}", escaped(&request.plugin));
    let body = serde_json::to_vec(&request.body).map_err(|error| Failure::usage(error.to_string()))?;
    let key = request.idempotency_key.as_deref().map(|key| ("idempotency-key", key));
    let headers: Vec<(&str, &str)> = key.into_iter().collect();
    target.send_with(Method::POST, &path, &headers, Some(Bytes::from(body))).await
}

async fn print_reply(answer: Answer, json: bool, watch: bool) -> Result<(), Failure> {
    let (status, bytes) = answer.bytes().await?;
    if !status.is_success() {
        let document: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Failure::internal(format!("the server answered {status} with something that is not JSON"))
        })?;
        return Err(Failure::problem(document));
    }
    if json {
        output::print_bytes(&bytes)?;
        return output::print("\n");
    }
    let document: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::internal(format!("the reply is not JSON: {error}")))?;
    print_value(document.get("data").unwrap_or(&Value::Null))?;
    // The tree that follows says the same and more.
    if !watch {
        output::note(&summary(&document["meta"]));
    }
    Ok(())
}

async fn print_stream(answer: Answer, json: bool, watch: bool) -> Result<(), Failure> {
    let mut events = EventReader::new(answer.body);
    while let Some(StreamEvent { name, data }) = events.next().await? {
        if json {
            // The chunk stays as the plugin wrote it: numbers of any length included.
            let data: &RawValue = serde_json::from_str(&data)
                .map_err(|error| Failure::internal(format!("an event is not JSON: {error}")))?;
            output::print(&format!("{{\"event\":\"{name}\",\"data\":{data}}}\n"))?;
        }
        let document = || serde_json::from_str::<Value>(&data).unwrap_or(Value::Null);
        match name.as_str() {
            "chunk" if !json => print_value(&document())?,
            "end" if !json && !watch => output::note(&summary(&document())),
            "end" => {}
            "error" => {
                let failure = Failure::problem(document());
                return Err(if json { Failure::silent(failure.exit) } else { failure });
            }
            _ => continue,
        }
        if name == "end" {
            return Ok(());
        }
    }
    Err(Failure::internal("the stream ended without an end"))
}

fn print_value(value: &Value) -> Result<(), Failure> {
    let style = Style::stdout();
    let bounds = Bounds::ALL;
    output::print(&output::pretty(value, &style, bounds))
}

/// One line about a call that replied.
fn summary(meta: &Value) -> String {
    let style = Style::stderr();
    let text = |member: &str| meta[member].as_str().unwrap_or_default();
    let mut parts = vec![format!("{} {}", text("plugin"), text("version"))];
    parts.push(output::milliseconds(meta["duration_ms"].as_f64().unwrap_or_default()));
    if let Some(attempts @ 2..) = meta["attempts"].as_u64() {
        parts.push(format!("{attempts} attempts"));
    }
    if meta["cold_start"] == true {
        parts.push("cold start".into());
    }
    let line = parts.join(" · ");
    let trace = format!("trace {}", text("trace_id"));
    format!("{} {line} · {}", style.paint(Paint::Good, "replied"), style.paint(Paint::Dim, &trace))
}

/// The span tree after a call, or without `--watch` only what the plugin printed.
async fn show_trace(target: &Target, trace_id: &str, watch: bool, json: bool) {
    if !watch && (json || matches!(target, Target::Remote(_))) {
        return;
    }
    let style = Style::stderr();
    let Ok(trace) = target.get(&format!("/v1/traces/{trace_id}")).await else { return };
    if watch {
        output::note(tree::render_trace(&trace, &style).trim_end());
        if let Some(url) = target.url() {
            output::note(&style.paint(Paint::Dim, &format!("{url}/v1/traces/{trace_id}")));
        }
        return;
    }
    for log in trace["logs"].as_array().into_iter().flatten() {
        let stream = log["stream"].as_str().unwrap_or_default();
        if stream != "host" {
            let body = output::printable(log["body"].as_str().unwrap_or_default());
            output::note(&format!("{} {body}", style.paint(Paint::Guest, &format!("{stream:>6} │"))));
        }
    }
}

pub fn raw(input: &Value) -> Result<Box<RawValue>, Failure> {
    serde_json::value::to_raw_value(input).map_err(|error| Failure::usage(error.to_string()))
}

/// `--input`: JSON, `@FILE`, or `-` for standard input.
pub fn whole_input(input: &Input) -> Result<Option<Box<RawValue>>, Failure> {
    let Some(text) = &input.input else { return Ok(None) };
    let read = |source: &mut dyn Read, what: &str| {
        let mut text = String::new();
        source
            .take(INPUT_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| Failure::usage(format!("{what} cannot be read: {error}")))?;
        Ok::<String, Failure>(text)
    };
    let text = match text.strip_prefix('@') {
        Some(path) => {
            let mut file = std::fs::File::open(path)
                .map_err(|error| Failure::usage(format!("{path} cannot be read: {error}")))?;
            read(&mut file, path)?
        }
        None if text == "-" => read(&mut std::io::stdin().lock(), "standard input")?,
        None => text.clone(),
    };
    RawValue::from_string(text.trim().to_owned())
        .map(Some)
        .map_err(|error| Failure::of_kind(ErrorKind::InvalidInput, format!("the input is not JSON: {error}")))
}

/// `-f key=value`, typed as the plugin's schema says.
pub async fn typed_fields(
    target: &Target,
    plugin: &str,
    version: Option<&str>,
    fields: &[(String, String)],
) -> Result<Value, Failure> {
    if fields.is_empty() {
        return Ok(json!({}));
    }
    // An exact version has a schema of its own; for a range the current one's is near enough, and the server
    // checks the input in any case.
    let exact = version.filter(|version| semver::Version::parse(version).is_ok());
    let path = match exact {
        Some(version) => format!("/v1/plugins/{}/versions/{version}", escaped(plugin)),
        None => format!("/v1/plugins/{}", escaped(plugin)),
    };
    let described = target.get(&path).await?;
    let schema = match &described["input_schema"] {
        Value::Null => None,
        schema => Schema::compile(schema.clone().into()).ok(),
    };
    let mut input = Map::new();
    for (key, text) in fields {
        let value = schema::coerce(schema.as_ref(), key, text).map_err(|error| {
            let message = format!("the field {key}: {}", error.message);
            Failure::of_kind(ErrorKind::InvalidInput, message)
        })?;
        input.insert(key.clone(), value);
    }
    Ok(input.into())
}

/// A name as a part of a path: what is no plugin's name must not become another route.
pub fn escaped(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}
