//! Messages between the runner and whoever starts processes for it, a supervisor or a fork server: one JSON text per packet, descriptors attached.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};

use super::watch::Breach;

/// The largest message. A socket's default send buffer holds more.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Descriptors of a new worker, in this order: stdout, stderr, frames in, frames out, and control if it is to
/// be a fork server.
pub const WORKER_DESCRIPTORS_MAX: usize = 5;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ToSupervisor {
    Start {
        seq: u64,
        argv: Vec<String>,
        /// The whole environment; nothing is inherited.
        env: Vec<(String, String)>,
        cwd: PathBuf,
        /// Of the worker and all that it starts.
        memory_bytes_max: u64,
    },
    /// A worker has died that is a fork server's child: look for what it left behind.
    Sweep,
    /// Asks to look after a process that a worker has started, as if it were a worker: it is no longer counted
    /// for that one. Ends with the process. Of no effect if the process is not below the supervisor.
    Watch { pid: u32, memory_bytes_max: u64 },
}

#[derive(Debug, Serialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ToForkServer {
    Fork { seq: u64, cwd: PathBuf },
}

/// What a supervisor and a fork server say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum FromStarter {
    /// Carries the pidfd.
    Started {
        seq: u64,
        pid: u32,
    },
    Failed {
        seq: u64,
        error: String,
    },
    /// A worker or another watched process is being killed, with all below it; its exit comes after this.
    Condemned {
        pid: u32,
        why: Breach,
    },
    Exit {
        pid: u32,
        code: Option<i32>,
        signal: Option<i32>,
        cpu_us: u64,
        memory_peak_kib: u64,
    },
}

pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        let text = format!("a message of {} bytes to the supervisor is too large", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(bytes)
}

/// Sends one packet without waiting.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(WORKER_DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?;
    Ok(())
}

/// Receives one packet without waiting; `None`: the other side is gone.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<(&[u8], Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(WORKER_DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
        Ok(received) => received,
        Err(rustix::io::Errno::CONNRESET | rustix::io::Errno::PIPE) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was cut"));
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    Ok(Some((&buffer[..received.bytes], descriptors)))
}
