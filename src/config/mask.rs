//! Hides in the text of a file what must not be shown around a mistake: secrets written where only their source
//! belongs, and addresses of notifications, which are keys to somebody's channel.

use crate::package::diagnostic::{Diagnostics, Place};
use crate::package::yaml::{Node, NodeValue};

use super::plugins::is_variable;

/// Below these keys, wherever they stand (also misplaced), values are hidden.
const KEYS: [&str; 9] =
    ["secrets", "secret", "notifications", "webhook", "slack", "token", "tokens", "password", "api_key"];

/// The same diagnostics over a text with stars, byte for byte: places stay as they are.
pub fn apply(root: &Node, diagnostics: Diagnostics) -> Diagnostics {
    let mut hidden = Vec::new();
    find(root, false, &mut hidden);
    if hidden.is_empty() {
        return diagnostics;
    }
    let text = cover(diagnostics.text(), &hidden);
    let mut masked = Diagnostics::new(diagnostics.file(), text);
    for diagnostic in diagnostics.sorted() {
        masked.push(diagnostic.clone());
    }
    masked
}

fn find(node: &Node, hide: bool, hidden: &mut Vec<Place>) {
    match &node.value {
        NodeValue::Seq(items) => items.iter().for_each(|item| find(item, hide, hidden)),
        NodeValue::Map(entries) => {
            for (key, value) in entries {
                let name = key.name.as_str();
                let is_source = match name {
                    "env" => value.as_str().is_some_and(is_variable),
                    "file" => value.as_str().is_some(),
                    _ => false,
                };
                find(value, KEYS.contains(&name) || (hide && !is_source), hidden);
            }
        }
        _ if hide => hidden.push(node.place),
        _ => {}
    }
}

fn cover(text: &str, hidden: &[Place]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for place in hidden {
        let Some(value) = bytes.get_mut(place.start..place.end) else { continue };
        // An alias stands for a text that is elsewhere: then nothing of the file is shown.
        if value.starts_with(b"*") && text[place.start..].starts_with('*') {
            return String::new();
        }
        value.iter_mut().filter(|byte| !byte.is_ascii_whitespace()).for_each(|byte| *byte = b'*');
    }
    // Whole values were covered, so no character can have been cut; if one was, nothing is shown.
    String::from_utf8(bytes).unwrap_or_default()
}
