//! Messages over HTTP. Redirects are not followed: an address that leads elsewhere is a mistake.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url, redirect};
use serde_json::Value;

use super::Refused;

pub async fn post(url: &str, body: Value, timeout: Duration) -> Result<(), Refused> {
    // Fails if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = Client::builder().timeout(timeout).redirect(redirect::Policy::none());
    if url.starts_with("http://") {
        // Without TLS the system's certificates are not needed, and a small container has none.
        client = client.tls_certs_only([]);
    }
    let client = client.user_agent(concat!("spanglass/", env!("CARGO_PKG_VERSION"))).build();
    // An error of the client names the address.
    let refused = |error: reqwest::Error| Refused { why: describe(&error.without_url()), for_good: false };
    let client = client.map_err(refused)?;
    let request = client.post(url).header("content-type", "application/json").body(body.to_string());
    let status = request.send().await.map_err(refused)?.status();
    if status.is_success() {
        return Ok(());
    }
    let later = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    Err(Refused { why: format!("it answered {}", status.as_u16()), for_good: !later })
}

/// Without user, path and query, any of which may be a key.
pub fn shown(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "***".into() };
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}/***", url.scheme(), url.host_str().unwrap_or("***"))
}

fn describe(error: &reqwest::Error) -> String {
    let what = match () {
        () if error.is_timeout() => "it did not answer in time",
        () if error.is_connect() => "no connection",
        () => "it could not be sent",
    };
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("{what}: {cause}")
}
