//! `notifications`: who is told when something breaks. Addresses of webhooks open
//! somebody's channel: they are never printed.

use std::fmt;

use http::Uri;

use crate::package::codes as common;

use super::codes;
use super::reader::{Field, Reader};

pub const NOTIFICATIONS_MAX: usize = 16;
pub const ARGUMENTS_MAX: usize = 64;
const URL_BYTES_MAX: usize = 2_048;

#[derive(Clone, PartialEq, Eq)]
pub enum Notification {
    Webhook(Url),
    Slack(Url),
    /// Program and arguments, run without a shell.
    Command(Vec<String>),
}

/// Arguments may be keys as well as addresses are.
impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, shown) = match self {
            Notification::Webhook(_) => ("webhook", None),
            Notification::Slack(_) => ("slack", None),
            Notification::Command(arguments) => ("command", arguments.first()),
        };
        write!(f, "{kind} {} ***", shown.map_or("", String::as_str))
    }
}

/// An address that is not printed by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

pub fn read(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<Notification> {
    let items = reader.list(field, NOTIFICATIONS_MAX);
    items.iter().filter_map(|item| notification(reader, item)).collect()
}

fn notification(reader: &mut Reader<'_>, item: &Field<'_>) -> Option<Notification> {
    const HELP: &str = "write `- webhook: URL`, `- slack: URL` or `- command: [PROGRAM, ARGUMENT]`";
    const KEYS: &[&str] = &["webhook", "slack", "command"];
    let Some(entries) = item.node.as_map() else {
        let message = format!("`{}` must be a mapping", item.path);
        reader.error(common::WRONG_TYPE, item, message, HELP);
        return None;
    };
    let section = reader.section(item, KEYS)?;
    match (section.get("webhook"), section.get("slack"), section.get("command")) {
        (Some(field), None, None) => url(reader, &field).map(Notification::Webhook),
        (None, Some(field), None) => url(reader, &field).map(Notification::Slack),
        (None, None, Some(field)) => command(reader, &field).map(Notification::Command),
        // Reported as unknown.
        (None, None, None) if entries.iter().any(|(key, _)| !KEYS.contains(&key.name.as_str())) => None,
        _ => {
            let message = format!("`{}` must have one of webhook, slack and command", item.path);
            reader.error(common::CONTRADICTION, item, message, HELP);
            None
        }
    }
}

fn url(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Url> {
    let text = field.node.as_str().filter(|text| text.len() <= URL_BYTES_MAX);
    let parsed = text.and_then(|text| text.parse::<Uri>().ok());
    let fits = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    match text.filter(|_| fits) {
        Some(text) => Some(Url(text.to_owned())),
        None => {
            let message = format!("`{}` is not an address of the web", field.path);
            reader.error(
                codes::INVALID_URL,
                field,
                message,
                "it begins with `https://` or `http://` and a host",
            );
            None
        }
    }
}

fn command(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Vec<String>> {
    let arguments: Option<Vec<String>> = field
        .node
        .as_seq()
        .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    let fits = |arguments: &Vec<String>| {
        arguments.len() <= ARGUMENTS_MAX && arguments.first().is_some_and(|program| !program.is_empty())
    };
    let command = arguments.filter(fits);
    if command.is_none() {
        let message =
            format!("`{}` must be a list of 1 to {ARGUMENTS_MAX} texts, the program first", field.path);
        reader.error(common::WRONG_TYPE, field, message, "write `command: [\"notify-send\", \"spanglass\"]`");
    }
    command
}
