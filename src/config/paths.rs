//! Paths as people write them.

use std::path::{Path, PathBuf};

use super::codes;
use super::report::Problem;

/// Refuses what is no path, and what only a shell would understand.
pub fn check(path: &Path) -> Result<&Path, Problem> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() {
        return Err(Problem::new(codes::INVALID_PATH, "is empty", "name a file or folder"));
    }
    if bytes.iter().any(|byte| byte.is_ascii_control()) {
        return Err(Problem::new(codes::INVALID_PATH, "holds a control character", "remove it"));
    }
    if bytes == b"~" || bytes.starts_with(b"~/") {
        let help = "only a shell knows `~`: write the path out, or a folder of that name as `./~`";
        return Err(Problem::new(codes::INVALID_PATH, "begins with `~`", help));
    }
    Ok(path)
}

/// Against `folder` if it is relative, without the `.` in between. `..` stays: behind a symlink it means
/// something else than the text says.
pub fn resolve(path: &Path, folder: &Path) -> PathBuf {
    folder.join(path).components().collect()
}
