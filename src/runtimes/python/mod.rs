//! Plugins in Python: one worker process runs `worker.py`, which imports the plugin and calls its functions.
//! Start with `launcher.rs`; `interpreter.rs` finds Python, the protocol is `runtimes/worker/`.

mod assets;
mod interpreter;
mod launcher;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;

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
}

impl PythonRuntime {
    /// `program`: the Python to use; `None`: `python3` of the search path. The worker script and bytecode lie in
    /// folders of their own in the data folder.
    pub fn new(workers: Arc<Workers>, program: Option<PathBuf>) -> PythonRuntime {
        let (interpreter, worker_folder) = (OnceCell::new(), OnceCell::new());
        PythonRuntime { shared: Arc::new(Shared { workers, program, interpreter, worker_folder }) }
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
