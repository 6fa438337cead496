//! The numbers as one plain table, for scripts and logs.

use super::reading::{Reading, Row, duration, percent, rate};
use super::state::Sort;
use crate::app::output::{Cell, Column, Paint, Style, Table};

pub fn render(reading: &Reading, sort: Sort, style: &Style) -> String {
    let mut rows: Vec<&Row> = reading.plugins.iter().collect();
    rows.sort_by(|left, right| sort.compare(left, right));
    let mut table = Table::new(vec![
        Column::left("PLUGIN"),
        Column::left("VERSION"),
        Column::right("CALLS"),
        Column::right("CALLS/S"),
        Column::right("ERR"),
        Column::right("P50"),
        Column::right("P95"),
        Column::right("P99"),
        Column::elastic("LAST ERROR"),
    ]);
    for row in rows {
        let failing = row.error_ratio.is_some_and(|ratio| ratio > 0.0);
        let last = row.last_error.as_ref();
        let last = last.map(|error| format!("{} {}", error.kind, error.message)).unwrap_or_default();
        table.push(vec![
            row.plugin.clone().into(),
            row.version.clone().into(),
            row.calls.to_string().into(),
            rate(row.rate).into(),
            Cell::new(if failing { Paint::Bad } else { Paint::Plain }, percent(row.error_ratio)),
            style.ascii(duration(row.p50_ms)).into(),
            style.ascii(duration(row.p95_ms)).into(),
            style.ascii(duration(row.p99_ms)).into(),
            Cell::new(Paint::Dim, last),
        ]);
    }
    let mut out = table.render(style);
    for alert in &reading.alerts {
        out += &format!("{} {}\n", style.paint(Paint::Bad, "firing"), alert.text);
    }
    for problem in &reading.problems {
        out += &format!("{} {problem}\n", style.paint(Paint::Warning, "problem"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::reading::tests::reading;
    use super::*;

    #[test]
    fn the_table_is_plain_and_harmless() {
        let table = render(&reading(), Sort::Rate, &Style::plain(100));
        let expected = "\
PLUGIN       VERSION  CALLS  CALLS/S  ERR     P50     P95  P99  LAST ERROR
fraud-score  1.1.0      300     1.00  24%  2.50ms  9.00ms    -  plugin_error ZeroDivisionError\\u{1b}[2J
text-stats   1.1.0      300     0.20   0%  2.50ms  9.00ms    -  plugin_error ZeroDivisionError\\u{1b}[2J
idle         1.1.0      300        0    -  2.50ms  9.00ms    -  plugin_error ZeroDivisionError\\u{1b}[2J
firing PluginErrorRatio fraud-score 1.1.0: 24 % of 50 calls failed\\u{202e}
problem the spool is full\\n\\u{7}
";
        assert_eq!(table, expected);
    }
}
