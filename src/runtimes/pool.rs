//! The instances of one deployment: handed out warm where possible, started when needed, stopped when idle.
//! Shared by all kinds that run as processes. A pool without instances costs no task and no timer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{BoxFuture, CallEnd, CallRequest, Guest, Instance, Launcher, StartListener};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::telemetry::{ExitReason, InstanceState};

/// Defaults of [`PoolSettings`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How long starting pauses after failures in a row: doubled each time, with full jitter in the upper half.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// So many idle instances are kept however long they are idle.
    pub instances_min: u32,
    pub instances_max: u32,
    pub idle_timeout: Duration,
    /// A worker that is not ready after this long counts as failed.
    pub start_timeout: Duration,
    /// What an idle instance gets to end in good order.
    pub stop_grace: Duration,
}

impl PoolSettings {
    pub fn new(instances_min: u32, instances_max: u32) -> PoolSettings {
        PoolSettings {
            instances_min,
            instances_max,
            idle_timeout: IDLE_TIMEOUT,
            start_timeout: START_TIMEOUT,
            stop_grace: STOP_GRACE,
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
}

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
    failures: u32,
    blocked: Option<Blocked>,
    stopped: bool,
    /// A task stops idle instances; it ends with the last that it has to stop.
    reaping: bool,
}

struct Idle {
    instance: Box<dyn Instance>,
    since: Instant,
}

/// Starts failed: until then there are no more.
struct Blocked {
    until: Instant,
    error: InvokeError,
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
        let instance = self.take_idle()?;
        self.observer.instances(InstanceState::Busy, 1);
        Some(self.lease(instance, permit))
    }

    /// An idle instance, the most recently used first, or a new one. Waits while `instances_max` are busy.
    /// What a new one says before it is ready goes to `listener`.
    pub async fn acquire(&self, listener: &mut StartListener<'_>) -> Result<Acquired, InvokeError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| stopped())?;
        if let Some(instance) = self.take_idle() {
            self.observer.instances(InstanceState::Busy, 1);
            return Ok(Acquired { lease: self.lease(instance, permit), cold_start: None });
        }
        self.may_start()?;
        let started = Instant::now();
        let instance = self.start(listener).await?;
        let took = started.elapsed();
        self.observer.started(instance.pid(), took);
        Ok(Acquired { lease: self.lease(instance, permit), cold_start: Some(took) })
    }

    fn lease(&self, instance: Box<dyn Instance>, permit: OwnedSemaphorePermit) -> Lease {
        Lease {
            instance: Some(instance),
            pool: self.own.clone(),
            observer: self.observer.clone(),
            running: None,
            _permit: permit,
        }
    }

    fn take_idle(&self) -> Option<Box<dyn Instance>> {
        loop {
            let mut idle = self.state().idle.pop()?;
            self.observer.instances(InstanceState::Idle, -1);
            if idle.instance.reusable() {
                return Some(idle.instance);
            }
            self.observer.exited(ExitReason::Crashed);
        }
    }

    fn may_start(&self) -> Result<(), InvokeError> {
        let state = self.state();
        if state.stopped {
            return Err(stopped());
        }
        match &state.blocked {
            Some(blocked) if blocked.until > Instant::now() => {
                Err(blocked.error.clone().retry_after(blocked.until - Instant::now()))
            }
            _ => Ok(()),
        }
    }

    async fn start(&self, listener: &mut StartListener<'_>) -> Result<Box<dyn Instance>, InvokeError> {
        let begun = Instant::now();
        let mut starting = Starting::new(self.observer.clone());
        let launched = tokio::time::timeout(self.settings.start_timeout, self.launcher.launch(listener)).await;
        let launched = launched.unwrap_or_else(|_| {
            let message = format!("the worker was not ready within {:?}", self.settings.start_timeout);
            Err(InvokeError::new(ErrorKind::Unavailable, message))
        });
        match launched {
            Ok(instance) => {
                let mut state = self.state();
                state.failures = 0;
                state.blocked = None;
                drop(state);
                starting.end(None);
                self.observer.instances(InstanceState::Busy, 1);
                Ok(instance)
            }
            Err(error) => {
                self.observer.start_failed(&error, begun.elapsed());
                starting.end(Some(ExitReason::StartFailed));
                Err(self.back_off(error))
            }
        }
    }

    fn back_off(&self, error: InvokeError) -> InvokeError {
        let mut state = self.state();
        let now = Instant::now();
        // Starts that fail side by side count as one.
        if state.blocked.as_ref().is_none_or(|blocked| blocked.until <= now) {
            state.failures = state.failures.saturating_add(1);
        }
        let wait = backoff(state.failures, fastrand::f64());
        state.blocked = Some(Blocked { until: now + wait, error: error.clone() });
        error.retry_after(wait)
    }

    fn give_back(self: Arc<Pool>, mut instance: Box<dyn Instance>, reason: ExitReason) {
        if !instance.reusable() {
            let reason = if instance.retired() { ExitReason::Recycled } else { reason };
            return self.observer.exited(reason);
        }
        let mut state = self.state();
        if state.stopped {
            drop(state);
            self.observer.exited(ExitReason::Stopped);
            return;
        }
        state.idle.push(Idle { instance, since: Instant::now() });
        let beyond_min = state.idle.len() > self.settings.instances_min as usize;
        // Without a runtime the program is ending, and everything with it.
        let runtime = tokio::runtime::Handle::try_current().ok().filter(|_| beyond_min && !state.reaping);
        state.reaping |= runtime.is_some();
        drop(state);
        self.observer.instances(InstanceState::Idle, 1);
        if let Some(runtime) = runtime {
            runtime.spawn(reap_idle(Arc::downgrade(&self)));
        }
    }

    /// Takes out what has been idle for too long. Returns when to look again, if ever.
    fn expire(&self) -> (Vec<Box<dyn Instance>>, Option<Instant>) {
        let mut state = self.state();
        let beyond_min = state.idle.len().saturating_sub(self.settings.instances_min as usize);
        let now = Instant::now();
        // The longest idle stand first: they are pushed and popped at the other end.
        let old = state.idle.iter().take(beyond_min);
        let count = old.take_while(|idle| now - idle.since >= self.settings.idle_timeout).count();
        let expired: Vec<_> = state.idle.drain(..count).map(|idle| idle.instance).collect();
        let next = if count < beyond_min {
            state.idle.first().map(|idle| idle.since + self.settings.idle_timeout)
        } else {
            state.reaping = false;
            None
        };
        (expired, next)
    }

    /// Stops idle instances in good order within `grace`, and the others when they come back. Idempotent.
    pub async fn stop(&self, grace: Duration) {
        self.permits.close();
        let idle = {
            let mut state = self.state();
            state.stopped = true;
            std::mem::take(&mut state.idle)
        };
        let stops = idle.into_iter().map(|idle| {
            self.observer.instances(InstanceState::Idle, -1);
            self.observer.exited(ExitReason::Stopped);
            idle.instance.stop(grace)
        });
        futures_util::future::join_all(stops).await;
        self.launcher.stop().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopped() -> InvokeError {
    InvokeError::new(ErrorKind::Unavailable, "the plugin is being stopped")
}

/// The wait after so many failed starts in a row. `random` is in 0..1.
fn backoff(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1);
    let whole = BACKOFF_BASE.saturating_mul(2_u32.saturating_pow(doublings)).min(BACKOFF_CAP);
    whole.mul_f64(0.5 + random / 2.0)
}

async fn reap_idle(pool: Weak<Pool>) {
    loop {
        let Some(strong) = pool.upgrade() else { return };
        let (expired, next) = strong.expire();
        for instance in expired {
            strong.observer.instances(InstanceState::Idle, -1);
            strong.observer.exited(ExitReason::Idle);
            tokio::spawn(instance.stop(strong.settings.stop_grace));
        }
        drop(strong);
        match next {
            Some(next) => tokio::time::sleep_until(next).await,
            None => return,
        }
    }
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
            Some(pool) => pool.give_back(instance, reason),
            None => self.observer.exited(ExitReason::Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_up_to_its_cap_and_jitters_below() {
        assert_eq!(backoff(1, 1.0), BACKOFF_BASE);
        assert_eq!(backoff(1, 0.0), BACKOFF_BASE / 2);
        assert_eq!(backoff(3, 1.0), BACKOFF_BASE * 4);
        for failures in [20, 1000, u32::MAX] {
            assert_eq!(backoff(failures, 1.0), BACKOFF_CAP);
        }
    }
}
