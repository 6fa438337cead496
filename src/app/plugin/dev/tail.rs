//! What the author's versions say while he works: the lines of calls that others make, and of starts.

use std::sync::Arc;

use semver::Version;
use serde_json::Value;
use tokio::sync::Mutex;

use super::say::Say;
use super::version::Author;
use crate::app::failure::Failure;
use crate::app::look::logs::{Follower, POLL};
use crate::app::target::Target;
use crate::telemetry::names::event;

/// Prints lines as they come; ends only if they cannot be printed.
pub async fn follow(
    target: &Target,
    plugin: &str,
    author: &Author,
    say: &Arc<Mutex<Say>>,
) -> Result<(), Failure> {
    let asked = vec![("plugin", plugin.to_owned())];
    let mut follower = Follower::start(target, asked, 0).await?.0;
    let mut away = false;
    loop {
        if !follower.more {
            tokio::time::sleep(POLL).await;
        }
        // Held while a call of the author's runs: its lines are in its trace, which comes first.
        let mut say = say.lock().await;
        match follower.next(target).await {
            Ok(items) => {
                away = false;
                say.lines(items.iter().filter(|item| concerns(item, author)))?;
            }
            Err(failure) if !away => {
                away = true;
                say.note(&format!("no log lines for now: {failure}"));
            }
            Err(_) => {}
        }
    }
}

fn concerns(item: &Value, author: &Author) -> bool {
    let version = item["plugin.version"].as_str().and_then(|version| Version::parse(version).ok());
    let is_own = version.is_some_and(|version| author.number_of(&version).is_some());
    // Of what the host says the ends of calls, and what is wrong, unless the refusal of a save has said it.
    let from_host = item["stream"] == "host" || item["stream"].is_null();
    let wrong = matches!(item["severity_text"].as_str(), Some("WARN" | "ERROR" | "FATAL"));
    let said = [event::PLUGIN_REGISTER_FAILED, event::INSTANCE_START_FAILED]
        .iter()
        .any(|name| item["event_name"] == *name);
    is_own && !said && (!from_host || wrong || item["event_name"] == event::INVOCATION_FINISHED)
}
