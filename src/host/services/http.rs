//! `ctx.services.http`: the host makes the requests, so that each try is a span of the caller's trace, the
//! trace goes on at the other side, and time, size and repetition are bounded. A host that keeps failing is
//! left alone for a while: each has a circuit, with the settings of the plugin's own.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::header::{HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Response, Url};
use serde_json::value::RawValue;
use serde_json::{Map, json};

use crate::model::guest::{GuestAnswer, GuestCallError, HttpRequest};
use crate::model::kind::ErrorKind;
use crate::model::text::truncate;
use crate::model::trace_context::format_traceparent;
use crate::model::units::format_duration;
use crate::pipeline::GuestContext;
use crate::pipeline::circuit::{Change, Circuit, Ending, Passage};
use crate::pipeline::service_spans::OpenSpan;
use crate::runtimes::BoxFuture;
use crate::telemetry::names::{attribute, event};

/// One try may take so long unless the plugin says otherwise.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// A first try and so many more.
const RETRIES: u32 = 3;
/// The wait before the first retry; it doubles.
const RETRY_WAIT: Duration = Duration::from_millis(100);
/// A longer `Retry-After` is not waited for.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
const RESPONSE_BYTES_MAX: usize = 8 << 20;
const URL_BYTES_MAX: usize = 8 << 10;
const IDLE_PER_HOST_MAX: usize = 8;

/// One client for all plugins.
#[derive(Default)]
pub(super) struct Http {
    /// Made at the first request: reading the system's certificates takes a while.
    client: OnceLock<Result<Client, String>>,
}

impl Http {
    pub(super) fn answer(
        &self,
        request: HttpRequest,
        context: GuestContext,
    ) -> BoxFuture<'static, GuestAnswer> {
        let client = self.client.get_or_init(build_client).clone();
        Box::pin(async move {
            let client = client.map_err(|message| GuestCallError::new("tls", message))?;
            request_with_retries(&client, request, &context).await
        })
    }
}

fn build_client() -> Result<Client, String> {
    // Another part of the program may have installed the provider already; one is enough.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("spanglass/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .build()
        .map_err(|error| format!("the HTTP client cannot be made: {error}"))
}

async fn request_with_retries(client: &Client, request: HttpRequest, context: &GuestContext) -> GuestAnswer {
    let checked = Checked::new(&request)?;
    let circuit = context.plugin.circuits.of(&checked.upstream());
    let until = tokio::time::Instant::now() + context.left;
    let mut wait = RETRY_WAIT;
    let mut try_number = 0;
    loop {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        let asked = request.timeout.unwrap_or(TRY_TIMEOUT);
        let mut span = checked.open_span(&request, context, try_number);
        let passage = match circuit.enter(Instant::now()) {
            Ok(passage) => passage,
            Err(wait) => return Err(checked.refused(&circuit, wait, span)),
        };
        if passage.is_probe() {
            span.event(event::CIRCUIT_HALF_OPENED, Map::new());
        }
        let bound = asked.min(left);
        let sent = tokio::time::timeout(bound, checked.send(client, &request, context, &span)).await;
        let tried = sent.unwrap_or_else(|_| Err(TryError::timeout(bound)));
        let opened = book(passage, &tried, bound < asked, &mut span);
        end_span(span, &tried);
        let again = try_number < RETRIES && !opened && checked.may_repeat(&tried);
        let pause = tried.as_ref().ok().and_then(|answer| answer.retry_after).unwrap_or(wait);
        if !again
            || pause > RETRY_WAIT_MAX
            || pause >= until.saturating_duration_since(tokio::time::Instant::now())
        {
            return answer_of(tried);
        }
        tokio::time::sleep(pause).await;
        wait *= 2;
        try_number += 1;
    }
}

/// Tells the circuit how a try ended. True: it has opened. `cut`: the call's end made the try's time short,
/// which says nothing about the other side.
fn book(passage: Passage, tried: &Result<Answered, TryError>, cut: bool, span: &mut OpenSpan) -> bool {
    let ending = match tried {
        Ok(answer) if answer.status >= 500 => Ending::Failed,
        Ok(_) => Ending::Good,
        Err(error) if error.blames_upstream && !cut => Ending::Failed,
        Err(_) => Ending::Neither,
    };
    match passage.end(ending) {
        Some(Change::Opened { failure_ratio }) => {
            let ratio = (attribute::FAILURE_RATIO.to_owned(), failure_ratio.into());
            span.event(event::CIRCUIT_OPENED, Map::from_iter([ratio]));
            true
        }
        Some(Change::Closed) => {
            span.event(event::CIRCUIT_CLOSED, Map::new());
            false
        }
        None => false,
    }
}

/// A request whose parts have been looked at.
pub(super) struct Checked {
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Checked {
    pub(super) fn new(request: &HttpRequest) -> Result<Checked, GuestCallError> {
        Checked::parse(request).map_err(|message| GuestCallError::new("invalid_request", message))
    }

    fn parse(request: &HttpRequest) -> Result<Checked, String> {
        let method = Method::from_bytes(request.method.to_ascii_uppercase().as_bytes())
            .map_err(|_| format!("{:?} is no HTTP method", truncate(&request.method, 32)))?;
        if request.url.len() > URL_BYTES_MAX {
            return Err(format!("the URL has more than {URL_BYTES_MAX} bytes"));
        }
        let shown = truncate(&request.url, 200);
        let url = Url::parse(&request.url).map_err(|error| format!("{shown:?} is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{shown:?} is neither http nor https"));
        }
        let header = |(name, value): (&String, &String)| {
            let bad = || format!("the header {:?} is not a valid one", truncate(name, 64));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            Ok((name, HeaderValue::from_str(value).map_err(|_| bad())?))
        };
        let headers = request.headers.iter().map(header).collect::<Result<_, String>>()?;
        Ok(Checked { method, url, headers })
    }

    /// Who is asked, as a circuit's name.
    fn upstream(&self) -> String {
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.url.host_str().unwrap_or_default())
    }

    /// Names follow OpenTelemetry's HTTP conventions; the URL goes without user, password and query, where
    /// secrets like to be.
    pub(super) fn open_span(
        &self,
        request: &HttpRequest,
        context: &GuestContext,
        try_number: u32,
    ) -> OpenSpan {
        let mut shown = self.url.clone();
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_query(None);
        let mut attributes = Map::new();
        attributes.insert("http.request.method".into(), self.method.as_str().into());
        attributes.insert("url.full".into(), shown.as_str().into());
        attributes.insert("server.address".into(), self.url.host_str().unwrap_or_default().into());
        if let Some(port) = self.url.port_or_known_default() {
            attributes.insert("server.port".into(), port.into());
        }
        if try_number > 0 {
            attributes.insert("http.request.resend_count".into(), try_number.into());
        }
        let parent_id = request.parent_id.unwrap_or(context.execute_id);
        context.spans.open_client(self.method.as_str(), parent_id, attributes)
    }

    /// Nothing is sent: the circuit is open.
    fn refused(&self, circuit: &Circuit, wait: Duration, span: OpenSpan) -> GuestCallError {
        let (upstream, window) = (self.upstream(), format_duration(circuit.settings().window));
        let wait = Duration::from_millis(wait.as_millis() as u64);
        let message = format!(
            "{upstream} failed too often within {window}; it is asked again in {}",
            format_duration(wait)
        );
        let error = GuestCallError::new(ErrorKind::CircuitOpen.as_str(), message);
        span.fail(error.kind, &error.message);
        error
    }

    async fn send(
        &self,
        client: &Client,
        request: &HttpRequest,
        context: &GuestContext,
        span: &OpenSpan,
    ) -> Result<Answered, TryError> {
        let mut sending = client.request(self.method.clone(), self.url.clone());
        for (name, value) in &self.headers {
            sending = sending.header(name, value);
        }
        sending = sending
            .header("traceparent", format_traceparent(context.trace_id, span.id(), context.trace_flags));
        let carried = [("tracestate", &context.tracestate), ("baggage", &context.baggage)];
        for (name, value) in carried.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
            sending = sending.header(name, value);
        }
        if let Some(body) = &request.body {
            sending = sending.body(body.clone());
        }
        let response = sending.send().await.map_err(|error| TryError::transport(&error))?;
        Answered::read(response).await
    }

    /// Repeating must be safe: nothing was sent, or the method is idempotent (RFC 9110, 9.2.2).
    fn may_repeat(&self, tried: &Result<Answered, TryError>) -> bool {
        let idempotent = self.method.is_idempotent();
        match tried {
            Ok(answer) => idempotent && matches!(answer.status, 429 | 502 | 503 | 504),
            Err(error) => error.nothing_sent || (idempotent && error.transient),
        }
    }
}

pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    pub(super) retry_after: Option<Duration>,
}

impl Answered {
    async fn read(response: Response) -> Result<Answered, TryError> {
        let status = response.status().as_u16();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let mut headers = BTreeMap::new();
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            headers
                .entry(name.to_string())
                .and_modify(|all: &mut String| *all = format!("{all}, {value}"))
                .or_insert_with(|| value.into_owned());
        }
        let mut body = Vec::new();
        let mut parts = response.bytes_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| TryError::transport(&error))?;
            if body.len() + part.len() > RESPONSE_BYTES_MAX {
                return Err(TryError::too_large());
            }
            body.extend_from_slice(&part);
        }
        Ok(Answered { status, headers, body, retry_after })
    }

    fn into_json(self) -> Arc<RawValue> {
        super::json(&json!({
            "status": self.status,
            "headers": self.headers,
            "body": String::from_utf8_lossy(&self.body),
        }))
    }
}

#[derive(Debug)]
pub(super) struct TryError {
    seen_by_guest: GuestCallError,
    nothing_sent: bool,
    transient: bool,
    /// Whether it counts for the circuit.
    blames_upstream: bool,
}

impl TryError {
    fn timeout(bound: Duration) -> TryError {
        let message = format!("no answer within {}", format_duration(bound));
        TryError {
            seen_by_guest: GuestCallError::new("timeout", message),
            nothing_sent: false,
            transient: true,
            blames_upstream: true,
        }
    }

    fn too_large() -> TryError {
        let message = format!("the answer has more than {RESPONSE_BYTES_MAX} bytes");
        let seen_by_guest = GuestCallError::new("response_too_large", message);
        TryError { seen_by_guest, nothing_sent: false, transient: false, blames_upstream: false }
    }

    fn transport(error: &reqwest::Error) -> TryError {
        let nothing_sent = error.is_connect();
        let kind = match error {
            error if nothing_sent && !error.is_timeout() => "connect",
            error if error.is_timeout() => "timeout",
            error if error.is_redirect() => "too_many_redirects",
            _ => "transport",
        };
        // The innermost cause is the one that tells; reqwest's own text repeats the URL with its query.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let seen_by_guest = GuestCallError::new(kind, cause.to_string());
        let transient = !error.is_redirect() && !error.is_builder();
        TryError { seen_by_guest, nothing_sent, transient, blames_upstream: transient }
    }
}

pub(super) fn end_span(mut span: OpenSpan, tried: &Result<Answered, TryError>) {
    match tried {
        Ok(answer) => {
            span.set("http.response.status_code", answer.status);
            span.set("http.response.body.size", answer.body.len());
            if answer.status >= 400 {
                let status = answer.status.to_string();
                span.fail(&status, &format!("status {status}"));
            } else {
                span.end();
            }
        }
        Err(error) => span.fail(error.seen_by_guest.kind, &error.seen_by_guest.message),
    }
}

pub(super) fn answer_of(tried: Result<Answered, TryError>) -> GuestAnswer {
    tried.map(Answered::into_json).map_err(|error| error.seen_by_guest)
}
