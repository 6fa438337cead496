//! Drift: what values of a version's calls looked like when all was well, what they look like now, and whether that is
//! still the same. Each call adds to counts in bins that were pinned once; every so many calls a window of them is
//! judged. This room never fails or delays a call, never keeps a value that nobody asked for, and never decides what
//! follows from drift.
//!
//! Read `bins.rs` (what is counted), `watch.rs` (one call), `judged.rs` (one window), `judge.rs` (the verdict, pure). What
//! is shown of it all is in `picture.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use crate::package::manifest::Manifest;
use crate::store::drift::{
    BaselineFilter, BaselineRow, DriftStore, EventFilter, StoredBaseline, StoredEvent,
};
use crate::store::{self, Page};
use crate::telemetry::Telemetry;
use crate::telemetry::events::DriftSaveFailed;

pub mod baseline;
pub mod batch;
pub mod bins;
pub mod calibrate;
mod capture;
mod describe;
mod facts;
pub mod judge;
mod judged;
mod keep;
pub mod lines;
mod panes;
pub mod picture;
mod pin;
mod recent;
mod rounds;
mod samples;
mod saving;
pub mod sighting;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod simulation;
pub mod statistics;
#[cfg(test)]
mod streams;
mod watch;

pub use judged::{difference, grown};
pub use pin::{BASELINE_LINES_MAX, PinError};
pub use sighting::{Seen, Sighting};
pub use watch::Watch;

use picture::{Overview, VersionDrift};
use saving::Saving;

/// How often it is judged what has been counted.
pub const JUDGE_EVERY: Duration = Duration::from_millis(250);
/// All versions that are watched.
pub struct Drift {
    telemetry: Telemetry,
    /// `None`: nothing is kept.
    store: Option<DriftStore>,
    watches: Mutex<BTreeMap<(String, String), Arc<Watch>>>,
    saving: Mutex<Saving>,
    writing: Mutex<()>,
    wake: Arc<Notify>,
}

impl Drift {
    pub fn new(telemetry: Telemetry, store: Option<DriftStore>) -> Drift {
        let drift = Drift {
            telemetry,
            store,
            watches: Mutex::default(),
            saving: Mutex::default(),
            writing: Mutex::default(),
            wake: Arc::default(),
        };
        drift.saving().incarnation = drift.store.as_ref().map(DriftStore::incarnation);
        if let Some(aside) = drift.store.as_ref().and_then(DriftStore::set_aside) {
            let message = format!("the file was damaged and moved to `{}`", aside.display());
            drift.telemetry.emit(DriftSaveFailed { message: &message });
        }
        drift
    }

    /// What a version's calls are to be shown to. `None`: it asks for nothing. The same one, if it is watched already.
    pub fn watch(&self, manifest: &Manifest) -> Option<Arc<Watch>> {
        let observe = manifest.observe.as_ref()?;
        let fields = observe.resolve(manifest);
        if fields.is_empty() {
            return None;
        }
        let (plugin, version) = (manifest.name.as_str(), manifest.version.to_string());
        let watch = Watch::new(&self.telemetry, plugin, &version, observe.clone(), fields, self.wake.clone());
        let mut watches = self.watches();
        let key = (plugin.to_owned(), version);
        if let Some(known) = watches.get(&key) {
            if known.is_like(&watch) {
                return Some(known.clone());
            }
            known.series.remove();
        }
        let watch = Arc::new(watch);
        watches.insert(key, watch.clone());
        drop(watches);
        // Else in a later round.
        self.is_loaded(&watch);
        self.publish(&watch);
        Some(watch)
    }

    /// A version takes no calls any more: nobody is to hear of it until it is watched again. Blocks.
    pub fn rest(&self, plugin: &str, version: &str) {
        let Some(watch) = self.find(plugin, version) else { return };
        self.judge(&watch);
        self.save(true);
        // What the disk has not taken stays where it is, and is taken up again from there.
        if self.saving().failing {
            return;
        }
        self.watches().remove(&(plugin.to_owned(), version.to_owned()));
        watch.series.remove();
    }

    /// The version is gone, and what is known of it. Blocks.
    pub fn forget(&self, plugin: &str, version: &str) {
        let _writing = self.writing();
        if let Some(watch) = self.watches().remove(&(plugin.to_owned(), version.to_owned())) {
            watch.series.remove();
        }
        let mut saving = self.saving();
        saving.events.retain(|event| (&*event.plugin, &*event.version) != (plugin, version));
        saving.baselines.retain(|(of, _)| (&*of.plugin, &*of.version) != (plugin, version));
        drop(saving);
        if let Some(store) = &self.store
            && let Err(error) = store.forget(plugin, version)
        {
            self.note_saved(&Err(error));
        }
    }

    /// Waits until there is something that cannot wait for the next round.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    // --- What is shown ----------------------------------------------------------------------------------------

    /// One line for each version.
    pub fn overview(&self) -> Vec<Overview> {
        self.all().iter().inspect(|watch| self.judge(watch)).map(|watch| watch.overview()).collect()
    }

    /// `None`: it is not watched. Up to date with the last call that has ended.
    pub fn version(&self, plugin: &str, version: &str) -> Option<VersionDrift> {
        let watch = self.find(plugin, version)?;
        self.judge(&watch);
        Some(watch.picture())
    }

    pub fn baselines(&self, filter: &BaselineFilter) -> Result<Page<BaselineRow>, store::Error> {
        self.flush();
        let none = || Ok(Page { items: Vec::new(), next: None });
        self.store.as_ref().map_or_else(none, |store| store.baselines(filter))
    }

    pub fn baseline(&self, plugin: &str, id: &str) -> Result<Option<StoredBaseline>, store::Error> {
        self.flush();
        self.store.as_ref().map_or(Ok(None), |store| store.baseline(plugin, id))
    }

    /// What happened, newest first, as documents.
    pub fn events(&self, filter: &EventFilter) -> Result<Page<StoredEvent>, store::Error> {
        self.flush();
        let none = || Ok(Page { items: Vec::new(), next: None });
        self.store.as_ref().map_or_else(none, |store| store.events(filter))
    }

    /// The reservoir as lines of calls. `None`: it is not watched, or keeps no samples.
    pub fn samples(&self, plugin: &str, version: &str) -> Option<String> {
        let watch = self.find(plugin, version)?;
        if watch.observe.samples == 0 {
            return None;
        }
        let open = watch.open();
        let line = |row: &Vec<_>| samples::line(watch.paths.all(), row).to_string() + "\n";
        let lines = open.samples.rows().iter().map(line);
        Some(lines.collect())
    }

    fn find(&self, plugin: &str, version: &str) -> Option<Arc<Watch>> {
        self.watches().get(&(plugin.to_owned(), version.to_owned())).cloned()
    }

    fn all(&self) -> Vec<Arc<Watch>> {
        self.watches().values().cloned().collect()
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<(String, String), Arc<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_ms() -> u64 {
    since_1970_ms(SystemTime::now())
}

fn since_1970_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
