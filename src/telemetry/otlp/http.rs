//! OTLP over HTTP with protobuf bodies.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url, redirect};

use crate::telemetry::settings::Endpoint;

use super::{
    REPLY_BYTES_MAX, TransportError, Verdict, install_crypto_provider, read_certificate, read_reply,
};

pub(in crate::telemetry) struct HttpTransport {
    client: Client,
    url: String,
    headers: HeaderMap,
    gzip: bool,
}

impl HttpTransport {
    pub fn new(endpoint: &Endpoint) -> Result<HttpTransport, TransportError> {
        install_crypto_provider();
        let mut builder = Client::builder()
            .timeout(endpoint.timeout)
            // A redirected POST may become a GET; a wrong address is for people to put right.
            .redirect(redirect::Policy::none());
        if let Some(pem) = read_certificate(endpoint)? {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem)?);
        } else if endpoint.url.scheme_str() == Some("http") {
            // Without TLS the system's certificates are not needed, and a small container has none.
            builder = builder.tls_certs_only([]);
        }
        let mut headers: HeaderMap = endpoint.headers.iter().cloned().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if endpoint.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(HttpTransport {
            client: builder.build()?,
            url: endpoint.url.to_string(),
            headers,
            gzip: endpoint.gzip,
        })
    }

    pub async fn send(&self, body: Bytes) -> Verdict {
        let body = if self.gzip { compress(&body) } else { body };
        let Ok(url) = Url::parse(&self.url) else {
            return Verdict::Refused { message: "the address cannot be used".into() };
        };
        let request = self.client.post(url).headers(self.headers.clone()).body(body);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Verdict::Retry { after: None, message: describe(&error) },
        };
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(retry_after);
        let mut reply = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if reply.len() + chunk.len() <= REPLY_BYTES_MAX => {
                    reply.extend_from_slice(&chunk)
                }
                Ok(Some(_)) => {
                    return Verdict::Retry { after, message: format!("{status} with an endless reply") };
                }
                Ok(None) => break,
                Err(error) => return Verdict::Retry { after, message: describe(&error) },
            }
        }
        judge(status, after, &reply)
    }
}

/// The rules of OTLP/HTTP (specification 1.5, "Failures").
fn judge(status: StatusCode, after: Option<Duration>, reply: &[u8]) -> Verdict {
    match status.as_u16() {
        200..=299 => read_reply(reply),
        429 | 502 | 503 | 504 => Verdict::Retry { after, message: status.to_string() },
        _ => Verdict::Refused { message: status.to_string() },
    }
}

/// Seconds; the form with a date is not used by collectors.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn compress(body: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing into memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default().into()
}

/// The innermost cause says what happened: "connection refused", not "error sending request".
fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
