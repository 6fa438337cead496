//! What happens to the data of a version. Names of fields and numbers about many calls; never a value of a call.

use crate::model::guest::Severity;
use crate::model::text::truncate;

use super::{Entry, Event};
use crate::telemetry::names::{self, attribute, event};
use crate::telemetry::record::LogRecord;

/// A call that lies in a bin that grew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriftExample<'a> {
    pub invocation_id: &'a str,
    pub trace_id: &'a str,
}

/// What was found about a field of a version.
#[derive(Clone, Copy, Debug)]
pub struct DriftFinding<'a> {
    pub plugin: &'a str,
    pub version: &'a str,
    /// As `$.input.amount`.
    pub field: &'a str,
    pub psi: Option<f64>,
    pub js: Option<f64>,
    pub pvalue: Option<f64>,
    pub baseline_id: Option<&'a str>,
    /// Why, with the numbers.
    pub summary: &'a str,
    pub examples: &'a [DriftExample<'a>],
}

/// A field is not what it was, and has not been for several windows.
pub struct DriftDetected<'a>(pub DriftFinding<'a>);

/// One window of a field is not what it was; the next ones decide.
pub struct DriftWarned<'a>(pub DriftFinding<'a>);

/// A field that had drifted is again what it was.
pub struct DriftResolved<'a>(pub DriftFinding<'a>);

/// What a version is compared with from now on.
pub struct BaselinePinned<'a> {
    pub plugin: &'a str,
    pub version: &'a str,
    pub baseline_id: &'a str,
    /// `first_calls`, `file` or `window`.
    pub source: &'a str,
    pub calls: u64,
}

/// Counts and baselines cannot be written down; they go on in memory.
pub struct DriftSaveFailed<'a> {
    pub message: &'a str,
}

pub struct DriftSaveRecovered;

/// Examples that an event names.
const EXAMPLES_MAX: usize = 5;

impl DriftFinding<'_> {
    fn log(&self, severity: Severity, what: &str) -> LogRecord {
        let body = format!("{} of {} {} {what}: {}", self.field, self.plugin, self.version, self.summary);
        let mut entry = Entry::new(severity, body)
            .with(attribute::DRIFT_FIELD, self.field.to_owned())
            .with(attribute::DRIFT_SUMMARY, self.summary.to_owned());
        let numbers = [
            (attribute::DRIFT_PSI, self.psi),
            (attribute::DRIFT_JS, self.js),
            (attribute::DRIFT_PVALUE, self.pvalue),
        ];
        for (key, value) in numbers.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            entry = entry.with(key, value);
        }
        if let Some(id) = self.baseline_id {
            entry = entry.with(attribute::DRIFT_BASELINE_ID, id.to_owned());
        }
        if !self.examples.is_empty() {
            let shown = || self.examples.iter().take(EXAMPLES_MAX);
            let invocations = shown().map(|example| example.invocation_id);
            let traces = shown().map(|example| example.trace_id);
            entry = entry
                .with(attribute::DRIFT_EXAMPLE_INVOCATIONS, invocations.collect::<Vec<_>>().join(","))
                .with(attribute::DRIFT_EXAMPLE_TRACES, traces.collect::<Vec<_>>().join(","));
        }
        of(entry, self.plugin, self.version)
    }
}

impl Event for DriftDetected<'_> {
    fn name(&self) -> &'static str {
        event::DRIFT_DETECTED
    }

    fn log(&self) -> LogRecord {
        self.0.log(Severity::Warn, "has drifted")
    }
}

impl Event for DriftWarned<'_> {
    fn name(&self) -> &'static str {
        event::DRIFT_WARNED
    }

    /// Not a warning: one window in many looks like this by chance.
    fn log(&self) -> LogRecord {
        self.0.log(Severity::Info, "may drift")
    }
}

impl Event for DriftResolved<'_> {
    fn name(&self) -> &'static str {
        event::DRIFT_RESOLVED
    }

    fn log(&self) -> LogRecord {
        self.0.log(Severity::Info, "drifts no more")
    }
}

impl Event for BaselinePinned<'_> {
    fn name(&self) -> &'static str {
        event::DRIFT_BASELINE_PINNED
    }

    fn log(&self) -> LogRecord {
        let (plugin, version, calls) = (self.plugin, self.version, self.calls);
        let body = format!("{plugin} {version} is compared with a baseline of {calls} calls");
        let entry = Entry::new(Severity::Info, body)
            .with(attribute::DRIFT_BASELINE_ID, self.baseline_id.to_owned())
            .with(attribute::DRIFT_BASELINE_SOURCE, self.source.to_owned())
            .with(attribute::DRIFT_BASELINE_CALLS, i64::try_from(calls).unwrap_or(i64::MAX));
        of(entry, plugin, version)
    }
}

impl Event for DriftSaveFailed<'_> {
    fn name(&self) -> &'static str {
        event::DRIFT_SAVE_FAILED
    }

    fn log(&self) -> LogRecord {
        let body = format!("what is known about drift is not written down: {}", self.message);
        Entry::new(Severity::Error, body).0
    }
}

impl Event for DriftSaveRecovered {
    fn name(&self) -> &'static str {
        event::DRIFT_SAVE_RECOVERED
    }

    fn log(&self) -> LogRecord {
        Entry::new(Severity::Info, "what is known about drift is written down again").0
    }
}

/// About a version that may have no series of its own here.
fn of(entry: Entry, plugin: &str, version: &str) -> LogRecord {
    let mut log = entry.0;
    log.plugin = Some(truncate(plugin, names::PLUGIN_BYTES_MAX).into());
    log.version = Some(truncate(version, names::PLUGIN_BYTES_MAX).into());
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Value;
    use crate::telemetry::testing::kept;

    fn field(log: &LogRecord, key: &str) -> Option<Value> {
        log.fields.iter().find(|(name, _)| &**name == key).map(|(_, value)| value.clone())
    }

    #[test]
    fn a_finding_says_which_field_how_much_and_which_calls_show_it() {
        let (telemetry, kept) = kept();
        let examples = [DriftExample { invocation_id: "7", trace_id: "9" }; EXAMPLES_MAX + 3];
        let finding = DriftFinding {
            plugin: "fraud-score",
            version: "1.1.0",
            field: "$.input.amount",
            psi: Some(0.31),
            js: None,
            pvalue: Some(3e-10),
            baseline_id: Some("sha256:aa"),
            summary: "PSI 0.31 is at least 0.1",
            examples: &examples,
        };
        telemetry.emit(DriftDetected(finding));
        telemetry.emit(DriftResolved(DriftFinding { examples: &[], ..finding }));
        let logs = kept.take_logs(&telemetry);
        let log = &logs[0];
        assert_eq!((log.event_name, log.severity), (Some("drift.detected"), Severity::Warn));
        assert_eq!((log.plugin.as_deref(), log.version.as_deref()), (Some("fraud-score"), Some("1.1.0")));
        let body = "$.input.amount of fraud-score 1.1.0 has drifted: PSI 0.31 is at least 0.1";
        assert_eq!(&*log.body, body);
        assert_eq!(field(log, attribute::DRIFT_PSI), Some(Value::Float(0.31)));
        assert_eq!(field(log, attribute::DRIFT_JS), None, "no value is no attribute");
        let Some(Value::Text(traces)) = field(log, attribute::DRIFT_EXAMPLE_TRACES) else {
            panic!("{log:?}")
        };
        assert_eq!(&*traces, "9,9,9,9,9", "bounded");
        assert_eq!((logs[1].event_name, logs[1].severity), (Some("drift.resolved"), Severity::Info));
        assert_eq!(field(&logs[1], attribute::DRIFT_EXAMPLE_TRACES), None);
    }

    #[test]
    fn a_long_name_is_cut_and_the_others_say_what_they_are_about() {
        let (telemetry, kept) = kept();
        let plugin = "p".repeat(names::PLUGIN_BYTES_MAX * 2);
        telemetry.emit(BaselinePinned {
            plugin: &plugin,
            version: "1.1.0",
            baseline_id: "sha256:aa",
            source: "first_calls",
            calls: 500,
        });
        telemetry.emit(DriftSaveFailed { message: "the disk is full" });
        telemetry.emit(DriftSaveRecovered);
        let logs = kept.take_logs(&telemetry);
        let names: Vec<_> = logs.iter().filter_map(|log| log.event_name).collect();
        assert_eq!(names, ["drift.baseline_pinned", "drift.save_failed", "drift.save_recovered"]);
        assert_eq!(logs[0].plugin.as_deref().map(str::len), Some(names::PLUGIN_BYTES_MAX));
        assert_eq!(field(&logs[0], attribute::DRIFT_BASELINE_CALLS), Some(Value::Int(500)));
        assert_eq!(logs[1].severity, Severity::Error);
        assert!(logs[1].body.contains("the disk is full"));
    }
}
