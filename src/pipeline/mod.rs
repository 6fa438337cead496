//! What happens around a call: one policy a file, none of which knows another. They meet only in [`Call`],
//! which carries one invocation from the front door to the instance and back. The order in which they run
//! stands in `host/stack.rs`. Read `Policy` and `Next` here, then `retry.rs` as an example.
//!
//! This room must never decide which version is called (that is `registry`) and never print or count by
//! itself: it tells the recording.

use std::sync::Arc;
use std::time::Duration;

use semver::VersionReq;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::drift::{Seen, Sighting, Watch};
use crate::model::error::InvokeError;
use crate::model::guest::{GuestAnswer, GuestCall};
use crate::model::ids::{InvocationId, SpanId, TraceId};
use crate::model::invocation::{Completed, Invocation, Lineage, Usage};
use crate::model::kind::ErrorKind;
use crate::package::manifest::Manifest;
use crate::package::schema::Schema;
use crate::runtimes::BoxFuture;
use crate::telemetry::{Recording, SpanRef};

pub mod admission;
pub mod attempt;
pub mod breaker;
pub mod circuit;
pub mod deadline;
pub mod execute;
pub mod idempotency;
pub mod mask;
pub mod pace;
pub mod retry;
pub mod service_spans;
pub mod validate;

use circuit::Circuits;
use deadline::{Deadline, Paused};
use mask::Mask;
use service_spans::ServiceSpans;
use validate::KeptChunks;

/// One invocation on its way through the stack.
pub struct Call {
    pub invocation: Invocation,
    pub plugin: Arc<CalledPlugin>,
    pub recording: Recording,
    pub deadline: Arc<Deadline>,
    pub output: Output,
    pub services: Arc<dyn GuestServices>,
    pub door: Arc<dyn Door>,
    /// The running attempt: its number, from 1, and its span. `None` before the first.
    pub attempt: Option<Attempt>,
    pub usage: Usage,
    pub kept_chunks: KeptChunks,
    /// What its values show, of a version that is watched for drift.
    pub sighting: Option<Sighting>,
    /// The reply is that of this earlier call.
    pub replay_of: Option<InvocationId>,
}

pub struct Attempt {
    pub number: u32,
    pub span: SpanRef,
    /// The attempt's own bound, if the plugin has one.
    pub limit: Option<Arc<Deadline>>,
}

impl Call {
    /// The whole output of a good end; `None` when it went out in chunks.
    pub fn whole_output(&self, reply: &Reply) -> Option<Arc<RawValue>> {
        match reply {
            Reply::Value(value) => Some(value.clone()),
            Reply::Streamed => self.output.list(),
        }
    }

    /// Hands a whole reply to a caller who wanted a stream, as its one chunk.
    pub async fn deliver(&mut self, reply: Result<Reply, InvokeError>) -> Result<Reply, InvokeError> {
        match reply? {
            Reply::Value(value) if matches!(self.output, Output::Chunks { .. }) => {
                self.output.push(value).await?;
                Ok(Reply::Streamed)
            }
            reply => Ok(reply),
        }
    }

    /// The call is over: what its values showed counts.
    pub fn observe(&mut self) {
        if let (Some(watch), Some(sighting)) = (&self.plugin.watch, self.sighting.take()) {
            let seen = Seen {
                invocation_id: self.recording.invocation_id(),
                trace_id: self.recording.trace_id(),
                at_unix_ms: self.recording.created_at_unix_ns() / 1_000_000,
            };
            watch.count(sighting, seen);
        }
    }

    /// The span under which the steps of an attempt stand.
    fn attempt_span(&self) -> SpanRef {
        self.attempt.as_ref().map_or_else(|| self.recording.root(), |attempt| attempt.span)
    }

    /// Stops the clocks of the call and of its attempt until the guards are dropped.
    fn pause(&self) -> (Paused, Option<Paused>) {
        let limit = self.attempt.as_ref().and_then(|attempt| attempt.limit.as_ref());
        (self.deadline.pause(), limit.map(|limit| limit.pause()))
    }

    /// What is left of the call and of its attempt.
    fn time_left(&self) -> Duration {
        let limit = self.attempt.as_ref().and_then(|attempt| attempt.limit.as_ref());
        limit.map_or(Duration::MAX, |limit| limit.left()).min(self.deadline.left())
    }
}

/// What the policies need to know of the version that is called.
pub struct CalledPlugin {
    pub manifest: Arc<Manifest>,
    pub input_schema: Option<Schema>,
    pub output_schema: Option<Schema>,
    /// Inputs and outputs are kept up to this size.
    pub capture_bytes_max: usize,
    /// The values of the plugin's secrets, to be taken out of what it says.
    pub mask: Mask,
    /// Of the hosts that it calls over HTTP.
    pub circuits: Circuits,
    /// Its values are watched for drift.
    pub watch: Option<Arc<Watch>>,
}

/// Where the output goes.
pub enum Output {
    /// One reply; the chunks of a streaming plugin become a list.
    Whole { parts: Vec<Arc<RawValue>> },
    /// Chunk by chunk, as they come. The reader's pace is the plugin's pace.
    Chunks { sender: mpsc::Sender<Arc<RawValue>>, sent: u64 },
}

impl Output {
    pub const fn whole() -> Output {
        Output::Whole { parts: Vec::new() }
    }

    pub const fn chunks(sender: mpsc::Sender<Arc<RawValue>>) -> Output {
        Output::Chunks { sender, sent: 0 }
    }

    /// Whether the caller has seen a part of the output, after which a retry would repeat it.
    pub const fn has_begun(&self) -> bool {
        matches!(self, Output::Chunks { sent: 1.., .. })
    }

    /// The parts of a streamed output as one JSON list, for a caller who wanted one reply.
    pub fn list(&self) -> Option<Arc<RawValue>> {
        let Output::Whole { parts } = self else { return None };
        let list = serde_json::value::to_raw_value(parts).expect("a list of JSON values is JSON");
        Some(list.into())
    }

    /// Forgets the parts of an attempt that failed.
    fn begin_again(&mut self) {
        if let Output::Whole { parts } = self {
            parts.clear();
        }
    }

    async fn push(&mut self, part: Arc<RawValue>) -> Result<(), InvokeError> {
        match self {
            Output::Whole { parts } => parts.push(part),
            Output::Chunks { sender, sent } => {
                let left = |_| InvokeError::new(ErrorKind::Cancelled, "the caller left during the stream");
                sender.send(part).await.map_err(left)?;
                *sent += 1;
            }
        }
        Ok(())
    }
}

/// The good end of a call.
#[derive(Debug)]
pub enum Reply {
    Value(Arc<RawValue>),
    /// All of it went through [`Output`].
    Streamed,
}

/// Answers what a plugin asks of the host while it runs; `host/services/` in earnest, stubs in examples.
pub trait GuestServices: Send + Sync {
    /// Must be bounded in time by `context.left`. May be dropped at any await: the call is over.
    fn answer(&self, call: GuestCall, context: GuestContext) -> BoxFuture<'static, GuestAnswer>;
}

/// The front door, for calls that a plugin makes while it runs.
pub trait Door: Send + Sync {
    /// Which versions of a declared dependency a plugin's calls go to; `None`: there is none that it could use.
    fn dependency_range(&self, caller: &Manifest, dependency: &str) -> Option<VersionReq>;

    /// Called once for each such call. Dropping the future is how the caller leaves.
    fn enter(self: Arc<Self>, invocation: Invocation) -> (InvocationId, BoxFuture<'static, Completed>);
}

/// On whose behalf the host acts.
#[derive(Clone)]
pub struct GuestContext {
    pub plugin: Arc<CalledPlugin>,
    pub trace_id: TraceId,
    /// The caller's `execute` span.
    pub execute_id: SpanId,
    pub trace_flags: u8,
    pub tracestate: Option<Arc<str>>,
    pub baggage: Option<Arc<str>>,
    /// What is left of the call's time.
    pub left: Duration,
    pub lineage: Lineage,
    pub door: Arc<dyn Door>,
    /// Takes the spans that the answer costs.
    pub spans: ServiceSpans,
}

/// One concern around a call.
pub trait Policy: Send + Sync {
    /// Called once for each time the call passes here; under a retry that may be several times. Goes on with
    /// `next.run(call)`, or ends the call by returning without it. May be dropped at any await: the caller
    /// left or the deadline passed, so anything held must be given back by `Drop`.
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>>;
}

/// The policies of one version, outermost first.
pub struct Stack(Vec<Box<dyn Policy>>);

impl Stack {
    pub fn new(policies: Vec<Box<dyn Policy>>) -> Stack {
        Stack(policies)
    }

    pub async fn run(&self, call: &mut Call) -> Result<Reply, InvokeError> {
        Next { rest: &self.0 }.run(call).await
    }
}

/// What lies further in.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    rest: &'a [Box<dyn Policy>],
}

impl<'a> Next<'a> {
    pub fn run(self, call: &'a mut Call) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        match self.rest.split_first() {
            Some((policy, rest)) => policy.handle(call, Next { rest }),
            None => {
                let error = InvokeError::new(ErrorKind::Internal, "no policy ended the call");
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }
}
