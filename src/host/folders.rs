//! Plugins in folders: found, watched, taken in and out. When a change is taken, `registry/rest.rs` says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::RecommendedWatcher;
use semver::Version;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::register::RegisterError;
use super::{Arrival, Host, Registered, off_thread};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::Actor;
use crate::model::name::PluginName;
use crate::package::{Package, PackageError};
use crate::registry::Deployment;
use crate::registry::folder::{Fingerprint, Look};
use crate::registry::resolve::{Candidate, Standing, Universe, order};
use crate::registry::rest::{LOOK_AGAIN, LOOK_ANYWAY, LOOK_ANYWAY_WATCHED, REST, Unrest, watcher};
use crate::telemetry::events::FolderUnreadable;

/// A plugin that takes longer to come up does not hold up the others; so many may be slow at once.
const TAKE_IN_PATIENCE: Duration = Duration::from_millis(500);
const SLOW_MAX: usize = 8;

/// Where plugins are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// Each child, a folder or a zip, is a plugin.
    pub folders: Vec<PathBuf>,
    /// Plugins by the name that they must bear: `plugins.NAME.path`.
    pub named: BTreeMap<String, PathBuf>,
}

impl Folders {
    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.folders.iter().chain(self.named.values())
    }

    fn absolute(&self) -> Folders {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        Folders {
            folders: self.folders.iter().map(absolute).collect(),
            named: self.named.iter().map(|(name, path)| (name.clone(), absolute(path))).collect(),
        }
    }
}

/// A plugin that was found and cannot be registered.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub kind: ErrorKind,
    pub message: String,
    pub help: Option<String>,
}

impl Refusal {
    fn of(path: &Path, error: &RegisterError) -> Refusal {
        let mistake = error.diagnostics().and_then(|diagnostics| diagnostics.first_error());
        let message = mistake.map_or_else(|| error.to_string(), |first| format!("{error}; first: {first}"));
        let validate = || format!("spanglass plugin validate {} shows all of it", path.display());
        let help = error.help().or_else(|| (error.kind() == ErrorKind::InvalidInput).then(validate));
        Refusal { kind: error.kind(), message, help }
    }
}

/// What is known of an entry from earlier looks.
#[derive(Clone, Debug)]
struct Seen {
    unrest: Unrest,
    /// It was refused when the registry had this generation; another one may let it in.
    refused_at: Option<u64>,
    /// What it would be, if it is a plugin.
    candidate: Option<Candidate>,
    /// The plugin that was registered from there last.
    serves: Option<Arc<str>>,
}

impl Seen {
    fn new(fingerprint: Fingerprint, now: Instant) -> Seen {
        Seen { unrest: Unrest::new(fingerprint, now), refused_at: None, candidate: None, serves: None }
    }
}

/// The loop's own state.
pub struct FolderWatch {
    host: Arc<Host>,
    folders: Folders,
    seen: BTreeMap<PathBuf, Seen>,
    unreadable: BTreeSet<PathBuf>,
    slow: Vec<(PathBuf, JoinHandle<Result<Registered, RegisterError>>)>,
    /// What could not be removed when the registry had this generation.
    stuck: Option<(u64, Vec<(PluginName, Version)>)>,
    changed: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
}

impl FolderWatch {
    pub fn new(host: Arc<Host>, folders: &Folders) -> FolderWatch {
        let folders = folders.absolute();
        FolderWatch {
            host,
            folders,
            seen: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            slow: Vec::new(),
            stuck: None,
            changed: Arc::default(),
            watcher: None,
        }
    }

    /// Takes in what lies there now.
    pub async fn take_all(&mut self) {
        // First, so that nothing that comes meanwhile is missed.
        self.watcher = watcher(self.folders.all(), &self.changed);
        self.look(Duration::ZERO).await;
    }

    /// Follows what changes, the folders themselves too, until it is dropped.
    pub async fn run(mut self, mut folders: watch::Receiver<Folders>) {
        let changed = self.changed.clone();
        loop {
            let wait = match &self.watcher {
                _ if self.restless() => LOOK_AGAIN,
                // A path that is not there yet, or is replaced as a whole, cannot be watched.
                Some(_) if self.folders.named.is_empty() => LOOK_ANYWAY_WATCHED,
                _ => LOOK_ANYWAY,
            };
            tokio::select! {
                () = changed.notified() => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(()) = folders.changed() => {
                    self.folders = folders.borrow_and_update().absolute();
                    self.watcher = watcher(self.folders.all(), &changed);
                }
                () = tokio::time::sleep(wait) => {}
            }
            self.look(REST).await;
        }
    }

    fn restless(&self) -> bool {
        !self.slow.is_empty() || self.seen.values().any(|seen| !seen.unrest.is_taken())
    }

    async fn look(&mut self, rest: Duration) {
        let folders = self.folders.clone();
        let named: Vec<PathBuf> = folders.named.values().cloned().collect();
        let look = off_thread(move || Look::at(&folders.folders, &named)).await;
        self.tell_unreadable(&look);
        self.gather_slow().await;
        let due = self.due(&look, rest);
        self.take_in(due).await;
        self.take_out(&look).await;
    }

    /// Compares with what is known; returns what is to be taken in now.
    fn due(&mut self, look: &Look, rest: Duration) -> Vec<PathBuf> {
        let now = Instant::now();
        self.seen.retain(|path, _| look.entries.contains_key(path));
        let mut due = Vec::new();
        for (path, fingerprint) in &look.entries {
            let seen = self.seen.entry(path.clone()).or_insert(Seen::new(*fingerprint, now));
            if seen.unrest.see(*fingerprint, now) {
                (seen.refused_at, seen.candidate) = (None, None);
            }
            if seen.unrest.take(rest, now) {
                due.push(path.clone());
            }
        }
        // What was refused for the sake of others is judged again when there are others.
        let generation = self.host.registry().generation();
        for (path, seen) in &mut self.seen {
            let others =
                seen.refused_at.is_some_and(|refused_at| refused_at != generation || !due.is_empty());
            if others {
                seen.refused_at = None;
                due.push(path.clone());
            }
        }
        due
    }

    async fn take_in(&mut self, due: Vec<PathBuf>) {
        if due.is_empty() {
            return;
        }
        let load = |path: PathBuf| (Package::load(&path), path);
        let loaded = off_thread(move || due.into_iter().map(load).collect::<Vec<_>>()).await;
        let mut candidates = Vec::new();
        let mut packages = Vec::new();
        for (package, path) in loaded {
            match &package {
                Ok(good) => {
                    let candidate = candidate(good);
                    if let Some(seen) = self.seen.get_mut(&path) {
                        seen.candidate = Some(candidate.clone());
                    }
                    candidates.push(candidate);
                    packages.push(Some((package, path)));
                }
                Err(_) => self.register(path, package).await,
            }
        }
        for index in order(&candidates) {
            let Some((package, path)) = packages[index].take() else { continue };
            match self.cycle(&candidates[index]) {
                Some(cycle) => self.note(path, Err(cycle)),
                None => self.register(path, package).await,
            }
        }
    }

    /// A circle through plugins that lie here and none of which can come in: each alone would only lack another.
    fn cycle(&self, candidate: &Candidate) -> Option<RegisterError> {
        if candidate.dependencies.is_empty() {
            return None;
        }
        let mut known = self.host.known(|_| true);
        let found = self.seen.values().filter_map(|seen| seen.candidate.clone());
        found.for_each(|found| known.entry(found.name.clone()).or_default().push(found));
        let universe = Universe { candidates: &known, allowed: &BTreeMap::new() };
        universe.refuse_cycle(candidate).err().map(RegisterError::from)
    }

    async fn register(&mut self, path: PathBuf, package: Result<Package, PackageError>) {
        if let Some(error) = self.misnamed(&path, &package) {
            return self.note(path, Err(error));
        }
        let (host, arrival) = (self.host.clone(), Arrival::Found(path.to_string_lossy().into()));
        let mut registering = tokio::spawn(async move { host.register(package, arrival).await });
        let patience = if self.slow.len() < SLOW_MAX { TAKE_IN_PATIENCE } else { Duration::MAX };
        match tokio::time::timeout(patience, &mut registering).await {
            Ok(registered) => self.note(path, super::unwound(registered)),
            Err(_) => self.slow.push((path, registering)),
        }
    }

    async fn gather_slow(&mut self) {
        for (path, registering) in std::mem::take(&mut self.slow) {
            if registering.is_finished() {
                self.note(path, super::unwound(registering.await));
            } else {
                self.slow.push((path, registering));
            }
        }
    }

    /// What is configured under a name must bear it: else its settings would go nowhere.
    fn misnamed(&self, path: &Path, package: &Result<Package, PackageError>) -> Option<RegisterError> {
        let own = package.as_ref().ok()?.manifest.name.as_str();
        let mut names = self.folders.named.iter().filter(|(_, named)| *named == path).map(|(name, _)| name);
        let name = names.next().filter(|name| *name != own)?;
        let message = format!("plugins.{name}.path holds a plugin that is named {own}");
        let error = InvokeError::new(ErrorKind::InvalidInput, message);
        Some(RegisterError::Refused(error.help(format!("configure it as plugins.{own}"))))
    }

    fn note(&mut self, path: PathBuf, registered: Result<Registered, RegisterError>) {
        let refusal = registered.as_ref().err().map(|error| Refusal::of(&path, error));
        // What another plugin stands in the way of, or is missing for, may come in when that changes.
        let may_change = refusal.as_ref().is_some_and(|refusal| refusal.kind == ErrorKind::Conflict);
        let generation = self.host.registry().generation();
        if let Some(seen) = self.seen.get_mut(&path) {
            seen.refused_at = may_change.then_some(generation);
            if let Ok(registered) = &registered {
                seen.serves = Some(registered.deployment.manifest.name.shared());
            }
        }
        self.host.note_refusal(path, refusal);
    }

    /// Removes what was found at a place where nothing is any more, or another plugin. What others need stays
    /// until they are gone too, so it is tried until nothing more goes.
    async fn take_out(&mut self, look: &Look) {
        let named = |path: &Path| self.folders.named.values().any(|named| named == path);
        let held: Vec<PathBuf> =
            self.going(look).iter().filter_map(|live| Some(live.origin.as_deref()?.into())).collect();
        self.host.forget_refusals(|path| {
            look.entries.contains_key(path)
                || !self.lacks(look, path)
                || held.iter().any(|held| held == path)
                || named(path)
        });
        for path in self.folders.named.values().filter(|path| self.lacks(look, path)) {
            let (kind, message) = (ErrorKind::NotFound, "there is nothing at the configured path".to_owned());
            self.host.note_refusal(path.clone(), Some(Refusal { kind, message, help: None }));
        }
        loop {
            let going = self.going(look);
            let version =
                |live: &Arc<Deployment>| (live.manifest.name.clone(), live.manifest.version.clone());
            let stuck = Some((self.host.registry().generation(), going.iter().map(version).collect()));
            if going.is_empty() || self.stuck == stuck {
                return;
            }
            let mut removed = false;
            for live in going {
                let (name, version) = (&live.manifest.name, &live.manifest.version);
                let origin = live.origin.as_deref().unwrap_or_default();
                let actor = Actor::new("folder").because(format!("{origin} is gone"));
                match self.host.remove(name, version, actor).await {
                    Ok(()) => removed = true,
                    Err(error) => {
                        self.host.note_refusal(origin.into(), Some(Refusal::of(Path::new(origin), &error)))
                    }
                }
            }
            if !removed {
                self.stuck = stuck;
            }
        }
    }

    fn going(&self, look: &Look) -> Vec<Arc<Deployment>> {
        let mut going = self.host.registry().all();
        going.retain(|live| {
            let origin = live.origin.as_deref().map(Path::new);
            origin.is_some_and(|origin| {
                self.lacks(look, origin) || self.renamed(origin, live.manifest.name.as_str())
            })
        });
        going
    }

    fn lacks(&self, look: &Look, path: &Path) -> bool {
        let named: Vec<PathBuf> = self.folders.named.values().cloned().collect();
        look.lacks(path, &self.folders.folders, &named)
    }

    /// Whether a plugin of another name was registered from there since.
    fn renamed(&self, origin: &Path, name: &str) -> bool {
        let serves = self.seen.get(origin).and_then(|seen| seen.serves.as_deref());
        serves.is_some_and(|serves| serves != name)
    }

    fn tell_unreadable(&mut self, look: &Look) {
        for (folder, error) in &look.unreadable {
            if self.unreadable.insert(folder.clone()) {
                let (path, message) = (&*folder.to_string_lossy(), &error.to_string());
                self.host.telemetry().emit(FolderUnreadable { path, message });
            }
        }
        self.unreadable.retain(|folder| look.unreadable.iter().any(|(unreadable, _)| unreadable == folder));
    }
}

fn candidate(package: &Package) -> Candidate {
    Candidate {
        name: package.manifest.name.shared(),
        version: package.manifest.version.clone(),
        dependencies: package.manifest.dependencies.clone(),
        standing: Standing::Running,
    }
}

impl Host {
    /// What was found in folders and cannot be registered, by its place.
    pub fn refusals(&self) -> BTreeMap<PathBuf, Refusal> {
        self.refused_entries().clone()
    }

    fn note_refusal(&self, path: PathBuf, refusal: Option<Refusal>) {
        let mut refusals = self.refused_entries();
        match refusal {
            Some(refusal) => drop(refusals.insert(path, refusal)),
            None => drop(refusals.remove(&path)),
        }
    }

    fn forget_refusals(&self, stays: impl Fn(&Path) -> bool) {
        self.refused_entries().retain(|path, _| stays(path));
    }
}
