//! From flags, environment and `spanglass.yaml` to checked [`Settings`]: flag > environment > file > default,
//! with all problems at once, each naming its line, flag or variable. Start with [`load`], then `settings.rs`,
//! the checked form; `layer.rs` and `written.rs` are what people wrote.
//!
//! [`load`] reads the configuration and the token file and touches nothing else: it resolves no name, creates
//! no folder and never reads a plugin's secret. Whether what the settings name is there, only [`survey`] looks.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::package::diagnostic::Severity;
use crate::runtimes::python::environment::INSTALL_TIMEOUT;

pub mod codes;
mod file;
mod hosts;
mod layer;
mod listen;
mod mask;
mod notifications;
mod paths;
mod plugins;
mod python;
mod reader;
mod report;
mod schema;
mod settings;
mod show;
mod survey;
mod telemetry;
mod tokens;
mod written;

pub use listen::ListenAddress;
pub use notifications::{Notification, Url};
pub use report::{Origin, Report};
pub use schema::schema;
pub use settings::{
    DATA_DIR_DEFAULT, FILE_DEFAULT, LISTEN_DEFAULT, Logs, Origins, Retention, Settings, Spool,
};
pub use show::show;
pub use survey::survey;
pub use tokens::{TOKEN_BYTES_MAX, TOKEN_BYTES_MIN, TOKENS_MAX, Token};

use layer::Said;
use report::Problem;

/// What was said on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub listen: Option<String>,
    pub data_dir: Option<PathBuf>,
    /// Takes the place of the file's list, if there are any.
    pub plugin_dirs: Vec<PathBuf>,
    pub token_file: Option<PathBuf>,
}

/// Where settings come from.
pub struct Sources<'a> {
    pub flags: Flags,
    /// `std::env::var_os`, or a table in tests.
    pub environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// The current folder: `spanglass.yaml` is looked for here, and paths of flags and variables begin here.
    pub folder: PathBuf,
}

/// The configuration cannot be used; the report has at least one error.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not valid ({0})")]
pub struct ConfigError(pub Box<Report>);

/// Reads and checks everything. The report beside the settings holds warnings and notes.
///
/// # Errors
/// [`ConfigError`] with every problem that was found, in whatever source.
pub fn load(sources: &Sources<'_>) -> Result<(Settings, Report), ConfigError> {
    let mut report = Report::new();
    let outside = layer::outside(sources, &mut report);
    let file = file::open(outside.config.as_ref(), &sources.folder, &mut report);
    let path = file.as_ref().map(|file| file.path.clone());
    let written = file.and_then(|file| written::read(file, &mut report));
    let is_read = written.is_some() || report.valid();
    let written = written.unwrap_or_default();

    let inside = written.layer;
    let (listen, listen_origin) = listen(outside.listen, inside.listen, &mut report);
    let token_file = outside.token_file.or(inside.token_file);
    let tokens = match &token_file {
        Some(said) => tokens::read(said, &mut report),
        // What could not be read may have named one: that is mistake enough.
        None if !is_read || report.blames("token_file") => None,
        None => Some(Vec::new()),
    };
    if let Some(listen) = &listen {
        guarded(listen, &listen_origin, tokens.as_deref(), &written.allowed_hosts, &mut report);
    }
    let (token_file, token_file_origin) = layer::split(token_file);
    let (data_dir, data_dir_origin) = layer::split(outside.data_dir.or(inside.data_dir));
    let data_dir = data_dir.unwrap_or_else(|| paths::resolve(DATA_DIR_DEFAULT.as_ref(), &sources.folder));
    let (plugin_dirs, plugin_dirs_origin) = layer::split(outside.plugin_dirs.or(inside.plugin_dirs));
    let plugin_dirs = plugin_dirs.unwrap_or_default();
    let (Some(listen), Some(tokens), true) = (listen, tokens, report.valid()) else {
        return Err(ConfigError(Box::new(report)));
    };
    let settings = Settings {
        listen,
        data_dir,
        plugin_dirs,
        token_file,
        tokens,
        allowed_hosts: written.allowed_hosts,
        host: written.host,
        logs: written.logs,
        retention: written.retention,
        spool: written.spool,
        install_timeout: written.install_timeout.unwrap_or(INSTALL_TIMEOUT),
        notifications: written.notifications,
        file: path,
        origins: Origins {
            listen: listen_origin,
            data_dir: data_dir_origin,
            plugin_dirs: plugin_dirs_origin,
            token_file: token_file_origin,
            places: written.places,
        },
    };
    Ok((settings, report))
}

/// The file's address is checked even where it is not used: the file stays wrong without the flag.
fn listen(
    outside: Option<Said<String>>,
    inside: Option<Said<String>>,
    report: &mut Report,
) -> (Option<ListenAddress>, Origin) {
    let mut check = |said: Said<String>| {
        let address = ListenAddress::parse(&said.value)
            .map_err(|problem| report.say(&said.origin, Severity::Error, problem));
        (address.ok(), said.origin)
    };
    let inside = inside.map(&mut check);
    let outside = outside.map(&mut check);
    outside.or(inside).unwrap_or_else(|| (Some(ListenAddress::default()), Origin::Default))
}

/// Off loopback a server needs tokens, and the names under which it may be called.
fn guarded(
    listen: &ListenAddress,
    origin: &Origin,
    tokens: Option<&[Token]>,
    allowed_hosts: &[String],
    report: &mut Report,
) {
    if listen.is_loopback() {
        return;
    }
    if tokens.is_some_and(<[Token]>::is_empty) {
        let predicate =
            format!("is {listen}, which other machines can reach, but there is no token to keep them out");
        let help = "write a token with `openssl rand -hex 32 > tokens.txt` and name it with `token_file` or \
                    `--token-file`; or listen on 127.0.0.1";
        report.say(origin, Severity::Error, Problem::new(codes::TOKENS_REQUIRED, predicate, help));
    }
    if allowed_hosts.is_empty() {
        let predicate = format!("is {listen}, but only requests to a loopback name may change something");
        let help = "list the names and addresses by which the server is called: `allowed_hosts: [spanglass.internal]`";
        report.say(origin, Severity::Note, Problem::new(codes::HOSTS_MISSING, predicate, help));
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;
