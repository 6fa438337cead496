//! The terminal while it is ours: a screen of its own, single keys. It is given back however the program ends.

use std::io;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{Clear, ClearType};
use tokio::sync::mpsc;

use super::state::Key;

/// Keys that wait; more are not meant seriously.
const KEYS_MAX: usize = 64;

/// What the person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Pressed(Key),
    Resized,
}

pub struct Screen {
    pub terminal: DefaultTerminal,
}

impl Screen {
    /// Also a panic gives the terminal back: its message is to be read.
    pub fn take() -> io::Result<Screen> {
        let screen = Screen { terminal: ratatui::try_init()? };
        // Not every terminal has a second screen: there what stood on the first one would show through. Not by
        // `Terminal::clear`, which asks the terminal for its cursor, and not every one answers.
        execute!(io::stdout(), Clear(ClearType::All))?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing.
        let _ = ratatui::try_restore();
    }
}

/// Reads the keyboard from now on, on a thread that nobody waits for: such a read cannot be called off. The channel
/// closes when the terminal is gone.
pub fn keys() -> mpsc::Receiver<Done> {
    let (sender, receiver) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let done = match event {
                Event::Key(event) => key(event).map(Done::Pressed),
                Event::Resize(..) => Some(Done::Resized),
                _ => None,
            };
            // A full queue drops the key.
            if let Some(Err(mpsc::error::TrySendError::Closed(_))) = done.map(|done| sender.try_send(done)) {
                return;
            }
        }
    });
    receiver
}

fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        KeyCode::Char('c') if control => Key::Interrupt,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(letter) => Key::Letter(letter),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => Key::Back,
        _ => return None,
    })
}
