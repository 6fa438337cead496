//! One invocation being recorded. It is filled on the call's thread, costs a few nanoseconds a field, and is
//! handed over whole at its ending, of which there is exactly one: `finish`, or being dropped.

use std::sync::Arc;
use std::time::Duration;

use crate::model::error::InvokeError;
use crate::model::ids::{InvocationId, SpanId, TraceId};
use crate::model::invocation::{Delivery, Origin, Usage};
use crate::model::kind::{ErrorKind, Outcome};
use crate::model::name::PluginName;
use crate::model::text::{Text, truncate};
use crate::model::trace_context::{TraceContext, format_traceparent};

use super::Telemetry;
use super::clock::{Anchor, nanoseconds};
use super::events::Event;
use super::exemplars::Exemplar;
use super::ids;
use super::metrics::{EndedCall, EndingLabels, PluginSeries};
use super::names::{self, attribute};
use super::queue::{ActiveInvocation, Slot};
use super::record::{
    Captured, Chain, RecordedError, RecordingData, SpanKind, SpanRecord, TEXT_BYTES_MAX, Value,
};

mod guest;

pub(super) use guest::log_record;
pub use guest::{GUEST_BYTES_MAX, GUEST_FIELDS_MAX, GUEST_LOGS_MAX, GUEST_SPANS_MAX};

use guest::adopt_orphans;

/// Spans of the host in one invocation.
pub const SPANS_MAX: usize = 512;
/// Events of one span.
pub const EVENTS_MAX: usize = 128;
/// Text that the host's attributes and events may hold in one invocation.
pub const HOST_BYTES_MAX: usize = 1 << 20;
/// Kinds of message that `dropped` can tell apart.
const DROPPED_KINDS_MAX: usize = 16;
/// Vectors that one call made longer than this are not kept for the next.
const POOLED_FIELDS_MAX: usize = 1_024;

/// What is known when a call comes in.
#[derive(Clone, Debug)]
pub struct Begin {
    /// As asked.
    pub plugin: Arc<str>,
    pub action: Arc<str>,
    pub parent: Option<TraceContext>,
    pub origin: Origin,
}

/// A span of one recording. It means nothing to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanRef {
    index: u32,
    /// False: a limit was reached, and `index` is the nearest span that exists.
    recorded: bool,
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    Replied {
        usage: Usage,
    },
    /// The kind `cancelled` makes it a drop.
    Failed {
        error: &'a InvokeError,
        usage: Usage,
    },
    /// The caller left.
    Dropped,
}

/// What the answer to the caller says about the call.
#[derive(Clone, Debug)]
pub struct Finished {
    pub invocation_id: InvocationId,
    pub trace_id: TraceId,
    pub root_span_id: SpanId,
    pub trace_flags: u8,
    pub plugin: Arc<str>,
    pub version: Option<Arc<str>>,
    pub action: Arc<str>,
    pub duration: Duration,
    pub queue: Duration,
    pub attempts: u32,
    pub cold_start: bool,
}

/// See the module.
pub struct Recording {
    telemetry: Telemetry,
    /// `None` once it has ended.
    data: Option<Box<RecordingData>>,
    anchor: Anchor,
    /// Attempts that were made before this recording began.
    attempts_before: u32,
    slot: Slot,
    series: Option<Arc<PluginSeries>>,
    attempt_open: bool,
    /// When the last wait for an instance was over, and what had been spent on preparing one until then.
    turn: Option<(u64, Duration)>,
    logs: u32,
    guest_bytes: usize,
    /// Guest spans with the host's span under which they came.
    guests: Vec<(u32, SpanId)>,
    dropped: Vec<(&'static str, u64)>,
}

impl Recording {
    pub(super) fn begin(telemetry: &Telemetry, begin: Begin) -> Recording {
        let anchor = Anchor::now();
        let ids = Delivery {
            invocation_id: ids::invocation_id(anchor.unix_ns),
            trace_id: begin.parent.as_ref().map_or_else(ids::trace_id, |parent| parent.trace_id),
            root_span_id: ids::span_id(),
            accepted_at_unix_ns: anchor.unix_ns,
            attempts: 0,
        };
        Recording::start(telemetry, begin, &ids, anchor)
    }

    /// With the ids that the call was accepted under: its root span begins now, its life began then.
    pub(super) fn resume(telemetry: &Telemetry, begin: Begin, delivery: &Delivery) -> Recording {
        let anchor = Anchor::at(delivery.accepted_at_unix_ns);
        let mut recording = Recording::start(telemetry, begin, delivery, anchor);
        let waited_ms = recording.data().begun_ns as f64 / 1e6;
        recording.set(recording.root(), attribute::ASYNC_QUEUE_MS, waited_ms);
        recording
    }

    fn start(telemetry: &Telemetry, begin: Begin, ids: &Delivery, anchor: Anchor) -> Recording {
        let Delivery { invocation_id, trace_id, .. } = *ids;
        let begun_ns = anchor.offset_ns_at_start();
        let flags = telemetry.0.sampler.flags(trace_id, begin.parent.as_ref().map(|parent| parent.flags));
        let plugin = bounded(begin.plugin);
        let action = bounded(begin.action);
        let (slot, pooled) = telemetry.0.queue.enter(ActiveInvocation {
            invocation_id,
            trace_id,
            plugin: plugin.clone(),
            version: None,
            action: action.clone(),
            created_at_unix_ns: anchor.unix_ns,
            running: false,
            attempts: ids.attempts,
        });
        let mut data = pooled.unwrap_or_else(|| Box::new(RecordingData::empty(invocation_id, trace_id)));
        data.invocation_id = invocation_id;
        data.trace_id = trace_id;
        data.flags = flags;
        data.origin = begin.origin;
        data.plugin = plugin;
        data.action = action;
        data.created_at_unix_ns = anchor.unix_ns;
        data.begun_ns = begun_ns;
        data.attempts = ids.attempts;
        let kind = match begin.origin {
            Origin::Network => SpanKind::Server,
            Origin::Local => SpanKind::Internal,
        };
        let parent = begin.parent.as_ref().map(|parent| parent.span_id);
        data.tracestate = begin.parent.and_then(|parent| parent.tracestate);
        let root = SpanRecord::open(ids.root_span_id, parent, Text::Static("invoke"), kind, begun_ns);
        data.spans.push(root);
        Recording {
            telemetry: telemetry.clone(),
            data: Some(data),
            anchor,
            attempts_before: ids.attempts,
            slot,
            series: None,
            attempt_open: false,
            turn: None,
            logs: 0,
            guest_bytes: 0,
            guests: Vec::new(),
            dropped: Vec::new(),
        }
    }

    pub fn invocation_id(&self) -> InvocationId {
        self.data().invocation_id
    }

    pub fn trace_id(&self) -> TraceId {
        self.data().trace_id
    }

    pub fn flags(&self) -> u8 {
        self.data().flags
    }

    pub fn created_at_unix_ns(&self) -> u64 {
        self.data().created_at_unix_ns
    }

    pub fn root(&self) -> SpanRef {
        SpanRef { index: 0, recorded: true }
    }

    pub fn span_id(&self, span: SpanRef) -> SpanId {
        self.data().spans[span.index as usize].id
    }

    /// The trace context for whoever is called from within `span`.
    pub fn traceparent(&self, span: SpanRef) -> String {
        format_traceparent(self.trace_id(), self.span_id(span), self.flags())
    }

    /// Time since the call came in, or out of the durable queue.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.anchor.offset_ns().saturating_sub(self.data().begun_ns))
    }

    /// The call goes to this version. Until then its metrics count for `plugin="_other"`.
    pub fn bind(&mut self, series: Arc<PluginSeries>) {
        let data = self.data.as_mut().expect(ALIVE);
        data.version = Some(series.version().clone());
        data.runtime = Some(series.runtime());
        data.spans[0].name = series.span_name();
        let version = series.version().clone();
        self.telemetry.0.queue.update(self.slot, |active| active.version = Some(version));
        series.entered();
        if let Some(before) = self.series.replace(series) {
            before.left();
        }
    }

    /// Opens a child of `parent`.
    pub fn open(&mut self, name: impl Into<Text>, parent: SpanRef) -> SpanRef {
        let now = self.anchor.offset_ns();
        let data = self.data.as_mut().expect(ALIVE);
        if data.spans.len() - self.guests.len() >= SPANS_MAX {
            self.dropped("spans", 1);
            return SpanRef { index: parent.index, recorded: false };
        }
        let parent = data.spans[parent.index as usize].id;
        let index = data.spans.len() as u32;
        data.spans.push(SpanRecord::open(ids::span_id(), Some(parent), name.into(), SpanKind::Internal, now));
        SpanRef { index, recorded: true }
    }

    /// Ends the span. Spans that are open at the ending are closed then.
    pub fn close(&mut self, span: SpanRef) {
        let now = self.anchor.offset_ns();
        if let Some(span) = self.span_mut(span).filter(|span| span.open) {
            span.open = false;
            span.end_ns = now;
        }
    }

    /// The step failed: closes its span with the status Error.
    pub fn fail(&mut self, span: SpanRef, kind: ErrorKind, message: &str) {
        if let Some(record) = self.span_mut(span) {
            record.error = Some(owned(message));
            self.push(span, attribute::ERROR_TYPE.into(), kind.as_str().into());
        }
        self.close(span);
    }

    /// Sets an attribute; a second value for a key replaces the first.
    pub fn set(&mut self, span: SpanRef, key: impl Into<Text>, value: impl Into<Value>) {
        if !span.recorded {
            return;
        }
        let (key, value) = (key.into(), value.into().bounded());
        let data = self.data.as_mut().expect(ALIVE);
        if data.text_bytes + value.text_bytes() > HOST_BYTES_MAX + GUEST_BYTES_MAX {
            return data.spans[span.index as usize].dropped_attributes += 1;
        }
        if !data.replace_field(span.index as usize, &key, &value) {
            data.push_field(span.index as usize, key, value);
        }
    }

    /// Something happened within `span`.
    pub fn event(&mut self, span: SpanRef, name: impl Into<Text>, fields: Vec<(Text, Value)>) {
        if !span.recorded {
            return;
        }
        let now = self.anchor.offset_ns();
        let data = self.data.as_mut().expect(ALIVE);
        let fields = fields.into_iter().map(|(key, value)| (key, value.bounded()));
        if data.events.len() < EVENTS_MAX && data.text_bytes < HOST_BYTES_MAX + GUEST_BYTES_MAX {
            data.push_event(span.index as usize, name.into(), now, fields);
        } else {
            data.spans[span.index as usize].dropped_events += 1;
        }
    }

    /// A typed event inside the call: a log record with its ids, a metric, and an event of `span`.
    pub fn emit(&mut self, span: SpanRef, event: impl Event) {
        let mut log = event.log();
        self.event(span, event.name(), log.fields.clone());
        let data = self.data();
        log.ids = Some(data.ids(self.span_id(span)));
        log.plugin.get_or_insert_with(|| data.plugin.clone());
        if log.version.is_none() {
            log.version.clone_from(&data.version);
        }
        let record = super::event_record(&event, log, &self.telemetry.0.metrics);
        self.telemetry.hand_over(Some(self.slot), record);
    }

    /// Messages of the plugin that a limit cut off; `what` is a short word such as `logs` or `stdout_bytes`.
    pub fn dropped(&mut self, what: &'static str, count: u64) {
        if let Some(series) = &self.series {
            series.guest_dropped(what, count);
        }
        if let Some((_, sum)) = self.dropped.iter_mut().find(|(known, _)| *known == what) {
            *sum += count;
        } else if self.dropped.len() < DROPPED_KINDS_MAX {
            self.dropped.push((what, count));
        }
    }

    /// An attempt begins. Only calls that reached one count in `invocation_duration_seconds`.
    pub fn attempt(&mut self) {
        if self.attempt_open {
            self.attempt_ended(Outcome::Failed);
        }
        self.attempt_open = true;
        let data = self.data_mut();
        data.attempts += 1;
        let attempts = data.attempts;
        self.telemetry.0.queue.update(self.slot, |active| active.attempts = attempts);
    }

    /// The attempt is over. One that is open at the ending ends with the invocation's outcome.
    pub fn attempt_ended(&mut self, outcome: Outcome) {
        if std::mem::take(&mut self.attempt_open)
            && let Some(series) = &self.series
        {
            series.attempt_ended(outcome);
        }
    }

    /// Those of earlier deliveries included.
    pub fn attempts(&self) -> u32 {
        self.data().attempts
    }

    /// Whether an attempt has begun since the recording did.
    pub fn has_attempted(&self) -> bool {
        self.data().attempts > self.attempts_before
    }

    /// `None`: no version has been found to call.
    pub fn version(&self) -> Option<&Arc<str>> {
        self.data().version.as_ref()
    }

    pub fn is_cold_start(&self) -> bool {
        self.data().cold_start
    }

    /// The wait for an instance is over; from now on the invocation is running.
    pub fn queue_wait(&mut self, waited: Duration) {
        self.turn = Some((self.anchor.offset_ns(), self.data().prepare));
        self.data_mut().queue += waited;
        if let Some(series) = &self.series {
            series.queue_wait(waited);
        }
        self.telemetry.0.queue.update(self.slot, |active| active.running = true);
    }

    /// How long the call has held its place since its last wait was over, and how much of that went into preparing
    /// an instance; `None`: its turn has not come.
    pub fn since_its_turn(&self) -> Option<(Duration, Duration)> {
        let (at_ns, prepared_before) = self.turn?;
        let held = Duration::from_nanos(self.anchor.offset_ns().saturating_sub(at_ns));
        Some((held, self.data().prepare.saturating_sub(prepared_before)))
    }

    /// How long it has waited for its turn, in all attempts.
    pub fn waited(&self) -> Duration {
        self.data().queue
    }

    /// The call had to wait for an instance to be prepared. Whoever prepared it tells
    /// [`PluginSeries::prepared`], since it may have served others too.
    pub fn cold_start(&mut self, prepare: Duration) {
        let data = self.data_mut();
        let first = !std::mem::replace(&mut data.cold_start, true);
        data.prepare += prepare;
        if let (true, Some(series)) = (first, &self.series) {
            series.cold_start();
        }
    }

    /// What went in, bounded and redacted by the caller of this.
    pub fn capture_input(&mut self, captured: Captured) {
        self.data_mut().captured_input = Some(captured);
    }

    pub fn capture_output(&mut self, captured: Captured) {
        self.data_mut().captured_output = Some(captured);
    }

    /// Input and output are not to be kept after all.
    pub fn forget_captured(&mut self) {
        let data = self.data_mut();
        data.captured_input = None;
        data.captured_output = None;
    }

    /// The ending.
    pub fn finish(mut self, ending: Ending<'_>) -> Finished {
        self.end(ending).expect(ALIVE)
    }

    /// The call has not ended: it goes back to the queue, and the recording of its next delivery tells all.
    pub fn suspend(mut self) {
        let Some(mut data) = self.data.take() else { return };
        self.attempt_ended(Outcome::Dropped);
        if let Some(series) = &self.series {
            series.left();
        }
        let reusable = data.clear().then_some(data);
        self.telemetry.0.queue.suspend(self.slot, reusable);
    }

    fn end(&mut self, ending: Ending<'_>) -> Option<Finished> {
        let mut data = self.data.take()?;
        let end_ns = self.anchor.offset_ns();
        data.duration = Duration::from_nanos(end_ns.saturating_sub(data.begun_ns));
        let labels = settle(&mut data, ending);
        self.attempt_ended(data.outcome);
        if self.series.is_none() {
            data.spans[0].name = format!("{}{}", names::span::INVOKE_PREFIX, data.plugin).into();
        }
        adopt_orphans(&mut data, &self.guests);
        close_open_spans(&mut data, end_ns);
        let kept = self.count(&data, labels);
        self.describe_root(&mut data, kept);
        let finished = Finished {
            invocation_id: data.invocation_id,
            trace_id: data.trace_id,
            root_span_id: data.spans[0].id,
            trace_flags: data.flags,
            plugin: data.plugin.clone(),
            version: data.version.clone(),
            action: data.action.clone(),
            duration: data.duration,
            queue: data.queue,
            attempts: data.attempts,
            cold_start: data.cold_start,
        };
        if self.telemetry.0.queue.leave(self.slot, data) {
            self.telemetry.wake();
        }
        Some(finished)
    }

    /// Metrics of the ending; whether the call became an exemplar.
    fn count(&self, data: &RecordingData, labels: EndingLabels) -> bool {
        let Some(series) = &self.series else {
            self.telemetry.0.metrics.unrouted(labels);
            return false;
        };
        series.left();
        series.ended(&data.action, labels);
        series.count_for_slo(EndedCall { ending: labels, took: data.duration, attempts: data.attempts });
        series.used(data.usage.cpu, data.usage.memory_peak_bytes);
        if data.attempts == 0 {
            return false;
        }
        let exemplar = data.sampled().then(|| Exemplar {
            trace_id: data.trace_id,
            span_id: data.spans[0].id,
            value: data.duration.as_secs_f64(),
            unix_ns: data.ended_unix_ns(),
        });
        series.took(data.outcome, data.duration, exemplar)
    }

    fn describe_root(&self, data: &mut RecordingData, kept: bool) {
        data.describe_root();
        for (what, count) in &self.dropped {
            data.push_field(0, format!("{}{what}", attribute::DROPPED_PREFIX).into(), (*count).into());
        }
        if kept {
            data.push_field(0, attribute::SAMPLING_KEEP.into(), true.into());
        }
    }

    fn data(&self) -> &RecordingData {
        self.data.as_ref().expect(ALIVE)
    }

    fn data_mut(&mut self) -> &mut RecordingData {
        self.data.as_mut().expect(ALIVE)
    }

    fn span_mut(&mut self, span: SpanRef) -> Option<&mut SpanRecord> {
        if span.recorded { self.data_mut().spans.get_mut(span.index as usize) } else { None }
    }

    fn push(&mut self, span: SpanRef, key: Text, value: Value) {
        self.data_mut().push_field(span.index as usize, key, value);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}

const ALIVE: &str = "only `end` takes the data, and it takes the recording with it";

// === What `end` does, step by step ===

/// Writes outcome, error and usage down.
fn settle(data: &mut RecordingData, ending: Ending<'_>) -> EndingLabels {
    let (outcome, error, usage) = match ending {
        Ending::Replied { usage } => (Outcome::Replied, None, usage),
        Ending::Failed { error, usage } if error.kind == ErrorKind::Cancelled => {
            (Outcome::Dropped, Some(error), usage)
        }
        Ending::Failed { error, usage } => (Outcome::Failed, Some(error), usage),
        Ending::Dropped => (Outcome::Dropped, None, data.usage),
    };
    data.outcome = outcome;
    data.usage = usage;
    data.error = match (outcome, error) {
        (Outcome::Replied, _) => None,
        (_, Some(error)) => Some(RecordedError { kind: error.kind, message: owned(&error.message) }),
        (_, None) => Some(RecordedError { kind: ErrorKind::Cancelled, message: "the caller left".into() }),
    };
    if let (Some(exception), Outcome::Failed) = (error.and_then(|error| error.exception.as_ref()), outcome) {
        let message = data.error.as_ref().map_or(Text::Static(""), |error| error.message.clone());
        let fields = [
            (attribute::EXCEPTION_TYPE.into(), owned(&exception.type_name).into()),
            (attribute::EXCEPTION_MESSAGE.into(), message.into()),
            (attribute::EXCEPTION_STACKTRACE.into(), owned(&exception.traceback).into()),
        ];
        let at_ns = data.begun_ns.saturating_add(nanoseconds(data.duration));
        data.push_event(0, names::event::EXCEPTION.into(), at_ns, fields);
    }
    data.text_bytes += data.error.as_ref().map_or(0, |error| error.message.len());
    EndingLabels { outcome, kind: data.error.as_ref().map(|error| error.kind) }
}

fn close_open_spans(data: &mut RecordingData, now_ns: u64) {
    let error = match (&data.error, data.outcome) {
        (Some(error), Outcome::Failed) => Some(error.message.clone()),
        _ => None,
    };
    for span in data.spans.iter_mut().filter(|span| span.open) {
        span.open = false;
        span.end_ns = now_ns;
        if span.error.is_none() {
            span.error.clone_from(&error);
        }
    }
}

fn owned(text: &str) -> Text {
    Text::Shared(truncate(text, TEXT_BYTES_MAX).into())
}

/// A name as asked may be anything; no registered one is longer than this.
fn bounded(name: Arc<str>) -> Arc<str> {
    if name.len() <= PluginName::LENGTH_MAX { name } else { truncate(&name, PluginName::LENGTH_MAX).into() }
}

// === impl SpanRecord, RecordingData ===

impl SpanRecord {
    fn open(id: SpanId, parent: Option<SpanId>, name: Text, kind: SpanKind, start_ns: u64) -> SpanRecord {
        SpanRecord {
            id,
            parent,
            name,
            kind,
            start_ns,
            end_ns: start_ns,
            error: None,
            dropped_attributes: 0,
            dropped_events: 0,
            open: true,
            fields: Chain::EMPTY,
            events: Chain::EMPTY,
        }
    }
}

impl RecordingData {
    pub(super) fn empty(invocation_id: InvocationId, trace_id: TraceId) -> RecordingData {
        RecordingData {
            invocation_id,
            trace_id,
            flags: 0,
            tracestate: None,
            origin: Origin::Local,
            plugin: names::OTHER.into(),
            version: None,
            runtime: None,
            action: names::OTHER.into(),
            created_at_unix_ns: 0,
            begun_ns: 0,
            duration: Duration::ZERO,
            attempts: 0,
            queue: Duration::ZERO,
            prepare: Duration::ZERO,
            cold_start: false,
            outcome: Outcome::Dropped,
            error: None,
            usage: Usage::default(),
            captured_input: None,
            captured_output: None,
            spans: Vec::with_capacity(8),
            fields: Vec::with_capacity(32),
            events: Vec::new(),
            text_bytes: 0,
        }
    }

    /// Makes it ready for another call. False: it grew too large to be kept.
    pub(super) fn clear(&mut self) -> bool {
        self.tracestate = None;
        self.version = None;
        self.runtime = None;
        self.duration = Duration::ZERO;
        self.attempts = 0;
        self.queue = Duration::ZERO;
        self.prepare = Duration::ZERO;
        self.cold_start = false;
        self.error = None;
        self.usage = Usage::default();
        self.captured_input = None;
        self.captured_output = None;
        self.spans.clear();
        self.fields.clear();
        self.events.clear();
        self.text_bytes = 0;
        self.fields.capacity() <= POOLED_FIELDS_MAX && self.spans.capacity() <= POOLED_FIELDS_MAX
    }

    /// The attributes that the root span of every call has.
    fn describe_root(&mut self) {
        let RecordingData { spans, fields, .. } = self;
        let root = &mut spans[0].fields;
        let mut set = |key: &'static str, value: Value| root.push_field(fields, Text::Static(key), value);
        set(attribute::INVOCATION_ID, self.invocation_id.into());
        set(attribute::PLUGIN_NAME, self.plugin.clone().into());
        if let (Some(version), Some(runtime)) = (&self.version, self.runtime) {
            set(attribute::PLUGIN_VERSION, version.clone().into());
            set(attribute::PLUGIN_RUNTIME, runtime.into());
        }
        set(attribute::ACTION, self.action.clone().into());
        set(attribute::OUTCOME, self.outcome.as_str().into());
        if let Some(error) = &self.error {
            set(attribute::ERROR_TYPE, error.kind.as_str().into());
            set(attribute::BLAME, error.kind.blame().as_str().into());
        }
        set(attribute::ATTEMPTS, self.attempts.into());
        set(attribute::COLD_START, self.cold_start.into());
        set(attribute::SANDBOX_TIER, names::SANDBOX_TIER.into());
        set(attribute::INPUT_BYTES, self.usage.input_bytes.into());
        set(attribute::OUTPUT_BYTES, self.usage.output_bytes.into());
        if self.attempts > 0 {
            set(attribute::USAGE_CPU, self.usage.cpu.as_secs_f64().into());
            set(attribute::USAGE_MEMORY_PEAK, self.usage.memory_peak_bytes.into());
        }
    }

    /// Whether `key` was set before on this span; then it has the new value now.
    fn replace_field(&mut self, span: usize, key: &Text, value: &Value) -> bool {
        let Some(chain) = self.spans.get(span).map(|span| span.fields) else { return true };
        let RecordingData { fields, text_bytes, .. } = self;
        match chain.find_mut(fields, key) {
            Some(field) => {
                *text_bytes += value.text_bytes();
                field.value = value.clone();
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
