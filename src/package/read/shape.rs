//! The shapes of input, output and configuration: shorthand (`url: string`, `tags: string[]?`) or JSON Schema.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::codes;
use super::super::diagnostic::{Diagnostic, nearest, quote};
use super::super::reader::{Field, Reader, Section};
use super::super::schema::{Schema, type_meant};
use super::super::yaml::{Node, NodeValue};
use super::dialect::join;

pub const TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "object", "array", "any"];

/// Keywords of JSON Schema 2020-12, and `optional`, which is ours.
const KEYWORDS: &[&str] = &[
    "type",
    "properties",
    "required",
    "items",
    "enum",
    "const",
    "description",
    "title",
    "default",
    "examples",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "prefixItems",
    "unevaluatedItems",
    "unevaluatedProperties",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "$ref",
    "$defs",
    "definitions",
    "$id",
    "$schema",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$comment",
    "$vocabulary",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "deprecated",
    "readOnly",
    "writeOnly",
    "nullable",
];

/// The schema of the input, which is always an object.
pub fn input(reader: &mut Reader<'_>, top: &Section<'_>) -> Option<Schema> {
    let schema = shape(reader, top, "input", "input_schema")?;
    let named = schema.document().get("type").cloned().unwrap_or(json!("object"));
    let may_be_object =
        named == "object" || named.as_array().is_some_and(|types| types.contains(&json!("object")));
    if !may_be_object && let Some(field) = top.get("input_schema") {
        let place = field.node.place_at("/type");
        let message = "an input is always a JSON object, so no call can fit this schema";
        let problem = Diagnostic::error(codes::INVALID_SCHEMA, place, "input_schema.type", message);
        reader.report(problem.help("use `type: object` and put the value into a property"));
    }
    Some(schema)
}

pub fn output(reader: &mut Reader<'_>, top: &Section<'_>) -> Option<Schema> {
    shape(reader, top, "output", "output_schema")
}

/// Default values and the schema that the final configuration has to fit.
pub fn config(reader: &mut Reader<'_>, top: &Section<'_>) -> (Map<String, Value>, Option<Arc<Value>>) {
    let schema = top.get("config_schema").and_then(|field| full(reader, &field));
    let mut config = Map::new();
    if let Some(field) = top.get("config")
        && reader.mapping(&field).is_some()
    {
        config = field.node.to_object();
        if let Some(schema) = &schema {
            // What the defaults lack, the operator may add.
            let misfits = schema.misfits(&Value::Object(config.clone()));
            for misfit in
                misfits.into_iter().filter(|misfit| !matches!(misfit.keyword, "required" | "minProperties"))
            {
                let path = path_at(&field.path, &misfit.error.pointer);
                let message = format!("`{path}` does not fit `config_schema`: {}", misfit.error.message);
                let place = field.node.place_at(&misfit.error.pointer);
                reader.report(Diagnostic::error(codes::CONFIG_UNFIT, place, path, message));
            }
        }
    }
    (config, schema.map(|schema| schema.document().clone()))
}

fn shape(reader: &mut Reader<'_>, top: &Section<'_>, short: &str, long: &str) -> Option<Schema> {
    match (top.get(short), top.get(long)) {
        (Some(shorthand), Some(schema)) => {
            let message = format!("`{short}` and `{long}` say the same thing twice");
            let problem = Diagnostic::error(codes::CONTRADICTION, schema.key, long, message);
            reader.report(problem.help("keep one of the two").related(shorthand.key, "the other one"));
            full(reader, &schema);
            expand(reader, &shorthand)
        }
        (Some(shorthand), None) => expand(reader, &shorthand),
        (None, Some(schema)) => full(reader, &schema),
        (None, None) => None,
    }
}

/// A JSON Schema written out.
pub fn full(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Schema> {
    reader.mapping(field)?;
    keywords(reader, field.node, &field.path);
    if let Some(named) = field.node.get("$schema").and_then(Node::as_str)
        && !named.trim_end_matches('#').ends_with("draft/2020-12/schema")
    {
        let place = field.node.place_at("/$schema");
        let message = format!("{} is read as JSON Schema 2020-12", quote(named));
        let problem =
            Diagnostic::warning(codes::KEYWORD_IGNORED, place, join(&field.path, "$schema"), message);
        reader.report(
            problem.help("write `$schema: https://json-schema.org/draft/2020-12/schema`, or remove it"),
        );
    }
    compile(reader, field, field.node.to_json(), |pointer| pointer.to_owned())
}

/// Shorthand made into a JSON Schema.
fn expand(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Schema> {
    let entries = {
        reader.mapping(field)?;
        reader.entries(field)
    };
    if looks_like_schema(field.node) {
        let message = format!("`{}` looks like a JSON Schema, but is read as a list of fields", field.path);
        let help =
            format!("rename it to `{}_schema`, or keep only what stands under `properties`", field.path);
        let problem = Diagnostic::error(codes::CONTRADICTION, field.key, field.path.clone(), message);
        reader.report(problem.help(help));
        return None;
    }
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut good = true;
    for (name, entry) in entries {
        match property(reader, &entry) {
            Some((schema, optional)) => {
                properties.insert(name.to_owned(), schema);
                if !optional {
                    required.push(Value::from(name));
                }
            }
            None => good = false,
        }
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::Array(required));
    }
    // With a field missing it is only compiled for its mistakes: examples would be judged by half a schema.
    let schema = compile(reader, field, Value::Object(schema), |pointer| {
        pointer.strip_prefix("/properties").unwrap_or_default().to_owned()
    });
    schema.filter(|_| good)
}

/// `type: object` with `properties` under `input:`, where the fields themselves belong.
fn looks_like_schema(node: &Node) -> bool {
    node.get("type").and_then(Node::as_str) == Some("object")
        && node.get("properties").is_some_and(|properties| properties.as_map().is_some())
}

/// One field: its schema, and whether it may be left out.
fn property(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<(Value, bool)> {
    match &field.node.value {
        NodeValue::Str(text) => match parse_type(text) {
            Ok(parsed) => Some(parsed),
            Err((message, help)) => {
                reader.error(codes::UNKNOWN_TYPE, field, message, help);
                None
            }
        },
        NodeValue::Map(_) => mapped(reader, field),
        NodeValue::Seq(items) => {
            let item = items.first().and_then(Node::as_str).unwrap_or("string");
            let item = if TYPES.contains(&item) { item } else { type_meant(item).unwrap_or("string") };
            let message = format!("the type of `{}` is a list", field.path);
            reader.error(
                codes::UNKNOWN_TYPE,
                field,
                message,
                format!("a list of {item}s is written `{item}[]`"),
            );
            None
        }
        _ => {
            let message =
                format!("the type of `{}` must be a text, not {}", field.path, field.node.describe());
            reader.error(codes::UNKNOWN_TYPE, field, message, format!("types are {}", TYPES.join(", ")));
            None
        }
    }
}

/// A JSON Schema property with `optional` besides.
fn mapped(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<(Value, bool)> {
    let mut schema = field.node.to_object();
    let known =
        |key: &String| KEYWORDS.contains(&key.as_str()) || *key == "optional" || key.starts_with("x-");
    if !schema.is_empty() && !schema.keys().any(known) {
        let message = format!("`{}` is not a JSON Schema: it has none of its keywords", field.path);
        let help = "fields of an object are written `{type: object, properties: {name: {type: string}}}`";
        let problem = Diagnostic::error(codes::INVALID_SCHEMA, field.key, field.path.clone(), message);
        reader.report(problem.help(help));
        return None;
    }
    let optional = field.node.get("optional").is_some_and(|node| {
        let optional = Field { node, key: node.place, path: join(&field.path, "optional") };
        reader.boolean(&optional).unwrap_or(false)
    });
    schema.shift_remove("optional");
    keywords(reader, field.node, &field.path);
    Some((Value::Object(schema), optional))
}

/// `string`, `string?`, `string[]`, `string[]?`.
fn parse_type(text: &str) -> Result<(Value, bool), (String, String)> {
    let trimmed = text.trim();
    let (rest, optional) = match trimmed.strip_suffix('?') {
        Some(rest) => (rest.trim_end(), true),
        None => (trimmed, false),
    };
    let mut name = rest;
    let mut lists = 0;
    while let Some(item) = name.strip_suffix("[]") {
        name = item.trim_end();
        lists += 1;
    }
    if !TYPES.contains(&name) || lists > 4 {
        let message = format!("{} is not a type", quote(text));
        let marks = &rest[name.len()..];
        let question = if optional { "?" } else { "" };
        let help = match (format_meant(name), type_meant(name).or_else(|| nearest(name, TYPES))) {
            (Some(format), _) => format!("write `{{type: string, format: {format}}}`"),
            (None, Some(meant)) if meant != "null" && lists <= 4 => {
                format!("did you mean `{meant}{marks}{question}`?")
            }
            _ if name.contains('?') => "the `?` stands last: `string[]?`".to_owned(),
            _ if name.contains('|') => {
                "alternatives need a JSON Schema: `{type: [string, integer]}`".to_owned()
            }
            _ => format!("types are {}; `?` makes a field optional, `[]` a list", TYPES.join(", ")),
        };
        return Err((message, help));
    }
    let mut schema = if name == "any" { json!({}) } else { json!({ "type": name }) };
    for _ in 0..lists {
        schema = json!({ "type": "array", "items": schema });
    }
    // What may be absent may also be null: a Python function that has nothing to say returns None.
    if optional && let Some(Value::String(name)) = schema.get("type") {
        schema["type"] = json!([name, "null"]);
    }
    Ok((schema, optional))
}

/// Formats that people take for types.
fn format_meant(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "date" => "date",
        "time" => "time",
        "datetime" | "date-time" | "timestamp" => "date-time",
        "duration" => "duration",
        "uri" | "url" => "uri",
        "email" => "email",
        "uuid" => "uuid",
        "ip" | "ipv4" => "ipv4",
        _ => return None,
    })
}

fn compile(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    document: Value,
    to_source: impl Fn(&str) -> String,
) -> Option<Schema> {
    match Schema::compile(Arc::new(document)) {
        Ok(schema) => Some(schema),
        Err(problems) => {
            for problem in problems {
                let pointer = to_source(&problem.pointer);
                let path = path_at(&field.path, &pointer);
                let message = format!("`{path}` is not a usable JSON Schema: {}", problem.message);
                let place = field.node.place_at(&pointer);
                reader.report(
                    Diagnostic::error(codes::INVALID_SCHEMA, place, path, message).maybe_help(problem.help),
                );
            }
            None
        }
    }
}

/// Keywords that JSON Schema does not have are ignored by every validator; here they are at least said.
fn keywords(reader: &mut Reader<'_>, schema: &Node, path: &str) {
    let Some(entries) = schema.as_map() else { return };
    for (key, value) in entries {
        let path = join(path, &key.name);
        match key.name.as_str() {
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                for (name, schema) in value.as_map().unwrap_or_default() {
                    keywords(reader, schema, &join(&path, &name.name));
                }
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                for (index, schema) in value.as_seq().unwrap_or_default().iter().enumerate() {
                    keywords(reader, schema, &format!("{path}[{index}]"));
                }
            }
            "items"
            | "additionalProperties"
            | "contains"
            | "not"
            | "if"
            | "then"
            | "else"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties"
            | "contentSchema" => keywords(reader, value, &path),
            "optional" => {}
            name if !KEYWORDS.contains(&name) && !name.starts_with("x-") => {
                let message = format!("JSON Schema has no keyword {}; it is ignored", quote(name));
                let help = match nearest(name, KEYWORDS.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "keywords of your own begin with `x-`".to_owned(),
                };
                reader
                    .report(Diagnostic::warning(codes::KEYWORD_IGNORED, key.place, path, message).help(help));
            }
            _ => {}
        }
    }
}

/// `input.properties.url` for the pointer `/properties/url`, `list[0]` for `/list/0`.
pub fn path_at(path: &str, pointer: &str) -> String {
    pointer.split('/').skip(1).fold(path.to_owned(), |path, token| {
        if token.bytes().all(|b| b.is_ascii_digit()) && !token.is_empty() {
            return format!("{path}[{token}]");
        }
        join(&path, &token.replace("~1", "/").replace("~0", "~"))
    })
}
