//! A plugin that is loaded once, in a process that gets no calls: workers are copies of it, ready in a few
//! milliseconds whatever the plugin imports.

use std::sync::Arc;

use super::instance::WorkerInstance;
use crate::sandbox::fork_server::ForkServer;

/// What came of an attempt to load a plugin for copying.
pub enum Preload {
    Forks(Preloaded),
    /// The plugin cannot be copied, for this reason. The process that has loaded it is a worker now.
    SpawnOnly(Box<WorkerInstance>, String),
}

/// Dropping it, and the last worker that is its copy, ends the process.
pub struct Preloaded {
    forks: Arc<ForkServer>,
}

impl Preloaded {
    pub(super) fn new(forks: Arc<ForkServer>, mut process: WorkerInstance) -> Preloaded {
        // What it prints belongs to no call, and must be read as long as it lives.
        tokio::spawn(async move { process.drain_until_exit().await });
        Preloaded { forks }
    }

    pub(super) fn forks(&self) -> &Arc<ForkServer> {
        &self.forks
    }

    pub fn alive(&self) -> bool {
        self.forks.alive()
    }

    /// Whether a copy lives, or is being made.
    pub fn in_use(&self) -> bool {
        Arc::strong_count(&self.forks) > 1
    }
}
