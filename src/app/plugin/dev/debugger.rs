//! `--debug`: a place where the worker's debugger finds the author. pdb speaks with him through it, debugpy only
//! says where an editor can attach. On threads of its own: the author sits in the debugger while a call runs.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::terminal::Modes;
use crate::app::cli::{DebugAt, Global};
use crate::app::connect::{ServerFile, logs};
use crate::app::failure::Failure;
use crate::app::local::Local;
use crate::app::output::{self, Paint, Style, printable, printable_lines};
use crate::app::target::Target;
use crate::config::Settings;
use crate::package::manifest::{Manifest, RuntimeKind};
use crate::runtimes::Debugging;
use crate::telemetry::LogTarget;

const SOCKET: &str = "debugger.sock";
/// The first line, which says which debugger it is.
const WORDS_BYTES_MAX: u64 = 4 << 10;
const READ_BYTES: usize = 4 << 10;

/// The author's end of the debugger.
pub struct Console {
    json: bool,
    modes: Modes,
    attached: Mutex<Option<UnixStream>>,
    changed: Condvar,
}

/// Where workers find it. Removed with this.
pub struct Place {
    folder: TempDir,
    pub console: Arc<Console>,
}

impl Place {
    pub fn open(json: bool, modes: Modes) -> Result<Place, Failure> {
        let failed = |error: std::io::Error| {
            Failure::internal(format!("no place for a debugger can be made: {error}"))
        };
        // Nobody else can look into the folder, or connect.
        let folder = tempfile::tempdir().map_err(failed)?;
        let listener = UnixListener::bind(folder.path().join(SOCKET)).map_err(failed)?;
        let console = Arc::new(Console { json, modes, attached: Mutex::default(), changed: Condvar::new() });
        let heard = console.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // One worker at a time: concurrency is 1, and a new save's worker starts before the old one ends.
                let console = heard.clone();
                std::thread::spawn(move || console.attend(connection));
            }
        });
        Ok(Place { folder, console })
    }

    /// A host in this process, in which the plugin has all the time of the world. A live server's data folder is
    /// left to the server.
    pub fn target(
        &self,
        global: &Global,
        settings: &Settings,
        manifest: &Manifest,
        at: DebugAt,
    ) -> Result<(Target, Option<TempDir>), Failure> {
        refuse_others(global, manifest)?;
        let mut settings = settings.clone();
        let taken = ServerFile::live(&settings.data_dir).is_some();
        let own = taken.then(tempfile::tempdir).transpose();
        let own = own.map_err(|error| Failure::internal(format!("no data folder can be made: {error}")))?;
        if let Some(own) = &own {
            settings.data_dir = own.path().to_owned();
        }
        let socket: PathBuf = self.folder.path().join(SOCKET);
        let plugin = settings.host.plugins.entry(manifest.name.to_string()).or_default();
        plugin.debugging = Some(Debugging { socket, post_mortem: at == DebugAt::PostMortem });
        let target = Target::Local(Box::new(Local::host(&settings, logs(&settings, LogTarget::Off))?));
        if !global.json {
            output::note(&format!("target: {}", target.describe()));
        }
        Ok((target, own))
    }
}

fn refuse_others(global: &Global, manifest: &Manifest) -> Result<(), Failure> {
    if let Some(server) = global.server.as_ref().filter(|_| !global.local) {
        let message = format!("--debug works in this process, not on {server}");
        return Err(Failure::usage(message).help("leave --server and SPANGLASS_SERVER out, or add --local"));
    }
    if manifest.runtime != RuntimeKind::Python {
        let message = format!("--debug is for plugins in Python, and {} is not", manifest.name);
        return Err(Failure::usage(message).help("attach a debugger of its language to the worker's process"));
    }
    Ok(())
}

impl Console {
    fn attached(&self) -> MutexGuard<'_, Option<UnixStream>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the author has typed. False: no debugger listens. `wait`: until one does.
    pub fn typed(&self, bytes: &[u8], wait: bool) -> bool {
        let mut attached = self.attached();
        while wait && attached.is_none() {
            attached = self.changed.wait(attached).unwrap_or_else(PoisonError::into_inner);
        }
        // One that goes away in this moment is noticed by its reader.
        attached.as_mut().is_some_and(|debugger| debugger.write_all(bytes).is_ok())
    }

    /// One worker's debugger, to its end.
    fn attend(&self, connection: UnixStream) {
        let Ok(writer) = connection.try_clone() else { return };
        let mut reader = BufReader::new(connection);
        let mut words = String::new();
        if (&mut reader).take(WORDS_BYTES_MAX).read_line(&mut words).is_err() {
            return;
        }
        let Ok(words) = serde_json::from_str::<Value>(&words) else { return };
        self.announce(&words);
        let speaks = words["debugger"] == "pdb";
        if speaks {
            *self.attached() = Some(writer);
            self.modes.by_line(true);
            self.changed.notify_all();
        }
        self.relay(&mut reader);
        if speaks {
            *self.attached() = None;
            self.modes.by_line(false);
        }
    }

    fn announce(&self, words: &Value) {
        if self.json {
            let mut event = json!({"event": "debugger"});
            if let (Value::Object(event), Value::Object(words)) = (&mut event, words.clone()) {
                event.extend(words);
            }
            let _ = output::print_json(&event);
            return;
        }
        let text = |member: &str| printable(words[member].as_str().unwrap_or_default());
        let style = Style::stderr();
        let line = match words["address"].as_str() {
            Some(_) => format!(
                "debugpy waits for an editor at {}; the files are in {}",
                text("address"),
                text("folder")
            ),
            None => format!("{} (c goes on, q gives the call up, h helps)", text("debugger")),
        };
        output::note(&format!("{} {line}", style.paint(Paint::Accent, "debugger")));
    }

    fn relay(&self, reader: &mut impl Read) {
        let mut bytes = Vec::new();
        let mut buffer = [0; READ_BYTES];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            bytes.extend_from_slice(&buffer[..count]);
            // A character that is not whole yet waits for its rest.
            let whole = match std::str::from_utf8(&bytes) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                _ => bytes.len(),
            };
            let text: Vec<u8> = bytes.drain(..whole).collect();
            let text = String::from_utf8_lossy(&text);
            // Nobody is there to be told that the output has gone.
            let _ = if self.json {
                output::print_json(&json!({"event": "debugger_output", "text": text}))
            } else {
                output::print(&printable_lines(&text))
            };
        }
    }
}
