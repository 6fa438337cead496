//! An alert as a notification about it says: everything in it comes from outside.

use std::time::SystemTime;

use semver::Version;

use super::name::PluginName;

/// The value of the label `severity` of alerts that fire for as long as alerting works.
const HEARTBEAT: &str = "none";
/// The value of those that a person must look at now.
const PAGE: &str = "page";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertStatus {
    Firing,
    Resolved,
}

/// One alert of a notification. Texts are bounded by whoever read it.
#[derive(Clone, Debug)]
pub struct Alert {
    pub status: AlertStatus,
    pub name: String,
    /// Which alert it is, among all with this name.
    pub fingerprint: String,
    pub severity: Option<String>,
    /// If it has labels that look like it. Nobody says that there is such a plugin.
    pub plugin: Option<PluginName>,
    pub version: Option<Version>,
    pub summary: Option<String>,
    pub runbook_url: Option<String>,
    pub dashboard_url: Option<String>,
    pub starts_at: SystemTime,
    /// When it ended; of one that fires there is none.
    pub ends_at: Option<SystemTime>,
}

impl Alert {
    /// It fires as long as alerting works, and says nothing else.
    pub fn is_heartbeat(&self) -> bool {
        self.status == AlertStatus::Firing && self.severity.as_deref() == Some(HEARTBEAT)
    }

    pub fn is_page(&self) -> bool {
        self.severity.as_deref() == Some(PAGE)
    }
}
