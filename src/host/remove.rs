//! Versions go.

use std::sync::Arc;

use semver::Version;

use super::register::{RegisterError, is_called, lock, note_failure};
use super::{Host, off_thread};
use crate::model::lifecycle::{Actor, Lifecycle};
use crate::model::name::PluginName;
use crate::store::Digest;
use crate::telemetry::OperationKind;
use crate::telemetry::events::PluginRemoved;

impl Host {
    /// Takes a version away, unless another one needs it. Its workers end when its last call has.
    pub async fn remove(
        self: &Arc<Self>,
        name: &PluginName,
        version: &Version,
        actor: Actor,
    ) -> Result<(), RegisterError> {
        self.remove_unless(name, version, actor, true).await
    }

    /// The same, also if others need it: they lack it from then on.
    pub(super) async fn remove_at_any_rate(
        self: &Arc<Self>,
        name: &PluginName,
        version: &Version,
        actor: Actor,
    ) -> Result<(), RegisterError> {
        self.remove_unless(name, version, actor, false).await
    }

    async fn remove_unless(
        self: &Arc<Self>,
        name: &PluginName,
        version: &Version,
        actor: Actor,
        in_use: bool,
    ) -> Result<(), RegisterError> {
        let (host, name, version) = (self.clone(), name.clone(), version.clone());
        let work = async move {
            let mut operation = host.operation(OperationKind::Remove, &name, Some(&version), &actor);
            let _turn = host.turns.of(&name.shared()).await;
            let removed = off_thread(move || host.take_out(&name, &version, &actor, in_use)).await;
            note_failure(&mut operation, &removed);
            removed
        };
        super::to_its_end(work).await
    }

    fn take_out(
        &self,
        name: &PluginName,
        version: &Version,
        actor: &Actor,
        unless_in_use: bool,
    ) -> Result<(), RegisterError> {
        let mut changes = lock(&self.changes);
        let live = self.live(name, version)?;
        let locked_out = self.lock_out(&live.manifest);
        if unless_in_use {
            locked_out?;
        }
        if let Some(store) = &self.store {
            store.remove_registration(name, version, None)?;
        }
        drop(live);
        if let Some(removed) = self.registry.remove(name.as_str(), version) {
            self.tell(&removed, &removed.state(), &[Lifecycle::Destroyed], actor);
            self.telemetry.emit(PluginRemoved { series: &removed.series });
            self.drift.forget(name.as_str(), &version.to_string());
            let draining = is_called(&removed).then(|| Digest::parse(&removed.digest).ok()).flatten();
            changes.held.extend(draining.clone());
            self.retire(removed, draining);
        }
        if let Some(store) = &self.store {
            changes.sweep(store)?;
        }
        Ok(())
    }
}
