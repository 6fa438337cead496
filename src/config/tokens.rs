//! Bearer tokens: one a line. Blank lines and lines that begin with `#` are left out, the others are trimmed.
//! A message names the line, never what stands there.

use std::fmt;
use std::path::PathBuf;

use crate::package::codes as common;
use crate::package::diagnostic::{Diagnostic, Diagnostics, Place, Severity};

use super::layer::Said;
use super::report::{Problem, Report};
use super::{codes, file};

/// Shorter ones could be guessed: 16 random characters are 64 bits and more.
pub const TOKEN_BYTES_MIN: usize = 16;
pub const TOKEN_BYTES_MAX: usize = 512;
pub const TOKENS_MAX: usize = 100;
const FILE_BYTES_MAX: usize = 64 << 10;

/// Who shows it may come in. Not printed by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token itself: for the check of a request, or to show it to a server.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `None` if the file cannot be used, which is reported.
pub fn read(said: &Said<PathBuf>, report: &mut Report) -> Option<Vec<Token>> {
    let path = &said.value;
    let mut refuse = |code, predicate: String, help: &str| {
        report.say(&said.origin, Severity::Error, Problem::new(code, predicate, help));
    };
    let bytes = match file::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) => {
            let predicate =
                format!("names {}, which cannot be read: {}", path.display(), file::reason(&error));
            refuse(common::NOT_READABLE, predicate, "`openssl rand -hex 32` writes a good token");
            return None;
        }
    };
    if bytes.len() > FILE_BYTES_MAX {
        let predicate = format!("names {}, which has more than {FILE_BYTES_MAX} bytes", path.display());
        refuse(common::TOO_LARGE, predicate, "a token file has one token a line");
        return None;
    }
    // Without its text, so that no report can show a token.
    let mut diagnostics = Diagnostics::new(path.display().to_string(), "");
    let tokens = parse(&bytes, &mut diagnostics);
    let usable = diagnostics.valid();
    if usable && tokens.is_empty() {
        let predicate = format!("names {}, which holds no token", path.display());
        refuse(codes::NO_TOKEN, predicate, "write one token a line; `openssl rand -hex 32` makes a good one");
    }
    report.set_token_file(diagnostics);
    (usable && !tokens.is_empty()).then_some(tokens)
}

fn parse(bytes: &[u8], diagnostics: &mut Diagnostics) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut say = |severity, line: usize, problem: Option<(&'static str, String, &str)>| {
        let Some((code, message, help)) = problem else { return };
        // Diagnostics are sorted by their first byte, and these have no text: the line takes its place.
        let place =
            Place { line: u32::try_from(line).unwrap_or(u32::MAX), column: 1, start: line, end: line };
        let message = format!("the token on line {line} {message}");
        diagnostics.push(Diagnostic { severity, ..Diagnostic::error(code, place, "", message).help(help) });
    };
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let problem = problem(line);
        let is_good = problem.is_none();
        say(Severity::Error, index + 1, problem);
        let Ok(text) = std::str::from_utf8(line) else { continue };
        if tokens.iter().any(|known| known.0 == text) {
            let repeated = (common::REPEATED, "is there twice".to_owned(), "remove one");
            say(Severity::Warning, index + 1, Some(repeated));
        } else if is_good && tokens.len() == TOKENS_MAX {
            let many =
                (common::OUT_OF_RANGE, format!("is one too many: {TOKENS_MAX} are enough"), "remove some");
            say(Severity::Error, index + 1, Some(many));
            break;
        } else if is_good {
            tokens.push(Token(text.to_owned()));
        }
    }
    tokens
}

fn problem(line: &[u8]) -> Option<(&'static str, String, &'static str)> {
    if line.iter().any(|byte| !byte.is_ascii_graphic()) {
        let message = "holds something else than printable ASCII without spaces".to_owned();
        return Some((codes::INVALID_TOKEN, message, "write one token a line and nothing beside it"));
    }
    if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&line.len()) {
        let message =
            format!("has {} characters, outside {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX}", line.len());
        return Some((codes::INVALID_TOKEN, message, "`openssl rand -hex 32` makes a good one"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> (Vec<Token>, Diagnostics) {
        let mut diagnostics = Diagnostics::new("tokens.txt", "");
        (parse(text, &mut diagnostics), diagnostics)
    }

    #[test]
    fn lines_are_trimmed_and_comments_left_out() {
        let (tokens, diagnostics) =
            parsed(b"\xef\xbb\xbf# mine\r\n\r\n  0123456789abcdef \r\n#0123456789abcdef\nfedcba9876543210");
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let shown: Vec<&str> = tokens.iter().map(Token::reveal).collect();
        assert_eq!(shown, ["0123456789abcdef", "fedcba9876543210"]);
        assert_eq!(format!("{tokens:?}"), "[***, ***]");
    }

    #[test]
    fn bad_lines_are_named_and_not_shown() {
        let text = b"short\n0123456789 abcdef\n\xff123456789abcdef\n0123456789abcdef\n0123456789abcdef\n";
        let (tokens, diagnostics) = parsed(text);
        assert_eq!(tokens.len(), 1);
        let said: Vec<(u32, &str)> =
            diagnostics.sorted().iter().map(|d| (d.place.line, d.severity.as_str())).collect();
        assert_eq!(said, [(1, "error"), (2, "error"), (3, "error"), (5, "warning")]);
        let everything =
            format!("{diagnostics:?}{}{}", diagnostics.to_json(), diagnostics.render(Default::default()));
        assert!(!everything.contains("short") && !everything.contains("abcdef"), "{everything}");
    }

    #[test]
    fn there_is_a_longest_list_and_a_longest_token() {
        let many: String = (0..TOKENS_MAX + 50).map(|number| format!("{number:016}\n")).collect();
        let (tokens, diagnostics) = parsed(many.as_bytes());
        assert_eq!((tokens.len(), diagnostics.count(Severity::Error)), (TOKENS_MAX, 1));
        let (tokens, diagnostics) = parsed("x".repeat(TOKEN_BYTES_MAX + 1).as_bytes());
        assert_eq!((tokens.len(), diagnostics.count(Severity::Error)), (0, 1));
    }
}
