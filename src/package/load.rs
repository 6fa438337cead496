//! A package: checked manifest, bounded content, digest.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

use bytes::Bytes;
use semver::Version;

use super::archive::Contents;
use super::diagnostic::{Diagnostics, quote};
use super::error::PackageError;
use super::manifest::Manifest;
use super::read::{self, Files, MANIFEST_NAMES};
use super::yaml;

/// One version of a plugin, from a folder or a zip, with nothing wrong about it.
#[derive(Debug)]
pub struct Package {
    pub manifest: Manifest,
    /// Warnings and notes; no errors.
    pub diagnostics: Diagnostics,
    /// `sha256:<hex>` of the content: the same for a folder and its zip. See [`Contents::digest`].
    pub digest: String,
    pub files: Contents,
    /// Which of [`MANIFEST_NAMES`] it is.
    pub manifest_name: &'static str,
    /// The manifest as it was written.
    pub manifest_text: String,
}

impl Package {
    /// Reads a folder or a zip. Reads every file once, in bounded memory; writes nothing.
    ///
    /// # Errors
    /// [`PackageError::Manifest`] with all mistakes of the manifest, or what is wrong with the package.
    pub fn load(path: &Path) -> Result<Package, PackageError> {
        let contents = Contents::list(path)?;
        let shown = |name: &str| match path.is_dir() {
            true => path.join(name).display().to_string(),
            false => name.to_owned(),
        };
        Package::from_contents(contents, &quote(&path.display().to_string()), shown)
    }

    /// Reads a zip that is open; its name says nothing to whoever sent it.
    ///
    /// # Errors
    /// As [`Package::load`].
    pub fn from_zip_file(file: File) -> Result<Package, PackageError> {
        Package::from_contents(Contents::of_zip_file(file)?, "the package", str::to_owned)
    }

    /// Reads a zip that is in memory.
    ///
    /// # Errors
    /// As [`Package::load`].
    pub fn from_zip_bytes(bytes: Bytes) -> Result<Package, PackageError> {
        Package::from_contents(Contents::of_zip_bytes(bytes)?, "the package", str::to_owned)
    }

    fn from_contents(
        mut contents: Contents,
        what: &str,
        shown: impl Fn(&str) -> String,
    ) -> Result<Package, PackageError> {
        let manifest_name = find_manifest(&contents, what)?;
        let text = contents.read(manifest_name, yaml::INPUT_BYTES_MAX + 1)?.unwrap_or_default();
        let names: Vec<String> = contents.names().map(str::to_owned).collect();
        let files = Files { names: &names, is_program: &|name| contents.is_program(name) };
        let (manifest, diagnostics) = read::read(&shown(manifest_name), &text, Some(&files));
        let Some(manifest) = manifest else { return Err(PackageError::Manifest(Box::new(diagnostics))) };
        // `plugin package` writes into the current folder, which may be the plugin's own.
        contents.leave_out(|name| is_own_package(&manifest, name));
        contents.hash()?;
        let digest = contents.digest();
        // Only UTF-8 gets through the reader.
        let manifest_text = String::from_utf8_lossy(&text).into_owned();
        Ok(Package { manifest, diagnostics, digest, files: contents, manifest_name, manifest_text })
    }

    /// The name of this version's zip: `NAME-VERSION.zip`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.zip", self.manifest.name, self.manifest.version)
    }

    /// Writes the package as a zip; the same content gives the same bytes.
    ///
    /// # Errors
    /// A file of the folder changed since it was loaded, the zip would be too large, or writing failed.
    pub fn write_zip(&self, out: impl Write + Seek) -> Result<(), PackageError> {
        self.files.write_zip(out)
    }

    /// Writes the files under a folder, which must be empty if it exists; it appears whole or not at all.
    ///
    /// # Errors
    /// The folder holds something, a file changed since it was loaded, or writing failed.
    pub fn unpack_into(&self, folder: &Path) -> Result<(), PackageError> {
        self.files.unpack_into(folder)
    }
}

fn is_own_package(manifest: &Manifest, name: &str) -> bool {
    let version = name
        .strip_prefix(manifest.name.as_str())
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.strip_suffix(".zip"));
    version.is_some_and(|version| Version::parse(version).is_ok())
}

fn find_manifest(contents: &Contents, what: &str) -> Result<&'static str, PackageError> {
    let mut found = MANIFEST_NAMES.into_iter().filter(|name| contents.contains(name));
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(PackageError::TwoManifests { first, second }),
        (Some(only), None) => Ok(only),
        (None, _) => Err(PackageError::NoManifest { what: what.to_owned(), help: where_is_it(contents) }),
    }
}

/// The commonest reasons why there is no manifest.
fn where_is_it(contents: &Contents) -> String {
    let below = contents
        .names()
        .find(|name| name.split_once('/').is_some_and(|(_, rest)| MANIFEST_NAMES.contains(&rest)));
    if let Some((folder, name)) = below.and_then(|name| name.split_once('/')) {
        return format!(
            "there is {} in the folder {}: the manifest belongs in the root, so use that folder, or zip what is in it \
             (`spanglass plugin package FOLDER` does)",
            quote(name),
            quote(folder)
        );
    }
    let misspelt = contents.names().find(|name| {
        let stem = name.rsplit_once('.').map_or(*name, |(stem, _)| stem).to_ascii_lowercase();
        !name.contains('/') && matches!(stem.as_str(), "manifest" | "plugin")
    });
    match misspelt {
        Some(name) => format!("{} is not one of the names {}", quote(name), MANIFEST_NAMES.join(", ")),
        None => format!(
            "add one of {} to its root; `spanglass plugin new NAME` writes a working start",
            MANIFEST_NAMES.join(", ")
        ),
    }
}
