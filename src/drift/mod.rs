//! Drift: what plugins are given and what they answer is watched like latency is. The judgement (`judge.rs`,
//! `calibrate.rs`, `statistics/`) is pure: counts in, verdicts out; it reads no clock and knows no plugin.
//!
//! Read `judge.rs`, then `statistics/mod.rs`.

pub mod calibrate;
pub mod judge;
pub mod statistics;
