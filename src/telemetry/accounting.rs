//! The book: for every signal, `produced + recovered = exported + queued + spooled + dropped`, exactly, at
//! every moment at which anyone looks.

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
    /// A newer export of the same metrics took its place.
    Superseded,
    /// The process ended before they could be sent.
    Shutdown,
}

impl DropReason {
    pub const ALL: [DropReason; 6] = [
        DropReason::QueueFull,
        DropReason::BufferFull,
        DropReason::Rejected,
        DropReason::Refused,
        DropReason::Superseded,
        DropReason::Shutdown,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::BufferFull => "buffer_full",
            DropReason::Rejected => "rejected",
            DropReason::Refused => "refused",
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
