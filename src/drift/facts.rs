//! What whoever judges alerts has to know of drift.

use super::judge::{Comparison, State};
use super::judged::FieldJudged;
use super::{Drift, Watch};
use crate::alerting::{DriftFact, DriftField, DriftState, Example};

impl Drift {
    /// Of all that is watched. Reads memory only.
    pub fn facts(&self) -> Vec<DriftFact> {
        self.all().iter().map(|watch| watch.fact()).collect()
    }
}

impl Watch {
    fn fact(&self) -> DriftFact {
        let judged = self.judged();
        let fields = self.field_names().zip(&judged.fields).map(|(field, judged)| {
            let found = decisive(judged);
            let example = judged.kept.examples.first().map(|example| Example {
                invocation_id: example.invocation_id.clone(),
                trace_id: example.trace_id.clone(),
            });
            DriftField {
                field,
                state: state(judged.kept.state),
                // What was held against the bound: with the nulls, which the plain index leaves out.
                psi: found.and_then(|found| found.effect),
                pvalue: found.and_then(|found| found.pvalue),
                reason: judged.kept.reason.clone(),
                example,
            }
        });
        DriftFact {
            plugin: self.plugin.to_string(),
            version: self.version.to_string(),
            fields: fields.collect(),
        }
    }
}

/// The window that put the field into its state: the short one, if it is in that state itself.
fn decisive(field: &FieldJudged) -> Option<&Comparison> {
    let by_long = field.kept.state > field.kept.short.state();
    field.long.as_ref().filter(|_| by_long).or(field.short.as_ref())
}

fn state(state: State) -> DriftState {
    match state {
        State::Insufficient => DriftState::Insufficient,
        State::Ok => DriftState::Ok,
        State::Warn => DriftState::Warn,
        State::Alert => DriftState::Alert,
    }
}
