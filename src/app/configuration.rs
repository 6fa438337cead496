//! `config`: what the configuration says, whether it can be used, and its schema. Nothing is started.

use serde_json::Value;

use super::cli::Config;
use super::doctor::Loaded;
use super::failure::Failure;
use super::output::{self, Cell, Column, Paint, Style, Table, printable};
use crate::config::{self, ConfigError};

pub fn command(config: &Config, loaded: Loaded, json: bool) -> Result<(), Failure> {
    match config {
        Config::Validate(_) => validate(loaded, json),
        Config::Show(_) => show(loaded, json),
        Config::Schema => schema(),
    }
}

/// Everything that is wrong with it, and all that it names and that is not there.
fn validate(loaded: Loaded, json: bool) -> Result<(), Failure> {
    let (settings, mut report) = loaded.map_err(Failure::config)?;
    config::survey(&settings, &mut report);
    if !report.valid() {
        return Err(Failure::config(ConfigError(Box::new(report))));
    }
    if json {
        return output::print_json(&report.to_json());
    }
    if !report.is_empty() {
        output::note(report.render(Style::stderr().into()).trim_end());
    }
    let file = settings.file.as_deref().map(|file| printable(&file.display().to_string()));
    let file = file.unwrap_or_else(|| "the defaults, there is no spanglass.yaml here".to_owned());
    output::print(&format!("{}: {file}\n", Style::stdout().paint(Paint::Good, "valid")))
}

fn show(loaded: Loaded, json: bool) -> Result<(), Failure> {
    let (settings, _) = loaded.map_err(Failure::config)?;
    let document = config::show(&settings);
    if json {
        return output::print_json(&document);
    }
    let mut table = Table::new(vec![Column::left("KEY"), Column::left("SOURCE"), Column::elastic("VALUE")]);
    for (key, origin) in document["origins"].as_object().into_iter().flatten() {
        let value = value_at(&document["settings"], key);
        table.push(vec![
            Cell::new(Paint::Strong, printable(key)),
            Cell::new(Paint::Dim, source(origin, document["file"].as_str())),
            value_text(value).into(),
        ]);
    }
    output::print(&table.render(&Style::stdout()))
}

pub fn schema() -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(&config::schema())
        .map_err(|error| Failure::internal(format!("the schema cannot be written: {error}")))?;
    text.push('\n');
    output::print(&text)
}

/// A path is made of the keys on the way; keys themselves may hold dots, so the longest one that fits is taken.
fn value_at<'v>(value: &'v Value, path: &str) -> &'v Value {
    let Some(members) = value.as_object().filter(|_| !path.is_empty()) else { return value };
    let below = |(key, value): (&String, &'v Value)| {
        let rest = path.strip_prefix(key.as_str())?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('.')? };
        Some((key.len(), value_at(value, rest)))
    };
    let longest = members.iter().filter_map(below).max_by_key(|(length, _)| *length);
    longest.map_or(&Value::Null, |(_, value)| value)
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

fn source(origin: &Value, file: Option<&str>) -> String {
    let part = |member: &str| origin[member].as_str().map(printable);
    if let Some(line) = origin["line"].as_u64() {
        let file = file.and_then(|file| std::path::Path::new(file).file_name()?.to_str());
        return format!("{}:{line}", printable(file.unwrap_or("file")));
    }
    part("flag").or_else(|| part("variable")).unwrap_or_else(|| "default".to_owned())
}
