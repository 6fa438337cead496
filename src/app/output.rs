//! What all commands print with: whether to colour, how wide a line is, and how text from strangers is made
//! harmless. Start with [`Style`]; [`print`] is the only way to standard output.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::failure::Failure;
use crate::package::diagnostic;

mod json;
mod quantity;
mod table;

pub use json::{Bounds, brief, pretty};
pub use quantity::{ago, bytes, clock, count, milliseconds, nanoseconds};
pub use table::{Cell, Column, Table};

/// Columns of something that is no terminal.
const WIDTH_DEFAULT: usize = 100;
const WIDTH_MIN: usize = 40;
/// Wider than this a line is hard to follow with the eye.
const WIDTH_MAX: usize = 180;
const ESCAPE: char = '\u{1b}';

/// How to draw for people on one of the two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub color: bool,
    /// Box drawing, blocks and ellipses; otherwise ASCII.
    pub unicode: bool,
    /// A person looks at it: what does not fit is cut, which a program that reads along would not want.
    pub terminal: bool,
    /// Columns that a line may take.
    pub width: usize,
}

/// What a piece of text is, which decides its colour. The sixteen colours of the terminal's own theme only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    #[default]
    Plain,
    Strong,
    Dim,
    Good,
    Warning,
    Bad,
    /// Keys of JSON, headings, bars of the host.
    Accent,
    /// What a plugin says of itself.
    Guest,
    /// Waiting for an instance to start.
    Cold,
}

/// A line that is put together from painted pieces and knows how many columns it takes.
#[derive(Clone, Debug, Default)]
pub struct Line {
    text: String,
    columns: usize,
}

impl Style {
    pub fn stdout() -> Style {
        Style::of(&io::stdout())
    }

    pub fn stderr() -> Style {
        Style::of(&io::stderr())
    }

    /// Neither colours nor a terminal.
    pub const fn plain(width: usize) -> Style {
        Style { color: false, unicode: true, terminal: false, width }
    }

    fn of(output: &(impl IsTerminal + AsFd)) -> Style {
        let terminal = output.is_terminal();
        let columns = || rustix::termios::tcgetwinsize(output).ok().map(|size| usize::from(size.ws_col));
        decide(&|name| std::env::var(name).ok(), terminal, terminal.then(columns).flatten())
    }

    pub fn paint<'t>(&self, paint: Paint, text: &'t str) -> Cow<'t, str> {
        match paint.code() {
            Some(code) if self.color && !text.is_empty() => {
                format!("{ESCAPE}[{code}m{text}{ESCAPE}[0m").into()
            }
            _ => text.into(),
        }
    }

    /// `unicode` where the terminal can show it, else `ascii`.
    pub const fn glyph(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }

    /// Our own text without what only Unicode has.
    pub fn ascii(&self, text: String) -> String {
        if self.unicode { text } else { text.replace('µ', "u").replace('…', "...") }
    }

    /// Cuts text to so many columns, with a mark where something is missing.
    pub fn fit<'t>(&self, text: &'t str, columns: usize) -> Cow<'t, str> {
        if width(text) <= columns {
            return text.into();
        }
        let mark = self.glyph("…", "~");
        let mut room = columns.saturating_sub(1);
        let kept = text.chars().take_while(|c| {
            let wide = c.width().unwrap_or(0);
            let fits = wide <= room;
            room = room.saturating_sub(wide);
            fits
        });
        let kept: String = kept.collect();
        if columns == 0 { kept.into() } else { (kept + mark).into() }
    }
}

impl From<Style> for diagnostic::Style {
    fn from(style: Style) -> diagnostic::Style {
        diagnostic::Style { color: style.color, width: style.width }
    }
}

impl Paint {
    const fn code(self) -> Option<&'static str> {
        Some(match self {
            Paint::Plain => return None,
            Paint::Strong => "1",
            Paint::Dim => "2",
            Paint::Good => "32",
            Paint::Warning => "33",
            Paint::Bad => "31",
            Paint::Accent => "36",
            Paint::Guest => "94",
            Paint::Cold => "35",
        })
    }
}

impl Line {
    pub fn push(&mut self, style: &Style, paint: Paint, text: &str) -> &mut Line {
        self.text += &style.paint(paint, text);
        self.columns += width(text);
        self
    }

    /// Fills up with spaces to a column; a line that is there already stays.
    pub fn pad_to(&mut self, column: usize) -> &mut Line {
        while self.columns < column {
            self.text.push(' ');
            self.columns += 1;
        }
        self
    }

    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// The same as `finish`, at the end of a chain.
    pub fn finish_into(&mut self, into: &mut String) {
        std::mem::take(self).finish(into);
    }

    /// Ends the line; spaces at its end are of no use to anyone.
    pub fn finish(self, into: &mut String) {
        into.push_str(self.text.trim_end_matches(' '));
        into.push('\n');
    }
}

/// Columns that a text takes in a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Text from a stranger, on one line and without anything that a terminal obeys: control characters, escape
/// sequences, and marks that turn the direction of the text or hide a part of it are shown, not sent.
pub fn printable(text: &str) -> String {
    escape(text, false)
}

/// The same, with its line breaks kept.
pub fn printable_lines(text: &str) -> String {
    escape(text, true)
}

fn escape(text: &str, keep_lines: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' if keep_lines => shown.push('\n'),
            '\t' => shown.push_str("    "),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            character if is_unsafe(character) => shown.extend(character.escape_unicode()),
            character => shown.push(character),
        }
    }
    shown
}

/// Control characters; separators of lines that are none of ours; and the invisible ones of "Trojan Source"
/// (CVE-2021-42574): bidirectional controls, and what has no width but is no accent either.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Writes to standard output. When its reader has gone, the failure is a silent one with exit code 0: who
/// pipes into `head` wants no complaint.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::silent(0),
        _ => Failure::internal(format!("standard output cannot be written: {error}")),
    })
}

/// One document on one line, as `--json` promises.
pub fn print_json(document: &Value) -> Result<(), Failure> {
    print(&format!("{document}\n"))
}

/// A word to the person beside what is printed; lost without harm when nobody listens.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn decide(get: &dyn Fn(&str) -> Option<String>, terminal: bool, columns: Option<usize>) -> Style {
    let set = |name: &str| get(name).filter(|value| !value.is_empty());
    let asked = set("COLUMNS").and_then(|columns| columns.parse().ok());
    Style {
        color: decide_color(&set, terminal),
        unicode: !terminal || is_utf8(&set),
        terminal,
        width: asked.or(columns).unwrap_or(WIDTH_DEFAULT).clamp(WIDTH_MIN, WIDTH_MAX),
    }
}

/// <https://no-color.org> before <https://bixense.com/clicolors/>; then whether a person looks.
fn decide_color(set: &dyn Fn(&str) -> Option<String>, terminal: bool) -> bool {
    if set("NO_COLOR").is_some() {
        return false;
    }
    if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    terminal
        && set("CLICOLOR").is_none_or(|value| value != "0")
        && set("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// What the locale says. Where none is set, as in most containers, the terminal outside is a modern one.
fn is_utf8(set: &dyn Fn(&str) -> Option<String>) -> bool {
    if set("TERM").is_some_and(|terminal| terminal == "linux") {
        return false;
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    locale.is_none_or(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(variables: &[(&str, &str)], terminal: bool) -> Style {
        let get =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        decide(&get, terminal, terminal.then_some(120))
    }

    #[test]
    fn colours_are_for_people_who_did_not_decline() {
        assert!(style(&[], true).color);
        assert!(!style(&[], false).color);
        assert!(!style(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true).color);
        assert!(style(&[("NO_COLOR", ""), ("CLICOLOR_FORCE", "1")], false).color);
        assert!(!style(&[("CLICOLOR_FORCE", "0")], false).color);
        assert!(!style(&[("CLICOLOR", "0")], true).color);
        assert!(!style(&[("TERM", "dumb")], true).color);
    }

    #[test]
    fn a_locale_without_utf8_gets_ascii() {
        assert!(style(&[], true).unicode);
        assert!(style(&[("LANG", "de_DE.UTF-8")], true).unicode);
        assert!(style(&[("LANG", "C.utf8")], true).unicode);
        assert!(!style(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")], true).unicode);
        assert!(style(&[("LC_ALL", "C")], false).unicode);
        assert!(!style(&[("TERM", "linux")], true).unicode);
    }

    #[test]
    fn a_line_is_as_wide_as_the_terminal_within_reason() {
        assert_eq!(style(&[], true).width, 120);
        assert_eq!(style(&[], false).width, WIDTH_DEFAULT);
        assert_eq!(style(&[("COLUMNS", "60")], true).width, 60);
        assert_eq!(style(&[("COLUMNS", "3")], true).width, WIDTH_MIN);
        assert_eq!(style(&[("COLUMNS", "many")], true).width, 120);
    }

    #[test]
    fn nothing_from_strangers_steers_the_terminal() {
        let hostile = "a\u{1b}[2J\u{1b}]0;title\u{7}b\r\n\u{202e}c\u{9b}31m\u{2028}d\u{200b}\u{7f}";
        let shown = printable(hostile);
        assert!(!shown.chars().any(is_unsafe), "{shown}");
        assert!(shown.starts_with("a\\u{1b}[2J"), "{shown}");
        assert_eq!(printable("Grüße, 漢字, e\u{301}"), "Grüße, 漢字, e\u{301}");
        assert_eq!(printable("a\n\tb"), "a\\n    b");
        assert_eq!(printable_lines("a\nb\u{1b}"), "a\nb\\u{1b}");
    }

    #[test]
    fn what_does_not_fit_is_cut_by_columns() {
        let style = Style::plain(80);
        assert_eq!(style.fit("abcdef", 6), "abcdef");
        assert_eq!(style.fit("abcdef", 4), "abc…");
        assert_eq!(style.fit("漢字漢字", 5), "漢字…");
        assert_eq!(style.fit("漢字漢字", 4), "漢…");
        assert_eq!(style.fit("abc", 0), "");
    }

    proptest::proptest! {
        #[test]
        fn cut_text_is_never_too_wide(text: String, columns in 0usize..40) {
            let shown = printable(&text);
            proptest::prop_assert!(width(&Style::plain(80).fit(&shown, columns)) <= columns);
        }
    }
}
