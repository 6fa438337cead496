//! Why a package cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use super::codes;
use super::diagnostic::{Diagnostics, quote};

/// Names in these errors are quoted already: short, on one line, without control characters.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The manifest has mistakes; all of them are in there.
    #[error("the manifest has mistakes: {0}")]
    Manifest(Box<Diagnostics>),
    #[error("{what} has no manifest")]
    NoManifest { what: String, help: String },
    #[error("the package has two manifests, {first} and {second}")]
    TwoManifests { first: &'static str, second: &'static str },
    #[error("cannot read {what}: {source}")]
    NotReadable { what: String, source: io::Error },
    #[error("cannot write {what}: {source}")]
    NotWritable { what: String, source: io::Error },
    #[error("not a zip archive: {why}")]
    NotAZip { why: &'static str },
    #[error("the package has {bytes} bytes, more than {bytes_max}")]
    TooLarge { bytes: u64, bytes_max: u64 },
    #[error("the package unpacks to more than {bytes_max} bytes")]
    UnpacksTooLarge { bytes_max: u64 },
    #[error("the package has more than {entries_max} files")]
    TooManyEntries { entries_max: usize },
    #[error("{name} unpacks to more than {ratio_max} times its size")]
    Bomb { name: String, ratio_max: u64 },
    #[error("the name {name} is not allowed in a package: {why}")]
    BadName { name: String, why: &'static str },
    #[error("the names {name} and {other} are the same on some systems")]
    Collision { name: String, other: String },
    #[error("{name} is {what}")]
    NotAFile { name: String, what: &'static str },
    #[error("{name} is encrypted")]
    Encrypted { name: String },
    #[error("{name} uses {what}")]
    Unsupported { name: String, what: &'static str },
    /// The archive contradicts itself or its content.
    #[error("the archive is damaged or forged: {name} {what}")]
    Forged { name: String, what: &'static str },
    #[error("{name} changed while it was read")]
    Changed { name: String },
    #[error("{} exists already", path.display())]
    Exists { path: PathBuf },
}

impl PackageError {
    pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> PackageError {
        let what = quote(&path.display().to_string());
        move |source| PackageError::NotReadable { what, source }
    }

    pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> PackageError {
        let what = quote(&path.display().to_string());
        move |source| PackageError::NotWritable { what, source }
    }

    /// Stable; of several diagnostics, the first error's.
    pub fn code(&self) -> &'static str {
        match self {
            PackageError::Manifest(diagnostics) => {
                diagnostics.sorted().first().map_or(codes::SYNTAX, |first| first.code)
            }
            PackageError::NoManifest { .. } => codes::NO_MANIFEST,
            PackageError::TwoManifests { .. } => codes::TWO_MANIFESTS,
            PackageError::NotReadable { .. } | PackageError::NotWritable { .. } => codes::NOT_READABLE,
            PackageError::NotAZip { .. } => codes::NOT_A_ZIP,
            PackageError::TooLarge { .. }
            | PackageError::UnpacksTooLarge { .. }
            | PackageError::TooManyEntries { .. }
            | PackageError::Bomb { .. } => codes::PACKAGE_TOO_LARGE,
            PackageError::BadName { .. } => codes::BAD_NAME,
            PackageError::Collision { .. } => codes::COLLISION,
            PackageError::NotAFile { .. } => codes::NOT_A_FILE,
            PackageError::Encrypted { .. } | PackageError::Unsupported { .. } => codes::UNSUPPORTED,
            PackageError::Forged { .. } => codes::FORGED,
            PackageError::Changed { .. } => codes::CHANGED,
            PackageError::Exists { .. } => codes::EXISTS,
        }
    }

    /// What the reader can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            PackageError::Manifest(_)
            | PackageError::NotReadable { .. }
            | PackageError::NotWritable { .. } => return None,
            PackageError::NoManifest { help, .. } => help.clone(),
            PackageError::TwoManifests { second, .. } => {
                format!("keep one of them, for example by removing {second}")
            }
            PackageError::NotAZip { .. }
            | PackageError::Encrypted { .. }
            | PackageError::Unsupported { .. }
            | PackageError::Forged { .. } => {
                "make the package with `spanglass plugin package FOLDER`".to_owned()
            }
            PackageError::TooLarge { .. }
            | PackageError::UnpacksTooLarge { .. }
            | PackageError::TooManyEntries { .. }
            | PackageError::Bomb { .. } => {
                "leave large data out of the package and fetch it at run time".to_owned()
            }
            PackageError::BadName { .. } => "use relative names with `/` between folders".to_owned(),
            PackageError::Collision { .. } => "rename one of them".to_owned(),
            PackageError::NotAFile { .. } => {
                "a package holds plain files: put a copy in its place".to_owned()
            }
            PackageError::Changed { .. } => "try again when nothing writes to the folder".to_owned(),
            PackageError::Exists { .. } => "choose another place, or remove it first".to_owned(),
        })
    }

    /// The mistakes of the manifest, if that is what is wrong.
    pub fn diagnostics(&self) -> Option<&Diagnostics> {
        match self {
            PackageError::Manifest(diagnostics) => Some(diagnostics),
            _ => None,
        }
    }
}
