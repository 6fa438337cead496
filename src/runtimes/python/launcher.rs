//! Starts workers of one deployment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::{InstallError, PluginEnvironment};
use super::fork_server::ForkServer;
use super::interpreter::Interpreter;
use super::{Shared, assets};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::package::manifest::Start;
use crate::runtimes::worker::{DeploymentWorkers, StartError, path_text, unwritable};
use crate::runtimes::{
    BoxFuture, Convention, DeploymentSpec, Instance, Launcher, NotPrepared, StartListener, StartMode,
    StartNews,
};

pub struct PythonLauncher {
    shared: Arc<Shared>,
    workers: DeploymentWorkers,
    environment: PluginEnvironment,
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
        let environment = PluginEnvironment::new(shared.environments.clone(), spec.folder.clone());
        PythonLauncher {
            workers: DeploymentWorkers::new(shared.workers.clone(), spec),
            shared,
            environment,
            fork_server,
        }
    }

    async fn start(&self, listener: &mut StartListener<'_>) -> Result<Box<dyn Instance>, InvokeError> {
        let (spec, data_dir) = (self.workers.spec(), self.shared.workers.data_dir());
        let interpreter = self.interpreter().await?;
        // Prepared already, if whoever starts did as asked.
        let environment = self.python_of_environment(interpreter, listener).await;
        let environment = environment.map_err(|failed| *failed.error)?;
        let prepared = self.shared.worker_folder.get_or_try_init(|| async { assets::write(data_dir) });
        let worker_folder = prepared.await.map_err(|error| unwritable(data_dir, &error))?;
        let python = environment.as_deref();
        let argv = command(interpreter, python, worker_folder, &data_dir.join("pycache"), spec)?;
        let started = match &self.fork_server {
            Some(fork_server) => fork_server.worker(&self.workers, argv, listener).await,
            None => {
                listener(StartNews::Mode(StartMode::Spawn { why: None }));
                self.workers.start(argv, listener).await
            }
        };
        match started {
            Ok(instance) => Ok(Box::new(instance)),
            Err(error) => Err(with_help(error, spec, environment.is_some())),
        }
    }

    async fn interpreter(&self) -> Result<&Interpreter, InvokeError> {
        let program = self.shared.program.as_deref().unwrap_or(Path::new("python3"));
        let interpreter = self.shared.interpreter.get_or_try_init(|| Interpreter::find(program)).await?;
        if let Some(requirement) = &self.workers.spec().manifest.requires.python {
            interpreter.check(requirement)?;
        }
        Ok(interpreter)
    }

    /// `None`: the plugin runs with the interpreter itself. So does a plain function, whose folder is its user's.
    async fn python_of_environment(
        &self,
        interpreter: &Interpreter,
        listener: &mut StartListener<'_>,
    ) -> Result<Option<PathBuf>, InstallError> {
        match self.workers.spec().convention {
            Convention::Function => Ok(None),
            Convention::Plugin => self.environment.python(interpreter, listener).await,
        }
    }
}

fn with_help(error: StartError, spec: &DeploymentSpec, has_environment: bool) -> InvokeError {
    let (missing, misnamed) = match &error {
        StartError::Refused(failure) => (failure.missing_module.is_some(), failure.kind == "invalid_input"),
        StartError::Failed(_) => (false, false),
    };
    let mut error = InvokeError::from(error);
    if misnamed && spec.convention == Convention::Function {
        error.kind = ErrorKind::InvalidInput;
    }
    if !missing || !has_environment {
        return error;
    }
    error.help(
        "its environment holds what requirements.txt names: name the package there that brings the module",
    )
}

/// The command line. The script is imported, not run, so that Python keeps its bytecode; and the name that
/// `multiprocessing` would import again in its children stays free of it. The package for authors stands last
/// on the path: one that the plugin brings along comes before it. `environment`: the Python of the plugin's own
/// environment, whose commands the programs that it starts find first.
fn command(
    interpreter: &Interpreter,
    environment: Option<&Path>,
    worker_folder: &Path,
    bytecode: &Path,
    spec: &DeploymentSpec,
) -> Result<Vec<String>, InvokeError> {
    let commands = match environment {
        Some(_) => {
            "import os; os.environ['VIRTUAL_ENV'] = sys.prefix; \
             os.environ['PATH'] = os.path.join(sys.prefix, 'bin') + os.pathsep + os.environ.get('PATH', os.defpath); "
        }
        None => "",
    };
    let start = format!(
        "import sys; {commands}\
          sys.path.insert(0, sys.argv[1]); import {0}; del sys.path[0]; \
         sys.path.append(sys.argv[1] + '/{1}'); {0}.worker.main()",
        assets::MODULE,
        assets::SDK
    );
    let plugin = format!("{}@{}", spec.manifest.name, spec.manifest.version);
    Ok(vec![
        path_text(environment.unwrap_or(&interpreter.path))?,
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

impl Launcher for PythonLauncher {
    fn prepare<'a>(&'a self, listener: &'a mut StartListener<'_>) -> BoxFuture<'a, Result<(), NotPrepared>> {
        Box::pin(async move {
            let interpreter = self.interpreter().await?;
            let environment = self.python_of_environment(interpreter, listener).await;
            environment.map(drop).map_err(|InstallError { error, requirement }| NotPrepared::Install {
                error: *error,
                requirement,
            })
        })
    }

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
        self.environment.release();
        // The supervisor, and with it everything else, ends when the last instance is dropped.
        Box::pin(std::future::ready(()))
    }
}
