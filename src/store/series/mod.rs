//! The built-in time series: what each version of each plugin did, second by second for a while, then by ten seconds
//! and by minutes. They answer at once and without Prometheus; they count every call, also those that the ledger has no
//! row of. They never make a call wait and never fail it: the file that keeps them over a restart is written by a
//! thread of its own, and what it does not take stays in memory.
//!
//! Read `slot.rs` (what is counted, quantiles), `book.rs` (for whom, bounds), then `file.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::telemetry::events::{SeriesRecovered, SeriesWriteFailed};
use crate::telemetry::{Record, Sink, Telemetry, background};

use super::Store;
use super::error::Error;
use super::folder::Lock;

mod book;
mod file;
mod query;
mod slot;
mod tier;

pub use book::{Bounds, Example, OTHER, OVERFLOW};
pub use query::{Line, Lines, STEPS_S, SeriesFilter};
pub use slot::{BUCKETS, Ended, Slot};
pub use tier::Resolution;

use book::Book;
use file::{File, Found};

/// A kill loses at most so much, and what telemetry has not yet handed over.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// How often old steps are deleted from the file.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
const SERIES_MAX: usize = 500;
const STEPS_MAX: usize = 400_000;
/// How much of an error message is kept.
const MESSAGE_BYTES_MAX: usize = 512;

/// Checked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesSettings {
    pub bounds: Bounds,
    pub save_every: Duration,
}

/// What the series cost, and what did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeriesStats {
    pub series: usize,
    pub steps: usize,
    /// Calls that were counted under `_overflow`, since the start.
    pub overflowed: u64,
    /// The last write was taken.
    pub writable: bool,
}

/// The series of an owned folder. Dropping it writes what the file does not have.
pub struct Series {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Nobody else may own the folder while this writes.
    _lock: Arc<Lock>,
}

struct Shared {
    bounds: Bounds,
    book: Mutex<Book>,
    state: Mutex<State>,
    /// The thread waits here.
    wake: Condvar,
    telemetry: OnceLock<Telemetry>,
}

#[derive(Default)]
struct State {
    closed: bool,
    failing: Option<String>,
    /// Rounds of the thread that are over.
    rounds: u64,
    /// Small texts that are kept beside the steps.
    notes: BTreeMap<String, String>,
    notes_changed: Vec<String>,
    /// What happened before there was telemetry to tell.
    untold: Vec<String>,
}

/// Counts ended calls, on the telemetry thread.
pub struct SeriesSink(Arc<Shared>);

impl SeriesSettings {
    /// Minutes are kept as long as `age`, a week at most.
    pub fn with_age(age: Duration) -> SeriesSettings {
        let mut settings = SeriesSettings::default();
        let week = settings.bounds.resolutions[2].keep_s;
        for resolution in &mut settings.bounds.resolutions {
            let age = u32::try_from(age.as_secs()).unwrap_or(week).clamp(60, week);
            resolution.keep_s = resolution.keep_s.min(age);
        }
        settings
    }
}

impl Default for SeriesSettings {
    fn default() -> SeriesSettings {
        let resolution = |width_s, keep_s| Resolution { width_s, keep_s };
        SeriesSettings {
            bounds: Bounds {
                series_max: SERIES_MAX,
                steps_max: STEPS_MAX,
                resolutions: [
                    resolution(1, 15 * 60),
                    resolution(10, 6 * 3_600),
                    resolution(60, 7 * 24 * 3_600),
                ],
            },
            save_every: SAVE_EVERY,
        }
    }
}

impl Series {
    /// Takes in what was kept. A damaged file is set aside; a disk that takes nothing now is no error.
    pub fn open(store: &Store, settings: &SeriesSettings) -> Result<Series, Error> {
        let shared = Arc::new(Shared {
            bounds: settings.bounds,
            book: Mutex::new(Book::new(settings.bounds)),
            state: Mutex::default(),
            wake: Condvar::new(),
            telemetry: OnceLock::new(),
        });
        let path = store.folder().series();
        let mut keeper = Keeper { shared: shared.clone(), file: File::new(path.clone()), loaded: false };
        if let Err(error @ (Error::SchemaTooNew { .. } | Error::SchemaTooOld { .. })) = keeper.ready() {
            return Err(error);
        }
        let save_every = settings.save_every;
        let thread = std::thread::Builder::new()
            .name("series".into())
            .spawn(move || {
                background::step_back();
                keeper.run(save_every);
            })
            .map_err(Error::io("start the writer of", &path))?;
        Ok(Series { shared, thread: Mutex::new(Some(thread)), _lock: store.lock.clone() })
    }

    /// What `Telemetry::start` is given.
    pub fn sink(&self) -> SeriesSink {
        SeriesSink(self.shared.clone())
    }

    /// From now on faults of the file become events; those until now, at once.
    pub fn report_to(&self, telemetry: &Telemetry) {
        if self.shared.telemetry.set(telemetry.clone()).is_ok() {
            for message in std::mem::take(&mut self.shared.state().untold) {
                telemetry.emit(SeriesWriteFailed { message: &message });
            }
        }
    }

    /// Keeps a small text over a restart; it is written with the next steps.
    pub fn set_note(&self, name: &str, value: String) {
        let mut state = self.shared.state();
        state.notes.insert(name.to_owned(), value);
        state.notes_changed.push(name.to_owned());
    }

    pub fn note(&self, name: &str) -> Option<String> {
        self.shared.state().notes.get(name).cloned()
    }

    pub fn stats(&self) -> SeriesStats {
        let book = self.shared.book();
        let (series, steps) = book.counts();
        let overflowed = book.overflowed;
        drop(book);
        SeriesStats { series, steps, overflowed, writable: self.shared.state().failing.is_none() }
    }

    pub fn bounds(&self) -> &Bounds {
        &self.shared.bounds
    }

    /// Writes what the file does not have and ends the thread. Idempotent. Blocks.
    pub fn close(&self) {
        self.shared.state().closed = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic in it was its own affair.
            let _ = thread.join();
        }
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for SeriesSink {
    fn accept(&mut self, batch: &[Record]) {
        let now = unix_s(SystemTime::now());
        let mut book = self.0.book();
        for record in batch {
            let Record::Invocation(call) = record else { continue };
            let ended = Ended {
                outcome: call.outcome,
                kind: call.error.as_ref().map(|error| error.kind),
                reached_attempt: call.attempts > 0,
                duration: call.duration,
                queue: call.queue,
                cpu: call.usage.cpu,
                memory_peak_bytes: call.usage.memory_peak_bytes,
                cold_start: call.cold_start,
            };
            let at_unix_ns = call.ended_unix_ns();
            let example = || Example {
                at_unix_ns,
                kind: ended.kind,
                message: call.error.as_ref().map_or_else(String::new, |error| {
                    crate::model::text::truncate(&error.message, MESSAGE_BYTES_MAX).to_owned()
                }),
                duration_ns: u64::try_from(call.duration.as_nanos()).unwrap_or(u64::MAX),
                invocation_id: call.invocation_id.to_string(),
                trace_id: call.trace_id.to_string(),
            };
            book.count(&call.plugin, call.version.as_ref(), &ended, at_unix_ns, now, example);
        }
    }
}

/// The thread.
struct Keeper {
    shared: Arc<Shared>,
    file: File,
    loaded: bool,
}

impl Keeper {
    fn run(mut self, save_every: Duration) {
        let mut expire_at = Instant::now();
        loop {
            let state = self.shared.state();
            let waits = |state: &mut State| !state.closed;
            let waited = self.shared.wake.wait_timeout_while(state, save_every, waits);
            let closed = waited.unwrap_or_else(PoisonError::into_inner).0.closed;
            self.save();
            self.shared.state().rounds += 1;
            if Instant::now() >= expire_at {
                expire_at = Instant::now() + EXPIRE_EVERY;
                let now = unix_s(SystemTime::now());
                self.shared.book().expire(now);
                let expired = self.file.expire(&self.shared.bounds, now);
                tracing::debug!(?expired, "old steps");
            }
            if closed {
                return;
            }
        }
    }

    /// Opens the file, and reads it the first time.
    fn ready(&mut self) -> Result<(), Error> {
        let mut ready = self.try_ready();
        if let Err(Error::Corrupt { detail, .. }) = &ready {
            let aside = self.file.set_aside()?;
            self.tell(format!("the file was damaged ({detail}) and moved to `{}`", aside.display()));
            // Half of it may have been read: what is in memory counts.
            self.loaded = true;
            ready = self.try_ready();
        }
        ready
    }

    fn try_ready(&mut self) -> Result<(), Error> {
        if self.file.connect()? == Found::Same && self.loaded {
            return Ok(());
        }
        if self.loaded {
            // A file that could not be emptied is another one again the next time.
            self.file.empty().inspect_err(|_| self.file.forget())?;
            self.shared.book().all_changed();
            let mut state = self.shared.state();
            state.notes_changed = state.notes.keys().cloned().collect();
            return Ok(());
        }
        // Numbers of a file that was not read must not be given again.
        let loaded = self.file.load(&self.shared.bounds).inspect_err(|_| self.file.forget())?;
        self.loaded = true;
        let now = unix_s(SystemTime::now());
        let mut book = self.shared.book();
        book.renumber(loaded.last_id);
        for step in &loaded.steps {
            book.load(step, now);
        }
        drop(book);
        let mut state = self.shared.state();
        for (name, value) in loaded.notes {
            state.notes.entry(name).or_insert(value);
        }
        let since = state.notes.get(SINCE).and_then(|since| since.parse().ok());
        drop(state);
        let mut book = self.shared.book();
        book.since = match (book.since, since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Ok(())
    }

    fn save(&mut self) {
        let ready = self.ready();
        let (changes, since) = {
            let mut book = self.shared.book();
            // Without a file they stay where they are.
            (if ready.is_ok() { book.take_changes() } else { Vec::new() }, book.since)
        };
        let notes: Vec<(String, String)> = {
            let mut state = self.shared.state();
            if let Some(since) = since.map(|since| since.to_string())
                && state.notes.get(SINCE) != Some(&since)
            {
                state.notes.insert(SINCE.to_owned(), since);
                state.notes_changed.push(SINCE.to_owned());
            }
            let changed = std::mem::take(&mut state.notes_changed);
            changed
                .into_iter()
                .filter_map(|name| Some((name.clone(), state.notes.get(&name)?.clone())))
                .collect()
        };
        let failing = self.shared.state().failing.is_some();
        if ready.is_ok() && changes.is_empty() && notes.is_empty() && !failing {
            return;
        }
        let saved = ready.and_then(|()| self.file.save(&self.shared.bounds, &changes, &notes));
        if let Err(error) = &saved {
            self.shared.book().put_back(&changes);
            self.shared.state().notes_changed.extend(notes.into_iter().map(|(name, _)| name));
            match error {
                // The next round begins a new one, and writes all that is in memory.
                Error::Corrupt { .. } => match self.file.set_aside() {
                    Ok(_) => self.loaded = true,
                    Err(error) => tracing::debug!(%error, "the damaged file"),
                },
                // After these the connection is sound.
                Error::DiskFull { .. } | Error::Busy { .. } => {}
                _ => self.file.close(),
            }
        }
        self.note_outcome(saved.err());
    }

    fn note_outcome(&self, error: Option<Error>) {
        let failing = error.map(|error| error.to_string());
        let was = std::mem::replace(&mut self.shared.state().failing, failing.clone());
        match (was, failing) {
            (None, Some(message)) => self.tell(message),
            (Some(_), None) => {
                if let Some(telemetry) = self.shared.telemetry.get() {
                    telemetry.emit(SeriesRecovered);
                }
            }
            _ => {}
        }
    }

    fn tell(&self, message: String) {
        match self.shared.telemetry.get() {
            Some(telemetry) => telemetry.emit(SeriesWriteFailed { message: &message }),
            None => self.shared.state().untold.push(message),
        }
    }
}

/// The note that says since when is counted.
const SINCE: &str = "since";

pub(super) fn unix_s(time: SystemTime) -> u32 {
    u32::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
        .unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
