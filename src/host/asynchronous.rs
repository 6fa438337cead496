//! Asynchronous calls at the front door: taken in, waited for, cancelled. Who runs them is `queue.rs`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use super::{Begun, ENDINGS_LOOK, ENDINGS_MAX, Ended, Host, cancelled, running};
use crate::model::error::InvokeError;
use crate::model::ids::InvocationId;
use crate::model::invocation::{Completed, Delivery, Invocation, Usage};
use crate::model::kind::ErrorKind;
use crate::pipeline::idempotency::claim_of;
use crate::pipeline::validate;
use crate::registry::Deployment;
use crate::store::calls::{Accepted, Calls, Cancelled, KeptReply, NewCall, QueuedCall};
use crate::telemetry::events::InvocationQueued;
use crate::telemetry::ids;
use crate::telemetry::names::attribute;

/// What a refused caller is told to wait: a queue that is full moves by then.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Calls that are being written down at once. The disk takes one after the other: more of them would only fill the
/// threads that others need, and wait longer.
pub(super) const ACCEPTING_MAX: usize = 64;

/// How a request for an asynchronous call ended.
#[derive(Debug)]
pub enum Acceptance {
    /// It is on the disk, and will be run.
    Queued(Delivery),
    /// An earlier call under its key has replied, and so has this one.
    Replayed(Box<Completed>),
    /// It was not taken, and is recorded like any other failed call.
    Refused(Box<Completed>),
}

impl Host {
    /// Takes in a call to be run later: on the disk when it returns.
    pub async fn enqueue(self: &Arc<Self>, invocation: Invocation) -> Acceptance {
        let deployment = match self.acceptable(&invocation) {
            Ok(deployment) => deployment,
            Err(error) => return self.refuse_call(invocation, error),
        };
        let Some(calls) = self.calls() else {
            let message = "there is no data folder to keep an asynchronous call in";
            return self.refuse_call(invocation, InvokeError::new(ErrorKind::Internal, message));
        };
        let Ok(_place) = self.queue.try_accept() else {
            let message = format!("{ACCEPTING_MAX} asynchronous calls are being written down already");
            let error = InvokeError::new(ErrorKind::Overloaded, message).help("try again later");
            return self.refuse_call(invocation, error);
        };
        let ids = self.new_ids(&invocation);
        let call = NewCall {
            ids,
            parent: invocation.parent.clone(),
            origin: invocation.origin,
            plugin: invocation.plugin.clone(),
            version: invocation.version.as_ref().map(ToString::to_string),
            action: invocation.action.clone(),
            timeout: invocation.timeout,
            input: invocation.input.clone(),
            claim: claim_of(&invocation),
        };
        match blocking(move || Ok(calls.accept(&call)?)).await {
            Ok(Accepted::Queued) => {
                let (invocation_id, plugin) = (ids.invocation_id, &*invocation.plugin);
                self.telemetry.emit(InvocationQueued { invocation_id, plugin });
                self.queue.wake();
                Acceptance::Queued(ids)
            }
            Ok(Accepted::Replayed(reply)) => {
                let invocation = Invocation { delivery: Some(ids), ..invocation };
                Acceptance::Replayed(Box::new(self.begin(invocation).replay(&deployment, reply)))
            }
            Err(error) => self.refuse_call(invocation, error),
        }
    }

    /// The call is to end as `dropped`, whether it waits or runs. Returns when it has, or soon after.
    ///
    /// # Errors
    /// `not_found` for a call that nobody knows, `conflict` for one that has ended.
    pub async fn cancel(self: &Arc<Self>, id: InvocationId) -> Result<(), InvokeError> {
        let found = match self.calls() {
            Some(calls) => blocking(move || Ok(calls.cancel(id, &cancelled().message)?)).await?,
            None => Cancelled::Unknown,
        };
        let active = || self.telemetry.active().iter().any(|active| active.invocation_id == id);
        match found {
            Cancelled::Queued(queued) => {
                let begun = self.begin(invocation_of(*queued));
                begun.refuse(cancelled());
                self.queue.ended(id);
                Ok(())
            }
            Cancelled::Running => {
                self.end_running(id).await;
                Ok(())
            }
            Cancelled::Unknown if active() => {
                self.end_running(id).await;
                Ok(())
            }
            Cancelled::Done => Err(has_ended(id)),
            Cancelled::Unknown if self.has_recorded(id).await? => Err(has_ended(id)),
            Cancelled::Unknown => {
                Err(InvokeError::new(ErrorKind::NotFound, format!("there is no invocation {id}")))
            }
        }
    }

    /// Tells of each asynchronous call that ends from now on.
    pub fn endings(&self) -> broadcast::Receiver<InvocationId> {
        self.queue.endings()
    }

    pub(super) fn calls(&self) -> Option<Arc<Calls>> {
        self.store.as_ref().map(|store| store.calls().clone())
    }

    /// Which version would get the call, if it could be made now.
    fn acceptable(&self, invocation: &Invocation) -> Result<Arc<Deployment>, InvokeError> {
        let deployment = self.route(invocation)?;
        validate::accepts(&running(&deployment)?.plugin, &invocation.input)?;
        Ok(deployment)
    }

    /// Those of the recording that is made when the call is run.
    fn new_ids(&self, invocation: &Invocation) -> Delivery {
        let accepted_at_unix_ns = ids::now_unix_ns();
        let parent = invocation.parent.as_ref();
        Delivery {
            invocation_id: ids::invocation_id(accepted_at_unix_ns),
            trace_id: parent.map_or_else(ids::trace_id, |parent| parent.trace_id),
            root_span_id: ids::span_id(),
            accepted_at_unix_ns,
            attempts: 0,
        }
    }

    fn refuse_call(self: &Arc<Self>, invocation: Invocation, mut error: InvokeError) -> Acceptance {
        if error.kind == ErrorKind::Overloaded {
            error.retry_after.get_or_insert(FULL_RETRY_AFTER);
        }
        Acceptance::Refused(Box::new(self.begin(invocation).refuse(error)))
    }

    async fn end_running(&self, id: InvocationId) {
        self.ends.send_modify(|ends| ends.cancelled.push(id));
        let until = tokio::time::Instant::now() + ENDINGS_MAX;
        let active = || self.telemetry.active().iter().any(|active| active.invocation_id == id);
        while active() && tokio::time::Instant::now() < until {
            tokio::time::sleep(ENDINGS_LOOK).await;
        }
        self.ends.send_modify(|ends| ends.cancelled.retain(|cancelled| *cancelled != id));
    }

    async fn has_recorded(self: &Arc<Self>, id: InvocationId) -> Result<bool, InvokeError> {
        let Some(ledger) = self.ledger.clone() else { return Ok(false) };
        let host = self.clone();
        blocking(move || {
            host.settle(ENDINGS_MAX);
            Ok(ledger.reader().invocation(id)?.is_some())
        })
        .await
    }
}

impl Begun {
    /// Ends the call before it was run.
    pub(super) fn refuse(self, error: InvokeError) -> Completed {
        let Begun { host, invocation, mut recording } = self;
        if let Ok(deployment) = host.registry.route(&invocation.plugin, invocation.version.as_ref()) {
            recording.bind(deployment.series.clone());
        }
        Ended::early(recording, error).close()
    }

    /// Ends the call with the reply of an earlier one.
    fn replay(self, deployment: &Deployment, reply: KeptReply) -> Completed {
        let Begun { mut recording, .. } = self;
        recording.bind(deployment.series.clone());
        recording.set(recording.root(), attribute::REPLAY_OF, reply.invocation_id);
        let (usage, replay_of) = (Usage::default(), Some(reply.invocation_id));
        Ended { recording, result: Ok(Some(reply.output)), usage, replay_of }.close()
    }
}

/// A call out of the queue, as it came in.
pub(super) fn invocation_of(queued: QueuedCall) -> Invocation {
    let NewCall { ids, parent, origin, plugin, version, action, timeout, input, .. } = queued.call;
    Invocation {
        // It was written by us, from a range that had been read.
        version: version.and_then(|text| text.parse().ok()),
        action,
        timeout,
        parent,
        delivery: Some(ids),
        ..Invocation::new(plugin, input, origin)
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InvokeError> + Send + 'static,
) -> Result<T, InvokeError> {
    let panicked = |_| InvokeError::new(ErrorKind::Internal, "the work on the queue panicked");
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

fn has_ended(id: InvocationId) -> InvokeError {
    InvokeError::new(ErrorKind::Conflict, format!("invocation {id} has ended already"))
}
