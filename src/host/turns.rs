//! One change at a time for each plugin; changes of different plugins go on side by side.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until nobody else changes this plugin, and keeps it so until the guard is dropped.
    pub async fn of(&self, plugin: &Arc<str>) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody holds or waits for these.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(plugin.clone()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_plugin_waits_for_itself_only() {
        let turns = Turns::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let first = turns.of(&a).await;
        let _other = turns.of(&b).await;
        let wait = Duration::from_secs(1);
        assert!(tokio::time::timeout(wait, turns.of(&a)).await.is_err());
        drop(first);
        assert!(tokio::time::timeout(wait, turns.of(&a)).await.is_ok());
        let unknown: Arc<str> = "c".into();
        drop(turns.of(&unknown).await);
        drop(turns.of(&a).await);
        assert_eq!(turns.0.lock().unwrap().len(), 2, "who is done is forgotten by the next");
    }
}
