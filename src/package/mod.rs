//! From untrusted bytes to a checked package. Start with `manifest.rs`, the checked form.

pub mod manifest;
