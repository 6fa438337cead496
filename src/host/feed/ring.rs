//! The newest messages, numbered, within bounds of number and bytes; and how much of a flood becomes messages.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::filter::Filter;
use crate::model::guest::Severity;
use crate::model::ids::TraceId;
use crate::model::kind::{ErrorKind, Outcome};

/// Messages and bytes of them that are kept for readers who are late.
pub(super) const MESSAGES_MAX: usize = 8_192;
pub(super) const BYTES_MAX: usize = 16 << 20;
/// Messages a second and plugin, by topic: more than a person can follow. Of those that matter (failed calls, errors
/// in logs) as many again.
pub(super) const INVOCATIONS_PER_S: u32 = 100;
pub(super) const LOGS_PER_S: u32 = 400;
const SECOND: Duration = Duration::from_secs(1);
/// Plugins whose rates are told apart; all others share one.
const PLUGINS_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A call that has ended, as lists show it.
    Invocations,
    Logs,
    /// A log record of the host that says that a plugin has changed.
    Changes,
    Alerts,
}

impl Topic {
    pub const ALL: [Topic; 4] = [Topic::Invocations, Topic::Logs, Topic::Changes, Topic::Alerts];

    /// The name of its events.
    pub const fn event(self) -> &'static str {
        match self {
            Topic::Invocations => "invocation",
            Topic::Logs => "log",
            Topic::Changes => "change",
            Topic::Alerts => "alert",
        }
    }
}

/// One thing that happened. `data` is one JSON document.
#[derive(Debug)]
pub struct Message {
    pub seq: u64,
    pub topic: Topic,
    pub data: String,
    pub(super) facets: Facets,
}

/// What filters look at.
#[derive(Debug, Default)]
pub(super) struct Facets {
    pub plugin: Option<Arc<str>>,
    pub version: Option<Arc<str>>,
    pub outcome: Option<Outcome>,
    pub kind: Option<ErrorKind>,
    pub severity: Option<Severity>,
    pub trace_id: Option<TraceId>,
    /// In lower case.
    pub text: String,
    /// A flood must not hide it.
    pub matters: bool,
}

/// How many messages were not made because there were too many of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub invocations: u64,
    pub logs: u64,
}

impl LeftOut {
    pub(super) fn since(self, earlier: LeftOut) -> LeftOut {
        LeftOut {
            invocations: self.invocations.saturating_sub(earlier.invocations),
            logs: self.logs.saturating_sub(earlier.logs),
        }
    }

    fn count(&mut self, topic: Topic) {
        match topic {
            Topic::Invocations => self.invocations += 1,
            Topic::Logs => self.logs += 1,
            Topic::Changes | Topic::Alerts => {}
        }
    }
}

/// What a reader is told of what he will not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Lost {
    /// `rate`: too many at once; `slow`: he read too slowly; `gone`: what he wants to go on from is not there any more.
    pub reason: &'static str,
    pub invocations: u64,
    pub logs: u64,
}

impl Lost {
    pub(super) fn gone() -> Lost {
        Lost { reason: "gone", invocations: 0, logs: 0 }
    }
}

#[derive(Default)]
pub(super) struct Ring {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    /// Number of the first message that is there, and of the one that comes next.
    begin: u64,
    end: u64,
    /// Messages that have left the ring, ever, as far as they are of a kind that is counted.
    passed: LeftOut,
    /// By topic: the number that came next when something of it was last left unwritten.
    holes: [Option<u64>; Topic::ALL.len()],
    rates: HashMap<Arc<str>, Rate>,
    left_out: LeftOut,
}

/// How much of one plugin has become messages in this second, and how much never has.
#[derive(Default)]
struct Rate {
    since: Option<Instant>,
    taken: [u32; Topic::ALL.len()],
    taken_that_matter: [u32; Topic::ALL.len()],
    left_out: LeftOut,
}

impl Ring {
    pub fn begin(&self) -> u64 {
        self.begin
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether all from this number on is there, or will be.
    pub fn reaches(&self, seq: u64) -> bool {
        (self.begin..=self.end).contains(&seq)
    }

    pub fn get(&self, seq: u64) -> Option<&Arc<Message>> {
        self.messages.get(usize::try_from(seq.checked_sub(self.begin)?).ok()?)
    }

    /// What has left the ring before a reader who wanted this number came to it: at most so much.
    pub fn missed_since(&self, seq: u64) -> Lost {
        let behind = self.begin.saturating_sub(seq);
        let LeftOut { invocations, logs } = self.passed;
        Lost { reason: "slow", invocations: invocations.min(behind), logs: logs.min(behind) }
    }

    pub fn left_out(&self, plugin: Option<&str>) -> LeftOut {
        match plugin {
            Some(plugin) => self.rates.get(plugin).map_or(LeftOut::default(), |rate| rate.left_out),
            None => self.left_out,
        }
    }

    /// Something happened that no message was made of.
    pub fn skip(&mut self, topic: Topic) {
        self.holes[topic as usize] = Some(self.end);
    }

    /// Whether a reader who has seen this message can go on as if he had never been away.
    pub fn has_all_after(&self, seq: u64, filter: &Filter) -> bool {
        let Some(next) = seq.checked_add(1) else { return false };
        let unbroken = |topic: Topic| self.holes[topic as usize].is_none_or(|hole| hole < next);
        self.reaches(next) && filter.topics().all(unbroken)
    }

    /// Takes a message unless its plugin has had its share of this second.
    pub fn offer(&mut self, topic: Topic, data: String, facets: Facets, now: Instant) {
        let per_s = match topic {
            Topic::Invocations => INVOCATIONS_PER_S,
            Topic::Logs => LOGS_PER_S,
            Topic::Changes | Topic::Alerts => return self.push(topic, data, facets),
        };
        let plugin = facets.plugin.as_deref().unwrap_or_default();
        let plugin =
            if self.rates.contains_key(plugin) || self.rates.len() < PLUGINS_MAX { plugin } else { "_other" };
        if !self.rates.contains_key(plugin) {
            self.rates.insert(plugin.into(), Rate::default());
        }
        let rate = self.rates.get_mut(plugin).expect("it was just put there");
        if rate.since.is_none_or(|since| now.saturating_duration_since(since) >= SECOND) {
            *rate = Rate { since: Some(now), left_out: rate.left_out, ..Rate::default() };
        }
        let taken = if facets.matters { &mut rate.taken_that_matter } else { &mut rate.taken };
        let taken = &mut taken[topic as usize];
        if *taken < per_s {
            *taken += 1;
            self.push(topic, data, facets);
        } else {
            rate.left_out.count(topic);
            self.left_out.count(topic);
        }
    }

    pub fn push(&mut self, topic: Topic, data: String, facets: Facets) {
        let message = Message { seq: self.end, topic, data, facets };
        self.bytes += message.bytes();
        self.end += 1;
        self.messages.push_back(Arc::new(message));
        while self.messages.len() > MESSAGES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.begin = oldest.seq + 1;
            self.passed.count(oldest.topic);
        }
    }
}

impl Message {
    fn bytes(&self) -> usize {
        size_of::<Message>() + self.data.len() + self.facets.text.len()
    }
}
