//! Exemplars: the `prometheus` crate has none, so each bucket of a histogram child has a slot here, with the
//! trace of one call that fell into it. Recording costs one relaxed load unless the slot is due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};

use crate::model::ids::{SpanId, TraceId};

/// At most one exemplar per bucket in this time.
pub const INTERVAL_SECONDS: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub value: f64,
    pub unix_ns: u64,
}

/// One slot per bucket, the last one for `+Inf`.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Box<[Slot]>,
}

#[derive(Debug, Default)]
struct Slot {
    /// `seconds << 1 | important` of the exemplar inside; 0: empty.
    gate: AtomicU64,
    exemplar: Mutex<Option<Exemplar>>,
}

impl Slots {
    pub fn new(buckets: usize) -> Slots {
        Slots { slots: (0..=buckets).map(|_| Slot::default()).collect() }
    }

    /// Takes the exemplar if its bucket's slot is due. A failed or slow call replaces an ordinary one
    /// before the time, not the reverse. Whether it was taken.
    pub fn offer(&self, bucket: usize, important: bool, exemplar: Exemplar) -> bool {
        let Some(slot) = self.slots.get(bucket) else { return false };
        let seconds = exemplar.unix_ns / 1_000_000_000;
        let held = slot.gate.load(Ordering::Relaxed);
        let due =
            held == 0 || seconds.abs_diff(held >> 1) >= INTERVAL_SECONDS || (important && held & 1 == 0);
        due && slot.replace(held, seconds << 1 | u64::from(important), exemplar)
    }

    pub fn get(&self, bucket: usize) -> Option<Exemplar> {
        let slot = self.slots.get(bucket)?;
        match slot.exemplar.try_lock() {
            Ok(exemplar) => *exemplar,
            Err(TryLockError::Poisoned(exemplar)) => *exemplar.into_inner(),
            // A call is writing: this scrape goes without, rather than make the call wait.
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Slot {
    /// The winner of the gate writes alone. Nobody waits: a slot that a scrape is reading keeps what it has.
    #[cold]
    fn replace(&self, held: u64, gate: u64, exemplar: Exemplar) -> bool {
        if self.gate.compare_exchange(held, gate, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        match self.exemplar.try_lock() {
            Ok(mut slot) => {
                *slot = Some(exemplar);
                true
            }
            Err(TryLockError::Poisoned(slot)) => {
                *slot.into_inner() = Some(exemplar);
                true
            }
            Err(TryLockError::WouldBlock) => {
                // Reopen the gate for the next call, unless someone passed it meanwhile.
                let _ = self.gate.compare_exchange(gate, held, Ordering::AcqRel, Ordering::Relaxed);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::telemetry::ids;

    fn exemplar(seconds: u64, value: f64) -> Exemplar {
        Exemplar {
            trace_id: ids::trace_id(),
            span_id: ids::span_id(),
            value,
            unix_ns: seconds * 1_000_000_000,
        }
    }

    #[test]
    fn one_per_bucket_and_interval_and_the_important_one_wins() {
        let slots = Slots::new(3);
        assert!(slots.offer(1, false, exemplar(100, 1.0)));
        assert!(!slots.offer(1, false, exemplar(109, 2.0)));
        assert!(slots.offer(1, true, exemplar(109, 3.0)), "a failed call replaces an ordinary one");
        assert!(!slots.offer(1, true, exemplar(110, 4.0)), "but not another important one");
        assert!(!slots.offer(1, false, exemplar(118, 5.0)));
        assert!(slots.offer(1, false, exemplar(119, 6.0)));
        assert_eq!(slots.get(1).unwrap().value, 6.0);
        assert_eq!(slots.get(0), None);
        assert!(slots.offer(3, false, exemplar(100, 9.0)), "the +Inf bucket has a slot");
        assert!(!slots.offer(4, false, exemplar(100, 9.0)));
    }

    #[test]
    fn a_reader_never_sees_parts_of_two_exemplars() {
        let slots = Arc::new(Slots::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..2)
            .map(|thread: u64| {
                let (slots, stop) = (slots.clone(), stop.clone());
                std::thread::spawn(move || {
                    let mut seconds = 1_000 * (thread + 1);
                    while !stop.load(Ordering::Relaxed) {
                        seconds += INTERVAL_SECONDS;
                        let trace = TraceId::from_bytes(u128::from(seconds).to_be_bytes()).unwrap();
                        let span = SpanId::from_bytes(seconds.to_be_bytes()).unwrap();
                        let value = seconds as f64;
                        let unix_ns = seconds * 1_000_000_000;
                        slots.offer(0, false, Exemplar { trace_id: trace, span_id: span, value, unix_ns });
                    }
                })
            })
            .collect();
        let mut seen = 0;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while seen < 50_000 && std::time::Instant::now() < deadline {
            let Some(read) = slots.get(0) else { continue };
            seen += 1;
            let seconds = read.unix_ns / 1_000_000_000;
            assert_eq!(u128::from_be_bytes(*read.trace_id.as_bytes()), u128::from(seconds));
            assert_eq!(u64::from_be_bytes(*read.span_id.as_bytes()), seconds);
            assert_eq!(read.value, seconds as f64);
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(seen, 50_000);
    }
}
