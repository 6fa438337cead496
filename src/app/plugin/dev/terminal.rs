//! The author's keyboard: single keys while nothing else wants it, lines for whoever does.

use std::io::{IsTerminal, Read};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use super::debugger::Console;
use super::stop::Stop;

/// Keys that wait while a call runs; more are not meant seriously.
const KEYS_MAX: usize = 16;
const TYPED_BYTES: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The last input again.
    Again,
    NextExample,
    Help,
}

impl Key {
    fn of(byte: u8) -> Option<Key> {
        Some(match byte {
            b'r' | b'\n' | b'\r' => Key::Again,
            b'e' => Key::NextExample,
            b'?' | b'h' => Key::Help,
            _ => return None,
        })
    }
}

/// A terminal that gives single keys and does not show them. It is given back as it was when this is dropped.
pub struct Terminal {
    pub modes: Modes,
}

/// How standard input behaves; nothing, where it is no terminal, or one that has been given back.
#[derive(Clone, Default)]
pub struct Modes(Arc<Mutex<Option<Termios>>>);

impl Terminal {
    /// `None`: standard input is no terminal.
    pub fn take() -> Option<Terminal> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let modes = Modes(Arc::new(Mutex::new(Some(before))));
        modes.by_line(false);
        Some(Terminal { modes })
    }
}

impl Modes {
    /// Whether it gives whole lines, which the author sees while he types them.
    pub fn by_line(&self, by_line: bool) {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut modes) = before.clone() else { return };
        if !by_line {
            // Not raw: Ctrl-C stays a signal, and a line break of the output one.
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        }
        // A terminal that has gone away needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &modes);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.modes.by_line(true);
        // Whoever still has it leaves it alone from now on.
        *self.modes.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

const QUIT: u8 = b'q';

/// Reads the keyboard from now on; what is typed while a debugger is attached is for that one. On a thread that
/// nobody waits for: such a read cannot be called off.
pub fn keys(stop: Stop, console: Option<Arc<Console>>) -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(KEYS_MAX);
    let pressed = move |byte: u8| {
        if byte == QUIT {
            stop.tell(0);
        }
        if let Some(key) = Key::of(byte) {
            // A full queue drops the key.
            let _ = sender.try_send(key);
        }
    };
    read(move |typed| {
        if !console.as_ref().is_some_and(|console| console.typed(typed, false)) {
            typed.iter().copied().for_each(&pressed);
        }
    });
    receiver
}

/// Everything on standard input is for the debugger, once there is one.
pub fn pipe_to(console: Arc<Console>) {
    read(move |typed| {
        let _ = console.typed(typed, true);
    });
}

fn read(mut take: impl FnMut(&[u8]) + Send + 'static) {
    std::thread::spawn(move || {
        let mut typed = [0; TYPED_BYTES];
        while let Ok(count @ 1..) = std::io::stdin().read(&mut typed) {
            take(&typed[..count]);
        }
    });
}
