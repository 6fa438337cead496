//! Circuit breaker: after too many failures it refuses calls for a while, then lets one probe. It sees every
//! attempt. States: closed -> open (ratio reached) -> half-open (time is up) -> closed or open (the probe).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{BoxFuture, Call, Next, Policy, Reply};
use crate::model::error::InvokeError;
use crate::model::kind::{Blame, ErrorKind};
use crate::model::limits::BreakerSettings;
use crate::model::units::format_duration;
use crate::telemetry::PluginSeries;
use crate::telemetry::events::{CircuitClosed, CircuitHalfOpened, CircuitOpened};

/// The window is counted in so many slices; a slice is forgotten as a whole.
const SLICES: usize = 10;

pub struct CircuitBreaker {
    settings: BreakerSettings,
    series: Arc<PluginSeries>,
    circuit: Mutex<Circuit>,
}

impl CircuitBreaker {
    pub fn new(settings: BreakerSettings, series: Arc<PluginSeries>) -> CircuitBreaker {
        let circuit = Circuit { state: State::Closed, window: Window::new(settings.window, Instant::now()) };
        CircuitBreaker { settings, series, circuit: Mutex::new(circuit) }
    }

    /// Whether the call may pass, and if so, whether it is the probe.
    fn enter(&self, now: Instant) -> Result<Entry, InvokeError> {
        let mut circuit = self.circuit();
        match circuit.state {
            State::Closed => Ok(Entry::Ordinary),
            State::Open { until } if now >= until => {
                circuit.state = State::HalfOpen;
                Ok(Entry::Probe)
            }
            State::Open { until } => Err(self.refusal(until - now)),
            State::HalfOpen => Err(self.refusal(Duration::from_secs(1))),
        }
    }

    fn refusal(&self, wait: Duration) -> InvokeError {
        let window = format_duration(self.settings.window);
        let message = format!("the circuit is open: too many calls failed within {window}");
        InvokeError::new(ErrorKind::CircuitOpen, message)
            .help("look at the plugin's last errors; calls are let through again when a probe succeeds")
            .retry_after(wait)
    }

    /// Books an ended attempt. Says what the circuit did about it.
    fn book(&self, entry: Entry, ending: Ending, now: Instant) -> Option<Change> {
        let mut circuit = self.circuit();
        let open = State::Open { until: now + self.settings.open_for };
        match (entry, ending) {
            (Entry::Probe, Ending::Good) => {
                circuit.window.clear();
                circuit.state = State::Closed;
                Some(Change::Closed)
            }
            (Entry::Probe, Ending::Failed) => {
                circuit.state = open;
                Some(Change::Opened { failure_ratio: 1.0 })
            }
            (Entry::Probe, Ending::Neither) => {
                // The probe said nothing about the plugin: let the next call probe at once.
                circuit.state = State::Open { until: now };
                None
            }
            (Entry::Ordinary, Ending::Neither) => None,
            (Entry::Ordinary, _) if circuit.state != State::Closed => None,
            (Entry::Ordinary, _) => {
                let (calls, failures) = circuit.window.add(ending == Ending::Failed, now);
                let failure_ratio = f64::from(failures) / f64::from(calls);
                if calls < self.settings.calls_min || failure_ratio < self.settings.failure_ratio {
                    return None;
                }
                circuit.state = open;
                Some(Change::Opened { failure_ratio })
            }
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Policy for CircuitBreaker {
    fn handle<'a>(&'a self, call: &'a mut Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply, InvokeError>> {
        Box::pin(async move {
            let entry = self.enter(Instant::now())?;
            let root = call.recording.root();
            if entry == Entry::Probe {
                call.recording.emit(root, CircuitHalfOpened { series: &self.series });
            }
            let mut passage = Passage { breaker: self, entry: Some(entry) };
            let result = next.run(call).await;
            match passage.end(Ending::of(&result, call)) {
                Some(Change::Opened { failure_ratio }) => {
                    let (series, open_for) = (&*self.series, self.settings.open_for);
                    call.recording.emit(root, CircuitOpened { series, failure_ratio, open_for });
                }
                Some(Change::Closed) => call.recording.emit(root, CircuitClosed { series: &self.series }),
                None => {}
            }
            result
        })
    }
}

struct Circuit {
    state: State,
    window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Opened { failure_ratio: f64 },
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Ordinary,
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Good,
    Failed,
    /// The caller's fault, or the caller left.
    Neither,
}

impl Ending {
    fn of(result: &Result<Reply, InvokeError>, call: &Call) -> Ending {
        let allowed = call.plugin.manifest.limits.timeout;
        let hurried = call.invocation.timeout.is_some_and(|asked| asked < allowed);
        match result.as_ref().map_err(InvokeError::blame) {
            Ok(_) => Ending::Good,
            // A caller in a hurry must not shut the others out.
            Err(_) if hurried && matches!(result, Err(error) if error.kind == ErrorKind::Timeout) => {
                Ending::Neither
            }
            Err(Blame::Plugin | Blame::Host) => Ending::Failed,
            Err(Blame::Caller) => Ending::Neither,
        }
    }
}

/// Gives the probe's place back when the call is dropped on its way.
struct Passage<'a> {
    breaker: &'a CircuitBreaker,
    entry: Option<Entry>,
}

impl Passage<'_> {
    fn end(&mut self, ending: Ending) -> Option<Change> {
        self.entry.take().and_then(|entry| self.breaker.book(entry, ending, Instant::now()))
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        self.end(Ending::Neither);
    }
}

/// Calls and failures of the last while, in slices.
struct Window {
    slice: Duration,
    started: Instant,
    /// The slice, counted from `started`, in which the last call ended.
    current: u64,
    counts: [(u32, u32); SLICES],
}

impl Window {
    fn new(length: Duration, now: Instant) -> Window {
        let slice = (length / SLICES as u32).max(Duration::from_millis(1));
        Window { slice, started: now, current: 0, counts: [(0, 0); SLICES] }
    }

    fn add(&mut self, failed: bool, now: Instant) -> (u32, u32) {
        let slice = (now.duration_since(self.started).as_nanos() / self.slice.as_nanos()) as u64;
        let passed = slice.saturating_sub(self.current).min(SLICES as u64);
        for forgotten in 1..=passed {
            self.counts[((slice - passed + forgotten) % SLICES as u64) as usize] = (0, 0);
        }
        self.current = self.current.max(slice);
        let count = &mut self.counts[(self.current % SLICES as u64) as usize];
        count.0 += 1;
        count.1 += u32::from(failed);
        self.counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    fn clear(&mut self) {
        self.counts = [(0, 0); SLICES];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{self, Telemetry};

    const OPENED: Option<Change> = Some(Change::Opened { failure_ratio: 1.0 });

    fn breaker() -> CircuitBreaker {
        let settings = BreakerSettings { calls_min: 4, ..BreakerSettings::default() };
        let telemetry = Telemetry::start(telemetry::Settings::default(), Vec::new()).unwrap();
        CircuitBreaker::new(settings, telemetry.plugin("p", "1.0.0", "python", &["invoke"]))
    }

    fn pass(breaker: &CircuitBreaker, ending: Ending, now: Instant) -> Option<Change> {
        let entry = breaker.enter(now).expect("the circuit lets the call pass");
        breaker.book(entry, ending, now)
    }

    #[test]
    fn it_opens_at_the_ratio_but_not_before_enough_calls() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..3 {
            assert_eq!(pass(&breaker, Ending::Failed, now), None);
        }
        assert_eq!(pass(&breaker, Ending::Failed, now), OPENED);
        let error = breaker.enter(now).unwrap_err();
        assert_eq!((error.kind, error.retry_after), (ErrorKind::CircuitOpen, Some(Duration::from_secs(15))));
    }

    #[test]
    fn after_its_time_one_call_probes_and_the_others_are_still_refused() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..4 {
            pass(&breaker, Ending::Failed, now);
        }
        let later = now + Duration::from_secs(15);
        assert_eq!(breaker.enter(later).unwrap(), Entry::Probe);
        assert!(breaker.enter(later).is_err());
        assert_eq!(breaker.book(Entry::Probe, Ending::Failed, later), OPENED);
        assert!(breaker.enter(later).is_err());
        let last = later + Duration::from_secs(15);
        assert_eq!(pass(&breaker, Ending::Good, last), Some(Change::Closed));
        assert_eq!(pass(&breaker, Ending::Failed, last), None, "the window began anew");
    }

    #[test]
    fn a_probe_whose_caller_left_makes_place_for_the_next() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..4 {
            pass(&breaker, Ending::Failed, now);
        }
        let later = now + Duration::from_secs(15);
        let entry = breaker.enter(later).unwrap();
        drop(Passage { breaker: &breaker, entry: Some(entry) });
        assert_eq!(breaker.enter(Instant::now().max(later)).unwrap(), Entry::Probe);
    }

    #[test]
    fn what_lies_outside_the_window_is_forgotten() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..3 {
            pass(&breaker, Ending::Failed, now);
        }
        assert_eq!(pass(&breaker, Ending::Failed, now + Duration::from_secs(31)), None);
    }

    #[test]
    fn callers_mistakes_do_not_count() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..100 {
            assert_eq!(pass(&breaker, Ending::Neither, now), None);
        }
    }
}
