//! A circuit: after too many failures it refuses for a while, then lets one probe. States: closed -> open
//! (ratio reached) -> half-open (time is up) -> closed or open (the probe). It knows nothing of what it
//! guards: calls of a plugin (`breaker.rs`), or a host that a plugin speaks to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::limits::BreakerSettings;

/// The window is counted in so many slices; a slice is forgotten as a whole.
const SLICES: usize = 10;
/// How long somebody is told to wait while the probe is under way.
const PROBE_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Circuit {
    settings: BreakerSettings,
    inner: Mutex<Inner>,
}

/// What the circuit did about an ended passage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    Opened { failure_ratio: f64 },
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    Good,
    Failed,
    /// It says nothing about what is guarded: the caller's fault, or the caller left.
    Neither,
}

/// Leave to pass. Dropped on the way it counts as [`Ending::Neither`], which gives a probe's place back.
#[derive(Debug)]
pub struct Passage {
    circuit: Arc<Circuit>,
    entry: Option<Entry>,
}

impl Circuit {
    pub fn new(settings: BreakerSettings) -> Arc<Circuit> {
        let window = Window::new(settings.window, Instant::now());
        Arc::new(Circuit { settings, inner: Mutex::new(Inner { state: State::Closed, window }) })
    }

    pub fn settings(&self) -> &BreakerSettings {
        &self.settings
    }

    /// Leave to pass, or how long to wait before asking again.
    pub fn enter(self: &Arc<Self>, now: Instant) -> Result<Passage, Duration> {
        let entry = self.admit(now)?;
        Ok(Passage { circuit: self.clone(), entry: Some(entry) })
    }

    fn admit(&self, now: Instant) -> Result<Entry, Duration> {
        let mut inner = self.inner();
        match inner.state {
            State::Closed => Ok(Entry::Ordinary),
            State::Open { until } if now >= until => {
                inner.state = State::HalfOpen;
                Ok(Entry::Probe)
            }
            State::Open { until } => Err(until - now),
            State::HalfOpen => Err(PROBE_WAIT),
        }
    }

    fn book(&self, entry: Entry, ending: Ending, now: Instant) -> Option<Change> {
        let mut inner = self.inner();
        let open = State::Open { until: now + self.settings.open_for };
        match (entry, ending) {
            (Entry::Probe, Ending::Good) => {
                inner.window.clear();
                inner.state = State::Closed;
                Some(Change::Closed)
            }
            (Entry::Probe, Ending::Failed) => {
                inner.state = open;
                Some(Change::Opened { failure_ratio: 1.0 })
            }
            (Entry::Probe, Ending::Neither) => {
                // The probe said nothing: let the next one probe at once.
                inner.state = State::Open { until: now };
                None
            }
            (Entry::Ordinary, Ending::Neither) => None,
            (Entry::Ordinary, _) if inner.state != State::Closed => None,
            (Entry::Ordinary, _) => {
                let (calls, failures) = inner.window.add(ending == Ending::Failed, now);
                let failure_ratio = f64::from(failures) / f64::from(calls);
                if calls < self.settings.calls_min || failure_ratio < self.settings.failure_ratio {
                    return None;
                }
                inner.state = open;
                Some(Change::Opened { failure_ratio })
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passage {
    /// Whether what happens to it decides if the circuit closes again.
    pub fn is_probe(&self) -> bool {
        self.entry == Some(Entry::Probe)
    }

    pub fn end(mut self, ending: Ending) -> Option<Change> {
        self.book(ending, Instant::now())
    }

    fn book(&mut self, ending: Ending, now: Instant) -> Option<Change> {
        self.entry.take().and_then(|entry| self.circuit.book(entry, ending, now))
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.book(Ending::Neither, Instant::now());
    }
}

/// One circuit for each of several things, by name; those that were not used for the longest time go first.
pub struct Circuits {
    settings: BreakerSettings,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    circuits: HashMap<String, (Arc<Circuit>, u64)>,
    uses: u64,
}

impl Circuits {
    pub const COUNT_MAX: usize = 256;

    pub fn new(settings: BreakerSettings) -> Circuits {
        Circuits { settings, known: Mutex::default() }
    }

    pub fn of(&self, name: &str) -> Arc<Circuit> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.uses += 1;
        let now = known.uses;
        if let Some((circuit, used)) = known.circuits.get_mut(name) {
            *used = now;
            return circuit.clone();
        }
        if known.circuits.len() >= Circuits::COUNT_MAX {
            let oldest = known.circuits.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                known.circuits.remove(&oldest);
            }
        }
        let circuit = Circuit::new(self.settings.clone());
        known.circuits.insert(name.to_owned(), (circuit.clone(), now));
        circuit
    }
}

#[derive(Debug)]
struct Inner {
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
enum Entry {
    Ordinary,
    Probe,
}

/// Calls and failures of the last while, in slices.
#[derive(Debug)]
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

    const OPENED: Option<Change> = Some(Change::Opened { failure_ratio: 1.0 });

    fn circuit() -> Arc<Circuit> {
        Circuit::new(BreakerSettings { calls_min: 4, ..BreakerSettings::default() })
    }

    fn pass(circuit: &Arc<Circuit>, ending: Ending, now: Instant) -> Option<Change> {
        circuit.enter(now).expect("the circuit lets it pass").book(ending, now)
    }

    fn probes(circuit: &Arc<Circuit>, now: Instant) -> bool {
        circuit.enter(now).is_ok_and(|passage| passage.is_probe())
    }

    #[test]
    fn it_opens_at_the_ratio_but_not_before_enough_calls() {
        let (circuit, now) = (circuit(), Instant::now());
        for _ in 0..3 {
            assert_eq!(pass(&circuit, Ending::Failed, now), None);
        }
        assert_eq!(pass(&circuit, Ending::Failed, now), OPENED);
        assert_eq!(circuit.enter(now).err(), Some(Duration::from_secs(15)));
    }

    #[test]
    fn after_its_time_one_call_probes_and_the_others_are_still_refused() {
        let (circuit, now) = (circuit(), Instant::now());
        for _ in 0..4 {
            pass(&circuit, Ending::Failed, now);
        }
        let later = now + Duration::from_secs(15);
        let mut probe = circuit.enter(later).unwrap();
        assert!(probe.is_probe());
        assert!(circuit.enter(later).is_err());
        assert_eq!(probe.book(Ending::Failed, later), OPENED);
        assert!(circuit.enter(later).is_err());
        let last = later + Duration::from_secs(15);
        assert_eq!(pass(&circuit, Ending::Good, last), Some(Change::Closed));
        assert_eq!(pass(&circuit, Ending::Failed, last), None, "the window began anew");
    }

    #[test]
    fn a_probe_whose_caller_left_makes_place_for_the_next() {
        let (circuit, now) = (circuit(), Instant::now());
        for _ in 0..4 {
            pass(&circuit, Ending::Failed, now);
        }
        let later = now + Duration::from_secs(15);
        drop(circuit.enter(later).unwrap());
        assert!(probes(&circuit, Instant::now().max(later)));
    }

    #[test]
    fn what_lies_outside_the_window_is_forgotten() {
        let (circuit, now) = (circuit(), Instant::now());
        for _ in 0..3 {
            pass(&circuit, Ending::Failed, now);
        }
        assert_eq!(pass(&circuit, Ending::Failed, now + Duration::from_secs(31)), None);
    }

    #[test]
    fn what_says_nothing_does_not_count() {
        let (circuit, now) = (circuit(), Instant::now());
        for _ in 0..100 {
            assert_eq!(pass(&circuit, Ending::Neither, now), None);
        }
    }

    #[test]
    fn of_too_many_circuits_the_one_that_rested_longest_is_forgotten() {
        let circuits = Circuits::new(BreakerSettings::default());
        let (first, second) = (circuits.of("0"), circuits.of("1"));
        for number in 2..Circuits::COUNT_MAX {
            circuits.of(&number.to_string());
        }
        assert!(Arc::ptr_eq(&first, &circuits.of("0")));
        circuits.of("one more");
        assert!(Arc::ptr_eq(&first, &circuits.of("0")));
        assert!(!Arc::ptr_eq(&second, &circuits.of("1")));
    }
}
