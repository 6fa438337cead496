//! Judging the examples of a manifest: what was expected, what came, and where the two differ. Pure: runs
//! nothing.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::model::kind::ErrorKind;
use crate::package::manifest::{Expect, ExpectShape};
use crate::package::schema::Schema;

/// Further differences are only counted.
const DIFFERENCES_MAX: usize = 20;
const VALUE_CHARACTERS_MAX: usize = 120;

/// How a call of an example ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Actual<'a> {
    Output(&'a Value),
    Failed { kind: ErrorKind, message: &'a str },
}

/// One place where the two are not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// RFC 6901; empty for the whole.
    pub pointer: String,
    pub message: String,
}

impl Difference {
    pub fn to_json(&self) -> Value {
        json!({"pointer": self.pointer, "message": self.message})
    }
}

/// Nothing: the example passed. One that expects nothing passes with any reply.
pub fn judge(expect: Option<&Expect>, actual: Actual<'_>) -> Vec<Difference> {
    let shape = expect.map(|expect| &expect.shape);
    let output = match (shape, actual) {
        (Some(ExpectShape::Error(expected)), Actual::Failed { kind, .. }) if *expected == kind => {
            return Vec::new();
        }
        (Some(ExpectShape::Error(expected)), Actual::Failed { kind, message }) => {
            return whole(format!("expected the error {expected}, got {kind}: {message}"));
        }
        (Some(ExpectShape::Error(expected)), Actual::Output(output)) => {
            return whole(format!("expected the error {expected}, got {}", brief(output)));
        }
        (_, Actual::Failed { kind, message }) => {
            return whole(format!("expected a reply, got {kind}: {message}"));
        }
        (_, Actual::Output(output)) => output,
    };
    let tolerance = expect.map_or(0.0, |expect| expect.tolerance);
    let mut found = Found { tolerance, whole: true, list: Vec::new(), left_out: 0 };
    match shape {
        Some(ExpectShape::Output(expected)) => found.compare(expected, output, &mut String::new()),
        Some(ExpectShape::Match(expected)) => {
            found.whole = false;
            found.compare(expected, output, &mut String::new());
        }
        Some(ExpectShape::Schema(schema)) => found.check(schema, output),
        Some(ExpectShape::Error(_)) | None => {}
    }
    found.end()
}

fn whole(message: String) -> Vec<Difference> {
    vec![Difference { pointer: String::new(), message }]
}

struct Found {
    tolerance: f64,
    /// Objects may have no other fields.
    whole: bool,
    list: Vec<Difference>,
    left_out: usize,
}

impl Found {
    fn compare(&mut self, expected: &Value, actual: &Value, pointer: &mut String) {
        match (expected, actual) {
            (Value::Object(expected), Value::Object(actual)) => {
                for (key, value) in expected {
                    let place = push_token(pointer, key);
                    match actual.get(key) {
                        Some(actual) => self.compare(value, actual, pointer),
                        None => self.add(pointer, format!("expected {}, but it is missing", brief(value))),
                    }
                    pointer.truncate(place);
                }
                let whole = self.whole;
                for (key, value) in actual.iter().filter(|(key, _)| whole && !expected.contains_key(*key)) {
                    let place = push_token(pointer, key);
                    self.add(pointer, format!("not expected: {}", brief(value)));
                    pointer.truncate(place);
                }
            }
            (Value::Array(expected), Value::Array(actual)) => self.compare_lists(expected, actual, pointer),
            (Value::Number(left), Value::Number(right)) => {
                if !equal(left, right, self.tolerance) {
                    let around =
                        if self.tolerance > 0.0 { format!(" ± {}", self.tolerance) } else { String::new() };
                    self.add(pointer, format!("expected {left}{around}, got {right}"));
                }
            }
            _ if expected == actual => {}
            _ => self.add(pointer, format!("expected {}, got {}", brief(expected), brief(actual))),
        }
    }

    fn compare_lists(&mut self, expected: &[Value], actual: &[Value], pointer: &mut String) {
        if expected.len() != actual.len() {
            self.add(pointer, format!("expected {} items, got {}", expected.len(), actual.len()));
        }
        for index in 0..expected.len().max(actual.len()) {
            let place = push_token(pointer, &index.to_string());
            match (expected.get(index), actual.get(index)) {
                (Some(expected), Some(actual)) => self.compare(expected, actual, pointer),
                (Some(expected), None) => {
                    self.add(pointer, format!("expected {}, but it is missing", brief(expected)))
                }
                (None, Some(actual)) => self.add(pointer, format!("not expected: {}", brief(actual))),
                (None, None) => {}
            }
            pointer.truncate(place);
        }
    }

    fn check(&mut self, schema: &Value, output: &Value) {
        let schema = match Schema::compile(Arc::new(schema.clone())) {
            Ok(schema) => schema,
            // The manifest was read before, which refuses such a schema.
            Err(problems) => return self.add("", format!("the schema has {} mistakes", problems.len())),
        };
        for field in schema.check(output).err().into_iter().flatten() {
            let found = output.pointer(&field.pointer).map(|value| format!(", got {}", brief(value)));
            self.add(&field.pointer, format!("{}{}", field.message, found.unwrap_or_default()));
        }
    }

    fn add(&mut self, pointer: &str, message: String) {
        if self.list.len() < DIFFERENCES_MAX {
            self.list.push(Difference { pointer: pointer.to_owned(), message });
        } else {
            self.left_out += 1;
        }
    }

    fn end(mut self) -> Vec<Difference> {
        if self.left_out > 0 {
            let message = format!("and {} more differences", self.left_out);
            self.list.push(Difference { pointer: String::new(), message });
        }
        self.list
    }
}

/// `1` and `1.0` are the same number, as in JSON Schema; whole numbers are compared without rounding.
fn equal(expected: &serde_json::Number, actual: &serde_json::Number, tolerance: f64) -> bool {
    if expected == actual {
        return true;
    }
    let whole =
        |number: &serde_json::Number| number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    if let (0.0, Some(expected), Some(actual)) = (tolerance, whole(expected), whole(actual)) {
        return expected == actual;
    }
    let (Some(expected), Some(actual)) = (expected.as_f64(), actual.as_f64()) else { return false };
    // Expected 0.3 within 0.1 takes 0.4, although the doubles next to them lie a hair further apart.
    let hair = if tolerance > 0.0 { f64::EPSILON * expected.abs().max(actual.abs()) } else { 0.0 };
    (expected - actual).abs() <= tolerance + hair
}

/// Appends a token to a pointer; returns where it was before.
fn push_token(pointer: &mut String, token: &str) -> usize {
    let place = pointer.len();
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
    place
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= VALUE_CHARACTERS_MAX {
        return text;
    }
    let kept: String = text.chars().take(VALUE_CHARACTERS_MAX - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(shape: ExpectShape, tolerance: f64, output: &Value) -> Vec<String> {
        let found = judge(Some(&Expect { shape, tolerance }), Actual::Output(output));
        found.into_iter().map(|one| format!("{}: {}", one.pointer, one.message)).collect()
    }

    #[test]
    fn an_output_is_equal_within_the_tolerance() {
        let expected = json!({"score": 0.0121, "reasons": [], "n": 1});
        let output = |expected: &Value, tolerance, actual: &Value| {
            differences(ExpectShape::Output(expected.clone()), tolerance, actual)
        };
        assert!(output(&expected, 0.0005, &json!({"n": 1.0, "score": 0.0124, "reasons": []})).is_empty());
        assert_eq!(
            output(&expected, 0.0, &json!({"score": 0.0124, "reasons": ["x"], "a/b": null})),
            [
                "/score: expected 0.0121, got 0.0124",
                "/reasons: expected 0 items, got 1",
                "/reasons/0: not expected: \"x\"",
                "/n: expected 1, but it is missing",
                "/a~1b: not expected: null",
            ]
        );
        assert_eq!(output(&json!(1), 0.5, &json!(2)), [": expected 1 ± 0.5, got 2"]);
        assert!(output(&json!(0.3), 0.1, &json!(0.4)).is_empty());
        assert_eq!(output(&json!("1"), 0.0, &json!(1)), [": expected \"1\", got 1"]);
        assert_eq!(
            output(&json!(9_007_199_254_740_993_u64), 0.0, &json!(9_007_199_254_740_992_u64)).len(),
            1
        );
    }

    #[test]
    fn a_match_allows_further_fields_but_no_further_items() {
        let expected = json!([{"column": "a"}, {"column": "b"}]);
        let matched = |actual: &Value| differences(ExpectShape::Match(expected.clone()), 0.0, actual);
        assert!(matched(&json!([{"column": "a", "rows": 1}, {"column": "b"}])).is_empty());
        assert_eq!(
            matched(&json!([{"column": "a"}, {"column": "c"}])),
            ["/1/column: expected \"b\", got \"c\""]
        );
        assert_eq!(matched(&json!([{"column": "a"}])).len(), 2);
    }

    #[test]
    fn a_schema_is_checked() {
        let schema = json!({"type": "object", "properties": {"score": {"type": "number", "maximum": 1}}});
        let checked = |actual: &Value| differences(ExpectShape::Schema(schema.clone()), 0.0, actual);
        assert!(checked(&json!({"score": 1})).is_empty());
        let found = checked(&json!({"score": 2}));
        assert!(found[0].starts_with("/score: ") && found[0].ends_with(", got 2"), "{found:?}");
    }

    #[test]
    fn errors_are_expected_by_kind() {
        let timeout = Actual::Failed { kind: ErrorKind::Timeout, message: "no reply within 2s" };
        let expect = |kind| Expect { shape: ExpectShape::Error(kind), tolerance: 0.0 };
        assert!(judge(Some(&expect(ErrorKind::Timeout)), timeout).is_empty());
        let found = judge(Some(&expect(ErrorKind::Crashed)), timeout);
        assert_eq!(found[0].message, "expected the error crashed, got timeout: no reply within 2s");
        assert_eq!(judge(None, timeout)[0].message, "expected a reply, got timeout: no reply within 2s");
        let found = judge(Some(&expect(ErrorKind::Crashed)), Actual::Output(&json!({"a": "x".repeat(500)})));
        assert!(found[0].message.len() < 200, "{}", found[0].message);
        assert!(judge(None, Actual::Output(&json!(null))).is_empty());
    }

    #[test]
    fn many_differences_are_counted() {
        let (expected, actual) = (json!(vec![0; 100]), json!(vec![1; 100]));
        let found = differences(ExpectShape::Output(expected), 0.0, &actual);
        assert_eq!(found.len(), DIFFERENCES_MAX + 1);
        assert_eq!(found.last().map(String::as_str), Some(": and 80 more differences"));
    }
}
