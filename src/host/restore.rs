//! What was registered before this process began comes back.

use std::sync::Arc;

use super::Host;
use super::deploy::Source;
use super::register::{RegisterError, refused};
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::Stage;
use crate::package::Package;
use crate::runtimes::Convention;
use crate::store::Registration;
use crate::telemetry::events::PluginRegisterFailed;

impl Host {
    /// Deploys everything that was registered before. One that cannot be started stays, as failed. Blocks on
    /// the disk.
    pub fn restore(&self) -> Result<usize, RegisterError> {
        let Some(store) = &self.store else { return Ok(0) };
        let mut restored = Vec::new();
        for registration in store.registrations()? {
            match self.source(&registration) {
                Ok(source) => {
                    restored.push(self.swap_in(self.assemble(source, &self.settings.load())));
                }
                Err(error) => self.telemetry.emit(PluginRegisterFailed {
                    plugin: registration.name.as_str(),
                    origin: None,
                    version: Some(&registration.version.to_string()),
                    stage: Stage::Start.as_str(),
                    message: &error.to_string(),
                }),
            }
        }
        self.restore_lock();
        for deployment in &restored {
            let deployment = self.fail_unresolved(deployment.clone());
            self.count_start(&deployment);
        }
        Ok(restored.len())
    }

    /// A version that was registered, read back.
    pub(super) fn source(&self, registration: &Registration) -> Result<Source, RegisterError> {
        let gone = || refused(ErrorKind::Internal, "its package is gone");
        let stored = self.store()?.package(&registration.digest).ok_or_else(gone)?;
        Ok(Source {
            manifest: Package::load(&stored.folder)?.manifest,
            digest: registration.digest.as_str().into(),
            folder: stored.folder,
            registered_at: registration.registered_at,
            convention: Convention::Plugin,
            origin: registration.origin.as_deref().map(Arc::from),
            enabled: registration.enabled,
            held_back: registration.held_back,
        })
    }
}
