//! What a message says. Pure.

use serde_json::{Value, json};

use crate::alerting::alert::{Alert, State};

/// Of the webhook's body; it changes when a receiver would have to.
const VERSION: &str = "1";
/// Alerts that a text for people lists.
const LISTED_MAX: usize = 20;

pub fn webhook(alerts: &[Alert]) -> Value {
    json!({"version": VERSION, "status": status(alerts), "alerts": alerts})
}

pub fn slack(alerts: &[Alert]) -> Value {
    let mut text = String::new();
    for alert in alerts.iter().take(LISTED_MAX) {
        let (sign, state) = match alert.state {
            State::Resolved => (":white_check_mark:", "resolved"),
            _ => (":rotating_light:", "firing"),
        };
        text += &format!("{sign} *{}* {state}: {}\n", escaped(&alert.rule), escaped(&alert.summary));
    }
    if alerts.len() > LISTED_MAX {
        text += &format!("and {} more\n", alerts.len() - LISTED_MAX);
    }
    json!({"text": text.trim_end()})
}

/// As long as one fires, the message is about something that fires.
pub fn status(alerts: &[Alert]) -> &'static str {
    if alerts.iter().all(|alert| alert.state == State::Resolved) { "resolved" } else { "firing" }
}

/// Slack takes `<` and `&` for markup: a plugin's message must not make links or call people.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
