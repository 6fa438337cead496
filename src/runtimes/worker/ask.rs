//! What a worker may ask of the host: the `ask` frame, read service by service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::model::guest::{GuestCall, HttpRequest, KeyValueOperation, KeyValueRequest, PluginCall};
use crate::model::ids::SpanId;
use crate::model::json;

#[derive(Deserialize)]
pub struct AskFrame<'a> {
    service: String,
    #[serde(default)]
    op: String,
    parent_id: Option<String>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct HttpArgs {
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
struct KeyArgs {
    key: String,
    if_revision: Option<u64>,
}

#[derive(Deserialize)]
struct SetArgs {
    key: String,
    value: Box<RawValue>,
    ttl_ms: Option<u64>,
    if_revision: Option<u64>,
}

#[derive(Deserialize)]
struct KeysArgs {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
}

#[derive(Deserialize)]
struct IncrementArgs {
    key: String,
    by: Option<i64>,
}

#[derive(Deserialize)]
struct CallArgs {
    plugin: String,
    action: Option<String>,
    input: Box<RawValue>,
    timeout_ms: Option<u64>,
}

impl AskFrame<'_> {
    /// The question, or what is wrong with it.
    pub fn into_call(self) -> Result<GuestCall, String> {
        let parent_id = self.parent_id.as_deref().and_then(SpanId::parse);
        match (self.service.as_str(), self.op.as_str()) {
            ("http", "request") => {
                let args: HttpArgs = self.args()?;
                Ok(GuestCall::Http(HttpRequest {
                    method: args.method,
                    url: args.url,
                    headers: args.headers,
                    body: args.body,
                    timeout: args.timeout_ms.map(Duration::from_millis),
                    parent_id,
                }))
            }
            ("kv", op) => {
                let operation = self.key_value(op)?;
                Ok(GuestCall::KeyValue(KeyValueRequest { operation, parent_id }))
            }
            ("plugin", "call") => {
                let args: CallArgs = self.args()?;
                json::check(args.input.get())
                    .map_err(|error| format!("the input is not usable JSON: {error}"))?;
                Ok(GuestCall::Plugin(PluginCall {
                    plugin: args.plugin,
                    action: args.action,
                    input: Arc::from(args.input),
                    timeout: args.timeout_ms.map(Duration::from_millis),
                    parent_id,
                }))
            }
            (service, op) => Err(format!("there is no service {service}.{op}")),
        }
    }

    fn key_value(&self, op: &str) -> Result<KeyValueOperation, String> {
        Ok(match op {
            "get" => KeyValueOperation::Get { key: self.args::<KeyArgs>()?.key },
            "set" => {
                let args: SetArgs = self.args()?;
                json::check(args.value.get())
                    .map_err(|error| format!("the value is not usable JSON: {error}"))?;
                KeyValueOperation::Set {
                    key: args.key,
                    value: Box::<str>::from(args.value).into(),
                    time_to_live: args.ttl_ms.map(Duration::from_millis),
                    if_revision: args.if_revision,
                }
            }
            "delete" => {
                let args: KeyArgs = self.args()?;
                KeyValueOperation::Delete { key: args.key, if_revision: args.if_revision }
            }
            "keys" => {
                let args: KeysArgs = self.args()?;
                KeyValueOperation::Keys { prefix: args.prefix, after: args.after }
            }
            "increment" => {
                let args: IncrementArgs = self.args()?;
                KeyValueOperation::Increment { key: args.key, by: args.by.unwrap_or(1) }
            }
            _ => return Err(format!("there is no service kv.{op}")),
        })
    }

    fn args<T: DeserializeOwned>(&self) -> Result<T, String> {
        let text = self.args.map_or("{}", RawValue::get);
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GuestCall, String> {
        serde_json::from_str::<AskFrame<'_>>(text).map_err(|error| error.to_string())?.into_call()
    }

    #[test]
    fn inputs_and_values_keep_the_text_in_which_they_came() {
        let call = read(
            r#"{"service":"plugin","op":"call","parent_id":"00f067aa0ba902b7",
                "args":{"plugin":"b","input":{"n": 1.10}}}"#,
        );
        let Ok(GuestCall::Plugin(call)) = call else { panic!("{call:?}") };
        assert_eq!(call.input.get(), r#"{"n": 1.10}"#);
        assert_eq!(call.parent_id, SpanId::parse("00f067aa0ba902b7"));
        let set = read(r#"{"service":"kv","op":"set","args":{"key":"k","value": [1.10],"ttl_ms":5}}"#);
        let Ok(GuestCall::KeyValue(set)) = set else { panic!("{set:?}") };
        let KeyValueOperation::Set { value, time_to_live, if_revision: None, .. } = set.operation else {
            panic!()
        };
        assert_eq!((value.as_str(), time_to_live), ("[1.10]", Some(Duration::from_millis(5))));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_reason() {
        for (frame, reason) in [
            (r#"{"service":"mail","op":"send"}"#, "there is no service mail.send"),
            (r#"{"service":"kv","op":"drop"}"#, "there is no service kv.drop"),
            (r#"{"service":"kv","op":"get"}"#, "missing field `key`"),
            (r#"{"service":"kv","op":"set","args":{"key":"k","value":"\ud800"}}"#, "not usable JSON"),
            (r#"{"service":"plugin","op":"call","args":{"plugin":"b"}}"#, "missing field `input`"),
        ] {
            let error = read(frame).unwrap_err();
            assert!(error.contains(reason), "{frame}: {error}");
        }
    }
}
