//! Spans that the host makes for what a guest asks of it. They reach the recording when they end, also when
//! nobody waits for the answer any more: a call that was cut off shows what it was waiting for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::model::guest::{GuestEvent, GuestSpan};
use crate::model::ids::SpanId;
use crate::model::span_kind::SpanKind;
use crate::telemetry::ids;
use crate::telemetry::names::attribute;

/// Where the spans of one call wait for its recording. As many as questions may be open, and their retries.
#[derive(Clone, Debug, Default)]
pub struct ServiceSpans(Arc<Mutex<Vec<GuestSpan>>>);

impl ServiceSpans {
    pub fn open(
        &self,
        name: impl Into<String>,
        parent_id: SpanId,
        attributes: Map<String, Value>,
    ) -> OpenSpan {
        self.begin(name.into(), parent_id, attributes, SpanKind::Internal)
    }

    /// Of kind CLIENT: somebody outside of this process, or a database, is waited for.
    pub fn open_client(
        &self,
        name: impl Into<String>,
        parent_id: SpanId,
        attributes: Map<String, Value>,
    ) -> OpenSpan {
        self.begin(name.into(), parent_id, attributes, SpanKind::Client)
    }

    fn begin(
        &self,
        name: String,
        parent_id: SpanId,
        attributes: Map<String, Value>,
        kind: SpanKind,
    ) -> OpenSpan {
        let span = GuestSpan {
            span_id: ids::span_id(),
            parent_id: Some(parent_id),
            name,
            kind,
            start_unix_ns: unix_ns(),
            end_unix_ns: 0,
            error: Some("the call was over before the answer".into()),
            attributes,
            events: Vec::new(),
        };
        OpenSpan { span: Some(span), ended: self.clone() }
    }

    /// Those that have ended since the last time.
    pub(super) fn take(&self) -> Vec<GuestSpan> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends when it is dropped. Failed, unless somebody says otherwise before.
#[derive(Debug)]
pub struct OpenSpan {
    /// `None` only while it is dropped.
    span: Option<GuestSpan>,
    ended: ServiceSpans,
}

impl OpenSpan {
    pub fn id(&self) -> SpanId {
        self.span.as_ref().expect(ALIVE).span_id
    }

    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.span_mut().attributes.insert(key.to_owned(), value.into());
    }

    pub fn event(&mut self, name: &str, attributes: Map<String, Value>) {
        let event = GuestEvent { unix_ns: unix_ns(), name: name.to_owned(), attributes };
        self.span_mut().events.push(event);
    }

    /// The step worked.
    pub fn end(mut self) {
        self.span_mut().error = None;
    }

    /// The step failed.
    pub fn fail(mut self, kind: &str, message: &str) {
        self.set(attribute::ERROR_TYPE, kind);
        self.span_mut().error = Some(message.to_owned());
    }

    fn span_mut(&mut self) -> &mut GuestSpan {
        self.span.as_mut().expect(ALIVE)
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.end_unix_ns = unix_ns();
            self.ended.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
        }
    }
}

const ALIVE: &str = "only dropping it takes the span";

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_nobody_ended_is_told_as_failed() {
        let spans = ServiceSpans::default();
        let parent_id = ids::span_id();
        drop(spans.open("GET", parent_id, Map::new()));
        spans.open("PUT", parent_id, Map::new()).end();
        spans.open("POST", parent_id, Map::new()).fail("timeout", "no answer within 5 s");
        let errors: Vec<_> = spans.take().into_iter().map(|span| (span.name, span.error)).collect();
        let error = |text: &str| Some(text.to_owned());
        assert_eq!(
            errors,
            [
                ("GET".to_owned(), error("the call was over before the answer")),
                ("PUT".to_owned(), None),
                ("POST".to_owned(), error("no answer within 5 s")),
            ]
        );
        assert!(spans.take().is_empty());
    }
}
