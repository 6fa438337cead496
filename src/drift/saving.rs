//! What is known goes to the disk, by one writer at a time, and is never the reason that something waits or fails. What
//! cannot be written waits in memory, within bounds.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::picture::DriftEvent;
use super::watch::{Pinned, Watch};
use super::{Drift, since_1970_ms};
use crate::store;
use crate::store::drift::{DriftStore, NewBaseline, StoredEvent};
use crate::telemetry::events::{DriftSaveFailed, DriftSaveRecovered};

/// A kill loses at most so much.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Events that wait for a disk that takes nothing; the oldest are let go.
const EVENTS_UNSAVED_MAX: usize = 1_000;

#[derive(Default)]
pub(super) struct Saving {
    last: Option<Instant>,
    pub(super) failing: bool,
    /// Of the file that was written to.
    pub(super) incarnation: Option<u64>,
    pub(super) events: VecDeque<DriftEvent>,
    pub(super) baselines: Vec<(Arc<Watch>, Arc<Pinned>)>,
}

impl Drift {
    /// Whether it is time to write: now and then, but what happened at once.
    pub(super) fn is_due(&self) -> bool {
        let saving = self.saving();
        let waits = !(saving.failing || saving.events.is_empty() && saving.baselines.is_empty());
        waits || saving.last.is_none_or(|last| last.elapsed() >= SAVE_EVERY)
    }

    /// Has what is read from the disk be all that has happened. Blocks.
    pub(super) fn flush(&self) {
        for watch in self.all() {
            self.judge(&watch);
        }
        let waits = {
            let saving = self.saving();
            !(saving.events.is_empty() && saving.baselines.is_empty())
        };
        if waits {
            self.save(false);
        }
    }

    pub(super) fn to_be_kept(&self, event: DriftEvent) {
        let mut saving = self.saving();
        if saving.events.len() >= EVENTS_UNSAVED_MAX {
            saving.events.pop_front();
        }
        saving.events.push_back(event);
    }

    pub(super) fn to_be_pinned(&self, watch: &Arc<Watch>, pinned: &Arc<Pinned>) {
        self.saving().baselines.push((watch.clone(), pinned.clone()));
    }

    /// What was kept of a version is read once. Until that has worked its calls are not looked at: to begin anew would
    /// replace the baseline that somebody has pinned.
    pub(super) fn is_loaded(&self, watch: &Watch) -> bool {
        if watch.is_started() {
            return true;
        }
        // Two at once would begin twice.
        let _starting = watch.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.is_started() {
            return true;
        }
        let Some(store) = &self.store else {
            watch.start(None, None);
            return true;
        };
        let (plugin, version) = (&*watch.plugin, &*watch.version);
        let kept =
            store.pinned(plugin, version).and_then(|pinned| Ok((pinned, store.load(plugin, version)?)));
        match kept {
            Ok((pinned, loaded)) => watch.start(pinned.and_then(|stored| watch.pinned_from(&stored)), loaded),
            // It has been moved aside: there is nothing to wait for.
            Err(store::Error::Corrupt { .. }) => watch.start(None, None),
            Err(error) => {
                self.note_saved(&Err(error));
                return false;
            }
        }
        true
    }

    /// Writes down what has changed. What cannot be written waits. `last`: there is no other time.
    pub(super) fn save(&self, last: bool) {
        let Some(store) = &self.store else { return };
        let _writing = self.writing();
        let (baselines, events) = {
            let mut saving = self.saving();
            saving.last = Some(Instant::now());
            (std::mem::take(&mut saving.baselines), std::mem::take(&mut saving.events))
        };
        let watches = self.all();
        // A version that has gone meanwhile leaves nothing behind.
        let is_there = |plugin: &str, version: &str| {
            watches.iter().any(|watch| (&*watch.plugin, &*watch.version) == (plugin, version))
        };
        let baselines: Vec<_> =
            baselines.into_iter().filter(|(of, _)| is_there(&of.plugin, &of.version)).collect();
        let events: VecDeque<_> =
            events.into_iter().filter(|event| is_there(&event.plugin, &event.version)).collect();
        let saved: Vec<(&Arc<Watch>, _)> =
            watches.iter().filter_map(|watch| Some((watch, watch.to_save(last)?))).collect();
        if baselines.is_empty() && events.is_empty() && saved.is_empty() && !self.saving().failing {
            return;
        }
        let (of, states): (Vec<_>, Vec<_>) = saved.into_iter().unzip();
        let stored: Vec<StoredEvent> = events.iter().map(stored_event).collect();
        let new: Vec<NewBaseline> =
            baselines.iter().map(|(watch, pinned)| new_baseline(watch, pinned)).collect();
        let outcome = store.save_all(&new, &states, &stored);
        if self.is_another_file(store) {
            // It has nothing of what was put into the one before.
            for watch in &watches {
                watch.unsaved();
                let pinned = watch.open().pinned.clone();
                self.saving().baselines.extend(pinned.map(|pinned| (watch.clone(), pinned)));
            }
        }
        if outcome.is_err() {
            of.into_iter().for_each(|watch| watch.unsaved());
            let mut saving = self.saving();
            // In front of what has happened meanwhile. Written twice it is the same.
            saving.baselines.splice(0..0, baselines);
            for event in events.into_iter().rev().take(EVENTS_UNSAVED_MAX.saturating_sub(saving.events.len()))
            {
                saving.events.push_front(event);
            }
        }
        self.note_saved(&outcome);
    }

    /// Whether the file was replaced since the last look: damaged and moved aside, or taken away.
    fn is_another_file(&self, store: &DriftStore) -> bool {
        let incarnation = store.incarnation();
        let before = self.saving().incarnation.replace(incarnation);
        let another = before.is_some_and(|before| before != incarnation);
        if another && let Some(aside) = store.set_aside() {
            let message = format!("the file was damaged and moved to `{}`", aside.display());
            self.telemetry.emit(DriftSaveFailed { message: &message });
        }
        another
    }

    pub(super) fn note_saved(&self, outcome: &Result<(), store::Error>) {
        let was = std::mem::replace(&mut self.saving().failing, outcome.is_err());
        match outcome {
            Err(error) if !was => self.telemetry.emit(DriftSaveFailed { message: &error.to_string() }),
            Ok(()) if was => self.telemetry.emit(DriftSaveRecovered),
            _ => {}
        }
    }

    /// Held by who writes: what is older must not come after what is newer.
    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn saving(&self) -> MutexGuard<'_, Saving> {
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn new_baseline(watch: &Watch, pinned: &Pinned) -> NewBaseline {
    NewBaseline {
        plugin: watch.plugin.to_string(),
        version: watch.version.to_string(),
        id: pinned.id.clone(),
        source: pinned.origin.as_str().to_owned(),
        created_unix_ms: pinned.created_unix_ms,
        calls: pinned.baseline.calls,
        fields: pinned.baseline.fields.len() as u64,
        document: serde_json::to_string(&pinned.baseline).expect("numbers, texts and lists are JSON"),
    }
}

fn stored_event(event: &DriftEvent) -> StoredEvent {
    StoredEvent {
        id: event.id.clone(),
        at_unix_ms: humantime::parse_rfc3339(&event.at).map_or(0, since_1970_ms),
        kind: event.kind.as_str().to_owned(),
        plugin: event.plugin.clone(),
        version: event.version.clone(),
        document: serde_json::to_string(event).expect("numbers, texts and lists are JSON"),
    }
}
