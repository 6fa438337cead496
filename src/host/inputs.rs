//! What the operator adds to a manifest before a version starts: configuration and secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Host;
use super::settings::{PluginSettings, SecretSource};
use crate::model::guest::Secret;
use crate::package::manifest::Manifest;
use crate::package::schema::Schema;
use crate::pipeline::mask::Mask;
use crate::registry::{Body, Deployment};

/// How the cause begins of a version that failed for want of a secret.
pub(super) const SECRET_MISSING: &str = "the secret ";
/// A secret longer than this is not one.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The manifest's defaults with the operator's values laid over them, fit to `config_schema`.
pub(super) fn config_of(
    manifest: &Manifest,
    settings: &PluginSettings,
) -> Result<Map<String, Value>, String> {
    let mut config = manifest.config.clone();
    config.extend(settings.config.clone());
    if let Some(schema) = compile(manifest.config_schema.as_ref())? {
        schema.check(&Value::Object(config.clone())).map_err(|fields| {
            let first = fields
                .first()
                .map_or_else(String::new, |field| format!("{}: {}", field.pointer, field.message));
            format!("its config does not fit config_schema: {first}")
        })?;
    }
    Ok(config)
}

/// Keys below which a value is not shown, whoever wrote it where a secret does not belong.
const HIDDEN: [&str; 6] = ["secret", "token", "password", "api_key", "apikey", "credential"];

impl Host {
    /// What instances of a version are given as `config`, for people to look at.
    pub fn shown_config(&self, deployment: &Deployment) -> Map<String, Value> {
        let manifest = &deployment.manifest;
        let mut config = manifest.config.clone();
        if let Some(settings) = self.settings.load().plugins.get(manifest.name.as_str()) {
            config.extend(settings.config.clone());
        }
        // Of a version that does not run the secrets are not read: then no text is shown that one could be in.
        let mask = match &deployment.body {
            Body::Running(running) => Some(running.plugin.mask.clone()),
            Body::Registered | Body::Failed { .. } if manifest.secrets.is_empty() => Some(Mask::new([])),
            Body::Registered | Body::Failed { .. } => None,
        };
        let mask = mask.as_ref();
        config.iter().map(|(key, value)| (key.clone(), shown(key, value, mask))).collect()
    }
}

fn shown(key: &str, value: &Value, mask: Option<&Mask>) -> Value {
    let key = key.to_ascii_lowercase();
    match value {
        _ if HIDDEN.iter().any(|hidden| key.contains(hidden)) => "***".into(),
        Value::String(text) => {
            mask.map_or_else(|| "***".to_owned(), |mask| mask.text(text).into_owned()).into()
        }
        Value::Array(items) => items.iter().map(|item| shown("", item, mask)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (key.clone(), shown(key, value, mask)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

pub(super) fn secrets_of(
    manifest: &Manifest,
    sources: &BTreeMap<String, SecretSource>,
) -> Result<Vec<(String, Secret)>, String> {
    let read = |name: &String| {
        let value = match sources.get(name) {
            Some(source) => read_secret(name, source)?,
            None => {
                return Err(format!(
                    "the secret {name} is missing: set plugins.{}.secrets.{name}",
                    manifest.name
                ));
            }
        };
        Ok((name.clone(), value))
    };
    manifest.secrets.iter().map(read).collect()
}

/// Messages name the secret and its source, never its value.
pub fn read_secret(name: &str, source: &SecretSource) -> Result<Secret, String> {
    let secret = read(name, source)?;
    if secret.expose().is_empty() {
        // Nobody means that: a variable that was forgotten, a file that is being written.
        return Err(format!("the secret {name} is missing: its {} is empty", source.word()));
    }
    Ok(secret)
}

fn read(name: &str, source: &SecretSource) -> Result<Secret, String> {
    match source {
        SecretSource::Environment(variable) => {
            let value = std::env::var(variable)
                .map_err(|_| format!("the secret {name} is missing: the variable {variable} is not set"))?;
            Ok(Secret::new(&value))
        }
        SecretSource::File(path) => {
            let missing = |error: &dyn std::fmt::Display| {
                format!("the secret {name} is missing: {}: {error}", path.display())
            };
            let size = std::fs::metadata(path).map_err(|error| missing(&error))?.len();
            if size > SECRET_BYTES_MAX {
                return Err(missing(&format!("the file has more than {SECRET_BYTES_MAX} bytes")));
            }
            let value = std::fs::read_to_string(path).map_err(|error| missing(&error))?;
            Ok(Secret::new(value.trim_end_matches(['\r', '\n'])))
        }
    }
}

pub(super) fn compile(schema: Option<&Arc<Value>>) -> Result<Option<Schema>, String> {
    let compiled = schema.map(|schema| Schema::compile(schema.clone())).transpose();
    compiled.map_err(|problems| problems.first().map_or_else(String::new, |problem| problem.message.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_in_a_shown_config_are_stars() {
        let secret = Secret::new("hunter2-hunter2");
        let mask = Mask::new([&secret]);
        let config = json!({"level": "info", "api_token": "x", "url": "http://u:hunter2-hunter2@host",
            "nested": {"db_password": {"a": 1}, "list": ["hunter2-hunter2", 7]}});
        let text = shown("config", &config, Some(&mask)).to_string();
        assert!(!text.contains("hunter2") && !text.contains("\"x\"") && text.contains("info"), "{text}");
        assert!(text.contains("\"db_password\":\"***\"") && text.contains('7'), "{text}");
    }
}
