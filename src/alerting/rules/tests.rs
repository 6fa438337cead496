use super::*;
use crate::telemetry::names::DURATION_BUCKETS;

/// A sum of calls, of which some failed, each of that many milliseconds.
fn slot(calls: u32, errors: u32, ms: f64) -> Slot {
    let mut slot = Slot { calls, errors, ..Slot::default() };
    slot.buckets[DURATION_BUCKETS.partition_point(|bound| *bound < ms / 1e3)] = calls;
    slot
}

fn version(windows: [Slot; 3]) -> VersionPicture {
    VersionPicture {
        plugin: "fraud-score".into(),
        version: Some("1.1.0".into()),
        windows,
        ..VersionPicture::default()
    }
}

fn verdicts(versions: Vec<VersionPicture>) -> Vec<Verdict> {
    let picture = Picture { now: 1_000, versions, store_writable: true, ..Picture::default() };
    judge(&picture, &Thresholds::default())
}

#[test]
fn few_failures_are_no_reason() {
    // Of a minute, of five minutes, of an hour: calls and errors. Strong, weak or nothing.
    let none = (0, 0);
    for (windows, expected) in [
        ([(100, 0), (500, 0), (5_000, 0)], None),
        ([(100, 3), (500, 15), (5_000, 100)], None),
        ([(100, 7), (500, 15), (5_000, 100)], Some(true)),
        ([(100, 25), (500, 25), (5_000, 25)], Some(false)),
        // One in four, at a call each second or two.
        ([(14, 4), (14, 4), (14, 4)], Some(false)),
        ([(8, 2), (8, 2), (8, 2)], Some(true)),
        ([(7, 3), (7, 3), (7, 3)], Some(true)),
        // Three calls, all of which failed.
        ([(1, 1), (2, 2), (3, 3)], Some(false)),
        ([(1, 1), (2, 2), (2, 2)], Some(true)),
        ([(1, 1), (2, 2), (100, 2)], None),
        // It was bad, and has got well.
        ([(60, 0), (300, 100), (600, 400)], None),
        ([none, (300, 100), (600, 400)], Some(false)),
    ] {
        let found = verdicts(vec![version(windows.map(|(calls, errors)| slot(calls, errors, 3.0)))]);
        assert_eq!(found.first().map(|verdict| verdict.weak), expected, "{windows:?}");
        assert!(found.len() <= 1);
    }
}

#[test]
fn a_bad_version_is_seen_beside_a_good_one() {
    let windows = |errors| [slot(40, errors, 3.0), slot(200, errors, 3.0), slot(500, errors, 3.0)];
    let good = VersionPicture { version: Some("1.0.0".into()), ..version(windows(0)) };
    let found = verdicts(vec![good, version(windows(10))]);
    assert_eq!((found.len(), found[0].version.as_deref()), (1, Some("1.1.0")));
    assert!(
        found[0].summary.contains("10 of 40 calls of fraud-score 1.1.0 failed in the last 1m"),
        "{}",
        found[0].summary
    );
}

#[test]
fn what_the_caller_spoilt_is_not_counted() {
    let mut all_refused = slot(100, 0, 3.0);
    all_refused.refused = 90;
    assert!(verdicts(vec![version([all_refused.clone(), all_refused.clone(), all_refused])]).is_empty());
}

#[test]
fn slowness_is_measured_against_the_promise_or_the_past() {
    let windows = |ms| [slot(100, 0, ms), slot(100, 0, ms), slot(100, 0, ms)];
    let past = |ms| slot(1_000, 0, ms);
    let judged = |ms, past_ms: Option<f64>| {
        let past = past_ms.map(past).unwrap_or_default();
        verdicts(vec![VersionPicture { past, ..version(windows(ms)) }]).first().map(|verdict| verdict.weak)
    };
    assert_eq!(judged(400.0, Some(20.0)), Some(false));
    assert_eq!(judged(20.0, Some(20.0)), None);
    assert_eq!(judged(40.0, Some(20.0)), None, "the next bucket");
    assert_eq!(judged(4.0, Some(0.4)), None, "ten times of nothing is nothing");
    assert_eq!(judged(400.0, None), None, "nothing to compare with");
    let promised = |ms, under_ms| {
        let promised = LatencyObjective { target: 0.95, under: Duration::from_millis(under_ms) };
        let version = VersionPicture { promised: Some(promised), past: past(1.0), ..version(windows(ms)) };
        verdicts(vec![version]).first().map(|verdict| verdict.weak)
    };
    assert_eq!(promised(400.0, 250), Some(false));
    assert_eq!(promised(400.0, 500), None, "as promised, whatever was before");
    assert!(
        verdicts(vec![VersionPicture { past: past(1.0), ..version([0; 3].map(|_| slot(5, 0, 4_000.0))) }])
            .is_empty()
    );
}

#[test]
fn silence_is_longer_than_what_is_expected() {
    let plugin =
        |last_call| PluginPicture { plugin: "a".into(), expect_every: Duration::from_secs(100), last_call };
    let judged = |last_call| {
        let plugins = vec![plugin(last_call)];
        let picture = Picture { now: 1_000, plugins, store_writable: true, ..Picture::default() };
        judge(&picture, &Thresholds::default()).len()
    };
    assert_eq!([judged(1_000), judged(895), judged(889)], [0, 0, 1]);
}

fn field(name: &str, state: DriftState, psi: Option<f64>) -> DriftField {
    let id = |text: &str| format!("{text} of {name}");
    let example = Example { invocation_id: id("call"), trace_id: id("trace") };
    DriftField {
        field: name.into(),
        state,
        psi,
        pvalue: psi.map(|_| 3e-10),
        reason: None,
        example: Some(example),
    }
}

fn drift(fields: Vec<DriftField>) -> Option<Verdict> {
    let fact = DriftFact { plugin: "fraud-score".into(), version: "1.1.0".into(), fields };
    let picture = Picture { store_writable: true, drift: vec![fact], ..Picture::default() };
    let mut found = judge(&picture, &Thresholds::default());
    assert!(found.len() <= 1, "one a version: {found:#?}");
    found.pop()
}

#[test]
fn drift_is_told_once_a_version_with_the_worst_fields_first() {
    use DriftState::{Alert, Insufficient, Ok, Warn};
    for quiet in [vec![], vec![Insufficient, Ok, Warn, Warn, Warn]] {
        assert_eq!(drift(quiet.into_iter().map(|state| field("$.a", state, Some(0.4))).collect()), None);
    }
    let one = drift(vec![field("$.input.hour", Ok, Some(0.01)), field("$.input.amount", Alert, Some(0.312))]);
    let one = one.unwrap();
    assert_eq!(
        one.summary,
        "1 of 2 fields of fraud-score 1.1.0 has drifted: $.input.amount (PSI 0.31, p 3e-10)"
    );
    assert!(!one.weak && one.help.contains("spanglass drift show fraud-score@1.1.0"), "{}", one.help);
    assert_eq!(one.example.unwrap().trace_id, "trace of $.input.amount");

    let reason = Some("more or fewer nulls: PSI 0.31 (bound 0.1)".to_owned());
    let with_reason = || DriftField { reason: reason.clone(), ..field("$.a", Alert, Some(0.31)) };
    let said = |fields| drift(fields).unwrap().summary.split_once(": ").unwrap().1.to_owned();
    assert_eq!(said(vec![with_reason()]), "$.a, more or fewer nulls: PSI 0.31 (bound 0.1)");
    assert_eq!(said(vec![with_reason(), with_reason()]), "$.a (PSI 0.31, p 3e-10), $.a (PSI 0.31, p 3e-10)");

    let mut many: Vec<DriftField> =
        (0..8).map(|at| field(&format!("$.f{at}"), Alert, Some(f64::from(at)))).collect();
    many.push(field("$.nulls", Alert, None));
    let many = drift(many).unwrap();
    let expected = "9 of 9 fields of fraud-score 1.1.0 have drifted: $.f7 (PSI 7.00, p 3e-10), $.f6 (PSI 6.00, p 3e-10), $.f5 (PSI 5.00, p 3e-10) and 6 more";
    assert_eq!(many.summary, expected);
    assert_eq!((many.fields.len(), many.examples.len()), (9, 5));
    assert_eq!(many.example.as_ref(), many.examples.first());
}

#[test]
fn a_p_value_of_any_size_is_short() {
    let said = |pvalue| {
        let one = DriftField { pvalue: Some(pvalue), ..field("$.a", DriftState::Alert, None) };
        drift(vec![one]).unwrap().summary.split_once(": ").unwrap().1.to_owned()
    };
    let expected = ["$.a (p 0)", "$.a (p 5e-324)", "$.a (p 1e-9)", "$.a (p 0.004)"];
    assert_eq!([0.0, 5e-324, 1.2e-9, 0.0042].map(said), expected);
}

#[test]
fn the_runner_itself_is_judged() {
    let picture = Picture { telemetry_dropped: 7, store_writable: false, ..Picture::default() };
    let rules: Vec<RuleName> = judge(&picture, &Thresholds::default()).iter().map(|one| one.rule).collect();
    assert_eq!(rules, [RuleName::TelemetryDropped, RuleName::StoreNotWritable]);
}

#[test]
fn each_rule_has_its_runbook() {
    for rule in RuleName::ALL {
        let page = rule.runbook().trim_start_matches('/').to_owned() + ".md";
        let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&page));
        assert!(text.is_ok_and(|text| text.contains(rule.as_str())), "{page}");
    }
}
