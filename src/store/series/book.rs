//! All series: who is counted where, for how long, and what it may cost. Pure: the caller says what time it is.
//!
//! All resolutions are counted side by side, from the call itself. To sum up the coarse ones from the fine ones later
//! would be no less work (a call touches three counters), but it would need an order (late calls, a restart between two
//! sums), and a call that ended long ago would be missing where its second is no longer kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::slot::{Ended, Slot};
use super::tier::{Resolution, Tier};
use crate::model::kind::ErrorKind;

/// Calls of names that nobody registered.
pub const OTHER: &str = "_other";
/// Calls for which there was no room.
pub const OVERFLOW: &str = "_overflow";

/// Named bounds. A step takes 136 bytes: 400,000 of them are 54 MB, and up to twice that with the room that growing lists keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Pairs of plugin and version that had calls in the time that is kept.
    pub series_max: usize,
    /// Steps of all series and resolutions. Beyond it, the resolution that has most loses its oldest.
    pub steps_max: usize,
    /// Ascending width.
    pub resolutions: [Resolution; 3],
}

/// A failed or slow call that may be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub at_unix_ns: u64,
    pub kind: Option<ErrorKind>,
    pub message: String,
    pub duration_ns: u64,
    pub invocation_id: String,
    pub trace_id: String,
}

pub(super) struct Book {
    pub bounds: Bounds,
    /// By name, then in the order of their first call.
    plugins: BTreeMap<Arc<str>, Vec<One>>,
    /// Nothing was counted before.
    pub since: Option<u32>,
    /// Steps before this were given up for want of room, by resolution.
    shed: [u32; 3],
    steps: usize,
    series: usize,
    next_id: i64,
    /// Calls that went to [`OVERFLOW`], ever.
    pub overflowed: u64,
}

pub(super) struct One {
    pub version: Option<Arc<str>>,
    /// Its key in the file.
    pub id: i64,
    tiers: [Tier; 3],
    last_error: Option<Example>,
    /// The slowest call of the last minute with calls.
    slowest: Option<Example>,
}

/// A step on its way to the file, or from there.
pub(super) struct Change {
    pub id: i64,
    pub plugin: Arc<str>,
    pub version: Option<Arc<str>>,
    /// Which resolution.
    pub tier: usize,
    pub at: u32,
    pub slot: Slot,
}

/// So long the slowest call stays an example.
const SLOWEST_FOR_NS: u64 = 60_000_000_000;

impl Book {
    pub fn new(bounds: Bounds) -> Book {
        Book {
            bounds,
            plugins: BTreeMap::new(),
            since: None,
            shed: [0; 3],
            steps: 0,
            series: 0,
            next_id: 1,
            overflowed: 0,
        }
    }

    /// Counts a call that ended at `at_unix_ns`. `example` is asked if it may serve as one.
    pub fn count(
        &mut self,
        plugin: &Arc<str>,
        version: Option<&Arc<str>>,
        call: &Ended,
        at_unix_ns: u64,
        now: u32,
        example: impl Fn() -> Example,
    ) {
        // A clock that was set back meanwhile does not make a future.
        let at = u32::try_from(at_unix_ns / 1_000_000_000).unwrap_or(now).min(now);
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        let resolutions = self.bounds.resolutions;
        let shed = self.shed;
        let one = self.one(plugin, version, call);
        let mut new = 0;
        for ((tier, resolution), shed) in one.tiers.iter_mut().zip(resolutions).zip(shed) {
            let begin = at - at % resolution.width_s;
            if begin < shed || begin < floor(now, resolution) {
                continue;
            }
            let (slot, is_new) = tier.change(begin);
            slot.count(call);
            new += usize::from(is_new);
        }
        if call.is_error() {
            one.last_error = Some(example());
        }
        let duration_ns = u64::try_from(call.duration.as_nanos()).unwrap_or(u64::MAX);
        let slower = one.slowest.as_ref().is_none_or(|slowest| {
            slowest.duration_ns <= duration_ns || slowest.at_unix_ns + SLOWEST_FOR_NS < at_unix_ns
        });
        if call.reached_attempt && slower {
            one.slowest = Some(example());
        }
        self.steps += new;
        self.shed();
    }

    /// Takes in a step of the file: it is added to what has been counted meanwhile.
    pub fn load(&mut self, step: &Change, now: u32) {
        let Some(resolution) = self.bounds.resolutions.get(step.tier).copied() else { return };
        if step.at < floor(now, resolution) || step.at < self.shed[step.tier] {
            return;
        }
        let Some(one) = self.find_or_add(&step.plugin, step.version.as_ref()) else { return };
        one.id = step.id;
        let new = one.tiers[step.tier].load(step.at, &step.slot);
        self.steps += usize::from(new);
        self.shed();
    }

    /// Makes room for a file's keys up to `last`.
    pub fn renumber(&mut self, last: i64) {
        self.next_id = last + 1;
        for one in self.plugins.values_mut().flatten() {
            one.id = self.next_id;
            self.next_id += 1;
        }
    }

    /// Where a call is counted.
    fn one(&mut self, plugin: &Arc<str>, version: Option<&Arc<str>>, call: &Ended) -> &mut One {
        // Without a version the name may be anything that somebody wrote.
        let known = version.is_some() || call.is_error() || self.plugins.contains_key(plugin);
        let other: Arc<str>;
        let plugin = if known {
            plugin
        } else {
            other = OTHER.into();
            &other
        };
        if self.find_or_add(plugin, version).is_none() {
            self.overflowed += 1;
            let overflow: Arc<str> = OVERFLOW.into();
            return self.add(&overflow, None);
        }
        self.add(plugin, version)
    }

    /// `None`: there is no room for one more.
    fn find_or_add(&mut self, plugin: &Arc<str>, version: Option<&Arc<str>>) -> Option<&mut One> {
        let there = self
            .plugins
            .get(plugin)
            .is_some_and(|all| all.iter().any(|one| one.version.as_deref() == version.map(|v| &**v)));
        if !there && self.series >= self.bounds.series_max {
            return None;
        }
        Some(self.add(plugin, version))
    }

    fn add(&mut self, plugin: &Arc<str>, version: Option<&Arc<str>>) -> &mut One {
        let all = match self.plugins.contains_key(plugin) {
            true => self.plugins.get_mut(plugin).expect("it is there"),
            false => self.plugins.entry(plugin.clone()).or_default(),
        };
        let place = all.iter().position(|one| one.version.as_deref() == version.map(|v| &**v));
        let place = place.unwrap_or_else(|| {
            all.push(One::new(version.cloned(), self.next_id));
            self.next_id += 1;
            self.series += 1;
            all.len() - 1
        });
        &mut all[place]
    }

    /// When there are too many steps, the resolution with most of them loses its oldest twentieth of time.
    fn shed(&mut self) {
        while self.steps > self.bounds.steps_max {
            let count = |tier: usize| self.ones().map(|(_, one)| one.tiers[tier].len()).sum::<usize>();
            let fullest = (0..3).max_by_key(|tier| count(*tier)).unwrap_or(2);
            let first = self.ones().filter_map(|(_, one)| one.tiers[fullest].first()).min();
            let last = self.ones().filter_map(|(_, one)| one.tiers[fullest].last()).max();
            let (Some(first), Some(last)) = (first, last) else { return };
            let width = self.bounds.resolutions[fullest].width_s;
            let cut = first + ((last - first) / 20).max(1);
            let cut = cut - cut % width + width;
            self.shed[fullest] = cut;
            for one in self.plugins.values_mut().flatten() {
                self.steps -= one.tiers[fullest].forget(cut);
            }
        }
    }

    /// Forgets what is older than its time, and series of which nothing is left.
    pub fn expire(&mut self, now: u32) {
        let resolutions = self.bounds.resolutions;
        for one in self.plugins.values_mut().flatten() {
            for (tier, resolution) in one.tiers.iter_mut().zip(resolutions) {
                self.steps -= tier.forget(floor(now, resolution));
            }
        }
        for all in self.plugins.values_mut() {
            let before = all.len();
            all.retain(|one| one.tiers.iter().any(|tier| tier.len() > 0));
            self.series -= before - all.len();
        }
        self.plugins.retain(|_, all| !all.is_empty());
    }

    /// Steps at `tier` that begin before this are not known, or not all of them.
    pub fn complete_from(&self, tier: usize, now: u32) -> u32 {
        self.reach(tier, now).max(self.since.unwrap_or(now))
    }

    /// The oldest step that there may be.
    pub fn reach(&self, tier: usize, now: u32) -> u32 {
        floor(now, self.bounds.resolutions[tier]).max(self.shed[tier])
    }

    /// All series, by name.
    pub fn ones(&self) -> impl Iterator<Item = (&Arc<str>, &One)> {
        self.plugins.iter().flat_map(|(plugin, all)| all.iter().map(move |one| (plugin, one)))
    }

    pub fn ones_of(&self, plugin: &str) -> &[One] {
        self.plugins.get(plugin).map_or(&[], Vec::as_slice)
    }

    /// Forgets examples of calls that are purged.
    pub fn forget(&mut self, purged: impl Fn(&str, &Example) -> bool) {
        for (plugin, ones) in &mut self.plugins {
            for one in ones {
                one.last_error.take_if(|example| purged(plugin, example));
                one.slowest.take_if(|example| purged(plugin, example));
            }
        }
    }

    pub fn names(&self) -> Vec<Arc<str>> {
        self.plugins.keys().cloned().collect()
    }

    pub fn counts(&self) -> (usize, usize) {
        (self.series, self.steps)
    }

    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (plugin, all) in &mut self.plugins {
            for one in all {
                for (tier, kept) in one.tiers.iter_mut().enumerate() {
                    changes.extend(kept.take_dirty().into_iter().map(|(at, slot)| Change {
                        id: one.id,
                        plugin: plugin.clone(),
                        version: one.version.clone(),
                        tier,
                        at,
                        slot,
                    }));
                }
            }
        }
        changes
    }

    /// None of it could be written.
    pub fn put_back(&mut self, changes: &[Change]) {
        for change in changes {
            let ones = self.plugins.get_mut(&change.plugin).into_iter().flatten();
            for one in ones.filter(|one| one.id == change.id) {
                one.tiers[change.tier].mark_dirty_at(change.at);
            }
        }
    }

    /// The file is a new one.
    pub fn all_changed(&mut self) {
        for tier in self.plugins.values_mut().flatten().flat_map(|one| &mut one.tiers) {
            tier.mark_all_dirty();
        }
    }
}

impl One {
    fn new(version: Option<Arc<str>>, id: i64) -> One {
        One { version, id, tiers: Default::default(), last_error: None, slowest: None }
    }

    /// Steps that begin in `from..until`.
    pub fn range(&self, tier: usize, from: u32, until: u32) -> impl Iterator<Item = (u32, &Slot)> {
        self.tiers[tier].range(from, until)
    }

    /// The newest step of all.
    pub fn last(&self) -> Option<u32> {
        self.tiers.iter().filter_map(Tier::last).max()
    }

    pub fn last_error(&self) -> Option<&Example> {
        self.last_error.as_ref()
    }

    pub fn slowest(&self) -> Option<&Example> {
        self.slowest.as_ref()
    }
}

/// The oldest step that is kept.
fn floor(now: u32, resolution: Resolution) -> u32 {
    let from = now.saturating_sub(resolution.keep_s);
    from - from % resolution.width_s
}

#[cfg(test)]
mod tests;
