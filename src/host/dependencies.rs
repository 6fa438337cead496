//! Which versions of other plugins a version uses, and the lock that keeps it so: what `registry/resolve.rs`
//! chooses is written to `spanglass.lock` before it counts, and changed by register, remove and update only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use semver::{Comparator, Op, Version, VersionReq};

use super::Host;
use super::register::{RegisterError, lock, refused};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::{Actor, Stage};
use crate::package::manifest::Manifest;
use crate::registry::locked::Locked;
use crate::registry::resolve::{Candidate, Choices, Standing, Universe, Unresolved};
use crate::registry::{Body, Deployment};
use crate::telemetry::OperationKind;
use crate::telemetry::events::LockFileUnreadable;

/// A choice that `update` changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    pub plugin: Arc<str>,
    pub version: Version,
    pub dependency: Arc<str>,
    /// `None`: it had none.
    pub from: Option<Version>,
    pub to: Version,
}

impl Host {
    /// The version of a dependency that a version uses, as a range that fits nothing else. `None`: it declares
    /// no such dependency, or has none because it need not.
    pub fn dependency_range(&self, plugin: &Manifest, dependency: &str) -> Option<VersionReq> {
        let locked = self.locked.load();
        let version = locked.choices(plugin.name.as_str(), &plugin.version)?.get(dependency)?;
        Some(exactly(version))
    }

    /// Chooses for a version that is about to be registered.
    pub(super) fn choose(&self, manifest: &Manifest) -> Result<Choices, RegisterError> {
        if manifest.dependencies.is_empty() {
            // Most of them: at a start this is asked for each of a thousand, and looks at all the others.
            return Ok(Choices::new());
        }
        let known = self.known(|_| true);
        let allowed = self.registry.ranges();
        let universe = Universe { candidates: &known, allowed: &allowed };
        let plugin = Candidate {
            name: manifest.name.shared(),
            version: manifest.version.clone(),
            dependencies: manifest.dependencies.clone(),
            standing: Standing::Running,
        };
        let locked = self.locked.load();
        let before = locked.choices(manifest.name.as_str(), &manifest.version).cloned().unwrap_or_default();
        universe.choose(&plugin, &before).map_err(RegisterError::from)
    }

    /// The lock with a version in it, written.
    pub(super) fn lock_in(
        &self,
        manifest: &Manifest,
        digest: &str,
        choices: Choices,
    ) -> Result<(), RegisterError> {
        let mut next = Locked::clone(&self.locked.load());
        next.set(manifest.name.shared(), manifest.version.clone(), digest.into(), choices);
        // Who would have liked it, and could do without so far.
        let wants = |live: &&Arc<Deployment>| {
            let (name, version) = (live.manifest.name.as_str(), &live.manifest.version);
            let without = next
                .choices(name, version)
                .is_some_and(|chosen| !chosen.contains_key(manifest.name.as_str()));
            without
                && live
                    .manifest
                    .dependencies
                    .iter()
                    .any(|one| one.name == manifest.name && one.version.matches(&manifest.version))
        };
        let all = self.registry.all();
        let waiting: Vec<_> = all.iter().filter(wants).cloned().collect();
        for live in waiting {
            let (name, version) = (live.manifest.name.shared(), &live.manifest.version);
            let mut choices = next.choices(&name, version).cloned().unwrap_or_default();
            choices.insert(manifest.name.shared(), manifest.version.clone());
            next.set(name, version.clone(), live.digest.clone(), choices);
        }
        self.relock(next)
    }

    /// The lock without a version, written. Whoever uses it gets another that fits; if there is none, the
    /// version is in use.
    pub(super) fn lock_out(&self, manifest: &Manifest) -> Result<(), RegisterError> {
        let (name, version) = (manifest.name.as_str(), &manifest.version);
        let mut next = Locked::clone(&self.locked.load());
        next.remove(name, version);
        let known =
            self.known(|live| live.manifest.name != manifest.name || live.manifest.version != *version);
        let allowed = self.registry.ranges();
        let universe = Universe { candidates: &known, allowed: &allowed };
        let users: Vec<_> =
            next.users(name, version).map(|(name, version)| (name.clone(), version.clone())).collect();
        for (user, user_version) in users {
            let Some(live) = self.registry.get(&user, &user_version) else { continue };
            let mut locked = next.choices(&user, &user_version).cloned().unwrap_or_default();
            locked.remove(name);
            let choices = universe
                .choose(&candidate(&live), &locked)
                .map_err(|unresolved| in_use(name, version, &unresolved))?;
            next.set(user, user_version, live.digest.clone(), choices);
        }
        self.relock(next)
    }

    /// Moves dependencies to the highest versions that fit: all of them, or only those on one plugin. Blocks on
    /// the disk.
    pub fn update(&self, only: Option<&str>, actor: &Actor) -> Result<Vec<Moved>, RegisterError> {
        let mut operation = crate::telemetry::Operation::start(&self.telemetry, OperationKind::Update, None);
        operation.set("spanglass.actor", actor.by.clone());
        let _one_at_a_time = lock(&self.changes);
        if let Some(only) = only
            && self.registry.versions(only).is_empty()
        {
            return Err(refused(ErrorKind::NotFound, format!("there is no plugin {only:?}")));
        }
        let known = self.known(|_| true);
        let allowed = self.registry.ranges();
        let universe = Universe { candidates: &known, allowed: &allowed };
        let mut next = Locked::clone(&self.locked.load());
        let mut moved = Vec::new();
        for live in self.registry.all() {
            let (name, version) = (live.manifest.name.shared(), &live.manifest.version);
            let before = next.choices(&name, version).cloned().unwrap_or_default();
            let mut locked = before.clone();
            locked.retain(|dependency, _| only.is_some_and(|only| only != &**dependency));
            // One that cannot be satisfied any more keeps what it has.
            let Ok(choices) = universe.choose(&candidate(&live), &locked) else { continue };
            let changed = choices.iter().filter(|(dependency, to)| before.get(*dependency) != Some(to));
            moved.extend(changed.map(|(dependency, to)| Moved {
                plugin: name.clone(),
                version: version.clone(),
                dependency: dependency.clone(),
                from: before.get(dependency).cloned(),
                to: to.clone(),
            }));
            next.set(name, version.clone(), live.digest.clone(), choices);
        }
        self.relock(next)?;
        Ok(moved)
    }

    /// Reads the lock back and chooses for what it lacks, after what was registered before is live. A lock that
    /// cannot be read is said and made anew by the next change; the file stays until then.
    pub(super) fn restore_lock(&self) {
        let Some(store) = &self.store else { return };
        let read = store.folder().read_lock_file().map_err(|error| format!("cannot be read: {error}"));
        let lost = !self.registry.all().is_empty();
        let parsed = read.and_then(|text| match text {
            Some(text) => Locked::parse(&text)
                .map(|locked| (locked, text))
                .map_err(|error| format!("cannot be read: {error}")),
            None if lost => Err("is missing".to_owned()),
            None => Ok(Default::default()),
        });
        let (mut locked, text) = parsed.unwrap_or_else(|message| {
            self.telemetry.emit(LockFileUnreadable { message: &message });
            let _ = self.lock_problem.set(message);
            Default::default()
        });
        locked.retain(|name, version| self.registry.get(name, version).is_some());
        self.locked.store(Arc::new(locked));
        let mut next = Locked::clone(&self.locked.load());
        for live in self.registry.all() {
            if let Ok(choices) = self.choose(&live.manifest) {
                next.set(
                    live.manifest.name.shared(),
                    live.manifest.version.clone(),
                    live.digest.clone(),
                    choices,
                );
            }
        }
        self.lock_is_written.store(next.to_text() == text, Ordering::Relaxed);
        self.locked.store(Arc::new(next));
    }

    /// What was wrong with `spanglass.lock` at the start.
    pub fn lock_problem(&self) -> Option<&str> {
        self.lock_problem.get().map(String::as_str)
    }

    /// Who uses one of these versions of a plugin, each as `name version`.
    pub fn users_of(&self, name: &str, versions: impl Fn(&Version) -> bool) -> Vec<String> {
        let locked = self.locked.load();
        let all = self.registry.versions(name);
        let used = all.iter().map(|live| &live.manifest.version).filter(|version| versions(version));
        used.flat_map(|version| {
            locked.users(name, version).map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>()
        })
        .collect()
    }

    /// A version that was registered and lacks what it requires now: it is there, and takes no calls.
    pub(super) fn fail_unresolved(&self, deployment: Arc<Deployment>) -> Arc<Deployment> {
        let Body::Running(_) = &deployment.body else { return deployment };
        let Err(error) = self.choose(&deployment.manifest) else { return deployment };
        self.swap_in(
            deployment.with_body(Body::Failed { stage: Stage::Dependencies, cause: error.to_string() }),
        )
    }

    /// The lock of a backup, as far as it is about what is there.
    pub(super) fn take_over_lock(&self, text: Option<&str>) -> Result<(), RegisterError> {
        let _one_at_a_time = lock(&self.changes);
        let parsed = text.map(Locked::parse).transpose();
        let mut next = parsed
            .map_err(|error| refused(ErrorKind::InvalidInput, format!("spanglass.lock: {error}")))?
            .unwrap_or_default();
        next.retain(|name, version| self.registry.get(name, version).is_some());
        for live in self.registry.all() {
            let (name, version) = (live.manifest.name.shared(), &live.manifest.version);
            let known = next.choices(&name, version).cloned();
            let choices = known.map_or_else(|| self.choose(&live.manifest), Ok)?;
            next.set(name, version.clone(), live.digest.clone(), choices);
        }
        self.relock(next)
    }

    pub fn lock_text(&self) -> String {
        self.locked.load().to_text()
    }

    fn relock(&self, next: Locked) -> Result<(), RegisterError> {
        if **self.locked.load() == next && self.lock_is_written.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(store) = &self.store {
            store.folder().write_lock_file(&next.to_text())?;
        }
        self.lock_is_written.store(true, Ordering::Relaxed);
        self.locked.store(Arc::new(next));
        Ok(())
    }

    pub(super) fn known(&self, is_there: impl Fn(&Deployment) -> bool) -> BTreeMap<Arc<str>, Vec<Candidate>> {
        let mut known: BTreeMap<Arc<str>, Vec<Candidate>> = BTreeMap::new();
        for live in self.registry.all().iter().filter(|live| is_there(live)) {
            known.entry(live.manifest.name.shared()).or_default().push(candidate(live));
        }
        known
    }
}

fn candidate(live: &Deployment) -> Candidate {
    let standing = match &live.body {
        Body::Registered => Standing::Disabled,
        _ if live.is_held_back() => Standing::HeldBack,
        Body::Failed { .. } => Standing::Failed,
        Body::Running(_) => Standing::Running,
    };
    Candidate {
        name: live.manifest.name.shared(),
        version: live.manifest.version.clone(),
        dependencies: live.manifest.dependencies.clone(),
        standing,
    }
}

/// `=1.2.3`, without the build metadata, which no range can name.
fn exactly(version: &Version) -> VersionReq {
    let (major, minor, patch) = (version.major, Some(version.minor), Some(version.patch));
    VersionReq {
        comparators: vec![Comparator { op: Op::Exact, major, minor, patch, pre: version.pre.clone() }],
    }
}

fn in_use(name: &str, version: &Version, unresolved: &Unresolved) -> RegisterError {
    let message = format!("{name} {version} is in use: without it, {unresolved}");
    let error = InvokeError::new(ErrorKind::Conflict, message);
    RegisterError::Refused(error.help("remove what needs it first, or register another version that fits"))
}

impl From<Unresolved> for RegisterError {
    fn from(unresolved: Unresolved) -> RegisterError {
        let error = InvokeError::new(ErrorKind::Conflict, unresolved.to_string());
        RegisterError::Refused(error.help(unresolved.help()))
    }
}
