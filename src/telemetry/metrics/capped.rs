//! Families whose number of label sets is bounded: a label that grows without end costs one series, not the
//! memory of everybody who scrapes.

use std::collections::HashSet;
use std::sync::Mutex;

use prometheus::IntCounterVec;
use prometheus::core::{MetricVec, MetricVecBuilder};

use crate::model::text::truncate;
use crate::telemetry::exposition::push_label;
use crate::telemetry::names::{self, Family};

use super::lock;

/// Label sets per family; what comes later is folded into one series.
pub const LABEL_SETS_MAX: usize = 2_000;
/// Longest label value. Names are shorter; a version may be as long as its manifest lets it.
const LABEL_BYTES_MAX: usize = 128;

/// A family whose number of label sets is bounded.
pub(super) struct Capped<V> {
    family: &'static Family,
    vec: V,
    known: Mutex<HashSet<String>>,
    overflow: IntCounterVec,
}

/// What `Capped` needs of the crate's vectors, whose builders are private.
pub(super) trait Children {
    type Child;
    fn child(&self, values: &[&str]) -> Self::Child;
    fn remove(&self, values: &[&str]);
}

impl<B: MetricVecBuilder> Children for MetricVec<B> {
    type Child = B::M;

    fn child(&self, values: &[&str]) -> B::M {
        self.with_label_values(values)
    }

    fn remove(&self, values: &[&str]) {
        // An error means that the series does not exist, which is what is wanted.
        let _ = self.remove_label_values(values);
    }
}

// === impl Capped ===

impl<V: Children> Capped<V> {
    pub fn new(family: &'static Family, vec: V, overflow: &IntCounterVec) -> Capped<V> {
        // There before anything overflows: the first step of a counter that appears is lost to `increase`.
        overflow.with_label_values(&[family.name]);
        Capped { family, vec, known: Mutex::default(), overflow: overflow.clone() }
    }

    pub fn get(&self, labels: &[&str]) -> V::Child {
        self.get_rendered(labels).0
    }

    /// The child and its labels as the text formats print them: sorted by name.
    pub fn get_rendered(&self, labels: &[&str]) -> (V::Child, String) {
        let mut values: Vec<&str> = labels.iter().map(|value| truncate(value, LABEL_BYTES_MAX)).collect();
        if !self.admit(&values) {
            values.fill(names::OVERFLOW);
            self.overflow.with_label_values(&[self.family.name]).inc();
        }
        let mut pairs: Vec<(&str, &str)> =
            self.family.labels.iter().copied().zip(values.iter().copied()).collect();
        pairs.sort_unstable();
        let mut rendered = String::new();
        for (name, value) in pairs {
            push_label(&mut rendered, name, value);
        }
        (self.vec.child(&values), rendered)
    }

    fn admit(&self, values: &[&str]) -> bool {
        let key = values.join("\u{1f}");
        let mut known = lock(&self.known);
        if known.contains(&key) {
            return true;
        }
        known.len() < LABEL_SETS_MAX && known.insert(key)
    }

    /// Whether series may be made ahead of their first use.
    pub fn has_room(&self) -> bool {
        lock(&self.known).len() < LABEL_SETS_MAX / 2
    }

    pub fn remove(&self, labels: &[&str]) {
        let values: Vec<&str> = labels.iter().map(|value| truncate(value, LABEL_BYTES_MAX)).collect();
        if lock(&self.known).remove(&values.join("\u{1f}")) {
            self.vec.remove(&values);
        }
    }
}
