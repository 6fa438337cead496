//! The integration tests: one binary, so that the program is linked once.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
#![allow(clippy::print_stdout, reason = "seen only where a test fails: which row of its table it was at")]

mod accounting;
mod alerting;
mod alerts;
mod asynchronous;
mod author;
mod backup;
mod capture;
mod cli;
mod configuration;
mod contract;
mod demo;
mod dev;
mod drift;
mod environments;
mod faults;
mod feed;
mod fork_server;
mod function;
mod hostile;
mod http;
mod manifest;
mod misbehaviour;
mod one_trace;
mod opentelemetry;
mod overload;
mod pool;
mod process;
mod purge;
mod registry;
mod reload;
mod replay;
mod rewrite;
mod series;
mod services;
mod slo;
mod stack;
mod supervision;
mod support;
mod top;
mod worker;
mod worker_faults;
mod workers;
