//! Starts workers of one deployment.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use super::interpreter::Interpreter;
use super::scratch::Scratch;
use super::{Shared, assets};
use crate::model::error::{GuestException, InvokeError};
use crate::model::guest::GuestLog;
use crate::model::kind::ErrorKind;
use crate::runtimes::worker::{self, StartError, StartSpec};
use crate::runtimes::{BoxFuture, Convention, DeploymentSpec, Instance, Launcher};
use crate::sandbox::launcher::Supervisor;

/// What a worker gets of the runner's environment. Everything else may hold secrets.
const ENVIRONMENT: &[&str] =
    &["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"];
const REQUIREMENTS: &str = "requirements.txt";

pub struct PythonLauncher {
    shared: Arc<Shared>,
    spec: Arc<DeploymentSpec>,
    /// Held by the instances: it ends with the last of them.
    supervisor: Mutex<Weak<Supervisor>>,
}

impl PythonLauncher {
    pub fn new(shared: Arc<Shared>, spec: Arc<DeploymentSpec>) -> PythonLauncher {
        PythonLauncher { shared, spec, supervisor: Mutex::default() }
    }

    fn supervisor(&self) -> Result<Arc<Supervisor>, InvokeError> {
        let mut held = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(supervisor) = held.upgrade().filter(|supervisor| supervisor.alive()) {
            return Ok(supervisor);
        }
        let supervisor = Supervisor::start(&self.shared.settings.supervisor)
            .map_err(|error| InvokeError::new(ErrorKind::Internal, error.to_string()))?;
        *held = Arc::downgrade(&supervisor);
        Ok(supervisor)
    }

    async fn start(&self, log: &mut (dyn FnMut(GuestLog) + Send)) -> Result<Box<dyn Instance>, InvokeError> {
        let settings = &self.shared.settings;
        let program = settings.interpreter.as_deref().unwrap_or(Path::new("python3"));
        let interpreter = self.shared.interpreter.get_or_try_init(|| Interpreter::find(program)).await?;
        if let Some(requirement) = &self.spec.manifest.requires.python {
            interpreter.check(requirement)?;
        }
        let prepared =
            self.shared.worker_folder.get_or_try_init(|| async { assets::write(&settings.data_dir) });
        let worker_folder = prepared.await.map_err(|error| unwritable(&settings.data_dir, &error))?;
        let (cwd, scratch) = self.working_folder().await?;
        let stray_logs = settings.stray_logs.clone();
        let deployment = self.spec.clone();
        let spec = StartSpec {
            argv: command(interpreter, worker_folder, &settings.data_dir.join("pycache"), &self.spec)?,
            env: environment(),
            cwd,
            scratch,
            deployment: self.spec.clone(),
            stray: Arc::new(move |log| stray_logs(&deployment, log)),
        };
        match worker::start(&self.supervisor()?, spec, log).await {
            Ok(instance) => Ok(Box::new(instance)),
            Err(StartError::Failed(error)) => Err(error),
            Err(StartError::Refused(failure)) => {
                let mut error = InvokeError::new(ErrorKind::Unavailable, failure.message);
                if failure.missing_module.is_some() && has_requirements(&self.spec.folder) {
                    error = error.help(
                        "requirements.txt is not installed yet: this version builds no environments; \
                         install its packages for the Python that runs the plugin",
                    );
                }
                let exception = GuestException { type_name: failure.type_name, traceback: failure.traceback };
                error.exception = Some(Box::new(exception));
                Err(error)
            }
        }
    }

    /// Where a worker runs: a plugin in an empty folder of its own, a plain function where the user is.
    async fn working_folder(&self) -> Result<(PathBuf, Option<TempDir>), InvokeError> {
        if self.spec.convention == Convention::Function {
            let cwd = std::env::current_dir().unwrap_or_else(|_| self.spec.folder.clone());
            return Ok((cwd, None));
        }
        let parent = self.shared.settings.data_dir.join("scratch");
        let folders = self.shared.scratch.get_or_try_init(|| async { Scratch::open(&parent) });
        let folders = folders.await.map_err(|error| unwritable(&parent, &error))?;
        let scratch = folders.worker(self.spec.manifest.name.as_str());
        let scratch = scratch.map_err(|error| unwritable(&parent, &error))?;
        Ok((scratch.path().to_owned(), Some(scratch)))
    }
}

fn unwritable(folder: &Path, error: &std::io::Error) -> InvokeError {
    InvokeError::new(ErrorKind::Internal, format!("{} cannot be written to: {error}", folder.display()))
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
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            let message = format!("the path {} is not UTF-8", path.display());
            InvokeError::new(ErrorKind::Internal, message)
        })
    };
    let start = format!(
        "import sys; sys.path.insert(0, sys.argv[1]); import {0}; del sys.path[0]; \
         sys.path.append(sys.argv[1] + '/{1}'); {0}.worker.main()",
        assets::MODULE,
        assets::SDK
    );
    let plugin = format!("{}@{}", spec.manifest.name, spec.manifest.version);
    Ok(vec![
        text(&interpreter.path)?,
        "-I".into(),
        "-X".into(),
        "utf8".into(),
        "-X".into(),
        format!("pycache_prefix={}", text(bytecode)?),
        "-c".into(),
        start,
        text(worker_folder)?,
        plugin,
    ])
}

fn environment() -> Vec<(String, String)> {
    ENVIRONMENT.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}

fn has_requirements(folder: &Path) -> bool {
    let text = std::fs::read_to_string(folder.join(REQUIREMENTS)).unwrap_or_default();
    text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}

impl Launcher for PythonLauncher {
    fn launch<'a>(
        &'a self,
        log: &'a mut (dyn FnMut(GuestLog) + Send),
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, InvokeError>> {
        Box::pin(self.start(log))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        // The supervisor, and with it everything else, ends when the last instance is dropped.
        Box::pin(std::future::ready(()))
    }
}
