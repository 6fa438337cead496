//! What happens, as it happens: every ended call, log line, change of a plugin and alert, for readers who follow.
//!
//! Messages lie in one ring (`ring.rs`) that readers go through at their own pace, so that a slow one costs nobody
//! anything and one that was away for a moment goes on where it was. What nobody has asked for lately is not even
//! written. Nothing here waits: what does not fit is left out, counted, and said to the reader whom it concerns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use crate::model::guest::{LogStream, Severity};
use crate::model::kind::Blame;
use crate::store::{InvocationView, LogView};
use crate::telemetry::{LogRecord, Record, RecordingData, Sink};

mod filter;
mod ring;

pub use filter::Filter;
pub use ring::{LeftOut, Lost, Message, Topic};

use ring::{Facets, Ring};

/// Readers at once. Each is a connection that stays open.
const READERS_MAX: usize = 64;
/// A topic is written for so long after its last reader has gone: he may come back.
const LINGER: Duration = Duration::from_secs(60);
/// Messages that a reader is given at once.
const BATCH_MAX: usize = 256;

/// Messages that are looked at while the ring is held: the telemetry thread wants it, too.
const LOOK_MAX: u64 = 512;

/// Where a reader stands, as he is told and tells: which process it was, and the number of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub boot: u32,
    pub seq: u64,
}

/// The ring, and who reads it. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// The number of the newest message; `None`: it is over.
    head: watch::Sender<Option<u64>>,
    /// Tells numbers of this process from those of an earlier one.
    boot: u32,
}

#[derive(Default)]
struct State {
    ring: Ring,
    readers: usize,
    /// By topic: its readers, and until when it is written after the last one.
    wanted: [Wanted; Topic::ALL.len()],
    /// Messages that readers were not given, ever.
    missed: u64,
}

#[derive(Clone, Copy, Default)]
struct Wanted {
    readers: usize,
    until: Option<Instant>,
}

/// What a reader gets.
#[derive(Debug)]
pub enum News {
    Messages(Vec<Arc<Message>>),
    Lost(Lost),
}

/// One who follows. Dropping it ends that.
pub struct Following {
    shared: Arc<Shared>,
    head: watch::Receiver<Option<u64>>,
    filter: Filter,
    next: u64,
    /// What had been left out when it was last told.
    told: LeftOut,
    /// Losses to tell before anything else.
    lost: Option<Lost>,
}

/// How many follow, and how much they missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedCounts {
    pub readers: u64,
    pub missed: u64,
}

impl Default for Feed {
    fn default() -> Feed {
        let (head, _) = watch::channel(Some(0));
        Feed(Arc::new(Shared { state: Mutex::default(), head, boot: fastrand::u32(..) }))
    }
}

impl Feed {
    /// What `Telemetry` is given.
    pub fn sink(&self) -> Box<dyn Sink> {
        Box::new(FeedSink(self.0.clone()))
    }

    /// From now on, or from where the reader was. `None`: there are too many readers.
    pub fn follow(&self, filter: Filter, from: Option<Place>) -> Option<Following> {
        let mut state = self.0.lock();
        if state.readers >= READERS_MAX {
            return None;
        }
        state.readers += 1;
        let mut lost = None;
        let mut next = state.ring.end();
        match from {
            Some(place) if place.boot == self.0.boot && state.ring.has_all_after(place.seq, &filter) => {
                next = place.seq + 1;
            }
            Some(_) => lost = Some(Lost::gone()),
            None => {}
        }
        for topic in filter.topics() {
            state.wanted[topic as usize].readers += 1;
        }
        let told = state.ring.left_out(filter.plugin());
        let head = self.0.head.subscribe();
        drop(state);
        Some(Following { shared: self.0.clone(), head, filter, next, told, lost })
    }

    /// An alert has changed. `alert` is the document that lists show.
    pub fn tell_alert(&self, plugin: Option<&str>, version: Option<&str>, alert: &impl Serialize) {
        let facets =
            Facets { plugin: plugin.map(Into::into), version: version.map(Into::into), ..Facets::default() };
        self.0.lock().ring.push(Topic::Alerts, json(alert), facets);
        self.0.announce();
    }

    pub fn boot(&self) -> u32 {
        self.0.boot
    }

    pub fn counts(&self) -> FeedCounts {
        let state = self.0.lock();
        FeedCounts { readers: state.readers as u64, missed: state.missed }
    }

    /// All readers come to their end.
    pub fn close(&self) {
        self.0.head.send_replace(None);
    }
}

impl Following {
    /// Waits for what comes next; `None`: it is over.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            if self.head.borrow_and_update().is_none() {
                return None;
            }
            if let Some(news) = self.look() {
                return Some(news);
            }
            self.head.changed().await.ok()?;
        }
    }

    /// What there is already.
    fn look(&mut self) -> Option<News> {
        if let Some(lost) = self.lost.take() {
            return Some(News::Lost(lost));
        }
        loop {
            let mut state = self.shared.lock();
            if !state.ring.reaches(self.next) {
                let lost = state.ring.missed_since(self.next);
                state.missed += lost.invocations + lost.logs;
                self.next = state.ring.begin();
                return Some(News::Lost(lost));
            }
            let until = self.next + LOOK_MAX;
            let mut messages = Vec::new();
            while messages.len() < BATCH_MAX
                && self.next < until
                && let Some(message) = state.ring.get(self.next)
            {
                self.next += 1;
                if self.filter.takes(message) {
                    messages.push(message.clone());
                }
            }
            if !messages.is_empty() {
                return Some(News::Messages(messages));
            }
            if self.next < until {
                break;
            }
        }
        let mut state = self.shared.lock();
        let left_out = state.ring.left_out(self.filter.plugin());
        let lost = self.filter.concerned(left_out.since(self.told));
        self.told = left_out;
        lost.map(|lost| {
            state.missed += lost.invocations + lost.logs;
            News::Lost(lost)
        })
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.readers -= 1;
        let until = Some(Instant::now() + LINGER);
        for topic in self.filter.topics() {
            let wanted = &mut state.wanted[topic as usize];
            wanted.readers -= 1;
            wanted.until = until;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a change: readers look.
    fn announce(&self) {
        let end = self.lock().ring.end();
        // Closed stays closed.
        self.head.send_if_modified(|head| match head {
            Some(seen) if *seen != end => {
                *head = Some(end);
                true
            }
            _ => false,
        });
    }
}

impl State {
    fn wants(&self, topic: Topic, now: Instant) -> bool {
        let wanted = self.wanted[topic as usize];
        wanted.readers > 0 || wanted.until.is_some_and(|until| now < until)
    }
}

struct FeedSink(Arc<Shared>);

impl Sink for FeedSink {
    fn accept(&mut self, batch: &[Record]) {
        let now = Instant::now();
        let wanted = self.wanted(now);
        for record in batch {
            match record {
                Record::Invocation(data) => {
                    if wanted(Topic::Logs) {
                        self.offer(Topic::Logs, now, log(&data.ending_log()));
                    }
                    if wanted(Topic::Invocations) {
                        self.offer(Topic::Invocations, now, invocation(data));
                    }
                }
                Record::Log(record) => {
                    if wanted(Topic::Changes) && is_change(record) {
                        self.offer(Topic::Changes, now, log(record));
                    }
                    if wanted(Topic::Logs) {
                        self.offer(Topic::Logs, now, log(record));
                    }
                }
                Record::Operation(_) => {}
            }
        }
        self.0.announce();
    }
}

impl FeedSink {
    /// Of which topics messages are to be made. The others have a hole from now on.
    fn wanted(&self, now: Instant) -> impl Fn(Topic) -> bool + use<> {
        let mut state = self.0.lock();
        let wanted = Topic::ALL.map(|topic| state.wants(topic, now));
        for topic in Topic::ALL.into_iter().filter(|topic| !wanted[*topic as usize]) {
            state.ring.skip(topic);
        }
        move |topic| wanted[topic as usize]
    }

    fn offer(&self, topic: Topic, now: Instant, (data, facets): (String, Facets)) {
        self.0.lock().ring.offer(topic, data, facets, now);
    }
}

/// Whether what pages show of plugins is different now.
fn is_change(record: &LogRecord) -> bool {
    const PREFIXES: [&str; 5] = ["plugin.", "lifecycle.", "circuit.", "drift.", "instance.crash_looping"];
    record.stream == LogStream::Host
        && record.event_name.is_some_and(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

fn invocation(data: &RecordingData) -> (String, Facets) {
    let view = InvocationView::of(data);
    let error = data.error.as_ref();
    let facets = Facets {
        plugin: Some(data.plugin.clone()),
        version: data.version.clone(),
        outcome: Some(data.outcome),
        kind: error.map(|error| error.kind),
        severity: None,
        trace_id: Some(data.trace_id),
        text: [
            &*data.plugin,
            &*data.action,
            error.map_or("", |error| error.kind.as_str()),
            error.map_or("", |error| &error.message),
            view.input_preview.as_deref().unwrap_or_default(),
        ]
        .join("\n")
        .to_lowercase(),
        matters: error.is_some_and(|error| error.kind.blame() != Blame::Caller),
    };
    (json(&view), facets)
}

fn log(record: &LogRecord) -> (String, Facets) {
    let facets = Facets {
        plugin: record.plugin.clone(),
        version: record.version.clone(),
        outcome: None,
        kind: None,
        severity: Some(record.severity),
        trace_id: record.ids.map(|ids| ids.trace_id),
        text: record.body.to_lowercase(),
        matters: record.severity >= Severity::Error,
    };
    (json(&LogView::of(record)), facets)
}

fn json(view: &impl Serialize) -> String {
    serde_json::to_string(view).expect("views have nothing that JSON lacks")
}

#[cfg(test)]
mod tests;
