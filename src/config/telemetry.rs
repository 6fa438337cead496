//! `telemetry`: where log lines go, and how much of calls is kept and for how long.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::host::settings::{Capture, CaptureMode};
use crate::package::codes as common;
use crate::package::diagnostic::{nearest, quote};
use crate::package::yaml::NodeValue;

use super::reader::{Field, Reader};
use super::settings::{Logs, Retention, Spool};

pub const KEYS: &[&str] = &["logs", "spool", "capture", "retention"];
pub const LOG_WORDS: [&str; 3] = ["stdout", "stderr", "off"];
pub const CAPTURE_MODES: &[(&str, CaptureMode)] =
    &[("all", CaptureMode::All), ("errors", CaptureMode::Errors), ("none", CaptureMode::None)];

const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);
pub const SPOOL_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 40;
pub const SPOOL_AGE: RangeInclusive<Duration> = MINUTE..=DAY.saturating_mul(30);
pub const CAPTURE_BYTES: RangeInclusive<u64> = 1..=64 << 20;
pub const RETENTION_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 44;
pub const RETENTION_AGE: RangeInclusive<Duration> = MINUTE..=DAY.saturating_mul(3_650);

#[derive(Debug, Default)]
pub struct Telemetry {
    pub logs: Logs,
    pub spool: Spool,
    pub capture: Capture,
    pub retention: Retention,
}

pub fn read(reader: &mut Reader<'_>, field: &Field<'_>) -> Telemetry {
    let mut telemetry = Telemetry::default();
    let Some(section) = reader.section_or(field, KEYS, elsewhere) else { return telemetry };
    if let Some(logs) = section.get("logs").and_then(|field| logs(reader, &field)) {
        telemetry.logs = logs;
    }
    if let Some(field) = section.get("spool") {
        spool(reader, &field, &mut telemetry.spool);
    }
    if let Some(field) = section.get("capture") {
        capture(reader, &field, &mut telemetry.capture);
    }
    if let Some(field) = section.get("retention") {
        retention(reader, &field, &mut telemetry.retention);
    }
    telemetry
}

fn elsewhere(key: &str) -> Option<&'static str> {
    Some(match key {
        "otlp" | "endpoint" | "exporter" | "traces" | "metrics" | "headers" | "protocol" | "sampling" => {
            "export over OTLP is set up with the standard OTEL_* variables, such as OTEL_EXPORTER_OTLP_ENDPOINT"
        }
        _ => return None,
    })
}

fn logs(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Logs> {
    // A boolean is meant as a word, not as the name of a file.
    let text = match (&field.node.value, field.node.raw.as_deref()) {
        (NodeValue::Bool(_), Some(raw)) => raw,
        _ => reader.text(field)?,
    };
    match text {
        "stdout" => return Some(Logs::Stdout),
        "stderr" => return Some(Logs::Stderr),
        "off" => return Some(Logs::Off),
        _ => {}
    }
    // A slip in a word must not become a file of that name.
    let near = match text.to_ascii_lowercase().as_str() {
        "none" | "no" | "false" => Some("off"),
        "console" | "true" | "-" | "on" => Some("stdout"),
        _ => nearest(text, LOG_WORDS),
    };
    if let Some(near) = near.filter(|_| !text.contains(['/', '.'])) {
        let message = format!("`{}` cannot be {}", field.path, quote(text));
        let help = format!("did you mean `{near}`? a file of that name is `./{text}`");
        reader.error(common::UNKNOWN_CHOICE, field, message, help);
        return None;
    }
    reader.path(field).map(Logs::Path)
}

fn spool(reader: &mut Reader<'_>, field: &Field<'_>, spool: &mut Spool) {
    let Some(section) = reader.section(field, &["max", "age"]) else { return };
    if let Some(field) = section.get("max") {
        spool.bytes_max = reader.bytes(&field, SPOOL_BYTES).unwrap_or(spool.bytes_max);
    }
    if let Some(field) = section.get("age") {
        spool.age = reader.duration(&field, SPOOL_AGE).unwrap_or(spool.age);
    }
}

fn capture(reader: &mut Reader<'_>, field: &Field<'_>, capture: &mut Capture) {
    let Some(section) = reader.section(field, &["mode", "max"]) else { return };
    if let Some(field) = section.get("mode") {
        capture.mode = reader.choice(&field, CAPTURE_MODES).unwrap_or(capture.mode);
    }
    if let Some(bytes) = section.get("max").and_then(|field| reader.bytes(&field, CAPTURE_BYTES)) {
        capture.bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
}

fn retention(reader: &mut Reader<'_>, field: &Field<'_>, retention: &mut Retention) {
    let Some(section) = reader.section(field, &["age", "max"]) else { return };
    if let Some(field) = section.get("age") {
        retention.age = reader.duration(&field, RETENTION_AGE).unwrap_or(retention.age);
    }
    if let Some(field) = section.get("max") {
        retention.bytes_max = reader.bytes(&field, RETENTION_BYTES).unwrap_or(retention.bytes_max);
    }
}
