//! `POST /v1/plugins/echo/invoke` with 1 KiB of input over kept-alive loopback connections, against a bare
//! axum server that echoes as much. Each server is a process of its own, so that its CPU time can be told
//! from that of the load, which is made here, by blocking threads.
//!
//! Besides Python there is a runtime that answers at once: what it costs more than bare axum is HTTP routes,
//! policies and telemetry.
//!
//! `cargo bench --bench http [-- --quick]`
#![allow(clippy::print_stdout, reason = "what a bench is for")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde_json::Value;
use spanglass::api::{Api, Guard, Looking, guarded};
use spanglass::model::invocation::Origin;
use spanglass::store::calls::CallsReader;
use spanglass::store::{DataFolder, Reader};
use tokio::net::TcpListener;

mod support;

use support::cpu::Spent;
use support::hosts::{self, Plugins, Rig, Watched};
use support::{Samples, order, scaled};

const ROUNDS: usize = 9;
const REQUESTS: usize = 12_000;
/// Python is slower: fewer of its requests fill as much time.
const REQUESTS_PYTHON: usize = 6_000;
const WARM_UP: usize = 500;
const CONNECTIONS: [usize; 2] = [1, 8];
const SERVE: &str = "--serve";
const PATH: &str = "/v1/plugins/echo/invoke";

/// The kinds of server, the first being what the others are compared with.
const KINDS: [(&str, &str); 6] = [
    ("bytes", "bare axum, bytes"),
    ("json", "bare axum, Json<Value>"),
    ("instant-off", "instant runtime, telemetry off"),
    ("instant-full", "instant runtime, ledger and log file"),
    ("python-off", "Python, telemetry off"),
    ("python-full", "Python, ledger and log file"),
];

fn main() {
    spanglass::sandbox::supervisor::main_if_asked();
    if let Some(kind) = support::argument(SERVE) {
        return serve(&kind);
    }
    support::print_machine();
    let servers: Vec<Server> = KINDS.iter().map(|(kind, _)| Server::start(kind)).collect();
    for connections in CONNECTIONS {
        compare(&servers, connections);
    }
    for (server, (_, name)) in servers.iter().zip(KINDS) {
        if let Some(lost) = server.lost().filter(|lost| *lost > 0) {
            println!("{name}: {lost} records did not reach the ledger, counted as dropped");
        }
    }
}

fn compare(servers: &[Server], connections: usize) {
    let mut per_s = vec![Samples::default(); KINDS.len()];
    let mut cpu_us = vec![Samples::default(); KINDS.len()];
    let mut calls_us = vec![Samples::default(); KINDS.len()];
    let mut median_us = vec![Samples::default(); KINDS.len()];
    for server in servers {
        load(server, connections, WARM_UP);
    }
    for round in 0..ROUNDS {
        for index in order(KINDS.len(), round) {
            let server = &servers[index];
            let python = KINDS[index].0.starts_with("python");
            let requests = scaled(if python { REQUESTS_PYTHON } else { REQUESTS });
            let before = Spent::of_process(server.pid());
            let (took, times) = load(server, connections, requests);
            server.settle();
            let spent = Spent::of_process(server.pid()).since(before);
            per_s[index].push(requests as f64 / took.as_secs_f64());
            cpu_us[index].push(spent.total() as f64 / 1e3 / requests as f64);
            calls_us[index].push(spent.calls as f64 / 1e3 / requests as f64);
            median_us[index].push(times.median());
        }
    }
    println!("\nconnections: {connections}, {ROUNDS} rounds; over the rounds: median (least to most)");
    println!(
        "{:<38} {:>26} {:>26} {:>24} {:>24}",
        "", "requests/s", "CPU us of the server", "its call threads", "p50 us"
    );
    for (index, (_, name)) in KINDS.iter().enumerate() {
        println!(
            "{name:<38} {:>26} {:>26} {:>24} {:>24}",
            per_s[index].to_string(),
            cpu_us[index].to_string(),
            calls_us[index].to_string(),
            median_us[index].to_string()
        );
    }
    for (base, (_, base_name)) in KINDS.iter().enumerate().take(2) {
        println!("{:<38} {:>26} {:>26} {:>24}", format!("over {base_name}:"), "requests/s", "CPU", "p50");
        for (index, (_, name)) in KINDS.iter().enumerate().skip(2) {
            println!(
                "{name:<38} {:>26} {:>26} {:>24}",
                per_s[index].over(&per_s[base]).to_string(),
                cpu_us[index].over(&cpu_us[base]).to_string(),
                median_us[index].over(&median_us[base]).to_string()
            );
        }
    }
}

// === The servers ===

fn serve(kind: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (router, rig) = match kind {
            "bytes" => (Router::new().route(PATH, post(|body: Bytes| async { body })), None),
            "json" => (Router::new().route(PATH, post(|Json(body): Json<Value>| async { Json(body) })), None),
            host => {
                let (plugins, watched) = host.split_once('-').expect("it is one of KINDS");
                let plugins = if plugins == "python" { Plugins::Python } else { Plugins::Instant };
                let watched =
                    if watched == "full" { Watched::Full { collector: None } } else { Watched::Off };
                let rig = Rig::start(watched, plugins);
                rig.echo(4);
                let folder = DataFolder::new(rig.folder.path().join("data"));
                let (reader, calls) = (Reader::new(&folder), CallsReader::new(&folder));
                let looking = Looking { reader, calls, host: Some(rig.host.clone()) };
                let api = Api { host: rig.host.clone(), looking, origin: Origin::Network, about: None };
                (guarded(api, Guard::new(Vec::new(), [])), Some(rig))
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("it is bound"));
        let listener = listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        let serving = axum::serve(listener, router);
        // Ends with the process that started it.
        let parent_gone = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
        tokio::select! {
            served = serving.into_future() => served.expect("serving goes on"),
            _ = parent_gone => {}
        }
        if let Some(rig) = rig {
            rig.stop().await;
        }
    });
}

struct Server {
    address: String,
    child: Child,
}

impl Server {
    fn start(kind: &str) -> Server {
        let program = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new(program)
            .args([SERVE, kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut address = String::new();
        let output = child.stdout.as_mut().expect("it is piped");
        BufReader::new(output).read_line(&mut address).expect("the server tells its address");
        Server { address: address.trim().to_owned(), child }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until what happened is written: the route does, before it answers. Bare servers answer 404.
    fn settle(&self) {
        Client::connect(&self.address)
            .exchange(b"GET /v1/invocations?limit=1 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }

    /// Records that the ledger did not get; `None`: there is no ledger.
    fn lost(&self) -> Option<u64> {
        let mut client = Client::connect(&self.address);
        client.exchange(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let text = String::from_utf8_lossy(&client.body).into_owned();
        let lines = text.lines().filter(|line| line.starts_with("spanglass_ledger_dropped_total{"));
        let numbers: Vec<f64> = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
        (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() as u64)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

// === The load ===

/// So many requests, shared among the connections. How long all took, and each, in microseconds.
fn load(server: &Server, connections: usize, requests: usize) -> (Duration, Samples) {
    let each = requests / connections;
    let input = hosts::input_1k();
    let body = format!(r#"{{"input":{input}}}"#);
    let request: Arc<[u8]> = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
    .into();
    let mut clients: Vec<Client> = (0..connections).map(|_| Client::connect(&server.address)).collect();
    let begun = Instant::now();
    let mut times = Samples::default();
    std::thread::scope(|scope| {
        let callers: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let request = request.clone();
                scope.spawn(move || {
                    let mut times = Vec::with_capacity(each);
                    for _ in 0..each {
                        let begun = Instant::now();
                        let status = client.exchange(&request);
                        times.push(begun.elapsed().as_secs_f64() * 1e6);
                        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&client.body));
                    }
                    times
                })
            })
            .collect();
        for caller in callers {
            for time in caller.join().expect("no caller panics") {
                times.push(time);
            }
        }
    });
    (begun.elapsed(), times)
}

/// A kept-alive connection.
struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

impl Client {
    fn connect(address: &str) -> Client {
        let socket = TcpStream::connect(address).expect("the server listens");
        socket.set_nodelay(true).expect("a socket can do it");
        socket.set_read_timeout(Some(support::PATIENCE)).expect("a socket can do it");
        Client { socket, buffer: vec![0; 64 << 10], body: Vec::new() }
    }

    /// Sends a request and reads the whole answer; its status.
    fn exchange(&mut self, request: &[u8]) -> u16 {
        self.socket.write_all(request).expect("the server reads");
        let mut have = 0;
        let (head, length) = loop {
            have += self.read(have);
            if let Some(end) = self.buffer[..have].windows(4).position(|four| four == b"\r\n\r\n") {
                let length = header_value(&self.buffer[..end], b"content-length");
                break (end + 4, length.expect("answers have a length"));
            }
        };
        while have < head + length {
            if self.buffer.len() < head + length {
                self.buffer.resize(head + length, 0);
            }
            have += self.read(have);
        }
        self.body.clear();
        self.body.extend_from_slice(&self.buffer[head..head + length]);
        let status = self.buffer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        status.expect("the answer has a status")
    }

    fn read(&mut self, from: usize) -> usize {
        let read = self.socket.read(&mut self.buffer[from..]).expect("the server answers in time");
        assert!(read > 0, "the server keeps the connection");
        read
    }
}

fn header_value(head: &[u8], name: &[u8]) -> Option<usize> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (key, value) = line.split_at_checked(name.len())?;
        if !key.eq_ignore_ascii_case(name) {
            return None;
        }
        std::str::from_utf8(value).ok()?.trim_start_matches(':').trim().parse().ok()
    })
}
