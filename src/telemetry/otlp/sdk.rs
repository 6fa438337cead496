//! Spans of the control plane as OTLP: the SDK's own exporter does the encoding, with an HTTP client that
//! keeps the body instead of sending it. Its retries are off; delivery and accounting are ours.

use std::fmt;
use std::io::Read;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::telemetry::metrics::lock;

/// The longest request that is unpacked.
const BODY_BYTES_MAX: u64 = 64 << 20;

pub(in crate::telemetry) struct SdkEncoder {
    exporter: opentelemetry_otlp::SpanExporter,
    body: Arc<Mutex<Option<Bytes>>>,
}

impl SdkEncoder {
    pub fn new(resource: &[(String, String)]) -> Result<SdkEncoder, opentelemetry_otlp::ExporterBuildError> {
        let body = Arc::new(Mutex::new(None));
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(KeepsTheBody(body.clone()))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint("http://localhost/v1/traces")
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let attributes = resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        exporter.set_resource(&Resource::builder_empty().with_attributes(attributes).build());
        Ok(SdkEncoder { exporter, body })
    }

    /// The request for these spans; `None`: they cannot be encoded.
    pub async fn encode(&self, spans: Vec<SpanData>) -> Option<Bytes> {
        self.exporter.export(spans).await.ok()?;
        lock(&self.body).take()
    }
}

struct KeepsTheBody(Arc<Mutex<Option<Bytes>>>);

impl fmt::Debug for KeepsTheBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeepsTheBody")
    }
}

impl HttpClient for KeepsTheBody {
    fn send_bytes<'client, 'answer>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'answer>>
    where
        'client: 'answer,
        Self: 'answer,
    {
        Box::pin(async move {
            // The exporter reads OTEL_EXPORTER_OTLP_COMPRESSION by itself; the transport compresses here.
            let packed = request.headers().get("content-encoding").is_some_and(|coding| coding == "gzip");
            let mut body = request.into_body();
            if packed {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(&*body).take(BODY_BYTES_MAX).read_to_end(&mut plain)?;
                body = plain.into();
            }
            *lock(&self.0) = Some(body);
            Ok(Response::new(Bytes::new()))
        })
    }
}
