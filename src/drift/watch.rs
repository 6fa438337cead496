//! One watched version, as its calls meet it: what they show is taken without a lock, and counted under one that is
//! held for some additions. Everything else is done later, by who judges (`judged.rs`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::Notify;

use super::baseline::Baseline;
use super::bins::{Layout, Mark, NOTHING};
use super::capture::Capture;
use super::judge::State;
use super::judged::Judged;
use super::panes::Pane;
use super::picture::{Origin, Phase};
use super::recent::Recent;
use super::samples::Samples;
use super::sighting::{Paths, Seen, Sighting, View, What};
use crate::model::field::{FieldKind, FieldPath, Side};
use crate::package::observe::{BaselineMode, Observe, ObservedField};
use crate::store::drift::LoadedWatch;
use crate::telemetry::{DriftSeries, Telemetry};

/// Closed panes that wait to be judged. When calls come faster than that, a pane takes in more of them.
pub(super) const CLOSED_MAX: usize = 32;

/// A version that is watched.
pub struct Watch {
    pub(super) plugin: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) observe: Observe,
    pub(super) paths: Paths,
    hints: Vec<Option<FieldKind>>,
    /// What calls are looked at through.
    lens: ArcSwap<Lens>,
    open: Mutex<Open>,
    /// Taken before `open`, if both are.
    judged: Mutex<Judged>,
    pub(super) series: DriftSeries,
    /// What was kept of it has been read.
    started: AtomicBool,
    /// Held by who reads it.
    pub(super) starting: Mutex<()>,
    /// Somebody is to look at once.
    wake: Arc<Notify>,
}

struct Lens {
    epoch: u64,
    /// What there is to count by.
    pinned: Option<Arc<Pinned>>,
    /// Nothing is learnt and nothing counted.
    blind: bool,
}

/// A baseline that is in use.
pub struct Pinned {
    pub id: String,
    pub baseline: Baseline,
    pub layout: Layout,
    pub origin: Origin,
    pub created_unix_ms: u64,
}

/// What calls write to.
pub(super) struct Open {
    pub(super) epoch: u64,
    /// `None`: there is a baseline, or one has to be pinned by hand.
    pub(super) capture: Option<Capture>,
    pub(super) captured: u64,
    /// A capture that waits to become a baseline, and when it was full.
    pub(super) full: Option<(Arc<Capture>, u64)>,
    pub(super) pinned: Option<Arc<Pinned>>,
    pub(super) pane: Pane,
    pub(super) closed: VecDeque<Pane>,
    pub(super) calls: u64,
    pub(super) recent: Recent,
    pub(super) samples: Samples,
    /// Something was counted since it was saved.
    pub(super) changed: bool,
}

impl Pinned {
    pub fn new(baseline: Baseline, origin: Origin, created_unix_ms: u64) -> Pinned {
        Pinned { id: baseline.id(), layout: baseline.layout(), baseline, origin, created_unix_ms }
    }
}

impl Watch {
    pub(super) fn new(
        telemetry: &Telemetry,
        plugin: &str,
        version: &str,
        observe: Observe,
        mut fields: Vec<ObservedField>,
        wake: Arc<Notify>,
    ) -> Watch {
        fields.sort_by_key(|field| field.path.side());
        let hints = fields.iter().map(|field| field.hint).collect();
        let paths: Vec<FieldPath> = fields.into_iter().map(|field| field.path).collect();
        let samples = Samples::new(observe.samples as usize);
        let recent = Recent::new(paths.len());
        Watch {
            plugin: plugin.into(),
            version: version.into(),
            paths: Paths::new(paths, observe.samples > 0),
            hints,
            lens: ArcSwap::from_pointee(Lens { epoch: 0, pinned: None, blind: true }),
            open: Mutex::new(Open {
                epoch: 0,
                capture: None,
                captured: 0,
                full: None,
                pinned: None,
                pane: Pane::default(),
                closed: VecDeque::new(),
                calls: 0,
                recent,
                samples,
                changed: false,
            }),
            judged: Mutex::default(),
            series: DriftSeries::new(telemetry.metrics(), plugin, version),
            started: AtomicBool::new(false),
            starting: Mutex::default(),
            wake,
            observe,
        }
    }

    /// Whether it asks for the same.
    pub(super) fn is_like(&self, other: &Watch) -> bool {
        self.observe == other.observe && self.paths.all() == other.paths.all() && self.hints == other.hints
    }

    pub(super) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// From now on calls are looked at: where it was, or from the beginning.
    pub(super) fn start(&self, pinned: Option<Pinned>, loaded: Option<LoadedWatch>) {
        if self.observe.baseline == BaselineMode::Auto {
            let mut open = self.open();
            open.capture = Some(Capture::new(self.hints(), self.observe.baseline_calls as usize));
        }
        self.restore(pinned, loaded);
        self.focus(&self.open());
        self.started.store(true, Ordering::Release);
    }

    // --- What a call does -------------------------------------------------------------------------------------

    /// Takes what an input shows. `None`: nobody is interested now. `hides` says whether a text holds a secret.
    pub fn sight(&self, input: &Value, hides: &dyn Fn(&str) -> bool) -> Option<Sighting> {
        let lens = self.lens.load();
        let view = View { fields: lens.pinned.as_ref().map(|pinned| &*pinned.baseline.fields), hides };
        (!lens.blind).then(|| self.paths.input(lens.epoch, view, input))
    }

    /// Whether there is anything to see in an input. Where nobody has parsed it yet, it need not be.
    pub fn wants_input(&self) -> bool {
        !self.paths.of(Side::Input).is_empty() && !self.lens.load().blind
    }

    /// The same of an output, or of its next chunk.
    pub fn wants_output(&self, sighting: &Sighting) -> bool {
        self.paths.await_output(sighting)
    }

    /// Takes what an output, or a chunk of one, shows beside its input.
    pub fn sight_output(&self, sighting: &mut Sighting, output: &Value, hides: &dyn Fn(&str) -> bool) {
        let lens = self.lens.load();
        if lens.epoch == sighting.epoch {
            let view = View { fields: lens.pinned.as_ref().map(|pinned| &*pinned.baseline.fields), hides };
            self.paths.output(sighting, view, output);
        }
    }

    /// Counts a call that has ended.
    pub fn count(&self, sighting: Sighting, seen: Seen) {
        let mut open = self.open();
        if sighting.epoch != open.epoch {
            return;
        }
        open.changed = true;
        match sighting.what {
            What::Learnt(values) => {
                let Some(capture) = &mut open.capture else { return };
                for (field, learnt) in values.into_iter().enumerate() {
                    if let Some(learnt) = learnt {
                        capture.add_kept(field, learnt.kept, learnt.text.as_deref());
                    }
                }
                open.captured += 1;
                self.end_if_full(&mut open, seen.at_unix_ms);
            }
            What::Counted { marks, unseen } => {
                let Some(pinned) = open.pinned.clone() else { return };
                open.count(&pinned.layout, &marks);
                open.recent.push(seen, &marks, unseen);
                if let Some(raw) = sighting.raw {
                    open.samples.offer(raw);
                }
                if open.pane.calls >= self.observe.step {
                    open.close_pane(&pinned.layout);
                }
            }
        }
    }

    /// Puts a capture that is full aside. To make a baseline of it takes longer than a call may wait; calls that end
    /// until then are not counted.
    pub(super) fn end_if_full(&self, open: &mut Open, now_unix_ms: u64) {
        if open.captured >= u64::from(self.observe.baseline_calls) {
            open.full = open.capture.take().map(|capture| (Arc::new(capture), now_unix_ms));
            self.focus(open);
            self.wake.notify_one();
        }
    }

    // --- What changes what calls are looked at through ---------------------------------------------------------

    /// From now on calls are compared with this.
    pub(super) fn pin(&self, open: &mut Open, pinned: Arc<Pinned>, epoch: u64) {
        (open.capture, open.full) = (None, None);
        open.captured = 0;
        open.pane = Pane::new(0, pinned.layout.cells());
        open.closed.clear();
        open.recent.clear();
        open.samples.clear();
        open.calls = 0;
        open.pinned = Some(pinned);
        open.epoch = epoch.max(open.epoch + 1);
        open.changed = true;
        self.focus(open);
    }

    /// Has calls see what `open` says.
    pub(super) fn focus(&self, open: &Open) {
        let pinned = open.pinned.clone();
        let blind = pinned.is_none() && open.capture.is_none();
        self.lens.store(Arc::new(Lens { epoch: open.epoch, pinned, blind }));
    }

    /// What its last calls would be as a baseline, with bins of their own. `None`: there is none yet to replace.
    /// While it drifts these are the calls of the window: what was before the change is not how it shall be.
    pub(super) fn recent_as_baseline(&self) -> Option<Baseline> {
        let drifts = self.judged().state >= State::Warn;
        let calls = if drifts { self.observe.window.max(self.observe.min_samples) } else { u32::MAX };
        let (recent, pinned) = {
            let open = self.open();
            (open.recent.clone(), open.pinned.clone()?)
        };
        let calls = recent.calls().min(calls as usize);
        let capture = recent.capture(calls, self.hints(), &pinned.baseline.fields);
        Some(Baseline::of(&capture, self.field_names(), calls as u64))
    }

    /// Makes a capture that is full the baseline.
    pub(super) fn end_capture(&self) {
        let (epoch, full, captured) = {
            let open = self.open();
            (open.epoch, open.full.clone(), open.captured)
        };
        let Some((capture, full_unix_ms)) = full else { return };
        let baseline = Baseline::of(&capture, self.field_names(), captured);
        let mut open = self.open();
        // Somebody may have pinned another one meanwhile.
        if open.epoch == epoch && open.full.is_some() {
            let pinned = Arc::new(Pinned::new(baseline, Origin::FirstCalls, full_unix_ms));
            self.pin(&mut open, pinned, full_unix_ms);
        }
    }

    pub(super) fn hints(&self) -> impl Iterator<Item = Option<FieldKind>> + '_ {
        self.hints.iter().copied()
    }

    pub(super) fn field_names(&self) -> impl Iterator<Item = String> + '_ {
        self.paths.all().iter().map(ToString::to_string)
    }

    pub(super) fn phase(&self, open: &Open) -> Phase {
        match &open.pinned {
            Some(_) => Phase::Watching,
            None if open.capture.is_some() || open.full.is_some() => Phase::Capturing,
            None => Phase::Waiting,
        }
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn judged(&self) -> MutexGuard<'_, Judged> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn count(&mut self, layout: &Layout, marks: &[Mark]) {
        self.calls += 1;
        self.pane.calls += 1;
        let counts = &mut self.pane.counts;
        for (field, mark) in marks.iter().enumerate().filter(|(_, mark)| mark.cell != NOTHING) {
            counts[layout.start(field) + usize::from(mark.cell)] += 1;
        }
    }

    fn close_pane(&mut self, layout: &Layout) {
        if self.closed.len() >= CLOSED_MAX
            && let Some(last) = self.closed.back_mut()
        {
            // Its number stays: it is the same pane, with more in it.
            last.merge(&self.pane);
            self.pane = Pane::new(self.pane.number, layout.cells());
            return;
        }
        let next = Pane::new(self.pane.number + 1, layout.cells());
        self.closed.push_back(std::mem::replace(&mut self.pane, next));
    }
}
