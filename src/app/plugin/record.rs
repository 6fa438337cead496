//! `plugin test --record`: an example out of a call that was made. The call comes from the routes that anybody
//! can ask; the example goes into the manifest behind the others.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::manifest_file::ManifestFile;
use crate::app::cli::Global;
use crate::app::connect::{Need, connect};
use crate::app::expectation;
use crate::app::failure::Failure;
use crate::app::invoke::escaped;
use crate::app::output::{self, printable};
use crate::app::target::Target;
use crate::config::Settings;
use crate::model::invocation::DEFAULT_ACTION;
use crate::model::kind::ErrorKind;
use crate::package::Package;
use crate::package::rewrite;

/// Digits of the id that make an example's name: its random end.
const NAME_DIGITS: usize = 12;

pub async fn command(global: &Global, path: &Path, id: &str, settings: &Settings) -> Result<(), Failure> {
    let package = Package::load(path)?;
    let file = ManifestFile::of(path, &package)?;
    let target = connect(global, settings, Need::Ledger)?;
    let fetched = fetch(&target, id).await;
    target.finish().await;
    let (call, requests) = fetched?;

    let mut example = example_of(&call, package.manifest.name.as_str()).map_err(|why| {
        let message = format!("the call {} cannot become an example: {why}", printable(id));
        Failure::of_kind(ErrorKind::Conflict, message)
    })?;
    let names = package.manifest.examples.iter().map(|example| example.name.as_str());
    let name = rewrite::free_name(example["name"].as_str().unwrap_or_default(), names);
    example["name"] = name.as_str().into();
    let text = rewrite::append_example(package.manifest_name, &package.manifest_text, &example);
    file.replace(&text.map_err(|error| file.unchangeable(&error))?)?;

    let notes = notes(&call, &package, requests);
    if global.json {
        return output::print_json(&json!({"file": file.shown(), "example": example, "notes": notes}));
    }
    for note in notes {
        output::note(&format!("note: {note}"));
    }
    let shown = rewrite::on_one_line(&example);
    output::print(&format!("added {name} to {}\n  + {}\n", file.shown(), printable(&shown)))
}

/// The call, and how many HTTP requests it made through the host, as far as that is still known.
async fn fetch(target: &Target, id: &str) -> Result<(Value, usize), Failure> {
    let call = target.get(&format!("/v1/invocations/{}", escaped(id))).await?;
    let trace_id = call["trace_id"].as_str().unwrap_or_default();
    // Without its trace the call is an example all the same.
    let trace = target.get(&format!("/v1/traces/{}", escaped(trace_id))).await.unwrap_or_default();
    let spans = trace["spans"].as_array().map_or(&[][..], Vec::as_slice);
    let requests = spans.iter().filter(|span| span["attributes"]["http.request.method"].is_string());
    // A call over HTTP has such a span itself; what the plugin asks for lies below it.
    Ok((call, requests.filter(|span| span["kind"] == "client").count()))
}

/// The example that an invocation makes, or why it makes none.
fn example_of(call: &Value, plugin: &str) -> Result<Value, String> {
    let called = call["plugin"].as_str().unwrap_or_default();
    if called != plugin {
        return Err(format!("it called {}, and the manifest is that of {plugin}", printable(called)));
    }
    if call["state"] != "done" {
        return Err("it has not ended yet".to_owned());
    }
    let digits: String = call["invocation_id"].as_str().unwrap_or_default().replace('-', "");
    let name = format!("recorded-{}", &digits[digits.len().saturating_sub(NAME_DIGITS)..]);
    let mut example = Map::new();
    example.insert("name".to_owned(), name.into());
    if let Some(action) = call["action"].as_str().filter(|action| *action != DEFAULT_ACTION) {
        example.insert("action".to_owned(), action.into());
    }
    example.insert("input".to_owned(), captured(call, "input")?);
    example.insert("expect".to_owned(), expect_of(call)?);
    Ok(Value::Object(example))
}

fn expect_of(call: &Value) -> Result<Value, String> {
    if call["outcome"] == "replied" {
        return Ok(json!({"output": captured(call, "output")?}));
    }
    let kind = call["error"]["kind"].as_str().and_then(ErrorKind::parse);
    match kind {
        Some(kind) if expectation::is_an_answer(kind) => Ok(expectation::error(kind)),
        Some(kind) => Err(format!("it ended as {kind}, which the same input need not do again")),
        None => Err("its caller left before it ended".to_owned()),
    }
}

/// What went in or came out, if it is all there.
fn captured(call: &Value, side: &str) -> Result<Value, String> {
    if call[format!("{side}_redacted")] == true {
        return Err(format!("its {side} holds what the schema calls sensitive, and that was not kept"));
    }
    if call[format!("{side}_truncated")] == true {
        return Err(format!(
            "its {side} is longer than telemetry.capture.max, and only the beginning was kept"
        ));
    }
    match call.get(side) {
        // A plugin may answer `null`; then it has an output of four bytes.
        Some(Value::Null) if side == "input" || call["usage"]["output_bytes"] == 0 => {
            Err(format!("its {side} was not kept; telemetry.capture.mode says what is"))
        }
        Some(value) => Ok(value.clone()),
        None => Err(format!("its {side} was not kept")),
    }
}

fn notes(call: &Value, package: &Package, requests: usize) -> Vec<String> {
    let mut notes = Vec::new();
    let version = package.manifest.version.to_string();
    if let Some(called) = call["version"].as_str().filter(|called| *called != version) {
        notes.push(format!(
            "the call was answered by version {}, the manifest is that of {version}",
            printable(called)
        ));
    }
    if requests > 0 {
        notes.push(format!(
            "the call made {requests} HTTP requests, whose answers were not kept: give the example `http` stubs, \
             or it fails with no_stub"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(more: Value) -> Value {
        let mut call = json!({
            "invocation_id": "01976a5e-3c00-7000-8000-0123456789ab", "plugin": "greet", "version": "1.0.0",
            "action": "invoke", "state": "done", "outcome": "replied", "error": null,
            "input": {"who": "Ada"}, "input_truncated": false, "input_redacted": false,
            "output": {"n": 1}, "output_truncated": false, "output_redacted": false,
            "usage": {"output_bytes": 7},
        });
        for (key, value) in more.as_object().unwrap() {
            call[key] = value.clone();
        }
        call
    }

    #[test]
    fn a_call_becomes_an_example() {
        assert_eq!(
            example_of(&call(json!({})), "greet").unwrap(),
            json!({"name": "recorded-0123456789ab", "input": {"who": "Ada"}, "expect": {"output": {"n": 1}}})
        );
        let failed = json!({"action": "head", "outcome": "failed", "error": {"kind": "invalid_input"}, "output": null});
        let example = example_of(&call(failed), "greet").unwrap();
        assert_eq!(example["expect"], json!({"error": {"kind": "invalid_input"}}));
        assert_eq!(example["action"], "head");
        let null = example_of(&call(json!({"output": null, "usage": {"output_bytes": 4}})), "greet").unwrap();
        assert_eq!(null["expect"], json!({"output": null}));
    }

    #[test]
    fn what_is_not_all_there_is_refused_with_the_reason() {
        for (more, said) in [
            (json!({"plugin": "other"}), "it called other"),
            (json!({"state": "running"}), "not ended yet"),
            (json!({"input_redacted": true}), "its input holds what the schema calls sensitive"),
            (json!({"output_redacted": true}), "its output holds"),
            (json!({"input_truncated": true}), "its input is longer than telemetry.capture.max"),
            (json!({"output_truncated": true}), "its output is longer"),
            (json!({"input": null}), "its input was not kept"),
            (json!({"output": null, "usage": {"output_bytes": 0}}), "its output was not kept"),
            (json!({"outcome": "dropped", "error": null}), "its caller left"),
            (json!({"outcome": "failed", "error": {"kind": "overloaded"}}), "it ended as overloaded"),
        ] {
            let why = example_of(&call(more.clone()), "greet").unwrap_err();
            assert!(why.contains(said), "{more}: {why}");
        }
    }
}
