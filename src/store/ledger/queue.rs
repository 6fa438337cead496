//! The bounded queue between whoever records and the writer. It never waits for room: what does not fit is
//! counted.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::store::error::Error;

use super::rows::Row;
use super::tally::Tally;

/// Named bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub rows_max: usize,
    pub bytes_max: usize,
    /// A batch has at most so many rows and bytes (one row may have more) and waits at most so long for more.
    pub batch_rows_max: usize,
    pub batch_bytes_max: usize,
    pub batch_wait: Duration,
}

/// Log records take no more than this part of the queue: lines push out lines, never the ending of a call.
const LOGS_PART: (usize, usize) = (3, 4);

/// Work for the writer with the open file, or with why there is none.
pub(super) type Errand = Box<dyn FnOnce(Result<&mut Connection, Error>) + Send>;

pub(super) struct Queue {
    bounds: Bounds,
    state: Mutex<State>,
    /// The writer waits here.
    arrived: Condvar,
    /// Those who flush wait here.
    settled: Condvar,
}

#[derive(Default)]
struct State {
    rows: VecDeque<Row>,
    bytes: usize,
    /// Rows taken into the queue, ever, and those of them that were written or given up.
    accepted: u64,
    settled: u64,
    /// Rows that did not fit, ever.
    refused: u64,
    /// Refused calls, and records of floods, that are not to have a row, ever.
    left_out: u64,
    sampled: u64,
    /// Counts that no commit has taken.
    tally: Tally,
    /// How often counts came, and how often of that they were settled.
    tallied: u64,
    tally_taken: u64,
    tally_settled: u64,
    /// Write at once until so many are settled.
    flush_to: u64,
    flush_tally: u64,
    oldest_at: Option<Instant>,
    errands: VecDeque<Errand>,
    closed: bool,
}

/// What the writer is to do next.
pub(super) enum Next {
    Write(Vec<Row>, Tally),
    Run(Errand),
    /// Nothing came in time.
    Idle,
    /// The queue is closed and empty.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub rows: usize,
    pub bytes: usize,
    pub accepted: u64,
    pub refused: u64,
    pub left_out: u64,
    pub sampled: u64,
}

impl Queue {
    pub fn new(bounds: Bounds) -> Queue {
        Queue { bounds, state: Mutex::default(), arrived: Condvar::new(), settled: Condvar::new() }
    }

    /// Takes what fits, in order; the rest is counted as refused.
    pub fn push(&self, rows: impl IntoIterator<Item = Row>) {
        let mut state = self.lock();
        let was_below = !self.fills_a_batch(&state);
        let was_empty = state.rows.is_empty();
        for row in rows {
            let bytes = row.bytes();
            let (part, of) = if matches!(row, Row::Log(_)) { LOGS_PART } else { (1, 1) };
            let (rows_max, bytes_max) = (self.bounds.rows_max * part / of, self.bounds.bytes_max * part / of);
            let fits = state.rows.len() < rows_max && state.bytes + bytes <= bytes_max;
            if state.closed || !fits {
                state.refused += 1;
                continue;
            }
            state.bytes += bytes;
            state.accepted += 1;
            state.rows.push_back(row);
        }
        if was_empty && !state.rows.is_empty() {
            state.oldest_at.get_or_insert_with(Instant::now);
            self.arrived.notify_one();
        } else if was_below && self.fills_a_batch(&state) {
            self.arrived.notify_one();
        }
    }

    /// Waits at most `patience` for rows, then for a batch to fill up.
    pub fn take(&self, patience: Duration) -> Next {
        let idle_at = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some(errand) = state.errands.pop_front() {
                return Next::Run(errand);
            }
            let wake_at = match state.oldest_at {
                None if state.closed => return Next::Closed,
                // Counts that could not be written before.
                None if now >= idle_at && !state.tally.is_empty() => {
                    return Next::Write(Vec::new(), std::mem::take(&mut state.tally));
                }
                None if now >= idle_at => return Next::Idle,
                None => idle_at,
                Some(oldest_at) => {
                    let due_at = oldest_at + self.bounds.batch_wait;
                    let full = self.fills_a_batch(&state);
                    let hurry = state.closed
                        || state.flush_to > state.settled
                        || state.flush_tally > state.tally_settled;
                    if full || hurry || now >= due_at {
                        let rows = self.batch(&mut state);
                        state.tally_taken = state.tallied;
                        return Next::Write(rows, std::mem::take(&mut state.tally));
                    }
                    due_at
                }
            };
            let wait = wake_at.saturating_duration_since(now);
            state = self.arrived.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Says that so many of the rows taken are written, or given up and counted.
    pub fn settle(&self, rows: usize) {
        let mut state = self.lock();
        state.settled += rows as u64;
        state.tally_settled = state.tally_taken;
        drop(state);
        self.settled.notify_all();
    }

    /// Takes counts, which always fit; not once the queue is closed.
    pub fn tally(&self, tally: Tally) {
        if tally.is_empty() {
            return;
        }
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.tally.merge(tally);
        state.tallied += 1;
        if state.oldest_at.is_none() {
            state.oldest_at = Some(Instant::now());
            self.arrived.notify_one();
        }
    }

    /// Counts that could not be written: the next commit takes them. Nobody waits for them until then.
    pub fn tally_again(&self, tally: Tally) {
        self.lock().tally.merge(tally);
    }

    /// Waits until all that is in the queue now is settled. False: not within `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        let target = state.accepted;
        let tally = state.tallied;
        state.flush_to = state.flush_to.max(target);
        state.flush_tally = state.flush_tally.max(tally);
        self.arrived.notify_one();
        while state.settled < target || state.tally_settled < tally {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Has it done by the writer, before the rows that wait. Once the queue is closed it is dropped.
    pub fn send(&self, errand: Errand) {
        let mut state = self.lock();
        if !state.closed {
            state.errands.push_back(errand);
            self.arrived.notify_one();
        }
    }

    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Whether the next row has no chance: saves the work of making it.
    pub fn is_full(&self) -> bool {
        let state = self.lock();
        state.closed || state.rows.len() >= self.bounds.rows_max || state.bytes >= self.bounds.bytes_max
    }

    /// Counts rows that were not even made.
    pub fn refuse(&self, rows: u64) {
        self.lock().refused += rows;
    }

    /// Counts records that get no row although there would be room: refused calls, and those of floods.
    pub fn leave_out(&self, refusals: u64, sampled: u64) {
        if refusals + sampled > 0 {
            let mut state = self.lock();
            state.left_out += refusals;
            state.sampled += sampled;
        }
    }

    pub fn counts(&self) -> Counts {
        let state = self.lock();
        Counts {
            rows: state.rows.len(),
            bytes: state.bytes,
            accepted: state.accepted,
            refused: state.refused,
            left_out: state.left_out,
            sampled: state.sampled,
        }
    }

    fn fills_a_batch(&self, state: &State) -> bool {
        state.rows.len() >= self.bounds.batch_rows_max || state.bytes >= self.bounds.batch_bytes_max
    }

    fn batch(&self, state: &mut State) -> Vec<Row> {
        let mut batch = Vec::with_capacity(state.rows.len().min(self.bounds.batch_rows_max));
        let mut bytes = 0;
        while let Some(row) = state.rows.front() {
            let more = row.bytes();
            let fits =
                batch.len() < self.bounds.batch_rows_max && bytes + more <= self.bounds.batch_bytes_max;
            if !batch.is_empty() && !fits {
                break;
            }
            bytes += more;
            batch.extend(state.rows.pop_front());
        }
        state.bytes -= bytes;
        // What stays has waited already; it must not wait for a full round again.
        if state.rows.is_empty() {
            state.oldest_at = None;
        }
        batch
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
