//! From a command line to a worker that is ready for calls.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::capture::Capture;
use super::frames::{
    self, DebugFrame, FailureFrame, Frame, LogFrame, PROTOCOL_VERSION, ReadyFrame, ToWorker,
};
use super::instance::{CLOSED, GARBAGE, Next, StrayLog, WorkerInstance, crash_error};
use super::link::{Broken, Event, Link};
use crate::model::error::InvokeError;
use crate::model::guest::GuestLog;
use crate::model::kind::ErrorKind;
use crate::runtimes::{Convention, DeploymentSpec};
use crate::sandbox::launcher::{SpawnSpec, Supervisor};

/// A worker to be started.
pub struct StartSpec {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    /// The worker's own folder, removed with it.
    pub scratch: Option<TempDir>,
    pub deployment: Arc<DeploymentSpec>,
    pub stray: StrayLog,
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

/// Starts a worker and waits until it is ready. Dropping the future kills it.
pub async fn start(
    supervisor: &Arc<Supervisor>,
    spec: StartSpec,
    log: &mut (dyn FnMut(GuestLog) + Send),
) -> Result<WorkerInstance, StartError> {
    let deployment = spec.deployment;
    let (mut link, ends) = Link::new().map_err(|error| {
        InvokeError::new(ErrorKind::Internal, format!("no pipes can be made for a worker: {error}"))
    })?;
    let child = supervisor.spawn(SpawnSpec {
        argv: spec.argv,
        env: spec.env,
        cwd: spec.cwd,
        stdout: ends.stdout,
        stderr: ends.stderr,
        frames_in: ends.frames_in,
        frames_out: ends.frames_out,
    });
    let child = child.await.map_err(|error| InvokeError::new(ErrorKind::Unavailable, error.to_string()))?;
    link.frame_bytes_max =
        deployment.manifest.limits.output_bytes_max.saturating_add(frames::FRAME_HEADROOM_BYTES);
    hello(&mut link, &deployment)?;
    let mut instance = WorkerInstance::new(link, child, spec.stray, spec.scratch);
    let ready = instance.ready(log).await;
    let capture = &mut instance.capture;
    instance.link.drain_output(|stream, bytes| capture.feed(stream, bytes, log));
    capture.finish(log, |_, _| {});
    match ready? {
        None => Ok(instance),
        Some(failure) => Err(StartError::Refused(failure)),
    }
}

fn hello(link: &mut Link, deployment: &DeploymentSpec) -> Result<(), InvokeError> {
    let manifest = &deployment.manifest;
    // The worker runs in another folder than we do.
    let folder = std::path::absolute(&deployment.folder).unwrap_or_else(|_| deployment.folder.clone());
    let folder = folder.to_str().ok_or_else(|| {
        let message = format!("the folder {} has a name that is not UTF-8", folder.display());
        InvokeError::new(ErrorKind::Unavailable, message)
    })?;
    let entrypoints = manifest.action_names().filter_map(|name| Some((name, manifest.entrypoint_of(name)?)));
    let version = manifest.version.to_string();
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
        secrets: deployment.secrets.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect(),
        max_frame: link.frame_bytes_max,
        debug: deployment
            .debugging
            .as_ref()
            .map(|debugging| DebugFrame { socket: &debugging.socket, post_mortem: debugging.post_mortem }),
    };
    frames::encode(link.outbox(), &hello);
    link.push();
    Ok(())
}

impl WorkerInstance {
    /// Waits for `ready`; `Some`: the worker says what is wrong with the plugin.
    async fn ready(
        &mut self,
        log: &mut (dyn FnMut(GuestLog) + Send),
    ) -> Result<Option<FailureFrame>, InvokeError> {
        let mut asks = Vec::new();
        let why = loop {
            match self.next(&mut asks).await {
                Next::Link(Event::Output(stream, length)) => {
                    self.capture.feed(stream, &self.scratch[..length], log);
                }
                Next::Link(Event::Frame(range)) => match read_ready(self.link.frame(range), log) {
                    Ok(None) => {}
                    Ok(Some(ready)) if ready.error.is_none() && ready.v != PROTOCOL_VERSION => {
                        break format!(
                            "it speaks version {} of the protocol, not {PROTOCOL_VERSION}",
                            ready.v
                        );
                    }
                    Ok(Some(ready)) => return Ok(ready.error.map(FailureFrame::bounded)),
                    Err(why) => break why,
                },
                Next::Link(Event::Broken(Broken::Closed)) => break CLOSED.into(),
                Next::Exited => break String::new(),
                Next::Link(Event::Broken(Broken::Garbage | Broken::TooLong(_))) => {
                    break GARBAGE.into();
                }
                Next::Answer(..) => {}
            }
        };
        let (exit, why) = self.end(&why).await;
        let mut capture = std::mem::take(&mut self.capture);
        self.link.drain_output(|stream, bytes| capture.feed(stream, bytes, log));
        let tail = take_tail(&mut capture, log);
        let mut error = crash_error("the worker was not ready yet and", exit, why, &tail);
        error.kind = ErrorKind::Unavailable;
        Err(error)
    }
}

fn take_tail(capture: &mut Capture, log: &mut (dyn FnMut(GuestLog) + Send)) -> Vec<String> {
    capture.end_lines(log);
    capture.stderr_tail().map(str::to_owned).collect()
}

fn read_ready(bytes: &[u8], log: &mut (dyn FnMut(GuestLog) + Send)) -> Result<Option<ReadyFrame>, String> {
    let unreadable = |error: serde_json::Error| format!("a frame on descriptor 4 is not JSON: {error}");
    let frame: Frame<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
    match &*frame.t {
        "ready" => Ok(Some(serde_json::from_slice(bytes).map_err(unreadable)?)),
        "log" => {
            if let Ok(frame) = serde_json::from_slice::<LogFrame>(bytes) {
                log(frame.into_log());
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}
