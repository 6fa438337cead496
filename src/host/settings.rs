//! What the operator decides about plugins and about what is kept of their calls, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use semver::VersionReq;
use serde_json::{Map, Value};

use crate::model::limits::Limits;
use crate::runtimes::Debugging;

#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `plugins.NAME` of the configuration.
    pub plugins: BTreeMap<String, PluginSettings>,
    pub capture: Capture,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PluginSettings {
    /// A folder or zip to register at the start.
    pub path: Option<PathBuf>,
    /// Which versions get calls.
    pub version: Option<VersionReq>,
    /// Whether the plugin's absence keeps the server from starting.
    pub required: bool,
    pub enabled: bool,
    /// Laid over the manifest's `config`, key by key.
    pub config: Map<String, Value>,
    pub limits: LimitsOverride,
    pub secrets: BTreeMap<String, SecretSource>,
    /// Its author looks into it: nothing that it does is bounded in time.
    pub debugging: Option<Debugging>,
}

impl Default for PluginSettings {
    fn default() -> PluginSettings {
        PluginSettings {
            path: None,
            version: None,
            required: false,
            enabled: true,
            config: Map::new(),
            limits: LimitsOverride::default(),
            secrets: BTreeMap::new(),
            debugging: None,
        }
    }
}

/// Where a secret's value is read from, each time a deployment starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    Environment(String),
    File(PathBuf),
}

impl SecretSource {
    pub(super) const fn word(&self) -> &'static str {
        match self {
            SecretSource::Environment(_) => "variable",
            SecretSource::File(_) => "file",
        }
    }
}

/// The limits that the operator sets; the others stay as the manifest has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsOverride {
    pub timeout: Option<Duration>,
    pub memory_bytes: Option<u64>,
    pub input_bytes_max: Option<u64>,
    pub output_bytes_max: Option<u64>,
    pub concurrency: Option<u32>,
    pub queue: Option<u32>,
    pub instances_min: Option<u32>,
    pub instances_max: Option<u32>,
}

impl LimitsOverride {
    pub fn apply(&self, limits: &mut Limits) {
        fn set<T: Copy>(limit: &mut T, value: Option<T>) {
            *limit = value.unwrap_or(*limit);
        }
        set(&mut limits.timeout, self.timeout);
        set(&mut limits.memory_bytes, self.memory_bytes);
        set(&mut limits.input_bytes_max, self.input_bytes_max);
        set(&mut limits.output_bytes_max, self.output_bytes_max);
        set(&mut limits.concurrency, self.concurrency);
        set(&mut limits.queue, self.queue);
        set(&mut limits.instances_max, self.instances_max);
        set(&mut limits.instances_min, self.instances_min);
        limits.instances_min = limits.instances_min.min(limits.instances_max);
    }
}

/// Of which calls input and output are kept, and how much of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    pub mode: CaptureMode,
    pub bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureMode {
    All,
    Errors,
    None,
}

impl Default for Capture {
    fn default() -> Capture {
        Capture { mode: CaptureMode::All, bytes_max: 64 << 10 }
    }
}

impl Settings {
    /// Which versions of a plugin get calls.
    pub(super) fn ranges(&self) -> BTreeMap<String, VersionReq> {
        let range =
            |(name, plugin): (&String, &PluginSettings)| Some((name.clone(), plugin.version.clone()?));
        self.plugins.iter().filter_map(range).collect()
    }

    /// Whether input and output of an ended call are not to be kept.
    pub(super) fn forgets(&self, replied: bool) -> bool {
        match self.capture.mode {
            CaptureMode::All => false,
            CaptureMode::Errors => replied,
            CaptureMode::None => true,
        }
    }
}
