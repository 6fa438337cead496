//! Tells when the author has saved.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::registry::folder::{Fingerprint, Look};
use crate::registry::rest::{self, LOOK_AGAIN, LOOK_ANYWAY, REST, Unrest};

pub struct Watch {
    folder: PathBuf,
    unrest: Option<Unrest>,
    changed: Arc<Notify>,
    /// Watches as long as it lives.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    /// What lies there now counts as taken. Blocks on the disk.
    pub fn start(folder: PathBuf) -> Watch {
        let changed = Arc::new(Notify::new());
        let _watcher = rest::watcher([&folder], &changed);
        let now = Instant::now();
        let unrest = fingerprint(&folder).map(|fingerprint| {
            let mut unrest = Unrest::new(fingerprint, now);
            unrest.take(std::time::Duration::ZERO, now);
            unrest
        });
        Watch { folder, unrest, changed, _watcher }
    }

    /// Waits until something has changed and come to rest.
    pub async fn saved(&mut self) {
        loop {
            let restless = self.unrest.as_ref().is_some_and(|unrest| !unrest.is_taken());
            tokio::select! {
                () = self.changed.notified() => tokio::time::sleep(LOOK_AGAIN).await,
                () = tokio::time::sleep(if restless { LOOK_AGAIN } else { LOOK_ANYWAY }) => {}
            }
            let folder = self.folder.clone();
            let found = tokio::task::spawn_blocking(move || fingerprint(&folder)).await;
            // A folder that is away for a moment is being written anew.
            let Ok(Some(found)) = found else { continue };
            let now = Instant::now();
            let unrest = self.unrest.get_or_insert_with(|| Unrest::new(found, now));
            unrest.see(found, now);
            if unrest.take(REST, now) {
                return;
            }
        }
    }
}

fn fingerprint(folder: &PathBuf) -> Option<Fingerprint> {
    Look::at(&[], std::slice::from_ref(folder)).entries.remove(folder)
}
