//! The worker script, written where Python can import it, in a folder named after its content.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

const SCRIPT: &str = include_str!("worker.py");
/// Not `worker`: a plugin may well have a module of that name.
pub const MODULE: &str = "spanglass_worker";

/// Returns the folder that holds the script; writes it if it is missing or damaged.
pub fn write(data_dir: &Path) -> io::Result<PathBuf> {
    let mut name = String::new();
    for byte in Sha256::digest(SCRIPT) {
        let _ = write!(name, "{byte:02x}");
    }
    let folder = data_dir.join("assets").join(name);
    let path = folder.join(format!("{MODULE}.py"));
    if std::fs::read(&path).is_ok_and(|found| found == SCRIPT.as_bytes()) {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder)?;
    // Another process may be doing the same: whoever comes last replaces equal by equal.
    let mut file = NamedTempFile::new_in(&folder)?;
    file.write_all(SCRIPT.as_bytes())?;
    file.persist(&path)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_written_once_and_repaired() {
        let data = tempfile::tempdir().unwrap();
        let path = write(data.path()).unwrap().join(format!("{MODULE}.py"));
        std::fs::write(&path, "damaged").unwrap();
        assert_eq!(write(data.path()).unwrap(), path.parent().unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), SCRIPT);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
