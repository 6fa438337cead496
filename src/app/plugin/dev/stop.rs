//! When the author has enough: the key, a signal, a terminal that is closed. At the first what is under way ends
//! in good order, at the second everything ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::app::serve::stop_signal;

const EXIT_INTERRUPTED: u8 = 130;

#[derive(Clone, Copy, Default)]
struct Told {
    exit: Option<u8>,
    insisted: bool,
}

/// Handed to whoever has something to break off.
#[derive(Clone)]
pub struct Stop(watch::Sender<Told>);

impl Stop {
    /// Listens for signals from now on.
    pub fn new() -> Stop {
        let stop = Stop(watch::Sender::new(Told::default()));
        let told = stop.clone();
        tokio::spawn(async move {
            any_signal().await;
            told.tell(EXIT_INTERRUPTED);
            any_signal().await;
            told.0.send_modify(|told| told.insisted = true);
        });
        stop
    }

    /// The first one who tells decides the exit code.
    pub fn tell(&self, exit: u8) {
        self.0.send_if_modified(|told| told.exit.is_none() && told.exit.replace(exit).is_none());
    }

    /// Waits for the end; with what it ends.
    pub async fn told(&self) -> u8 {
        let mut told = self.0.subscribe();
        let exit = told.wait_for(|told| told.exit.is_some()).await.ok().and_then(|told| told.exit);
        exit.unwrap_or(EXIT_INTERRUPTED)
    }

    /// Waits for the second signal.
    pub async fn insisted(&self) -> u8 {
        let mut told = self.0.subscribe();
        // It cannot be closed: this holds the sender.
        let _ = told.wait_for(|told| told.insisted).await;
        EXIT_INTERRUPTED
    }
}

async fn any_signal() {
    let hangup = async {
        match signal(SignalKind::hangup()) {
            Ok(mut hangup) => drop(hangup.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop_signal() => {}
        () = hangup => {}
    }
}
