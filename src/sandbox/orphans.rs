//! The runner as the last to adopt: what a killed supervisor leaves behind.
//!
//! A supervisor that is killed takes its workers with it, by the signal that the kernel sends them. What those had
//! started loses its parent, and would live on. So the program adopts it, and kills it here. Only the program
//! does: whoever uses this library in a process of his own has other children, which are not ours to judge.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::process::{self, Stat};
use super::sys;

/// How soon the next look comes while something is left.
const LOOK_EVERY: Duration = Duration::from_millis(2);
const ROUNDS: u32 = 8;
/// After that it is given up. What cannot die hangs in the kernel.
const SWEEP_MAX: Duration = Duration::from_secs(10);

static ADOPTS: AtomicBool = AtomicBool::new(false);
/// The supervisors that run. Held while one is started: one that has no entry yet is no stranger.
static SUPERVISORS: Mutex<Option<HashSet<u32>>> = Mutex::new(None);

/// From now on this process adopts what its supervisors leave behind. To be called by a program that starts no
/// process in a session of its own but supervisors.
pub fn adopt() {
    if rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_ok() {
        ADOPTS.store(true, Ordering::Relaxed);
    }
}

/// Starts a supervisor; `start` returns its id.
pub(super) fn expect<T>(
    start: impl FnOnce() -> io::Result<T>,
    id: impl FnOnce(&T) -> Option<u32>,
) -> io::Result<T> {
    let mut supervisors = supervisors();
    let started = start()?;
    if let Some(id) = id(&started) {
        supervisors.get_or_insert_default().insert(id);
    }
    Ok(started)
}

/// A supervisor has ended and been reaped. Kills what it has left.
pub(super) async fn sweep_after(supervisor: Option<u32>) {
    if let (Some(id), Some(supervisors)) = (supervisor, supervisors().as_mut()) {
        supervisors.remove(&id);
    }
    if !ADOPTS.load(Ordering::Relaxed) {
        return;
    }
    let begun = Instant::now();
    while begun.elapsed() < SWEEP_MAX {
        // Without a pause first: against processes that fork while they are killed.
        if (0..ROUNDS).any(|_| kill_strangers() == 0) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn supervisors() -> MutexGuard<'static, Option<HashSet<u32>>> {
    SUPERVISORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills or reaps each stranger once; returns how many there were.
fn kill_strangers() -> usize {
    let supervisors = supervisors();
    let own = rustix::process::getpid();
    let Some(session) = Stat::of(own).map(|stat| stat.session) else { return 0 };
    // A process that we started is in our session, and nobody can enter it from outside.
    let is_stranger = |pid: &Pid| {
        let known = u32::try_from(pid.as_raw_pid())
            .is_ok_and(|pid| supervisors.as_ref().is_some_and(|known| known.contains(&pid)));
        !known
            && Stat::of(*pid).is_some_and(|stat| stat.session != session && stat.parent == own.as_raw_pid())
    };
    // They are given to any of our threads.
    let children = process::children(own, u64::MAX);
    let strangers = children.into_iter().filter(is_stranger);
    strangers
        .inspect(|pid| {
            if let Ok(None) = sys::reap(*pid) {
                // A child that has not been reaped keeps its id: this hits nobody else.
                let _ = rustix::process::kill_process(*pid, Signal::KILL);
            }
        })
        .count()
}
