//! Mistakes in a file that a person wrote: where, what, how to put it right. One list for people (with the
//! source around each mistake) and for programs (JSON). The only file that knows miette.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceSpan};
use serde_json::{Value, json};

use crate::model::error::FieldError;

/// How many diagnostics are kept; a hostile file could otherwise ask for one per byte.
pub const DIAGNOSTICS_MAX: usize = 100;

/// Only `Error` makes a file invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
    Note,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// A place in a text: bytes `start..end`; line and column count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub line: u32,
    pub column: u32,
    pub start: usize,
    pub end: usize,
}

impl Place {
    pub const START: Place = Place { line: 1, column: 1, start: 0, end: 0 };

    /// The place of `bytes` in `text`, for readers that only know offsets.
    pub fn of(text: &str, bytes: Range<usize>) -> Place {
        let start = text.floor_char_boundary(bytes.start);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            line: count(before.matches('\n').count() + 1),
            column: count(before[line_start..].chars().count() + 1),
            start,
            end: bytes.end.clamp(start, text.len()),
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One thing to say about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable, such as `SG0201`; never reused for something else.
    pub code: &'static str,
    pub severity: Severity,
    /// Lower case, without full stop, names the thing.
    pub message: String,
    pub place: Place,
    /// Where in the document, such as `limits.timeout` or `examples[0].input`; empty for the whole of it.
    pub path: String,
    pub help: Option<String>,
    /// A second place that belongs to the matter, and what it is.
    pub related: Option<(Place, &'static str)>,
}

impl Diagnostic {
    pub fn error(
        code: &'static str,
        place: Place,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            place,
            path: path.into(),
            help: None,
            related: None,
        }
    }

    pub fn warning(
        code: &'static str,
        place: Place,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, place, path, message) }
    }

    pub fn note(
        code: &'static str,
        place: Place,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic { severity: Severity::Note, ..Diagnostic::error(code, place, path, message) }
    }

    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    pub fn maybe_help(mut self, help: Option<String>) -> Diagnostic {
        self.help = help;
        self
    }

    pub fn related(mut self, place: Place, what: &'static str) -> Diagnostic {
        self.related = Some((place, what));
        self
    }
}

/// Everything there is to say about one file, with the file's text.
#[derive(Clone)]
pub struct Diagnostics {
    file: Arc<str>,
    text: Arc<str>,
    list: Vec<Diagnostic>,
    left_out: usize,
}

impl Diagnostics {
    /// `file` is the name to show, `text` what was read (lossy if it was not UTF-8).
    pub fn new(file: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Diagnostics {
        Diagnostics { file: visible(file.into()), text: visible(text.into()), list: Vec::new(), left_out: 0 }
    }

    /// Adds one; beyond [`DIAGNOSTICS_MAX`] it is only counted. An error takes the place of a lesser one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.len() < DIAGNOSTICS_MAX {
            self.list.push(diagnostic);
            return;
        }
        self.left_out += 1;
        if diagnostic.severity == Severity::Error
            && let Some(lesser) = self.list.iter_mut().rev().find(|other| other.severity != Severity::Error)
        {
            *lesser = diagnostic;
        }
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the file may be used.
    pub fn valid(&self) -> bool {
        !self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// In the order of the file; at one place, the graver first.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.list.iter().collect();
        sorted.sort_by_key(|diagnostic| (diagnostic.place.start, diagnostic.severity));
        sorted
    }

    /// The first error with its place, on one line.
    pub fn first_error(&self) -> Option<String> {
        let first = self.sorted().into_iter().find(|diagnostic| diagnostic.severity == Severity::Error)?;
        let Place { line, column, .. } = first.place;
        Some(format!("{} (line {line}, column {column}, {})", first.message, first.code))
    }

    /// How many there are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// `{valid, diagnostics: [{code, severity, message, file, line, column, path, help}]}`.
    pub fn to_json(&self) -> Value {
        let list: Vec<Value> = self
            .sorted()
            .into_iter()
            .map(|diagnostic| {
                json!({
                    "code": diagnostic.code,
                    "severity": diagnostic.severity.as_str(),
                    "message": diagnostic.message,
                    "file": &*self.file,
                    "line": diagnostic.place.line,
                    "column": diagnostic.place.column,
                    "path": diagnostic.path,
                    "help": diagnostic.help,
                })
            })
            .collect();
        json!({ "valid": self.valid(), "diagnostics": list })
    }

    /// The errors by JSON pointer into the document, for problem documents over HTTP.
    pub fn field_errors(&self) -> Vec<FieldError> {
        let errors = self.sorted().into_iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let field_error = |diagnostic: &Diagnostic| {
            let Place { line, column, .. } = diagnostic.place;
            let help = diagnostic.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            let message = format!("{}:{line}:{column}: {}{help}", self.file, diagnostic.message);
            FieldError { pointer: pointer_of(&diagnostic.path), message }
        };
        errors.map(field_error).collect()
    }

    /// For people: each diagnostic with the source around it, then one line that counts them.
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        for diagnostic in self.sorted() {
            let mut theme =
                if style.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
            // The mark before the message says what it is, as compilers do: `error[SG0201]: …`.
            let mark = format!("{}[{}]:", diagnostic.severity.as_str(), diagnostic.code);
            let characters = &mut theme.characters;
            for place in [&mut characters.error, &mut characters.warning, &mut characters.advice] {
                place.clone_from(&mark);
            }
            let handler = GraphicalReportHandler::new_themed(theme)
                .with_width(style.width.max(40))
                .with_links(false)
                .with_context_lines(1)
                .with_primary_span_start()
                .without_syntax_highlighting();
            let mut picture = String::new();
            // Writing to a String cannot fail; a failing theme would only lose this one picture.
            let _ = handler.render_report(&mut picture, &Report::new(self, diagnostic));
            out.push_str(picture.trim_start_matches([' ', '\n']));
            out.push('\n');
        }
        out.push_str(&self.summary());
        out.push('\n');
        out
    }

    /// Such as `manifest.yaml: 2 errors, 1 note`.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        for severity in [Severity::Error, Severity::Warning, Severity::Note] {
            let number = self.count(severity);
            if number > 0 {
                parts.push(format!("{number} {}{}", severity.as_str(), if number == 1 { "" } else { "s" }));
            }
        }
        if self.left_out > 0 {
            parts.push(format!("{} more left out", self.left_out));
        }
        let said = if parts.is_empty() { "no mistakes".to_owned() } else { parts.join(", ") };
        format!("{}: {said}", self.file)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diagnostics")
            .field("file", &self.file)
            .field("list", &self.sorted())
            .finish_non_exhaustive()
    }
}

/// `/limits/timeout` for `limits.timeout`, `/examples/0` for `examples[0]`, `/a/b c` for `a["b c"]`.
fn pointer_of(path: &str) -> String {
    let mut pointer = String::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let (key, tail) = match rest.strip_prefix('[') {
            Some(index) => index.split_once(']').unwrap_or((index, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        pointer.push('/');
        pointer.push_str(&key.trim_matches('"').replace('~', "~0").replace('/', "~1"));
        rest = tail;
    }
    pointer
}

/// The same text, byte for byte as long, with a mark for each character that would act on a terminal or change
/// the order in which a line is shown.
fn visible(text: Arc<str>) -> Arc<str> {
    if !text.chars().any(is_treacherous) {
        return text;
    }
    let mark = |character: char| match character {
        c if !is_treacherous(c) => c,
        c if c.len_utf8() == 1 => '?',
        c if c.len_utf8() == 2 => '¿',
        _ => char::REPLACEMENT_CHARACTER,
    };
    text.chars().map(mark).collect::<String>().into()
}

fn is_treacherous(character: char) -> bool {
    let reorders = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    reorders || character.is_control() && !matches!(character, '\t' | '\n' | '\r')
}

/// How to draw for people.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub color: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Style {
        Style { color: false, width: 100 }
    }
}

/// Text from a stranger, for use in a message: short, on one line, without control characters.
pub fn quote(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let mut quoted = String::from("`");
    for (index, character) in text.chars().enumerate() {
        if index == CHARACTERS_MAX {
            quoted.push('…');
            break;
        }
        if is_treacherous(character) || character.is_control() {
            quoted.extend(character.escape_default());
        } else {
            quoted.push(character);
        }
    }
    quoted.push('`');
    quoted
}

/// The nearest of `candidates` to what was written, if one is near enough to be meant.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A hostile key of 60 KiB must not cost a comparison of 60 KiB.
    if written.len() > 64 {
        return None;
    }
    let lower = written.to_lowercase().replace('-', "_");
    let scored = candidates.into_iter().map(|candidate| {
        let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase().replace('-', "_"));
        (distance, candidate)
    });
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= candidate.chars().count() / 3).then_some(candidate)
}

const RELATED_LINES_MAX: u32 = 4;

#[derive(Debug)]
struct Report {
    severity: Severity,
    message: String,
    help: Option<String>,
    excerpt: Excerpt,
    labels: Vec<LabeledSpan>,
}

impl Report {
    fn new(of: &Diagnostics, diagnostic: &Diagnostic) -> Report {
        let place = diagnostic.place;
        // Far away it would make a second picture; the help tells the line.
        let related =
            diagnostic.related.filter(|(other, _)| other.line.abs_diff(place.line) <= RELATED_LINES_MAX);
        let mut excerpt = Excerpt::new(of, place, related.map(|(other, _)| other));
        let mut labels = Vec::new();
        if !of.text.is_empty() {
            // Only where the line itself and the message do not tell.
            let nested =
                diagnostic.path.contains(['.', '[']) && !diagnostic.message.contains(&diagnostic.path);
            let label = nested.then(|| diagnostic.path.clone());
            // Of a thing of many lines the first one is enough to point at.
            let lines = of.text.get(place.start..place.end).unwrap_or_default();
            let end = place.start + lines.find(['\r', '\n']).unwrap_or(lines.len());
            let span = excerpt.span(place.start, end);
            excerpt.primary_start = span.offset();
            labels.push(LabeledSpan::new_primary_with_span(label, span));
        }
        if let Some((other, what)) = related {
            labels.push(LabeledSpan::new_with_span(
                Some(what.to_owned()),
                excerpt.span(other.start, other.end),
            ));
        }
        Report {
            severity: diagnostic.severity,
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            excerpt,
            labels,
        }
    }
}

/// The lines around a place. Of very long lines (JSON is often one) only the part that matters.
#[derive(Debug)]
struct Excerpt {
    file: String,
    text: String,
    /// Number of its first line, from 0.
    first_line: usize,
    /// For each line: where the kept part begins and ends in the whole text, and where it begins in `text`.
    parts: Vec<(Range<usize>, usize)>,
    primary_start: usize,
    primary_column: usize,
}

impl Excerpt {
    /// Characters of a line; longer ones are cut.
    const LINE_MAX: usize = 160;
    /// Characters that are kept before the place, in a line that is cut.
    const LEAD: usize = 60;

    fn new(of: &Diagnostics, place: Place, related: Option<Place>) -> Excerpt {
        let text = &*of.text;
        let line_of = |offset: usize| text[..text.floor_char_boundary(offset)].matches('\n').count();
        let lines = [Some(line_of(place.start)), related.map(|other| line_of(other.start))];
        let lines = || lines.iter().flatten().copied();
        let first_line = lines().min().unwrap_or(0).saturating_sub(1);
        let last_line = lines().max().unwrap_or(0) + 1;
        let mut excerpt = Excerpt {
            file: of.file.to_string(),
            text: String::new(),
            first_line,
            parts: Vec::new(),
            primary_start: 0,
            primary_column: usize::try_from(place.column).unwrap_or(usize::MAX).saturating_sub(1),
        };
        let mut start = 0;
        for (index, line) in text.split_inclusive('\n').enumerate().take(last_line + 1) {
            if index >= first_line {
                excerpt.add(line, start, place.start);
            }
            start += line.len();
        }
        excerpt
    }

    fn add(&mut self, line: &str, start: usize, place: usize) {
        let content = line.trim_end_matches(['\r', '\n']);
        let mut kept = 0..content.len();
        if content.chars().count() > Excerpt::LINE_MAX {
            let at = content.floor_char_boundary(place.saturating_sub(start).min(content.len()));
            let back =
                |from: usize, count| content[..from].char_indices().rev().nth(count).map_or(0, |(at, _)| at);
            kept.start = if place >= start && place <= start + content.len() {
                back(at, Excerpt::LEAD - 1)
            } else {
                0
            };
            kept.end = content[kept.start..]
                .char_indices()
                .nth(Excerpt::LINE_MAX)
                .map_or(content.len(), |(at, _)| kept.start + at);
        }
        if kept.start > 0 {
            self.text.push('…');
        }
        self.parts.push((start + kept.start..start + kept.end, self.text.len()));
        self.text.push_str(&content[kept.clone()]);
        if kept.end < content.len() {
            self.text.push('…');
        }
        self.text.push_str(&line[content.len()..]);
    }

    /// The bytes of the whole text as bytes of the excerpt, as far as they are in it.
    fn span(&self, start: usize, end: usize) -> SourceSpan {
        let map = |offset: usize| {
            let part = self.parts.iter().rev().find(|(whole, _)| whole.start <= offset);
            let (whole, at) = part.or(self.parts.first())?;
            Some(at + offset.clamp(whole.start, whole.end) - whole.start)
        };
        let start = map(start).unwrap_or(0);
        let end = map(end).unwrap_or(start).max(start);
        SourceSpan::from((start, end - start))
    }
}

impl miette::SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let contents = self.text.as_str().read_span(span, lines_before, lines_after)?;
        // The heading asks for the place itself; its column in the whole line is not that in the excerpt.
        let heading = lines_before == 0 && span.offset() == self.primary_start;
        let column = if heading { self.primary_column } else { contents.column() };
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.file.clone(),
            contents.data(),
            *contents.span(),
            contents.line() + self.first_line,
            column,
            contents.line_count() + self.first_line,
        )))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display + 'a>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        (!self.labels.is_empty()).then_some(&self.excerpt as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, bytes: Range<usize>) -> Diagnostics {
        let mut diagnostics = Diagnostics::new("m.yaml", text);
        diagnostics
            .push(Diagnostic::error("SG0000", Place::of(text, bytes), "a.b[0]", "wrong").help("do this"));
        diagnostics
    }

    #[test]
    fn a_place_counts_lines_and_characters() {
        let place = Place::of("a\nü: x\n", 6..7);
        assert_eq!((place.line, place.column), (2, 4));
        assert_eq!(Place::of("", 3..9), Place::START);
    }

    #[test]
    fn colour_is_only_there_when_asked_for() {
        let diagnostics = one("a: b\n", 3..4);
        assert!(!diagnostics.render(Style::default()).contains('\u{1b}'));
        assert!(diagnostics.render(Style { color: true, width: 80 }).contains('\u{1b}'));
    }

    #[test]
    fn long_lines_are_cut_around_the_place_and_columns_stay_true() {
        let text = format!("first\n{}HERE{}\nlast\n", "ä".repeat(5_000), "b".repeat(5_000));
        let at = text.find("HERE").unwrap();
        let picture = one(&text, at..at + 4).render(Style::default());
        assert!(picture.contains("m.yaml:2:5001"), "{picture}");
        assert!(picture.contains("HERE") && picture.contains("last") && picture.len() < 2_000, "{picture}");
    }

    #[test]
    fn nothing_in_a_text_acts_on_the_terminal() {
        let picture = one("a: \u{1b}[2J\u{9b}\u{202e}x\n", 3..4).render(Style::default());
        assert!(!picture.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{picture:?}");
        assert_eq!(quote("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 63);
    }

    #[test]
    fn beyond_the_bound_only_errors_find_room() {
        let mut diagnostics = Diagnostics::new("m.yaml", "a\n");
        for _ in 0..DIAGNOSTICS_MAX {
            diagnostics.push(Diagnostic::note("SG0000", Place::START, "", "said"));
        }
        assert!(diagnostics.valid());
        diagnostics.push(Diagnostic::error("SG0000", Place::START, "", "wrong"));
        assert!(!diagnostics.valid());
        assert_eq!(diagnostics.summary(), "m.yaml: 1 error, 99 notes, 1 more left out");
    }

    #[test]
    fn errors_have_pointers_for_http() {
        let errors = one("a: b\n", 3..4).field_errors();
        assert_eq!(errors[0].pointer, "/a/b/0");
        assert_eq!(errors[0].message, "m.yaml:1:4: wrong (do this)");
        assert_eq!(pointer_of("a[\"b/c d\"].e"), "/a/b~1c d/e");
        assert_eq!(pointer_of(""), "");
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        assert_eq!(nearest("timout", ["timeout", "memory"]), Some("timeout"));
        assert_eq!(nearest("max-attempts", ["max_attempts"]), Some("max_attempts"));
        assert_eq!(nearest("whatever", ["timeout", "memory"]), None);
        assert_eq!(nearest("S9", ["S0", "S1"]), None);
    }
}
