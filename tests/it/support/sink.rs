//! A collector: receives OTLP over http/protobuf or gRPC, keeps what it got, and misbehaves when asked to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message;
use serde_json::Value;
use tokio::net::TcpListener;

/// How the collector answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// 503, or UNAVAILABLE.
    Unavailable,
    /// Takes the request and says nothing.
    Hanging,
    /// Takes each batch but for one record.
    Picky,
    /// 400, or INVALID_ARGUMENT: never again.
    Refusing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Http,
    Grpc,
}

#[derive(Clone, Debug)]
pub struct SeenSpan {
    pub trace_id: String,
    pub span_id: String,
    pub parent_id: Option<String>,
    pub name: String,
    /// 1 internal, 2 server, 3 client.
    pub kind: i32,
    pub trace_state: String,
    /// The message of the status Error.
    pub error: Option<String>,
    pub attributes: BTreeMap<String, Value>,
    pub resource: BTreeMap<String, Value>,
}

#[derive(Clone, Debug)]
pub struct SeenLog {
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub body: Value,
    pub event_name: String,
    pub attributes: BTreeMap<String, Value>,
}

#[derive(Default)]
struct Received {
    spans: Vec<SeenSpan>,
    logs: Vec<SeenLog>,
    /// Requests that came, whatever became of them: with traces, with logs.
    requests: [u64; 2],
}

#[derive(Clone)]
struct Shared {
    received: Arc<Mutex<Received>>,
    mood: Arc<Mutex<Mood>>,
}

/// It lives in a runtime of its own: stopping it cuts every connection, as kill does.
pub struct Sink {
    transport: Transport,
    address: SocketAddr,
    shared: Shared,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Sink {
    pub fn start(transport: Transport) -> Sink {
        let shared = Shared { received: Arc::default(), mood: Arc::new(Mutex::new(Mood::Well)) };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut sink = Sink { transport, address, shared, runtime: None };
        sink.listen(listener);
        sink
    }

    /// The variables that make the program send everything here.
    pub fn variables(&self) -> Vec<(String, String)> {
        let protocol = if self.transport == Transport::Grpc { "grpc" } else { "http/protobuf" };
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.url()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.into()),
            // So that a collector that hangs is noticed soon.
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500".into()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// Nobody listens any more, and nobody is left of those who were connected.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again, at the same address as before.
    pub async fn reopen(&mut self) {
        let start = std::time::Instant::now();
        let listener = loop {
            match std::net::TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(start.elapsed() < super::PATIENCE, "{}: {error}", self.address),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        self.listen(listener);
    }

    fn listen(&mut self, listener: std::net::TcpListener) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = {
            let _within = runtime.enter();
            TcpListener::from_std(listener).unwrap()
        };
        let shared = self.shared.clone();
        match self.transport {
            Transport::Http => {
                let router = axum::Router::new().fallback(receive).with_state(shared);
                runtime.spawn(async move { axum::serve(listener, router).await });
            }
            Transport::Grpc => {
                let incoming = tonic::transport::server::TcpIncoming::from(listener);
                let server = tonic::transport::Server::builder()
                    .add_service(TraceServiceServer::new(shared.clone()))
                    .add_service(LogsServiceServer::new(shared));
                runtime.spawn(server.serve_with_incoming(incoming));
            }
        }
        self.runtime = Some(runtime);
    }

    pub fn spans(&self) -> Vec<SeenSpan> {
        self.shared.received.lock().unwrap().spans.clone()
    }

    pub fn logs(&self) -> Vec<SeenLog> {
        self.shared.received.lock().unwrap().logs.clone()
    }

    pub fn requests(&self) -> [u64; 2] {
        self.shared.received.lock().unwrap().requests
    }

    /// The spans of a trace, once there are so many.
    pub async fn spans_of(&self, trace_id: &str, count: usize) -> Vec<SeenSpan> {
        let of = || {
            let mut spans = self.spans();
            spans.retain(|span| span.trace_id == trace_id);
            spans
        };
        super::eventually(&format!("{count} spans of {trace_id} have arrived"), super::PATIENCE, || {
            of().len() >= count
        })
        .await;
        of()
    }

    pub async fn logs_of(&self, trace_id: &str, count: usize) -> Vec<SeenLog> {
        let of = || {
            let mut logs = self.logs();
            logs.retain(|log| log.trace_id.as_deref() == Some(trace_id));
            logs
        };
        super::eventually(&format!("{count} logs of {trace_id} have arrived"), super::PATIENCE, || {
            of().len() >= count
        })
        .await;
        of()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    /// Counts the request; what is to be done with it.
    async fn enter(&self, signal: usize) -> Mood {
        self.received.lock().unwrap().requests[signal] += 1;
        let mood = *self.mood.lock().unwrap();
        if mood == Mood::Hanging {
            std::future::pending::<()>().await;
        }
        mood
    }

    fn keep_spans(&self, request: ExportTraceServiceRequest, skip: usize) {
        let mut spans = Vec::new();
        for batch in request.resource_spans {
            let resource = attributes(batch.resource.unwrap_or_default().attributes);
            for span in batch.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                spans.push(SeenSpan {
                    trace_id: hex(&span.trace_id).unwrap(),
                    span_id: hex(&span.span_id).unwrap(),
                    parent_id: hex(&span.parent_span_id),
                    name: span.name,
                    kind: span.kind,
                    trace_state: span.trace_state,
                    error: span.status.filter(|status| status.code == 2).map(|status| status.message),
                    attributes: attributes(span.attributes),
                    resource: resource.clone(),
                });
            }
        }
        self.received.lock().unwrap().spans.extend(spans.into_iter().skip(skip));
    }

    fn keep_logs(&self, request: ExportLogsServiceRequest, skip: usize) {
        let scopes = request.resource_logs.into_iter().flat_map(|batch| batch.scope_logs);
        let logs = scopes.flat_map(|scope| scope.log_records).map(|log| SeenLog {
            trace_id: hex(&log.trace_id),
            span_id: hex(&log.span_id),
            body: value(log.body),
            event_name: log.event_name,
            attributes: attributes(log.attributes),
        });
        self.received.lock().unwrap().logs.extend(logs.skip(skip));
    }
}

// === Over HTTP ===

async fn receive(State(shared): State<Shared>, uri: Uri, body: axum::body::Bytes) -> Response {
    let mood = shared.enter(usize::from(uri.path() == "/v1/logs")).await;
    match mood {
        Mood::Unavailable => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mood::Refusing => return StatusCode::BAD_REQUEST.into_response(),
        Mood::Well | Mood::Picky | Mood::Hanging => {}
    }
    let picky = mood == Mood::Picky;
    let reply = match uri.path() {
        "/v1/traces" => {
            shared.keep_spans(ExportTraceServiceRequest::decode(body).unwrap(), picky.into());
            traces_reply(picky).encode_to_vec()
        }
        "/v1/logs" => {
            shared.keep_logs(ExportLogsServiceRequest::decode(body).unwrap(), picky.into());
            logs_reply(picky).encode_to_vec()
        }
        other => panic!("nobody asked for {other}"),
    };
    ([("content-type", "application/x-protobuf")], reply).into_response()
}

// === Over gRPC ===

#[tonic::async_trait]
impl TraceService for Shared {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let mood = self.enter(0).await;
        refuse(mood)?;
        self.keep_spans(request.into_inner(), (mood == Mood::Picky).into());
        Ok(tonic::Response::new(traces_reply(mood == Mood::Picky)))
    }
}

#[tonic::async_trait]
impl LogsService for Shared {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        let mood = self.enter(1).await;
        refuse(mood)?;
        self.keep_logs(request.into_inner(), (mood == Mood::Picky).into());
        Ok(tonic::Response::new(logs_reply(mood == Mood::Picky)))
    }
}

fn refuse(mood: Mood) -> Result<(), tonic::Status> {
    match mood {
        Mood::Unavailable => Err(tonic::Status::unavailable("not now")),
        Mood::Refusing => Err(tonic::Status::invalid_argument("never")),
        Mood::Well | Mood::Picky | Mood::Hanging => Ok(()),
    }
}

fn traces_reply(picky: bool) -> ExportTraceServiceResponse {
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "not this one".into() };
    ExportTraceServiceResponse { partial_success: picky.then_some(partial) }
}

fn logs_reply(picky: bool) -> ExportLogsServiceResponse {
    let partial = ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "not this one".into() };
    ExportLogsServiceResponse { partial_success: picky.then_some(partial) }
}

// === Reading ===

fn hex(id: &[u8]) -> Option<String> {
    (!id.is_empty()).then(|| id.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|pair| (pair.key, value(pair.value))).collect()
}

fn value(any: Option<AnyValue>) -> Value {
    match any.and_then(|any| any.value) {
        Some(any_value::Value::StringValue(text)) => text.into(),
        Some(any_value::Value::BoolValue(value)) => value.into(),
        Some(any_value::Value::IntValue(value)) => value.into(),
        Some(any_value::Value::DoubleValue(value)) => value.into(),
        None => Value::Null,
        Some(other) => panic!("nothing here sends {other:?}"),
    }
}
