//! A running host takes over changed settings and secrets: all that they touch is brought up with them first,
//! and only if that works anything changes. Calls under way end with what they began with.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use super::inputs::secrets_of;
use super::register::{RegisterError, note_failure, refused};
use super::settings::PluginSettings;
use super::{Host, STOP_GRACE, Settings, off_thread};
use crate::model::guest::Secret;
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::{Actor, Lifecycle};
use crate::model::name::PluginName;
use crate::registry::{Body, Deployment};
use crate::telemetry::{Operation, OperationKind};

impl Host {
    /// Takes over what has changed in the settings. Returns the plugins that it touched.
    ///
    /// # Errors
    /// A version that takes calls would not with the new settings: then nothing has changed.
    pub async fn reload(self: &Arc<Self>, next: Settings) -> Result<Vec<PluginName>, RegisterError> {
        let before = self.settings.load_full();
        let mut touched = touched(&before, &next);
        if before.capture != next.capture {
            touched.extend(self.registry.all().iter().map(|live| live.manifest.name.clone()));
        }
        let actor = Actor::new("config");
        let host = self.clone();
        let work = async move {
            let mut operation = Operation::start(&host.telemetry, OperationKind::Reload, None);
            let done = host.rebuild(touched, Arc::new(next), actor, &operation).await;
            note_failure(&mut operation, &done);
            done
        };
        super::to_its_end(work).await
    }

    /// Reads the secrets again and restarts the plugins whose have changed. Returns them, and what keeps any
    /// from being taken over; those plugins stay as they are.
    pub async fn refresh_secrets(self: &Arc<Self>) -> (Vec<PluginName>, Vec<String>) {
        let host = self.clone();
        let changed = off_thread(move || host.changed_secrets()).await;
        let (mut refreshed, mut problems) = (Vec::new(), Vec::new());
        for name in changed {
            let operation = self.operation(OperationKind::Reload, &name, None, &Actor::new("secrets"));
            let (actor, settings) = (Actor::new("secrets"), self.settings.load_full());
            match self.rebuild(BTreeSet::from([name]), settings, actor, &operation).await {
                Ok(names) => refreshed.extend(names),
                Err(error) => problems.push(error.to_string()),
            }
        }
        (refreshed, problems)
    }

    /// The plugins that would be started with other secrets than they were.
    fn changed_secrets(&self) -> BTreeSet<PluginName> {
        let settings = self.settings.load();
        let changed = |live: &Arc<Deployment>| {
            let manifest = &live.manifest;
            let sources = settings.plugins.get(manifest.name.as_str()).map(|plugin| &plugin.secrets);
            // A source that cannot be read at the moment changes nothing.
            let read = sources.and_then(|sources| secrets_of(manifest, sources).ok());
            match (&live.body, read) {
                (Body::Running(running), Some(secrets)) => running.secrets != mark(&secrets),
                (Body::Failed { .. }, Some(secrets)) => !secrets.is_empty() && self.lacked_secret(live),
                _ => false,
            }
        };
        let all = self.registry.all();
        all.iter()
            .filter(|live| !live.manifest.secrets.is_empty() && changed(live))
            .map(|live| live.manifest.name.clone())
            .collect()
    }

    fn lacked_secret(&self, live: &Deployment) -> bool {
        matches!(&live.body, Body::Failed { cause, .. } if cause.starts_with(super::inputs::SECRET_MISSING))
    }

    async fn rebuild(
        self: &Arc<Self>,
        touched: BTreeSet<PluginName>,
        settings: Arc<Settings>,
        actor: Actor,
        operation: &Operation,
    ) -> Result<Vec<PluginName>, RegisterError> {
        let mut turns = Vec::new();
        // In the order of their names, so that two of these cannot wait for each other.
        for name in &touched {
            turns.push(self.turns.of(&name.shared()).await);
        }
        let mut built: Vec<(Arc<Deployment>, Deployment)> = Vec::new();
        for live in self.registry.all().into_iter().filter(|live| touched.contains(&live.manifest.name)) {
            let next = match self.source_of(&live).await {
                Ok(source) => self.bring_up_with(source, settings.clone(), operation).await,
                Err(error) => return self.give_up(built, error).await,
            };
            if let (Body::Running(_), Body::Failed { cause, .. }) = (&live.body, &next.body) {
                let (name, version) = (&live.manifest.name, &live.manifest.version);
                let error =
                    refused(ErrorKind::InvalidInput, format!("{name} {version} cannot run with it: {cause}"));
                return self.give_up(built, error).await;
            }
            built.push((live, next));
        }
        let ranges = settings.ranges();
        self.settings.store(settings);
        self.registry.set_ranges(ranges);
        for (before, next) in built {
            let (from, to) = (before.state(), next.state());
            let deployment = self.swap_in(next);
            let steps = match (&from, &to) {
                (_, Lifecycle::Registered) => vec![to],
                _ => vec![Lifecycle::Registered, to],
            };
            self.tell(&deployment, &from, &steps, &actor);
        }
        Ok(touched.into_iter().collect())
    }

    async fn source_of(
        self: &Arc<Self>,
        live: &Arc<Deployment>,
    ) -> Result<super::deploy::Source, RegisterError> {
        let (host, live) = (self.clone(), live.clone());
        off_thread(move || {
            let (name, version) = (&live.manifest.name, &live.manifest.version);
            let gone = || refused(ErrorKind::NotFound, format!("{name} {version} is not registered"));
            let registration = host.store()?.registration(name, version)?.ok_or_else(gone)?;
            host.source(&registration)
        })
        .await
    }

    async fn give_up<T>(
        &self,
        built: Vec<(Arc<Deployment>, Deployment)>,
        error: RegisterError,
    ) -> Result<T, RegisterError> {
        for (_, next) in built {
            if let Body::Running(running) = &next.body {
                running.pool.stop(STOP_GRACE).await;
            }
        }
        Err(error)
    }
}

/// The plugins whose own settings differ.
fn touched(before: &Settings, next: &Settings) -> BTreeSet<PluginName> {
    let of = |settings: &Settings| -> BTreeMap<String, PluginSettings> {
        // Where it lies and which version gets calls restarts nothing.
        let restarts = |plugin: &PluginSettings| PluginSettings {
            path: None,
            version: None,
            required: false,
            ..plugin.clone()
        };
        settings.plugins.iter().map(|(name, plugin)| (name.clone(), restarts(plugin))).collect()
    };
    let (before_plugins, next_plugins) = (of(before), of(next));
    let names: BTreeSet<&String> = before_plugins.keys().chain(next_plugins.keys()).collect();
    let default = PluginSettings::default();
    let setting = |plugins: &BTreeMap<String, PluginSettings>, name: &String| {
        plugins.get(name).unwrap_or(&default).clone()
    };
    let differs = |name: &&String| setting(&before_plugins, name) != setting(&next_plugins, name);
    names.into_iter().filter(differs).filter_map(|name| PluginName::parse(name).ok()).collect()
}

/// Tells secrets apart without keeping them. Means nothing outside of this process.
pub(super) fn mark(secrets: &[(String, Secret)]) -> u64 {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    let exposed: Vec<(&str, &str)> =
        secrets.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect();
    KEYS.get_or_init(RandomState::new).hash_one(exposed)
}
