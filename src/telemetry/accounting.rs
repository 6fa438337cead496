//! The book: for every signal, `produced + recovered = exported + queued + spooled + dropped`, exactly, at
//! every moment at which anyone looks.
//!
//! What makes it exact: the queue counts under its shards' locks, the telemetry thread holds the book while it
//! swaps a shard, and a reader holds the book and all shards at once. Locks are taken in that order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::clock;
use super::metrics::lock;
use super::names::{self, Family, FamilyKind};
use super::queue::{Counts, Queue};
use super::record::Record;

/// Encoded batches of one signal that may wait for the collector.
pub const BUFFER_BYTES_MAX: usize = 32 << 20;

/// Waiting batches are joined up to this size.
const JOINED_BYTES_MAX: usize = 64 << 10;

/// What is delivered to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    pub const ALL: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

    pub const fn as_str(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
        }
    }
}

/// Why records were given up. Values of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The queue between the calls and the telemetry thread was full.
    QueueFull,
    /// Encoded batches that waited for the collector took too much memory.
    BufferFull,
    /// The collector took the batch but not these.
    Rejected,
    /// The collector refused the batch for good.
    Refused,
    /// They could not be encoded.
    Encoding,
    /// A newer export of the same metrics took its place.
    Superseded,
    /// The process ended before they could be sent.
    Shutdown,
}

impl DropReason {
    pub const ALL: [DropReason; 7] = [
        DropReason::QueueFull,
        DropReason::BufferFull,
        DropReason::Rejected,
        DropReason::Refused,
        DropReason::Encoding,
        DropReason::Superseded,
        DropReason::Shutdown,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::BufferFull => "buffer_full",
            DropReason::Rejected => "rejected",
            DropReason::Refused => "refused",
            DropReason::Encoding => "encoding",
            DropReason::Superseded => "superseded",
            DropReason::Shutdown => "shutdown",
        }
    }
}

/// One signal's side of the book at one moment, in records.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SignalAccount {
    pub produced: u64,
    pub recovered: u64,
    pub exported: u64,
    pub queued: u64,
    pub spooled: u64,
    /// By [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// When the collector last accepted something.
    pub last_export_unix_seconds: f64,
    pub spool_bytes: u64,
}

/// A consistent snapshot of all signals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accounting {
    pub traces: SignalAccount,
    pub logs: SignalAccount,
    pub metrics: SignalAccount,
}

impl SignalAccount {
    pub fn dropped_sum(&self) -> u64 {
        self.dropped.iter().sum()
    }

    pub fn balances(&self) -> bool {
        self.produced + self.recovered == self.exported + self.queued + self.spooled + self.dropped_sum()
    }
}

impl Accounting {
    pub fn get(&self, signal: Signal) -> &SignalAccount {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }

    pub fn balances(&self) -> bool {
        Signal::ALL.iter().all(|signal| self.get(*signal).balances())
    }
}

/// Everything that left the queue: encoded batches and what became of them.
pub(super) struct Book {
    pages: Mutex<[Page; Signal::ALL.len()]>,
    buffer_bytes_max: usize,
}

#[derive(Default)]
struct Page {
    /// Only of metrics, which have no queue.
    produced: u64,
    exported: u64,
    dropped: [u64; DropReason::ALL.len()],
    /// Taken out of the queue and not yet encoded.
    in_work: u64,
    /// Encoded, oldest first.
    buffer: VecDeque<Batch>,
    /// Whether the first batch is being sent.
    in_flight: bool,
    last_export_unix_seconds: f64,
}

/// A request that waits for the collector.
#[derive(Clone)]
pub(super) struct Batch {
    pub records: u64,
    pub body: Bytes,
}

/// What one drain took out of the queue.
#[derive(Default)]
pub(super) struct Drained {
    pub records: Vec<Record>,
    /// Records that the full queue refused since the last time.
    pub refused: u64,
}

// === impl Book ===

impl Book {
    pub fn new(buffer_bytes_max: usize) -> Book {
        Book { pages: Mutex::default(), buffer_bytes_max }
    }

    /// Empties the queue into the telemetry thread's hands.
    pub fn drain(&self, queue: &Queue) -> Drained {
        let mut drained = Drained::default();
        let mut pages = lock(&self.pages);
        queue.each(|shard| {
            let (mut records, counts) = shard.take();
            drained.records.append(&mut records);
            drained.refused += shard.take_refused_records();
            pages[Signal::Traces as usize].in_work += counts.traces;
            pages[Signal::Logs as usize].in_work += counts.logs;
        });
        drained
    }

    /// A batch is ready to be sent. Where there is no room, the oldest that is not being sent gives way.
    pub fn encoded(&self, signal: Signal, batch: Batch) {
        let mut pages = lock(&self.pages);
        let page = &mut pages[signal as usize];
        page.in_work -= batch.records.min(page.in_work);
        page.append(batch);
        while page.buffer.iter().map(|batch| batch.body.len()).sum::<usize>() > self.buffer_bytes_max {
            let oldest = usize::from(page.in_flight);
            let Some(gone) = page.buffer.remove(oldest) else { break };
            page.drop(DropReason::BufferFull, gone.records);
        }
    }

    /// Records in work that cannot be encoded.
    pub fn not_encoded(&self, signal: Signal, records: u64) {
        let mut pages = lock(&self.pages);
        let page = &mut pages[signal as usize];
        page.in_work -= records.min(page.in_work);
        page.drop(DropReason::Encoding, records);
    }

    /// Metrics are cumulative: a newer export takes the place of one that nobody took yet.
    pub fn replaced(&self, signal: Signal, batch: Batch) {
        let mut pages = lock(&self.pages);
        let page = &mut pages[signal as usize];
        page.produced += batch.records;
        while page.buffer.len() > usize::from(page.in_flight) {
            let Some(gone) = page.buffer.pop_back() else { break };
            page.drop(DropReason::Superseded, gone.records);
        }
        page.buffer.push_back(batch);
    }

    /// The batch to send next. It stays in the book until it is settled.
    pub fn next(&self, signal: Signal) -> Option<Batch> {
        let mut pages = lock(&self.pages);
        let page = &mut pages[signal as usize];
        let batch = page.buffer.front().cloned();
        page.in_flight = batch.is_some();
        batch
    }

    /// The collector took the batch in flight, but for `rejected` records.
    pub fn accepted(&self, signal: Signal, rejected: u64) {
        self.settle(signal, |page, batch| {
            let rejected = rejected.min(batch.records);
            page.exported += batch.records - rejected;
            page.drop(DropReason::Rejected, rejected);
            page.last_export_unix_seconds = clock::unix_ns() as f64 / 1e9;
        });
    }

    /// The collector will never take the batch in flight.
    pub fn refused(&self, signal: Signal) {
        self.settle(signal, |page, batch| page.drop(DropReason::Refused, batch.records));
    }

    /// The batch in flight has to wait.
    pub fn postponed(&self, signal: Signal) {
        lock(&self.pages)[signal as usize].in_flight = false;
    }

    /// The end: whatever waits is lost.
    pub fn give_up(&self) {
        for page in lock(&self.pages).iter_mut() {
            let waiting = page.in_work + page.buffer.iter().map(|batch| batch.records).sum::<u64>();
            page.in_work = 0;
            page.buffer.clear();
            page.in_flight = false;
            page.drop(DropReason::Shutdown, waiting);
        }
    }

    /// All signals at one moment.
    pub fn snapshot(&self, queue: &Queue) -> Accounting {
        let pages = lock(&self.pages);
        queue.locked(|shards| {
            let sum = |count: fn(&Counts) -> u64| {
                let mut account = SignalAccount::default();
                for shard in shards {
                    account.produced += count(&shard.produced);
                    account.queued += count(&shard.waiting);
                    account.dropped[DropReason::QueueFull as usize] += count(&shard.refused);
                    account.dropped[DropReason::Shutdown as usize] += count(&shard.refused_closed);
                }
                account
            };
            Accounting {
                traces: pages[Signal::Traces as usize].added_to(sum(|counts| counts.traces)),
                logs: pages[Signal::Logs as usize].added_to(sum(|counts| counts.logs)),
                metrics: pages[Signal::Metrics as usize].added_to(SignalAccount::default()),
            }
        })
    }

    fn settle(&self, signal: Signal, book: impl FnOnce(&mut Page, Batch)) {
        let mut pages = lock(&self.pages);
        let page = &mut pages[signal as usize];
        page.in_flight = false;
        if let Some(batch) = page.buffer.pop_front() {
            book(page, batch);
        }
    }
}

impl Page {
    /// Small batches that wait are joined, so that a collector that comes back is not asked thousands of
    /// times: two protobuf messages in a row are one message with the repeated fields of both.
    fn append(&mut self, batch: Batch) {
        let waiting = self.buffer.len() > usize::from(self.in_flight);
        match self.buffer.back_mut().filter(|_| waiting) {
            Some(last) if last.body.len() + batch.body.len() <= JOINED_BYTES_MAX => {
                last.body = [&*last.body, &*batch.body].concat().into();
                last.records += batch.records;
            }
            _ => self.buffer.push_back(batch),
        }
    }

    fn drop(&mut self, reason: DropReason, records: u64) {
        self.dropped[reason as usize] += records;
    }

    fn added_to(&self, mut account: SignalAccount) -> SignalAccount {
        account.produced += self.produced;
        account.exported += self.exported;
        account.queued += self.in_work + self.buffer.iter().map(|batch| batch.records).sum::<u64>();
        for (sum, dropped) in account.dropped.iter_mut().zip(self.dropped) {
            *sum += dropped;
        }
        account.last_export_unix_seconds = self.last_export_unix_seconds;
        account
    }
}

// === On /metrics ===

/// Puts one snapshot into one scrape.
pub(super) struct AccountingCollector {
    book: Arc<Book>,
    queue: Arc<Queue>,
    descriptions: Vec<Desc>,
}

const FAMILIES: [&Family; 8] = [
    &names::TELEMETRY_PRODUCED,
    &names::TELEMETRY_RECOVERED,
    &names::TELEMETRY_EXPORTED,
    &names::TELEMETRY_DROPPED,
    &names::TELEMETRY_QUEUED,
    &names::TELEMETRY_SPOOLED,
    &names::TELEMETRY_LAST_EXPORT,
    &names::TELEMETRY_SPOOL_BYTES,
];

impl AccountingCollector {
    pub fn new(book: Arc<Book>, queue: Arc<Queue>) -> Result<AccountingCollector, prometheus::Error> {
        let describe = |family: &&Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.into(), family.help.into(), labels, HashMap::new())
        };
        let descriptions = FAMILIES.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(AccountingCollector { book, queue, descriptions })
    }
}

impl Collector for AccountingCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let accounting = self.book.snapshot(&self.queue);
        FAMILIES.iter().map(|family| collect_family(family, &accounting)).collect()
    }
}

fn collect_family(family: &Family, accounting: &Accounting) -> proto::MetricFamily {
    let mut metrics = Vec::new();
    for signal in Signal::ALL {
        let account = accounting.get(signal);
        if family.name == names::TELEMETRY_DROPPED.name {
            for reason in DropReason::ALL {
                let labels = [("reason", reason.as_str()), ("signal", signal.as_str())];
                metrics.push(sample(family, &labels, account.dropped[reason as usize] as f64));
            }
            continue;
        }
        let value = match family.name {
            name if name == names::TELEMETRY_PRODUCED.name => account.produced as f64,
            name if name == names::TELEMETRY_RECOVERED.name => account.recovered as f64,
            name if name == names::TELEMETRY_EXPORTED.name => account.exported as f64,
            name if name == names::TELEMETRY_QUEUED.name => account.queued as f64,
            name if name == names::TELEMETRY_SPOOLED.name => account.spooled as f64,
            name if name == names::TELEMETRY_LAST_EXPORT.name => account.last_export_unix_seconds,
            _ => account.spool_bytes as f64,
        };
        metrics.push(sample(family, &[("signal", signal.as_str())], value));
    }
    let mut collected = proto::MetricFamily::default();
    collected.set_name(family.name.to_owned());
    collected.set_help(family.help.to_owned());
    collected.set_field_type(match family.kind {
        FamilyKind::Counter => proto::MetricType::COUNTER,
        FamilyKind::Gauge | FamilyKind::Histogram => proto::MetricType::GAUGE,
    });
    collected.set_metric(metrics);
    collected
}

fn sample(family: &Family, labels: &[(&str, &str)], value: f64) -> proto::Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut metric = proto::Metric::from_label(labels.iter().map(pair).collect());
    if family.kind == FamilyKind::Counter {
        let mut counter = proto::Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}
