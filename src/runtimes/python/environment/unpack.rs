//! Installs pure wheels without any installer: chooses from `wheels/` what is asked for, and copies its files.
//!
//! There is no resolver in here. With a lock the lock says which wheel of which version; without one `wheels/` must
//! hold each package once, and all of them are installed.

use std::path::Path;
use std::sync::Arc;

use super::credentials::Credentials;
use super::wanted::{Wanted, WheelFile};
use super::{InstallError, unavailable};
use crate::model::error::InvokeError;
use crate::package::requirements::{Requirement, same_version};
use crate::package::wheel::{Places, Wheel, WheelError, WheelName};

/// Files of all wheels together.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

const NEEDS_INSTALLER: &str = "neither uv nor pip is here, so only pure wheels of wheels/ can be installed: install uv \
     (https://docs.astral.sh/uv/) or pip (for example with `apt install python3-pip`)";

/// The wheels to be installed, in the order of their names.
pub fn choose<'w>(wanted: &'w Wanted, version: &[u32]) -> Result<Vec<&'w WheelFile>, InstallError> {
    if !wanted.is_offline() {
        let first = wanted.entries().first().map_or_else(String::new, |entry| format!("`{}` ", entry.text));
        let message = format!("requirement {first}cannot be installed: there is nothing to install it with");
        let help = format!(
            "{NEEDS_INSTALLER}, or make the package with `spanglass plugin package --with-wheels PATH`"
        );
        let error = unavailable(message).help(help).into();
        let requirement = wanted.entries().first().map(public);
        return Err(InstallError { error, requirement });
    }
    let mut chosen: Vec<&WheelFile> = Vec::new();
    for entry in wanted.entries() {
        let of_name = |wheel: &&WheelFile| wheel.name.as_ref().is_some_and(|name| name.name == entry.name);
        let named: Vec<&WheelFile> = wanted.wheels.iter().filter(of_name).collect();
        if named.is_empty() {
            if entry.conditional {
                // Whoever filled `wheels/` left out what this machine does not need.
                continue;
            }
            return Err(refuse(entry, "wheels/ does not hold it"));
        }
        chosen.push(pick(entry, &named, wanted, version)?);
    }
    if wanted.lock.is_none() {
        for wheel in &wanted.wheels {
            let Some(name) = &wheel.name else {
                let message = format!("wheels/{} is not named as a wheel is", wheel.file_name);
                return Err(unavailable(message).into());
            };
            if chosen.iter().any(|chosen| chosen.file_name == wheel.file_name) {
                continue;
            }
            if chosen.iter().any(|chosen| chosen.name.as_ref().is_some_and(|chosen| chosen.name == name.name))
            {
                let message = format!("wheels/ holds {} in several versions", name.name);
                let help =
                    format!("{NEEDS_INSTALLER}; with a requirements.lock it is known which one is meant");
                return Err(unavailable(message).help(help).into());
            }
            if !name.is_pure_for(version) {
                return Err(not_pure(&wheel.file_name, version).into());
            }
            chosen.push(wheel);
        }
    }
    chosen.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    chosen.dedup_by(|a, b| a.file_name == b.file_name);
    Ok(chosen)
}

fn pick<'w>(
    entry: &Requirement,
    named: &[&'w WheelFile],
    wanted: &Wanted,
    version: &[u32],
) -> Result<&'w WheelFile, InstallError> {
    let is_version =
        |name: &WheelName| entry.pinned.as_ref().is_none_or(|pinned| same_version(pinned, &name.version));
    let right: Vec<&WheelFile> =
        named.iter().copied().filter(|wheel| wheel.name.as_ref().is_some_and(is_version)).collect();
    let [first, ..] = right.as_slice() else {
        let held: Vec<&str> = named.iter().map(|wheel| wheel.file_name.as_str()).collect();
        return Err(refuse(entry, &format!("wheels/ holds only {}", held.join(", "))));
    };
    let pure = right.iter().find(|wheel| wheel.name.as_ref().is_some_and(|name| name.is_pure_for(version)));
    let not_pure = || InstallError {
        error: not_pure(&first.file_name, version).into(),
        requirement: Some(public(entry)),
    };
    let wheel = pure.ok_or_else(not_pure)?;
    if wanted.lock.is_some() && !entry.sha256.contains(&wheel.sha256) {
        let message = format!("wheels/{} has another digest than the lock says", wheel.file_name);
        let mut refused = refuse(entry, &message);
        let help = "make the package again: `spanglass plugin package --with-wheels PATH`";
        refused.error.help = Some(help.to_owned());
        return Err(refused);
    }
    Ok(wheel)
}

/// Copies the files of one wheel; returns how many bytes that were.
pub fn install(wheel: &WheelFile, bytes_before: u64, places: Places<'_>) -> Result<u64, InvokeError> {
    let failed = |error: WheelError| {
        let help = match &error {
            WheelError::Write { .. } => "look at the room and the rights of the data folder",
            _ => "fetch the wheel again: `spanglass plugin package --with-wheels PATH`",
        };
        unavailable(format!("wheels/{} cannot be installed: {error}", wheel.file_name)).help(help)
    };
    let opened = Wheel::open(&wheel.path).map_err(failed)?;
    let bytes = bytes_before + opened.bytes();
    if bytes > UNPACKED_BYTES_MAX {
        let message = format!("the wheels unpack to more than {UNPACKED_BYTES_MAX} bytes");
        return Err(unavailable(message).help(NEEDS_INSTALLER));
    }
    opened.install(places).map_err(failed)?;
    Ok(bytes)
}

fn not_pure(file_name: &str, version: &[u32]) -> InvokeError {
    let version: Vec<String> = version.iter().take(2).map(u32::to_string).collect();
    let message = format!("wheels/{file_name} is not a pure wheel for Python {}", version.join("."));
    unavailable(message).help(NEEDS_INSTALLER)
}

fn refuse(entry: &Requirement, why: &str) -> InstallError {
    let place = format!("{}:{}", entry.file, entry.line);
    let message = format!("requirement `{}` ({place}) cannot be installed: {why}", entry.text);
    InstallError {
        error: unavailable(message).help(NEEDS_INSTALLER).into(),
        requirement: Some(public(entry)),
    }
}

/// A requirement as it is written, but for what an address in it says of its user.
fn public(entry: &Requirement) -> Arc<str> {
    Credentials::default().mask(&entry.text).into()
}

/// The folder of packages of a virtual environment.
pub fn site_packages(environment: &Path) -> Option<std::path::PathBuf> {
    let library = std::fs::read_dir(environment.join("lib")).ok()?;
    let mut found: Vec<_> = library
        .flatten()
        .map(|entry| entry.path().join("site-packages"))
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found.into_iter().next()
}
