//! The registry behind `/metrics`, and the resolved children of each deployed version: a call touches
//! counters that were looked up once, never a map of labels.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::model::guest::LogStream;
use crate::model::kind::{Blame, ErrorKind, Outcome};
use crate::model::text::{Text, truncate};

use super::accounting::DropReason;
use super::exemplars::{Exemplar, Slots};
use super::names::{self, Family};

/// Label sets per family; what comes later is folded into one series.
pub const LABEL_SETS_MAX: usize = 2_000;
/// Longest label value. Names are shorter; a version may be as long as its manifest lets it.
const LABEL_BYTES_MAX: usize = 128;
/// A call that took longer counts as slow when exemplars are chosen: the default objective's bound.
const SLOW: Duration = Duration::from_millis(500);

/// What an instance does. Values of the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    Starting,
    Idle,
    Busy,
}

/// Why an instance ended. Values of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Its deployment went away or the server stopped.
    Stopped,
    /// It had nothing to do.
    Idle,
    /// It had served its share of calls.
    Recycled,
    /// It was killed: a deadline passed or the caller left.
    Killed,
    /// It died by itself.
    Crashed,
    MemoryExceeded,
    /// It never became ready.
    StartFailed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    Closed,
    Open,
    HalfOpen,
}

/// States of a deployment. Values of the label `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    Initialized,
    Registered,
    Running,
    Destroyed,
    Failed,
}

macro_rules! label {
    ($type:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        impl $type {
            pub const ALL: &'static [$type] = &[$($type::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $($type::$variant => $text),* }
            }
        }
    };
}

label!(InstanceState { Starting = "starting", Idle = "idle", Busy = "busy" });
label!(ExitReason {
    Stopped = "stopped",
    Idle = "idle",
    Recycled = "recycled",
    Killed = "killed",
    Crashed = "crashed",
    MemoryExceeded = "memory_exceeded",
    StartFailed = "start_failed",
});
label!(CircuitState { Closed = "closed", Open = "open", HalfOpen = "half_open" });
label!(Lifecycle {
    Initialized = "initialized",
    Registered = "registered",
    Running = "running",
    Destroyed = "destroyed",
    Failed = "failed",
});

/// All families and who holds children of them.
pub struct Metrics {
    registry: Registry,
    invocations: Capped<IntCounterVec>,
    duration: Capped<HistogramVec>,
    queue_wait: Capped<HistogramVec>,
    prepare_duration: Capped<HistogramVec>,
    attempts: Capped<IntCounterVec>,
    cold_starts: Capped<IntCounterVec>,
    active: Capped<IntGaugeVec>,
    instances: Capped<IntGaugeVec>,
    circuit: Capped<IntGaugeVec>,
    cpu: Capped<CounterVec>,
    memory_peak: Capped<IntGaugeVec>,
    log_lines: Capped<IntCounterVec>,
    guest_dropped: Capped<IntCounterVec>,
    lifecycle: Capped<IntCounterVec>,
    exits: Capped<IntCounterVec>,
    prepare: Capped<IntCounterVec>,
    log_lines_dropped: Capped<IntCounterVec>,
    ledger_dropped: Capped<IntCounterVec>,
    config_last_reload: Gauge,
    store_writable: Gauge,
    data_dir_available: Gauge,
    /// Exemplars of `invocation_duration_seconds`, by its rendered labels.
    exemplars: Mutex<HashMap<String, Arc<Slots>>>,
    live: Mutex<HashMap<(String, String), Arc<PluginSeries>>>,
}

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
}

struct ActionSeries {
    name: Arc<str>,
    endings: [OnceLock<IntCounter>; ENDINGS],
}

struct DurationSeries {
    histogram: Histogram,
    slots: Arc<Slots>,
}

/// A family whose number of label sets is bounded.
struct Capped<V> {
    family: &'static Family,
    vec: V,
    known: Mutex<HashSet<String>>,
    overflow: IntCounterVec,
}

/// What `Capped` needs of the crate's vectors, whose builders are private.
trait Children {
    type Child;
    fn child(&self, values: &[&str]) -> Self::Child;
    fn remove(&self, values: &[&str]);
}

impl<B: MetricVecBuilder> Children for MetricVec<B> {
    type Child = B::M;

    fn child(&self, values: &[&str]) -> B::M {
        self.with_label_values(values)
    }

    fn remove(&self, values: &[&str]) {
        // An error means that the series does not exist, which is what is wanted.
        let _ = self.remove_label_values(values);
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

// === impl Metrics ===

impl Metrics {
    pub(super) fn new() -> Result<Arc<Metrics>, prometheus::Error> {
        let registry = Registry::new();
        let overflow = registered(
            &registry,
            IntCounterVec::new(opts(&names::SERIES_OVERFLOW), names::SERIES_OVERFLOW.labels)?,
        )?;
        let build_info =
            registered(&registry, GaugeVec::new(opts(&names::BUILD_INFO), names::BUILD_INFO.labels)?)?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let counter = |family: &'static Family| -> Result<_, prometheus::Error> {
            let vec = registered(&registry, IntCounterVec::new(opts(family), family.labels)?)?;
            Ok(Capped::new(family, vec, &overflow))
        };
        let gauge = |family: &'static Family| -> Result<_, prometheus::Error> {
            let vec = registered(&registry, IntGaugeVec::new(opts(family), family.labels)?)?;
            Ok(Capped::new(family, vec, &overflow))
        };
        let histogram = |family: &'static Family| -> Result<_, prometheus::Error> {
            let opts = HistogramOpts::new(family.name, family.help).buckets(names::DURATION_BUCKETS.to_vec());
            let vec = registered(&registry, HistogramVec::new(opts, family.labels)?)?;
            Ok(Capped::new(family, vec, &overflow))
        };
        let single = |family: &'static Family| registered(&registry, Gauge::with_opts(opts(family))?);
        let cpu =
            registered(&registry, CounterVec::new(opts(&names::PLUGIN_CPU), names::PLUGIN_CPU.labels)?)?;
        let metrics = Metrics {
            invocations: counter(&names::INVOCATIONS)?,
            duration: histogram(&names::INVOCATION_DURATION)?,
            queue_wait: histogram(&names::QUEUE_WAIT)?,
            prepare_duration: histogram(&names::PREPARE_DURATION)?,
            attempts: counter(&names::ATTEMPTS)?,
            cold_starts: counter(&names::COLD_STARTS)?,
            active: gauge(&names::ACTIVE_INVOCATIONS)?,
            instances: gauge(&names::INSTANCES)?,
            circuit: gauge(&names::CIRCUIT_STATE)?,
            cpu: Capped::new(&names::PLUGIN_CPU, cpu, &overflow),
            memory_peak: gauge(&names::PLUGIN_MEMORY_PEAK)?,
            log_lines: counter(&names::PLUGIN_LOG_LINES)?,
            guest_dropped: counter(&names::GUEST_DROPPED)?,
            lifecycle: counter(&names::LIFECYCLE_TRANSITIONS)?,
            exits: counter(&names::INSTANCE_EXITS)?,
            prepare: counter(&names::PREPARE)?,
            log_lines_dropped: counter(&names::LOG_LINES_DROPPED)?,
            ledger_dropped: counter(&names::LEDGER_DROPPED)?,
            config_last_reload: single(&names::CONFIG_LAST_RELOAD)?,
            store_writable: single(&names::STORE_WRITABLE)?,
            data_dir_available: single(&names::DATA_DIR_AVAILABLE)?,
            exemplars: Mutex::default(),
            live: Mutex::default(),
            registry,
        };
        metrics.config_last_reload.set(1.0);
        metrics.store_writable.set(1.0);
        metrics.ledger_dropped(DropReason::QueueFull.as_str(), 0);
        Ok(Arc::new(metrics))
    }

    pub(super) fn register(&self, collector: Box<dyn Collector>) -> Result<(), prometheus::Error> {
        self.registry.register(collector)
    }

    pub(super) fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    /// The exemplars of one child of `invocation_duration_seconds`.
    pub(super) fn exemplars(&self, labels: &str) -> Option<Arc<Slots>> {
        lock(&self.exemplars).get(labels).cloned()
    }

    /// The children of a version; the same ones as long as it is not retired.
    pub(super) fn plugin(
        self: &Arc<Self>,
        name: &str,
        version: &str,
        runtime: &'static str,
        actions: &[&str],
    ) -> Arc<PluginSeries> {
        let key = (name.to_owned(), version.to_owned());
        lock(&self.live)
            .entry(key)
            .or_insert_with(|| Arc::new(PluginSeries::new(self, name, version, runtime, actions)))
            .clone()
    }

    /// Counts the ending of a call that no version got.
    pub(super) fn unrouted(&self, ending: EndingLabels) {
        let other = names::OTHER;
        self.invocations
            .get(&[other, other, other, ending.outcome.as_str(), ending.error_type(), ending.blame()])
            .inc();
    }

    pub fn ledger_dropped(&self, reason: &'static str, records: u64) {
        self.ledger_dropped.get(&[reason]).inc_by(records);
    }

    pub fn log_lines_dropped(&self, reason: &'static str, lines: u64) {
        self.log_lines_dropped.get(&[reason]).inc_by(lines);
    }

    pub fn set_store_writable(&self, writable: bool) {
        self.store_writable.set(f64::from(u8::from(writable)));
    }

    pub fn set_config_good(&self, good: bool) {
        self.config_last_reload.set(f64::from(u8::from(good)));
    }

    pub fn set_data_dir_available(&self, bytes: u64) {
        self.data_dir_available.set(bytes as f64);
    }

    /// A transition that has no deployment yet, or of one that never came to life.
    pub fn lifecycle(&self, plugin: &str, to: Lifecycle) {
        self.lifecycle.get(&[plugin, to.as_str()]).inc();
    }
}

/// The labels of one ending.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndingLabels {
    pub outcome: Outcome,
    pub kind: Option<ErrorKind>,
}

impl EndingLabels {
    fn error_type(self) -> &'static str {
        self.kind.map_or(names::NONE, ErrorKind::as_str)
    }

    fn blame(self) -> &'static str {
        self.kind.map_or(names::NONE, |kind| kind.blame().as_str())
    }

    fn index(self) -> usize {
        self.kind.map_or(0, |kind| kind as usize + 1)
    }
}

// === impl PluginSeries ===

impl PluginSeries {
    fn new(
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

    pub(super) fn span_name(&self) -> Text {
        self.span_name.clone()
    }

    /// Preparing an instance or its environment ended. Recorded by whoever prepares, inside a call or not.
    pub fn prepared(&self, took: Duration, good: bool) {
        let histogram =
            self.prepare_duration.get_or_init(|| self.metrics.prepare_duration.get(&[&*self.name]));
        histogram.observe(took.as_secs_f64());
        self.metrics.prepare.get(&[&*self.name, if good { "ok" } else { "failed" }]).inc();
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

    pub(super) fn instance_exited(&self, reason: ExitReason) {
        self.metrics.exits.get(&[&self.name, reason.as_str()]).inc();
    }

    pub(super) fn set_circuit(&self, state: CircuitState) {
        for (gauge, each) in self.circuit.iter().zip(CircuitState::ALL) {
            gauge.set(i64::from(*each == state));
        }
    }

    pub(super) fn lifecycle(&self, to: Lifecycle) {
        self.metrics.lifecycle(&self.name, to);
    }

    pub(super) fn queue_wait(&self, waited: Duration) {
        let histogram = self.queue_wait.get_or_init(|| self.metrics.queue_wait.get(&[&*self.name]));
        histogram.observe(waited.as_secs_f64());
    }

    pub(super) fn attempt_ended(&self, outcome: Outcome) {
        self.attempt_child(outcome).inc();
    }

    pub(super) fn cold_start(&self) {
        self.cold_start_child().inc();
    }

    pub(super) fn entered(&self) {
        self.active.inc();
    }

    pub(super) fn left(&self) {
        self.active.dec();
    }

    pub(super) fn log_line(&self, stream: LogStream) {
        self.log_lines[stream as usize]
            .get_or_init(|| self.metrics.log_lines.get(&[&self.name, &self.version, stream.as_str()]))
            .inc();
    }

    pub(super) fn guest_dropped(&self, what: &'static str, count: u64) {
        self.metrics.guest_dropped.get(&[&self.name, what]).inc_by(count);
    }

    pub(super) fn used(&self, cpu: Duration, memory_peak_bytes: u64) {
        if !cpu.is_zero() {
            self.cpu.inc_by(cpu.as_secs_f64());
        }
        let peak = i64::try_from(memory_peak_bytes).unwrap_or(i64::MAX);
        if peak > self.memory_peak.get() {
            self.memory_peak.set(peak);
        }
    }

    pub(super) fn ended(&self, action: &str, ending: EndingLabels) {
        let found = self.actions.iter().find(|series| *series.name == *action).or(self.actions.last());
        if let Some(action) = found {
            self.ending(action, ending).inc();
        }
    }

    /// Observes a duration; whether `exemplar` was taken for it.
    pub(super) fn took(&self, outcome: Outcome, took: Duration, exemplar: Option<Exemplar>) -> bool {
        let child = self.duration_child(outcome);
        let seconds = took.as_secs_f64();
        child.histogram.observe(seconds);
        let Some(exemplar) = exemplar else { return false };
        let bucket = names::DURATION_BUCKETS.partition_point(|bound| *bound < seconds);
        child.slots.offer(bucket, outcome == Outcome::Failed || took >= SLOW, exemplar)
    }

    /// The version is gone: its gauges vanish, and the plugin's too with its last version.
    pub(super) fn retire(&self) {
        let mut live = lock(&self.metrics.live);
        live.remove(&(self.name.to_string(), self.version.to_string()));
        self.metrics.memory_peak.remove(&[&self.name, &self.version]);
        if live.keys().any(|(name, _)| *name == *self.name) {
            return;
        }
        self.metrics.active.remove(&[&*self.name]);
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

// === impl Capped ===

impl<V: Children> Capped<V> {
    fn new(family: &'static Family, vec: V, overflow: &IntCounterVec) -> Capped<V> {
        Capped { family, vec, known: Mutex::default(), overflow: overflow.clone() }
    }

    fn get(&self, labels: &[&str]) -> V::Child {
        self.get_rendered(labels).0
    }

    /// The child and its labels as the text formats print them: sorted by name.
    fn get_rendered(&self, labels: &[&str]) -> (V::Child, String) {
        let mut values: Vec<&str> = labels.iter().map(|value| truncate(value, LABEL_BYTES_MAX)).collect();
        if !self.admit(&values) {
            values.fill(names::OVERFLOW);
            self.overflow.with_label_values(&[self.family.name]).inc();
        }
        let mut pairs: Vec<(&str, &str)> =
            self.family.labels.iter().copied().zip(values.iter().copied()).collect();
        pairs.sort_unstable();
        let mut rendered = String::new();
        for (name, value) in pairs {
            super::exposition::push_label(&mut rendered, name, value);
        }
        (self.vec.child(&values), rendered)
    }

    fn admit(&self, values: &[&str]) -> bool {
        let key = values.join("\u{1f}");
        let mut known = lock(&self.known);
        if known.contains(&key) {
            return true;
        }
        known.len() < LABEL_SETS_MAX && known.insert(key)
    }

    /// Whether series may be made ahead of their first use.
    fn has_room(&self) -> bool {
        lock(&self.known).len() < LABEL_SETS_MAX / 2
    }

    fn remove(&self, labels: &[&str]) {
        let values: Vec<&str> = labels.iter().map(|value| truncate(value, LABEL_BYTES_MAX)).collect();
        if lock(&self.known).remove(&values.join("\u{1f}")) {
            self.vec.remove(&values);
        }
    }
}

fn opts(family: &'static Family) -> Opts {
    Opts::new(family.name, family.help)
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// A panic elsewhere must not take telemetry with it: what these locks guard is valid after every statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
