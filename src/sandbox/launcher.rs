//! The runner's side of a supervisor. Dropping the last handle ends the supervisor and, with it, everything
//! that its workers ever started.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::control::{Control, Pidfd, Started};
use super::fork_server::ForkServer;
use super::orphans;
use super::supervisor::SUBCOMMAND;
use super::watch::Breach;
use super::wire::ToSupervisor;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the supervisor cannot be started from {path}: {cause}")]
    NoSupervisor { path: PathBuf, cause: std::io::Error },
    #[error("the supervisor has ended")]
    SupervisorGone,
    #[error("the fork server has ended")]
    ForkServerGone,
    #[error("{program} cannot be started: {cause}")]
    NotStarted { program: String, cause: String },
    #[error("the supervisor cannot be reached: {0}")]
    Io(#[from] std::io::Error),
}

/// What a worker gets as its descriptors 1, 2, 3 and 4.
#[derive(Debug)]
pub struct Ends {
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    pub frames_in: OwnedFd,
    pub frames_out: OwnedFd,
}

impl Ends {
    /// In the order in which descriptors travel.
    pub(super) fn borrowed(&self) -> [BorrowedFd<'_>; 4] {
        [self.stdout.as_fd(), self.stderr.as_fd(), self.frames_in.as_fd(), self.frames_out.as_fd()]
    }
}

/// A process to be started. It gets nothing but what stands here.
#[derive(Debug)]
pub struct SpawnSpec {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    pub ends: Ends,
    /// Becomes descriptor 5: the process will be asked for copies of itself.
    pub control: Option<OwnedFd>,
    /// Of the worker and all that it starts, together. Whoever uses more is killed: [`Child::breach`].
    pub memory_bytes_max: u64,
}

/// How a worker ended and what it used in all, children that it had waited for included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExitStatus {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub cpu: Duration,
    pub memory_peak_bytes: u64,
}

/// One supervisor process, shared by the workers of a deployment.
#[derive(Debug)]
pub struct Supervisor {
    control: Arc<Control>,
}

impl Supervisor {
    /// Starts a supervisor from `program`, which must call [`super::supervisor::main_if_asked`]. Needs a
    /// tokio runtime, in which a task then reads the control socket until the supervisor ends.
    pub fn start(program: &Path) -> Result<Arc<Supervisor>, Error> {
        let failed = |cause| Error::NoSupervisor { path: program.to_owned(), cause };
        let (control, other) = Control::pair().map_err(failed)?;
        let mut command = tokio::process::Command::new(program);
        // No environment: a plugin can read its parent's.
        command.arg(SUBCOMMAND).env_clear().current_dir("/");
        command.stdin(Stdio::from(other)).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = orphans::expect(|| command.spawn(), tokio::process::Child::id).map_err(failed)?;
        let id = process.id();
        // It holds the other end of the socket: as long as it lives, no end of file would come.
        drop(command);
        let reader = control.clone();
        tokio::spawn(async move {
            reader.read(|| {}).await;
            // Reaps it. It ends by itself: its control socket is closed.
            let _ = process.wait().await;
            orphans::sweep_after(id).await;
        });
        Ok(Arc::new(Supervisor { control }))
    }

    /// Starts a worker. Dropping the future before its end kills what was started.
    pub async fn spawn(self: &Arc<Self>, spec: SpawnSpec) -> Result<Child, Error> {
        let program = spec.argv.first().cloned().unwrap_or_default();
        let descriptors = spec.ends.borrowed().into_iter().chain(spec.control.iter().map(AsFd::as_fd));
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.collect();
        let start = |seq| ToSupervisor::Start {
            seq,
            argv: spec.argv,
            env: spec.env,
            cwd: spec.cwd,
            memory_bytes_max: spec.memory_bytes_max,
        };
        let started = self.control.start(start, &descriptors).await?;
        match started {
            Some(Ok(started)) => {
                let fate = Fate::new(&self.control, started.breach.clone());
                Ok(Child::new(started, fate, Parent::Supervisor(self.clone())))
            }
            Some(Err(cause)) => Err(Error::NotStarted { program, cause }),
            None => Err(Error::SupervisorGone),
        }
    }

    /// Says that a worker has died which is no child of the supervisor: what it left behind is to be killed at
    /// once, not at the next look.
    pub(super) fn sweep(&self) {
        // If there is no room for it now, the next look is not far.
        let _ = self.control.try_say(&ToSupervisor::Sweep);
    }

    /// Has a process that a worker started looked after as if it were a worker: with a bound of its own, and
    /// no longer counted for that one.
    pub async fn watch(&self, pid: u32, memory_bytes_max: u64) -> Result<Fate, Error> {
        let breach = self.control.expect_breach(pid);
        self.control.say(&ToSupervisor::Watch { pid, memory_bytes_max }).await?;
        Ok(Fate::new(&self.control, breach))
    }

    pub fn alive(&self) -> bool {
        self.control.alive()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Both sides see the end of the file: the supervisor kills everything, the reader task ends.
        self.control.close();
    }
}

/// What has become of a process that is watched.
#[derive(Debug)]
pub struct Fate {
    control: Arc<Control>,
    breach: Arc<OnceLock<Breach>>,
}

impl Fate {
    fn new(control: &Arc<Control>, breach: Arc<OnceLock<Breach>>) -> Fate {
        Fate { control: control.clone(), breach }
    }

    /// Why its supervisor has killed it, if it has. Known as soon as the process is dead, without waiting.
    pub fn breach(&self) -> Option<Breach> {
        if self.breach.get().is_none() {
            // It was said before the kill, but whoever reads may not have come to it yet.
            self.control.catch_up();
        }
        self.breach.get().copied()
    }
}

/// A running worker. Dropping it kills it and all that it started.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: Pidfd,
    exit: oneshot::Receiver<ExitStatus>,
    killed: bool,
    fate: Fate,
    /// The last child's handle ends whoever started it.
    _parent: Parent,
}

#[derive(Debug)]
pub(super) enum Parent {
    Supervisor(
        #[expect(dead_code, reason = "held, so that it lives as long as its children")] Arc<Supervisor>,
    ),
    ForkServer(
        #[expect(dead_code, reason = "held, so that it lives as long as its children")] Arc<ForkServer>,
    ),
}

impl Child {
    pub(super) fn new(started: Started, fate: Fate, parent: Parent) -> Child {
        let Started { pid, pidfd, exit, .. } = started;
        Child { pid, pidfd, exit, killed: false, fate, _parent: parent }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills the worker at once; the supervisor then kills what it leaves behind. Idempotent; never waits.
    pub fn kill(&mut self) {
        self.killed = true;
        self.pidfd.kill();
    }

    pub fn killed(&self) -> bool {
        self.killed
    }

    /// See [`Fate::breach`].
    pub fn breach(&self) -> Option<Breach> {
        self.fate.breach()
    }

    /// Readable once the worker has ended.
    pub fn end_signal(&self) -> BorrowedFd<'_> {
        self.pidfd.end_signal()
    }

    /// Resolves once when the worker has ended; an error: its supervisor has gone, and the worker with it.
    pub fn exit(&mut self) -> &mut oneshot::Receiver<ExitStatus> {
        &mut self.exit
    }
}
