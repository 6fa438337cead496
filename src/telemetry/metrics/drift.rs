//! The gauges of what is watched for drift. They are set when a window is judged, not by calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use prometheus::{Gauge, GaugeVec};

use super::capped::Capped;
use super::{Metrics, lock};
use crate::telemetry::names::{self, Family};

/// What a judged window says of one field. `None` is no value at all, which is not 0: its gauge is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DriftScores {
    /// 0 insufficient, 1 ok, 2 warn, 3 alert.
    pub state: u8,
    pub psi: Option<f64>,
    pub js: Option<f64>,
    pub pvalue: Option<f64>,
    pub null_ratio: Option<f64>,
    pub new_category_ratio: Option<f64>,
}

/// The gauges of one version. Cheap to make; nothing is exposed before it is set.
pub struct DriftSeries {
    families: Arc<DriftFamilies>,
    plugin: String,
    version: String,
    /// `None` once the version is gone: what is still being judged then must not bring its gauges back.
    shown: Mutex<Option<Shown>>,
}

pub(super) struct DriftFamilies {
    state: Capped<GaugeVec>,
    /// In the order of [`DriftScores::values`].
    scores: [Capped<GaugeVec>; SCORES],
    window: Capped<GaugeVec>,
    baseline: Capped<GaugeVec>,
}

#[derive(Default)]
struct Shown {
    fields: HashMap<String, FieldGauges>,
    window: Option<Gauge>,
    baseline: Option<Gauge>,
}

#[derive(Default)]
struct FieldGauges {
    state: Option<Gauge>,
    scores: [Option<Gauge>; SCORES],
}

const SCORES: usize = 5;

// === impl DriftSeries ===

impl DriftSeries {
    pub fn new(metrics: &Metrics, plugin: &str, version: &str) -> DriftSeries {
        DriftSeries {
            families: metrics.drift.clone(),
            plugin: plugin.to_owned(),
            version: version.to_owned(),
            shown: Mutex::new(Some(Shown::default())),
        }
    }

    /// `field` comes from the manifest or a schema, as `$.input.amount`.
    pub fn set_field(&self, field: &str, scores: DriftScores) {
        let mut shown = lock(&self.shown);
        let Some(shown) = shown.as_mut() else { return };
        let gauges = shown.fields.entry(field.to_owned()).or_default();
        let labels = [&*self.plugin, &*self.version, field];
        show(&self.families.state, &labels, &mut gauges.state, Some(f64::from(scores.state)));
        let of_field = self.families.scores.iter().zip(&mut gauges.scores);
        for ((family, gauge), value) in of_field.zip(scores.values()) {
            show(family, &labels, gauge, value);
        }
    }

    /// Calls in the window.
    pub fn set_window(&self, samples: u64) {
        let mut shown = lock(&self.shown);
        let Some(shown) = shown.as_mut() else { return };
        show(&self.families.window, &self.labels(), &mut shown.window, Some(samples as f64));
    }

    /// When the baseline was pinned, in seconds since 1970.
    pub fn set_baseline(&self, unix_s: Option<f64>) {
        let mut shown = lock(&self.shown);
        let Some(shown) = shown.as_mut() else { return };
        show(&self.families.baseline, &self.labels(), &mut shown.baseline, unix_s);
    }

    /// The version is gone: its gauges vanish, and nothing that comes later brings them back.
    pub fn remove(&self) {
        let Some(mut shown) = lock(&self.shown).take() else { return };
        for (field, mut gauges) in shown.fields {
            let labels = [&*self.plugin, &*self.version, &*field];
            show(&self.families.state, &labels, &mut gauges.state, None);
            for (family, gauge) in self.families.scores.iter().zip(&mut gauges.scores) {
                show(family, &labels, gauge, None);
            }
        }
        show(&self.families.window, &self.labels(), &mut shown.window, None);
        show(&self.families.baseline, &self.labels(), &mut shown.baseline, None);
    }

    fn labels(&self) -> [&str; 2] {
        [&self.plugin, &self.version]
    }
}

impl DriftScores {
    fn values(&self) -> [Option<f64>; SCORES] {
        [self.psi, self.js, self.pvalue, self.null_ratio, self.new_category_ratio]
    }
}

impl DriftFamilies {
    pub fn new(
        gauge: impl Fn(&'static Family) -> Result<Capped<GaugeVec>, prometheus::Error>,
    ) -> Result<DriftFamilies, prometheus::Error> {
        Ok(DriftFamilies {
            state: gauge(&names::DRIFT_STATE)?,
            scores: [
                gauge(&names::DRIFT_PSI)?,
                gauge(&names::DRIFT_JS)?,
                gauge(&names::DRIFT_PVALUE)?,
                gauge(&names::FIELD_NULL_RATIO)?,
                gauge(&names::FIELD_NEW_CATEGORY_RATIO)?,
            ],
            window: gauge(&names::DRIFT_WINDOW_SAMPLES)?,
            baseline: gauge(&names::DRIFT_BASELINE_TIMESTAMP)?,
        })
    }
}

/// Sets the gauge, or takes it away. A number that is none would be taken for a value by every rule.
fn show(family: &Capped<GaugeVec>, labels: &[&str], gauge: &mut Option<Gauge>, value: Option<f64>) {
    match value.filter(|value| value.is_finite()) {
        Some(value) => gauge.get_or_insert_with(|| family.get(labels)).set(value),
        None if gauge.take().is_some() => family.remove(labels),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;
    use crate::telemetry::metrics::LABEL_SETS_MAX;
    use crate::telemetry::testing::kept;

    const SCORES: DriftScores = DriftScores {
        state: 3,
        psi: Some(0.31),
        js: Some(0.2),
        pvalue: Some(1e-9),
        null_ratio: Some(0.0),
        new_category_ratio: Some(0.04),
    };

    /// Lines of the drift families, shortened.
    fn lines(telemetry: &Telemetry) -> Vec<String> {
        let text = telemetry.scrape(None).body;
        let ours = |line: &&str| line.starts_with("spanglass_drift_") || line.starts_with("spanglass_field_");
        text.lines().filter(ours).map(|line| line.trim_start_matches("spanglass_").to_owned()).collect()
    }

    #[test]
    fn a_judged_field_has_its_gauges_and_one_without_enough_samples_only_its_state() {
        let (telemetry, _) = kept();
        let series = DriftSeries::new(telemetry.metrics(), "fraud-score", "1.1.0");
        assert_eq!(lines(&telemetry), [""; 0], "nothing before it is set");
        series.set_window(200);
        series.set_baseline(Some(1_767_323_045.0));
        series.set_field("$.input.amount", SCORES);
        let of = |name: &str, value: &str| {
            format!("{name}{{field=\"$.input.amount\",plugin=\"fraud-score\",version=\"1.1.0\"}} {value}")
        };
        let version = "{plugin=\"fraud-score\",version=\"1.1.0\"}";
        let expected = [
            format!("drift_baseline_timestamp_seconds{version} 1767323045"),
            of("drift_js", "0.2"),
            of("drift_psi", "0.31"),
            of("drift_pvalue", "0.000000001"),
            of("drift_state", "3"),
            format!("drift_window_samples{version} 200"),
            of("field_new_category_ratio", "0.04"),
            of("field_null_ratio", "0"),
        ];
        assert_eq!(lines(&telemetry), expected);
        series.set_field("$.input.amount", DriftScores { psi: Some(f64::NAN), ..DriftScores::default() });
        series.set_baseline(None);
        assert_eq!(
            lines(&telemetry),
            [of("drift_state", "0"), format!("drift_window_samples{version} 200")],
            "absent, neither 0 nor NaN"
        );
        series.set_field("$.input.amount", SCORES);
        assert_eq!(lines(&telemetry).len(), 7, "they come back");
    }

    #[test]
    fn the_gauges_of_a_version_vanish_with_it_and_stay_away() {
        let (telemetry, _) = kept();
        let [old, new] =
            ["1.0.0", "1.1.0"].map(|version| DriftSeries::new(telemetry.metrics(), "fraud-score", version));
        for series in [&old, &new] {
            series.set_window(200);
            series.set_baseline(Some(1.0));
            series.set_field("$.input.amount", SCORES);
            series.set_field("$.output.score", SCORES);
        }
        assert_eq!(lines(&telemetry).len(), 2 * 14);
        old.remove();
        // A round that had begun before.
        old.set_field("$.input.amount", SCORES);
        old.set_window(250);
        old.set_baseline(Some(2.0));
        let left = lines(&telemetry);
        assert_eq!(left.len(), 14);
        assert!(left.iter().all(|line| line.contains("version=\"1.1.0\"")), "{left:?}");
    }

    #[test]
    fn a_full_family_folds_what_comes_later_and_says_so_once_a_series() {
        let (telemetry, _) = kept();
        let series = DriftSeries::new(telemetry.metrics(), "wide", "1.0.0");
        let state = |state| DriftScores { state, ..DriftScores::default() };
        for _ in 0..2 {
            (0..LABEL_SETS_MAX + 3)
                .for_each(|number| series.set_field(&format!("$.input.a{number}"), state(1)));
        }
        let text = telemetry.scrape(None).body;
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(count("spanglass_drift_state{"), LABEL_SETS_MAX + 1);
        assert!(text.contains("spanglass_drift_state{field=\"_overflow\""));
        assert!(text.contains("spanglass_series_overflow_total{family=\"spanglass_drift_state\"} 3\n"));
        series.remove();
        let left = telemetry.scrape(None).body;
        assert_eq!(left.lines().filter(|line| line.starts_with("spanglass_drift_state{")).count(), 1);
    }
}
