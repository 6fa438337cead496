use super::*;
use crate::model::error::InvokeError;
use crate::model::invocation::Usage;
use crate::model::kind::ErrorKind;
use crate::telemetry::events::PluginRemoved;
use crate::telemetry::testing::{begin, kept};
use crate::telemetry::{Ending, Telemetry};

const UNDER: Duration = Duration::from_millis(500);
const GOOD: Option<SloResult> = Some(SloResult::Good);
const BAD: Option<SloResult> = Some(SloResult::Bad);

fn whole() -> Slo {
    let latency = LatencyObjective { target: 0.95, under: UNDER };
    Slo { availability: Some(0.999), latency: Some(latency), ..Slo::default() }
}

fn ended(outcome: Outcome, kind: Option<ErrorKind>, took: Duration, attempts: u32) -> EndedCall {
    EndedCall { ending: EndingLabels { outcome, kind }, took, attempts }
}

/// Every ending and what it is for each objective: availability, latency.
#[test]
fn each_ending_is_a_good_event_or_a_bad_one_or_none() {
    let nanosecond = Duration::from_nanos(1);
    let (soon, late) = (UNDER - nanosecond, UNDER + nanosecond);
    for (outcome, kind, took, attempts, expected) in [
        (Outcome::Replied, None, soon, 1, (GOOD, GOOD)),
        (Outcome::Replied, None, UNDER, 1, (GOOD, GOOD)),
        (Outcome::Replied, None, late, 1, (GOOD, BAD)),
        (Outcome::Replied, None, late, 3, (GOOD, BAD)),
        // A repeat under an idempotency key gets an old reply: that is no duration of the version.
        (Outcome::Replied, None, soon, 0, (GOOD, None)),
        (Outcome::Replied, None, late, 0, (GOOD, None)),
        (Outcome::Dropped, Some(ErrorKind::Cancelled), soon, 1, (None, None)),
        (Outcome::Dropped, Some(ErrorKind::Cancelled), UNDER, 1, (None, None)),
        (Outcome::Dropped, Some(ErrorKind::Cancelled), late, 1, (None, BAD)),
        (Outcome::Dropped, Some(ErrorKind::Cancelled), late, 0, (None, None)),
    ] {
        let call = ended(outcome, kind, took, attempts);
        assert_eq!((availability(call), latency(call, UNDER)), expected, "{call:?}");
    }
    for kind in ErrorKind::ALL {
        for (took, attempts) in [(soon, 1), (late, 1), (soon, 0), (late, 0)] {
            let call = ended(Outcome::Failed, Some(*kind), took, attempts);
            let expected = if kind.blame() == Blame::Caller { None } else { BAD };
            assert_eq!((availability(call), latency(call, UNDER)), (expected, None), "{call:?}");
        }
    }
}

/// `availability good`, `availability bad`, `latency good`, `latency bad`; `None` where there is no series.
fn counters(telemetry: &Telemetry) -> [Option<f64>; 4] {
    [("availability", "good"), ("availability", "bad"), ("latency", "good"), ("latency", "bad")].map(
        |(slo, result)| {
            let labels = format!("plugin=\"echo\",result=\"{result}\",slo=\"{slo}\",version=\"1.0.0\"");
            value(telemetry, &format!("spanglass_slo_events_total{{{labels}}}"))
        },
    )
}

fn objectives(telemetry: &Telemetry) -> [Option<f64>; 2] {
    ["availability", "latency"].map(|slo| {
        let labels = format!("plugin=\"echo\",slo=\"{slo}\",version=\"1.0.0\"");
        value(telemetry, &format!("spanglass_slo_objective_ratio{{{labels}}}"))
    })
}

fn value(telemetry: &Telemetry, series: &str) -> Option<f64> {
    let text = telemetry.scrape(None).body;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn call(telemetry: &Telemetry, ending: Ending<'_>) {
    let mut recording = telemetry.begin(begin());
    recording.bind(telemetry.plugin("echo", "1.0.0", "python", &["invoke"]));
    recording.attempt();
    recording.finish(ending);
}

#[test]
fn recordings_count_for_what_is_promised_and_for_nothing_else() {
    let (telemetry, _) = kept();
    let series = telemetry.plugin("echo", "1.0.0", "python", &["invoke"]);
    call(&telemetry, Ending::Dropped);
    let samples = |line: &str| line.starts_with("spanglass_slo_");
    assert!(!telemetry.scrape(None).body.lines().any(samples), "nothing is promised");

    let error = |kind| InvokeError::new(kind, "no");
    let every_ending = || {
        let [crashed, invalid, internal] =
            [ErrorKind::Crashed, ErrorKind::InvalidInput, ErrorKind::Internal].map(error);
        let usage = Usage::default();
        call(&telemetry, Ending::Replied { usage });
        call(&telemetry, Ending::Failed { error: &crashed, usage });
        call(&telemetry, Ending::Failed { error: &invalid, usage });
        call(&telemetry, Ending::Failed { error: &internal, usage });
        call(&telemetry, Ending::Dropped);
    };
    series.set_slo(&Slo { latency: None, ..whole() });
    assert_eq!(counters(&telemetry), [Some(0.0), Some(0.0), None, None], "at 0 before the first call");
    assert_eq!(objectives(&telemetry), [Some(0.999), None]);
    every_ending();
    assert_eq!(counters(&telemetry), [Some(1.0), Some(2.0), None, None]);

    // Another content under the same version promises something else: counters stay, gauges do not.
    let never = LatencyObjective { target: 0.9, under: Duration::ZERO };
    series.set_slo(&Slo { availability: None, latency: Some(never), ..Slo::default() });
    assert_eq!(objectives(&telemetry), [None, Some(0.9)]);
    assert_eq!(counters(&telemetry), [Some(1.0), Some(2.0), Some(0.0), Some(0.0)]);
    every_ending();
    assert_eq!(counters(&telemetry), [Some(1.0), Some(2.0), Some(0.0), Some(2.0)], "late reply, late drop");

    let ever = LatencyObjective { target: 0.9, under: Duration::from_secs(3600) };
    series.set_slo(&Slo { latency: Some(ever), ..whole() });
    every_ending();
    assert_eq!(counters(&telemetry), [Some(2.0), Some(4.0), Some(1.0), Some(2.0)]);

    telemetry.emit(PluginRemoved { series: &series });
    assert_eq!(objectives(&telemetry), [None, None], "gauges vanish with the version");
    assert_eq!(counters(&telemetry), [Some(2.0), Some(4.0), Some(1.0), Some(2.0)], "counters stay");
}
