//! From untrusted bytes to a checked [`Package`]: manifest, archive, schema. Everything that comes in here was
//! written by a stranger and is bounded before it is used; the room runs nothing, fetches nothing, and writes
//! only where it is told to. Start with `manifest.rs`, the checked form, then `load.rs`.

pub mod archive;
pub mod codes;
pub mod diagnostic;
pub mod error;
mod load;
pub mod manifest;
pub mod manifest_schema;
pub mod observe;
pub mod read;
pub mod reader;
pub mod requirements;
pub mod rewrite;
pub mod scaffold;
pub mod schema;
pub mod wheel;
pub mod yaml;

pub use error::PackageError;
pub use load::Package;
