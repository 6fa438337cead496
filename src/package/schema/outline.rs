//! What a schema says about a place in a value, without a value: whether it may be looked at, whether it can be
//! there at all, what kind it is; and which places a schema names.

use std::collections::{HashSet, VecDeque};

use serde_json::{Map, Value};

use crate::model::field::{FieldKind, Step};

use super::super::diagnostic::nearest;
use super::bounds::Names;
use super::redact::{applicable, below_index, below_property};

/// How many places wait to be looked at in search of leaves, and how many subschemas are: a schema may refer
/// to itself.
const PLACES_MAX: usize = 1_024;
const SUBSCHEMAS_MAX: usize = 10_000;
/// How many names are compared with one that is missing.
const NEAR_MAX: usize = 256;

/// What is known of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is sensitive, or cannot be told from what is.
    Hidden,
    /// No value that fits has it: the step that leads nowhere, and the name that was meant.
    Missing { step: usize, near: Option<String> },
    /// It is an object, in which other places lie.
    Object,
    /// A value; `None`: the schema does not say of which kind.
    Value(Option<FieldKind>),
}

pub struct Outline<'a> {
    document: &'a Value,
    names: Names,
    /// Names at the top that are not declared count as missing.
    complete: bool,
}

impl<'a> Outline<'a> {
    /// `complete`: whoever wrote the schema meant to list all fields, although others are let pass.
    pub fn new(document: &'a Value, complete: bool) -> Outline<'a> {
        Outline { document, names: Names::of(document), complete }
    }

    pub fn at(&self, steps: &[Step]) -> Told {
        let mut possible = vec![self.document];
        let mut certain = vec![self.document];
        for (index, step) in steps.iter().enumerate() {
            let Some(maps) = applicable(&self.names, self.document, &possible) else { return Told::Hidden };
            let sure = self.certain(&certain);
            let is_complete = self.complete && index == 0;
            if let Step::Key(name) = step
                && lacks(&maps, &sure, name, is_complete)
            {
                let known = maps.iter().flat_map(|map| properties(map)).map(|(name, _)| name.as_str());
                let known = known.take(NEAR_MAX);
                return Told::Missing { step: index, near: nearest(name, known).map(str::to_owned) };
            }
            if sure.iter().any(|map| excludes(map, step)) {
                return Told::Missing { step: index, near: None };
            }
            possible = below(&maps, step);
            certain = below(&sure, step);
        }
        match applicable(&self.names, self.document, &possible) {
            Some(maps) => told(&maps),
            None => Told::Hidden,
        }
    }

    /// The values that the schema names and that may be looked at, nearest to the root first, otherwise in the
    /// order of the schema. What lies deeper than `depth_max` and in lists is not named.
    pub fn leaves(&self, depth_max: usize, leaves_max: usize) -> Vec<(Vec<Step>, Option<FieldKind>)> {
        let mut leaves = Vec::new();
        let mut looked_at = 0;
        let mut open = VecDeque::from([(Vec::new(), vec![self.document])]);
        while let Some((steps, schemas)) = open.pop_front() {
            let Some(maps) = applicable(&self.names, self.document, &schemas) else { continue };
            looked_at += maps.len();
            match told(&maps) {
                Told::Value(kind) if !steps.is_empty() => leaves.push((steps, kind)),
                Told::Object if steps.len() < depth_max => {
                    for name in names(&maps).into_iter().take(PLACES_MAX.saturating_sub(open.len())) {
                        let step = Step::Key(name.into());
                        let schemas = below(&maps, &step);
                        open.push_back((steps.iter().cloned().chain([step]).collect(), schemas));
                    }
                }
                _ => {}
            }
            if leaves.len() == leaves_max || looked_at > SUBSCHEMAS_MAX {
                break;
            }
        }
        leaves
    }

    /// The subschemas that every value has to fit, so far as they are easily told: not those of alternatives.
    fn certain(&self, schemas: &[&'a Value]) -> Vec<&'a Map<String, Value>> {
        let mut found: Vec<&Map<String, Value>> = Vec::new();
        let mut open = schemas.to_vec();
        while let Some(schema) = open.pop() {
            let Value::Object(schema) = schema else { continue };
            if found.iter().any(|known| std::ptr::eq(*known, schema)) {
                continue;
            }
            found.push(schema);
            if let Some(Value::String(reference)) = schema.get("$ref") {
                open.extend(self.names.target(self.document, reference));
            }
            open.extend(schema.get("allOf").and_then(Value::as_array).into_iter().flatten());
        }
        found
    }
}

fn properties(schema: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The names of the properties, each once. What was found last stands first in the document.
fn names<'a>(maps: &[&'a Map<String, Value>]) -> Vec<&'a str> {
    let mut known = HashSet::new();
    let all = maps.iter().rev().flat_map(|map| properties(map));
    all.map(|(name, _)| name.as_str()).filter(|name| known.insert(*name)).take(PLACES_MAX).collect()
}

fn below<'a>(maps: &[&'a Map<String, Value>], step: &Step) -> Vec<&'a Value> {
    let mut schemas = Vec::new();
    for map in maps {
        match step {
            Step::Key(name) => below_property(map, name, &mut schemas),
            Step::Index(index) => {
                below_index(map, usize::try_from(*index).unwrap_or(usize::MAX), &mut schemas);
            }
        }
    }
    schemas
}

/// Whether no object that fits has a property of this name.
fn lacks(
    possible: &[&Map<String, Value>],
    certain: &[&Map<String, Value>],
    name: &str,
    is_complete: bool,
) -> bool {
    let named = possible
        .iter()
        .any(|map| properties(map).any(|(known, _)| known == name) || map.contains_key("patternProperties"));
    let closed = certain.iter().any(|map| {
        ["additionalProperties", "unevaluatedProperties"]
            .iter()
            .any(|key| map.get(*key) == Some(&Value::Bool(false)))
    });
    !named && (closed || is_complete)
}

/// Whether a schema wants a type that has no such step.
fn excludes(schema: &Map<String, Value>, step: &Step) -> bool {
    let wanted = match step {
        Step::Key(_) => "object",
        Step::Index(_) => "array",
    };
    let mut types = types(schema).peekable();
    types.peek().is_some() && !types.any(|name| name == wanted)
}

/// The types that a schema names.
fn types(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let named = schema.get("type");
    let one = named.and_then(Value::as_str);
    let several = named.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(several)
}

/// What all schemas of a place say together. Where they name several kinds, data has to decide.
fn told(maps: &[&Map<String, Value>]) -> Told {
    let mut kinds: Vec<&str> = Vec::new();
    for name in maps.iter().flat_map(|map| types(map)) {
        let name = if name == "integer" { "number" } else { name };
        if name != "null" && !kinds.contains(&name) {
            kinds.push(name);
        }
    }
    if kinds.is_empty() {
        kinds.extend(meant(maps));
    }
    let has = |key: &str| maps.iter().any(|map| map.contains_key(key));
    Told::Value(match kinds[..] {
        ["object"] => return Told::Object,
        ["number"] => Some(FieldKind::Number),
        ["boolean"] => Some(FieldKind::Boolean),
        ["array"] => Some(FieldKind::ListSize),
        ["string"] if has("enum") || has("const") => Some(FieldKind::Category),
        ["string"] if has("format") => Some(FieldKind::TextLength),
        _ => None,
    })
}

/// The type that is meant without being named, as by `enum: [a, b]`.
fn meant(maps: &[&Map<String, Value>]) -> Option<&'static str> {
    let listed = maps.iter().filter_map(|map| map.get("enum").and_then(Value::as_array)).flatten();
    let mut values =
        listed.chain(maps.iter().filter_map(|map| map.get("const"))).filter(|value| !value.is_null());
    if let Some(first) = values.next() {
        let name = type_of(first);
        return values.all(|value| type_of(value) == name).then_some(name);
    }
    let has = |key: &str| maps.iter().any(|map| map.contains_key(key));
    if has("properties") {
        return Some("object");
    }
    (has("items") || has("prefixItems")).then_some("array")
}

const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn steps(path: &str) -> Vec<Step> {
        let path: crate::model::field::FieldPath = path.parse().unwrap();
        path.steps().to_vec()
    }

    fn missing(step: usize, near: Option<&str>) -> Told {
        Told::Missing { step, near: near.map(str::to_owned) }
    }

    #[test]
    fn a_place_is_told_by_all_schemas_that_speak_about_it() {
        let document = json!({
            "type": "object",
            "properties": {
                "amount": {"type": ["number", "null"]},
                "count": {"type": "integer"},
                "flag": {"type": "boolean"},
                "channel": {"enum": ["web", "app", null]},
                "level": {"const": 3},
                "id": {"type": "string", "format": "uuid"},
                "text": {"type": "string"},
                "either": {"type": ["string", "number"]},
                "items": {"items": {"properties": {"price": {"type": "number"}}}},
                "customer": {"$ref": "#/$defs/customer"},
                "secret": {"type": "string", "x-sensitive": true},
                "safe": {"x-sensitive": true, "properties": {"inner": {"type": "string"}}}
            },
            "additionalProperties": false,
            "$defs": {"customer": {"allOf": [{"properties": {"age": {"type": "integer"}}}], "unevaluatedProperties": false}}
        });
        let outline = Outline::new(&document, false);
        for (path, told) in [
            ("$.input.amount", Told::Value(Some(FieldKind::Number))),
            ("$.input.count", Told::Value(Some(FieldKind::Number))),
            ("$.input.flag", Told::Value(Some(FieldKind::Boolean))),
            ("$.input.channel", Told::Value(Some(FieldKind::Category))),
            ("$.input.level", Told::Value(Some(FieldKind::Number))),
            ("$.input.id", Told::Value(Some(FieldKind::TextLength))),
            ("$.input.text", Told::Value(None)),
            ("$.input.either", Told::Value(None)),
            ("$.input.items", Told::Value(Some(FieldKind::ListSize))),
            ("$.input.items[3].price", Told::Value(Some(FieldKind::Number))),
            ("$.input.items[3].prize", Told::Value(None)),
            ("$.input.customer", Told::Object),
            ("$.input.customer.age", Told::Value(Some(FieldKind::Number))),
            ("$.input.customer.agee", missing(1, Some("age"))),
            ("$.input.secret", Told::Hidden),
            ("$.input.safe.inner", Told::Hidden),
            ("$.input.amuont", missing(0, Some("amount"))),
            ("$.input.text.length", missing(1, None)),
            ("$.input.flag[0]", missing(1, None)),
        ] {
            assert_eq!(outline.at(&steps(path)), told, "{path}");
        }
    }

    #[test]
    fn what_is_open_lacks_nothing_unless_it_is_meant_to_be_complete() {
        let document = json!({"properties": {"amount": {}}});
        assert_eq!(Outline::new(&document, false).at(&steps("$.input.other")), Told::Value(None));
        assert_eq!(Outline::new(&document, true).at(&steps("$.input.amont")), missing(0, Some("amount")));
        let alternatives = json!({
            "anyOf": [{"properties": {"a": {}}, "additionalProperties": false}, {"properties": {"b": {}}}]
        });
        let outline = Outline::new(&alternatives, false);
        assert_eq!(outline.at(&steps("$.input.c")), Told::Value(None), "the second may have it");
    }

    #[test]
    fn leaves_are_those_that_may_be_looked_at_nearest_first() {
        let document = json!({
            "type": "object",
            "properties": {
                "deep": {"type": "object", "properties": {"a": {"type": "object", "properties": {
                    "b": {"type": "string"}, "c": {"type": "object", "properties": {"d": {"type": "number"}}}
                }}}},
                "list": {"type": "array", "items": {"type": "object", "properties": {"x": {}}}},
                "hidden": {"type": "object", "writeOnly": true, "properties": {"x": {}}},
                "free": {"type": "object"},
                "amount": {"type": "number"}
            }
        });
        let outline = Outline::new(&document, false);
        let leaves = |depth, most| -> Vec<String> {
            let leaves = outline.leaves(depth, most);
            let name = |step: &Step| match step {
                Step::Key(key) => key.to_string(),
                Step::Index(index) => index.to_string(),
            };
            leaves.iter().map(|(steps, _)| steps.iter().map(name).collect::<Vec<_>>().join(".")).collect()
        };
        assert_eq!(leaves(4, 9), ["list", "amount", "deep.a.b", "deep.a.c.d"]);
        assert_eq!(leaves(3, 9), ["list", "amount", "deep.a.b"]);
        assert_eq!(leaves(4, 1), ["list"]);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends_soon() {
        let mut properties = Map::new();
        for index in 0..3_000 {
            properties.insert(format!("p{index}"), json!({"$ref": "#"}));
        }
        let parts: Vec<Value> = (0..500).map(|_| json!({})).collect();
        let document = json!({"type": "object", "properties": properties, "allOf": parts});
        let begun = std::time::Instant::now();
        assert_eq!(Outline::new(&document, false).leaves(4, 64), []);
        assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
