//! Starts workers of one deployment.

use std::path::Path;
use std::sync::Arc;

use super::fork_server::ForkServer;
use super::interpreter::Interpreter;
use super::{Shared, assets};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::package::manifest::Start;
use crate::runtimes::worker::{DeploymentWorkers, StartError, path_text, unwritable};
use crate::runtimes::{
    BoxFuture, Convention, DeploymentSpec, Instance, Launcher, StartListener, StartMode, StartNews,
};

const REQUIREMENTS: &str = "requirements.txt";

pub struct PythonLauncher {
    shared: Arc<Shared>,
    workers: DeploymentWorkers,
    /// `None`: workers are spawned, because somebody wants it so.
    fork_server: Option<ForkServer>,
}

impl PythonLauncher {
    pub fn new(shared: Arc<Shared>, spec: Arc<DeploymentSpec>) -> PythonLauncher {
        // A function that is run once has nothing to copy, and a debugger follows no copies.
        let forks = spec.manifest.start == Start::Auto
            && spec.convention == Convention::Plugin
            && spec.debugging.is_none();
        let fork_server = forks.then(|| ForkServer::new(shared.fork_server_idle));
        PythonLauncher { workers: DeploymentWorkers::new(shared.workers.clone(), spec), shared, fork_server }
    }

    async fn start(&self, listener: &mut StartListener<'_>) -> Result<Box<dyn Instance>, InvokeError> {
        let (spec, data_dir) = (self.workers.spec(), self.shared.workers.data_dir());
        let program = self.shared.program.as_deref().unwrap_or(Path::new("python3"));
        let interpreter = self.shared.interpreter.get_or_try_init(|| Interpreter::find(program)).await?;
        if let Some(requirement) = &spec.manifest.requires.python {
            interpreter.check(requirement)?;
        }
        let prepared = self.shared.worker_folder.get_or_try_init(|| async { assets::write(data_dir) });
        let worker_folder = prepared.await.map_err(|error| unwritable(data_dir, &error))?;
        let argv = command(interpreter, worker_folder, &data_dir.join("pycache"), spec)?;
        let started = match &self.fork_server {
            Some(fork_server) => fork_server.worker(&self.workers, argv, listener).await,
            None => {
                listener(StartNews::Mode(StartMode::Spawn { why: None }));
                self.workers.start(argv, listener).await
            }
        };
        match started {
            Ok(instance) => Ok(Box::new(instance)),
            Err(error) => Err(with_help(error, spec)),
        }
    }
}

fn with_help(error: StartError, spec: &DeploymentSpec) -> InvokeError {
    let (missing, misnamed) = match &error {
        StartError::Refused(failure) => (failure.missing_module.is_some(), failure.kind == "invalid_input"),
        StartError::Failed(_) => (false, false),
    };
    let mut error = InvokeError::from(error);
    if misnamed && spec.convention == Convention::Function {
        error.kind = ErrorKind::InvalidInput;
    }
    if !missing || !has_requirements(&spec.folder) {
        return error;
    }
    error.help(
        "requirements.txt is not installed yet: this version builds no environments; \
         install its packages for the Python that runs the plugin",
    )
}

/// The command line. The script is imported, not run, so that Python keeps its bytecode; and the name that
/// `multiprocessing` would import again in its children stays free of it. The package for authors stands last
/// on the path: one that the plugin brings along comes before it.
fn command(
    interpreter: &Interpreter,
    worker_folder: &Path,
    bytecode: &Path,
    spec: &DeploymentSpec,
) -> Result<Vec<String>, InvokeError> {
    let start = format!(
        "import sys; sys.path.insert(0, sys.argv[1]); import {0}; del sys.path[0]; \
         sys.path.append(sys.argv[1] + '/{1}'); {0}.worker.main()",
        assets::MODULE,
        assets::SDK
    );
    let plugin = format!("{}@{}", spec.manifest.name, spec.manifest.version);
    Ok(vec![
        path_text(&interpreter.path)?,
        "-I".into(),
        "-X".into(),
        "utf8".into(),
        "-X".into(),
        format!("pycache_prefix={}", path_text(bytecode)?),
        "-c".into(),
        start,
        path_text(worker_folder)?,
        plugin,
    ])
}

fn has_requirements(folder: &Path) -> bool {
    let text = std::fs::read_to_string(folder.join(REQUIREMENTS)).unwrap_or_default();
    text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}

impl Launcher for PythonLauncher {
    fn launch<'a>(
        &'a self,
        listener: &'a mut StartListener<'_>,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, InvokeError>> {
        Box::pin(self.start(listener))
    }

    fn rest(&self) {
        if let Some(fork_server) = &self.fork_server {
            fork_server.rest();
        }
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.rest();
        // The supervisor, and with it everything else, ends when the last instance is dropped.
        Box::pin(std::future::ready(()))
    }
}
