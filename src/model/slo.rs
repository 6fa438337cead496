//! What a version promises of its calls: the checked form of the manifest's `slo`.

use std::time::Duration;

/// What the rules that come with spanglass look back on.
pub const WINDOW: Duration = Duration::from_secs(30 * 86_400);

/// `slo` of a manifest. Each part counts only if it is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slo {
    /// For people: rules have a window of their own.
    pub window: Duration,
    /// Share of calls that are replied to, above 0 and below 1.
    pub availability: Option<f64>,
    pub latency: Option<LatencyObjective>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyObjective {
    /// Share of calls that are quick enough, above 0 and below 1.
    pub target: f64,
    /// A call that takes exactly so long is quick enough.
    pub under: Duration,
}

impl Default for Slo {
    fn default() -> Slo {
        Slo { window: WINDOW, availability: None, latency: None }
    }
}

impl Slo {
    pub const fn is_empty(&self) -> bool {
        self.availability.is_none() && self.latency.is_none()
    }
}
