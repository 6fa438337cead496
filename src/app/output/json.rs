//! JSON for people: indented, keys coloured, short containers on one line, and never more than a screenful
//! or two.

use serde_json::Value;

use super::{Paint, Style, count, printable, width};

/// How much of a document is shown.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub lines: usize,
    /// Of one string.
    pub characters: usize,
}

/// Deeper is not shown: nobody can follow it, and a hostile document would be all indentation.
const DEPTH_MAX: usize = 24;
/// A container that takes no more columns than this stands on one line.
const INLINE_MAX: usize = 60;

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { lines: 200, characters: 4_000 }
    }
}

impl Bounds {
    pub const ALL: Bounds = Bounds { lines: usize::MAX, characters: usize::MAX };
}

/// The document over several lines, each ended by a line break.
pub fn pretty(value: &Value, style: &Style, bounds: Bounds) -> String {
    let mut writer = Writer { style, bounds, out: String::new(), lines: 0 };
    writer.value(value, 0, "", "");
    writer.out
}

/// An object as `key=value key=value` and anything else as compact JSON, for one column of a table.
pub fn brief(value: &Value, style: &Style, characters_max: usize) -> String {
    let mut text = String::new();
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                if !text.is_empty() {
                    text.push(' ');
                }
                text += key;
                text.push('=');
                brief_value(value, characters_max, &mut text);
                if text.len() > characters_max.saturating_mul(4) {
                    break;
                }
            }
        }
        other => brief_value(other, characters_max, &mut text),
    }
    let shown: String = printable(&text).chars().take(characters_max.saturating_add(1)).collect();
    if shown.chars().count() > characters_max {
        let kept: String = shown.chars().take(characters_max.saturating_sub(1)).collect();
        return kept + style.glyph("…", "~");
    }
    shown
}

fn brief_value(value: &Value, characters_max: usize, out: &mut String) {
    match value {
        // Plain words need no quotes; what could be taken for something else does.
        Value::String(text) if is_word(text) => out.push_str(text),
        Value::String(text) => {
            let cut: String = text.chars().take(characters_max).collect();
            *out += &Value::String(cut).to_string();
        }
        Value::Array(items) if items.len() > 3 => *out += &format!("[{} items]", count(items.len())),
        Value::Object(members) if members.len() > 3 => {
            *out += &format!("{{{} fields}}", count(members.len()))
        }
        Value::Array(_) | Value::Object(_) => {
            let json = value.to_string();
            if json.len() <= characters_max { *out += &json } else { *out += "{...}" }
        }
        other => *out += &other.to_string(),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_alphanumeric() || "_-.:/@".contains(c))
        && serde_json::from_str::<Value>(text).is_err()
}

struct Writer<'s> {
    style: &'s Style,
    bounds: Bounds,
    out: String,
    lines: usize,
}

impl Writer<'_> {
    /// `before` stands between the indentation and the value (a key), `after` behind it (a comma).
    fn value(&mut self, value: &Value, depth: usize, before: &str, after: &str) {
        let room = self.style.width.saturating_sub(2 * depth + 2).min(INLINE_MAX);
        let (open, close) = match value {
            Value::Array(items) if !items.is_empty() && !fits(value, room) => ("[", "]"),
            Value::Object(members) if !members.is_empty() && !fits(value, room) => ("{", "}"),
            _ => return self.line(depth, before, &self.inline(value), after),
        };
        if depth >= DEPTH_MAX {
            return self.line(
                depth,
                before,
                &format!("{open}{}{close}", self.style.glyph("…", "...")),
                after,
            );
        }
        self.line(depth, before, open, "");
        match value {
            Value::Array(items) => {
                self.children(depth + 1, items.len(), items.iter().map(|item| (String::new(), item)));
            }
            Value::Object(members) => {
                let style = self.style;
                let key = |key: &str| format!("{}: ", style.paint(Paint::Accent, &quoted(key)));
                self.children(depth + 1, members.len(), members.iter().map(|(name, item)| (key(name), item)));
            }
            _ => {}
        }
        self.line(depth, "", close, after);
    }

    fn children<'v>(
        &mut self,
        depth: usize,
        length: usize,
        items: impl Iterator<Item = (String, &'v Value)>,
    ) {
        for (place, (before, item)) in items.enumerate() {
            if self.lines >= self.bounds.lines {
                let more = format!("{} {} more", self.style.glyph("…", "..."), count(length - place));
                let more = self.style.paint(Paint::Dim, &more);
                return self.line(depth, "", &more, "");
            }
            self.value(item, depth, &before, if place + 1 < length { "," } else { "" });
        }
    }

    fn line(&mut self, depth: usize, before: &str, text: &str, after: &str) {
        self.out += &"  ".repeat(depth);
        self.out += before;
        self.out += text;
        self.out += after;
        self.out.push('\n');
        self.lines += 1;
    }

    fn inline(&self, value: &Value) -> String {
        match value {
            Value::String(text) => self.style.paint(Paint::Good, &self.string(text)).into_owned(),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.inline(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(members) if members.is_empty() => "{}".to_owned(),
            Value::Object(members) => {
                let member = |(key, value): (&String, &Value)| {
                    format!("{}: {}", self.style.paint(Paint::Accent, &quoted(key)), self.inline(value))
                };
                let members: Vec<String> = members.iter().map(member).collect();
                format!("{{{}}}", members.join(", "))
            }
            Value::Null => self.style.paint(Paint::Dim, "null").into_owned(),
            other => other.to_string(),
        }
    }

    fn string(&self, text: &str) -> String {
        let length = text.chars().count();
        if length <= self.bounds.characters {
            return quoted(text);
        }
        let kept: String = text.chars().take(self.bounds.characters).collect();
        let more = count(length - self.bounds.characters);
        format!("{} {} {more} more characters", quoted(&kept), self.style.glyph("…", "..."))
    }
}

/// As a JSON string, and harmless: JSON itself escapes only the control characters of ASCII.
fn quoted(text: &str) -> String {
    printable(&Value::from(text).to_string())
}

/// Whether the value takes no more columns than there are, without writing all of a large one.
fn fits(value: &Value, columns: usize) -> bool {
    fn spend(value: &Value, left: &mut usize, depth: usize) -> Option<()> {
        let own = match value {
            Value::String(text) if text.len() > 4 * *left + 4 => return None,
            Value::String(text) => width(&quoted(text)),
            Value::Array(_) | Value::Object(_) if depth > 2 => return None,
            Value::Array(_) | Value::Object(_) => 2,
            other => other.to_string().len(),
        };
        *left = left.checked_sub(own)?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| {
                *left = left.checked_sub(2)?;
                spend(item, left, depth + 1)
            }),
            Value::Object(members) => members.iter().try_for_each(|(key, item)| {
                *left = left.checked_sub(key.len() + 6)?;
                spend(item, left, depth + 1)
            }),
            _ => Some(()),
        }
    }
    let mut left = columns;
    spend(value, &mut left, 0).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn short_containers_stay_on_one_line() {
        let value = json!({"decision": "review", "score": 0.7, "reasons": ["at_night", "new_account"],
            "top": [{"value": "FR", "count": 2}, {"value": "DE", "count": 1}, {"value": "a longer one", "count": 1}]});
        assert_eq!(
            pretty(&value, &Style::plain(80), Bounds::default()),
            r#"{
  "decision": "review",
  "score": 0.7,
  "reasons": ["at_night", "new_account"],
  "top": [
    {"value": "FR", "count": 2},
    {"value": "DE", "count": 1},
    {"value": "a longer one", "count": 1}
  ]
}
"#
        );
    }

    #[test]
    fn everything_stays_json_when_it_is_shown_whole() {
        let value = json!({"a\u{1b}": ["\u{7f}\n", {"b": [[[[[1]]]]], "c": "x".repeat(90)}], "d": [], "e": {}, "f": null});
        let shown = pretty(&value, &Style::plain(60), Bounds::ALL);
        let safe = shown.replace("\\u{7f}", "\\u007f");
        assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), value, "{shown}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
    }

    #[test]
    fn large_documents_are_bounded() {
        let value = json!({"rows": (0..5_000).collect::<Vec<_>>(), "text": "x".repeat(50), "z": 1});
        let shown = pretty(&value, &Style::plain(80), Bounds { lines: 5, characters: 10 });
        assert!(shown.lines().count() < 10, "{shown}");
        assert!(shown.contains("    … 4,997 more\n  ],\n  … 2 more\n}"), "{shown}");
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep, "x".repeat(70)]);
        }
        assert!(pretty(&deep, &Style::plain(80), Bounds::default()).contains("[…]"));
    }

    #[test]
    fn the_brief_form_tells_calls_apart() {
        let style = Style::plain(80);
        let input = json!({"amount": 42.5, "country": "FR", "id": "42", "note": "a b", "list": [1, 2, 3, 4], "on": true});
        assert_eq!(
            brief(&input, &style, 200),
            r#"amount=42.5 country=FR id="42" note="a b" list=[4 items] on=true"#
        );
        assert_eq!(brief(&input, &style, 12), "amount=42.5…");
        assert_eq!(brief(&json!({"text": "x".repeat(1_000_000)}), &style, 10), "text=xxxx…");
        assert_eq!(brief(&json!("a\u{1b}b"), &style, 50), r#""a\u001bb""#);
    }
}
