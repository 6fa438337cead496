//! What an example shall expect from now on: the other side of `examples.rs`. Pure: runs and writes nothing.

use serde_json::{Map, Value, json};

use super::examples::Actual;
use crate::model::kind::ErrorKind;
use crate::package::manifest::{Expect, ExpectShape};

/// What becomes of an example's expectation.
#[derive(Clone, Debug, PartialEq)]
pub enum Renewal {
    /// It holds.
    Keep,
    /// The whole of `expect`.
    Write(Value),
    /// A person has to decide; why.
    Refuse(String),
}

/// `failed`: what came is not what was expected. An example that expects nothing expects what came.
pub fn renew(expect: Option<&Expect>, failed: bool, actual: Actual<'_>) -> Renewal {
    if expect.is_some() && !failed {
        return Renewal::Keep;
    }
    let output = match actual {
        Actual::Output(output) => output,
        Actual::Failed { kind, .. } if !is_an_answer(kind) => {
            return Renewal::Refuse(format!("{kind} is nothing to expect; if it is meant, write it by hand"));
        }
        Actual::Failed { kind, .. } => return Renewal::Write(error(kind)),
    };
    let mut renewed = Map::new();
    match expect.map(|expect| &expect.shape) {
        Some(ExpectShape::Schema(_)) => {
            let why = "a schema says what must always hold; correct it, or the plugin";
            return Renewal::Refuse(why.to_owned());
        }
        Some(ExpectShape::Match(pattern)) => {
            renewed.insert("match".to_owned(), part_like(pattern, output));
        }
        Some(ExpectShape::Output(_) | ExpectShape::Error(_)) | None => {
            renewed.insert("output".to_owned(), output.clone());
        }
    }
    if let Some(tolerance) = expect.map(|expect| expect.tolerance).filter(|tolerance| *tolerance > 0.0) {
        renewed.insert("tolerance".to_owned(), tolerance.into());
    }
    Renewal::Write(Value::Object(renewed))
}

/// `{error: {kind}}`.
pub fn error(kind: ErrorKind) -> Value {
    json!({"error": {"kind": kind.as_str()}})
}

/// An expectation as it stands in a manifest.
pub fn written(expect: &Expect) -> Value {
    let mut value = match &expect.shape {
        ExpectShape::Output(output) => json!({"output": output}),
        ExpectShape::Match(pattern) => json!({"match": pattern}),
        ExpectShape::Schema(schema) => json!({"schema": schema}),
        ExpectShape::Error(kind) => error(*kind),
    };
    if expect.tolerance > 0.0 {
        value["tolerance"] = expect.tolerance.into();
    }
    value
}

/// Whether a kind is what the code says about an input, not what befell it this time.
pub fn is_an_answer(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::InvalidInput
        | ErrorKind::InputTooLarge
        | ErrorKind::PluginError
        | ErrorKind::InvalidOutput
        | ErrorKind::OutputTooLarge => true,
        ErrorKind::Unauthenticated
        | ErrorKind::Forbidden
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Throttled
        | ErrorKind::Cancelled
        | ErrorKind::Crashed
        | ErrorKind::MemoryExceeded
        | ErrorKind::Timeout
        | ErrorKind::Unavailable
        | ErrorKind::CircuitOpen
        | ErrorKind::SandboxViolation
        | ErrorKind::SandboxUnavailable
        | ErrorKind::Overloaded
        | ErrorKind::Internal => false,
    }
}

/// The fields of `output` that the pattern speaks of, so that it goes on leaving the others open.
fn part_like(pattern: &Value, output: &Value) -> Value {
    match (pattern, output) {
        (Value::Object(pattern), Value::Object(output)) => {
            let part =
                |(key, pattern): (&String, &Value)| Some((key.clone(), part_like(pattern, output.get(key)?)));
            Value::Object(pattern.iter().filter_map(part).collect())
        }
        (Value::Array(patterns), Value::Array(items)) if patterns.len() == items.len() => {
            patterns.iter().zip(items).map(|(pattern, item)| part_like(pattern, item)).collect()
        }
        (_, output) => output.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::examples::judge;

    fn renewed(shape: ExpectShape, tolerance: f64, actual: Actual<'_>) -> Renewal {
        let expect = Expect { shape, tolerance };
        renew(Some(&expect), !judge(Some(&expect), actual).is_empty(), actual)
    }

    #[test]
    fn what_came_is_taken_over_in_the_form_that_was_chosen() {
        let output = json!({"score": 0.5, "id": 7, "list": [{"a": 1, "b": 2}]});
        let actual = Actual::Output(&output);
        assert_eq!(
            renewed(ExpectShape::Output(json!({"score": 0.1})), 0.01, actual),
            Renewal::Write(json!({"output": output, "tolerance": 0.01}))
        );
        let pattern = json!({"score": 0.1, "list": [{"b": 3}], "gone": 1});
        assert_eq!(
            renewed(ExpectShape::Match(pattern), 0.0, actual),
            Renewal::Write(json!({"match": {"score": 0.5, "list": [{"b": 2}]}}))
        );
        assert_eq!(
            renewed(ExpectShape::Error(ErrorKind::PluginError), 0.0, actual),
            Renewal::Write(json!({"output": output}))
        );
        assert_eq!(renew(None, false, actual), Renewal::Write(json!({"output": output})));
        assert_eq!(renewed(ExpectShape::Output(output.clone()), 0.0, actual), Renewal::Keep);
        assert!(matches!(
            renewed(ExpectShape::Schema(json!({"type": "string"})), 0.0, actual),
            Renewal::Refuse(_)
        ));
    }

    #[test]
    fn only_what_the_code_says_becomes_an_expectation() {
        let failed = |kind| Actual::Failed { kind, message: "" };
        assert_eq!(
            renewed(ExpectShape::Output(json!(1)), 0.1, failed(ErrorKind::PluginError)),
            Renewal::Write(json!({"error": {"kind": "plugin_error"}}))
        );
        for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Overloaded, ErrorKind::Crashed] {
            assert!(matches!(renewed(ExpectShape::Output(json!(1)), 0.0, failed(kind)), Renewal::Refuse(_)));
            assert_eq!(renewed(ExpectShape::Error(kind), 0.0, failed(kind)), Renewal::Keep);
        }
    }

    #[test]
    fn a_renewed_expectation_holds() {
        let output = json!({"a": [1, {"b": null}], "c": "x"});
        for shape in [ExpectShape::Output(json!(null)), ExpectShape::Match(json!({"a": [2, {"z": 1}]}))] {
            let Renewal::Write(value) = renewed(shape, 0.0, Actual::Output(&output)) else {
                panic!("nothing to write")
            };
            let shape = match value.get("match") {
                Some(pattern) => ExpectShape::Match(pattern.clone()),
                None => ExpectShape::Output(value["output"].clone()),
            };
            let expect = Expect { shape, tolerance: 0.0 };
            assert_eq!(judge(Some(&expect), Actual::Output(&output)), Vec::new());
            assert_eq!(written(&expect), value);
        }
    }
}
