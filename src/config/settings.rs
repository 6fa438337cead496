//! The checked form: what the rest of the program works with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::host::settings as host;
use crate::package::diagnostic::Place;

use super::listen::ListenAddress;
use super::notifications::Notification;
use super::report::Origin;
use super::tokens::Token;

/// Read from the current folder if no other file is named.
pub const FILE_DEFAULT: &str = "spanglass.yaml";
pub const LISTEN_DEFAULT: &str = "127.0.0.1:7717";
pub const DATA_DIR_DEFAULT: &str = "./.spanglass";

/// Everything that an operator decides. Paths are resolved: relative ones of the file against its folder, the
/// others against the current folder.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: ListenAddress,
    pub data_dir: PathBuf,
    /// Folders whose children are plugins; not known to exist.
    pub plugin_dirs: Vec<PathBuf>,
    pub token_file: Option<PathBuf>,
    /// In the order of the file, without repetitions. Never empty off loopback.
    pub tokens: Vec<Token>,
    /// Beside the loopback names, in lower case, IPv6 addresses in brackets: as `Host` headers have them.
    pub allowed_hosts: Vec<String>,
    /// `plugins` and `telemetry.capture`.
    pub host: host::Settings,
    pub logs: Logs,
    pub retention: Retention,
    /// No effect yet.
    pub spool: Spool,
    /// How long building an environment for a Python plugin may take.
    pub install_timeout: Duration,
    /// No effect yet.
    pub notifications: Vec<Notification>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    pub origins: Origins,
}

/// Where JSON log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Logs {
    /// Standard output for `serve` and `demo`, nowhere for other commands.
    #[default]
    Default,
    Stdout,
    Stderr,
    Off,
    Path(PathBuf),
}

/// How much of what happened is kept; whichever limit comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub age: Duration,
    pub bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { age: Duration::from_secs(7 * 86_400), bytes_max: 2 << 30 }
    }
}

/// How much telemetry waits on disk for a collector that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    pub bytes_max: u64,
    pub age: Duration,
}

impl Default for Spool {
    fn default() -> Spool {
        Spool { bytes_max: 1 << 30, age: Duration::from_secs(86_400) }
    }
}

/// Who decided: the first four can be said in more than one place, the others only in the file.
#[derive(Clone, Debug)]
pub struct Origins {
    pub listen: Origin,
    pub data_dir: Origin,
    pub plugin_dirs: Origin,
    pub token_file: Origin,
    /// Where each key of the file stands, by its path.
    pub places: BTreeMap<String, Place>,
}

impl Origins {
    /// Who decided about a key, by its path in the file.
    pub fn of(&self, key: &str) -> Origin {
        match key {
            "listen" => self.listen.clone(),
            "data_dir" => self.data_dir.clone(),
            "plugin_dirs" => self.plugin_dirs.clone(),
            "token_file" => self.token_file.clone(),
            key => match self.places.get(key) {
                Some(place) => Origin::File { key: key.to_owned(), place: *place },
                None => Origin::Default,
            },
        }
    }
}
