//! Checks of what is beyond the process: the server and its port, collectors of telemetry.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::{Check, within};
use crate::app::cli::Global;
use crate::app::connect::ServerFile;
use crate::app::target::{Remote, Target};
use crate::config::Settings;
use crate::telemetry::settings::Endpoint;
use crate::telemetry::{self};

const ANSWER_MAX: Duration = Duration::from_secs(2);
const CONNECT_MAX: Duration = Duration::from_secs(1);
const NAME: &str = "server";

/// Either the server that is there answers, or there is room for one.
pub async fn server(global: &Global, settings: &Settings) -> Check {
    let token = settings.tokens.first().map(|token| token.reveal().to_owned());
    let live = ServerFile::live(&settings.data_dir);
    let owner = live.as_ref().map(|server| format!(", process {}", server.pid)).unwrap_or_default();
    match global.server.clone().or(live.map(|server| server.url)) {
        Some(url) if answers(&url, token).await => Check::ok(NAME, format!("answers at {url}{owner}")),
        Some(url) => Check::failed(NAME, format!("does not answer at {url}{owner}"))
            .help("restart it; 'spanglass logs' shows its last words"),
        None => port(settings).await,
    }
}

/// What a live server says of its plugins; nothing if there is none, or it does not answer.
pub async fn plugins(global: &Global, settings: &Settings) -> Vec<Value> {
    let token = settings.tokens.first().map(|token| token.reveal().to_owned());
    let live = ServerFile::live(&settings.data_dir).map(|server| server.url);
    let Some(url) = global.server.clone().or(live) else { return Vec::new() };
    let Ok(remote) = Remote::new(&url, token) else { return Vec::new() };
    let target = Target::Remote(remote);
    let listed = within(ANSWER_MAX, target.get("/v1/plugins?limit=1000")).await;
    listed.and_then(Result::ok).and_then(|list| list["items"].as_array().cloned()).unwrap_or_default()
}

async fn answers(url: &str, token: Option<String>) -> bool {
    let Ok(remote) = Remote::new(url, token) else { return false };
    let target = Target::Remote(remote);
    matches!(within(ANSWER_MAX, target.get("/healthz")).await, Some(Ok(_)))
}

async fn port(settings: &Settings) -> Check {
    let listen = &settings.listen;
    let address = listen.as_str().to_owned();
    if listen.port() == 0 {
        return Check::ok(NAME, format!("not running; {address} takes any free port"));
    }
    let resolving = listen.clone();
    let resolved = super::blocking(ANSWER_MAX, move || resolving.resolve()).await;
    let addresses = match resolved {
        Some(Ok(addresses)) => addresses,
        Some(Err(error)) => return Check::failed(NAME, format!("{address}: {error}")).help("correct listen"),
        None => {
            return Check::failed(NAME, format!("{address} cannot be resolved in time"))
                .help("correct listen");
        }
    };
    match TcpListener::bind(addresses.as_slice()).await {
        Ok(_) => Check::ok(NAME, format!("not running; {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let url = format!("http://{address}");
            let who =
                if answers(&url, None).await { "a server of another data folder" } else { "another program" };
            Check::warning(NAME, format!("not running, and {address} is in use by {who}"))
                .help(format!("choose another port: spanglass serve --listen 127.0.0.1:0; to find it: ss -ltnp 'sport = :{}'", listen.port()))
        }
        Err(error) => Check::failed(NAME, format!("{address} cannot be used: {error}"))
            .help("correct listen, or choose a port above 1023"),
    }
}

/// One line for each collector, or one that says that there is none.
pub async fn telemetry() -> Vec<Check> {
    const NAME: &str = "telemetry";
    let settings = match telemetry::Settings::from_env(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(problems) => {
            let check = |problem: telemetry::settings::Problem| {
                let help = format!("unset {}", problem.variable);
                Check::failed(NAME, problem.to_string()).help(help)
            };
            return problems.into_iter().map(check).collect();
        }
    };
    let otlp = settings.otlp;
    let mut collectors: Vec<(String, Vec<&str>, &Endpoint)> = Vec::new();
    for (signal, endpoint) in [("traces", &otlp.traces), ("logs", &otlp.logs), ("metrics", &otlp.metrics)] {
        let Some(endpoint) = endpoint else { continue };
        let place = place(endpoint);
        match collectors.iter_mut().find(|(known, ..)| *known == place) {
            Some((_, signals, _)) => signals.push(signal),
            None => collectors.push((place, vec![signal], endpoint)),
        }
    }
    if collectors.is_empty() {
        let detail = "kept here only; OTEL_EXPORTER_OTLP_ENDPOINT sends it to a collector as well";
        return vec![Check::ok(NAME, detail)];
    }
    let mut checks = Vec::new();
    for (place, signals, endpoint) in collectors {
        let signals = signals.join(", ");
        checks.push(match within(CONNECT_MAX, TcpStream::connect(&place)).await {
            Some(Ok(_)) => Check::ok(NAME, format!("{signals} to {}", endpoint.url)),
            Some(Err(error)) => unreachable(&signals, endpoint, &error.to_string()),
            None => unreachable(&signals, endpoint, "no answer within 1 s"),
        });
    }
    checks
}

fn unreachable(signals: &str, endpoint: &Endpoint, why: &str) -> Check {
    Check::failed("telemetry", format!("{signals} to {}: {why}", endpoint.url)).help(
        "is the collector running? 'docker compose up' starts one; OTEL_EXPORTER_OTLP_ENDPOINT names it",
    )
}

/// Host and port, as a socket wants them.
fn place(endpoint: &Endpoint) -> String {
    let url = &endpoint.url;
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    format!("{}:{port}", url.host().unwrap_or_default())
}
