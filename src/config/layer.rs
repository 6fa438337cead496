//! The settings that can be said in more than one place, as one source says them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::package::diagnostic::Severity;

use super::report::{Origin, Problem, Report};
use super::{Sources, codes, paths};

/// A value and who said it.
#[derive(Clone, Debug)]
pub struct Said<T> {
    pub value: T,
    pub origin: Origin,
}

/// A value, if there is one, and who decided.
pub fn split<T>(said: Option<Said<T>>) -> (Option<T>, Origin) {
    match said {
        Some(said) => (Some(said.value), said.origin),
        None => (None, Origin::Default),
    }
}

/// One source, as written; paths are resolved, the address is not checked yet.
#[derive(Debug, Default)]
pub struct Layer {
    pub listen: Option<Said<String>>,
    pub data_dir: Option<Said<PathBuf>>,
    pub plugin_dirs: Option<Said<Vec<PathBuf>>>,
    pub token_file: Option<Said<PathBuf>>,
    /// Only said outside the file.
    pub config: Option<Said<PathBuf>>,
}

/// Flags over environment. A variable that a flag overrides is not looked at.
pub fn outside(sources: &Sources<'_>, report: &mut Report) -> Layer {
    let flags = &sources.flags;
    let said = |flag: Option<&OsStr>, name, variable| pick(sources, flag, name, variable);
    let config = said(flags.config.as_deref().map(Path::as_os_str), "--config", "SPANGLASS_CONFIG");
    let listen = said(flags.listen.as_deref().map(OsStr::new), "--listen", "SPANGLASS_LISTEN");
    let data_dir = said(flags.data_dir.as_deref().map(Path::as_os_str), "--data-dir", "SPANGLASS_DATA_DIR");
    let token_file =
        said(flags.token_file.as_deref().map(Path::as_os_str), "--token-file", "SPANGLASS_TOKEN_FILE");
    let plugins = flags
        .plugin_dirs
        .iter()
        .map(|path| Said { value: path.as_os_str().to_owned(), origin: Origin::Flag("--plugins") });
    let mut path = |said: Said<OsString>| path(said, &sources.folder, report);
    let plugin_dirs: Vec<PathBuf> = plugins.filter_map(|said| path(said).map(|said| said.value)).collect();
    let (config, data_dir, token_file) =
        (config.and_then(&mut path), data_dir.and_then(&mut path), token_file.and_then(&mut path));
    Layer {
        config,
        data_dir,
        token_file,
        listen: listen.and_then(|said| text(said, report)),
        plugin_dirs: (!plugin_dirs.is_empty())
            .then_some(Said { value: plugin_dirs, origin: Origin::Flag("--plugins") }),
    }
}

/// The flag, else the variable; an empty variable counts as unset.
fn pick(
    sources: &Sources<'_>,
    flag: Option<&OsStr>,
    name: &'static str,
    variable: &'static str,
) -> Option<Said<OsString>> {
    let environment = (sources.environment)(variable);
    // A parser of command lines may have filled the flag from the variable: that is still the variable.
    let flag = flag.filter(|flag| environment.as_deref() != Some(*flag));
    if let Some(flag) = flag {
        return Some(Said { value: flag.to_owned(), origin: Origin::Flag(name) });
    }
    let value = environment.filter(|value| !value.is_empty())?;
    Some(Said { value, origin: Origin::Variable(variable) })
}

fn path(said: Said<OsString>, folder: &Path, report: &mut Report) -> Option<Said<PathBuf>> {
    match paths::check(Path::new(&said.value)) {
        Ok(path) => Some(Said { value: paths::resolve(path, folder), origin: said.origin }),
        Err(problem) => {
            report.say(&said.origin, Severity::Error, problem);
            None
        }
    }
}

fn text(said: Said<OsString>, report: &mut Report) -> Option<Said<String>> {
    let Said { value, origin } = said;
    match value.into_string() {
        Ok(value) => Some(Said { value, origin }),
        Err(_) => {
            report.say(&origin, Severity::Error, Problem::new(codes::NOT_UNICODE, "is not UTF-8", ""));
            None
        }
    }
}
