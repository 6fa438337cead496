//! Drift as it is shown: what `GET /v1/plugins/{name}/drift` answers. Times are RFC 3339.
//!
//! What is not known is absent (`null`), never 0: a score of nothing is no score.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::judge::{State, Thresholds};

/// How far a version has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its baseline has to be pinned by hand.
    Waiting,
    /// Its first calls become the baseline.
    Capturing,
    Watching,
}

/// What a baseline was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    FirstCalls,
    File,
    Window,
}

/// One watched version.
#[derive(Clone, Debug, Serialize)]
pub struct VersionDrift {
    pub plugin: String,
    pub version: String,
    /// The worst of its fields.
    pub state: State,
    pub since: Option<String>,
    pub phase: Phase,
    pub capture: Option<Progress>,
    pub baseline: Option<BaselineHead>,
    pub window: WindowFill,
    pub long_window: WindowFill,
    pub settings: Thresholds,
    /// Calls that were observed since there is a baseline.
    pub calls: u64,
    pub judged_at: Option<String>,
    /// What the counts, the examples and the history of this version take at most.
    pub memory_bytes: u64,
    pub fields: Vec<FieldDrift>,
}

/// The same in a line.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    pub plugin: String,
    pub version: String,
    /// It gets the calls that name no version.
    pub takes_calls: bool,
    pub state: State,
    pub since: Option<String>,
    pub phase: Phase,
    pub capture: Option<Progress>,
    pub baseline_id: Option<String>,
    pub baseline_created_at: Option<String>,
    pub window_calls: u64,
    /// How many are watched.
    pub fields: usize,
    /// Those in the state `alert`.
    pub drifting: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub calls: u64,
    pub wanted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WindowFill {
    pub calls: u64,
    pub wanted: u64,
    /// It is judged after each so many calls.
    pub step: u64,
}

/// A baseline without its counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineHead {
    /// `sha256:` of its content.
    pub id: String,
    pub source: Origin,
    pub created_at: String,
    pub calls: u64,
    pub fields: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct FieldDrift {
    /// As the manifest spells it: `$.input.amount`.
    pub field: String,
    pub kind: &'static str,
    pub state: State,
    pub since: Option<String>,
    /// Values in the window, nulls among them.
    pub samples: u64,
    pub baseline_samples: u64,
    pub psi: Option<f64>,
    /// PSI with nulls and values of another type counted in: what is held against `min_effect`.
    pub effect: Option<f64>,
    /// Jensen-Shannon distance, base 2: 0 to 1.
    pub js: Option<f64>,
    /// The smallest p-value of its tests, adjusted for all tests of the window.
    pub pvalue: Option<f64>,
    /// Shares of the window: null or absent, and of no category (or number) of the baseline.
    pub null_ratio: Option<f64>,
    pub baseline_null_ratio: Option<f64>,
    pub new_category_ratio: Option<f64>,
    /// How many times more than independent calls its baseline varies from block to block; 1: like them.
    pub dispersion: f64,
    /// Why it is in this state.
    pub reason: Option<String>,
    pub long: LongDrift,
    pub bins: Vec<BinShare>,
    /// Calls whose values lie in the bins that grew, newest first.
    pub examples: Vec<DriftExample>,
    /// Oldest first.
    pub history: Vec<HistoryPoint>,
}

/// What the long window says.
#[derive(Clone, Debug, Serialize)]
pub struct LongDrift {
    pub state: State,
    pub samples: u64,
    pub psi: Option<f64>,
    pub js: Option<f64>,
    pub pvalue: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct BinShare {
    pub label: String,
    /// `range`, `value`, `category`, `other`, `null` or `invalid`.
    pub kind: &'static str,
    /// Shares of all values of the field, 0 to 1; 0 also if there are none.
    pub baseline: f64,
    pub current: f64,
    pub baseline_count: u64,
    pub current_count: u64,
    /// It holds noticeably more than it did.
    pub grew: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftExample {
    pub invocation_id: String,
    pub trace_id: String,
    pub at: String,
    /// The label of the bin that its value lies in.
    pub bin: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    pub at: String,
    pub state: State,
    pub psi: Option<f64>,
    pub effect: Option<f64>,
    pub pvalue: Option<f64>,
}

/// What happened to a field or a baseline. Kept, told, and ready to start something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftEvent {
    /// Sorts by time.
    pub id: String,
    pub at: String,
    #[serde(rename = "type")]
    pub kind: EventKind,
    pub plugin: String,
    pub version: String,
    /// `None`: it is about the whole version.
    pub field: Option<String>,
    pub state: State,
    pub psi: Option<f64>,
    pub js: Option<f64>,
    pub pvalue: Option<f64>,
    pub baseline_id: Option<String>,
    /// One sentence with the numbers.
    pub summary: String,
    pub examples: Vec<DriftExample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    #[serde(rename = "drift.detected")]
    Detected,
    #[serde(rename = "drift.warned")]
    Warned,
    #[serde(rename = "drift.resolved")]
    Resolved,
    #[serde(rename = "drift.baseline_pinned")]
    BaselinePinned,
}

impl Origin {
    pub const fn as_str(self) -> &'static str {
        match self {
            Origin::FirstCalls => "first_calls",
            Origin::File => "file",
            Origin::Window => "window",
        }
    }

    pub fn parse(text: &str) -> Option<Origin> {
        [Origin::FirstCalls, Origin::File, Origin::Window].into_iter().find(|origin| origin.as_str() == text)
    }
}

impl EventKind {
    pub const ALL: [EventKind; 4] =
        [EventKind::Detected, EventKind::Warned, EventKind::Resolved, EventKind::BaselinePinned];

    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::Detected => "drift.detected",
            EventKind::Warned => "drift.warned",
            EventKind::Resolved => "drift.resolved",
            EventKind::BaselinePinned => "drift.baseline_pinned",
        }
    }
}

/// Later than this is no time that can be written.
const LATEST_UNIX_MS: u64 = 253_402_300_799_999;

/// A time as it is shown.
pub(super) fn rfc3339(unix_ms: u64) -> String {
    let since = Duration::from_millis(unix_ms.min(LATEST_UNIX_MS));
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_spelled_alike_wherever_it_is_written() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
