//! A watched version over a restart: what is written down of it, and how it comes back. Counts are absolute, by pane:
//! what was written twice is the same, and what a kill has cost is missing, never double.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::capture::{Capture, CaptureDocument};
use super::judge::State;
use super::judged::{FieldJudged, FieldState, Judged};
use super::panes::Pane;
use super::unix_ms;
use super::watch::{Open, Pinned, Watch};
use crate::store::drift::{LoadedWatch, SavedPane, SavedWatch};

/// A capture is written each time that it has grown by such a part.
const CAPTURE_PARTS: u32 = 10;

/// What is kept of a version beside its panes.
#[derive(Serialize, Deserialize)]
struct Document {
    fields: Vec<String>,
    epoch: u64,
    calls: u64,
    captured: u64,
    capture: Option<CaptureDocument>,
    /// `None`: there is none yet.
    baseline_id: Option<String>,
    /// The newest pane that has been judged; those after it wait, and the last of them is open.
    judged_through: Option<u64>,
    state: State,
    since_unix_ms: Option<u64>,
    judged_unix_ms: Option<u64>,
    judged: Vec<FieldState>,
}

impl Watch {
    /// What has changed since it was saved last; `None`: nothing has. If it cannot be written, `unsaved` must be told.
    /// `last`: there will be no other time, so also what a kill may cost.
    pub(super) fn to_save(&self, last: bool) -> Option<SavedWatch> {
        let mut judged = self.judged();
        let mut open = self.open();
        let capturing = open.capture.is_some() || open.full.is_some();
        // All of a capture is written each time: not as often as all else, which grows by a pane.
        let grown = open.captured - judged.saved_captured;
        let early = capturing && !last && grown < u64::from(self.observe.baseline_calls / CAPTURE_PARTS);
        if early || !(open.changed || judged.changed) {
            return None;
        }
        (open.changed, judged.changed) = (false, false);
        judged.saved_captured = open.captured;
        // A new baseline that nobody has judged by: the panes of the old one are over.
        let same = judged.epoch == open.epoch;
        let document = Document {
            fields: self.field_names().collect(),
            epoch: open.epoch,
            calls: open.calls,
            captured: open.captured,
            capture: open
                .capture
                .as_ref()
                .or(open.full.as_ref().map(|(capture, _)| capture))
                .map(Capture::document),
            baseline_id: open.pinned.as_ref().map(|pinned| pinned.id.clone()),
            judged_through: judged.panes.newest().filter(|_| same),
            state: if same { judged.state } else { State::Insufficient },
            since_unix_ms: judged.since_unix_ms.filter(|_| same),
            judged_unix_ms: judged.judged_unix_ms.filter(|_| same),
            judged: judged.fields.iter().filter(|_| same).map(|field| field.kept.clone()).collect(),
        };
        let old = judged.panes.iter().filter(|_| same);
        // Closed ones that are on the disk do not change any more.
        let old = old.filter(|pane| judged.saved_through.is_none_or(|saved| pane.number > saved));
        let panes = old.chain(&open.closed).chain([&open.pane]).filter(|_| open.pinned.is_some());
        let panes = panes.map(saved_pane).collect();
        let epoch = open.epoch;
        let keep_from = judged.panes.oldest().filter(|_| same).unwrap_or(0);
        judged.saved_through = judged.panes.newest().filter(|_| same);
        // Calls need not wait for the rest.
        drop((open, judged));
        Some(SavedWatch {
            plugin: self.plugin.to_string(),
            version: self.version.to_string(),
            state: serde_json::to_string(&document).expect("numbers, texts and lists are JSON"),
            epoch,
            panes,
            keep_from,
        })
    }

    /// What was to be saved was not.
    pub(super) fn unsaved(&self) {
        let mut judged = self.judged();
        judged.changed = true;
        judged.saved_through = None;
    }

    /// Goes on where it was. What does not fit together is left: then it begins anew, with its baseline if there is one.
    pub(super) fn restore(&self, pinned: Option<Pinned>, loaded: Option<LoadedWatch>) {
        let document =
            loaded.as_ref().and_then(|loaded| serde_json::from_str::<Document>(&loaded.state).ok());
        let names: Vec<String> = self.field_names().collect();
        let document = document.filter(|document| document.fields == names);
        let mut judged = self.judged();
        let mut open = self.open();
        match pinned {
            Some(pinned) => {
                let same = document.filter(|document| document.baseline_id.as_ref() == Some(&pinned.id));
                let panes = loaded.map(|loaded| loaded.panes).unwrap_or_default();
                let pinned = std::sync::Arc::new(pinned);
                let epoch = same.as_ref().map_or(1, |document| document.epoch);
                self.pin(&mut open, pinned.clone(), epoch);
                judged.begin(open.epoch, names.len(), &self.observe);
                if let Some(document) = same {
                    self.go_on(&mut judged, &mut open, &pinned, document, panes);
                }
                judged.look(&pinned, &self.observe);
                // Not at once, in the middle of a step: it is judged as if nothing had been.
                judged.judged = Some(Instant::now());
            }
            None => {
                let Some(document) = document else { return };
                let kept_max = self.observe.baseline_calls as usize;
                let capture =
                    document.capture.and_then(|kept| Capture::restore(self.hints(), kept_max, kept));
                if let (Some(capture), true) = (capture, open.capture.is_some()) {
                    (open.capture, open.captured) = (Some(capture), document.captured);
                    self.end_if_full(&mut open, unix_ms());
                }
            }
        }
        (open.changed, judged.changed) = (false, false);
    }

    fn go_on(
        &self,
        judged: &mut Judged,
        open: &mut Open,
        pinned: &Pinned,
        document: Document,
        panes: Vec<SavedPane>,
    ) {
        let cells = pinned.layout.cells();
        let mut panes: Vec<Pane> = panes.into_iter().filter_map(|saved| loaded_pane(saved, cells)).collect();
        panes.sort_by_key(|pane| pane.number);
        let is_judged = |pane: &Pane| document.judged_through.is_some_and(|through| pane.number <= through);
        let waiting = panes.split_off(panes.partition_point(is_judged));
        panes.into_iter().for_each(|pane| judged.panes.push(pane));
        judged.saved_through = judged.panes.newest();
        let next = document.judged_through.map_or(0, |through| through + 1);
        open.pane = Pane::new(next, cells);
        for pane in waiting {
            // The last one is not full.
            let before = std::mem::replace(&mut open.pane, pane);
            if before.calls > 0 {
                open.closed.push_back(before);
            }
        }
        open.calls = document.calls;
        if document.judged.len() == judged.fields.len() {
            let kept = document.judged.into_iter();
            judged.fields = kept.map(|kept| FieldJudged { kept, ..FieldJudged::default() }).collect();
            (judged.state, judged.since_unix_ms) = (document.state, document.since_unix_ms);
            judged.judged_unix_ms = document.judged_unix_ms;
        }
    }
}

fn saved_pane(pane: &Pane) -> SavedPane {
    let counts = std::iter::once(pane.calls).chain(pane.counts.iter().copied());
    SavedPane { pane: pane.number, counts: counts.collect() }
}

/// `None`: it is of other cells.
fn loaded_pane(saved: SavedPane, cells: usize) -> Option<Pane> {
    let (calls, counts) = saved.counts.split_first()?;
    (counts.len() == cells).then(|| Pane { number: saved.pane, calls: *calls, counts: counts.to_vec() })
}
