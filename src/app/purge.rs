//! `purge`: deletes what is kept of calls. With a live server it is asked; without one this process owns the folder
//! meanwhile.

use std::io::{IsTerminal, Write};

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value};

use super::cli::{Global, Purge};
use super::connect::{Need, connect};
use super::failure::Failure;
use super::output::{self, Paint, Style, printable};
use crate::config::Settings;
use crate::model::kind::ErrorKind;

pub async fn purge(global: &Global, arguments: &Purge, settings: &Settings) -> Result<(), Failure> {
    if !arguments.yes && !global.json && std::io::stdin().is_terminal() && !confirmed(arguments)? {
        return Err(Failure::of_kind(ErrorKind::Cancelled, "nothing was deleted"));
    }
    let body: Map<String, Value> =
        [("plugin", &arguments.plugin), ("trace_id", &arguments.trace), ("before", &arguments.before)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into())))
            .collect();
    let target = connect(global, settings, Need::Host)?;
    let answer = ask(&target, Value::Object(body)).await;
    target.finish().await;
    let document = answer?;
    if global.json {
        return output::print_json(&document);
    }
    let count = |name: &str| {
        output::count(usize::try_from(document["deleted"][name].as_u64().unwrap_or(0)).unwrap_or(usize::MAX))
    };
    output::print(&format!(
        "{} {} calls, {} log lines, {} operations\n",
        Style::stdout().paint(Paint::Good, "deleted"),
        count("invocations"),
        count("logs"),
        count("operations"),
    ))
}

async fn ask(target: &super::target::Target, body: Value) -> Result<Value, Failure> {
    target.send(Method::POST, "/v1/purge", Some(Bytes::from(body.to_string()))).await?.json().await
}

/// Asks a person.
fn confirmed(arguments: &Purge) -> Result<bool, Failure> {
    let what: Vec<String> = [
        ("of plugin", &arguments.plugin),
        ("of trace", &arguments.trace),
        ("from before", &arguments.before),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(format!("{name} {}", printable(value.as_deref()?))))
    .collect();
    let failed = |error: std::io::Error| Failure::internal(error.to_string());
    let mut err = std::io::stderr();
    write!(err, "delete all that is kept {}? [y/N] ", what.join(", "))
        .and_then(|()| err.flush())
        .map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
