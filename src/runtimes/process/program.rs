//! From an entry point to a command line. What the kernel would only call "no such file" is found out before
//! and said in full.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::package::manifest::runs_under_node;
use crate::runtimes::worker::path_text;

/// How much of a file's first line is looked at; the kernel reads as much.
const FIRST_LINE_BYTES_MAX: u64 = 256;
const EXECUTABLE: u32 = 0o111;

/// What is executed for `entrypoint`, a path in the plugin's folder.
pub fn command(folder: &Path, entrypoint: &str) -> Result<Vec<String>, InvokeError> {
    // Workers run in another folder than we do.
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let file = folder.join(entrypoint);
    if runs_under_node(entrypoint) {
        let node = find("node").ok_or_else(|| {
            unavailable(format!("`node` is not in PATH, and {entrypoint} runs under it"))
                .help("install Node.js, for example with `apt install nodejs`")
        })?;
        return Ok(vec![path_text(&node)?, path_text(&file)?]);
    }
    let mode =
        file.metadata().map_err(|error| unavailable(format!("{entrypoint} cannot be read: {error}")))?;
    if mode.permissions().mode() & EXECUTABLE == 0 {
        let help = "a script begins with a line such as `#!/bin/sh`; packages keep such files executable";
        return Err(unavailable(format!("{entrypoint} is not executable")).help(help));
    }
    check_interpreter(entrypoint, &file)?;
    Ok(vec![path_text(&file)?])
}

/// Whether the interpreter that a script names is there.
fn check_interpreter(entrypoint: &str, file: &Path) -> Result<(), InvokeError> {
    let mut head = Vec::new();
    let read = File::open(file).and_then(|file| file.take(FIRST_LINE_BYTES_MAX).read_to_end(&mut head));
    read.map_err(|error| unavailable(format!("{entrypoint} cannot be read: {error}")))?;
    let Some(missing) = missing_interpreter(&head, |program| find(program).is_some()) else { return Ok(()) };
    let mut error = unavailable(format!("{entrypoint} needs `{missing}`, which is not on this machine"));
    error = match missing.strip_suffix('\r') {
        Some(_) => error.help("the file has the line ends of Windows: save it with those of Unix"),
        None => error.help("install it, or name another interpreter in the first line"),
    };
    Err(error)
}

/// The interpreter of `#!/path/to/it` or `#!/usr/bin/env it`, if `exists` does not know it.
fn missing_interpreter(head: &[u8], exists: impl Fn(&str) -> bool) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let program = words.next()?;
    if !exists(program) {
        return Some(program.to_owned());
    }
    let by_env = Path::new(program).file_name() == Some(OsStr::new("env"));
    // Options and assignments of env are left to env.
    let named = words.next().filter(|word| by_env && !word.starts_with('-') && !word.contains('='))?;
    (!exists(named)).then(|| named.to_owned())
}

/// A program by its path, or by its name as a shell finds it.
fn find(program: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & EXECUTABLE != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(is_program);
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(is_program)
}

fn unavailable(message: String) -> InvokeError {
    InvokeError::new(ErrorKind::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_interpreter_is_named() {
        let exists = |program: &str| ["/bin/sh", "/usr/bin/env", "node"].contains(&program);
        for (head, missing) in [
            ("#!/bin/sh\necho", None),
            ("#! /bin/sh -e\n", None),
            ("#!/usr/bin/env node\n", None),
            ("#!/usr/bin/env ruby\n", Some("ruby")),
            ("#!/usr/bin/env -S ruby -w\n", None),
            ("#!/opt/ruby\n", Some("/opt/ruby")),
            ("#!/bin/sh\r\necho", Some("/bin/sh\r")),
            ("\x7fELF", None),
            ("", None),
        ] {
            assert_eq!(missing_interpreter(head.as_bytes(), exists).as_deref(), missing, "{head:?}");
        }
    }

    #[test]
    fn what_cannot_be_executed_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode| {
            std::fs::write(folder.path().join(name), text).unwrap();
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path().join(name), permissions).unwrap();
        };
        write("good", "#!/bin/sh\n", 0o755);
        write("plain", "#!/bin/sh\n", 0o644);
        write("odd", "#!/no/such/shell\n", 0o755);
        let good = folder.path().join("good").display().to_string();
        assert_eq!(command(folder.path(), "good").unwrap(), [good]);
        for (name, message) in [
            ("plain", "plain is not executable"),
            ("odd", "odd needs `/no/such/shell`, which is not on this machine"),
            ("absent", "absent cannot be read: No such file or directory (os error 2)"),
        ] {
            let error = command(folder.path(), name).unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unavailable, message));
        }
    }
}
