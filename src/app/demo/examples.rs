//! The example plugins, carried in the binary.

use std::sync::Arc;

use rust_embed::RustEmbed;

use crate::app::failure::Failure;
use crate::host::Host;
use crate::model::lifecycle::Actor;

#[derive(RustEmbed)]
#[folder = "plugins/"]
#[exclude = "*.pyc"]
#[exclude = "*.zip"]
struct Files;

/// Registers all of them as anybody would: from folders.
pub async fn register(host: &Arc<Host>) -> Result<(), Failure> {
    let cannot =
        |error: std::io::Error| Failure::internal(format!("the example plugins cannot be unpacked: {error}"));
    let folder = tempfile::tempdir().map_err(cannot)?;
    for name in Files::iter() {
        // Files beside the plugins' folders describe them to readers of the repository.
        let (Some(file), true) = (Files::get(&name), name.contains('/')) else { continue };
        let path = folder.path().join(&*name);
        std::fs::create_dir_all(path.parent().unwrap_or(folder.path())).map_err(cannot)?;
        std::fs::write(&path, file.data).map_err(cannot)?;
    }
    let mut plugins: Vec<_> =
        std::fs::read_dir(folder.path()).map_err(cannot)?.flatten().map(|entry| entry.path()).collect();
    plugins.sort();
    for plugin in plugins {
        host.register_path(&plugin, Actor::new("demo")).await?;
    }
    Ok(())
}
