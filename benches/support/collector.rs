//! A collector that accepts everything and keeps nothing, in a thread or in a process of its own. Below `/hanging`
//! it never answers, below `/unavailable` it says 503.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

const FLAG: &str = "--as-collector";

/// Runs as the collector if this process was started by [`Collector::start`].
pub fn main_if_asked() -> bool {
    if !super::has_flag(FLAG) {
        return false;
    }
    println!("{}", in_thread());
    // Ends with the process that started it.
    let _ = std::io::stdin().read(&mut [0]);
    true
}

/// A collector in another process, so that its work is not counted as ours.
pub struct Collector {
    pub url: String,
    child: Child,
}

impl Collector {
    pub fn start() -> Collector {
        let program = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new(program)
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut url = String::new();
        let output = child.stdout.as_mut().expect("it is piped");
        BufReader::new(output).read_line(&mut url).expect("the collector tells its address");
        Collector { url: url.trim().to_owned(), child }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A collector in this process; its address.
pub fn in_thread() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    format!("http://{address}")
}

fn serve(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let Ok(read @ 1..) = stream.read(&mut buffer) else { return };
        bytes.extend_from_slice(&buffer[..read]);
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = end + 4 + length.and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
            if bytes.len() < whole {
                break;
            }
            bytes.drain(..whole);
            let status = match head.lines().next().unwrap_or_default() {
                line if line.contains(" /hanging/") => continue,
                line if line.contains(" /unavailable/") => "503 Service Unavailable",
                _ => "200 OK",
            };
            if write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}
