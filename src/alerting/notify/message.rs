//! What a message says. Pure.

use serde_json::{Value, json};

use crate::alerting::alert::{Alert, Example, State};

/// Of the webhook's body; it changes when a receiver would have to.
const VERSION: &str = "1";
/// Alerts that a text for people lists.
const LISTED_MAX: usize = 20;

/// Beside what an alert is, where its examples are on the page.
pub fn webhook(alerts: &[Alert]) -> Value {
    let told = alerts.iter().map(|alert| {
        let mut told = json!(alert);
        told["links"] =
            shown(alert).map(|example| format!("/invocations/{}", example.invocation_id)).collect();
        told
    });
    json!({"version": VERSION, "status": status(alerts), "alerts": told.collect::<Vec<_>>()})
}

pub fn slack(alerts: &[Alert]) -> Value {
    let mut text = String::new();
    for alert in alerts.iter().take(LISTED_MAX) {
        let (sign, state) = match alert.state {
            State::Resolved => (":white_check_mark:", "resolved"),
            _ => (":rotating_light:", "firing"),
        };
        text += &format!("{sign} *{}* {state}: {}\n", escaped(&alert.rule), escaped(&alert.summary));
        // Nobody knows by which address a reader reaches the server; this works wherever the command does.
        if let Some(example) = shown(alert).next().filter(|_| alert.state != State::Resolved) {
            text += &format!("    an example: `spanglass trace show {}`\n", escaped(&example.trace_id));
        }
    }
    if alerts.len() > LISTED_MAX {
        text += &format!("and {} more\n", alerts.len() - LISTED_MAX);
    }
    json!({"text": text.trim_end()})
}

/// All calls that are known to show it.
fn shown(alert: &Alert) -> impl Iterator<Item = &Example> {
    let one = alert.example.iter().filter(|_| alert.examples.is_empty());
    one.chain(&alert.examples)
}

/// As long as one fires, the message is about something that fires.
pub fn status(alerts: &[Alert]) -> &'static str {
    if alerts.iter().all(|alert| alert.state == State::Resolved) { "resolved" } else { "firing" }
}

/// Slack takes `<` and `&` for markup: a plugin's message must not make links or call people.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
