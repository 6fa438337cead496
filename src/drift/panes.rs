//! Windows: a version's calls in panes of counts. A window is the sum of the last panes.

use std::collections::VecDeque;

use super::bins::Layout;
use super::statistics::special::chi_square_tail;

/// Panes that differ by chance differ more than this in one of a hundred windows.
const UNEVEN: f64 = 0.01;

/// Counts of consecutive calls. Absolute: written twice it is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pane {
    /// From 0 since the baseline was pinned.
    pub number: u64,
    pub calls: u32,
    /// Of all cells of all fields.
    pub counts: Vec<u32>,
}

/// The newest closed panes, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Panes {
    panes: VecDeque<Pane>,
    kept_max: usize,
}

/// What lies in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub calls: u64,
    pub counts: Vec<u32>,
}

impl Pane {
    pub fn new(number: u64, cells: usize) -> Pane {
        Pane { number, calls: 0, counts: vec![0; cells] }
    }

    /// Takes in the counts of another one.
    pub fn merge(&mut self, other: &Pane) {
        self.calls = self.calls.saturating_add(other.calls);
        add(&mut self.counts, &other.counts);
    }
}

impl Panes {
    pub const fn new(kept_max: usize) -> Panes {
        Panes { panes: VecDeque::new(), kept_max }
    }

    pub fn push(&mut self, pane: Pane) {
        if self.panes.len() >= self.kept_max {
            self.panes.pop_front();
        }
        self.panes.push_back(pane);
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Pane> {
        self.panes.iter()
    }

    /// The number of the oldest one that is kept.
    pub fn oldest(&self) -> Option<u64> {
        self.panes.front().map(|pane| pane.number)
    }

    pub fn newest(&self) -> Option<u64> {
        self.panes.back().map(|pane| pane.number)
    }

    /// Of each field as many of the last panes as hold so many values of it, at least `panes` of them; with them goes the
    /// one that is open, if it is to count. A field that not every call has is known by as many values as all others.
    pub fn last(&self, panes: usize, values: u64, open: Option<&Pane>, layout: &Layout) -> Sum {
        let mut sum = Sum { calls: 0, counts: vec![0; layout.cells()] };
        for pane in open.into_iter().chain(self.panes.iter().rev().take(panes)) {
            sum.calls += u64::from(pane.calls);
            add(&mut sum.counts, &pane.counts);
        }
        for field in 0..layout.fields() {
            let start = layout.start(field);
            let mut found: u64 = layout.of(field, &sum.counts).iter().map(|count| u64::from(*count)).sum();
            for pane in self.panes.iter().rev().skip(panes) {
                if found >= values {
                    break;
                }
                let counts = layout.of(field, &pane.counts);
                found += counts.iter().map(|count| u64::from(*count)).sum::<u64>();
                add(&mut sum.counts[start..start + counts.len()], counts);
            }
        }
        sum
    }

    /// Whether the one that is open, or else the last closed ones, have a value of a field.
    pub fn is_fresh(&self, field: usize, panes: usize, open: Option<&Pane>, layout: &Layout) -> bool {
        let has = |pane: &Pane| layout.of(field, &pane.counts).iter().any(|count| *count > 0);
        open.map_or_else(|| self.panes.iter().rev().take(panes).any(has), has)
    }

    /// How much more unevenly some cells of a field are filled from pane to pane than they would be by independent calls;
    /// 1 unless that is beyond chance. `panes`: the last closed ones that are asked.
    pub fn unevenness(
        &self,
        panes: usize,
        open: Option<&Pane>,
        layout: &Layout,
        field: usize,
        cell: usize,
    ) -> f64 {
        let filled = open.into_iter().chain(self.panes.iter().rev().take(panes)).map(|pane| {
            let counts = layout.of(field, &pane.counts);
            (f64::from(counts[cell]), counts.iter().map(|count| f64::from(*count)).sum::<f64>())
        });
        let filled: Vec<(f64, f64)> = filled.filter(|(_, all)| *all > 0.0).collect();
        let (count, all) = filled.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let share = count / all;
        if filled.len() < 3 || count == 0.0 || count == all {
            return 1.0;
        }
        let deviation =
            |(count, all): &(f64, f64)| (count - all * share).powi(2) / (all * share * (1.0 - share));
        let (statistic, degrees) = (filled.iter().map(deviation).sum::<f64>(), (filled.len() - 1) as f64);
        if chi_square_tail(statistic, degrees) < UNEVEN { (statistic / degrees).max(1.0) } else { 1.0 }
    }

    /// All that are kept; of each field only those from a pane of its own on.
    pub fn since(&self, from: impl Fn(usize) -> u64, layout: &Layout) -> Sum {
        let mut sum = Sum { calls: 0, counts: vec![0; layout.cells()] };
        for pane in &self.panes {
            sum.calls += u64::from(pane.calls);
            for field in (0..layout.fields()).filter(|field| pane.number >= from(*field)) {
                let start = layout.start(field);
                let counts = layout.of(field, &pane.counts);
                add(&mut sum.counts[start..start + counts.len()], counts);
            }
        }
        sum
    }
}

fn add(sums: &mut [u32], counts: &[u32]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
}

#[cfg(test)]
mod tests {
    use super::super::bins::{Bins, Cells};
    use super::*;
    use crate::model::field::FieldKind;

    #[test]
    fn a_window_is_the_sum_of_its_panes() {
        let bins = Bins { kind: FieldKind::Number, cells: Cells::Values { values: vec![1.0] } };
        let layout = Layout::new([&bins, &bins]);
        let mut panes = Panes::new(3);
        for number in 0..5 {
            let mut pane = Pane::new(number, layout.cells());
            pane.calls = 1;
            pane.counts = (0..8).map(|cell| cell + 10 * number as u32).collect();
            panes.push(pane);
        }
        assert_eq!((panes.oldest(), panes.newest()), (Some(2), Some(4)));
        let last = panes.last(2, 1, None, &layout);
        assert_eq!((last.calls, last.counts[0], last.counts[7]), (2, 70, 84));
        let open = Pane { number: 5, calls: 3, counts: vec![1; 8] };
        assert_eq!(panes.last(2, 1, Some(&open), &layout).counts[0], 71);
        // Two panes hold 292 values of the first field, and 324 of the second.
        let longer = panes.last(2, 293, None, &layout);
        assert_eq!((longer.calls, longer.counts[0], longer.counts[4]), (2, 90, 78));
        assert_eq!(panes.last(2, 10_000, None, &layout).counts, panes.last(3, 1, None, &layout).counts);
        let since = panes.since(|field| if field == 0 { 0 } else { 4 }, &layout);
        assert_eq!((since.calls, since.counts[0], since.counts[4]), (3, 90, 44));
    }

    #[test]
    fn a_burst_is_uneven_and_a_steady_share_is_not() {
        let bins = Bins { kind: FieldKind::Number, cells: Cells::Values { values: vec![1.0] } };
        let layout = Layout::new([&bins]);
        let with = |nulls: [u32; 4]| {
            let mut panes = Panes::new(8);
            for (number, nulls) in nulls.into_iter().enumerate() {
                panes.push(Pane { number: number as u64, calls: 50, counts: vec![50 - nulls, 0, nulls, 0] });
            }
            panes.unevenness(4, None, &layout, 0, bins.null())
        };
        for even in [[0, 0, 0, 0], [1, 0, 2, 1], [3, 4, 2, 5], [0, 5, 4, 6], [50, 50, 50, 50]] {
            assert_eq!(with(even), 1.0, "{even:?}");
        }
        assert!(with([0, 0, 10, 0]) > 8.0 && with([1, 20, 0, 1]) > 8.0);
    }
}
