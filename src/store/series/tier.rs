//! The steps of one series at one resolution. Steps in which nothing happened take no room. Pure.

use std::collections::VecDeque;

use super::slot::Slot;

/// A resolution: how wide its steps are, and how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    pub width_s: u32,
    pub keep_s: u32,
}

/// One step with its sums.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Its beginning, in seconds since 1970.
    pub at: u32,
    /// It differs from what the file has.
    pub dirty: bool,
    pub slot: Slot,
}

#[derive(Debug, Default)]
pub(super) struct Tier {
    /// Ascending.
    steps: VecDeque<Step>,
    /// No step before this one is dirty.
    dirty_from: Option<u32>,
}

impl Tier {
    /// The step that begins at `at`, which is changed now. True: it is new.
    pub fn change(&mut self, at: u32) -> (&mut Slot, bool) {
        self.dirty_from = Some(self.dirty_from.map_or(at, |from| from.min(at)));
        let (place, new) = self.place(at);
        let step = &mut self.steps[place];
        step.dirty = true;
        (&mut step.slot, new)
    }

    /// Takes in what a file has: it is added to what has been counted meanwhile. True: the step is new.
    pub fn load(&mut self, at: u32, slot: &Slot) -> bool {
        let (place, new) = self.place(at);
        self.steps[place].slot.add(slot);
        new
    }

    fn place(&mut self, at: u32) -> (usize, bool) {
        // Nearly all calls end now.
        if let Some(last) = self.steps.back()
            && last.at == at
        {
            return (self.steps.len() - 1, false);
        }
        let place = self.steps.partition_point(|step| step.at < at);
        let new = self.steps.get(place).is_none_or(|step| step.at != at);
        if new {
            self.steps.insert(place, Step { at, dirty: false, slot: Slot::default() });
        }
        (place, new)
    }

    /// Steps that begin in `from..until`, ascending.
    pub fn range(&self, from: u32, until: u32) -> impl Iterator<Item = (u32, &Slot)> {
        let first = self.steps.partition_point(|step| step.at < from);
        self.steps
            .iter()
            .skip(first)
            .take_while(move |step| step.at < until)
            .map(|step| (step.at, &step.slot))
    }

    /// Forgets the steps before; returns how many.
    pub fn forget(&mut self, before: u32) -> usize {
        let gone = self.steps.partition_point(|step| step.at < before);
        self.steps.drain(..gone);
        gone
    }

    pub fn first(&self) -> Option<u32> {
        self.steps.front().map(|step| step.at)
    }

    pub fn last(&self) -> Option<u32> {
        self.steps.back().map(|step| step.at)
    }

    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Copies of the steps that a file does not have, which from now on count as written.
    pub fn take_dirty(&mut self) -> Vec<(u32, Slot)> {
        let Some(from) = self.dirty_from.take() else { return Vec::new() };
        let first = self.steps.partition_point(|step| step.at < from);
        let steps = self.steps.iter_mut().skip(first);
        steps
            .filter_map(|step| std::mem::take(&mut step.dirty).then(|| (step.at, step.slot.clone())))
            .collect()
    }

    /// The file has it not, after all.
    pub fn mark_dirty_at(&mut self, at: u32) {
        let place = self.steps.partition_point(|step| step.at < at);
        if let Some(step) = self.steps.get_mut(place).filter(|step| step.at == at) {
            step.dirty = true;
            self.dirty_from = Some(self.dirty_from.map_or(at, |from| from.min(at)));
        }
    }

    /// The file has none of them.
    pub fn mark_all_dirty(&mut self) {
        for step in &mut self.steps {
            step.dirty = true;
        }
        self.dirty_from = self.first();
    }
}
