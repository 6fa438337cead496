//! Runs an installer: under a supervisor of its own, so that nothing of it outlives the runner, and with all that it
//! says as lines, in their order, bounded and without credentials.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::pipe::PipeFlags;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::credentials::Credentials;
use super::unavailable;
use crate::model::error::{GuestException, InvokeError};
use crate::model::text::truncate;
use crate::sandbox::launcher::{Ends, SpawnSpec, Supervisor};

const LINE_BYTES_MAX: usize = 2 << 10;
/// So many of the last lines are kept to find out what went wrong.
const LINES_KEPT: usize = 400;
/// So many of them go with the error.
const LINES_SHOWN: usize = 20;
const BUFFER_BYTES: usize = 16 << 10;
/// Of an installer and the compilers that it runs.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Descendants that hold the pipe open are killed, but not at once.
const PIPE_CLOSES_WITHIN: Duration = Duration::from_secs(2);

/// A program and what it gets. It runs in the root folder: installers read configuration of the folder that they
/// start in and of those above it, which is nothing to them here.
#[derive(Clone, Debug)]
pub struct Command {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct Ended {
    pub good: bool,
    /// How, for people.
    pub how: String,
    /// The last lines.
    pub lines: Vec<String>,
}

/// Runs to the end; dropping the future kills it and all that it started.
pub async fn run(
    supervisor: &Path,
    command: Command,
    credentials: &Credentials,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<Ended, InvokeError> {
    let program = command.argv.first().cloned().unwrap_or_default();
    let failed = |error: io::Error| unavailable(format!("{program} cannot be run: {error}"));
    let (own, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    rustix::io::ioctl_fionbio(&own, true).map_err(|error| failed(error.into()))?;
    // Where it works is in many lines, is long, and says nothing.
    let temporary = command.env.iter().find(|(name, _)| name == "TMPDIR");
    let work = temporary.and_then(|(_, path)| Path::new(path).parent());
    let work = work.map_or_else(String::new, |folder| format!("{}/", folder.display()));
    let null = || Ok(std::fs::File::options().read(true).write(true).open("/dev/null")?.into());
    let supervisor = Supervisor::start(supervisor).map_err(|error| unavailable(error.to_string()))?;
    let child = supervisor.spawn(SpawnSpec {
        argv: command.argv,
        env: command.env,
        cwd: "/".into(),
        ends: Ends {
            stdout: theirs.try_clone().map_err(failed)?,
            stderr: theirs,
            frames_in: null().map_err(failed)?,
            frames_out: null().map_err(failed)?,
        },
        control: None,
        memory_bytes_max: MEMORY_BYTES_MAX,
    });
    let mut child = child.await.map_err(|error| unavailable(error.to_string()))?;
    let mut pipe = pipe::Receiver::from_owned_fd_unchecked(own).map_err(failed)?;
    let mut lines = Lines { begun: Vec::new(), kept: Vec::new(), credentials, work, say };
    let mut buffer = vec![0; BUFFER_BYTES];
    let exit = loop {
        tokio::select! {
            biased;
            count = pipe.read(&mut buffer) => match count {
                Ok(0) | Err(_) => break child.exit().await,
                Ok(count) => lines.feed(&buffer[..count]),
            },
            exit = child.exit() => {
                let rest = async {
                    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
                        lines.feed(&buffer[..count]);
                    }
                };
                let _ = tokio::time::timeout(PIPE_CLOSES_WITHIN, rest).await;
                break exit;
            }
        }
    };
    lines.end();
    let exit = exit.map_err(|_| unavailable(format!("{program} was killed with its supervisor")))?;
    let how = match (exit.code, exit.signal) {
        (_, Some(signal)) => format!("was killed by signal {signal}"),
        (code, None) => format!("ended with code {}", code.unwrap_or(-1)),
    };
    Ok(Ended { good: exit.code == Some(0), how, lines: lines.kept })
}

/// The end of what it said, where a traceback would stand.
pub fn with_output(name: &str, ended: &Ended, mut error: InvokeError) -> InvokeError {
    let shown = &ended.lines[ended.lines.len().saturating_sub(LINES_SHOWN)..];
    let exception =
        GuestException { type_name: format!("{name} {}", ended.how), traceback: shown.join("\n") };
    error.exception = Some(Box::new(exception));
    error
}

/// Makes lines of bytes.
struct Lines<'l> {
    begun: Vec<u8>,
    kept: Vec<String>,
    credentials: &'l Credentials,
    /// Taken out; may be empty.
    work: String,
    say: &'l (dyn Fn(&str) + Send + Sync),
}

impl Lines<'_> {
    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                // Progress that overwrites itself is lines, too.
                b'\n' | b'\r' => self.end(),
                // The rest of a line without end is dropped.
                _ if self.begun.len() >= 2 * LINE_BYTES_MAX => {}
                byte => self.begun.push(*byte),
            }
        }
    }

    fn end(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned();
        if line.trim().is_empty() {
            return;
        }
        // Before it is cut: half a password is not known as one.
        let mut masked = self.credentials.mask(line.trim_end());
        if !self.work.is_empty() {
            masked = masked.replace(&self.work, "");
        }
        let line = truncate(&masked, LINE_BYTES_MAX).to_owned();
        (self.say)(&line);
        if self.kept.len() == LINES_KEPT {
            self.kept.remove(0);
        }
        self.kept.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn lines_are_bounded_and_masked() {
        let said = Mutex::new(Vec::new());
        let say = |line: &str| said.lock().unwrap().push(line.to_owned());
        let credentials = Credentials::of(["https://user:swordfish@h/"], &[]);
        let mut lines = Lines {
            begun: Vec::new(),
            kept: Vec::new(),
            credentials: &credentials,
            work: "/data/.building-x/".into(),
            say: &say,
        };
        lines.feed(b"/data/.building-x/one\r50%\rtwo sword");
        lines.feed(b"fish\n\n  \n");
        lines.feed(&vec![b'x'; 10 * LINE_BYTES_MAX]);
        lines.feed(b"\nlast\xff");
        lines.end();
        let said = said.into_inner().unwrap();
        assert_eq!(said[..3], ["one", "50%", "two ***"]);
        assert_eq!((said[3].len(), said[4].as_str()), (LINE_BYTES_MAX, "last\u{fffd}"));
        let mut lines = Lines {
            begun: Vec::new(),
            kept: Vec::new(),
            credentials: &credentials,
            work: String::new(),
            say: &|_| {},
        };
        (0..1000).for_each(|number| lines.feed(format!("{number}\n").as_bytes()));
        assert_eq!((lines.kept.len(), lines.kept[0].as_str()), (LINES_KEPT, "600"));
    }
}
