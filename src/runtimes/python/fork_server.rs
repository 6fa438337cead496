//! The fork server of a deployment: whether workers can be copies of it, when it is there, when it goes.
//!
//! It starts with the first worker that is needed, imports the plugin once, and every worker is a copy. It goes
//! when it has had no worker for a while. A plugin that cannot be copied is spawned from then on, and says why.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::kind::ErrorKind;
use crate::runtimes::worker::{DeploymentWorkers, Preload, Preloaded, StartError, WorkerInstance};
use crate::runtimes::{StartListener, StartMode, StartNews};

pub struct ForkServer {
    idle_after: Duration,
    state: Arc<Mutex<State>>,
    /// Whoever starts the server; the others wait for it.
    starting: tokio::sync::Mutex<()>,
}

struct State {
    server: Option<Arc<Preloaded>>,
    /// Why workers are spawned.
    spawn_only: Option<Arc<str>>,
    /// What is spawned does not start either: copies are not to blame.
    alike: bool,
    used: Instant,
    /// The task that ends an idle server runs.
    kept: bool,
}

impl ForkServer {
    pub fn new(idle_after: Duration) -> ForkServer {
        let state = State { server: None, spawn_only: None, alike: false, used: Instant::now(), kept: false };
        ForkServer { idle_after, state: Arc::new(Mutex::new(state)), starting: tokio::sync::Mutex::default() }
    }

    /// A worker: a copy if that can be, else spawned by `argv`.
    pub async fn worker(
        &self,
        workers: &DeploymentWorkers,
        argv: Vec<String>,
        listener: &mut StartListener<'_>,
    ) -> Result<WorkerInstance, StartError> {
        let server = match self.ready(workers, &argv, listener).await? {
            Ready::Server(server) => server,
            Ready::Worker(worker) => return Ok(*worker),
            Ready::SpawnOnly => return workers.start(argv, listener).await,
        };
        let doubt = Doubt { state: &self.state, armed: true };
        let copy = workers.fork(&server, listener).await;
        doubt.dispel();
        self.state().used = Instant::now();
        let error = match copy {
            Err(StartError::Failed(error)) if error.kind != ErrorKind::Internal => error,
            done => return done,
        };
        if self.state().alike {
            return Err(error.into());
        }
        // The server may just have died, by itself or for want of memory: that says nothing about copies.
        let told =
            server.alive().then(|| format!("a copy of the loaded plugin did not start: {}", error.message));
        listener(StartNews::Mode(StartMode::Spawn { why: told.as_deref().map(Arc::from) }));
        let spawned = workers.start(argv, listener).await;
        match (&spawned, told) {
            (Ok(_), Some(why)) => self.give_up(why.into()),
            (Err(_), Some(_)) => self.state().alike = true,
            (_, None) => {}
        }
        spawned
    }

    /// No worker is wanted for now.
    pub fn rest(&self) {
        let server = self.state().server.take();
        drop(server);
    }

    async fn ready(
        &self,
        workers: &DeploymentWorkers,
        argv: &[String],
        listener: &mut StartListener<'_>,
    ) -> Result<Ready, StartError> {
        if let Some(ready) = self.known(listener) {
            return Ok(ready);
        }
        let _starting = self.starting.lock().await;
        if let Some(ready) = self.known(listener) {
            return Ok(ready);
        }
        listener(StartNews::Mode(StartMode::Fork { loading: true }));
        match workers.preload(argv.to_vec(), listener).await? {
            Preload::Forks(server) => {
                let server = Arc::new(server);
                self.keep(server.clone());
                Ok(Ready::Server(server))
            }
            Preload::SpawnOnly(worker, why) => {
                let why: Arc<str> = why.into();
                listener(StartNews::Mode(StartMode::Spawn { why: Some(why.clone()) }));
                self.give_up(why);
                Ok(Ready::Worker(worker))
            }
        }
    }

    /// What is known without starting anything.
    fn known(&self, listener: &mut StartListener<'_>) -> Option<Ready> {
        let mut state = self.state();
        if let Some(why) = &state.spawn_only {
            let why = Some(why.clone());
            drop(state);
            listener(StartNews::Mode(StartMode::Spawn { why }));
            return Some(Ready::SpawnOnly);
        }
        let server = state.server.clone().filter(|server| server.alive())?;
        state.used = Instant::now();
        drop(state);
        listener(StartNews::Mode(StartMode::Fork { loading: false }));
        Some(Ready::Server(server))
    }

    fn give_up(&self, why: Arc<str>) {
        let mut state = self.state();
        state.spawn_only = Some(why);
        let server = state.server.take();
        drop(state);
        drop(server);
    }

    fn keep(&self, server: Arc<Preloaded>) {
        let mut state = self.state();
        state.server = Some(server);
        state.used = Instant::now();
        if !std::mem::replace(&mut state.kept, true) {
            tokio::spawn(end_when_idle(self.state.clone(), self.idle_after));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A copy that never gets ready is dropped by whoever waits for it. The next workers are spawned.
struct Doubt<'a> {
    state: &'a Mutex<State>,
    armed: bool,
}

impl Doubt<'_> {
    fn dispel(mut self) {
        self.armed = false;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if self.armed {
            lock(self.state).spawn_only = Some("a copy of the loaded plugin did not get ready".into());
        }
    }
}

enum Ready {
    Server(Arc<Preloaded>),
    /// Loading it has given a worker, but no server.
    Worker(Box<WorkerInstance>),
    SpawnOnly,
}

/// Looks at times whether the server is used; ends with it.
async fn end_when_idle(state: Arc<Mutex<State>>, idle_after: Duration) {
    loop {
        let wait = {
            let mut state = lock(&state);
            let server = state.server.as_ref().filter(|server| server.alive());
            if server.is_some_and(|server| server.in_use()) {
                state.used = Instant::now();
            }
            let left = idle_after.saturating_sub(state.used.elapsed());
            if state.server.as_ref().is_none_or(|server| !server.alive()) || left.is_zero() {
                state.kept = false;
                let server = state.server.take();
                drop(state);
                drop(server);
                return;
            }
            left
        };
        tokio::time::sleep(wait).await;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
