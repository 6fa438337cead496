//! How a command fails: the exit code, what a person reads, what a program reads.

use std::fmt;
use std::io::Write;

use serde_json::{Value, json};

use crate::config::{ConfigError, Report};
use crate::host::RegisterError;
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::package::PackageError;
use crate::package::diagnostic::{Diagnostics, Style};
use crate::store;

/// Exit codes that stand for no kind of error.
pub const EXIT_INTERNAL: u8 = 1;
pub const EXIT_USAGE: u8 = 2;
pub const EXIT_INVALID: u8 = 3;
pub const EXIT_UNREACHABLE: u8 = 8;
pub const EXIT_FOUND: u8 = 9;

/// The exit code of each kind of error.
pub const fn exit_code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::InputTooLarge => 3,
        ErrorKind::InvalidOutput
        | ErrorKind::PluginError
        | ErrorKind::Crashed
        | ErrorKind::Unavailable
        | ErrorKind::CircuitOpen
        | ErrorKind::SandboxViolation => 4,
        ErrorKind::MemoryExceeded
        | ErrorKind::OutputTooLarge
        | ErrorKind::Timeout
        | ErrorKind::Overloaded => 5,
        ErrorKind::Unauthenticated
        | ErrorKind::Forbidden
        | ErrorKind::Conflict
        | ErrorKind::Throttled
        | ErrorKind::SandboxUnavailable => 6,
        ErrorKind::NotFound => 7,
        ErrorKind::Cancelled => 130,
        ErrorKind::Internal => EXIT_INTERNAL,
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    pub exit: u8,
    /// What `--json` prints.
    document: Value,
    mistakes: Option<Mistakes>,
    /// Everything has been said already, or nobody listens.
    silent: bool,
}

/// Mistakes in a file, shown with their source.
#[derive(Debug)]
enum Mistakes {
    Manifest(Box<Diagnostics>),
    Config(Box<Report>),
}

impl Failure {
    pub(super) fn new(exit: u8, code: &str, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            document: json!({"code": code, "detail": message.into()}),
            mistakes: None,
            silent: false,
        }
    }

    /// Only the exit code is left to give: the command has printed what there is to know.
    pub fn silent(exit: u8) -> Failure {
        Failure { exit, document: Value::Null, mistakes: None, silent: true }
    }

    pub fn internal(message: impl Into<String>) -> Failure {
        Failure::new(EXIT_INTERNAL, "internal", message)
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(EXIT_USAGE, "usage", message)
    }

    /// A manifest, package or configuration is not valid.
    pub fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(EXIT_INVALID, "invalid", message)
    }

    pub fn of_kind(kind: ErrorKind, message: impl Into<String>) -> Failure {
        Failure::new(exit_code_of(kind), kind.as_str(), message)
    }

    pub fn unreachable(server: &str, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Failure::new(EXIT_UNREACHABLE, "unreachable", format!("the server {server} does not answer: {cause}"))
            .help("is it running? 'spanglass serve' starts one; '--local' works without")
    }

    /// There is no server to ask, and no ledger to read instead.
    pub fn nothing_recorded(data_dir: &std::path::Path) -> Failure {
        let folder = data_dir.display();
        Failure::new(
            EXIT_UNREACHABLE,
            "unreachable",
            format!("no server is running for {folder}, and it has no ledger yet"),
        )
        .help("'spanglass serve' or 'spanglass demo' starts one; --server and --data-dir name another place")
    }

    pub fn diagnostics(diagnostics: Diagnostics) -> Failure {
        Failure {
            exit: EXIT_INVALID,
            document: diagnostics.to_json(),
            mistakes: Some(Mistakes::Manifest(Box::new(diagnostics))),
            silent: false,
        }
    }

    /// A problem document (RFC 9457) that the API answered with.
    pub fn problem(document: Value) -> Failure {
        let kind = document.get("kind").and_then(Value::as_str).and_then(ErrorKind::parse);
        Failure { exit: kind.map_or(EXIT_INTERNAL, exit_code_of), document, mistakes: None, silent: false }
    }

    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.document["help"] = help.into().into();
        self
    }

    /// One of several mistakes, and where it is.
    pub fn place(mut self, place: &str, message: &str) -> Failure {
        if !self.document["errors"].is_array() {
            self.document["errors"] = json!([]);
        }
        if let Some(errors) = self.document["errors"].as_array_mut() {
            errors.push(json!({"pointer": place, "message": message}));
        }
        self
    }

    /// The configuration is not valid.
    pub fn config(error: ConfigError) -> Failure {
        let ConfigError(report) = error;
        Failure {
            exit: EXIT_INVALID,
            document: report.to_json(),
            mistakes: Some(Mistakes::Config(report)),
            silent: false,
        }
    }

    /// The reader of standard output has gone: nothing more is to be said.
    pub fn is_broken_pipe(&self) -> bool {
        self.silent && self.exit == 0
    }

    /// Whether asking again may help: nobody answers at the moment, or too much is under way.
    pub fn may_pass(&self) -> bool {
        let kind = self.document.get("kind").and_then(Value::as_str).and_then(ErrorKind::parse);
        self.exit == EXIT_UNREACHABLE || matches!(kind, Some(ErrorKind::Overloaded | ErrorKind::Unavailable))
    }

    /// What `--json` prints.
    pub fn document(&self) -> &Value {
        &self.document
    }

    fn detail(&self) -> &str {
        self.document.get("detail").and_then(Value::as_str).unwrap_or("something went wrong")
    }

    /// Says it: the document on standard output for programs, words on standard error for people.
    pub fn report(&self, json: bool, style: Style) {
        if self.silent {
            return;
        }
        if json {
            let _ = writeln!(std::io::stdout(), "{}", self.document);
            return;
        }
        let mut out = std::io::stderr().lock();
        let words = match &self.mistakes {
            Some(Mistakes::Manifest(diagnostics)) => diagnostics.render(style),
            Some(Mistakes::Config(report)) => report.render(style),
            None => self.words(style),
        };
        let _ = write!(out, "{words}");
    }

    fn words(&self, style: Style) -> String {
        let text = |member: &str| self.document.get(member).and_then(Value::as_str);
        let code = text("kind").or_else(|| text("code")).unwrap_or("error");
        let paint = |code: &str, text: &str| {
            if style.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        let detail = super::output::printable_lines(text("detail").unwrap_or("something went wrong"));
        let mut words = format!("{}: {detail}\n", paint("1;31", &format!("error[{code}]")));
        for field in self.document.get("errors").and_then(Value::as_array).into_iter().flatten() {
            let part = |member: &str| field.get(member).and_then(Value::as_str).unwrap_or_default();
            let (place, message) = (part("pointer"), super::output::printable(part("message")));
            words += &format!("  {}: {message}\n", if place.is_empty() { "/" } else { place });
        }
        if let Some(traceback) = self.document.pointer("/exception/traceback").and_then(Value::as_str) {
            for line in traceback.trim_end().lines() {
                words += &format!("  {} {}\n", paint("2", "|"), super::output::printable(line));
            }
        }
        if let Some(help) = text("help") {
            words += &format!("  {} {}\n", paint("1;36", "help:"), super::output::printable(help));
        }
        if let Some(trace) = text("trace_id") {
            words += &format!("  {} spanglass trace show {trace}\n", paint("1;36", "trace:"));
        }
        words
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mistakes {
            Some(Mistakes::Manifest(diagnostics)) => f.write_str(&diagnostics.summary()),
            Some(Mistakes::Config(_)) => f.write_str("the configuration is not valid"),
            None => f.write_str(self.detail()),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        let failure = Failure::of_kind(error.kind(), format!("{error}{cause}"));
        match error.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Failure {
        match error {
            RegisterError::Package(error) => error.into(),
            RegisterError::Store(error) => error.into(),
            RegisterError::Refused(error) => error.into(),
        }
    }
}

/// Of something that is not a call.
impl From<InvokeError> for Failure {
    fn from(error: InvokeError) -> Failure {
        let mut failure = Failure::of_kind(error.kind, error.message);
        if let Some(exception) = error.exception {
            failure.document["exception"] =
                json!({"type": exception.type_name, "traceback": exception.traceback});
        }
        match error.help {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Failure {
        let (message, help) = (error.to_string(), error.help());
        match error {
            PackageError::Manifest(diagnostics) => Failure::diagnostics(*diagnostics),
            other => {
                let failure = Failure::new(EXIT_INVALID, other.code(), message);
                match help {
                    Some(help) => failure.help(help),
                    None => failure,
                }
            }
        }
    }
}
