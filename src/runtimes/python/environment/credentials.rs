//! Takes credentials out of what an installer says. They stand in addresses of indexes: in the plugin's own files,
//! in the operator's variables and configuration, and in what servers answer.

use std::borrow::Cow;

const MASKED: &str = "***";
/// Shorter ones are only taken out of addresses: they would take ordinary words out of ordinary lines.
const WORD_BYTES_MIN: usize = 4;
/// Variables of installers whose values are secret by name.
const SECRET_NAMES: &[&str] = &["PASSWORD", "TOKEN", "SECRET", "KEY"];

/// What must not be seen. Prints nothing of it.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The longest first.
    words: Vec<String>,
}

impl Credentials {
    /// Of texts that may hold addresses, and of an installer's environment.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>, environment: &[(String, String)]) -> Credentials {
        let mut words = Vec::new();
        let texts: Vec<&str> = texts.into_iter().collect();
        for text in texts.iter().copied().chain(environment.iter().map(|(_, value)| value.as_str())) {
            for (_, user_info) in user_infos(text) {
                words.push(user_info.to_owned());
                let secret = user_info.split_once(':').map_or(user_info, |(_, password)| password);
                words.extend([secret.to_owned(), decoded(secret)]);
            }
        }
        for (name, value) in environment {
            let of_installer = name.starts_with("PIP_") || name.starts_with("UV_");
            let named = texts.iter().any(|text| text.contains(&format!("${{{name}}}")));
            if of_installer && SECRET_NAMES.iter().any(|secret| name.contains(secret)) || named {
                words.extend([value.clone(), decoded(value)]);
            }
        }
        words.retain(|word| word.len() >= WORD_BYTES_MIN && !word.starts_with("${"));
        words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        words.dedup();
        Credentials { words }
    }

    pub fn mask(&self, text: &str) -> String {
        let mut masked = Cow::Borrowed(text);
        for word in &self.words {
            if masked.contains(word.as_str()) {
                masked = masked.replace(word.as_str(), MASKED).into();
            }
        }
        let mut out = String::with_capacity(masked.len());
        let mut copied = 0;
        for (at, user_info) in user_infos(&masked) {
            out.push_str(&masked[copied..at]);
            out.push_str(MASKED);
            copied = at + user_info.len();
        }
        out.push_str(&masked[copied..]);
        out
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.words.len())
    }
}

/// What stands before the `@` of each address, and where.
fn user_infos(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("://").filter_map(|(at, mark)| {
        let start = at + mark.len();
        let rest = &text[start..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'<>`".contains(c)).unwrap_or(rest.len());
        let (user_info, _) = rest[..end].rsplit_once('@')?;
        (!user_info.is_empty()).then_some((start, user_info))
    })
}

fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_wherever_they_come_from() {
        let environment = [
            ("PIP_INDEX_URL".to_owned(), "https://user:p%40ssword@host/simple".to_owned()),
            ("UV_INDEX_CORP_PASSWORD".to_owned(), "swordfish".to_owned()),
            ("PIP_PART".to_owned(), "partial".to_owned()),
            ("PIP_TIMEOUT".to_owned(), "1500".to_owned()),
        ];
        let texts =
            ["--index-url https://token12345@host/simple", "--extra-index-url https://u:${PIP_PART}@h/"];
        let credentials = Credentials::of(texts, &environment);
        for (line, expected) in [
            ("at https://user:p%40ssword@host/simple", "at https://***@host/simple"),
            ("password p@ssword is wrong", "password *** is wrong"),
            ("token12345", "***"),
            ("swordfish and partial", "*** and ***"),
            (
                "see http://other:pw@elsewhere/x, http://a@b/ and http://host/a@b",
                "see http://***@elsewhere/x, http://***@b/ and http://host/a@b",
            ),
            ("waited 1500 ms", "waited 1500 ms"),
        ] {
            assert_eq!(credentials.mask(line), expected);
        }
        assert!(!format!("{credentials:?}").contains("swordfish"));
        assert_eq!(Credentials::default().mask("plain"), "plain");
    }
}
