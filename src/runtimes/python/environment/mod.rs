//! Environments for plugins with requirements: built once, shared by all that need the same, kept in the data folder.
//!
//! `wanted.rs` reads what a plugin asks for and gives it a key, `keep.rs` holds environments by key and clears them
//! away, `build.rs` makes one with what `installer.rs` finds, `verdict.rs` says why that failed. `locking.rs` writes
//! `requirements.lock` and `wheels/` for `plugin package`. docs/python.md tells it to people.

mod build;
mod credentials;
mod installer;
mod keep;
mod locking;
mod process;
mod unpack;
mod verdict;
mod wanted;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, json};
use tokio::sync::{OnceCell, watch};

use self::build::Job;
pub use self::installer::{Installer, Installers};
use self::keep::{About, BYTES_MAX, Keep, KeyLock, UNUSED_MAX};
pub use self::locking::{LockSettings, Locked, lock_package};
use self::wanted::Wanted;
use super::Interpreter;
use crate::model::error::InvokeError;
use crate::model::guest::{GuestLog, GuestSpan, LogStream, Severity};
use crate::model::kind::ErrorKind;
use crate::model::span_kind::SpanKind;
use crate::model::units::format_duration;
use crate::runtimes::{StartListener, StartNews};
use crate::telemetry::ids::span_id;

/// How long building one may take, waiting for another process that builds it included.
pub const INSTALL_TIMEOUT: Duration = Duration::from_secs(300);
/// Lines of one build that are passed on. The error has the last ones in any case.
const LINES_MAX: usize = 1_000;
/// The name of the step of a start.
const STEP: &str = "environment";

/// All environments of a data folder.
pub struct Environments {
    keep: Arc<Keep>,
    /// Under which installers run.
    supervisor: PathBuf,
    install_timeout: Duration,
    state: Mutex<State>,
    swept: AtomicBool,
}

#[derive(Default)]
struct State {
    live: HashMap<String, Weak<Environment>>,
    builds: HashMap<String, watch::Receiver<Progress>>,
}

/// One that is ready. While it is held, nobody removes it.
struct Environment {
    key: String,
    python: PathBuf,
    about: About,
    /// Taken out when the folder is gone, so that it can be built anew.
    lock: Mutex<Option<KeyLock>>,
}

/// How far a build is, for all who wait for it.
#[derive(Clone, Default)]
struct Progress {
    lines: Arc<Mutex<Vec<GuestLog>>>,
    ended: Option<Result<Ready, InstallError>>,
}

#[derive(Clone)]
struct Ready {
    environment: Arc<Environment>,
    reused: bool,
}

/// Why there is no environment.
#[derive(Clone, Debug)]
pub struct InstallError {
    pub error: Box<InvokeError>,
    /// Which requirement could not be installed, if that is known. Without credentials.
    pub requirement: Option<Arc<str>>,
}

/// The environment of one deployment.
pub struct PluginEnvironment {
    environments: Arc<Environments>,
    folder: PathBuf,
    wanted: OnceCell<Option<Arc<Wanted>>>,
    held: Mutex<Option<Arc<Environment>>>,
}

// === impl PluginEnvironment ===

impl PluginEnvironment {
    pub fn new(environments: Arc<Environments>, folder: PathBuf) -> PluginEnvironment {
        PluginEnvironment { environments, folder, wanted: OnceCell::new(), held: Mutex::default() }
    }

    /// The Python to run the plugin with; `None`: it has no requirements. Builds what is missing and waits for it;
    /// dropping the future leaves the build to those who come after.
    pub async fn python(
        &self,
        interpreter: &Interpreter,
        listener: &mut StartListener<'_>,
    ) -> Result<Option<PathBuf>, InstallError> {
        let wanted = self.wanted.get_or_try_init(|| async {
            let folder = self.folder.clone();
            let read = tokio::task::spawn_blocking(move || Wanted::read(&folder)).await;
            let read = read.map_err(|error| InvokeError::new(ErrorKind::Internal, error.to_string()))?;
            read.map(|wanted| wanted.map(Arc::new))
        });
        let Some(wanted) = wanted.await? else { return Ok(None) };
        if let Some(held) = self.held().as_ref() {
            if self.environments.keep.is_there(&held.key) {
                self.environments.keep.stamp(&held.key);
                return Ok(Some(held.python.clone()));
            }
            held.let_go();
        }
        let environment = self.environments.get(wanted, interpreter, listener).await?;
        let python = environment.python.clone();
        *self.held() = Some(environment);
        Ok(Some(python))
    }

    /// The deployment has ended: what it used may be removed some day.
    pub fn release(&self) {
        *self.held() = None;
    }

    fn held(&self) -> MutexGuard<'_, Option<Arc<Environment>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<InvokeError> for InstallError {
    fn from(error: InvokeError) -> InstallError {
        InstallError { error: error.into(), requirement: None }
    }
}

impl Environment {
    fn let_go(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

// === impl Environments ===

impl Environments {
    pub fn new(data_dir: &Path, supervisor: PathBuf, install_timeout: Duration) -> Arc<Environments> {
        Arc::new(Environments {
            keep: Arc::new(Keep::new(data_dir)),
            supervisor,
            install_timeout,
            state: Mutex::default(),
            swept: AtomicBool::new(false),
        })
    }

    async fn get(
        self: &Arc<Self>,
        wanted: &Arc<Wanted>,
        interpreter: &Interpreter,
        listener: &mut StartListener<'_>,
    ) -> Result<Arc<Environment>, InstallError> {
        let key = wanted.key(interpreter);
        let (begun, begun_at) = (Instant::now(), SystemTime::now());
        let ended = match self.begin(&key, wanted, interpreter) {
            Ok(environment) => Ok(Ready { environment, reused: true }),
            Err(progress) => follow(progress, listener).await,
        };
        listener(StartNews::Span(step(&key, &ended, begun_at, begun.elapsed())));
        ended.map(|ready| ready.environment)
    }

    /// One that is in use already, or the build to wait for, which begins if there is none.
    fn begin(
        self: &Arc<Self>,
        key: &str,
        wanted: &Arc<Wanted>,
        interpreter: &Interpreter,
    ) -> Result<Arc<Environment>, watch::Receiver<Progress>> {
        let mut state = self.state();
        if let Some(environment) = state.live.get(key).and_then(Weak::upgrade) {
            if self.keep.is_there(key) {
                return Ok(environment);
            }
            environment.let_go();
        }
        if let Some(progress) = state.builds.get(key) {
            return Err(progress.clone());
        }
        let (sender, progress) = watch::channel(Progress::default());
        state.builds.insert(key.to_owned(), progress.clone());
        drop(state);
        let (environments, wanted, interpreter) = (self.clone(), wanted.clone(), interpreter.clone());
        let key = key.to_owned();
        // A task of its own: it serves all who wait, and whoever comes after those who have left.
        tokio::spawn(async move { environments.build(key, wanted, interpreter, sender).await });
        Err(progress)
    }

    async fn build(
        self: Arc<Self>,
        key: String,
        wanted: Arc<Wanted>,
        interpreter: Interpreter,
        progress: watch::Sender<Progress>,
    ) {
        // However this ends, nobody joins it any more.
        let listed = Listed { environments: &self, key: &key };
        if !self.swept.swap(true, Ordering::Relaxed) {
            self.sweep().await;
        }
        let say = |who: &str, line: &str| {
            progress.send_modify(|progress| add_line(&mut lock(&progress.lines), who, line));
        };
        let job = Job {
            keep: &self.keep,
            supervisor: &self.supervisor,
            wanted: &wanted,
            interpreter: &interpreter,
            key: &key,
        };
        let built = tokio::time::timeout(self.install_timeout, build::build(job, &say)).await;
        let built = built.unwrap_or_else(|_| {
            let message = format!("the environment was not built within {}", format_duration(self.install_timeout));
            Err(InstallError::from(unavailable(message).help("the log of the `prepare` span shows how far it came; python.install_timeout of spanglass.yaml gives it more time")))
        });
        let ended = built.map(|(about, lock, reused)| {
            self.keep.stamp(&key);
            let python = self.keep.path(&key).join("bin/python");
            let environment = Environment { key: key.clone(), python, about, lock: Mutex::new(Some(lock)) };
            Ready { environment: Arc::new(environment), reused }
        });
        if let Ok(ready) = &ended {
            let mut state = self.state();
            state.live.retain(|_, environment| environment.strong_count() > 0);
            state.live.insert(key.clone(), Arc::downgrade(&ready.environment));
        }
        let built_one = ended.as_ref().is_ok_and(|ready| !ready.reused);
        drop(listed);
        progress.send_modify(|progress| progress.ended = Some(ended));
        if built_one {
            self.sweep().await;
        }
    }

    async fn sweep(&self) {
        let keep = self.keep.clone();
        let sweep = move || keep.sweep(UNUSED_MAX, BYTES_MAX);
        let _ = tokio::task::spawn_blocking(sweep).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Takes a build off the list when it is over, also if it was cut off.
struct Listed<'e> {
    environments: &'e Environments,
    key: &'e str,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.environments.state().builds.remove(self.key);
    }
}

/// Passes on what a build says until it ends.
async fn follow(
    mut progress: watch::Receiver<Progress>,
    listener: &mut StartListener<'_>,
) -> Result<Ready, InstallError> {
    let mut told = 0;
    loop {
        let now = progress.borrow_and_update().clone();
        let fresh: Vec<GuestLog> = lock(&now.lines)[told..].to_vec();
        told += fresh.len();
        fresh.into_iter().for_each(|log| listener(StartNews::Log(log)));
        if let Some(ended) = now.ended {
            return ended;
        }
        if progress.changed().await.is_err() && progress.borrow().ended.is_none() {
            return Err(unavailable("building the environment was cut off, since the program ends").into());
        }
    }
}

fn add_line(lines: &mut Vec<GuestLog>, who: &str, line: &str) {
    let (body, severity) = match lines.len() {
        0..LINES_MAX => (line.to_owned(), severity_of(line)),
        LINES_MAX => ("more lines are not kept".to_owned(), Severity::Warn),
        _ => return,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    lines.push(GuestLog {
        unix_ns: Some(nanoseconds(now)),
        severity,
        stream: LogStream::Sdk,
        body,
        logger: Some(who.to_owned()),
        fields: Map::new(),
        code: None,
        span_id: None,
    });
}

fn severity_of(line: &str) -> Severity {
    let begins = |words: &[&str]| {
        let line = line.trim_start();
        words.iter().any(|word| line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
    };
    match () {
        () if begins(&["error", "×"]) => Severity::Error,
        () if begins(&["warning", "deprecation"]) => Severity::Warn,
        () => Severity::Info,
    }
}

/// Getting an environment as a step of a start.
fn step(key: &str, ended: &Result<Ready, InstallError>, begun: SystemTime, took: Duration) -> GuestSpan {
    let start_unix_ns = nanoseconds(begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    let mut attributes = Map::new();
    attributes.insert("environment.key".into(), json!(key));
    if let Ok(ready) = ended {
        let about = &ready.environment.about;
        attributes.insert("environment.installer".into(), json!(about.installer));
        attributes.insert("environment.packages".into(), json!(about.packages));
        attributes.insert("environment.bytes".into(), json!(about.bytes));
        attributes.insert("environment.reused".into(), json!(ready.reused));
    }
    GuestSpan {
        span_id: span_id(),
        parent_id: None,
        name: STEP.into(),
        kind: SpanKind::Internal,
        start_unix_ns,
        end_unix_ns: start_unix_ns.saturating_add(nanoseconds(took)),
        error: ended.as_ref().err().map(|failed| failed.error.message.clone()),
        attributes,
        events: Vec::new(),
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn unavailable(message: impl Into<String>) -> InvokeError {
    InvokeError::new(ErrorKind::Unavailable, message)
}
