//! The pages that errors and alerts link to.

use axum::response::{IntoResponse, Response};
use http::header;
use rust_embed::RustEmbed;

use super::Problem;
use super::path::Named;
use crate::model::kind::ErrorKind;

const ERRORS: &str = include_str!("../../docs/errors/README.md");

/// The pages that alerts link to, one an alert.
#[derive(RustEmbed)]
#[folder = "docs/runbooks/"]
#[include = "*.md"]
#[exclude = "README.md"]
struct Runbooks;

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
        Some(page) => Ok(markdown(with_links_that_lead(&String::from_utf8_lossy(&page.data)))),
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

/// A runbook as it is served. It links to files, as those who read it in the repository want; here it links to the pages
/// that the server has, and to the repository for all others.
fn with_links_that_lead(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("](") {
        let (target, after) = after.split_once(')').unwrap_or((after, ""));
        out += &format!("{before}]({})", leading(target));
        rest = after;
    }
    out + rest
}

/// Where a link of a file in `docs/runbooks/` leads from elsewhere.
fn leading(target: &str) -> String {
    if target.contains("://") || target.starts_with(['#', '/']) {
        return target.to_owned();
    }
    let (file, anchor) = match target.find('#') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let name = file.strip_suffix(".md").unwrap_or(file);
    if Runbooks::get(&format!("{name}.md")).is_some() {
        return format!("/docs/runbooks/{name}{anchor}");
    }
    if let Some(error) = file.strip_prefix("../errors/") {
        let name = error.trim_end_matches(".md");
        return if name == "README" { "/docs/errors".into() } else { format!("/docs/errors/{name}") };
    }
    let path = match (file.strip_prefix("../../"), file.strip_prefix("../")) {
        (Some(path), _) => path.to_owned(),
        (None, Some(path)) => format!("docs/{path}"),
        (None, None) => format!("docs/runbooks/{file}"),
    };
    format!("{}/blob/main/{path}{anchor}", env!("CARGO_PKG_REPOSITORY"))
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

    /// Where a link of a served page leads to a page of the server, that page is there; all others lead to files of the
    /// repository that exist.
    #[tokio::test]
    async fn every_link_of_a_served_runbook_leads_somewhere() {
        use http_body_util::BodyExt;
        let (mut served, mut in_repository) = (0, 0);
        for name in runbook_names() {
            let page = runbook(Named(name.clone())).await.unwrap_or_else(|_| panic!("{name} is not served"));
            let page = page.into_body().collect().await.unwrap().to_bytes();
            let page = std::str::from_utf8(&page).unwrap();
            for target in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
                let path = target.split('#').next().unwrap();
                let repository = format!("{}/blob/main/", env!("CARGO_PKG_REPOSITORY"));
                let found = if let Some(other) = path.strip_prefix("/docs/runbooks/") {
                    served += 1;
                    runbook(Named(other.to_owned())).await.is_ok()
                } else if let Some(kind) = path.strip_prefix("/docs/errors/") {
                    error_page(Named(kind.to_owned())).await.is_ok()
                } else if let Some(file) = path.strip_prefix(&repository) {
                    in_repository += 1;
                    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists()
                } else {
                    path.is_empty() || path == "/docs/errors" || path.starts_with("https://")
                };
                assert!(found, "{name} links to {target}");
            }
        }
        assert!(served > 25 && in_repository >= 3, "{served} to runbooks, {in_repository} to the repository");
    }

    #[test]
    fn links_of_a_runbook_lead_to_the_server_or_the_repository() {
        for (target, expected) in [
            ("watchdog.md", "/docs/runbooks/watchdog"),
            (
                "plugin-error-budget-burn-fast.md#causes",
                "/docs/runbooks/plugin-error-budget-burn-fast#causes",
            ),
            ("../errors/README.md", "/docs/errors"),
            ("../errors/timeout.md", "/docs/errors/timeout"),
            (
                "README.md#how-soon",
                "https://github.com/spanglass/spanglass/blob/main/docs/runbooks/README.md#how-soon",
            ),
            (
                "../telemetry.md#accounting",
                "https://github.com/spanglass/spanglass/blob/main/docs/telemetry.md#accounting",
            ),
            ("../../prometheus/rules", "https://github.com/spanglass/spanglass/blob/main/prometheus/rules"),
            ("https://example.com/a", "https://example.com/a"),
            ("#causes", "#causes"),
        ] {
            assert_eq!(leading(target), expected);
        }
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
