//! Alerts that came back from whoever notifies about them.

use std::time::SystemTime;

use crate::model::alert::{Alert, AlertStatus};
use crate::model::guest::Severity;

use super::{Entry, Event};
use crate::telemetry::names::{attribute, event};
use crate::telemetry::record::LogRecord;

/// An alert fires or is resolved, or is a heartbeat.
pub struct AlertNotified<'a> {
    pub alert: &'a Alert,
}

impl Event for AlertNotified<'_> {
    fn name(&self) -> &'static str {
        match self.alert.status {
            AlertStatus::Firing if self.alert.is_heartbeat() => event::ALERT_HEARTBEAT,
            AlertStatus::Firing => event::ALERT_FIRED,
            AlertStatus::Resolved => event::ALERT_RESOLVED,
        }
    }

    fn log(&self) -> LogRecord {
        let alert = self.alert;
        let severity = match alert.status {
            AlertStatus::Firing if alert.is_heartbeat() => Severity::Info,
            AlertStatus::Firing if alert.is_page() => Severity::Error,
            AlertStatus::Firing => Severity::Warn,
            AlertStatus::Resolved => Severity::Info,
        };
        let state = match alert.status {
            AlertStatus::Firing => "fires",
            AlertStatus::Resolved => "is resolved",
        };
        let body = match &alert.summary {
            Some(summary) => format!("{} {state}: {summary}", alert.name),
            None => format!("{} {state}", alert.name),
        };
        let mut entry = Entry::new(severity, body)
            .with(attribute::ALERT_NAME, alert.name.clone())
            .with(attribute::ALERT_FINGERPRINT, alert.fingerprint.clone())
            .with(attribute::ALERT_STARTS_AT, time(alert.starts_at));
        let more = [
            (attribute::ALERT_SEVERITY, alert.severity.clone()),
            (attribute::ALERT_SUMMARY, alert.summary.clone()),
            (attribute::ALERT_RUNBOOK_URL, alert.runbook_url.clone()),
            (attribute::ALERT_DASHBOARD_URL, alert.dashboard_url.clone()),
            (attribute::ALERT_ENDS_AT, alert.ends_at.map(time)),
        ];
        for (key, value) in more.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            entry = entry.with(key, value);
        }
        let mut log = entry.0;
        log.plugin = alert.plugin.as_ref().map(|plugin| plugin.shared());
        log.version = alert.version.as_ref().map(|version| version.to_string().into());
        log
    }
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
