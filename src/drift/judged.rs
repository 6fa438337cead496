//! What has been found out about a version: its windows, the state of each field, and what became of it step by step.
//! The numbers come from `judge.rs`; this keeps them, and says what is news.

use std::collections::VecDeque;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::bins::Bins;
use super::calibrate::Dispersion;
use super::judge::{Compared, Comparison, Persistence, State, Thresholds, Verdict, compare};
use super::panes::{Pane, Panes, Sum};
use super::picture::{DriftExample, EventKind, rfc3339};
use super::sighting::Seen;
use super::watch::Pinned;
use crate::package::observe::Observe;

/// Judgements of a field that are remembered.
pub const HISTORY_MAX: usize = 120;
/// And how far they lie apart, unless something changes.
const HISTORY_EVERY_MS: u64 = 5_000;
/// Calls that an alert leads to.
pub const EXAMPLES_MAX: usize = 5;
/// A bin that has grown by less than this share of the window shows nobody anything.
const GROWTH_MIN: f64 = 0.01;
/// Nor one that has grown by less than so many standard deviations.
const GROWTH_DEVIATIONS: f64 = 2.0;

/// All of a version, but for what its calls write to.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) epoch: u64,
    pub(super) baseline_id: Option<String>,
    pub(super) panes: Panes,
    pub(super) fields: Vec<FieldJudged>,
    /// The worst of the fields, and since when.
    pub(super) state: State,
    pub(super) since_unix_ms: Option<u64>,
    pub(super) judged_unix_ms: Option<u64>,
    /// Calls in the windows that were judged last.
    pub(super) window_calls: u64,
    pub(super) long_calls: u64,
    /// The window that was judged last.
    pub(super) window: Sum,
    /// And the long one.
    pub(super) long: Sum,
    /// Calls of the open pane that have been judged before it is full.
    pub(super) peeked: u32,
    /// When it was judged last, whatever the clock says.
    pub(super) judged: Option<Instant>,
    /// Something was judged since it was saved.
    pub(super) changed: bool,
    /// The newest pane of these that is on the disk.
    pub(super) saved_through: Option<u64>,
    /// Calls of the capture that is on the disk.
    pub(super) saved_captured: u64,
    /// When it was saved last.
    pub(super) saved: Option<Instant>,
}

/// One field. What of it is kept over a restart is [`FieldState`].
#[derive(Default)]
pub(super) struct FieldJudged {
    pub(super) kept: FieldState,
    pub(super) short: Option<Comparison>,
    pub(super) long: Option<Comparison>,
    /// Its state is that of the long window.
    pub(super) by_long: bool,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct FieldState {
    pub(super) state: State,
    pub(super) since_unix_ms: Option<u64>,
    pub(super) short: Persistence,
    pub(super) long: Persistence,
    /// A look between two steps has warned.
    #[serde(default)]
    pub(super) peeked: bool,
    /// The long window begins here: what was before the last recovery is over.
    pub(super) long_from: u64,
    pub(super) reason: Option<String>,
    pub(super) examples: Vec<DriftExample>,
    pub(super) history: VecDeque<Point>,
}

/// What one judgement found.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) at_unix_ms: u64,
    pub(super) state: State,
    pub(super) psi: Option<f64>,
    pub(super) effect: Option<f64>,
    pub(super) pvalue: Option<f64>,
}

/// Finds calls whose value of a field lies in some cells: asked only of what is suspected.
pub(super) type Find<'a> = &'a dyn Fn(usize, &[usize]) -> Vec<(Seen, u8)>;

/// A field whose state has changed.
pub(super) struct Change {
    pub(super) field: usize,
    pub(super) kind: EventKind,
    pub(super) summary: String,
}

impl FieldState {
    /// A point at each change, else one in so long: a busy plugin is judged several times a second.
    fn remember(&mut self, point: Point) {
        let is_news = self.history.back().is_none_or(|last| {
            last.state != point.state || point.at_unix_ms.abs_diff(last.at_unix_ms) >= HISTORY_EVERY_MS
        });
        if is_news {
            if self.history.len() >= HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back(point);
        }
    }
}

impl Change {
    /// A field was in alert, and is compared with something else now.
    pub(super) fn rebased(field: usize) -> Change {
        Change {
            field,
            kind: EventKind::Resolved,
            summary: "compared with another baseline from now on".into(),
        }
    }
}

impl Judged {
    /// Everything begins anew.
    pub(super) fn begin(&mut self, epoch: u64, pinned: &Pinned, observe: &Observe) {
        *self = Judged {
            epoch,
            baseline_id: Some(pinned.id.clone()),
            panes: Panes::new((observe.long_window / observe.step) as usize),
            fields: (0..pinned.layout.fields()).map(|_| FieldJudged::default()).collect(),
            changed: true,
            ..Judged::default()
        };
    }

    /// Takes in a pane that is full, and judges the windows that end with it.
    pub(super) fn step(
        &mut self,
        pinned: &Pinned,
        observe: &Observe,
        pane: Pane,
        find: Find<'_>,
        now_unix_ms: u64,
    ) -> Vec<Change> {
        let number = pane.number;
        self.panes.push(pane);
        self.peeked = 0;
        let panes_long = u64::from(long_step(observe) / observe.step);
        if (number + 1).is_multiple_of(panes_long.max(1)) {
            self.judge_long(pinned, observe, true);
        }
        self.judge_window(pinned, observe, None, find, now_unix_ms)
    }

    /// Looks at the window that ends with the last call, although its last pane is not full. Most of it has been judged
    /// before: that is reason for a warning, but no second opinion.
    pub(super) fn peek(
        &mut self,
        pinned: &Pinned,
        observe: &Observe,
        open: &Pane,
        find: Find<'_>,
        now_unix_ms: u64,
    ) -> Vec<Change> {
        self.peeked = open.calls;
        self.judge_window(pinned, observe, Some(open), find, now_unix_ms)
    }

    /// After a restart: the numbers of the windows as they stand. Nothing changes its state by that.
    pub(super) fn look(&mut self, pinned: &Pinned, observe: &Observe) {
        self.window = self.sum_window(pinned, observe, None);
        self.window_calls = self.window.calls;
        let found = self.compare_window(pinned, observe, None);
        for (field, comparison) in self.fields.iter_mut().zip(found) {
            field.short = Some(comparison);
            field.by_long = field.kept.state > field.kept.short.state();
        }
        self.judge_long(pinned, observe, false);
    }

    fn judge_window(
        &mut self,
        pinned: &Pinned,
        observe: &Observe,
        open: Option<&Pane>,
        find: Find<'_>,
        now_unix_ms: u64,
    ) -> Vec<Change> {
        self.window = self.sum_window(pinned, observe, open);
        self.window_calls = self.window.calls;
        self.judged_unix_ms = Some(now_unix_ms);
        self.judged = Some(Instant::now());
        self.changed = true;
        let found = self.compare_window(pinned, observe, open);
        let newest = self.panes.newest().unwrap_or(0);
        let mut changes = Vec::new();
        for (at, (field, comparison)) in self.fields.iter_mut().zip(found).enumerate() {
            if !self.panes.is_fresh(at, 1, open, &pinned.layout) {
                // The same values again are no second opinion.
                field.short = Some(comparison);
                continue;
            }
            let before = field.kept.state;
            let was_short = field.kept.short.state();
            let short = match (open, comparison.verdict) {
                (None, verdict) => field.kept.short.step(verdict),
                (Some(_), Verdict::Exceeds) => was_short.max(State::Warn),
                // What a look has found stands until there is a whole step.
                (Some(_), Verdict::Quiet) if field.kept.peeked => was_short.max(State::Warn),
                (Some(_), Verdict::Quiet) => was_short.max(State::Ok),
                (Some(_), Verdict::Insufficient) => was_short,
            };
            if was_short == State::Alert && short != State::Alert {
                // A mixture of what was and what is would alarm for as long as the long window remembers.
                field.kept.long_from = newest + 1;
                field.kept.long = Persistence::default();
                field.long = None;
            }
            field.kept.peeked = open.is_some() && short > was_short && short == State::Warn
                || field.kept.peeked && open.is_some();
            let state = short.max(field.kept.long.state());
            // While nothing is known of the last calls nothing is known.
            let state = if short == State::Insufficient { short } else { state };
            let by_long = state > short;
            let decided = if by_long { field.long.as_ref() } else { Some(&comparison) };
            field.kept.state = state;
            if state != before {
                field.kept.since_unix_ms = Some(now_unix_ms);
            }
            field.by_long = by_long;
            let sum = if by_long { &self.long } else { &self.window };
            let counts = pinned.layout.of(at, &sum.counts);
            let baseline = &pinned.baseline.fields[at];
            if state >= State::Warn {
                let grown = grown(&baseline.counts, counts);
                let examples = examples(find(at, &grown), &baseline.bins);
                if !examples.is_empty() {
                    field.kept.examples = examples;
                }
                field.kept.reason = decided.map(|found| reason(found, observe));
            } else if state == State::Ok {
                field.kept.reason = None;
                field.kept.examples.clear();
            }
            let (psi, effect, pvalue) = (comparison.psi, comparison.effect, comparison.pvalue);
            field.kept.remember(Point { at_unix_ms: now_unix_ms, state, psi, effect, pvalue });
            if let Some(kind) = news(before, state) {
                let summary = match kind {
                    EventKind::Resolved if state == State::Insufficient => {
                        "too few values to say more".to_owned()
                    }
                    EventKind::Resolved => "like its baseline again".to_owned(),
                    _ => decided.map(|found| reason(found, observe)).unwrap_or_default(),
                };
                changes.push(Change { field: at, kind, summary });
            }
            field.short = Some(comparison);
        }
        let worst = self.fields.iter().map(|field| field.kept.state).max().unwrap_or_default();
        if worst != self.state {
            (self.state, self.since_unix_ms) = (worst, Some(now_unix_ms));
        }
        changes
    }

    fn judge_long(&mut self, pinned: &Pinned, observe: &Observe, step: bool) {
        let fields = &self.fields;
        let sum = self.panes.since(|field| fields[field].kept.long_from, &pinned.layout);
        self.long_calls = sum.calls;
        let all = (observe.long_window / observe.step) as usize;
        let found = compare_all(pinned, &sum, observe, |field, cell| {
            self.panes.unevenness(all, None, &pinned.layout, field, cell)
        });
        self.long = sum;
        let last = (long_step(observe) / observe.step) as usize;
        for (at, (field, mut comparison)) in self.fields.iter_mut().zip(found).enumerate() {
            // What fits the short window is its affair.
            if comparison.samples <= observe.window {
                comparison.verdict = Verdict::Insufficient;
            }
            if step && self.panes.is_fresh(at, last, None, &pinned.layout) {
                field.kept.long.step(comparison.verdict);
            }
            field.long = Some(comparison);
        }
    }

    fn compare_window(&self, pinned: &Pinned, observe: &Observe, open: Option<&Pane>) -> Vec<Comparison> {
        let panes = (observe.window / observe.step) as usize;
        compare_all(pinned, &self.window, observe, |field, cell| {
            self.panes.unevenness(panes, open, &pinned.layout, field, cell)
        })
    }

    fn sum_window(&self, pinned: &Pinned, observe: &Observe, open: Option<&Pane>) -> Sum {
        let panes = (observe.window / observe.step) as usize;
        self.panes.last(panes, observe.window.into(), open, &pinned.layout)
    }
}

/// The long window is judged eight times while it is filled anew.
pub(super) const fn long_step(observe: &Observe) -> u32 {
    let eighth = observe.long_window / 8 / observe.step * observe.step;
    if eighth < observe.step { observe.step } else { eighth }
}

pub(super) fn thresholds(observe: &Observe) -> Thresholds {
    Thresholds {
        alpha: observe.alpha,
        min_effect: observe.min_effect,
        min_samples: observe.min_samples,
        looks: observe.window / observe.step + observe.long_window / long_step(observe),
    }
}

/// `uneven`: how much more unevenly a cell of a field is filled within the window than by independent calls. What is rare
/// comes in bursts: a baseline that happens to have none of them does not know.
fn compare_all(
    pinned: &Pinned,
    sum: &Sum,
    observe: &Observe,
    uneven: impl Fn(usize, usize) -> f64,
) -> Vec<Comparison> {
    let compared = pinned.baseline.fields.iter().enumerate().map(|(at, field)| {
        let (known, bins) = (field.dispersion, &field.bins);
        let missing = uneven(at, bins.null()).max(uneven(at, bins.invalid()));
        Compared {
            baseline: &field.counts,
            current: pinned.layout.of(at, &sum.counts),
            ordered: bins.cells.are_ordered(),
            dispersion: Dispersion {
                other: known.other.max(uneven(at, bins.other())),
                missing: known.missing.max(missing),
                ..known
            },
        }
    });
    compare(&compared.collect::<Vec<_>>(), &thresholds(observe))
}

/// What a change of state is told as, if it is told.
fn news(before: State, now: State) -> Option<EventKind> {
    match (before, now) {
        (State::Alert, State::Alert) => None,
        (_, State::Alert) => Some(EventKind::Detected),
        (State::Alert, _) => Some(EventKind::Resolved),
        (State::Insufficient | State::Ok, State::Warn) => Some(EventKind::Warned),
        _ => None,
    }
}

/// Why a field is suspected, in numbers.
pub(super) fn reason(found: &Comparison, observe: &Observe) -> String {
    let (effect, pvalue) = (found.effect.unwrap_or(0.0), found.pvalue.unwrap_or(1.0));
    let holds = if effect >= observe.min_effect && pvalue < observe.alpha { "" } else { ", fading" };
    let what = difference(found, observe.min_effect, observe.alpha);
    format!("{what}, last {} values{holds}", found.samples)
}

/// What differs, and by how much.
pub fn difference(found: &Comparison, min_effect: f64, alpha: f64) -> String {
    let strongest = found.tests.iter().min_by(|one, other| one.adjusted.total_cmp(&other.adjusted));
    let what = match strongest.map(|test| test.name) {
        Some("null") => "more or fewer nulls",
        Some("other") => "values that the baseline does not have",
        Some("invalid") => "values of another type",
        _ => "another distribution",
    };
    let effect = found.effect.unwrap_or(0.0);
    let pvalue = found.pvalue.unwrap_or(1.0);
    let pvalue = pvalue_text(pvalue);
    format!("{what}: PSI {effect:.2} (bound {min_effect}), p {pvalue} (bound {alpha})")
}

pub fn pvalue_text(pvalue: f64) -> String {
    match pvalue {
        0.0 => "below 1e-300".to_owned(),
        small if small < 1e-3 => format!("{small:.0e}"),
        other => format!("{other:.3}"),
    }
}

/// The cells that hold noticeably more of the current values than of the baseline's, by how much, most first.
pub fn grown(baseline: &[u32], current: &[u32]) -> Vec<usize> {
    let total = |counts: &[u32]| counts.iter().map(|count| f64::from(*count)).sum::<f64>();
    let (of_baseline, of_current) = (total(baseline), total(current));
    if of_baseline == 0.0 || of_current == 0.0 {
        return Vec::new();
    }
    let growth = |cell: usize| {
        let (before, now) = (f64::from(baseline[cell]) / of_baseline, f64::from(current[cell]) / of_current);
        let pooled = f64::from(baseline[cell] + current[cell]) / (of_baseline + of_current);
        let deviation = (pooled * (1.0 - pooled) * (1.0 / of_baseline + 1.0 / of_current)).sqrt();
        let growth = now - before;
        (growth >= GROWTH_MIN && growth >= GROWTH_DEVIATIONS * deviation).then_some((growth, cell))
    };
    let mut grown: Vec<(f64, usize)> = (0..baseline.len()).filter_map(growth).collect();
    grown.sort_by(|one, other| other.0.total_cmp(&one.0));
    grown.into_iter().map(|(_, cell)| cell).collect()
}

fn examples(found: Vec<(Seen, u8)>, bins: &Bins) -> Vec<DriftExample> {
    let shown = found.into_iter().map(|(seen, cell)| DriftExample {
        invocation_id: seen.invocation_id.to_string(),
        trace_id: seen.trace_id.to_string(),
        at: rfc3339(seen.at_unix_ms),
        bin: bins.label(usize::from(cell)),
    });
    shown.collect()
}
