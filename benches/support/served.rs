//! The real program as a server with plugins in a folder of its own, and looks at it from outside.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::PATIENCE;

const PROGRAM: &str = env!("CARGO_BIN_EXE_spanglass");
const LOOK: Duration = Duration::from_millis(10);

/// Killed when it is dropped.
pub struct Served {
    pub address: String,
    folder: TempDir,
    child: Child,
}

/// A Python plugin: name, what its manifest says below name and version, its source.
pub type Source<'a> = (&'a str, &'a str, &'a str);

impl Served {
    /// A server that is ready. Its log lines go to a file, its ledger is on, nothing is exported.
    pub fn start(plugins: &[Source<'_>]) -> Served {
        Served::exporting(plugins, None)
    }

    /// As [`Served::start`], with traces and logs sent to a collector at `endpoint`.
    #[allow(clippy::disallowed_methods, reason = "nothing else runs on this thread: std::thread::sleep")]
    pub fn exporting(plugins: &[Source<'_>], endpoint: Option<&str>) -> Served {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, rest, source) in plugins {
            write_plugin(&folder.path().join("plugins").join(name), name, rest, source);
        }
        let output = folder.path().join("server.out");
        let file = |path: &Path| File::create(path).expect("a fresh folder");
        let mut command = Command::new(PROGRAM);
        command.args([
            "serve",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--plugins",
            "plugins",
            "--data-dir",
            "data",
        ]);
        for (name, _) in std::env::vars_os() {
            if ["OTEL_", "SPANGLASS_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.envs(endpoint.map(|endpoint| ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)));
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(file(&output))
            .stderr(file(&folder.path().join("server.err")))
            .spawn()
            .expect("the program starts");
        let mut served = Served { address: String::new(), folder, child };
        let begun = Instant::now();
        while served.address.is_empty() || !served.get("/readyz").starts_with("HTTP/1.1 200") {
            assert!(begun.elapsed() < PATIENCE, "the server gets ready: {}", served.errors());
            std::thread::sleep(LOOK);
            let said = std::fs::read_to_string(&output).unwrap_or_default();
            if let Some(line) = said.lines().next().filter(|_| said.contains('\n')) {
                let line: serde_json::Value = serde_json::from_str(line).expect("it begins with a JSON line");
                let url = line["url"].as_str().expect("it says where it listens");
                url.trim_start_matches("http://").clone_into(&mut served.address);
            }
        }
        served
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory of the server alone.
    pub fn resident_bytes(&self) -> u64 {
        super::cpu::resident_bytes_of(self.pid())
    }

    /// Head and body of the answer; empty if there is none.
    pub fn get(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        let asked = std::net::TcpStream::connect(&self.address).and_then(|mut socket| {
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.write_all(request.as_bytes())?;
            socket.read_to_string(&mut answer)
        });
        if asked.is_err() {
            answer.clear();
        }
        answer
    }

    /// The sum of a family of `/metrics`, over the series that hold all of these.
    pub fn metric(&self, family: &str, labels: &[&str]) -> f64 {
        let text = self.get("/metrics");
        let mine = |line: &&str| {
            line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        };
        text.lines().filter(mine).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.err")).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn write_plugin(folder: &PathBuf, name: &str, rest: &str, source: &str) {
    std::fs::create_dir_all(folder).expect("a folder of its own");
    let manifest = format!("name: {name}\nversion: 1.0.0\nruntime: python\n{rest}\n");
    std::fs::write(folder.join("manifest.yaml"), manifest).expect("a file of its own");
    std::fs::write(folder.join("executor.py"), source).expect("a file of its own");
}
