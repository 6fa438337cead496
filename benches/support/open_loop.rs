//! A load that waits for no answer: requests are due by a schedule, whatever has become of those before them, and
//! each is measured from the moment at which it was **due**. A server that stalls, or a machine on which this
//! program itself gets no turn, cannot hide that ("coordinated omission").
//!
//! It is bounded all the same: a fixed number of connections with one request each; what is due while none of
//! them is free is counted as unsent. One thread, sockets that do not block, epoll: about 5 µs a request, so that
//! load and server fit on two cores. HTTP/1.1 as far as our own answers need it.
//!
//! Used by benches and by tests.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

/// A late answer is waited for so long after the last request.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Above so many requests a second those due within a tick are sent together; they are measured from their own
/// moments even so.
const PER_S_EXACT: f64 = 2_000.0;
const TICK: Duration = Duration::from_micros(500);
const EVENTS: usize = 128;
const READ_BYTES: usize = 16 << 10;

/// When the next request is due.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many a second on average, at random moments that know nothing of each other (a Poisson process).
    Random(f64),
    /// So many a second, evenly.
    Steady(f64),
    /// One on each connection as soon as the one before is answered: no open loop, but what a server can do at
    /// most.
    Closed,
}

/// One request that was answered. Times count from the beginning of the run.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub due: Duration,
    pub at: Duration,
    pub status: u16,
}

impl Answer {
    pub fn latency(&self) -> Duration {
        self.at.saturating_sub(self.due)
    }
}

/// What became of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub answers: Vec<Answer>,
    /// Due, and no connection was free.
    pub unsent: u64,
    /// Sent, and the connection ended, or nothing came in time.
    pub broken: u64,
    pub lasted: Duration,
    /// One answer of each status, head and body.
    pub samples: BTreeMap<u16, String>,
}

impl Tally {
    pub fn due(&self) -> u64 {
        self.answers.len() as u64 + self.unsent + self.broken
    }

    pub fn count(&self, status: u16) -> u64 {
        self.answers.iter().filter(|answer| answer.status == status).count() as u64
    }

    /// Answers with this status a second, between `warm` and the end of the schedule.
    pub fn per_s(&self, status: u16, warm: Duration) -> f64 {
        let counts =
            |answer: &&Answer| answer.status == status && answer.at >= warm && answer.at <= self.lasted;
        let counted = self.answers.iter().filter(counts).count();
        counted as f64 / self.lasted.saturating_sub(warm).as_secs_f64()
    }

    /// How long answers with this status took that were due after `warm`; sorted.
    pub fn latencies(&self, status: u16, warm: Duration) -> Latencies {
        let counts = |answer: &&Answer| answer.status == status && answer.due >= warm;
        let mut latencies: Vec<Duration> = self.answers.iter().filter(counts).map(Answer::latency).collect();
        latencies.sort();
        Latencies(latencies)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Zero if there is none.
    pub fn quantile(&self, part: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
    }
}

/// The connections, kept from one run to the next.
pub struct Load {
    address: SocketAddr,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Those that are free; the last used is used first.
    idle: Vec<usize>,
    random: fastrand::Rng,
}

struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// When the request that it carries was due.
    due: Option<Instant>,
}

/// What reading a connection came to.
enum Heard {
    Nothing,
    Answer(u16),
    End,
}

impl Load {
    /// `address` is `host:port`, perhaps with `http://` before it.
    pub fn connect(address: &str, connections: usize) -> Load {
        let address = address.trim_start_matches("http://").parse().expect("an address with a port");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll is there");
        let random = fastrand::Rng::with_seed(7);
        let mut load = Load { address, epoll, connections: Vec::new(), idle: Vec::new(), random };
        for index in 0..connections {
            let connection = load.open(index);
            load.connections.push(connection);
            load.idle.push(index);
        }
        load
    }

    /// Sends `request` by the schedule for so long, waits for the answers that are still due, and tells. `ended`
    /// is called between the two. Blocks.
    pub fn run(&mut self, request: &[u8], pace: Pace, lasts: Duration, ended: impl FnOnce()) -> Tally {
        let mut tally = Tally { lasted: lasts, ..Tally::default() };
        let begun = Instant::now();
        let end = begun + lasts;
        let tick = match pace {
            Pace::Random(per_s) | Pace::Steady(per_s) if per_s > PER_S_EXACT => TICK,
            _ => Duration::ZERO,
        };
        let mut next = begun + self.gap(pace);
        if let Pace::Closed = pace {
            while let Some(index) = self.idle.pop() {
                self.send(index, request, begun, &mut tally);
            }
        }
        let mut ended = Some(ended);
        loop {
            let now = Instant::now();
            while next <= now && next < end {
                match self.idle.pop() {
                    Some(index) => self.send(index, request, next, &mut tally),
                    None => tally.unsent += 1,
                }
                next += self.gap(pace);
            }
            if now >= end {
                if let Some(ended) = ended.take() {
                    ended();
                }
                if self.idle.len() == self.connections.len() {
                    break;
                }
                if now >= end + DRAIN_MAX {
                    self.give_up(&mut tally);
                    break;
                }
            }
            let wake = if now < end { next.min(end) } else { end + DRAIN_MAX };
            for index in self.ready(wake.saturating_duration_since(now).max(tick)) {
                let (due, heard) = (self.connections[index].due, self.connections[index].read());
                match heard {
                    Heard::Nothing => {}
                    Heard::Answer(status) => {
                        let at = Instant::now();
                        let due = due.expect("it answers what was sent").saturating_duration_since(begun);
                        let answer = Answer { due, at: at - begun, status };
                        tally.answers.push(answer);
                        let buffer = &mut self.connections[index].buffer;
                        let text = || String::from_utf8_lossy(buffer).into_owned();
                        tally.samples.entry(status).or_insert_with(text);
                        buffer.clear();
                        self.idle.push(index);
                        if matches!(pace, Pace::Closed) && at < end {
                            self.idle.pop();
                            self.send(index, request, at, &mut tally);
                        }
                    }
                    Heard::End => {
                        self.reopen(index);
                        if due.is_some() {
                            tally.broken += 1;
                            self.idle.push(index);
                        }
                    }
                }
            }
        }
        tally
    }

    fn gap(&mut self, pace: Pace) -> Duration {
        match pace {
            Pace::Random(per_s) => Duration::from_secs_f64(-(1.0 - self.random.f64()).ln() / per_s),
            Pace::Steady(per_s) => Duration::from_secs_f64(1.0 / per_s),
            Pace::Closed => Duration::from_secs(365 * 24 * 3600),
        }
    }

    fn send(&mut self, index: usize, request: &[u8], due: Instant, tally: &mut Tally) {
        // A small request always fits into an idle socket.
        for _ in 0..2 {
            match self.connections[index].socket.write(request) {
                Ok(written) if written == request.len() => {
                    return self.connections[index].due = Some(due);
                }
                // It was kept, and has been closed meanwhile.
                _ => self.reopen(index),
            }
        }
        tally.broken += 1;
        self.idle.push(index);
    }

    fn ready(&self, wait: Duration) -> Vec<usize> {
        let mut events = Vec::with_capacity(EVENTS);
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let waited = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait));
        if waited.is_err() {
            events.clear();
        }
        events.iter().map(|event| event.data.u64() as usize).collect()
    }

    fn open(&self, index: usize) -> Connection {
        let socket = TcpStream::connect(self.address).expect("the server listens");
        socket.set_nodelay(true).expect("it is a socket");
        socket.set_nonblocking(true).expect("it is a socket");
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN).expect("it is not there yet");
        Connection { socket, buffer: Vec::with_capacity(READ_BYTES), due: None }
    }

    /// In place of one that has ended, which leaves the set by being closed.
    fn reopen(&mut self, index: usize) {
        self.connections[index] = self.open(index);
    }

    fn give_up(&mut self, tally: &mut Tally) {
        for index in 0..self.connections.len() {
            if self.connections[index].due.is_some() {
                self.reopen(index);
                tally.broken += 1;
                self.idle.push(index);
            }
        }
    }
}

impl Connection {
    /// The buffer holds a whole answer when one is returned.
    fn read(&mut self) -> Heard {
        loop {
            let have = self.buffer.len();
            self.buffer.resize(have + READ_BYTES, 0);
            let read = self.socket.read(&mut self.buffer[have..]);
            self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Heard::End,
                Ok(_) => {
                    if let Some(status) = status_of_whole(&self.buffer) {
                        self.due = None;
                        return Heard::Answer(status);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Nothing,
                Err(_) => return Heard::End,
            }
        }
    }
}

/// The status of an answer that has come whole.
fn status_of_whole(bytes: &[u8]) -> Option<u16> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).expect("our heads are ASCII");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = head + 4 + length.expect("our answers have a length");
    (bytes.len() >= whole).then(|| text.split(' ').nth(1)?.parse().ok())?
}

/// `POST /v1/plugins/{plugin}/invoke{query}` with this input.
pub fn invoke(plugin: &str, query: &str, input: &str) -> Vec<u8> {
    let body = format!(r#"{{"input":{input}}}"#);
    format!(
        "POST /v1/plugins/{plugin}/invoke{query} HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
