//! What guests may ask of the host. Today: HTTP requests. The host makes them, so that each try is a span of
//! the caller's trace, the trace goes on at the other side, and time, size and repetition are bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use reqwest::header::{HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Response, Url};
use serde_json::{Map, Value, json};

use crate::model::guest::{GuestAnswer, GuestCall, GuestCallError, GuestSpan, HttpRequest};
use crate::model::text::truncate;
use crate::model::trace_context::format_traceparent;
use crate::package::manifest::HttpStub;
use crate::pipeline::{GuestContext, GuestServices};
use crate::runtimes::BoxFuture;
use crate::telemetry::ids;

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

/// The services of a serving host.
#[derive(Default)]
pub struct HttpServices {
    /// Made at the first request: reading the system's certificates takes a while.
    client: OnceLock<Result<Client, String>>,
}

impl GuestServices for HttpServices {
    fn answer(&self, call: GuestCall, context: GuestContext) -> BoxFuture<'static, GuestAnswer> {
        let GuestCall::Http(request) = call;
        let client = self.client.get_or_init(build_client).clone();
        Box::pin(async move {
            let client = match client {
                Ok(client) => client,
                Err(message) => return refuse("tls", message),
            };
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

fn refuse(kind: &'static str, message: impl Into<String>) -> GuestAnswer {
    GuestAnswer { output: Err(GuestCallError { kind, message: message.into() }), spans: Vec::new() }
}

async fn request_with_retries(client: &Client, request: HttpRequest, context: &GuestContext) -> GuestAnswer {
    let checked = match Checked::new(&request) {
        Ok(checked) => checked,
        Err(message) => return refuse("invalid_request", message),
    };
    let until = tokio::time::Instant::now() + context.left;
    let mut spans = Vec::new();
    let mut wait = RETRY_WAIT;
    for try_number in 0.. {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        let bound = request.timeout.unwrap_or(TRY_TIMEOUT).min(left);
        let mut span = checked.begin_span(&request, context, try_number);
        let sent = tokio::time::timeout(bound, checked.send(client, &request, context, &span)).await;
        let tried = sent.unwrap_or_else(|_| Err(TryError::timeout(bound)));
        end_span(&mut span, &tried);
        spans.push(span);
        let again = try_number < RETRIES && checked.may_repeat(&tried);
        let asked = tried.as_ref().ok().and_then(|answer| answer.retry_after);
        let pause = asked.unwrap_or(wait);
        if !again
            || pause > RETRY_WAIT_MAX
            || pause >= until.saturating_duration_since(tokio::time::Instant::now())
        {
            let output = tried.map(Answered::into_json).map_err(|error| error.seen_by_guest);
            return GuestAnswer { output, spans };
        }
        tokio::time::sleep(pause).await;
        wait *= 2;
    }
    unreachable!("the loop ends by returning")
}

/// A request whose parts have been looked at.
struct Checked {
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Checked {
    fn new(request: &HttpRequest) -> Result<Checked, String> {
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

    /// Names follow OpenTelemetry's HTTP conventions; the URL goes without user, password and query, where
    /// secrets like to be.
    fn begin_span(&self, request: &HttpRequest, context: &GuestContext, try_number: u32) -> GuestSpan {
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
        GuestSpan {
            span_id: ids::span_id(),
            parent_id: request.parent_id.or(Some(context.parent_id)),
            name: self.method.to_string(),
            client: true,
            start_unix_ns: unix_ns(),
            end_unix_ns: 0,
            error: None,
            attributes,
            events: Vec::new(),
        }
    }

    async fn send(
        &self,
        client: &Client,
        request: &HttpRequest,
        context: &GuestContext,
        span: &GuestSpan,
    ) -> Result<Answered, TryError> {
        let mut sending = client.request(self.method.clone(), self.url.clone());
        for (name, value) in &self.headers {
            sending = sending.header(name, value);
        }
        sending = sending
            .header("traceparent", format_traceparent(context.trace_id, span.span_id, context.trace_flags));
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

struct Answered {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    retry_after: Option<Duration>,
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

    fn into_json(self) -> Value {
        json!({
            "status": self.status,
            "headers": self.headers,
            "body": String::from_utf8_lossy(&self.body),
        })
    }
}

#[derive(Debug)]
struct TryError {
    seen_by_guest: GuestCallError,
    nothing_sent: bool,
    transient: bool,
}

impl TryError {
    fn timeout(bound: Duration) -> TryError {
        let message = format!("no answer within {}", crate::model::units::format_duration(bound));
        TryError {
            seen_by_guest: GuestCallError { kind: "timeout", message },
            nothing_sent: false,
            transient: true,
        }
    }

    fn too_large() -> TryError {
        let message = format!("the answer has more than {RESPONSE_BYTES_MAX} bytes");
        let seen_by_guest = GuestCallError { kind: "response_too_large", message };
        TryError { seen_by_guest, nothing_sent: false, transient: false }
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
        let seen_by_guest = GuestCallError { kind, message: cause.to_string() };
        TryError { seen_by_guest, nothing_sent, transient: !error.is_redirect() && !error.is_builder() }
    }
}

fn end_span(span: &mut GuestSpan, tried: &Result<Answered, TryError>) {
    span.end_unix_ns = unix_ns();
    match tried {
        Ok(answer) => {
            span.attributes.insert("http.response.status_code".into(), answer.status.into());
            span.attributes.insert("http.response.body.size".into(), answer.body.len().into());
            if answer.status >= 400 {
                span.attributes.insert("error.type".into(), answer.status.to_string().into());
                span.error = Some(format!("status {}", answer.status));
            }
        }
        Err(error) => {
            span.attributes.insert("error.type".into(), error.seen_by_guest.kind.into());
            span.error = Some(error.seen_by_guest.message.clone());
        }
    }
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Answers from a manifest's examples, so that they need no network.
#[derive(Default)]
pub struct StubServices {
    stubs: RwLock<Vec<HttpStub>>,
}

impl StubServices {
    /// The stubs of the example that runs next.
    pub fn set(&self, stubs: Vec<HttpStub>) {
        *self.stubs.write().unwrap_or_else(PoisonError::into_inner) = stubs;
    }

    fn find(&self, request: &HttpRequest) -> Option<HttpStub> {
        let stubs = self.stubs.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |stub: &&HttpStub| {
            let method = stub.method.as_deref().unwrap_or(&request.method);
            stub.url == request.url && method.eq_ignore_ascii_case(&request.method)
        };
        stubs.iter().find(fits).cloned()
    }
}

impl GuestServices for StubServices {
    fn answer(&self, call: GuestCall, context: GuestContext) -> BoxFuture<'static, GuestAnswer> {
        let GuestCall::Http(request) = call;
        let stub = self.find(&request);
        Box::pin(async move {
            let Some(stub) = stub else {
                let message = format!("no stub answers {} {}", request.method, truncate(&request.url, 200));
                return refuse("no_stub", message);
            };
            let checked = match Checked::new(&request) {
                Ok(checked) => checked,
                Err(message) => return refuse("invalid_request", message),
            };
            let mut span = checked.begin_span(&request, &context, 0);
            tokio::time::sleep(stub.delay.unwrap_or_default().min(context.left)).await;
            let answer = Answered {
                status: stub.status,
                headers: stub.headers,
                body: stub.body.into_bytes(),
                retry_after: None,
            };
            let tried = Ok(answer);
            end_span(&mut span, &tried);
            let output = tried.map(Answered::into_json).map_err(|error: TryError| error.seen_by_guest);
            GuestAnswer { output, spans: vec![span] }
        })
    }
}

/// For hosts that need one and the same object in two roles.
impl<T: GuestServices + ?Sized> GuestServices for Arc<T> {
    fn answer(&self, call: GuestCall, context: GuestContext) -> BoxFuture<'static, GuestAnswer> {
        (**self).answer(call, context)
    }
}
