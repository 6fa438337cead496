//! Reading: series as lists of steps of one width.

use std::sync::Arc;
use std::time::SystemTime;

use crate::store::PurgeFilter;

use super::book::Example;
use super::slot::Slot;
use super::{Series, unix_s};

/// Widths that may be asked for.
pub const STEPS_S: [u32; 5] = [1, 10, 60, 600, 3_600];

/// Which series, and what of them.
#[derive(Clone, Debug, Default)]
pub struct SeriesFilter {
    pub plugin: Option<String>,
    pub version: Option<String>,
    /// Versions of a plugin are added up.
    pub sum: bool,
    /// The first step begins here or before, the last one begins before `until`. Seconds since 1970.
    pub from: u32,
    pub until: u32,
    pub step_s: u32,
    /// Made of kept steps of this width, which divides the step, and beginning exactly at `from`. Without it, of the
    /// widest that fit, and beginning at a whole step.
    pub kept_s: Option<u32>,
}

/// The steps of one series; those without calls too.
#[derive(Clone, Debug)]
pub struct Line {
    pub plugin: Arc<str>,
    pub version: Option<Arc<str>>,
    pub steps: Vec<Slot>,
}

#[derive(Clone, Debug)]
pub struct Lines {
    /// Where the first step begins.
    pub from: u32,
    pub step_s: u32,
    /// Steps of each line.
    pub steps: usize,
    /// By name.
    pub lines: Vec<Line>,
    /// Not all is known from before.
    pub complete_from: u32,
}

impl SeriesFilter {
    /// Begin of the first step, and how many there are.
    pub fn steps(&self) -> (u32, usize) {
        let width = self.step_s.max(1);
        let from = if self.kept_s.is_some() { self.from } else { self.from - self.from % width };
        (from, self.until.saturating_sub(from).div_ceil(width) as usize)
    }
}

impl Series {
    /// The steps of what fits. Series without any call in that time are left out.
    pub fn lines(&self, filter: &SeriesFilter) -> Lines {
        let now = unix_s(SystemTime::now());
        let tier = self.tier(filter.kept_s.unwrap_or(filter.step_s));
        let (from, steps) = filter.steps();
        let names = match &filter.plugin {
            Some(name) => vec![name.as_str().into()],
            None => self.shared.book().names(),
        };
        let mut lines: Vec<Line> = Vec::new();
        for name in names {
            // One after the other: whoever counts need not wait for all of them.
            let book = self.shared.book();
            let first = lines.len();
            for one in book.ones_of(&name) {
                let fits = |version: &String| one.version.as_deref() == Some(version.as_str());
                if !filter.version.as_ref().is_none_or(fits) {
                    continue;
                }
                let mut line: Option<usize> = (filter.sum && lines.len() > first).then_some(first);
                for (at, slot) in one.range(tier, from, filter.until) {
                    let line = *line.get_or_insert_with(|| {
                        let version = one.version.clone().filter(|_| !filter.sum);
                        lines.push(Line {
                            plugin: name.clone(),
                            version,
                            steps: vec![Slot::default(); steps],
                        });
                        lines.len() - 1
                    });
                    if let Some(step) = lines[line].steps.get_mut(((at - from) / filter.step_s) as usize) {
                        step.add(slot);
                    }
                }
            }
        }
        let complete_from = self.shared.book().complete_from(tier, now);
        Lines { from, step_s: filter.step_s, steps, lines, complete_from }
    }

    /// All calls that ended in `from..until`, one sum for each series that had any. Of the last minutes to the
    /// second, of longer ago to ten.
    pub fn sums(&self, from: u32, until: u32) -> Vec<(Arc<str>, Option<Arc<str>>, Slot)> {
        let now = unix_s(SystemTime::now());
        let width = self.width_for(now.saturating_sub(from));
        let tier = self.tier(width);
        let mut sums = Vec::new();
        let book = self.shared.book();
        for (plugin, one) in book.ones() {
            let mut sum = Slot::default();
            one.range(tier, from - from % width, until).for_each(|(_, slot)| sum.add(slot));
            if sum.calls > 0 {
                sums.push((plugin.clone(), one.version.clone(), sum));
            }
        }
        sums
    }

    /// When the last call of a plugin ended, as exactly as it is known.
    pub fn last_call(&self, plugin: &str) -> Option<u32> {
        let book = self.shared.book();
        book.ones_of(plugin).iter().filter_map(|one| one.last()).max()
    }

    /// Forgets the calls that it has as examples, as far as they are purged. The counts stay.
    pub fn forget(&self, filter: &PurgeFilter) {
        let trace = filter.trace_id.map(|id| id.to_string());
        let before = filter.before_ns.map(|before| u64::try_from(before).unwrap_or(0));
        self.shared.book().forget(|plugin, call| {
            filter.plugin.as_deref().is_none_or(|purged| purged == plugin)
                && trace.as_deref().is_none_or(|trace| trace == call.trace_id)
                && before.is_none_or(|before| call.at_unix_ns.saturating_sub(call.duration_ns) < before)
        });
    }

    /// The newest failed call, of all versions or of one, since the start.
    pub fn last_error(&self, plugin: &str, version: Option<&str>) -> Option<Example> {
        let book = self.shared.book();
        let fitting = book.ones_of(plugin).iter();
        let fitting =
            fitting.filter(|one| version.is_none_or(|version| one.version.as_deref() == Some(version)));
        fitting.filter_map(|one| one.last_error()).max_by_key(|error| error.at_unix_ns).cloned()
    }

    /// The slowest call of the last minute with calls.
    pub fn slowest(&self, plugin: &str, version: Option<&str>) -> Option<Example> {
        let book = self.shared.book();
        let fitting = book.ones_of(plugin).iter();
        let fitting =
            fitting.filter(|one| version.is_none_or(|version| one.version.as_deref() == Some(version)));
        fitting.filter_map(|one| one.slowest()).max_by_key(|slow| slow.duration_ns).cloned()
    }

    /// How far back steps of this width are kept, whether or not there was anything.
    pub fn reach(&self, step_s: u32) -> u32 {
        self.shared.book().reach(self.tier(step_s), unix_s(SystemTime::now()))
    }

    /// The coarsest resolution that such a step is made of.
    fn tier(&self, step_s: u32) -> usize {
        let fits = |width: u32| step_s >= width && step_s.is_multiple_of(width);
        self.shared.bounds.resolutions.iter().rposition(|one| fits(one.width_s)).unwrap_or(0)
    }

    /// The finest width with which a window of that many seconds is known whole.
    pub fn width_for(&self, window_s: u32) -> u32 {
        let resolutions = &self.shared.bounds.resolutions;
        let fits = resolutions.iter().find(|one| one.keep_s >= window_s);
        fits.unwrap_or(&resolutions[resolutions.len() - 1]).width_s
    }
}
