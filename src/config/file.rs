//! Finds and reads the configuration file, within its bound.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::package::codes as common;
use crate::package::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use crate::package::yaml::INPUT_BYTES_MAX;

use super::layer::Said;
use super::report::{Problem, Report};
use super::settings::FILE_DEFAULT;
use super::{codes, paths};

/// Names that people give the file, and that nothing reads.
const NAMES_MISTAKEN: [&str; 3] = ["spanglass.yml", "spanglass.json", "spanglass.toml"];

/// A file that was read.
pub struct Opened {
    pub path: PathBuf,
    /// How to call it in messages.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The named file, which must be there; else `spanglass.yaml` in `folder`, which may.
pub fn open(named: Option<&Said<PathBuf>>, folder: &Path, report: &mut Report) -> Option<Opened> {
    match named {
        Some(said) => {
            let name = said.value.strip_prefix(folder).unwrap_or(&said.value).display().to_string();
            let read = read(&said.value, INPUT_BYTES_MAX);
            let problem = |error: io::Error| {
                let predicate = format!("names {name}, which cannot be read: {}", reason(&error));
                report.say(&said.origin, Severity::Error, Problem::new(common::NOT_READABLE, predicate, ""));
            };
            let bytes = read.map_err(problem).ok()?;
            bounded(Opened { path: said.value.clone(), name, bytes }, report)
        }
        None => {
            let path = paths::resolve(FILE_DEFAULT.as_ref(), folder);
            match read(&path, INPUT_BYTES_MAX) {
                Ok(bytes) => bounded(Opened { path, name: FILE_DEFAULT.to_owned(), bytes }, report),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    mistaken(folder, report);
                    None
                }
                Err(error) => {
                    let message = format!("{FILE_DEFAULT} cannot be read: {}", reason(&error));
                    let problem = Diagnostic::error(common::NOT_READABLE, Place::START, "", message);
                    whole(FILE_DEFAULT, problem, report);
                    None
                }
            }
        }
    }
}

/// At most `bytes_max` and one more, by which a reader sees that it was too much.
pub fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The system's words, without its number, which says nothing to people.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn bounded(opened: Opened, report: &mut Report) -> Option<Opened> {
    if opened.bytes.len() <= INPUT_BYTES_MAX {
        return Some(opened);
    }
    let message = format!("{} has more than {INPUT_BYTES_MAX} bytes", opened.name);
    whole(&opened.name, Diagnostic::error(common::TOO_LARGE, Place::START, "", message), report);
    None
}

fn mistaken(folder: &Path, report: &mut Report) {
    let Some(name) = NAMES_MISTAKEN.into_iter().find(|name| folder.join(name).is_file()) else { return };
    let message = format!("{name} is not read: the file's name is {FILE_DEFAULT}");
    let problem = Diagnostic::warning(codes::OTHER_NAME, Place::START, "", message);
    whole(name, problem.help("rename it, or name it with `--config`"), report);
}

/// Says one thing about a file of which there is no text to show.
fn whole(name: &str, problem: Diagnostic, report: &mut Report) {
    let mut diagnostics = Diagnostics::new(name, "");
    diagnostics.push(problem);
    report.set_file(diagnostics);
}
