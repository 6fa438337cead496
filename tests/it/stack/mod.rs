//! What stands around the runner: dashboards, rules, collector, compose. One file a topic.

mod dashboards;
mod expressions;
mod queries;
