//! What the demo does after its first calls: others now and then, payments all the time, and the release. It may
//! run for hours: the rates are bounded, and a machine that wakes up makes up for nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior};

use super::call;
use super::release::{self, Standing};
use super::texts;
use super::traffic::Traffic;
use super::words::Words;
use crate::host::Host;
use crate::model::ids::InvocationId;
use crate::model::invocation::Completed;

/// One call of any plugin.
pub const OTHERS: Duration = Duration::from_secs(5);
/// One payment, as long as somebody is likely to watch.
pub const PAYMENTS: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(15 * 60);
/// One payment, from then on.
const PAYMENTS_LATER: Duration = Duration::from_secs(4);

pub struct Steady<'a> {
    pub host: &'a Arc<Host>,
    pub words: &'a Words,
    pub said: &'a dyn Fn(String),
}

impl Steady<'_> {
    /// Goes on until it is dropped.
    /// `traffic`: what each of them draws from.
    pub async fn run(self, others: Traffic, traffic: &Traffic, standing: Standing, wait: Duration) {
        tokio::join!(
            self.others(others),
            self.payments(traffic.clone()),
            texts::run(self.host, traffic.clone(), self.words, self.said),
            self.release(standing, wait)
        );
    }

    async fn others(&self, mut traffic: Traffic) {
        let mut ticks = every(OTHERS);
        loop {
            ticks.tick().await;
            // How it ended is seen where everything is seen.
            call(self.host.clone(), traffic.next()).await;
        }
    }

    async fn payments(&self, mut traffic: Traffic) {
        let begun = Instant::now();
        let mut ticks = every(PAYMENTS);
        let mut story = Story::default();
        loop {
            ticks.tick().await;
            let completed = call(self.host.clone(), traffic.payment()).await;
            match story.hears(&completed) {
                Some(News::Fails(id)) => (self.said)(self.words.what_to_do(&id)),
                Some(News::Over) => (self.said)(self.words.over()),
                None => {}
            }
            if begun.elapsed() > WATCHED && ticks.period() != PAYMENTS_LATER {
                ticks = every(PAYMENTS_LATER);
            }
        }
    }

    async fn release(&self, standing: Standing, wait: Duration) {
        if standing != Standing::Ahead {
            return;
        }
        match release::after(wait, self.host).await {
            Ok(standing) => (self.said)(self.words.released(&standing)),
            // The rest of the demo is worth looking at without it.
            Err(failure) => (self.said)(self.words.not_released(&failure)),
        }
    }
}

pub fn every(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What the payments have told so far.
#[derive(Default)]
struct Story {
    failed: bool,
}

#[derive(Debug, PartialEq)]
enum News {
    /// The release has failed for the first time since it took the calls.
    Fails(InvocationId),
    /// Another version answers again.
    Over,
}

impl Story {
    fn hears(&mut self, completed: &Completed) -> Option<News> {
        let released = completed.meta.version.as_deref() == Some(&*release::VERSION.to_string());
        match (self.failed, released, &completed.result) {
            (false, true, Err(_)) => {
                self.failed = true;
                Some(News::Fails(completed.meta.invocation_id))
            }
            (true, false, Ok(_)) => {
                self.failed = false;
                Some(News::Over)
            }
            _ => None,
        }
    }
}
