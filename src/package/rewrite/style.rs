//! How values are written into a manifest: as JSON, in YAML's flow form, or in blocks.

use std::fmt::Write as _;

use serde_json::Value;

/// Longer ones are written over several lines, in blocks.
const LINE_CHARACTERS_MAX: usize = 100;

/// Texts that mean something else without quotes. The reader follows YAML 1.2; other tools may not.
const WORDS: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

pub enum Style {
    /// Everything on one line; `quoted` is JSON.
    Flow {
        quoted: bool,
    },
    Block {
        indentation: usize,
        line_break: &'static str,
    },
}

impl Style {
    pub fn flow(quoted: bool) -> Style {
        Style::Flow { quoted }
    }

    /// In a block whose keys and dashes stand so far to the right.
    pub fn block(indentation: usize, line_break: &'static str) -> Style {
        Style::Block { indentation, line_break }
    }

    /// `key: value`.
    pub fn entry(&self, key: &str, value: &Value) -> String {
        match self {
            Style::Flow { quoted } => format!("{}: {}", scalar(key, *quoted), flow(value, *quoted)),
            Style::Block { .. } => {
                let key = scalar(key, false);
                match value {
                    Value::Object(fields) if !self.fits(&key, value) && !fields.is_empty() => {
                        let inner = self.deeper();
                        format!("{key}:{}{}", inner.line(), inner.mapping(value))
                    }
                    Value::Array(items)
                        if !items.is_empty() && (key == "examples" || !self.fits(&key, value)) =>
                    {
                        let inner = self.deeper();
                        let items: Vec<String> = items.iter().map(|item| inner.item(item)).collect();
                        format!("{key}:{}{}", inner.line(), items.join(&inner.line()))
                    }
                    value => format!("{key}: {}", flow(value, false)),
                }
            }
        }
    }

    /// `- value`.
    pub fn item(&self, value: &Value) -> String {
        match value {
            Value::Object(fields) if !fields.is_empty() => format!("- {}", self.deeper().mapping(value)),
            value => format!("- {}", flow(value, false)),
        }
    }

    /// The entries of a mapping, an entry a line in blocks; the first begins at once.
    pub fn mapping(&self, value: &Value) -> String {
        match value {
            Value::Object(fields) if matches!(self, Style::Block { .. }) && !fields.is_empty() => {
                let entries: Vec<String> = fields.iter().map(|(key, value)| self.entry(key, value)).collect();
                entries.join(&self.line())
            }
            value => self.value(value),
        }
    }

    /// The value on one line.
    pub fn value(&self, value: &Value) -> String {
        flow(value, matches!(self, Style::Flow { quoted: true }))
    }

    fn fits(&self, key: &str, value: &Value) -> bool {
        let Style::Block { indentation, .. } = self else { return true };
        indentation + key.len() + 2 + flow(value, false).chars().count() <= LINE_CHARACTERS_MAX
    }

    fn deeper(&self) -> Style {
        match self {
            Style::Block { indentation, line_break } => Style::block(indentation + 2, line_break),
            Style::Flow { quoted } => Style::flow(*quoted),
        }
    }

    fn line(&self) -> String {
        match self {
            Style::Block { indentation, line_break } => format!("{line_break}{}", " ".repeat(*indentation)),
            Style::Flow { .. } => ", ".to_owned(),
        }
    }
}

fn flow(value: &Value, quoted: bool) -> String {
    match value {
        Value::String(text) => scalar(text, quoted),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| flow(item, quoted)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let entries: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", scalar(key, quoted), flow(value, quoted)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        value => value.to_string(),
    }
}

/// A text, without quotes where nobody could take it for anything else.
fn scalar(text: &str, quoted: bool) -> String {
    if !quoted && is_plain(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    for character in Value::from(text).to_string().chars() {
        // JSON lets them pass; a manifest may not hold them.
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}') {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

fn is_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && !text.ends_with(' ')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | '/' | '!' | '@'))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_keep_their_meaning() {
        for (text, written) in [
            ("Hello Ada!", "Hello Ada!"),
            ("a/b.c-d", "a/b.c-d"),
            ("1", "\"1\""),
            ("No", "\"No\""),
            ("a: b", "\"a: b\""),
            ("a ", "\"a \""),
            ("", "\"\""),
            ("x\ny\u{7f}\u{2028}\"", "\"x\\ny\\u007f\\u2028\\\"\""),
        ] {
            assert_eq!(scalar(text, false), written);
        }
        assert_eq!(scalar("plain", true), "\"plain\"");
    }

    #[test]
    fn long_values_go_over_several_lines() {
        let style = Style::block(2, "\n");
        let long = "x".repeat(60);
        assert_eq!(style.entry("output", &json!({"a": [1, {}]})), "output: {a: [1, {}]}");
        assert_eq!(
            style.entry("output", &json!({"a": [long, {"b": long}]})),
            format!("output:\n    a:\n      - {long}\n      - b: {long}")
        );
    }
}
