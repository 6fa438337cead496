//! Who installs: `uv` if it is there, else pip, else we ourselves, pure wheels only. None of them ever brings an
//! interpreter along.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;

use super::process::Command;
use super::unavailable;
use super::wanted::Wanted;
use crate::model::error::InvokeError;
use crate::runtimes::python::Interpreter;
use crate::runtimes::worker::path_text;

/// A program that does not answer within this long is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Asks Python where it really lies and whether it has pip. One that is run from a virtual environment is only a
/// link to another, which is the one that environments are made with.
const PROBE: &str = r#"
import json, glob, os, sys, sysconfig
from importlib.util import find_spec
def pip():
    spec = find_spec("pip")
    if spec and spec.submodule_search_locations:
        return os.path.dirname(list(spec.submodule_search_locations)[0])
    places = [sysconfig.get_config_var("WHEEL_PKG_DIR"), "/usr/share/python-wheels"]
    spec = find_spec("ensurepip")
    if spec and spec.origin:
        places.insert(0, os.path.join(os.path.dirname(spec.origin), "_bundled"))
    else:
        places = []
    for place in filter(None, places):
        found = sorted(glob.glob(os.path.join(place, "pip-*.whl")))
        if found:
            return found[-1]
print(json.dumps({
    "program": getattr(sys, "_base_executable", None) or sys.executable,
    "platform": sysconfig.get_platform(),
    "pip": pip(),
    "venv": find_spec("venv") is not None,
}))
"#;

/// pip, run by the Python of the environment that it installs into, from wherever pip lies: so its own files never
/// become part of the environment, and pip of any age does.
const RUN_PIP: &str = "import sys; sys.path.insert(0, sys.argv.pop(1)); import runpy; \
                       runpy.run_module('pip', run_name='__main__', alter_sys=True)";

/// What an installer gets of the runner's environment, beside `PIP_*` and `UV_*`. It runs code of packages while it
/// builds them: everything else may hold secrets.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NETRC",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_HOME",
    "CC",
    "CXX",
    "CFLAGS",
    "CXXFLAGS",
    "LDFLAGS",
    "PKG_CONFIG_PATH",
];
/// What would put packages elsewhere, or nowhere.
const MISLEADING: &[&str] = &[
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_PYTHON",
    "PIP_DRY_RUN",
    "PIP_REPORT",
    "PIP_REQUIREMENT",
    "PIP_CONSTRAINT",
    "PIP_EDITABLE",
    "PIP_QUIET",
    "PIP_LOG",
    "UV_TARGET",
    "UV_PREFIX",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
    "UV_REQUIREMENT",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_OFFLINE",
    "UV_WORKING_DIR",
    "UV_PROJECT",
];
/// What says where packages come from; with `wheels/` there is one place.
const PLACES: &[&str] = &["INDEX", "FIND_LINKS", "CONFIG_FILE", "NO_CONFIG"];
/// An operator who has set up one of the two has said where packages come from: `PIP_…` counts for uv too.
const TRANSLATED: &[(&str, &str, &str)] = &[
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"),
    ("PIP_FIND_LINKS", "UV_FIND_LINKS", "UV_FIND_LINKS"),
    ("PIP_NO_INDEX", "UV_NO_INDEX", "UV_NO_INDEX"),
    ("PIP_CERT", "SSL_CERT_FILE", "SSL_CERT_FILE"),
];

/// What there is to install with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installers {
    pub uv: Option<Uv>,
    /// The folder or the wheel that holds pip.
    pub pip: Option<PathBuf>,
    /// The Python that environments are made with.
    pub python: PathBuf,
    /// As Python calls it, such as `linux-x86_64`.
    pub platform: String,
    pub makes_environments: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uv {
    pub program: PathBuf,
    pub version: String,
}

/// The one that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installer {
    Uv(Uv),
    Pip(PathBuf),
    /// Pure wheels of `wheels/`, unpacked.
    Unpack,
}

#[derive(Deserialize)]
struct Probed {
    program: String,
    platform: String,
    pip: Option<String>,
    venv: bool,
}

impl Installers {
    pub async fn find(interpreter: &Interpreter) -> Result<Installers, InvokeError> {
        let failed = |why: String| {
            unavailable(format!("{} cannot say how it installs packages: {why}", interpreter.path.display()))
        };
        let said = ask(&interpreter.path, &["-I", "-X", "utf8", "-c", PROBE]).await.map_err(failed)?;
        let probed: Probed = serde_json::from_str(said.trim()).map_err(|error| failed(error.to_string()))?;
        let uv = match find_program("uv") {
            Some(program) => {
                let version = ask(&program, &["--version"]).await.ok();
                version.map(|said| Uv { version: short(&said), program })
            }
            None => None,
        };
        Ok(Installers {
            uv,
            pip: probed.pip.map(PathBuf::from),
            python: probed.program.into(),
            platform: probed.platform,
            makes_environments: probed.venv,
        })
    }

    pub fn best(&self) -> Installer {
        match (&self.uv, &self.pip) {
            (Some(uv), _) => Installer::Uv(uv.clone()),
            (None, Some(pip)) => Installer::Pip(pip.clone()),
            (None, None) => Installer::Unpack,
        }
    }
}

impl Installer {
    pub fn name(&self) -> &'static str {
        match self {
            Installer::Uv(_) => "uv",
            Installer::Pip(_) => "pip",
            Installer::Unpack => "unpack",
        }
    }

    /// With its version, as far as that is known without asking.
    pub fn describe(&self) -> String {
        match self {
            Installer::Uv(uv) => format!("uv {}", uv.version),
            installer => installer.name().to_owned(),
        }
    }
}

/// Where an installation takes place.
#[derive(Clone, Copy, Debug)]
pub struct Site<'s> {
    pub python: &'s Path,
    pub requirements: &'s Path,
    pub constraints: Option<&'s Path>,
    /// For what is unpacked on the way.
    pub temporary: &'s Path,
}

/// Installs by uv.
pub fn uv_install(uv: &Uv, wanted: &Wanted, site: Site<'_>) -> Result<Command, InvokeError> {
    let mut argv = vec![path_text(&uv.program)?, "pip".into(), "install".into()];
    argv.extend(["--python".into(), path_text(site.python)?]);
    argv.extend(uv_words(wanted.is_offline()).map(String::from));
    if wanted.lock.is_some() {
        argv.push("--require-hashes".into());
    }
    add_places(&mut argv, wanted, site)?;
    Ok(Command { argv, env: uv_environment(wanted.is_offline(), site.temporary)? })
}

/// Words that uv gets whatever it does.
pub fn uv_words(offline: bool) -> impl Iterator<Item = &'static str> {
    let offline = ["--offline", "--no-index", "--no-cache", "--no-config", "--only-binary", ":all:"]
        .into_iter()
        .filter(move |_| offline);
    ["--no-progress", "--color", "never"].into_iter().chain(offline)
}

/// Installs by pip; `pip` is what [`link_pip`] returned.
pub fn pip_install(pip: &Path, wanted: &Wanted, site: Site<'_>) -> Result<Command, InvokeError> {
    let mut argv = run_pip(site.python, pip, "install")?;
    // Workers keep bytecode in a folder of their own.
    argv.extend(["--no-compile", "--no-warn-script-location"].map(String::from));
    argv.extend(pip_words(wanted.is_offline()).map(String::from));
    if wanted.lock.is_some() {
        argv.push("--require-hashes".into());
    }
    add_places(&mut argv, wanted, site)?;
    Ok(Command { argv, env: pip_environment(wanted.is_offline(), site.temporary)? })
}

pub fn pip_words(offline: bool) -> impl Iterator<Item = &'static str> {
    let offline = ["--no-index", "--only-binary", ":all:"].into_iter().filter(move |_| offline);
    ["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--no-color"]
        .into_iter()
        .chain(offline)
}

/// The beginning of a command line of pip.
pub fn run_pip(python: &Path, pip: &Path, verb: &str) -> Result<Vec<String>, InvokeError> {
    Ok(vec![
        path_text(python)?,
        "-I".into(),
        "-X".into(),
        "utf8".into(),
        "-c".into(),
        RUN_PIP.into(),
        path_text(pip)?,
        verb.into(),
    ])
}

fn add_places(argv: &mut Vec<String>, wanted: &Wanted, site: Site<'_>) -> Result<(), InvokeError> {
    if wanted.is_offline() {
        argv.extend(["--find-links".into(), path_text(&wanted.wheels_folder)?]);
    }
    argv.extend(["-r".into(), path_text(site.requirements)?]);
    if let Some(constraints) = site.constraints {
        argv.extend(["-c".into(), path_text(constraints)?]);
    }
    Ok(())
}

/// Makes `pip` importable from a folder that holds nothing else: what lies beside it where it comes from would count
/// as installed. Returns what goes on Python's path.
pub fn link_pip(pip: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    if pip.extension() == Some(OsStr::new("whl")) {
        return Ok(pip.to_owned());
    }
    std::fs::create_dir_all(folder)?;
    std::os::unix::fs::symlink(pip.join("pip"), folder.join("pip"))?;
    Ok(folder.to_owned())
}

pub fn uv_environment(offline: bool, temporary: &Path) -> Result<Vec<(String, String)>, InvokeError> {
    let mut environment = environment(offline, temporary)?;
    let has =
        |environment: &[(String, String)], name: &str| environment.iter().any(|(known, _)| known == name);
    for (of_pip, of_uv, older) in TRANSLATED.iter().filter(|_| !offline) {
        let Some(value) = environment.iter().find(|(name, _)| name == of_pip).map(|(_, value)| value.clone())
        else {
            continue;
        };
        if !has(&environment, of_uv) && !has(&environment, older) {
            // Lists of pip are separated by spaces, this one of uv by commas.
            let value = if *of_uv == "UV_FIND_LINKS" {
                value.split_whitespace().collect::<Vec<_>>().join(",")
            } else {
                value
            };
            environment.push(((*of_uv).to_owned(), value));
        }
    }
    for (name, value) in [("UV_PYTHON_DOWNLOADS", "never"), ("UV_NO_PROGRESS", "1"), ("NO_COLOR", "1")] {
        environment.retain(|(known, _)| known != name);
        environment.push((name.into(), value.into()));
    }
    // Linked files would be shared with uv's cache, and a plugin that changes its own would change everybody's.
    if !has(&environment, "UV_LINK_MODE") {
        environment.push(("UV_LINK_MODE".into(), "copy".into()));
    }
    if !has(&environment, "UV_CACHE_DIR")
        && !has(&environment, "UV_NO_CACHE")
        && !cache_is_writable(&environment)
    {
        environment.push(("UV_NO_CACHE".into(), "1".into()));
    }
    Ok(environment)
}

pub fn pip_environment(offline: bool, temporary: &Path) -> Result<Vec<(String, String)>, InvokeError> {
    let mut environment = environment(offline, temporary)?;
    if offline {
        environment.push(("PIP_CONFIG_FILE".into(), "/dev/null".into()));
    }
    Ok(environment)
}

fn environment(offline: bool, temporary: &Path) -> Result<Vec<(String, String)>, InvokeError> {
    let of_installer = |name: &str| name.starts_with("PIP_") || name.starts_with("UV_");
    let place = |name: &str| offline && PLACES.iter().any(|place| name.contains(place));
    let wanted = |name: &str| {
        ENVIRONMENT.contains(&name) || of_installer(name) && !MISLEADING.contains(&name) && !place(name)
    };
    // What is not UTF-8 cannot be passed on.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut environment: Vec<_> =
        variables.filter(|(name, value)| wanted(name) && !value.is_empty()).collect();
    environment.push(("TMPDIR".into(), path_text(temporary)?));
    Ok(environment)
}

/// Without a home folder that can be written to, uv would fail where pip goes on.
fn cache_is_writable(environment: &[(String, String)]) -> bool {
    let of = |name: &str| {
        environment.iter().find(|(known, _)| known == name).map(|(_, value)| PathBuf::from(value))
    };
    let Some(folder) = of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache"))) else {
        return false;
    };
    let cache = folder.join("uv");
    std::fs::create_dir_all(&cache).is_ok() && tempfile::tempfile_in(&cache).is_ok()
}

/// A program by its name as a shell finds it.
fn find_program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let found =
        std::env::split_paths(&folders).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    let mut found = found.filter(is_program);
    found.next()
}

/// What a program prints, if it ends well.
async fn ask(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(ANSWER_WITHIN, command.output()).await;
    let output = output.map_err(|_| "it does not answer".to_owned())?.map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("it ended with {}: {said}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `uv 0.13.8 (x86_64-unknown-linux-gnu)` is `0.13.8`.
fn short(said: &str) -> String {
    said.split_whitespace().nth(1).unwrap_or("of an unknown version").to_owned()
}
