//! The loop: what has been counted is judged, what was found is shown as gauges, told and kept.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::judge::{Comparison, State};
use super::judged::{Change, EXAMPLES_MAX, Judged};
use super::picture::{DriftEvent, EventKind, rfc3339};
use super::watch::{Pinned, Watch};
use super::{Drift, unix_ms};
use crate::telemetry::DriftScores;
use crate::telemetry::events::{
    BaselinePinned, DriftDetected, DriftExample as ExampleOf, DriftFinding, DriftResolved, DriftWarned,
};

/// A window whose last pane does not fill is looked at all the same after this long, if there are
pub(super) const PEEK_AFTER: Duration = Duration::from_secs(60);
/// so many calls more.
const PEEK_CALLS: u32 = 10;

impl Drift {
    /// Judges what has been counted, and writes it down if it is time. Blocks.
    pub fn round(&self) {
        for watch in self.all() {
            self.judge(&watch);
        }
        if self.is_due() {
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

    /// Judges what has been counted of one version, once: what comes meanwhile is for the next round.
    pub(super) fn judge(&self, watch: &Arc<Watch>) {
        if !self.is_loaded(watch) {
            return;
        }
        watch.end_capture();
        let now = unix_ms();
        let mut news = Vec::new();
        let mut judged = watch.judged();
        let (pinned, epoch, closed, open_pane) = {
            let mut open = watch.open();
            let Some(pinned) = open.pinned.clone() else { return };
            (pinned, open.epoch, std::mem::take(&mut open.closed), open.pane.clone())
        };
        let is_new = epoch != judged.epoch;
        if is_new {
            let over = judged.fields.iter().enumerate().filter(|(_, field)| field.kept.state == State::Alert);
            let over: Vec<Change> = over.map(|(field, _)| Change::rebased(field)).collect();
            let before = judged.baseline_id.clone();
            news.extend(over.into_iter().map(|change| DriftEvent {
                state: State::Insufficient,
                baseline_id: before.clone(),
                ..event(watch, &pinned, &judged, change, now)
            }));
            judged.begin(epoch, &pinned, &watch.observe);
            news.push(pinned_event(watch, &pinned));
        }
        let find = |field: usize, cells: &[usize]| {
            let among = |cell: u8| cells.contains(&usize::from(cell));
            watch.open().recent.in_cells(field, among, EXAMPLES_MAX)
        };
        let full = !closed.is_empty();
        for pane in closed {
            let changes = judged.step(&pinned, &watch.observe, pane, &find, now);
            news.extend(changes.into_iter().map(|change| event(watch, &pinned, &judged, change, now)));
        }
        let waited = judged.judged.is_none_or(|last| last.elapsed() >= PEEK_AFTER);
        if !full && waited && open_pane.calls >= judged.peeked + PEEK_CALLS {
            let changes = judged.peek(&pinned, &watch.observe, &open_pane, &find, now);
            news.extend(changes.into_iter().map(|change| event(watch, &pinned, &judged, change, now)));
        }
        let changed = judged.changed;
        drop(judged);
        if changed || !news.is_empty() {
            self.publish(watch);
        }
        if is_new {
            self.to_be_pinned(watch, &pinned);
        }
        for event in news {
            self.tell(watch, &event);
            self.to_be_kept(event);
        }
    }

    /// Sets the gauges of a version.
    pub(super) fn publish(&self, watch: &Watch) {
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

    fn tell(&self, watch: &Watch, event: &DriftEvent) {
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
            EventKind::BaselinePinned => {
                let pinned = watch.open().pinned.clone();
                if let Some(pinned) = pinned.filter(|pinned| event.baseline_id.as_ref() == Some(&pinned.id)) {
                    self.telemetry.emit(BaselinePinned {
                        plugin: &event.plugin,
                        version: &event.version,
                        baseline_id: &pinned.id,
                        source: pinned.origin.as_str(),
                        calls: pinned.baseline.calls,
                    });
                }
            }
        }
    }
}

fn pinned_event(watch: &Watch, pinned: &Pinned) -> DriftEvent {
    let (calls, source) = (pinned.baseline.calls, pinned.origin.as_str());
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

fn event(watch: &Watch, pinned: &Pinned, judged: &Judged, change: Change, now: u64) -> DriftEvent {
    let field = &judged.fields[change.field];
    let score = |score: fn(&Comparison) -> Option<f64>| field.short.as_ref().and_then(score);
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
