//! Finding whom to talk to: `--server`, then the live server of the data folder, then this process.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cli::Global;
use super::failure::Failure;
use super::local::Local;
use super::output;
use super::target::{Remote, Target};
use crate::config::{self, Settings};
use crate::store::{self, DataFolder};
use crate::telemetry::LogTarget;

/// `<data_dir>/server.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerFile {
    pub url: String,
    pub pid: u32,
}

impl ServerFile {
    pub const NAME: &'static str = "server.json";

    /// The server that owns the folder, if there is one: the file outlives a server that was killed, and its
    /// process id may be somebody else's by now.
    pub fn live(data_dir: &Path) -> Option<ServerFile> {
        let text = std::fs::read_to_string(data_dir.join(Self::NAME)).ok()?;
        let server: ServerFile = serde_json::from_str(&text).ok()?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(server.pid).ok()?)?;
        rustix::process::test_kill_process(pid).ok()?;
        match DataFolder::acquire(data_dir, Duration::ZERO) {
            Err(store::Error::InUse { .. }) => Some(server),
            _ => None,
        }
    }
}

/// What a command needs to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A host that runs plugins.
    Host,
    /// The ledger, to look into.
    Ledger,
}

pub fn connect(global: &Global, settings: &Settings, need: Need) -> Result<Target, Failure> {
    let token = settings.tokens.first().map(|token| token.reveal().to_owned());
    let live = (!global.local).then(|| ServerFile::live(&settings.data_dir)).flatten();
    let named = global.server.clone().filter(|_| !global.local);
    let url = named.or(live.map(|server| server.url));
    let target = match (url, need) {
        (Some(url), _) => Target::Remote(Remote::new(&url, token)?),
        (None, Need::Host) => Target::Local(Box::new(Local::host(settings, logs(settings, LogTarget::Off))?)),
        (None, Need::Ledger) if !DataFolder::new(&settings.data_dir).ledger().exists() => {
            return Err(Failure::nothing_recorded(&settings.data_dir));
        }
        (None, Need::Ledger) => Target::Local(Box::new(Local::ledger(settings))),
    };
    output::note(&format!("target: {}", target.describe()));
    Ok(target)
}

/// Where log lines go: as configured, else `default`.
pub fn logs(settings: &Settings, default: LogTarget) -> LogTarget {
    match &settings.logs {
        config::Logs::Default => default,
        config::Logs::Stdout => LogTarget::Stdout,
        config::Logs::Stderr => LogTarget::Stderr,
        config::Logs::Off => LogTarget::Off,
        config::Logs::Path(path) => LogTarget::Path(path.clone()),
    }
}
