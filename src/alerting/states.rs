//! From verdicts to alerts: pending, firing, resolved. Pure: the caller says what time it is.

use std::collections::BTreeMap;

use super::alert::{Alert, Source, State, at, id_of};
use super::rules::{RuleName, Verdict};

/// Of those that are over.
pub const RESOLVED_MAX: usize = 200;
/// Of those that are judged here; further ones are not begun.
const ALERTS_MAX: usize = 2_000;
/// Of those that others tell of: they must not keep the built-in ones out.
const RECEIVED_MAX: usize = 500;

/// How long an alert goes on after it was last so: what comes and goes is one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub keep_firing_s: u32,
    /// Instead of the rule's own; for tests.
    pub pending_s: Option<u32>,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { keep_firing_s: 60, pending_s: None }
    }
}

#[derive(Default)]
pub(super) struct States {
    known: BTreeMap<String, Known>,
}

struct Known {
    alert: Alert,
    rule: Option<RuleName>,
    since: u32,
    last: u32,
    /// For the order of those that are over.
    ended: u32,
}

impl States {
    /// One round. Returns the alerts that began or ceased to fire, or got worse, as they are now.
    pub fn step(&mut self, verdicts: Vec<Verdict>, now: u32, patience: Patience) -> Vec<Alert> {
        let mut changed = Vec::new();
        for verdict in verdicts {
            let id = id_of(verdict.rule, verdict.plugin.as_deref(), verdict.version.as_deref());
            let goes_on = self.known.get(&id).is_some_and(|known| known.alert.state != State::Resolved);
            // What is between the bounds neither begins nor ends an alert.
            if !goes_on && (verdict.weak || self.count(true) >= ALERTS_MAX) {
                continue;
            }
            let weak = verdict.weak;
            let pending_s = patience.pending_s.unwrap_or(verdict.rule.pending_s());
            if !goes_on {
                self.known.insert(id.clone(), Known::begin(&id, &verdict, now));
            }
            let Some(known) = self.known.get_mut(&id) else { continue };
            // A pending one that weakens begins anew.
            if weak && known.alert.state == State::Pending {
                self.known.remove(&id);
                continue;
            }
            known.last = now;
            let joined = verdict.fields.iter().any(|field| !known.alert.fields.contains(field));
            known.alert.take_over(verdict);
            if known.alert.state == State::Pending && now.saturating_sub(known.since) >= pending_s {
                known.alert.state = State::Firing;
                known.alert.fired_at = Some(at(now));
                changed.push(known.alert.clone());
            } else if joined && known.alert.state == State::Firing {
                changed.push(known.alert.clone());
            }
        }
        for known in self.known.values_mut().filter(|known| known.rule.is_some()) {
            let quiet = now.saturating_sub(known.last);
            if known.alert.state == State::Firing && quiet > patience.keep_firing_s {
                known.alert.state = State::Resolved;
                known.alert.resolved_at = Some(at(now));
                known.ended = now;
                changed.push(known.alert.clone());
            }
        }
        // Nobody was told of what was only pending.
        self.known.retain(|_, known| known.alert.state != State::Pending || known.last == now);
        self.forget();
        changed
    }

    /// How many there are of the built-in rules, or of others.
    fn count(&self, builtin: bool) -> usize {
        self.known.values().filter(|known| known.rule.is_some() == builtin).count()
    }

    /// Takes over what somebody else judged.
    pub fn received(&mut self, alert: Alert, now: u32) {
        let resolved = alert.state == State::Resolved;
        if self.count(false) < RECEIVED_MAX || self.known.contains_key(&alert.id) {
            let known =
                Known { rule: None, since: now, last: now, ended: if resolved { now } else { 0 }, alert };
            self.known.insert(known.alert.id.clone(), known);
        }
        self.forget();
    }

    /// Firing, then pending, then resolved; each newest first.
    pub fn list(&self) -> Vec<Alert> {
        let mut all: Vec<&Known> = self.known.values().collect();
        all.sort_by(|a, b| {
            let newest = |known: &Known| {
                let at = match known.alert.state {
                    State::Resolved => &known.alert.resolved_at,
                    _ => &known.alert.fired_at,
                };
                at.clone().unwrap_or_else(|| known.alert.since.clone())
            };
            a.alert.state.cmp(&b.alert.state).then_with(|| newest(b).cmp(&newest(a)))
        });
        all.into_iter().map(|known| known.alert.clone()).collect()
    }

    /// The worst of a rule's alerts.
    pub fn state_of(&self, rule: RuleName) -> &'static str {
        let of =
            |state| self.known.values().any(|known| known.rule == Some(rule) && known.alert.state == state);
        match (of(State::Firing), of(State::Pending)) {
            (true, _) => "firing",
            (_, true) => "pending",
            _ => "ok",
        }
    }

    /// What is worth to be known after a restart: of the built-in rules.
    pub fn kept(&self) -> Vec<Alert> {
        let built_in = self.known.values().filter(|known| known.rule.is_some());
        built_in
            .filter(|known| known.alert.state != State::Pending)
            .map(|known| known.alert.clone())
            .collect()
    }

    /// Those that fired go on firing, and end if it is not so any more.
    pub fn restore(&mut self, alerts: Vec<Alert>, now: u32) {
        for alert in alerts.into_iter().filter(|alert| alert.source == Source::Builtin).take(ALERTS_MAX) {
            let rule = RuleName::ALL.into_iter().find(|rule| rule.as_str() == alert.rule);
            let ended = alert.resolved_at.as_deref().and_then(|text| humantime::parse_rfc3339(text).ok());
            let ended = ended.map_or(0, super::unix_s);
            if rule.is_some() {
                self.known.insert(alert.id.clone(), Known { alert, rule, since: now, last: now, ended });
            }
        }
    }

    fn forget(&mut self) {
        let over = |known: &Known| known.alert.state == State::Resolved;
        while self.known.values().filter(|known| over(known)).count() > RESOLVED_MAX {
            let oldest =
                self.known.iter().filter(|(_, known)| over(known)).min_by_key(|(_, known)| known.ended);
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { return };
            self.known.remove(&id);
        }
    }
}

impl Known {
    fn begin(id: &str, verdict: &Verdict, now: u32) -> Known {
        let alert = Alert {
            id: id.to_owned(),
            rule: verdict.rule.as_str().into(),
            source: Source::Builtin,
            state: State::Pending,
            severity: verdict.rule.severity().into(),
            plugin: verdict.plugin.clone(),
            version: verdict.version.clone(),
            since: at(now),
            fired_at: None,
            resolved_at: None,
            summary: String::new(),
            value: None,
            threshold: None,
            help: None,
            runbook: Some(verdict.rule.runbook().into()),
            example: None,
            examples: Vec::new(),
            fields: Vec::new(),
        };
        Known { alert, rule: Some(verdict.rule), since: now, last: now, ended: 0 }
    }
}

impl Alert {
    fn take_over(&mut self, verdict: Verdict) {
        self.summary = verdict.summary;
        self.value = Some(verdict.value);
        self.threshold = Some(verdict.threshold);
        self.help = Some(verdict.help);
        self.example = verdict.example.or(self.example.take());
        if !verdict.examples.is_empty() {
            self.examples = verdict.examples;
        }
        for field in verdict.fields {
            if !self.fields.contains(&field) {
                self.fields.push(field);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { keep_firing_s: 60, pending_s: Some(5) };

    fn verdict(weak: bool) -> Vec<Verdict> {
        vec![Verdict {
            rule: RuleName::PluginErrorRatio,
            plugin: Some("a".into()),
            version: Some("1.1.0".into()),
            weak,
            value: 0.3,
            threshold: 0.1,
            summary: "it fails".into(),
            help: String::new(),
            example: None,
            examples: Vec::new(),
            fields: Vec::new(),
        }]
    }

    fn told(changed: Vec<Alert>) -> Vec<State> {
        changed.into_iter().map(|alert| alert.state).collect()
    }

    #[test]
    fn it_waits_fires_once_goes_on_for_a_while_and_ends() {
        let mut states = States::default();
        let mut told_at = Vec::new();
        for now in 1_000..1_200 {
            // So from 1,010 to 1,040, but for every third second.
            let bad = (1_010..1_040).contains(&now);
            let verdicts = if bad { verdict(now > 1_020 && now % 3 == 0) } else { Vec::new() };
            told_at.extend(told(states.step(verdicts, now, PATIENCE)).into_iter().map(|state| (now, state)));
        }
        assert_eq!(told_at, [(1_015, State::Firing), (1_100, State::Resolved)]);
        let list = states.list();
        assert_eq!(
            (list.len(), list[0].state, &*list[0].id),
            (1, State::Resolved, "PluginErrorRatio/a/1.1.0")
        );
        assert_eq!(states.state_of(RuleName::PluginErrorRatio), "ok");
    }

    #[test]
    fn what_is_weak_begins_nothing_and_what_passes_is_forgotten() {
        let mut states = States::default();
        assert!(states.step(verdict(true), 1_000, PATIENCE).is_empty() && states.list().is_empty());
        states.step(verdict(false), 1_001, PATIENCE);
        assert_eq!(states.state_of(RuleName::PluginErrorRatio), "pending");
        states.step(Vec::new(), 1_002, PATIENCE);
        assert!(states.list().is_empty());
    }

    #[test]
    fn after_a_restart_nobody_is_told_twice() {
        let mut states = States::default();
        states.step(verdict(false), 1_000, PATIENCE);
        assert_eq!(told(states.step(verdict(false), 1_005, PATIENCE)), [State::Firing]);
        let text = serde_json::to_string(&states.kept()).unwrap();
        let mut next = States::default();
        next.restore(serde_json::from_str(&text).unwrap(), 2_000);
        assert!(next.step(verdict(false), 2_001, PATIENCE).is_empty());
        assert_eq!(told(next.step(Vec::new(), 2_062, PATIENCE)), [State::Resolved]);
        // And it may fire again.
        next.step(verdict(false), 2_100, PATIENCE);
        assert_eq!(told(next.step(verdict(false), 2_105, PATIENCE)), [State::Firing]);
        assert_eq!(next.list().len(), 1);
    }

    #[test]
    fn what_joins_is_told_once_and_what_leaves_is_not_told() {
        let mut states = States::default();
        let patience = Patience { keep_firing_s: 60, pending_s: Some(0) };
        let drifted = |fields: &[&str]| {
            let fields = fields.iter().map(|field| (*field).to_owned()).collect();
            vec![Verdict { rule: RuleName::PluginDrift, fields, ..verdict(false).remove(0) }]
        };
        assert_eq!(told(states.step(drifted(&["a"]), 1_000, patience)), [State::Firing]);
        assert!(states.step(drifted(&["a"]), 1_001, patience).is_empty());
        let changed = states.step(drifted(&["b", "a"]), 1_002, patience);
        assert_eq!((changed.len(), &*changed[0].fields), (1, &["a".to_owned(), "b".into()][..]));
        assert_eq!(changed[0].fired_at, Some(at(1_000)), "it is the same alert");
        // It leaves and comes back: whoever was told knows it.
        for (now, fields) in [(1_003, &["a"][..]), (1_004, &["a", "b"]), (1_005, &["b"])] {
            assert!(states.step(drifted(fields), now, patience).is_empty());
        }
        let text = serde_json::to_string(&states.kept()).unwrap();
        let mut next = States::default();
        next.restore(serde_json::from_str(&text).unwrap(), 2_000);
        assert!(next.step(drifted(&["a", "b"]), 2_001, patience).is_empty(), "nor after a restart");
        assert_eq!(told(next.step(Vec::new(), 2_062, patience)), [State::Resolved]);
        // Another time it is another alert.
        let changed = next.step(drifted(&["b"]), 3_000, patience);
        assert_eq!((changed.len(), &*changed[0].fields), (1, &["b".to_owned()][..]));
    }

    #[test]
    fn only_so_many_of_those_that_are_over_are_kept() {
        let mut states = States::default();
        for number in 0..RESOLVED_MAX as u32 + 50 {
            let mut one = verdict(false);
            one[0].plugin = Some(format!("plugin-{number}"));
            let patience = Patience { keep_firing_s: 0, pending_s: Some(0) };
            states.step(one, number * 10, patience);
            states.step(Vec::new(), number * 10 + 5, patience);
        }
        let list = states.list();
        assert_eq!(list.len(), RESOLVED_MAX);
        assert_eq!(list[0].plugin.as_deref(), Some("plugin-249"), "newest first");
    }
}
