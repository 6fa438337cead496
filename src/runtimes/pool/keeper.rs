//! Looks after idle instances: asks those with a `health` hook how they are, and stops those that have been idle
//! for too long. One task for a pool, there only while an instance is idle that needs it.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::{Idle, Pool, PoolSettings};
use crate::model::hook::Hook;
use crate::runtimes::Instance;
use crate::telemetry::{ExitReason, InstanceState};

/// How much earlier than asked for a check may come, so that instances that started together part.
const JITTER: f64 = 0.2;
/// How soon it is tried again when all places are taken: the instance is about to get a call.
const NO_PLACE_WAIT: Duration = Duration::from_millis(100);

/// What is to be done now.
#[derive(Default)]
struct Due {
    expired: Vec<Box<dyn Instance>>,
    unchecked: Option<(Idle, OwnedSemaphorePermit)>,
    /// When to look again; `None`: the keeper ends.
    next: Option<Instant>,
}

/// When an instance that was well just now is asked again.
pub(super) fn next_check(instance: &dyn Instance, settings: &PoolSettings) -> Option<Instant> {
    let wait = settings.health_every.mul_f64(1.0 - JITTER * fastrand::f64());
    instance.has(Hook::Health).then(|| Instant::now() + wait)
}

pub(super) async fn keep(pool: Weak<Pool>) {
    loop {
        let Some(strong) = pool.upgrade() else { return };
        let due = strong.due();
        for instance in due.expired {
            strong.observer.instances(InstanceState::Idle, -1);
            strong.observer.exited(ExitReason::Idle);
            tokio::spawn(strong.stop_instance(instance, strong.settings.stop_grace));
        }
        if let Some((idle, permit)) = due.unchecked {
            strong.check(idle).await;
            drop(permit);
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
    /// Whether an idle instance needs the keeper.
    pub(super) fn needs_keeper(&self, idle: &[Idle]) -> bool {
        idle.len() > self.settings.instances_min as usize || idle.iter().any(|idle| idle.check_at.is_some())
    }

    fn due(&self) -> Due {
        let mut state = self.state();
        let mut due = Due::default();
        let now = Instant::now();
        let beyond_min = state.idle.len().saturating_sub(self.settings.instances_min as usize);
        // The longest idle stand first: they are pushed and popped at the other end.
        let old = state.idle.iter().take(beyond_min);
        let count = old.take_while(|idle| now - idle.since >= self.settings.idle_timeout).count();
        due.expired = state.idle.drain(..count).map(|idle| idle.instance).collect();
        let expires = (count < beyond_min)
            .then(|| state.idle.first().map(|idle| idle.since + self.settings.idle_timeout));
        let check_at = state.idle.iter().filter_map(|idle| idle.check_at).min();
        if check_at.is_some_and(|at| at <= now) {
            // Whoever finds no idle instance may start one: so the checked one must keep a place.
            match self.permits.clone().try_acquire_owned() {
                Ok(permit) => {
                    let index = state.idle.iter().position(|idle| idle.check_at == check_at);
                    due.unchecked = index.map(|index| (state.idle.remove(index), permit));
                }
                Err(_) => due.next = Some(now + NO_PLACE_WAIT),
            }
        } else {
            due.next = [expires.flatten(), check_at].into_iter().flatten().min();
        }
        state.kept = due.next.is_some() || due.unchecked.is_some();
        due
    }

    /// Asks one instance how it is. It counts as idle meanwhile, but nobody gets it.
    async fn check(&self, mut idle: Idle) {
        let verdict = self.ask_health(&mut *idle.instance).await;
        if verdict.is_err() {
            self.observer.instances(InstanceState::Idle, -1);
            return self.observer.exited(idle.instance.exit_reason().unwrap_or(ExitReason::Unhealthy));
        }
        idle.check_at = next_check(&*idle.instance, &self.settings);
        let mut state = self.state();
        if state.stopped {
            drop(state);
            self.observer.instances(InstanceState::Idle, -1);
            return self.observer.exited(ExitReason::Stopped);
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
