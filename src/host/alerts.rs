//! Alerts that are notified. Whoever notifies repeats itself; each change of an alert is recorded once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;

use super::Host;
use crate::alerting::{Alerting, Facts, JUDGE_EVERY, Registered};
use crate::model::alert::{Alert, AlertStatus};
use crate::telemetry::events::AlertNotified;

/// So many changes are remembered. An older one that is repeated is recorded anew.
pub const REMEMBERED_MAX: usize = 10_000;
/// A heartbeat is recorded once in so long: it shows that alerting works, and hides nothing else.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(3_600);

/// What became of a notification's alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub recorded: usize,
    pub repeated: usize,
}

impl Host {
    /// The built-in rules; of a host that owns its data folder.
    pub fn alerting(&self) -> Option<&Arc<Alerting>> {
        self.alerting.as_ref()
    }

    /// Judges the built-in rules again and again, until it is dropped.
    pub async fn judge_alerts(self: Arc<Self>) {
        let Some(alerting) = self.alerting.clone() else { return };
        let mut rounds = tokio::time::interval(JUDGE_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let (host, alerting) = (self.clone(), alerting.clone());
            // Some milliseconds for hundreds of plugins. A panic in it ends one round.
            let _ = tokio::task::spawn_blocking(move || alerting.round(&host.facts())).await;
        }
    }

    /// Passes changes of alerts on to those who follow what happens, until it is dropped.
    pub async fn tell_alerts(self: Arc<Self>) {
        let Some(alerting) = self.alerting.as_ref() else { return };
        let mut changes = alerting.subscribe();
        loop {
            match changes.recv().await {
                Ok(alert) => self.feed.tell_alert(alert.plugin.as_deref(), alert.version.as_deref(), &*alert),
                // Lists have them all.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn facts(&self) -> Facts {
        let registered = self.registry.all().into_iter().map(|live| {
            let manifest = &live.manifest;
            let chosen = self.registry.route(manifest.name.as_str(), None);
            Registered {
                plugin: manifest.name.as_str().to_owned(),
                version: manifest.version.to_string(),
                takes_calls: chosen.is_ok_and(|chosen| chosen.manifest.version == manifest.version),
                latency: manifest.slo.latency,
                expect_every: manifest.expect_every,
                registered_at: u32::try_from(live.registered_at_unix_ms / 1_000).unwrap_or(0),
            }
        });
        let store_writable = self.ledger.as_ref().is_none_or(|ledger| ledger.stats().writable);
        Facts { registered: registered.collect(), store_writable, drift: self.drift.facts() }
    }

    /// Records those that are news.
    pub fn notified(&self, alerts: &[Alert]) -> Received {
        let mut received = Received::default();
        for alert in alerts {
            let news = {
                let mut heard = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
                heard.is_news(alert, Instant::now())
            };
            if news {
                self.telemetry.emit(AlertNotified { alert });
                if let Some(alerting) = &self.alerting {
                    alerting.received(alert);
                }
                received.recorded += 1;
            } else {
                received.repeated += 1;
            }
        }
        received
    }
}

pub(super) type Alerts = Mutex<Heard>;

/// What has been recorded.
#[derive(Default)]
pub(super) struct Heard {
    last: HashMap<Change, Instant>,
    order: VecDeque<Change>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Change {
    fingerprint: Box<str>,
    status: AlertStatus,
    /// `None`: a heartbeat, whenever it began.
    starts_at: Option<SystemTime>,
}

impl Heard {
    fn is_news(&mut self, alert: &Alert, now: Instant) -> bool {
        let heartbeat = alert.is_heartbeat();
        let change = Change {
            fingerprint: alert.fingerprint.as_str().into(),
            status: alert.status,
            starts_at: (!heartbeat).then_some(alert.starts_at),
        };
        if let Some(last) = self.last.get_mut(&change) {
            let due = heartbeat && now.saturating_duration_since(*last) >= HEARTBEAT_EVERY;
            if due {
                *last = now;
            }
            return due;
        }
        if self.order.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.last.remove(&oldest);
        }
        self.order.push_back(change.clone());
        self.last.insert(change, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(fingerprint: &str, status: AlertStatus, starts_s: u64) -> Alert {
        Alert {
            status,
            name: "TooSlow".into(),
            fingerprint: fingerprint.into(),
            severity: Some("page".into()),
            plugin: None,
            version: None,
            summary: None,
            runbook_url: None,
            dashboard_url: None,
            starts_at: SystemTime::UNIX_EPOCH + Duration::from_secs(starts_s),
            ends_at: None,
        }
    }

    #[test]
    fn each_change_is_news_once() {
        use AlertStatus::{Firing, Resolved};
        let (mut heard, now) = (Heard::default(), Instant::now());
        let mut is_news = |fingerprint, status, starts_s, hours| {
            let now = now + hours * HEARTBEAT_EVERY;
            heard.is_news(&alert(fingerprint, status, starts_s), now)
        };
        assert!(is_news("a", Firing, 1, 0));
        assert!(!is_news("a", Firing, 1, 0) && !is_news("a", Firing, 1, 100), "however late it is repeated");
        assert!(is_news("b", Firing, 1, 0), "another alert");
        assert!(is_news("a", Resolved, 1, 0));
        assert!(!is_news("a", Resolved, 1, 0));
        assert!(is_news("a", Firing, 2, 0), "it fires again");
    }

    #[test]
    fn a_heartbeat_is_news_once_an_hour_whenever_it_began() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        let mut is_news = |starts_s, after| {
            let mut alert = alert("w", AlertStatus::Firing, starts_s);
            alert.severity = Some("none".into());
            heard.is_news(&alert, now + after)
        };
        assert!(is_news(1, Duration::ZERO));
        assert!(!is_news(1, HEARTBEAT_EVERY - Duration::from_secs(1)));
        assert!(!is_news(2, HEARTBEAT_EVERY - Duration::from_secs(1)), "it was reloaded");
        assert!(is_news(2, HEARTBEAT_EVERY));
        assert!(!is_news(2, HEARTBEAT_EVERY + Duration::from_secs(1)));
        assert!(is_news(2, 2 * HEARTBEAT_EVERY));
        // Its end is a change as any other.
        let mut end = alert("w", AlertStatus::Resolved, 2);
        end.severity = Some("none".into());
        assert!(heard.is_news(&end, now) && !heard.is_news(&end, now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        let mut is_news =
            |number: usize| heard.is_news(&alert(&number.to_string(), AlertStatus::Firing, 1), now);
        assert!((0..REMEMBERED_MAX).all(&mut is_news));
        assert!(!is_news(0), "all of them are remembered");
        assert!(is_news(REMEMBERED_MAX) && is_news(0), "the oldest is not");
        assert!(!is_news(2) && !is_news(REMEMBERED_MAX));
        assert_eq!((heard.last.len(), heard.order.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
    }
}
