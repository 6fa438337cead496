//! Plugins in Python: one worker process runs `worker.py`, which imports the plugin and calls its functions.
//! Start with `launcher.rs`; `interpreter.rs` finds Python, `environment/` installs what a plugin requires, the
//! protocol is `runtimes/worker/`.

mod assets;
pub mod environment;
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
    environments: Arc<Environments>,
}

impl PythonRuntime {
    /// `program`: the Python to use; `None`: `python3` of the search path. The worker script and bytecode lie in
    /// folders of their own in the data folder.
    pub fn new(workers: Arc<Workers>, program: Option<PathBuf>) -> PythonRuntime {
        PythonRuntime::with_install_timeout(workers, program, INSTALL_TIMEOUT)
    }

    /// `install_timeout`: how long building an environment may take.
    pub fn with_install_timeout(
        workers: Arc<Workers>,
        program: Option<PathBuf>,
        install_timeout: Duration,
    ) -> PythonRuntime {
        let (interpreter, worker_folder) = (OnceCell::new(), OnceCell::new());
        let supervisor = workers.supervisor().to_owned();
        let environments = Environments::new(workers.data_dir(), supervisor, install_timeout);
        PythonRuntime {
            shared: Arc::new(Shared { workers, program, interpreter, worker_folder, environments }),
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
