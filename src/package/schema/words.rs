//! Validation errors in our words: what is asked for, never what was given. A value may be a secret or a
//! megabyte; the schema is the plugin's own and public.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use super::super::diagnostic::{nearest, quote};

const LIST_MAX: usize = 8;

pub fn message(error: &ValidationError<'_>) -> String {
    match error.kind() {
        Kind::Type { kind } => format!("expected {}, found {}", expected(kind), found(error.instance())),
        Kind::Required { property } => format!("{} is missing", quote(property.as_str().unwrap_or_default())),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!(
                "unknown {} {}",
                plural(unexpected.len(), "field"),
                list(unexpected.iter().map(|name| quote(name)))
            )
        }
        Kind::AdditionalItems { limit } => format!("expected at most {limit} items"),
        Kind::UnevaluatedItems { .. } => "has items that are not allowed".to_owned(),
        Kind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            format!("expected one of {}", list(options.iter().map(literal)))
        }
        Kind::Constant { expected_value } => format!("expected {}", literal(expected_value)),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be above {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be below {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {}", counted(*limit, "character")),
        Kind::MaxLength { limit } => format!("must have at most {}", counted(*limit, "character")),
        Kind::MinItems { limit } => format!("must have at least {}", counted(*limit, "item")),
        Kind::MaxItems { limit } => format!("must have at most {}", counted(*limit, "item")),
        Kind::MinProperties { limit } => format!("must have at least {}", counted(*limit, "field")),
        Kind::MaxProperties { limit } => format!("must have at most {}", counted(*limit, "field")),
        Kind::Pattern { pattern } => format!("does not match the pattern {}", quote(pattern)),
        Kind::Format { format } => format!("is not a valid {}", quote(format)),
        Kind::ContentEncoding { content_encoding } => {
            format!("is not encoded as {}", quote(content_encoding))
        }
        Kind::ContentMediaType { content_media_type } => format!("is not {}", quote(content_media_type)),
        Kind::UniqueItems => "has the same item more than once".to_owned(),
        Kind::Contains => "lacks an item that the schema asks for".to_owned(),
        Kind::FalseSchema => "is not allowed".to_owned(),
        Kind::Not { .. } => "is of a shape that is not allowed".to_owned(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "fits none of the allowed shapes".to_owned(),
        Kind::OneOfMultipleValid { .. } => "fits more than one of the allowed shapes".to_owned(),
        Kind::PropertyNames { error } => format!("has a field whose name {}", message(error)),
        Kind::Referencing(_) => "holds a reference that leads nowhere".to_owned(),
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => {
            "could not be matched against the pattern".to_owned()
        }
        Kind::FromUtf8 { .. } => "is not UTF-8 once decoded".to_owned(),
        Kind::Custom { .. } => "does not fit".to_owned(),
    }
}

/// The keywords that callers tell apart.
pub fn keyword(error: &ValidationError<'_>) -> &'static str {
    match error.kind() {
        Kind::Required { .. } => "required",
        Kind::MinProperties { .. } => "minProperties",
        Kind::Format { .. } => "format",
        _ => "",
    }
}

/// What is wrong with a schema, and what is behind the commonest mistakes. A schema is public, so it is quoted.
pub fn schema_mistake(pointer: &str, error: &ValidationError<'_>) -> (String, Option<String>) {
    let keyword = pointer.rsplit('/').next().unwrap_or_default();
    match (keyword, error.instance().as_ref()) {
        ("required", Value::Bool(_)) => {
            let help = "`required` is a list of names and stands beside `properties`: `required: [url]`";
            (message(error), Some(help.to_owned()))
        }
        ("type", Value::String(written)) => {
            let help = match type_meant(written) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "types are string, integer, number, boolean, object, array, null".to_owned(),
            };
            (format!("{} is not a type", quote(written)), Some(help))
        }
        _ => (message(error), None),
    }
}

/// What people mean who come from another language.
pub fn type_meant(written: &str) -> Option<&'static str> {
    let lower = written.to_ascii_lowercase();
    Some(match lower.as_str() {
        "str" | "text" | "char" | "varchar" => "string",
        "int" | "int32" | "int64" | "long" | "uint" => "integer",
        "float" | "double" | "decimal" | "real" | "float64" => "number",
        "bool" => "boolean",
        "dict" | "map" | "mapping" | "record" | "struct" | "json" | "hash" => "object",
        "list" | "tuple" | "set" | "vec" | "slice" => "array",
        "none" | "nil" => "null",
        _ => return nearest(&lower, ["string", "integer", "number", "boolean", "object", "array", "null"]),
    })
}

fn expected(kind: &TypeKind) -> String {
    let name = |name: &str| match name {
        "null" => "null".to_owned(),
        "integer" => "an integer".to_owned(),
        "object" => "an object".to_owned(),
        "array" => "an array".to_owned(),
        other => format!("a {other}"),
    };
    match kind {
        TypeKind::Single(single) => name(single.as_str()),
        TypeKind::Multiple(several) => {
            let mut names: Vec<&str> = several.iter().map(|one| one.as_str()).collect();
            names.sort_by_key(|name| *name == "null");
            names.into_iter().map(name).collect::<Vec<_>>().join(" or ")
        }
    }
}

/// What kind of value was given, not which.
fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        other => quote(&other.to_string()),
    }
}

fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    let left_out = items.len().saturating_sub(LIST_MAX);
    let mut text = items.take(LIST_MAX).collect::<Vec<_>>().join(", ");
    if left_out > 0 {
        text.push_str(&format!(" and {left_out} more"));
    }
    text
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

fn counted(count: u64, word: &str) -> String {
    format!("{count} {}", plural(usize::try_from(count).unwrap_or(usize::MAX), word))
}
