//! The life of versions that are registered: enabled, disabled, rolled back; and how each step is told.

use std::sync::Arc;
use std::time::SystemTime;

use semver::Version;

use super::deploy::{label_of, live_instances, superseded};
use super::register::{RegisterError, refused};
use super::{Host, off_thread};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::{Actor, Lifecycle};
use crate::model::name::PluginName;
use crate::registry::{Body, Deployment};
use crate::store::Transition;
use crate::telemetry::events::{LifecycleChanged, PluginRolledBack, StoreWriteFailed};
use crate::telemetry::{Operation, OperationKind};

/// So much of a plugin's history is shown.
const HISTORY_MAX: u32 = 100;

/// What a rollback did.
pub struct RolledBack {
    pub from: Version,
    /// The version that gets the calls from now on.
    pub to: Arc<Deployment>,
}

impl Host {
    /// Lets a version take calls, or stops it. Calls under way end where they began. A version that is in the
    /// wanted state already is fine.
    pub async fn set_enabled(
        self: &Arc<Self>,
        name: &PluginName,
        version: &Version,
        enabled: bool,
        actor: Actor,
    ) -> Result<Arc<Deployment>, RegisterError> {
        let kind = if enabled { OperationKind::Enable } else { OperationKind::Disable };
        let (host, name, version) = (self.clone(), name.clone(), version.clone());
        let change = async move {
            let mut operation = host.operation(kind, &name, Some(&version), &actor);
            let _turn = host.turns.of(&name.shared()).await;
            let changed = if enabled {
                host.enable(&name, &version, &actor, &operation).await
            } else {
                off_thread(move || host.disable(&name, &version, &actor)).await
            };
            super::register::note_failure(&mut operation, &changed);
            changed
        };
        super::to_its_end(change).await
    }

    async fn enable(
        self: &Arc<Self>,
        name: &PluginName,
        version: &Version,
        actor: &Actor,
        operation: &Operation,
    ) -> Result<Arc<Deployment>, RegisterError> {
        let (host, wanted) = (self.clone(), (name.clone(), version.clone()));
        let (live, source) = off_thread(move || {
            let (name, version) = &wanted;
            let live = host.live(name, version)?;
            if host.settings.load().plugins.get(name.as_str()).is_some_and(|plugin| !plugin.enabled) {
                let error =
                    InvokeError::new(ErrorKind::Conflict, format!("{name} is disabled by the configuration"));
                return Err(RegisterError::Refused(error.help(format!("set plugins.{name}.enabled there"))));
            }
            let store = host.store()?;
            store.set_held_back(name, version, false)?;
            live.hold_back(false);
            let registration = store.set_enabled(name, version, true, None)?;
            let source =
                if matches!(live.body, Body::Running(_)) { None } else { Some(host.source(&registration)?) };
            Ok::<_, RegisterError>((live, source))
        })
        .await?;
        let Some(source) = source else { return Ok(live) };
        let deployment = self.bring_up(source, operation).await;
        let before = live.state();
        let deployment = self.swap_in(deployment);
        self.tell(&deployment, &before, &[Lifecycle::Registered, deployment.state()], actor);
        Ok(deployment)
    }

    fn disable(
        &self,
        name: &PluginName,
        version: &Version,
        actor: &Actor,
    ) -> Result<Arc<Deployment>, RegisterError> {
        let live = self.live(name, version)?;
        self.store()?.set_enabled(name, version, false, None)?;
        if matches!(live.body, Body::Registered) {
            return Ok(live);
        }
        let deployment = self.swap_in(live.with_body(Body::Registered));
        self.drift.rest(deployment.manifest.name.as_str(), &deployment.manifest.version.to_string());
        self.tell(&deployment, &live.state(), &[Lifecycle::Registered], actor);
        Ok(deployment)
    }

    /// Gives the calls back to an earlier version: `to`, or the next lower one. Those above it stay, and get
    /// only calls that name them, until somebody enables or registers them again. Newer ones are not affected.
    pub async fn roll_back(
        self: &Arc<Self>,
        name: &PluginName,
        to: Option<Version>,
        actor: Actor,
    ) -> Result<RolledBack, RegisterError> {
        let (host, name) = (self.clone(), name.clone());
        let change = async move {
            let mut operation = host.operation(OperationKind::Rollback, &name, None, &actor);
            let _turn = host.turns.of(&name.shared()).await;
            let rolled_back = off_thread(move || host.hold_back_above(&name, to.as_ref(), &actor)).await;
            super::register::note_failure(&mut operation, &rolled_back);
            rolled_back
        };
        super::to_its_end(change).await
    }

    fn hold_back_above(
        &self,
        name: &PluginName,
        to: Option<&Version>,
        actor: &Actor,
    ) -> Result<RolledBack, RegisterError> {
        let current = self.registry.route(name.as_str(), None).map_err(RegisterError::Refused)?;
        let from = current.manifest.version.clone();
        let is_goal = |version: &Version| to.map_or(*version < from, |to| version == to);
        let versions = self.registry.versions(name.as_str());
        let may = |live: &&Arc<Deployment>| {
            let manifest = &live.manifest;
            let ranges = self.registry.ranges();
            let allowed = ranges.get(name.as_str());
            is_goal(&manifest.version)
                && manifest.version < from
                && (to.is_some() || !live.is_held_back())
                && matches!(live.body, Body::Running(_))
                && allowed.map_or(manifest.version.pre.is_empty(), |range| range.matches(&manifest.version))
        };
        let Some(goal) = versions.iter().find(may).cloned() else {
            let message = match to {
                Some(to) => format!(
                    "{name} cannot go back from {from} to {to}: it is no earlier version that takes calls"
                ),
                None => format!("{name} {from} has no earlier version to go back to"),
            };
            let error = InvokeError::new(ErrorKind::Conflict, message);
            return Err(RegisterError::Refused(
                error.help(format!("spanglass plugin show {name} lists the versions")),
            ));
        };
        let store = self.store()?;
        let version = &goal.manifest.version;
        // From the top: whatever this is interrupted by, calls never go to a version between the two.
        let above =
            versions.iter().filter(|live| live.manifest.version > *version && live.manifest.version <= from);
        store.set_held_back(name, version, false)?;
        goal.hold_back(false);
        for live in above {
            store.set_held_back(name, &live.manifest.version, true)?;
            live.hold_back(true);
        }
        goal.series.reset_circuit();
        self.warm(&goal, live_instances(&current));
        superseded(current.clone());
        let cause = format!("rolled back to {version}");
        self.write_history(&[transition(&current, &current.state(), &current.state(), Some(cause), actor)]);
        self.telemetry.emit(PluginRolledBack {
            series: &goal.series,
            from: &from.to_string(),
            actor: &actor.by,
        });
        Ok(RolledBack { from, to: goal })
    }

    /// What happened to the versions of a plugin, newest first. Blocks on the disk.
    pub fn history(&self, name: &PluginName) -> Result<Vec<Transition>, RegisterError> {
        match &self.store {
            Some(store) => Ok(store.transitions(name, HISTORY_MAX)?),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn live(
        &self,
        name: &PluginName,
        version: &Version,
    ) -> Result<Arc<Deployment>, RegisterError> {
        self.registry
            .get(name.as_str(), version)
            .ok_or_else(|| refused(ErrorKind::NotFound, format!("there is no version {version} of {name}")))
    }

    /// A span for a change, with what it is about and whose it is.
    pub(super) fn operation(
        &self,
        kind: OperationKind,
        name: &PluginName,
        version: Option<&Version>,
        actor: &Actor,
    ) -> Operation {
        let mut operation = Operation::start(&self.telemetry, kind, None);
        operation.set("spanglass.plugin.name", name.shared());
        if let Some(version) = version {
            operation.set("spanglass.plugin.version", version.to_string());
        }
        operation.set("spanglass.actor", actor.by.clone());
        operation
    }

    /// Steps that a version took, in their order: each an event, a count and a line in its history.
    pub(super) fn tell(&self, deployment: &Deployment, from: &Lifecycle, steps: &[Lifecycle], actor: &Actor) {
        let mut from = from.clone();
        let mut transitions = Vec::with_capacity(steps.len());
        for to in steps {
            if *to == from {
                continue;
            }
            if let Err(illegal) = from.to(to.clone()) {
                // The change is made and must be told; that it was not foreseen is a mistake of ours.
                debug_assert!(false, "{illegal}");
            }
            let cause = matches!(to, Lifecycle::Failed { .. }).then(|| to.to_string());
            let series = &deployment.series;
            let (label, cause_text) = (label_of(to), cause.as_deref());
            self.telemetry.emit(LifecycleChanged {
                series,
                from: Some(label_of(&from)),
                to: label,
                cause: cause_text,
                actor: Some(&actor.by),
                reason: actor.reason.as_deref(),
            });
            transitions.push(transition(deployment, &from, to, cause, actor));
            from = to.clone();
        }
        self.write_history(&transitions);
    }

    /// The change has been made; that its history cannot be written must not undo it.
    fn write_history(&self, transitions: &[Transition]) {
        let Some(store) = &self.store else { return };
        if let Err(error) = store.record_transitions(transitions) {
            self.telemetry.emit(StoreWriteFailed { message: &error.to_string() });
        }
    }
}

fn transition(
    deployment: &Deployment,
    from: &Lifecycle,
    to: &Lifecycle,
    cause: Option<String>,
    actor: &Actor,
) -> Transition {
    Transition {
        name: deployment.manifest.name.clone(),
        version: deployment.manifest.version.clone(),
        at: SystemTime::now(),
        from: from.as_str().to_owned(),
        to: to.as_str().to_owned(),
        cause,
        actor: actor.by.to_string(),
        reason: actor.reason.as_deref().map(str::to_owned),
    }
}
