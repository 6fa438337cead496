//! What telemetry is told: where log lines go, and the standard `OTEL_*` variables.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use crate::model::ids::TraceId;
use crate::model::trace_context::FLAG_SAMPLED;

use super::accounting::Signal;
use super::otlp;
use super::outbox::SpoolShare;

/// Where JSON log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    Stdout,
    Stderr,
    Path(PathBuf),
    #[default]
    Off,
}

/// Checked settings. The default delivers to nobody.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub logs: LogTarget,
    pub otlp: Otlp,
    pub sampler: Sampler,
    /// Where what waits for the collector outlives the process; `None`: in memory only.
    pub spool: Option<SpoolSettings>,
}

/// What waits on disk for the collector, all signals together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Of this process alone.
    pub folder: PathBuf,
    pub bytes_max: u64,
    pub age_max: Duration,
}

/// Where telemetry goes by OTLP, per signal; `None`: nowhere.
#[derive(Clone, Debug)]
pub struct Otlp {
    pub traces: Option<Endpoint>,
    pub logs: Option<Endpoint>,
    pub metrics: Option<Endpoint>,
    pub metric_interval: Duration,
    /// Attributes of the resource, without those that are always there.
    pub resource: Vec<(String, String)>,
    pub buffer_bytes_max: usize,
}

#[derive(Clone, Debug)]
pub struct Endpoint {
    /// http/protobuf: the whole address; gRPC: scheme, host and port.
    pub url: Uri,
    pub protocol: Protocol,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub timeout: Duration,
    pub gzip: bool,
    /// PEM file with the certificates to trust instead of the system's.
    pub certificate: Option<PathBuf>,
}

impl Endpoint {
    /// Scheme, host and port: a path or a user's name in it may open somebody's collector.
    pub fn address(&self) -> String {
        let (scheme, host) = (self.url.scheme_str().unwrap_or("http"), self.url.host().unwrap_or_default());
        let port = self.url.port_u16().map_or_else(String::new, |port| format!(":{port}"));
        format!("{scheme}://{host}{port}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    HttpProtobuf,
    Grpc,
}

/// Which traces are exported. What the ledger keeps does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether the caller's decision holds, where there is one.
    pub parent_based: bool,
    /// Part of the other traces.
    pub ratio: f64,
}

/// A variable that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {message}")]
pub struct Problem {
    pub variable: String,
    pub message: String,
}

/// Traces and logs.
const SPOOLED_SIGNALS: u64 = 2;
/// The spool of a signal has room for at least so many batches.
const BATCHES_MIN: u64 = 16;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const METRIC_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
const DEFAULT_HTTP: &str = "http://localhost:4318";
const DEFAULT_GRPC: &str = "http://localhost:4317";

impl Default for Otlp {
    fn default() -> Otlp {
        Otlp {
            traces: None,
            logs: None,
            metrics: None,
            metric_interval: METRIC_INTERVAL_DEFAULT,
            resource: Vec::new(),
            buffer_bytes_max: super::outbox::BUFFER_BYTES_MAX,
        }
    }
}

impl Default for Sampler {
    fn default() -> Sampler {
        Sampler { parent_based: true, ratio: 1.0 }
    }
}

impl Sampler {
    /// The W3C flags of a trace. A ratio goes by the trace's id, so that every service decides alike.
    pub(super) fn flags(self, trace_id: TraceId, parent: Option<u8>) -> u8 {
        let others = parent.unwrap_or(0) & !FLAG_SAMPLED;
        let sampled = match parent {
            Some(flags) if self.parent_based => flags & FLAG_SAMPLED != 0,
            _ if self.ratio >= 1.0 => true,
            _ => {
                let low =
                    trace_id.as_bytes()[8..].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                // The top bit is left out, as the SDKs do.
                ((low >> 1) as f64) < self.ratio * (1_u64 << 63) as f64
            }
        };
        others | if sampled { FLAG_SAMPLED } else { 0 }
    }
}

impl SpoolSettings {
    /// Signals share the bound in equal parts: a flood of lines pushes out no span.
    pub(super) fn share(&self, signal: Signal) -> SpoolShare {
        SpoolShare {
            folder: self.folder.join(signal.as_str()),
            bytes_max: self.signal_bytes_max(),
            age_max: self.age_max,
        }
    }

    /// A batch is a small part of what the spool holds, so that giving up the oldest makes room for it.
    pub(super) fn batch_bytes_max(&self) -> usize {
        let part = usize::try_from(self.signal_bytes_max() / BATCHES_MIN).unwrap_or(usize::MAX);
        part.min(otlp::BATCH_BYTES_MAX)
    }

    fn signal_bytes_max(&self) -> u64 {
        self.bytes_max / SPOOLED_SIGNALS
    }
}

impl Otlp {
    pub fn endpoint(&self, signal: Signal) -> Option<&Endpoint> {
        match signal {
            Signal::Traces => self.traces.as_ref(),
            Signal::Logs => self.logs.as_ref(),
            Signal::Metrics => self.metrics.as_ref(),
        }
    }
}

impl Settings {
    /// Reads the environment through `get`; all problems at once. `logs` is for the caller to set.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Settings, Vec<Problem>> {
        let mut reader = Reader { get, problems: Vec::new() };
        let settings = reader.settings();
        if reader.problems.is_empty() { Ok(settings) } else { Err(reader.problems) }
    }
}

struct Reader<G> {
    get: G,
    problems: Vec<Problem>,
}

impl<G: Fn(&str) -> Option<String>> Reader<G> {
    fn settings(&mut self) -> Settings {
        let mut otlp = Otlp { resource: self.resource(), ..Otlp::default() };
        if let Some(interval) = self.milliseconds("OTEL_METRIC_EXPORT_INTERVAL") {
            otlp.metric_interval = interval;
        }
        let sampler = self.sampler();
        let disabled = self.text("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        if !disabled {
            otlp.traces = self.endpoint(Signal::Traces);
            otlp.logs = self.endpoint(Signal::Logs);
            otlp.metrics = self.endpoint(Signal::Metrics);
        }
        Settings { logs: LogTarget::Off, otlp, sampler, spool: None }
    }

    fn endpoint(&mut self, signal: Signal) -> Option<Endpoint> {
        let exporter_variable = format!("OTEL_{}_EXPORTER", upper(signal));
        let exporter = self.text(&exporter_variable);
        let wanted = match exporter.as_deref() {
            None => false,
            Some("otlp") => true,
            Some("none") => return None,
            Some(other) => {
                self.problem(&exporter_variable, format!("{other:?} is not known here: otlp or none"));
                return None;
            }
        };
        // Metrics are scraped; they also go out only if asked for by name.
        if signal == Signal::Metrics && !wanted {
            return None;
        }
        let (variable, address) = self.either(signal, "ENDPOINT");
        if address.is_none() && !wanted {
            return None;
        }
        let protocol = self.protocol(signal);
        let default = if protocol == Protocol::Grpc { DEFAULT_GRPC } else { DEFAULT_HTTP };
        let specific = address.is_some() && variable != general("ENDPOINT");
        let address = address.unwrap_or_else(|| default.to_owned());
        let url = self.url(&variable, address, protocol, (!specific).then_some(signal), signal);
        Some(Endpoint {
            url: url?,
            protocol,
            headers: self.headers(signal),
            timeout: self.timeout(signal),
            gzip: self.gzip(signal),
            certificate: self.either(signal, "CERTIFICATE").1.map(PathBuf::from),
        })
    }

    fn url(
        &mut self,
        variable: &str,
        mut address: String,
        protocol: Protocol,
        append: Option<Signal>,
        signal: Signal,
    ) -> Option<Uri> {
        if protocol == Protocol::Grpc && !address.contains("://") {
            let insecure =
                self.either(signal, "INSECURE").1.is_some_and(|text| text.eq_ignore_ascii_case("true"));
            address = format!("{}://{address}", if insecure { "http" } else { "https" });
        }
        if let (Protocol::HttpProtobuf, Some(signal)) = (protocol, append) {
            address = format!("{}/v1/{}", address.trim_end_matches('/'), signal.as_str());
        }
        let url = address.parse::<Uri>().ok().filter(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.host().is_some_and(|host| !host.is_empty())
        });
        if url.is_none() {
            self.problem(variable, format!("{address:?} is no address with http:// or https:// and a host"));
        }
        url
    }

    fn protocol(&mut self, signal: Signal) -> Protocol {
        let (variable, text) = self.either(signal, "PROTOCOL");
        match text.as_deref() {
            None | Some("http/protobuf") => Protocol::HttpProtobuf,
            Some("grpc") => Protocol::Grpc,
            Some(other) => {
                self.problem(&variable, format!("{other:?} is not spoken here: http/protobuf or grpc"));
                Protocol::HttpProtobuf
            }
        }
    }

    fn headers(&mut self, signal: Signal) -> Vec<(HeaderName, HeaderValue)> {
        let (variable, text) = self.either(signal, "HEADERS");
        let mut headers = Vec::new();
        for (name, value) in self.pairs(&variable, text.as_deref().unwrap_or("")) {
            match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
                (Ok(header), Ok(mut value)) => {
                    // Credentials travel in headers: never print them.
                    value.set_sensitive(true);
                    headers.push((header, value));
                }
                _ => self.problem(&variable, format!("{name:?} is no header, or its value cannot be sent")),
            }
        }
        headers
    }

    fn timeout(&mut self, signal: Signal) -> Duration {
        let (variable, text) = self.either(signal, "TIMEOUT");
        match text {
            Some(text) => self.parse_milliseconds(&variable, &text).unwrap_or(TIMEOUT_DEFAULT),
            None => TIMEOUT_DEFAULT,
        }
    }

    fn gzip(&mut self, signal: Signal) -> bool {
        let (variable, text) = self.either(signal, "COMPRESSION");
        match text.as_deref() {
            None | Some("none") => false,
            Some("gzip") => true,
            Some(other) => {
                self.problem(&variable, format!("{other:?} is not known here: none or gzip"));
                false
            }
        }
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let variable = "OTEL_RESOURCE_ATTRIBUTES";
        let text = self.text(variable);
        let mut resource = self.pairs(variable, text.as_deref().unwrap_or(""));
        if let Some(name) = self.text("OTEL_SERVICE_NAME") {
            resource.retain(|(key, _)| key != SERVICE_NAME);
            resource.push((SERVICE_NAME.to_owned(), name));
        }
        resource
    }

    fn sampler(&mut self) -> Sampler {
        let name = self.text("OTEL_TRACES_SAMPLER").unwrap_or_else(|| "parentbased_always_on".to_owned());
        let (parent_based, rest) = match name.strip_prefix("parentbased_") {
            Some(rest) => (true, rest),
            None => (false, name.as_str()),
        };
        let ratio = match rest {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.ratio(),
            _ => {
                let known = "always_on, always_off, traceidratio, or one of these after parentbased_";
                self.problem("OTEL_TRACES_SAMPLER", format!("{name:?} is not known here: {known}"));
                1.0
            }
        };
        Sampler { parent_based, ratio }
    }

    fn ratio(&mut self) -> f64 {
        let variable = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.text(variable) else { return 1.0 };
        match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.problem(variable, format!("{text:?} is no number from 0 to 1"));
                1.0
            }
        }
    }

    fn milliseconds(&mut self, variable: &str) -> Option<Duration> {
        let text = self.text(variable)?;
        self.parse_milliseconds(variable, &text)
    }

    fn parse_milliseconds(&mut self, variable: &str, text: &str) -> Option<Duration> {
        match text.parse::<u32>() {
            Ok(ms) if ms > 0 => Some(Duration::from_millis(ms.into())),
            _ => {
                self.problem(variable, format!("{text:?} is no number of milliseconds"));
                None
            }
        }
    }

    /// `a=1,b=2` with percent-encoded values.
    fn pairs(&mut self, variable: &str, text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (index, pair) in text.split(',').map(str::trim).enumerate() {
            if pair.is_empty() {
                continue;
            }
            let read = pair.split_once('=').and_then(|(key, value)| {
                let key = key.trim();
                (!key.is_empty()).then_some(())?;
                Some((key.to_owned(), percent_decode(value.trim())?))
            });
            match read {
                Some(pair) => pairs.push(pair),
                // The text may be a secret, so only its place is named.
                None => self.problem(variable, format!("entry {} is no key=value", index + 1)),
            }
        }
        pairs
    }

    /// The signal's own variable, else the general one; and which it was.
    fn either(&self, signal: Signal, suffix: &str) -> (String, Option<String>) {
        let specific = format!("OTEL_EXPORTER_OTLP_{}_{suffix}", upper(signal));
        match self.text(&specific) {
            Some(text) => (specific, Some(text)),
            None => (general(suffix), self.text(&general(suffix))),
        }
    }

    /// An empty variable counts as unset.
    fn text(&self, variable: &str) -> Option<String> {
        (self.get)(variable).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn problem(&mut self, variable: &str, message: String) {
        let problem = Problem { variable: variable.to_owned(), message };
        // Three signals share the general variables.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

pub(super) const SERVICE_NAME: &str = "service.name";

fn upper(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "TRACES",
        Signal::Logs => "LOGS",
        Signal::Metrics => "METRICS",
    }
}

fn general(suffix: &str) -> String {
    format!("OTEL_EXPORTER_OTLP_{suffix}")
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
