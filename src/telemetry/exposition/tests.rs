//! Both texts, read line by line as a scraper does.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::*;
use crate::telemetry::{CircuitState, testing};

/// A sample: name, labels, value and what stands after ` # `.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
    exemplar: Option<String>,
}

/// A strict little parser: it panics on what the format forbids.
fn parse(text: &str, open_metrics: bool) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut seen_families = HashSet::new();
    let mut family = (String::new(), String::new());
    let body = if open_metrics { text.strip_suffix("# EOF\n").expect("ends in # EOF") } else { text };
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (keyword, name) = (words.next().unwrap(), words.next().unwrap());
            if keyword == "TYPE" {
                assert!(seen_families.insert(name.to_owned()), "{name} stands twice");
                family = (name.to_owned(), words.next().unwrap().to_owned());
            } else {
                assert_eq!(name, family.0, "{line}");
                assert!(["HELP", "UNIT"].contains(&keyword), "{line}");
                assert!(
                    keyword != "UNIT" || (open_metrics && name.ends_with(words.next().unwrap())),
                    "{line}"
                );
            }
            continue;
        }
        let sample = parse_sample(line);
        let suffix = sample.name.strip_prefix(&family.0).expect("belongs to its family");
        let allowed: &[&str] = match family.1.as_str() {
            "counter" if open_metrics => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(allowed.contains(&suffix), "{line}");
        assert!(sample.exemplar.is_none() || (open_metrics && suffix == "_bucket"), "{line}");
        samples.push(sample);
    }
    samples
}

fn parse_sample(line: &str) -> Sample {
    let (series, exemplar) = match line.split_once(" # ") {
        Some((series, exemplar)) => (series, Some(exemplar.to_owned())),
        None => (line, None),
    };
    let name_end = series.find(['{', ' ']).unwrap();
    let name = series[..name_end].to_owned();
    let mut labels = BTreeMap::new();
    let mut rest = &series[name_end..];
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (key, tail) = inner.split_once("=\"").unwrap();
            let mut value = String::new();
            let mut characters = tail.char_indices();
            let end = loop {
                match characters.next().unwrap() {
                    (_, '\\') => value.push(match characters.next().unwrap().1 {
                        'n' => '\n',
                        escaped => escaped,
                    }),
                    (at, '"') => break at,
                    (_, character) => value.push(character),
                }
            };
            assert!(labels.insert(key.to_owned(), value).is_none(), "{line}");
            inner = &tail[end + 1..];
            if let Some(tail) = inner.strip_prefix('}') {
                rest = tail;
                break;
            }
            inner = inner.strip_prefix(',').unwrap();
        }
    }
    let value = rest.trim().replace("+Inf", "inf").parse().unwrap();
    Sample { name, labels, value, exemplar }
}

#[test]
fn both_texts_say_the_same_and_only_one_has_exemplars() {
    let (telemetry, _) = testing::kept();
    let finished = testing::call(&telemetry);
    let open = telemetry.scrape(Some("application/openmetrics-text;version=1.0.0"));
    assert_eq!(open.content_type, OPEN_METRICS);
    let classic = telemetry.scrape(None);
    assert_eq!(classic.content_type, CLASSIC);
    let (open, classic) = (parse(&open.body, true), parse(&classic.body, false));
    assert_eq!(open.len(), classic.len());
    for (open, classic) in open.iter().zip(&classic) {
        assert_eq!((&open.name, &open.labels, open.value), (&classic.name, &classic.labels, classic.value));
    }
    let exemplars: Vec<&str> = open.iter().filter_map(|sample| sample.exemplar.as_deref()).collect();
    assert_eq!(exemplars.len(), 1);
    let (trace, span) = (finished.trace_id, finished.root_span_id);
    assert!(
        exemplars[0].starts_with(&format!("{{trace_id=\"{trace}\",span_id=\"{span}\"}} ")),
        "{exemplars:?}"
    );
    assert_eq!(exemplars[0].split(' ').count(), 3, "labels, value, timestamp");
}

#[test]
fn a_call_counts_where_it_should() {
    let (telemetry, _) = testing::kept();
    testing::call(&telemetry);
    let samples = parse(&telemetry.scrape(None).body, false);
    let find = |name: &str, wanted: &[(&str, &str)]| {
        let all: Vec<f64> = samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| wanted.iter().all(|(key, value)| sample.labels[*key] == *value))
            .map(|sample| sample.value)
            .collect();
        assert_eq!(all.len(), 1, "{name} {wanted:?}");
        all[0]
    };
    let replied = [("plugin", "echo"), ("version", "1.0.0"), ("outcome", "replied"), ("error_type", "none")];
    assert_eq!(find("spanglass_invocations_total", &replied), 1.0);
    assert_eq!(find("spanglass_invocations_total", &[("error_type", "crashed"), ("blame", "plugin")]), 0.0);
    let count = [("plugin", "echo"), ("outcome", "replied")];
    assert_eq!(find("spanglass_invocation_duration_seconds_count", &count), 1.0);
    assert_eq!(find("spanglass_attempts_total", &[("result", "replied")]), 1.0);
    assert_eq!(find("spanglass_queue_wait_seconds_count", &[("plugin", "echo")]), 1.0);
    assert_eq!(find("spanglass_active_invocations", &[]), 0.0);
    assert_eq!(find("spanglass_circuit_state", &[("state", "closed")]), 1.0);
    assert_eq!(find("spanglass_circuit_state", &[("state", "open")]), 0.0);
    assert_eq!(find("spanglass_plugin_cpu_seconds_total", &[]), 0.001);
    assert_eq!(find("spanglass_build_info", &[]), 1.0);
    for sample in &samples {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.name.strip_suffix(end));
        let known =
            names::FAMILIES.iter().any(|family| family.name == sample.name || Some(family.name) == base);
        assert!(known, "{} is not in names.rs", sample.name);
    }
}

#[test]
fn bounds_are_printed_as_go_prints_them() {
    let cases = [
        (0.00005, "5e-05"),
        (0.0001, "0.0001"),
        (0.00025, "0.00025"),
        (0.001, "0.001"),
        (1.0, "1.0"),
        (2.5, "2.5"),
        (60.0, "60.0"),
        (0.0, "0.0"),
        (1e6, "1000000.0"),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-07"),
        (f64::INFINITY, "+Inf"),
    ];
    for (bound, expected) in cases {
        let mut out = String::new();
        push_bound(&mut out, bound);
        assert_eq!(out, expected);
    }
    let (telemetry, _) = testing::kept();
    testing::call(&telemetry);
    for accept in [None, Some("application/openmetrics-text")] {
        let text = telemetry.scrape(accept).body;
        for bound in ["5e-05", "0.0001", "1.0", "60.0", "+Inf"] {
            assert!(text.contains(&format!("le=\"{bound}\"}} ")), "{bound}");
        }
    }
}

#[test]
fn values_that_are_no_numbers_have_names() {
    for (value, expected) in
        [(f64::NAN, "NaN"), (f64::INFINITY, "+Inf"), (f64::NEG_INFINITY, "-Inf"), (3.0, "3"), (0.1, "0.1")]
    {
        let mut out = String::new();
        push_value(&mut out, value);
        assert_eq!(out, expected);
    }
}

#[test]
fn hostile_label_values_are_escaped_and_read_back() {
    let (telemetry, _) = testing::kept();
    let hostile = "a\"b\\c\nd{},= é";
    telemetry.plugin("evil", hostile, "process", &["invoke"]);
    for accept in [None, Some("application/openmetrics-text")] {
        let samples = parse(&telemetry.scrape(accept).body, accept.is_some());
        assert!(
            samples.iter().any(|sample| sample.labels.get("version").is_some_and(|value| value == hostile))
        );
    }
}

#[test]
fn the_format_is_negotiated_by_quality() {
    use Format::{Classic, OpenMetrics};
    let cases = [
        ("", Classic),
        ("*/*", Classic),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Classic),
        ("application/openmetrics-text", OpenMetrics),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OpenMetrics,
        ),
        ("application/openmetrics-text; version=1.0.0; q=0.5, text/plain;q=0.9", Classic),
        ("application/openmetrics-text;version=1.0.0;q=0", Classic),
        ("application/openmetrics-text;version=2.0.0", Classic),
        ("APPLICATION/OpenMetrics-Text; Version=\"1.0.0\"", OpenMetrics),
        ("text/plain;version=0.0.4", Classic),
        ("application/openmetrics-text;q=nonsense", Classic),
    ];
    for (accept, expected) in cases {
        assert_eq!(negotiate(accept), expected, "{accept}");
    }
}

#[test]
fn a_full_family_folds_the_rest_into_one_series() {
    let (telemetry, _) = testing::kept();
    for number in 0..1_000 {
        telemetry.plugin(&format!("p{number}"), "1.0.0", "process", &["invoke"]);
    }
    let text = telemetry.scrape(None).body;
    assert!(!text.contains("spanglass_invocations_total{action=\"_overflow\""), "idle plugins ate a family");
    let many: Vec<String> = (0..1_500).map(|number| format!("action-{number}")).collect();
    let actions: Vec<&str> = many.iter().map(String::as_str).collect();
    telemetry.plugin("wide", "1.0.0", "process", &actions);
    let samples = parse(&telemetry.scrape(None).body, false);
    let of_family: Vec<_> = samples.iter().filter(|sample| sample.name == names::INVOCATIONS.name).collect();
    assert_eq!(of_family.len(), crate::telemetry::metrics::LABEL_SETS_MAX + 1);
    let overflow = samples
        .iter()
        .find(|sample| {
            sample.name == "spanglass_series_overflow_total"
                && sample.labels["family"] == names::INVOCATIONS.name
        })
        .unwrap();
    assert!(overflow.value >= 400.0, "{overflow:?}");
}

#[test]
fn a_removed_plugin_leaves_no_gauges() {
    use crate::telemetry::events::{CircuitOpened, PluginRemoved};
    let (telemetry, _) = testing::kept();
    let (old, new) = (
        telemetry.plugin("p", "1.0.0", "process", &["invoke"]),
        telemetry.plugin("p", "2.0.0", "process", &["invoke"]),
    );
    telemetry.emit(CircuitOpened { series: &new, failure_ratio: 0.5, open_for: Duration::from_secs(15) });
    let gauges = |telemetry: &crate::telemetry::Telemetry| {
        let text = telemetry.scrape(None).body;
        let open =
            format!("spanglass_circuit_state{{plugin=\"p\",state=\"{}\"}} 1\n", CircuitState::Open.as_str());
        (text.contains(&open), text.contains("spanglass_active_invocations{plugin=\"p\"}"))
    };
    telemetry.emit(PluginRemoved { series: &old });
    assert_eq!(gauges(&telemetry), (true, true), "another version lives");
    telemetry.emit(PluginRemoved { series: &new });
    assert_eq!(gauges(&telemetry), (false, false));
    assert!(
        telemetry.scrape(None).body.contains("spanglass_invocations_total{action=\"invoke\""),
        "counters stay"
    );
    let again = telemetry.plugin("p", "2.0.0", "process", &["invoke"]);
    assert!(!std::sync::Arc::ptr_eq(&again, &new));
    assert_eq!(gauges(&telemetry), (false, true));
}
