//! What a schema may cost. A document that passes here compiles in little time and memory, and its references
//! cannot multiply: ten lines of `allOf: [{$ref: a}, {$ref: a}]`, each naming the next, are a thousand checks.

use std::collections::HashMap;

use serde_json::Value;

use super::super::diagnostic::quote;
use super::SchemaProblem;

/// Most values in a schema, and most subschemas after references are followed once each way.
pub const NODES_MAX: usize = 10_000;
pub const DEPTH_MAX: usize = 64;
pub const PATTERNS_MAX: usize = 32;
/// Of each compiled pattern.
pub const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Everything that makes a document too costly or lets it lead out of itself.
///
/// # Errors
/// The document is too large to be looked at any further.
pub fn problems(document: &Value) -> Result<Vec<SchemaProblem>, Vec<SchemaProblem>> {
    let mut survey = Survey::default();
    survey.visit(document, &mut String::new(), 0);
    let mut problems = Vec::new();
    if survey.too_deep || survey.nodes > NODES_MAX {
        let message =
            format!("the schema has more than {NODES_MAX} values or is nested more than {DEPTH_MAX} deep");
        return Err(vec![SchemaProblem::new("", message)]);
    }
    if survey.patterns.len() > PATTERNS_MAX {
        let at = survey.patterns[PATTERNS_MAX].0.clone();
        problems.push(SchemaProblem::new(at, format!("the schema has more than {PATTERNS_MAX} patterns")));
    }
    for (pointer, reference) in &survey.references {
        if !survey.resolves(document, reference) {
            problems.push(dead_reference(pointer, reference));
        }
    }
    if problems.is_empty() && expansion(document, &survey) > NODES_MAX {
        let message = format!("the references of the schema unfold to more than {NODES_MAX} subschemas");
        problems.push(SchemaProblem::new("", message));
    }
    Ok(problems)
}

/// Where a pattern stands, so that a complaint about it can be placed.
pub fn pointer_of_pattern(document: &Value, pattern: &str) -> Option<String> {
    let mut survey = Survey::default();
    survey.visit(document, &mut String::new(), 0);
    survey.patterns.into_iter().find(|(_, found)| found == pattern).map(|(pointer, _)| pointer)
}

fn dead_reference(pointer: &str, reference: &str) -> SchemaProblem {
    let problem = SchemaProblem::new(
        pointer,
        format!("the reference {} leads nowhere in this schema", quote(reference)),
    );
    if reference.starts_with('#') {
        problem.help("references name a part of the same schema, such as `#/$defs/address`")
    } else {
        problem.help("schemas are never fetched; copy the part under `$defs` and refer to `#/$defs/…`")
    }
}

#[derive(Default)]
struct Survey {
    nodes: usize,
    too_deep: bool,
    references: Vec<(String, String)>,
    patterns: Vec<(String, String)>,
    named: Names,
}

impl Survey {
    fn visit(&mut self, value: &Value, pointer: &mut String, depth: usize) {
        self.nodes += 1;
        self.too_deep |= depth > DEPTH_MAX;
        if self.too_deep || self.nodes > NODES_MAX {
            return;
        }
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    let length = pointer.len();
                    pointer.push('/');
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    self.keyword(key, member, pointer, length);
                    self.visit(member, pointer, depth + 1);
                    pointer.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let length = pointer.len();
                    pointer.push_str(&format!("/{index}"));
                    self.visit(item, pointer, depth + 1);
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn keyword(&mut self, key: &str, member: &Value, pointer: &str, parent: usize) {
        match (key, member) {
            ("$ref" | "$dynamicRef", Value::String(reference)) => {
                self.references.push((pointer.to_owned(), reference.clone()));
            }
            ("pattern", Value::String(pattern)) => self.patterns.push((pointer.to_owned(), pattern.clone())),
            ("patternProperties", Value::Object(patterns)) => {
                self.patterns.extend(patterns.keys().map(|pattern| (pointer.to_owned(), pattern.clone())));
            }
            ("$anchor" | "$dynamicAnchor", Value::String(name)) => {
                self.named.0.insert(format!("#{name}"), pointer[..parent].to_owned());
            }
            ("$id", Value::String(id)) => {
                self.named.0.insert(id.trim_end_matches('#').to_owned(), pointer[..parent].to_owned());
            }
            _ => {}
        }
    }

    fn resolves(&self, document: &Value, reference: &str) -> bool {
        // The meta-schema itself is built in.
        let built_in = reference.starts_with("https://json-schema.org/draft/2020-12/");
        // A relative reference may be meant under some `$id`; the compiler, which never fetches, decides that.
        let has_id = self.named.0.keys().any(|name| !name.starts_with('#'));
        let under_id = has_id && !reference.contains("://");
        self.named.target(document, reference).is_some() || built_in || under_id
    }
}

/// `$anchor` and `$id` values of a schema, with the pointer of their subschema.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    pub fn of(document: &Value) -> Names {
        let mut survey = Survey::default();
        survey.visit(document, &mut String::new(), 0);
        survey.named
    }

    /// What a reference names: `#`, `#/$defs/x`, `#anchor`, or the same behind an `$id` of this document.
    pub fn target<'a>(&self, document: &'a Value, reference: &str) -> Option<&'a Value> {
        if let Some(pointer) = self.0.get(reference.trim_end_matches('#')) {
            return document.pointer(pointer);
        }
        let (id, fragment) = reference.split_once('#')?;
        let base = if id.is_empty() { document } else { document.pointer(self.0.get(id)?)? };
        base.pointer(&percent_decoded(fragment)?)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let (byte, tail) = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let pair = [*high, *low];
                let pair = std::str::from_utf8(&pair).ok()?;
                (u8::from_str_radix(pair, 16).ok()?, tail)
            }
            _ => (byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// How many subschemas one value may have to be checked against, references followed. A reference back into
/// itself counts once: the value, which shrinks with each round, bounds that.
fn expansion(document: &Value, survey: &Survey) -> usize {
    fn cost(
        value: &Value,
        document: &Value,
        survey: &Survey,
        known: &mut HashMap<*const Value, usize>,
    ) -> usize {
        if let Some(known) = known.get(&std::ptr::from_ref(value)) {
            return *known;
        }
        known.insert(value, 1);
        let sum = match value {
            Value::Object(members) => members.iter().fold(1usize, |sum, (key, member)| {
                let target = match (key.as_str(), member) {
                    ("$ref" | "$dynamicRef", Value::String(reference)) => {
                        survey.named.target(document, reference)
                    }
                    // What is defined costs where it is used.
                    ("$defs" | "definitions", _) => None,
                    _ => Some(member),
                };
                sum.saturating_add(target.map_or(0, |target| cost(target, document, survey, known)))
            }),
            Value::Array(items) => {
                items.iter().fold(0usize, |sum, item| sum.saturating_add(cost(item, document, survey, known)))
            }
            _ => 0,
        };
        known.insert(value, sum);
        sum
    }
    cost(document, document, survey, &mut HashMap::new())
}
