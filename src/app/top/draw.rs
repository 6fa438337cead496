//! The screen: header, plugins, the last error of the selected one, keys. Lines are made here by hand, so that
//! narrow terminals lose what matters least; `ratatui` places and repaints them.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style as Look};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::reading::{Row, bars, duration, percent, rate, squeezed};
use super::state::{Sort, State, View};
use crate::app::output::{Style, width};

const ALERTS_MAX: usize = 3;
const PROBLEMS_MAX: usize = 2;
const SPARK_COLUMNS: usize = 24;
const NAME_MIN: usize = 12;
const NAME_MAX: usize = 32;
const KEYS: &str = "q quit  ? help  ↑↓ select  enter failed calls  s sort  w window  space pause";
const HELP: [&str; 14] = [
    "↑ ↓ j k      select a plugin; page up and down, home, end",
    "enter        its last failed calls; on a call its trace",
    "esc          back",
    "n            sort by name",
    "c            sort by calls a second",
    "e            sort by share of failed calls",
    "l            sort by latency (p95)",
    "t            sort by time of the last error",
    "s, r         the next order; the other way round",
    "w            how far back: 1m, 5m, 1h, 24h",
    "space        hold the numbers",
    "q, Ctrl-C    quit",
    "",
    "ERR is failures of plugins and host, without refused and dropped calls.",
];

/// Where the screen is drawn and whose it is.
pub struct Canvas<'a> {
    pub style: Style,
    pub server: &'a str,
}

pub fn draw(frame: &mut Frame<'_>, state: &State, canvas: &Canvas<'_>) {
    let area = frame.area();
    let header = header(state, canvas, usize::from(area.width));
    let [top, body, foot] = Layout::vertical([
        Constraint::Length(u16::try_from(header.len()).unwrap_or(u16::MAX)),
        Constraint::Min(1),
        Constraint::Length(2),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(header), top);
    let (lines, note) = match &state.view {
        _ if state.help => (HELP.iter().map(|line| canvas.plain(line)).collect(), String::new()),
        View::Plugins => (plugins(state, canvas, body), last_error(state)),
        View::Calls { plugin, calls, selected } => {
            let title = canvas.strong(format!("failed calls of {plugin}, newest first"));
            let lines = match calls {
                None => vec![canvas.dim("asking…")],
                Some(calls) if calls.is_empty() => vec![canvas.dim("none are kept")],
                Some(calls) => {
                    let lines = calls.iter().enumerate();
                    lines.map(|(place, call)| canvas.choice(&call.line, place == *selected)).collect()
                }
            };
            let rows = usize::from(body.height).saturating_sub(1);
            (std::iter::once(title).chain(seen(lines, *selected, rows)).collect(), "esc goes back".to_owned())
        }
        View::Trace { lines: None, .. } => (vec![canvas.dim("asking…")], String::new()),
        View::Trace { lines: Some(lines), offset, .. } => {
            let lines = lines.iter().skip(*offset).take(usize::from(body.height));
            (lines.map(|line| canvas.plain(line)).collect(), "↑↓ scrolls, esc goes back".to_owned())
        }
    };
    frame.render_widget(Paragraph::new(lines), body);
    let foot_lines = vec![canvas.plain(&note), canvas.dim(KEYS)];
    frame.render_widget(Paragraph::new(foot_lines), foot);
}

fn header(state: &State, canvas: &Canvas<'_>, columns: usize) -> Vec<Line<'static>> {
    let reading = &state.reading;
    let time = reading.at.get(11..19).unwrap_or_default();
    let mut first = vec![
        Span::styled("spanglass top", canvas.look(None, Modifier::BOLD)),
        Span::raw(format!("  {}  {time} UTC  last {}", canvas.server, state.window())),
    ];
    if state.paused {
        first.push(Span::styled("  held", canvas.look(Some(Color::Yellow), Modifier::BOLD)));
    }
    let total = &reading.total;
    let numbers = format!(
        "{} plugins  {} calls/s  {} failed  p50 {}  p95 {}  p99 {}",
        reading.plugins.len(),
        rate(total.rate),
        percent(total.error_ratio),
        duration(total.p50_ms),
        duration(total.p95_ms),
        duration(total.p99_ms),
    );
    let mut lines = vec![Line::from(first), canvas.plain(&numbers)];
    if let Some(trouble) = &state.trouble {
        lines.push(canvas.line(&format!("no new numbers: {trouble}"), Some(Color::Red), Modifier::BOLD));
    }
    let cut = |text: &str| canvas.style.fit(text, columns).into_owned();
    for alert in reading.alerts.iter().take(ALERTS_MAX) {
        let color = if alert.pages { Color::Red } else { Color::Yellow };
        lines.push(canvas.line(&cut(&format!("firing  {}", alert.text)), Some(color), Modifier::empty()));
    }
    for problem in reading.problems.iter().take(PROBLEMS_MAX) {
        lines.push(canvas.line(&cut(&format!("problem {problem}")), Some(Color::Yellow), Modifier::empty()));
    }
    let hidden =
        reading.alerts.len().saturating_sub(ALERTS_MAX) + reading.problems.len().saturating_sub(PROBLEMS_MAX);
    if hidden > 0 {
        lines.push(canvas.dim(&format!("and {hidden} more")));
    }
    lines
}

// === The table of plugins ===

/// The columns that there is room for, by what matters most.
#[derive(Debug, PartialEq, Eq)]
struct Columns {
    name: usize,
    version: usize,
    active: bool,
    quantiles: bool,
    spark: usize,
    last: usize,
}

impl Columns {
    /// ERR, CALLS/S and p95 always stand there.
    fn of(rows: &[&Row], columns: usize) -> Columns {
        let longest = |of: fn(&Row) -> &str, least: usize| {
            rows.iter().map(|row| width(of(row))).max().unwrap_or_default().max(least)
        };
        let name = longest(|row| &row.plugin, NAME_MIN).min(NAME_MAX);
        let version = longest(|row| &row.version, 7).min(14);
        let mut fits = Columns { name, version: 0, active: false, quantiles: false, spark: 0, last: 0 };
        let mut room = columns.saturating_sub(name + 9 + 8 + 9);
        let mut take = |wanted: usize| {
            let fits = room >= wanted;
            room -= if fits { wanted } else { 0 };
            fits
        };
        if take(version + 1) {
            fits.version = version;
        }
        fits.quantiles = take(18);
        if take(SPARK_COLUMNS + 1) {
            fits.spark = SPARK_COLUMNS;
        }
        fits.active = rows.iter().any(|row| row.active.is_some()) && take(7);
        fits.last = if room > 12 { room - 1 } else { 0 };
        fits
    }

    fn title(&self) -> String {
        let mut title = format!("{:<1$}", "PLUGIN", self.name);
        if self.version > 0 {
            title += &format!(" {:<1$}", "VERSION", self.version);
        }
        title += &format!("{:>9}{:>8}", "CALLS/S", "ERR");
        if self.active {
            title += &format!("{:>7}", "ACTIVE");
        }
        title += &match self.quantiles {
            true => format!("{:>9}{:>9}{:>9}", "P50", "P95", "P99"),
            false => format!("{:>9}", "P95"),
        };
        if self.spark > 0 {
            title += &format!(" {:<1$}", "CALLS", self.spark);
        }
        if self.last > 0 {
            title += " LAST ERROR";
        }
        title
    }

    fn row(&self, row: &Row, canvas: &Canvas<'_>, selected: bool) -> Line<'static> {
        let style = &canvas.style;
        let cell = |text: &str, columns: usize| {
            let text = style.fit(text, columns);
            let fill = columns.saturating_sub(width(&text));
            format!("{text}{}", " ".repeat(fill))
        };
        let right = |text: String, columns: usize| {
            let text = style.ascii(text);
            format!("{}{text}", " ".repeat(columns.saturating_sub(width(&text))))
        };
        let mut spans = vec![Span::raw(cell(&row.plugin, self.name))];
        if self.version > 0 {
            spans.push(Span::raw(format!(" {}", cell(&row.version, self.version))));
        }
        spans.push(Span::raw(right(rate(row.rate), 9)));
        let failing = row.error_ratio.is_some_and(|ratio| ratio > 0.0);
        let color = failing.then_some(Color::Red);
        spans.push(Span::styled(right(percent(row.error_ratio), 8), canvas.look(color, Modifier::empty())));
        if self.active {
            spans.push(Span::raw(right(row.active.map_or_else(|| "-".into(), |count| count.to_string()), 7)));
        }
        if self.quantiles {
            spans.push(Span::raw(right(duration(row.p50_ms), 9)));
        }
        spans.push(Span::raw(right(duration(row.p95_ms), 9)));
        if self.quantiles {
            spans.push(Span::raw(right(duration(row.p99_ms), 9)));
        }
        if self.spark > 0 {
            let bars = bars(&squeezed(&row.spark, self.spark), style.unicode);
            let before = self.spark - bars.len();
            spans.push(Span::raw(" ".repeat(before + 1)));
            spans.extend(bars.into_iter().map(|(bar, failed)| {
                let color = if failed { Color::Red } else { Color::Green };
                Span::styled(bar.to_string(), canvas.look(Some(color), Modifier::empty()))
            }));
        }
        if self.last > 0 {
            let last = row.last_error.as_ref();
            let last = last.map(|error| format!("{} {}", error.kind, error.message)).unwrap_or_default();
            spans.push(Span::styled(
                format!(" {}", style.fit(&last, self.last)),
                canvas.look(None, Modifier::DIM),
            ));
        }
        let mut line = Line::from(spans);
        if selected {
            line.style = canvas.look(None, Modifier::REVERSED);
        }
        line
    }
}

fn plugins(state: &State, canvas: &Canvas<'_>, area: Rect) -> Vec<Line<'static>> {
    let rows = state.rows();
    if rows.is_empty() {
        return vec![canvas.dim("no plugins yet: spanglass plugin register PATH brings one")];
    }
    let columns = Columns::of(&rows, usize::from(area.width));
    let mut title = columns.title();
    let order = match state.sort {
        Sort::Name => "PLUGIN",
        Sort::Rate => "CALLS/S",
        Sort::Errors => "ERR",
        Sort::Latency => "P95",
        Sort::Last => "LAST ERROR",
    };
    if let Some(place) = title.find(order) {
        let mark = match (canvas.style.unicode, state.reversed) {
            (true, false) => "▼",
            (true, true) => "▲",
            (false, false) => "v",
            (false, true) => "^",
        };
        // Where a space stands; a column without one before its title is the first one.
        match place.checked_sub(1) {
            Some(before) => title.replace_range(before..place, mark),
            None => title.replace_range(order.len()..=order.len(), mark),
        }
    }
    let place = state.place();
    let lines = rows.iter().enumerate().map(|(at, row)| columns.row(row, canvas, at == place)).collect();
    let rows = usize::from(area.height).saturating_sub(1);
    std::iter::once(canvas.dim(&title)).chain(seen(lines, place, rows)).collect()
}

/// What of a list is on the screen, so that the selected line is.
fn seen(lines: Vec<Line<'static>>, selected: usize, rows: usize) -> impl Iterator<Item = Line<'static>> {
    lines.into_iter().skip((selected + 1).saturating_sub(rows)).take(rows)
}

fn last_error(state: &State) -> String {
    let rows = state.rows();
    let error = rows.get(state.place()).and_then(|row| Some((row, row.last_error.as_ref()?)));
    error.map_or_else(String::new, |(row, error)| {
        let time = error.at.get(11..19).unwrap_or_default();
        format!("{} {time} UTC: {} {}", row.plugin, error.kind, error.message)
    })
}

impl Canvas<'_> {
    /// Colours only for who did not decline them; what is bold or inverse needs none.
    const fn look(&self, color: Option<Color>, modifier: Modifier) -> Look {
        let look = Look::new().add_modifier(modifier);
        match color {
            Some(color) if self.style.color => look.fg(color),
            _ => look,
        }
    }

    fn line(&self, text: &str, color: Option<Color>, modifier: Modifier) -> Line<'static> {
        let text = match self.style.unicode {
            true => text.to_owned(),
            false => self.style.ascii(text.to_owned()).replace("↑↓", "arrows").replace("↑ ↓", "arrows"),
        };
        Line::styled(text, self.look(color, modifier))
    }

    fn plain(&self, text: &str) -> Line<'static> {
        self.line(text, None, Modifier::empty())
    }

    fn dim(&self, text: &str) -> Line<'static> {
        self.line(text, None, Modifier::DIM)
    }

    fn strong(&self, text: String) -> Line<'static> {
        self.line(&text, None, Modifier::BOLD)
    }

    fn choice(&self, text: &str, selected: bool) -> Line<'static> {
        self.line(text, None, if selected { Modifier::REVERSED } else { Modifier::empty() })
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::reading::tests::reading;
    use super::super::state::{Failed, Key};
    use super::*;

    fn canvas(color: bool, unicode: bool) -> Canvas<'static> {
        Canvas {
            style: Style { color, unicode, terminal: true, width: 100 },
            server: "http://127.0.0.1:7717",
        }
    }

    /// The screen as its lines, and whether anything on it has a colour.
    fn shown(state: &State, columns: u16, rows: u16, canvas: &Canvas<'_>) -> (String, bool) {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, state, canvas)).unwrap();
        let buffer = terminal.backend().buffer();
        let lines: Vec<String> = (0..rows)
            .map(|y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned())
            .collect();
        let colored = buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        (lines.join("\n"), colored)
    }

    fn state() -> State {
        State::new(reading(), Sort::default(), "5m")
    }

    #[test]
    fn a_wide_screen_has_everything() {
        let (screen, colored) = shown(&state(), 140, 14, &canvas(true, true));
        let expected = "\
spanglass top  http://127.0.0.1:7717  04:05:06 UTC  last 5m
3 plugins  3.10 calls/s  10% failed  p50 2.50ms  p95 9.00ms  p99 -
firing  PluginErrorRatio fraud-score 1.1.0: 24 % of 50 calls failed\\u{202e}
problem the spool is full\\n\\u{7}
PLUGIN       VERSION  CALLS/S    ▼ERR      P50      P95      P99 CALLS                    LAST ERROR
fraud-score  1.1.0       1.00     24%   2.50ms   9.00ms        -                       ▁█ plugin_error ZeroDivisionError\\u{1b}[2J
text-stats   1.1.0       0.20      0%   2.50ms   9.00ms        -                       ▁█ plugin_error ZeroDivisionError\\u{1b}[2J
idle         1.1.0          0       -   2.50ms   9.00ms        -                       ▁█ plugin_error ZeroDivisionError\\u{1b}[2J";
        assert!(screen.starts_with(expected), "{screen}");
        assert!(screen.contains("fraud-score 04:05:06 UTC: plugin_error ZeroDivisionError"), "{screen}");
        assert!(colored);
    }

    #[test]
    fn no_colour_and_ascii_are_respected() {
        let (screen, colored) = shown(&state(), 140, 14, &canvas(false, false));
        assert!(!colored);
        assert!(screen.is_ascii(), "{screen}");
    }

    #[test]
    fn narrow_and_flat_screens_keep_what_matters_most() {
        for (columns, rows) in [(40, 12), (60, 10), (20, 5), (1, 1), (300, 3)] {
            let (screen, _) = shown(&state(), columns, rows, &canvas(true, true));
            if columns >= 40 && rows >= 10 {
                assert!(screen.contains("fraud-score"), "{screen}");
                assert!(screen.contains("24%"), "{screen}");
            }
        }
        let wanted = Columns { name: 12, version: 7, active: false, quantiles: false, spark: 0, last: 0 };
        let state = state();
        assert_eq!(Columns::of(&state.rows(), 46), wanted);
    }

    #[test]
    fn the_selected_plugin_is_always_on_the_screen() {
        let mut state = state();
        state.press(Key::End);
        let (screen, _) = shown(&state, 80, 8, &canvas(true, true));
        assert!(screen.contains("\nidle"), "{screen}");
        assert!(!screen.contains("\nfraud-score  1.1.0"), "{screen}");
    }

    #[test]
    fn help_calls_and_a_trace_fill_the_screen() {
        let mut state = state();
        state.press(Key::Letter('?'));
        assert!(shown(&state, 100, 24, &canvas(true, true)).0.contains("sort by latency"));
        state.press(Key::Back);
        state.press(Key::Enter);
        assert!(shown(&state, 100, 24, &canvas(true, true)).0.contains("asking…"));
        state.took_calls("fraud-score", vec![Failed { trace_id: "t".into(), line: "x plugin_error".into() }]);
        let (screen, _) = shown(&state, 100, 24, &canvas(true, true));
        assert!(screen.contains("failed calls of fraud-score, newest first\nx plugin_error"), "{screen}");
        state.press(Key::Enter);
        state.took_trace(vec!["one".into(), "two".into()]);
        state.press(Key::Down);
        let (screen, _) = shown(&state, 100, 24, &canvas(true, true));
        assert!(screen.contains("\ntwo") && !screen.contains("\none"), "{screen}");
    }
}
