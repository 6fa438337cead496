//! The registry as OTLP metrics: cumulative, under the same names as on `/metrics`.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use prost::Message;

use crate::telemetry::names;

/// When the counting began and when it is read.
#[derive(Clone, Copy, Debug)]
pub(in crate::telemetry) struct Period {
    pub start_unix_ns: u64,
    pub now_unix_ns: u64,
}

/// The request, and how many data points it holds.
pub(in crate::telemetry) fn encode(
    families: &[MetricFamily],
    resource: &[(String, String)],
    period: Period,
) -> (Bytes, u64) {
    let metrics: Vec<Metric> = families.iter().filter_map(|family| convert(family, period)).collect();
    let points = metrics.iter().map(points).sum::<usize>() as u64;
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: resource.iter().map(|(key, value)| attribute(key, value)).collect(),
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: names::SCOPE.to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    };
    (request.encode_to_vec().into(), points)
}

fn convert(family: &MetricFamily, period: Period) -> Option<Metric> {
    let numbers = |value: fn(&prometheus::proto::Metric) -> f64| {
        family
            .get_metric()
            .iter()
            .map(|metric| NumberDataPoint {
                attributes: attributes(metric.get_label()),
                start_time_unix_nano: period.start_unix_ns,
                time_unix_nano: period.now_unix_ns,
                value: Some(number_data_point::Value::AsDouble(value(metric))),
                ..NumberDataPoint::default()
            })
            .collect()
    };
    let cumulative = AggregationTemporality::Cumulative as i32;
    let data = match family.get_field_type() {
        MetricType::COUNTER => metric::Data::Sum(Sum {
            data_points: numbers(|metric| metric.get_counter().get_value()),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::GAUGE => {
            metric::Data::Gauge(Gauge { data_points: numbers(|metric| metric.get_gauge().get_value()) })
        }
        MetricType::HISTOGRAM => metric::Data::Histogram(Histogram {
            data_points: family.get_metric().iter().map(|metric| histogram(metric, period)).collect(),
            aggregation_temporality: cumulative,
        }),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        unit: unit(family.name()).to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    })
}

fn histogram(metric: &prometheus::proto::Metric, period: Period) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let mut below = 0;
    let mut counts: Vec<u64> = Vec::with_capacity(histogram.get_bucket().len() + 1);
    for bucket in histogram.get_bucket() {
        counts.push(bucket.cumulative_count() - below);
        below = bucket.cumulative_count();
    }
    counts.push(histogram.get_sample_count().saturating_sub(below));
    HistogramDataPoint {
        attributes: attributes(metric.get_label()),
        start_time_unix_nano: period.start_unix_ns,
        time_unix_nano: period.now_unix_ns,
        count: histogram.get_sample_count(),
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: histogram.get_bucket().iter().map(|bucket| bucket.upper_bound()).collect(),
        ..HistogramDataPoint::default()
    }
}

fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(metric::Data::Sum(sum)) => sum.data_points.len(),
        Some(metric::Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(metric::Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    }
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    labels.iter().map(|label| attribute(label.name(), label.value())).collect()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}

/// UCUM, from the suffix of the name.
fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total");
    if name.ends_with("_seconds") {
        "s"
    } else if name.ends_with("_bytes") {
        "By"
    } else {
        "1"
    }
}
