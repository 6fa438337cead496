//! What differs between two outputs: JSON in, differences out. Pure. Values are compared as they are written, not as
//! parsed numbers: `10000000000000000001` and `10000000000000000002` differ, and so do `1` and `1.0`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::text::truncate;

/// So many differences are told, the others counted.
pub const CHANGES_MAX: usize = 100;
/// A longer value is cut, and becomes a text that holds its beginning.
pub const VALUE_BYTES_MAX: usize = 1 << 10;
/// A longer pointer is cut.
pub const POINTER_BYTES_MAX: usize = 1 << 10;
/// What is nested deeper is compared as a whole.
const DEPTH_MAX: usize = 64;

/// All that differs, within bounds.
#[derive(Debug, Default, Serialize)]
pub struct Difference {
    pub changes: Vec<Change>,
    /// Differences beyond the ones that are listed.
    pub more: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Added,
    Removed,
    Changed,
}

/// One place that differs.
#[derive(Debug, Serialize)]
pub struct Change {
    pub op: Op,
    /// JSON Pointer (RFC 6901); empty: the output as a whole.
    pub pointer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Box<RawValue>>,
    /// Pointer, old or new value is only a beginning.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl Difference {
    pub fn between(old: &RawValue, new: &RawValue) -> Difference {
        let mut walk = Walk { pointer: String::new(), found: Difference::default() };
        walk.compare(old.get(), new.get(), 0);
        walk.found
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.more == 0
    }
}

struct Walk {
    pointer: String,
    found: Difference,
}

impl Walk {
    fn compare(&mut self, old: &str, new: &str, depth: usize) {
        let (old, new) = (old.trim(), new.trim());
        if old == new {
            return;
        }
        match (old.as_bytes().first(), new.as_bytes().first()) {
            (Some(b'{'), Some(b'{')) if depth < DEPTH_MAX => {
                let (old, new) = (members(old), members(new));
                let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for name in names {
                    self.at(&escaped(name), old.get(name).copied(), new.get(name).copied(), depth);
                }
            }
            (Some(b'['), Some(b'[')) if depth < DEPTH_MAX => {
                let (old, new) = (items(old), items(new));
                for place in 0..old.len().max(new.len()) {
                    self.at(&place.to_string(), old.get(place).copied(), new.get(place).copied(), depth);
                }
            }
            (Some(b'"'), Some(b'"')) if text(old) == text(new) => {}
            _ => self.found(Op::Changed, Some(old), Some(new)),
        }
    }

    fn at(&mut self, token: &str, old: Option<&RawValue>, new: Option<&RawValue>, depth: usize) {
        let parent = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(token);
        match (old, new) {
            (Some(old), Some(new)) => self.compare(old.get(), new.get(), depth + 1),
            (Some(old), None) => self.found(Op::Removed, Some(old.get()), None),
            (None, Some(new)) => self.found(Op::Added, None, Some(new.get())),
            (None, None) => {}
        }
        self.pointer.truncate(parent);
    }

    fn found(&mut self, op: Op, old: Option<&str>, new: Option<&str>) {
        if self.found.changes.len() == CHANGES_MAX {
            self.found.more += 1;
            return;
        }
        let pointer = truncate(&self.pointer, POINTER_BYTES_MAX).to_owned();
        let is_long = |value: Option<&str>| value.is_some_and(|value| value.len() > VALUE_BYTES_MAX);
        let truncated = pointer.len() < self.pointer.len() || is_long(old) || is_long(new);
        let (old, new) = (old.map(bounded), new.map(bounded));
        self.found.changes.push(Change { op, pointer, old, new, truncated });
    }
}

fn bounded(json: &str) -> Box<RawValue> {
    let kept = truncate(json, VALUE_BYTES_MAX);
    let json = if kept.len() < json.len() { serde_json::Value::from(kept).to_string() } else { json.into() };
    RawValue::from_string(json).expect("it is a part of a JSON document, or a text")
}

fn members(json: &str) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

fn items(json: &str) -> Vec<&RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(old: &str, new: &str) -> Difference {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        Difference::between(&raw(old), &raw(new))
    }

    fn told(old: &str, new: &str) -> Vec<String> {
        let value =
            |value: &Option<Box<RawValue>>| value.as_ref().map_or("-", |value| value.get()).to_owned();
        let changes = between(old, new).changes;
        changes
            .iter()
            .map(|change| {
                let (old, new) = (value(&change.old), value(&change.new));
                format!("{:?} {} {old} {new}", change.op, change.pointer)
            })
            .collect()
    }

    #[test]
    fn each_place_that_differs_is_told_once() {
        for (old, new, changes) in [
            ("1", "1", vec![]),
            (r#"{"a": 1, "b": [1, 2]}"#, r#"{"b":[1,2],"a":1}"#, vec![]),
            (r#""\u0078""#, r#""x""#, vec![]),
            ("1", "1.0", vec!["Changed  1 1.0"]),
            (
                r#"{"n": 10000000000000000001}"#,
                r#"{"n": 10000000000000000002}"#,
                vec!["Changed /n 10000000000000000001 10000000000000000002"],
            ),
            (
                r#"{"a": 1, "b": 2}"#,
                r#"{"b": 3, "c": null}"#,
                vec!["Removed /a 1 -", "Changed /b 2 3", "Added /c - null"],
            ),
            ("[1, 2, 3]", "[1, 4]", vec!["Changed /1 2 4", "Removed /2 3 -"]),
            (r#"{"a": {"x/y~": [0]}}"#, r#"{"a": {"x/y~": [1]}}"#, vec!["Changed /a/x~1y~0/0 0 1"]),
            (r#"{"a": []}"#, r#"{"a": {}}"#, vec!["Changed /a [] {}"]),
            ("null", "{}", vec!["Changed  null {}"]),
        ] {
            assert_eq!(told(old, new), changes, "{old} {new}");
        }
    }

    #[test]
    fn number_size_and_depth_are_bounded() {
        let list = |item: &str| format!("[{}]", vec![item; CHANGES_MAX + 7].join(","));
        let many = between(&list("0"), &list("1"));
        assert_eq!((many.changes.len(), many.more), (CHANGES_MAX, 7));

        let long = between("1", &format!("{:?}", "x".repeat(5000)));
        let new: String = serde_json::from_str(long.changes[0].new.as_ref().unwrap().get()).unwrap();
        assert!(long.changes[0].truncated && new.len() == VALUE_BYTES_MAX, "{}", new.len());
        let name = "k".repeat(5000);
        let long = between("{}", &format!(r#"{{"{name}": 1}}"#));
        assert!(long.changes[0].truncated && long.changes[0].pointer.len() == POINTER_BYTES_MAX);

        let tower = |inside: &str| format!("{}{inside}{}", "[".repeat(100_000), "]".repeat(100_000));
        let deep = between(&tower("1"), &tower("2"));
        assert_eq!(deep.changes.len(), 1);
    }
}
