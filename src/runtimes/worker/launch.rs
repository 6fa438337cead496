//! What starting a worker takes, whatever it is written in: a folder to work in, an environment, a supervisor.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::instance::{StrayLog, WorkerInstance};
use super::link::Link;
use super::preload::{Preload, Preloaded};
use super::scratch::Scratch;
use super::start::{Role, StartError};
use crate::model::error::InvokeError;
use crate::model::guest::GuestLog;
use crate::model::kind::ErrorKind;
use crate::runtimes::{Convention, DeploymentSpec, StartListener};
use crate::sandbox::fork_server::ForkServer;
use crate::sandbox::launcher::{self, SpawnSpec, Supervisor};

/// What a worker gets of the runner's environment. Everything else may hold secrets. The last two say which
/// instrumentations a plugin's OpenTelemetry activates, and by which names they call things.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    "OTEL_SEMCONV_STABILITY_OPT_IN",
];

/// Gets what workers print while no call runs.
pub type StrayLogs = Arc<dyn Fn(&DeploymentSpec, GuestLog) + Send + Sync>;

pub struct WorkerSettings {
    /// Scratch folders lie in a folder of their own in here, and what runtimes keep.
    pub data_dir: PathBuf,
    /// The program whose `main` begins with `sandbox::supervisor::main_if_asked`: this one, mostly.
    pub supervisor: PathBuf,
    pub stray_logs: StrayLogs,
}

/// Where workers of all deployments live.
pub struct Workers {
    settings: WorkerSettings,
    scratch: OnceCell<Scratch>,
}

/// The workers of one deployment.
pub struct DeploymentWorkers {
    workers: Arc<Workers>,
    spec: Arc<DeploymentSpec>,
    /// Held by the instances: it ends with the last of them.
    supervisor: Mutex<Weak<Supervisor>>,
}

impl Workers {
    pub fn new(mut settings: WorkerSettings) -> Arc<Workers> {
        // Workers and supervisors run in other folders than we do.
        for path in [&mut settings.data_dir, &mut settings.supervisor] {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
        Arc::new(Workers { settings, scratch: OnceCell::new() })
    }

    pub fn data_dir(&self) -> &Path {
        &self.settings.data_dir
    }

    pub fn supervisor(&self) -> &Path {
        &self.settings.supervisor
    }

    async fn scratch(&self, plugin: &str) -> Result<TempDir, InvokeError> {
        let parent = self.settings.data_dir.join("scratch");
        let folders = self.scratch.get_or_try_init(|| async { Scratch::open(&parent) });
        let folders = folders.await.map_err(|error| unwritable(&parent, &error))?;
        folders.worker(plugin).map_err(|error| unwritable(&parent, &error))
    }
}

impl DeploymentWorkers {
    pub fn new(workers: Arc<Workers>, spec: Arc<DeploymentSpec>) -> DeploymentWorkers {
        DeploymentWorkers { workers, spec, supervisor: Mutex::default() }
    }

    pub fn spec(&self) -> &DeploymentSpec {
        &self.spec
    }

    /// Starts `argv` and waits until it is ready for calls. Dropping the future kills it.
    pub async fn start(
        &self,
        argv: Vec<String>,
        listener: &mut StartListener<'_>,
    ) -> Result<WorkerInstance, StartError> {
        let mut worker = self.spawn(argv, &self.supervisor()?, None).await?;
        worker.greet(&self.spec, Role::Worker, listener).await?;
        Ok(worker)
    }

    /// Starts `argv`, which loads the plugin, and waits until it can copy itself. Dropping the future kills it.
    pub async fn preload(
        &self,
        argv: Vec<String>,
        listener: &mut StartListener<'_>,
    ) -> Result<Preload, StartError> {
        let supervisor = self.supervisor()?;
        let (forks, control) = ForkServer::new(&supervisor).map_err(|error| no_pipes(&error))?;
        let mut process = self.spawn(argv, &supervisor, Some(control)).await?;
        match process.greet(&self.spec, Role::ForkServer, listener).await? {
            None => Ok(Preload::Forks(Preloaded::new(forks, process))),
            Some(why) => {
                process.greet(&self.spec, Role::Worker, listener).await?;
                Ok(Preload::SpawnOnly(Box::new(process), why))
            }
        }
    }

    /// A worker that is a copy of what has been loaded. Dropping the future kills it.
    pub async fn fork(
        &self,
        loaded: &Preloaded,
        listener: &mut StartListener<'_>,
    ) -> Result<WorkerInstance, StartError> {
        let (link, ends) = Link::new().map_err(|error| no_pipes(&error))?;
        let (cwd, scratch) = self.working_folder().await?;
        let memory_bytes_max = self.spec.manifest.limits.memory_bytes;
        let child =
            loaded.forks().fork(cwd, ends, memory_bytes_max).await.map_err(|error| not_started(&error))?;
        let mut worker = WorkerInstance::new(link, child, self.stray(), scratch);
        worker.greet(&self.spec, Role::Worker, listener).await?;
        Ok(worker)
    }

    async fn spawn(
        &self,
        argv: Vec<String>,
        supervisor: &Arc<Supervisor>,
        control: Option<OwnedFd>,
    ) -> Result<WorkerInstance, InvokeError> {
        let (link, ends) = Link::new().map_err(|error| no_pipes(&error))?;
        let (cwd, scratch) = self.working_folder().await?;
        let child = supervisor.spawn(SpawnSpec {
            argv,
            env: environment(),
            cwd,
            ends,
            control,
            memory_bytes_max: self.spec.manifest.limits.memory_bytes,
        });
        let child = child.await.map_err(|error| not_started(&error))?;
        Ok(WorkerInstance::new(link, child, self.stray(), scratch))
    }

    fn stray(&self) -> StrayLog {
        let (stray_logs, deployment) = (self.workers.settings.stray_logs.clone(), self.spec.clone());
        Arc::new(move |log| stray_logs(&deployment, log))
    }

    fn supervisor(&self) -> Result<Arc<Supervisor>, InvokeError> {
        let mut held = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(supervisor) = held.upgrade().filter(|supervisor| supervisor.alive()) {
            return Ok(supervisor);
        }
        let supervisor = Supervisor::start(&self.workers.settings.supervisor)
            .map_err(|error| InvokeError::new(ErrorKind::Internal, error.to_string()))?;
        *held = Arc::downgrade(&supervisor);
        Ok(supervisor)
    }

    /// Where a worker runs: a plugin in an empty folder of its own, a plain function where the user is.
    async fn working_folder(&self) -> Result<(PathBuf, Option<TempDir>), InvokeError> {
        if self.spec.convention == Convention::Function {
            let cwd = std::env::current_dir().unwrap_or_else(|_| self.spec.folder.clone());
            return Ok((cwd, None));
        }
        let scratch = self.workers.scratch(self.spec.manifest.name.as_str()).await?;
        Ok((scratch.path().to_owned(), Some(scratch)))
    }
}

fn no_pipes(error: &std::io::Error) -> InvokeError {
    InvokeError::new(ErrorKind::Internal, format!("no pipes can be made for a worker: {error}"))
}

fn not_started(error: &launcher::Error) -> InvokeError {
    InvokeError::new(ErrorKind::Unavailable, error.to_string())
}

/// The error of a folder that cannot be written to.
pub fn unwritable(folder: &Path, error: &std::io::Error) -> InvokeError {
    InvokeError::new(ErrorKind::Internal, format!("{} cannot be written to: {error}", folder.display()))
}

/// A path as a word of a command line.
pub fn path_text(path: &Path) -> Result<String, InvokeError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        InvokeError::new(ErrorKind::Internal, format!("the path {} is not UTF-8", path.display()))
    })
}

fn environment() -> Vec<(String, String)> {
    ENVIRONMENT.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}
