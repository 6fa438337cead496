//! What the host has to do with drift: it has what was counted judged, and knows which version takes calls.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;

use super::Host;
use crate::drift::picture::Overview;
use crate::drift::{Drift, JUDGE_EVERY};

impl Host {
    /// What is watched for drift.
    pub fn drift(&self) -> &Arc<Drift> {
        &self.drift
    }

    /// Judges what calls have shown, again and again, until it is dropped.
    pub async fn judge_drift(self: Arc<Self>) {
        let mut rounds = tokio::time::interval(JUDGE_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = self.drift.woken() => {}
            }
            let drift = self.drift.clone();
            // A panic in it ends one round.
            let _ = tokio::task::spawn_blocking(move || drift.round()).await;
        }
    }

    /// All that is watched, a line each. Blocks.
    pub fn drift_overview(&self) -> Vec<Overview> {
        let mut lines = self.drift.overview();
        for line in &mut lines {
            let chosen = self.registry.route(&line.plugin, None);
            line.takes_calls = chosen.is_ok_and(|live| live.manifest.version.to_string() == line.version);
        }
        lines
    }
}
