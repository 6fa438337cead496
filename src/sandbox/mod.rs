//! Starts processes and answers for them: nothing that a plugin started outlives its worker, nor the runner.
//!
//! A *supervisor* is a small process of its own (`supervisor.rs`), one per deployment, which adopts and kills
//! whatever its workers leave behind, and looks after what they use (`watch.rs`, `memory.rs`). Should it be
//! killed itself, the program adopts what it leaves (`orphans.rs`). A *fork server* is a worker that has loaded a
//! plugin once and makes copies of itself. The runner talks to both through `launcher.rs` and `fork_server.rs`, in the
//! messages of `wire.rs`. This room knows nothing of plugins or protocols. Start with `launcher.rs`.

mod control;
pub mod fork_server;
pub mod launcher;
mod memory;
pub mod orphans;
mod process;
pub mod supervisor;
mod sys;
mod watch;
mod wire;

pub use watch::{Breach, PROCESSES_MAX};
