//! A watched version, put into words and numbers for whoever looks.

use serde_json::Value;

use super::baseline::FieldBaseline;
use super::bins::{CATEGORY_BYTES_MAX, CELLS_MAX, Mark};
use super::capture::Capture;
use super::judge::{Comparison, State};
use super::judged::{FieldJudged, HISTORY_MAX, Judged, Point, grown, long_step, thresholds};
use super::panes::Pane;
use super::picture::{
    BaselineHead, BinShare, FieldDrift, HistoryPoint, LongDrift, Overview, Phase, Progress, VersionDrift,
    WindowFill, rfc3339,
};
use super::recent::CALLS_MAX;
use super::sighting::{RAW_BYTES_MAX, Seen};
use super::watch::{CLOSED_MAX, Open, Pinned, Watch};
use crate::model::field::FieldKind;

impl Watch {
    /// All of it.
    pub(super) fn picture(&self) -> VersionDrift {
        let judged = self.judged();
        let (phase, capture, pinned, calls) = {
            let open = self.open();
            (self.phase(&open), self.progress(&open), open.pinned.clone(), open.calls)
        };
        let fields = self.field_names().enumerate().map(|(at, name)| {
            match (pinned.as_deref(), judged.fields.get(at)) {
                (Some(pinned), Some(field)) => described(name, at, pinned, field, &judged),
                _ => unknown(name, "unknown"),
            }
        });
        let observe = &self.observe;
        VersionDrift {
            plugin: self.plugin.to_string(),
            version: self.version.to_string(),
            state: judged.state,
            since: judged.since_unix_ms.map(rfc3339),
            phase,
            capture,
            baseline: pinned.as_deref().map(Pinned::head),
            window: WindowFill {
                calls: judged.window_calls,
                wanted: observe.window.into(),
                step: observe.step.into(),
            },
            long_window: WindowFill {
                calls: judged.long_calls,
                wanted: observe.long_window.into(),
                step: long_step(observe).into(),
            },
            settings: thresholds(observe),
            calls,
            judged_at: judged.judged_unix_ms.map(rfc3339),
            memory_bytes: self.memory_bytes_max(pinned.as_deref()),
            fields: fields.collect(),
        }
    }

    pub(super) fn overview(&self) -> Overview {
        let judged = self.judged();
        let open = self.open();
        let names: Vec<String> = self.field_names().collect();
        let drifting = judged.fields.iter().zip(&names).filter(|(field, _)| field.kept.state == State::Alert);
        Overview {
            plugin: self.plugin.to_string(),
            version: self.version.to_string(),
            takes_calls: false,
            state: judged.state,
            since: judged.since_unix_ms.map(rfc3339),
            phase: self.phase(&open),
            capture: self.progress(&open),
            baseline_id: open.pinned.as_ref().map(|pinned| pinned.id.clone()),
            baseline_created_at: open.pinned.as_ref().map(|pinned| rfc3339(pinned.created_unix_ms)),
            window_calls: judged.window_calls,
            fields: names.len(),
            drifting: drifting.map(|(_, name)| name.clone()).collect(),
        }
    }

    fn progress(&self, open: &Open) -> Option<Progress> {
        let wanted = self.observe.baseline_calls.into();
        (self.phase(open) == Phase::Capturing).then_some(Progress { calls: open.captured, wanted })
    }

    /// What this version may come to take: panes, the calls that are remembered, history, baseline, samples, and the
    /// capture, as long as there is one.
    fn memory_bytes_max(&self, pinned: Option<&Pinned>) -> u64 {
        let fields = self.paths.len();
        let cells = pinned.map_or(fields * CELLS_MAX, |pinned| pinned.layout.cells());
        // Those of the long window, those that wait, the open one, and the sums of both windows.
        let panes = (self.observe.long_window / self.observe.step) as usize + CLOSED_MAX + 3;
        let panes = panes * (cells * size_of::<u32>() + size_of::<Pane>());
        let categories = pinned.map_or(fields, |pinned| pinned.categories());
        let unseen = size_of::<(u64, usize, Box<str>)>() + CATEGORY_BYTES_MAX;
        let recent = CALLS_MAX * (size_of::<Seen>() + fields * size_of::<Mark>() + categories * unseen);
        let history = fields * HISTORY_MAX * size_of::<Point>();
        let names = cells * (size_of::<u32>() + size_of::<String>() + CATEGORY_BYTES_MAX);
        let samples = self.observe.samples as usize * fields * (size_of::<Value>() + RAW_BYTES_MAX);
        let calls = self.observe.baseline_calls as usize;
        let capture = if pinned.is_some() { 0 } else { fields * Capture::field_bytes_max(calls) };
        (panes + recent + history + names + samples + capture) as u64
    }
}

impl Pinned {
    /// Fields that are categories.
    fn categories(&self) -> usize {
        self.baseline.fields.iter().filter(|field| field.bins.kind == FieldKind::Category).count()
    }

    pub(super) fn head(&self) -> BaselineHead {
        BaselineHead {
            id: self.id.clone(),
            source: self.origin,
            created_at: rfc3339(self.created_unix_ms),
            calls: self.baseline.calls,
            fields: self.baseline.fields.len(),
        }
    }
}

/// Of a field nothing has been counted yet.
fn unknown(field: String, kind: &'static str) -> FieldDrift {
    let state = State::Insufficient;
    FieldDrift {
        field,
        kind,
        state,
        since: None,
        samples: 0,
        baseline_samples: 0,
        psi: None,
        effect: None,
        js: None,
        pvalue: None,
        null_ratio: None,
        baseline_null_ratio: None,
        new_category_ratio: None,
        dispersion: 1.0,
        reason: None,
        long: LongDrift { state, samples: 0, psi: None, js: None, pvalue: None },
        bins: Vec::new(),
        examples: Vec::new(),
        history: Vec::new(),
    }
}

fn described(name: String, at: usize, pinned: &Pinned, field: &FieldJudged, judged: &Judged) -> FieldDrift {
    let baseline = &pinned.baseline.fields[at];
    let nothing = unknown(name, baseline.bins.kind.as_str());
    let empty = vec![0; baseline.counts.len()];
    let sum = if field.by_long { &judged.long } else { &judged.window };
    let current = if sum.counts.is_empty() { &empty } else { pinned.layout.of(at, &sum.counts) };
    let short = field.short.as_ref();
    let score = |score: fn(&Comparison) -> Option<f64>| short.and_then(score);
    let baseline_samples: u64 = baseline.counts.iter().map(|count| u64::from(*count)).sum();
    let nulls = f64::from(baseline.counts[baseline.bins.null()]);
    FieldDrift {
        state: field.kept.state,
        since: field.kept.since_unix_ms.map(rfc3339),
        samples: short.map_or(0, |found| found.samples.into()),
        baseline_samples,
        psi: score(|found| found.psi),
        effect: score(|found| found.effect),
        js: score(|found| found.js),
        pvalue: score(|found| found.pvalue),
        null_ratio: score(|found| found.null_ratio),
        baseline_null_ratio: (baseline_samples > 0).then(|| nulls / baseline_samples as f64),
        new_category_ratio: score(|found| found.new_category_ratio),
        dispersion: baseline.dispersion.values,
        reason: reason(field, baseline_samples, judged),
        long: LongDrift {
            state: field.kept.long.state(),
            samples: field.long.as_ref().map_or(0, |found| found.samples.into()),
            psi: field.long.as_ref().and_then(|found| found.psi),
            js: field.long.as_ref().and_then(|found| found.js),
            pvalue: field.long.as_ref().and_then(|found| found.pvalue),
        },
        bins: shares(baseline, current),
        examples: field.kept.examples.clone(),
        history: field.kept.history.iter().map(|point| point.shown()).collect(),
        ..nothing
    }
}

/// Why it is suspected, or why nothing can be said.
fn reason(field: &FieldJudged, baseline_samples: u64, judged: &Judged) -> Option<String> {
    if field.kept.state != State::Insufficient {
        return field.kept.reason.clone();
    }
    Some(if baseline_samples == 0 {
        "the baseline has no value of it: pin one that does".to_owned()
    } else if field.short.as_ref().is_some_and(|found| found.unsteady) {
        "its baseline changes too much within itself to say what is unusual: pin a longer or steadier one"
            .to_owned()
    } else {
        format!(
            "too few values: {} of the last {} calls",
            field.short.as_ref().map_or(0, |found| found.samples),
            judged.window_calls
        )
    })
}

fn shares(baseline: &FieldBaseline, current: &[u32]) -> Vec<BinShare> {
    let grown = grown(&baseline.counts, current);
    let total = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum::<u64>().max(1) as f64;
    let (of_baseline, of_current) = (total(&baseline.counts), total(current));
    let share = |cell: usize| BinShare {
        label: baseline.bins.label(cell),
        kind: baseline.bins.kind_of(cell),
        baseline: f64::from(baseline.counts[cell]) / of_baseline,
        current: f64::from(current[cell]) / of_current,
        baseline_count: baseline.counts[cell].into(),
        current_count: current[cell].into(),
        grew: grown.contains(&cell),
    };
    (0..baseline.counts.len()).map(share).collect()
}

impl Point {
    fn shown(&self) -> HistoryPoint {
        HistoryPoint {
            at: rfc3339(self.at_unix_ms),
            state: self.state,
            psi: self.psi,
            effect: self.effect,
            pvalue: self.pvalue,
        }
    }
}
