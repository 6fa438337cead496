//! A span's bar on the timeline of its trace.

/// A part of time that is as wide as the column of bars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeline {
    pub start: i64,
    pub end: i64,
}

/// What a bar is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Solid,
    /// Nothing happens: a wait between attempts.
    Shade,
}

impl Timeline {
    pub fn length(&self) -> i64 {
        self.end.saturating_sub(self.start).max(1)
    }

    /// `cells` characters with the bar from `start` to `end` in them. What lies outside is drawn at the edge.
    pub fn bar(&self, start: i64, end: i64, cells: usize, ink: Ink, unicode: bool) -> String {
        let position = |at: i64| {
            let share = at.saturating_sub(self.start) as f64 / self.length() as f64;
            share.clamp(0.0, 1.0) * cells as f64
        };
        let (from, to) = (position(start), position(end.max(start)));
        let cell = |index: usize| {
            let (left, right) = ((from - index as f64).max(0.0), (to - index as f64).min(1.0));
            match (unicode, ink) {
                _ if index >= cells => ' ',
                _ if is_point(from, to, index, cells, unicode) => point(from - index as f64, unicode),
                _ if right <= 0.0 || left >= 1.0 => ' ',
                (_, Ink::Shade) => {
                    if unicode {
                        '░'
                    } else {
                        '.'
                    }
                }
                (false, _) => {
                    if right - left >= 0.5 {
                        '='
                    } else {
                        ' '
                    }
                }
                (true, _) => block(left, right),
            }
        };
        (0..cells).map(cell).collect()
    }

    /// A line of times over the bars: begin, middle, end.
    pub fn axis(&self, cells: usize) -> String {
        let label = |share: f64| super::super::output::nanoseconds((self.length() as f64 * share) as u64);
        let mut axis = vec![' '; cells];
        let mut put = |text: &str, at: usize| {
            for (offset, character) in text.chars().enumerate() {
                if let Some(cell) = axis.get_mut(at + offset) {
                    *cell = character;
                }
            }
        };
        put("0", 0);
        let (middle, end) = (label(0.5), label(1.0));
        let end_at = cells.saturating_sub(end.chars().count());
        if cells / 2 + middle.chars().count() + 2 < end_at && cells >= 24 {
            put(&middle, cells / 2);
        }
        put(&end, end_at);
        axis.into_iter().collect()
    }
}

/// A bar that is thinner than the thinnest block still shows where it is.
fn is_point(from: f64, to: f64, index: usize, cells: usize, unicode: bool) -> bool {
    let thinnest = if unicode { 0.25 } else { 1.0 };
    to - from < thinnest && (from as usize).min(cells.saturating_sub(1)) == index
}

fn point(offset: f64, unicode: bool) -> char {
    match unicode {
        false => '|',
        true if offset < 0.5 => '▏',
        true => '▕',
    }
}

/// The block that fills a cell from `left` to `right` best. Unicode has eighths from the left, and from the
/// right only a half and an eighth.
fn block(left: f64, right: f64) -> char {
    const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    if left < 0.25 {
        return EIGHTHS[((right * 8.0).round() as usize).clamp(1, 8)];
    }
    match right - left {
        ..0.3 => '▕',
        _ => '▐',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Timeline = Timeline { start: 1_000, end: 2_000 };

    fn bar(start: i64, end: i64) -> String {
        LINE.bar(start, end, 10, Ink::Solid, true)
    }

    #[test]
    fn a_bar_stands_where_its_time_is() {
        assert_eq!(bar(1_000, 2_000), "██████████");
        assert_eq!(bar(1_200, 1_500), "  ███     ");
        assert_eq!(bar(1_250, 1_475), "  ▐█▊     ");
        assert_eq!(bar(1_900, 2_000), "         █");
        assert_eq!(LINE.bar(1_200, 1_500, 10, Ink::Shade, true), "  ░░░     ");
        assert_eq!(LINE.bar(1_200, 1_500, 10, Ink::Solid, false), "  ===     ");
    }

    #[test]
    fn the_shortest_bar_can_be_seen() {
        assert_eq!(bar(1_000, 1_000), "▏         ");
        assert_eq!(bar(2_000, 2_000), "         ▕");
        assert_eq!(bar(1_170, 1_171), " ▕        ");
        assert_eq!(LINE.bar(1_170, 1_171, 10, Ink::Solid, false), " |        ");
    }

    #[test]
    fn times_outside_stay_at_the_edge() {
        assert_eq!(bar(0, 10), "▏         ");
        assert_eq!(bar(5_000, 9_000), "         ▕");
        assert_eq!(bar(i64::MIN, i64::MAX), "██████████");
        assert_eq!(Timeline { start: 5, end: 5 }.bar(5, 5, 3, Ink::Solid, true), "▏  ");
    }

    #[test]
    fn the_axis_has_a_begin_and_an_end() {
        let line = Timeline { start: 0, end: 84_200_000 };
        assert_eq!(line.axis(30), "0              42.1ms   84.2ms");
        assert_eq!(line.axis(12), "0     84.2ms");
    }

    proptest::proptest! {
        #[test]
        fn a_bar_is_as_wide_as_its_column_and_never_empty(start: i64, end: i64, cells in 1usize..80, unicode: bool) {
            let line = Timeline { start: -500, end: 500_000 };
            let bar = line.bar(start, end, cells, Ink::Solid, unicode);
            proptest::prop_assert_eq!(bar.chars().count(), cells);
            proptest::prop_assert!(bar.trim() != "", "{:?}", bar);
        }
    }
}
