//! The files of a folder. Links to files inside the folder count as the files; everything else that is not a
//! plain file or folder is refused, so that a package never holds what its folder did not.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::diagnostic::quote;
use super::super::error::PackageError;
use super::names::{self, Collisions};
use super::{ENTRIES_MAX, Entry, UNPACKED_BYTES_MAX};

pub fn list(root: &Path) -> Result<Vec<Entry>, PackageError> {
    let real_root = fs::canonicalize(root).map_err(PackageError::reading(root))?;
    let mut entries = Vec::new();
    let mut total: u64 = 0;
    let mut seen = 0usize;
    let mut open: Vec<(PathBuf, String)> = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = open.pop() {
        for item in fs::read_dir(&folder).map_err(PackageError::reading(&folder))? {
            let item = item.map_err(PackageError::reading(&folder))?;
            seen += 1;
            // Caches count here, too: a folder of a million files should not be walked to its end.
            if seen > 10 * ENTRIES_MAX {
                return Err(PackageError::TooManyEntries { entries_max: ENTRIES_MAX });
            }
            let Some(name) = item.file_name().to_str().map(|name| format!("{prefix}{name}")) else {
                let name = quote(&format!("{prefix}{}", item.file_name().to_string_lossy()));
                return Err(PackageError::BadName { name, why: "it is not UTF-8" });
            };
            if names::is_ignored(&name) {
                continue;
            }
            names::check(&name).map_err(|why| PackageError::BadName { name: quote(&name), why })?;
            let path = item.path();
            let kind = item.file_type().map_err(PackageError::reading(&path))?;
            let metadata = if kind.is_symlink() {
                follow(&real_root, &path, &name)?
            } else {
                item.metadata().map_err(PackageError::reading(&path))?
            };
            if metadata.is_dir() {
                open.push((path, format!("{name}/")));
                continue;
            }
            if !metadata.is_file() {
                return Err(PackageError::NotAFile { name: quote(&name), what: "a device, pipe or socket" });
            }
            total = total.saturating_add(metadata.len());
            if total > UNPACKED_BYTES_MAX {
                return Err(PackageError::UnpacksTooLarge { bytes_max: UNPACKED_BYTES_MAX });
            }
            if entries.len() == ENTRIES_MAX {
                return Err(PackageError::TooManyEntries { entries_max: ENTRIES_MAX });
            }
            entries.push(Entry {
                name: name.into(),
                size: metadata.len(),
                sha256: [0; 32],
                program: false,
                zipped: None,
            });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut collisions = Collisions::default();
    for entry in &entries {
        collisions.add_file(&entry.name)?;
    }
    Ok(entries)
}

/// What a link leads to, if that is a file inside the folder.
fn follow(real_root: &Path, path: &Path, name: &str) -> Result<fs::Metadata, PackageError> {
    let refuse = |what| PackageError::NotAFile { name: quote(name), what };
    let target = fs::canonicalize(path).map_err(|_| refuse("a link that leads nowhere"))?;
    if !target.starts_with(real_root) {
        return Err(refuse("a link that leaves the package"));
    }
    let metadata = fs::metadata(&target).map_err(PackageError::reading(path))?;
    if metadata.is_dir() { Err(refuse("a link to a folder")) } else { Ok(metadata) }
}
