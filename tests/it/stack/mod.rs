//! What stands around the runner: its collector, rules, dashboards, compose. One file a topic; `parts.rs` starts real ones.

mod collector;
mod compose;
mod dashboards;
mod drift;
mod expressions;
mod live;
mod parts;
mod queries;
mod rules;
