//! Who may ask: bearer tokens, and the `Host` and `Origin` of requests that change something, against DNS
//! rebinding and cross-site requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
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
    tokens: Arc<ArcSwap<Vec<String>>>,
    /// The operator's, beside the loopback names.
    hosts: BTreeSet<String>,
}

impl Guard {
    pub fn new(tokens: Vec<String>, hosts: impl IntoIterator<Item = String>) -> Guard {
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        Guard { tokens: Arc::new(ArcSwap::from_pointee(tokens)), hosts }
    }

    /// From the next request on, for all copies.
    pub fn set_tokens(&self, tokens: Vec<String>) {
        self.tokens.store(Arc::new(tokens));
    }

    fn check(&self, request: &Request) -> Result<(), InvokeError> {
        if request.headers().get_all(header::HOST).iter().nth(1).is_some() {
            // Whoever looks at the other one sees another request (RFC 9112, 3.2).
            return Err(InvokeError::new(ErrorKind::Forbidden, "the request has several Host headers"));
        }
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let tokens = self.tokens.load();
        // Where nobody has to show a token, a stranger's page that has made its own name mean this machine (DNS
        // rebinding) could read everything: it has to name this server, too.
        if changes || (tokens.is_empty() && !is_public(request)) {
            self.check_names(request)?;
        }
        if tokens.is_empty() || is_public(request) {
            return Ok(());
        }
        let shown = super::header(request.headers(), header::AUTHORIZATION.as_str());
        let token = shown.and_then(|shown| {
            let (scheme, token) = shown.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let known = |token: &str| {
            // Every token is compared, whatever came before: the time tells nothing.
            tokens
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
        let forbidden = |message| {
            Err(InvokeError::new(ErrorKind::Forbidden, message).help("add its name to allowed_hosts"))
        };
        let host = super::header(request.headers(), header::HOST.as_str()).or_else(|| request.uri().host());
        let host = host.unwrap_or_default();
        let named = Authority::parse(host);
        if !self.hosts.contains(&named.host) && !named.is_loopback() {
            return forbidden(format!("the host {host:?} is not one of this server's"));
        }
        // Browsers say where a request comes from that has no Origin: an image on a stranger's page.
        if super::header(request.headers(), "sec-fetch-site") == Some("cross-site") {
            return forbidden("requests from the pages of others are not accepted".into());
        }
        for origin in request.headers().get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            if !self.accepts(origin, &named) {
                return forbidden(format!("requests from the origin {origin:?} are not accepted"));
            }
        }
        Ok(())
    }

    /// The operator's own names are trusted on every port. A loopback name is another server's on each other
    /// port.
    fn accepts(&self, origin: &str, host: &Authority) -> bool {
        let schemes = [("http://", 80), ("https://", 443)];
        let Some((authority, port)) =
            schemes.into_iter().find_map(|(scheme, port)| Some((origin.strip_prefix(scheme)?, port)))
        else {
            return false;
        };
        let origin = Authority::parse(authority);
        let same_port = origin.port.unwrap_or(port) == host.port.unwrap_or(port);
        let same_host = origin.host == host.host || (origin.is_loopback() && host.is_loopback());
        self.hosts.contains(&origin.host) || (same_host && same_port)
    }
}

/// `host` or `host:port`, as `Host` and `Origin` name a server.
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Authority {
        let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parsed.map_or((text, None), |(host, port)| (host, Some(port)));
        Authority { host: host.to_ascii_lowercase(), port }
    }

    fn is_loopback(&self) -> bool {
        LOOPBACK_NAMES.contains(&&*self.host)
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
        let several = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(verdict(&guard, &several), Err(ErrorKind::Forbidden));
    }

    #[test]
    fn an_origin_is_this_server_or_one_of_the_operators_names() {
        let guard = Guard::new(vec![], ["spanglass.internal".to_owned()]);
        let with_origin = |host, origin| verdict(&guard, &[("host", host), ("origin", origin)]) == Ok(());
        for (host, origin) in [
            ("localhost:7717", "http://localhost:7717"),
            ("127.0.0.1:7717", "http://LOCALHOST:7717"),
            ("localhost", "http://localhost"),
            ("localhost:443", "https://localhost"),
            ("localhost:7717", "https://spanglass.internal"),
            ("localhost:7717", "http://spanglass.internal:3000"),
            // Behind a proxy that ends TLS.
            ("spanglass.internal", "https://spanglass.internal"),
        ] {
            assert!(with_origin(host, origin), "{host} {origin}");
        }
        for origin in [
            "http://localhost",
            "http://localhost:3000",
            "http://127.0.0.1:77170",
            "http://localhost:7717.evil.example",
            "null",
            "http://evil.example",
            "https://evil.example:7717",
            "file://",
            "",
        ] {
            assert!(!with_origin("localhost:7717", origin), "{origin}");
        }
    }

    #[test]
    fn an_image_on_a_strangers_page_starts_nothing() {
        let get = |site: &str| {
            let request = http::Request::get("/v1/backup").header("host", "localhost");
            let request = request.header("sec-fetch-site", site).body(Body::empty()).unwrap();
            Guard::default().check(&request).map_err(|error| error.kind)
        };
        assert_eq!(get("cross-site"), Err(ErrorKind::Forbidden));
        assert_eq!((get("same-origin"), get("none")), (Ok(()), Ok(())));
    }

    #[test]
    fn what_is_kept_is_not_for_pages_of_strangers() {
        let get = |guard: &Guard, path: &str, host: &str| {
            let request = http::Request::get(path)
                .header("host", host)
                .header("authorization", "Bearer known")
                .body(Body::empty())
                .unwrap();
            guard.check(&request).map_err(|error| error.kind)
        };
        let open = Guard::default();
        for path in ["/v1/backup", "/v1/invocations", "/v1/stream?topics=logs", "/v1"] {
            assert_eq!(get(&open, path, "localhost:7717"), Ok(()), "{path}");
            assert_eq!(get(&open, path, "evil.example"), Err(ErrorKind::Forbidden), "{path}");
        }
        for path in ["/", "/app.js", "/invocations", "/metrics", "/healthz"] {
            assert_eq!(get(&open, path, "runner.internal"), Ok(()), "{path}");
        }
        // A stranger's page has no token, and an operator's tools may use any name.
        let guard = Guard::new(vec!["known".into()], []);
        assert_eq!(get(&guard, "/v1/invocations", "runner.internal"), Ok(()));
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
