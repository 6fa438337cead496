//! The integration tests: one binary, so that the program is linked once.

mod support;
mod worker;
