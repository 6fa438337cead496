//! The nouns: plugin, version, invocation, outcome, error kind, units, ids. Pure data and pure functions;
//! nothing here reads a clock, a file or a socket. Start with `kind.rs`.

pub mod alert;
pub mod error;
pub mod field;
pub mod guest;
pub mod hook;
pub mod ids;
pub mod invocation;
pub mod json;
pub mod kind;
pub mod lifecycle;
pub mod limits;
pub mod name;
pub mod slo;
pub mod span_kind;
pub mod text;
pub mod trace_context;
pub mod units;
