//! `requirements.lock`: each package with its version and digests, and what it was made for.

use std::path::Path;

use super::line::normalized;
use super::{
    LOCK_LINE_BYTES_MAX, Reading, Requirement, Requirements, RequirementsError, mistake, read_inside,
};

pub const LOCK: &str = "requirements.lock";

/// A popular package has a hundred files, each with a digest.
const LOCK_BYTES_MAX: u64 = 4 << 20;
/// Begins the comment that says what a lock was made for.
const MADE_FOR: &str = "# for requirements.txt sha256:";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Each has a version or an address, and digests.
    pub entries: Vec<Requirement>,
    /// Its lines, each on one line.
    pub flat: String,
    /// Lines that say where packages come from; may hold credentials.
    pub options: Vec<String>,
    /// What it was made for, if it says so.
    made_for: Option<String>,
}

/// The first lines of a lock that is made for these requirements.
pub fn header(requirements: &Requirements) -> String {
    format!(
        "# Written by `spanglass plugin package`. Do not edit: it is made anew when requirements.txt changes.\n\
         {MADE_FOR}{}\n",
        requirements.sha256
    )
}

impl Lock {
    /// The lock of a folder; `None`: there is none.
    pub fn read(folder: &Path) -> Result<Option<Lock>, RequirementsError> {
        let mut reading = Reading::new(folder, LOCK_BYTES_MAX, LOCK_LINE_BYTES_MAX);
        if !reading.file(LOCK, None, false)? {
            return Ok(None);
        }
        let bytes = read_inside(folder, LOCK, LOCK_BYTES_MAX)
            .map_err(|error| mistake(LOCK, None, format!("it cannot be read: {error}"), None))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Requirements { entries, options, flat, .. } = reading.finish();
        for entry in &entries {
            let help = "let `spanglass plugin package PATH` write it: remove the file first";
            let what = match (&entry.pinned, entry.at_url) {
                (None, false) => "names no single version",
                _ if entry.sha256.is_empty() => "has no sha256 digest",
                _ => continue,
            };
            return Err(mistake(LOCK, Some(entry.line), format!("`{}` {what}", entry.text), Some(help)));
        }
        let made_for = text.lines().take_while(|line| line.starts_with('#'));
        let made_for = made_for.filter_map(|line| line.strip_prefix(MADE_FOR)).next();
        Ok(Some(Lock { entries, made_for: made_for.map(|digest| digest.trim().to_owned()), flat, options }))
    }

    /// Whether it still answers what is asked for, or why not.
    pub fn answers(&self, requirements: &Requirements) -> Result<(), String> {
        if self.made_for.as_ref().is_some_and(|digest| *digest != requirements.sha256) {
            return Err("requirements.txt has changed since it was written".to_owned());
        }
        // One that was made by hand, or changed by hand.
        for asked in requirements.entries.iter().filter(|entry| !entry.conditional) {
            let locked: Vec<&Requirement> =
                self.entries.iter().filter(|entry| entry.name == asked.name).collect();
            if locked.is_empty() {
                return Err(format!("it does not name `{}`", asked.text));
            }
            let same = |locked: &&Requirement| match (&locked.pinned, &asked.pinned) {
                (Some(locked), Some(asked)) => same_version(locked, asked),
                _ => true,
            };
            if !locked.iter().any(same) {
                return Err(format!("it names `{}` where `{}` is asked for", locked[0].text, asked.text));
            }
        }
        Ok(())
    }
}

/// Whether two versions are one, as far as plain ones go: `1.0` is `1.0.0`.
pub fn same_version(one: &str, other: &str) -> bool {
    let canonical = |text: &str| {
        let text = normalized(text.trim().trim_start_matches(['v', 'V']));
        let text = text.replace('-', ".");
        let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        while parts.len() > 1 && parts.last().is_some_and(|part| part == "0") {
            parts.pop();
        }
        parts
    };
    canonical(one) == canonical(other)
}
