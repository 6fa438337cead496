//! From a process to a worker that is ready for calls, or to a fork server.

use std::time::Duration;

use tokio::time::Instant;

use super::capture::Capture;
use super::frames::{
    self, DebugFrame, FailureFrame, Frame, LogFrame, PROTOCOL_VERSION, ReadyFrame, ToWorker, truncated,
};
use super::instance::{CLOSED, Ending, GARBAGE, Next, WorkerInstance, crash_error};
use super::link::{Broken, Event, Link};
use crate::model::error::{GuestException, InvokeError};
use crate::model::guest::GuestLog;
use crate::model::hook::Hook;
use crate::model::kind::ErrorKind;
use crate::runtimes::{Convention, DeploymentSpec, RunningHook, StartListener, StartNews};

/// How long `on_start` may take.
const ON_START_MAX: Duration = Duration::from_secs(20);
const REASON_BYTES_MAX: usize = 512;

/// What a process is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It gets calls.
    Worker,
    /// It loads the plugin and makes copies of itself, which get the calls.
    ForkServer,
}

/// Why there is no worker.
pub enum StartError {
    /// It runs, but it says that the plugin cannot be used.
    Refused(FailureFrame),
    Failed(InvokeError),
}

impl From<InvokeError> for StartError {
    fn from(error: InvokeError) -> StartError {
        StartError::Failed(error)
    }
}

impl From<StartError> for InvokeError {
    fn from(error: StartError) -> InvokeError {
        match error {
            StartError::Failed(error) => error,
            StartError::Refused(failure) => {
                let mut error = InvokeError::new(ErrorKind::Unavailable, failure.message);
                error.help = failure.help;
                let exception = GuestException { type_name: failure.type_name, traceback: failure.traceback };
                error.exception = Some(Box::new(exception));
                error
            }
        }
    }
}

fn hello(link: &mut Link, deployment: &DeploymentSpec, role: Role) -> Result<(), InvokeError> {
    let manifest = &deployment.manifest;
    // The worker runs in another folder than we do.
    let folder = std::path::absolute(&deployment.folder).unwrap_or_else(|_| deployment.folder.clone());
    let folder = folder.to_str().ok_or_else(|| {
        let message = format!("the folder {} has a name that is not UTF-8", folder.display());
        InvokeError::new(ErrorKind::Unavailable, message)
    })?;
    let entrypoints = manifest.action_names().filter_map(|name| Some((name, manifest.entrypoint_of(name)?)));
    let version = manifest.version.to_string();
    let forks = role == Role::ForkServer;
    // What only calls need is not kept where no call runs.
    let secrets = deployment.secrets.iter().filter(|_| !forks);
    let hello = ToWorker::Hello {
        v: PROTOCOL_VERSION,
        plugin: manifest.name.as_str(),
        version: &version,
        folder,
        entrypoints: entrypoints.collect(),
        convention: match deployment.convention {
            Convention::Plugin => "plugin",
            Convention::Function => "function",
        },
        config: &deployment.config,
        secrets: secrets.map(|(name, secret)| (name.as_str(), secret.expose())).collect(),
        max_frame: link.frame_bytes_max,
        debug: deployment
            .debugging
            .as_ref()
            .map(|debugging| DebugFrame { socket: &debugging.socket, post_mortem: debugging.post_mortem }),
        forks,
    };
    frames::encode(link.outbox(), &hello);
    link.push();
    Ok(())
}

impl WorkerInstance {
    /// Says hello and waits until the process is ready for its role. The text, of a fork server only: why it
    /// cannot be one; it may be greeted again, as a worker.
    pub(super) async fn greet(
        &mut self,
        deployment: &DeploymentSpec,
        role: Role,
        listener: &mut StartListener<'_>,
    ) -> Result<Option<String>, StartError> {
        self.link.frame_bytes_max =
            deployment.manifest.limits.output_bytes_max.saturating_add(frames::FRAME_HEADROOM_BYTES);
        hello(&mut self.link, deployment, role)?;
        let ready = self.ready(listener).await;
        let log = &mut |log| listener(StartNews::Log(log));
        let capture = &mut self.capture;
        self.link.drain_output(|stream, bytes| capture.feed(stream, bytes, log));
        capture.finish(log, |_, _| {});
        let ready = ready?;
        match ready.error {
            None => Ok(ready.spawn_only.map(|why| truncated(why, REASON_BYTES_MAX))),
            Some(failure) => Err(StartError::Refused(failure.bounded())),
        }
    }

    /// Waits for `ready`, which may say what is wrong with the plugin.
    async fn ready(&mut self, listener: &mut StartListener<'_>) -> Result<ReadyFrame, InvokeError> {
        let mut on_start = None;
        let said = self.hear_ready(&mut on_start, listener).await;
        let on_start = on_start.map(|(hook, _)| hook);
        let why = match said {
            Ok(ready) => {
                if let Some(hook) = on_start {
                    let error = ready.error.as_ref().map(|failure| failure.message.clone());
                    listener(StartNews::Span(hook.end(error)));
                }
                self.hooks = ready.hooks.iter().filter_map(|name| Hook::parse(name)).collect();
                return Ok(ready);
            }
            Err(why) => why,
        };
        let (exit, why) = self.end(&why).await;
        let log = &mut |log| listener(StartNews::Log(log));
        let mut capture = std::mem::take(&mut self.capture);
        self.link.drain_output(|stream, bytes| capture.feed(stream, bytes, log));
        let tail = take_tail(&mut capture, log);
        let ending = Ending { exit, why, breach: self.child.breach() };
        let mut error = crash_error("the worker was not ready yet and", ending, &tail);
        error.kind = ErrorKind::Unavailable;
        if let Some(hook) = on_start {
            listener(StartNews::Span(hook.end(Some(error.message.clone()))));
        }
        Err(error)
    }

    /// The worker's `ready`, or why there will be none; an empty text: it has ended.
    async fn hear_ready(
        &mut self,
        on_start: &mut Option<(RunningHook, Instant)>,
        listener: &mut StartListener<'_>,
    ) -> Result<ReadyFrame, String> {
        let mut asks = Vec::new();
        loop {
            let next = match on_start {
                None => self.next(&mut asks).await,
                Some((_, until)) => tokio::time::timeout_at(*until, self.next(&mut asks))
                    .await
                    .map_err(|_| format!("on_start was not over within {ON_START_MAX:?}"))?,
            };
            match next {
                Next::Link(Event::Output(stream, length)) => {
                    let log = &mut |log| listener(StartNews::Log(log));
                    self.capture.feed(stream, &self.scratch[..length], log);
                }
                Next::Link(Event::Frame(range)) => match read_early(self.link.frame(range))? {
                    Early::Ready(ready) if ready.error.is_none() && ready.v != PROTOCOL_VERSION => {
                        let spoken = ready.v;
                        return Err(format!(
                            "it speaks version {spoken} of the protocol, not {PROTOCOL_VERSION}"
                        ));
                    }
                    Early::Ready(ready) => return Ok(ready),
                    Early::Log(log) => listener(StartNews::Log(log)),
                    Early::OnStart if on_start.is_none() => {
                        *on_start = Some((RunningHook::begin(Hook::OnStart), Instant::now() + ON_START_MAX));
                    }
                    Early::OnStart | Early::Other => {}
                },
                Next::Link(Event::Broken(Broken::Closed)) => return Err(CLOSED.into()),
                Next::Exited => return Err(String::new()),
                Next::Link(Event::Broken(Broken::Garbage | Broken::TooLong(_))) => return Err(GARBAGE.into()),
                Next::Answer(..) => {}
            }
        }
    }
}

/// What a worker may send before it is ready.
enum Early {
    Ready(ReadyFrame),
    Log(GuestLog),
    /// It runs `on_start` from now on.
    OnStart,
    Other,
}

fn take_tail(capture: &mut Capture, log: &mut dyn FnMut(GuestLog)) -> Vec<String> {
    capture.end_lines(log);
    capture.stderr_tail().map(str::to_owned).collect()
}

fn read_early(bytes: &[u8]) -> Result<Early, String> {
    let unreadable = |error: serde_json::Error| format!("a frame on descriptor 4 is not JSON: {error}");
    let frame: Frame<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
    Ok(match &*frame.t {
        "ready" => Early::Ready(serde_json::from_slice(bytes).map_err(unreadable)?),
        "log" => match serde_json::from_slice::<LogFrame>(bytes) {
            Ok(frame) => Early::Log(frame.into_log()),
            Err(_) => Early::Other,
        },
        "on_start" => Early::OnStart,
        _ => Early::Other,
    })
}
