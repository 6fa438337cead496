//! Plugins in Python: one worker process runs `worker.py`, which imports the plugin and calls its functions.
//! Start with `launcher.rs`; `interpreter.rs` finds Python, the protocol is `runtimes/worker/`.

mod assets;
mod interpreter;
mod launcher;
mod scratch;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;

pub use self::interpreter::Interpreter;
use self::launcher::PythonLauncher;
use self::scratch::Scratch;
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
    scratch: OnceCell<Scratch>,
}

impl PythonRuntime {
    pub fn new(mut settings: PythonSettings) -> PythonRuntime {
        // Workers and supervisors run in other folders than we do.
        for path in [&mut settings.data_dir, &mut settings.supervisor] {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
        let shared = Shared {
            settings,
            interpreter: OnceCell::new(),
            worker_folder: OnceCell::new(),
            scratch: OnceCell::new(),
        };
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
