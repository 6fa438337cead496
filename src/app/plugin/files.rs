//! What can be done with a plugin's files alone: begin, check, pack.

use std::fs::Permissions;
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::app::failure::Failure;
use crate::app::output::{self, Paint, Style, printable};
use crate::model::kind::ErrorKind;
use crate::model::name::PluginName;
use crate::package::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::package::manifest::RuntimeKind;
use crate::package::requirements::{LOCK, REQUIREMENTS, check_locked};
use crate::package::{Package, PackageError, codes, manifest_schema, scaffold};
use crate::runtimes::python::environment::{LockSettings, Locked, lock_package};

/// What anybody may do with a package; the umask takes from it.
const PACKAGE_MODE: u32 = 0o666;

pub fn new(name: &str, runtime: &str, json: bool) -> Result<(), Failure> {
    let name =
        PluginName::parse(name).map_err(|error| Failure::usage(format!("{:?}: {error}", printable(name))))?;
    let runtimes = RuntimeKind::ALL;
    let runtime = runtimes.iter().copied().find(|kind| kind.as_str() == runtime).ok_or_else(|| {
        let known: Vec<&str> = runtimes.iter().map(|kind| kind.as_str()).collect();
        Failure::usage(format!("there is no runtime {runtime:?}"))
            .help(format!("this build has: {}", known.join(", ")))
    })?;
    let (folder, files) = scaffold::write(Path::new(""), &name, runtime).map_err(|error| match error {
        PackageError::Exists { path } => {
            let message = format!("the folder {} exists already and is not empty", path.display());
            Failure::of_kind(ErrorKind::Conflict, message).help("choose another name, or remove it first")
        }
        error => error.into(),
    })?;
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    if json {
        let document =
            json!({"name": name.as_str(), "runtime": runtime.as_str(), "path": folder, "files": files});
        return output::print_json(&document);
    }
    let mut text: String = files.iter().map(|file| format!("created {file}\n")).collect();
    text += &format!("try it: spanglass plugin test {}\n", folder.display());
    output::print(&text)
}

pub fn validate(path: &Path, json: bool) -> Result<(), Failure> {
    let loaded = Package::load(path);
    if let Ok(package) = &loaded {
        check_requirements(package, path)?;
    }
    match loaded {
        Ok(package) if json => output::print_json(&package.diagnostics.to_json()),
        Ok(package) => {
            remarks(&package);
            let valid = Style::stdout().paint(Paint::Good, "valid").into_owned();
            output::print(&format!("{valid}: {} {}\n", package.manifest.name, package.manifest.version))
        }
        Err(PackageError::Manifest(diagnostics)) => Err(Failure::diagnostics(*diagnostics)),
        // Not about a place in the manifest, but in the same shape for programs.
        Err(error) if json => Err(Failure::diagnostics(as_diagnostics(path, &error))),
        Err(error) => Err(error.into()),
    }
}

/// What is wrong with the requirements of a Python plugin. Their source is not shown: it may hold credentials.
fn check_requirements(package: &Package, path: &Path) -> Result<(), Failure> {
    let (folder, _unpacked) = match requires(package) {
        false => return Ok(()),
        true => folder_of(package, path)?,
    };
    let Err(mistake) = check_locked(&folder) else { return Ok(()) };
    let line = mistake.line.and_then(|line| u32::try_from(line).ok());
    let place = Place { line: line.unwrap_or(1), ..Place::START };
    // With its place: there is no source around it that would show that.
    let message = mistake.to_string();
    let shown = if path.is_dir() { path.join(&mistake.file).display().to_string() } else { mistake.file };
    let mut diagnostics = Diagnostics::new(shown, "");
    let diagnostic = Diagnostic::error(codes::REQUIREMENTS, place, "", message);
    diagnostics.push(diagnostic.maybe_help(mistake.help));
    Err(Failure::diagnostics(diagnostics))
}

fn requires(package: &Package) -> bool {
    let requires = [REQUIREMENTS, LOCK].iter().any(|name| package.files.contains(name));
    package.manifest.runtime == RuntimeKind::Python && requires
}

/// A folder with the package's files. That of a zip is removed with what comes beside it.
fn folder_of(package: &Package, path: &Path) -> Result<(PathBuf, Option<TempDir>), Failure> {
    if path.is_dir() {
        return Ok((path.to_owned(), None));
    }
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::internal(format!("no temporary folder can be made: {error}")))?;
    package.unpack_into(folder.path())?;
    Ok((folder.path().to_owned(), Some(folder)))
}

/// Packs a folder, or a zip anew. What a Python plugin requires is locked first, in the folder itself, so that
/// packing it again gives the same bytes.
pub async fn package(path: &Path, with_wheels: bool, json: bool) -> Result<(), Failure> {
    let mut package = Package::load(path)?;
    if !json {
        remarks(&package);
    }
    let mut locked = None;
    // Kept until the zip is written: files are read from it.
    let mut _unpacked = None;
    if requires(&package) {
        let (folder, unpacked) = folder_of(&package, path)?;
        _unpacked = unpacked;
        locked = lock(&folder, with_wheels).await?;
        package = Package::load(&folder)?;
    }
    let file_name = package.file_name();
    let bytes = write_zip(&package, &file_name)?;
    if json {
        return output::print_json(&json!({
            "name": package.manifest.name.as_str(),
            "version": package.manifest.version.to_string(),
            "file": file_name,
            "digest": package.digest,
            "bytes": bytes,
            "locked": locked.as_ref().map(|locked| locked.packages),
            "wheels": locked.as_ref().and_then(|locked| locked.wheels).map(|(wheels, _)| wheels),
        }));
    }
    let files = output::count(package.files.names().len());
    output::print(&format!("{file_name}  {}  {files} files\n{}\n", output::bytes(bytes), package.digest))
}

async fn lock(folder: &Path, with_wheels: bool) -> Result<Option<Locked>, Failure> {
    let supervisor = std::env::current_exe()
        .map_err(|error| Failure::internal(format!("the path of this program is not known: {error}")))?;
    let settings = LockSettings { python: None, supervisor, with_wheels };
    // An installer's words may hold anything.
    let locked = lock_package(folder, &settings, &|line| output::note(&printable(line))).await?;
    if let Some(locked) = &locked {
        let word = if locked.kept { "as it was" } else { "written" };
        let packages = output::count(locked.packages);
        let wheels = locked.wheels.map_or_else(String::new, |(wheels, bytes)| {
            format!(", {} wheels of {}", output::count(wheels), output::bytes(bytes))
        });
        output::note(&format!("{LOCK} {word}: {packages} packages{wheels}"));
    }
    Ok(locked)
}

pub fn schema() -> Result<(), Failure> {
    output::print(manifest_schema::TEXT)
}

/// Warnings and notes of a good package, to the person beside what is printed.
pub fn remarks(package: &Package) {
    if !package.diagnostics.is_empty() {
        output::note(package.diagnostics.render(Style::stderr().into()).trim_end());
    }
}

/// Into the current folder, as a whole or not at all. Returns the zip's size.
fn write_zip(package: &Package, file_name: &str) -> Result<u64, Failure> {
    let failed = |error: std::io::Error| Failure::internal(format!("{file_name} cannot be written: {error}"));
    let file = tempfile::Builder::new()
        .prefix(".package-")
        .permissions(Permissions::from_mode(PACKAGE_MODE))
        .tempfile_in(".")
        .map_err(failed)?;
    package.write_zip(BufWriter::new(file.as_file()))?;
    let written = file.persist(file_name).map_err(|error| failed(error.error))?;
    Ok(written.metadata().map_err(failed)?.len())
}

fn as_diagnostics(path: &Path, error: &PackageError) -> Diagnostics {
    let mut diagnostics = Diagnostics::new(path.display().to_string(), "");
    let diagnostic = Diagnostic::error(error.code(), Place::START, "", error.to_string());
    diagnostics.push(diagnostic.maybe_help(error.help()));
    diagnostics
}
