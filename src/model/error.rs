//! Why an invocation failed, as data: the kind decides labels, status codes and retries.

use std::time::Duration;

use super::ids::InvocationId;
use super::kind::{Blame, ErrorKind};

/// The error of an invocation. `message` is lower case, without a full stop, and names the thing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct InvokeError {
    pub kind: ErrorKind,
    pub message: String,
    /// What the reader can do about it.
    pub help: Option<String>,
    /// Where a document did not fit its schema.
    pub fields: Vec<FieldError>,
    pub retry_after: Option<Duration>,
    /// What the plugin itself raised.
    pub exception: Option<Box<GuestException>>,
    /// The call that stands in the way of this one.
    pub in_flight: Option<InvocationId>,
}

/// One place in a JSON document, by RFC 6901 pointer, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub pointer: String,
    pub message: String,
}

/// An exception of the plugin's language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestException {
    pub type_name: String,
    pub traceback: String,
}

impl InvokeError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> InvokeError {
        InvokeError {
            kind,
            message: message.into(),
            help: None,
            fields: Vec::new(),
            retry_after: None,
            exception: None,
            in_flight: None,
        }
    }

    pub fn help(mut self, help: impl Into<String>) -> InvokeError {
        self.help = Some(help.into());
        self
    }

    pub fn retry_after(mut self, wait: Duration) -> InvokeError {
        self.retry_after = Some(wait);
        self
    }

    pub const fn blame(&self) -> Blame {
        self.kind.blame()
    }
}
