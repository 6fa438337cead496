//! The cached children of one deployed version: a call touches counters that were looked up once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::{Counter, Histogram, IntCounter, IntGauge};

use crate::model::guest::LogStream;
use crate::model::kind::{Blame, ErrorKind, Outcome};
use crate::model::slo::Slo;
use crate::model::text::Text;
use crate::telemetry::exemplars::{Exemplar, Slots};
use crate::telemetry::names;

use super::slo::{EndedCall, SloSeries, remove_objectives};
use super::{CircuitState, ExitReason, InstanceState, Lifecycle, Metrics, PrepareResult, lock};

/// A call that took longer counts as slow when exemplars are chosen: the default objective's bound.
const SLOW: Duration = Duration::from_millis(500);

/// One ending of a call, with the children it touches. 0: replied, 1..: a kind of error.
const ENDINGS: usize = ErrorKind::ALL.len() + 1;

/// The cached children of one deployed version.
pub struct PluginSeries {
    name: Arc<str>,
    version: Arc<str>,
    runtime: &'static str,
    span_name: Text,
    metrics: Arc<Metrics>,
    /// The last one takes actions that the version does not have.
    actions: Vec<ActionSeries>,
    durations: [OnceLock<DurationSeries>; Outcome::ALL.len()],
    queue_wait: OnceLock<Histogram>,
    prepare_duration: OnceLock<Histogram>,
    attempts: [OnceLock<IntCounter>; Outcome::ALL.len()],
    cold_starts: OnceLock<IntCounter>,
    log_lines: [OnceLock<IntCounter>; LogStream::ALL.len()],
    active: IntGauge,
    instances: [IntGauge; InstanceState::ALL.len()],
    circuit: [IntGauge; CircuitState::ALL.len()],
    cpu: Counter,
    memory_peak: IntGauge,
    slo: ArcSwap<SloSeries>,
}

struct ActionSeries {
    name: Arc<str>,
    endings: [OnceLock<IntCounter>; ENDINGS],
}

struct DurationSeries {
    histogram: Histogram,
    slots: Arc<Slots>,
}

/// The labels of one ending.
#[derive(Clone, Copy, Debug)]
pub(in crate::telemetry) struct EndingLabels {
    pub outcome: Outcome,
    pub kind: Option<ErrorKind>,
}

impl EndingLabels {
    pub(super) fn error_type(self) -> &'static str {
        self.kind.map_or(names::NONE, ErrorKind::as_str)
    }

    pub(super) fn blame(self) -> &'static str {
        self.kind.map_or(names::NONE, |kind| kind.blame().as_str())
    }

    fn index(self) -> usize {
        self.kind.map_or(0, |kind| kind as usize + 1)
    }
}

/// The kinds of error whose counters a fresh plugin has at 0: those that it or the host can be blamed for
/// and that can occur in this build.
fn expected_kinds() -> impl Iterator<Item = ErrorKind> {
    ErrorKind::ALL.iter().copied().filter(|kind| {
        let occurs = !matches!(
            kind,
            ErrorKind::MemoryExceeded | ErrorKind::SandboxViolation | ErrorKind::SandboxUnavailable
        );
        kind.blame() != Blame::Caller && occurs
    })
}

// === impl PluginSeries ===

impl PluginSeries {
    pub(super) fn new(
        metrics: &Arc<Metrics>,
        name: &str,
        version: &str,
        runtime: &'static str,
        actions: &[&str],
    ) -> PluginSeries {
        let actions = actions.iter().copied().chain([names::OTHER]).map(|action| ActionSeries {
            name: action.into(),
            endings: [const { OnceLock::new() }; ENDINGS],
        });
        let series = PluginSeries {
            name: name.into(),
            version: version.into(),
            runtime,
            span_name: format!("{}{name}", names::span::INVOKE_PREFIX).into(),
            actions: actions.collect(),
            durations: [const { OnceLock::new() }; Outcome::ALL.len()],
            queue_wait: OnceLock::new(),
            prepare_duration: OnceLock::new(),
            attempts: [const { OnceLock::new() }; Outcome::ALL.len()],
            cold_starts: OnceLock::new(),
            log_lines: [const { OnceLock::new() }; LogStream::ALL.len()],
            active: metrics.active.get(&[name]),
            instances: std::array::from_fn(|i| {
                metrics.instances.get(&[name, InstanceState::ALL[i].as_str()])
            }),
            circuit: std::array::from_fn(|i| metrics.circuit.get(&[name, CircuitState::ALL[i].as_str()])),
            cpu: metrics.cpu.get(&[name, version]),
            memory_peak: metrics.memory_peak.get(&[name, version]),
            slo: ArcSwap::default(),
            metrics: metrics.clone(),
        };
        series.create_zeros();
        series
    }

    /// A ratio over a series that does not exist is empty, not 0. But idle plugins must not eat a family.
    fn create_zeros(&self) {
        if self.circuit.iter().all(|state| state.get() == 0) {
            self.set_circuit(CircuitState::Closed);
        }
        let actions = &self.actions[..self.actions.len() - 1];
        for action in actions {
            self.ending(action, EndingLabels { outcome: Outcome::Replied, kind: None });
            for kind in expected_kinds().filter(|_| self.metrics.invocations.has_room()) {
                self.ending(action, EndingLabels { outcome: Outcome::Failed, kind: Some(kind) });
            }
        }
        if self.metrics.attempts.has_room() {
            for outcome in Outcome::ALL {
                self.attempt_child(*outcome);
            }
        }
        if self.metrics.cold_starts.has_room() {
            self.cold_start_child();
        }
        if self.metrics.prepare.has_room() {
            for result in PrepareResult::ALL {
                self.metrics.prepare.get(&[&self.name, result.as_str()]);
            }
        }
        if self.metrics.duration.has_room() {
            self.duration_child(Outcome::Replied);
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    pub fn runtime(&self) -> &'static str {
        self.runtime
    }

    pub(in crate::telemetry) fn span_name(&self) -> Text {
        self.span_name.clone()
    }

    /// Preparing an instance or its environment ended. Recorded by whoever prepares, inside a call or not.
    pub fn prepared(&self, took: Duration, result: PrepareResult) {
        let histogram =
            self.prepare_duration.get_or_init(|| self.metrics.prepare_duration.get(&[&*self.name]));
        histogram.observe(took.as_secs_f64());
        self.metrics.prepare.get(&[&self.name, result.as_str()]).inc();
    }

    /// One more instance in this state. Give it back with [`PluginSeries::instance_left`].
    pub fn instance_entered(&self, state: InstanceState) {
        self.instances[state as usize].inc();
    }

    pub fn instance_left(&self, state: InstanceState) {
        self.instances[state as usize].dec();
    }

    /// Instances of this plugin in `state`, all versions together.
    pub fn instances(&self, state: InstanceState) -> i64 {
        self.instances[state as usize].get()
    }

    /// Invocations of this plugin that have not ended.
    pub fn active(&self) -> i64 {
        self.active.get()
    }

    pub(in crate::telemetry) fn instance_exited(&self, reason: ExitReason) {
        self.metrics.exits.get(&[&self.name, reason.as_str()]).inc();
    }

    /// What the version promises from now on. Its counters exist, at 0, from here on.
    pub fn set_slo(&self, slo: &Slo) {
        self.slo.store(Arc::new(SloSeries::new(&self.metrics, &self.name, &self.version, slo)));
    }

    pub(in crate::telemetry) fn count_for_slo(&self, call: EndedCall) {
        self.slo.load().ended(call);
    }

    /// A version that gets the plugin's calls from now on begins with a closed circuit, whatever the one
    /// before it left behind.
    pub fn reset_circuit(&self) {
        self.set_circuit(CircuitState::Closed);
    }

    pub(in crate::telemetry) fn set_circuit(&self, state: CircuitState) {
        for (gauge, each) in self.circuit.iter().zip(CircuitState::ALL) {
            gauge.set(i64::from(*each == state));
        }
    }

    pub(in crate::telemetry) fn lifecycle(&self, to: Lifecycle) {
        self.metrics.lifecycle(&self.name, to);
    }

    pub(in crate::telemetry) fn queue_wait(&self, waited: Duration) {
        let histogram = self.queue_wait.get_or_init(|| self.metrics.queue_wait.get(&[&*self.name]));
        histogram.observe(waited.as_secs_f64());
    }

    pub(in crate::telemetry) fn attempt_ended(&self, outcome: Outcome) {
        self.attempt_child(outcome).inc();
    }

    pub(in crate::telemetry) fn cold_start(&self) {
        self.cold_start_child().inc();
    }

    pub(in crate::telemetry) fn entered(&self) {
        self.active.inc();
    }

    pub(in crate::telemetry) fn left(&self) {
        self.active.dec();
    }

    pub(in crate::telemetry) fn log_line(&self, stream: LogStream) {
        self.log_lines[stream as usize]
            .get_or_init(|| self.metrics.log_lines.get(&[&self.name, &self.version, stream.as_str()]))
            .inc();
    }

    pub(in crate::telemetry) fn guest_dropped(&self, what: &'static str, count: u64) {
        self.metrics.guest_dropped.get(&[&self.name, what]).inc_by(count);
    }

    pub(in crate::telemetry) fn used(&self, cpu: Duration, memory_peak_bytes: u64) {
        if !cpu.is_zero() {
            self.cpu.inc_by(cpu.as_secs_f64());
        }
        let peak = i64::try_from(memory_peak_bytes).unwrap_or(i64::MAX);
        if peak > self.memory_peak.get() {
            self.memory_peak.set(peak);
        }
    }

    pub(in crate::telemetry) fn ended(&self, action: &str, ending: EndingLabels) {
        let found = self.actions.iter().find(|series| *series.name == *action).or(self.actions.last());
        if let Some(action) = found {
            self.ending(action, ending).inc();
        }
    }

    /// Observes a duration; whether `exemplar` was taken for it.
    pub(in crate::telemetry) fn took(
        &self,
        outcome: Outcome,
        took: Duration,
        exemplar: Option<Exemplar>,
    ) -> bool {
        let child = self.duration_child(outcome);
        let seconds = took.as_secs_f64();
        child.histogram.observe(seconds);
        let Some(exemplar) = exemplar else { return false };
        let bucket = names::DURATION_BUCKETS.partition_point(|bound| *bound < seconds);
        child.slots.offer(bucket, outcome == Outcome::Failed || took >= SLOW, exemplar)
    }

    /// The version is gone: its gauges vanish, and the plugin's too with its last version.
    pub(in crate::telemetry) fn retire(&self) {
        let mut live = lock(&self.metrics.live);
        live.remove(&(self.name.to_string(), self.version.to_string()));
        self.metrics.memory_peak.remove(&[&self.name, &self.version]);
        remove_objectives(&self.metrics, &self.name, &self.version);
        if live.keys().any(|(name, _)| *name == *self.name) {
            return;
        }
        self.metrics.active.remove(&[&*self.name]);
        self.metrics.queued.remove(&[&*self.name]);
        for state in InstanceState::ALL {
            self.metrics.instances.remove(&[&self.name, state.as_str()]);
        }
        for state in CircuitState::ALL {
            self.metrics.circuit.remove(&[&self.name, state.as_str()]);
        }
    }

    fn ending<'a>(&self, action: &'a ActionSeries, ending: EndingLabels) -> &'a IntCounter {
        action.endings[ending.index()].get_or_init(|| {
            self.metrics.invocations.get(&[
                &self.name,
                &self.version,
                &action.name,
                ending.outcome.as_str(),
                ending.error_type(),
                ending.blame(),
            ])
        })
    }

    fn attempt_child(&self, outcome: Outcome) -> &IntCounter {
        self.attempts[outcome as usize]
            .get_or_init(|| self.metrics.attempts.get(&[&self.name, outcome.as_str()]))
    }

    fn cold_start_child(&self) -> &IntCounter {
        self.cold_starts.get_or_init(|| self.metrics.cold_starts.get(&[&*self.name]))
    }

    fn duration_child(&self, outcome: Outcome) -> &DurationSeries {
        self.durations[outcome as usize].get_or_init(|| {
            let labels = [&*self.name, &*self.version, outcome.as_str()];
            let (histogram, rendered) = self.metrics.duration.get_rendered(&labels);
            let slots = Arc::new(Slots::new(names::DURATION_BUCKETS.len()));
            let slots = lock(&self.metrics.exemplars).entry(rendered).or_insert(slots).clone();
            DurationSeries { histogram, slots }
        })
    }
}
