//! `limits`, `retry` and `circuit_breaker`: what a version may use and how its calls are repeated and guarded.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::kind::{Blame, ErrorKind};
use crate::model::limits::{Backoff, BreakerSettings, Jitter, Limits, RetrySettings};
use crate::model::units::{format_bytes, format_duration};

use super::super::codes;
use super::super::diagnostic::Diagnostic;
use super::super::manifest::{Isolation, Start};
use super::super::reader::{Reader, Section};

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);
const TIMEOUTS: RangeInclusive<Duration> = MILLISECOND..=DAY;

pub fn limits(reader: &mut Reader<'_>, top: &Section<'_>) -> Limits {
    const KEYS: &[&str] = &[
        "timeout",
        "memory",
        "max_input",
        "max_output",
        "concurrency",
        "queue",
        "instances",
        "calls_per_instance",
        "cpu",
    ];
    let mut limits = Limits::default();
    let Some(field) = top.get("limits") else { return limits };
    let Some(section) = reader.section(&field, KEYS) else { return limits };
    if let Some(field) = section.get("timeout") {
        // A wrong one must not also be said to be shorter than `retry.attempt_timeout`.
        limits.timeout = reader.duration(&field, TIMEOUTS).unwrap_or(Duration::MAX);
    }
    if let Some(field) = section.get("memory") {
        set(&mut limits.memory_bytes, reader.bytes(&field, 1 << 20..=1 << 40));
    }
    if let Some(field) = section.get("max_input") {
        set(&mut limits.input_bytes_max, reader.bytes(&field, 2..=64 << 20));
    }
    if let Some(field) = section.get("max_output") {
        set(&mut limits.output_bytes_max, reader.bytes(&field, 2..=64 << 20));
    }
    if let Some(field) = section.get("queue") {
        set(&mut limits.queue, reader.integer(&field, 0..=100_000));
    }
    if let Some(field) = section.get("calls_per_instance") {
        set(&mut limits.calls_per_instance, reader.integer(&field, 1..=1_000));
        if limits.calls_per_instance > 1 {
            reader.no_effect(&field);
        }
    }
    if let Some(field) = section.get("cpu") {
        reader.no_effect(&field);
    }
    instances(reader, &section, &mut limits);
    if let Some(field) = section.get("concurrency") {
        let concurrency = reader.integer(&field, 1..=1_024);
        set(&mut limits.concurrency, concurrency);
        if concurrency.is_some_and(|calls| calls > limits.instances_max) {
            let message = format!(
                "`limits.concurrency` is {}, but {} instances run at most {} calls at once",
                limits.concurrency, limits.instances_max, limits.instances_max
            );
            let problem = Diagnostic::warning(codes::UNREACHABLE, field.place(), field.path.clone(), message);
            reader.report(problem.help("raise `limits.instances.max` as well"));
        }
    }
    limits
}

fn instances(reader: &mut Reader<'_>, section: &Section<'_>, limits: &mut Limits) {
    let Some(field) = section.get("instances") else { return };
    let keys = ["min", "max", "idle", "max_calls", "max_memory"];
    let Some(section) = reader.section(&field, &keys) else { return };
    if let Some(field) = section.get("idle") {
        set(&mut limits.instance_idle, reader.duration(&field, MILLISECOND..=DAY));
    }
    if let Some(field) = section.get("max_calls") {
        limits.instance_calls_max = reader.integer(&field, 1..=1_000_000_000).map(u64::from);
    }
    if let Some(field) = section.get("max_memory") {
        limits.instance_memory_max = reader.bytes(&field, 1 << 20..=1 << 40);
        if limits.instance_memory_max.is_some_and(|bytes| bytes >= limits.memory_bytes) {
            let message = format!(
                "`limits.instances.max_memory` is not below `limits.memory`, which is {}",
                format_bytes(limits.memory_bytes)
            );
            let problem = Diagnostic::warning(codes::UNREACHABLE, field.place(), field.path.clone(), message);
            reader.report(problem.help("a worker above `limits.memory` is killed; lower `max_memory`"));
        }
    }
    let min = section.get("min");
    let max = section.get("max");
    if let Some(field) = &min {
        set(&mut limits.instances_min, reader.integer(field, 0..=256));
    }
    if let Some(field) = &max {
        set(&mut limits.instances_max, reader.integer(field, 1..=256));
    }
    if let Some(field) = min.or(max)
        && limits.instances_min > limits.instances_max
    {
        let message = format!(
            "`limits.instances.min` is {}, above `max`, which is {}",
            limits.instances_min, limits.instances_max
        );
        reader.error(codes::CONTRADICTION, &field, message, "raise `max` or lower `min`");
    }
}

/// `isolation` and `start`: what calls share, and how workers come to be.
pub fn processes(reader: &mut Reader<'_>, top: &Section<'_>) -> (Isolation, Start) {
    let isolation = top
        .get("isolation")
        .and_then(|field| reader.choice(&field, &[("worker", Isolation::Worker), ("call", Isolation::Call)]));
    let start = top
        .get("start")
        .and_then(|field| reader.choice(&field, &[("auto", Start::Auto), ("spawn", Start::Spawn)]));
    (isolation.unwrap_or_default(), start.unwrap_or_default())
}

pub fn retry(reader: &mut Reader<'_>, top: &Section<'_>, timeout: Duration) -> RetrySettings {
    const KEYS: &[&str] =
        &["max_attempts", "backoff", "base", "cap", "jitter", "attempt_timeout", "retry_on"];
    let mut retry = RetrySettings::default();
    let Some(field) = top.get("retry") else { return retry };
    let Some(section) = reader.section(&field, KEYS) else { return retry };
    if let Some(field) = section.get("max_attempts") {
        set(&mut retry.attempts_max, reader.integer(&field, 1..=20));
    }
    if let Some(field) = section.get("backoff") {
        let choices =
            [("exponential", Backoff::Exponential), ("fixed", Backoff::Fixed), ("none", Backoff::None)];
        set(&mut retry.backoff, reader.choice(&field, &choices));
    }
    if let Some(field) = section.get("jitter") {
        set(&mut retry.jitter, reader.choice(&field, &[("full", Jitter::Full), ("none", Jitter::None)]));
    }
    let base = section.get("base");
    if let Some(field) = &base {
        set(&mut retry.base, reader.duration(field, TIMEOUTS));
    }
    let cap = section.get("cap");
    if let Some(field) = &cap {
        set(&mut retry.cap, reader.duration(field, TIMEOUTS));
    }
    if let Some(field) = cap.or(base)
        && retry.cap < retry.base
    {
        let message = format!(
            "`retry.base` is {}, above `cap`, which is {}",
            format_duration(retry.base),
            format_duration(retry.cap)
        );
        reader.error(codes::CONTRADICTION, &field, message, "raise `cap` or lower `base`");
    }
    if let Some(field) = section.get("attempt_timeout") {
        retry.attempt_timeout = reader.duration(&field, TIMEOUTS);
        if let Some(attempt) = retry.attempt_timeout
            && attempt > timeout
        {
            let message = format!(
                "`retry.attempt_timeout` is {}, but the whole invocation ends after {} (`limits.timeout`)",
                format_duration(attempt),
                format_duration(timeout)
            );
            let problem = Diagnostic::warning(codes::UNREACHABLE, field.place(), field.path.clone(), message);
            reader.report(problem.help("lower it, or raise `limits.timeout`"));
        }
    }
    if let Some(field) = section.get("retry_on") {
        retry.retry_on = retry_on(reader, &field);
    }
    retry
}

fn retry_on(reader: &mut Reader<'_>, field: &super::Field<'_>) -> Vec<ErrorKind> {
    let kinds: Vec<(&str, ErrorKind)> = ErrorKind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    let mut chosen: Vec<ErrorKind> = Vec::new();
    for item in reader.list(field, ErrorKind::ALL.len()) {
        let Some(kind) = reader.choice(&item, &kinds) else { continue };
        if kind.blame() == Blame::Caller {
            let message = format!("`{kind}` is the caller's fault, another attempt ends alike");
            reader.error(codes::UNKNOWN_CHOICE, &item, message, "remove it");
        } else if chosen.contains(&kind) {
            reader.error(codes::REPEATED, &item, format!("`{kind}` is listed twice"), "remove one");
        } else {
            chosen.push(kind);
        }
    }
    chosen
}

pub fn breaker(reader: &mut Reader<'_>, top: &Section<'_>) -> BreakerSettings {
    let mut breaker = BreakerSettings::default();
    let Some(field) = top.get("circuit_breaker") else { return breaker };
    let keys = ["failure_ratio", "window", "min_calls", "open_for"];
    let Some(section) = reader.section(&field, &keys) else { return breaker };
    if let Some(field) = section.get("failure_ratio") {
        set(&mut breaker.failure_ratio, reader.ratio(&field));
    }
    if let Some(field) = section.get("window") {
        set(&mut breaker.window, reader.duration(&field, MILLISECOND..=DAY));
    }
    if let Some(field) = section.get("min_calls") {
        set(&mut breaker.calls_min, reader.integer(&field, 1..=1_000_000));
    }
    if let Some(field) = section.get("open_for") {
        set(&mut breaker.open_for, reader.duration(&field, MILLISECOND..=DAY));
    }
    breaker
}

/// A value that was wrong leaves the default: its mistake is reported, and the manifest will not be used.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
