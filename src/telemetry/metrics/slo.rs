//! Objectives of a version: which endings are events of which objective, and whether good or bad ones.

use std::time::Duration;

use prometheus::IntCounter;

use crate::model::kind::{Blame, Outcome};
use crate::model::slo::{LatencyObjective, Slo};

use super::labels::{Objective, SloResult};
use super::{EndingLabels, Metrics};

/// What objectives look at when a call ends.
#[derive(Clone, Copy, Debug)]
pub(in crate::telemetry) struct EndedCall {
    pub ending: EndingLabels,
    /// As the caller saw it.
    pub took: Duration,
    pub attempts: u32,
}

/// The children of one version's objectives. Only what it promises has any.
#[derive(Default)]
pub(super) struct SloSeries {
    availability: Option<Events>,
    latency: Option<(Duration, Events)>,
}

struct Events([IntCounter; SloResult::ALL.len()]);

// === impl SloSeries ===

impl SloSeries {
    /// Sets the gauges of the objectives, takes away those that are not promised any more, and puts the
    /// counters at 0.
    pub fn new(metrics: &Metrics, plugin: &str, version: &str, slo: &Slo) -> SloSeries {
        for objective in Objective::ALL {
            let labels = [plugin, version, objective.as_str()];
            match ratio(slo, *objective) {
                Some(ratio) => metrics.slo_objective.get(&labels).set(ratio),
                None => metrics.slo_objective.remove(&labels),
            }
        }
        let events = |objective: Objective| {
            Events(std::array::from_fn(|index| {
                let result = SloResult::ALL[index];
                metrics.slo_events.get(&[plugin, version, objective.as_str(), result.as_str()])
            }))
        };
        SloSeries {
            availability: slo.availability.map(|_| events(Objective::Availability)),
            latency: slo.latency.map(|latency| (latency.under, events(Objective::Latency))),
        }
    }

    pub fn ended(&self, call: EndedCall) {
        if let Some(events) = &self.availability {
            events.count(availability(call));
        }
        if let Some((under, events)) = &self.latency {
            events.count(latency(call, *under));
        }
    }
}

impl Events {
    fn count(&self, result: Option<SloResult>) {
        if let Some(result) = result {
            self.0[result as usize].inc();
        }
    }
}

/// The version is gone.
pub(super) fn remove_objectives(metrics: &Metrics, plugin: &str, version: &str) {
    for objective in Objective::ALL {
        metrics.slo_objective.remove(&[plugin, version, objective.as_str()]);
    }
}

fn ratio(slo: &Slo, objective: Objective) -> Option<f64> {
    match objective {
        Objective::Availability => slo.availability,
        Objective::Latency => slo.latency.map(|LatencyObjective { target, .. }| target),
    }
}

/// What the caller did wrong, and that he left, says nothing about the version.
fn availability(call: EndedCall) -> Option<SloResult> {
    let blame = call.ending.kind.map(|kind| kind.blame());
    match (call.ending.outcome, blame) {
        (Outcome::Replied, _) => Some(SloResult::Good),
        (Outcome::Failed, Some(Blame::Plugin | Blame::Host)) => Some(SloResult::Bad),
        (Outcome::Failed, Some(Blame::Caller) | None) | (Outcome::Dropped, _) => None,
    }
}

/// Of the calls that the histogram of durations has. Who left before the time says nothing, who left after it
/// would have been served too late. Failures count for availability.
fn latency(call: EndedCall, under: Duration) -> Option<SloResult> {
    let late = call.took > under;
    match call.ending.outcome {
        _ if call.attempts == 0 => None,
        Outcome::Replied if !late => Some(SloResult::Good),
        Outcome::Replied | Outcome::Dropped if late => Some(SloResult::Bad),
        Outcome::Replied | Outcome::Dropped | Outcome::Failed => None,
    }
}

#[cfg(test)]
mod tests;
