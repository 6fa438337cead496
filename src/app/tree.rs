//! A trace as a tree with bars: one line a span, its place on the trace's time, its log lines under it.
//! `forest.rs` reads the document, `rows.rs` decides on the lines, `head.rs` writes what stands above; this
//! file lays them out in columns.

use serde_json::Value;

use super::output::{Line, Paint, Style, nanoseconds, width};

mod bar;
mod forest;
mod head;
mod notes;
mod rows;
#[cfg(test)]
mod tests;

use bar::{Ink, Timeline};
use forest::{Forest, Role};
use rows::{Row, SpanRow, Text, What};

/// From here on there is room for notes beside the bars, and for wide branches.
const WIDE: usize = 90;
const NAME_MIN: usize = 16;
const NAME_MAX: usize = 56;
const BAR_MIN: usize = 10;
const BAR_MAX: usize = 64;
/// Columns of the longest usual duration.
const DURATION: usize = 8;
const TAG_MAX: usize = 8;
/// Where a person looks, a log line takes at most so many lines of the screen.
const TEXT_LINES_MAX: usize = 3;

/// The picture of a trace document as `GET /v1/traces/{trace_id}` answers it.
pub fn render_trace(trace: &Value, style: &Style) -> String {
    let forest = Forest::read(trace);
    let name_max = (style.width * 45 / 100).clamp(NAME_MIN, NAME_MAX);
    let branch = if style.width >= WIDE { 3 } else { 2 };
    let plan = rows::plan(&forest, (name_max - NAME_MIN / 2) / branch, style.width >= WIDE);
    let mut out = String::new();
    head::head(trace, &forest, style, &mut out);
    let picture = Picture { style, branch, columns: Columns::of(&plan.rows, style, branch, name_max) };
    for row in &plan.rows {
        picture.row(row, &mut out);
    }
    out
}

/// Where the columns begin.
struct Columns {
    name: usize,
    bar: usize,
}

impl Columns {
    fn of(rows: &[Row], style: &Style, branch: usize, name_max: usize) -> Columns {
        let spans = || {
            rows.iter()
                .filter_map(|row| if let What::Span(span) = &row.what { Some((row, span)) } else { None })
        };
        let names = spans()
            .map(|(row, span)| row.rails.len() * branch + glyph(span, style).len() + width(&span.label));
        let name = names.max().unwrap_or(0).clamp(NAME_MIN, name_max);
        let longest = spans().map(|(_, span)| notes_width(span)).max().unwrap_or(0);
        let notes = if style.width >= WIDE { longest.min(style.width / 4) + 2 } else { 0 };
        let bar = style.width.saturating_sub(name + 2 + DURATION + notes).clamp(BAR_MIN, BAR_MAX);
        Columns { name, bar }
    }

    const fn end(&self) -> usize {
        self.name + 1 + self.bar + 1 + DURATION
    }
}

struct Picture<'s> {
    style: &'s Style,
    /// Columns of one level.
    branch: usize,
    columns: Columns,
}

impl Picture<'_> {
    fn row(&self, row: &Row, out: &mut String) {
        match &row.what {
            What::Span(span) => self.span(&row.rails, span, out),
            What::Backoff { start, end, line } => self.backoff(&row.rails, *start, *end, *line, out),
            What::Text(text) => self.text(&row.rails, text, out),
            What::More(text) => {
                let mut line = self.branches(&row.rails, true);
                let text = self.style.ascii(format!("… {text}"));
                let room = self.style.width.saturating_sub(line.columns());
                line.push(self.style, Paint::Dim, &self.style.fit(&text, room)).finish_into(out);
            }
            What::Axis { line, after } => self.axis(*line, *after, out),
            What::Heading(text) => {
                let mut line = Line::default();
                line.push(self.style, Paint::Dim, text).finish_into(out);
            }
        }
    }

    fn span(&self, rails: &[bool], span: &SpanRow, out: &mut String) {
        let style = self.style;
        let mut line = self.branches(rails, true);
        let (mark, paint) = (glyph(span, style), paint(span));
        let room = self.columns.name.saturating_sub(line.columns() + mark.len());
        line.push(style, paint, mark.text());
        line.push(style, label_paint(span), &style.fit(&span.label, room)).pad_to(self.columns.name + 1);
        line.push(
            style,
            paint,
            &span.line.bar(span.start, span.end, self.columns.bar, Ink::Solid, style.unicode),
        );
        self.duration(&mut line, span.end.saturating_sub(span.start));
        let fits = !style.terminal || line.columns() + 2 + notes_width(span) <= style.width;
        if fits {
            for (place, (paint, note)) in span.notes.iter().enumerate() {
                line.push(style, Paint::Plain, if place == 0 { "  " } else { " " }).push(
                    style,
                    *paint,
                    &style.ascii(note.clone()),
                );
            }
        }
        line.finish(out);
        if !fits {
            let rails: Vec<bool> = rails.iter().copied().chain([span.open]).collect();
            for (paint, note) in &span.notes {
                let text =
                    Text { tag: String::new(), paint: *paint, text: note.clone(), offset: None, cut: false };
                self.text(&rails, &text, out);
            }
        }
    }

    fn backoff(&self, rails: &[bool], start: i64, end: i64, timeline: Timeline, out: &mut String) {
        let style = self.style;
        let mut line = self.branches(rails, true);
        line.push(style, Paint::Dim, style.glyph("↻ backoff", "~ backoff")).pad_to(self.columns.name + 1);
        line.push(style, Paint::Dim, &timeline.bar(start, end, self.columns.bar, Ink::Shade, style.unicode));
        self.duration(&mut line, end.saturating_sub(start));
        line.finish(out);
    }

    fn duration(&self, line: &mut Line, ns: i64) {
        let text = self.style.ascii(nanoseconds(ns.max(0).unsigned_abs()));
        line.pad_to(self.columns.end().saturating_sub(width(&text))).push(self.style, Paint::Strong, &text);
    }

    fn axis(&self, timeline: Timeline, after: Option<i64>, out: &mut String) {
        let style = self.style;
        let mut line = Line::default();
        if let Some(gap) = after {
            let text = format!("{} later", nanoseconds(gap.max(0).unsigned_abs()));
            line.push(style, Paint::Dim, &style.fit(&style.ascii(text), self.columns.name));
        }
        line.pad_to(self.columns.name + 1);
        line.push(style, Paint::Dim, &style.ascii(timeline.axis(self.columns.bar))).finish_into(out);
    }

    /// `  │  +1.2ms out  text`, broken where the terminal ends.
    fn text(&self, rails: &[bool], text: &Text, out: &mut String) {
        let style = self.style;
        let mut line = self.branches(rails, false);
        if let Some(offset) = text.offset {
            line.push(style, Paint::Dim, &format!("+{} ", style.ascii(nanoseconds(offset))));
        }
        if !text.tag.is_empty() {
            line.push(style, Paint::Dim, &style.fit(&text.tag, TAG_MAX)).push(style, Paint::Plain, " ");
        }
        let at = line.columns();
        let room = if style.terminal { style.width.saturating_sub(at).max(BAR_MIN) } else { usize::MAX };
        for (index, part) in
            wrap(&text.text, room, if text.cut { 1 } else { TEXT_LINES_MAX }, style).into_iter().enumerate()
        {
            if index > 0 {
                line = self.branches(rails, false);
                line.pad_to(at);
            }
            line.push(style, text.paint, &part);
            std::mem::take(&mut line).finish(out);
        }
    }

    /// The rails of the levels above, and the own branch of a line that has one.
    fn branches(&self, rails: &[bool], own: bool) -> Line {
        let style = self.style;
        let (through, open, fork, last) = match (self.branch, style.unicode) {
            (3, true) => ("│  ", "   ", "├─ ", "└─ "),
            (3, false) => ("|  ", "   ", "|- ", "`- "),
            (_, true) => ("│ ", "  ", "├ ", "└ "),
            (_, false) => ("| ", "  ", "| ", "` "),
        };
        let mut drawn = String::new();
        for (level, goes_on) in rails.iter().enumerate() {
            drawn += match (own && level + 1 == rails.len(), goes_on) {
                (true, true) => fork,
                (true, false) => last,
                (false, true) => through,
                (false, false) => open,
            };
        }
        let mut line = Line::default();
        line.push(style, Paint::Dim, &drawn);
        line
    }
}

/// A mark before a name, with its columns.
struct Mark(&'static str);

impl Mark {
    fn len(&self) -> usize {
        width(self.0)
    }

    const fn text(&self) -> &'static str {
        self.0
    }
}

fn glyph(span: &SpanRow, style: &Style) -> Mark {
    Mark(match (span.failed, span.role) {
        (true, Role::Guest) => style.glyph("✗◆ ", "x* "),
        (true, Role::Request) => style.glyph("✗→ ", "x> "),
        (true, _) => style.glyph("✗ ", "x "),
        (false, Role::Guest) => style.glyph("◆ ", "* "),
        (false, Role::Request) => style.glyph("→ ", "> "),
        (false, _) => "",
    })
}

const fn paint(span: &SpanRow) -> Paint {
    match span.role {
        _ if span.failed => Paint::Bad,
        Role::Guest | Role::Request => Paint::Guest,
        Role::Prepare => Paint::Cold,
        Role::Queue => Paint::Warning,
        Role::Invoke | Role::Attempt | Role::Execute | Role::Host => Paint::Accent,
    }
}

const fn label_paint(span: &SpanRow) -> Paint {
    match span.role {
        _ if span.failed => Paint::Bad,
        Role::Invoke => Paint::Strong,
        Role::Guest | Role::Request => Paint::Guest,
        _ => Paint::Plain,
    }
}

fn notes_width(span: &SpanRow) -> usize {
    span.notes.iter().map(|(_, note)| width(note) + 1).sum::<usize>().saturating_sub(1)
}

/// Breaks a text at spaces where it can, into no more lines than it may take.
fn wrap(text: &str, columns: usize, lines_max: usize, style: &Style) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > columns && lines.len() + 1 < lines_max {
        let mut end = 0;
        let mut taken = 0;
        for (at, character) in rest.char_indices() {
            taken += width(character.encode_utf8(&mut [0; 4]));
            if taken > columns {
                break;
            }
            end = at + character.len_utf8();
        }
        let end = end.max(rest.chars().next().map_or(0, char::len_utf8));
        let space = rest[..end].rfind(' ').filter(|space| *space > end / 2);
        let (line, after) = rest.split_at(space.unwrap_or(end));
        lines.push(line.to_owned());
        rest = after.trim_start_matches(' ');
    }
    lines.push(style.fit(rest, columns).into_owned());
    lines
}
