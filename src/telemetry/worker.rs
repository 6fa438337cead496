//! The telemetry thread.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::metrics::{Metrics, lock};
use super::queue::Queue;
use super::record::{Record, Sink};

/// Nothing waits longer than this before it is drained.
pub const DRAIN_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    done: Condvar,
}

#[derive(Default)]
struct State {
    woken: bool,
    flush_wanted: u64,
    flush_done: u64,
    stop: bool,
    stopped: bool,
}

pub(super) fn start(
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    sinks: Vec<Box<dyn Sink>>,
) -> Result<Handle, std::io::Error> {
    let shared = Arc::new(Shared::default());
    let mut worker = Worker { queue, metrics, sinks, shared: shared.clone() };
    let thread = std::thread::Builder::new().name("telemetry".into()).spawn(move || worker.run())?;
    Ok(Handle { shared, thread: Mutex::new(Some(thread)) })
}

impl Handle {
    pub fn wake(&self) {
        lock(&self.shared.state).woken = true;
        self.shared.wake.notify_one();
    }

    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.shared.state);
        state.flush_wanted += 1;
        state.woken = true;
        let wanted = state.flush_wanted;
        self.shared.wake.notify_one();
        while state.flush_done < wanted && !state.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.flush_done >= wanted
    }

    pub fn shutdown(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.shared.state);
        state.stop = true;
        state.woken = true;
        self.shared.wake.notify_one();
        while !state.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.shared.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.stop = true;
        state.woken = true;
        self.shared.wake.notify_one();
    }
}

struct Worker {
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    sinks: Vec<Box<dyn Sink>>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(&mut self) {
        loop {
            let mut state = lock(&self.shared.state);
            if !state.woken {
                state = self
                    .shared
                    .wake
                    .wait_timeout(state, DRAIN_INTERVAL)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            state.woken = false;
            let (flush, stop) = (state.flush_wanted, state.stop);
            drop(state);
            if stop {
                self.queue.each(|shard| shard.close());
            }
            self.drain();
            let mut state = lock(&self.shared.state);
            state.flush_done = flush;
            state.stopped = stop;
            self.shared.done.notify_all();
            if stop {
                return;
            }
        }
    }

    fn drain(&mut self) {
        let mut batch = Vec::new();
        let mut refused = 0;
        self.queue.each(|shard| {
            batch.append(&mut shard.take(Vec::new()).0);
            refused += shard.take_refused_records();
        });
        if refused > 0 && !self.sinks.is_empty() {
            self.metrics.ledger_dropped("queue_full", refused);
        }
        if batch.is_empty() {
            return;
        }
        for sink in &mut self.sinks {
            sink.accept(&batch);
        }
        let recordings = batch.into_iter().filter_map(|record| match record {
            Record::Invocation(mut recording) => recording.clear().then_some(recording),
            Record::Log(_) | Record::Operation(_) => None,
        });
        self.queue.recycle(recordings.collect());
    }
}
