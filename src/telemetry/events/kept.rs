//! What becomes of what is written down: the store, the ledger, the built-in series.

use crate::model::guest::Severity;

use super::{Entry, Event, Metrics};
use crate::telemetry::names::event;
use crate::telemetry::record::LogRecord;

/// Records that did not reach the ledger.
pub struct LedgerRecordsDropped {
    pub reason: &'static str,
    pub records: u64,
}

pub struct StoreWriteFailed<'a> {
    pub message: &'a str,
}

pub struct StoreRecovered;

/// The file of the built-in series takes nothing, or was damaged; they go on in memory.
pub struct SeriesWriteFailed<'a> {
    pub message: &'a str,
}

pub struct SeriesRecovered;

impl Event for LedgerRecordsDropped {
    fn name(&self) -> &'static str {
        event::LEDGER_RECORDS_DROPPED
    }

    fn log(&self) -> LogRecord {
        Entry::new(
            Severity::Error,
            format!("{} records did not reach the ledger: {}", self.records, self.reason),
        )
        .with("reason", self.reason)
        .with("records", self.records)
        .0
    }

    fn count(&self, metrics: &Metrics) {
        metrics.ledger_dropped(self.reason, self.records);
    }
}

impl Event for StoreWriteFailed<'_> {
    fn name(&self) -> &'static str {
        event::STORE_WRITE_FAILED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Error, format!("the store cannot be written: {}", self.message)).0
    }

    fn count(&self, metrics: &Metrics) {
        metrics.set_store_writable(false);
    }
}

impl Event for StoreRecovered {
    fn name(&self) -> &'static str {
        event::STORE_RECOVERED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Info, "the store can be written again").0
    }

    fn count(&self, metrics: &Metrics) {
        metrics.set_store_writable(true);
    }
}

impl Event for SeriesWriteFailed<'_> {
    fn name(&self) -> &'static str {
        event::SERIES_WRITE_FAILED
    }

    fn log(&self) -> LogRecord {
        let body = format!("the built-in series are not written down: {}", self.message);
        Entry::new(Severity::Error, body).0
    }
}

impl Event for SeriesRecovered {
    fn name(&self) -> &'static str {
        event::SERIES_RECOVERED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Info, "the built-in series are written down again").0
    }
}
