//! What is heard of a worker before it is ready.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Map;

use crate::model::guest::{GuestLog, GuestSpan};
use crate::model::hook::Hook;
use crate::model::span_kind::SpanKind;
use crate::telemetry::ids::span_id;

/// Something that happened during a start.
#[derive(Debug)]
pub enum StartNews {
    Log(GuestLog),
    /// A step of the start has ended.
    Span(GuestSpan),
    /// How it starts.
    Mode(StartMode),
}

/// How an instance comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartMode {
    /// A copy of a process that has loaded the plugin; said before, or by, the start that loads it.
    Fork { loading: bool },
    /// A process of its own. A reason: copying was tried, and this plugin cannot be copied.
    Spawn { why: Option<Arc<str>> },
}

impl StartMode {
    pub const fn as_str(&self) -> &'static str {
        match self {
            StartMode::Fork { .. } => "fork",
            StartMode::Spawn { .. } => "spawn",
        }
    }

    /// Why it is not copied, if that was wanted.
    pub fn why(&self) -> Option<&str> {
        match self {
            StartMode::Spawn { why } => why.as_deref(),
            StartMode::Fork { .. } => None,
        }
    }
}

/// Whoever waits for a start. Must return at once.
pub type StartListener<'a> = dyn FnMut(StartNews) + Send + 'a;

/// A hook that runs now.
pub struct RunningHook {
    hook: Hook,
    since: Instant,
    begun: SystemTime,
}

impl RunningHook {
    pub fn begin(hook: Hook) -> RunningHook {
        RunningHook { hook, since: Instant::now(), begun: SystemTime::now() }
    }

    /// The hook as a step of the start.
    pub fn end(self, error: Option<String>) -> GuestSpan {
        let start_unix_ns =
            nanoseconds(self.begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        GuestSpan {
            span_id: span_id(),
            parent_id: None,
            name: self.hook.as_str().into(),
            kind: SpanKind::Internal,
            start_unix_ns,
            end_unix_ns: start_unix_ns.saturating_add(nanoseconds(self.since.elapsed())),
            error,
            attributes: Map::new(),
            events: Vec::new(),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
