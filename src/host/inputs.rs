//! What the operator adds to a manifest before a version starts: configuration and secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::settings::{PluginSettings, SecretSource};
use crate::model::guest::Secret;
use crate::package::manifest::Manifest;
use crate::package::schema::Schema;

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
