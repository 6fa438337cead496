//! `plugin`: from a folder to a version that can be called. `files.rs` works on a folder or zip alone,
//! `test.rs` runs its examples in this process, `record.rs` makes one of a call, `registry.rs` and `changes.rs`
//! talk to a host, `dev/` does all of it at each save.

use super::cli::{Global, Plugin};
use super::failure::Failure;
use crate::config::Settings;

mod changes;
mod dev;
mod files;
mod manifest_file;
mod record;
mod registry;
mod test;

pub async fn command(global: &Global, plugin: &Plugin, settings: &Settings) -> Result<(), Failure> {
    match plugin {
        Plugin::New { name, runtime } => files::new(name, runtime, global.json),
        Plugin::Validate(path) => files::validate(path.get(), global.json),
        Plugin::Package { path, with_wheels } => files::package(path.get(), *with_wheels, global.json).await,
        Plugin::Schema => files::schema(),
        Plugin::Test(test) => match &test.record {
            Some(id) => record::command(global, test.path.get(), id, settings).await,
            None => test::command(test.path.get(), test.update, global.json, settings).await,
        },
        Plugin::Register { path, reason } => changes::register(global, path.get(), reason, settings).await,
        Plugin::Update { name, reason } => changes::update(global, name.as_deref(), reason, settings).await,
        Plugin::List => registry::list(global, settings).await,
        Plugin::Show { target } => registry::show(global, target, settings).await,
        Plugin::Enable(change) => changes::set_enabled(global, change, true, settings).await,
        Plugin::Disable(change) => changes::set_enabled(global, change, false, settings).await,
        Plugin::Rollback { name, to, reason } => {
            changes::rollback(global, name, to.as_deref(), reason, settings).await
        }
        Plugin::Remove(change) => changes::remove(global, change, settings).await,
        Plugin::Dev(dev) => dev::command(global, dev, settings).await,
    }
}
