//! Spans of the control plane: rare, so they may cost what `tracing` costs.

use crate::model::kind::ErrorKind;
use crate::model::text::Text;
use crate::model::trace_context::TraceContext;

use super::Telemetry;
use super::record::Value;

/// What the control plane does. Also the span's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    StartUp,
    ShutDown,
    Register,
    Remove,
    /// Preparing an instance or environment outside a call.
    Prepare,
    Storage,
    Hook,
}

/// One span of the control plane, from `start` until it is dropped.
pub struct Operation {
    context: Option<TraceContext>,
}

impl Operation {
    /// `parent`: where the trace continues; `None` begins one.
    pub fn start(_telemetry: &Telemetry, _kind: OperationKind, parent: Option<&TraceContext>) -> Operation {
        Operation { context: parent.cloned() }
    }

    pub fn set(&mut self, _key: impl Into<Text>, _value: impl Into<Value>) {}

    /// It failed; the span gets the status Error.
    pub fn fail(&mut self, _kind: ErrorKind, _message: &str) {}

    /// For children, and for whoever is called from here. `None`: it is not sampled.
    pub fn context(&self) -> Option<TraceContext> {
        self.context.clone()
    }
}
