//! The room as a whole: streams of real rows with known change points go through it as calls do.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use std::collections::BTreeMap;
use std::time::Instant;

use uuid::Uuid;

use super::judge::State;
use super::judged::EXAMPLES_MAX;
use super::picture::{DriftEvent, EventKind, FieldDrift, Origin, Phase};
use super::rounds::PEEK_AFTER;
use super::*;
use crate::model::ids::{InvocationId, TraceId};
use crate::package::read::read;
use crate::store::Store;
use crate::telemetry::settings::Settings;

const PATIENCE: Duration = Duration::from_secs(10);

fn manifest(observe: &str) -> Manifest {
    let text = format!("name: bc\nversion: 1.0.0\nobserve: {observe}\n");
    let (manifest, diagnostics) = read("manifest.yaml", text.as_bytes(), None);
    manifest.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

fn telemetry() -> Telemetry {
    Telemetry::start(Settings::default(), Vec::new()).unwrap()
}

fn in_memory() -> Drift {
    Drift::new(telemetry(), None)
}

fn kept_in(folder: &Path) -> Drift {
    let store = Store::open(folder, PATIENCE).unwrap();
    Drift::new(telemetry(), Some(DriftStore::open(&store).unwrap()))
}

/// Calls, judged as often as a server of some thousand a second would.
fn calls(drift: &Drift, watch: &Watch, rows: impl IntoIterator<Item = (Value, Value)>) {
    for (at, (input, output)) in rows.into_iter().enumerate() {
        call(watch, at as u64, &input, &output);
        if (at + 1) % 50 == 0 {
            drift.round();
        }
    }
    drift.round();
}

/// One call, from its input to its end.
fn call(watch: &Watch, number: u64, input: &Value, output: &Value) {
    let Some(mut sighting) = watch.sight(input, &|_| false) else { return };
    if !output.is_null() {
        watch.sight_output(&mut sighting, output, &|_| false);
    }
    let invocation_id = InvocationId::new(Uuid::from_u128(u128::from(number) + 1));
    let trace_id = TraceId::from_bytes((u128::from(number) + 1).to_be_bytes()).unwrap();
    watch.count(sighting, Seen { invocation_id, trace_id, at_unix_ms: 1_700_000_000_000 + number });
}

const STREAM: &str = "{fields: [$.input.mean_radius, $.input.mean_texture, $.input.mean_smoothness, \
    $.input.mean_concavity, $.input.worst_radius, $.input.worst_texture, $.input.worst_smoothness, \
    $.input.worst_concave_points, $.input.site, $.input.note_len, $.output.score]}";

fn rows(name: &str) -> Vec<(Value, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/drift").join(name);
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut rows = Vec::new();
    lines::read(file, lines::LINES_MAX, |row| rows.push((row.input, row.output))).unwrap();
    rows
}

fn field<'f>(picture: &'f VersionDrift, name: &str) -> &'f FieldDrift {
    picture.fields.iter().find(|field| field.field == name).unwrap()
}

/// After each call that each field was in, from the first alert on, with the calls at which it changed.
fn alarms(drift: &Drift, watch: &Watch, rows: &[(Value, Value)]) -> BTreeMap<String, Vec<(usize, State)>> {
    let mut changes: BTreeMap<String, Vec<(usize, State)>> = BTreeMap::new();
    for (at, (input, output)) in rows.iter().enumerate() {
        call(watch, at as u64, input, output);
        if (at + 1) % 50 == 0 {
            for field in drift.version("bc", "1.0.0").unwrap().fields {
                let changes = changes.entry(field.field).or_default();
                if changes.last().is_none_or(|(_, state)| *state != field.state) {
                    changes.push((at + 1, field.state));
                }
            }
        }
    }
    changes
}

fn first_alert(changes: &[(usize, State)]) -> Option<usize> {
    changes.iter().find(|(_, state)| *state == State::Alert).map(|(at, _)| *at)
}

#[test]
fn what_drifts_alerts_within_300_calls_and_nothing_else_does() {
    let drift = in_memory();
    let watch = drift.watch(&manifest(STREAM)).unwrap();
    let changes = alarms(&drift, &watch, &rows("bc_drift.jsonl"));
    for name in [
        "input.mean_radius",
        "input.mean_concavity",
        "input.worst_radius",
        "input.site",
        "input.mean_texture",
        "output.score",
    ] {
        let changes = &changes[&format!("$.{name}")];
        let at = first_alert(changes).unwrap_or_else(|| panic!("{name}: {changes:?}"));
        assert!((1_601..=1_900).contains(&at), "{name} alerts at {at}: {changes:?}");
    }
    assert_eq!(first_alert(&changes["$.input.note_len"]), None);
    // What is shown of it leads to calls that lie in what grew.
    let picture = drift.version("bc", "1.0.0").unwrap();
    let site = field(&picture, "$.input.site");
    assert!(site.examples.iter().all(|example| example.bin == "unseen categories"), "{:?}", site.examples);
    assert_eq!(site.examples.len(), EXAMPLES_MAX);
    let other = site.bins.iter().find(|bin| bin.kind == "other").unwrap();
    assert!(other.grew && other.baseline_count == 0 && other.current > 0.05, "{other:?}");
    let texture = field(&picture, "$.input.mean_texture");
    assert!(texture.null_ratio.unwrap() > 0.05 && texture.baseline_null_ratio.unwrap() < 0.03, "{texture:?}");
    assert_eq!((picture.state, picture.calls), (State::Alert, 2_500));
}

#[test]
fn what_does_not_change_stays_quiet() {
    let drift = in_memory();
    let watch = drift.watch(&manifest(STREAM)).unwrap();
    let changes = alarms(&drift, &watch, &rows("bc_clean.jsonl"));
    for (name, changes) in &changes {
        assert_eq!(first_alert(changes), None, "{name}: {changes:?}");
    }
    let picture = drift.version("bc", "1.0.0").unwrap();
    assert!(picture.fields.iter().all(|field| field.state == State::Ok && field.psi.is_some()));
}

#[test]
fn what_recovers_is_resolved() {
    let drift = in_memory();
    let watch = drift.watch(&manifest(STREAM)).unwrap();
    let changes = alarms(&drift, &watch, &rows("bc_recalib.jsonl"));
    let radius = &changes["$.input.mean_radius"];
    let at = first_alert(radius).unwrap();
    assert!((1_501..=1_800).contains(&at), "{radius:?}");
    let (over, state) = *radius.last().unwrap();
    assert!(state == State::Ok && (2_401..=2_900).contains(&over), "{radius:?}");
    for (name, changes) in
        changes.iter().filter(|(name, _)| *name != "$.input.mean_radius" && *name != "$.output.score")
    {
        assert_eq!(first_alert(changes), None, "{name}: {changes:?}");
    }
}

/// Wherever the process ends, the next one goes on: nothing is counted twice and nothing is judged anew.
#[test]
fn a_restart_in_the_middle_of_a_window_changes_nothing() {
    let rows = rows("bc_drift.jsonl");
    let whole = in_memory();
    let watch = whole.watch(&manifest(STREAM)).unwrap();
    calls(&whole, &watch, rows.clone());
    let expected = whole.version("bc", "1.0.0").unwrap();

    let temp = tempfile::tempdir().unwrap();
    let mut at = 0;
    // When its baseline has been captured, in a window, and in an alert.
    for until in [500, 503, 1_111, 1_780, 1_950, rows.len()] {
        let drift = kept_in(temp.path());
        let watch = drift.watch(&manifest(STREAM)).unwrap();
        while at < until {
            call(&watch, at as u64, &rows[at].0, &rows[at].1);
            at += 1;
            if at % 333 == 0 {
                drift.round();
            }
        }
        drift.close();
    }
    let drift = kept_in(temp.path());
    drift.watch(&manifest(STREAM)).unwrap();
    let found = drift.version("bc", "1.0.0").unwrap();
    // All but the times.
    let counted = |picture: &VersionDrift| {
        let mut fields = picture.fields.clone();
        for field in &mut fields {
            (field.since, field.examples, field.history) = (None, Vec::new(), Vec::new());
        }
        serde_json::to_value(fields).unwrap()
    };
    assert_eq!(counted(&found), counted(&expected));
    let id = |picture: &VersionDrift| picture.baseline.as_ref().unwrap().id.clone();
    assert_eq!((found.calls, id(&found)), (expected.calls, id(&expected)));
    let kinds = drift.events(&EventFilter { limit: 100, ..EventFilter::default() }).unwrap().items;
    let mut alerting = Vec::new();
    for event in kinds.iter().rev().map(|event| serde_json::from_str::<DriftEvent>(&event.document).unwrap())
    {
        match event.kind {
            EventKind::Detected => {
                assert!(!alerting.contains(&event.field), "told twice: {event:?}");
                alerting.push(event.field);
            }
            EventKind::Resolved => alerting.retain(|field| *field != event.field),
            EventKind::Warned | EventKind::BaselinePinned => {}
        }
    }
    assert!(alerting.len() >= 6, "{alerting:?}");
}

#[test]
fn a_baseline_is_pinned_by_hand_from_a_file_or_from_the_last_calls() {
    let temp = tempfile::tempdir().unwrap();
    let drift = kept_in(temp.path());
    let watch = drift.watch(&manifest("{fields: [$.input.a, $.input.b], baseline: manual}")).unwrap();
    let rows = |from: u64, shift: f64| {
        (from..from + 400).map(move |at| json!({"a": (at * 7_919 % 1_000) as f64 + shift, "b": "x"}))
    };
    rows(0, 0.0).for_each(|input| call(&watch, 0, &input, &Value::Null));
    let picture = drift.version("bc", "1.0.0").unwrap();
    assert_eq!((picture.phase, picture.state, picture.calls), (Phase::Waiting, State::Insufficient, 0));
    assert!(matches!(drift.pin_window("bc", "1.0.0"), Err(PinError::NoBins)));

    let file = |count: usize| {
        rows(0, 0.0).take(count).map(|input| json!({"input": input}).to_string() + "\n").collect::<String>()
    };
    assert!(matches!(
        drift.pin_lines("bc", "1.0.0", file(199).as_bytes()),
        Err(PinError::TooFew { found: 199, .. })
    ));
    assert!(matches!(drift.pin_lines("bc", "1.0.0", b"{}\n".as_slice()), Err(PinError::Lines(_))));
    assert!(matches!(drift.pin_lines("no", "1.0.0", file(400).as_bytes()), Err(PinError::NotWatched { .. })));
    let elsewhere = "{\"input\": {\"c\": 1}}\n".repeat(300);
    assert!(matches!(drift.pin_lines("bc", "1.0.0", elsewhere.as_bytes()), Err(PinError::Nothing)));
    let first = drift.pin_lines("bc", "1.0.0", file(400).as_bytes()).unwrap();
    assert_eq!(
        drift.pin_lines("bc", "1.0.0", file(400).as_bytes()).unwrap().id,
        first.id,
        "the same content"
    );

    rows(0, 5_000.0).for_each(|input| call(&watch, 1, &input, &Value::Null));
    let state = |drift: &Drift| drift.version("bc", "1.0.0").unwrap().state;
    assert_eq!(state(&drift), State::Alert);
    let second = drift.pin_window("bc", "1.0.0").unwrap();
    assert_eq!((second.source, state(&drift)), (Origin::Window, State::Insufficient));
    rows(400, 5_000.0).for_each(|input| call(&watch, 2, &input, &Value::Null));
    assert_eq!(state(&drift), State::Ok, "that is how it is now");
    rows(0, 5_400.0).for_each(|input| call(&watch, 3, &input, &Value::Null));
    assert_eq!(state(&drift), State::Alert, "and what changes from there is seen");
    assert_eq!(drift.pin_earlier("bc", "1.0.0", &first.id).unwrap().id, first.id);
    assert!(matches!(drift.pin_earlier("bc", "1.0.0", "sha256:00"), Err(PinError::Unknown(_))));
    let filter = BaselineFilter { plugin: "bc".to_owned(), limit: 9, ..BaselineFilter::default() };
    let all = drift.baselines(&filter).unwrap().items;
    assert_eq!(
        all.iter().filter(|stored| stored.pinned).map(|stored| &stored.id).collect::<Vec<_>>(),
        [&first.id]
    );
    assert_eq!(all.len(), 2);
}

/// Nobody's values may hurt: not huge ones, not those of no type, not a million of them.
#[test]
fn hostile_values_are_counted_like_all_others() {
    let drift = in_memory();
    let fields = "{fields: [$.input.a, $.input.b, $.input.c, $.output.d], baseline_calls: 200}";
    let watch = drift.watch(&manifest(fields)).unwrap();
    let hostile = |at: u64| {
        let number = [
            json!(1e308),
            json!(-1e308),
            json!(5e-324),
            json!("NaN"),
            Value::Null,
            json!([1, 2]),
            json!({"x": {"y": 1}}),
            json!(u64::MAX),
        ];
        let long = "ä".repeat(5_000);
        json!({"a": number[(at % 8) as usize], "b": format!("category-{at}"), "c": if at.is_multiple_of(2) { json!(long) } else { json!(true) }})
    };
    calls(&drift, &watch, (0..2_000).map(|at| (hostile(at), json!({"d": at}))));
    let picture = drift.version("bc", "1.0.0").unwrap();
    for field in &picture.fields {
        let counted: u64 = field.bins.iter().map(|bin| bin.current_count).sum();
        assert!([field.samples, field.long.samples].contains(&counted), "{}: {counted}", field.field);
        assert!(field.bins.len() <= bins::CELLS_MAX);
        assert!(field.psi.is_none_or(f64::is_finite), "{}", field.field);
        serde_json::to_string(field).unwrap();
    }
    assert!(picture.memory_bytes < 4 * (64 << 10), "{} bytes for four fields", picture.memory_bytes);
    println!("{} bytes at most for a field", picture.memory_bytes / 4);
}

#[test]
fn a_quiet_plugin_is_judged_without_a_full_pane() {
    let drift = in_memory();
    let watch =
        drift.watch(&manifest("{fields: [$.input.a], baseline_calls: 200, min_samples: 50}")).unwrap();
    let row = |at: u64| (json!({"a": at % 97}), Value::Null);
    calls(&drift, &watch, (0..260).map(row));
    let judged = |drift: &Drift| drift.version("bc", "1.0.0").unwrap().window.calls;
    assert_eq!(judged(&drift), 50, "one pane was full");
    // As if a minute had passed.
    watch.judged().judged = Instant::now().checked_sub(PEEK_AFTER);
    assert_eq!(judged(&drift), 60, "and ten calls more");
    call(&watch, 260, &json!({"a": 1}), &Value::Null);
    watch.judged().judged = Instant::now().checked_sub(PEEK_AFTER);
    assert_eq!(judged(&drift), 60, "one more is not worth it");
}

#[test]
fn calls_that_come_faster_than_they_are_judged_are_all_counted() {
    let drift = in_memory();
    let watch = drift.watch(&manifest("{fields: [$.input.a], baseline_calls: 200}")).unwrap();
    let row = |at: u64| json!({"a": at % 97});
    calls(&drift, &watch, (0..200).map(|at| (row(at), Value::Null)));
    (0..10_000).for_each(|at| call(&watch, at, &row(at), &Value::Null));
    let waiting: u64 = watch.open().closed.iter().map(|pane| u64::from(pane.calls)).sum();
    assert_eq!((waiting, watch.open().closed.len()), (10_000, watch::CLOSED_MAX));
    let picture = drift.version("bc", "1.0.0").unwrap();
    assert_eq!((picture.calls, picture.state), (10_000, State::Ok));
    assert!(picture.window.calls > 8_000, "{:?}", picture.window);
}

#[test]
fn of_a_streamed_output_the_first_chunk_counts() {
    let drift = in_memory();
    let watch = drift.watch(&manifest("{fields: [$.input.a, $.output.x], baseline_calls: 200}")).unwrap();
    for at in 0..500_u64 {
        let mut sighting = watch.sight(&json!({"a": at}), &|_| false).unwrap();
        assert!(watch.wants_output(&sighting));
        (0..100).for_each(|chunk| watch.sight_output(&mut sighting, &json!({"x": chunk}), &|_| false));
        assert!(!watch.wants_output(&sighting), "further chunks need not even be parsed");
        let trace_id = TraceId::from_bytes([1; 16]).unwrap();
        let invocation_id = InvocationId::new(Uuid::from_u128(1));
        watch.count(sighting, Seen { invocation_id, trace_id, at_unix_ms: at });
        if (at + 1) % 50 == 0 {
            drift.round();
        }
    }
    let picture = drift.version("bc", "1.0.0").unwrap();
    let of_field = |at: usize| (picture.fields[at].samples, picture.fields[at].bins[0].current_count);
    assert_eq!(of_field(1), (200, 200), "one of each call, as when they were learnt");
    assert_eq!(of_field(0).0, 200);
}

#[test]
fn samples_are_calls_again_and_only_if_they_are_asked_for() {
    let drift = in_memory();
    let fields = "{fields: [$.input.a.b, $.output.x], baseline_calls: 200, samples: 20}";
    let watch = drift.watch(&manifest(fields)).unwrap();
    let row = |at: u64| (json!({"a": {"b": at, "secret": "x"}}), json!({"x": "y"}));
    calls(&drift, &watch, (0..500).map(row));
    let text = drift.samples("bc", "1.0.0").unwrap();
    let mut count = 0;
    lines::read(text.as_bytes(), lines::LINES_MAX, |row| {
        assert!(row.input["a"]["b"].as_u64().is_some_and(|at| at >= 200) && row.output == json!({"x": "y"}));
        assert!(row.input["a"].get("secret").is_none());
        count += 1;
    })
    .unwrap();
    assert_eq!(count, 20);
    let drift = in_memory();
    drift.watch(&manifest("{fields: [$.input.a]}")).unwrap();
    assert_eq!(drift.samples("bc", "1.0.0"), None);
}

/// Neither in a baseline, nor in a sample, nor on the disk: a plugin that gives its key back is not its key's end.
#[test]
fn what_holds_a_secret_is_one_category() {
    let temp = tempfile::tempdir().unwrap();
    let drift = kept_in(temp.path());
    let watch = drift.watch(&manifest("{fields: [$.output.x], baseline_calls: 200, samples: 20}")).unwrap();
    let hides = |text: &str| text.contains("sk-secret");
    for at in 0..300_u64 {
        let mut sighting = watch.sight(&json!({}), &hides).unwrap();
        let text = if at < 250 { "key sk-secret" } else { "sk-secret, another" };
        watch.sight_output(&mut sighting, &json!({"x": text}), &hides);
        let (invocation_id, trace_id) =
            (InvocationId::new(Uuid::from_u128(1)), TraceId::from_bytes([1; 16]).unwrap());
        watch.count(sighting, Seen { invocation_id, trace_id, at_unix_ms: at });
        if at % 50 == 49 {
            drift.round();
        }
    }
    drift.close();
    let picture = drift.version("bc", "1.0.0").unwrap();
    assert_eq!(picture.fields[0].bins[0].label, "***");
    assert_eq!(picture.fields[0].bins[0].current_count, 100);
    let samples = drift.samples("bc", "1.0.0").unwrap();
    assert!(samples.contains("***") && !samples.contains("sk-"), "{samples}");
    for file in ["drift.db", "drift.db-wal"] {
        let bytes = std::fs::read(temp.path().join(file)).unwrap_or_default();
        assert!(!bytes.windows(9).any(|window| window == b"sk-secret"), "{file}");
    }
}

/// Calls that all fail show nothing new: what a step has found is not found again by them.
#[test]
fn the_same_values_again_are_no_second_opinion() {
    let drift = in_memory();
    let watch = drift.watch(&manifest("{fields: [$.output.x], baseline_calls: 200}")).unwrap();
    let rows = |count: u64, shift: u64| {
        (0..count).map(move |at| (json!({}), json!({"x": at * 7_919 % 1_000 + shift})))
    };
    let state = || drift.version("bc", "1.0.0").unwrap().state;
    calls(&drift, &watch, rows(400, 0));
    assert_eq!(state(), State::Ok);
    calls(&drift, &watch, rows(50, 5_000));
    assert_eq!(state(), State::Warn);
    calls(&drift, &watch, (0..150).map(|_| (json!({}), Value::Null)));
    assert_eq!(state(), State::Warn);
    calls(&drift, &watch, rows(50, 5_000));
    assert_eq!(state(), State::Alert);
}

/// A call that began before a baseline was pinned was seen through other bins.
#[test]
fn what_was_seen_through_other_bins_does_not_count() {
    let drift = in_memory();
    let watch = drift.watch(&manifest("{fields: [$.input.a], baseline_calls: 200}")).unwrap();
    calls(&drift, &watch, (0..450_u64).map(|at| (json!({"a": at % 97}), Value::Null)));
    let before = watch.sight(&json!({"a": 1}), &|_| false).unwrap();
    drift.pin_window("bc", "1.0.0").unwrap();
    let (invocation_id, trace_id) =
        (InvocationId::new(Uuid::from_u128(1)), TraceId::from_bytes([1; 16]).unwrap());
    watch.count(before, Seen { invocation_id, trace_id, at_unix_ms: 1 });
    assert_eq!(drift.version("bc", "1.0.0").unwrap().calls, 0);
    call(&watch, 2, &json!({"a": 1}), &Value::Null);
    assert_eq!(drift.version("bc", "1.0.0").unwrap().calls, 1);
}
