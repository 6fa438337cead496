//! How an instance is started: for a caller who waits for it, or beside, for whoever is first when it is ready.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::queue::Slot;
use super::{CALLS_JITTER, Lease, Pool, PoolObserver, keeper, stopped};
use crate::model::error::InvokeError;
use crate::model::hook::Hook;
use crate::model::kind::ErrorKind;
use crate::runtimes::{Instance, NotPrepared, RunningHook, StartListener, StartMode, StartNews};
use crate::telemetry::{ExitReason, InstanceState};

/// Starts that take no longer, as those of copies do, pass by the gate.
const QUICK_START: Duration = Duration::from_millis(20);

/// The leave to start an instance. Dropped unused, it is the next one's.
pub struct Place {
    pool: Weak<Pool>,
    begun: bool,
    used: bool,
}

impl Place {
    pub(super) fn new(pool: Weak<Pool>) -> Place {
        Place { pool, begun: false, used: false }
    }

    /// Starts an instance. What it says before it is ready goes to `listener`.
    pub async fn start(mut self, listener: &mut StartListener<'_>) -> Result<Lease, InvokeError> {
        let pool = self.pool.upgrade().ok_or_else(stopped)?;
        self.begun = true;
        let instance = pool.start(listener).await?;
        self.used = true;
        pool.observer.instances(InstanceState::Busy, 1);
        let slot = pool.slot(instance);
        Ok(pool.lease(slot))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.used
            && let Some(pool) = self.pool.upgrade()
        {
            // What did not start for him would hardly start for the next: unless he is the last hope.
            pool.end_turn(None, !self.begun);
        }
    }
}

/// Hears a start that no call waits for.
pub struct Preparation {
    pub news: Box<dyn FnMut(StartNews) + Send>,
    pub ended: StartEnd,
}

/// How a start ended.
pub type StartEnd = Box<dyn FnOnce(Result<(), &InvokeError>) + Send>;

impl Preparation {
    pub fn unheard() -> Preparation {
        Preparation { news: Box::new(|_| {}), ended: Box::new(|_| {}) }
    }
}

impl Pool {
    /// Has `count` instances live from now on, started beside, and `instances_min` for good.
    pub fn warm(self: &Arc<Self>, count: u32) {
        let count = count.max(self.settings.instances_min).min(self.settings.instances_max);
        let missing = {
            let mut state = self.state();
            if state.stopped {
                return;
            }
            state.wanted = self.settings.instances_min;
            let missing = count.saturating_sub(state.live());
            state.aside += missing;
            missing
        };
        for _ in 0..missing {
            self.start_aside();
        }
    }

    /// Where each call gets an instance of its own, the next ones are started before they are asked for.
    pub(super) fn top_up(&self) {
        if self.settings.spares == 0 {
            return;
        }
        loop {
            {
                let mut state = self.state();
                let ahead = state.idle.len() as u32 + state.aside;
                let room = state.live() < self.settings.live_max();
                if state.stopped || ahead >= self.settings.spares || !room || state.backoff.check().is_err() {
                    return;
                }
                state.aside += 1;
            }
            self.start_aside();
        }
    }

    /// Starts an instance that has been counted as aside, for whoever is first when it is ready.
    pub(super) fn start_aside(&self) {
        let aside = Aside { pool: self.own.clone(), ended: false };
        // Without a runtime the program is ending, and everything with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Some(pool) = self.own.upgrade() else { return };
        runtime.spawn(async move {
            let Preparation { mut news, ended } = pool.observer.preparing();
            let started = pool.start(&mut *news).await;
            ended(started.as_ref().map(drop));
            if let Ok(instance) = started {
                let slot = pool.slot(instance);
                let mut state = pool.state();
                aside.end_in(&mut state);
                pool.put(state, slot);
            }
        });
    }

    fn slot(&self, instance: Box<dyn Instance>) -> Slot {
        let check_at = keeper::next_check(&*instance, &self.settings);
        let calls_max = self.settings.calls_per_life.map_or(u64::MAX, |calls| {
            let fewer = calls as f64 * CALLS_JITTER * fastrand::f64();
            calls.saturating_sub(fewer as u64).max(1)
        });
        Slot { instance, calls: 0, calls_max, check_at }
    }

    /// Starts an instance, unless starting pauses after failures.
    pub(super) async fn start(
        &self,
        listener: &mut StartListener<'_>,
    ) -> Result<Box<dyn Instance>, InvokeError> {
        let quick = {
            let state = self.state();
            if state.stopped {
                return Err(stopped());
            }
            state.backoff.check()?;
            state.scaling.starts_within(QUICK_START)
        };
        let starting = Starting::new(self.observer.clone());
        let begun = Instant::now();
        let prepared = self.launcher.prepare(listener).await;
        let start = self.start_now(begun, prepared, starting, listener);
        // What is ready at once must not wait for what has to be loaded first.
        if quick { start.await } else { self.settings.gate.pass(start).await }
    }

    async fn start_now(
        &self,
        begun: Instant,
        prepared: Result<(), NotPrepared>,
        mut starting: Starting,
        listener: &mut StartListener<'_>,
    ) -> Result<Box<dyn Instance>, InvokeError> {
        let launch_begun = Instant::now();
        let mut loading = false;
        let listener: &mut StartListener<'_> = &mut |news| {
            if let StartNews::Mode(mode) = &news {
                loading = matches!(mode, StartMode::Fork { loading: true });
                self.note_mode(mode);
            }
            listener(news);
        };
        let mut not_installed = None;
        let launched = match prepared {
            Ok(()) => tokio::time::timeout(self.settings.start_timeout, self.launcher.launch(listener)).await,
            Err(NotPrepared::Other(error)) => Ok(Err(error)),
            Err(NotPrepared::Install { error, requirement }) => {
                not_installed = Some(requirement);
                Ok(Err(error))
            }
        };
        let launched = launched.unwrap_or_else(|_| {
            let message = format!("the worker was not ready within {:?}", self.settings.start_timeout);
            Err(InvokeError::new(ErrorKind::Unavailable, message))
        });
        let launched = match launched {
            Ok(mut instance) => self.first_check(&mut *instance, listener).await.map(|()| instance),
            Err(error) => Err(error),
        };
        let took = begun.elapsed();
        match launched {
            Ok(instance) => {
                let mut state = self.state();
                state.backoff.succeeded();
                // What loads the plugin for all who come after says nothing about how long they take.
                if !loading {
                    state.scaling.start_took(launch_begun.elapsed());
                }
                drop(state);
                starting.end(None);
                self.observer.started(instance.pid(), took);
                Ok(instance)
            }
            Err(error) => {
                match &not_installed {
                    None => self.observer.start_failed(&error, took),
                    Some(requirement) => self.observer.install_failed(&error, requirement.as_deref(), took),
                }
                starting.end(Some(ExitReason::StartFailed));
                let setback = self.state().backoff.failed(&error, fastrand::f64());
                if let Some(failures) = setback.crash_loop {
                    self.observer.crash_looping(failures, &error, setback.retry_in);
                }
                Err(error.retry_after(setback.retry_in))
            }
        }
    }

    fn note_mode(&self, mode: &StartMode) {
        let mut known = self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        let said = known.as_ref().is_some_and(|known| known.why() == mode.why());
        *known = Some(mode.clone());
        drop(known);
        if let Some(why) = mode.why().filter(|_| !said) {
            self.observer.fork_refused(why);
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
}

/// An instance that starts beside. Dropped without its end: it did not become one.
struct Aside {
    pool: Weak<Pool>,
    ended: bool,
}

impl Aside {
    fn end_in(mut self, state: &mut super::State) {
        state.aside -= 1;
        self.ended = true;
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.ended
            && let Some(pool) = self.pool.upgrade()
        {
            let mut state = pool.state();
            state.aside -= 1;
            pool.replace(state, false);
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
