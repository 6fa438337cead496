//! Which versions are live, and which of them gets the next call. A reader sees one immutable snapshot and
//! takes no lock; a change builds the next snapshot and swaps it in. What a deployment is made of is decided
//! by the builder that `host` gives; this room must not know the order of policies. Read `split.rs` for how a
//! version is chosen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use semver::{Version, VersionReq};

use crate::model::error::InvokeError;
use crate::model::lifecycle::{Lifecycle, Stage};
use crate::package::manifest::Manifest;
use crate::pipeline::{CalledPlugin, Stack};
use crate::runtimes::pool::Pool;
use crate::telemetry::PluginSeries;

pub mod folder;
pub mod locked;
pub mod resolve;
pub mod rest;
pub mod split;

/// A registered version.
pub struct Deployment {
    pub manifest: Arc<Manifest>,
    /// `sha256:…` of the package's content.
    pub digest: Arc<str>,
    pub registered_at_unix_ms: u64,
    pub series: Arc<PluginSeries>,
    /// The folder or zip in which it was found; `None` for one that somebody handed over.
    pub origin: Option<Arc<str>>,
    /// Rolled back: it gets only the calls that name it. The one thing that changes in a live deployment.
    pub held_back: AtomicBool,
    pub body: Body,
}

/// What a deployment is able to do.
pub enum Body {
    Running(Running),
    /// It is there and takes no calls: disabled.
    Registered,
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
    /// Differs where the secrets do that it was given.
    pub secrets: u64,
}

impl Deployment {
    pub fn state(&self) -> Lifecycle {
        match &self.body {
            Body::Running(_) => Lifecycle::Running,
            Body::Registered => Lifecycle::Registered,
            Body::Failed { stage, cause } => Lifecycle::Failed { stage: *stage, cause: cause.clone() },
        }
    }

    /// The same version in another state.
    pub fn with_body(&self, body: Body) -> Deployment {
        Deployment {
            manifest: self.manifest.clone(),
            digest: self.digest.clone(),
            registered_at_unix_ms: self.registered_at_unix_ms,
            series: self.series.clone(),
            origin: self.origin.clone(),
            held_back: AtomicBool::new(self.is_held_back()),
            body,
        }
    }

    pub fn is_held_back(&self) -> bool {
        self.held_back.load(Ordering::Relaxed)
    }

    pub fn hold_back(&self, held_back: bool) {
        self.held_back.store(held_back, Ordering::Relaxed);
    }
}

/// What a reader sees.
#[derive(Clone, Default)]
struct Snapshot {
    /// The live versions by name, newest first.
    live: BTreeMap<Arc<str>, Vec<Arc<Deployment>>>,
    /// The operator's ranges, `plugins.NAME.version`.
    ranges: Arc<BTreeMap<String, VersionReq>>,
}

#[derive(Default)]
pub struct Registry {
    live: ArcSwap<Snapshot>,
    /// One change at a time; its number is how many there were.
    change: Mutex<u64>,
}

impl Registry {
    pub fn new(ranges: BTreeMap<String, VersionReq>) -> Registry {
        let registry = Registry::default();
        registry.set_ranges(ranges);
        registry
    }

    pub fn set_ranges(&self, ranges: BTreeMap<String, VersionReq>) {
        self.change(|snapshot| snapshot.ranges = Arc::new(ranges));
    }

    pub fn ranges(&self) -> Arc<BTreeMap<String, VersionReq>> {
        self.live.load().ranges.clone()
    }

    /// The version that gets this call.
    pub fn route(&self, name: &str, asked: Option<&VersionReq>) -> Result<Arc<Deployment>, InvokeError> {
        let snapshot = self.live.load();
        let versions = snapshot.live.get(name).map_or(&[][..], Vec::as_slice);
        split::choose(name, versions, asked, snapshot.ranges.get(name)).cloned()
    }

    /// Whether a version would get the calls that name none, if it were live.
    pub fn would_route(&self, deployment: &Deployment) -> bool {
        let snapshot = self.live.load();
        let name = deployment.manifest.name.as_str();
        let others = snapshot.live.get(name).into_iter().flatten().map(|live| &**live);
        let mut versions: Vec<&Deployment> =
            others.filter(|live| live.manifest.version != deployment.manifest.version).collect();
        versions.push(deployment);
        versions.sort_by(|a, b| b.manifest.version.cmp(&a.manifest.version));
        let chosen = split::choose(name, &versions, None, snapshot.ranges.get(name));
        chosen.is_ok_and(|chosen| std::ptr::eq(*chosen, deployment))
    }

    /// Makes a version live. Returns the one with the same name and version that it replaces.
    pub fn insert(&self, deployment: Arc<Deployment>) -> Option<Arc<Deployment>> {
        self.change(|snapshot| {
            let name = deployment.manifest.name.shared();
            let versions = snapshot.live.entry(name).or_default();
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
        self.change(|snapshot| {
            let versions = snapshot.live.get_mut(name)?;
            let place = versions.iter().position(|live| live.manifest.version == *version)?;
            let removed = versions.remove(place);
            if versions.is_empty() {
                snapshot.live.remove(name);
            }
            Some(removed)
        })
    }

    pub fn get(&self, name: &str, version: &Version) -> Option<Arc<Deployment>> {
        let snapshot = self.live.load();
        snapshot.live.get(name)?.iter().find(|live| live.manifest.version == *version).cloned()
    }

    /// All versions of a plugin, newest first; empty for an unknown one.
    pub fn versions(&self, name: &str) -> Vec<Arc<Deployment>> {
        self.live.load().live.get(name).cloned().unwrap_or_default()
    }

    /// Everything that is live, by name, newest version first.
    pub fn all(&self) -> Vec<Arc<Deployment>> {
        self.live.load().live.values().flatten().cloned().collect()
    }

    /// A number that another one follows with each change.
    pub fn generation(&self) -> u64 {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Snapshot) -> T) -> T {
        let mut changes = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        let mut next = Snapshot::clone(&self.live.load());
        let result = edit(&mut next);
        self.live.store(Arc::new(next));
        result
    }
}
