//! Mask: what a plugin says is kept and shown, its secrets are not. Their values are taken out of its log
//! lines, spans, errors, and of the copies of its output; only the reply itself is the plugin's own business.

use std::borrow::Cow;

use serde_json::Value;

use crate::model::error::InvokeError;
use crate::model::guest::{GuestLog, GuestSpan, Secret};

/// Stands where a secret stood.
const MASKED: &str = "***";
/// Shorter values would take ordinary words out of ordinary lines.
const VALUE_BYTES_MIN: usize = 6;

/// The values to look for. Empty for most plugins, and then free.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    /// The longest first, so that a secret within another does not leave the rest of it.
    values: Vec<Secret>,
}

impl Mask {
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Mask {
        let mut values: Vec<Secret> = Vec::new();
        for secret in secrets {
            values.push(secret.clone());
            // A key of several lines is printed line by line.
            values.extend(secret.expose().lines().map(Secret::new));
            values.extend(spellings(secret.expose()));
        }
        values.retain(|value| value.expose().len() >= VALUE_BYTES_MIN);
        values.sort_by(|a, b| {
            let (a, b) = (a.expose(), b.expose());
            b.len().cmp(&a.len()).then_with(|| a.cmp(b))
        });
        values.dedup_by(|a, b| a.expose() == b.expose());
        Mask { values }
    }

    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = Cow::Borrowed(text);
        for value in self.values.iter().map(Secret::expose) {
            if masked.contains(value) {
                masked = masked.replace(value, MASKED).into();
            }
        }
        masked
    }

    /// Whether a text holds one of the values.
    pub fn hides(&self, text: &str) -> bool {
        self.values.iter().any(|value| text.contains(value.expose()))
    }

    pub fn log(&self, mut log: GuestLog) -> GuestLog {
        if !self.values.is_empty() {
            self.in_place(&mut log.body);
            log.fields.values_mut().for_each(|field| self.json(field));
        }
        log
    }

    pub fn span(&self, mut span: GuestSpan) -> GuestSpan {
        if !self.values.is_empty() {
            self.in_place(&mut span.name);
            span.error.iter_mut().for_each(|error| self.in_place(error));
            let events = span.events.iter_mut().flat_map(|event| event.attributes.values_mut());
            span.attributes.values_mut().chain(events).for_each(|value| self.json(value));
        }
        span
    }

    pub fn error(&self, mut error: InvokeError) -> InvokeError {
        if !self.values.is_empty() {
            self.in_place(&mut error.message);
            error.help.iter_mut().for_each(|help| self.in_place(help));
            error.fields.iter_mut().for_each(|field| self.in_place(&mut field.message));
            error.exception.iter_mut().for_each(|exception| self.in_place(&mut exception.traceback));
        }
        error
    }

    fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.in_place(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.json(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn in_place(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }
}

/// The value as it stands within JSON, with and without characters beyond ASCII, and in what Python's `repr`
/// makes of it.
fn spellings(value: &str) -> impl Iterator<Item = Secret> {
    let json = Value::from(value).to_string();
    let json = json.trim_matches('"').to_owned();
    let ascii = json.chars().fold(String::new(), |mut ascii, character| {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            character
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
        }
        ascii
    });
    let repr = value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
    let quoted = repr.replace('\'', "\\'");
    let all = [json, ascii, repr, quoted].into_iter();
    let value = value.to_owned();
    all.filter(move |spelled| *spelled != value).map(|spelled| Secret::new(&spelled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(secret)).collect();
        Mask::new(&secrets)
    }

    #[test]
    fn secrets_vanish_whole_and_short_ones_are_left() {
        let mask = mask(&["token-12", "token-123456", "abc"]);
        assert_eq!(mask.text("a token-123456 and token-12, abc"), "a *** and ***, abc");
        assert!(matches!(mask.text("nothing to hide"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_key_of_several_lines_is_known_line_by_line() {
        let mask = mask(&["BEGIN KEY\nMIIEvQIBADANBg\nEND KEY"]);
        assert_eq!(mask.text("MIIEvQIBADANBg"), "***");
    }

    #[test]
    fn a_secret_is_known_in_other_spellings() {
        let secret = "{\"key\": \"MIIE\\secret\", \"name\": \"pässwörd\"}\nend";
        let mask = mask(&[secret]);
        let json = serde_json::json!({"K": secret}).to_string();
        assert_eq!(mask.text(&json), r#"{"K":"***"}"#);
        let ascii = json.replace('ä', "\\u00e4").replace('ö', "\\u00f6");
        assert_eq!(mask.text(&ascii), r#"{"K":"***"}"#);
        let repr = r#"{'K': '{"key": "MIIE\\secret", "name": "pässwörd"}\nend'}"#;
        assert_eq!(mask.text(repr), "{'K': '***'}");
    }

    #[test]
    fn values_deep_in_a_log_field_are_found() {
        let mut value = serde_json::json!({"a": [{"b": "x hunter-22 y"}], "n": 1});
        mask(&["hunter-22"]).json(&mut value);
        assert_eq!(value, serde_json::json!({"a": [{"b": "x *** y"}], "n": 1}));
    }
}
