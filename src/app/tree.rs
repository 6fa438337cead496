use serde_json::Value;
use super::output::Style;
pub fn render_trace(trace: &Value, _style: &Style) -> String {
    let mut out = String::new();
    for span in trace["spans"].as_array().into_iter().flatten() {
        out += &format!("{} {} {}ms {}\n", span["span_id"], span["name"], span["duration_ms"], span["status"]);
    }
    out
}
