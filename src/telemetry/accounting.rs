//! The book: for every signal, `produced + recovered = exported + queued + spooled + dropped`, exactly, at
//! every moment at which anyone looks.
//!
//! What makes it exact: the queue counts under its shards' locks, the telemetry thread holds the book while it
//! swaps a shard, and a reader holds the book and all shards at once. Locks are taken in that order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::clock;
use super::metrics::lock;
use super::names::{self, Family, FamilyKind};
use super::queue::{Counts, Queue};
use super::record::Record;

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
    /// The spool had reached its bound; the oldest gave way.
    SpoolFull,
    /// The disk did not take them, and memory was full.
    SpoolIo,
    /// They lay in the spool for too long.
    Expired,
    /// They were found damaged in the spool.
    Corrupt,
    /// The process ended before they could be sent.
    Shutdown,
}

impl DropReason {
    pub const ALL: [DropReason; 11] = [
        DropReason::QueueFull,
        DropReason::BufferFull,
        DropReason::Rejected,
        DropReason::Refused,
        DropReason::Encoding,
        DropReason::Superseded,
        DropReason::SpoolFull,
        DropReason::SpoolIo,
        DropReason::Expired,
        DropReason::Corrupt,
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
            DropReason::SpoolFull => "spool_full",
            DropReason::SpoolIo => "spool_io",
            DropReason::Expired => "expired",
            DropReason::Corrupt => "corrupt",
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

/// Everything that left the queue, in numbers. The batches themselves are in the outboxes, which tell each of
/// their steps here.
#[derive(Default)]
pub(super) struct Book {
    pages: Mutex<[Page; Signal::ALL.len()]>,
}

/// Where records are between the queue and their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the telemetry thread's hands, not yet encoded.
    Work,
    /// Encoded, in memory.
    Memory,
    /// Encoded, in the spool.
    Spool,
}

/// One signal's numbers. Each method is one step that keeps the balance.
#[derive(Default)]
pub(super) struct Page {
    /// Only of metrics, which have no queue.
    produced: u64,
    recovered: u64,
    exported: u64,
    dropped: [u64; DropReason::ALL.len()],
    /// By [`Place`].
    held: [u64; 3],
    last_export_unix_seconds: f64,
    pub spool_bytes: u64,
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
    /// Empties the queue into the telemetry thread's hands.
    pub fn drain(&self, queue: &Queue) -> Drained {
        let mut drained = Drained::default();
        let mut pages = lock(&self.pages);
        queue.each(|shard| {
            let (mut records, counts) = shard.take();
            drained.records.append(&mut records);
            drained.refused += shard.take_refused_records();
            pages[Signal::Traces as usize].held[Place::Work as usize] += counts.traces;
            pages[Signal::Logs as usize].held[Place::Work as usize] += counts.logs;
        });
        drained
    }

    /// Steps that are seen together or not at all.
    pub fn write(&self, signal: Signal, steps: impl FnOnce(&mut Page)) {
        steps(&mut lock(&self.pages)[signal as usize]);
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
}

// === impl Page ===

impl Page {
    /// Records that no queue has seen: they are in the telemetry thread's hands.
    pub fn produced(&mut self, records: u64) {
        self.produced += records;
        self.held[Place::Work as usize] += records;
    }

    /// Records that an earlier process left behind.
    pub fn recovered(&mut self, records: u64) {
        self.recovered += records;
        self.held[Place::Spool as usize] += records;
    }

    pub fn moved(&mut self, records: u64, from: Place, to: Place) {
        let records = self.take(from, records);
        self.held[to as usize] += records;
    }

    /// The collector took them, but for `rejected`.
    pub fn exported(&mut self, records: u64, from: Place, rejected: u64) {
        let records = self.take(from, records);
        let rejected = rejected.min(records);
        self.exported += records - rejected;
        self.dropped[DropReason::Rejected as usize] += rejected;
        self.last_export_unix_seconds = clock::unix_ns() as f64 / 1e9;
    }

    pub fn dropped(&mut self, records: u64, from: Place, reason: DropReason) {
        self.dropped[reason as usize] += self.take(from, records);
    }

    /// What is in work is lost.
    pub fn give_up(&mut self) {
        self.dropped(self.held[Place::Work as usize], Place::Work, DropReason::Shutdown);
    }

    /// Never more than there is: whatever else goes wrong, the book balances.
    fn take(&mut self, from: Place, records: u64) -> u64 {
        let held = &mut self.held[from as usize];
        debug_assert!(records <= *held, "{records} of {held} records in {from:?}");
        let taken = records.min(*held);
        *held -= taken;
        taken
    }

    fn added_to(&self, mut account: SignalAccount) -> SignalAccount {
        account.produced += self.produced;
        account.recovered = self.recovered;
        account.exported += self.exported;
        account.queued += self.held[Place::Work as usize] + self.held[Place::Memory as usize];
        account.spooled = self.held[Place::Spool as usize];
        account.spool_bytes = self.spool_bytes;
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
