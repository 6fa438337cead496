//! The text of `/metrics`: OpenMetrics 1.0 with exemplars, or the classic format, as the reader asks. The
//! crate's own encoder knows no exemplars, and prints bucket bounds in a form that Prometheus 3 changes.

use std::fmt::Write;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::exemplars::{Exemplar, Slots};
use super::metrics::Metrics;
use super::names;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An answer to a scrape.
#[derive(Clone, Debug)]
pub struct Exposition {
    pub content_type: &'static str,
    pub body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    Classic,
}

pub(super) fn render(metrics: &Metrics, accept: Option<&str>) -> Exposition {
    let format = negotiate(accept.unwrap_or(""));
    let mut writer =
        Writer { out: String::with_capacity(16 << 10), labels: String::new(), bounds: Vec::new(), format };
    for family in metrics.gather() {
        writer.family(&family, metrics);
    }
    let mut body = writer.out;
    let content_type = match format {
        Format::OpenMetrics => {
            body.push_str("# EOF\n");
            OPEN_METRICS
        }
        Format::Classic => CLASSIC,
    };
    Exposition { content_type, body }
}

/// The classic text unless OpenMetrics 1.0 is asked for by name and with no lower quality.
fn negotiate(accept: &str) -> Format {
    let (mut open_metrics, mut classic) = (0.0_f64, None::<f64>);
    for item in accept.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or("").to_ascii_lowercase();
        let (mut quality, mut version) = (1.0, None);
        for (key, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => quality = value.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0),
                "version" => version = Some(value.trim().trim_matches('"').to_owned()),
                _ => {}
            }
        }
        match media_type.as_str() {
            "application/openmetrics-text" if matches!(version.as_deref(), None | Some("1.0.0")) => {
                open_metrics = open_metrics.max(quality);
            }
            "text/plain" | "text/*" | "*/*" => classic = Some(classic.unwrap_or(0.0).max(quality)),
            _ => {}
        }
    }
    if open_metrics > 0.0 && open_metrics >= classic.unwrap_or(0.0) {
        Format::OpenMetrics
    } else {
        Format::Classic
    }
}

struct Writer {
    out: String,
    /// The labels of the series at hand, rendered once for all its samples.
    labels: String,
    /// Bounds of buckets as they are printed; nearly all histograms share theirs.
    bounds: Vec<(f64, String)>,
    format: Format,
}

impl Writer {
    fn family(&mut self, family: &MetricFamily, metrics: &Metrics) {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY | MetricType::UNTYPED => return,
        };
        // OpenMetrics names a counter's family without the suffix of its samples.
        let name = match self.format {
            Format::OpenMetrics if kind == "counter" => family.name().trim_end_matches("_total"),
            _ => family.name(),
        };
        self.head(name, kind, family.help());
        let exemplars =
            self.format == Format::OpenMetrics && family.name() == names::INVOCATION_DURATION.name;
        for metric in family.get_metric() {
            self.labels.clear();
            for label in metric.get_label() {
                push_label(&mut self.labels, label.name(), label.value());
            }
            match family.get_field_type() {
                MetricType::COUNTER => {
                    self.sample(family.name(), "", None, metric.get_counter().get_value(), None)
                }
                MetricType::GAUGE => {
                    self.sample(family.name(), "", None, metric.get_gauge().get_value(), None)
                }
                _ => {
                    let slots = if exemplars { metrics.exemplars(&self.labels) } else { None };
                    self.histogram(family.name(), metric, slots.as_deref());
                }
            }
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.out, "# TYPE {name} {kind}");
        if self.format == Format::OpenMetrics
            && let Some(unit) = ["seconds", "bytes", "ratio"].into_iter().find(|unit| ends_in(name, unit))
        {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        let _ = write!(self.out, "# HELP {name} ");
        for character in help.chars() {
            match character {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '"' if self.format == Format::OpenMetrics => self.out.push_str("\\\""),
                character => self.out.push(character),
            }
        }
        self.out.push('\n');
    }

    fn histogram(&mut self, name: &str, metric: &Metric, slots: Option<&Slots>) {
        let histogram = metric.get_histogram();
        let buckets = histogram.get_bucket();
        for (index, bucket) in buckets.iter().enumerate() {
            let exemplar = slots.and_then(|slots| slots.get(index));
            let count = bucket.cumulative_count() as f64;
            self.remember_bound(index, bucket.upper_bound());
            self.sample(name, "_bucket", Some(index), count, exemplar);
        }
        let count = histogram.get_sample_count() as f64;
        let exemplar = slots.and_then(|slots| slots.get(buckets.len()));
        self.remember_bound(buckets.len(), f64::INFINITY);
        self.sample(name, "_bucket", Some(buckets.len()), count, exemplar);
        self.sample(name, "_sum", None, histogram.get_sample_sum(), None);
        self.sample(name, "_count", None, count, None);
    }

    fn remember_bound(&mut self, index: usize, bound: f64) {
        if self.bounds.get(index).is_some_and(|(known, _)| *known == bound) {
            return;
        }
        let mut text = String::new();
        push_bound(&mut text, bound);
        self.bounds.truncate(index);
        self.bounds.push((bound, text));
    }

    /// `le`: which of the remembered bounds.
    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        le: Option<usize>,
        value: f64,
        exemplar: Option<Exemplar>,
    ) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        if le.is_some() || !self.labels.is_empty() {
            self.out.push('{');
            self.out.push_str(&self.labels);
            if let Some(bound) = le {
                if !self.labels.is_empty() {
                    self.out.push(',');
                }
                self.out.push_str("le=\"");
                self.out.push_str(&self.bounds[bound].1);
                self.out.push('"');
            }
            self.out.push('}');
        }
        self.out.push(' ');
        push_value(&mut self.out, value);
        if let Some(exemplar) = exemplar {
            let Exemplar { trace_id, span_id, value, unix_ns } = exemplar;
            let _ = write!(self.out, " # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} ");
            push_value(&mut self.out, value);
            let _ = write!(self.out, " {}.{:03}", unix_ns / 1_000_000_000, unix_ns / 1_000_000 % 1_000);
        }
        self.out.push('\n');
    }
}

/// Appends `name="value"`, with a comma before it unless it is the first.
pub(super) fn push_label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            character => out.push(character),
        }
    }
    out.push('"');
}

fn ends_in(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'))
}

fn push_value(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value.fract() == 0.0 && value.abs() < 9e15 {
        // Most values are counts, and integers print several times faster.
        let _ = write!(out, "{}", value as i64);
    } else {
        let _ = write!(out, "{value}");
    }
}

/// A bound as Go prints floats, with a point or an exponent always: `5e-05`, `0.0001`, `1.0`, `1e+06`.
/// Prometheus 3 normalises to this form, so series survive the upgrade.
fn push_bound(out: &mut String, bound: f64) {
    if !bound.is_finite() {
        return push_value(out, bound);
    }
    let scientific = format!("{bound:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if bound != 0.0 && !(-4..21).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{digits}e{sign}{:02}", exponent.abs());
        return;
    }
    let start = out.len();
    let _ = write!(out, "{bound}");
    if !out[start..].contains('.') {
        out.push_str(".0");
    }
}

#[cfg(test)]
mod tests;
