//! Hiding what a schema marks `writeOnly: true` or `x-sensitive: true`. In doubt it hides: a mark in any branch
//! of an alternative counts, and so does a reference that cannot be followed.

use serde_json::{Map, Value};

use super::bounds::Names;

/// What stands in the place of a hidden value.
pub const REDACTED: &str = "[redacted]";

/// How many subschemas are looked at for one value; beyond it the value is hidden.
const SUBSCHEMAS_MAX: usize = 512;

/// Exists only for schemas that mark something.
#[derive(Debug)]
pub struct Redactor {
    names: Names,
}

impl Redactor {
    pub fn new(document: &Value) -> Option<Redactor> {
        marks_something(document).then(|| Redactor { names: Names::of(document) })
    }

    pub fn redact(&self, document: &Value, value: &Value) -> Option<Value> {
        self.walk(document, &[document], value)
    }

    fn walk(&self, document: &Value, schemas: &[&Value], value: &Value) -> Option<Value> {
        let Some(schemas) = applicable(&self.names, document, schemas) else {
            return Some(Value::String(REDACTED.to_owned()));
        };
        if schemas.is_empty() {
            return None;
        }
        match value {
            Value::Object(members) => self.object(document, &schemas, members),
            Value::Array(items) => self.array(document, &schemas, items),
            _ => None,
        }
    }

    fn object(
        &self,
        document: &Value,
        schemas: &[&Map<String, Value>],
        members: &Map<String, Value>,
    ) -> Option<Value> {
        let mut copy: Option<Map<String, Value>> = None;
        for (name, member) in members {
            let mut below = Vec::new();
            for schema in schemas {
                below_property(schema, name, &mut below);
            }
            if let Some(hidden) = self.walk(document, &below, member) {
                copy.get_or_insert_with(|| members.clone()).insert(name.clone(), hidden);
            }
        }
        copy.map(Value::Object)
    }

    fn array(&self, document: &Value, schemas: &[&Map<String, Value>], items: &[Value]) -> Option<Value> {
        let mut copy: Option<Vec<Value>> = None;
        for (index, item) in items.iter().enumerate() {
            let mut below = Vec::new();
            for schema in schemas {
                below_index(schema, index, &mut below);
            }
            if let Some(hidden) = self.walk(document, &below, item) {
                copy.get_or_insert_with(|| items.to_vec())[index] = hidden;
            }
        }
        copy.map(Value::Array)
    }
}

/// All subschemas that speak about the same value. `None`: hide it, because one of them is marked, cannot
/// be found, or there are too many.
pub(super) fn applicable<'a>(
    names: &Names,
    document: &'a Value,
    schemas: &[&'a Value],
) -> Option<Vec<&'a Map<String, Value>>> {
    let mut found: Vec<&Map<String, Value>> = Vec::new();
    let mut open: Vec<&Value> = schemas.to_vec();
    while let Some(schema) = open.pop() {
        let Value::Object(schema) = schema else { continue };
        if found.iter().any(|known| std::ptr::eq(*known, schema)) {
            continue;
        }
        if is_marked(schema) || found.len() == SUBSCHEMAS_MAX {
            return None;
        }
        found.push(schema);
        for key in ["$ref", "$dynamicRef"] {
            if let Some(Value::String(reference)) = schema.get(key) {
                open.push(names.target(document, reference)?);
            }
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            open.extend(schema.get(key).and_then(Value::as_array).into_iter().flatten());
        }
        open.extend(["if", "then", "else"].iter().filter_map(|key| schema.get(*key)));
        open.extend(
            schema.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values),
        );
    }
    Some(found)
}

pub(super) fn below_property<'a>(schema: &'a Map<String, Value>, name: &str, below: &mut Vec<&'a Value>) {
    let declared = schema.get("properties").and_then(|properties| properties.get(name));
    below.extend(declared);
    // Names are not matched against the patterns: one marked pattern hides every undeclared property.
    if declared.is_none() {
        below.extend(
            schema.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::values),
        );
        below.extend(
            ["additionalProperties", "unevaluatedProperties"].iter().filter_map(|key| schema.get(*key)),
        );
    }
}

pub(super) fn below_index<'a>(schema: &'a Map<String, Value>, index: usize, below: &mut Vec<&'a Value>) {
    below.extend(["items", "contains", "unevaluatedItems"].iter().filter_map(|key| schema.get(*key)));
    below.extend(schema.get("prefixItems").and_then(|list| list.get(index)));
}

fn is_marked(schema: &Map<String, Value>) -> bool {
    ["writeOnly", "x-sensitive"].iter().any(|key| schema.get(*key) == Some(&Value::Bool(true)))
}

fn marks_something(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => is_marked(members) || members.values().any(marks_something),
        Value::Array(items) => items.iter().any(marks_something),
        _ => false,
    }
}
