//! What changes registered plugins: register, enable, disable, rollback, remove, update; against a server or in
//! this process. Each says who does it, and why, for the plugin's history.

use std::io::Cursor;
use std::path::Path;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::files;
use super::registry::{path_of, text};
use crate::app::cli::{Change, Global, Reason};
use crate::app::connect::{Need, connect};
use crate::app::failure::Failure;
use crate::app::invoke::escaped;
use crate::app::output::{self, Paint, Style, printable};
use crate::app::target::Target;
use crate::config::Settings;
use crate::package::Package;

pub async fn register(
    global: &Global,
    path: &Path,
    reason: &Reason,
    settings: &Settings,
) -> Result<(), Failure> {
    // Here first: mistakes are then shown with their source.
    let package = Package::load(path)?;
    let mut zip = Cursor::new(Vec::new());
    package.write_zip(&mut zip)?;
    if !global.json {
        files::remarks(&package);
    }
    let route = format!("/v1/plugins?{}", signed(reason));
    change(global, settings, Method::POST, &route, Some(zip.into_inner().into()), registered_text).await
}

pub async fn set_enabled(
    global: &Global,
    asked: &Change,
    enabled: bool,
    settings: &Settings,
) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Host)?;
    let word = if enabled { "enable" } else { "disable" };
    let done = async {
        let (name, version) = version_of(&target, asked, word).await?;
        let route = format!("{}/{word}?{}", path_of(&format!("{name}@{version}")), signed(&asked.reason));
        let document = target.send(Method::POST, &route, None).await?.json().await?;
        print(global, &document, |document| changed_text(document, &format!("{word}d")))
    }
    .await;
    target.finish().await;
    done
}

pub async fn rollback(
    global: &Global,
    name: &str,
    to: Option<&str>,
    reason: &Reason,
    settings: &Settings,
) -> Result<(), Failure> {
    let to = to.map_or_else(String::new, |to| format!("to={}&", escaped(to)));
    let route = format!("{}/rollback?{to}{}", path_of(name), signed(reason));
    let said = |document: &Value| {
        let (name, from, to) = (text(document, "name"), text(document, "from"), text(document, "version"));
        let word = Style::stdout().paint(Paint::Good, "rolled back");
        format!("{word} {name} from {from} to {to}\n{}", still_used(document, "went away from"))
    };
    change(global, settings, Method::POST, &route, None, said).await
}

pub async fn update(
    global: &Global,
    name: Option<&str>,
    reason: &Reason,
    settings: &Settings,
) -> Result<(), Failure> {
    let only = name.map_or_else(String::new, |name| format!("plugin={}&", escaped(name)));
    let said = |document: &Value| {
        let line = |moved: &Value| {
            let from = moved["from"].as_str().map_or_else(|| "none".to_owned(), printable);
            let (plugin, version) = (text(moved, "plugin"), text(moved, "version"));
            format!("{plugin} {version}: {} {from} -> {}\n", text(moved, "dependency"), text(moved, "to"))
        };
        let lines: String = document["updated"].as_array().into_iter().flatten().map(line).collect();
        if lines.is_empty() { "everything is as new as it may be\n".to_owned() } else { lines }
    };
    let route = format!("/v1/lock/update?{only}{}", signed(reason));
    change(global, settings, Method::POST, &route, None, said).await
}

pub async fn remove(global: &Global, asked: &Change, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Host)?;
    let removed = async {
        let (name, version) = version_of(&target, asked, "remove").await?;
        let route = format!("{}?{}", path_of(&format!("{name}@{version}")), signed(&asked.reason));
        target.send(Method::DELETE, &route, None).await?.json().await?;
        let document = json!({"name": name, "version": version, "removed": true});
        print(global, &document, |document| changed_text(document, "removed"))
    }
    .await;
    target.finish().await;
    removed
}

async fn change(
    global: &Global,
    settings: &Settings,
    method: Method,
    route: &str,
    body: Option<Bytes>,
    said: impl FnOnce(&Value) -> String,
) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Host)?;
    let done = async {
        let document = target.send(method, route, body).await?.json().await?;
        print(global, &document, said)
    }
    .await;
    target.finish().await;
    done
}

fn print(global: &Global, document: &Value, said: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
    if global.json { output::print_json(document) } else { output::print(&said(document)) }
}

/// The version that is meant; when none is named there must be no doubt.
async fn version_of(target: &Target, asked: &Change, word: &str) -> Result<(String, String), Failure> {
    if let Some((name, version)) = asked.target.split_once('@') {
        return Ok((name.to_owned(), version.trim_start_matches('=').to_owned()));
    }
    let name = &asked.target;
    let document = target.get(&path_of(name)).await?;
    let versions: Vec<&str> =
        document["versions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match versions.as_slice() {
        [only] => Ok((name.clone(), (*only).to_owned())),
        several => {
            let (name, several) = (printable(name), printable(&several.join(", ")));
            Err(Failure::usage(format!("{name} has several versions: {several}"))
                .help(format!("name one: spanglass plugin {word} {name}@VERSION")))
        }
    }
}

/// Who asks, as far as this machine knows, and why.
pub(super) fn signed(reason: &Reason) -> String {
    let user = user();
    let by = if user.is_empty() { "cli".to_owned() } else { format!("cli:{user}") };
    let by = crate::model::text::truncate(&by, crate::model::lifecycle::Actor::BY_BYTES_MAX).to_owned();
    let reason =
        reason.reason.as_deref().map_or_else(String::new, |reason| format!("&reason={}", escaped(reason)));
    format!("by={}{reason}", escaped(&by))
}

/// The name of the person, if the environment has it.
pub(super) fn user() -> String {
    ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default()
}

fn changed_text(document: &Value, word: &str) -> String {
    let style = Style::stdout();
    let line = format!(
        "{} {} {}\n",
        style.paint(Paint::Good, word),
        text(document, "name"),
        text(document, "version")
    );
    line + &cause_text(document, &style) + &still_used(document, "disabled")
}

/// Who goes on with a version by the lock, or cannot.
fn still_used(document: &Value, what: &str) -> String {
    let users: Vec<&str> =
        document["used_by"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if users.is_empty() {
        return String::new();
    }
    let (style, name) = (Style::stdout(), text(document, "name"));
    let mark = style.paint(Paint::Warning, style.glyph("!", "!"));
    let users = printable(&users.join(", "));
    format!("{mark} what you {what} is locked for {users}; 'spanglass plugin update {name}' moves them\n")
}

fn registered_text(document: &Value) -> String {
    let style = Style::stdout();
    let (name, version) = (text(document, "name"), text(document, "version"));
    let word = if document["created"] == false { "already registered" } else { "registered" };
    let mut out =
        format!("{} {name} {version}  {}\n", style.paint(Paint::Good, word), text(document, "digest"));
    out += &cause_text(document, &style);
    out
}

fn cause_text(document: &Value, style: &Style) -> String {
    document["cause"].as_str().map_or_else(String::new, |cause| {
        let line = format!("it cannot be called yet: {}", printable(cause));
        format!("{} {line}\n", style.paint(Paint::Warning, style.glyph("!", "!")))
    })
}
