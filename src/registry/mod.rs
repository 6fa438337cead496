//! Which versions are live, and which of them gets the next call. A reader sees one immutable snapshot and
//! takes no lock; a change builds the next snapshot and swaps it in. What a deployment is made of is decided
//! by the builder that `host` gives; this room must not know the order of policies. Read `split.rs` for how a
//! version is chosen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use semver::{Version, VersionReq};

use crate::model::error::InvokeError;
use crate::model::lifecycle::{Lifecycle, Stage};
use crate::package::manifest::Manifest;
use crate::pipeline::{CalledPlugin, Stack};
use crate::runtimes::pool::Pool;
use crate::telemetry::PluginSeries;

pub mod split;

/// A registered version.
pub struct Deployment {
    pub manifest: Arc<Manifest>,
    /// `sha256:…` of the package's content.
    pub digest: Arc<str>,
    pub registered_at_unix_ms: u64,
    pub series: Arc<PluginSeries>,
    pub body: Body,
}

/// What a deployment is able to do.
pub enum Body {
    Running(Running),
    /// The operator wants no calls for it.
    Disabled,
    /// It cannot be called, and why.
    Failed {
        stage: Stage,
        cause: String,
    },
}

/// Everything that a call needs, built once.
pub struct Running {
    pub plugin: Arc<CalledPlugin>,
    pub stack: Stack,
    pub pool: Arc<Pool>,
}

impl Deployment {
    pub fn state(&self) -> Lifecycle {
        match &self.body {
            Body::Running(_) => Lifecycle::Running,
            Body::Disabled => Lifecycle::Registered,
            Body::Failed { stage, cause } => Lifecycle::Failed { stage: *stage, cause: cause.clone() },
        }
    }
}

/// The live versions by name, newest first.
type Snapshot = BTreeMap<Arc<str>, Vec<Arc<Deployment>>>;

#[derive(Default)]
pub struct Registry {
    live: ArcSwap<Snapshot>,
    /// One change at a time.
    change: Mutex<()>,
    /// The operator's ranges, `plugins.NAME.version`.
    ranges: BTreeMap<String, VersionReq>,
}

impl Registry {
    pub fn new(ranges: BTreeMap<String, VersionReq>) -> Registry {
        Registry { ranges, ..Registry::default() }
    }

    /// The version that gets this call.
    pub fn route(&self, name: &str, asked: Option<&VersionReq>) -> Result<Arc<Deployment>, InvokeError> {
        let live = self.live.load();
        let versions = live.get(name).map_or(&[][..], Vec::as_slice);
        split::choose(name, versions, asked, self.ranges.get(name)).cloned()
    }

    /// Makes a version live. Returns the one with the same name and version that it replaces.
    pub fn insert(&self, deployment: Arc<Deployment>) -> Option<Arc<Deployment>> {
        self.change(|live| {
            let name = deployment.manifest.name.shared();
            let versions = live.entry(name).or_default();
            let version = &deployment.manifest.version;
            let place = versions.iter().position(|live| live.manifest.version == *version);
            let replaced = place.map(|place| versions.remove(place));
            versions.push(deployment.clone());
            versions.sort_by(|a, b| b.manifest.version.cmp(&a.manifest.version));
            replaced
        })
    }

    /// Takes a version out; calls under way keep it alive until they end.
    pub fn remove(&self, name: &str, version: &Version) -> Option<Arc<Deployment>> {
        self.change(|live| {
            let versions = live.get_mut(name)?;
            let place = versions.iter().position(|live| live.manifest.version == *version)?;
            let removed = versions.remove(place);
            if versions.is_empty() {
                live.remove(name);
            }
            Some(removed)
        })
    }

    pub fn get(&self, name: &str, version: &Version) -> Option<Arc<Deployment>> {
        let live = self.live.load();
        live.get(name)?.iter().find(|live| live.manifest.version == *version).cloned()
    }

    /// All versions of a plugin, newest first; empty for an unknown one.
    pub fn versions(&self, name: &str) -> Vec<Arc<Deployment>> {
        self.live.load().get(name).cloned().unwrap_or_default()
    }

    /// Everything that is live, by name, newest version first.
    pub fn all(&self) -> Vec<Arc<Deployment>> {
        self.live.load().values().flatten().cloned().collect()
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Snapshot) -> T) -> T {
        let _one_at_a_time = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.live.load());
        let result = edit(&mut next);
        self.live.store(Arc::new(next));
        result
    }
}
