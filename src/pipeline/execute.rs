//! Execute: gets an instance, runs the call on it and takes in what the plugin says meanwhile. The end of
//! the stack.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{BoxFuture, Call, GuestContext, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::guest::{GuestAnswer, GuestCall, GuestLog, GuestMetric, GuestSpan};
use crate::model::ids::SpanId;
use crate::runtimes::pool::Pool;
use crate::runtimes::{CallRequest, Guest};
use crate::telemetry::SpanRef;
use crate::telemetry::names::span;

pub struct Execute {
    pool: Arc<Pool>,
}

impl Execute {
    pub fn new(pool: Arc<Pool>) -> Execute {
        Execute { pool }
    }
}
