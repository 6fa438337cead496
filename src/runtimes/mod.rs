//! How plugins are run: `Runtime` deploys a version, its `Launcher` starts instances, an `Instance` runs
//! calls. One folder per kind; a kind's protocol never leaves its folder. Read `mod.rs`, then `python/`.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::model::error::InvokeError;
use crate::model::guest::{GuestAnswer, GuestCall, GuestLog, GuestMetric, GuestSpan, Secret};
use crate::model::hook::Hook;
use crate::model::ids::{InvocationId, SpanId};
use crate::model::invocation::Usage;
use crate::package::manifest::Manifest;
use crate::telemetry::ExitReason;

pub mod pool;
pub mod process;
pub mod python;
mod start_news;
pub mod worker;

pub use start_news::{RunningHook, StartListener, StartMode, StartNews};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One version, ready to be run: checked manifest, its files, and what the operator adds.
#[derive(Clone, Debug)]
pub struct DeploymentSpec {
    pub manifest: Arc<Manifest>,
    /// The package's files, unpacked; nothing is ever written here.
    pub folder: PathBuf,
    /// The manifest's defaults with the operator's values laid over them.
    pub config: Map<String, Value>,
    pub secrets: Vec<(String, Secret)>,
    /// How entry points are called.
    pub convention: Convention,
    /// Somebody wants to look into it while it runs.
    pub debugging: Option<Debugging>,
}

/// A worker that waits for a debugger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debugging {
    /// Where whoever debugs listens.
    pub socket: PathBuf,
    /// Whether a failed call is held where it failed.
    pub post_mortem: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// `f(input_data)` or `f(input_data, ctx)`.
    Plugin,
    /// `spanglass run`: any function; the input's fields become its arguments, typed by its annotations.
    Function,
}

/// A kind of plugin. There is one of each in a process.
pub trait Runtime: Send + Sync {
    /// The word in a manifest's `runtime`.
    fn name(&self) -> &'static str;

    /// Called once per deployment, before any call. Starts no process.
    fn deploy(&self, spec: Arc<DeploymentSpec>) -> Result<Arc<dyn Launcher>, InvokeError>;
}

/// Starts instances of one deployment.
pub trait Launcher: Send + Sync {
    /// Prepares what all instances share, such as an environment. Called before each start, bounded by itself, and
    /// ready at once when there is nothing left to do. Dropping the future leaves nothing half-made.
    fn prepare<'a>(&'a self, _listener: &'a mut StartListener<'_>) -> BoxFuture<'a, Result<(), NotPrepared>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Starts one instance and waits until it is ready. What it says before goes to `listener`. Dropping
    /// the future ends what was started.
    fn launch<'a>(
        &'a self,
        listener: &'a mut StartListener<'_>,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, InvokeError>>;

    /// No instance is wanted for now: what is kept only so that they start quickly may go.
    fn rest(&self) {}

    /// Ends everything that belongs to the deployment. Idempotent.
    fn stop(&self) -> BoxFuture<'_, ()>;
}

/// Why what all instances share is not there.
#[derive(Clone, Debug)]
pub enum NotPrepared {
    /// What the plugin requires could not be installed; which requirement it was, if that is known.
    Install {
        error: InvokeError,
        requirement: Option<Arc<str>>,
    },
    Other(InvokeError),
}

impl From<InvokeError> for NotPrepared {
    fn from(error: InvokeError) -> NotPrepared {
        NotPrepared::Other(error)
    }
}

/// A live worker. One call at a time.
pub trait Instance: Send {
    /// Runs one call to its end. Whoever drops the future, or gets an error for which [`Instance::reusable`]
    /// is false afterwards, must drop the instance, which kills the worker and all that it started.
    fn call<'a>(
        &'a mut self,
        request: CallRequest,
        guest: &'a mut dyn Guest,
    ) -> BoxFuture<'a, Result<CallEnd, InvokeError>>;

    /// Whether another call may be run. Asked after each call, and before a call on an idle instance.
    fn reusable(&mut self) -> bool;

    /// Whether it is not reusable by its own wish, after a call that ended in good order.
    fn retired(&self) -> bool {
        false
    }

    /// Why it is not reusable, where that is not known from how its last call ended. Asked only of those that
    /// are not.
    fn exit_reason(&self) -> Option<ExitReason> {
        None
    }

    /// Whether the plugin has this hook. `on_start` has run by then.
    fn has(&self, _hook: Hook) -> bool {
        false
    }

    /// Asks the plugin's `health` hook; the error says why it is not well. Only between calls. After an error,
    /// and if the future is dropped, the instance must be dropped.
    fn health(&mut self, _within: Duration) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Process id, for people.
    fn pid(&self) -> Option<u32>;

    /// Asks the worker to end in good order within `grace`, then kills it. The error says why it did not; it
    /// counts where there is an `on_stop` hook.
    fn stop(self: Box<Self>, grace: Duration) -> BoxFuture<'static, Result<(), String>>;
}

/// One attempt, as an instance sees it.
#[derive(Clone, Debug)]
pub struct CallRequest {
    pub invocation_id: InvocationId,
    pub attempt: u32,
    pub action: Arc<str>,
    pub input: Arc<RawValue>,
    /// Trace context for the guest: its parent is the `execute` span.
    pub traceparent: String,
    pub tracestate: Option<Arc<str>>,
    pub baggage: Option<Arc<str>>,
    /// What is left for this attempt.
    pub deadline: Duration,
    pub output_bytes_max: u64,
}

/// The end of a good call.
#[derive(Debug)]
pub struct CallEnd {
    /// `None`: the output went out as chunks.
    pub output: Option<Arc<RawValue>>,
    pub usage: Usage,
}

/// Where a running call's messages go. All methods but `chunk` and `ask` return at once.
pub trait Guest: Send {
    /// One part of a streamed output. Waits for the reader; an error ends the call.
    fn chunk(&mut self, part: Arc<RawValue>) -> BoxFuture<'_, Result<(), InvokeError>>;
    fn log(&mut self, log: GuestLog);
    fn span(&mut self, span: GuestSpan);
    fn metric(&mut self, metric: GuestMetric);
    /// The future does not borrow the guest: a call may have several questions open.
    fn ask(&mut self, call: GuestCall) -> BoxFuture<'static, GuestAnswer>;
    /// The span under which the guest's own spans stand.
    fn execute_span(&self) -> SpanId;
    /// Messages that were cut off by a limit, by kind of message: the names in [`worker::dropped`].
    fn dropped(&mut self, what: &'static str, count: u64);
    /// What the call used, also if it failed. At most once, before the end of the call is returned.
    fn usage(&mut self, _usage: Usage) {}
}
