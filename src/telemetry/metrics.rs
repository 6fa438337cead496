//! The registry behind `/metrics`, and the resolved children of each deployed version: a call touches
//! counters that were looked up once, never a map of labels.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use super::accounting::DropReason;
use super::exemplars::Slots;
use super::names::{self, Family};

mod capped;
mod drift;
mod labels;
mod series;
mod slo;

pub use capped::LABEL_SETS_MAX;
pub use drift::{DriftScores, DriftSeries};
pub use labels::{CircuitState, ExitReason, InstanceState, Lifecycle, PrepareResult};
pub(super) use series::EndingLabels;
pub use series::PluginSeries;
pub(super) use slo::EndedCall;

use capped::Capped;
use drift::DriftFamilies;

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
    queued: Capped<IntGaugeVec>,
    instances: Capped<IntGaugeVec>,
    circuit: Capped<IntGaugeVec>,
    cpu: Capped<CounterVec>,
    memory_peak: Capped<IntGaugeVec>,
    log_lines: Capped<IntCounterVec>,
    guest_dropped: Capped<IntCounterVec>,
    lifecycle: Capped<IntCounterVec>,
    exits: Capped<IntCounterVec>,
    prepare: Capped<IntCounterVec>,
    slo_events: Capped<IntCounterVec>,
    slo_objective: Capped<GaugeVec>,
    drift: Arc<DriftFamilies>,
    log_lines_dropped: Capped<IntCounterVec>,
    ledger_dropped: Capped<IntCounterVec>,
    config_last_reload: Gauge,
    store_writable: Gauge,
    data_dir_available: Gauge,
    /// Exemplars of `invocation_duration_seconds`, by its rendered labels.
    exemplars: Mutex<HashMap<String, Arc<Slots>>>,
    live: Mutex<HashMap<(String, String), Arc<PluginSeries>>>,
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
        let float_gauge = |family: &'static Family| -> Result<_, prometheus::Error> {
            let vec = registered(&registry, GaugeVec::new(opts(family), family.labels)?)?;
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
            queued: gauge(&names::QUEUED_INVOCATIONS)?,
            instances: gauge(&names::INSTANCES)?,
            circuit: gauge(&names::CIRCUIT_STATE)?,
            cpu: Capped::new(&names::PLUGIN_CPU, cpu, &overflow),
            memory_peak: gauge(&names::PLUGIN_MEMORY_PEAK)?,
            log_lines: counter(&names::PLUGIN_LOG_LINES)?,
            guest_dropped: counter(&names::GUEST_DROPPED)?,
            lifecycle: counter(&names::LIFECYCLE_TRANSITIONS)?,
            exits: counter(&names::INSTANCE_EXITS)?,
            prepare: counter(&names::PREPARE)?,
            slo_events: counter(&names::SLO_EVENTS)?,
            slo_objective: float_gauge(&names::SLO_OBJECTIVE)?,
            drift: Arc::new(DriftFamilies::new(float_gauge)?),
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

    /// How many asynchronous calls of a plugin wait. One that is not named keeps its value.
    pub fn set_queued(&self, plugin: &str, calls: u64) {
        self.queued.get(&[plugin]).set(i64::try_from(calls).unwrap_or(i64::MAX));
    }

    /// A transition that has no deployment yet, or of one that never came to life.
    pub fn lifecycle(&self, plugin: &str, to: Lifecycle) {
        self.lifecycle.get(&[plugin, to.as_str()]).inc();
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
