//! `slo`: what a version promises of its calls.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::slo::{LatencyObjective, Slo, WINDOW};
use crate::model::units::format_duration;
use crate::telemetry::names::DURATION_BUCKETS;

use super::super::codes;
use super::super::diagnostic::Diagnostic;
use super::super::reader::{Field, Reader, Section};

const WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
const LATENCIES: RangeInclusive<Duration> = Duration::from_micros(50)..=Duration::from_secs(3600);

/// How often a call is to be expected. Calls are known for as long as the built-in series keep them.
pub fn expect_every(reader: &mut Reader<'_>, top: &Section<'_>) -> Option<Duration> {
    const PERIODS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
    let field = top.get("expect_every")?;
    reader.duration(&field, PERIODS)
}

pub fn slo(reader: &mut Reader<'_>, top: &Section<'_>) -> Slo {
    let mut slo = Slo::default();
    let Some(field) = top.get("slo") else { return slo };
    let Some(section) = reader.section(&field, &["window", "availability", "latency"]) else { return slo };
    let availability = section.get("availability");
    let latency = section.get("latency");
    if let Some(field) = section.get("window") {
        slo.window = window(reader, &field).unwrap_or(WINDOW);
    }
    if let Some(field) = &availability {
        slo.availability = share_below_one(reader, field);
    }
    if let Some(field) = &latency {
        slo.latency = self::latency(reader, field);
    }
    if availability.is_none() && latency.is_none() {
        let message = format!("`{}` promises nothing", field.path);
        let note = Diagnostic::note(codes::OBJECTIVE, field.key, field.path.clone(), message);
        reader.report(note.help("give it `availability: 0.999` or `latency: {target: 0.95, under: 500ms}`"));
    }
    slo
}

fn window(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Duration> {
    let window = reader.duration(field, WINDOWS)?;
    if window != WINDOW {
        let message = format!(
            "`{}` is {}, but the rules that come with spanglass look back on {}",
            field.path,
            format_duration(window),
            format_duration(WINDOW)
        );
        reader.report(Diagnostic::note(codes::OBJECTIVE, field.place(), field.path.clone(), message));
    }
    Some(window)
}

fn latency(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<LatencyObjective> {
    let section = reader.section(field, &["target", "under"])?;
    let target = reader.required(&section, "target", "the share of calls, such as `target: 0.95`");
    let target = target.and_then(|field| share_below_one(reader, &field));
    let under = reader.required(&section, "under", "the duration, such as `under: 500ms`");
    let under = under.and_then(|field| {
        let under = reader.duration(&field, LATENCIES)?;
        note_bucket(reader, &field, under);
        Some(under)
    });
    Some(LatencyObjective { target: target?, under: under? })
}

/// The counters of the objective are exact. A histogram only knows its bounds.
fn note_bucket(reader: &mut Reader<'_>, field: &Field<'_>, under: Duration) {
    let nearest = nearest_bound(under);
    if nearest == under {
        return;
    }
    let message = format!(
        "`{}` is {}, which is no bound of the histogram of durations: the objective is counted exactly, but \
         dashboards cannot show it",
        field.path,
        format_duration(under)
    );
    let note = Diagnostic::note(codes::OBJECTIVE, field.place(), field.path.clone(), message);
    reader.report(note.help(format!("the nearest bound is {}", format_duration(nearest))));
}

/// The bound with the smallest factor between them, as the bounds grow by factors.
fn nearest_bound(duration: Duration) -> Duration {
    let factor = |bound: f64| (bound / duration.as_secs_f64()).ln().abs();
    let nearest = DURATION_BUCKETS.into_iter().min_by(|a, b| factor(*a).total_cmp(&factor(*b)));
    Duration::from_secs_f64(nearest.expect("there are buckets"))
}

/// An objective of 1 leaves no budget for errors: every alert on it would divide by zero.
fn share_below_one(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<f64> {
    let share = reader.ratio(field)?;
    if share == 1.0 {
        let message = format!("`{}` is 1, which leaves no room for a single error", field.path);
        reader.error(codes::OUT_OF_RANGE, field, message, "use a share below 1, such as 0.999");
        return None;
    }
    Some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_its_own_nearest_and_others_have_a_neighbour() {
        for bound in DURATION_BUCKETS {
            let bound = Duration::from_secs_f64(bound);
            assert_eq!(nearest_bound(bound), bound);
        }
        for (asked_us, nearest_us) in [
            (50, 50),
            (60, 50),
            (300_000, 250_000),
            (75_000, 100_000),
            (70_000, 50_000),
            (3_600_000_000, 60_000_000),
        ] {
            let nearest = nearest_bound(Duration::from_micros(asked_us));
            assert_eq!(nearest, Duration::from_micros(nearest_us), "{asked_us}");
        }
    }
}
