//! What a caller asks for and what he gets back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use semver::VersionReq;
use serde_json::value::RawValue;

use super::error::InvokeError;
use super::ids::{InvocationId, SpanId, TraceId};
use super::trace_context::TraceContext;

/// The action of a plugin that names none.
pub const DEFAULT_ACTION: &str = "invoke";

/// One call as the caller asked for it; nothing in it has been checked against a plugin yet.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub plugin: Arc<str>,
    pub version: Option<VersionReq>,
    pub action: Arc<str>,
    /// JSON as the caller wrote it; it reaches the plugin byte for byte.
    pub input: Arc<RawValue>,
    /// Shortens the plugin's own `limits.timeout`, never prolongs it.
    pub timeout: Option<Duration>,
    pub parent: Option<TraceContext>,
    pub origin: Origin,
    pub lineage: Lineage,
    /// A repeat under the same key gets the first reply, and runs nothing.
    pub idempotency_key: Option<Arc<str>>,
    /// The call was accepted earlier and has its ids already.
    pub delivery: Option<Delivery>,
    /// The invocation whose kept input this one runs again.
    pub replay_of: Option<InvocationId>,
}

/// What a call that waited in the durable queue brings along, the same at each of its deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub invocation_id: InvocationId,
    pub trace_id: TraceId,
    pub root_span_id: SpanId,
    pub accepted_at_unix_ns: u64,
    /// Attempts of earlier deliveries.
    pub attempts: u32,
}

impl Invocation {
    /// A call with nothing but what it must have.
    pub fn new(plugin: impl Into<Arc<str>>, input: impl Into<Arc<RawValue>>, origin: Origin) -> Invocation {
        Invocation {
            plugin: plugin.into(),
            version: None,
            action: DEFAULT_ACTION.into(),
            input: input.into(),
            timeout: None,
            parent: None,
            origin,
            lineage: Lineage::default(),
            idempotency_key: None,
            delivery: None,
            replay_of: None,
        }
    }
}

/// Where a call stands among those that plugins make of each other: how many stand above it, and how many
/// all of them together have made, whatever became of them.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    depth: u32,
    calls: Arc<AtomicU32>,
}

impl Lineage {
    /// Calls of one plugin by another that may stand above each other.
    pub const DEPTH_MAX: u32 = 8;
    /// Calls that one caller's call may lead to, in all, retries included.
    pub const CALLS_MAX: u32 = 256;

    /// The place of one more call, made from within this one.
    pub fn descend(&self) -> Result<Lineage, TooManyCalls> {
        if self.depth >= Lineage::DEPTH_MAX {
            return Err(TooManyCalls::Deep);
        }
        let one_more = |calls: u32| (calls < Lineage::CALLS_MAX).then_some(calls + 1);
        let counted = self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.map_err(|_| TooManyCalls::Wide)?;
        Ok(Lineage { depth: self.depth + 1, calls: self.calls.clone() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyCalls {
    #[error("plugins call each other {} deep, which is the most there may be", Lineage::DEPTH_MAX)]
    Deep,
    #[error("one call has led to {} calls of plugins, which is the most there may be", Lineage::CALLS_MAX)]
    Wide,
}

/// Whether a call came over the network (its root span is of kind SERVER) or from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Network,
    Local,
}

impl Origin {
    pub const fn as_str(self) -> &'static str {
        match self {
            Origin::Network => "network",
            Origin::Local => "local",
        }
    }
}

/// What a call used. Sizes are bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub cpu: Duration,
    /// Peak resident memory of the worker; shared pages included.
    pub memory_peak_bytes: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
}

/// The facts of one ended invocation that every answer carries.
#[derive(Clone, Debug)]
pub struct Meta {
    pub invocation_id: InvocationId,
    pub trace_id: TraceId,
    pub root_span_id: SpanId,
    pub trace_flags: u8,
    pub plugin: Arc<str>,
    /// `None`: no version was found to call.
    pub version: Option<Arc<str>>,
    pub action: Arc<str>,
    pub attempts: u32,
    pub duration: Duration,
    pub queue: Duration,
    pub cold_start: bool,
    pub usage: Usage,
    /// The reply is that of an earlier call under the same key.
    pub replay_of: Option<InvocationId>,
}

/// The end of an invocation. After a streamed reply `Ok` holds `None`: its chunks have been sent.
#[derive(Clone, Debug)]
pub struct Completed {
    pub meta: Meta,
    pub result: Result<Option<Arc<RawValue>>, InvokeError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_leads_to_so_many_others_and_no_more() {
        let mut deepest = Lineage::default();
        for _ in 0..Lineage::DEPTH_MAX {
            deepest = deepest.descend().unwrap();
        }
        assert_eq!(deepest.descend().unwrap_err(), TooManyCalls::Deep);
        let first = Lineage::default();
        let child = first.descend().unwrap();
        for _ in 1..Lineage::CALLS_MAX {
            child.descend().unwrap();
        }
        assert_eq!(first.descend().unwrap_err(), TooManyCalls::Wide, "all of them count together");
    }
}
