//! All integration tests in one binary.

mod hostile;
mod manifest;
