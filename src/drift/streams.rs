//! Streams with known changes (`tests/data/drift`), from their lines to their states, without a server: bins pinned from the
//! first calls, windows of 200 by steps of 50 and long ones of 2,000 by 250.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::batch::baseline_from;
use super::bins::Datum;
use super::judge::{Compared, Persistence, State, Thresholds, compare};
use crate::model::field::{FieldPath, Side};

const FIELDS: [&str; 12] = [
    "$.input.mean_radius",
    "$.input.mean_texture",
    "$.input.mean_smoothness",
    "$.input.mean_concavity",
    "$.input.worst_radius",
    "$.input.worst_texture",
    "$.input.worst_smoothness",
    "$.input.worst_concave_points",
    "$.input.site",
    "$.input.note_len",
    "$.output.score",
    "$.output.class",
];
/// A change has to be found within so many calls.
const FOUND_WITHIN: usize = 300;

struct Stream {
    rows: Vec<Value>,
    manifest: Value,
}

/// Calls after which each field was in alert.
type Alerts = BTreeMap<&'static str, Vec<usize>>;

impl Stream {
    fn read(name: &str) -> Stream {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/drift");
        let lines = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        let manifest = std::fs::read(folder.join(format!("{name}.manifest.json"))).unwrap();
        Stream {
            rows: lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            manifest: serde_json::from_slice(&manifest).unwrap(),
        }
    }

    /// As many calls as the stream's makers would take.
    fn suggested(&self) -> usize {
        let rows = self.manifest["reference_rows"].as_str().unwrap();
        let end = rows.trim_start_matches("0..").split(' ').next().unwrap();
        end.parse().unwrap()
    }

    fn call(&self, name: &str) -> usize {
        self.manifest[name].as_u64().unwrap() as usize
    }

    /// `mean_texture(null rate)` is the field `mean_texture`.
    fn fields(&self, name: &str) -> Vec<&'static str> {
        let names = self.manifest[name].as_array().unwrap();
        let field = |name: &Value| {
            let name = name.as_str().unwrap().split('(').next().unwrap();
            FIELDS
                .into_iter()
                .find(|field| field.ends_with(&format!(".{}", name.trim_start_matches("output."))))
        };
        names.iter().filter_map(field).collect()
    }

    fn alerts(&self, baseline_calls: usize, window: usize, step: usize) -> Alerts {
        let paths: Vec<FieldPath> = FIELDS.iter().map(|field| field.parse().unwrap()).collect();
        let lines: String = self.rows[..baseline_calls].iter().map(|row| format!("{row}\n")).collect();
        let wanted: Vec<_> = paths.iter().map(|path| (path.clone(), None)).collect();
        let baseline = baseline_from(lines.as_bytes(), &wanted, baseline_calls).unwrap();
        let mut states = [Persistence::default(); FIELDS.len()];
        let mut alerts: Alerts = FIELDS.iter().map(|field| (*field, Vec::new())).collect();
        for end in (baseline_calls + window..=self.rows.len()).step_by(step) {
            let counts: Vec<Vec<u32>> = paths
                .iter()
                .zip(&baseline.fields)
                .map(|(path, field)| {
                    let mut counts = vec![0; field.bins.cells()];
                    for row in &self.rows[end - window..end] {
                        let side = &row[if path.side() == Side::Input { "input" } else { "output" }];
                        counts[usize::from(field.bins.cell_of(Datum::at(path, side)))] += 1;
                    }
                    counts
                })
                .collect();
            let compared: Vec<Compared<'_>> = baseline
                .fields
                .iter()
                .zip(&counts)
                .map(|(field, current)| Compared {
                    baseline: &field.counts,
                    current,
                    ordered: field.bins.cells.are_ordered(),
                    dispersion: field.dispersion,
                })
                .collect();
            let comparisons = compare(&compared, &Thresholds::default());
            for ((field, state), comparison) in FIELDS.iter().zip(&mut states).zip(comparisons) {
                if state.step(comparison.verdict) == State::Alert {
                    alerts.get_mut(field).unwrap().push(end);
                }
            }
        }
        alerts
    }
}

/// With the default baseline, the suggested one, and what is about as far from both as anybody would go.
fn baselines(stream: &Stream) -> [usize; 4] {
    [300, 500, stream.suggested(), 1_000]
}

#[test]
fn a_clean_stream_stays_quiet() {
    let stream = Stream::read("bc_clean");
    for calls in baselines(&stream) {
        for (window, step) in [(200, 50), (2_000, 250)] {
            let alerts = stream.alerts(calls, window, step);
            assert!(alerts.values().all(Vec::is_empty), "baseline {calls}, window {window}: {alerts:?}");
        }
    }
}

#[test]
fn each_field_that_drifts_alerts_soon_and_none_that_is_stable_ever() {
    for name in ["bc_drift", "bc_recalib"] {
        let stream = Stream::read(name);
        let change = stream.call("drift_at");
        for calls in baselines(&stream) {
            let alerts = stream.alerts(calls, 200, 50);
            let drifting = stream.fields("drift_fields");
            assert_eq!(drifting.len(), stream.manifest["drift_fields"].as_array().unwrap().len());
            for field in drifting {
                let first = alerts[field].first().copied().unwrap_or(usize::MAX);
                assert!(
                    (change + 1..=change + FOUND_WITHIN).contains(&first),
                    "{name}, baseline {calls}: {field} alerts at {first}"
                );
            }
            for field in stream.fields("stable_fields") {
                assert_eq!(alerts[field], [0; 0], "{name}, baseline {calls}: {field}");
            }
        }
    }
}

#[test]
fn long_windows_alarm_for_no_stable_field_either() {
    for name in ["bc_drift", "bc_recalib"] {
        let stream = Stream::read(name);
        for calls in [500, stream.suggested()] {
            let alerts = stream.alerts(calls, 2_000, 250);
            for field in stream.fields("stable_fields") {
                assert_eq!(alerts[field], [0; 0], "{name}, baseline {calls}: {field}");
            }
        }
    }
}

#[test]
fn what_recovers_is_resolved_and_stays_so() {
    let stream = Stream::read("bc_recalib");
    for calls in baselines(&stream) {
        let alerts = &stream.alerts(calls, 200, 50)["$.input.mean_radius"];
        let last = *alerts.last().unwrap();
        assert!(last <= stream.call("recover_at") + FOUND_WITHIN, "baseline {calls}: still at {last}");
        let steps = (last - alerts[0]) / 50 + 1;
        assert_eq!(alerts.len(), steps, "baseline {calls}: one alert, not several: {alerts:?}");
    }
}
