//! The worker protocol (docs/worker-protocol.md), for every kind of plugin that runs as a process of its own.
//! Start with `instance.rs`, which runs a call; `link.rs` moves bytes, `frames.rs` gives them meaning,
//! `capture.rs` makes log lines of what is printed, `start.rs` gets a worker ready, `launch.rs` gives it what
//! it needs from the host, `preload.rs` is a plugin loaded once and copied.

mod ask;
mod capture;
mod frames;
mod instance;
mod launch;
mod link;
mod preload;
mod scratch;
mod start;

pub use instance::{StrayLog, WorkerInstance};
pub use launch::{DeploymentWorkers, StrayLogs, WorkerSettings, Workers, path_text, unwritable};
pub use preload::{Preload, Preloaded};
pub use start::StartError;

/// Names of what limits cut off, as [`crate::runtimes::Guest::dropped`] gets them.
pub mod dropped {
    pub const STDOUT_LINES: &str = "stdout_lines";
    pub const STDERR_LINES: &str = "stderr_lines";
    /// Lines that were kept, but not whole.
    pub const LINES_CUT: &str = "lines_cut";
    pub const LOGS: &str = "logs";
    pub const SPANS: &str = "spans";
    pub const SPAN_EVENTS: &str = "span_events";
    pub const METRICS: &str = "metrics";
    pub const ASKS: &str = "asks";
    /// Frames of no known kind, or that belong to no running call.
    pub const FRAMES: &str = "frames";
}
