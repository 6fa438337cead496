//! What the server's documents say, made ready to be shown: pure, and nothing that a terminal would obey is left
//! in it. A member that is missing is nothing to stop at: a newer or an older server may answer.

use serde_json::Value;

use crate::app::output::{self, printable};

/// One look at the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub at: String,
    pub window_s: u64,
    pub plugins: Vec<Row>,
    pub total: Row,
    /// The firing alerts.
    pub alerts: Vec<Alert>,
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub plugin: String,
    pub version: String,
    pub calls: u64,
    pub rate: f64,
    /// `None`: no calls that count.
    pub error_ratio: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub active: Option<u64>,
    pub spark: Vec<Step>,
    pub last_error: Option<LastError>,
}

/// A step of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub calls: u64,
    pub errors: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LastError {
    pub at: String,
    pub kind: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub pages: bool,
    pub text: String,
}

impl Reading {
    /// `alerts` and `health` may be `null`: the server does not have them.
    pub fn of(overview: &Value, alerts: &Value, health: &Value) -> Reading {
        Reading {
            at: text(overview, "at"),
            window_s: overview["window_s"].as_u64().unwrap_or_default(),
            plugins: items(&overview["items"]).map(Row::of).collect(),
            total: Row::of(&overview["total"]),
            alerts: items(&alerts["items"])
                .filter(|alert| alert["state"] == "firing")
                .map(Alert::of)
                .collect(),
            problems: items(&health["problems"]).filter_map(Value::as_str).map(printable).collect(),
        }
    }
}

impl Row {
    fn of(item: &Value) -> Row {
        let counts = |member: &str| items(&item["spark"][member]).map(|count| count.as_u64().unwrap_or(0));
        let errors = counts("errors").chain(std::iter::repeat(0));
        Row {
            plugin: text(item, "plugin"),
            version: text(item, "version"),
            calls: item["calls"].as_u64().unwrap_or_default(),
            rate: item["rate"].as_f64().unwrap_or_default(),
            error_ratio: item["error_ratio"].as_f64(),
            p50_ms: item["p50_ms"].as_f64(),
            p95_ms: item["p95_ms"].as_f64(),
            p99_ms: item["p99_ms"].as_f64(),
            active: item["active"].as_u64(),
            spark: counts("calls").zip(errors).map(|(calls, errors)| Step { calls, errors }).collect(),
            last_error: Some(&item["last_error"]).filter(|error| error.is_object()).map(|error| LastError {
                at: text(error, "at"),
                kind: text(error, "kind"),
                message: text(error, "message"),
            }),
        }
    }
}

impl Alert {
    fn of(alert: &Value) -> Alert {
        let about: Vec<String> =
            ["rule", "plugin", "version"].map(|member| text(alert, member)).into_iter().collect();
        let about = about.join(" ");
        let text = format!("{}: {}", about.trim_end(), text(alert, "summary"));
        Alert { pages: alert["severity"] == "page", text }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(document: &Value, member: &str) -> String {
    printable(document[member].as_str().unwrap_or_default())
}

// === Numbers in columns ===

/// Calls a second.
pub fn rate(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        ..9.995 => format!("{rate:.2}"),
        ..99.95 => format!("{rate:.1}"),
        _ => format!("{rate:.0}"),
    }
}

pub fn percent(ratio: Option<f64>) -> String {
    match ratio.map(|ratio| ratio * 100.0) {
        None => "-".to_owned(),
        Some(0.0) => "0%".to_owned(),
        Some(percent @ ..0.1) if percent > 0.0 => "<0.1%".to_owned(),
        Some(percent @ ..9.95) => format!("{percent:.1}%"),
        Some(percent) => format!("{percent:.0}%"),
    }
}

pub fn duration(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), output::milliseconds)
}

/// So many steps as there is room for, the newest last; what falls into one place is added up.
pub fn squeezed(steps: &[Step], places: usize) -> Vec<Step> {
    if places == 0 {
        return Vec::new();
    }
    let each = steps.len().div_ceil(places).max(1);
    // From the newest: a place that is not full is the oldest one.
    let mut squeezed: Vec<Step> = steps
        .rchunks(each)
        .map(|chunk| {
            let sum = |of: fn(&Step) -> u64| chunk.iter().map(of).sum();
            Step { calls: sum(|step| step.calls), errors: sum(|step| step.errors) }
        })
        .collect();
    squeezed.reverse();
    squeezed
}

/// The heights of steps as characters, each with whether something failed in it.
pub fn bars(steps: &[Step], unicode: bool) -> Vec<(char, bool)> {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 4] = ['.', '-', '=', '#'];
    let levels = if unicode { &BLOCKS[..] } else { &ASCII[..] };
    let most = steps.iter().map(|step| step.calls).max().unwrap_or(0);
    let bar = |step: &Step| {
        // Without calls nothing stands there: one call can be seen beside a thousand.
        let Some(height) = (step.calls * levels.len() as u64).div_ceil(most.max(1)).checked_sub(1) else {
            return ' ';
        };
        levels[(height as usize).min(levels.len() - 1)]
    };
    steps.iter().map(|step| (bar(step), step.errors > 0)).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    pub fn item(plugin: &str, rate: f64, error_ratio: Option<f64>) -> Value {
        json!({
            "plugin": plugin, "version": "1.1.0", "calls": 300, "errors": 72, "refused": 0, "dropped": 0,
            "rate": rate, "error_ratio": error_ratio, "p50_ms": 2.5, "p95_ms": 9.0, "p99_ms": null, "cpu_ms": 700.0,
            "memory_peak_bytes": 14 << 20,
            "last_error": {"at": "2026-02-03T04:05:06Z", "kind": "plugin_error", "message": "ZeroDivisionError\u{1b}[2J",
                "invocation_id": "i", "trace_id": "t"},
            "spark": {"step_s": 10, "from": "2026-02-03T04:00:06Z", "calls": [0, 1, 8], "errors": [0, 0, 2]},
        })
    }

    pub fn overview() -> Value {
        json!({
            "at": "2026-02-03T04:05:06.5Z", "window_s": 300, "total": item("", 3.1, Some(0.1)),
            "items": [item("text-stats", 0.2, Some(0.0)), item("fraud-score", 1.0, Some(0.24)), item("idle", 0.0, None)],
        })
    }

    pub fn reading() -> Reading {
        let alert = |state: &str| {
            json!({"state": state, "rule": "PluginErrorRatio", "severity": "page", "plugin": "fraud-score",
                "version": "1.1.0", "summary": "24 % of 50 calls failed\u{202e}"})
        };
        let health = json!({"status": "degraded", "problems": ["the spool is full\n\u{7}"]});
        Reading::of(&overview(), &json!({"items": [alert("firing"), alert("resolved")]}), &health)
    }

    #[test]
    fn the_documents_are_read_and_made_harmless() {
        let reading = reading();
        assert_eq!(reading.window_s, 300);
        let row = &reading.plugins[1];
        assert_eq!((row.plugin.as_str(), row.rate, row.error_ratio), ("fraud-score", 1.0, Some(0.24)));
        assert_eq!(row.spark.last(), Some(&Step { calls: 8, errors: 2 }));
        assert_eq!(row.last_error.as_ref().unwrap().message, "ZeroDivisionError\\u{1b}[2J");
        assert_eq!(reading.alerts.len(), 1);
        let text = "PluginErrorRatio fraud-score 1.1.0: 24 % of 50 calls failed\\u{202e}";
        assert_eq!(reading.alerts[0], Alert { pages: true, text: text.to_owned() });
        assert_eq!(reading.problems, ["the spool is full\\n\\u{7}"]);
    }

    #[test]
    fn what_is_missing_is_no_obstacle() {
        let reading = Reading::of(&json!({"items": [{"plugin": "a"}, {}]}), &Value::Null, &Value::Null);
        assert_eq!(reading.plugins.len(), 2);
        assert_eq!(reading.plugins[0].error_ratio, None);
        assert_eq!(reading.total, Row::default());
    }

    #[test]
    fn numbers_fit_their_columns() {
        assert_eq!([0.0, 0.0833, 1.0, 12.34, 1234.5].map(rate), ["0", "0.08", "1.00", "12.3", "1234"]);
        assert_eq!(
            [None, Some(0.0), Some(0.0004), Some(0.032), Some(0.24), Some(1.0)].map(percent),
            ["-", "0%", "<0.1%", "3.2%", "24%", "100%"]
        );
        assert_eq!([None, Some(2.5)].map(duration), ["-", "2.50ms"]);
    }

    #[test]
    fn a_sparkline_is_as_long_as_there_is_room() {
        let steps: Vec<Step> = (1..=7).map(|calls| Step { calls, errors: u64::from(calls == 4) }).collect();
        let of = |places: usize| squeezed(&steps, places).iter().map(|step| step.calls).collect::<Vec<_>>();
        assert_eq!(of(10), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(of(4), [1, 5, 9, 13]);
        assert_eq!(of(0), Vec::<u64>::new());
        let drawn: String = bars(&squeezed(&steps, 4), true).iter().map(|(bar, _)| bar).collect();
        assert_eq!(drawn, "▁▄▆█");
        let failed: Vec<bool> = bars(&squeezed(&steps, 4), false).iter().map(|(_, failed)| *failed).collect();
        assert_eq!(failed, [false, false, true, false]);
        assert_eq!(bars(&[Step::default()], true), [(' ', false)]);
    }
}
