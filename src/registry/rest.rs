//! When a change on the disk is taken: once it has been at rest for a moment, so that a copy or a save under way
//! is not taken for what it will be, or after a second of unrest. And who says that there may be one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::folder::Fingerprint;

/// A change has been at rest for this long when it is taken.
pub const REST: Duration = Duration::from_millis(200);
/// What never rests is taken after this long all the same.
const UNREST_MAX: Duration = Duration::from_secs(1);
/// Between two looks while something is changing.
pub const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Between two looks while nothing is and nobody tells.
pub const LOOK_ANYWAY: Duration = Duration::from_secs(1);
/// The same beside a watcher, in case it misses something: network file systems and mounts tell nothing.
pub const LOOK_ANYWAY_WATCHED: Duration = Duration::from_secs(5);

/// What is known of one entry from look to look.
#[derive(Clone, Debug)]
pub struct Unrest {
    fingerprint: Fingerprint,
    since: Instant,
    /// The first change that has not been taken yet.
    unrest_since: Instant,
    taken: bool,
}

impl Unrest {
    pub fn new(fingerprint: Fingerprint, now: Instant) -> Unrest {
        Unrest { fingerprint, since: now, unrest_since: now, taken: false }
    }

    /// One more look. Returns whether the entry is another one than before.
    pub fn see(&mut self, fingerprint: Fingerprint, now: Instant) -> bool {
        let changed = self.fingerprint != fingerprint;
        if changed {
            let unrest_since = if self.taken { now } else { self.unrest_since };
            *self = Unrest { fingerprint, since: now, unrest_since, taken: false };
        }
        changed
    }

    /// Whether it is to be taken now; once for each change.
    pub fn take(&mut self, rest: Duration, now: Instant) -> bool {
        let at_rest = now - self.since >= rest || now - self.unrest_since >= UNREST_MAX;
        let due = !self.taken && at_rest;
        self.taken |= due;
        due
    }

    pub fn is_taken(&self) -> bool {
        self.taken
    }
}

/// Tells when something happens below the paths. Without it (no inotify, too many folders) changes are found a
/// little later.
pub fn watcher<'p>(
    paths: impl IntoIterator<Item = &'p PathBuf>,
    changed: &Arc<Notify>,
) -> Option<RecommendedWatcher> {
    let changed = changed.clone();
    let tell = move |event: Result<notify::Event, notify::Error>| {
        // Our own reading is no change.
        let matters = !matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(kind)
            if kind != AccessKind::Close(AccessMode::Write)));
        if matters {
            changed.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(tell).ok()?;
    for path in paths {
        let _ = watcher.watch(path, RecursiveMode::Recursive);
    }
    Some(watcher)
}
