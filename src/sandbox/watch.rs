//! What one worker and all that it has started may do: so much memory, so many processes, and not stand still.
//! The supervisor looks again and again; each look reads a few lines of `/proc` and waits for nothing.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use super::memory::{CALM_EVERY, Judgement, MemoryBound};
use super::process::{self, Kept, Stat};

/// Processes of a worker, itself and the dead that nobody has waited for included. Room for pools of
/// processes on the largest machines; a fork bomb is there within a moment.
pub const PROCESSES_MAX: usize = 512;
/// A worker that somebody has stopped (SIGSTOP) runs no call, and nobody will set it going again.
const STOPPED_MAX: Duration = Duration::from_secs(1);
/// Children of a worker's further threads are looked for when it has done something, and now and then.
const THREADS_EVERY: Duration = Duration::from_secs(1);
/// How often a tree is gone through for processes that have been forked while it was being stopped.
const STOP_ROUNDS_MAX: usize = 32;
/// How much of a tree is stopped at once. What is left is found when its parents have died.
const STOP_PROCESSES_MAX: usize = 8 * PROCESSES_MAX;

/// Why a worker was ended by its supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breach {
    /// Its processes used so much memory.
    Memory { bytes: u64, bytes_max: u64 },
    /// It and what it started were more processes than this.
    Processes { max: u64 },
    /// It was stopped, and nobody set it going again.
    Stopped,
}

/// What was found by a look.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Look again after so long.
    Fine(Duration),
    Breach(Breach),
    /// It has ended.
    Gone,
}

/// One process that is watched, with what it starts.
#[derive(Debug)]
pub struct Watch {
    root: Pid,
    pidfd: OwnedFd,
    stat: Kept,
    /// `None`: this kernel keeps no such list, and the root is all that is counted.
    children: Option<Kept>,
    memory: MemoryBound,
    stopped_since: Option<Instant>,
    family: Family,
    look_at: Instant,
    wait: Duration,
    /// It is being killed. Until it has gone nobody else must answer for what it still holds.
    condemned: bool,
}

/// The children of the root as they were found last.
#[derive(Debug, Default)]
struct Family {
    children: Vec<Pid>,
    found_at: Option<Instant>,
    faults: u64,
    ticks: u64,
    threads: u64,
}

impl Watch {
    pub fn new(root: Pid, memory_bytes_max: u64, now: Instant) -> io::Result<Watch> {
        Ok(Watch {
            root,
            pidfd: rustix::process::pidfd_open(root, PidfdFlags::empty())?,
            stat: Kept::open(root, "stat")?,
            children: process::children_of_first_thread(root).ok(),
            memory: MemoryBound::new(memory_bytes_max),
            stopped_since: None,
            family: Family::default(),
            look_at: now,
            wait: Duration::ZERO,
            condemned: false,
        })
    }

    /// Kills it and what is below it, but not what is below other roots, which `watched` tells. All are stopped
    /// first: a process that cannot go on forks no more, so there is an end to it.
    pub fn kill(&mut self, watched: impl Fn(Pid) -> bool) {
        self.condemned = true;
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::STOP);
        let mut known = HashSet::from([self.root]);
        let mut stopped = Vec::new();
        for _ in 0..STOP_ROUNDS_MAX {
            let mut tree = Tree { members: vec![self.root], resident_bytes: 0 };
            let threads = Stat::of(self.root).map_or(1, |stat| stat.threads);
            tree.add_below(self.root, process::children(self.root, threads), STOP_PROCESSES_MAX, &watched);
            let fresh: Vec<Pid> = tree.members.into_iter().filter(|pid| known.insert(*pid)).collect();
            if fresh.is_empty() {
                break;
            }
            stopped.extend(fresh.into_iter().filter(|pid| stop(*pid)));
        }
        // Stopped, and their parents too: none of them has ended meanwhile, so each id is still its own.
        for pid in stopped {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// When the next look is due.
    pub fn look_at(&self) -> Instant {
        self.look_at
    }

    /// Whether it is to be looked at when others are: one look for all costs less than one for each.
    pub fn is_due(&self, now: Instant) -> bool {
        self.look_at <= now + self.wait / 2
    }

    /// `watched` tells other roots: what is below them is not counted here.
    pub fn look(&mut self, now: Instant, watched: impl Fn(Pid) -> bool) -> Look {
        let found = self.judge(now, watched);
        self.wait = match found {
            Look::Fine(wait) => wait,
            Look::Breach(_) | Look::Gone => CALM_EVERY,
        };
        self.look_at = now + self.wait;
        found
    }

    fn judge(&mut self, now: Instant, watched: impl Fn(Pid) -> bool) -> Look {
        let stat = self.stat.read().ok().and_then(|text| Stat::parse(&text));
        let Some(stat) = stat.filter(|stat| stat.state != 'Z') else { return Look::Gone };
        if self.condemned {
            return Look::Fine(CALM_EVERY);
        }
        if self.stands_still(stat, now) {
            return Look::Breach(Breach::Stopped);
        }
        self.find_children(stat, now);
        let mut tree = Tree { members: vec![self.root], resident_bytes: stat.resident_bytes };
        if !self.family.children.is_empty() {
            tree.add_below(self.root, self.family.children.clone(), PROCESSES_MAX + 1, watched);
        }
        if tree.members.len() > PROCESSES_MAX {
            return Look::Breach(Breach::Processes { max: PROCESSES_MAX as u64 });
        }
        match self.memory.judge(tree.resident_bytes, now) {
            Judgement::Fine(wait) => Look::Fine(wait.min(CALM_EVERY)),
            Judgement::Measure => self.measure(&tree, now),
        }
    }

    /// A debugger stops a process too (`t`), and knows what it does.
    fn stands_still(&mut self, stat: Stat, now: Instant) -> bool {
        if stat.state != 'T' {
            self.stopped_since = None;
            return false;
        }
        now - *self.stopped_since.get_or_insert(now) >= STOPPED_MAX
    }

    fn find_children(&mut self, stat: Stat, now: Instant) {
        let family = &mut self.family;
        if stat.threads <= 1 {
            let list = self.children.as_ref().and_then(|list| list.read().ok());
            family.children = process::parse_pids(&list.unwrap_or_default());
            return;
        }
        let quiet = (family.faults, family.ticks, family.threads) == (stat.faults, stat.ticks, stat.threads);
        if quiet && family.found_at.is_some_and(|at| now - at < THREADS_EVERY) {
            return;
        }
        *family = Family {
            children: process::children(self.root, stat.threads),
            found_at: Some(now),
            faults: stat.faults,
            ticks: stat.ticks,
            threads: stat.threads,
        };
    }

    /// Whether it is really too much.
    fn measure(&mut self, tree: &Tree, now: Instant) -> Look {
        let begun = Instant::now();
        // A process that forbids to look so closely counts whole. Who has just gone counts nothing.
        let fair = |pid: &Pid| {
            process::fair_bytes(*pid).or_else(|| Stat::of(*pid).map(|stat| stat.resident_bytes)).unwrap_or(0)
        };
        let bytes: u64 = tree.members.iter().map(fair).sum();
        if self.memory.measured(bytes, begun.elapsed(), now) {
            return Look::Breach(Breach::Memory { bytes, bytes_max: self.memory.bytes_max() });
        }
        match self.memory.judge(tree.resident_bytes, now) {
            Judgement::Fine(wait) => Look::Fine(wait),
            Judgement::Measure => Look::Fine(CALM_EVERY),
        }
    }
}

/// A process and what is below it.
struct Tree {
    members: Vec<Pid>,
    resident_bytes: u64,
}

impl Tree {
    /// Goes down from the children of `root`, to `members_max` processes in all.
    fn add_below(
        &mut self,
        root: Pid,
        children: Vec<Pid>,
        members_max: usize,
        watched: impl Fn(Pid) -> bool,
    ) {
        let mut known: HashSet<Pid> = self.members.iter().copied().collect();
        let mut found: Vec<(Pid, Pid)> = children.into_iter().map(|child| (root, child)).collect();
        while let Some((parent, pid)) = found.pop() {
            if self.members.len() >= members_max {
                return;
            }
            if watched(pid) || !known.insert(pid) {
                continue;
            }
            // Since the list was read it may have ended, and its id may be another's.
            let Some(stat) = Stat::of(pid).filter(|stat| stat.parent == parent.as_raw_pid()) else {
                continue;
            };
            self.members.push(pid);
            self.resident_bytes = self.resident_bytes.saturating_add(stat.resident_bytes);
            found.extend(process::children(pid, stat.threads).into_iter().map(|child| (pid, child)));
        }
    }
}

/// Stops a process that was seen below another just now. It is held while that is looked at again, so that
/// nobody else is hit.
fn stop(pid: Pid) -> bool {
    let Ok(held) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return false };
    Stat::of(pid).is_some_and(|stat| is_below(stat.parent, rustix::process::getpid()))
        && rustix::process::pidfd_send_signal(&held, Signal::STOP).is_ok()
}

/// Whether the process with the id `pid` is `ancestor` or below it.
pub fn is_below(pid: i32, ancestor: Pid) -> bool {
    // Nobody nests processes deeper for good reasons.
    const DEPTH_MAX: usize = 4_096;
    let mut pid = pid;
    for _ in 0..DEPTH_MAX {
        if pid == ancestor.as_raw_pid() {
            return true;
        }
        match Pid::from_raw(pid).and_then(Stat::of) {
            Some(stat) => pid = stat.parent,
            None => return false,
        }
    }
    false
}
