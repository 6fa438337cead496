//! `calls.db`: the durable queue of asynchronous calls, their results, and idempotency keys. Each change is
//! on the disk before it is acknowledged. Whoever ends a call does so here first: of two endings (a reply and
//! a cancellation, say) the one that finds the call without an ending counts.
//!
//! An input lies here whole until its call has ended, and an output as long as its result is kept: somebody
//! has still to run the one and to fetch the other. What is freed is overwritten.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde_json::value::RawValue;

use crate::model::error::InvokeError;
use crate::model::ids::{InvocationId, SpanId, TraceId};
use crate::model::invocation::{Delivery, Origin};
use crate::model::kind::Outcome;
use crate::model::trace_context::TraceContext;

use super::clock::{self, Clock};
use super::database::{self, Access};
use super::error::Error;

mod accept;
mod end;
mod keys;
mod prune;
mod purge;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod wait;

pub use keys::{Claim, Claimed, KeptReply};
pub use prune::Pruned;
pub use reader::{CallView, CallsReader};
pub use wait::PassedOver;

pub(super) use schema::{SCHEMA, keep};

/// A result and a key are kept so long after the call's end.
pub const KEPT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How much the file may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Asynchronous calls that wait or run, in all and of one plugin.
    pub calls_max: u64,
    pub calls_per_plugin_max: u64,
    /// Bytes of their inputs.
    pub input_bytes_max: u64,
    pub input_bytes_per_plugin_max: u64,
    /// Results of asynchronous calls that are kept, and the bytes of their outputs: beyond it the oldest go.
    pub results_max: u64,
    pub result_bytes_max: u64,
    /// Idempotency keys that are kept, and the bytes of their replies: beyond it new keys are refused, since
    /// one that goes before its time would let a call be made twice.
    pub keys_max: u64,
    pub key_bytes_max: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            calls_max: 50_000,
            calls_per_plugin_max: 10_000,
            input_bytes_max: 512 << 20,
            input_bytes_per_plugin_max: 128 << 20,
            results_max: 50_000,
            result_bytes_max: 256 << 20,
            keys_max: 100_000,
            key_bytes_max: 256 << 20,
        }
    }
}

/// A call to be kept until it is run.
#[derive(Clone, Debug)]
pub struct NewCall {
    pub ids: Delivery,
    pub parent: Option<TraceContext>,
    pub origin: Origin,
    pub plugin: Arc<str>,
    /// The range that the caller asked for.
    pub version: Option<String>,
    pub action: Arc<str>,
    pub timeout: Option<Duration>,
    pub input: Arc<RawValue>,
    pub claim: Option<Claim>,
}

/// A call out of the queue.
#[derive(Clone, Debug)]
pub struct QueuedCall {
    pub call: NewCall,
    /// How many deliveries in a row the runner died under.
    pub deaths: u32,
    /// For how long it waits.
    pub age: Duration,
}

/// How a delivery ended the call.
#[derive(Clone, Copy, Debug)]
pub struct CallEnd<'a> {
    pub outcome: Outcome,
    pub version: Option<&'a str>,
    pub attempts: u32,
    pub duration: Duration,
    pub cold_start: bool,
    pub error: Option<&'a InvokeError>,
    pub output: Option<&'a RawValue>,
}

impl CallEnd<'_> {
    /// A failure of which nothing else is known.
    pub const fn nothing() -> CallEnd<'static> {
        CallEnd {
            outcome: Outcome::Failed,
            version: None,
            attempts: 0,
            duration: Duration::ZERO,
            cold_start: false,
            error: None,
            output: None,
        }
    }
}

/// What became of the wish to enqueue a call.
#[derive(Debug)]
pub enum Accepted {
    Queued,
    /// An earlier call under its key has replied. The call is kept as ended, with that reply.
    Replayed(KeptReply),
}

/// What [`Calls::cancel`] found.
#[derive(Debug)]
pub enum Cancelled {
    /// It had not begun; nobody else will end it.
    Queued(Box<QueuedCall>),
    /// It has ended here; whoever runs it has still to stop.
    Running,
    /// It had ended before.
    Done,
    Unknown,
}

/// `calls.db`. All methods block on the disk.
pub struct Calls {
    path: PathBuf,
    bounds: Bounds,
    state: Mutex<State>,
}

struct State {
    connection: Connection,
    clock: Clock,
    /// Calls without an ending, by plugin.
    loads: HashMap<Arc<str>, Load>,
    kept: prune::Kept,
}

/// What a plugin has in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    waiting: u64,
    running: u64,
    input_bytes: u64,
}

impl Calls {
    /// Opens the file as the owner of the folder: what a killed process was running waits again, and the keys
    /// of its synchronous calls are free.
    pub(super) fn open(path: &Path, bounds: Bounds) -> Result<Calls, Error> {
        let connection = database::open(path, &schema::SCHEMA, Access::Owner)?;
        let engine = Error::engine(path);
        connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(())).map_err(&engine)?;
        connection.execute_batch(schema::RECOVER).map_err(&engine)?;
        let clock = Clock::of(&connection).map_err(&engine)?;
        let loads = wait::loads(&connection).map_err(&engine)?;
        let kept = prune::Kept::count(&connection).map_err(&engine)?;
        let state = Mutex::new(State { connection, clock, loads, kept });
        Ok(Calls { path: path.to_path_buf(), bounds, state })
    }

    /// One transaction, on the disk when it returns.
    fn write<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>, &mut Count<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.lock();
        let State { connection, clock, loads, kept } = &mut *state;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(self.engine())?;
        let now_ns = clock.now();
        let changes_before = transaction.total_changes();
        // Counted apart until it is certain.
        let mut count = Count { now_ns, bounds: self.bounds, loads, changes: Vec::new(), kept: *kept };
        let result = change(&transaction, &mut count)?;
        let Count { changes, kept: kept_now, .. } = count;
        // A look that found nothing costs no sync of the disk.
        if transaction.total_changes() > changes_before {
            clock::write_down(&transaction, now_ns).map_err(self.engine())?;
        }
        transaction.commit().map_err(self.engine())?;
        changes.into_iter().for_each(|(plugin, change)| change.apply(loads, plugin));
        *kept = kept_now;
        Ok(result)
    }

    /// A panic of another thread left no transaction open: dropping one rolls it back.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn engine(&self) -> impl Fn(rusqlite::Error) -> Error + use<> {
        Error::engine(&self.path)
    }
}

/// What is counted beside the file, as it was and as it will be if the transaction succeeds.
struct Count<'a> {
    /// The moment of the change, by the clock of the file.
    now_ns: i64,
    bounds: Bounds,
    loads: &'a HashMap<Arc<str>, Load>,
    changes: Vec<(Arc<str>, Change)>,
    kept: prune::Kept,
}

/// By how much a load changes.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    waiting: i64,
    running: i64,
    input_bytes: i64,
}

impl Change {
    fn apply(self, loads: &mut HashMap<Arc<str>, Load>, plugin: Arc<str>) {
        let load = loads.entry(plugin.clone()).or_default();
        load.waiting = load.waiting.saturating_add_signed(self.waiting);
        load.running = load.running.saturating_add_signed(self.running);
        load.input_bytes = load.input_bytes.saturating_add_signed(self.input_bytes);
        if *load == Load::default() {
            loads.remove(&plugin);
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn origin_text(origin: Origin) -> &'static str {
    match origin {
        Origin::Network => "network",
        Origin::Local => "local",
    }
}

/// A row of `calls` with everything that running it needs.
fn read_queued(row: &rusqlite::Row<'_>, now_ns: i64) -> rusqlite::Result<QueuedCall> {
    let damaged = |column: usize| {
        let what = "a call in the queue cannot be read".into();
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, what)
    };
    let trace_id = TraceId::from_bytes(row.get(1)?).ok_or_else(|| damaged(1))?;
    let span = |bytes: [u8; 8]| SpanId::from_bytes(bytes);
    let parent: Option<[u8; 8]> = row.get(3)?;
    let text = |column| row.get::<_, Option<String>>(column).map(|text| text.map(Arc::from));
    let (tracestate, baggage) = (text(5)?, text(6)?);
    let parent = parent.and_then(span).map(|span_id| TraceContext {
        trace_id,
        span_id,
        flags: row.get(4).unwrap_or_default(),
        tracestate,
        baggage,
    });
    let timeout: Option<i64> = row.get(11)?;
    let since_ns: i64 = row.get(16)?;
    Ok(QueuedCall {
        call: NewCall {
            ids: Delivery {
                invocation_id: read_id(row, 0)?,
                trace_id,
                root_span_id: span(row.get(2)?).ok_or_else(|| damaged(2))?,
                accepted_at_unix_ns: row.get::<_, i64>(13)?.unsigned_abs(),
                attempts: row.get(14)?,
            },
            parent,
            origin: if row.get_ref(7)?.as_str()? == "network" { Origin::Network } else { Origin::Local },
            plugin: row.get::<_, String>(8)?.into(),
            version: row.get(9)?,
            action: row.get::<_, String>(10)?.into(),
            timeout: timeout.map(|ns| Duration::from_nanos(ns.unsigned_abs())),
            input: RawValue::from_string(row.get(12)?).map_err(|_| damaged(12))?.into(),
            claim: None,
        },
        deaths: row.get(15)?,
        age: Duration::from_nanos(u64::try_from(now_ns.saturating_sub(since_ns)).unwrap_or(0)),
    })
}

fn read_id(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<InvocationId> {
    row.get(column).map(|bytes| InvocationId::new(uuid::Uuid::from_bytes(bytes)))
}

/// What [`read_queued`] reads.
const QUEUED_COLUMNS: &str = "invocation_id, trace_id, root_span_id, parent_span_id, parent_flags, tracestate, \
     baggage, origin, plugin, version_asked, action, timeout_ns, input, accepted_at_ns, attempts, deaths, since_ns";
