//! What stands around the runner: the collector, its configurations, compose, rules, dashboards.

mod parts;
