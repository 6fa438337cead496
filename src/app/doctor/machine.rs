//! Checks of the machine: this program, Python, the clock, limits of the process.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::{Resource, getrlimit};

use super::{CHECK_MAX, Check, within};
use crate::config::Settings;
use crate::runtimes::python::Interpreter;
use crate::runtimes::python::environment::{Installer, Installers};
use crate::store::DataFolder;
use crate::telemetry::names::SANDBOX_TIER;

/// A clock that shows less was never set: this program is younger.
const BUILT_AFTER: &str = "2026-01-01T00:00:00Z";
/// The ledger may have been written by a clock that is so much ahead.
const CLOCK_SLACK: Duration = Duration::from_secs(60);
/// A worker takes about ten descriptors, a connection one.
const OPEN_FILES_FEW: u64 = 1024;
const OPEN_FILES_TOO_FEW: u64 = 256;

pub fn version() -> Check {
    let (os, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    Check::ok("version", format!("spanglass {} on {os} {machine}", env!("CARGO_PKG_VERSION")))
}

pub async fn python() -> Check {
    match within(CHECK_MAX, Interpreter::find(Path::new("python3"))).await {
        None => Check::failed("python", format!("python3 did not answer within {} s", CHECK_MAX.as_secs()))
            .help("try `python3 --version`"),
        Some(Err(error)) => Check::failed("python", error.message).maybe_help(error.help),
        Some(Ok(found)) => {
            let version: Vec<String> = found.version.iter().map(u32::to_string).collect();
            Check::ok("python", format!("{} at {}", version.join("."), found.path.display()))
        }
    }
}

/// What installs the requirements of plugins. Nothing to say without Python.
pub async fn installer() -> Option<Check> {
    const NAME: &str = "installer";
    let found = async {
        let interpreter = Interpreter::find(Path::new("python3")).await.ok()?;
        Some(Installers::find(&interpreter).await)
    };
    let installers = match within(CHECK_MAX, found).await?? {
        Ok(installers) => installers,
        Err(error) => return Some(Check::failed(NAME, error.message).maybe_help(error.help)),
    };
    let without_venv =
        || Check::warning(NAME, "Python cannot make virtual environments").help("apt install python3-venv");
    Some(match installers.best() {
        _ if !installers.makes_environments => without_venv(),
        Installer::Uv(uv) => Check::ok(NAME, format!("uv {} at {}", uv.version, uv.program.display())),
        Installer::Pip(pip) => Check::ok(NAME, format!("pip at {}", pip.display())),
        Installer::Unpack => Check::warning(
            NAME,
            "neither uv nor pip: only pure wheels that a package brings can be installed",
        )
        .help("install uv, or apt install python3-pip"),
    })
}

pub fn sandbox() -> Check {
    Check::warning("sandbox", format!("{SANDBOX_TIER}: plugins run with your rights, nothing confines them"))
        .help("register only plugins that you trust")
}

/// Besides the clock itself, the ledger knows what time it has been.
pub fn clock(settings: Option<&Settings>) -> Check {
    let now = SystemTime::now();
    let built = humantime::parse_rfc3339(BUILT_AFTER).expect("it is written in RFC 3339");
    let shown = humantime::format_rfc3339_seconds(now);
    if now < built {
        return Check::failed("clock", format!("it shows {shown}, which has long been over"))
            .help("timedatectl set-ntp true");
    }
    let ledger = settings.map(|settings| DataFolder::new(&settings.data_dir).ledger());
    let written = ledger.and_then(|ledger| std::fs::metadata(ledger).ok()?.modified().ok());
    match written.and_then(|written| written.duration_since(now).ok()).filter(|ahead| *ahead > CLOCK_SLACK) {
        Some(ahead) => {
            let ahead = humantime::format_duration(Duration::from_secs(ahead.as_secs()));
            Check::warning("clock", format!("it shows {shown}, but the ledger was written {ahead} later"))
                .help("timedatectl set-ntp true")
        }
        None => Check::ok("clock", shown.to_string()),
    }
}

pub fn open_files() -> Check {
    let limit = getrlimit(Resource::Nofile);
    let Some(files) = limit.current else { return Check::ok("open files", "no limit") };
    let most = limit.maximum.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
    let detail = format!("at most {files} at once");
    match files {
        0..OPEN_FILES_TOO_FEW => Check::failed("open files", detail).help(format!("ulimit -n {most}")),
        OPEN_FILES_TOO_FEW..OPEN_FILES_FEW => {
            Check::warning("open files", detail).help(format!("ulimit -n {most}"))
        }
        _ => Check::ok("open files", detail),
    }
}
