//! The instances of one deployment: handed out warm where possible, started when needed, stopped when idle.
//! Shared by all kinds that run as processes. A pool without instances costs no task and no timer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use self::backoff::Backoff;
pub use self::backoff::StartTrouble;
use super::{
    BoxFuture, CallEnd, CallRequest, Guest, Instance, Launcher, RunningHook, StartListener, StartNews,
};
use crate::model::error::InvokeError;
use crate::model::hook::Hook;
use crate::model::kind::ErrorKind;
use crate::telemetry::{ExitReason, InstanceState};

mod backoff;
mod keeper;

/// Defaults of [`PoolSettings`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(2);
const HEALTH_EVERY: Duration = Duration::from_secs(10);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// So many idle instances are kept however long they are idle.
    pub instances_min: u32,
    pub instances_max: u32,
    pub idle_timeout: Duration,
    /// A worker that is not ready after this long counts as failed.
    pub start_timeout: Duration,
    /// What an idle instance gets to end in good order, `on_stop` included.
    pub stop_grace: Duration,
    /// How often an idle instance with a `health` hook is asked, at least.
    pub health_every: Duration,
    /// One that does not answer within this is not well.
    pub health_timeout: Duration,
}

impl PoolSettings {
    pub fn new(instances_min: u32, instances_max: u32) -> PoolSettings {
        PoolSettings {
            instances_min,
            instances_max,
            idle_timeout: IDLE_TIMEOUT,
            start_timeout: START_TIMEOUT,
            stop_grace: STOP_GRACE,
            health_every: HEALTH_EVERY,
            health_timeout: HEALTH_TIMEOUT,
        }
    }
}

/// Hears what happens in a pool. Called from any task, outside of locks; must return at once.
pub trait PoolObserver: Send + Sync {
    /// The number of instances in `state` changed by `change`.
    fn instances(&self, state: InstanceState, change: i64);
    /// An instance is gone. Once per instance, failed starts included.
    fn exited(&self, reason: ExitReason);
    /// An instance was started for a caller and became ready.
    fn started(&self, pid: Option<u32>, took: Duration);
    /// An instance did not become ready.
    fn start_failed(&self, error: &InvokeError, took: Duration);
    /// So many starts failed in a row. Not after each: when it begins to be a loop, and at each doubling.
    fn crash_looping(&self, _failures: u32, _error: &InvokeError, _retry_in: Duration) {}
    /// A hook begins outside of a start. What is returned is called when it has ended.
    fn hook(&self, _hook: Hook) -> HookEnd {
        Box::new(|_| {})
    }
}

/// How a hook ended, or why it failed. Dropped without a call: nobody knows.
pub type HookEnd = Box<dyn FnOnce(Result<(), &str>) + Send>;

pub struct Pool {
    launcher: Arc<dyn Launcher>,
    settings: PoolSettings,
    observer: Arc<dyn PoolObserver>,
    /// One permit per instance that is starting or busy. Who holds one and finds none idle may start one:
    /// so there are never more than `instances_max`.
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    own: Weak<Pool>,
}

#[derive(Default)]
struct State {
    /// The most recently used stands last.
    idle: Vec<Idle>,
    backoff: Backoff,
    stopped: bool,
    /// The keeper runs; it ends with the last idle instance that needs it.
    kept: bool,
}

struct Idle {
    instance: Box<dyn Instance>,
    since: Instant,
    /// When its health is to be asked for; `None`: it has no such hook.
    check_at: Option<Instant>,
}

/// An instance for one caller.
pub struct Acquired {
    pub lease: Lease,
    /// How long its start took, if it was started for this caller.
    pub cold_start: Option<Duration>,
}

impl Pool {
    pub fn new(
        launcher: Arc<dyn Launcher>,
        settings: PoolSettings,
        observer: Arc<dyn PoolObserver>,
    ) -> Arc<Pool> {
        let permits = usize::try_from(settings.instances_max.max(1)).unwrap_or(usize::MAX);
        Arc::new_cyclic(|own| Pool {
            launcher,
            settings,
            observer,
            permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            state: Mutex::default(),
            own: own.clone(),
        })
    }

    /// An idle instance if there is one at this moment, the most recently used first.
    pub fn acquire_idle(&self) -> Option<Lease> {
        let permit = self.permits.clone().try_acquire_owned().ok()?;
        let (instance, check_at) = self.take_idle()?;
        self.observer.instances(InstanceState::Busy, 1);
        Some(self.lease(instance, check_at, permit))
    }

    /// An idle instance, the most recently used first, or a new one. Waits while `instances_max` are busy.
    /// What a new one says before it is ready goes to `listener`.
    pub async fn acquire(&self, listener: &mut StartListener<'_>) -> Result<Acquired, InvokeError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| stopped())?;
        if let Some((instance, check_at)) = self.take_idle() {
            self.observer.instances(InstanceState::Busy, 1);
            return Ok(Acquired { lease: self.lease(instance, check_at, permit), cold_start: None });
        }
        self.may_start()?;
        let started = Instant::now();
        let instance = self.start(listener).await?;
        let took = started.elapsed();
        self.observer.started(instance.pid(), took);
        let check_at = keeper::next_check(&*instance, &self.settings);
        Ok(Acquired { lease: self.lease(instance, check_at, permit), cold_start: Some(took) })
    }

    /// Why instances do not start; `None`: the last start succeeded, or there was none.
    pub fn start_trouble(&self) -> Option<StartTrouble> {
        self.state().backoff.trouble()
    }

    fn lease(
        &self,
        instance: Box<dyn Instance>,
        check_at: Option<Instant>,
        permit: OwnedSemaphorePermit,
    ) -> Lease {
        Lease {
            instance: Some(instance),
            check_at,
            pool: self.own.clone(),
            observer: self.observer.clone(),
            running: None,
            _permit: permit,
        }
    }

    fn take_idle(&self) -> Option<(Box<dyn Instance>, Option<Instant>)> {
        loop {
            let mut idle = self.state().idle.pop()?;
            self.observer.instances(InstanceState::Idle, -1);
            if idle.instance.reusable() {
                return Some((idle.instance, idle.check_at));
            }
            self.observer.exited(idle.instance.exit_reason().unwrap_or(ExitReason::Crashed));
        }
    }

    fn may_start(&self) -> Result<(), InvokeError> {
        let state = self.state();
        if state.stopped {
            return Err(stopped());
        }
        state.backoff.check()
    }

    async fn start(&self, listener: &mut StartListener<'_>) -> Result<Box<dyn Instance>, InvokeError> {
        let begun = Instant::now();
        let mut starting = Starting::new(self.observer.clone());
        let launched =
            tokio::time::timeout(self.settings.start_timeout, self.launcher.launch(listener)).await;
        let launched = launched.unwrap_or_else(|_| {
            let message = format!("the worker was not ready within {:?}", self.settings.start_timeout);
            Err(InvokeError::new(ErrorKind::Unavailable, message))
        });
        let launched = match launched {
            Ok(mut instance) => self.first_check(&mut *instance, listener).await.map(|()| instance),
            Err(error) => Err(error),
        };
        match launched {
            Ok(instance) => {
                self.state().backoff.succeeded();
                starting.end(None);
                self.observer.instances(InstanceState::Busy, 1);
                Ok(instance)
            }
            Err(error) => {
                self.observer.start_failed(&error, begun.elapsed());
                starting.end(Some(ExitReason::StartFailed));
                let setback = self.state().backoff.failed(&error, fastrand::f64());
                if let Some(failures) = setback.crash_loop {
                    self.observer.crash_looping(failures, &error, setback.retry_in);
                }
                Err(error.retry_after(setback.retry_in))
            }
        }
    }

    /// A new instance that is not well is as good as one that did not start.
    async fn first_check(
        &self,
        instance: &mut dyn Instance,
        listener: &mut StartListener<'_>,
    ) -> Result<(), InvokeError> {
        if !instance.has(Hook::Health) {
            return Ok(());
        }
        let hook = RunningHook::begin(Hook::Health);
        let verdict = instance.health(self.settings.health_timeout).await;
        listener(StartNews::Span(hook.end(verdict.as_ref().err().cloned())));
        verdict.map_err(|why| {
            InvokeError::new(ErrorKind::Unavailable, format!("the new instance is not well: {why}"))
        })
    }

    fn give_back(
        self: Arc<Pool>,
        mut instance: Box<dyn Instance>,
        check_at: Option<Instant>,
        reason: ExitReason,
    ) {
        if !instance.reusable() {
            return self.observer.exited(instance.exit_reason().unwrap_or(reason));
        }
        let mut state = self.state();
        if state.stopped {
            drop(state);
            self.observer.exited(ExitReason::Stopped);
            return;
        }
        state.idle.push(Idle { instance, since: Instant::now(), check_at });
        let needed = !state.kept && self.needs_keeper(&state.idle);
        // Without a runtime the program is ending, and everything with it.
        let runtime = tokio::runtime::Handle::try_current().ok().filter(|_| needed);
        state.kept |= runtime.is_some();
        drop(state);
        self.observer.instances(InstanceState::Idle, 1);
        if let Some(runtime) = runtime {
            runtime.spawn(keeper::keep(Arc::downgrade(&self)));
        }
    }

    /// Ends an instance in good order, and tells how its `on_stop` went.
    fn stop_instance(
        &self,
        instance: Box<dyn Instance>,
        grace: Duration,
    ) -> impl Future<Output = ()> + Send + 'static {
        let told = instance.has(Hook::OnStop).then(|| self.observer.hook(Hook::OnStop));
        let stop = instance.stop(grace);
        async move {
            let ended = stop.await;
            if let Some(told) = told {
                told(ended.as_ref().copied().map_err(String::as_str));
            }
        }
    }

    /// Stops idle instances in good order within `grace`, and the others when they come back. Idempotent.
    pub async fn stop(&self, grace: Duration) {
        self.permits.close();
        let idle = {
            let mut state = self.state();
            state.stopped = true;
            std::mem::take(&mut state.idle)
        };
        self.stop_idle(idle, ExitReason::Stopped, grace).await;
        self.launcher.stop().await;
    }

    /// Stops what is idle now, for a version that gets no more calls but those that name it.
    pub async fn trim(&self) {
        let idle = std::mem::take(&mut self.state().idle);
        self.stop_idle(idle, ExitReason::Idle, self.settings.stop_grace).await;
    }

    async fn stop_idle(&self, idle: Vec<Idle>, reason: ExitReason, grace: Duration) {
        let stops = idle.into_iter().map(|idle| {
            self.observer.instances(InstanceState::Idle, -1);
            self.observer.exited(reason);
            self.stop_instance(idle.instance, grace)
        });
        futures_util::future::join_all(stops).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopped() -> InvokeError {
    InvokeError::new(ErrorKind::Unavailable, "the plugin is being stopped")
}

/// Counts an instance as starting for as long as it is, also if its caller leaves.
struct Starting {
    observer: Arc<dyn PoolObserver>,
    ended: bool,
}

impl Starting {
    fn new(observer: Arc<dyn PoolObserver>) -> Starting {
        observer.instances(InstanceState::Starting, 1);
        Starting { observer, ended: false }
    }

    fn end(&mut self, exit: Option<ExitReason>) {
        self.ended = true;
        self.observer.instances(InstanceState::Starting, -1);
        if let Some(reason) = exit {
            self.observer.exited(reason);
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Some(ExitReason::Killed));
        }
    }
}

/// An instance in use. Dropping it gives the instance back, or ends it if it cannot be used again.
pub struct Lease {
    instance: Option<Box<dyn Instance>>,
    check_at: Option<Instant>,
    pool: Weak<Pool>,
    observer: Arc<dyn PoolObserver>,
    /// When the call that runs, or was dropped while it ran, has to be over.
    running: Option<Instant>,
    // Dropped after the instance has been given back: who gets the permit finds it there.
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Runs one call; see [`Instance::call`]. Dropping the future kills the worker at once.
    pub fn call<'a>(
        &'a mut self,
        request: CallRequest,
        guest: &'a mut dyn Guest,
    ) -> BoxFuture<'a, Result<CallEnd, InvokeError>> {
        self.running = Some(Instant::now() + request.deadline);
        let (instance, running) = (&mut self.instance, &mut self.running);
        let instance = instance.as_mut().expect("it is taken out by drop only");
        Box::pin(async move {
            let result = instance.call(request, guest).await;
            *running = None;
            result
        })
    }

    pub fn pid(&self) -> Option<u32> {
        self.instance.as_ref().and_then(|instance| instance.pid())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(instance) = self.instance.take() else { return };
        self.observer.instances(InstanceState::Busy, -1);
        let reason = match self.running {
            None => ExitReason::Crashed,
            Some(deadline) if Instant::now() >= deadline => ExitReason::Timeout,
            Some(_) => ExitReason::Killed,
        };
        match self.pool.upgrade() {
            Some(pool) => pool.give_back(instance, self.check_at, reason),
            None => self.observer.exited(ExitReason::Stopped),
        }
    }
}
