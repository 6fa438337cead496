//! The last calls, with the cells and numbers of their values: what a bin that grew is shown by, and what can become a
//! baseline.

use std::collections::VecDeque;

use super::bins::{Bins, Cells, Datum, Kept, Mark, NOTHING};
use super::capture::Capture;
use super::sighting::Seen;
use crate::model::field::FieldKind;

/// Calls that are remembered.
pub const CALLS_MAX: usize = 512;

#[derive(Clone)]
pub struct Recent {
    calls: Vec<Seen>,
    /// Of each call one for each field.
    marks: Vec<Mark>,
    /// Which call (counted from the first), which field, which category.
    unseen: VecDeque<(u64, usize, Box<str>)>,
    fields: usize,
    /// Calls that came, those that are forgotten among them.
    count: u64,
}

impl Recent {
    pub const fn new(fields: usize) -> Recent {
        Recent { calls: Vec::new(), marks: Vec::new(), unseen: VecDeque::new(), fields, count: 0 }
    }

    pub fn push(&mut self, seen: Seen, marks: &[Mark], unseen: Vec<(usize, Box<str>)>) {
        if self.calls.len() < CALLS_MAX {
            self.calls.push(seen);
            self.marks.extend_from_slice(marks);
        } else {
            let place = self.place(self.count);
            self.calls[place] = seen;
            let from = place * self.fields;
            self.marks[from..from + self.fields].copy_from_slice(marks);
        }
        let number = self.count;
        self.unseen.extend(unseen.into_iter().map(|(field, text)| (number, field, text)));
        self.count += 1;
        let oldest = self.count - self.calls() as u64;
        while self.unseen.front().is_some_and(|(call, ..)| *call < oldest) {
            self.unseen.pop_front();
        }
    }

    pub fn clear(&mut self) {
        *self = Recent::new(self.fields);
    }

    pub const fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The newest calls whose value of a field lies in one of these cells, with that cell.
    pub fn in_cells(&self, field: usize, cells: impl Fn(u8) -> bool, limit: usize) -> Vec<(Seen, u8)> {
        self.numbers()
            .rev()
            .map(|number| (self.calls[self.place(number)], self.mark(number, field).cell))
            .filter(|(_, cell)| cells(*cell))
            .take(limit)
            .collect()
    }

    /// All that is remembered, as if it had just been captured.
    pub fn capture(&self, hints: impl IntoIterator<Item = Option<FieldKind>>, bins: &[Bins]) -> Capture {
        let mut capture = Capture::new(hints, CALLS_MAX);
        for number in self.numbers() {
            for (field, bins) in bins.iter().enumerate() {
                let mark = self.mark(number, field);
                if mark.cell != NOTHING {
                    self.give_back(&mut capture, field, bins, mark, number);
                }
            }
        }
        capture
    }

    /// What a mark was made of, as far as bins can tell it apart.
    fn give_back(&self, capture: &mut Capture, field: usize, bins: &Bins, mark: Mark, number: u64) {
        let cell = usize::from(mark.cell);
        if cell == bins.null() {
            return capture.add(field, Datum::Null);
        }
        if cell == bins.invalid() {
            return capture.add(field, Datum::Object);
        }
        match bins.kind {
            FieldKind::Number => capture.add(field, Datum::Number(mark.number)),
            FieldKind::TextLength => capture.add_kept(field, Kept::Text(0, mark.number as u32), None),
            FieldKind::ListSize => capture.add(field, Datum::List(mark.number as usize)),
            FieldKind::Boolean => capture.add(field, Datum::Boolean(cell == 1)),
            FieldKind::Category => {
                let known = match &bins.cells {
                    Cells::Categories { names } => names.get(cell).map(|name| &**name),
                    _ => None,
                };
                let unseen = || {
                    let first = self.unseen.partition_point(|(call, ..)| *call < number);
                    let of_call = self.unseen.range(first..).take_while(|(call, ..)| *call == number);
                    of_call.into_iter().find(|(_, at, _)| *at == field).map(|(.., text)| &**text)
                };
                if let Some(text) = known.or_else(unseen) {
                    capture.add(field, Datum::Text(text));
                }
            }
        }
    }

    /// The numbers of the calls that are remembered, oldest first.
    fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> + use<> {
        self.count - self.calls() as u64..self.count
    }

    const fn place(&self, number: u64) -> usize {
        (number % CALLS_MAX as u64) as usize
    }

    fn mark(&self, number: u64, field: usize) -> Mark {
        self.marks[self.place(number) * self.fields + field]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{InvocationId, TraceId};

    fn seen(at: u64) -> Seen {
        Seen {
            invocation_id: InvocationId::new(uuid::Uuid::from_u128(u128::from(at) + 1)),
            trace_id: TraceId::from_bytes([1; 16]).unwrap(),
            at_unix_ms: at,
        }
    }

    fn mark(cell: u64) -> Mark {
        Mark { cell: cell as u8, number: cell as f64 }
    }

    #[test]
    fn the_newest_in_a_cell_come_first() {
        let mut recent = Recent::new(2);
        let times = |recent: &Recent, field, cell| -> Vec<u64> {
            recent.in_cells(field, |one| one == cell, 3).iter().map(|(seen, _)| seen.at_unix_ms).collect()
        };
        for at in 0..10 {
            recent.push(seen(at), &[mark(at % 2), mark(7)], Vec::new());
        }
        assert_eq!(times(&recent, 0, 1), [9, 7, 5]);
        let last = 10 + 3 * CALLS_MAX as u64 + 5;
        for at in 10..last {
            recent.push(seen(at), &[mark(at % 3), mark(8)], Vec::new());
        }
        let newest = (0..last).rev().find(|at| at % 3 == 1).unwrap();
        assert_eq!(times(&recent, 0, 1), [newest, newest - 3, newest - 6]);
        assert!(times(&recent, 1, 7).is_empty(), "those are gone");
        assert_eq!(times(&recent, 1, 8)[0], last - 1);
    }

    /// Also what the old bins had no cell for.
    #[test]
    fn the_last_calls_get_bins_of_their_own() {
        let number = Bins { kind: FieldKind::Number, cells: Cells::Ranges { edges: vec![1.0] } };
        let category =
            Bins { kind: FieldKind::Category, cells: Cells::Categories { names: vec!["a".into()] } };
        let bins = [number, category];
        let mut recent = Recent::new(2);
        for at in 0..1_000_u64 {
            let text = if at < 600 { "b" } else { ["a", "c"][(at % 2) as usize] };
            let marks = [bins[0].mark(Datum::Number(1_000.0 + at as f64)), bins[1].mark(Datum::Text(text))];
            let unseen = if text == "a" { Vec::new() } else { vec![(1, text.into())] };
            recent.push(seen(at), &marks, unseen);
        }
        let capture = recent.capture([None, None], &bins);
        let Cells::Ranges { edges } = capture.bins(0).cells else { panic!("ranges") };
        assert!(edges.len() == 9 && edges[0] > 1_488.0 && edges[8] < 1_999.0, "{edges:?}");
        let names = ["a", "c", "b"].map(String::from).to_vec();
        assert_eq!(capture.bins(1).cells, Cells::Categories { names });
        assert_eq!(capture.kept(1).unwrap().len(), CALLS_MAX);
    }
}
