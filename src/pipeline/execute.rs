//! Execute: waits for an instance, runs the call on it and takes in what the plugin says meanwhile. The end of
//! the stack.

use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;

use super::pace::Pace;
use super::service_spans::ServiceSpans;
use super::{BoxFuture, Call, GuestContext, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::guest::{GuestAnswer, GuestCall, GuestLog, GuestMetric, GuestSpan};
use crate::model::ids::SpanId;
use crate::model::invocation::Usage;
use crate::runtimes::pool::{Lease, Pool, Turn};
use crate::runtimes::{CallRequest, Guest, StartNews};
use crate::telemetry::SpanRef;
use crate::telemetry::names::{attribute, span};

pub struct Execute {
    pool: Arc<Pool>,
    pace: Arc<Pace>,
}

impl Execute {
    pub fn new(pool: Arc<Pool>, pace: Arc<Pace>) -> Execute {
        Execute { pool, pace }
    }

    /// Waits for the call's turn, in order of arrival; how many may wait is admission's business.
    async fn turn(&self, call: &mut Call) -> Result<Turn, InvokeError> {
        let queued = Instant::now();
        let span = call.recording.open(span::QUEUE, call.attempt_span());
        let turn = self.pool.turn().await;
        call.recording.close(span);
        call.recording.queue_wait(queued.elapsed());
        match self.pace.too_late(call) {
            // Dropping the turn gives it to the next.
            Some(error) => Err(error),
            None => turn,
        }
    }

    /// A warm instance, or a new one, whose start has a span and does not count as the call's time.
    async fn instance(&self, call: &mut Call) -> Result<Lease, InvokeError> {
        let place = match self.turn(call).await? {
            Turn::Instance(lease) => return Ok(lease),
            Turn::Start(place) => place,
        };
        let begun = Instant::now();
        let span = call.recording.open(span::PREPARE, call.attempt_span());
        let _paused = call.pause();
        let (recording, mask) = (&mut call.recording, &call.plugin.mask);
        let mut listener = |news| match news {
            StartNews::Log(log) => recording.guest_log(span, mask.log(log)),
            StartNews::Span(step) => recording.guest_span(span, mask.span(step)),
            StartNews::Mode(mode) => {
                recording.set(span, attribute::START_MODE, mode.as_str());
                if let Some(why) = mode.why() {
                    recording.set(span, attribute::START_REASON, why.to_owned());
                }
            }
        };
        match place.start(&mut listener).await {
            Ok(lease) => {
                call.recording.close(span);
                call.recording.cold_start(begun.elapsed());
                Ok(lease)
            }
            Err(error) => {
                let error = call.plugin.mask.error(error);
                call.recording.fail(span, error.kind, &error.message);
                Err(error)
            }
        }
    }
}

impl Policy for Execute {
    fn handle<'a>(
        &'a self,
        call: &'a mut Call,
        _next: Next<'a>,
    ) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            let mut lease = self.instance(call).await?;
            let span = call.recording.open(span::EXECUTE, call.attempt_span());
            let request = request_for(call, span);
            let mut guest = CallGuest { call, span, service_spans: ServiceSpans::default() };
            let ended = lease.call(request, &mut guest).await;
            drop(guest);
            let ended = ended.map_err(|error| call.plugin.mask.error(error));
            match &ended {
                Ok(_) => call.recording.close(span),
                Err(error) => call.recording.fail(span, error.kind, &error.message),
            }
            let end = ended?;
            call.usage = end.usage;
            Ok(end.output.map_or(Reply::Streamed, Reply::Value))
        })
    }
}

fn request_for(call: &Call, execute: SpanRef) -> CallRequest {
    let parent = call.invocation.parent.as_ref();
    CallRequest {
        invocation_id: call.recording.invocation_id(),
        attempt: call.attempt.as_ref().map_or(1, |attempt| attempt.number),
        action: call.invocation.action.clone(),
        input: call.invocation.input.clone(),
        traceparent: call.recording.traceparent(execute),
        tracestate: parent.and_then(|parent| parent.tracestate.clone()),
        baggage: parent.and_then(|parent| parent.baggage.clone()),
        deadline: call.time_left(),
        output_bytes_max: call.plugin.manifest.limits.output_bytes_max,
    }
}

/// A running call, as its plugin sees it.
struct CallGuest<'c> {
    call: &'c mut Call,
    span: SpanRef,
    service_spans: ServiceSpans,
}

impl CallGuest<'_> {
    fn adopt_service_spans(&mut self) {
        for span in self.service_spans.take() {
            let span = self.call.plugin.mask.span(span);
            self.call.recording.service_span(self.span, span);
        }
    }
}

/// The questions that were open have been given up before: whoever asks them borrows the guest.
impl Drop for CallGuest<'_> {
    fn drop(&mut self) {
        self.adopt_service_spans();
    }
}

impl Guest for CallGuest<'_> {
    fn chunk(&mut self, part: Arc<RawValue>) -> BoxFuture<'_, Result<(), InvokeError>> {
        Box::pin(self.call.take_chunk(part))
    }

    fn log(&mut self, log: GuestLog) {
        let log = self.call.plugin.mask.log(log);
        self.call.recording.guest_log(self.span, log);
    }

    fn span(&mut self, span: GuestSpan) {
        let span = self.call.plugin.mask.span(span);
        self.call.recording.guest_span(self.span, span);
    }

    fn metric(&mut self, metric: GuestMetric) {
        self.call.recording.guest_metric(self.span, metric);
    }

    fn ask(&mut self, question: GuestCall) -> BoxFuture<'static, GuestAnswer> {
        self.adopt_service_spans();
        let parent = self.call.invocation.parent.as_ref();
        let context = GuestContext {
            plugin: self.call.plugin.clone(),
            trace_id: self.call.recording.trace_id(),
            execute_id: self.execute_span(),
            trace_flags: self.call.recording.flags(),
            tracestate: parent.and_then(|parent| parent.tracestate.clone()),
            baggage: parent.and_then(|parent| parent.baggage.clone()),
            left: self.call.time_left(),
            lineage: self.call.invocation.lineage.clone(),
            door: self.call.door.clone(),
            spans: self.service_spans.clone(),
        };
        self.call.services.answer(question, context)
    }

    fn execute_span(&self) -> SpanId {
        self.call.recording.span_id(self.span)
    }

    fn dropped(&mut self, what: &'static str, count: u64) {
        self.call.recording.dropped(what, count);
    }

    fn usage(&mut self, usage: Usage) {
        self.call.usage = usage;
    }
}
