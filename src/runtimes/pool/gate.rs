//! How many instances load at once on this machine, over all deployments: loading is work for a processor, and a hundred
//! that load side by side are ready no sooner than one after the other, but all of them late.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Semaphore;

/// A start that takes longer than this waits for something else than a processor: it no longer holds a place.
const PLACE_MAX: Duration = Duration::from_millis(500);
/// So many places for each processor: some starts wait for the disk.
const PLACES_PER_PROCESSOR: usize = 2;

#[derive(Debug)]
pub struct StartGate {
    places: Semaphore,
}

impl StartGate {
    pub fn new(places: usize) -> StartGate {
        StartGate { places: Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)) }
    }

    /// Does `work` when there is a place for it, in order of arrival.
    pub async fn pass<T>(&self, work: impl Future<Output = T>) -> T {
        let place = self.places.acquire().await.expect("the semaphore is never closed");
        let mut work = std::pin::pin!(work);
        if let Ok(done) = tokio::time::timeout(PLACE_MAX, &mut work).await {
            return done;
        }
        drop(place);
        work.await
    }
}

impl Default for StartGate {
    fn default() -> StartGate {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        StartGate::new(processors * PLACES_PER_PROCESSOR)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_holds_up_the_next_for_a_moment_only() {
        let gate = StartGate::new(1);
        let order = Mutex::new(Vec::new());
        let start = |name: &'static str, takes: Duration| {
            let (gate, order) = (&gate, &order);
            async move {
                gate.pass(async {
                    order.lock().unwrap().push((name, "begins"));
                    tokio::time::sleep(takes).await;
                })
                .await;
                order.lock().unwrap().push((name, "ends"));
            }
        };
        let quick = Duration::from_millis(10);
        tokio::join!(start("hangs", 100 * PLACE_MAX), start("one", quick), start("two", quick));
        assert_eq!(
            *order.lock().unwrap(),
            [
                ("hangs", "begins"),
                ("one", "begins"),
                ("one", "ends"),
                ("two", "begins"),
                ("two", "ends"),
                ("hangs", "ends")
            ]
        );
    }
}
