//! Idempotency: of the calls under one key the first runs, and the others get its reply. Only a reply is kept:
//! a call that fails or is dropped frees its key.
//!
//! Asynchronous calls do not pass here with a key: theirs is claimed when they are accepted, and settled in
//! the transaction that ends them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::validate::within_depth;
use super::{BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::ids::InvocationId;
use crate::model::invocation::Invocation;
use crate::model::kind::ErrorKind;
use crate::store::calls::{Calls, Claim, Claimed, KeptReply};
use crate::telemetry::names::attribute;

pub struct Idempotency {
    /// `None`: nothing can be kept here.
    calls: Option<Arc<Calls>>,
}

impl Idempotency {
    pub fn new(calls: Option<Arc<Calls>>) -> Idempotency {
        Idempotency { calls }
    }
}

impl Policy for Idempotency {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        let Some(claim) = claim_of(&call.invocation) else { return next.run(call) };
        Box::pin(async move {
            let calls = self.calls.clone().ok_or_else(nowhere_to_keep)?;
            let first = match InFlight::begin(calls, claim, call).await? {
                Ok(first) => first,
                Err(reply) => return Ok(replay(call, reply)),
            };
            let reply = next.run(call).await?;
            if let Some(output) = call.whole_output(&reply) {
                let version = call.plugin.manifest.version.to_string();
                first.keep(version, output).await?;
            }
            Ok(reply)
        })
    }
}

/// The key of a call, if it has one, with what is asked under it.
pub fn claim_of(invocation: &Invocation) -> Option<Claim> {
    let key = invocation.idempotency_key.clone()?;
    let mut hash = Sha256::new();
    for part in [
        invocation.version.as_ref().map(ToString::to_string),
        invocation.timeout.map(|timeout| timeout.as_nanos().to_string()),
    ] {
        hash.update(part.unwrap_or_default());
        hash.update([0]);
    }
    let input = &*invocation.input;
    if within_depth(input, ErrorKind::InvalidInput, "the input").is_ok() {
        hash_canonical(input.get(), &mut hash);
    } else {
        // It will be refused, by whoever judges inputs.
        hash.update(input.get());
    }
    Some(Claim { key, request: hash.finalize().into() })
}

/// Members in the order of their names, no space between tokens, texts without needless escapes. Numbers stay
/// as they are written: parsing would take two long ones for the same.
fn hash_canonical(json: &str, hash: &mut Sha256) {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap_or_default();
            hash.update(b"{");
            for (name, value) in members {
                hash.update(serde_json::Value::from(name).to_string());
                hash.update(b":");
                hash_canonical(value.get(), hash);
                hash.update(b",");
            }
            hash.update(b"}");
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            hash.update(b"[");
            for item in items {
                hash_canonical(item.get(), hash);
                hash.update(b",");
            }
            hash.update(b"]");
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
            hash.update(serde_json::Value::from(text).to_string());
        }
        _ => hash.update(json),
    }
}

fn replay(call: &mut Call, reply: KeptReply) -> Reply {
    let root = call.recording.root();
    call.recording.set(root, attribute::REPLAY_OF, reply.invocation_id);
    call.replay_of = Some(reply.invocation_id);
    Reply::Value(reply.output)
}

/// A key that this call has claimed. Dropping it frees the key.
struct InFlight {
    calls: Arc<Calls>,
    id: InvocationId,
    settled: bool,
}

impl InFlight {
    async fn begin(
        calls: Arc<Calls>,
        claim: Claim,
        call: &Call,
    ) -> Result<Result<InFlight, KeptReply>, InvokeError> {
        let id = call.recording.invocation_id();
        let (plugin, action) = (call.invocation.plugin.clone(), call.invocation.action.clone());
        // The claim is made into its guard over there: a caller who leaves meanwhile leaves no key behind.
        blocking(move || match calls.claim_key(&claim, &plugin, &action, id)? {
            Claimed::First => Ok(Ok(InFlight { calls, id, settled: false })),
            Claimed::Replied(reply) => Ok(Err(reply)),
        })
        .await
    }

    async fn keep(mut self, version: String, output: Arc<RawValue>) -> Result<(), InvokeError> {
        blocking(move || {
            // Whatever happens: the call has run, and the key must not be had again.
            self.settled = true;
            self.calls.keep_reply(self.id, &version, &output).map_err(|error| {
                let message = format!("the call has run, and its reply cannot be kept for its key: {error}");
                InvokeError::new(ErrorKind::Internal, message)
            })
        })
        .await
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (calls, id) = (self.calls.clone(), self.id);
        // What cannot be freed now is freed at the next start.
        let free = move || {
            let _ = calls.free_key(id);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(free)),
            Err(_) => free(),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InvokeError> + Send + 'static,
) -> Result<T, InvokeError> {
    let panicked = |_| InvokeError::new(ErrorKind::Internal, "keeping an idempotency key panicked");
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

fn nowhere_to_keep() -> InvokeError {
    InvokeError::new(ErrorKind::Internal, "an idempotency key needs a data folder to be kept in")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::invocation::Origin;

    fn request(input: &str, change: impl FnOnce(&mut Invocation)) -> [u8; 32] {
        let input = RawValue::from_string(input.to_owned()).unwrap();
        let mut invocation = Invocation::new("echo", input, Origin::Local);
        invocation.idempotency_key = Some("k".into());
        change(&mut invocation);
        claim_of(&invocation).unwrap().request
    }

    #[test]
    fn the_same_request_in_another_spelling_is_the_same() {
        let first = request(r#"{"a": [1, "x"], "b": {"c": null}, "d": 1, "e": 2, "f": 3, "g": 4}"#, |_| {});
        let other = "{\"g\":4,\"f\":3,\"b\":{\"c\":null},\"e\":2,\n\"a\":[1,\"\\u0078\"],\"d\":1}";
        assert_eq!(first, request(other, |_| {}));
    }

    #[test]
    fn another_request_is_another_one() {
        let first = request(r#"{"n": 10000000000000000001, "a": ["b", "c"]}"#, |_| {});
        for (input, version, seconds) in [
            (r#"{"n": 10000000000000000002, "a": ["b", "c"]}"#, None, None),
            (r#"{"n": 10000000000000000001, "a": ["b,c"]}"#, None, None),
            (r#"{"n": 10000000000000000001, "a": ["b", "c"]}"#, Some("^1"), None),
            (r#"{"n": 10000000000000000001, "a": ["b", "c"]}"#, None, Some(1)),
        ] {
            let other = request(input, |invocation| {
                invocation.version = version.map(|text: &str| text.parse().unwrap());
                invocation.timeout = seconds.map(std::time::Duration::from_secs);
            });
            assert_ne!(first, other, "{input} {version:?} {seconds:?}");
        }
    }

    #[test]
    fn a_tower_of_lists_costs_no_more_than_its_length() {
        let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        let start = std::time::Instant::now();
        request(&deep, |_| {});
        assert!(start.elapsed() < std::time::Duration::from_secs(5));
    }
}
