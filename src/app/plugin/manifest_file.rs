//! The manifest of a plugin's folder, to be replaced as a whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::app::failure::Failure;
use crate::app::output::printable;
use crate::model::kind::ErrorKind;
use crate::package::Package;
use crate::package::rewrite::RewriteError;

pub struct ManifestFile {
    path: PathBuf,
    /// As it was when the package was read.
    text: String,
}

impl ManifestFile {
    /// # Errors
    /// The package is a zip, which nobody edits.
    pub fn of(path: &Path, package: &Package) -> Result<ManifestFile, Failure> {
        if !path.is_dir() {
            let message =
                format!("{} is a zip: its manifest is not changed", printable(&path.display().to_string()));
            return Err(Failure::usage(message).help("use the folder that it was made of"));
        }
        Ok(ManifestFile { path: path.join(package.manifest_name), text: package.manifest_text.clone() })
    }

    pub fn shown(&self) -> String {
        printable(&self.path.display().to_string())
    }

    /// # Errors
    /// Somebody has changed the file meanwhile, or it cannot be written.
    pub fn replace(&self, text: &str) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| Failure::internal(format!("{} cannot be written: {error}", self.shown()));
        let now = std::fs::read(&self.path).map_err(failed)?;
        if now != self.text.as_bytes() {
            let message = format!("{} was changed meanwhile", self.shown());
            return Err(Failure::of_kind(ErrorKind::Conflict, message).help("run the command again"));
        }
        let permissions = std::fs::metadata(&self.path).map_err(failed)?.permissions();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".manifest-")
            .permissions(permissions)
            .tempfile_in(folder)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    pub fn unchangeable(&self, error: &RewriteError) -> Failure {
        Failure::of_kind(ErrorKind::Conflict, format!("{} stays as it is: {error}", self.shown()))
            .help(error.help())
    }
}
