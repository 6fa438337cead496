//! The author's keyboard: single keys while nothing else wants it, lines for whoever does.

use std::io::{IsTerminal, Read};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use super::stop::Stop;

/// Keys that wait while a call runs; more are not meant seriously.
pub const KEYS_MAX: usize = 16;

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
    before: Termios,
}

impl Terminal {
    /// `None`: standard input is no terminal.
    pub fn take() -> Option<Terminal> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let terminal = Terminal { before };
        terminal.by_line(false);
        Some(terminal)
    }

    /// Whether it gives whole lines, which the author sees while he types them.
    pub fn by_line(&self, by_line: bool) {
        let mut modes = self.before.clone();
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
        self.by_line(true);
    }
}

const QUIT: u8 = b'q';

/// Reads the keyboard from now on. On a thread that nobody waits for: such a read cannot be called off.
pub fn keys(stop: Stop) -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        let mut byte = [0];
        while let Ok(1) = std::io::stdin().read(&mut byte) {
            if byte[0] == QUIT {
                stop.tell(0);
            }
            let Some(key) = Key::of(byte[0]) else { continue };
            // A full queue drops the key, the end of this program ends it all.
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(key) {
                return;
            }
        }
    });
    receiver
}
