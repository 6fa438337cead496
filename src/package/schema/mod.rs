//! JSON Schema 2020-12 for inputs, outputs and configuration: compiled once, asked on each call. `format` is
//! asserted (`email`, `uri`, `date-time` and so on; unknown formats pass). Nothing is ever fetched, and patterns
//! run on an engine without backtracking, so that a schema from a stranger cannot make a call slow.

use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::model::error::FieldError;

use super::diagnostic::quote;

mod bounds;
mod coerce;
mod outline;
mod redact;
mod words;

pub use coerce::coerce;
pub use outline::{Outline, Told};
pub use redact::REDACTED;
pub(super) use words::type_meant;

/// How many errors [`Schema::check`] reports.
pub const FIELD_ERRORS_MAX: usize = 20;

/// A compiled schema. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Schema {
    document: Arc<Value>,
    validator: Validator,
    redactor: Option<redact::Redactor>,
}

/// Why a document is no schema that can be used, by JSON pointer into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaProblem {
    pub pointer: String,
    pub message: String,
    pub help: Option<String>,
}

impl SchemaProblem {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> SchemaProblem {
        SchemaProblem { pointer: pointer.into(), message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> SchemaProblem {
        self.help = Some(help.into());
        self
    }
}

/// A field error together with the keyword that raised it.
pub(super) struct Misfit {
    pub keyword: &'static str,
    pub error: FieldError,
}

impl Schema {
    /// Checks and compiles a schema.
    ///
    /// # Errors
    /// Everything that is wrong with it: not a schema, references that lead out of it, or beyond a bound
    /// (size, number and size of patterns, expansion of references).
    pub fn compile(document: Arc<Value>) -> Result<Schema, Vec<SchemaProblem>> {
        let mut problems = bounds::problems(&document)?;
        let meta = jsonschema::draft202012::meta::validator();
        problems.extend(meta.iter_errors(&document).take(FIELD_ERRORS_MAX).map(|error| {
            let pointer = error.instance_path().to_string();
            let (message, help) = words::schema_mistake(&pointer, &error);
            SchemaProblem { pointer, message, help }
        }));
        if !problems.is_empty() {
            return Err(problems);
        }
        let patterns = PatternOptions::regex()
            .size_limit(bounds::PATTERN_BYTES_MAX)
            .dfa_size_limit(bounds::PATTERN_BYTES_MAX);
        let validator = jsonschema::draft202012::options()
            .offline()
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .build(&document)
            .map_err(|error| vec![unusable(&document, &error)])?;
        let redactor = redact::Redactor::new(&document);
        Ok(Schema { document, validator, redactor })
    }

    pub fn document(&self) -> &Arc<Value> {
        &self.document
    }

    /// Whether a value fits.
    ///
    /// # Errors
    /// At most [`FIELD_ERRORS_MAX`] places that do not fit. Messages name what the schema asks for and never
    /// repeat the value.
    pub fn check(&self, value: &Value) -> Result<(), Vec<FieldError>> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        Err(self.misfits(value).into_iter().map(|misfit| misfit.error).collect())
    }

    pub(super) fn misfits(&self, value: &Value) -> Vec<Misfit> {
        let errors = self.validator.iter_errors(value).take(FIELD_ERRORS_MAX);
        let misfit = |error: jsonschema::ValidationError<'_>| Misfit {
            keyword: words::keyword(&error),
            error: FieldError { pointer: error.instance_path().to_string(), message: words::message(&error) },
        };
        errors.map(misfit).collect()
    }

    /// Whether any property is marked `writeOnly: true` or `x-sensitive: true`.
    pub fn is_sensitive(&self) -> bool {
        self.redactor.is_some()
    }

    /// A copy of `value` in which every property so marked is [`REDACTED`]; `None`: there was nothing to hide.
    /// Where a schema offers alternatives (`anyOf`, `oneOf`, `if`), a mark in any of them counts.
    pub fn redact(&self, value: &Value) -> Option<Value> {
        self.redactor.as_ref()?.redact(&self.document, value)
    }
}

/// What the compiler refused although the meta-schema let it pass: patterns and references.
fn unusable(document: &Value, error: &jsonschema::ValidationError<'_>) -> SchemaProblem {
    let pointer = error.instance_path().to_string();
    let pointer = if document.pointer(&pointer).is_some() { pointer } else { String::new() };
    match error.instance().as_ref() {
        Value::String(pattern) if words::keyword(error) == "format" => {
            let at = bounds::pointer_of_pattern(document, pattern).unwrap_or(pointer);
            SchemaProblem::new(at, format!("{} is not a pattern that can be used", quote(pattern))).help(
                "patterns are regular expressions without look-around and back-references, of modest size",
            )
        }
        _ => SchemaProblem::new(pointer, words::message(error)),
    }
}

#[cfg(test)]
mod tests;
