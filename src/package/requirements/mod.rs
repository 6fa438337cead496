//! `requirements.txt` and `requirements.lock` of a Python plugin: what they name and where, and whether the one
//! answers the other. Reads text only; who installs is `runtimes/python/environment/`.
//!
//! Only what can be built again from the package alone is taken: names of an index and files at an address. What
//! points elsewhere on the author's machine, or at a repository, is refused with its place and what to do instead.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::archive::names;
use super::diagnostic::quote;

mod line;
mod lock;

use self::line::Line;
pub use self::line::normalized;
pub use self::lock::{LOCK, Lock, header, same_version};

pub const REQUIREMENTS: &str = "requirements.txt";

/// All files of requirements together, lock excluded.
pub const REQUIREMENTS_BYTES_MAX: u64 = 256 << 10;
/// Files that `-r` and `-c` lead to, the first included.
pub const FILES_MAX: usize = 16;
pub const ENTRIES_MAX: usize = 2_000;
const LINE_BYTES_MAX: usize = 8 << 10;
/// With the digests of all files of one version.
const LOCK_LINE_BYTES_MAX: usize = 512 << 10;

/// A mistake in one of the files, or one that cannot be read. `file` is a path within the plugin.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {message}", line.map_or_else(String::new, |line| format!(":{line}")))]
pub struct RequirementsError {
    pub file: String,
    pub line: Option<usize>,
    pub message: String,
    pub help: Option<String>,
}

/// One package that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// As PEP 503 spells it.
    pub name: String,
    /// As it was written, without its digests and without anything secret.
    pub text: String,
    /// The version, if `==` names exactly one.
    pub pinned: Option<String>,
    /// It is a file at an address.
    pub at_url: bool,
    /// It counts on some machines only.
    pub conditional: bool,
    /// In lower case hex.
    pub sha256: Vec<String>,
    pub file: String,
    pub line: usize,
}

/// What a plugin asks for: its `requirements.txt` and all that is included there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirements {
    pub entries: Vec<Requirement>,
    /// Lines that say where packages come from, such as `--index-url …`; may hold credentials.
    pub options: Vec<String>,
    /// All lines that ask for something or say where it comes from, in one file without includes.
    pub flat: String,
    /// All lines of constraints, which ask for nothing by themselves.
    pub constraints: String,
    /// SHA-256 in hex of the bytes of all files, in the order in which they are read.
    pub sha256: String,
}

impl Requirements {
    /// What the folder's `requirements.txt` asks for; `None`: nothing, or there is none.
    pub fn read(folder: &Path) -> Result<Option<Requirements>, RequirementsError> {
        let mut reading = Reading::new(folder, REQUIREMENTS_BYTES_MAX, LINE_BYTES_MAX);
        if !reading.file(REQUIREMENTS, None, false)? {
            return Ok(None);
        }
        let requirements = reading.finish();
        check_pins(&requirements.entries)?;
        Ok(Some(requirements).filter(|requirements| !requirements.entries.is_empty()))
    }
}

/// Whether requirements and lock of a folder can be used.
///
/// # Errors
/// The first mistake, or that the lock does not answer.
pub fn check_locked(folder: &Path) -> Result<(), RequirementsError> {
    let (requirements, lock) = (Requirements::read(folder)?, Lock::read(folder)?);
    match (requirements, lock) {
        (Some(requirements), Some(lock)) => lock.answers(&requirements).map_err(|why| {
            let help = "run `spanglass plugin package PATH` again, or remove requirements.lock to have the newest that fits";
            mistake(LOCK, None, format!("it does not answer {REQUIREMENTS}: {why}"), Some(help))
        }),
        _ => Ok(()),
    }
}

/// Files under way, first to last.
struct Reading<'f> {
    folder: &'f Path,
    bytes_left: u64,
    bytes_max: u64,
    line_bytes_max: usize,
    seen: Vec<String>,
    hash: Sha256,
    entries: Vec<Requirement>,
    options: Vec<String>,
    flat: String,
    constraints: String,
}

impl<'f> Reading<'f> {
    fn new(folder: &'f Path, bytes_max: u64, line_bytes_max: usize) -> Reading<'f> {
        Reading {
            folder,
            bytes_left: bytes_max,
            bytes_max,
            line_bytes_max,
            seen: Vec::new(),
            hash: Sha256::new(),
            entries: Vec::new(),
            options: Vec::new(),
            flat: String::new(),
            constraints: String::new(),
        }
    }

    /// Reads one file and what it includes; false: there is none. `from`: the file and line that name it.
    fn file(
        &mut self,
        name: &str,
        from: Option<(&str, usize)>,
        constraints: bool,
    ) -> Result<bool, RequirementsError> {
        let wrong = |message: String, help: Option<&str>| match from {
            Some((file, line)) => mistake(file, Some(line), message, help),
            None => mistake(name, None, message, help),
        };
        if self.seen.iter().any(|seen| seen == name) {
            return Err(wrong(format!("{} is included twice", quote(name)), None));
        }
        if self.seen.len() == FILES_MAX {
            return Err(wrong(format!("more than {FILES_MAX} files are included"), None));
        }
        let bytes = match read_inside(self.folder, name, self.bytes_left) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && from.is_none() => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let help = "a plugin names what it imports; everything else follows from that";
                return Err(wrong(format!("it is larger than {} bytes", self.bytes_max), Some(help)));
            }
            Err(error) => return Err(wrong(format!("{} cannot be read: {error}", quote(name)), None)),
        };
        self.bytes_left -= bytes.len() as u64;
        self.hash.update(&bytes);
        self.seen.push(name.to_owned());
        let text = String::from_utf8(bytes).map_err(|_| {
            mistake(
                name,
                None,
                "it is not UTF-8".to_owned(),
                Some("save it as UTF-8, for example in an editor"),
            )
        })?;
        for (number, text) in logical_lines(text.trim_start_matches('\u{feff}')) {
            let here = |(message, help): (String, Option<&str>)| mistake(name, Some(number), message, help);
            if text.len() > self.line_bytes_max {
                return Err(here((format!("the line is longer than {} bytes", self.line_bytes_max), None)));
            }
            match line::parse(&text, name, number).map_err(here)? {
                Line::Nothing => {}
                Line::Requirement(requirement) => {
                    let lines = if constraints { &mut self.constraints } else { &mut self.flat };
                    lines.push_str(&text);
                    lines.push('\n');
                    if !constraints {
                        self.entries.push(requirement);
                    }
                    if self.entries.len() > ENTRIES_MAX {
                        return Err(here((format!("more than {ENTRIES_MAX} packages are asked for"), None)));
                    }
                }
                Line::Option(option) => {
                    self.flat.push_str(&option);
                    self.flat.push('\n');
                    self.options.push(option);
                }
                Line::Include { path, constraints: include_constraints } => {
                    let path = relative_to(name, &path);
                    if names::check(&path).is_err() {
                        let help = "included files lie in the plugin's folder";
                        return Err(here((
                            format!("{} leaves the plugin's folder", quote(&path)),
                            Some(help),
                        )));
                    }
                    self.file(&path, Some((name, number)), constraints || include_constraints)?;
                }
            }
        }
        Ok(true)
    }

    fn finish(self) -> Requirements {
        Requirements {
            entries: self.entries,
            options: self.options,
            flat: self.flat,
            constraints: self.constraints,
            sha256: hex(&self.hash.finalize()),
        }
    }
}

/// Two different versions of one package: said here, with both places.
fn check_pins(entries: &[Requirement]) -> Result<(), RequirementsError> {
    let mut pins: Vec<&Requirement> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.pinned.is_some() && !entry.conditional) {
        match pins.iter().find(|pin| pin.name == entry.name) {
            Some(pin) if pin.pinned != entry.pinned => {
                let message =
                    format!("`{}` contradicts `{}` in {}:{}", entry.text, pin.text, pin.file, pin.line);
                return Err(mistake(&entry.file, Some(entry.line), message, Some("keep one of them")));
            }
            Some(_) => {}
            None => pins.push(entry),
        }
    }
    Ok(())
}

/// A file of the folder, followed through links only as far as they stay inside.
fn read_inside(folder: &Path, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let path = std::fs::canonicalize(folder.join(name))?;
    if !path.starts_with(std::fs::canonicalize(folder)?) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is a link that leaves the plugin"));
    }
    if !std::fs::metadata(&path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Lines with the number of their first, joined where they end in a backslash, without comments.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        // A comment ends a line that would go on, as pip reads it.
        let comment = line.trim_start().starts_with('#');
        let (part, goes_on) = match line.strip_suffix('\\') {
            Some(part) if !comment => (part, true),
            _ => (line, false),
        };
        let (number, mut whole) = begun.take().unwrap_or((index + 1, String::new()));
        whole.push_str(part);
        if goes_on {
            begun = Some((number, whole));
        } else {
            lines.push((number, without_comment(&whole)));
        }
    }
    if let Some((number, whole)) = begun {
        lines.push((number, without_comment(&whole)));
    }
    lines
}

fn without_comment(line: &str) -> String {
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        if character == '#' && before.is_whitespace() {
            return line[..at].trim().to_owned();
        }
        before = character;
    }
    line.trim().to_owned()
}

/// `path` as it is named in `file`, seen from the plugin's folder.
fn relative_to(file: &str, path: &str) -> String {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    if path.starts_with('/') {
        return path.to_owned();
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if !parts.is_empty() => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn mistake(file: &str, line: Option<usize>, message: String, help: Option<&str>) -> RequirementsError {
    RequirementsError { file: file.to_owned(), line, message, help: help.map(str::to_owned) }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
