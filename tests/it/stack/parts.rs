//! The parts of the stack as the repository configures them, each a real process on loopback: what compose.yaml
//! reaches by name, these reach by a port of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::support::metrics::Scrape;
use crate::support::server::{Client, Home};
use crate::support::sink::Sink;
use crate::support::{PATIENCE, skipped};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Free when it was looked for; nothing else on this machine asks for ports by number.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A process that ends with its handle, and what it said.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// `folder`: where it runs and what it says is kept.
    pub fn start(mut command: Command, folder: &Path) -> Program {
        let log = folder.join("output.log");
        let output = File::options().create(true).append(true).open(&log).unwrap();
        command.current_dir(folder).stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Program { child, log }
    }

    /// Until `path` of a server answers with 200.
    pub async fn ready(&mut self, server: &str, path: &str) {
        let client = Client::new(server);
        let start = Instant::now();
        let ready =
            async || client.try_send(Method::GET, path, &[], "").await.is_ok_and(|reply| reply.status == 200);
        while !ready().await {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "{server}: {ended:?}: {}", self.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands in a file of the repository, with other addresses, into a folder.
pub fn copied(from: &str, to: &Path, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(root().join(from)).unwrap_or_else(|error| panic!("{from}: {error}"));
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, change(&text)).unwrap();
}

/// Replaces each of `changes`, all of which must be there.
pub fn replaced(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in\n{text}");
        text.replace(from, to)
    })
}

/// All times in a configuration or a rule divided by `speed`: `for: 5m`, `[30m]`, `scrape_interval: 5s`. Names such as
/// `ratio_rate5m` and words such as "5 minutes" stay.
pub fn faster(text: &str, speed: u64) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut before = ' ';
    while let Some(character) = rest.chars().next() {
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        let unit = rest[digits..].chars().next();
        let after = rest[digits..].chars().nth(1);
        let ms = match unit.filter(|_| digits > 0 && !is_word(before) && before != '.') {
            Some('s') => 1_000,
            Some('m') => 60_000,
            Some('h') => 3_600_000,
            Some('d') => 86_400_000,
            _ => 0,
        };
        let length = if ms > 0 && !after.is_some_and(is_word) {
            out.push_str(&format!("{}ms", rest[..digits].parse::<u64>().unwrap() * ms / speed));
            digits + 1
        } else {
            let length = digits.max(character.len_utf8());
            out.push_str(&rest[..length]);
            length
        };
        before = rest[..length].chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
    out
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

// === Prometheus ===

pub struct Prometheus {
    _program: Program,
    client: Client,
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Prometheus {
    /// With the configuration and rules of the repository. `targets`: which of its targets are where.
    pub async fn start(folder: &Path, targets: &[(&str, &str)], speed: u64) -> Prometheus {
        let address = format!("127.0.0.1:{}", free_port());
        let itself = [("prometheus:9090", address.as_str())];
        let change = |text: &str| faster(&replaced(&replaced(text, targets), &itself), speed);
        copied("prometheus/prometheus.yaml", &folder.join("prometheus.yaml"), change);
        for rules in fs::read_dir(root().join("prometheus/rules")).unwrap() {
            let name = rules.unwrap().file_name().into_string().unwrap();
            let change = |text: &str| faster(text, speed);
            copied(&format!("prometheus/rules/{name}"), &folder.join("rules").join(&name), change);
        }
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"]);
        command.arg("--enable-feature=exemplar-storage");
        command.arg(format!("--web.listen-address={address}"));
        let mut program = Program::start(command, folder);
        let url = format!("http://{address}");
        program.ready(&url, "/-/ready").await;
        Prometheus { _program: program, client: Client::new(&url) }
    }

    /// An instant query: one value a series.
    pub async fn query(&self, expression: &str) -> Vec<Series> {
        let answer = self.get("/api/v1/query", &[("query", expression)]).await;
        let data = &answer["data"];
        let value = |pair: &Value| pair[1].as_str().unwrap().parse().unwrap();
        if data["resultType"] == "scalar" {
            return vec![Series { labels: BTreeMap::new(), value: value(&data["result"]) }];
        }
        let series = |item: &Value| Series {
            labels: serde_json::from_value(item["metric"].clone()).unwrap(),
            value: value(&item["value"]),
        };
        data["result"].as_array().unwrap().iter().map(series).collect()
    }

    pub async fn sum(&self, expression: &str) -> f64 {
        self.query(expression).await.iter().map(|series| series.value).sum()
    }

    /// The trace ids of all exemplars of a family.
    pub async fn exemplars(&self, family: &str) -> BTreeSet<String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let (start, end) = ((now - 3_600).to_string(), (now + 60).to_string());
        let parameters = [("query", family), ("start", &start), ("end", &end)];
        let answer = self.get("/api/v1/query_exemplars", &parameters).await;
        let series = answer["data"].as_array().unwrap().iter();
        let exemplars = series.flat_map(|series| series["exemplars"].as_array().unwrap());
        exemplars.map(|exemplar| exemplar["labels"]["trace_id"].as_str().unwrap().to_owned()).collect()
    }

    /// What the API answers; anything but success fails the test.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let answer = self.client.get(&format!("{path}?{query}")).await.json();
        assert_eq!(answer["status"], "success", "{path} {parameters:?}: {answer}");
        answer
    }
}

// === Alertmanager ===

pub struct Alertmanager {
    _program: Program,
    pub address: String,
}

impl Alertmanager {
    /// With the configuration of the repository, but for the runner's address and the place of its token.
    pub async fn start(folder: &Path, runner: &str, token_file: &Path, speed: u64) -> Alertmanager {
        let changes =
            [("http://spanglass:7717", runner), ("/run/spanglass/token", token_file.to_str().unwrap())];
        let change = |text: &str| faster(&replaced(text, &changes), speed);
        copied("prometheus/alertmanager.yaml", &folder.join("alertmanager.yaml"), change);
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new("prometheus-alertmanager");
        command.args(["--config.file=alertmanager.yaml", "--storage.path=data", "--cluster.listen-address="]);
        command.arg(format!("--web.listen-address={address}"));
        let mut program = Program::start(command, folder);
        program.ready(&format!("http://{address}"), "/-/ready").await;
        Alertmanager { _program: program, address }
    }
}

// === The collector ===

const PORTS: [&str; 5] = [
    "COLLECTOR_GRPC_PORT",
    "COLLECTOR_HTTP_PORT",
    "COLLECTOR_METRICS_PORT",
    "COLLECTOR_SPAN_METRICS_PORT",
    "COLLECTOR_HEALTH_PORT",
];

/// The program of `scripts/collector.sh`.
pub fn collector_program() -> Option<PathBuf> {
    let named = std::env::var_os("SPANGLASS_TEST_OTELCOL").map(PathBuf::from);
    if named.is_none() {
        skipped("SPANGLASS_TEST_OTELCOL names no collector");
    }
    named
}

/// One collector, and where it listens.
pub struct Collector {
    binary: PathBuf,
    layers: &'static [&'static str],
    folder: tempfile::TempDir,
    pub variables: BTreeMap<&'static str, String>,
    program: Option<Program>,
}

impl Collector {
    /// Sends traces to `traces` and logs to `logs`. `changes`: variables that the test wants otherwise.
    pub async fn start(
        binary: &Path,
        layers: &'static [&'static str],
        traces: &Sink,
        logs: &Sink,
        changes: &[(&'static str, &str)],
    ) -> Collector {
        let mut variables = BTreeMap::from([
            ("COLLECTOR_HOST", "127.0.0.1".to_owned()),
            ("COLLECTOR_COMPRESSION", "none".into()),
            ("COLLECTOR_SPAN_METRICS_INTERVAL", "100ms".into()),
            ("COLLECTOR_DECISION_WAIT", "500ms".into()),
            ("COLLECTOR_TEMPO_ENDPOINT", traces.url().replace("http://", "")),
            ("COLLECTOR_LOKI_ENDPOINT", logs.url()),
        ]);
        for port in PORTS {
            variables.insert(port, free_port().to_string());
        }
        let folder = tempfile::tempdir().unwrap();
        variables.insert("COLLECTOR_STORAGE", folder.path().join("queue").display().to_string());
        variables.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut collector = Collector { binary: binary.to_owned(), layers, folder, variables, program: None };
        collector.run().await;
        collector
    }

    /// Starts it, at the same addresses and on the same queue as before.
    pub async fn run(&mut self) {
        let mut command = Command::new(&self.binary);
        configured(&mut command, self.layers);
        command.envs(&self.variables);
        let mut program = Program::start(command, self.folder.path());
        program.ready(&self.url("HEALTH", ""), "/").await;
        self.program = Some(program);
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// `port`: the middle of its variable, such as `HTTP`.
    pub fn url(&self, port: &str, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.variables[format!("COLLECTOR_{port}_PORT").as_str()])
    }

    /// A runner that exports to it.
    pub fn behind(&self, home: Home) -> Home {
        home.env("OTEL_EXPORTER_OTLP_ENDPOINT", self.url("HTTP", ""))
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")
    }

    pub async fn scrape(&self, port: &str) -> Scrape {
        let client = Client::new(&self.url(port, ""));
        let accept = [("accept", "application/openmetrics-text")];
        let reply = client.send(Method::GET, "/metrics", &accept, "").await;
        let text = reply.text();
        // The collector's own metrics come in the classic text, whatever one asks for.
        let end = if text.ends_with("# EOF\n") { "" } else { "# EOF\n" };
        Scrape::parse(&format!("{text}{end}"))
    }

    /// What `value` makes of a scrape, once it is `wanted`.
    pub async fn until(&self, port: &str, what: &str, wanted: f64, value: impl Fn(&Scrape) -> f64) -> Scrape {
        let start = Instant::now();
        loop {
            let scrape = self.scrape(port).await;
            let is = value(&scrape);
            if is == wanted {
                return scrape;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {is}, not {wanted}: {}", self.output());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn output(&self) -> String {
        self.program.as_ref().map(Program::output).unwrap_or_default()
    }
}

pub fn configured(command: &mut Command, layers: &[&str]) {
    for layer in layers {
        command.arg("--config").arg(root().join("otel-collector").join(layer));
    }
}

#[test]
fn times_pass_faster_and_names_stay() {
    let text = "expr: rate(a:ratio_rate5m[5m]) > 14.4 and x offset 1h\nfor: 15s\nsummary: in 5 minutes, 0.5s, 95th\nscrape_interval: 5s";
    let expected = "expr: rate(a:ratio_rate5m[30000ms]) > 14.4 and x offset 360000ms\nfor: 1500ms\nsummary: in 5 minutes, 0.5s, 95th\nscrape_interval: 500ms";
    assert_eq!(faster(text, 10), expected);
}
