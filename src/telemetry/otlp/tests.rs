//! Delivery against collectors with faults: whatever they do, nothing is lost without being counted, and the
//! book balances at every moment.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait on plain threads of their own, each wait within a bound"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;

use crate::telemetry::accounting::{DropReason, SignalAccount};
use crate::telemetry::metrics::lock;
use crate::telemetry::settings::{Otlp, Protocol, Settings};
use crate::telemetry::testing::{self, HttpServer, Request, SPANS_PER_CALL, answer, endpoint, eventually};
use crate::telemetry::{Operation, OperationKind, Telemetry, names};

fn spans_in(body: &[u8]) -> u64 {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len() as u64).sum()
}

fn to(url: &str) -> Settings {
    let otlp = Otlp { traces: Some(endpoint(url, Protocol::HttpProtobuf)), ..Otlp::default() };
    Settings { otlp, ..Settings::default() }
}

fn start(url: &str) -> Telemetry {
    Telemetry::start(to(url), Vec::new()).unwrap()
}

fn traces(telemetry: &Telemetry) -> SignalAccount {
    let accounting = telemetry.accounting();
    assert!(accounting.balances(), "{accounting:?}");
    accounting.traces
}

/// Calls made one after the other, the book read after each.
fn calls(telemetry: &Telemetry, count: u64) {
    for _ in 0..count {
        testing::call(telemetry);
        traces(telemetry);
    }
}

fn settled(telemetry: &Telemetry) {
    eventually("everything is settled", || traces(telemetry).queued == 0);
}

#[test]
fn a_healthy_collector_gets_everything_once() {
    let got = Arc::new(AtomicU64::new(0));
    let counted = got.clone();
    let server = HttpServer::start(move |request: &Request| {
        assert_eq!(request.path, "/v1/traces");
        assert!(request.head.contains("content-type: application/x-protobuf"));
        counted.fetch_add(spans_in(&request.body), Ordering::Relaxed);
        Some(answer("200 OK", "", &[]))
    });
    let telemetry = start(&server.url("/v1/traces"));
    calls(&telemetry, 2_000);
    settled(&telemetry);
    let account = traces(&telemetry);
    assert_eq!(account.produced, 2_000 * SPANS_PER_CALL);
    assert_eq!(account.exported, account.produced);
    assert_eq!(got.load(Ordering::Relaxed), account.produced);
    assert!(account.last_export_unix_seconds > 1e9);
}

#[test]
fn without_an_endpoint_nothing_is_produced() {
    let telemetry = Telemetry::start(Settings::default(), Vec::new()).unwrap();
    calls(&telemetry, 10);
    assert_eq!(telemetry.accounting(), Default::default());
    let text = telemetry.scrape(None).body;
    for signal in ["traces", "logs", "metrics"] {
        assert!(
            text.contains(&format!("spanglass_telemetry_produced_total{{signal=\"{signal}\"}} 0\n")),
            "{text}"
        );
    }
}

#[test]
fn an_unsampled_call_is_recorded_but_not_exported() {
    let server = HttpServer::start(|_| Some(answer("200 OK", "", &[])));
    let (telemetry, kept) = testing::kept_with(to(&server.url("/")));
    let mut parent = testing::remote_parent();
    parent.flags = 0;
    let recording = telemetry.begin(crate::telemetry::Begin { parent: Some(parent), ..testing::begin() });
    drop(recording);
    assert_eq!(kept.one(&telemetry).flags, 0);
    assert_eq!(traces(&telemetry).produced, 0);
}

#[test]
fn partial_success_counts_what_was_rejected() {
    let reply = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "no".into() }),
    };
    let server = HttpServer::start(move |_| Some(answer("200 OK", "", &reply.encode_to_vec())));
    let telemetry = start(&server.url("/"));
    calls(&telemetry, 1);
    settled(&telemetry);
    let account = traces(&telemetry);
    assert_eq!((account.exported, account.dropped[DropReason::Rejected as usize]), (1, 3));
}

#[test]
fn what_is_refused_for_good_is_dropped_and_counted() {
    for status in ["400 Bad Request", "401 Unauthorized", "413 Too Large", "500 Error", "302 Found"] {
        let server = HttpServer::start(move |_| Some(answer(status, "", b"no")));
        let telemetry = start(&server.url("/"));
        calls(&telemetry, 3);
        settled(&telemetry);
        let account = traces(&telemetry);
        assert_eq!(account.dropped[DropReason::Refused as usize], 3 * SPANS_PER_CALL, "{status}");
    }
}

/// Faults that pass: after some of them the server is healthy, and everything has arrived.
#[test]
fn what_may_pass_is_tried_again_until_it_does() {
    let endless = || {
        let mut bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n".to_vec();
        bytes.resize(bytes.len() + (1 << 20), 0);
        Some(bytes)
    };
    let faults: Vec<(&str, Fault)> = vec![
        ("hangs up", Box::new(|| None)),
        ("503", Box::new(|| Some(answer("503 Busy", "", b"")))),
        ("429 with Retry-After", Box::new(|| Some(answer("429 Slow", "retry-after: 0\r\n", b"")))),
        ("HTML", Box::new(|| Some(answer("200 OK", "content-type: text/html\r\n", b"<html>hello</html>")))),
        ("garbage", Box::new(|| Some(b"\x00\x01garbage\r\n\r\n".to_vec()))),
        ("closes mid-reply", Box::new(|| Some(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nabc".to_vec()))),
        ("an endless reply", Box::new(endless)),
    ];
    std::thread::scope(|scope| {
        for (name, fault) in faults {
            scope.spawn(move || passes(name, fault));
        }
    });
}

type Fault = Box<dyn Fn() -> Option<Vec<u8>> + Send + Sync>;

fn passes(name: &str, fault: Fault) {
    let (got, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let (taken, counted) = (got.clone(), seen.clone());
    let server = HttpServer::start(move |request| {
        if counted.fetch_add(1, Ordering::Relaxed) < 2 {
            return fault();
        }
        taken.fetch_add(spans_in(&request.body), Ordering::Relaxed);
        Some(answer("200 OK", "", &[]))
    });
    let telemetry = start(&server.url("/"));
    calls(&telemetry, 5);
    settled(&telemetry);
    let account = traces(&telemetry);
    assert_eq!(account.exported, 5 * SPANS_PER_CALL, "{name}");
    assert_eq!(got.load(Ordering::Relaxed), account.exported, "{name}");
    assert!(seen.load(Ordering::Relaxed) >= 3, "{name}");
}

#[test]
fn a_restarted_collector_misses_nothing() {
    let got = Arc::new(AtomicU64::new(0));
    let take = |got: &Arc<AtomicU64>| {
        let got = got.clone();
        move |request: &Request| {
            got.fetch_add(spans_in(&request.body), Ordering::Relaxed);
            Some(answer("200 OK", "", &[]))
        }
    };
    let server = HttpServer::start(take(&got));
    let address = server.address;
    let telemetry = start(&server.url("/v1/traces"));
    calls(&telemetry, 200);
    drop(server);
    calls(&telemetry, 200);
    eventually("a refused attempt", || {
        testing::call(&telemetry);
        traces(&telemetry).queued > 100 * SPANS_PER_CALL
    });
    let _server = HttpServer::bind(address, take(&got));
    settled(&telemetry);
    let account = traces(&telemetry);
    assert_eq!(account.exported, account.produced);
    assert_eq!(got.load(Ordering::Relaxed), account.produced);
}

#[test]
fn a_dead_collector_costs_bounded_memory_and_every_loss_is_counted() {
    let mut settings = to("http://127.0.0.1:1/v1/traces");
    settings.otlp.buffer_bytes_max = 256 << 10;
    let telemetry = Telemetry::start(settings, Vec::new()).unwrap();
    for _ in 0..40 {
        calls(&telemetry, 100);
        assert!(telemetry.flush(Duration::from_secs(5)));
    }
    let account = traces(&telemetry);
    assert_eq!(account.produced, 4_000 * SPANS_PER_CALL);
    assert!(account.dropped[DropReason::BufferFull as usize] > 0);
    // 256 KiB of spans of about 300 bytes.
    assert!(account.queued > 0 && account.queued < 1_500, "{account:?}");
}

#[test]
fn an_overflowing_queue_counts_what_it_refuses() {
    let server = HttpServer::start(|_| Some(answer("200 OK", "", &[])));
    // A sink that sleeps stands for a telemetry thread that cannot keep up.
    struct Slow(Arc<AtomicBool>);
    impl crate::telemetry::Sink for Slow {
        fn accept(&mut self, _batch: &[crate::telemetry::Record]) {
            while self.0.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    let slow = Arc::new(AtomicBool::new(true));
    let telemetry = Telemetry::start(to(&server.url("/")), vec![Box::new(Slow(slow.clone()))]).unwrap();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let telemetry = telemetry.clone();
            std::thread::spawn(move || {
                for _ in 0..12_000 {
                    testing::call(&telemetry);
                }
            })
        })
        .collect();
    while threads.iter().any(|thread| !thread.is_finished()) {
        traces(&telemetry);
        std::thread::sleep(Duration::from_millis(1));
    }
    slow.store(false, Ordering::Relaxed);
    settled(&telemetry);
    let account = traces(&telemetry);
    assert_eq!(account.produced, 24_000 * SPANS_PER_CALL);
    assert!(account.dropped[DropReason::QueueFull as usize] > 0, "{account:?}");
    assert_eq!(account.exported + account.dropped_sum(), account.produced);
    let lost = account.dropped_sum() / SPANS_PER_CALL;
    let series = "spanglass_ledger_dropped_total{reason=\"queue_full\"} ";
    eventually("the ledger's losses are counted", || {
        let text = telemetry.scrape(None).body;
        let counted = text
            .lines()
            .find_map(|line| line.strip_prefix(series))
            .map(|value| value.parse::<u64>().unwrap());
        // The event that tells of the loss may be lost itself.
        counted.is_some_and(|counted| (lost..lost + 3).contains(&counted))
    });
}

#[test]
fn shutdown_keeps_its_timeout_when_the_collector_hangs() {
    let server = HttpServer::start(|_| {
        std::thread::sleep(Duration::from_secs(3));
        None
    });
    let mut settings = to(&server.url("/"));
    settings.otlp.traces.as_mut().unwrap().timeout = Duration::from_secs(30);
    let telemetry = Telemetry::start(settings, Vec::new()).unwrap();
    calls(&telemetry, 5);
    let begun = Instant::now();
    telemetry.shutdown(Duration::from_millis(300));
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    eventually("the thread gave up", || traces(&telemetry).queued == 0);
    testing::call(&telemetry);
    let account = traces(&telemetry);
    assert_eq!(account.dropped[DropReason::Shutdown as usize], 6 * SPANS_PER_CALL);
}

#[test]
fn shutdown_delivers_what_is_left() {
    let got = Arc::new(AtomicU64::new(0));
    let counted = got.clone();
    let server = HttpServer::start(move |request| {
        counted.fetch_add(spans_in(&request.body), Ordering::Relaxed);
        Some(answer("200 OK", "", &[]))
    });
    let telemetry = start(&server.url("/"));
    calls(&telemetry, 50);
    telemetry.shutdown(Duration::from_secs(10));
    assert_eq!(got.load(Ordering::Relaxed), 50 * SPANS_PER_CALL);
    assert_eq!(traces(&telemetry).exported, 50 * SPANS_PER_CALL);
}

#[test]
fn logs_metrics_and_headers_go_where_they_belong() {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = paths.clone();
    let server = HttpServer::start(move |request| {
        assert!(request.head.contains("x-tenant: a"));
        let mut body = request.body.clone();
        if request.head.contains("content-encoding: gzip") {
            body.clear();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*request.body), &mut body).unwrap();
        }
        lock(&seen).push((request.path.clone(), body));
        Some(answer("200 OK", "", &[]))
    });
    let address = server.url("");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
    ];
    let find =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let telemetry = Telemetry::start(Settings::from_env(find).unwrap(), Vec::new()).unwrap();
    let finished = testing::call(&telemetry);
    telemetry.shutdown(Duration::from_secs(10));
    let seen = lock(&paths);
    let body = |path: &str| &seen.iter().find(|(known, _)| known == path).unwrap().1[..];
    assert_eq!(spans_in(body("/v1/traces")), SPANS_PER_CALL);
    let logs = ExportLogsServiceRequest::decode(body("/v1/logs")).unwrap();
    let log = &logs.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(log.trace_id, finished.trace_id.as_bytes());
    assert_eq!(log.event_name, names::event::INVOCATION_FINISHED);
    let metrics = ExportMetricsServiceRequest::decode(body("/v1/metrics")).unwrap();
    let metrics = &metrics.resource_metrics[0].scope_metrics[0].metrics;
    assert!(metrics.iter().any(|metric| metric.name == names::INVOCATIONS.name));
    let accounting = telemetry.accounting();
    assert!(accounting.balances());
    assert_eq!(accounting.metrics.exported, accounting.metrics.produced);
    assert!(accounting.metrics.produced > 0);
    assert_eq!(accounting.logs.exported, 1);
}

#[test]
fn spans_of_the_control_plane_arrive_by_the_same_road() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = bodies.clone();
    let server = HttpServer::start(move |request| {
        lock(&seen).push(request.body.clone());
        Some(answer("200 OK", "", &[]))
    });
    let (telemetry, kept) = testing::kept_with(to(&server.url("/")));
    let mut register = Operation::start(&telemetry, OperationKind::Register, None);
    register.set("spanglass.plugin.name", "echo");
    let parent = register.context().unwrap();
    let child = Operation::start(&telemetry, OperationKind::Prepare, Some(&parent));
    drop(child);
    register.fail(crate::model::kind::ErrorKind::Conflict, "other bytes");
    drop(register);
    assert!(telemetry.flush(Duration::from_secs(5)));
    settled(&telemetry);
    let account = traces(&telemetry);
    assert_eq!((account.produced, account.exported), (2, 2));
    let operations = lock(&kept.operations);
    assert_eq!(operations[0].parent, Some(parent.span_id));
    assert_eq!(&*operations[1].name, "register");
    assert_eq!(operations[1].error.as_deref(), Some("other bytes"));
    let request = ExportTraceServiceRequest::decode(&*lock(&bodies)[0]).unwrap();
    let resource = &request.resource_spans[0];
    assert!(
        resource.resource.as_ref().unwrap().attributes.iter().any(|pair| pair.key == "service.instance.id")
    );
    let spans = &resource.scope_spans[0].spans;
    assert_eq!(spans[0].parent_span_id, parent.span_id.as_bytes());
    assert_eq!(spans[0].trace_id, parent.trace_id.as_bytes());
}

// === gRPC ===

type Reply = Result<ExportTraceServiceResponse, tonic::Status>;

struct Collector<F>(F);

#[tonic::async_trait]
impl<F: Fn(u64) -> Reply + Send + Sync + 'static> TraceService for Collector<F> {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let spans = spans_in(&request.into_inner().encode_to_vec());
        (self.0)(spans).map(tonic::Response::new)
    }
}

struct GrpcServer {
    url: String,
    _runtime: tokio::runtime::Runtime,
}

fn grpc(reply: impl Fn(u64) -> Reply + Send + Sync + 'static) -> GrpcServer {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service =
        TraceServiceServer::new(Collector(reply)).accept_compressed(tonic::codec::CompressionEncoding::Gzip);
    let server = tonic::transport::Server::builder().add_service(service);
    runtime.spawn(server.serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)));
    GrpcServer { url, _runtime: runtime }
}

fn to_grpc(url: &str, gzip: bool) -> Telemetry {
    let mut traces = endpoint(url, Protocol::Grpc);
    traces.gzip = gzip;
    let otlp = Otlp { traces: Some(traces), ..Otlp::default() };
    Telemetry::start(Settings { otlp, ..Settings::default() }, Vec::new()).unwrap()
}

#[test]
fn grpc_delivers_retries_and_counts() {
    for gzip in [false, true] {
        let got = Arc::new(AtomicU64::new(0));
        let (counted, attempts) = (got.clone(), AtomicUsize::new(0));
        let server = grpc(move |spans| {
            if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err(tonic::Status::unavailable("in a moment"));
            }
            counted.fetch_add(spans, Ordering::Relaxed);
            Ok(ExportTraceServiceResponse { partial_success: None })
        });
        let telemetry = to_grpc(&server.url, gzip);
        calls(&telemetry, 30);
        settled(&telemetry);
        assert_eq!(traces(&telemetry).exported, 30 * SPANS_PER_CALL);
        assert_eq!(got.load(Ordering::Relaxed), 30 * SPANS_PER_CALL);
    }
}

#[test]
fn grpc_refusals_and_partial_success_are_counted() {
    let server = grpc(|_| Err(tonic::Status::resource_exhausted("message too large")));
    let telemetry = to_grpc(&server.url, false);
    calls(&telemetry, 2);
    settled(&telemetry);
    assert_eq!(traces(&telemetry).dropped[DropReason::Refused as usize], 2 * SPANS_PER_CALL);

    let server = grpc(|_| {
        let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: String::new() };
        Ok(ExportTraceServiceResponse { partial_success: Some(partial) })
    });
    let telemetry = to_grpc(&server.url, false);
    calls(&telemetry, 1);
    settled(&telemetry);
    assert_eq!(traces(&telemetry).dropped[DropReason::Rejected as usize], 1);
}

#[test]
fn a_grpc_transport_fault_is_no_answer_of_the_server() {
    // Nobody listens, or what listens speaks something else: tonic says Unknown or Internal, we wait.
    let garbage = HttpServer::start(|_| Some(b"what?".to_vec()));
    for url in ["http://127.0.0.1:1".to_owned(), garbage.url("")] {
        let otlp = Otlp { traces: Some(endpoint(&url, Protocol::Grpc)), ..Otlp::default() };
        let (telemetry, kept) = testing::kept_with(Settings { otlp, ..Settings::default() });
        calls(&telemetry, 1);
        eventually("the failure is told", || {
            let logs = kept.take_logs(&telemetry);
            logs.iter().any(|log| log.event_name == Some(names::event::TELEMETRY_EXPORT_FAILED))
        });
        let account = traces(&telemetry);
        assert_eq!((account.queued, account.dropped_sum()), (SPANS_PER_CALL, 0), "{url}");
    }
}
