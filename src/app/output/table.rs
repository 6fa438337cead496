//! Tables with aligned columns. At most one column gives way when a line does not fit, and only where a
//! person looks: its cells are cut, or stand under their rows where too little of them would be left.

use super::{Line, Paint, Style, width};

/// With fewer columns than this, the elastic cells stand under their rows.
const ELASTIC_MIN: usize = 24;
/// What the elastic column may take where nothing is cut to the width of a terminal.
const ELASTIC_MAX: usize = 200;
const GAP: usize = 2;
/// Of a cell under its row.
const INDENT: usize = 4;

#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub title: &'static str,
    pub right: bool,
    /// Its cells are cut so that the line fits.
    pub elastic: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub paint: Paint,
    pub text: String,
}

#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Column {
    pub const fn left(title: &'static str) -> Column {
        Column { title, right: false, elastic: false }
    }

    pub const fn right(title: &'static str) -> Column {
        Column { right: true, ..Column::left(title) }
    }

    pub const fn elastic(title: &'static str) -> Column {
        Column { elastic: true, ..Column::left(title) }
    }
}

impl Cell {
    pub fn new(paint: Paint, text: impl Into<String>) -> Cell {
        Cell { paint, text: text.into() }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::new(Paint::Plain, text)
    }
}

impl Table {
    pub fn new(columns: Vec<Column>) -> Table {
        Table { columns, rows: Vec::new() }
    }

    /// Missing cells at the end are empty.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    pub fn render(&self, style: &Style) -> String {
        let (widths, below) = self.widths(style);
        let mut out = String::new();
        let titles: Vec<Cell> = self.columns.iter().map(|c| Cell::new(Paint::Dim, c.title)).collect();
        self.line(&titles, &widths, below, style, &mut out);
        for row in &self.rows {
            self.line(row, &widths, below, style, &mut out);
            let elastic = below.and_then(|place| row.get(place)).filter(|cell| !cell.text.is_empty());
            if let Some(cell) = elastic {
                let mut line = Line::default();
                let text = style.fit(&cell.text, style.width.saturating_sub(INDENT));
                line.pad_to(INDENT).push(style, Paint::Dim, &text);
                line.finish(&mut out);
            }
        }
        out
    }

    fn line(&self, row: &[Cell], widths: &[usize], below: Option<usize>, style: &Style, out: &mut String) {
        let mut line = Line::default();
        let mut start = 0;
        for (place, ((column, cell), room)) in self.columns.iter().zip(row).zip(widths).enumerate() {
            if below == Some(place) {
                continue;
            }
            let text = if column.elastic { style.fit(&cell.text, *room) } else { cell.text.as_str().into() };
            let before = if column.right { room.saturating_sub(width(&text)) } else { 0 };
            line.pad_to(start + before).push(style, cell.paint, &text);
            start += room + GAP;
        }
        line.finish(out);
    }

    /// The columns' widths, and which column stands under the rows.
    fn widths(&self, style: &Style) -> (Vec<usize>, Option<usize>) {
        let widest = |(index, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| width(&cell.text));
            cells.chain([width(column.title)]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(widest).collect();
        let Some(elastic) = self.columns.iter().position(|column| column.elastic) else {
            return (widths, None);
        };
        let others: usize = widths.iter().sum::<usize>() - widths[elastic] + GAP * (widths.len() - 1);
        let room = if style.terminal { style.width.saturating_sub(others) } else { ELASTIC_MAX };
        let below = widths[elastic] > room && room < ELASTIC_MIN;
        widths[elastic] = widths[elastic].min(room);
        (widths, below.then_some(elastic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Table {
        let mut table =
            Table::new(vec![Column::left("NAME"), Column::right("TIME"), Column::elastic("INPUT")]);
        table.push(vec!["漢字".to_owned().into(), "1.2ms".to_owned().into(), "a=1 ".repeat(30).into()]);
        table.push(vec!["text-stats".to_owned().into(), "61µs".to_owned().into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_one_gives_way() {
        let style = Style { terminal: true, ..Style::plain(45) };
        assert_eq!(
            example().render(&style),
            "NAME         TIME  INPUT\n\
             漢字        1.2ms  a=1 a=1 a=1 a=1 a=1 a=1 a…\n\
             text-stats   61µs\n"
        );
    }

    #[test]
    fn what_has_no_room_stands_below() {
        let style = Style { terminal: true, ..Style::plain(40) };
        assert_eq!(
            example().render(&style),
            "NAME         TIME\n\
             漢字        1.2ms\n    a=1 a=1 a=1 a=1 a=1 a=1 a=1 a=1 a=1…\n\
             text-stats   61µs\n"
        );
    }

    #[test]
    fn what_a_program_reads_is_not_cut() {
        assert!(example().render(&Style::plain(40)).contains("a=1 ".repeat(30).trim_end()));
    }
}
