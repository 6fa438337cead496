//! What goes when room is short, as a function of a picture of the tables. Not the oldest as such: first ordinary calls,
//! then slow ones, then failed ones, as long as a class has more than its share; of the plugin that takes the most room;
//! of its ten minutes those that are the fullest for their age. Of these every second call goes, by its trace, so that
//! what stays is a fair sample which gets thinner with age.
//!
//! A plugin that is called 10,000 times a second thus never pushes out one that is called once a minute: it is the one
//! that takes the most room, until both take the same.

use std::collections::HashMap;

use super::class::{Class, OF_CALLS};

/// Rows of one plugin and class that began in the same ten minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub plugin: String,
    pub class: Class,
    pub slot: i64,
    pub rows: i64,
    pub bytes: i64,
    /// How often every second row went.
    pub passes: i64,
}

/// Rows that go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub plugin: String,
    pub class: Class,
    pub slot: i64,
    pub rows: i64,
    pub passes: i64,
    /// All of them; else every second one.
    pub whole: bool,
}

/// What happens outside of calls takes at most one part in so many of what is kept.
const OUTSIDE_SHARE: i64 = 10;
/// A class of calls is spared while it has no more than one part in so many of what calls take.
const SPARED_SHARE: i64 = 4;
/// So few rows are not worth a sample.
const FEW_ROWS: i64 = 4;
/// Cells that one judgement names.
const TARGETS_MAX: usize = 64;

/// What should go to get rid of about `excess` bytes; may be less: the next judgement goes on. Empty: there is nothing
/// that could go so.
pub(super) fn judge(cells: &[Cell], now_slot: i64, excess: i64) -> Vec<Target> {
    let total = bytes(cells, |_| true);
    let outside = bytes(cells, |class| matches!(class, Class::Outside | Class::Operations));
    let calls = bytes(cells, |class| OF_CALLS.contains(&class));
    if outside > total / OUTSIDE_SHARE || (calls == 0 && outside > 0) {
        let excess = excess.min((outside - total / OUTSIDE_SHARE).max(1));
        return oldest_outside(cells, excess);
    }
    let class = OF_CALLS.into_iter().find(|class| {
        let own = bytes(cells, |one| one == *class);
        own > 0 && own > calls / SPARED_SHARE
    });
    let Some(class) = class else { return Vec::new() };
    let plugins = weights(cells, class);
    let mut by_weight: Vec<(&str, i64)> = plugins.into_iter().collect();
    by_weight.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let Some((plugin, weight)) = by_weight.first().copied() else { return Vec::new() };
    // No further than to where the next plugin is the largest.
    let next = by_weight.get(1).map_or(0, |(_, weight)| *weight);
    let excess = excess.min((weight - next).max(weight / 20).max(1));
    fullest(cells, plugin, class, now_slot, excess)
}

fn bytes(cells: &[Cell], of: impl Fn(Class) -> bool) -> i64 {
    cells.iter().filter(|cell| of(cell.class)).map(|cell| cell.bytes).sum()
}

/// What plugins take by calls of this class, with their part of the plugin's lines.
fn weights(cells: &[Cell], class: Class) -> HashMap<&str, i64> {
    #[derive(Default)]
    struct Sums {
        class: i64,
        calls: i64,
        lines: i64,
    }
    let mut sums: HashMap<&str, Sums> = HashMap::new();
    for cell in cells {
        let sum = sums.entry(&cell.plugin).or_default();
        match cell.class {
            Class::Lines => sum.lines += cell.bytes,
            Class::Outside | Class::Operations => {}
            of_calls => {
                sum.calls += cell.bytes;
                sum.class += if of_calls == class { cell.bytes } else { 0 };
            }
        }
    }
    let weight =
        |sum: &Sums| sum.class + (sum.lines as f64 * sum.class as f64 / sum.calls.max(1) as f64) as i64;
    sums.iter().filter(|(_, sum)| sum.class > 0).map(|(plugin, sum)| (*plugin, weight(sum))).collect()
}

fn fullest(cells: &[Cell], plugin: &str, class: Class, now_slot: i64, excess: i64) -> Vec<Target> {
    let age = |cell: &Cell| i128::from((now_slot - cell.slot).max(0) + 1);
    let mut own: Vec<&Cell> =
        cells.iter().filter(|cell| cell.plugin == plugin && cell.class == class).collect();
    own.sort_by_key(|cell| (std::cmp::Reverse(i128::from(cell.bytes) * age(cell)), cell.slot));
    let mut freed = 0;
    let mut targets = Vec::new();
    for cell in own {
        if freed >= excess || targets.len() >= TARGETS_MAX {
            break;
        }
        let target = Target::of(cell, cell.rows <= FEW_ROWS);
        freed += if target.whole { cell.bytes } else { cell.bytes / 2 };
        targets.push(target);
    }
    targets
}

fn oldest_outside(cells: &[Cell], excess: i64) -> Vec<Target> {
    let mut outside: Vec<&Cell> =
        cells.iter().filter(|cell| matches!(cell.class, Class::Outside | Class::Operations)).collect();
    outside.sort_by_key(|cell| cell.slot);
    let mut freed = 0;
    let mut targets = Vec::new();
    for cell in outside {
        if freed >= excess || targets.len() >= TARGETS_MAX {
            break;
        }
        freed += cell.bytes;
        targets.push(Target::of(cell, true));
    }
    targets
}

impl Target {
    fn of(cell: &Cell, whole: bool) -> Target {
        let Cell { plugin, class, slot, rows, passes, .. } = cell.clone();
        Target { plugin, class, slot, rows, passes, whole }
    }
}

#[cfg(test)]
mod tests;
