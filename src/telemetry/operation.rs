//! Spans of the control plane: start-up, register, prepare, storage. They are rare, so they may cost what
//! `tracing` costs, and in return they are ordinary OpenTelemetry spans. A call's spans are not made here.
//!
//! The subscriber is ours alone and reaches no other span of the process: what the transport of telemetry
//! itself traces (h2, hyper, tonic) can never come back in here.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    SpanContext, SpanId as OtelSpanId, Status, TraceContextExt, TraceFlags, TraceId as OtelTraceId,
    TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue, Value as OtelValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler as SdkSampler, SdkTracerProvider, Span as SdkSpan, SpanData, SpanProcessor,
};
use tracing::{Dispatch, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use crate::model::ids::{SpanId, TraceId};
use crate::model::kind::ErrorKind;
use crate::model::text::{Text, truncate};
use crate::model::trace_context::TraceContext;

use super::Telemetry;
use super::clock::nanoseconds;
use super::names::{self, attribute};
use super::queue::Queue;
use super::record::{OperationEvent, OperationRecord, Record, TEXT_BYTES_MAX, Value};
use super::settings::Sampler;

/// What the control plane does. Its text is the span's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    StartUp,
    ShutDown,
    Register,
    Remove,
    Enable,
    Disable,
    Rollback,
    /// Moving dependencies to newer versions.
    Update,
    /// Taking over a changed configuration.
    Reload,
    /// Preparing an instance or an environment outside a call.
    Prepare,
    Storage,
    /// `on_start`, `on_stop` or `health` of a plugin.
    Hook,
}

impl OperationKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            OperationKind::StartUp => "start_up",
            OperationKind::ShutDown => "shut_down",
            OperationKind::Register => "register",
            OperationKind::Remove => "remove",
            OperationKind::Enable => "enable",
            OperationKind::Disable => "disable",
            OperationKind::Rollback => "rollback",
            OperationKind::Update => "update",
            OperationKind::Reload => "reload",
            OperationKind::Prepare => names::span::PREPARE,
            OperationKind::Storage => "storage",
            OperationKind::Hook => "hook",
        }
    }
}

/// One span, from `start` until it is dropped.
pub struct Operation {
    span: Span,
}

impl Operation {
    /// `parent`: where the trace continues; `None` begins one. An unsampled parent makes no span.
    pub fn start(telemetry: &Telemetry, kind: OperationKind, parent: Option<&TraceContext>) -> Operation {
        let span = tracing::dispatcher::with_default(
            &telemetry.0.tracer.dispatch,
            || tracing::info_span!(target: "spanglass", parent: None, "operation", otel.name = kind.as_str()),
        );
        if let Some(parent) = parent {
            // Refused only on a span that has been entered, and this one is new.
            let _ = span.set_parent(Context::new().with_remote_span_context(remote(parent)));
        }
        Operation { span }
    }

    pub fn set(&mut self, key: impl Into<Text>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into().bounded());
        let value: OtelValue = match value {
            Value::Text(text) => text.to_string().into(),
            Value::Id(id) => id.to_string().into(),
            Value::Int(value) => value.into(),
            Value::Float(value) => value.into(),
            Value::Bool(value) => value.into(),
        };
        self.span.set_attribute(key.to_string(), value);
    }

    /// It failed: the span gets the status Error.
    pub fn fail(&mut self, kind: ErrorKind, message: &str) {
        self.span.set_attribute(attribute::ERROR_TYPE, kind.as_str());
        self.span.set_status(Status::error(truncate(message, TEXT_BYTES_MAX).to_owned()));
    }

    /// For children, and for whoever is called from here. `None`: it is not sampled.
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.span.context();
        let span = context.span();
        let context = span.span_context();
        Some(TraceContext {
            trace_id: TraceId::from_bytes(context.trace_id().to_bytes())?,
            span_id: SpanId::from_bytes(context.span_id().to_bytes())?,
            flags: context.trace_flags().to_u8(),
            tracestate: None,
            baggage: None,
        })
    }
}

fn remote(parent: &TraceContext) -> SpanContext {
    SpanContext::new(
        OtelTraceId::from_bytes(*parent.trace_id.as_bytes()),
        OtelSpanId::from_bytes(*parent.span_id.as_bytes()),
        TraceFlags::new(parent.flags),
        true,
        TraceState::default(),
    )
}

/// The way from `tracing` into the queue. Lives as long as the telemetry.
pub(super) struct Tracer {
    dispatch: Dispatch,
    /// Its processor holds the queue; spans that end after it is gone would be lost.
    _provider: SdkTracerProvider,
}

impl Tracer {
    pub fn new(queue: Arc<Queue>, sampler: Sampler) -> Tracer {
        // Said explicitly, since the SDK would read the process's environment.
        let root = SdkSampler::TraceIdRatioBased(sampler.ratio);
        let sampler = if sampler.parent_based { SdkSampler::ParentBased(Box::new(root)) } else { root };
        let provider =
            SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(IntoQueue(queue)).build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(names::SCOPE))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_level(false);
        Tracer { dispatch: Dispatch::new(Registry::default().with(layer)), _provider: provider }
    }
}

/// Counts and pushes, nothing else: a span or event made in here could lose the enclosing span.
struct IntoQueue(Arc<Queue>);

impl fmt::Debug for IntoQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntoQueue")
    }
}

impl SpanProcessor for IntoQueue {
    fn on_start(&self, _span: &mut SdkSpan, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if let Some(record) = convert(span) {
            self.0.push(Record::Operation(Box::new(record)));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// `None`: the ids are zeros, which the SDK gives to spans that nobody records.
fn convert(span: SpanData) -> Option<OperationRecord> {
    let attributes = |all: &[KeyValue]| {
        all.iter().map(|pair| (pair.key.as_str().to_owned().into(), own_value(&pair.value))).collect()
    };
    Some(OperationRecord {
        trace_id: TraceId::from_bytes(span.span_context.trace_id().to_bytes())?,
        span_id: SpanId::from_bytes(span.span_context.span_id().to_bytes())?,
        parent: SpanId::from_bytes(span.parent_span_id.to_bytes()),
        name: span.name.to_string().into(),
        start_unix_ns: unix_ns(span.start_time),
        end_unix_ns: unix_ns(span.end_time),
        error: match &span.status {
            Status::Error { description } => Some(description.to_string().into()),
            Status::Ok | Status::Unset => None,
        },
        attributes: attributes(&span.attributes),
        events: span
            .events
            .iter()
            .map(|event| OperationEvent {
                name: event.name.to_string().into(),
                unix_ns: unix_ns(event.timestamp),
                attributes: attributes(&event.attributes),
            })
            .collect(),
        sdk: span,
    })
}

fn own_value(value: &OtelValue) -> Value {
    match value {
        OtelValue::Bool(value) => (*value).into(),
        OtelValue::I64(value) => (*value).into(),
        OtelValue::F64(value) => (*value).into(),
        OtelValue::String(text) => text.to_string().into(),
        _ => value.to_string().into(),
    }
}

fn unix_ns(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, nanoseconds)
}
