//! OTLP: encoding and delivery to a collector. `encode.rs` writes what calls left behind, `sdk.rs` what the
//! control plane's spans are, `metrics.rs` what the registry holds; `delivery.rs` sends the bytes of all of
//! them, over `http.rs` or `grpc.rs`.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use crate::telemetry::accounting::Signal;
use crate::telemetry::settings::{Endpoint, Protocol};

pub(super) mod delivery;
pub(super) mod encode;
mod grpc;
mod heard;
mod http;
pub mod json;
pub(super) mod metrics;
pub(super) mod sdk;

/// A batch is closed at this many invocations or bytes. A gRPC server takes 4 MiB at most.
pub const BATCH_INVOCATIONS_MAX: u64 = 512;
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// The longest reply that is read.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// What a server made of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It took the batch, but for so many records.
    Accepted { rejected: u64 },
    /// Nobody knows, or not now.
    Retry { after: Option<Duration>, message: String },
    /// It will never take the batch.
    Refused { message: String },
}

/// How requests of one signal reach its collector.
pub(super) enum Transport {
    Http(http::HttpTransport),
    Grpc(grpc::GrpcTransport),
}

/// Why there is no transport for an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("cannot read the certificate {path}: {source}")]
    Certificate { path: String, source: std::io::Error },
    #[error("cannot make an HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    #[error("cannot make a gRPC client: {0}")]
    Grpc(#[from] tonic::transport::Error),
}

impl Transport {
    /// Must be called within the runtime that will send.
    pub fn new(signal: Signal, endpoint: &Endpoint) -> Result<Transport, TransportError> {
        Ok(match endpoint.protocol {
            Protocol::HttpProtobuf => Transport::Http(http::HttpTransport::new(endpoint)?),
            Protocol::Grpc => Transport::Grpc(grpc::GrpcTransport::new(signal, endpoint)?),
        })
    }

    /// One attempt. The timeout spans connecting, sending and reading the whole reply.
    pub async fn send(&self, body: Bytes) -> Verdict {
        match self {
            Transport::Http(transport) => transport.send(body).await,
            Transport::Grpc(transport) => transport.send(body).await,
        }
    }
}

/// Reads `Export*ServiceResponse`: those of all signals have the same fields.
fn read_reply(reply: &[u8]) -> Verdict {
    match ExportTraceServiceResponse::decode(reply) {
        Ok(reply) => {
            let rejected = reply.partial_success.map_or(0, |partial| partial.rejected_spans);
            Verdict::Accepted { rejected: rejected.try_into().unwrap_or(0) }
        }
        Err(_) => Verdict::Retry { after: None, message: "the reply is not OTLP".into() },
    }
}

fn read_certificate(endpoint: &Endpoint) -> Result<Option<Vec<u8>>, TransportError> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path)
            .map_err(|source| TransportError::Certificate { path: path.display().to_string(), source })
    };
    endpoint.certificate.as_ref().map(read).transpose()
}

/// The process needs one cryptography provider; whoever installs one first wins, and any will do.
fn install_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests;
