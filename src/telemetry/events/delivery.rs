//! What becomes of telemetry on its way out.

use crate::model::guest::Severity;

use super::{Entry, Event};
use crate::telemetry::names::event;
use crate::telemetry::record::LogRecord;

/// Telemetry was lost since the last time this was said.
pub struct TelemetryDropped {
    pub signal: &'static str,
    pub reason: &'static str,
    pub records: u64,
}

/// The collector does not take what it is sent; it is tried again.
pub struct TelemetryExportFailed<'a> {
    pub signal: &'static str,
    pub message: &'a str,
}

pub struct TelemetryExportRecovered {
    pub signal: &'static str,
}

/// An earlier process left records in the spool; they are sent now.
pub struct TelemetryRecovered {
    pub signal: &'static str,
    pub records: u64,
}

/// Part of the spool could not be read.
pub struct TelemetrySpoolDamaged<'a> {
    pub signal: &'static str,
    pub message: &'a str,
}

/// The spool cannot be written; what is new waits in memory.
pub struct TelemetrySpoolFailed<'a> {
    pub signal: &'static str,
    pub message: &'a str,
}

pub struct TelemetrySpoolRecovered {
    pub signal: &'static str,
}

impl Event for TelemetryDropped {
    fn name(&self) -> &'static str {
        event::TELEMETRY_DROPPED
    }

    fn log(&self) -> LogRecord {
        let body = format!("{} records of {} were dropped: {}", self.records, self.signal, self.reason);
        Entry::new(Severity::Warn, body)
            .with("signal", self.signal)
            .with("reason", self.reason)
            .with("records", self.records)
            .0
    }
}

impl Event for TelemetryExportFailed<'_> {
    fn name(&self) -> &'static str {
        event::TELEMETRY_EXPORT_FAILED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Warn, format!("the collector does not take {}: {}", self.signal, self.message))
            .with("signal", self.signal)
            .0
    }
}

impl Event for TelemetryExportRecovered {
    fn name(&self) -> &'static str {
        event::TELEMETRY_EXPORT_RECOVERED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Info, format!("the collector takes {} again", self.signal))
            .with("signal", self.signal)
            .0
    }
}

impl Event for TelemetryRecovered {
    fn name(&self) -> &'static str {
        event::TELEMETRY_RECOVERED
    }

    fn log(&self) -> LogRecord {
        let body = format!("{} records of {} were found in the spool", self.records, self.signal);
        Entry::new(Severity::Info, body).with("signal", self.signal).with("records", self.records).0
    }
}

impl Event for TelemetrySpoolDamaged<'_> {
    fn name(&self) -> &'static str {
        event::TELEMETRY_SPOOL_DAMAGED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Warn, format!("part of the spool of {} is lost: {}", self.signal, self.message))
            .with("signal", self.signal)
            .0
    }
}

impl Event for TelemetrySpoolFailed<'_> {
    fn name(&self) -> &'static str {
        event::TELEMETRY_SPOOL_FAILED
    }

    fn log(&self) -> LogRecord {
        let body =
            format!("the spool of {} cannot be written, it waits in memory: {}", self.signal, self.message);
        Entry::new(Severity::Warn, body).with("signal", self.signal).0
    }
}

impl Event for TelemetrySpoolRecovered {
    fn name(&self) -> &'static str {
        event::TELEMETRY_SPOOL_RECOVERED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Info, format!("the spool of {} can be written again", self.signal))
            .with("signal", self.signal)
            .0
    }
}
