//! What versions did lately, from the built-in series. A host without a data folder of its own has none.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{RawQuery, State};
use serde_json::{Map, Value, json};

use super::query::Query;
use super::{Api, Problem, blocking};
use crate::host::Host;
use crate::model::error::{FieldError, InvokeError};
use crate::model::kind::ErrorKind;
use crate::model::units::parse_duration;
use crate::store::series::{Example, Line, Lines, STEPS_S, Series, SeriesFilter, Slot};
use crate::telemetry::names::DURATION_BUCKETS;

const WINDOW_DEFAULT_S: u32 = 300;
const WINDOW_MIN_S: u32 = 10;
const WINDOW_MAX_S: u32 = 7 * 24 * 3_600;
/// A spark line has at most so many steps.
const SPARK_STEPS_MAX: u32 = 60;
/// How far back `/v1/series` looks unless asked.
const SINCE_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// Steps unless a width is asked for.
const STEPS_DEFAULT_MAX: usize = 400;
/// And then: six hours of ten seconds, a week of ten minutes.
const STEPS_MAX: usize = 2_500;
/// Steps of all series of an answer.
const POINTS_MAX: usize = 100_000;
/// How the sum of all plugins is called.
const ALL: &str = "_all";
/// An answer waits at most so long for what was recorded just before it.
const SETTLE_MAX: Duration = Duration::from_millis(200);

pub async fn overview(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let mut query = Query::new(query.as_deref());
    let window = query.parsed("window", |text| match parse_duration(text).map(|window| window.as_secs()) {
        Ok(window @ 10..=604_800) => Ok(u32::try_from(window).unwrap_or(WINDOW_MAX_S)),
        Ok(_) => Err(format!("{text:?} is not from {WINDOW_MIN_S}s to 7d")),
        Err(error) => Err(error.to_string()),
    });
    query.end()?;
    let series = series_of(&api.host)?;
    let host = api.host.clone();
    let document = blocking(move || {
        host.telemetry().flush(SETTLE_MAX);
        overview_json(&host, &series, window.unwrap_or(WINDOW_DEFAULT_S))
    });
    document.await.map(Json)
}

pub async fn series(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let mut query = Query::new(query.as_deref());
    let (plugin, version) = (query.text("plugin"), query.text("version"));
    let (since, until) = (query.time("since"), query.time("until"));
    let step = query.parsed("step", |text| match parse_duration(text).map(|step| step.as_secs()) {
        Ok(seconds) if STEPS_S.iter().any(|step| u64::from(*step) == seconds) => {
            Ok(u32::try_from(seconds).unwrap_or(1))
        }
        _ => Err(format!("{text:?} is none of 1s, 10s, 1m, 10m, 1h")),
    });
    let sum = query.parsed("sum", parse_bool).unwrap_or(false);
    let heat = query.parsed("heat", parse_bool).unwrap_or(false);
    query.end()?;
    let kept = series_of(&api.host)?;
    let now = SystemTime::now();
    let until = until.unwrap_or(now).min(now);
    let since = since.unwrap_or_else(|| until.checked_sub(SINCE_DEFAULT).unwrap_or(SystemTime::UNIX_EPOCH));
    // The second that is just going on belongs to it.
    let (from, until) = (unix_s(since), unix_s(until).saturating_add(1));
    if from >= until {
        return Err(not_valid("since", "it must be before until"));
    }
    let host = api.host.clone();
    let answer = blocking(move || {
        host.telemetry().flush(SETTLE_MAX);
        let filter = SeriesFilter { plugin, version, sum, from, until, step_s: 1, kept_s: None };
        let step_s = match step {
            Some(step) => step,
            None => default_step(&kept, &filter),
        };
        let filter = SeriesFilter { step_s, ..filter };
        let (_, steps) = filter.steps();
        if steps > STEPS_MAX {
            let message = format!("that are {steps} steps, more than {STEPS_MAX}; ask for wider ones");
            return Err(not_valid("step", &message));
        }
        let lines = kept.lines(&filter);
        if lines.lines.len() * steps > POINTS_MAX {
            let message =
                format!("{} series of {steps} steps are too many; name one plugin", lines.lines.len());
            return Err(not_valid("plugin", &message));
        }
        Ok(series_json(&lines, &filter, heat))
    });
    answer.await?.map(Json)
}

fn series_of(host: &Host) -> Result<Arc<Series>, Problem> {
    let none = || Problem::new(ErrorKind::Unavailable, "this host keeps no series");
    host.series().cloned().ok_or_else(none)
}

fn not_valid(pointer: &str, message: &str) -> Problem {
    let mut error =
        InvokeError::new(ErrorKind::InvalidInput, format!("the query is not valid: {pointer}: {message}"));
    error.fields.push(FieldError { pointer: pointer.into(), message: message.into() });
    error.into()
}

fn parse_bool(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

/// The finest that reaches back so far and gives a list that a page can draw.
fn default_step(series: &Series, filter: &SeriesFilter) -> u32 {
    let fits = |step_s: &u32| {
        let filter = SeriesFilter { step_s: *step_s, ..filter.clone() };
        filter.steps().1 <= STEPS_DEFAULT_MAX && series.reach(*step_s) <= filter.from
    };
    STEPS_S.into_iter().find(fits).unwrap_or(3_600)
}

fn series_json(lines: &Lines, filter: &SeriesFilter, heat: bool) -> Value {
    let times: Vec<u32> = (0..lines.steps).map(|at| lines.from + at as u32 * lines.step_s).collect();
    let series: Vec<Value> = lines.lines.iter().map(|line| line_json(line, heat)).collect();
    json!({
        "step_s": lines.step_s,
        "from": rfc3339(lines.from),
        "until": rfc3339(filter.until),
        "times": times,
        "buckets_ms": DURATION_BUCKETS.map(milliseconds),
        "series": series,
        "complete_from": rfc3339(lines.complete_from),
    })
}

fn line_json(line: &Line, heat: bool) -> Value {
    let list = |of: &dyn Fn(&Slot) -> Value| Value::Array(line.steps.iter().map(of).collect());
    let quantile = |q: f64| list(&move |slot| slot.quantile(q).map(milliseconds).into());
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("plugin", (*line.plugin).into());
    put("version", line.version.as_deref().into());
    put("calls", list(&|slot| slot.calls.into()));
    put("errors", list(&|slot| slot.errors.into()));
    put("refused", list(&|slot| slot.refused.into()));
    put("dropped", list(&|slot| slot.dropped.into()));
    put("p50_ms", quantile(0.5));
    put("p95_ms", quantile(0.95));
    put("p99_ms", quantile(0.99));
    put("queue_ms", list(&|slot| slot.mean_queue_ns().map(|ns| ns / 1e6).into()));
    put("cpu_ms", list(&|slot| (slot.cpu_ns as f64 / 1e6).into()));
    put("memory_peak_bytes", list(&|slot| slot.memory_peak_bytes.into()));
    put("cold_starts", list(&|slot| slot.cold_starts.into()));
    if heat {
        put("heat", list(&|slot| slot.buckets.to_vec().into()));
    }
    Value::Object(document)
}

fn overview_json(host: &Host, series: &Series, window_s: u32) -> Value {
    // The window in equal steps, each a whole number of those that are kept: it becomes a little longer, if need be.
    let width = series.width_for(window_s);
    let step_s = window_s.div_ceil(SPARK_STEPS_MAX).div_ceil(width) * width;
    let steps = window_s.div_ceil(step_s);
    let now = unix_s(SystemTime::now()).saturating_add(1);
    // The last kept step counts whole, also while it is not over.
    let until = now.div_ceil(width) * width;
    let from = until.saturating_sub(steps * step_s);
    let filter =
        SeriesFilter { sum: true, from, until, step_s, kept_s: Some(width), ..SeriesFilter::default() };
    let lines = series.lines(&filter);
    let since = from.max(lines.complete_from.min(now.saturating_sub(1)));
    let rates = Rates { from, step_s, seconds: now.saturating_sub(since).max(1) };
    let mut names: Vec<Arc<str>> =
        host.registry().all().iter().map(|live| live.manifest.name.shared()).collect();
    names.extend(lines.lines.iter().map(|line| line.plugin.clone()));
    names.sort();
    names.dedup();
    let none = vec![Slot::default(); lines.steps];
    let mut total = none.clone();
    let mut newest: Option<Example> = None;
    let items: Vec<Value> = names
        .iter()
        .map(|name| {
            let line = lines.lines.iter().find(|line| line.plugin == *name);
            let slots = line.map_or(&none, |line| &line.steps);
            for (sum, slot) in total.iter_mut().zip(slots) {
                sum.add(slot);
            }
            let error = series.last_error(name, None);
            let at = |example: &Option<Example>| example.as_ref().map_or(0, |example| example.at_unix_ns);
            if at(&error) > at(&newest) {
                newest.clone_from(&error);
            }
            let version = host.registry().route(name, None).ok();
            rates.json(name, version.map(|live| live.manifest.version.to_string()), slots, error.as_ref())
        })
        .collect();
    json!({
        "at": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        "window_s": steps * step_s,
        "items": items,
        "total": rates.json(ALL, None, &total, newest.as_ref()),
    })
}

/// How the steps of an overview are read.
struct Rates {
    from: u32,
    step_s: u32,
    /// Of the window, so many are known.
    seconds: u32,
}

impl Rates {
    fn json(&self, plugin: &str, version: Option<String>, slots: &[Slot], error: Option<&Example>) -> Value {
        let mut sum = Slot::default();
        slots.iter().for_each(|slot| sum.add(slot));
        let spark = |of: fn(&Slot) -> u32| -> Vec<u32> { slots.iter().map(of).collect() };
        let quantile = |q: f64| sum.quantile(q).map(milliseconds);
        json!({
            "plugin": plugin,
            "version": version,
            "calls": sum.calls,
            "errors": sum.errors,
            "refused": sum.refused,
            "dropped": sum.dropped,
            "rate": f64::from(sum.calls) / f64::from(self.seconds),
            "error_ratio": sum.error_ratio(),
            "p50_ms": quantile(0.5),
            "p95_ms": quantile(0.95),
            "p99_ms": quantile(0.99),
            "cpu_ms": sum.cpu_ns as f64 / 1e6,
            "memory_peak_bytes": sum.memory_peak_bytes,
            "last_error": error.map(error_json),
            "spark": {
                "step_s": self.step_s,
                "from": rfc3339(self.from),
                "calls": spark(|slot| slot.calls),
                "errors": spark(|slot| slot.errors),
            },
        })
    }
}

fn error_json(error: &Example) -> Value {
    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(error.at_unix_ns);
    json!({
        "at": humantime::format_rfc3339_millis(at).to_string(),
        "kind": error.kind.unwrap_or(ErrorKind::Internal).as_str(),
        "message": error.message,
        "invocation_id": error.invocation_id,
        "trace_id": error.trace_id,
    })
}

fn unix_s(time: SystemTime) -> u32 {
    u32::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
        .unwrap_or(u32::MAX)
}

fn rfc3339(unix_s: u32) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s.into());
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Without the noise of a product: 0.3 ms is not 0.30000000000000004.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e6
}
