//! Validate: the input before anything is spent on it, the output before the caller sees it, both against
//! the manifest's schemas; and keeps a copy of both for the ledger, without what the schema calls sensitive.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{BoxFuture, Call, CalledPlugin, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::json;
use crate::model::kind::ErrorKind;
use crate::model::text::truncate;
use crate::model::units::format_bytes;
use crate::package::schema::Schema;
use crate::telemetry::names::span;
use crate::telemetry::{Captured, SpanRef};

/// JSON that is nested deeper is no input and no output: as deep as most readers go (a schema's check, most
/// clients), and less than what breaks a worker's.
const DEPTH_MAX: usize = 127;

pub struct Validate;

impl Policy for Validate {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            let span = call.recording.open(span::VALIDATE_INPUT, call.recording.root());
            let checked = check_input(call);
            end(call, span, checked)?;
            let reply = next.run(call).await;
            if let Ok(Reply::Value(output)) = &reply {
                check_value(call, output)?;
            } else {
                // Also of a stream that broke off.
                let kept = std::mem::take(&mut call.kept_chunks);
                if reply.is_ok() || !kept.is_empty() {
                    call.recording.capture_output(kept.into_list());
                }
            }
            reply
        })
    }
}

/// What the ledger keeps of a streamed output: its first chunks, up to the bound.
#[derive(Default)]
pub struct KeptChunks {
    json: String,
    truncated: bool,
    redacted: bool,
}

impl KeptChunks {
    fn keep(&mut self, chunk: &Captured, bytes_max: usize) {
        let fits = self.json.len() + chunk.json.len() + 2 <= bytes_max && !chunk.truncated;
        if self.truncated || !fits {
            self.truncated = true;
            return;
        }
        self.json.push(if self.json.is_empty() { '[' } else { ',' });
        self.json.push_str(&chunk.json);
        self.redacted |= chunk.redacted;
    }

    fn is_empty(&self) -> bool {
        self.json.is_empty() && !self.truncated
    }

    fn into_list(mut self) -> Captured {
        if self.json.is_empty() {
            self.json.push('[');
        }
        self.json.push(']');
        Captured { json: self.json, truncated: self.truncated, redacted: self.redacted }
    }
}

impl Call {
    /// Takes one chunk of a streamed output from the plugin: checked, kept, passed on.
    pub(super) async fn take_chunk(&mut self, part: Arc<RawValue>) -> Result<(), InvokeError> {
        let plugin = self.plugin.clone();
        let value =
            check(plugin.output_schema.as_ref(), &part, ErrorKind::InvalidOutput, "a chunk of the output")?;
        see_output(self, value.as_ref(), &part);
        let chunk = captured(&plugin, plugin.output_schema.as_ref(), value.as_ref(), &part);
        self.kept_chunks.keep(&chunk, plugin.capture_bytes_max);
        self.output.push(part).await
    }
}

/// Whether a version takes the input, for who wants to know before the call is made.
pub fn accepts(plugin: &CalledPlugin, input: &RawValue) -> Result<(), InvokeError> {
    within_size(plugin, input)?;
    is_object(input)?;
    check(plugin.input_schema.as_ref(), input, ErrorKind::InvalidInput, "the input")?;
    json::check(input.get()).map_err(|error| invalid(ErrorKind::InvalidInput, "the input", &error))
}

fn check_input(call: &mut Call) -> Result<(), InvokeError> {
    let plugin = call.plugin.clone();
    let input = call.invocation.input.clone();
    call.usage.input_bytes = input.get().len() as u64;
    within_size(&plugin, &input)?;
    let schema = plugin.input_schema.as_ref();
    if let Err(error) = is_object(&input) {
        // Kept all the same, so that one can see what came; but a schema cannot redact what it does not fit.
        if schema.is_none_or(|schema| !schema.is_sensitive()) {
            call.recording.capture_input(captured(&plugin, None, None, &input));
        }
        return Err(error);
    }
    within_depth(&input, ErrorKind::InvalidInput, "the input")?;
    let unusable = |error| invalid(ErrorKind::InvalidInput, "the input", &error);
    json::check(input.get()).map_err(unusable)?;
    let parsed = parse_for(schema, &input).map_err(unusable)?;
    call.recording.capture_input(captured(&plugin, schema, parsed.as_ref(), &input));
    fit(schema, parsed.as_ref(), ErrorKind::InvalidInput, "the input")?;
    // Somebody who looks at an old call again says nothing about what comes in.
    if let Some(watch) = plugin.watch.as_ref().filter(|_| call.invocation.replay_of.is_none()) {
        let wanted = watch.wants_input();
        call.sighting = with_value(parsed.as_ref(), &input, wanted, |value| {
            watch.sight(value, &|text| plugin.mask.hides(text))
        });
    }
    Ok(())
}

/// Shows an output, or a chunk of one, to who watches for drift.
fn see_output(call: &mut Call, value: Option<&Value>, output: &RawValue) {
    let (Some(watch), Some(sighting)) = (&call.plugin.watch, &mut call.sighting) else { return };
    if watch.wants_output(sighting) {
        let hides = |text: &str| call.plugin.mask.hides(text);
        with_value(value, output, true, |value| {
            watch.sight_output(sighting, value, &hides);
            Some(())
        });
    }
}

/// Without a schema nobody has parsed it yet, and nobody does unless something in it is `wanted`.
fn with_value<T>(
    parsed: Option<&Value>,
    json: &RawValue,
    wanted: bool,
    look: impl FnOnce(&Value) -> Option<T>,
) -> Option<T> {
    match parsed {
        Some(value) => look(value),
        None if wanted => look(&serde_json::from_str(json.get()).ok()?),
        None => look(&Value::Null),
    }
}

fn within_size(plugin: &CalledPlugin, input: &RawValue) -> Result<(), InvokeError> {
    let (size, size_max) = (input.get().len() as u64, plugin.manifest.limits.input_bytes_max);
    if size <= size_max {
        return Ok(());
    }
    let message = format!("the input has {size} bytes; the limit is {}", format_bytes(size_max));
    let help = "send less, or raise limits.max_input of the plugin";
    Err(InvokeError::new(ErrorKind::InputTooLarge, message).help(help))
}

fn is_object(input: &RawValue) -> Result<(), InvokeError> {
    if input.get().starts_with('{') {
        return Ok(());
    }
    Err(InvokeError::new(ErrorKind::InvalidInput, "the input is not a JSON object"))
}

fn check_value(call: &mut Call, output: &Arc<RawValue>) -> Result<(), InvokeError> {
    let plugin = call.plugin.clone();
    let schema = plugin.output_schema.as_ref();
    let span = call.recording.open(span::VALIDATE_OUTPUT, call.recording.root());
    let checked = check(schema, output, ErrorKind::InvalidOutput, "the output");
    match &checked {
        Ok(value) => {
            see_output(call, value.as_ref(), output);
            call.recording.capture_output(captured(&plugin, schema, value.as_ref(), output));
        }
        // What is wrong with it can be seen only if it is kept.
        Err(_) if schema.is_none_or(|schema| !schema.is_sensitive()) => {
            call.recording.capture_output(captured(&plugin, None, None, output));
        }
        Err(_) => {}
    }
    end(call, span, checked.map(drop))
}

fn end(call: &mut Call, span: SpanRef, result: Result<(), InvokeError>) -> Result<(), InvokeError> {
    match &result {
        Ok(()) => call.recording.close(span),
        Err(error) => call.recording.fail(span, error.kind, &error.message),
    }
    result
}

fn check(
    schema: Option<&Schema>,
    json: &RawValue,
    kind: ErrorKind,
    what: &str,
) -> Result<Option<Value>, InvokeError> {
    within_depth(json, kind, what)?;
    let value = parse_for(schema, json).map_err(|error| invalid(kind, what, &error))?;
    fit(schema, value.as_ref(), kind, what)?;
    Ok(value)
}

pub(super) fn within_depth(json: &RawValue, kind: ErrorKind, what: &str) -> Result<(), InvokeError> {
    // Most documents have too few brackets to be deep. Counting them costs a tenth of following them.
    if brackets(json) <= DEPTH_MAX || depth(json) <= DEPTH_MAX {
        return Ok(());
    }
    Err(InvokeError::new(kind, format!("{what} is nested more than {DEPTH_MAX} levels deep")))
}

/// How many lists and objects begin at most: those in texts count too.
fn brackets(json: &RawValue) -> usize {
    json.get().bytes().filter(|byte| matches!(byte, b'[' | b'{')).count()
}

/// How deep lists and objects lie in one another. The text is JSON already.
fn depth(json: &RawValue) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.get().bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
                    if byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

/// Parses only for a schema: without one nobody needs the value.
fn parse_for(schema: Option<&Schema>, json: &RawValue) -> Result<Option<Value>, serde_json::Error> {
    schema.map(|_| serde_json::from_str(json.get())).transpose()
}

fn fit(
    schema: Option<&Schema>,
    value: Option<&Value>,
    kind: ErrorKind,
    what: &str,
) -> Result<(), InvokeError> {
    let (Some(schema), Some(value)) = (schema, value) else { return Ok(()) };
    schema.check(value).map_err(|fields| {
        let first = fields.first().map_or_else(String::new, |field| {
            let place = if field.pointer.is_empty() { "at the top" } else { &field.pointer };
            format!(": {place}: {}", field.message)
        });
        let more = if fields.len() > 1 { format!(" (and {} more)", fields.len() - 1) } else { String::new() };
        let mut error = InvokeError::new(kind, format!("{what} does not fit its schema{first}{more}"));
        error.fields = fields;
        error
    })
}

fn invalid(kind: ErrorKind, what: &str, error: &serde_json::Error) -> InvokeError {
    InvokeError::new(kind, format!("{what} is not usable JSON: {error}"))
}

/// What the ledger keeps of a document.
fn captured(
    plugin: &CalledPlugin,
    schema: Option<&Schema>,
    value: Option<&Value>,
    json: &RawValue,
) -> Captured {
    let redacted =
        schema.zip(value).and_then(|(schema, value)| schema.redact(value)).map(|value| value.to_string());
    let text = redacted.as_deref().unwrap_or_else(|| json.get());
    // Before the cut, which could leave a part of a secret that is no longer known as one.
    let masked = plugin.mask.text(text);
    let kept = truncate(&masked, plugin.capture_bytes_max);
    Captured {
        json: kept.to_owned(),
        truncated: kept.len() < masked.len(),
        redacted: redacted.is_some() || matches!(masked, Cow::Owned(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_what_lies_in_one_another_and_nothing_in_texts() {
        for (json, expected) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a": [], "b": {}}"#, 2),
            (r#"["[[[", "\"[[[", "\\", [1]]"#, 2),
            (r#"{"[[[": "\u005b[\"]}"}"#, 1),
        ] {
            let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
            assert_eq!(depth(&raw), expected, "{json}");
            assert!(brackets(&raw) >= expected, "{json}");
        }
    }
}
