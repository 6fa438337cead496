//! The picture that rules judge, drawn from the series.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::{
    Alerting, Call, DriftFact, Example, Facts, Picture, PluginPicture, Registered, Slot, VersionPicture,
};
use crate::telemetry::Signal;

/// The hour that the recent past is compared with.
const PAST_S: u32 = 3_600;

impl Alerting {
    pub(super) fn picture(&self, facts: &Facts, now: u32) -> Picture {
        Picture {
            now,
            versions: self.versions(facts, now),
            plugins: facts
                .registered
                .iter()
                .filter(|one| one.takes_calls)
                .filter_map(|one| self.awaited(one))
                .collect(),
            telemetry_dropped: self.telemetry_dropped(now),
            store_writable: facts.store_writable,
            drift: self.drifting(facts, now),
        }
    }

    fn versions(&self, facts: &Facts, now: u32) -> Vec<VersionPicture> {
        let [short, middle, long] = self.settings.thresholds.windows_s;
        let until = now + 1;
        let hour = self.series.sums(until - long, until);
        let of = |seconds: u32| -> BTreeMap<_, Slot> {
            let sums = self.series.sums(until - seconds, until).into_iter();
            sums.map(|(plugin, version, sum)| ((plugin, version), sum)).collect()
        };
        let (seconds, minutes) = (of(short), of(middle));
        let past = self.series.sums(until - middle - PAST_S, until - middle);
        let mut versions = Vec::new();
        for (plugin, version, sum) in hour {
            let known = facts
                .registered
                .iter()
                .find(|one| *one.plugin == *plugin && Some(one.version.as_str()) == version.as_deref());
            let key = (plugin.clone(), version.clone());
            let short = seconds.get(&key).cloned().unwrap_or_default();
            // Nobody calls it any more: it was rolled back, or is gone.
            if short.calls == 0 && version.is_some() && known.is_none_or(|one| !one.takes_calls) {
                continue;
            }
            let mine =
                past.iter().find(|(p, v, _)| *p == plugin && *v == version).map(|(_, _, sum)| sum.clone());
            let all = || {
                let mut all = Slot::default();
                past.iter().filter(|(p, ..)| *p == plugin).for_each(|(_, _, sum)| all.add(sum));
                all
            };
            let failed = self.series.last_error(&plugin, version.as_deref());
            versions.push(VersionPicture {
                windows: [short, minutes.get(&key).cloned().unwrap_or_default(), sum],
                past: mine.unwrap_or_else(all),
                promised: known.and_then(|one| one.latency),
                failure: failed
                    .as_ref()
                    .map(|call| call.kind.map_or("error", crate::model::kind::ErrorKind::as_str)),
                failed: failed.map(example),
                slow: self.series.slowest(&plugin, version.as_deref()).map(example),
                plugin: plugin.to_string(),
                version: version.map(|version| version.to_string()),
            });
        }
        versions
    }

    /// What a version was that nobody calls any more is nobody's trouble: its windows stay as they are.
    fn drifting(&self, facts: &Facts, now: u32) -> Vec<DriftFact> {
        let drifting: Vec<&DriftFact> = facts.drift.iter().filter(|fact| fact.has_drifted()).collect();
        if drifting.is_empty() {
            return Vec::new();
        }
        let [short, ..] = self.settings.thresholds.windows_s;
        let called = self.series.sums(now + 1 - short, now + 1);
        let is = |fact: &DriftFact, plugin: &str, version: &str| {
            *fact.plugin == *plugin && *fact.version == *version
        };
        let takes_calls = |fact: &DriftFact| {
            facts.registered.iter().any(|one| one.takes_calls && is(fact, &one.plugin, &one.version))
        };
        let was_called = |fact: &DriftFact| {
            called.iter().any(|(plugin, version, sum)| {
                sum.calls > 0 && version.as_deref().is_some_and(|version| is(fact, plugin, version))
            })
        };
        drifting.into_iter().filter(|fact| takes_calls(fact) || was_called(fact)).cloned().collect()
    }

    fn awaited(&self, one: &Registered) -> Option<PluginPicture> {
        let last_call = self.series.last_call(&one.plugin).unwrap_or(0).max(one.registered_at);
        Some(PluginPicture { plugin: one.plugin.clone(), expect_every: one.expect_every?, last_call })
    }

    /// Records that were given up in the window, counted from the first round on.
    fn telemetry_dropped(&self, now: u32) -> u64 {
        let accounting = self.telemetry.accounting();
        let total = Signal::ALL.iter().map(|signal| accounting.get(*signal).dropped_sum()).sum();
        let mut rounds = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let from = now.saturating_sub(self.settings.thresholds.dropped_window_s);
        while rounds.get(1).is_some_and(|(at, _)| *at <= from) {
            rounds.pop_front();
        }
        rounds.push_back((now, total));
        rounds.front().map_or(0, |(_, before)| total.saturating_sub(*before))
    }
}

fn example(call: Call) -> Example {
    Example { invocation_id: call.invocation_id, trace_id: call.trace_id }
}
