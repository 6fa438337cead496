//! Runs what waits in the durable queue: in order, each plugin in a lane of its own as wide as its limit, so
//! that a slow one holds up nobody else.
//!
//! A call leaves the queue when its ending is on the disk, and its recording is closed only then: what dies
//! in between is delivered again under the same ids.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit, TryAcquireError, broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Host;
use super::asynchronous::{ACCEPTING_MAX, blocking};
use super::delivery::{Delivered, deliver};
use crate::model::ids::InvocationId;
use crate::store::calls::{Calls, PassedOver};
use crate::telemetry::events::{CallResultsDropped, StoreWriteFailed};

/// Deliveries at once, of all plugins together.
const RUNNING_MAX: usize = 256;
/// A call under which the runner died so many times in a row is not tried again.
pub(super) const DEATHS_MAX: u32 = 3;
/// How long a new runner must live before it tries a call under which one, and two, have died. Most such calls
/// only stood beside the cause: a runner that is killed again soon counts for nothing against them.
const SUSPECTED_FOR: [Duration; DEATHS_MAX as usize - 1] = [Duration::from_secs(1), Duration::from_secs(5)];
/// The waits of a lane after calls that could not be run, the next one twice as long.
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_LONGEST: Duration = Duration::from_secs(30);
/// What calls of one lane ask for in vain, each with a wait of its own; beyond it they hold up the whole lane.
const MISSING_MAX: usize = 64;
/// How often what is kept is looked through for what need not be.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Endings that a slow listener may be behind; then he looks for himself.
const ENDINGS_BEHIND_MAX: usize = 1_024;
/// Deliveries that were cut off get so long to go back to the queue.
const STOP_MAX: Duration = Duration::from_secs(5);

/// The handle of the loop that delivers.
pub(super) struct Queue {
    changed: Notify,
    endings: broadcast::Sender<InvocationId>,
    /// Whether the loop runs.
    delivering: watch::Sender<bool>,
    /// One place for each call that is being taken in.
    accepting: Semaphore,
}

impl Default for Queue {
    fn default() -> Queue {
        let endings = broadcast::Sender::new(ENDINGS_BEHIND_MAX);
        let accepting = Semaphore::new(ACCEPTING_MAX);
        Queue { changed: Notify::new(), endings, delivering: watch::Sender::default(), accepting }
    }
}

impl Queue {
    /// There is something to deliver, or a reason to stop.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    pub fn try_accept(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.accepting.try_acquire()
    }

    pub fn ended(&self, id: InvocationId) {
        // Nobody may be listening.
        let _ = self.endings.send(id);
    }

    pub fn endings(&self) -> broadcast::Receiver<InvocationId> {
        self.endings.subscribe()
    }

    async fn drained(&self) {
        // It fails only when the queue is gone, and then nothing is delivered either.
        let _ = self.delivering.subscribe().wait_for(|delivering| !delivering).await;
    }
}

impl Host {
    /// Delivers what waits, until the host is not ready any more. Once in its life.
    pub fn start_queue(self: &Arc<Self>) {
        let Some(calls) = self.calls() else { return };
        self.queue.delivering.send_replace(true);
        let running = RunningFlag(self.clone());
        let deliveries = Deliveries {
            host: self.clone(),
            calls,
            started: Instant::now(),
            lanes: HashMap::new(),
            deliveries: JoinSet::new(),
        };
        tokio::spawn(async move {
            deliveries.run().await;
            drop(running);
        });
    }

    /// Waits until nothing is being delivered. Only for a host that is not ready any more: one that is goes on
    /// delivering.
    pub async fn queue_drained(&self) {
        self.queue.drained().await;
    }

    /// Cuts off what is being delivered; it goes back to the queue.
    pub(super) async fn stop_queue(&self) {
        if *self.queue.delivering.borrow() {
            self.cut_off();
            let _ = timeout(STOP_MAX, self.queue.drained()).await;
        }
    }

    pub(super) fn measure_queue(&self) {
        let Some(calls) = self.calls() else { return };
        let waiting: HashMap<Arc<str>, u64> = calls.waiting().into_iter().collect();
        for deployment in self.registry.all() {
            let name = deployment.manifest.name.as_str();
            self.telemetry.metrics().set_queued(name, waiting.get(name).copied().unwrap_or_default());
        }
    }

    /// Whether the calls under way have been told to end.
    pub fn is_cut_off(&self) -> bool {
        self.ends.borrow().all
    }
}

/// Says that the loop has ended, however it did.
struct RunningFlag(Arc<Host>);

impl Drop for RunningFlag {
    fn drop(&mut self) {
        self.0.queue.delivering.send_replace(false);
    }
}

/// The loop.
struct Deliveries {
    host: Arc<Host>,
    calls: Arc<Calls>,
    started: Instant,
    lanes: HashMap<Arc<str>, Lane>,
    deliveries: JoinSet<(Arc<str>, String, Delivered)>,
}

/// The calls of one plugin that are being delivered.
#[derive(Default)]
struct Lane {
    running: usize,
    /// After calls that met what stands in the way of all.
    pause: Pause,
    /// After calls that asked for what is not there, by what they asked for; others go on.
    missing: HashMap<String, Pause>,
}

/// A wait that grows as long as it has not helped.
#[derive(Default)]
struct Pause {
    /// How long it was the last time, and until when it is now.
    wait: Duration,
    until: Option<Instant>,
}

impl Deliveries {
    async fn run(mut self) {
        let mut prune_at = Instant::now();
        while self.host.ready.load(std::sync::atomic::Ordering::Relaxed) {
            if prune_at <= Instant::now() || self.calls.is_overfull() {
                self.prune().await;
                prune_at = Instant::now() + PRUNE_EVERY;
            }
            self.fill_lanes().await;
            self.lanes.retain(|_, lane| lane.running > 0 || lane.pauses().next().is_some());
            let held = self.lanes.values().flat_map(Lane::pauses);
            let cleared = SUSPECTED_FOR.map(|wait| self.started + wait).into_iter();
            let cleared = cleared.filter(|at| *at > Instant::now());
            let look_again = held.chain(cleared).min().unwrap_or(prune_at).min(prune_at);
            tokio::select! {
                () = self.host.queue.changed.notified() => {}
                Some(ended) = self.deliveries.join_next() => self.delivered(ended.ok()),
                () = sleep_until(look_again) => {}
            }
        }
        while self.deliveries.join_next().await.is_some() {}
    }

    /// Begins what may begin now.
    async fn fill_lanes(&mut self) {
        let (now, suspects) = (Instant::now(), self.suspects());
        self.lanes.values_mut().for_each(|lane| lane.go_on(now));
        for (plugin, waiting) in self.calls.waiting() {
            let width = self.host.lane_width(&plugin);
            let lane = self.lanes.entry(plugin.clone()).or_default();
            if lane.pause.until.is_some() {
                continue;
            }
            let free =
                width.saturating_sub(lane.running).min(RUNNING_MAX.saturating_sub(self.deliveries.len()));
            let count = free.min(usize::try_from(waiting).unwrap_or(usize::MAX));
            if count == 0 {
                continue;
            }
            let passed_over = PassedOver { deaths: suspects.clone(), asked: lane.missing_now() };
            let (calls, name) = (self.calls.clone(), plugin.clone());
            match blocking(move || Ok(calls.claim(&name, count, &passed_over)?)).await {
                Ok(claimed) => {
                    lane.running += claimed.len();
                    for queued in claimed {
                        let (plugin, asked) = (plugin.clone(), queued.call.asked());
                        let delivery = deliver(self.host.clone(), self.calls.clone(), queued);
                        self.deliveries.spawn(async move { (plugin, asked, delivery.await) });
                    }
                }
                Err(error) => {
                    lane.pause.begin(Duration::ZERO);
                    self.host.telemetry.emit(StoreWriteFailed { message: &error.message });
                }
            }
        }
    }

    /// With how many deaths a call still has to wait.
    fn suspects(&self) -> Range<u32> {
        let lived = self.started.elapsed();
        let cleared = SUSPECTED_FOR.iter().filter(|wait| **wait <= lived).count() as u32;
        cleared + 1..DEATHS_MAX
    }

    fn delivered(&mut self, ended: Option<(Arc<str>, String, Delivered)>) {
        // A delivery catches its own panics.
        let Some((plugin, asked, delivered)) = ended else { return };
        let Some(lane) = self.lanes.get_mut(&plugin) else { return };
        lane.running -= 1;
        match delivered {
            Delivered::Missing => return lane.miss(asked),
            Delivered::PutBack(at_least) => lane.pause.begin(at_least),
            Delivered::Ended => lane.pause.wait = Duration::ZERO,
        }
        lane.missing.remove(&asked);
    }

    async fn prune(&self) {
        let calls = self.calls.clone();
        match blocking(move || Ok(calls.prune()?)).await {
            Ok(pruned) if pruned.dropped > 0 => {
                self.host.telemetry.emit(CallResultsDropped { results: pruned.dropped });
            }
            Ok(_) => {}
            Err(error) => self.host.telemetry.emit(StoreWriteFailed { message: &error.message }),
        }
    }
}

impl Lane {
    /// Ends the pauses that are over.
    fn go_on(&mut self, now: Instant) {
        for pause in self.missing.values_mut().chain([&mut self.pause]) {
            pause.until = pause.until.filter(|until| *until > now);
        }
    }

    fn pauses(&self) -> impl Iterator<Item = Instant> {
        self.missing.values().chain([&self.pause]).filter_map(|pause| pause.until)
    }

    fn missing_now(&self) -> Vec<String> {
        let missing = self.missing.iter().filter(|(_, pause)| pause.until.is_some());
        missing.map(|(asked, _)| asked.clone()).collect()
    }

    fn miss(&mut self, asked: String) {
        let room = self.missing.len() < MISSING_MAX || self.missing.contains_key(&asked);
        let pause = if room { self.missing.entry(asked).or_default() } else { &mut self.pause };
        pause.begin(Duration::ZERO);
    }
}

impl Pause {
    fn begin(&mut self, at_least: Duration) {
        let now = Instant::now();
        // Several calls that meet the same obstacle make one step.
        if self.until.is_none_or(|until| until <= now) {
            self.wait = (self.wait * 2).clamp(WAIT_FIRST, WAIT_LONGEST);
            self.until = Some(now + self.wait.max(at_least.min(WAIT_LONGEST)));
        }
    }
}

impl Host {
    /// How many calls of a plugin may be delivered at once: as many as its newest version runs.
    fn lane_width(&self, plugin: &str) -> usize {
        let limits = self.registry.route(plugin, None).map(|deployment| deployment.manifest.limits.clone());
        limits.map_or(1, |limits| {
            limits.concurrency.min(limits.instances_max.saturating_mul(limits.calls_per_instance)).max(1)
                as usize
        })
    }
}
