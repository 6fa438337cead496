//! Checked settings as JSON, in the shape of the file, and who decided what. Tokens, addresses of
//! notifications and values of secrets are not in it.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::host::settings::{LimitsOverride, PluginSettings, SecretSource};
use crate::model::units::{format_bytes, format_duration};

use super::notifications::Notification;
use super::report::Origin;
use super::settings::{Logs, Settings};
use super::telemetry::CAPTURE_MODES;

/// `{file, settings, origins}`: `origins` says of each value of `settings` who decided.
pub fn show(settings: &Settings) -> Value {
    let plugins: Map<String, Value> =
        settings.host.plugins.iter().map(|(name, settings)| (name.clone(), plugin(settings))).collect();
    let capture = &settings.host.capture;
    let mode = CAPTURE_MODES.iter().find(|(_, mode)| *mode == capture.mode).map(|(name, _)| *name);
    let shown = json!({
            "listen": settings.listen.as_str(),
            "data_dir": path(&settings.data_dir),
            "plugin_dirs": settings.plugin_dirs.iter().map(|folder| path(folder)).collect::<Vec<_>>(),
            "token_file": settings.token_file.as_deref().map(path),
            "allowed_hosts": settings.allowed_hosts,
            "plugins": plugins,
            "telemetry": {
                "logs": logs(&settings.logs),
                "spool": {
                    "max": format_bytes(settings.spool.bytes_max),
                    "age": format_duration(settings.spool.age),
                },
                "capture": { "mode": mode, "max": format_bytes(capture.bytes_max as u64) },
                "retention": {
                    "age": format_duration(settings.retention.age),
                    "max": format_bytes(settings.retention.bytes_max),
                },
            },
            "python": { "install_timeout": format_duration(settings.install_timeout) },
            "notifications": settings.notifications.iter().map(notification).collect::<Vec<_>>(),
    });
    let mut who = Map::new();
    origins("", &shown, settings, &mut who);
    json!({ "file": settings.file.as_deref().map(path), "settings": shown, "origins": who })
}

/// Of each value that is shown, by its path. A list has one origin.
fn origins(path: &str, shown: &Value, settings: &Settings, origins: &mut Map<String, Value>) {
    match shown {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                self::origins(&path, value, settings, origins);
            }
        }
        _ => {
            origins.insert(path.to_owned(), origin(&settings.origins.of(path)));
        }
    }
}

/// Paths need not be UTF-8, JSON must.
fn path(path: &Path) -> Value {
    Value::String(path.to_string_lossy().into_owned())
}

fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::Default => json!("default"),
        Origin::Flag(name) => json!({ "flag": name }),
        Origin::Variable(name) => json!({ "variable": name }),
        Origin::File { place, .. } => json!({ "line": place.line }),
    }
}

fn logs(logs: &Logs) -> Value {
    match logs {
        Logs::Default => Value::Null,
        Logs::Stdout => json!("stdout"),
        Logs::Stderr => json!("stderr"),
        Logs::Off => json!("off"),
        Logs::Path(file) => path(file),
    }
}

fn notification(notification: &Notification) -> Value {
    match notification {
        Notification::Webhook(_) => json!({ "webhook": "***" }),
        Notification::Slack(_) => json!({ "slack": "***" }),
        Notification::Command(arguments) => json!({ "command": [arguments.first(), "***"] }),
    }
}

fn plugin(settings: &PluginSettings) -> Value {
    let secret = |source: &SecretSource| match source {
        SecretSource::Environment(name) => json!({ "env": name }),
        SecretSource::File(file) => json!({ "file": path(file) }),
    };
    let secrets: Map<String, Value> =
        settings.secrets.iter().map(|(name, source)| (name.clone(), secret(source))).collect();
    json!({
        "path": settings.path.as_deref().map(path),
        "version": settings.version.as_ref().map(ToString::to_string),
        "required": settings.required,
        "enabled": settings.enabled,
        "config": settings.config,
        "limits": limits(&settings.limits),
        "secrets": secrets,
    })
}

/// Only what is overridden.
fn limits(limits: &LimitsOverride) -> Value {
    let mut shown = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            shown.insert(key.to_owned(), value);
        }
    };
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| json!(format_bytes(bytes)));
    put("timeout", limits.timeout.map(|timeout| json!(format_duration(timeout))));
    put("memory", bytes(limits.memory_bytes));
    put("max_input", bytes(limits.input_bytes_max));
    put("max_output", bytes(limits.output_bytes_max));
    put("concurrency", limits.concurrency.map(Value::from));
    put("queue", limits.queue.map(Value::from));
    if limits.instances_min.is_some() || limits.instances_max.is_some() {
        put("instances", Some(json!({ "min": limits.instances_min, "max": limits.instances_max })));
    }
    Value::Object(shown)
}
