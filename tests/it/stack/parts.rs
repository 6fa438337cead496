//! The parts of the stack as the repository configures them, each a real process on loopback: what compose.yaml
//! reaches by name, these reach by a port of their own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::support::server::Client;
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

/// Its backends are wherever `tempo` and `loki` say, as `http://host:port`.
pub struct Collector {
    pub program: Program,
    pub otlp_http: String,
    /// Its own metrics, and those that it makes from spans: `host:port`.
    pub metrics: String,
    pub span_metrics: String,
}

impl Collector {
    /// The collector of `scripts/collector.sh` with layers of `otel-collector/`; `None` if there is none.
    pub async fn start(
        folder: &Path,
        layers: &[&str],
        tempo: &str,
        loki: &str,
        variables: &[(&str, &str)],
    ) -> Option<Collector> {
        let Some(binary) = std::env::var_os("SPANGLASS_TEST_OTELCOL") else {
            skipped("there is no collector (SPANGLASS_TEST_OTELCOL)");
            return None;
        };
        let [grpc, http, metrics, span_metrics, health] = [(); 5].map(|()| free_port().to_string());
        let mut command = Command::new(binary);
        for layer in layers {
            command.arg("--config").arg(root().join("otel-collector").join(layer));
        }
        command.envs([
            ("COLLECTOR_HOST", "127.0.0.1"),
            ("COLLECTOR_GRPC_PORT", &grpc),
            ("COLLECTOR_HTTP_PORT", &http),
            ("COLLECTOR_METRICS_PORT", &metrics),
            ("COLLECTOR_SPAN_METRICS_PORT", &span_metrics),
            ("COLLECTOR_HEALTH_PORT", &health),
            ("COLLECTOR_TEMPO_ENDPOINT", tempo.trim_start_matches("http://")),
            ("COLLECTOR_LOKI_ENDPOINT", loki),
            ("COLLECTOR_STORAGE", folder.join("queues").to_str().unwrap()),
        ]);
        command.envs(variables.iter().copied());
        let mut program = Program::start(command, folder);
        program.ready(&format!("http://127.0.0.1:{health}"), "/").await;
        Some(Collector {
            program,
            otlp_http: format!("http://127.0.0.1:{http}"),
            metrics: format!("127.0.0.1:{metrics}"),
            span_metrics: format!("127.0.0.1:{span_metrics}"),
        })
    }
}

#[test]
fn times_pass_faster_and_names_stay() {
    let text = "expr: rate(a:ratio_rate5m[5m]) > 14.4 and x offset 1h\nfor: 15s\nsummary: in 5 minutes, 0.5s, 95th\nscrape_interval: 5s";
    let expected = "expr: rate(a:ratio_rate5m[30000ms]) > 14.4 and x offset 360000ms\nfor: 1500ms\nsummary: in 5 minutes, 0.5s, 95th\nscrape_interval: 500ms";
    assert_eq!(faster(text, 10), expected);
}
