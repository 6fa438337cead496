//! Plugins in Python: one worker process runs `worker.py`, which imports the plugin and calls its functions.
//! Start with `launcher.rs`; `fork_server.rs` decides whether workers are copies of a process that has loaded the plugin,
//! `interpreter.rs` finds Python, the protocol is `runtimes/worker/`.

mod assets;
mod fork_server;
mod interpreter;
mod launcher;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

pub use self::interpreter::Interpreter;
use self::launcher::PythonLauncher;
use super::worker::Workers;
use super::{DeploymentSpec, Launcher, Runtime};
use crate::model::error::InvokeError;

/// Longer than an idle worker, so that a plugin that is called now and then starts from one.
const FORK_SERVER_IDLE: Duration = Duration::from_secs(300);

pub struct PythonRuntime {
    shared: Arc<Shared>,
}

/// What all deployments have in common; found out at the first start of a worker.
struct Shared {
    workers: Arc<Workers>,
    /// The Python to use; `None`: `python3` of the search path.
    program: Option<PathBuf>,
    interpreter: OnceCell<Interpreter>,
    worker_folder: OnceCell<PathBuf>,
    /// How long a fork server without workers is kept.
    fork_server_idle: Duration,
}

impl PythonRuntime {
    /// `program`: the Python to use; `None`: `python3` of the search path. The worker script and bytecode lie in
    /// folders of their own in the data folder.
    pub fn new(workers: Arc<Workers>, program: Option<PathBuf>) -> PythonRuntime {
        PythonRuntime::with_idle(workers, program, FORK_SERVER_IDLE)
    }

    /// The same, with fork servers that are kept for `fork_server_idle` when they have no workers.
    pub fn with_idle(
        workers: Arc<Workers>,
        program: Option<PathBuf>,
        fork_server_idle: Duration,
    ) -> PythonRuntime {
        let (interpreter, worker_folder) = (OnceCell::new(), OnceCell::new());
        PythonRuntime {
            shared: Arc::new(Shared { workers, program, interpreter, worker_folder, fork_server_idle }),
        }
    }
}

impl Runtime for PythonRuntime {
    fn name(&self) -> &'static str {
        "python"
    }

    fn deploy(&self, spec: Arc<DeploymentSpec>) -> Result<Arc<dyn Launcher>, InvokeError> {
        Ok(Arc::new(PythonLauncher::new(self.shared.clone(), spec)))
    }
}
