//! Streamed replies as server-sent events: `chunk`…, then exactly one `end` or `error`.

use std::sync::Arc;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Problem, meta_json, trace_headers};
use crate::host::Host;
use crate::model::invocation::{Completed, Invocation};
use crate::pipeline::Output;

/// So many chunks may lie between the plugin and a slow reader; then the plugin waits.
const CHUNKS_AHEAD_MAX: usize = 16;

pub fn answer(host: &Arc<Host>, invocation: Invocation) -> Response {
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD_MAX);
    let (ids, ended) = start(host, invocation, sender);
    let reader = Reader { chunks, ended: Some(AbortOnDrop(ended)) };
    let events = stream::unfold(reader, |mut reader| async {
        let event = reader.next().await?;
        Some((Ok::<_, std::convert::Infallible>(event), reader))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    trace_headers::set(&mut response, &ids);
    response
}

/// Runs the call beside the response; its traceparent is known at once.
fn start(
    host: &Arc<Host>,
    invocation: Invocation,
    sender: mpsc::Sender<Arc<RawValue>>,
) -> (String, JoinHandle<Completed>) {
    let begun = host.begin(invocation);
    let traceparent = begun.traceparent();
    (traceparent, tokio::spawn(begun.run(Output::chunks(sender))))
}

struct Reader {
    chunks: mpsc::Receiver<Arc<RawValue>>,
    /// `None` once the last event is out.
    ended: Option<AbortOnDrop>,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        self.ended.as_ref()?;
        if let Some(chunk) = self.chunks.recv().await {
            return Some(event("chunk", chunk.get()));
        }
        let mut ended = self.ended.take()?;
        Some(match (&mut ended.0).await {
            Ok(Completed { meta, result: Ok(_) }) => event("end", &meta_json(&meta).to_string()),
            Ok(Completed { meta, result: Err(error) }) => {
                event("error", &Problem::of_call(&meta, error).to_json().to_string())
            }
            Err(_) => event("error", &Problem::internal("the call panicked").to_json().to_string()),
        })
    }
}

/// JSON has no raw line breaks but between its tokens, where a space does as well.
fn event(name: &str, json: &str) -> Event {
    Event::default().event(name).data(json.replace(['\r', '\n'], " "))
}

/// A reader who leaves takes the call with him.
struct AbortOnDrop(JoinHandle<Completed>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
