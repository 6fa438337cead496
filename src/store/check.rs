//! What `doctor` wants to know about a data folder. Works beside a running owner.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::calls::CallsReader;
use super::database;
use super::folder::DataFolder;
use super::ledger::{LedgerCounts, Reader};
use super::packages::{Digest, Packages};
use super::registry::Registry;

/// Checking a ledger reads all of it.
const LEDGER_TIME_MAX: Duration = Duration::from_secs(120);

/// The state of a data folder. Sound if all lists of problems are empty.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub registry: FileCheck,
    pub calls: FileCheck,
    pub ledger: FileCheck,
    pub kv: FileCheck,
    pub drift: FileCheck,
    /// `None`: there is no ledger, or it can't be read.
    pub ledger_counts: Option<LedgerCounts>,
    pub registrations: usize,
    pub packages: usize,
    /// Registered, but their package is not there.
    pub missing_packages: Vec<String>,
    /// Kept, but no registration names them.
    pub unreferenced_packages: usize,
    /// `None`: the file system would not say.
    pub available_bytes: Option<u64>,
    /// Why nothing can be written into the folder.
    pub write_problem: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct FileCheck {
    pub path: String,
    pub exists: bool,
    /// With its journals.
    pub bytes: u64,
    /// `None`: there is no file, or it does not say.
    pub schema: Option<i64>,
    pub problems: Vec<String>,
}

/// Looks at everything; finds fault, but never fails itself. Blocks, for seconds on a large ledger.
pub fn check(folder: &DataFolder) -> Check {
    let mut registry = FileCheck::of(&folder.registry());
    let registrations = registry
        .run(|| {
            let file = Registry::open_to_read(&folder.registry())?;
            Ok((file.check()?, file.list()?))
        })
        .unwrap_or_default();
    let mut calls = FileCheck::of(&folder.calls());
    let _ = calls.run(|| Ok((CallsReader::new(folder).check()?, ())));
    let mut ledger = FileCheck::of(&folder.ledger());
    let ledger_counts = ledger.run(|| Reader::new(folder).time_max(LEDGER_TIME_MAX).check());
    let mut kv = FileCheck::of(&folder.kv());
    kv.run(|| Ok((super::kv::check(&folder.kv())?, ())));
    let mut drift = FileCheck::of(&folder.drift());
    drift.run(|| Ok((super::drift::check(folder)?, ())));
    let packages = Packages::list_in(&folder.packages()).unwrap_or_default();
    let kept = |digest: &Digest| packages.iter().any(|package| package.digest == *digest);
    let named = |digest: &Digest| registrations.iter().any(|registration| registration.digest == *digest);
    Check {
        missing_packages: registrations
            .iter()
            .filter(|registration| !kept(&registration.digest))
            .map(|registration| format!("{} {}", registration.name, registration.version))
            .collect(),
        unreferenced_packages: packages.iter().filter(|package| !named(&package.digest)).count(),
        registrations: registrations.len(),
        packages: packages.len(),
        registry,
        calls,
        ledger,
        kv,
        drift,
        ledger_counts,
        available_bytes: folder.available_bytes().ok(),
        write_problem: folder.probe_write().err().map(|error| error.to_string()),
    }
}

impl FileCheck {
    fn of(path: &Path) -> FileCheck {
        FileCheck {
            path: path.display().to_string(),
            exists: path.exists(),
            bytes: database::size_bytes(path),
            schema: database::schema_version_of(path),
            problems: Vec::new(),
        }
    }

    /// Runs a check if there is a file, and notes what it finds.
    fn run<T>(&mut self, check: impl FnOnce() -> Result<(Vec<String>, T), super::Error>) -> Option<T> {
        if !self.exists {
            return None;
        }
        match check() {
            Ok((problems, found)) => {
                self.problems = problems;
                Some(found)
            }
            Err(error) => {
                self.problems = vec![error.to_string()];
                None
            }
        }
    }
}
