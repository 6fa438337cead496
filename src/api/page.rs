//! What a browser gets: a first page that says what is here, and the pages that errors and alerts link to.

use axum::response::{Html, IntoResponse, Response};
use http::header;
use rust_embed::RustEmbed;

use super::Problem;
use super::path::Named;
use crate::model::kind::ErrorKind;

const INDEX: &str = include_str!("index.html");
const ERRORS: &str = include_str!("../../docs/errors/README.md");

/// The pages that alerts link to, one an alert.
#[derive(RustEmbed)]
#[folder = "docs/runbooks/"]
#[include = "*.md"]
#[exclude = "README.md"]
struct Runbooks;

pub async fn index() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(INDEX)).into_response()
}

/// The page of `docs/errors/` about a kind.
pub async fn error_page(Named(kind): Named<String>) -> Result<Response, Problem> {
    let kind = ErrorKind::parse(kind.trim_end_matches(".md")).ok_or_else(|| {
        let known = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        Problem::new(ErrorKind::NotFound, format!("there is no such kind of error; there are: {known}"))
    })?;
    Ok(markdown(text_of(kind)))
}

/// The table of all kinds.
pub async fn errors() -> Response {
    let mut page = ERRORS.to_owned();
    for kind in ErrorKind::ALL {
        page = page.replace(&format!("({kind}.md)"), &format!("(/docs/errors/{kind})"));
    }
    markdown(page)
}

/// The page of `docs/runbooks/` about an alert.
pub async fn runbook(Named(name): Named<String>) -> Result<Response, Problem> {
    let file = format!("{}.md", name.trim_end_matches(".md"));
    match Runbooks::get(&file) {
        Some(page) => Ok(markdown(page.data.into_owned())),
        None => {
            let known = runbook_names().join(", ");
            let message = format!("there is no such runbook; there are: {known}");
            Err(Problem::new(ErrorKind::NotFound, message))
        }
    }
}

/// A list of all runbooks.
pub async fn runbooks() -> Response {
    let mut page = "# Runbooks\n\nWhat to do about each alert.\n\n".to_owned();
    for name in runbook_names() {
        page += &format!("- [{name}](/docs/runbooks/{name})\n");
    }
    markdown(page)
}

fn runbook_names() -> Vec<String> {
    let mut names: Vec<String> =
        Runbooks::iter().filter_map(|file| file.strip_suffix(".md").map(str::to_owned)).collect();
    names.sort_unstable();
    names
}

fn markdown(text: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response()
}

fn text_of(kind: ErrorKind) -> &'static str {
    macro_rules! page {
        ($name:literal) => {
            include_str!(concat!("../../docs/errors/", $name, ".md"))
        };
    }
    match kind {
        ErrorKind::InvalidInput => page!("invalid_input"),
        ErrorKind::InputTooLarge => page!("input_too_large"),
        ErrorKind::Unauthenticated => page!("unauthenticated"),
        ErrorKind::Forbidden => page!("forbidden"),
        ErrorKind::NotFound => page!("not_found"),
        ErrorKind::Conflict => page!("conflict"),
        ErrorKind::Throttled => page!("throttled"),
        ErrorKind::Cancelled => page!("cancelled"),
        ErrorKind::InvalidOutput => page!("invalid_output"),
        ErrorKind::PluginError => page!("plugin_error"),
        ErrorKind::Crashed => page!("crashed"),
        ErrorKind::MemoryExceeded => page!("memory_exceeded"),
        ErrorKind::OutputTooLarge => page!("output_too_large"),
        ErrorKind::Timeout => page!("timeout"),
        ErrorKind::Unavailable => page!("unavailable"),
        ErrorKind::CircuitOpen => page!("circuit_open"),
        ErrorKind::SandboxViolation => page!("sandbox_violation"),
        ErrorKind::SandboxUnavailable => page!("sandbox_unavailable"),
        ErrorKind::Overloaded => page!("overloaded"),
        ErrorKind::Internal => page!("internal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The macro does not notice new files: if one is missing here, save this file anew.
    #[test]
    fn every_runbook_is_in_the_binary_as_it_is() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if name != "README" {
                let page =
                    Runbooks::get(&format!("{name}.md")).unwrap_or_else(|| panic!("{name} is missing"));
                assert_eq!(page.data, std::fs::read(&path).unwrap(), "{name}");
                names.push(name);
            }
        }
        names.sort();
        assert_eq!(runbook_names(), names);
        assert!(names.contains(&"watchdog".to_owned()));
    }

    #[tokio::test]
    async fn the_table_of_errors_leads_to_their_pages() {
        use http_body_util::BodyExt;
        let page = errors().await.into_body().collect().await.unwrap().to_bytes();
        let page = std::str::from_utf8(&page).unwrap();
        for kind in ErrorKind::ALL {
            assert!(page.contains(&format!("[{kind}](/docs/errors/{kind})")), "{kind}");
        }
        assert!(!page.contains(".md)"), "a link to a file");
    }
}
