//! What manifests say in their own way.

use crate::model::units::UnitError;

use super::super::diagnostic::quote;
use super::super::reader::Dialect;

pub const DIALECT: Dialect = Dialect {
    free_below_top: true,
    // `$schema`, `$defs`: manifests hold JSON Schemas.
    plain_marks: &['_', '-', '$'],
    size_help: |error| help(error, "write it as `64Ki` or `512Mi`"),
    duration_help: |error| help(error, "write it as `200ms`, `30s` or `5m`"),
    list_help: |text| Some(format!("write it as a list: [{}]", quote(text).trim_matches('`'))),
};

fn help(error: &UnitError, examples: &str) -> String {
    match error {
        UnitError::Empty | UnitError::NoNumber(_) => examples.to_owned(),
        error => error.help(),
    }
}

/// `input.properties`, `actions["a b"]`.
pub fn join(path: &str, key: &str) -> String {
    DIALECT.join(path, key)
}

/// What people look for at the top of a manifest, in the wrong place or under another name.
pub fn elsewhere(key: &str) -> Option<&'static str> {
    Some(match key {
        "timeout" | "memory" | "max_input" | "max_output" | "concurrency" | "queue" | "instances" | "cpu" => {
            "it belongs under `limits`"
        }
        "max_attempts" | "retries" | "backoff" | "retry_on" | "attempt_timeout" => "it belongs under `retry`",
        "failure_ratio" | "open_for" | "breaker" => "it belongs under `circuit_breaker`",
        "python" | "python_version" => "it belongs under `requires`: `requires: {python: \">=3.9\"}`",
        "author" | "maintainer" | "team" => "did you mean `owner`?",
        "main" | "handler" | "command" | "function" | "script" => "did you mean `entrypoint`?",
        "parameters" | "params" | "arguments" | "args" => "did you mean `input`?",
        "result" | "returns" | "response" => "did you mean `output`?",
        "requirements" | "packages" => "Python packages are listed in the file requirements.txt",
        "env" | "environment" => "values come from `config`, names of secrets from `secrets`",
        "tests" => "did you mean `examples`?",
        "language" | "lang" | "type" => "did you mean `runtime`?",
        _ => return None,
    })
}
