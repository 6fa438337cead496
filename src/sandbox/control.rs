//! The control socket to a process that starts others for us, a supervisor or a fork server: who is being
//! started, who runs, and how he ended.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use rustix::process::Signal;
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::launcher::ExitStatus;
use super::watch::Breach;
use super::wire::{self, FromStarter};

#[derive(Debug)]
pub struct Control {
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

/// A process that was started.
#[derive(Debug)]
pub struct Started {
    pub pid: u32,
    pub pidfd: Pidfd,
    pub exit: oneshot::Receiver<ExitStatus>,
    /// Why it was killed by whoever started it, once it has been.
    pub breach: Arc<OnceLock<Breach>>,
}

impl Control {
    /// The socket and its other end, which goes to the process.
    pub fn pair() -> io::Result<(Arc<Control>, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (own, other) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // Packets go over it, which a stream type does not mind: only readiness is asked of tokio.
        let own = std::os::unix::net::UnixStream::from(own);
        own.set_nonblocking(true)?;
        let inbox = Mutex::new(vec![0; wire::MESSAGE_BYTES_MAX].into_boxed_slice());
        let control = Control { socket: UnixStream::from_std(own)?, inbox, book: Mutex::default() };
        Ok((Arc::new(control), other))
    }

    /// Asks for a process and waits until it runs; the inner error says why it does not. `None`: whoever was
    /// asked has gone. Dropping the future before its end kills what was started.
    pub async fn start<M: Serialize>(
        &self,
        message: impl FnOnce(u64) -> M,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<Option<Result<Started, String>>> {
        let (sender, started) = oneshot::channel();
        let Some(seq) = self.expect_start(sender) else { return Ok(None) };
        let sent = match wire::encode(&message(seq)) {
            Ok(message) => self.send(&message, descriptors).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            let mut book = self.book();
            book.starting.remove(&seq);
            return if book.gone { Ok(None) } else { Err(error) };
        }
        Ok(started.await.ok())
    }

    /// Sends a message that has no answer.
    pub async fn say(&self, message: &impl Serialize) -> io::Result<()> {
        self.send(&wire::encode(message)?, &[]).await
    }

    /// The same, if there is room for it now.
    pub fn try_say(&self, message: &impl Serialize) -> io::Result<()> {
        self.try_send(&wire::encode(message)?, &[])
    }

    /// Where it will stand why a process was killed by its supervisor.
    pub fn expect_breach(&self, pid: u32) -> Arc<OnceLock<Breach>> {
        self.book().expect_breach(pid)
    }

    pub fn alive(&self) -> bool {
        !self.book().gone
    }

    /// Both sides see the end of the file.
    pub fn close(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Reads until the process has gone. It must always be read, else it would have to wait for us. `ended` is
    /// called after ends.
    pub async fn read(&self, ended: impl Fn()) {
        while self.socket.readable().await.is_ok() {
            match self.socket.try_io(Interest::READABLE, || self.read_now(&ended)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(()) | Err(_) => break,
            }
        }
        // Whoever waits for a start or an end learns it by the closed channel.
        let mut book = self.book();
        *book = Book { gone: true, ..Book::default() };
    }

    /// Notes what is there, for somebody who cannot wait for the reader.
    pub fn catch_up(&self) {
        let _ = self.read_now(&|| {});
    }

    /// Notes all messages that are there. Its end: the process has gone. `WouldBlock`: it has not.
    fn read_now(&self, ended: &impl Fn()) -> io::Result<()> {
        let mut buffer = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((bytes, descriptors)) = wire::receive(&self.socket, &mut buffer)? {
            let message = serde_json::from_slice(bytes)?;
            let end = matches!(message, FromStarter::Exit { .. });
            self.note(message, descriptors);
            if end {
                ended();
            }
        }
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect_start(&self, sender: oneshot::Sender<Result<Started, String>>) -> Option<u64> {
        let mut book = self.book();
        if book.gone {
            return None;
        }
        book.seq += 1;
        let seq = book.seq;
        book.starting.insert(seq, sender);
        Some(seq)
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

    fn note(&self, message: FromStarter, descriptors: Vec<OwnedFd>) {
        let mut book = self.book();
        match message {
            FromStarter::Started { seq, pid } => {
                let (Some(waiting), Some(pidfd)) =
                    (book.starting.remove(&seq), descriptors.into_iter().next())
                else {
                    return;
                };
                let (sender, exit) = oneshot::channel();
                book.running.insert(pid, sender);
                let breach = book.expect_breach(pid);
                // Nobody waits any more: dropping the pidfd kills it.
                let _ = waiting.send(Ok(Started { pid, pidfd: Pidfd(pidfd), exit, breach }));
            }
            FromStarter::Failed { seq, error } => {
                if let Some(waiting) = book.starting.remove(&seq) {
                    let _ = waiting.send(Err(error));
                }
            }
            FromStarter::Condemned { pid, why } => {
                if let Some(breach) = book.watched.remove(&pid).and_then(|breach| breach.upgrade()) {
                    let _ = breach.set(why);
                }
            }
            FromStarter::Exit { pid, code, signal, cpu_us, memory_peak_kib } => {
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
    fn expect_breach(&mut self, pid: u32) -> Arc<OnceLock<Breach>> {
        let breach = Arc::default();
        self.watched.retain(|_, breach| breach.strong_count() > 0);
        self.watched.insert(pid, Arc::downgrade(&breach));
        breach
    }
}

/// Kills its process when dropped. Through the descriptor, so never another process with the same id.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    pub fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.0, Signal::KILL);
    }

    /// Readable once the process has ended.
    pub fn end_signal(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Pidfd {
    fn drop(&mut self) {
        self.kill();
    }
}
