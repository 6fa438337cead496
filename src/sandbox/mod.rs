//! Starts processes and answers for them: nothing that a plugin started outlives its worker, nor the runner.
//!
//! A *supervisor* is a small process of its own (`supervisor.rs`), one per deployment, which adopts and kills
//! whatever its workers leave behind. A *fork server* is a worker that has loaded a plugin once and makes copies of
//! itself. The runner talks to both through `launcher.rs` and `fork_server.rs`, in the messages of `wire.rs`. This room knows nothing of plugins or protocols. Start with `launcher.rs`.

mod control;
pub mod fork_server;
pub mod launcher;
pub mod supervisor;
mod sys;
mod wire;
