//! What is looked at and how: keys in, wishes out. Pure.

use std::cmp::Ordering;

use super::reading::{Reading, Row};

/// How far back one usually looks, as the server takes it.
const WINDOWS: [&str; 4] = ["1m", "5m", "1h", "24h"];
/// Lines that a page key goes.
const PAGE: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Back,
    Interrupt,
    Letter(char),
}

/// What a key asks of the rest of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    Quit,
    Interrupt,
    /// Another window: the numbers are to be asked for at once.
    Numbers,
    /// The last failed calls of a plugin.
    Calls(String),
    Trace(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    Name,
    /// Calls a second
    Rate,
    /// Share of failed calls
    #[default]
    Errors,
    /// p95
    Latency,
    /// Time of the last error
    Last,
}

/// A failed call in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub trace_id: String,
    pub line: String,
}

/// What fills the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    Plugins,
    /// `None`: they are on their way.
    Calls {
        plugin: String,
        calls: Option<Vec<Failed>>,
        selected: usize,
    },
    Trace {
        plugin: String,
        lines: Option<Vec<String>>,
        offset: usize,
    },
}

#[derive(Clone, Debug)]
pub struct State {
    pub reading: Reading,
    pub sort: Sort,
    pub reversed: bool,
    /// By name: it stays on the plugin when the order changes.
    pub selected: Option<String>,
    /// How far back one can look, and how far one does.
    pub windows: Vec<String>,
    pub window: usize,
    pub view: View,
    pub help: bool,
    pub paused: bool,
    /// Why there is nothing new.
    pub trouble: Option<String>,
}

impl Sort {
    const ALL: [Sort; 5] = [Sort::Name, Sort::Rate, Sort::Errors, Sort::Latency, Sort::Last];

    const fn of(letter: char) -> Option<Sort> {
        Some(match letter {
            'n' => Sort::Name,
            'c' => Sort::Rate,
            'e' => Sort::Errors,
            'l' => Sort::Latency,
            't' => Sort::Last,
            _ => return None,
        })
    }

    fn next(self) -> Sort {
        let place = Sort::ALL.iter().position(|sort| *sort == self).unwrap_or_default();
        Sort::ALL[(place + 1) % Sort::ALL.len()]
    }

    /// The most interesting first, and by name where that decides nothing.
    pub fn compare(self, left: &Row, right: &Row) -> Ordering {
        let falling = |of: fn(&Row) -> f64| of(right).total_cmp(&of(left));
        let last = |row: &Row| row.last_error.as_ref().map(|error| error.at.clone()).unwrap_or_default();
        let order = match self {
            Sort::Name => Ordering::Equal,
            Sort::Rate => falling(|row| row.rate),
            Sort::Errors => falling(|row| row.error_ratio.unwrap_or(-1.0)),
            Sort::Latency => falling(|row| row.p95_ms.unwrap_or(-1.0)),
            Sort::Last => last(right).cmp(&last(left)),
        };
        order.then_with(|| left.plugin.cmp(&right.plugin))
    }
}

impl State {
    pub fn new(reading: Reading, sort: Sort, window: &str) -> State {
        let mut windows: Vec<String> = WINDOWS.map(str::to_owned).into();
        let place = windows.iter().position(|known| known == window).unwrap_or_else(|| {
            windows.push(window.to_owned());
            windows.len() - 1
        });
        State {
            reading,
            sort,
            reversed: false,
            selected: None,
            windows,
            window: place,
            view: View::Plugins,
            help: false,
            paused: false,
            trouble: None,
        }
    }

    pub fn window(&self) -> &str {
        &self.windows[self.window]
    }

    /// The plugins in the order in which they are shown.
    pub fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.reading.plugins.iter().collect();
        rows.sort_by(|left, right| self.sort.compare(left, right));
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    /// The place of the selected plugin among `rows`.
    pub fn place(&self) -> usize {
        let selected = self.selected.as_deref();
        self.rows().iter().position(|row| Some(row.plugin.as_str()) == selected).unwrap_or_default()
    }

    pub fn took(&mut self, reading: Reading) {
        self.trouble = None;
        if !self.paused {
            self.reading = reading;
        }
    }

    /// The failed calls of a plugin have come; if somebody still waits for them.
    pub fn took_calls(&mut self, of: &str, came: Vec<Failed>) {
        if let View::Calls { plugin, calls, .. } = &mut self.view
            && plugin == of
        {
            *calls = Some(came);
        }
    }

    pub fn took_trace(&mut self, came: Vec<String>) {
        if let View::Trace { lines, .. } = &mut self.view {
            *lines = Some(came);
        }
    }

    pub fn press(&mut self, key: Key) -> Wish {
        match key {
            Key::Interrupt => return Wish::Interrupt,
            Key::Letter('q') => return Wish::Quit,
            Key::Letter('?' | 'h') => self.help = !self.help,
            // Any other key takes the help away, and nothing else.
            _ if self.help => self.help = false,
            Key::Letter(' ') => self.paused = !self.paused,
            Key::Letter('w') => {
                self.window = (self.window + 1) % self.windows.len();
                return Wish::Numbers;
            }
            _ => return self.press_in_view(key),
        }
        Wish::Nothing
    }

    fn press_in_view(&mut self, key: Key) -> Wish {
        let place = self.place();
        let rows = self.reading.plugins.len();
        match (&mut self.view, key) {
            (View::Plugins, Key::Enter) => {
                let Some(plugin) = self.rows().get(place).map(|row| row.plugin.clone()) else {
                    return Wish::Nothing;
                };
                self.view = View::Calls { plugin: plugin.clone(), calls: None, selected: 0 };
                return Wish::Calls(plugin);
            }
            (View::Plugins, Key::Letter('r')) => self.reversed = !self.reversed,
            (View::Plugins, Key::Letter('s')) => self.sort = self.sort.next(),
            (View::Plugins, Key::Letter(letter)) => {
                if let Some(sort) = Sort::of(letter) {
                    self.sort = sort;
                }
            }
            (View::Plugins, key) => {
                let place = moved(place, key, rows);
                self.selected = self.rows().get(place).map(|row| row.plugin.clone());
            }
            (View::Calls { plugin, calls, selected }, Key::Enter) => {
                let call = calls.as_ref().and_then(|calls| calls.get(*selected));
                let Some(call) = call.cloned() else { return Wish::Nothing };
                self.view = View::Trace { plugin: plugin.clone(), lines: None, offset: 0 };
                return Wish::Trace(call.trace_id);
            }
            (View::Calls { .. }, Key::Back) => self.view = View::Plugins,
            (View::Calls { calls, selected, .. }, key) => {
                *selected = moved(*selected, key, calls.as_ref().map_or(0, Vec::len));
            }
            (View::Trace { plugin, .. }, Key::Back) => {
                let plugin = plugin.clone();
                self.view = View::Calls { plugin: plugin.clone(), calls: None, selected: 0 };
                return Wish::Calls(plugin);
            }
            (View::Trace { lines, offset, .. }, key) => {
                *offset = moved(*offset, key, lines.as_ref().map_or(0, Vec::len));
            }
        }
        Wish::Nothing
    }
}

/// A place in a list after a key.
fn moved(place: usize, key: Key, length: usize) -> usize {
    let moved = match key {
        Key::Up | Key::Letter('k') => place.saturating_sub(1),
        Key::Down | Key::Letter('j') => place + 1,
        Key::PageUp => place.saturating_sub(PAGE),
        Key::PageDown => place + PAGE,
        Key::Home => 0,
        Key::End => length,
        _ => place,
    };
    moved.min(length.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::super::reading::tests::reading;
    use super::*;

    fn state() -> State {
        State::new(reading(), Sort::default(), "5m")
    }

    fn names(state: &State) -> Vec<&str> {
        state.rows().iter().map(|row| row.plugin.as_str()).collect()
    }

    #[test]
    fn letters_sort_and_the_selection_stays_on_its_plugin() {
        let mut state = state();
        assert_eq!(names(&state), ["fraud-score", "text-stats", "idle"]);
        assert_eq!(state.press(Key::Down), Wish::Nothing);
        assert_eq!(state.selected.as_deref(), Some("text-stats"));
        state.press(Key::Letter('n'));
        assert_eq!(names(&state), ["fraud-score", "idle", "text-stats"]);
        assert_eq!(state.place(), 2);
        state.press(Key::Letter('r'));
        assert_eq!((names(&state)[0], state.place()), ("text-stats", 0));
        state.press(Key::Letter('c'));
        assert_eq!(state.sort, Sort::Rate);
        // At the ends it stays where it is.
        for _ in 0..9 {
            state.press(Key::Down);
        }
        assert_eq!(state.place(), 2);
    }

    #[test]
    fn enter_leads_to_the_failed_calls_and_to_a_trace_and_back() {
        let mut state = state();
        assert_eq!(state.press(Key::Enter), Wish::Calls("fraud-score".into()));
        assert_eq!(state.press(Key::Enter), Wish::Nothing);
        state.took_calls("another", vec![]);
        let call = |id: &str| Failed { trace_id: id.into(), line: String::new() };
        state.took_calls("fraud-score", vec![call("a"), call("b")]);
        state.press(Key::End);
        assert_eq!(state.press(Key::Enter), Wish::Trace("b".into()));
        state.took_trace(vec!["1".into(), "2".into()]);
        state.press(Key::Down);
        state.press(Key::Down);
        let View::Trace { offset, .. } = &state.view else { panic!("{:?}", state.view) };
        assert_eq!(*offset, 1);
        assert_eq!(state.press(Key::Back), Wish::Calls("fraud-score".into()));
        state.press(Key::Back);
        assert_eq!(state.view, View::Plugins);
        assert_eq!(state.press(Key::Back), Wish::Nothing);
    }

    #[test]
    fn help_goes_with_any_key_and_a_pause_holds_the_numbers() {
        let mut state = state();
        state.press(Key::Letter('?'));
        assert_eq!(
            (state.press(Key::Enter), state.help, &state.view),
            (Wish::Nothing, false, &View::Plugins)
        );
        state.press(Key::Letter(' '));
        state.took(Reading::default());
        assert_eq!(state.reading.plugins.len(), 3);
        state.press(Key::Letter(' '));
        state.took(Reading::default());
        assert_eq!(state.reading.plugins.len(), 0);
        assert_eq!(state.press(Key::Enter), Wish::Nothing);
        assert_eq!((state.press(Key::Letter('w')), state.window()), (Wish::Numbers, "1h"));
        let mut odd = State::new(reading(), Sort::default(), "17m");
        assert_eq!(odd.window(), "17m");
        odd.press(Key::Letter('w'));
        assert_eq!(odd.window(), "1m");
        assert_eq!(state.press(Key::Letter('q')), Wish::Quit);
        assert_eq!(state.press(Key::Interrupt), Wish::Interrupt);
    }
}
