//! The worker script, and the package that plugins may import, written where Python finds them: in a folder
//! named after its content.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// Not `worker`: a plugin may well have a module of that name.
pub const MODULE: &str = "spanglass_worker";
/// The folder within, to be put on Python's path alone: the worker next to it is nothing for plugins.
pub const SDK: &str = "sdk";

const FILES: &[(&str, &str)] = &[
    ("spanglass_worker.py", include_str!("worker.py")),
    ("spanglass_debugger.py", include_str!("debugger.py")),
    ("spanglass_otel.py", include_str!("otel.py")),
    ("sdk/spanglass/__init__.py", include_str!("../../../sdk/python/spanglass/__init__.py")),
    ("sdk/spanglass/__init__.pyi", include_str!("../../../sdk/python/spanglass/__init__.pyi")),
    ("sdk/spanglass/__main__.py", include_str!("../../../sdk/python/spanglass/__main__.py")),
    ("sdk/spanglass/py.typed", ""),
    ("sdk/spanglass/pytest_plugin.py", include_str!("../../../sdk/python/spanglass/pytest_plugin.py")),
];

/// Returns the folder that holds the files; writes those that are missing or damaged.
pub fn write(data_dir: &Path) -> io::Result<PathBuf> {
    let folder = data_dir.join("assets").join(digest());
    for (name, content) in FILES {
        write_file(&folder.join(name), content)?;
    }
    Ok(folder)
}

fn digest() -> String {
    let mut hasher = Sha256::new();
    for (name, content) in FILES {
        hasher.update(name);
        hasher.update([0]);
        hasher.update(content);
        hasher.update([0]);
    }
    let mut digest = String::new();
    for byte in hasher.finalize() {
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

fn write_file(path: &Path, content: &str) -> io::Result<()> {
    if std::fs::read(path).is_ok_and(|found| found == content.as_bytes()) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Another process may be doing the same: whoever comes last replaces equal by equal.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(content.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_written_once_and_repaired() {
        let data = tempfile::tempdir().unwrap();
        let folder = write(data.path()).unwrap();
        for (name, content) in FILES {
            std::fs::write(folder.join(name), "damaged").unwrap();
            assert_eq!(write(data.path()).unwrap(), folder);
            assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), *content);
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4);
        assert!(folder.join(format!("{MODULE}.py")).is_file() && folder.join(SDK).is_dir());
    }
}
