//! What one reader wants to hear of.

use super::ring::{LeftOut, Lost, Message, Topic};
use crate::model::guest::Severity;
use crate::model::ids::TraceId;
use crate::model::kind::{ErrorKind, Outcome};

/// What a reader wants to hear of. A condition about something that a message does not have keeps it only if the
/// condition is about its topic: `outcome` narrows calls, `level` narrows log lines.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub topics: Vec<Topic>,
    pub plugin: Option<String>,
    pub version: Option<String>,
    pub outcome: Option<Outcome>,
    pub kind: Option<ErrorKind>,
    /// This severity or a higher one.
    pub level: Option<Severity>,
    pub trace_id: Option<TraceId>,
    /// A part of the text, in lower case.
    pub q: Option<String>,
}

impl Filter {
    pub(super) fn topics(&self) -> impl Iterator<Item = Topic> + '_ {
        Topic::ALL.into_iter().filter(|topic| self.topics.contains(topic))
    }

    pub(super) fn plugin(&self) -> Option<&str> {
        self.plugin.as_deref()
    }

    pub(super) fn takes(&self, message: &Message) -> bool {
        let facets = &message.facets;
        let (call, line) = (message.topic == Topic::Invocations, message.topic == Topic::Logs);
        self.topics.contains(&message.topic)
            && self.plugin.as_deref().is_none_or(|plugin| facets.plugin.as_deref() == Some(plugin))
            && self.version.as_deref().is_none_or(|version| facets.version.as_deref() == Some(version))
            && (!call || self.outcome.is_none_or(|outcome| facets.outcome == Some(outcome)))
            && (!call || self.kind.is_none_or(|kind| facets.kind == Some(kind)))
            && (!line || self.level.is_none_or(|level| facets.severity >= Some(level)))
            && (!(call || line) || self.trace_id.is_none_or(|id| facets.trace_id == Some(id)))
            && (!(call || line) || self.q.as_deref().is_none_or(|q| facets.text.contains(q)))
    }

    /// What of all that was left out he might have wanted; `None`: nothing.
    pub(super) fn concerned(&self, left_out: LeftOut) -> Option<Lost> {
        let of = |topic, count| if self.topics.contains(&topic) { count } else { 0 };
        let lost = Lost {
            reason: "rate",
            invocations: of(Topic::Invocations, left_out.invocations),
            logs: of(Topic::Logs, left_out.logs),
        };
        (lost.invocations + lost.logs > 0).then_some(lost)
    }
}
