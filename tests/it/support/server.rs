//! The built program in a temporary folder of its own, as a server or for one command, and a client of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::PATIENCE;
use super::metrics::Scrape;

const PROGRAM: &str = env!("CARGO_BIN_EXE_spanglass");
/// Longest that one command or one request may take.
const LONGEST: Duration = Duration::from_secs(60);

/// A folder with plugins in it, in which the program runs.
pub struct Home {
    folder: tempfile::TempDir,
    pub env: Vec<(String, String)>,
}

impl Home {
    pub fn new() -> Home {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        Home { folder, env: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Home {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// `rest` is YAML below name and version.
    pub fn plugin(self, name: &str, rest: &str, source: &str) -> Home {
        self.write_plugin(&format!("plugins/{name}"), name, "1.0.0", rest, source);
        self
    }

    pub fn write_plugin(&self, folder: &str, name: &str, version: &str, rest: &str, source: &str) -> PathBuf {
        let manifest = format!("name: {name}\nversion: {version}\nruntime: python\n{rest}\n");
        self.write(&format!("{folder}/manifest.yaml"), manifest);
        self.write(&format!("{folder}/executor.py"), source);
        self.path().join(folder)
    }

    /// The program with nothing of this process's environment that it would heed.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["OTEL_", "SPANGLASS_", "NO_COLOR", "CLICOLOR"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&*name);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("SPANGLASS_DATA_DIR", self.data_dir());
        command.current_dir(self.path()).args(arguments);
        command
    }

    /// Runs one command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "").await
    }

    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        use tokio::io::AsyncWriteExt;
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let ended = tokio::time::timeout(LONGEST, child.wait_with_output()).await;
        let output = ended.unwrap_or_else(|_| panic!("{arguments:?} did not end")).unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub async fn serve(self) -> Server {
        self.serve_with(&[]).await
    }

    pub async fn serve_with(self, arguments: &[&str]) -> Server {
        let serve = ["serve", "--json", "--listen", "127.0.0.1:0", "--plugins", "plugins"];
        Server::start(self, &[&serve[..], arguments].concat()).await
    }

    /// The demo, with its plugins and its traffic.
    pub async fn demo_with(self, arguments: &[&str]) -> Server {
        let demo = ["demo", "--json", "--no-open", "--listen", "127.0.0.1:0"];
        Server::start(self, &[&demo[..], arguments].concat()).await
    }
}

/// What a command left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Standard output as the one JSON document that it must be.
    pub fn json(&self) -> Value {
        let document = self.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {self:#?}"));
        serde_json::from_str(document).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A server that is ready. Killed when it is dropped.
pub struct Server {
    pub home: Home,
    pub client: Client,
    arguments: Vec<String>,
    child: Child,
}

impl Server {
    async fn start(home: Home, arguments: &[&str]) -> Server {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (child, client) = launch(&home, &arguments).await;
        Server { home, client, arguments, child }
    }

    pub fn url(&self) -> &str {
        &self.client.base
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9. What it wrote and its folder stay.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it as an operator does, and waits.
    pub async fn stop(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the server does not stop: {}", self.stderr());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts it anew in the same folder.
    pub async fn restart(&mut self) {
        self.kill();
        let (child, client) = launch(&self.home, &self.arguments).await;
        (self.child, self.client) = (child, client);
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.home.path().join("server.err")).unwrap_or_default()
    }

    /// The log lines so far, without the listening line. Every line must be JSON.
    pub fn log_lines(&self) -> Vec<Value> {
        let bytes = std::fs::read(self.home.path().join("server.out")).unwrap();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = std::str::from_utf8(&bytes[..whole]).unwrap();
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        text.lines().skip(1).map(parse).collect()
    }

    /// The log lines of one invocation, once its last one is there.
    pub async fn lines_of(&self, invocation_id: &str) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let mut lines = self.log_lines();
            lines.retain(|line| line["invocation_id"] == invocation_id);
            if lines.iter().any(|line| line["event_name"] == "invocation.finished") {
                return lines;
            }
            assert!(start.elapsed() < PATIENCE, "{invocation_id} has no last line: {lines:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Resident memory of the server alone, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// What the server has open that is no file: pipes, pidfds and other `anon_inode`s, sockets.
    pub fn descriptors(&self) -> BTreeMap<&'static str, usize> {
        let mut kinds = BTreeMap::from([("pipe", 0), ("anon_inode", 0), ("socket", 0)]);
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().flatten() {
            // One that was closed meanwhile is not counted.
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            for (kind, count) in &mut kinds {
                *count += usize::from(target.to_string_lossy().starts_with(&format!("{kind}:")));
            }
        }
        kinds
    }

    /// How many working folders of workers there are.
    pub fn scratch_folders(&self) -> usize {
        let runners = std::fs::read_dir(self.home.data_dir().join("scratch")).unwrap().flatten();
        let folders = |runner: std::fs::DirEntry| {
            std::fs::read_dir(runner.path()).unwrap().flatten().filter(|entry| entry.path().is_dir()).count()
        };
        runners.map(folders).sum()
    }

    /// All that descends from the server: supervisors, workers and what they started.
    pub fn descendants(&self) -> Vec<u32> {
        let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid: u32| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
                Some((pid, parent))
            })
            .collect();
        let mut found = vec![self.pid()];
        let mut at = 0;
        while at < found.len() {
            let parent = found[at];
            found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            at += 1;
        }
        found.split_off(1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let errors = self.stderr();
            let tail = errors.char_indices().rev().nth(2000).map_or(0, |(at, _)| at);
            println!("--- stderr of the server\n{}", &errors[tail..]);
        }
    }
}

async fn launch(home: &Home, arguments: &[String]) -> (Child, Client) {
    let data_dir = home.data_dir();
    let all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = home.path().join("server.out");
    let errors = File::options().create(true).append(true).open(home.path().join("server.err")).unwrap();
    let mut command = home.command(&all);
    command.stdin(Stdio::null()).stdout(File::create(&output).unwrap()).stderr(errors);
    // Whatever happens in between, the process is in somebody's hands.
    let mut server = KillOnDrop(Some(command.spawn().unwrap()));
    let start = Instant::now();
    let url = loop {
        let text = std::fs::read_to_string(&output).unwrap();
        if let Some((line, _)) = text.split_once('\n') {
            let listening: Value = serde_json::from_str(line).unwrap();
            assert_eq!(listening["event"], "listening", "{text}");
            assert_eq!(listening["data_dir"], data_dir.to_str().unwrap());
            break listening["url"].as_str().unwrap().to_owned();
        }
        server.check(home, start);
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let client = Client::new(&url);
    loop {
        if client.try_send(Method::GET, "/readyz", &[], "").await.is_ok_and(|reply| reply.status == 200) {
            return (server.0.take().unwrap(), client);
        }
        server.check(home, start);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct KillOnDrop(Option<Child>);

impl KillOnDrop {
    fn check(&mut self, home: &Home, start: Instant) {
        let ended = self.0.as_mut().unwrap().try_wait().unwrap();
        if ended.is_some() || start.elapsed() > PATIENCE {
            let errors = std::fs::read_to_string(home.path().join("server.err")).unwrap_or_default();
            panic!("the server is not ready after {:?}, {ended:?}: {errors}", start.elapsed());
        }
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Speaks HTTP to one server.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub base: String,
}

impl Client {
    pub fn new(base: &str) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(LONGEST).build().unwrap();
        Client { http, base: base.to_owned() }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        self.send(Method::POST, path, &[], body).await
    }

    /// A synchronous call.
    pub async fn invoke(&self, plugin: &str, input: Value) -> Reply {
        self.call(plugin, json!({"input": input}), &[]).await
    }

    pub async fn call(&self, plugin: &str, body: Value, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::POST, &format!("/v1/plugins/{plugin}/invoke"), headers, body.to_string()).await
    }

    pub async fn stream(&self, plugin: &str, input: Value) -> (Reply, Vec<(String, Value)>) {
        let path = format!("/v1/plugins/{plugin}/invoke?mode=stream");
        let reply = self.post(&path, json!({"input": input}).to_string()).await;
        let events = reply.events();
        (reply, events)
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        match self.try_send(method.clone(), path, headers, body).await {
            Ok(reply) => reply,
            Err(error) => panic!("{method} {path}: {error:?}"),
        }
    }

    /// An answer that is read as it comes.
    pub async fn open(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Reply> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, body: response.bytes().await?.to_vec() })
    }

    pub async fn scrape(&self) -> Scrape {
        let reply =
            self.send(Method::GET, "/metrics", &[("accept", "application/openmetrics-text")], "").await;
        assert_eq!(reply.status, 200);
        Scrape::parse(reply.text())
    }

    pub async fn invocation(&self, id: &str) -> Value {
        let reply = self.get(&format!("/v1/invocations/{id}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    pub async fn trace(&self, id: &str) -> Value {
        let reply = self.get(&format!("/v1/traces/{id}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Calls that have no ending yet.
    pub async fn active(&self, plugin: &str) -> f64 {
        self.scrape().await.sum("spanglass_active_invocations", &[("plugin", plugin)])
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `trace id, span id, flags` of the answer's traceparent.
    pub fn traceparent(&self) -> (String, String, String) {
        let header = self.header("traceparent").unwrap_or_else(|| panic!("no traceparent: {self:?}"));
        let parts: Vec<&str> = header.split('-').collect();
        assert_eq!((parts.len(), parts[0]), (4, "00"), "{header}");
        assert_eq!(self.header("server-timing").unwrap(), format!("traceparent;desc=\"{header}\""));
        (parts[1].to_owned(), parts[2].to_owned(), parts[3].to_owned())
    }

    /// Server-sent events: name and data.
    pub fn events(&self) -> Vec<(String, Value)> {
        let field = |block: &str, name: &str| {
            let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            lines.collect::<Vec<_>>().join("\n")
        };
        let blocks = self.text().split("\n\n").filter(|block| block.contains("data: "));
        blocks
            .map(|block| (field(block, "event"), serde_json::from_str(&field(block, "data")).unwrap()))
            .collect()
    }
}
