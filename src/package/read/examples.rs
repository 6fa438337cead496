//! `examples`: golden calls. What cannot pass is a warning, not an error: the plugin itself may well be right.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::model::error::FieldError;
use crate::model::invocation::DEFAULT_ACTION;
use crate::model::kind::ErrorKind;

use super::super::codes;
use super::super::diagnostic::{Diagnostic, nearest, quote};
use super::super::manifest::{Action, Example, Expect, ExpectShape, HttpStub};
use super::super::reader::{Field, Reader, Section};
use super::super::schema::Schema;
use super::super::yaml::NodeValue;
use super::shape::{full, path_at};

const EXAMPLES_MAX: usize = 200;
const STUBS_MAX: usize = 100;
const DELAYS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);

struct Examples<'a> {
    actions: &'a BTreeMap<String, Action>,
    input: Option<&'a Schema>,
    output: Option<&'a Schema>,
}

pub fn read(
    reader: &mut Reader<'_>,
    top: &Section<'_>,
    actions: &BTreeMap<String, Action>,
    input: Option<&Schema>,
    output: Option<&Schema>,
) -> Vec<Example> {
    let Some(field) = top.get("examples") else { return Vec::new() };
    let about = Examples { actions, input, output };
    let mut examples: Vec<Example> = Vec::new();
    for (index, item) in reader.list(&field, EXAMPLES_MAX).iter().enumerate() {
        let Some(example) = about.example(reader, item, index) else { continue };
        if examples.iter().any(|known| known.name == example.name) {
            let message = format!("a second example is named {}", quote(&example.name));
            reader.error(codes::REPEATED, item, message, "give each example its own name");
        }
        examples.push(example);
    }
    examples
}

impl Examples<'_> {
    fn example(&self, reader: &mut Reader<'_>, item: &Field<'_>, index: usize) -> Option<Example> {
        let section = reader.section(item, &["name", "action", "input", "expect", "http", "description"])?;
        if let Some(field) = section.get("description") {
            reader.prose(&field, 4096);
        }
        let name = match section.get("name") {
            Some(field) => reader.prose(&field, 128)?,
            None => format!("example-{}", index + 1),
        };
        let action = self.action(reader, &section);
        let expect = section.get("expect").and_then(|field| self.expect(reader, &field));
        let fails_on_input = matches!(
            &expect,
            Some(Expect {
                shape: ExpectShape::Error(ErrorKind::InvalidInput | ErrorKind::InputTooLarge),
                ..
            })
        );
        let input = section.get("input").map(|field| self.input(reader, &field, fails_on_input));
        let http = section.get("http").map(|field| stubs(reader, &field)).unwrap_or_default();
        Some(Example {
            name,
            action,
            input: input.unwrap_or_else(|| raw(&Value::Object(Default::default()))),
            expect,
            http,
        })
    }

    fn action(&self, reader: &mut Reader<'_>, section: &Section<'_>) -> String {
        let Some(field) = section.get("action") else { return DEFAULT_ACTION.to_owned() };
        let Some(name) = reader.text(&field) else { return DEFAULT_ACTION.to_owned() };
        if name != DEFAULT_ACTION && !self.actions.contains_key(name) {
            let known = || std::iter::once(DEFAULT_ACTION).chain(self.actions.keys().map(String::as_str));
            let help = match nearest(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("actions are {}", known().collect::<Vec<_>>().join(", ")),
            };
            reader.error(
                codes::UNKNOWN_CHOICE,
                &field,
                format!("the plugin has no action {}", quote(name)),
                help,
            );
        }
        name.to_owned()
    }

    fn input(&self, reader: &mut Reader<'_>, field: &Field<'_>, meant_to_fail: bool) -> Arc<RawValue> {
        let value = field.node.to_json();
        if let Some(schema) = self.input
            && !meant_to_fail
        {
            unfit(reader, field, schema.check(&value), "the input schema");
        }
        if !value.is_object() && !meant_to_fail {
            let message = format!("`{}` must be a mapping, not {}", field.path, field.node.describe());
            reader.error(codes::WRONG_TYPE, field, message, "an input is always an object");
        }
        raw(&value)
    }

    fn expect(&self, reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Expect> {
        let section = reader.section(field, &["output", "match", "schema", "error", "tolerance"])?;
        // `output: null` is an expectation, too.
        let shapes = ["output", "match", "schema", "error"];
        let given: Vec<(&str, Field<'_>)> =
            shapes.iter().filter_map(|key| Some((*key, section.get_or_null(key)?))).collect();
        if given.len() != 1 {
            let message = match given.len() {
                0 => format!("`{}` says nothing", field.path),
                _ => format!("`{}` says more than one thing", field.path),
            };
            let help = "use one of `output` (equal), `match` (contains), `schema` and `error`";
            reader.report(
                Diagnostic::error(codes::CONTRADICTION, field.key, field.path.clone(), message).help(help),
            );
        }
        let tolerance = match section.get("tolerance") {
            Some(field) => tolerance(reader, &field)?,
            None => 0.0,
        };
        let (key, given) = given.into_iter().next()?;
        let shape = match key {
            "output" => {
                let value = given.node.to_json();
                // A list may be the chunks of a stream, which the schema describes one by one.
                if let Some(schema) = self.output
                    && !value.is_array()
                {
                    unfit(reader, &given, schema.check(&value), "the output schema");
                }
                ExpectShape::Output(value)
            }
            "match" => ExpectShape::Match(given.node.to_json()),
            "schema" => ExpectShape::Schema(full(reader, &given)?.document().as_ref().clone()),
            _ => ExpectShape::Error(error_kind(reader, &given)?),
        };
        Some(Expect { shape, tolerance })
    }
}

fn unfit(reader: &mut Reader<'_>, field: &Field<'_>, checked: Result<(), Vec<FieldError>>, what: &str) {
    for error in checked.err().unwrap_or_default() {
        let path = path_at(&field.path, &error.pointer);
        let message = format!("`{path}` does not fit {what}: {}", error.message);
        let place = match error.pointer.is_empty() {
            true => field.key,
            false => field.node.place_at(&error.pointer),
        };
        let problem = Diagnostic::warning(codes::EXAMPLE_UNFIT, place, path, message);
        reader.report(problem.help("correct the example or the schema; as it is, the example fails"));
    }
}

fn tolerance(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<f64> {
    let number = reader.number(field)?;
    if number >= 0.0 {
        return Some(number);
    }
    reader.error(
        codes::OUT_OF_RANGE,
        field,
        format!("`{}` is negative", field.path),
        "use a number such as 0.001",
    );
    None
}

/// `error: {kind: timeout}`.
fn error_kind(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<ErrorKind> {
    let section = reader.section(field, &["kind"])?;
    let kind = reader.required(&section, "kind", "name the kind, such as `kind: plugin_error`")?;
    let kinds: Vec<(&str, ErrorKind)> = ErrorKind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    reader.choice(&kind, &kinds)
}

fn stubs(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<HttpStub> {
    let items = reader.list(field, STUBS_MAX);
    items.iter().filter_map(|item| stub(reader, item)).collect()
}

fn stub(reader: &mut Reader<'_>, item: &Field<'_>) -> Option<HttpStub> {
    let section = reader.section(item, &["method", "url", "status", "headers", "body", "delay"])?;
    let method = section.get("method").and_then(|field| method(reader, &field));
    let url = reader.required(&section, "url", "name the address that the plugin asks for");
    let url = url.and_then(|field| url_text(reader, &field));
    let status = match section.get("status") {
        Some(field) => reader.integer(&field, 100..=599).and_then(|status| u16::try_from(status).ok()),
        None => Some(200),
    };
    let mut headers = section.get("headers").map(|field| headers(reader, &field)).unwrap_or_default();
    let body = match section.get("body") {
        Some(field) if matches!(field.node.value, NodeValue::Map(_) | NodeValue::Seq(_)) => {
            headers.entry("content-type".to_owned()).or_insert_with(|| "application/json".to_owned());
            field.node.to_json().to_string()
        }
        Some(field) => reader.text(&field).unwrap_or_default().to_owned(),
        None => String::new(),
    };
    let delay = section.get("delay").and_then(|field| reader.duration(&field, DELAYS));
    Some(HttpStub { method, url: url?, status: status?, headers, body, delay })
}

fn method(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field)?;
    if !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Some(text.to_ascii_uppercase());
    }
    reader.error(
        codes::INVALID_VALUE,
        field,
        format!("{} is not an HTTP method", quote(text)),
        "such as GET or POST",
    );
    None
}

fn url_text(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if fits {
        return Some(text.to_owned());
    }
    let message = format!("{} is not an address", quote(text));
    reader.error(codes::INVALID_VALUE, field, message, "write it whole: `https://api.example.com/things`");
    None
}

/// Names in lower case.
fn headers(reader: &mut Reader<'_>, field: &Field<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value) in reader.entries(field) {
        let good = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !good {
            let message = format!("{} is not a name of a header", quote(name));
            reader.report(Diagnostic::error(codes::INVALID_NAME, value.key, value.path.clone(), message));
        }
        if let Some(text) = reader.verbatim(&value) {
            headers.insert(name.to_ascii_lowercase(), text.to_owned());
        }
    }
    headers
}

fn raw(value: &Value) -> Arc<RawValue> {
    to_raw_value(value).expect("a JSON value can always be written").into()
}
