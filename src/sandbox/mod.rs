//! Starts processes and answers for them: nothing that a plugin started outlives its worker, nor the runner.
//!
//! A *supervisor* is a small process of its own (`supervisor.rs`), one per deployment, which adopts and kills
//! whatever its workers leave behind. The runner talks to it through `launcher.rs`, in the messages of
//! `wire.rs`. While a worker runs, the supervisor looks after what it uses (`watch.rs`, `memory.rs`). This room knows nothing of plugins or protocols. Start with `launcher.rs`.

pub mod launcher;
mod memory;
mod process;
pub mod supervisor;
mod sys;
mod watch;
mod wire;

pub use watch::{Breach, PROCESSES_MAX};
