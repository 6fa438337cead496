//! What guests may ask of the host, one file a service. Whatever is asked stands as a span in the caller's
//! trace, and nothing takes longer than the call that asks.
//!
//! These files must never reach for the host: a guest's call of another plugin goes through the door that its
//! context brings.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::model::guest::{GuestAnswer, GuestCall};
use crate::pipeline::{GuestContext, GuestServices};
use crate::runtimes::BoxFuture;
use crate::store::Store;

mod call;
mod http;
mod key_value;
mod stub;

pub use stub::StubServices;

use http::Http;
use key_value::KeyValues;

/// The services of a serving host.
pub struct LiveServices {
    http: Http,
    key_values: KeyValues,
}

impl LiveServices {
    /// Without a store, what plugins keep is forgotten with the process.
    pub fn new(store: Option<Arc<Store>>) -> LiveServices {
        LiveServices { http: Http::default(), key_values: KeyValues::new(store) }
    }
}

impl GuestServices for LiveServices {
    fn answer(&self, call: GuestCall, context: GuestContext) -> BoxFuture<'static, GuestAnswer> {
        match call {
            GuestCall::Http(request) => self.http.answer(request, context),
            GuestCall::KeyValue(request) => self.key_values.answer(request, context),
            GuestCall::Plugin(call) => call::answer(call, context),
        }
    }
}

/// For hosts that need one and the same object in two roles.
impl<T: GuestServices + ?Sized> GuestServices for Arc<T> {
    fn answer(&self, call: GuestCall, context: GuestContext) -> BoxFuture<'static, GuestAnswer> {
        (**self).answer(call, context)
    }
}

fn json(value: &impl Serialize) -> Arc<RawValue> {
    to_raw_value(value).expect("what the host answers has string keys").into()
}
