//! What plugins keep: JSON values under keys, each plugin in a space of its own. One thread owns the file and
//! answers in order; what comes in while it writes goes to the disk together, with one sync for all. A change
//! is on the disk before it is answered.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::model::guest::KeyValueOperation;
use crate::model::units::format_bytes;

use super::database::{self, Access, Schema};
use super::error::Error;

mod table;
#[cfg(test)]
mod tests;
mod writer;

use writer::Writer;

pub const KEY_BYTES_MAX: usize = 512;
pub const VALUE_BYTES_MAX: usize = 256 << 10;
/// Of one plugin.
pub const KEYS_MAX: u64 = 10_000;
/// Keys and values of one plugin together.
pub const PLUGIN_BYTES_MAX: u64 = 64 << 20;
/// Keys in one answer.
pub const PAGE_KEYS_MAX: usize = 1_000;
/// Operations that wait for the thread; as many values may lie in memory.
const QUEUE_MAX: usize = 256;

pub(in crate::store) const SCHEMA: Schema = Schema {
    durable: true,
    steps: &["
        CREATE TABLE entries (
            id INTEGER PRIMARY KEY,
            plugin TEXT NOT NULL,
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            revision INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            expires_at_ns INTEGER,
            UNIQUE (plugin, key)
        ) STRICT;
        CREATE INDEX entries_by_expiry ON entries (expires_at_ns) WHERE expires_at_ns IS NOT NULL;
        CREATE TABLE plugins (
            plugin TEXT NOT NULL PRIMARY KEY,
            keys INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            revision INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE clock (
            one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
            now_ns INTEGER NOT NULL
        ) STRICT;
    "],
};

/// `kv.db`, or its like in memory.
pub struct KeyValueStore {
    /// `None` only while it is dropped.
    questions: Option<SyncSender<Question>>,
    thread: Option<JoinHandle<()>>,
}

/// One value and the revision at which it was written. Revisions of a plugin only ever rise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValueEntry {
    /// JSON, as it was given.
    pub value: String,
    pub revision: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyValueAnswer {
    Entry(Option<KeyValueEntry>),
    Written {
        revision: u64,
    },
    /// Whether there was something.
    Deleted(bool),
    Counted {
        value: i64,
        revision: u64,
    },
    /// `next`: the last of these keys, if there are more after it.
    Keys {
        keys: Vec<String>,
        next: Option<String>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum KeyValueError {
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes, this one has {bytes}")]
    BadKey { bytes: usize },
    #[error("the value has {bytes} bytes; the limit is {}", format_bytes(VALUE_BYTES_MAX as u64))]
    ValueTooLarge { bytes: usize },
    #[error(
        "{plugin} keeps {keys} keys and {}; the limits are {KEYS_MAX} and {}",
        format_bytes(*bytes), format_bytes(PLUGIN_BYTES_MAX)
    )]
    Full { plugin: String, keys: u64, bytes: u64 },
    #[error("the key {key:?} is at revision {found}, not at {expected}")]
    Conflict { key: String, expected: u64, found: u64 },
    #[error(
        "the value of {key:?} cannot be counted up: it is no integer, or the sum has no place in 64 bits"
    )]
    NotAnInteger { key: String },
    #[error("too many operations of plugins on what they keep wait already")]
    Overloaded,
    #[error("what plugins keep can neither be read nor written now")]
    Stopped,
    #[error(transparent)]
    Store(#[from] Error),
}

impl KeyValueError {
    /// The short word by which a plugin knows it.
    pub const fn kind(&self) -> &'static str {
        match self {
            KeyValueError::BadKey { .. } => "bad_key",
            KeyValueError::ValueTooLarge { .. } => "value_too_large",
            KeyValueError::Full { .. } => "kv_full",
            KeyValueError::Conflict { .. } => "conflict",
            KeyValueError::NotAnInteger { .. } => "not_an_integer",
            KeyValueError::Overloaded => "overloaded",
            KeyValueError::Stopped => "unavailable",
            KeyValueError::Store(error) => error.kind().as_str(),
        }
    }
}

type Answered = Result<KeyValueAnswer, KeyValueError>;

/// An operation on its way to the thread.
struct Question {
    plugin: Arc<str>,
    operation: KeyValueOperation,
    answer: oneshot::Sender<Answered>,
}

/// What the engine finds wrong with the file. Works beside its owner.
pub(super) fn check(path: &Path) -> Result<Vec<String>, Error> {
    let connection = database::open(path, &SCHEMA, Access::Reader)?;
    database::quick_check(&connection).map_err(Error::engine(path))
}

impl KeyValueStore {
    pub(super) fn open(path: &Path) -> Result<KeyValueStore, Error> {
        let writer = Writer::new(path, database::open(path, &SCHEMA, Access::Owner)?)?;
        KeyValueStore::start(path, writer)
    }

    /// One that is forgotten when it is dropped.
    pub fn in_memory() -> Result<KeyValueStore, Error> {
        let path = Path::new(":memory:");
        let writer = Writer::new(path, database::open_in_memory(path, &SCHEMA)?)?;
        KeyValueStore::start(path, writer)
    }

    fn start(path: &Path, writer: Writer) -> Result<KeyValueStore, Error> {
        let (questions, asked) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("key-values".into());
        let thread =
            thread.spawn(move || writer.run(&asked)).map_err(Error::io("start a thread for", path))?;
        Ok(KeyValueStore { questions: Some(questions), thread: Some(thread) })
    }

    /// Hands an operation over at once; the future only waits. An operation whose future is dropped is done
    /// or not done.
    pub fn submit(
        &self,
        plugin: Arc<str>,
        operation: KeyValueOperation,
    ) -> impl Future<Output = Answered> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let question = Question { plugin, operation, answer };
        let sent = match &self.questions {
            Some(questions) => questions.try_send(question).map_err(|error| match error {
                TrySendError::Full(_) => KeyValueError::Overloaded,
                TrySendError::Disconnected(_) => KeyValueError::Stopped,
            }),
            None => Err(KeyValueError::Stopped),
        };
        async move {
            sent?;
            answered.await.map_err(|_| KeyValueError::Stopped)?
        }
    }
}

impl Drop for KeyValueStore {
    fn drop(&mut self) {
        // The thread answers what was asked before, and ends.
        drop(self.questions.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
