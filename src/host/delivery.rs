//! One delivery of an asynchronous call: run, then put back or ended, on the disk before anybody hears of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;

use super::asynchronous::{blocking, invocation_of};
use super::queue::DEATHS_MAX;
use super::{Begun, Ended, Host, cancelled};
use crate::model::error::InvokeError;
use crate::model::kind::{ErrorKind, Outcome};
use crate::pipeline::Output;
use crate::store::calls::{CallEnd, Calls, KEPT_MAX, QueuedCall};
use crate::telemetry::events::{InvocationPoisoned, InvocationRequeued, StoreRecovered, StoreWriteFailed};

/// A call that could not be run for so long fails with what kept it from that.
const AGE_MAX: Duration = KEPT_MAX;
/// The waits between tries to write an ending down, the next one twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// What a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    Ended,
    /// The call waits again; the lane is to wait at least so long.
    PutBack(Duration),
    /// The call waits again, for a version or an action that is not there.
    Missing,
}

/// Runs one call, and writes down what came of it.
pub(super) async fn deliver(host: Arc<Host>, calls: Arc<Calls>, queued: QueuedCall) -> Delivered {
    let (id, plugin, age) = (queued.call.ids.invocation_id, queued.call.plugin.clone(), queued.age);
    let deaths = queued.deaths;
    let begun = host.begin(invocation_of(queued));
    let ended = if deaths < DEATHS_MAX {
        AssertUnwindSafe(begun.execute(Output::whole())).catch_unwind().await
    } else {
        Ok(begun.give_up(deaths))
    };
    let Ok(ended) = ended else {
        // Its recording has ended as dropped, on the way out of the panic.
        let error = InvokeError::new(ErrorKind::Internal, "the host panicked during the call");
        let end = CallEnd { outcome: Outcome::Failed, error: Some(&error), ..CallEnd::nothing() };
        let _ = calls.end(id, &end);
        host.queue.ended(id);
        return Delivered::Ended;
    };
    if let Some(wait) = put_back_after(&host, &ended, age) {
        let missing = matches!(&ended.result, Err(error) if error.kind == ErrorKind::NotFound);
        put_back(&host, &calls, ended, &plugin, wait).await;
        return if missing { Delivered::Missing } else { Delivered::PutBack(wait) };
    }
    if let Some(ended) = settle(&host, &calls, ended).await {
        ended.close();
        host.queue.ended(id);
    }
    Delivered::Ended
}

impl Begun {
    /// Too many runners died under the call.
    fn give_up(mut self, deaths: u32) -> Ended {
        let root = self.recording.root();
        if let Ok(deployment) = self.host.route(&self.invocation) {
            self.recording.bind(deployment.series.clone());
        }
        self.recording.emit(root, InvocationPoisoned { deaths });
        let message = format!("the runner died under each of the last {deaths} deliveries of the call");
        let error = InvokeError::new(ErrorKind::Crashed, message)
            .help("the plugin may bring the machine down; run the call again once it is safe");
        Ended::early(self.recording, error)
    }
}

/// Whether the call was not run, for a reason that may pass; and how long that may take at least.
fn put_back_after(host: &Host, ended: &Ended, age: Duration) -> Option<Duration> {
    let error = ended.result.as_ref().err()?;
    if host.is_cut_off() && error.kind != ErrorKind::Cancelled {
        return Some(Duration::ZERO);
    }
    // A folder that is moved, or a version that is changed for another, is gone for a moment.
    let passes = matches!(
        error.kind,
        ErrorKind::Overloaded | ErrorKind::CircuitOpen | ErrorKind::Unavailable | ErrorKind::NotFound
    );
    let waits = passes && !ended.recording.has_attempted() && age < AGE_MAX;
    waits.then(|| error.retry_after.unwrap_or_default())
}

async fn put_back(host: &Arc<Host>, calls: &Arc<Calls>, mut ended: Ended, plugin: &Arc<str>, wait: Duration) {
    let (id, attempts) = (ended.recording.invocation_id(), ended.recording.attempts());
    let (calls, plugin) = (calls.clone(), plugin.clone());
    match blocking(move || Ok(calls.put_back(id, &plugin, attempts)?)).await {
        Ok(true) => {
            let message = ended.result.as_ref().err().map_or("", |error| error.message.as_str());
            let root = ended.recording.root();
            ended.recording.emit(root, InvocationRequeued { attempts, message, wait });
            ended.recording.suspend();
        }
        // Somebody cancelled it.
        Ok(false) => {
            ended.result = Err(cancelled());
            ended.close();
            host.queue.ended(id);
        }
        // It is taken up again at the next start, as one under which the runner died.
        Err(error) => {
            host.telemetry.emit(StoreWriteFailed { message: &error.message });
            ended.recording.suspend();
        }
    }
}

/// Writes the ending down, and keeps trying as long as the host lives. `None`: it could not be, and the call
/// will be delivered again.
async fn settle(host: &Arc<Host>, calls: &Arc<Calls>, mut ended: Ended) -> Option<Ended> {
    let id = ended.recording.invocation_id();
    let mut wait = RETRY_FIRST;
    loop {
        match blocking(ended.settling(calls.clone())).await {
            Ok(first) => {
                if wait > RETRY_FIRST {
                    host.telemetry.emit(StoreRecovered);
                }
                if !first {
                    ended.result = Err(cancelled());
                }
                return Some(ended);
            }
            Err(error) if wait == RETRY_FIRST => {
                host.telemetry.emit(StoreWriteFailed { message: &error.message });
            }
            Err(_) => {}
        }
        if host.is_cut_off() {
            ended.recording.suspend();
            return None;
        }
        let mut ends = host.ends.subscribe();
        let _ = timeout(wait, ends.wait_for(|ends| ends.concern(id))).await;
        wait = (wait * 2).min(RETRY_LONGEST);
    }
}

impl Ended {
    /// Writes the ending into the file. False: there was one already.
    fn settling(&self, calls: Arc<Calls>) -> impl FnOnce() -> Result<bool, InvokeError> + Send + 'static {
        let recording = &self.recording;
        let (id, attempts, duration) = (recording.invocation_id(), recording.attempts(), recording.elapsed());
        let (version, cold_start) = (recording.version().cloned(), recording.is_cold_start());
        let (output, error) = match &self.result {
            Ok(output) => (output.clone(), None),
            Err(error) => (None, Some(error.clone())),
        };
        move || {
            let outcome = match &error {
                None => Outcome::Replied,
                Some(error) if error.kind == ErrorKind::Cancelled => Outcome::Dropped,
                Some(_) => Outcome::Failed,
            };
            let end = CallEnd {
                outcome,
                version: version.as_deref(),
                attempts,
                duration,
                cold_start,
                error: error.as_ref(),
                output: output.as_deref(),
            };
            Ok(calls.end(id, &end)?)
        }
    }
}
