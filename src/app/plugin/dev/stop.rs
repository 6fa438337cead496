//! When the author has enough: the key, or a signal. The first one lets what is under way be cleaned up.

use tokio::sync::watch;

use crate::app::serve::stop_signal;

pub const EXIT_INTERRUPTED: u8 = 130;

/// Handed to whoever has something to break off.
#[derive(Clone)]
pub struct Stop(watch::Sender<Option<u8>>);

impl Stop {
    /// Listens for signals from now on.
    pub fn new() -> Stop {
        let stop = Stop(watch::Sender::new(None));
        let told = stop.clone();
        tokio::spawn(async move {
            stop_signal().await;
            told.tell(EXIT_INTERRUPTED);
            // Who asks twice does not want to wait.
            stop_signal().await;
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        });
        stop
    }

    /// The first one who tells decides the exit code.
    pub fn tell(&self, exit: u8) {
        self.0.send_if_modified(|told| told.is_none() && told.replace(exit).is_none());
    }

    /// Waits for the end; with what it ends.
    pub async fn told(&self) -> u8 {
        let mut told = self.0.subscribe();
        let exit = told.wait_for(Option::is_some).await.map(|exit| *exit);
        exit.ok().flatten().unwrap_or_default()
    }
}
