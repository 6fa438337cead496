//! Alerts without Prometheus: six rules, judged once a second on the built-in series and on what is known of
//! drift, and whoever is to be told.
//! Judgement is pure (`rules.rs`: a picture in, verdicts out; `states.rs`: verdicts in, alerts out). This room never
//! decides anything about a call, and nobody who is told, however slow, holds up the next round.
//!
//! Read `rules.rs`, then `states.rs`, then `notify/mod.rs`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::model::slo::LatencyObjective;
use crate::store::series::{Example as Call, Series, Slot};
use crate::telemetry::Telemetry;
use crate::telemetry::events::AlertNotified;

mod alert;
mod notify;
mod picture;
mod rules;
mod states;

pub use alert::{Alert, Example, Source, State};
pub use notify::{Notified, NotifySettings, Target};
pub use rules::{
    Described, DriftFact, DriftField, DriftState, Picture, PluginPicture, RuleName, Thresholds, Verdict,
    VersionPicture, judge,
};
pub use states::{Patience, RESOLVED_MAX};

use notify::Notifier;
use states::States;

/// How often the rules are judged.
pub const JUDGE_EVERY: Duration = Duration::from_secs(1);
/// Changes that a slow reader of [`Alerting::subscribe`] may lag behind.
const NEWS_MAX: usize = 256;
/// The note of the series in which alerts are kept over a restart.
const NOTE: &str = "alerts";

#[derive(Clone, Debug, Default)]
pub struct AlertingSettings {
    pub thresholds: Thresholds,
    pub patience: Patience,
    pub notify: NotifySettings,
}

/// A registered version, as far as rules must know it.
#[derive(Clone, Debug)]
pub struct Registered {
    pub plugin: String,
    pub version: String,
    /// It gets the calls that name no version.
    pub takes_calls: bool,
    pub latency: Option<LatencyObjective>,
    pub expect_every: Option<Duration>,
    pub registered_at: u32,
}

/// What a round needs to know beside the series.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub registered: Vec<Registered>,
    pub store_writable: bool,
    /// Of every version that is watched.
    pub drift: Vec<DriftFact>,
}

/// What is shown of it all.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    pub items: Vec<Alert>,
    pub rules: Vec<Described>,
    pub notifications: Vec<Notified>,
}

pub struct Alerting {
    settings: AlertingSettings,
    telemetry: Telemetry,
    series: Arc<Series>,
    states: Mutex<States>,
    /// What telemetry had dropped, at the times of the last rounds.
    dropped: Mutex<VecDeque<(u32, u64)>>,
    news: broadcast::Sender<Arc<Alert>>,
    notifier: Notifier,
}

impl Alerting {
    pub fn new(telemetry: Telemetry, series: Arc<Series>, settings: AlertingSettings) -> Alerting {
        let mut states = States::default();
        if let Some(kept) = series.note(NOTE).and_then(|text| serde_json::from_str(&text).ok()) {
            states.restore(kept, unix_s(SystemTime::now()));
        }
        let notifier = Notifier::new(settings.notify.clone());
        Alerting {
            settings,
            telemetry,
            series,
            states: Mutex::new(states),
            dropped: Mutex::default(),
            news: broadcast::Sender::new(NEWS_MAX),
            notifier,
        }
    }

    /// One round. It reads memory only.
    pub fn round(&self, facts: &Facts) {
        let now = unix_s(SystemTime::now());
        let picture = self.picture(facts, now);
        let verdicts = judge(&picture, &self.settings.thresholds);
        let (changed, kept) = {
            let mut states = self.states();
            let changed = states.step(verdicts, now, self.settings.patience);
            let kept = if changed.is_empty() { None } else { serde_json::to_string(&states.kept()).ok() };
            (changed, kept)
        };
        if changed.is_empty() {
            return;
        }
        if let Some(kept) = kept {
            self.series.set_note(NOTE, kept);
        }
        for alert in &changed {
            self.telemetry.emit(AlertNotified { alert: &alert.notified(SystemTime::now()) });
            // Nobody may be listening.
            let _ = self.news.send(Arc::new(alert.clone()));
        }
        self.notifier.tell(changed);
    }

    /// What Alertmanager told of: shown, but not passed on, for Alertmanager has told whom it is to.
    pub fn received(&self, alert: &crate::model::alert::Alert) {
        if alert.is_heartbeat() {
            return;
        }
        let alert = Alert::received(alert);
        self.states().received(alert.clone(), unix_s(SystemTime::now()));
        let _ = self.news.send(Arc::new(alert));
    }

    /// Each change of an alert from now on: fired, resolved.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Alert>> {
        self.news.subscribe()
    }

    /// Whom to tell from now on. Within a tokio runtime.
    pub fn set_targets(&self, targets: Vec<Target>) {
        self.notifier.set_targets(targets);
    }

    pub fn listing(&self) -> Listing {
        let states = self.states();
        let rules = RuleName::ALL.into_iter().map(|rule| Described {
            name: rule.as_str(),
            severity: rule.severity(),
            description: rule.description(),
            state: states.state_of(rule),
            runbook: rule.runbook(),
        });
        Listing { items: states.list(), rules: rules.collect(), notifications: self.notifier.counts() }
    }

    fn states(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_s(time: SystemTime) -> u32 {
    u32::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
        .unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
