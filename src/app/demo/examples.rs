//! The example plugins, carried in the binary.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rust_embed::RustEmbed;

use crate::app::failure::Failure;
use crate::host::Host;
use crate::model::lifecycle::Actor;
use crate::package::Package;
use crate::package::manifest::RuntimeKind;
use crate::runtimes::process::ProcessRuntime;

#[derive(RustEmbed)]
#[folder = "plugins/"]
#[exclude = "*.pyc"]
#[exclude = "*.zip"]
struct Files;

/// An example that this machine cannot run.
pub struct Skipped {
    pub plugin: String,
    pub why: String,
}

/// Registers all that can run here as anybody would: from folders. Returns the others.
pub async fn register(host: &Arc<Host>) -> Result<Vec<Skipped>, Failure> {
    let folder = tempfile::tempdir().map_err(|error| cannot(&error))?;
    unpack::<Files>(folder.path()).map_err(|error| cannot(&error))?;
    let entries = std::fs::read_dir(folder.path()).map_err(|error| cannot(&error))?;
    // Files beside the plugins' folders describe them to readers of the repository.
    let mut plugins: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    plugins.sort();
    let mut skipped = Vec::new();
    for plugin in plugins {
        match obstacle(&plugin)? {
            Some(obstacle) => skipped.push(obstacle),
            None => drop(host.register_path(&plugin, Actor::new("demo")).await?),
        }
    }
    Ok(skipped)
}

/// Writes what the binary carries into a folder.
pub fn unpack<Files: RustEmbed>(folder: &Path) -> std::io::Result<()> {
    for name in Files::iter() {
        let Some(file) = Files::get(&name) else { continue };
        let path = folder.join(&*name);
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        std::fs::write(&path, &file.data)?;
        if file.data.starts_with(b"#!") {
            std::fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

/// What keeps a plugin from running on this machine, as far as it can be told before.
fn obstacle(folder: &Path) -> Result<Option<Skipped>, Failure> {
    let manifest = Package::load(folder)?.manifest;
    if manifest.runtime != RuntimeKind::Process {
        return Ok(None);
    }
    let checked = ProcessRuntime::check(folder, &manifest.entrypoint);
    Ok(checked.err().map(|error| Skipped { plugin: manifest.name.to_string(), why: error.message }))
}

pub fn cannot(error: &std::io::Error) -> Failure {
    Failure::internal(format!("the example plugins cannot be unpacked: {error}"))
}
