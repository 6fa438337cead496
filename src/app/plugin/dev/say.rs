//! What the author sees: words on both outputs, or with `--json` an event a line on standard output.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::failure::Failure;
use crate::app::look::logs::Printer;
use crate::app::output::{self, Paint, Style, printable};
use crate::package::Package;
use crate::package::diagnostic;

/// Older ones have had their lines long ago.
const SHOWN_MAX: usize = 64;

pub struct Say {
    json: bool,
    printer: Printer,
    /// Remarks and refusals that were shown last: not again, as long as they are the same.
    remarked: String,
    refused: Option<String>,
    /// Traces whose lines have been shown with them.
    shown: VecDeque<String>,
}

impl Say {
    pub fn new(json: bool) -> Say {
        Say {
            json,
            printer: Printer::new(Style::stdout()),
            remarked: String::new(),
            refused: None,
            shown: VecDeque::new(),
        }
    }

    pub fn json(&self) -> bool {
        self.json
    }

    pub fn event(&self, name: &str, mut document: Value) -> Result<(), Failure> {
        let mut event = json!({"event": name});
        if let (Value::Object(event), Value::Object(members)) = (&mut event, &mut document) {
            event.append(members);
        }
        output::print_json(&event)
    }

    /// Words for people only.
    pub fn note(&self, text: &str) {
        if !self.json {
            output::note(text);
        }
    }

    pub fn dim(&self, text: &str) {
        self.note(&Style::stderr().paint(Paint::Dim, text));
    }

    /// Warnings and notes of a good package, if they are not those from before.
    pub fn remarks(&mut self, package: &Package) {
        let words = package.diagnostics.render(Style::stderr().into());
        if words != self.remarked && !package.diagnostics.is_empty() {
            self.note(words.trim_end());
        }
        self.remarked = words;
    }

    /// `call`: how anybody else can call it.
    pub fn reloaded(
        &mut self,
        name: &str,
        version: &str,
        took: Duration,
        call: Option<&str>,
    ) -> Result<(), Failure> {
        self.refused = None;
        if self.json {
            let ms = took.as_secs_f64() * 1000.0;
            return self.event(
                "reloaded",
                json!({"plugin": name, "version": version, "duration_ms": ms, "call": call}),
            );
        }
        let style = Style::stderr();
        let word = style.paint(Paint::Good, "ready");
        self.note(&format!(
            "{word} {name} {version} after {}",
            output::milliseconds(took.as_secs_f64() * 1000.0)
        ));
        Ok(())
    }

    /// The folder has again what serves.
    pub fn as_before(&mut self, name: &str, version: &str) -> Result<(), Failure> {
        if self.refused.take().is_none() {
            return Ok(());
        }
        if self.json {
            return self.event("unchanged", json!({"plugin": name, "version": version}));
        }
        self.note(&format!(
            "{} {name} {version} is what lies there",
            Style::stderr().paint(Paint::Good, "ready")
        ));
        Ok(())
    }

    /// A save that cannot serve, and what does meanwhile.
    pub fn refused(&mut self, failure: &Failure, kept: Option<&str>) -> Result<(), Failure> {
        let document = failure.document();
        let text = document.to_string();
        let news = self.refused.as_deref() != Some(text.as_str());
        if self.json {
            self.event("refused", json!({"kept": kept, "problem": document}))?;
        } else if news {
            let style = Style::stderr();
            failure.report(false, diagnostic::Style { color: style.color, width: style.width });
        } else {
            self.note(&format!(
                "{} the same as before: {failure}",
                Style::stderr().paint(Paint::Bad, "refused")
            ));
        }
        match kept {
            Some(version) => self.dim(&format!("{version} keeps serving")),
            None => self.dim("waiting for a change"),
        }
        self.refused = Some(text);
        Ok(())
    }

    /// Lines of this author's versions.
    pub fn lines<'v>(&mut self, items: impl Iterator<Item = &'v Value>) -> Result<(), Failure> {
        let mut text = String::new();
        for item in items {
            let shown =
                item["trace_id"].as_str().is_some_and(|id| self.shown.iter().any(|shown| shown == id));
            if self.json {
                self.event("log", json!({"record": item}))?;
            } else if !shown {
                text += &self.printer.line(item);
            }
        }
        if text.is_empty() { Ok(()) } else { output::print(&text) }
    }

    /// The lines of this trace are not to come once more.
    pub fn has_shown(&mut self, trace_id: &str) {
        if self.shown.len() == SHOWN_MAX {
            self.shown.pop_front();
        }
        self.shown.push_back(trace_id.to_owned());
    }

    pub fn running(&self, what: &str) {
        self.dim(&format!("{} {}", Style::stderr().glyph("▶", ">"), printable(what)));
    }
}
