//! Looks after instances between calls: asks those with a `health` hook how they are, stops those that have been idle for
//! too long, and starts what is missing. One task for a pool, there only while something needs it.

use std::sync::{Arc, MutexGuard, Weak};

use tokio::time::Instant;

use super::queue::{Idle, State};
use super::{Pool, PoolSettings};
use crate::model::hook::Hook;
use crate::runtimes::Instance;
use crate::telemetry::{ExitReason, InstanceState};

/// How much earlier than asked for a check may come, so that instances that started together part.
const JITTER: f64 = 0.2;

/// What is to be done now.
#[derive(Default)]
struct Due {
    expired: Vec<Idle>,
    unchecked: Option<Idle>,
    /// So many are to be started, to have as many as are wanted.
    missing: u32,
    /// When to look again; `None`: the keeper ends.
    next: Option<Instant>,
}

/// When an instance that was well just now is asked again.
pub(super) fn next_check(instance: &dyn Instance, settings: &PoolSettings) -> Option<Instant> {
    let wait = settings.health_every.mul_f64(1.0 - JITTER * fastrand::f64());
    instance.has(Hook::Health).then(|| Instant::now() + wait)
}

async fn keep(pool: Weak<Pool>) {
    loop {
        let Some(strong) = pool.upgrade() else { return };
        let due = strong.due();
        for idle in due.expired {
            strong.observer.instances(InstanceState::Idle, -1);
            strong.observer.exited(ExitReason::Idle);
            tokio::spawn(strong.stop_instance(idle.slot.instance, strong.settings.stop_grace));
        }
        for _ in 0..due.missing {
            strong.start_aside();
        }
        if let Some(idle) = due.unchecked {
            strong.check(idle).await;
            continue;
        }
        drop(strong);
        match due.next {
            Some(next) => tokio::time::sleep_until(next).await,
            None => return,
        }
    }
}

impl Pool {
    /// Has the keeper run if what is there now needs it.
    pub(super) fn keep(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let needed = !state.kept && self.needs_keeper(&state);
        // Without a runtime the program is ending, and everything with it.
        let runtime = tokio::runtime::Handle::try_current().ok().filter(|_| needed);
        state.kept |= runtime.is_some();
        drop(state);
        if let Some(runtime) = runtime {
            runtime.spawn(keep(Arc::downgrade(self)));
        }
    }

    fn needs_keeper(&self, state: &State) -> bool {
        let idle = &state.idle;
        idle.len() > self.settings.instances_min as usize
            || idle.iter().any(|idle| idle.slot.check_at.is_some())
            || (state.live() < state.wanted && !state.stopped)
    }

    fn due(&self) -> Due {
        let mut state = self.state();
        let mut due = Due::default();
        let now = Instant::now();
        let beyond_min = state.idle.len().saturating_sub(self.settings.instances_min as usize);
        // The longest idle stand first: they are pushed and popped at the other end.
        let old = state.idle.iter().take(beyond_min);
        let count = old.take_while(|idle| now - idle.since >= self.settings.idle_timeout).count();
        due.expired = state.idle.drain(..count).collect();
        let expires = (count < beyond_min)
            .then(|| state.idle.first().map(|idle| idle.since + self.settings.idle_timeout));
        let retry_at = self.start_missing(&mut state, &mut due);
        let check_at = state.idle.iter().filter_map(|idle| idle.slot.check_at).min();
        if check_at.is_some_and(|at| at <= now) {
            let index = state.idle.iter().position(|idle| idle.slot.check_at == check_at);
            due.unchecked = index.map(|index| state.idle.remove(index));
            // It keeps its place: who finds no idle instance must not start one for it.
            state.checking += 1;
        } else {
            due.next = [expires.flatten(), check_at, retry_at].into_iter().flatten().min();
        }
        state.kept = due.next.is_some() || due.unchecked.is_some();
        due
    }

    /// Counts as starting what is missing, or says when it may be tried.
    fn start_missing(&self, state: &mut State, due: &mut Due) -> Option<Instant> {
        let missing = state.wanted.saturating_sub(state.live());
        if missing == 0 || state.stopped {
            return None;
        }
        let pause = state.backoff.trouble().and_then(|trouble| trouble.retry_in);
        if let Some(pause) = pause {
            return Some(Instant::now() + pause);
        }
        state.aside += missing;
        due.missing = missing;
        None
    }

    /// Asks one instance how it is. It counts as idle meanwhile, but nobody gets it.
    async fn check(self: &Arc<Self>, mut idle: Idle) {
        let verdict = self.ask_health(&mut *idle.slot.instance).await;
        let mut state = self.state();
        state.checking -= 1;
        if verdict.is_err() || state.stopped {
            let reason = match verdict {
                Err(_) => idle.slot.instance.exit_reason().unwrap_or(ExitReason::Unhealthy),
                Ok(()) => ExitReason::Stopped,
            };
            self.observer.instances(InstanceState::Idle, -1);
            self.observer.exited(reason);
            return self.replace(state, true);
        }
        idle.slot.check_at = next_check(&*idle.slot.instance, &self.settings);
        if state.waiting() > 0 {
            self.observer.instances(InstanceState::Idle, -1);
            return self.put(state, idle.slot);
        }
        // Where it stood: by the time since which it is idle.
        let index = state.idle.partition_point(|other| other.since <= idle.since);
        state.idle.insert(index, idle);
    }

    pub(super) async fn ask_health(&self, instance: &mut dyn Instance) -> Result<(), String> {
        let told = self.observer.hook(Hook::Health);
        let verdict = instance.health(self.settings.health_timeout).await;
        told(verdict.as_ref().copied().map_err(String::as_str));
        verdict
    }
}
