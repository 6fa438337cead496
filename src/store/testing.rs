//! For tests of this room: children to kill, and things that a machine may lack.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait on plain threads of their own, each wait within a bound"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The folder that a child works on; set in children only.
const CHILD_FOLDER: &str = "SPANGLASS_TEST_CHILD_FOLDER";

/// This test binary running one of its tests as a child. Killed when dropped.
pub struct TestChild {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl TestChild {
    /// `test` is the path of a test whose first line is `let Some(folder) = child_folder() else { return };`.
    pub fn start(test: &str, folder: &Path) -> TestChild {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(CHILD_FOLDER, folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        TestChild { child, lines }
    }

    /// The next line that the child said with [`say`]; `None`: it is gone.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // A line that a kill cut off was not said.
            if let Some(said) = line.strip_prefix("said: ").and_then(|line| line.strip_suffix('\n')) {
                return Some(said.to_owned());
            }
        }
    }

    /// SIGKILL, and what it had said until then.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.hear()).collect()
    }
}

impl Drop for TestChild {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn child_folder() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD_FOLDER).map(Into::into)
}

/// In a child: tells the parent.
pub fn say(what: std::fmt::Arguments<'_>) {
    // libtest has begun a line of its own.
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nsaid: {what}").and_then(|()| out.flush()).unwrap();
}

/// Polls until `done`, at most 20 s.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A file system of a few pages, in memory. `None`: this machine gives none, which is said aloud, and is a
/// failure where nothing may be skipped.
pub struct TinyDisk {
    folder: tempfile::TempDir,
}

impl TinyDisk {
    pub fn mount(kib: u32) -> Option<TinyDisk> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(folder.path());
        match mount.stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(status) if status.success() => Some(TinyDisk { folder }),
            _ => {
                skip("mounting a tmpfs (needs root)");
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

fn skip(needs: &str) {
    // Past the capturing of test output.
    let _ = writeln!(std::io::stderr(), "skipped: {needs}");
    assert!(std::env::var("SPANGLASS_TEST_REQUIRE").as_deref() != Ok("all"), "required: {needs}");
}
