//! Running the kept input of an earlier call again, and holding the two against each other. Pure: what was kept goes
//! in, a call or a comparison comes out.

use std::time::Duration;

use semver::VersionReq;
use serde::Serialize;
use serde_json::value::RawValue;

use super::difference::Difference;
use crate::model::error::InvokeError;
use crate::model::ids::InvocationId;
use crate::model::invocation::{Completed, Invocation, Origin};
use crate::model::kind::{ErrorKind, Outcome};
use crate::store::InvocationDetail;

/// An earlier call and the one that ran its input again.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub original: Side,
    pub replayed: Side,
    pub output: OutputComparison,
}

/// How one of the two ended.
#[derive(Debug, Serialize)]
pub struct Side {
    pub invocation_id: String,
    pub trace_id: String,
    pub version: Option<String>,
    pub outcome: String,
    pub error: Option<SideError>,
    pub attempts: u32,
    pub duration_ms: f64,
}

#[derive(Debug, Serialize)]
pub struct SideError {
    pub kind: String,
    pub message: String,
}

#[derive(Debug, Serialize)]
pub struct OutputComparison {
    /// `null`: there are no two outputs to compare, and `reason` says why.
    pub equal: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(flatten)]
    pub difference: Difference,
}

/// The call that runs the input of `original` again: on the same version, unless `on` says otherwise.
///
/// # Errors
/// `conflict`: the input is not there as it was given.
pub fn replay_of(
    id: InvocationId,
    original: &InvocationDetail,
    on: Option<VersionReq>,
    timeout: Option<Duration>,
    origin: Origin,
) -> Result<Invocation, InvokeError> {
    let refused = |why: &str| {
        let message = format!("the invocation {id} cannot be replayed: {why}");
        Err(InvokeError::new(ErrorKind::Conflict, message).help("call the plugin with an input of your own"))
    };
    let input = match &original.input {
        None => return refused("its input was not kept (telemetry.capture)"),
        Some(_) if original.input_truncated => {
            return refused("its input was kept only in part (telemetry.capture.max)");
        }
        Some(_) if original.input_redacted => return refused("sensitive parts of its input were not kept"),
        Some(_) if !original.replayable => return refused("its input was not kept as it was given"),
        Some(input) => input.clone(),
    };
    let call = &original.invocation;
    // One that found no version may find one now.
    let same = || call.version.as_ref().and_then(|version| format!("={version}").parse().ok());
    Ok(Invocation {
        version: on.or_else(same),
        action: call.action.as_str().into(),
        timeout,
        replay_of: Some(id),
        ..Invocation::new(call.plugin.as_str(), input, origin)
    })
}

pub fn compare(original: &InvocationDetail, replayed: &Completed) -> Comparison {
    Comparison {
        original: Side::of_kept(original),
        replayed: Side::of_completed(replayed),
        output: compare_outputs(original, replayed),
    }
}

fn compare_outputs(original: &InvocationDetail, replayed: &Completed) -> OutputComparison {
    let none =
        |reason| OutputComparison { equal: None, reason: Some(reason), difference: Difference::default() };
    let new: &RawValue = match &replayed.result {
        Ok(Some(output)) => output,
        Ok(None) | Err(_) => return none("the replay has no output"),
    };
    match &original.output {
        _ if original.invocation.outcome != Outcome::Replied.as_str() => none("the original has no output"),
        None => none("the original's output was not kept"),
        Some(_) if original.output_truncated => none("the original's output was kept only in part"),
        // A replaced part would differ each time, and the value beside it is one that is not to be shown.
        Some(_) if original.output_redacted => none("sensitive parts of the original's output were not kept"),
        Some(old) => {
            let difference = Difference::between(old, new);
            OutputComparison { equal: Some(difference.is_empty()), reason: None, difference }
        }
    }
}

impl Side {
    fn of_kept(detail: &InvocationDetail) -> Side {
        let call = &detail.invocation;
        let error = call.error.as_ref();
        Side {
            invocation_id: call.invocation_id.clone(),
            trace_id: call.trace_id.clone(),
            version: call.version.clone(),
            outcome: call.outcome.clone(),
            error: error.map(|error| SideError { kind: error.kind.clone(), message: error.message.clone() }),
            attempts: call.attempts,
            duration_ms: call.duration_ms,
        }
    }

    fn of_completed(completed: &Completed) -> Side {
        let (meta, error) = (&completed.meta, completed.result.as_ref().err());
        let outcome = if error.is_some() { Outcome::Failed } else { Outcome::Replied };
        Side {
            invocation_id: meta.invocation_id.to_string(),
            trace_id: meta.trace_id.to_string(),
            version: meta.version.as_deref().map(str::to_owned),
            outcome: outcome.as_str().to_owned(),
            error: error.map(|error| SideError {
                kind: error.kind.as_str().to_owned(),
                message: error.message.clone(),
            }),
            attempts: meta.attempts,
            duration_ms: (meta.duration.as_secs_f64() * 1e6).round() / 1e3,
        }
    }
}
