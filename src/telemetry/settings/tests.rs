use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Settings, Vec<Problem>> {
    Settings::from_env(|name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn nothing_is_sent_without_an_endpoint() {
    let settings = read(&[("OTEL_SERVICE_NAME", "x")]).unwrap();
    assert!(Signal::ALL.iter().all(|signal| settings.otlp.endpoint(*signal).is_none()));
    let disabled = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"), ("OTEL_SDK_DISABLED", "TRUE")];
    assert!(read(&disabled).unwrap().otlp.traces.is_none());
}

#[test]
fn addresses_follow_the_otlp_specification() {
    let settings = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/base/"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://logs.example/in"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
    ])
    .unwrap();
    assert_eq!(settings.otlp.traces.unwrap().url, "http://collector:4318/base/v1/traces");
    assert_eq!(settings.otlp.logs.unwrap().url, "https://logs.example/in");
    assert_eq!(settings.otlp.metrics.unwrap().url, "http://collector:4318/base/v1/metrics");
}

#[test]
fn metrics_go_out_only_when_asked_for_and_signals_can_be_switched_off() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1");
    assert!(read(&[endpoint]).unwrap().otlp.metrics.is_none());
    assert!(read(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().otlp.traces.is_none());
    let by_default = read(&[("OTEL_METRICS_EXPORTER", "otlp")]).unwrap();
    assert_eq!(by_default.otlp.metrics.unwrap().url, "http://localhost:4318/v1/metrics");
}

#[test]
fn grpc_takes_an_address_without_a_scheme() {
    let base = [("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    assert_eq!(read(&base).unwrap().otlp.traces.unwrap().url, "https://c:4317");
    let insecure = [base[0], base[1], ("OTEL_EXPORTER_OTLP_INSECURE", "true")];
    assert_eq!(read(&insecure).unwrap().otlp.traces.unwrap().url, "http://c:4317");
}

#[test]
fn headers_and_attributes_are_percent_decoded() {
    let settings = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20abc%3D, x-tenant = a"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=old,deployment.environment.name=dev%2Ctest"),
        ("OTEL_SERVICE_NAME", "new"),
    ])
    .unwrap();
    let headers = settings.otlp.traces.unwrap().headers;
    assert_eq!((headers[0].0.as_str(), headers[0].1.to_str().unwrap()), ("authorization", "Basic abc="));
    assert_eq!(headers[1].0.as_str(), "x-tenant");
    let expected = [("deployment.environment.name", "dev,test"), ("service.name", "new")];
    assert_eq!(settings.otlp.resource, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[test]
fn all_problems_are_told_at_once_and_no_secret_with_them() {
    let problems = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "sesame"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_LOGS_EXPORTER", "console"),
    ])
    .unwrap_err();
    let variables: Vec<&str> = problems.iter().map(|problem| problem.variable.as_str()).collect();
    for expected in ["_INTERVAL", "_SAMPLER", "_PROTOCOL", "_ENDPOINT", "OTEL_LOGS_EXPORTER"] {
        assert!(variables.iter().any(|variable| variable.contains(expected)), "{expected}: {variables:?}");
    }
    assert!(!format!("{problems:?}").contains("sesame"));
}

#[test]
fn samplers_are_read_as_the_specification_names_them() {
    let ratio = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
    assert_eq!(read(&ratio).unwrap().sampler, Sampler { parent_based: true, ratio: 0.25 });
    assert_eq!(read(&[]).unwrap().sampler, Sampler::default());
}
