//! The integration tests: one binary, so that the program is linked once.

mod hostile;
mod manifest;
mod support;
mod worker;
