//! `doctor`: looks at this machine, the configuration and the data folder, and says how to mend what it
//! finds. A list of small checks, each of which is bounded in time and leaves nothing behind.

use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::cli::Global;
use super::failure::{EXIT_FOUND, Failure};
use super::output::{self, Line, Paint, Style, count, printable, printable_lines};
use crate::config::{ConfigError, Flags, Report, Settings};
use crate::package::diagnostic::Severity;

mod data;
mod machine;
mod network;

/// No check takes longer, but for the one that reads the whole ledger.
const CHECK_MAX: Duration = Duration::from_secs(5);
/// Where the details begin.
const DETAIL_COLUMN: usize = 18;

pub type Loaded = Result<(Settings, Report), ConfigError>;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    name: &'static str,
    state: State,
    detail: String,
    /// How to mend it.
    help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ok,
    /// Worth knowing; nothing is broken.
    Warning,
    Failed,
}

pub async fn command(global: &Global, loaded: Loaded) -> Result<(), Failure> {
    let checks = all(global, &loaded, Depth::Whole).await;
    let ok = checks.iter().all(|check| check.state != State::Failed);
    if global.json {
        let list: Vec<Value> = checks.iter().map(Check::to_json).collect();
        output::print_json(&json!({"ok": ok, "checks": list}))?;
    } else {
        output::print(&render(&checks, &Style::stdout()))?;
    }
    if ok { Ok(()) } else { Err(Failure::silent(EXIT_FOUND)) }
}

/// For the page: without the check that reads all files of the store.
pub async fn quick(flags: Flags) -> Vec<Value> {
    let global = Global {
        config: flags.config.clone(),
        data_dir: flags.data_dir.clone(),
        token_file: flags.token_file.clone(),
        server: None,
        local: false,
        json: true,
    };
    match super::load(flags) {
        Ok(loaded) => all(&global, &loaded, Depth::Quick).await.iter().map(Check::to_json).collect(),
        Err(failure) => vec![Check::failed("configuration", failure.to_string()).to_json()],
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Quick,
    Whole,
}

/// The checks, in the order in which they are shown. Without a configuration, only those of the machine.
async fn all(global: &Global, loaded: &Loaded, depth: Depth) -> Vec<Check> {
    let mut checks = vec![machine::version(), configuration(loaded)];
    if let Ok((settings, _)) = loaded {
        checks.extend(data::folder(settings).await);
        if depth == Depth::Whole {
            checks.push(data::store(settings).await);
        }
        checks.push(network::server(global, settings).await);
        checks.extend(data::plugin_folders(settings).await);
        checks.extend(data::secrets(global, settings).await);
    }
    checks.push(machine::python().await);
    checks.extend(machine::installer().await);
    checks.push(machine::sandbox());
    checks.extend(network::telemetry().await);
    checks.push(machine::clock(loaded.as_ref().ok().map(|(settings, _)| settings)));
    checks.push(machine::open_files());
    checks
}

fn configuration(loaded: &Loaded) -> Check {
    let first = |report: &Report, severity: Severity| {
        let mut found = report.iter().filter(|diagnostic| diagnostic.severity == severity);
        found.next().map(|diagnostic| (diagnostic.message.clone(), diagnostic.help.clone()))
    };
    match loaded {
        Err(ConfigError(report)) => {
            let (message, help) = first(report, Severity::Error).unwrap_or_default();
            let number = report.count(Severity::Error);
            let more = if number > 1 { format!(" (and {} more)", number - 1) } else { String::new() };
            Check::failed("configuration", format!("{message}{more}")).maybe_help(help)
        }
        Ok((settings, report)) => match (first(report, Severity::Warning), &settings.file) {
            (Some((message, help)), _) => Check::warning("configuration", message).maybe_help(help),
            (None, Some(file)) => Check::ok("configuration", file.display().to_string()),
            (None, None) => Check::ok("configuration", "the defaults, there is no spanglass.yaml here"),
        },
    }
}

fn render(checks: &[Check], style: &Style) -> String {
    let mut out = String::new();
    for check in checks {
        let (paint, mark) = match check.state {
            State::Ok => (Paint::Good, style.glyph("✓", "+")),
            State::Warning => (Paint::Warning, "!"),
            State::Failed => (Paint::Bad, style.glyph("✗", "x")),
        };
        let mut line = Line::default();
        line.push(style, paint, mark).push(style, Paint::Strong, &format!(" {}", check.name));
        line.pad_to(DETAIL_COLUMN).push(style, Paint::Plain, &printable(&check.detail));
        line.finish(&mut out);
        for help in check.help.iter().flat_map(|help| help.lines()) {
            let mut line = Line::default();
            line.pad_to(DETAIL_COLUMN).push(style, Paint::Accent, &printable_lines(help));
            line.finish(&mut out);
        }
    }
    let number = |state: State| checks.iter().filter(|check| check.state == state).count();
    let words =
        |number: usize, word: &str| format!("{} {word}{}", count(number), if number == 1 { "" } else { "s" });
    let (failed, warnings) =
        (words(number(State::Failed), "problem"), words(number(State::Warning), "warning"));
    out + &match (number(State::Failed), number(State::Warning)) {
        (0, 0) => format!("{}\n", style.paint(Paint::Good, "all is well")),
        (0, _) => format!("{}, {warnings}\n", style.paint(Paint::Good, "no problems")),
        (_, 0) => format!("{}\n", style.paint(Paint::Bad, &failed)),
        (_, _) => format!("{}, {warnings}\n", style.paint(Paint::Bad, &failed)),
    }
}

impl Check {
    fn new(name: &'static str, state: State, detail: impl Into<String>) -> Check {
        Check { name, state, detail: detail.into(), help: None }
    }

    fn ok(name: &'static str, detail: impl Into<String>) -> Check {
        Check::new(name, State::Ok, detail)
    }

    fn warning(name: &'static str, detail: impl Into<String>) -> Check {
        Check::new(name, State::Warning, detail)
    }

    fn failed(name: &'static str, detail: impl Into<String>) -> Check {
        Check::new(name, State::Failed, detail)
    }

    fn help(self, help: impl Into<String>) -> Check {
        Check { help: Some(help.into()), ..self }
    }

    fn maybe_help(self, help: Option<String>) -> Check {
        Check { help, ..self }
    }

    fn to_json(&self) -> Value {
        let state = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed => "failed",
        };
        json!({"name": self.name, "state": state, "detail": self.detail, "help": self.help})
    }
}

/// Waits for a check at most so long.
async fn within<T>(time_max: Duration, check: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time_max, check).await.ok()
}

/// Runs blocking work on a thread of its own, which nobody waits for once the time is over: a disk that
/// hangs must not keep the command from ending.
async fn blocking<T: Send + 'static>(
    time_max: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("doctor".into()).spawn(move || sender.send(work()).ok());
    thread.ok()?;
    within(time_max, receiver).await?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_and_how_to_mend_it() {
        let checks = [
            Check::ok("version", "spanglass 0.1.0"),
            Check::warning("sandbox", "S0"),
            Check::failed("python", "there is no such program\u{1b}").help("apt install python3"),
        ];
        assert_eq!(
            render(&checks, &Style::plain(80)),
            "✓ version         spanglass 0.1.0\n! sandbox         S0\n\
             ✗ python          there is no such program\\u{1b}\n                  apt install python3\n\
             1 problem, 1 warning\n"
        );
        assert!(render(&checks[..2], &Style::plain(80)).ends_with("no problems, 1 warning\n"));
        assert_eq!(checks[2].to_json()["state"], "failed");
    }

    #[tokio::test]
    async fn a_check_that_hangs_is_left_behind() {
        let (_keep, receiver) = std::sync::mpsc::sync_channel::<()>(1);
        assert_eq!(blocking(Duration::from_millis(20), move || receiver.recv().is_ok()).await, None);
        assert_eq!(blocking(CHECK_MAX, || 7).await, Some(7));
    }
}
