//! The page's files: built into the binary, sent compressed, and again only when they have changed.

use std::collections::HashMap;
use std::io::Write;
use std::sync::OnceLock;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use super::{Api, error};

/// What `npm run build` in `web/` has made; committed, so that building this needs no Node.
#[derive(RustEmbed)]
#[folder = "web/dist/"]
struct Built;

const INDEX: &str = "index.html";
/// The addresses of views, beside `/`. A reload of any of them is a request for the page.
const VIEWS: [&str; 12] = [
    "/plugins",
    "/plugins/{name}",
    "/invocations",
    "/invocations/{id}",
    "/traces/{trace_id}",
    "/logs",
    "/errors",
    "/alerts",
    "/drift",
    "/drift/{plugin}",
    "/health",
    "/api",
];
/// Nothing from elsewhere, nothing inline, in nobody's frame: what a plugin prints cannot become a script even if the
/// page had a mistake.
const POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A file as it is sent.
struct File {
    kind: &'static str,
    etag: HeaderValue,
    plain: Vec<u8>,
    gzip: Vec<u8>,
}

pub fn routes() -> Router<Api> {
    let views = VIEWS.into_iter().fold(Router::new(), |router, view| router.route(view, get(index)));
    views.route("/{file}", get(file))
}

pub async fn index(headers: HeaderMap) -> Response {
    answer(INDEX, &headers).expect("the page was built in")
}

async fn file(Path(name): Path<String>, uri: axum::extract::OriginalUri, headers: HeaderMap) -> Response {
    match answer(&name, &headers) {
        Some(response) => response,
        None => error::no_such_route(uri).await.into_response(),
    }
}

fn answer(name: &str, request: &HeaderMap) -> Option<Response> {
    let file = files().get(name)?;
    let known = super::header(request, header::IF_NONE_MATCH.as_str());
    let known = known.is_some_and(|known| {
        known.split(',').map(str::trim).any(|tag| tag.trim_start_matches("W/") == file.etag || tag == "*")
    });
    let zipped = super::header(request, header::ACCEPT_ENCODING.as_str()).is_some_and(takes_gzip);
    let mut response = match (known, zipped) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, true) => file.gzip.clone().into_response(),
        (false, false) => file.plain.clone().into_response(),
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: HeaderValue| headers.insert(name, value);
    set(header::ETAG, file.etag.clone());
    // Asked for anew each time, and answered with 304: names have no hash in them.
    set(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    set(header::VARY, HeaderValue::from_static("accept-encoding"));
    if known {
        return Some(response);
    }
    let headers = response.headers_mut();
    let mut set =
        |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, file.kind);
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    if zipped {
        set(header::CONTENT_ENCODING, "gzip");
    }
    Some(response)
}

/// Whether `gzip` is among the encodings, and not with `q=0`.
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

fn files() -> &'static HashMap<String, File> {
    static FILES: OnceLock<HashMap<String, File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let files = Built::iter().filter_map(|name| Some((name.to_string(), Built::get(&name)?)));
        files.map(|(name, file)| (name.clone(), File::new(&name, file.data.into_owned()))).collect()
    })
}

impl File {
    fn new(name: &str, plain: Vec<u8>) -> File {
        let kind = match name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("json") => "application/json",
            _ => "application/octet-stream",
        };
        let digest: String = Sha256::digest(&plain)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{digest}\"")).expect("hex digits are ASCII");
        let mut zip = GzEncoder::new(Vec::new(), Compression::best());
        zip.write_all(&plain).expect("memory takes everything");
        let gzip = zip.finish().expect("memory takes everything");
        File { kind, etag, plain, gzip }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(name: &str, headers: &[(HeaderName, &str)]) -> Response {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        answer(name, &headers.collect()).unwrap()
    }

    #[test]
    fn a_file_is_sent_once_and_then_only_when_it_has_changed() {
        let first = get(INDEX, &[]);
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(!first.headers().contains_key(header::CONTENT_ENCODING));
        let etag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        let again = get(INDEX, &[(header::IF_NONE_MATCH, &format!("\"other\", {etag}"))]);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()[header::ETAG], etag);
        let changed = get(INDEX, &[(header::IF_NONE_MATCH, "\"other\"")]);
        assert_eq!(changed.status(), StatusCode::OK);
        assert!(answer("passwd", &HeaderMap::new()).is_none());
    }

    #[test]
    fn compression_is_for_those_who_take_it() {
        for (accepted, zipped) in [
            ("gzip", true),
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, gzip;q=0.8", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0", false),
            ("br", false),
            ("", false),
        ] {
            let response = get(INDEX, &[(header::ACCEPT_ENCODING, accepted)]);
            assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), zipped, "{accepted:?}");
        }
    }

    /// The policy forbids what is inline; the page must not need it.
    #[test]
    fn the_page_has_nothing_inline_and_nothing_from_elsewhere() {
        let index = String::from_utf8(files()[INDEX].plain.clone()).unwrap();
        assert!(index.contains("<script type=\"module\""), "{index}");
        assert!(
            !index.contains("<style") && !index.contains(" style=") && !index.contains("http"),
            "{index}"
        );
        for script in index.split("<script").skip(1) {
            assert!(script.contains("src=\"/"), "{script}");
        }
        for file in ["app.js", "app.css"] {
            assert!(files().contains_key(file), "{file} is missing");
        }
    }
}
