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
use super::{DeploymentSpec, Launcher, Runtime};
use crate::model::error::InvokeError;
use crate::model::guest::GuestLog;

/// Gets what workers print while no call runs.
pub type StrayLogs = Arc<dyn Fn(&DeploymentSpec, GuestLog) + Send + Sync>;

#[derive(Clone)]
pub struct PythonSettings {
    /// Worker script, bytecode and scratch folders lie in folders of their own in here.
    pub data_dir: PathBuf,
    /// The program whose `main` begins with `sandbox::supervisor::main_if_asked`: this one, mostly.
    pub supervisor: PathBuf,
    /// The Python to use; `None`: `python3` of the search path.
    pub interpreter: Option<PathBuf>,
    pub stray_logs: StrayLogs,
}

pub struct PythonRuntime {
    shared: Arc<Shared>,
}

/// What all deployments have in common; found out at the first start of a worker.
struct Shared {
    settings: PythonSettings,
    interpreter: OnceCell<Interpreter>,
    worker_folder: OnceCell<PathBuf>,
}

impl PythonRuntime {
    pub fn new(settings: PythonSettings) -> PythonRuntime {
        let shared = Shared { settings, interpreter: OnceCell::new(), worker_folder: OnceCell::new() };
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
