//! Whom a command talks to: a live server, or the same routes within this process. Commands are written
//! once, against the HTTP surface; what differs is only how a request gets there.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

use super::failure::Failure;
use super::local::Local;

/// A request is sent again after a lost connection only by people; so this bounds connecting alone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A file is sent in pieces of this size.
const UPLOAD_PIECE_BYTES: usize = 64 << 10;

pub enum Target {
    Remote(Remote),
    Local(Box<Local>),
}

pub struct Remote {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// An answer whose body is still on its way.
pub struct Answer {
    pub status: StatusCode,
    pub traceparent: Option<String>,
    pub body: futures_util::stream::BoxStream<'static, Result<Bytes, Failure>>,
}

impl Target {
    /// For people: whom the command talks to.
    pub fn describe(&self) -> String {
        match self {
            Target::Remote(remote) => remote.base.clone(),
            Target::Local(local) => format!("in-process ({})", local.data_dir().display()),
        }
    }

    /// The address under which a person can look at things, if a server is there.
    pub fn url(&self) -> Option<&str> {
        match self {
            Target::Remote(remote) => Some(&remote.base),
            Target::Local(_) => None,
        }
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, None).await?.json().await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Answer, Failure> {
        self.send_with(method, path, &[], body).await
    }

    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, Failure> {
        match self {
            Target::Remote(remote) => remote.send(method, path, headers, body).await,
            Target::Local(local) => answer_of(local.router(), method, path, headers, body).await,
        }
    }

    /// Ends what was started for the command, telemetry last.
    pub async fn finish(self) {
        if let Target::Local(local) = self {
            local.finish().await;
        }
    }
}

impl Remote {
    pub fn new(base: &str, token: Option<String>) -> Result<Remote, Failure> {
        if !reqwest::Url::parse(base).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            return Err(Failure::usage(format!("{base:?} is no address of a server"))
                .help("write it as http://HOST:PORT"));
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        // A proxy is for other machines, and must not see a token that is meant for this one.
        if is_loopback(base) {
            client = client.no_proxy();
        }
        let client = client
            .build()
            .map_err(|error| Failure::internal(format!("the HTTP client cannot be made: {error}")))?;
        Ok(Remote { client, base: base.trim_end_matches('/').to_owned(), token })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, Failure> {
        self.send_body(method, path, headers, body.map(reqwest::Body::from)).await
    }

    async fn send_body(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<reqwest::Body>,
    ) -> Result<Answer, Failure> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| Failure::unreachable(&self.base, &error))?;
        let base = self.base.clone();
        Ok(Answer {
            status: response.status(),
            traceparent: traceparent_of(response.headers()),
            body: response.bytes_stream().map_err(move |error| Failure::unreachable(&base, &error)).boxed(),
        })
    }
}

impl Remote {
    /// Sends a file, in pieces.
    pub async fn upload(&self, path: &str, file: std::fs::File) -> Result<Answer, Failure> {
        let file = tokio::fs::File::from_std(file);
        let pieces = futures_util::stream::try_unfold(file, |mut file| async {
            let mut piece = bytes::BytesMut::with_capacity(UPLOAD_PIECE_BYTES);
            let count = tokio::io::AsyncReadExt::read_buf(&mut file, &mut piece).await?;
            Ok::<_, std::io::Error>((count > 0).then(|| (piece.freeze(), file)))
        });
        self.send_body(Method::POST, path, &[], Some(reqwest::Body::wrap_stream(pieces))).await
    }
}

fn is_loopback(base: &str) -> bool {
    let host = reqwest::Url::parse(base).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

async fn answer_of(
    router: Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Bytes>,
) -> Result<Answer, Failure> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(body.map_or_else(Body::empty, Body::from))
        .map_err(|error| Failure::usage(format!("{path:?} cannot be asked for: {error}")))?;
    let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    Ok(Answer {
        status: response.status(),
        traceparent: traceparent_of(response.headers()),
        body: response
            .into_body()
            .into_data_stream()
            .map_err(|error| Failure::internal(format!("the answer broke off: {error}")))
            .boxed(),
    })
}

fn traceparent_of(headers: &http::HeaderMap) -> Option<String> {
    Some(headers.get("traceparent")?.to_str().ok()?.to_owned())
}

impl Answer {
    /// The trace that the request became.
    pub fn trace_id(&self) -> Option<&str> {
        self.traceparent.as_deref()?.split('-').nth(1)
    }

    /// The whole body, whatever the status.
    pub async fn bytes(self) -> Result<(StatusCode, Vec<u8>), Failure> {
        let status = self.status;
        let mut body = self.body;
        let mut bytes = Vec::new();
        while let Some(part) = body.next().await {
            bytes.extend_from_slice(&part?);
        }
        Ok((status, bytes))
    }

    /// The body's document; a problem document becomes the failure that it describes.
    pub async fn json(self) -> Result<Value, Failure> {
        let (status, bytes) = self.bytes().await?;
        if status.is_success() && bytes.is_empty() {
            return Ok(Value::Null);
        }
        let document: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Failure::internal(format!("the server answered {status} with something that is not JSON"))
        })?;
        if status.is_success() { Ok(document) } else { Err(Failure::problem(document)) }
    }
}
