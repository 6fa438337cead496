//! The instances of one deployment: handed out warm where possible, started when needed, stopped when idle.
//! Shared by all kinds that run as processes. A pool without instances costs no task and no timer.
//!
//! A call waits for its *turn* (`queue.rs`, first come, first served): an instance, or the leave to start one for
//! itself. When waiting costs more than a start would (`scaling.rs`), one is started beside (`start.rs`), for whoever waits
//! longest then. `keeper.rs` looks after those that are idle.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

pub use self::backoff::StartTrouble;
pub use self::gate::StartGate;
use self::queue::{Idle, Next, Slot, State};
use self::scaling::Growth;
pub use self::start::{Place, Preparation};
use super::{BoxFuture, CallEnd, CallRequest, Guest, Instance, Launcher, StartListener, StartMode};
use crate::model::error::InvokeError;
use crate::model::hook::Hook;
use crate::model::kind::ErrorKind;
use crate::telemetry::{ExitReason, InstanceState};

mod backoff;
mod gate;
mod keeper;
mod queue;
mod scaling;
mod start;

/// Defaults of [`PoolSettings`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(2);
const HEALTH_EVERY: Duration = Duration::from_secs(10);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// So many fresh instances are kept ahead of the calls where each call gets one of its own.
const SPARES: u32 = 2;
/// Instances that started together are not replaced together: each may have up to this share fewer calls.
const CALLS_JITTER: f64 = 0.1;

#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// So many instances are kept however long they are idle, from [`Pool::warm`] on.
    pub instances_min: u32,
    pub instances_max: u32,
    /// How many calls run at once.
    pub calls_max: u32,
    /// An instance is replaced, in good order, after so many calls.
    pub calls_per_life: Option<u64>,
    /// An instance is replaced, in good order, after a call that left it with a higher peak of memory, bytes.
    pub memory_peak_max: Option<u64>,
    /// Each call gets an instance of its own; so many wait for calls.
    pub spares: u32,
    /// What starts of all pools pass through.
    pub gate: Arc<StartGate>,
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
        let instances_max = instances_max.max(1);
        PoolSettings {
            instances_min,
            instances_max,
            calls_max: instances_max,
            calls_per_life: None,
            memory_peak_max: None,
            spares: 0,
            gate: Arc::default(),
            idle_timeout: IDLE_TIMEOUT,
            start_timeout: START_TIMEOUT,
            stop_grace: STOP_GRACE,
            health_every: HEALTH_EVERY,
            health_timeout: HEALTH_TIMEOUT,
        }
    }

    /// Each call gets a fresh instance.
    pub fn one_call_each(&mut self) {
        self.calls_per_life = Some(1);
        self.spares = SPARES;
    }

    fn live_max(&self) -> u32 {
        self.instances_max.saturating_add(self.spares)
    }
}

/// Hears what happens in a pool. Called from any task, outside of locks; must return at once.
pub trait PoolObserver: Send + Sync {
    /// The number of instances in `state` changed by `change`.
    fn instances(&self, state: InstanceState, change: i64);
    /// An instance is gone. Once per instance, failed starts included.
    fn exited(&self, reason: ExitReason);
    /// An instance became ready.
    fn started(&self, pid: Option<u32>, took: Duration);
    /// An instance did not become ready.
    fn start_failed(&self, error: &InvokeError, took: Duration);
    /// The same, since what the plugin requires could not be installed; which requirement, if that is known.
    fn install_failed(&self, error: &InvokeError, _requirement: Option<&str>, took: Duration) {
        self.start_failed(error, took);
    }
    /// An instance is about to be started for no call in particular.
    fn preparing(&self) -> Preparation {
        Preparation::unheard()
    }
    /// The plugin cannot be copied; said once.
    fn fork_refused(&self, _why: &str) {}
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
    state: Mutex<State>,
    /// How the last instance came to be.
    mode: Mutex<Option<StartMode>>,
    own: Weak<Pool>,
}

/// What somebody gets who wanted an instance.
pub enum Turn {
    Instance(Lease),
    /// There is none: he may start one.
    Start(Place),
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
        Arc::new_cyclic(|own| Pool {
            launcher,
            settings,
            observer,
            state: Mutex::new(State::new(Instant::now())),
            mode: Mutex::default(),
            own: own.clone(),
        })
    }

    /// Waits, in order of arrival, for an instance or for the leave to start one.
    pub async fn turn(&self) -> Result<Turn, InvokeError> {
        let next = {
            let mut state = self.state();
            if state.stopped {
                return Err(stopped());
            }
            state.next(&self.settings, Instant::now())
        };
        match next {
            Next::Take(slot) => {
                self.observer.instances(InstanceState::Idle, -1);
                Ok(self.taken(slot))
            }
            Next::Start => {
                self.top_up();
                Ok(Turn::Start(Place::new(self.own.clone())))
            }
            Next::Wait(mut turn) => loop {
                let told = match self.look() {
                    None => (&mut turn).await,
                    Some(wait) => match tokio::time::timeout(wait, &mut turn).await {
                        Ok(told) => told,
                        Err(_) => continue,
                    },
                };
                return told.map_err(|_| stopped());
            },
        }
    }

    /// The same to its end. What a new instance says before it is ready goes to `listener`.
    pub async fn acquire(&self, listener: &mut StartListener<'_>) -> Result<Acquired, InvokeError> {
        match self.turn().await? {
            Turn::Instance(lease) => Ok(Acquired { lease, cold_start: None }),
            Turn::Start(place) => {
                let begun = Instant::now();
                let lease = place.start(listener).await?;
                Ok(Acquired { lease, cold_start: Some(begun.elapsed()) })
            }
        }
    }

    /// Why instances do not start; `None`: the last start succeeded, or there was none.
    pub fn start_trouble(&self) -> Option<StartTrouble> {
        self.state().backoff.trouble()
    }

    /// How the last instance came to be; `None`: there was none yet.
    pub fn start_mode(&self) -> Option<StartMode> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Instances that live or start.
    pub fn live(&self) -> u32 {
        self.state().live()
    }

    /// An idle instance has been taken: it may have died meanwhile.
    fn taken(&self, mut slot: Slot) -> Turn {
        let turn = if slot.instance.reusable() {
            self.observer.instances(InstanceState::Busy, 1);
            Turn::Instance(self.lease(slot))
        } else {
            self.observer.exited(slot.instance.exit_reason().unwrap_or(ExitReason::Crashed));
            drop(slot);
            self.instead()
        };
        self.top_up();
        turn
    }

    /// For a turn whose instance has died: the next idle one, or the leave to start one.
    fn instead(&self) -> Turn {
        loop {
            let Some(mut idle) = self.state().idle.pop() else {
                return Turn::Start(Place::new(self.own.clone()));
            };
            self.observer.instances(InstanceState::Idle, -1);
            if idle.slot.instance.reusable() {
                self.observer.instances(InstanceState::Busy, 1);
                return Turn::Instance(self.lease(idle.slot));
            }
            self.observer.exited(idle.slot.instance.exit_reason().unwrap_or(ExitReason::Crashed));
        }
    }

    /// Starts what should be started for those who wait. Returns when to look again; `None`: there can be no more.
    fn look(&self) -> Option<Duration> {
        loop {
            let growth = {
                let mut state = self.state();
                let growth = state.growth(&self.settings, Instant::now())?;
                if growth == Growth::Now {
                    state.aside += 1;
                    state.scaling.start_begun();
                }
                growth
            };
            match growth {
                Growth::Now => self.start_aside(),
                Growth::After(wait) => return Some(wait),
            }
        }
    }

    fn lease(&self, slot: Slot) -> Lease {
        Lease {
            slot: Some(slot),
            pool: self.own.clone(),
            observer: self.observer.clone(),
            running: None,
            memory_peak_bytes: 0,
        }
    }

    /// A turn has ended, and with it goes its instance, or it stays for the next.
    fn give_back(self: &Arc<Self>, mut slot: Slot, end: End) {
        if !slot.instance.reusable() {
            self.observer.exited(slot.instance.exit_reason().unwrap_or(end.reason));
            drop(slot);
            return self.end_turn(end.took, true);
        }
        let heavy = self.settings.memory_peak_max.is_some_and(|max| end.memory_peak_bytes > max);
        if slot.calls >= slot.calls_max || heavy {
            self.recycle(slot);
            return self.end_turn(end.took, true);
        }
        let mut state = self.state();
        state.turns -= 1;
        if let Some(took) = end.took {
            state.scaling.call_took(took);
        }
        self.put(state, slot);
    }

    /// An instance is free: for the first who waits, or idle.
    fn put(self: &Arc<Self>, mut state: MutexGuard<'_, State>, slot: Slot) {
        if state.stopped {
            drop(state);
            return self.observer.exited(ExitReason::Stopped);
        }
        if let Some(waiting) = state.pop_waiting(&self.settings, Instant::now()) {
            drop(state);
            self.observer.instances(InstanceState::Busy, 1);
            // If he has left just now, dropping the lease brings the instance back here.
            drop(waiting.send(Turn::Instance(self.lease(slot))));
            return;
        }
        state.idle.push(Idle { slot, since: Instant::now() });
        self.keep(state);
        self.observer.instances(InstanceState::Idle, 1);
    }

    /// A turn has ended without an instance to give back. `room`: another may be started in its place.
    fn end_turn(self: &Arc<Self>, took: Option<Duration>, room: bool) {
        let mut state = self.state();
        state.turns -= 1;
        if let Some(took) = took {
            state.scaling.call_took(took);
        }
        self.replace(state, room);
    }

    /// An instance is gone, or did not come, or a turn is free: whoever waits must not wait for it.
    fn replace(self: &Arc<Self>, mut state: MutexGuard<'_, State>, room: bool) {
        let idle = !state.idle.is_empty();
        let may = !state.stopped && (idle || state.may_replace(&self.settings, room));
        let waiting = may.then(|| state.pop_waiting(&self.settings, Instant::now())).flatten();
        let idle = waiting.is_some().then(|| state.idle.pop()).flatten();
        self.keep(state);
        match (waiting, idle) {
            (Some(waiting), Some(idle)) => {
                self.observer.instances(InstanceState::Idle, -1);
                drop(waiting.send(self.taken(idle.slot)));
            }
            (Some(waiting), None) => drop(waiting.send(Turn::Start(Place::new(self.own.clone())))),
            (None, _) => self.top_up(),
        }
    }

    /// Ends an instance that has served its share, in good order.
    fn recycle(&self, slot: Slot) {
        self.observer.exited(ExitReason::Recycled);
        // Without a runtime the program is ending, and everything with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.stop_instance(slot.instance, self.settings.stop_grace));
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
        let idle = {
            let mut state = self.state();
            state.stopped = true;
            state.wanted = 0;
            state.dismiss();
            std::mem::take(&mut state.idle)
        };
        self.stop_idle(idle, ExitReason::Stopped, grace).await;
        self.launcher.stop().await;
    }

    /// Stops what is idle now, for a version that gets no more calls but those that name it.
    pub async fn trim(&self) {
        let idle = {
            let mut state = self.state();
            state.wanted = 0;
            std::mem::take(&mut state.idle)
        };
        self.stop_idle(idle, ExitReason::Idle, self.settings.stop_grace).await;
        self.launcher.rest();
    }

    async fn stop_idle(&self, idle: Vec<Idle>, reason: ExitReason, grace: Duration) {
        let stops = idle.into_iter().map(|idle| {
            self.observer.instances(InstanceState::Idle, -1);
            self.observer.exited(reason);
            self.stop_instance(idle.slot.instance, grace)
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

/// How a turn with an instance ended.
struct End {
    /// Why the instance is gone, if it is.
    reason: ExitReason,
    /// How long it was used; `None`: no call was made.
    took: Option<Duration>,
    memory_peak_bytes: u64,
}

/// An instance in use. Dropping it gives the instance back, or ends it if it cannot be used again.
pub struct Lease {
    slot: Option<Slot>,
    pool: Weak<Pool>,
    observer: Arc<dyn PoolObserver>,
    /// When the last call began, and when it has to be over, as long as it runs.
    running: Option<(Instant, Option<Instant>)>,
    memory_peak_bytes: u64,
}

impl Lease {
    /// Runs one call; see [`Instance::call`]. Dropping the future kills the worker at once.
    pub fn call<'a>(
        &'a mut self,
        request: CallRequest,
        guest: &'a mut dyn Guest,
    ) -> BoxFuture<'a, Result<CallEnd, InvokeError>> {
        let begun = Instant::now();
        self.running = Some((begun, Some(begun + request.deadline)));
        let (slot, running, peak) = (&mut self.slot, &mut self.running, &mut self.memory_peak_bytes);
        let slot = slot.as_mut().expect("it is taken out by drop only");
        slot.calls += 1;
        Box::pin(async move {
            let result = slot.instance.call(request, guest).await;
            *running = Some((begun, None));
            if let Ok(end) = &result {
                *peak = end.usage.memory_peak_bytes;
            }
            result
        })
    }

    pub fn pid(&self) -> Option<u32> {
        self.slot.as_ref().and_then(|slot| slot.instance.pid())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        self.observer.instances(InstanceState::Busy, -1);
        let now = Instant::now();
        let reason = match self.running {
            None | Some((_, None)) => ExitReason::Crashed,
            Some((_, Some(deadline))) if now >= deadline => ExitReason::Timeout,
            Some((_, Some(_))) => ExitReason::Killed,
        };
        let took = self.running.map(|(begun, _)| now - begun);
        match self.pool.upgrade() {
            Some(pool) => {
                pool.give_back(slot, End { reason, took, memory_peak_bytes: self.memory_peak_bytes });
            }
            None => self.observer.exited(ExitReason::Stopped),
        }
    }
}
