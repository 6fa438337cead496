//! Whoever is to be told of alerts. Each has a queue and a task of its own: one that hangs holds up nobody else. What
//! changed at the same moment is one message; a message is tried a few times, then it is counted as failed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::alert::{Alert, rfc3339};

mod command;
mod http;
mod message;

/// Whom to tell, and how. Addresses open somebody's channel: they are never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    Webhook(String),
    Slack(String),
    /// Program and arguments, run without a shell.
    Command(Vec<String>),
}

#[derive(Clone, Debug)]
pub struct NotifySettings {
    /// Messages that may wait for one target; further ones are dropped and counted.
    pub queue_max: usize,
    /// For one try.
    pub timeout: Duration,
    /// The pauses between tries: one try more than there are.
    pub pauses: Vec<Duration>,
}

/// What became of the messages to one target.
#[derive(Clone, Debug, Serialize)]
pub struct Notified {
    pub kind: &'static str,
    /// Without what is secret.
    pub target: String,
    pub sent: u64,
    /// Given up after the last try.
    pub failed: u64,
    /// For want of room in the queue.
    pub dropped: u64,
    pub last_sent_at: Option<String>,
    pub last_error: Option<String>,
    /// The newest message was given up.
    #[serde(skip)]
    pub undelivered: bool,
}

/// Why a message did not arrive.
struct Refused {
    why: String,
    /// It is of no use to try again.
    for_good: bool,
}

pub(super) struct Notifier {
    settings: NotifySettings,
    lanes: Mutex<Vec<Lane>>,
}

struct Lane {
    target: Target,
    counts: Arc<Mutex<Notified>>,
    queue: mpsc::Sender<Arc<[Alert]>>,
    task: JoinHandle<()>,
}

impl Default for NotifySettings {
    fn default() -> NotifySettings {
        NotifySettings {
            queue_max: 64,
            timeout: Duration::from_secs(10),
            pauses: [1, 5, 15, 60].map(Duration::from_secs).into(),
        }
    }
}

impl Target {
    pub fn kind(&self) -> &'static str {
        match self {
            Target::Webhook(_) => "webhook",
            Target::Slack(_) => "slack",
            Target::Command(_) => "command",
        }
    }

    /// Scheme, host and port; of a command the program.
    pub fn shown(&self) -> String {
        match self {
            Target::Webhook(url) | Target::Slack(url) => http::shown(url),
            Target::Command(arguments) => arguments.first().cloned().unwrap_or_default(),
        }
    }
}

impl Notifier {
    pub fn new(settings: NotifySettings) -> Notifier {
        Notifier { settings, lanes: Mutex::default() }
    }

    /// Those that stay keep their queue and their counts.
    pub fn set_targets(&self, targets: Vec<Target>) {
        let mut lanes = self.lanes();
        let mut before = std::mem::take(&mut *lanes);
        for target in targets {
            let lane = match before.iter().position(|lane| lane.target == target) {
                Some(place) => before.swap_remove(place),
                None => Lane::start(target, &self.settings),
            };
            lanes.push(lane);
        }
    }

    /// Never waits.
    pub fn tell(&self, alerts: Vec<Alert>) {
        let alerts: Arc<[Alert]> = alerts.into();
        for lane in self.lanes().iter() {
            if lane.queue.try_send(alerts.clone()).is_err() {
                lock(&lane.counts).dropped += 1;
            }
        }
    }

    pub fn counts(&self) -> Vec<Notified> {
        self.lanes().iter().map(|lane| lock(&lane.counts).clone()).collect()
    }

    #[cfg(test)]
    pub fn targets(&self) -> Vec<Target> {
        self.lanes().iter().map(|lane| lane.target.clone()).collect()
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        lock(&self.lanes)
    }
}

impl Lane {
    fn start(target: Target, settings: &NotifySettings) -> Lane {
        let counts = Arc::new(Mutex::new(Notified {
            kind: target.kind(),
            target: target.shown(),
            sent: 0,
            failed: 0,
            dropped: 0,
            last_sent_at: None,
            last_error: None,
            undelivered: false,
        }));
        let (queue, waiting) = mpsc::channel(settings.queue_max.max(1));
        let work = work(target.clone(), settings.clone(), counts.clone(), waiting);
        Lane { target, counts, queue, task: tokio::spawn(work) }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn work(
    target: Target,
    settings: NotifySettings,
    counts: Arc<Mutex<Notified>>,
    mut waiting: mpsc::Receiver<Arc<[Alert]>>,
) {
    while let Some(alerts) = waiting.recv().await {
        let mut pauses = settings.pauses.iter();
        loop {
            let refused = match deliver(&target, &alerts, settings.timeout).await {
                Ok(()) => {
                    let mut counts = lock(&counts);
                    counts.sent += 1;
                    counts.undelivered = false;
                    counts.last_sent_at = Some(rfc3339(SystemTime::now()));
                    break;
                }
                Err(refused) => refused,
            };
            lock(&counts).last_error = Some(refused.why);
            match pauses.next().filter(|_| !refused.for_good) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => {
                    let mut counts = lock(&counts);
                    counts.failed += 1;
                    counts.undelivered = true;
                    break;
                }
            }
        }
    }
}

async fn deliver(target: &Target, alerts: &[Alert], timeout: Duration) -> Result<(), Refused> {
    match target {
        Target::Webhook(url) => http::post(url, message::webhook(alerts), timeout).await,
        Target::Slack(url) => http::post(url, message::slack(alerts), timeout).await,
        Target::Command(arguments) => command::run(arguments, alerts, timeout).await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
