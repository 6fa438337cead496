//! The JSON Schema of the file, for editors. It says less than [`super::load`] checks: bounds of sizes and
//! durations, contradictions and what the files hold.

use serde_json::{Value, json};

use super::notifications::{ARGUMENTS_MAX, NOTIFICATIONS_MAX};
use super::plugins::{CONCURRENCY, INSTANCES_MAX, INSTANCES_MIN, QUEUE};
use super::settings::{DATA_DIR_DEFAULT, LISTEN_DEFAULT};
use super::telemetry::{CAPTURE_MODES, LOG_WORDS};
use super::written::{ALLOWED_HOSTS_MAX, PLUGIN_DIRS_MAX};

/// JSON Schema 2020-12.
pub fn schema() -> Value {
    // A key without a value is the same as no key.
    let text = json!({ "type": ["string", "null"] });
    let modes: Vec<Value> = CAPTURE_MODES.iter().map(|(name, _)| json!(name)).chain([Value::Null]).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "spanglass.yaml",
        "description": "Configuration of spanglass",
        "type": ["object", "null"],
        "additionalProperties": false,
        "patternProperties": { "^x-": {} },
        "properties": {
            "listen": described(&text, "Address to serve on, HOST:PORT; port 0 picks a free one", Some(LISTEN_DEFAULT)),
            "data_dir": described(&text, "Where packages and what happened are kept", Some(DATA_DIR_DEFAULT)),
            "plugin_dirs": {
                "description": "Folders whose child folders and zips are plugins",
                "type": ["array", "null"],
                "maxItems": PLUGIN_DIRS_MAX,
                "items": { "type": "string", "minLength": 1 },
            },
            "token_file": described(&text, "File with bearer tokens, one a line; required off loopback", None),
            "allowed_hosts": {
                "description": "Names and addresses by which the server may be called, beside the loopback names",
                "type": ["array", "null"],
                "maxItems": ALLOWED_HOSTS_MAX,
                "items": { "type": "string", "minLength": 1 },
            },
            "plugins": {
                "description": "What the operator decides about plugins, by name",
                "type": ["object", "null"],
                "propertyNames": { "pattern": "^[a-z0-9][a-z0-9-]{0,63}$" },
                "additionalProperties": { "$ref": "#/$defs/plugin" },
            },
            "telemetry": section(json!({
                "logs": {
                    "description": "Where JSON log lines go: a word or a path",
                    "type": ["string", "null"],
                    "examples": LOG_WORDS,
                },
                "spool": section(json!({ "max": size("1Gi"), "age": duration("24h") })),
                "capture": section(json!({
                    "mode": { "description": "Of which calls input and output are kept", "enum": modes, "default": "all" },
                    "max": size("64Ki"),
                })),
                "retention": section(json!({ "age": duration("7d"), "max": size("2Gi") })),
            })),
            "python": section(json!({ "install_timeout": duration("5m") })),
            "notifications": {
                "description": "Who is told when something breaks",
                "type": ["array", "null"],
                "maxItems": NOTIFICATIONS_MAX,
                "items": { "oneOf": notifications() },
            },
        },
        "$defs": { "plugin": plugin() },
    })
}

fn plugin() -> Value {
    let source = |key: &str| {
        json!({
            "type": "object",
            "required": [key],
            "additionalProperties": false,
            "properties": { key: { "type": "string", "minLength": 1 } },
        })
    };
    section(json!({
        "path": { "description": "Folder or zip to register at the start", "type": ["string", "null"] },
        "version": {
            "description": "Which versions get calls, as in Cargo.toml: ^1.2",
            "type": ["string", "number", "null"],
        },
        "required": {
            "description": "Whether the server does not start without it",
            "type": ["boolean", "null"],
            "default": false,
        },
        "enabled": { "description": "Whether it gets calls", "type": ["boolean", "null"], "default": true },
        "config": { "description": "Laid over the manifest's config, key by key", "type": ["object", "null"] },
        "limits": section(json!({
            "timeout": duration("30s"),
            "memory": size("512Mi"),
            "max_input": size("1Mi"),
            "max_output": size("1Mi"),
            "concurrency": integer(CONCURRENCY.into_inner(), "Calls at once"),
            "queue": integer(QUEUE.into_inner(), "Calls that may wait"),
            "instances": section(json!({
                "min": integer(INSTANCES_MIN.into_inner(), "Workers that are always there"),
                "max": integer(INSTANCES_MAX.into_inner(), "Most workers"),
            })),
            "cpu": { "description": "No effect yet" },
        })),
        "secrets": {
            "description": "Where the value of each secret is; values do not stand in this file",
            "type": ["object", "null"],
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$" },
            "additionalProperties": { "oneOf": [source("env"), source("file")] },
        },
    }))
}

fn notifications() -> Value {
    let of = |key: &str, value: Value| json!({ "type": "object", "required": [key], "additionalProperties": false, "properties": { key: value } });
    let address = json!({ "type": "string", "pattern": "^https?://." });
    let command =
        json!({ "type": "array", "minItems": 1, "maxItems": ARGUMENTS_MAX, "items": { "type": "string" } });
    json!([of("webhook", address.clone()), of("slack", address), of("command", command)])
}

fn section(properties: Value) -> Value {
    json!({ "type": ["object", "null"], "additionalProperties": false, "properties": properties })
}

fn described(base: &Value, description: &str, default: Option<&str>) -> Value {
    let mut schema = base.clone();
    schema["description"] = json!(description);
    if let Some(default) = default {
        schema["default"] = json!(default);
    }
    schema
}

fn size(default: &str) -> Value {
    json!({
        "description": "A size in bytes, such as 512Mi",
        "type": ["string", "integer", "null"],
        "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*([kMGTPE]|[KMGTPE]i)?\s*$",
        "minimum": 0,
        "default": default,
    })
}

fn duration(default: &str) -> Value {
    json!({
        "description": "A duration, such as 30s or 24h",
        "type": ["string", "null"],
        "pattern": r"^\s*([0-9]+(\.[0-9]+)?\s*(d|h|m|s|ms|us|ns))+\s*$",
        "default": default,
    })
}

fn integer((minimum, maximum): (u32, u32), description: &str) -> Value {
    json!({ "description": description, "type": ["integer", "null"], "minimum": minimum, "maximum": maximum })
}
