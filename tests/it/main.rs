//! The integration tests: one binary, so that the program is linked once.

mod function;
mod hostile;
mod manifest;
mod pool;
mod supervision;
mod support;
mod worker;
mod worker_faults;
