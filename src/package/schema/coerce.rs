//! `-f key=value` on the command line: the schema says which type the text stands for.

use serde_json::{Map, Value};

use crate::model::error::FieldError;

use super::Schema;
use super::bounds::Names;

/// The value that `text` means for the field `key`.
///
/// Without a schema, or for a field that it does not type, the text stays a string. Otherwise the field's types
/// are tried in the order integer, number, boolean, array or object (written as JSON), string, null; a field
/// that may be a string takes `null` as the text.
///
/// # Errors
/// The text fits none of the field's types.
pub fn coerce(schema: Option<&Schema>, key: &str, text: &str) -> Result<Value, FieldError> {
    let Some(schema) = schema else { return Ok(Value::String(text.to_owned())) };
    let root = schema.document().as_ref();
    let names = Names::of(root);
    let mut types: Vec<&str> = Vec::new();
    for field in subschemas(&names, root, root).iter().filter_map(|part| part.get("properties")?.get(key)) {
        for part in subschemas(&names, root, field) {
            types_of(part, text, &mut types);
        }
    }
    if types.is_empty() {
        return Ok(Value::String(text.to_owned()));
    }
    typed(&types, text).ok_or_else(|| FieldError {
        pointer: format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        message: format!("expected {}{}", types.join(" or "), hint(&types, key)),
    })
}

impl Schema {
    /// See [`coerce`].
    pub fn coerce(&self, key: &str, text: &str) -> Result<Value, FieldError> {
        coerce(Some(self), key, text)
    }
}

fn typed(types: &[&str], text: &str) -> Option<Value> {
    let may_be = |name: &str| types.contains(&name);
    let trimmed = text.trim();
    if may_be("integer")
        && let Some(number) = integer(trimmed)
    {
        return Some(number);
    }
    if may_be("number")
        && let Ok(number) = serde_json::from_str::<serde_json::Number>(trimmed)
    {
        return Some(Value::Number(number));
    }
    if may_be("boolean") {
        match trimmed {
            "true" => return Some(Value::Bool(true)),
            "false" => return Some(Value::Bool(false)),
            _ => {}
        }
    }
    let begins_as_one =
        may_be("array") && trimmed.starts_with('[') || may_be("object") && trimmed.starts_with('{');
    if begins_as_one && let Ok(value) = serde_json::from_str(trimmed) {
        return Some(value);
    }
    if may_be("string") {
        return Some(Value::String(text.to_owned()));
    }
    (may_be("null") && trimmed == "null").then_some(Value::Null)
}

fn integer(text: &str) -> Option<Value> {
    let number: serde_json::Number = serde_json::from_str(text).ok()?;
    (!number.is_f64()).then_some(Value::Number(number))
}

fn hint(types: &[&str], key: &str) -> String {
    match types.first() {
        Some(&"array") => format!(", written as JSON: {key}='[\"a\", \"b\"]'"),
        Some(&"object") => format!(", written as JSON: {key}='{{\"a\": 1}}'"),
        Some(&"boolean") => ", written `true` or `false`".to_owned(),
        _ => String::new(),
    }
}

fn types_of<'a>(schema: &'a Map<String, Value>, text: &str, types: &mut Vec<&'a str>) {
    let mut add = |name: &'a str| {
        if !types.contains(&name) {
            types.push(name);
        }
    };
    match schema.get("type") {
        Some(Value::String(name)) => add(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).for_each(add),
        _ => {
            // An enum without a type: the literals say it.
            let literals =
                schema.get("enum").and_then(Value::as_array).into_iter().flatten().chain(schema.get("const"));
            for literal in literals {
                match literal {
                    Value::String(_) => add("string"),
                    Value::Bool(_) => add("boolean"),
                    Value::Number(number) if number.to_string() == text.trim() => add("number"),
                    _ => {}
                }
            }
        }
    }
}

/// A schema and all that `$ref` and `allOf`, `anyOf`, `oneOf` add to it.
fn subschemas<'a>(names: &Names, root: &'a Value, schema: &'a Value) -> Vec<&'a Map<String, Value>> {
    const SUBSCHEMAS_MAX: usize = 64;
    let mut found: Vec<&Map<String, Value>> = Vec::new();
    let mut open = vec![schema];
    while let Some(schema) = open.pop() {
        let Value::Object(schema) = schema else { continue };
        if found.len() == SUBSCHEMAS_MAX || found.iter().any(|known| std::ptr::eq(*known, schema)) {
            continue;
        }
        found.push(schema);
        if let Some(Value::String(reference)) = schema.get("$ref") {
            open.extend(names.target(root, reference));
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            open.extend(schema.get(key).and_then(Value::as_array).into_iter().flatten());
        }
    }
    found
}
