//! The four pipes of a worker: moves bytes, finds frames, knows nothing of what they mean.
//!
//! Everything is polled by the task that runs the call: no task, thread or timer of our own per worker or call.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use tokio::time::{Sleep, sleep};

use super::frames::HEADER_BYTES;
use crate::model::guest::LogStream;
use crate::sandbox::launcher::Ends;

const BUFFER_BYTES: usize = 16 << 10;
/// A larger buffer is given back after the call that needed it.
const BUFFER_BYTES_KEPT: usize = 256 << 10;
/// How much of stdout or stderr is read at a time.
pub const OUTPUT_BYTES: usize = 16 << 10;
/// Of a flood, which nobody will see, so much is read at once, two pipes full, and then nothing for a while:
/// whoever prints without end waits for a full pipe most of the time, instead of taking a core, and one more for its
/// reader.
const FLOOD_BYTES: usize = 128 << 10;
const REST: Duration = Duration::from_millis(1);
/// A read that brought less than this waits a little for more: one line at a time costs reader and writer more than the
/// line.
const SHORT_READ_BYTES: usize = 4 << 10;
/// No frame is longer, whatever a plugin's limits are: what claims to be is not a frame.
const FRAME_BYTES_LARGEST: u64 = 512 << 20;

pub struct Link {
    frames_in: pipe::Receiver,
    frames_out: pipe::Sender,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    stdout_open: bool,
    stderr_open: bool,
    /// What was read of a flood since the last rest, and the rest that has begun.
    flooded: usize,
    rest: Option<Pin<Box<Sleep>>>,
    /// Bytes of frames: `buffer[filled]` has been read and not been taken.
    buffer: Vec<u8>,
    filled: Range<usize>,
    outbox: Vec<u8>,
    sent: usize,
    /// What the frame now being read may have.
    pub frame_bytes_max: u64,
}

/// What came from a worker.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A whole frame, to be looked at by [`Link::frame`].
    Frame(Range<usize>),
    /// This much of stdout or stderr lies in the scratch buffer.
    Output(LogStream, usize),
    Broken(Broken),
}

/// How a worker stands between calls.
pub struct Look {
    /// It has closed its frame pipe, or ended.
    pub closed: bool,
    /// Something that was printed can be read.
    pub output: bool,
}

/// Why no more frames can come.
#[derive(Debug, PartialEq)]
pub enum Broken {
    /// The worker has closed its end, mostly by dying.
    Closed,
    /// A frame that looks like one is longer than it may be.
    TooLong(u64),
    /// What came is not a frame.
    Garbage,
}

impl Link {
    pub fn new() -> io::Result<(Link, Ends)> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let ((read, frames_out), (frames_in, write)) = (pipe()?, pipe()?);
        let ((stdout, worker_stdout), (stderr, worker_stderr)) = (pipe()?, pipe()?);
        for own in [&read, &write, &stdout, &stderr] {
            rustix::io::ioctl_fionbio(own, true)?;
        }
        let link = Link {
            frames_in: pipe::Receiver::from_owned_fd_unchecked(read)?,
            frames_out: pipe::Sender::from_owned_fd_unchecked(write)?,
            stdout: pipe::Receiver::from_owned_fd_unchecked(stdout)?,
            stderr: pipe::Receiver::from_owned_fd_unchecked(stderr)?,
            stdout_open: true,
            stderr_open: true,
            flooded: 0,
            rest: None,
            buffer: vec![0; BUFFER_BYTES],
            filled: 0..0,
            outbox: Vec::new(),
            sent: 0,
            frame_bytes_max: 0,
        };
        Ok((link, Ends { stdout: worker_stdout, stderr: worker_stderr, frames_in, frames_out }))
    }

    /// Where frames for the worker are appended; [`Link::push`] or the next poll sends them.
    pub fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    /// Writes what fits now. The rest goes as the worker reads. That nobody reads any more is noticed where
    /// frames are read.
    pub fn push(&mut self) {
        while self.sent < self.outbox.len() {
            match rustix::io::write(&self.frames_out, &self.outbox[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
        self.clear_outbox();
    }

    fn clear_outbox(&mut self) {
        self.outbox.clear();
        self.outbox.shrink_to(BUFFER_BYTES_KEPT);
        self.sent = 0;
    }

    pub fn frame(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The next thing that the worker said. Frames come first: an endless print cannot hold a reply back.
    pub fn poll_event(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Event> {
        self.poll_send(cx);
        loop {
            match self.take_frame() {
                Ok(Some(range)) => return Poll::Ready(Event::Frame(range)),
                Ok(None) => {}
                Err(broken) => return Poll::Ready(Event::Broken(broken)),
            }
            self.make_room();
            let mut room = ReadBuf::new(&mut self.buffer[self.filled.end..]);
            match Pin::new(&mut self.frames_in).poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() => self.filled.end += room.filled().len(),
                Poll::Ready(_) => return Poll::Ready(Event::Broken(Broken::Closed)),
                Poll::Pending => return self.poll_output(cx, scratch),
            }
        }
    }

    /// So many bytes that were read are of no use: once two pipes full of them have been read, there is a rest.
    pub fn read_slowly(&mut self, bytes: usize) {
        self.flooded += bytes;
        if self.flooded >= FLOOD_BYTES {
            self.flooded = 0;
            self.rest = Some(Box::pin(sleep(REST)));
        }
    }

    /// There is no hurry to read the next line. What comes fast is read fast all the same.
    pub fn read_together(&mut self, bytes: usize) {
        if bytes < SHORT_READ_BYTES {
            self.rest = Some(Box::pin(sleep(REST)));
        }
    }

    /// The next thing printed; frames are left alone.
    pub fn poll_output(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Event> {
        if let Some(rest) = &mut self.rest {
            if rest.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.rest = None;
        }
        let streams = [
            (LogStream::Stdout, &mut self.stdout, &mut self.stdout_open),
            (LogStream::Stderr, &mut self.stderr, &mut self.stderr_open),
        ];
        for (name, pipe, open) in streams {
            let mut room = ReadBuf::new(scratch);
            while *open {
                match Pin::new(&mut *pipe).poll_read(cx, &mut room) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                        return Poll::Ready(Event::Output(name, room.filled().len()));
                    }
                    Poll::Ready(_) => *open = false,
                }
            }
        }
        Poll::Pending
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) {
        while self.sent < self.outbox.len() {
            match Pin::new(&mut self.frames_out).poll_write(cx, &self.outbox[self.sent..]) {
                Poll::Ready(Ok(written)) => self.sent += written,
                Poll::Pending => return,
                Poll::Ready(Err(_)) => self.sent = self.outbox.len(),
            }
            if self.sent == self.outbox.len() {
                self.clear_outbox();
            }
        }
    }

    /// Reads what a worker that has ended had still written, so that a reply just before its death counts.
    pub fn read_remaining_frames(&mut self) {
        loop {
            self.make_room();
            match rustix::io::read(&self.frames_in, &mut self.buffer[self.filled.end..]) {
                Ok(0) => return,
                Ok(count) => self.filled.end += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            if self.filled.len() as u64 > self.frame_bytes_max + OUTPUT_BYTES as u64 {
                return;
            }
        }
    }

    /// The next whole frame that has been read already.
    pub fn take_frame(&mut self) -> Result<Option<Range<usize>>, Broken> {
        let Some(header) = self.buffer[self.filled.clone()].first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*header);
        let start = self.filled.start + HEADER_BYTES;
        // The bound holds before the body is waited for. One byte of it tells a frame from garbage.
        if length == 0 || u64::from(length) > FRAME_BYTES_LARGEST {
            return Err(Broken::Garbage);
        }
        if u64::from(length) > self.frame_bytes_max {
            return match self.buffer[..self.filled.end].get(start) {
                Some(b'{') => Err(Broken::TooLong(length.into())),
                Some(_) => Err(Broken::Garbage),
                None => Ok(None),
            };
        }
        let end = start + length as usize;
        if end > self.filled.end {
            return Ok(None);
        }
        self.filled.start = end;
        Ok(Some(start..end))
    }

    /// Makes sure that something can be read, and that the frame being read fits.
    fn make_room(&mut self) {
        if self.filled.is_empty() {
            self.filled = 0..0;
        }
        let header = self.buffer[self.filled.clone()].first_chunk::<HEADER_BYTES>();
        let wanted = header.map_or(0, |header| u32::from_le_bytes(*header) as usize);
        let wanted = HEADER_BYTES + wanted.min(usize::try_from(self.frame_bytes_max).unwrap_or(usize::MAX));
        let fits = self.buffer.len() - self.filled.start >= wanted && self.filled.end < self.buffer.len();
        if !fits {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
            let needed = wanted.max(self.filled.len() + BUFFER_BYTES);
            if self.buffer.len() < needed {
                self.buffer.resize(needed, 0);
            }
        }
    }

    /// After a call: the memory of a large one is not kept.
    pub fn settle(&mut self) {
        (self.flooded, self.rest) = (0, None);
        if self.filled.is_empty() && self.buffer.len() > BUFFER_BYTES_KEPT {
            self.filled = 0..0;
            self.buffer = vec![0; BUFFER_BYTES];
        }
    }

    /// Reads exactly what lies in both pipes now: not more, so that somebody who prints without end cannot
    /// hold up the caller.
    pub fn drain_output(&self, mut take: impl FnMut(LogStream, &[u8])) {
        for (name, pipe) in
            [(LogStream::Stdout, self.stdout.as_fd()), (LogStream::Stderr, self.stderr.as_fd())]
        {
            let mut left = rustix::io::ioctl_fionread(pipe).unwrap_or(0) as usize;
            if left == 0 {
                continue;
            }
            let mut buffer = [0; OUTPUT_BYTES];
            while left > 0 {
                match rustix::io::read(pipe, &mut buffer[..left.min(OUTPUT_BYTES)]) {
                    Ok(count) if count > 0 => {
                        take(name, &buffer[..count]);
                        left -= count;
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Ok(_) | Err(_) => break,
                }
            }
        }
    }

    /// How things stand at this moment, in one question to the kernel: this is part of every call.
    pub fn look(&self, end: BorrowedFd<'_>) -> Look {
        let mut polled = [
            PollFd::new(&self.frames_in, PollFlags::IN),
            PollFd::from_borrowed_fd(end, PollFlags::IN),
            PollFd::new(&self.stdout, PollFlags::IN),
            PollFd::new(&self.stderr, PollFlags::IN),
        ];
        if rustix::event::poll(&mut polled, Some(&Timespec::default())).is_err() {
            return Look { closed: false, output: true };
        }
        let [frames, end, stdout, stderr] = polled.map(|polled| polled.revents());
        Look {
            closed: frames.intersects(PollFlags::HUP | PollFlags::ERR) || !end.is_empty(),
            output: (stdout | stderr).contains(PollFlags::IN),
        }
    }
}
