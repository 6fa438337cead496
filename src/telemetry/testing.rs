//! What the tests of this room share: telemetry whose records are kept, calls, and collectors with faults.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait on plain threads of their own, each wait within a bound"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::metrics::lock;
use super::settings::{Endpoint, Protocol};
use super::*;
use crate::model::ids::{SpanId, TraceId};
use crate::model::invocation::{Origin, Usage};
use crate::model::trace_context::TraceContext;

/// Keeps copies of what a sink is given.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub invocations: Arc<Mutex<Vec<RecordingData>>>,
    pub logs: Arc<Mutex<Vec<LogRecord>>>,
    pub operations: Arc<Mutex<Vec<OperationRecord>>>,
}

impl Sink for Kept {
    fn accept(&mut self, batch: &[Record]) {
        for record in batch {
            match record {
                Record::Invocation(recording) => lock(&self.invocations).push((**recording).clone()),
                Record::Log(log) => lock(&self.logs).push((**log).clone()),
                Record::Operation(operation) => lock(&self.operations).push((**operation).clone()),
            }
        }
    }
}

impl Kept {
    pub fn take_invocations(&self) -> Vec<RecordingData> {
        std::mem::take(&mut lock(&self.invocations))
    }

    /// The only invocation, once it has arrived.
    pub fn one(&self, telemetry: &Telemetry) -> RecordingData {
        assert!(telemetry.flush(Duration::from_secs(5)));
        let mut all = self.take_invocations();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    pub fn take_logs(&self, telemetry: &Telemetry) -> Vec<LogRecord> {
        assert!(telemetry.flush(Duration::from_secs(5)));
        std::mem::take(&mut lock(&self.logs))
    }
}

pub(crate) fn kept() -> (Telemetry, Kept) {
    kept_with(Settings::default())
}

pub(crate) fn kept_with(settings: Settings) -> (Telemetry, Kept) {
    let kept = Kept::default();
    let telemetry = Telemetry::start(settings, vec![Box::new(kept.clone())]).unwrap();
    (telemetry, kept)
}

pub(crate) fn begin() -> Begin {
    Begin { plugin: "echo".into(), action: "invoke".into(), parent: None, origin: Origin::Network }
}

pub(crate) fn remote_parent() -> TraceContext {
    TraceContext {
        trace_id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
        span_id: SpanId::parse("00f067aa0ba902b7").unwrap(),
        flags: 1,
        tracestate: Some("vendor=1".into()),
        baggage: None,
    }
}

/// A whole good call: four spans, one attempt.
pub(crate) fn call(telemetry: &Telemetry) -> Finished {
    let mut recording = telemetry.begin(begin());
    recording.bind(telemetry.plugin("echo", "1.0.0", "python", &["invoke"]));
    let root = recording.root();
    let attempt = recording.open(names::span::ATTEMPT, root);
    recording.attempt();
    let queue = recording.open(names::span::QUEUE, attempt);
    recording.close(queue);
    recording.queue_wait(Duration::from_micros(3));
    let execute = recording.open(names::span::EXECUTE, attempt);
    recording.close(execute);
    recording.attempt_ended(crate::model::kind::Outcome::Replied);
    recording.close(attempt);
    recording.finish(Ending::Replied { usage: Usage { cpu: Duration::from_millis(1), ..Usage::default() } })
}

pub(crate) const SPANS_PER_CALL: u64 = 4;

pub(crate) fn endpoint(url: &str, protocol: Protocol) -> Endpoint {
    Endpoint {
        url: url.parse().unwrap(),
        protocol,
        headers: Vec::new(),
        timeout: Duration::from_millis(500),
        gzip: false,
        certificate: None,
    }
}

/// Polls until `done`, with a bound.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A request as an HTTP collector sees it.
pub(crate) struct Request {
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

/// An HTTP server that answers each request with the bytes that `answer` gives; none: it hangs up.
pub(crate) struct HttpServer {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl HttpServer {
    pub fn start(answer: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static) -> HttpServer {
        HttpServer::bind("127.0.0.1:0".parse().unwrap(), answer)
    }

    pub fn bind(
        address: SocketAddr,
        answer: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> HttpServer {
        let mut listener = TcpListener::bind(address);
        eventually("the port is free", || {
            if listener.is_err() {
                listener = TcpListener::bind(address);
            }
            listener.is_ok()
        });
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let answer = Arc::new(answer);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), answer, stopped) = (stream, answer.clone(), stopped.clone()) else {
                    continue;
                };
                std::thread::spawn(move || serve(stream, &*answer, &stopped));
            }
        });
        HttpServer { address, stop, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Request) -> Option<Vec<u8>>, stopped: &AtomicBool) {
    while let Some(request) = read_request(&mut stream) {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        let Some(bytes) = answer(&request) else { return };
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length: usize =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = bytes.split_off(end);
    while body.len() < length {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => body.extend_from_slice(&buffer[..read]),
        }
    }
    let path = head.split(' ').nth(1).unwrap_or("").to_owned();
    Some(Request { path, head, body })
}

/// An HTTP answer with a body.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}
