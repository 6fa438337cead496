//! All problems of all sources: the command line, the environment, the configuration file, the token file.

use std::fmt;

use serde_json::{Value, json};

use crate::package::diagnostic::{Diagnostic, Diagnostics, Place, Severity, Style};

/// Where a setting was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    Flag(&'static str),
    Variable(&'static str),
    File { key: String, place: Place },
}

impl Origin {
    /// How to call it in a sentence: `--listen`, `SPANGLASS_LISTEN`, `listen`.
    pub fn name(&self) -> &str {
        match self {
            Origin::Default => "default",
            Origin::Flag(name) | Origin::Variable(name) => name,
            Origin::File { key, .. } => key,
        }
    }
}

/// What is wrong with a value, whoever said it: the sentence goes on after the name of the flag, variable or key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: &'static str,
    pub predicate: String,
    /// Empty if there is nothing to add.
    pub help: String,
}

impl Problem {
    pub fn new(code: &'static str, predicate: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem { code, predicate: predicate.into(), help: help.into() }
    }

    /// As a diagnostic about `name`.
    pub fn about(self, name: &str, place: Place, severity: Severity) -> Diagnostic {
        let message = format!("`{name}` {}", self.predicate);
        let help = (!self.help.is_empty()).then_some(self.help);
        Diagnostic { severity, ..Diagnostic::error(self.code, place, name, message).maybe_help(help) }
    }
}

/// Everything there is to say about a configuration, one list a source.
#[derive(Clone, Debug)]
pub struct Report {
    command_line: Diagnostics,
    environment: Diagnostics,
    file: Option<Diagnostics>,
    token_file: Option<Diagnostics>,
}

impl Report {
    pub(super) fn new() -> Report {
        Report {
            command_line: Diagnostics::new("command line", ""),
            environment: Diagnostics::new("environment", ""),
            file: None,
            token_file: None,
        }
    }

    /// Says it where the value was said.
    pub(super) fn say(&mut self, origin: &Origin, severity: Severity, problem: Problem) {
        match origin {
            Origin::Default | Origin::Flag(_) => {
                self.command_line.push(problem.about(origin.name(), Place::START, severity));
            }
            Origin::Variable(name) => self.environment.push(problem.about(name, Place::START, severity)),
            Origin::File { key, place } => {
                let diagnostic = problem.about(key, *place, severity);
                self.file.get_or_insert_with(|| Diagnostics::new("configuration", "")).push(diagnostic);
            }
        }
    }

    pub(super) fn set_file(&mut self, diagnostics: Diagnostics) {
        self.file = Some(diagnostics);
    }

    pub(super) fn set_token_file(&mut self, diagnostics: Diagnostics) {
        self.token_file = Some(diagnostics);
    }

    /// Whether the settings may be used.
    pub fn valid(&self) -> bool {
        self.parts().all(|(part, _)| part.valid())
    }

    /// Whether there is an error about a key of the file.
    pub(super) fn blames(&self, key: &str) -> bool {
        self.iter().any(|diagnostic| diagnostic.severity == Severity::Error && diagnostic.path == key)
    }

    pub fn is_empty(&self) -> bool {
        self.parts().next().is_none()
    }

    /// How many there are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.parts().map(|(part, _)| part.count(severity)).sum()
    }

    /// Everything, source by source, each in its order.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.parts().flat_map(|(part, _)| part.sorted())
    }

    /// `{valid, diagnostics: [{code, severity, message, file, line, column, path, help}]}`, as for manifests; file,
    /// line and column are null for flags and variables, whose name is the path.
    pub fn to_json(&self) -> Value {
        let mut list = Vec::new();
        for (part, placed) in self.parts() {
            let Value::Array(entries) = part.to_json()["diagnostics"].take() else { continue };
            list.extend(entries.into_iter().map(|mut entry| {
                for key in ["file", "line", "column"] {
                    if !placed {
                        entry[key] = Value::Null;
                    }
                }
                entry
            }));
        }
        json!({ "valid": self.valid(), "diagnostics": list })
    }

    /// For people: each source with the text around each problem, then a line that counts them.
    pub fn render(&self, style: Style) -> String {
        self.parts().map(|(part, _)| part.render(style)).collect()
    }

    /// The sources of which there is something to say, and whether these have lines.
    fn parts(&self) -> impl Iterator<Item = (&Diagnostics, bool)> {
        let unplaced = [&self.command_line, &self.environment].into_iter().map(|part| (part, false));
        let placed = self.file.iter().chain(&self.token_file).map(|part| (part, true));
        unplaced.chain(placed).filter(|(part, _)| !part.is_empty())
    }
}

/// Such as `environment: 1 error; spanglass.yaml: 2 errors, 1 note`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said: Vec<String> = self.parts().map(|(part, _)| part.summary()).collect();
        f.write_str(if said.is_empty() { "no problems" } else { "" })?;
        f.write_str(&said.join("; "))
    }
}
