//! From untrusted bytes to a checked package. Start with `manifest.rs`, the checked form.

pub mod codes;
pub mod diagnostic;
pub mod manifest;
pub mod yaml;
