//! Plugins in any language: an executable of the package that speaks the worker protocol by itself
//! (docs/worker-protocol.md). `program.rs` finds out what has to be executed; the rest is `runtimes/worker/`.

mod program;

use std::path::Path;
use std::sync::Arc;

use super::worker::{DeploymentWorkers, Workers};
use super::{BoxFuture, DeploymentSpec, Instance, Launcher, Runtime, StartListener};
use crate::model::error::InvokeError;

pub struct ProcessRuntime {
    workers: Arc<Workers>,
}

struct ProcessLauncher {
    workers: DeploymentWorkers,
}

impl ProcessRuntime {
    pub fn new(workers: Arc<Workers>) -> ProcessRuntime {
        ProcessRuntime { workers }
    }

    /// Whether `entrypoint`, a path in the plugin's folder, could be executed on this machine.
    pub fn check(folder: &Path, entrypoint: &str) -> Result<(), InvokeError> {
        program::command(folder, entrypoint).map(drop)
    }
}

impl Runtime for ProcessRuntime {
    fn name(&self) -> &'static str {
        "process"
    }

    fn deploy(&self, spec: Arc<DeploymentSpec>) -> Result<Arc<dyn Launcher>, InvokeError> {
        Ok(Arc::new(ProcessLauncher { workers: DeploymentWorkers::new(self.workers.clone(), spec) }))
    }
}

impl Launcher for ProcessLauncher {
    fn launch<'a>(
        &'a self,
        listener: &'a mut StartListener<'_>,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, InvokeError>> {
        Box::pin(async move {
            let spec = self.workers.spec();
            let argv = program::command(&spec.folder, &spec.manifest.entrypoint)?;
            Ok(Box::new(self.workers.start(argv, listener).await?) as Box<dyn Instance>)
        })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        // The supervisor, and with it everything else, ends when the last instance is dropped.
        Box::pin(std::future::ready(()))
    }
}
