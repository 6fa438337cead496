//! Telemetry: what every call leaves behind. The only room that knows OpenTelemetry and Prometheus.
//!
//! A call fills its own [`Recording`] and hands it over whole; one thread drains, tells the sinks, writes log
//! lines, encodes and delivers. Losing telemetry never fails or slows a call, and every loss is counted.
//! Start with `recorder.rs` (the call's side), then `worker.rs` (the thread's side).

use std::sync::Arc;
use std::time::Duration;

pub mod accounting;
pub mod background;
mod clock;
pub mod events;
mod exemplars;
mod exposition;
pub mod ids;
mod log_lines;
pub mod metrics;
pub mod names;
pub mod operation;
pub mod otlp;
mod outbox;
mod queue;
pub mod record;
pub mod recorder;
pub mod settings;
#[cfg(test)]
mod testing;
mod worker;

pub use accounting::{Accounting, Signal};
pub use events::Event;
pub use exposition::Exposition;
pub use metrics::{
    CircuitState, DriftScores, DriftSeries, ExitReason, InstanceState, Lifecycle, Metrics, PluginSeries,
    PrepareResult,
};
pub use operation::{Operation, OperationKind};
pub use queue::ActiveInvocation;
pub use record::{
    Captured, LogRecord, OperationEvent, OperationRecord, Record, RecordingData, Sink, SpanKind, SpanRecord,
    Value,
};
pub use recorder::{Begin, Ending, Finished, Recording, SpanRef};
pub use settings::{LogTarget, Settings, SpoolSettings};

use crate::model::guest::GuestLog;
use crate::model::ids::TraceId;
use crate::model::invocation::Delivery;
use crate::model::trace_context::TraceContext;

use accounting::{AccountingCollector, Book};
use operation::Tracer;
use queue::{Enabled, Queue, Slot};
use settings::Sampler;

/// The handle that everybody holds. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    book: Arc<Book>,
    metrics: Arc<Metrics>,
    tracer: Tracer,
    sampler: Sampler,
    worker: worker::Handle,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the registry of metrics cannot be made: {0}")]
    Registry(#[from] prometheus::Error),
    #[error("the telemetry thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
    #[error("log lines cannot be written: {0}")]
    LogLines(#[source] std::io::Error),
    #[error("telemetry cannot be delivered: {0}")]
    Transport(#[source] otlp::TransportError),
    #[error("the encoder of the control plane's spans cannot be made: {0}")]
    SpanExporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

impl Telemetry {
    /// Starts the telemetry thread. `sinks`: who else gets every drained batch.
    pub fn start(settings: Settings, sinks: Vec<Box<dyn Sink>>) -> Result<Telemetry, Error> {
        clock::calibrate();
        let metrics = Metrics::new()?;
        let enabled = Enabled { traces: settings.otlp.traces.is_some(), logs: settings.otlp.logs.is_some() };
        let queue = Arc::new(Queue::new(enabled));
        let book = Arc::new(Book::default());
        metrics.register(Box::new(AccountingCollector::new(book.clone(), queue.clone())?))?;
        let parts = worker::Parts {
            queue: queue.clone(),
            book: book.clone(),
            metrics: metrics.clone(),
            resource: resource(&settings.otlp.resource),
        };
        let worker = worker::start(&settings, parts, sinks)?;
        let tracer = Tracer::new(queue.clone(), settings.sampler);
        Ok(Telemetry(Arc::new(Inner { queue, book, metrics, tracer, sampler: settings.sampler, worker })))
    }

    /// One more consumer, from the next drain on. For those that need telemetry to be made.
    pub fn add_sink(&self, sink: Box<dyn Sink>) {
        self.0.worker.add_sink(sink);
    }

    /// The cached metrics of a deployed version, its counters at 0. The same ones until it is removed.
    pub fn plugin(
        &self,
        name: &str,
        version: &str,
        runtime: &'static str,
        actions: &[&str],
    ) -> Arc<PluginSeries> {
        self.0.metrics.plugin(name, version, runtime, actions)
    }

    /// Begins an invocation: ids and clock.
    pub fn begin(&self, begin: Begin) -> Recording {
        Recording::begin(self, begin)
    }

    /// Goes on with an invocation that was accepted earlier.
    pub fn resume(&self, begin: Begin, delivery: &Delivery) -> Recording {
        Recording::resume(self, begin, delivery)
    }

    /// The flags that the root span of a call has.
    pub fn trace_flags(&self, trace_id: TraceId, parent: Option<&TraceContext>) -> u8 {
        self.0.sampler.flags(trace_id, parent.map(|parent| parent.flags))
    }

    /// Something happened outside a call. Inside one: [`Recording::emit`].
    pub fn emit(&self, event: impl Event) {
        let log = event.log();
        self.hand_over(None, event_record(&event, log, &self.0.metrics));
    }

    /// A line that an instance printed outside a call. It carries no ids.
    pub fn guest_log(&self, series: &PluginSeries, log: GuestLog) {
        series.log_line(log.stream);
        let now = clock::unix_ns();
        let unix_ns = log.unix_ns.map_or(now, |at| at.min(now));
        let mut record = recorder::log_record(log, unix_ns);
        record.plugin = Some(series.name().clone());
        record.version = Some(series.version().clone());
        self.hand_over(None, Record::Log(Box::new(record)));
    }

    /// The metrics that belong to no plugin.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// `/metrics`, in the format that `accept` asks for.
    pub fn scrape(&self, accept: Option<&str>) -> Exposition {
        exposition::render(&self.0.metrics, accept)
    }

    /// Invocations without an ending, oldest first.
    pub fn active(&self) -> Vec<ActiveInvocation> {
        self.0.queue.active()
    }

    /// Waits until everything handed over before has reached every sink. Blocks: not for an async task.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.worker.flush(timeout)
    }

    /// Drains and makes a last attempt to deliver, all within the timeout. Blocks. Later calls do nothing.
    pub fn shutdown(&self, timeout: Duration) {
        self.0.worker.shutdown(timeout);
    }

    /// All signals at one moment; it always balances.
    pub fn accounting(&self) -> Accounting {
        self.0.book.snapshot(&self.0.queue)
    }

    fn hand_over(&self, slot: Option<Slot>, record: Record) {
        let wake = match slot {
            Some(slot) => self.0.queue.push_for(slot, record),
            None => self.0.queue.push(record),
        };
        if wake {
            self.wake();
        }
    }

    fn wake(&self) {
        self.0.worker.wake();
    }
}

/// Counts the event and makes its log record complete.
fn event_record(event: &impl Event, mut log: LogRecord, metrics: &Metrics) -> Record {
    log.unix_ns = clock::unix_ns();
    log.event_name = Some(event.name());
    event.count(metrics);
    Record::Log(Box::new(log))
}

/// What every resource says, then what the environment adds or replaces.
fn resource(given: &[(String, String)]) -> Vec<(String, String)> {
    let version = env!("CARGO_PKG_VERSION");
    let instance = uuid::Uuid::from_u128(fastrand::u128(..)).to_string();
    let own = [
        (settings::SERVICE_NAME, "spanglass"),
        ("service.version", version),
        ("service.instance.id", instance.as_str()),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", names::SCOPE),
        ("telemetry.sdk.version", version),
    ];
    let missing = own.into_iter().filter(|(key, _)| !given.iter().any(|(known, _)| known == key));
    missing.map(|(key, value)| (key.to_owned(), value.to_owned())).chain(given.iter().cloned()).collect()
}
