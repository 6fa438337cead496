//! What is said of a span beside its bar: the name to show, and what is worth knowing of its attributes.

use serde_json::{Map, Value};

use super::forest::{Role, Span};
use crate::app::output::{Paint, printable};

const LABEL_CHARACTERS_MAX: usize = 60;
const PAIRS_MAX: usize = 4;
const VALUE_CHARACTERS_MAX: usize = 40;
const STATUS: &str = "http.response.status_code";
/// Attributes that the tree shows in another way, or that say nothing to a reader of one trace.
const SILENT: &[&str] =
    &["spanglass.", "sampling.", "process.", "code.", "exception.", "error.type", "gen_ai."];

pub fn label(span: &Span<'_>) -> String {
    let name: String = printable(span.name).chars().take(LABEL_CHARACTERS_MAX).collect();
    match span.number {
        _ if name.is_empty() => "(no name)".to_owned(),
        Some(number) => format!("{name} {number}"),
        None => name,
    }
}

/// `kind`: of the failure that comes from this span.
pub fn notes(span: &Span<'_>, kind: Option<String>) -> Vec<(Paint, String)> {
    let mut notes: Vec<_> = kind.map(|kind| (Paint::Bad, kind)).into_iter().collect();
    match span.role {
        Role::Prepare => notes.push((Paint::Cold, "cold start".to_owned())),
        Role::Request => {
            if tells_failure(span) {
                notes.clear();
            }
            let paint = if span.failed { Paint::Bad } else { Paint::Dim };
            notes.extend(request(span).map(|text| (paint, text)));
        }
        Role::Guest | Role::Host => {
            let pairs = pairs(span.attributes);
            if !pairs.is_empty() {
                notes.push((Paint::Dim, pairs));
            }
        }
        Role::Invoke | Role::Attempt | Role::Queue | Role::Execute => {}
    }
    if span.orphan && span.role != Role::Invoke {
        notes.push((Paint::Warning, "its parent is missing".to_owned()));
    }
    notes
}

/// A request that was answered has failed by its status, which is among the notes.
pub fn tells_failure(span: &Span<'_>) -> bool {
    span.role == Role::Request && span.attribute(STATUS).is_some()
}

/// `key=value` of what the plugin itself has set.
pub fn pairs(attributes: Option<&Map<String, Value>>) -> String {
    let own = attributes
        .into_iter()
        .flatten()
        .filter(|(key, _)| !SILENT.iter().any(|silent| key.starts_with(silent)));
    let pair = |(key, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let cut: String = value.chars().take(VALUE_CHARACTERS_MAX).collect();
        printable(&format!("{key}={cut}"))
    };
    own.take(PAIRS_MAX).map(pair).collect::<Vec<_>>().join(" ")
}

/// `200 api.example.com/status`, and which try it was.
fn request(span: &Span<'_>) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(status) = span.attribute(STATUS) {
        parts.push(status.to_string());
    }
    if let Some(url) = span.text("url.full") {
        let place = url.split_once("://").map_or(url, |(_, place)| place);
        parts.push(place.chars().take(VALUE_CHARACTERS_MAX).collect());
    }
    if let Some(again) = span.attribute("http.request.resend_count").and_then(Value::as_u64) {
        parts.push(format!("retry {again}"));
    }
    (!parts.is_empty()).then(|| printable(&parts.join(" ")))
}
