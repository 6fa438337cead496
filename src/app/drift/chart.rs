//! Two distributions side by side: a bar for each bin, then and now.

use crate::app::output::{Line, Paint, Style, width};

/// More bins are not shown: the largest and those that grew are.
const BINS_SHOWN: usize = 14;
const LABEL_COLUMNS_MAX: usize = 28;
const BAR_COLUMNS: usize = 20;
const INDENT: usize = 4;

pub struct Bar {
    pub label: String,
    /// Shares, 0 to 1.
    pub baseline: f64,
    pub current: f64,
    /// It holds noticeably more than it did.
    pub grew: bool,
}

/// A line for each bin, with a line of titles. Bins that are empty on both sides are left out.
pub fn render(bars: &[Bar], style: &Style) -> String {
    let mut out = String::new();
    let seen: Vec<&Bar> = bars.iter().filter(|bar| bar.baseline > 0.0 || bar.current > 0.0).collect();
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_by(|a, b| weight(seen[*b]).total_cmp(&weight(seen[*a])));
    let mut shown = order[..order.len().min(BINS_SHOWN)].to_vec();
    shown.sort_unstable();
    let widest = shown.iter().map(|place| width(&seen[*place].label)).max().unwrap_or(0);
    let labels = INDENT + widest.min(LABEL_COLUMNS_MAX) + 2;
    let largest = seen.iter().map(|bar| bar.baseline.max(bar.current)).fold(0.0, f64::max);
    // Bar, a space, the share.
    let side = BAR_COLUMNS + 9;
    let mut titles = Line::default();
    titles.pad_to(labels).push(style, Paint::Dim, "baseline").pad_to(labels + side);
    titles.push(style, Paint::Dim, "now");
    titles.finish(&mut out);
    for bar in shown.iter().map(|place| seen[*place]) {
        let mut line = Line::default();
        let mark = if bar.grew { style.glyph("▲", "^") } else { " " };
        line.pad_to(INDENT - 2).push(style, Paint::Bad, mark).pad_to(INDENT);
        line.push(style, Paint::Plain, &style.fit(&bar.label, LABEL_COLUMNS_MAX)).pad_to(labels);
        push_side(&mut line, style, Paint::Dim, bar.baseline, largest);
        line.pad_to(labels + side);
        push_side(&mut line, style, if bar.grew { Paint::Bad } else { Paint::Accent }, bar.current, largest);
        line.finish(&mut out);
    }
    let left_out = seen.len() - shown.len();
    if left_out > 0 {
        let mut line = Line::default();
        line.pad_to(INDENT).push(style, Paint::Dim, &format!("and {left_out} smaller ones"));
        line.finish(&mut out);
    }
    out
}

/// What has grown stands before what is only large.
fn weight(bar: &Bar) -> f64 {
    bar.baseline.max(bar.current) + if bar.grew { 1.0 } else { 0.0 }
}

fn push_side(line: &mut Line, style: &Style, paint: Paint, share: f64, largest: f64) {
    let eighths =
        if largest > 0.0 { (share / largest * (BAR_COLUMNS * 8) as f64).round() as usize } else { 0 };
    // What is there is seen, however little it is.
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    let mut bar = style.glyph("█", "#").repeat(eighths / 8);
    match (eighths % 8, style.unicode) {
        (0, _) => {}
        (part, true) => bar.push(['▏', '▎', '▍', '▌', '▋', '▊', '▉'][part - 1]),
        (_, false) if bar.is_empty() => bar.push('|'),
        (_, false) => {}
    }
    if !bar.is_empty() {
        line.push(style, paint, &bar).push(style, Paint::Plain, " ");
    }
    line.push(style, Paint::Plain, &super::percent(Some(share)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, baseline: f64, current: f64, grew: bool) -> Bar {
        Bar { label: label.to_owned(), baseline, current, grew }
    }

    #[test]
    fn bars_share_a_scale_and_what_grew_is_marked() {
        let bars =
            [bar("up to 3", 0.5, 0.25, false), bar("more", 0.5, 0.75, true), bar("null", 0.0, 0.0, false)];
        let shown = render(&bars, &Style::plain(100));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines[0].contains("baseline") && lines[0].ends_with("now"), "{shown}");
        assert!(lines[1].contains(&format!("{}▍ 50 %", "█".repeat(13))), "{shown}");
        assert!(lines[2].starts_with("  ▲ more"), "{shown}");
        assert!(lines[2].ends_with(&format!("{} 75 %", "█".repeat(20))), "{shown}");
        let ascii = Style { unicode: false, ..Style::plain(100) };
        assert!(render(&bars, &ascii).is_ascii());
    }

    #[test]
    fn of_many_bins_those_that_matter_are_shown_in_their_order() {
        let bars: Vec<Bar> = (0..40).map(|at| bar(&format!("b{at:02}"), 0.02, 0.01, at == 39)).collect();
        let shown = render(&bars, &Style::plain(100));
        assert_eq!(shown.lines().count(), 1 + BINS_SHOWN + 1, "{shown}");
        assert!(shown.contains("▲ b39") && shown.contains("and 26 smaller ones"), "{shown}");
    }

    #[test]
    fn the_smallest_share_is_seen_and_a_long_label_is_cut() {
        let bars = [bar(&"x".repeat(80), 1.0, 0.999_9, false), bar("new", 0.0, 0.000_1, false)];
        let shown = render(&bars, &Style::plain(100));
        assert!(shown.contains("▏ <0.1 %"), "{shown}");
        assert!(shown.lines().all(|line| width(line) <= 100), "{shown}");
    }
}
