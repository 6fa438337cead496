//! The built-in rules. Pure: a picture of what is going on in, verdicts out.
//!
//! Each rule has a second, lower bound (`weak`): between the two an alert neither begins nor ends.

use std::time::Duration;

use serde::Serialize;

use super::alert::Example;
use crate::model::slo::LatencyObjective;
use crate::model::units::format_duration;
use crate::store::series::Slot;
use crate::telemetry::names::DURATION_BUCKETS;

mod drift;

pub use drift::{DriftFact, DriftField, DriftState};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleName {
    PluginErrorRatio,
    PluginLatency,
    PluginSilent,
    PluginDrift,
    TelemetryDropped,
    StoreNotWritable,
}

/// What is to be judged.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Seconds since 1970.
    pub now: u32,
    pub versions: Vec<VersionPicture>,
    pub plugins: Vec<PluginPicture>,
    /// Records that telemetry gave up in [`Thresholds::dropped_window_s`].
    pub telemetry_dropped: u64,
    pub store_writable: bool,
    /// Of versions that are called.
    pub drift: Vec<DriftFact>,
}

/// A version that had calls in the last hour.
#[derive(Clone, Debug, Default)]
pub struct VersionPicture {
    pub plugin: String,
    pub version: Option<String>,
    /// Sums of [`Thresholds::windows_s`], shortest first. All of them end now.
    pub windows: [Slot; 3],
    /// The hour before the second window, of this version; of all versions of the plugin if it had no calls then.
    pub past: Slot,
    pub promised: Option<LatencyObjective>,
    /// A failed call, and a slow one.
    pub failed: Option<Example>,
    pub slow: Option<Example>,
    /// What kind of failure was the last. A message may hold what the caller gave, and alerts are kept and go to others.
    pub failure: Option<&'static str>,
}

/// A plugin that is to be called every so often.
#[derive(Clone, Debug)]
pub struct PluginPicture {
    pub plugin: String,
    pub expect_every: Duration,
    /// Its last call; else since when one is waited for.
    pub last_call: u32,
}

/// All numbers of the rules.
#[derive(Clone, Debug)]
pub struct Thresholds {
    /// Three windows of calls.
    pub windows_s: [u32; 3],
    /// A window with fewer calls says nothing; then the next longer one is asked.
    pub calls_min: u32,
    /// Fewer failures are no reason, whatever their share.
    pub errors_min: u32,
    pub error_ratio: f64,
    /// In the longest window, of which little is known.
    pub error_ratio_few: f64,
    /// Calls without which durations say nothing.
    pub latency_calls_min: u64,
    /// So many times the p95 of the hour before,
    pub latency_factor: f64,
    /// and so much more than that.
    pub latency_floor: Duration,
    /// So many times what a promise allows.
    pub latency_burn: f64,
    /// Beyond `expect_every`, as a share of it.
    pub silence_grace: f64,
    pub dropped_window_s: u32,
}

/// What a rule found. Without one there is nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub rule: RuleName,
    pub plugin: Option<String>,
    pub version: Option<String>,
    /// Only enough for an alert that is there to go on.
    pub weak: bool,
    pub value: f64,
    pub threshold: f64,
    pub summary: String,
    pub help: String,
    pub example: Option<Example>,
    /// If the rule knows several.
    pub examples: Vec<Example>,
    /// What of the version it is about, if that is told of by itself: one more is news.
    pub fields: Vec<String>,
}

/// A rule as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Described {
    pub name: &'static str,
    pub severity: &'static str,
    pub description: &'static str,
    pub state: &'static str,
    pub runbook: &'static str,
}

/// Below so much of a bound an alert may end.
const WEAK: f64 = 0.5;

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds {
            windows_s: [60, 300, 3_600],
            calls_min: 8,
            errors_min: 3,
            error_ratio: 0.1,
            error_ratio_few: 0.5,
            latency_calls_min: 20,
            latency_factor: 3.0,
            latency_floor: Duration::from_millis(100),
            latency_burn: 2.0,
            silence_grace: 0.1,
            dropped_window_s: 60,
        }
    }
}

impl RuleName {
    pub const ALL: [RuleName; 6] = [
        RuleName::PluginErrorRatio,
        RuleName::PluginLatency,
        RuleName::PluginSilent,
        RuleName::PluginDrift,
        RuleName::TelemetryDropped,
        RuleName::StoreNotWritable,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            RuleName::PluginErrorRatio => "PluginErrorRatio",
            RuleName::PluginLatency => "PluginLatency",
            RuleName::PluginSilent => "PluginSilent",
            RuleName::PluginDrift => "PluginDrift",
            RuleName::TelemetryDropped => "TelemetryDropped",
            RuleName::StoreNotWritable => "StoreNotWritable",
        }
    }

    /// As the rules for Prometheus have it: only what stops the runner from keeping its promises wakes somebody.
    pub const fn severity(self) -> &'static str {
        match self {
            RuleName::StoreNotWritable => "page",
            _ => "ticket",
        }
    }

    pub const fn runbook(self) -> &'static str {
        match self {
            RuleName::PluginErrorRatio => "/docs/runbooks/plugin-error-ratio",
            RuleName::PluginLatency => "/docs/runbooks/plugin-latency",
            RuleName::PluginSilent => "/docs/runbooks/plugin-silent",
            RuleName::PluginDrift => "/docs/runbooks/plugin-drift",
            RuleName::TelemetryDropped => "/docs/runbooks/telemetry-dropped",
            RuleName::StoreNotWritable => "/docs/runbooks/store-not-writable",
        }
    }

    pub const fn description(self) -> &'static str {
        match self {
            RuleName::PluginErrorRatio => {
                "More than a tenth of a version's calls fail, and not by their callers' fault"
            }
            RuleName::PluginLatency => {
                "A version breaks the latency that it promises, or is far slower than an hour ago"
            }
            RuleName::PluginSilent => "A plugin had no call for longer than its manifest's expect_every",
            RuleName::PluginDrift => "Inputs or outputs of a version are not distributed as in its baseline",
            RuleName::TelemetryDropped => "Spans, log records or metric points were given up",
            RuleName::StoreNotWritable => "What happens cannot be written down",
        }
    }

    /// How long it must be so before the alert fires: one that looks at a window, or at several, has waited already.
    pub const fn pending_s(self) -> u32 {
        match self {
            RuleName::PluginErrorRatio => 2,
            RuleName::PluginLatency => 15,
            RuleName::PluginSilent | RuleName::PluginDrift | RuleName::TelemetryDropped => 0,
            RuleName::StoreNotWritable => 10,
        }
    }
}

pub fn judge(picture: &Picture, thresholds: &Thresholds) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for version in &picture.versions {
        verdicts.extend(error_ratio(version, thresholds));
        verdicts.extend(latency(version, thresholds));
    }
    verdicts.extend(picture.plugins.iter().filter_map(|plugin| silence(plugin, picture.now, thresholds)));
    verdicts.extend(picture.drift.iter().filter_map(drift::verdict));
    let runner = |rule, value: f64, summary: String, help: &str| Verdict {
        rule,
        plugin: None,
        version: None,
        weak: false,
        value,
        threshold: 0.0,
        summary,
        help: help.into(),
        example: None,
        examples: Vec::new(),
        fields: Vec::new(),
    };
    if picture.telemetry_dropped > 0 {
        let (count, window) = (picture.telemetry_dropped, thresholds.dropped_window_s);
        let summary = format!("telemetry gave up {count} records in the last {window} s");
        let help = "GET /v1/health says why; calls and the ledger are not touched";
        verdicts.push(runner(RuleName::TelemetryDropped, count as f64, summary, help));
    }
    if !picture.store_writable {
        let summary = "what happens cannot be written to the data folder; calls go on".into();
        let help = "look at the room that is left, then at the log line store.write_failed";
        verdicts.push(runner(RuleName::StoreNotWritable, 1.0, summary, help));
    }
    verdicts
}

/// The shortest window with enough calls decides, so that both the beginning and the end are seen soon.
fn error_ratio(version: &VersionPicture, thresholds: &Thresholds) -> Option<Verdict> {
    let mut windows = version.windows.iter().zip(thresholds.windows_s);
    let enough = windows.clone().find(|(slot, _)| slot.judged() >= thresholds.calls_min);
    let (few, (slot, seconds)) = match enough {
        Some(found) => (false, found),
        None => (true, windows.next_back()?),
    };
    let ratio = slot.error_ratio()?;
    let bound = if few { thresholds.error_ratio_few } else { thresholds.error_ratio };
    let weak = ratio <= bound || slot.errors < thresholds.errors_min;
    if weak && (ratio <= bound * WEAK || slot.errors == 0) {
        return None;
    }
    let window = format_duration(Duration::from_secs(seconds.into()));
    let (errors, judged) = (slot.errors, slot.judged());
    let which = which(version);
    let what = version.failure.map_or_else(String::new, |failure| format!("; the last: {failure}"));
    Some(Verdict {
        rule: RuleName::PluginErrorRatio,
        plugin: Some(version.plugin.clone()),
        version: version.version.clone(),
        weak,
        value: ratio,
        threshold: bound,
        summary: format!("{errors} of {judged} calls of {which} failed in the last {window}{what}"),
        help: format!(
            "look at a failed call; if an earlier version works, spanglass plugin rollback {} goes back to it",
            version.plugin
        ),
        example: version.failed.clone(),
        examples: Vec::new(),
        fields: Vec::new(),
    })
}

fn latency(version: &VersionPicture, thresholds: &Thresholds) -> Option<Verdict> {
    let [_, recent, _] = &version.windows;
    let calls = recent.attempted();
    if calls < thresholds.latency_calls_min {
        return None;
    }
    let (which, window) =
        (which(version), format_duration(Duration::from_secs(thresholds.windows_s[1].into())));
    let verdict = |weak, value: f64, threshold: f64, summary| Verdict {
        rule: RuleName::PluginLatency,
        plugin: Some(version.plugin.clone()),
        version: version.version.clone(),
        weak,
        value,
        threshold,
        summary,
        help: "look at where a slow call spent its time".into(),
        example: version.slow.clone(),
        examples: Vec::new(),
        fields: Vec::new(),
    };
    if let Some(promised) = &version.promised {
        let slow = share_above(recent, promised.under.as_secs_f64());
        let bound = ((1.0 - promised.target) * thresholds.latency_burn).min(0.9);
        let counted = slow * calls as f64 >= f64::from(thresholds.errors_min);
        let weak = slow <= bound || !counted;
        let (under, promise) = (format_duration(promised.under), promised.target * 100.0);
        return (slow > bound * WEAK && slow > 0.0).then(|| {
            let percent = slow * 100.0;
            let summary = format!(
                "{percent:.0} % of {calls} calls of {which} took longer than {under} in the last {window}; {promise} % are promised to be quicker"
            );
            verdict(weak, slow, bound, summary)
        });
    }
    if version.past.attempted() < thresholds.latency_calls_min {
        return None;
    }
    let (now, before) = (recent.quantile(0.95)?, version.past.quantile(0.95)?);
    let floor = thresholds.latency_floor.as_secs_f64();
    let bound = (before * thresholds.latency_factor).max(before + floor);
    let still = (before * thresholds.latency_factor * WEAK).max(before + floor * WEAK);
    (now > still).then(|| {
        let (now_ms, before_ms) = (now * 1e3, before * 1e3);
        let summary = format!(
            "95 % of {calls} calls of {which} took up to {now_ms:.0} ms in the last {window}, {before_ms:.0} ms in the hour before"
        );
        verdict(now <= bound, now * 1e3, bound * 1e3, summary)
    })
}

fn silence(plugin: &PluginPicture, now: u32, thresholds: &Thresholds) -> Option<Verdict> {
    let quiet = f64::from(now.saturating_sub(plugin.last_call));
    let bound = plugin.expect_every.as_secs_f64() * (1.0 + thresholds.silence_grace);
    (quiet > bound).then(|| {
        let seconds = Duration::from_secs(quiet as u64);
        let (name, every) = (&plugin.plugin, format_duration(plugin.expect_every));
        Verdict {
            rule: RuleName::PluginSilent,
            plugin: Some(name.clone()),
            version: None,
            weak: false,
            value: quiet,
            threshold: bound,
            summary: format!(
                "{name} had no call for {}; one is expected every {every}",
                format_duration(seconds)
            ),
            help: "look at whoever is to call it".into(),
            example: None,
            examples: Vec::new(),
            fields: Vec::new(),
        }
    })
}

fn which(version: &VersionPicture) -> String {
    match &version.version {
        Some(number) => format!("{} {number}", version.plugin),
        None => version.plugin.clone(),
    }
}

/// Share of the calls that took longer; within a bucket they are taken to lie evenly.
fn share_above(slot: &Slot, seconds: f64) -> f64 {
    let mut quick = 0.0;
    for (at, count) in slot.buckets.iter().enumerate() {
        let lower = at.checked_sub(1).map_or(0.0, |before| DURATION_BUCKETS[before]);
        let upper = DURATION_BUCKETS.get(at).copied().unwrap_or(f64::INFINITY);
        let part = if upper <= seconds {
            1.0
        } else if lower >= seconds || upper.is_infinite() {
            0.0
        } else {
            (seconds - lower) / (upper - lower)
        };
        quick += f64::from(*count) * part;
    }
    let total = slot.attempted() as f64;
    if total > 0.0 { 1.0 - quick / total } else { 0.0 }
}

#[cfg(test)]
mod tests;
