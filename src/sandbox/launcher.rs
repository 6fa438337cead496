//! The runner's side of a supervisor. Dropping the last handle ends the supervisor and, with it, everything
//! that its workers ever started.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::orphans;
use super::supervisor::SUBCOMMAND;
use super::watch::Breach;
use super::wire::{self, FromSupervisor, ToSupervisor};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the supervisor cannot be started from {path}: {cause}")]
    NoSupervisor { path: PathBuf, cause: io::Error },
    #[error("the supervisor has ended")]
    SupervisorGone,
    #[error("{program} cannot be started: {cause}")]
    NotStarted { program: String, cause: String },
    #[error("the supervisor cannot be reached: {0}")]
    Io(#[from] io::Error),
}

/// A process to be started. It gets nothing but what stands here.
#[derive(Debug)]
pub struct SpawnSpec {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Becomes descriptor 3.
    pub frames_in: OwnedFd,
    /// Becomes descriptor 4.
    pub frames_out: OwnedFd,
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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: UnixStream,
    /// Held while messages are read, so that they are noted in their order.
    inbox: Mutex<Box<[u8]>>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    gone: bool,
    seq: u64,
    starting: HashMap<u64, oneshot::Sender<Result<Started, String>>>,
    running: HashMap<u32, oneshot::Sender<ExitStatus>>,
    /// Of those that are watched, whether anybody still asks.
    watched: HashMap<u32, Weak<OnceLock<Breach>>>,
}

#[derive(Debug)]
struct Started {
    pid: u32,
    pidfd: Pidfd,
    exit: oneshot::Receiver<ExitStatus>,
    breach: Arc<OnceLock<Breach>>,
}

impl Supervisor {
    /// Starts a supervisor from `program`, which must call [`super::supervisor::main_if_asked`]. Needs a
    /// tokio runtime, in which a task then reads the control socket until the supervisor ends.
    pub fn start(program: &Path) -> Result<Arc<Supervisor>, Error> {
        let failed = |cause| Error::NoSupervisor { path: program.to_owned(), cause };
        let flags = SocketFlags::CLOEXEC;
        let (own, other) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|errno| failed(errno.into()))?;
        // Packets go over it, which a stream type does not mind: only readiness is asked of tokio.
        let own = std::os::unix::net::UnixStream::from(own);
        own.set_nonblocking(true).map_err(failed)?;
        let socket = UnixStream::from_std(own).map_err(failed)?;
        let mut command = tokio::process::Command::new(program);
        // No environment: a plugin can read its parent's.
        command.arg(SUBCOMMAND).env_clear().current_dir("/");
        command.stdin(Stdio::from(other)).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = orphans::expect(|| command.spawn(), tokio::process::Child::id).map_err(failed)?;
        let id = process.id();
        // It holds the other end of the socket: as long as it lives, no end of file would come.
        drop(command);
        let inbox = Mutex::new(vec![0; wire::MESSAGE_BYTES_MAX].into_boxed_slice());
        let shared = Arc::new(Shared { socket, inbox, book: Mutex::default() });
        let reader = shared.clone();
        tokio::spawn(async move {
            reader.read().await;
            // Reaps it. It ends by itself: its control socket is closed.
            let _ = process.wait().await;
            orphans::sweep_after(id).await;
        });
        Ok(Arc::new(Supervisor { shared }))
    }

    /// Starts a worker. Dropping the future before its end kills what was started.
    pub async fn spawn(self: &Arc<Self>, spec: SpawnSpec) -> Result<Child, Error> {
        let (sender, started) = oneshot::channel();
        let seq = self.shared.expect_start(sender)?;
        let program = spec.argv.first().cloned().unwrap_or_default();
        let message = wire::encode(&ToSupervisor::Start {
            seq,
            argv: spec.argv,
            env: spec.env,
            cwd: spec.cwd,
            memory_bytes_max: spec.memory_bytes_max,
        })?;
        let descriptors =
            [spec.stdout.as_fd(), spec.stderr.as_fd(), spec.frames_in.as_fd(), spec.frames_out.as_fd()];
        self.shared.send(&message, &descriptors).await?;
        match started.await {
            Ok(Ok(Started { pid, pidfd, exit, breach })) => {
                let fate = Fate { shared: self.shared.clone(), breach };
                Ok(Child { pid, pidfd, exit, killed: false, fate, _supervisor: self.clone() })
            }
            Ok(Err(cause)) => Err(Error::NotStarted { program, cause }),
            Err(_) => Err(Error::SupervisorGone),
        }
    }

    /// Has a process that a worker started looked after as if it were a worker: with a bound of its own, and
    /// no longer counted for that one.
    pub async fn watch(&self, pid: u32, memory_bytes_max: u64) -> Result<Fate, Error> {
        let fate = Fate { shared: self.shared.clone(), breach: Arc::default() };
        self.shared.book().expect_breach(pid, &fate.breach);
        let message = wire::encode(&ToSupervisor::Watch { pid, memory_bytes_max })?;
        self.shared.send(&message, &[]).await?;
        Ok(fate)
    }

    pub fn alive(&self) -> bool {
        !self.shared.book().gone
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Both sides see the end of the file: the supervisor kills everything, the reader task ends.
        let _ = rustix::net::shutdown(&self.shared.socket, Shutdown::Both);
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect_start(&self, sender: oneshot::Sender<Result<Started, String>>) -> Result<u64, Error> {
        let mut book = self.book();
        if book.gone {
            return Err(Error::SupervisorGone);
        }
        book.seq += 1;
        let seq = book.seq;
        book.starting.insert(seq, sender);
        Ok(seq)
    }

    async fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            self.socket.writable().await?;
            match self.try_send(message, descriptors) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    fn try_send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.socket.try_io(Interest::WRITABLE, || wire::send(&self.socket, message, descriptors))
    }

    /// Reads until the supervisor has gone. It must always be read, else it would have to queue.
    async fn read(&self) {
        while self.socket.readable().await.is_ok() {
            match self.socket.try_io(Interest::READABLE, || self.read_now()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(()) | Err(_) => break,
            }
        }
        // Whoever waits for a start or an end learns it by the closed channel.
        let mut book = self.book();
        *book = Book { gone: true, ..Book::default() };
    }

    /// Notes all messages that are there. Its end: the supervisor has gone. `WouldBlock`: it has not.
    fn read_now(&self) -> io::Result<()> {
        let mut buffer = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((bytes, descriptors)) = wire::receive(&self.socket, &mut buffer)? {
            self.note(serde_json::from_slice(bytes)?, descriptors);
        }
        Ok(())
    }

    fn note(&self, message: FromSupervisor, descriptors: Vec<OwnedFd>) {
        let mut book = self.book();
        match message {
            FromSupervisor::Started { seq, pid } => {
                let (Some(waiting), Some(pidfd)) =
                    (book.starting.remove(&seq), descriptors.into_iter().next())
                else {
                    return;
                };
                let (sender, exit) = oneshot::channel();
                book.running.insert(pid, sender);
                let breach = Arc::default();
                book.expect_breach(pid, &breach);
                // Nobody waits any more: dropping the pidfd kills it.
                let _ = waiting.send(Ok(Started { pid, pidfd: Pidfd(pidfd), exit, breach }));
            }
            FromSupervisor::Failed { seq, error } => {
                if let Some(waiting) = book.starting.remove(&seq) {
                    let _ = waiting.send(Err(error));
                }
            }
            FromSupervisor::Condemned { pid, why } => {
                if let Some(breach) = book.watched.remove(&pid).and_then(|breach| breach.upgrade()) {
                    let _ = breach.set(why);
                }
            }
            FromSupervisor::Exit { pid, code, signal, cpu_us, memory_peak_kib } => {
                if let Some(waiting) = book.running.remove(&pid) {
                    let _ = waiting.send(ExitStatus {
                        code,
                        signal,
                        cpu: Duration::from_micros(cpu_us),
                        memory_peak_bytes: memory_peak_kib.saturating_mul(1024),
                    });
                }
            }
        }
    }
}

impl Book {
    fn expect_breach(&mut self, pid: u32, breach: &Arc<OnceLock<Breach>>) {
        self.watched.retain(|_, breach| breach.strong_count() > 0);
        self.watched.insert(pid, Arc::downgrade(breach));
    }
}

/// What has become of a process that is watched.
#[derive(Debug)]
pub struct Fate {
    shared: Arc<Shared>,
    breach: Arc<OnceLock<Breach>>,
}

impl Fate {
    /// Why its supervisor has killed it, if it has. Known as soon as the process is dead, without waiting.
    pub fn breach(&self) -> Option<Breach> {
        if self.breach.get().is_none() {
            // It was said before the kill, but whoever reads may not have come to it yet.
            let _ = self.shared.read_now();
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
    /// The last child's handle ends the supervisor.
    _supervisor: Arc<Supervisor>,
}

impl Child {
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
        self.pidfd.0.as_fd()
    }

    /// Resolves once when the worker has ended; an error: its supervisor has gone, and the worker with it.
    pub fn exit(&mut self) -> &mut oneshot::Receiver<ExitStatus> {
        &mut self.exit
    }
}

/// Kills its process when dropped. Through the descriptor, so never another process with the same id.
#[derive(Debug)]
struct Pidfd(OwnedFd);

impl Pidfd {
    fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.0, Signal::KILL);
    }
}

impl Drop for Pidfd {
    fn drop(&mut self) {
        self.kill();
    }
}
