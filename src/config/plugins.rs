//! `plugins.NAME`: what the operator decides about one plugin.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use semver::VersionReq;
use serde_json::Map;

use crate::host::settings::{LimitsOverride, PluginSettings, SecretSource};
use crate::model::name::PluginName;
use crate::package::codes as common;
use crate::package::diagnostic::{Diagnostic, quote};

use super::codes;
use super::reader::{Field, Reader};

pub const KEYS: &[&str] = &["path", "version", "required", "enabled", "config", "limits", "secrets"];
pub const LIMIT_KEYS: &[&str] =
    &["timeout", "memory", "max_input", "max_output", "concurrency", "queue", "instances", "cpu"];

// The bounds of manifests.
pub const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
pub const MEMORY_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 40;
pub const BODY_BYTES: RangeInclusive<u64> = 2..=64 << 20;
pub const CONCURRENCY: RangeInclusive<u32> = 1..=1_024;
pub const QUEUE: RangeInclusive<u32> = 0..=100_000;
pub const INSTANCES_MIN: RangeInclusive<u32> = 0..=256;
pub const INSTANCES_MAX: RangeInclusive<u32> = 1..=256;

const VERSION_BYTES_MAX: usize = 128;
const NAME_BYTES_MAX: usize = 128;
const SECRETS_MAX: usize = 100;

pub fn read(reader: &mut Reader<'_>, field: &Field<'_>) -> BTreeMap<String, PluginSettings> {
    let mut plugins = BTreeMap::new();
    for (name, field) in reader.entries(field) {
        if let Err(error) = PluginName::parse(name) {
            let message = format!("{} is not a plugin name", quote(name));
            let problem = Diagnostic::error(common::INVALID_NAME, field.key, field.path.clone(), message);
            reader.report(problem.help(error.to_string()));
        }
        plugins.insert(name.to_owned(), plugin(reader, &field));
    }
    plugins
}

fn plugin(reader: &mut Reader<'_>, field: &Field<'_>) -> PluginSettings {
    let mut plugin = PluginSettings::default();
    if field.node.is_null() {
        return plugin;
    }
    let Some(section) = reader.section_or(field, KEYS, elsewhere) else { return plugin };
    plugin.path = section.get("path").and_then(|field| reader.path(&field));
    plugin.version = section.get("version").and_then(|field| requirement(reader, &field));
    if let Some(field) = section.get("required") {
        plugin.required = reader.boolean(&field).unwrap_or(plugin.required);
    }
    if let Some(field) = section.get("enabled") {
        plugin.enabled = reader.boolean(&field).unwrap_or(plugin.enabled);
    }
    if let Some(field) = section.get("config") {
        plugin.config = reader.entries(&field).into_iter().fold(Map::new(), |mut config, (name, field)| {
            config.insert(name.to_owned(), field.node.to_json());
            config
        });
    }
    if let Some(field) = section.get("limits") {
        plugin.limits = limits(reader, &field);
    }
    if let Some(field) = section.get("secrets") {
        plugin.secrets = secrets(reader, &field);
    }
    plugin
}

fn elsewhere(key: &str) -> Option<&'static str> {
    Some(match key {
        "timeout" | "memory" | "max_input" | "max_output" | "concurrency" | "queue" | "instances" | "cpu" => {
            "it belongs under `limits`"
        }
        "env" | "environment" => "plugins get values from `config`, and secret ones from `secrets`",
        "disabled" => "write `enabled: false`",
        "retry" | "circuit_breaker" | "entrypoint" | "runtime" | "slo" => {
            "only the plugin's manifest says this"
        }
        _ => return None,
    })
}

fn requirement(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<VersionReq> {
    let text = reader.verbatim(field)?;
    match VersionReq::parse(text) {
        Ok(requirement) if text.len() <= VERSION_BYTES_MAX => Some(requirement),
        _ => {
            let message = format!("`{}` is {}, which is no version requirement", field.path, quote(text));
            let help =
                "write a requirement as in Cargo.toml, such as `^1.2`, `~1.2.3`, `=1.2.3` or `>=1, <3`";
            reader.error(common::INVALID_REQUIREMENT, field, message, help);
            None
        }
    }
}

fn limits(reader: &mut Reader<'_>, field: &Field<'_>) -> LimitsOverride {
    let mut limits = LimitsOverride::default();
    let Some(section) = reader.section_or(field, LIMIT_KEYS, limits_elsewhere) else { return limits };
    limits.timeout = section.get("timeout").and_then(|field| reader.duration(&field, TIMEOUT));
    limits.memory_bytes = section.get("memory").and_then(|field| reader.bytes(&field, MEMORY_BYTES));
    limits.input_bytes_max = section.get("max_input").and_then(|field| reader.bytes(&field, BODY_BYTES));
    limits.output_bytes_max = section.get("max_output").and_then(|field| reader.bytes(&field, BODY_BYTES));
    limits.concurrency = section.get("concurrency").and_then(|field| reader.integer(&field, CONCURRENCY));
    limits.queue = section.get("queue").and_then(|field| reader.integer(&field, QUEUE));
    if let Some(field) = section.get("cpu") {
        reader.no_effect(&field);
    }
    if let Some(field) = section.get("instances") {
        instances(reader, &field, &mut limits);
    }
    limits
}

fn limits_elsewhere(key: &str) -> Option<&'static str> {
    (key == "calls_per_instance")
        .then_some("only the plugin's manifest says this: its code must be made for it")
}

fn instances(reader: &mut Reader<'_>, field: &Field<'_>, limits: &mut LimitsOverride) {
    let Some(section) = reader.section(field, &["min", "max"]) else { return };
    limits.instances_min = section.get("min").and_then(|field| reader.integer(&field, INSTANCES_MIN));
    limits.instances_max = section.get("max").and_then(|field| reader.integer(&field, INSTANCES_MAX));
    if let (Some(min), Some(max)) = (limits.instances_min, limits.instances_max)
        && min > max
    {
        let message = format!("`{}` has a `min` of {min}, above its `max` of {max}", field.path);
        reader.error(common::CONTRADICTION, field, message, "raise `max` or lower `min`");
    }
}

fn secrets(reader: &mut Reader<'_>, field: &Field<'_>) -> BTreeMap<String, SecretSource> {
    let mut secrets = BTreeMap::new();
    if field.node.as_map().is_none() {
        let message = format!("`{}` says for each name where the value is", field.path);
        reader.error(common::WRONG_TYPE, field, message, SOURCES);
        return secrets;
    }
    let entries = reader.entries(field);
    if entries.len() > SECRETS_MAX {
        let message = format!("`{}` has {} entries, more than {SECRETS_MAX}", field.path, entries.len());
        reader.error(common::OUT_OF_RANGE, field, message, "remove some");
    }
    for (name, field) in entries.into_iter().take(SECRETS_MAX) {
        if !is_variable(name) {
            let message = format!("{} is not a name of a secret", quote(name));
            let help = "names have letters, digits and _, such as `API_TOKEN`";
            let problem = Diagnostic::error(common::INVALID_NAME, field.key, field.path.clone(), message);
            reader.report(problem.help(help));
        }
        if let Some(source) = source(reader, &field) {
            secrets.insert(name.to_owned(), source);
        }
    }
    secrets
}

const SOURCE_KEYS: &[&str] = &["env", "file"];
const SOURCES: &str = "write `NAME: {env: VARIABLE}` or `NAME: {file: PATH}`";

/// Never says what was written: it may be the secret.
fn source(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<SecretSource> {
    let Some(entries) = field.node.as_map() else {
        let problem =
            format!("`{}` must say where the value is; secrets do not stand in this file", field.path);
        reader.report(
            Diagnostic::error(codes::SECRET_WRITTEN, field.key, field.path.clone(), problem).help(SOURCES),
        );
        return None;
    };
    let section = reader.section_or(field, SOURCE_KEYS, |key| {
        (key == "value").then_some("secrets do not stand in this file: use `env` or `file`")
    })?;
    match (section.get("env"), section.get("file")) {
        (Some(variable), None) => {
            let name = variable.node.as_str().filter(|name| is_variable(name));
            if name.is_none() {
                let message = format!("`{}` is not a name of an environment variable", variable.path);
                let help = "names have letters, digits and _, such as `API_TOKEN`";
                let problem =
                    Diagnostic::error(common::INVALID_NAME, variable.key, variable.path.clone(), message);
                reader.report(problem.help(help));
            }
            name.map(|name| SecretSource::Environment(name.to_owned()))
        }
        (None, Some(path)) => {
            if path.node.as_str().is_none() {
                let message = format!("`{}` is not a path", path.path);
                let problem = Diagnostic::error(common::WRONG_TYPE, path.key, path.path.clone(), message);
                reader.report(problem.help("name the file that holds the value"));
                return None;
            }
            reader.path(&path).map(SecretSource::File)
        }
        (Some(_), Some(_)) => {
            let message = format!("`{}` has both `env` and `file`", field.path);
            reader.error(common::CONTRADICTION, field, message, "keep one");
            None
        }
        // Reported as unknown.
        (None, None) if entries.iter().any(|(key, _)| !SOURCE_KEYS.contains(&key.name.as_str())) => None,
        (None, None) => {
            let message = format!("`{}` has neither `env` nor `file`", field.path);
            reader.error(common::MISSING_KEY, field, message, SOURCES);
            None
        }
    }
}

/// A name of an environment variable, and of a secret.
pub fn is_variable(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
