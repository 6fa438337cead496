//! What stands around the runner: the collector, its configurations, compose, rules, dashboards. One file a topic.

mod parts;
mod rules;
