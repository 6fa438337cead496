//! An alert as it is answered, notified and kept.

use std::time::{Duration, SystemTime};

use semver::Version;
use serde::{Deserialize, Serialize};

use super::rules::RuleName;
use crate::model::alert::AlertStatus;
use crate::model::name::PluginName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Firing,
    Pending,
    Resolved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Builtin,
    Alertmanager,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    pub invocation_id: String,
    pub trace_id: String,
}

/// Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Stable: rule, plugin and version.
    pub id: String,
    pub rule: String,
    pub source: Source,
    pub state: State,
    pub severity: String,
    pub plugin: Option<String>,
    pub version: Option<String>,
    /// When it began to be so.
    pub since: String,
    pub fired_at: Option<String>,
    pub resolved_at: Option<String>,
    /// One sentence with the numbers.
    pub summary: String,
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    pub help: Option<String>,
    pub runbook: Option<String>,
    pub example: Option<Example>,
    /// Calls that show it, if the rule knows several; the first is `example`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// What of the version it is about, or was since it fires: fields that have drifted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

impl Alert {
    /// As the event that tells of it wants it.
    pub(super) fn notified(&self, now: SystemTime) -> crate::model::alert::Alert {
        let time = |text: &str| humantime::parse_rfc3339(text).ok();
        crate::model::alert::Alert {
            status: if self.state == State::Resolved { AlertStatus::Resolved } else { AlertStatus::Firing },
            name: self.rule.clone(),
            fingerprint: self.id.clone(),
            severity: Some(self.severity.clone()),
            plugin: self.plugin.as_deref().and_then(|name| PluginName::parse(name).ok()),
            version: self.version.as_deref().and_then(|version| Version::parse(version).ok()),
            summary: Some(self.summary.clone()),
            runbook_url: self.runbook.clone(),
            dashboard_url: None,
            starts_at: time(&self.since).unwrap_or(now),
            ends_at: self.resolved_at.as_deref().and_then(time),
        }
    }

    /// One that Alertmanager told of.
    pub(super) fn received(alert: &crate::model::alert::Alert) -> Alert {
        let resolved = alert.status == AlertStatus::Resolved;
        let ends_at = alert.ends_at.filter(|_| resolved);
        let severity = match alert.severity.as_deref() {
            Some("page") => "page",
            Some("none") => "none",
            _ => "ticket",
        };
        Alert {
            id: format!("alertmanager/{}", alert.fingerprint),
            rule: alert.name.clone(),
            source: Source::Alertmanager,
            state: if resolved { State::Resolved } else { State::Firing },
            severity: severity.into(),
            plugin: alert.plugin.as_ref().map(|name| name.as_str().to_owned()),
            version: alert.version.as_ref().map(ToString::to_string),
            since: rfc3339(alert.starts_at),
            fired_at: Some(rfc3339(alert.starts_at)),
            resolved_at: resolved.then(|| rfc3339(ends_at.unwrap_or_else(SystemTime::now))),
            summary: alert.summary.clone().unwrap_or_else(|| alert.name.clone()),
            value: None,
            threshold: None,
            help: None,
            runbook: alert.runbook_url.clone(),
            example: None,
            examples: Vec::new(),
            fields: Vec::new(),
        }
    }
}

/// What one rule is about: `PluginErrorRatio/fraud-score/1.1.0`.
pub(super) fn id_of(rule: RuleName, plugin: Option<&str>, version: Option<&str>) -> String {
    let parts = [Some(rule.as_str()), plugin, version];
    parts.into_iter().flatten().collect::<Vec<_>>().join("/")
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

pub(super) fn at(unix_s: u32) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s.into()))
}
