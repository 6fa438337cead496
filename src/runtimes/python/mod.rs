//! Plugins in Python: one worker process runs `worker.py`, which imports the plugin and calls its functions.
//! Start with `launcher.rs`; `fork_server.rs` decides whether workers are copies of a process that has loaded the plugin,
//! `interpreter.rs` finds Python, `environment/` installs what a plugin requires, the protocol is `runtimes/worker/`.

mod assets;
pub mod environment;
mod fork_server;
mod interpreter;
mod launcher;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use self::environment::{Environments, INSTALL_TIMEOUT};
pub use self::interpreter::Interpreter;
use self::launcher::PythonLauncher;
use super::worker::Workers;
use super::{DeploymentSpec, Launcher, Runtime};
use crate::model::error::InvokeError;

/// Longer than an idle worker, so that a plugin that is called now and then starts from one.
const FORK_SERVER_IDLE: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
pub struct PythonSettings {
    /// The Python to use; `None`: `python3` of the search path.
    pub program: Option<PathBuf>,
    /// How long a fork server without workers is kept.
    pub fork_server_idle: Duration,
    /// How long building an environment may take.
    pub install_timeout: Duration,
}

impl Default for PythonSettings {
    fn default() -> PythonSettings {
        PythonSettings { program: None, fork_server_idle: FORK_SERVER_IDLE, install_timeout: INSTALL_TIMEOUT }
    }
}

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
    environments: Arc<Environments>,
}

impl PythonRuntime {
    /// `program`: the Python to use; `None`: `python3` of the search path. The worker script and bytecode lie in
    /// folders of their own in the data folder.
    pub fn new(workers: Arc<Workers>, program: Option<PathBuf>) -> PythonRuntime {
        PythonRuntime::with(workers, PythonSettings { program, ..PythonSettings::default() })
    }

    pub fn with(workers: Arc<Workers>, settings: PythonSettings) -> PythonRuntime {
        let PythonSettings { program, fork_server_idle, install_timeout } = settings;
        let (interpreter, worker_folder) = (OnceCell::new(), OnceCell::new());
        let supervisor = workers.supervisor().to_owned();
        let environments = Environments::new(workers.data_dir(), supervisor, install_timeout);
        let shared = Shared { workers, program, interpreter, worker_folder, fork_server_idle, environments };
        PythonRuntime { shared: Arc::new(shared) }
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
