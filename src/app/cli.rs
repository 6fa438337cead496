//! The command line as people type it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};

use super::top::Sort;
use crate::model::field::FieldPath;
use crate::model::units;

/// Run other people's plugins and see every invocation as one trace.
#[derive(Debug, Parser)]
#[command(name = "spanglass", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file
    #[arg(long, global = true, env = "SPANGLASS_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where packages and what happened are kept [default: ./.spanglass]
    #[arg(long, global = true, env = "SPANGLASS_DATA_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,
    /// File with bearer tokens, one a line; clients send the first
    #[arg(long, global = true, env = "SPANGLASS_TOKEN_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// Talk to this server, e.g. http://127.0.0.1:7717
    #[arg(long, global = true, env = "SPANGLASS_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// Work in this process even if a server is running
    #[arg(long, global = true)]
    pub local: bool,
    /// Print exactly one JSON document (a line each for streams)
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what spanglass does: example plugins, a server and real calls
    Demo(Demo),
    /// Serve registered plugins over HTTP
    Serve(Serve),
    /// Run a function of a Python file, no manifest needed
    Run(Run),
    /// Call a registered plugin
    Invoke(Invoke),
    /// Run the input of an earlier call again, and compare
    Replay(Replay),
    /// Write, check and register plugins
    #[command(subcommand)]
    Plugin(Plugin),
    /// Look at calls
    #[command(subcommand)]
    Invocation(Invocation),
    /// Look at traces
    #[command(subcommand)]
    Trace(Trace),
    /// Read and follow logs
    Logs(Logs),
    /// Watch the plugins of a server: rates, failures, latencies
    Top(Top),
    /// Look at drift: how the values of calls have changed
    #[command(subcommand)]
    Drift(Drift),
    /// Write everything that the data folder keeps into one file
    Backup(Backup),
    /// Bring back what a backup holds
    Restore(Backup),
    /// Delete what is kept of calls: of a plugin, of a trace, or from before a time
    Purge(Purge),
    /// Look at the configuration
    #[command(subcommand)]
    Config(Config),
    /// Check this machine and the data folder
    Doctor,
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub struct Listen {
    /// Address to serve on; port 0 picks a free one [default: 127.0.0.1:7717]
    #[arg(long, env = "SPANGLASS_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Folder whose children are plugins; may be given more than once
    #[arg(long = "plugins", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub plugin_dirs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Demo {
    #[command(flatten)]
    pub listen: Listen,
    /// Open no browser
    #[arg(long)]
    pub no_open: bool,
    /// Stop by itself after this time, e.g. 60s
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub duration: Option<Duration>,
    /// Seed of the calls that are made
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// When the release comes that goes wrong; for tests
    #[arg(long, hide = true, value_parser = duration, value_name = "TIME", default_value = "30s")]
    pub release_after: Duration,
}

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    pub listen: Listen,
}

/// The input of a call.
#[derive(Debug, Default, Args)]
pub struct Input {
    /// One field of the input; typed by the plugin's schema or the function's annotations
    #[arg(short = 'f', long = "field", value_name = "KEY=VALUE", value_parser = field)]
    pub fields: Vec<(String, String)>,
    /// The whole input: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", conflicts_with = "fields", value_hint = ValueHint::FilePath)]
    pub input: Option<String>,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Python file, and the function if there are several
    #[arg(value_name = "FILE.py[:FUNCTION]", value_hint = ValueHint::FilePath)]
    pub target: String,
    #[command(flatten)]
    pub input: Input,
    /// Show the spans and log lines of the call
    #[arg(long)]
    pub watch: bool,
    /// Print chunks as they come
    #[arg(long)]
    pub stream: bool,
    /// Give up after this time [default: 30s]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Invoke {
    /// Plugin, and the version or range if not the newest release
    #[arg(value_name = "NAME[@REQ]")]
    pub target: String,
    #[command(flatten)]
    pub input: Input,
    /// Another action than `invoke`
    #[arg(long)]
    pub action: Option<String>,
    /// Show the spans and log lines of the call
    #[arg(long)]
    pub watch: bool,
    /// Print chunks as they come
    #[arg(long)]
    pub stream: bool,
    /// Only hand the call over; it is run even if the server dies meanwhile
    #[arg(long = "async", conflicts_with_all = ["watch", "stream"])]
    pub asynchronous: bool,
    /// Give up earlier than the plugin's own limit
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
    /// A repeat under the same key gets the first reply, and runs nothing
    #[arg(long, value_name = "KEY", conflicts_with = "stream")]
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// The id of the call or the beginning of it, the id of its trace, or `last`
    #[arg(value_name = "INVOCATION_ID")]
    pub id: String,
    /// Another version or range than the one that was called
    #[arg(long, value_name = "REQ")]
    pub on: Option<String>,
    /// Give up earlier than the plugin's own limit
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Write a new plugin into a folder of its name
    New {
        name: String,
        /// python, or process: any executable, to begin with JavaScript
        #[arg(long, default_value = "python")]
        runtime: String,
    },
    /// Check a plugin and report every mistake
    Validate(PluginPath),
    /// Run the examples of a plugin
    Test(PluginTest),
    /// Write NAME-VERSION.zip into the current folder, and requirements.lock into the plugin's
    Package {
        #[command(flatten)]
        path: PluginPath,
        /// Fetch what a Python plugin requires into its wheels/, so that it needs no network where it runs
        #[arg(long)]
        with_wheels: bool,
    },
    /// Print the JSON Schema of the manifest, for editors
    Schema,
    /// Make a version callable
    Register {
        #[command(flatten)]
        path: PluginPath,
        #[command(flatten)]
        reason: Reason,
    },
    /// Move dependencies to the highest versions that fit
    Update {
        /// Only those on this plugin
        name: Option<String>,
        #[command(flatten)]
        reason: Reason,
    },
    /// List registered plugins
    List,
    /// Show one plugin
    Show {
        #[arg(value_name = "NAME[@VERSION]")]
        target: String,
    },
    /// Let a version take calls again
    Enable(Change),
    /// Let a version take no calls; those under way end
    Disable(Change),
    /// Give the calls back to an earlier version
    Rollback {
        name: String,
        /// The version to go back to [default: the next lower one]
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        #[command(flatten)]
        reason: Reason,
    },
    /// Take a version away
    Remove(Change),
    /// Work on a plugin: each save is checked and takes over, for those who name it
    Dev(PluginDev),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DebugAt {
    Entry,
    PostMortem,
}

#[derive(Debug, Args)]
pub struct PluginDev {
    #[command(flatten)]
    pub path: PluginPath,
    #[command(flatten)]
    pub input: Input,
    /// Another action than `invoke`
    #[arg(long)]
    pub action: Option<String>,
    /// Let each save wait for a debugger where its first call begins, and take all the time it needs; with
    /// post-mortem also where a call has failed
    #[arg(long, value_name = "AT", num_args = 0..=1, require_equals = true, default_missing_value = "entry")]
    pub debug: Option<DebugAt>,
    /// Run it once, take it away again, and end as the call did
    #[arg(long)]
    pub once: bool,
}

/// A change of one version.
#[derive(Debug, Args)]
pub struct Change {
    /// The version may be left out if there is one only
    #[arg(value_name = "NAME@VERSION")]
    pub target: String,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Default, Args)]
pub struct Reason {
    /// Why, for the plugin's history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct PluginTest {
    #[command(flatten)]
    pub path: PluginPath,
    /// Write what came into the manifest, for examples that fail or expect nothing
    #[arg(long, conflicts_with = "record")]
    pub update: bool,
    /// Add a call that has been made as an example, and run nothing
    #[arg(long, value_name = "INVOCATION_ID")]
    pub record: Option<String>,
}

#[derive(Debug, Args)]
pub struct PluginPath {
    /// Folder or zip of the plugin
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath, required_unless_present = "file")]
    path: Option<PathBuf>,
    /// The same as PATH
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, conflicts_with = "path")]
    file: Option<PathBuf>,
}

impl PluginPath {
    pub fn get(&self) -> &PathBuf {
        self.path.as_ref().or(self.file.as_ref()).expect("one of the two is required")
    }
}

/// Which entries a list shows.
#[derive(Debug, Default, Args)]
pub struct ListFilter {
    #[arg(long)]
    pub plugin: Option<String>,
    #[arg(long)]
    pub version: Option<String>,
    /// replied, failed or dropped
    #[arg(long)]
    pub outcome: Option<String>,
    /// Kind of error, e.g. timeout
    #[arg(long)]
    pub kind: Option<String>,
    /// Not older than this: 5m, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Text to search for
    #[arg(short, long, value_name = "TEXT")]
    pub q: Option<String>,
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Go on after a page, with the `next` that came with it
    #[arg(long)]
    pub cursor: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Invocation {
    /// List calls, newest first
    List(ListFilter),
    /// Show one call with its input and output
    Show {
        /// Its id or the beginning of it, the id of its trace, or `last`
        id: String,
    },
    /// Wait until a call has ended, and print its output
    Wait {
        id: String,
        /// Wait no longer than this
        #[arg(long, value_parser = duration, value_name = "TIME")]
        timeout: Option<Duration>,
    },
    /// End a call that waits or runs
    Cancel { id: String },
}

#[derive(Debug, Subcommand)]
pub enum Trace {
    /// List traces, newest first
    List(ListFilter),
    /// Show the spans and log lines of one trace
    Show {
        /// Its id or the beginning of it, the id of a call, or `last`
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Drift {
    /// List the versions that are watched
    List,
    /// Show how the fields of a version differ from its baseline
    Show {
        /// Plugin, and the version if not the one that takes calls
        #[arg(value_name = "NAME[@VERSION]")]
        target: String,
        /// Show the values of this field, whatever its state; may be given more than once
        #[arg(long = "field", value_name = "FIELD")]
        fields: Vec<FieldPath>,
    },
    /// Compare two files of calls; needs no server. Ends with 9 if there is drift
    Check(DriftCheck),
    /// List, show or pin the baselines of a plugin
    Baseline(DriftBaseline),
    /// List what was found, newest first
    Events {
        /// Only this plugin
        name: Option<String>,
        #[arg(long)]
        version: Option<String>,
        /// drift.detected, drift.warned, drift.resolved or drift.baseline_pinned
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// At most so many, up to 1000
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Go on after a page, with the `next` that came with it
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Print the calls that were kept as samples, a line each
    Samples {
        #[arg(value_name = "NAME[@VERSION]")]
        target: String,
    },
}

/// Lines of the files are calls: `{"input": …, "output": …}`.
#[derive(Debug, Args)]
pub struct DriftCheck {
    /// Calls from when all was well; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub baseline: PathBuf,
    /// Calls that are compared with them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub current: PathBuf,
    /// Only this field, as `$.input.amount`; may be given more than once [default: all, at most 64]
    #[arg(long = "field", value_name = "FIELD")]
    pub fields: Vec<FieldPath>,
    /// How seldom, as a share, something may be found although nothing differs
    #[arg(long, default_value_t = 0.01, value_parser = share, value_name = "SHARE")]
    pub alpha: f64,
    /// The least population stability index that counts
    #[arg(long, default_value_t = 0.1, value_parser = effect, value_name = "PSI")]
    pub min_effect: f64,
    /// With fewer values nothing is said
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub min_samples: u32,
}

/// Without any of the options: the list.
#[derive(Debug, Args)]
pub struct DriftBaseline {
    /// Plugin, and the version if not the one that takes calls
    #[arg(value_name = "NAME[@VERSION]")]
    pub target: String,
    #[command(flatten)]
    pub what: BaselineWhat,
    /// The same as NAME@VERSION
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct BaselineWhat {
    /// Pin the calls of this file, a line each; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub from: Option<PathBuf>,
    /// Pin the calls that were seen last
    #[arg(long)]
    pub from_window: bool,
    /// Pin one that was pinned before; the beginning of its id does
    #[arg(long, value_name = "ID")]
    pub pin: Option<String>,
    /// List them
    #[arg(long)]
    pub list: bool,
    /// Show the bins and counts of one; the beginning of its id does
    #[arg(long, value_name = "ID")]
    pub show: Option<String>,
}

#[derive(Debug, Args)]
pub struct Backup {
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Overwrite the file; restore into a data folder that is not empty
    #[arg(long)]
    pub force: bool,
}

/// With several of them, what fits all.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true, args = ["plugin", "trace", "before"])]
pub struct Purge {
    /// Calls of this plugin, with their log lines
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,
    /// Calls and log lines of this trace
    #[arg(long, value_name = "TRACE_ID")]
    pub trace: Option<String>,
    /// What began before: as 2026-01-31T12:00:00Z, or so long ago as 24h
    #[arg(long, value_name = "TIME")]
    pub before: Option<String>,
    /// Ask nothing
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Report everything that is wrong with it, and what it names and is not there
    Validate(Listen),
    /// Show the settings that count, and who decided each
    Show(Listen),
    /// Print the JSON Schema of spanglass.yaml, for editors
    Schema,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Go on with what comes
    #[arg(short, long)]
    pub follow: bool,
    #[arg(long)]
    pub plugin: Option<String>,
    #[arg(long, value_name = "TRACE_ID")]
    pub trace: Option<String>,
    /// This severity or worse: debug, info, warn, error
    #[arg(long)]
    pub level: Option<String>,
    /// Not older than this: 5m, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Text to search for
    #[arg(short, long, value_name = "TEXT")]
    pub q: Option<String>,
    /// So many of the newest lines, at most 1000; with --follow 0 shows only new ones
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub tail: u16,
}

#[derive(Debug, Args)]
pub struct Top {
    /// Print one table and end, as without a terminal
    #[arg(long)]
    pub once: bool,
    /// How far back to look, from 10s to 7d
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = window)]
    pub window: String,
    /// What stands first
    #[arg(long, value_enum, default_value_t)]
    pub sort: Sort,
    /// How often to look
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = duration)]
    pub every: Duration,
}

/// The server decides on its bounds; here it is only known to be a time.
fn window(text: &str) -> Result<String, String> {
    duration(text).map(|_| text.to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    match units::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it is longer than nothing".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if share > 0.0 && share < 1.0 { Ok(share) } else { Err("it lies above 0 and below 1".to_owned()) }
}

fn effect(text: &str) -> Result<f64, String> {
    let effect: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if effect >= 0.0 && effect.is_finite() { Ok(effect) } else { Err("it is 0 or more".to_owned()) }
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_filter_by_version_is_not_a_question_for_the_version() {
        let cli = Cli::try_parse_from(["spanglass", "invocation", "list", "--version", "1.0.0"]).unwrap();
        let Command::Invocation(Invocation::List(filter)) = cli.command else { panic!("another command") };
        assert_eq!(filter.version.as_deref(), Some("1.0.0"));
    }
}
