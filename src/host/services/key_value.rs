//! `ctx.services.kv`: what a plugin keeps, under its own name, whatever its version.

use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;
use serde_json::{Map, json};

use crate::model::guest::{GuestAnswer, GuestCallError, KeyValueOperation, KeyValueRequest};
use crate::model::units::format_duration;
use crate::pipeline::GuestContext;
use crate::runtimes::BoxFuture;
use crate::store::{KeyValueAnswer, KeyValueError, KeyValueStore, Store};
use crate::telemetry::names::{attribute, span};

/// `db.system.name`: no system that others know.
const SYSTEM: &str = "spanglass_kv";

#[derive(Default)]
pub(super) struct KeyValues {
    /// `None`: in memory, made when it is first asked for.
    store: Option<Arc<Store>>,
    memory: OnceLock<Option<KeyValueStore>>,
}

impl KeyValues {
    pub(super) fn new(store: Option<Arc<Store>>) -> KeyValues {
        KeyValues { store, memory: OnceLock::new() }
    }

    pub(super) fn answer(
        &self,
        request: KeyValueRequest,
        context: GuestContext,
    ) -> BoxFuture<'static, GuestAnswer> {
        let plugin = context.plugin.manifest.name.shared();
        let name = request.operation.name();
        let attributes = Map::from_iter([
            (attribute::DB_SYSTEM.to_owned(), SYSTEM.into()),
            (attribute::DB_NAMESPACE.to_owned(), (&*plugin).into()),
            (attribute::DB_OPERATION.to_owned(), name.into()),
        ]);
        let parent_id = request.parent_id.unwrap_or(context.execute_id);
        let mut span =
            context.spans.open_client(format!("{}{name}", span::KEY_VALUE_PREFIX), parent_id, attributes);
        let asked = self.submit(plugin, request.operation);
        Box::pin(async move {
            let answered = match tokio::time::timeout(context.left, asked).await {
                Ok(answered) => {
                    answered.map_err(|error| GuestCallError::new(error.kind(), error.to_string()))
                }
                Err(_) => {
                    let message = format!("no answer within {}", format_duration(context.left));
                    Err(GuestCallError::new("timeout", message))
                }
            };
            match answered {
                Ok(answer) => {
                    if let Some(rows) = rows(&answer) {
                        span.set(attribute::DB_RETURNED_ROWS, rows);
                    }
                    span.end();
                    Ok(into_json(answer))
                }
                Err(error) => {
                    span.fail(error.kind, &error.message);
                    Err(error)
                }
            }
        })
    }

    fn submit(
        &self,
        plugin: Arc<str>,
        operation: KeyValueOperation,
    ) -> BoxFuture<'static, Result<KeyValueAnswer, KeyValueError>> {
        let kept = match &self.store {
            Some(store) => Some(store.kv()),
            None => self.memory.get_or_init(|| KeyValueStore::in_memory().ok()).as_ref(),
        };
        match kept {
            Some(kept) => Box::pin(kept.submit(plugin, operation)),
            None => Box::pin(std::future::ready(Err(KeyValueError::Stopped))),
        }
    }
}

/// How many keys an answer holds, of those operations that read.
fn rows(answer: &KeyValueAnswer) -> Option<usize> {
    match answer {
        KeyValueAnswer::Entry(entry) => Some(usize::from(entry.is_some())),
        KeyValueAnswer::Keys { keys, .. } => Some(keys.len()),
        KeyValueAnswer::Written { .. } | KeyValueAnswer::Deleted(_) | KeyValueAnswer::Counted { .. } => None,
    }
}

fn into_json(answer: KeyValueAnswer) -> Arc<RawValue> {
    match answer {
        KeyValueAnswer::Entry(None) => super::json(&()),
        KeyValueAnswer::Entry(Some(entry)) => {
            // Put together as text: the value keeps all its digits.
            let text = format!(r#"{{"value":{},"revision":{}}}"#, entry.value, entry.revision);
            RawValue::from_string(text).map_or_else(|_| super::json(&()), Arc::from)
        }
        KeyValueAnswer::Written { revision } => super::json(&json!({"revision": revision})),
        KeyValueAnswer::Deleted(deleted) => super::json(&json!({"deleted": deleted})),
        KeyValueAnswer::Counted { value, revision } => {
            super::json(&json!({"value": value, "revision": revision}))
        }
        KeyValueAnswer::Keys { keys, next } => super::json(&json!({"keys": keys, "next": next})),
    }
}
