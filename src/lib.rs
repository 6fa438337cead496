//! spanglass runs other people's plugins and makes every invocation one trace.
//!
//! The rooms below are listed in the order in which they may know each other: a room imports only rooms
//! above it (`tests/architecture.rs` checks that). Start with `host`, the front door, and follow one call.

pub mod model;
pub mod telemetry;
pub mod store;
pub mod alerting;
pub mod package;
pub mod sandbox;
pub mod runtimes;
pub mod drift;
pub mod pipeline;
pub mod registry;
pub mod host;
pub mod api;
pub mod config;
pub mod app;
