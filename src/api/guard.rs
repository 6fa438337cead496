//! Who may ask: bearer tokens, and the `Host` and `Origin` of requests that change something, against DNS
//! rebinding and cross-site requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, header};
use subtle::ConstantTimeEq;

use super::{Problem, is_public};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;

/// Names that always mean this machine.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Empty: no token is needed.
    tokens: Vec<String>,
    hosts: BTreeSet<String>,
}

impl Guard {
    pub fn new(tokens: Vec<String>, hosts: impl IntoIterator<Item = String>) -> Guard {
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase());
        let hosts = hosts.chain(LOOPBACK_NAMES.map(str::to_owned)).collect();
        Guard { tokens, hosts }
    }

    fn check(&self, request: &Request) -> Result<(), InvokeError> {
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if changes {
            self.check_names(request)?;
        }
        if self.tokens.is_empty() || is_public(request) {
            return Ok(());
        }
        let shown = super::header(request.headers(), header::AUTHORIZATION.as_str());
        let token = shown.and_then(|shown| {
            let (scheme, token) = shown.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let known = |token: &str| {
            // Every token is compared, whatever came before: the time tells nothing.
            self.tokens
                .iter()
                .fold(false, |found, known| found | bool::from(known.as_bytes().ct_eq(token.as_bytes())))
        };
        match token {
            Some(token) if known(token) => Ok(()),
            Some(_) => Err(InvokeError::new(
                ErrorKind::Unauthenticated,
                "the token is not one that this server knows",
            )),
            None => Err(InvokeError::new(ErrorKind::Unauthenticated, "this server wants a token")
                .help("send 'Authorization: Bearer TOKEN'; command-line clients take it from --token-file")),
        }
    }

    fn check_names(&self, request: &Request) -> Result<(), InvokeError> {
        let host = super::header(request.headers(), header::HOST.as_str()).or_else(|| request.uri().host());
        if !host.is_some_and(|host| self.allows(host)) {
            let message = format!("the host {:?} is not one of this server's", host.unwrap_or_default());
            return Err(InvokeError::new(ErrorKind::Forbidden, message).help("add its name to allowed_hosts"));
        }
        let origins = request.headers().get_all(header::ORIGIN);
        for origin in origins {
            let origin = origin.to_str().unwrap_or_default();
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if !authority.is_some_and(|authority| self.allows(authority)) {
                let message = format!("requests from the origin {origin:?} are not accepted");
                return Err(
                    InvokeError::new(ErrorKind::Forbidden, message).help("add its name to allowed_hosts")
                );
            }
        }
        Ok(())
    }

    fn allows(&self, authority: &str) -> bool {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        self.hosts.contains(&host.to_ascii_lowercase())
    }
}

pub async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let parent = super::trace_context(request.headers());
            super::trace_headers::complete(Problem::from(error).into_response(), parent.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn post(headers: &[(&str, &str)]) -> Request {
        let mut request = http::Request::post("/v1/plugins/a/invoke");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn verdict(guard: &Guard, headers: &[(&str, &str)]) -> Result<(), ErrorKind> {
        guard.check(&post(headers)).map_err(|error| error.kind)
    }

    #[test]
    fn foreign_hosts_and_origins_may_not_change_anything() {
        let guard = Guard::new(vec![], ["spanglass.internal".to_owned()]);
        for host in ["localhost", "127.0.0.1:7717", "[::1]:80", "LOCALHOST:1", "spanglass.internal:7717"] {
            assert_eq!(verdict(&guard, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:7717", "", "127.0.0.1.evil"] {
            assert_eq!(verdict(&guard, &[("host", host)]), Err(ErrorKind::Forbidden), "{host}");
        }
        assert_eq!(verdict(&guard, &[]), Err(ErrorKind::Forbidden));
        let with_origin = |origin| verdict(&guard, &[("host", "localhost"), ("origin", origin)]);
        assert_eq!(with_origin("http://localhost:7717"), Ok(()));
        for origin in ["null", "http://evil.example", "https://evil.example:7717", "file://", ""] {
            assert_eq!(with_origin(origin), Err(ErrorKind::Forbidden), "{origin}");
        }
    }

    #[test]
    fn with_tokens_a_request_must_show_one() {
        let guard = Guard::new(vec!["first".into(), "second".into()], []);
        let with = |value| verdict(&guard, &[("host", "localhost"), ("authorization", value)]);
        assert_eq!(with("Bearer second"), Ok(()));
        assert_eq!(with("bearer first"), Ok(()));
        for bad in ["Bearer third", "Bearer", "first", "Basic first", "Bearer firs"] {
            assert_eq!(with(bad), Err(ErrorKind::Unauthenticated), "{bad}");
        }
        assert_eq!(verdict(&guard, &[("host", "localhost")]), Err(ErrorKind::Unauthenticated));
    }
}
