use serde_json::json;

use super::*;

fn schema(document: Value) -> Schema {
    Schema::compile(Arc::new(document)).unwrap()
}

fn refused(document: Value) -> SchemaProblem {
    Schema::compile(Arc::new(document)).unwrap_err().remove(0)
}

#[test]
fn a_value_that_does_not_fit_is_told_where_and_what_but_not_itself() {
    let schema = schema(json!({
        "type": "object",
        "required": ["url"],
        "properties": {
            "url": {"type": "string", "format": "uri"},
            "count": {"type": "integer", "minimum": 1},
            "mode": {"enum": ["a", "b"]},
            "a/b": {"type": "array", "items": {"type": "string"}},
        },
    }));
    assert_eq!(schema.check(&json!({"url": "https://example.com", "more": 1})), Ok(()));
    let value = json!({"count": 0, "mode": "hunter2", "a/b": ["x", 2]});
    let errors = schema.check(&value).unwrap_err();
    let said: Vec<String> =
        errors.iter().map(|error| format!("{}: {}", error.pointer, error.message)).collect();
    assert!(said.contains(&": `url` is missing".to_owned()), "{said:?}");
    assert!(said.contains(&"/count: must be at least 1".to_owned()), "{said:?}");
    assert!(said.contains(&"/mode: expected one of `a`, `b`".to_owned()), "{said:?}");
    assert!(said.contains(&"/a~1b/1: expected a string, found an integer".to_owned()), "{said:?}");
    assert!(!format!("{said:?}").contains("hunter2"));
    let bad = schema.check(&json!({"url": "not a uri"})).unwrap_err();
    assert_eq!(bad[0].message, "is not a valid `uri`");
}

#[test]
fn the_number_of_errors_is_bounded() {
    let schema = schema(json!({"items": {"type": "string"}}));
    let errors = schema.check(&json!(vec![1; 1000])).unwrap_err();
    assert_eq!(errors.len(), FIELD_ERRORS_MAX);
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    let problem = refused(json!({"properties": {"a": {"type": "strin"}}}));
    assert_eq!(problem.pointer, "/properties/a/type");
    assert_eq!(problem.help.as_deref(), Some("did you mean `string`?"));
    let problem = refused(json!({"properties": {"a": {"type": "string", "required": true}}}));
    assert_eq!(problem.pointer, "/properties/a/required");
    assert!(problem.help.unwrap().contains("a list of names"));
    let problem = refused(json!({"properties": {"a": {"pattern": "(unclosed"}}}));
    assert_eq!(problem.pointer, "/properties/a/pattern");
}

#[test]
fn references_stay_inside() {
    for reference in
        ["https://example.com/x.json", "other.json", "file:///etc/passwd", "#/$defs/none", "#none"]
    {
        let problem = refused(json!({"properties": {"a": {"$ref": reference}}}));
        assert_eq!(problem.pointer, "/properties/a/$ref", "{reference}");
    }
    schema(json!({"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"next": {"$ref": "#/$defs/a"}}}}}));
    schema(json!({"$ref": "#b", "$defs": {"a": {"$anchor": "b"}}}));
    schema(
        json!({"$id": "https://example.com/s", "$ref": "https://example.com/s#/$defs/a", "$defs": {"a": {}}}),
    );
}

#[test]
fn schemas_that_would_be_slow_are_refused() {
    let mut defs = serde_json::Map::new();
    for level in 0..30 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        defs.insert(format!("d{level}"), json!({"allOf": [next, next]}));
    }
    defs.insert("d30".into(), json!({}));
    assert!(refused(json!({"$ref": "#/$defs/d0", "$defs": defs})).message.contains("unfold"));
    assert!(refused(json!({"pattern": "(a{1000}){1000}"})).message.contains("pattern"));
    assert!(refused(json!({"pattern": "(a+)+\\1$"})).message.contains("pattern"));
    let many: serde_json::Map<String, Value> =
        (0..40).map(|index| (format!("p{index}"), json!({"pattern": "a"}))).collect();
    assert!(refused(json!({"properties": many})).message.contains("more than 32 patterns"));
    let slow = schema(json!({"pattern": "^(a+)+$"}));
    assert!(slow.check(&json!(format!("{}b", "a".repeat(5000)))).is_err());
}

#[test]
fn marked_properties_are_hidden_wherever_they_stand() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "user": {"type": "string"},
            "password": {"type": "string", "writeOnly": true},
            "nested": {"properties": {"token": {"x-sensitive": true}}},
            "list": {"items": {"$ref": "#/$defs/card"}},
            "pair": {"prefixItems": [{}, {"writeOnly": true}]},
            "either": {"oneOf": [{"type": "integer"}, {"type": "string", "writeOnly": true}]},
            "self": {"$ref": "#"},
        },
        "allOf": [{"properties": {"extra": {"x-sensitive": true}}}],
        "$defs": {"card": {"properties": {"number": {"writeOnly": true}}}},
        "additionalProperties": {"properties": {"pin": {"writeOnly": true}}},
    }));
    let value = json!({
        "user": "u", "password": "p", "nested": {"token": {"deep": 1}, "kept": 1},
        "list": [{"number": 1, "name": "n"}, 7], "pair": [1, 2, 3], "either": "s", "extra": [1],
        "self": {"password": "q", "user": "v"}, "free": {"pin": 1},
    });
    let hidden = schema.redact(&value).unwrap();
    assert_eq!(
        hidden,
        json!({
            "user": "u", "password": REDACTED, "nested": {"token": REDACTED, "kept": 1},
            "list": [{"number": REDACTED, "name": "n"}, 7], "pair": [1, REDACTED, 3], "either": REDACTED, "extra": REDACTED,
            "self": {"password": REDACTED, "user": "v"}, "free": {"pin": REDACTED},
        })
    );
    assert_eq!(schema.redact(&json!({"user": "u"})), None);
    assert!(schema.is_sensitive());
}

#[test]
fn a_schema_without_marks_hides_nothing() {
    let schema = schema(json!({"properties": {"password": {"type": "string", "writeOnly": false}}}));
    assert!(!schema.is_sensitive());
    assert_eq!(schema.redact(&json!({"password": "p"})), None);
}

#[test]
fn fields_on_the_command_line_get_the_types_of_the_schema() {
    let schema = schema(json!({
        "properties": {
            "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": "boolean"},
            "o": {"type": "object"}, "a": {"type": "array"}, "x": {}, "m": {"type": ["string", "null"]},
            "z": {"type": ["integer", "null"]}, "e": {"enum": [1, "one"]}, "r": {"$ref": "#/$defs/n"},
        },
        "$defs": {"n": {"type": "integer"}},
    }));
    let cases = [
        ("s", "1", json!("1")),
        ("i", "1", json!(1)),
        ("n", "1.5", json!(1.5)),
        ("n", "1", json!(1)),
        ("b", "true", json!(true)),
        ("o", "{\"k\":1}", json!({"k": 1})),
        ("a", "[1]", json!([1])),
        ("x", "1", json!("1")),
        ("unknown", "1", json!("1")),
        ("m", "null", json!("null")),
        ("z", "null", json!(null)),
        ("e", "1", json!(1)),
        ("e", "one", json!("one")),
        ("r", "7", json!(7)),
    ];
    for (key, text, value) in cases {
        assert_eq!(schema.coerce(key, text), Ok(value), "{key}={text}");
    }
    for (key, text) in [("i", "1.5"), ("i", "x"), ("b", "yes"), ("o", "[1]"), ("a", "a,b"), ("z", "")] {
        assert_eq!(schema.coerce(key, text).unwrap_err().pointer, format!("/{key}"));
    }
    assert_eq!(coerce(None, "i", "1"), Ok(json!("1")));
}
