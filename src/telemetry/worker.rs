//! The telemetry thread: drains the queue, tells the sinks, renders log lines, encodes, and carries the tasks
//! that deliver. It owns its runtime, so that nothing here competes with calls for their workers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::SpanData;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::Error;
use super::accounting::{Accounting, Book, DropReason, Place, Signal};
use super::background;
use super::clock;
use super::event_record;
use super::events::{
    Event, TelemetryDropped, TelemetryExportFailed, TelemetryExportRecovered, TelemetryRecovered,
    TelemetrySpoolDamaged, TelemetrySpoolFailed, TelemetrySpoolRecovered,
};
use super::log_lines::LogLines;
use super::metrics::{Metrics, lock};
use super::names;
use super::otlp::delivery::Lane;
use super::otlp::encode::{Batch as Encoding, Preamble};
use super::otlp::metrics::Period;
use super::otlp::sdk::SdkEncoder;
use super::otlp::{self, BATCH_BYTES_MAX, BATCH_INVOCATIONS_MAX, Transport};
use super::outbox::{Batch, Disk, Outbox};
use super::queue::Queue;
use super::record::{Record, Sink};
use super::settings::{Otlp, Settings, SpoolSettings};

/// Nothing waits longer than this before it is drained.
pub const DRAIN_INTERVAL: Duration = Duration::from_millis(200);
/// Losses are told at most this often.
const LOSS_REPORT_INTERVAL: Duration = Duration::from_secs(30);
/// What a handle that is dropped without `shutdown` still gets.
const ABANDONED_GRACE: Duration = Duration::from_secs(1);

pub(super) struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Sinks that came after the start.
    new_sinks: Mutex<Vec<Box<dyn Sink>>>,
    wake: Notify,
    done: Condvar,
}

#[derive(Default)]
struct State {
    flush_wanted: u64,
    flush_done: u64,
    /// When everything must be over.
    stop: Option<Instant>,
    stopped: bool,
}

/// What the thread and its owner share.
pub(super) struct Parts {
    pub queue: Arc<Queue>,
    pub book: Arc<Book>,
    pub metrics: Arc<Metrics>,
    pub resource: Vec<(String, String)>,
}

pub(super) fn start(settings: &Settings, parts: Parts, sinks: Vec<Box<dyn Sink>>) -> Result<Handle, Error> {
    let shared = Arc::new(Shared::default());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let lines = LogLines::start(&settings.logs, parts.metrics.clone()).map_err(Error::LogLines)?;
    // Clients want to know their runtime when they are made. Entering works from within another one, too.
    let outboxes = open_outboxes(settings, &parts);
    let lanes = {
        let _context = runtime.enter();
        make_lanes(&settings.otlp, &parts, &outboxes)?
    };
    let sdk = settings.otlp.traces.as_ref().map(|_| SdkEncoder::new(&parts.resource));
    let sdk = sdk.transpose().map_err(Error::SpanExporter)?;
    let worker = Worker {
        preamble: Preamble::new(&parts.resource, names::SCOPE, env!("CARGO_PKG_VERSION")),
        parts,
        otlp: settings.otlp.clone(),
        batch_bytes_max: settings.spool.as_ref().map_or(BATCH_BYTES_MAX, SpoolSettings::batch_bytes_max),
        outboxes,
        sinks: sinks.into_iter().map(Some).collect(),
        lines,
        sdk,
        lanes,
        shared: shared.clone(),
        scratch: Vec::new(),
        started_unix_ns: clock::unix_ns(),
        losses: Losses::new(),
        disks: [(); Signal::ALL.len()].map(|()| DiskTold { failed: false, next: Instant::now() }),
    };
    let thread = std::thread::Builder::new()
        .name("telemetry".into())
        .spawn(move || {
            background::step_back();
            runtime.block_on(worker.run());
            // A request that hangs must not be waited for.
            runtime.shutdown_background();
        })
        .map_err(Error::Thread)?;
    Ok(Handle { shared, thread: Mutex::new(Some(thread)) })
}

// === impl Handle ===

impl Handle {
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    pub fn add_sink(&self, sink: Box<dyn Sink>) {
        lock(&self.shared.new_sinks).push(sink);
    }

    pub fn flush(&self, timeout: Duration) -> bool {
        let mut state = lock(&self.shared.state);
        state.flush_wanted += 1;
        let wanted = state.flush_wanted;
        drop(state);
        self.wake();
        self.wait(timeout, |state| state.flush_done >= wanted || state.stopped)
            && lock(&self.shared.state).flush_done >= wanted
    }

    pub fn shutdown(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        lock(&self.shared.state).stop.get_or_insert(deadline);
        self.wake();
        if self.wait(timeout, |state| state.stopped)
            && let Some(thread) = lock(&self.thread).take()
        {
            // It has said its last word; a panic in it was its own affair.
            let _ = thread.join();
        }
    }

    fn wait(&self, timeout: Duration, done: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.shared.state);
        while !done(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.shared.state).stop.get_or_insert(Instant::now() + ABANDONED_GRACE);
        self.wake();
    }
}

// === The thread ===

struct Worker {
    parts: Parts,
    otlp: Otlp,
    batch_bytes_max: usize,
    outboxes: Outboxes,
    sinks: Vec<Option<Box<dyn Sink>>>,
    lines: Option<LogLines>,
    /// Only where traces go somewhere: making it reads the process's environment.
    sdk: Option<SdkEncoder>,
    preamble: Preamble,
    lanes: Lanes,
    shared: Arc<Shared>,
    /// Reused by one batch after the other.
    scratch: Vec<u8>,
    started_unix_ns: u64,
    losses: Losses,
    disks: [DiskTold; Signal::ALL.len()],
}

/// What was last told of the disk.
struct DiskTold {
    failed: bool,
    /// A disk that fails and recovers in turns is not told each time.
    next: Instant,
}

/// By signal. Shared with the lanes, which run on this thread, too.
type Outboxes = [Arc<Mutex<Outbox>>; Signal::ALL.len()];

/// The delivering tasks, and how to reach them.
struct Lanes {
    tasks: Vec<Lane>,
    ready: [Arc<Notify>; Signal::ALL.len()],
    stopping: watch::Sender<bool>,
}

/// Traces and logs are spooled; metrics are cumulative, and only the newest are worth sending.
fn open_outboxes(settings: &Settings, parts: &Parts) -> Outboxes {
    Signal::ALL.map(|signal| {
        let spool =
            settings.spool.as_ref().filter(|_| signal != Signal::Metrics).map(|spool| spool.share(signal));
        let (outbox, recovery) =
            Outbox::open(signal, parts.book.clone(), settings.otlp.buffer_bytes_max, spool);
        let signal = signal.as_str();
        for message in &recovery.problems {
            tell(&parts.queue, &parts.metrics, &TelemetrySpoolDamaged { signal, message });
        }
        if recovery.records > 0 {
            tell(&parts.queue, &parts.metrics, &TelemetryRecovered { signal, records: recovery.records });
        }
        Arc::new(Mutex::new(outbox))
    })
}

fn make_lanes(otlp: &Otlp, parts: &Parts, outboxes: &Outboxes) -> Result<Lanes, Error> {
    let (stopping, stop) = watch::channel(false);
    let mut lanes = Lanes { tasks: Vec::new(), ready: Default::default(), stopping };
    for signal in Signal::ALL {
        let Some(endpoint) = otlp.endpoint(signal) else { continue };
        let transport = Transport::new(signal, endpoint).map_err(Error::Transport)?;
        let (queue, metrics) = (parts.queue.clone(), parts.metrics.clone());
        lanes.tasks.push(Lane {
            signal,
            transport,
            outbox: outboxes[signal as usize].clone(),
            ready: lanes.ready[signal as usize].clone(),
            stopping: stop.clone(),
            report: Box::new(move |signal, result| {
                let signal = signal.as_str();
                match result {
                    Err(message) => tell(&queue, &metrics, &TelemetryExportFailed { signal, message }),
                    Ok(()) => tell(&queue, &metrics, &TelemetryExportRecovered { signal }),
                }
            }),
        });
    }
    Ok(lanes)
}

/// An event of telemetry itself goes the way of all events.
fn tell(queue: &Queue, metrics: &Metrics, event: &impl Event) {
    queue.push(event_record(event, event.log(), metrics));
}

impl Worker {
    async fn run(mut self) {
        let mut delivering = JoinSet::new();
        for lane in self.lanes.tasks.drain(..) {
            delivering.spawn(lane.run());
        }
        let mut next_metrics = Instant::now() + self.otlp.metric_interval;
        let deadline = loop {
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep(DRAIN_INTERVAL) => {}
            }
            let (flush, stop) = {
                let state = lock(&self.shared.state);
                (state.flush_wanted, state.stop)
            };
            if stop.is_some() {
                self.parts.queue.each(|shard| shard.close());
            }
            self.drain().await;
            if self.otlp.metrics.is_some() && (stop.is_some() || Instant::now() >= next_metrics) {
                self.export_metrics();
                next_metrics = Instant::now() + self.otlp.metric_interval;
            }
            self.look_after_spool();
            self.report_losses();
            lock(&self.shared.state).flush_done = flush;
            self.shared.done.notify_all();
            if let Some(deadline) = stop {
                break deadline;
            }
        };
        // Whoever does not need to know any more has no reason to keep the channel open.
        let _ = self.lanes.stopping.send(true);
        let all = async { while delivering.join_next().await.is_some() {} };
        // Too late: what is left is given up below.
        let _ = tokio::time::timeout_at(deadline.into(), all).await;
        delivering.abort_all();
        for outbox in &self.outboxes {
            lock(outbox).close();
        }
        if let Some(lines) = self.lines.take() {
            lines.finish(deadline);
        }
        lock(&self.shared.state).stopped = true;
        self.shared.done.notify_all();
    }

    async fn drain(&mut self) {
        self.sinks.extend(lock(&self.shared.new_sinks).drain(..).map(Some));
        let drained = self.parts.book.drain(&self.parts.queue);
        if drained.refused > 0 {
            self.count_refused(drained.refused);
        }
        let records = drained.records;
        if records.is_empty() {
            return;
        }
        self.tell_sinks(&records);
        self.write_lines(&records);
        self.encode(&records).await;
        let recordings = records.into_iter().filter_map(|record| match record {
            Record::Invocation(mut recording) => recording.clear().then_some(recording),
            Record::Log(_) | Record::Operation(_) => None,
        });
        self.parts.queue.recycle(recordings.collect());
    }

    /// Records that the full queue refused are lost for everybody.
    fn count_refused(&self, records: u64) {
        if !self.sinks.is_empty() {
            self.parts.metrics.ledger_dropped(DropReason::QueueFull.as_str(), records);
        }
        if self.lines.is_some() {
            self.parts.metrics.log_lines_dropped(DropReason::QueueFull.as_str(), records);
        }
    }

    fn tell_sinks(&mut self, records: &[Record]) {
        for slot in &mut self.sinks {
            let Some(sink) = slot else {
                self.parts.metrics.ledger_dropped("sink_failed", records.len() as u64);
                continue;
            };
            // A sink that panics is out; telemetry goes on.
            if catch_unwind(AssertUnwindSafe(|| sink.accept(records))).is_err() {
                self.parts.metrics.ledger_dropped("sink_failed", records.len() as u64);
                *slot = None;
            }
        }
    }

    fn write_lines(&mut self, records: &[Record]) {
        let Some(lines) = &mut self.lines else { return };
        for record in records {
            match record {
                Record::Invocation(recording) => lines.line(&recording.ending_log()),
                Record::Log(log) => lines.line(log),
                Record::Operation(_) => {}
            }
        }
        lines.pass_on();
    }

    async fn encode(&mut self, records: &[Record]) {
        if self.otlp.traces.is_some() {
            self.encode_invocations(records);
            self.encode_operations(records).await;
        }
        if self.otlp.logs.is_some() {
            self.encode_logs(records);
        }
    }

    fn encode_invocations(&mut self, records: &[Record]) {
        let mut batch = self.begin();
        let mut invocations = 0;
        for record in records {
            let Record::Invocation(recording) = record else { continue };
            if !recording.sampled() {
                continue;
            }
            batch.invocation(recording);
            invocations += 1;
            if invocations >= BATCH_INVOCATIONS_MAX || batch.len() >= self.batch_bytes_max {
                self.end(Signal::Traces, batch);
                batch = self.begin();
                invocations = 0;
            }
        }
        self.end(Signal::Traces, batch);
    }

    fn encode_logs(&mut self, records: &[Record]) {
        let mut batch = self.begin();
        for record in records {
            match record {
                Record::Invocation(recording) => batch.log(&recording.ending_log()),
                Record::Log(log) => batch.log(log),
                Record::Operation(_) => continue,
            }
            if batch.len() >= self.batch_bytes_max {
                self.end(Signal::Logs, batch);
                batch = self.begin();
            }
        }
        self.end(Signal::Logs, batch);
    }

    async fn encode_operations(&mut self, records: &[Record]) {
        let spans: Vec<SpanData> = records
            .iter()
            .filter_map(|record| match record {
                Record::Operation(operation) => Some(operation.sdk.clone()),
                Record::Invocation(_) | Record::Log(_) => None,
            })
            .collect();
        for spans in spans.chunks(BATCH_INVOCATIONS_MAX as usize) {
            let records = spans.len() as u64;
            let body = match &self.sdk {
                Some(sdk) => sdk.encode(spans.to_vec()).await,
                None => None,
            };
            match body {
                Some(body) => self.hand_over(Signal::Traces, Batch { records, body }),
                None => self.parts.book.write(Signal::Traces, |page| {
                    page.dropped(records, Place::Work, DropReason::Encoding);
                }),
            }
        }
    }

    fn export_metrics(&mut self) {
        let period = Period { start_unix_ns: self.started_unix_ns, now_unix_ns: clock::unix_ns() };
        let families = self.parts.metrics.gather();
        let (body, records) = otlp::metrics::encode(&families, &self.parts.resource, period);
        lock(&self.outboxes[Signal::Metrics as usize]).replace(Batch { records, body });
        self.lanes.ready[Signal::Metrics as usize].notify_one();
    }

    fn begin(&mut self) -> Encoding {
        Encoding::begin(std::mem::take(&mut self.scratch), &self.preamble)
    }

    fn end(&mut self, signal: Signal, batch: Encoding) {
        let records = batch.records();
        let (body, scratch) = batch.end();
        self.scratch = scratch;
        if records > 0 {
            self.hand_over(signal, Batch { records, body });
        }
    }

    fn hand_over(&self, signal: Signal, batch: Batch) {
        lock(&self.outboxes[signal as usize]).push(batch);
        self.lanes.ready[signal as usize].notify_one();
    }

    /// What is too old goes; a disk that failed is tried again, and what it does is told when it changes.
    fn look_after_spool(&mut self) {
        for (signal, outbox) in Signal::ALL.into_iter().zip(&self.outboxes) {
            let mut outbox = lock(outbox);
            outbox.tick();
            if outbox.is_to_be_read_again() {
                self.lanes.ready[signal as usize].notify_one();
            }
            let Parts { queue, metrics, .. } = &self.parts;
            let told = &mut self.disks[signal as usize];
            let signal = signal.as_str();
            match outbox.disk() {
                Disk::Failed { message, .. } if !told.failed && Instant::now() >= told.next => {
                    *told = DiskTold { failed: true, next: Instant::now() + LOSS_REPORT_INTERVAL };
                    tell(queue, metrics, &TelemetrySpoolFailed { signal, message });
                }
                Disk::Well | Disk::Full if told.failed => {
                    told.failed = false;
                    tell(queue, metrics, &TelemetrySpoolRecovered { signal });
                }
                _ => {}
            }
        }
    }

    fn report_losses(&mut self) {
        let Parts { queue, book, metrics, .. } = &self.parts;
        self.losses.tell(&book.snapshot(queue), |event| tell(queue, metrics, &event));
    }
}

/// Tells what was dropped since it was last told.
struct Losses {
    told: Accounting,
    next: Instant,
}

impl Losses {
    fn new() -> Losses {
        Losses { told: Accounting::default(), next: Instant::now() }
    }

    fn tell(&mut self, accounting: &Accounting, tell: impl Fn(TelemetryDropped)) {
        if Instant::now() < self.next {
            return;
        }
        let mut told = false;
        for signal in Signal::ALL {
            let (before, now) = (self.told.get(signal).dropped, accounting.get(signal).dropped);
            for reason in DropReason::ALL {
                let records = now[reason as usize] - before[reason as usize];
                if records > 0 {
                    tell(TelemetryDropped { signal: signal.as_str(), reason: reason.as_str(), records });
                    told = true;
                }
            }
        }
        if told {
            self.told = *accounting;
            self.next = Instant::now() + LOSS_REPORT_INTERVAL;
        }
    }
}
