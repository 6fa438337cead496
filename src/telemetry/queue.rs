//! Between the calls and the telemetry thread: sharded, bounded, and exact about what it refuses. A call
//! holds a shard's lock for the time of a push; the telemetry thread swaps whole vectors out.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::model::ids::{InvocationId, TraceId};

use super::metrics::lock;
use super::record::{Record, RecordingData};

/// A power of two: enough that threads rarely meet.
const SHARDS: usize = 4;
/// Records that may wait, in all shards together.
pub const QUEUE_RECORDS_MAX: usize = 16_384;
/// Bytes that they may hold.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
const SHARD_RECORDS_MAX: usize = QUEUE_RECORDS_MAX / SHARDS;
const SHARD_BYTES_MAX: usize = QUEUE_BYTES_MAX / SHARDS;
/// Log records take no more than this part of it: a plugin that prints without end pushes out lines, never the
/// ending of a call.
const LOGS_PART: (usize, usize) = (3, 4);
/// Recordings kept for reuse, per shard: what the calls between two drains need.
const POOL_MAX: usize = 1_024;
/// Room that a drained shard gets at once, so that pushes do not grow it step by step.
const TAKEN_CAPACITY_MAX: usize = 1_024;

/// The signals that go to a collector from here. Metrics have no queue: they are read when they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub traces: u64,
    pub logs: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.traces += other.traces;
        self.logs += other.logs;
    }
}

/// Which signals have somewhere to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Enabled {
    pub traces: bool,
    pub logs: bool,
}

impl Enabled {
    /// How many records of each signal the collector is to get for `record`.
    pub fn counts(self, record: &Record) -> Counts {
        let (traces, logs) = match record {
            Record::Invocation(recording) => {
                (if recording.sampled() { recording.spans.len() as u64 } else { 0 }, 1)
            }
            Record::Log(_) => (0, 1),
            Record::Operation(_) => (1, 0),
        };
        Counts { traces: if self.traces { traces } else { 0 }, logs: if self.logs { logs } else { 0 } }
    }
}

/// An invocation that has not ended.
#[derive(Clone, Debug)]
pub struct ActiveInvocation {
    pub invocation_id: InvocationId,
    pub trace_id: TraceId,
    pub plugin: Arc<str>,
    pub version: Option<Arc<str>>,
    pub action: Arc<str>,
    pub created_at_unix_ns: u64,
    /// Whether an instance has it; before that it is queued.
    pub running: bool,
    /// Those of earlier deliveries included.
    pub attempts: u32,
}

pub(super) struct Queue {
    shards: [Shard; SHARDS],
    enabled: Enabled,
}

/// Two shards never share a cache line.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<ShardState>);

#[derive(Default)]
pub(super) struct ShardState {
    full: Vec<Record>,
    bytes: usize,
    /// What `full` holds for the collector.
    pub waiting: Counts,
    /// All that was ever handed over for the collector.
    pub produced: Counts,
    /// What of it was refused.
    pub refused: Counts,
    pub refused_closed: Counts,
    /// Records that were refused, whoever would have wanted them.
    refused_records: u64,
    closed: bool,
    #[allow(clippy::vec_box, reason = "boxes go round: each one becomes a record's again")]
    free: Vec<Box<RecordingData>>,
    active: Vec<Option<ActiveInvocation>>,
    active_free: Vec<u32>,
}

/// Where a recording stands in the table of active invocations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    shard: u8,
    index: u32,
}

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl Queue {
    pub fn new(enabled: Enabled) -> Queue {
        Queue { shards: Default::default(), enabled }
    }

    /// Notes that an invocation began; gives a used recording if there is one.
    pub fn enter(&self, active: ActiveInvocation) -> (Slot, Option<Box<RecordingData>>) {
        let shard = SHARD.with(|shard| *shard);
        let mut state = lock(&self.shards[shard].0);
        let index = match state.active_free.pop() {
            Some(index) => {
                state.active[index as usize] = Some(active);
                index
            }
            None => {
                state.active.push(Some(active));
                (state.active.len() - 1) as u32
            }
        };
        (Slot { shard: shard as u8, index }, state.free.pop())
    }

    /// Changes what is known about an active invocation.
    pub fn update(&self, slot: Slot, change: impl FnOnce(&mut ActiveInvocation)) {
        let mut state = lock(&self.shards[usize::from(slot.shard)].0);
        if let Some(Some(active)) = state.active.get_mut(slot.index as usize) {
            change(active);
        }
    }

    /// The invocation has ended: hands its recording over. Whether the telemetry thread should wake up.
    pub fn leave(&self, slot: Slot, recording: Box<RecordingData>) -> bool {
        let record = Record::Invocation(recording);
        let (counts, bytes) = (self.enabled.counts(&record), record.bytes());
        let mut state = lock(&self.shards[usize::from(slot.shard)].0);
        let gone = state.active.get_mut(slot.index as usize).and_then(Option::take);
        state.active_free.push(slot.index);
        let wake = state.push(record, counts, bytes);
        drop(state);
        drop(gone);
        wake
    }

    /// The invocation goes on later, as another recording; the box of this one is free.
    pub fn suspend(&self, slot: Slot, recording: Option<Box<RecordingData>>) {
        let mut state = lock(&self.shards[usize::from(slot.shard)].0);
        let gone = state.active.get_mut(slot.index as usize).and_then(Option::take);
        state.active_free.push(slot.index);
        drop(state);
        drop(gone);
        self.recycle(recording.into_iter().collect());
    }

    /// Hands over a record that belongs to no call. Whether the telemetry thread should wake up.
    pub fn push(&self, record: Record) -> bool {
        self.push_to(SHARD.with(|shard| *shard), record)
    }

    /// Hands over a record of a call, into the call's shard: lines come before the invocation's ending.
    pub fn push_for(&self, slot: Slot, record: Record) -> bool {
        self.push_to(usize::from(slot.shard), record)
    }

    fn push_to(&self, shard: usize, record: Record) -> bool {
        let (counts, bytes) = (self.enabled.counts(&record), record.bytes());
        lock(&self.shards[shard].0).push(record, counts, bytes)
    }

    pub fn active(&self) -> Vec<ActiveInvocation> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(lock(&shard.0).active.iter().flatten().cloned());
        }
        all.sort_by_key(|active| active.invocation_id);
        all
    }

    /// Visits every shard in order, each under its lock. Whoever wants a consistent sum holds the book.
    pub fn each(&self, mut visit: impl FnMut(&mut ShardState)) {
        for shard in &self.shards {
            visit(&mut lock(&shard.0));
        }
    }

    /// All shards locked at once, in order.
    pub fn locked<R>(&self, read: impl FnOnce(&[&ShardState]) -> R) -> R {
        let guards: Vec<_> = self.shards.iter().map(|shard| lock(&shard.0)).collect();
        let states: Vec<&ShardState> = guards.iter().map(|guard| &**guard).collect();
        read(&states)
    }

    /// Gives recordings back for reuse.
    #[allow(clippy::vec_box, reason = "see `ShardState::free`")]
    pub fn recycle(&self, mut recordings: Vec<Box<RecordingData>>) {
        for shard in &self.shards {
            if recordings.is_empty() {
                return;
            }
            let mut state = lock(&shard.0);
            let room = POOL_MAX.saturating_sub(state.free.len());
            let rest = recordings.split_off(room.min(recordings.len()));
            state.free.append(&mut recordings);
            recordings = rest;
        }
    }
}

impl ShardState {
    fn push(&mut self, record: Record, counts: Counts, bytes: usize) -> bool {
        self.produced += counts;
        if self.closed {
            self.refused_closed += counts;
            self.refused_records += 1;
            return false;
        }
        let (part, of) = if matches!(record, Record::Log(_)) { LOGS_PART } else { (1, 1) };
        let (records_max, bytes_max) = (SHARD_RECORDS_MAX * part / of, SHARD_BYTES_MAX * part / of);
        if self.full.len() >= records_max || self.bytes + bytes > bytes_max {
            self.refused += counts;
            self.refused_records += 1;
            return true;
        }
        let half_before = self.half_full();
        self.full.push(record);
        self.bytes += bytes;
        self.waiting += counts;
        !half_before && self.half_full()
    }

    fn half_full(&self) -> bool {
        self.full.len() >= SHARD_RECORDS_MAX / 2 || self.bytes >= SHARD_BYTES_MAX / 2
    }

    /// Takes all that waits.
    pub fn take(&mut self) -> (Vec<Record>, Counts) {
        self.bytes = 0;
        let empty = Vec::with_capacity(self.full.len().min(TAKEN_CAPACITY_MAX));
        (std::mem::replace(&mut self.full, empty), std::mem::take(&mut self.waiting))
    }

    /// Records refused since the last time it was asked.
    pub fn take_refused_records(&mut self) -> u64 {
        std::mem::take(&mut self.refused_records)
    }

    /// From now on everything is refused, and counted.
    pub fn close(&mut self) {
        self.closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::guest::{LogStream, Severity};
    use crate::telemetry::record::{LogRecord, TEXT_BYTES_MAX};

    fn line(bytes: usize) -> Record {
        Record::Log(Box::new(LogRecord {
            unix_ns: 1,
            severity: Severity::Info,
            stream: LogStream::Stdout,
            body: "x".repeat(bytes).into(),
            event_name: None,
            ids: None,
            plugin: None,
            version: None,
            fields: Vec::new(),
            dropped_fields: 0,
        }))
    }

    fn flood(lines: u64, bytes: usize) -> (usize, usize, Counts, Counts) {
        let queue = Queue::new(Enabled { traces: true, logs: true });
        let wakes = (0..lines).filter(|_| queue.push(line(bytes))).count();
        assert!(wakes > 0, "the telemetry thread is woken before it is too late");
        let (mut held, mut records, mut refused) = (0, 0, Counts::default());
        let mut waiting = Counts::default();
        queue.each(|shard| {
            refused += shard.refused;
            waiting += shard.waiting;
            held += shard.bytes;
            records += shard.take().0.len();
        });
        assert_eq!(waiting.logs, records as u64, "what is counted is what is there");
        (held, records, waiting, refused)
    }

    #[test]
    fn a_flood_of_long_lines_is_bounded_by_bytes() {
        let (held, records, waiting, refused) = flood(10_000, TEXT_BYTES_MAX);
        assert!(held <= QUEUE_BYTES_MAX && records < SHARD_RECORDS_MAX);
        assert_eq!(waiting.logs + refused.logs, 10_000);
    }

    #[test]
    fn a_flood_of_lines_leaves_room_for_the_endings_of_calls() {
        let queue = Queue::new(Enabled { traces: true, logs: true });
        (0..10_000).for_each(|_| {
            queue.push(line(1));
        });
        let ids = (InvocationId::new(uuid::Uuid::from_u128(1)), TraceId::from_bytes([1; 16]).unwrap());
        for _ in 0..1_000 {
            let (slot, _) = queue.enter(ActiveInvocation {
                invocation_id: ids.0,
                trace_id: ids.1,
                plugin: "quiet".into(),
                version: None,
                action: "invoke".into(),
                created_at_unix_ns: 1,
                running: false,
                attempts: 0,
            });
            queue.leave(slot, Box::new(RecordingData::empty(ids.0, ids.1)));
        }
        let mut endings = 0;
        queue.each(|shard| {
            let records = shard.take().0;
            endings += records.iter().filter(|record| matches!(record, Record::Invocation(_))).count();
        });
        assert_eq!(endings, 1_000);
    }

    #[test]
    fn a_flood_of_short_lines_is_bounded_by_records() {
        let (_, records, waiting, refused) = flood(10_000, 1);
        assert_eq!(records, SHARD_RECORDS_MAX * 3 / 4);
        assert_eq!(waiting.logs + refused.logs, 10_000);
    }
}
