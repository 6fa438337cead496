//! Who gets an instance next, and whether there should be more of them: the pool's book, without any waiting in it.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::scaling::{Growth, Scaling};
use super::{PoolSettings, Turn};
use crate::runtimes::Instance;

/// With fewer in the queue nobody looks for those who have left.
const SEARCHED_FROM: usize = 64;

/// A live instance and what the pool knows of it.
pub(super) struct Slot {
    pub instance: Box<dyn Instance>,
    pub calls: u64,
    /// After so many calls it is replaced.
    pub calls_max: u64,
    /// When its health is to be asked for; `None`: it has no such hook.
    pub check_at: Option<Instant>,
}

pub(super) struct Idle {
    pub slot: Slot,
    pub since: Instant,
}

pub(super) struct State {
    /// The most recently used stands last.
    pub idle: Vec<Idle>,
    /// Longest waiting first. Some of those that have left are still there.
    waiting: VecDeque<oneshot::Sender<Turn>>,
    /// With so many in the queue, those that have left are looked for in all of it.
    search_at: usize,
    /// Turns that have not ended: each holds an instance, or starts one.
    pub turns: u32,
    /// Instances that start for nobody in particular.
    pub aside: u32,
    /// Instances that are asked how they are.
    pub checking: u32,
    /// So many are to live from now on, calls or not.
    pub wanted: u32,
    pub scaling: Scaling,
    pub backoff: Backoff,
    pub stopped: bool,
    /// The keeper runs; it ends with the last that needs it.
    pub kept: bool,
}

/// What comes next for somebody who wants an instance.
pub(super) enum Next {
    Take(Slot),
    Start,
    /// Wait; after so long without one, look whether to start one beside. `None`: there can be no more.
    Wait(oneshot::Receiver<Turn>),
}

impl State {
    pub fn new(now: Instant) -> State {
        State {
            idle: Vec::new(),
            waiting: VecDeque::new(),
            search_at: SEARCHED_FROM,
            turns: 0,
            aside: 0,
            checking: 0,
            wanted: 0,
            scaling: Scaling::new(now),
            backoff: Backoff::default(),
            stopped: false,
            kept: false,
        }
    }

    /// Instances that live or start.
    pub fn live(&self) -> u32 {
        self.turns + self.aside + self.checking + u32::try_from(self.idle.len()).unwrap_or(u32::MAX)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Somebody comes.
    pub fn next(&mut self, settings: &PoolSettings, now: Instant) -> Next {
        self.forget_who_left();
        self.scaling.pass(now, self.waiting.len());
        if self.turns < settings.calls_max && self.waiting.is_empty() {
            if let Some(idle) = self.idle.pop() {
                self.turns += 1;
                return Next::Take(idle.slot);
            }
            // One that starts for nobody in particular is for him.
            let may_start = self.live() < settings.live_max() && self.aside == 0;
            if may_start && self.scaling.growth(self.turns, 1) == Growth::Now {
                self.turns += 1;
                self.scaling.start_begun();
                return Next::Start;
            }
        }
        let (sender, turn) = oneshot::channel();
        self.waiting.push_back(sender);
        Next::Wait(turn)
    }

    /// Whether to start one beside those who wait, now or after what time. `None`: there can be no more, or
    /// as many as wait are starting.
    pub fn growth(&mut self, settings: &PoolSettings, now: Instant) -> Option<Growth> {
        self.forget_who_left();
        self.scaling.pass(now, self.waiting.len());
        let starting = self.aside as usize;
        let useful = self.waiting.len() > starting
            && self.turns + self.aside < settings.calls_max
            && self.live() < settings.live_max();
        (useful && !self.stopped && self.backoff.check().is_ok())
            .then(|| self.scaling.growth(self.turns, self.waiting.len()))
    }

    /// Whether the first who waits may start an instance, now that one is gone: it would have become his, or none is
    /// left.
    pub fn may_replace(&self, settings: &PoolSettings, room: bool) -> bool {
        let live = self.live();
        let short = self.waiting.len() > self.aside as usize && live < settings.live_max();
        live == 0 || (room && short && self.backoff.check().is_ok())
    }

    /// The first who waits, if he may have a turn. His turn counts from here.
    pub fn pop_waiting(&mut self, settings: &PoolSettings, now: Instant) -> Option<oneshot::Sender<Turn>> {
        self.forget_who_left();
        if self.turns >= settings.calls_max || self.waiting.is_empty() {
            return None;
        }
        self.scaling.pass(now, self.waiting.len());
        self.turns += 1;
        self.waiting.pop_front()
    }

    /// Who waits for a pool that ends waits for nothing.
    pub fn dismiss(&mut self) {
        self.waiting.clear();
    }

    fn forget_who_left(&mut self) {
        while self.waiting.front().is_some_and(oneshot::Sender::is_closed) {
            self.waiting.pop_front();
        }
        // Behind one who waits for long, many may have come and left. Looked for at each doubling, so that it costs each
        // who comes the same.
        if self.waiting.len() >= self.search_at {
            self.waiting.retain(|waiting| !waiting.is_closed());
            self.search_at = (2 * self.waiting.len()).max(SEARCHED_FROM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_leave_do_not_pile_up_behind_one_who_waits() {
        let (settings, now) = (PoolSettings::new(0, 1), Instant::now());
        let mut state = State::new(now);
        assert!(matches!(state.next(&settings, now), Next::Start));
        let Next::Wait(first) = state.next(&settings, now) else { panic!("there is one only") };
        let mut kept = Vec::new();
        for number in 0..10_000 {
            let Next::Wait(turn) = state.next(&settings, now) else { panic!("there is one only") };
            if number % 100 == 0 {
                kept.push(turn);
            }
            assert!(state.waiting() <= 2 * (kept.len() + 1) + SEARCHED_FROM, "{}", state.waiting());
        }
        // All who stayed get their turn, in their order.
        for mut turn in std::iter::once(first).chain(kept) {
            state.turns = 0;
            let sender = state.pop_waiting(&settings, now).expect("somebody waits");
            drop(sender);
            assert!(turn.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        }
        state.turns = 0;
        assert!(state.pop_waiting(&settings, now).is_none());
    }
}
