//! One save of the author's: the package as it lies in the folder, and its zip under another version.

use std::io::Cursor;
use std::path::Path;

use bytes::Bytes;
use semver::Version;

use crate::app::failure::Failure;
use crate::app::output::printable;
use crate::model::kind::ErrorKind;
use crate::package::{Package, rewrite};

/// Reads the folder. Blocks on the disk.
pub fn load(folder: &Path) -> Result<Package, Failure> {
    if folder.is_file() {
        let message =
            format!("{} is a file, and only a folder is worked on", printable(&folder.display().to_string()));
        return Err(Failure::usage(message).help("use the folder that the zip was made of"));
    }
    Ok(Package::load(folder)?)
}

/// The zip of the package, in which only the version is another one. Blocks on the disk.
pub fn zip_as(package: &Package, version: &Version) -> Result<Bytes, Failure> {
    let failed =
        |error: std::io::Error| Failure::internal(format!("no copy of the package can be made: {error}"));
    let text =
        rewrite::set_version(package.manifest_name, &package.manifest_text, version).map_err(|error| {
            let message = format!("the version in {} cannot be replaced: {error}", package.manifest_name);
            Failure::of_kind(ErrorKind::Conflict, message).help(error.help())
        })?;
    let copy = tempfile::tempdir().map_err(failed)?;
    let folder = copy.path().join("package");
    package.unpack_into(&folder)?;
    std::fs::write(folder.join(package.manifest_name), text).map_err(failed)?;
    let mut zip = Cursor::new(Vec::new());
    Package::load(&folder)?.write_zip(&mut zip)?;
    Ok(zip.into_inner().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_version_changes() {
        let home = tempfile::tempdir().unwrap();
        let manifest = "name: greet # it greets\nversion: 1.0.0\n";
        std::fs::write(home.path().join("manifest.yaml"), manifest).unwrap();
        std::fs::write(home.path().join("executor.py"), "def invoke(input_data): return 1").unwrap();
        let package = load(home.path()).unwrap();
        let version = Version::parse("1.0.0-dev.ada-1f2e.1").unwrap();
        let zipped = Package::from_zip_bytes(zip_as(&package, &version).unwrap()).unwrap();
        assert_eq!(zipped.manifest.version, version);
        assert_eq!(zipped.manifest_text, manifest.replace("1.0.0", "\"1.0.0-dev.ada-1f2e.1\""));
        assert!(zipped.files.names().eq(package.files.names()));
        assert_eq!(std::fs::read_to_string(home.path().join("manifest.yaml")).unwrap(), manifest);
    }
}
