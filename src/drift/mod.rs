//! Drift: what values of a version's calls looked like when all was well, what they look like now, and whether that is
//! still the same. Each call adds to counts in bins that were pinned once; every so many calls a window of them is
//! judged. This room never fails or delays a call, never keeps a value that nobody asked for, and never decides what
//! follows from drift.
//!
//! Read `bins.rs` (what is counted), `watch.rs` (one call), `judged.rs` (one window), `judge.rs` (the verdict, pure). What
//! is shown of it all is in `picture.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::model::field::{FieldPath, Side, Step};
use crate::package::manifest::Manifest;
use crate::store::drift::{DriftStore, EventFilter, StoredBaseline, StoredEvent};
use crate::store::{self, Page};
use crate::telemetry::events::{
    BaselinePinned, DriftDetected, DriftExample as ExampleOf, DriftFinding, DriftResolved, DriftSaveFailed,
    DriftSaveRecovered, DriftWarned,
};
use crate::telemetry::{DriftScores, Telemetry};

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
mod recent;
mod samples;
pub mod sighting;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod simulation;
pub mod statistics;
#[cfg(test)]
mod streams;
mod watch;

pub use sighting::{Seen, Sighting};
pub use watch::Watch;

use baseline::Baseline;
use judge::State;
use judged::{Change, EXAMPLES_MAX};
use lines::LinesError;
use picture::{BaselineHead, DriftEvent, EventKind, Origin, Overview, VersionDrift, rfc3339};
use watch::Pinned;

/// How often it is judged what has been counted.
pub const JUDGE_EVERY: Duration = Duration::from_millis(250);
/// A kill loses at most so much.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// A window whose last pane does not fill is judged all the same after this long, if there are
const PEEK_AFTER: Duration = Duration::from_secs(60);
/// so many calls more.
const PEEK_CALLS: u32 = 10;
/// Events that wait for a disk that takes nothing; the oldest are let go.
const EVENTS_UNSAVED_MAX: usize = 1_000;
/// Lines of a file that is to be a baseline.
pub const BASELINE_LINES_MAX: usize = 100_000;

/// All versions that are watched.
pub struct Drift {
    telemetry: Telemetry,
    /// `None`: nothing is kept.
    store: Option<DriftStore>,
    watches: Mutex<BTreeMap<(String, String), Arc<Watch>>>,
    saving: Mutex<Saving>,
    /// Held by who writes: what is older must not come after what is newer.
    writing: Mutex<()>,
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Saving {
    last: Option<Instant>,
    failing: bool,
    /// Of the file that was written to.
    incarnation: Option<u64>,
    events: VecDeque<DriftEvent>,
    baselines: Vec<(Arc<Watch>, Arc<Pinned>)>,
}

/// Why a baseline was not pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error("{plugin} {version} is not watched: its manifest has no `observe`, or it is disabled")]
    NotWatched { plugin: String, version: String },
    #[error("{0}")]
    Lines(#[from] LinesError),
    #[error("{found} calls are too few: a baseline needs {wanted}")]
    TooFew { found: u64, wanted: u64 },
    #[error("none of the watched fields has a value in it")]
    Nothing,
    #[error("there is no baseline `{0}`")]
    Unknown(String),
    #[error("the baseline is of other fields than the version's")]
    OtherFields,
    #[error("{0}")]
    Store(#[from] store::Error),
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
        let mut watches = self.watches();
        let key = (plugin.to_owned(), version.clone());
        if let Some(known) = watches.get(&key)
            && known.observe == *observe
            && known.paths.all().len() == fields.len()
        {
            return Some(known.clone());
        }
        let wake = self.wake.clone();
        let watch = Arc::new(Watch::new(&self.telemetry, plugin, &version, observe.clone(), fields, wake));
        if let Some(store) = &self.store {
            // What cannot be read now is as if it had not been: calls go on.
            let kept =
                store.pinned(plugin, &version).and_then(|pinned| Ok((pinned, store.load(plugin, &version)?)));
            match kept {
                Ok((pinned, loaded)) => {
                    watch.restore(pinned.and_then(|stored| watch.pinned_from(&stored)), loaded);
                }
                Err(error) => self.note_saved(&Err(error)),
            }
        }
        self.publish(&watch);
        watches.insert(key, watch.clone());
        Some(watch)
    }

    /// The version is gone, and what is known of it. Blocks.
    pub fn forget(&self, plugin: &str, version: &str) {
        let _writing = self.writing();
        let watch = self.watches().remove(&(plugin.to_owned(), version.to_owned()));
        let Some(watch) = watch else { return };
        watch.series.remove();
        let mut saving = self.saving();
        saving.events.retain(|event| (&*event.plugin, &*event.version) != (plugin, version));
        saving.baselines.retain(|(of, _)| !Arc::ptr_eq(of, &watch));
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

    // --- The loop ---------------------------------------------------------------------------------------------

    /// Judges what has been counted, and writes it down if it is time. Blocks.
    pub fn round(&self) {
        for watch in self.all() {
            self.judge(&watch);
        }
        let due = self.saving().last.is_none_or(|last| last.elapsed() >= SAVE_EVERY);
        if due {
            self.save(false);
        }
    }

    /// The last round. Blocks.
    pub fn close(&self) {
        for watch in self.all() {
            self.judge(&watch);
        }
        self.save(true);
    }

    fn judge(&self, watch: &Arc<Watch>) {
        watch.end_capture();
        let now = unix_ms();
        let mut news = Vec::new();
        let mut judged = watch.judged();
        loop {
            let mut open = watch.open();
            let Some(pinned) = open.pinned.clone() else { break };
            if open.epoch != judged.epoch {
                judged.begin(open.epoch, watch.paths.len(), &watch.observe);
                self.saving().baselines.push((watch.clone(), pinned.clone()));
                news.push(self.pinned_event(watch, &pinned));
            }
            let find = |field: usize, cells: &[usize]| {
                let among = |cell: u8| cells.contains(&usize::from(cell));
                watch.open().recent.in_cells(field, among, EXAMPLES_MAX)
            };
            let changes = if let Some(pane) = open.closed.pop_front() {
                drop(open);
                judged.step(&pinned, &watch.observe, pane, &find, now)
            } else {
                let waited = judged.judged.is_none_or(|last| last.elapsed() >= PEEK_AFTER);
                if !waited || open.pane.calls < judged.peeked + PEEK_CALLS {
                    break;
                }
                let pane = open.pane.clone();
                drop(open);
                judged.peek(&pinned, &watch.observe, &pane, &find, now)
            };
            news.extend(changes.into_iter().map(|change| event(watch, &pinned, &judged, change, now)));
        }
        let changed = judged.changed;
        drop(judged);
        if changed || !news.is_empty() {
            self.publish(watch);
        }
        for event in news {
            self.tell(&event);
            let mut saving = self.saving();
            if saving.events.len() >= EVENTS_UNSAVED_MAX {
                saving.events.pop_front();
            }
            saving.events.push_back(event);
        }
    }

    /// Sets the gauges of a version.
    fn publish(&self, watch: &Watch) {
        let judged = watch.judged();
        for (at, name) in watch.field_names().enumerate() {
            let field = judged.fields.get(at);
            let short = field.and_then(|field| field.short.as_ref());
            let state = field.map_or(State::Insufficient, |field| field.kept.state);
            let known = |value: Option<f64>| value.filter(|_| state != State::Insufficient);
            watch.series.set_field(
                &name,
                DriftScores {
                    state: state.as_number(),
                    psi: known(short.and_then(|found| found.psi)),
                    js: known(short.and_then(|found| found.js)),
                    pvalue: known(short.and_then(|found| found.pvalue)),
                    null_ratio: known(short.and_then(|found| found.null_ratio)),
                    new_category_ratio: known(short.and_then(|found| found.new_category_ratio)),
                },
            );
        }
        watch.series.set_window(judged.window_calls);
        let pinned = watch.open().pinned.as_ref().map(|pinned| pinned.created_unix_ms as f64 / 1_000.0);
        watch.series.set_baseline(pinned);
    }

    fn tell(&self, event: &DriftEvent) {
        let examples: Vec<ExampleOf<'_>> = event
            .examples
            .iter()
            .map(|one| ExampleOf { invocation_id: &one.invocation_id, trace_id: &one.trace_id })
            .collect();
        let finding = DriftFinding {
            plugin: &event.plugin,
            version: &event.version,
            field: event.field.as_deref().unwrap_or_default(),
            psi: event.psi,
            js: event.js,
            pvalue: event.pvalue,
            baseline_id: event.baseline_id.as_deref(),
            summary: &event.summary,
            examples: &examples,
        };
        match event.kind {
            EventKind::Detected => self.telemetry.emit(DriftDetected(finding)),
            EventKind::Warned => self.telemetry.emit(DriftWarned(finding)),
            EventKind::Resolved => self.telemetry.emit(DriftResolved(finding)),
            // Told when it was pinned.
            EventKind::BaselinePinned => {}
        }
    }

    fn pinned_event(&self, watch: &Watch, pinned: &Pinned) -> DriftEvent {
        let (calls, source) = (pinned.baseline.calls, pinned.origin.as_str());
        self.telemetry.emit(BaselinePinned {
            plugin: &watch.plugin,
            version: &watch.version,
            baseline_id: &pinned.id,
            source,
            calls,
        });
        let fields = pinned.baseline.fields.len();
        DriftEvent {
            id: Uuid::now_v7().to_string(),
            at: rfc3339(pinned.created_unix_ms),
            kind: EventKind::BaselinePinned,
            plugin: watch.plugin.to_string(),
            version: watch.version.to_string(),
            field: None,
            state: State::Insufficient,
            psi: None,
            js: None,
            pvalue: None,
            baseline_id: Some(pinned.id.clone()),
            summary: format!("a baseline of {calls} calls and {fields} fields ({source})"),
            examples: Vec::new(),
        }
    }

    /// Writes down what has changed. What cannot be written waits. `last`: there is no other time.
    fn save(&self, last: bool) {
        let Some(store) = &self.store else { return };
        let _writing = self.writing();
        let (baselines, events) = {
            let mut saving = self.saving();
            saving.last = Some(Instant::now());
            (std::mem::take(&mut saving.baselines), std::mem::take(&mut saving.events))
        };
        let watches = self.all();
        let saved: Vec<(&Arc<Watch>, _)> =
            watches.iter().filter_map(|watch| Some((watch, watch.to_save(last)?))).collect();
        if baselines.is_empty() && events.is_empty() && saved.is_empty() && !self.saving().failing {
            return;
        }
        let (of, states): (Vec<_>, Vec<_>) = saved.into_iter().unzip();
        let stored: Vec<StoredEvent> = events.iter().map(stored_event).collect();
        let outcome = baselines
            .iter()
            .try_for_each(|(watch, pinned)| put(store, watch, pinned))
            .and_then(|()| store.save(&states))
            .and_then(|()| store.add_events(&stored));
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

    fn note_saved(&self, outcome: &Result<(), store::Error>) {
        let was = std::mem::replace(&mut self.saving().failing, outcome.is_err());
        match outcome {
            Err(error) if !was => self.telemetry.emit(DriftSaveFailed { message: &error.to_string() }),
            Ok(()) if was => self.telemetry.emit(DriftSaveRecovered),
            _ => {}
        }
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

    pub fn baselines(
        &self,
        plugin: &str,
        version: Option<&str>,
    ) -> Result<Vec<StoredBaseline>, store::Error> {
        self.flush();
        self.store.as_ref().map_or_else(|| Ok(Vec::new()), |store| store.baselines(plugin, version))
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
        let lines = open.samples.rows().iter().map(|row| line(watch.paths.all(), row).to_string() + "\n");
        Some(lines.collect())
    }

    // --- Baselines --------------------------------------------------------------------------------------------

    /// Pins what a file of calls says.
    pub fn pin_lines(
        &self,
        plugin: &str,
        version: &str,
        lines: impl BufRead,
    ) -> Result<BaselineHead, PinError> {
        let watch = self.watched(plugin, version)?;
        let fields: Vec<_> = watch.paths.all().iter().cloned().zip(watch.hints()).collect();
        let baseline = batch::baseline_from(lines, &fields, BASELINE_LINES_MAX)?;
        self.pin(&watch, baseline, Origin::File)
    }

    /// Pins what the last calls showed: from now on that is how it should be.
    pub fn pin_window(&self, plugin: &str, version: &str) -> Result<BaselineHead, PinError> {
        let watch = self.watched(plugin, version)?;
        self.judge(&watch);
        let baseline = watch.recent_as_baseline().unwrap_or(Baseline { calls: 0, fields: Vec::new() });
        self.pin(&watch, baseline, Origin::Window)
    }

    /// Pins one that was pinned before.
    pub fn pin_earlier(&self, plugin: &str, version: &str, id: &str) -> Result<BaselineHead, PinError> {
        let watch = self.watched(plugin, version)?;
        let stored = self.baseline(plugin, id)?.ok_or_else(|| PinError::Unknown(id.to_owned()))?;
        let pinned = watch.pinned_from(&stored).ok_or(PinError::OtherFields)?;
        self.use_pinned(&watch, pinned)
    }

    fn pin(&self, watch: &Arc<Watch>, baseline: Baseline, origin: Origin) -> Result<BaselineHead, PinError> {
        let wanted = watch.observe.min_samples.into();
        if baseline.calls < wanted {
            return Err(PinError::TooFew { found: baseline.calls, wanted });
        }
        if baseline.fields.iter().all(|field| field.counts.iter().all(|count| *count == 0)) {
            return Err(PinError::Nothing);
        }
        self.use_pinned(watch, Pinned::new(baseline, origin, unix_ms()))
    }

    /// On the disk first: whoever was told that it is pinned finds it again.
    fn use_pinned(&self, watch: &Arc<Watch>, pinned: Pinned) -> Result<BaselineHead, PinError> {
        let pinned = Arc::new(pinned);
        {
            let _writing = self.writing();
            // Whoever waits to be written was pinned before.
            self.saving().baselines.retain(|(of, _)| !Arc::ptr_eq(of, watch));
            if let Some(store) = &self.store {
                put(store, watch, &pinned)?;
            }
            watch.pin(&mut watch.open(), pinned.clone(), unix_ms());
        }
        self.judge(watch);
        self.flush();
        Ok(pinned.head())
    }

    /// Has what is shown from the disk be what is known. Blocks.
    fn flush(&self) {
        for watch in self.all() {
            self.judge(&watch);
        }
        self.save(false);
    }

    fn watched(&self, plugin: &str, version: &str) -> Result<Arc<Watch>, PinError> {
        let named = || PinError::NotWatched { plugin: plugin.to_owned(), version: version.to_owned() };
        self.find(plugin, version).ok_or_else(named)
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

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saving(&self) -> MutexGuard<'_, Saving> {
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// A stored baseline, if it is of this version's fields.
    fn pinned_from(&self, stored: &StoredBaseline) -> Option<Pinned> {
        let baseline = Baseline::parse(&stored.id, &stored.document)?;
        let names = baseline.fields.iter().map(|field| &field.field);
        let same = names.eq(&self.field_names().collect::<Vec<_>>());
        let origin = Origin::parse(&stored.source)?;
        same.then(|| Pinned::new(baseline, origin, stored.created_unix_ms))
    }
}

fn put(store: &DriftStore, watch: &Watch, pinned: &Pinned) -> Result<(), store::Error> {
    let document = serde_json::to_string(&pinned.baseline).expect("numbers, texts and lists are JSON");
    let (plugin, version, id) = (&*watch.plugin, &*watch.version, &*pinned.id);
    store.put_baseline(plugin, version, id, pinned.created_unix_ms, pinned.origin.as_str(), &document)?;
    store.pin(plugin, version, id)
}

fn event(watch: &Watch, pinned: &Pinned, judged: &judged::Judged, change: Change, now: u64) -> DriftEvent {
    let field = &judged.fields[change.field];
    let score = |score: fn(&judge::Comparison) -> Option<f64>| field.short.as_ref().and_then(score);
    DriftEvent {
        id: Uuid::now_v7().to_string(),
        at: rfc3339(now),
        kind: change.kind,
        plugin: watch.plugin.to_string(),
        version: watch.version.to_string(),
        field: watch.field_names().nth(change.field),
        state: field.kept.state,
        psi: score(|found| found.psi),
        js: score(|found| found.js),
        pvalue: score(|found| found.pvalue),
        baseline_id: Some(pinned.id.clone()),
        summary: change.summary,
        examples: field.kept.examples.clone(),
    }
}

fn stored_event(event: &DriftEvent) -> StoredEvent {
    StoredEvent {
        id: event.id.clone(),
        at_unix_ms: humantime::parse_rfc3339(&event.at).map_or(0, |at| since_1970_ms(at)),
        kind: event.kind.as_str().to_owned(),
        plugin: event.plugin.clone(),
        version: event.version.clone(),
        document: serde_json::to_string(event).expect("numbers, texts and lists are JSON"),
    }
}

/// A row of samples as a call: `{"input": {…}, "output": {…}}`.
fn line(paths: &[FieldPath], row: &[Value]) -> Value {
    let mut call = serde_json::json!({"input": {}, "output": {}});
    for (path, value) in paths.iter().zip(row) {
        let side = match path.side() {
            Side::Input => "input",
            Side::Output => "output",
        };
        let mut place = &mut call[side];
        for step in path.steps() {
            place = match step {
                Step::Key(key) => {
                    if !place.is_object() {
                        *place = Value::Object(Default::default());
                    }
                    &mut place[&**key]
                }
                Step::Index(index) => {
                    if !place.is_array() {
                        *place = Value::Array(Vec::new());
                    }
                    let items = place.as_array_mut().expect("it has just become one");
                    items.resize(items.len().max(*index as usize + 1), Value::Null);
                    &mut items[*index as usize]
                }
            };
        }
        *place = value.clone();
    }
    call
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
