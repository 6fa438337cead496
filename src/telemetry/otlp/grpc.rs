//! OTLP over gRPC: the body is bytes already, so the codec passes them through.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status};

use crate::telemetry::accounting::Signal;
use crate::telemetry::settings::Endpoint;

use super::heard::{Heard, Listening};
use super::{
    REPLY_BYTES_MAX, TransportError, Verdict, install_crypto_provider, read_certificate, read_reply,
};

pub(in crate::telemetry) struct GrpcTransport {
    channel: Channel,
    gzip: bool,
    path: http::uri::PathAndQuery,
    metadata: MetadataMap,
    timeout: Duration,
}

impl GrpcTransport {
    pub fn new(signal: Signal, endpoint: &Endpoint) -> Result<GrpcTransport, TransportError> {
        let mut channel = Channel::builder(endpoint.url.clone());
        if endpoint.url.scheme_str() == Some("https") {
            install_crypto_provider();
            let tls = match read_certificate(endpoint)? {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            channel = channel.tls_config(tls)?;
        }
        let path = match signal {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        };
        Ok(GrpcTransport {
            channel: channel.connect_lazy(),
            gzip: endpoint.gzip,
            path: http::uri::PathAndQuery::from_static(path),
            metadata: MetadataMap::from_headers(endpoint.headers.iter().cloned().collect()),
            timeout: endpoint.timeout,
        })
    }

    pub async fn send(&self, body: Bytes) -> Verdict {
        let heard = Arc::new(Heard::default());
        match tokio::time::timeout(self.timeout, self.call(body, heard.clone())).await {
            Ok(Ok(reply)) => read_reply(&reply),
            Ok(Err(status)) => judge(&status, &heard),
            Err(_) => Verdict::Retry { after: None, message: format!("no reply within {:?}", self.timeout) },
        }
    }

    async fn call(&self, body: Bytes, heard: Arc<Heard>) -> Result<Bytes, Status> {
        // A clone shares the connection.
        let channel = Listening { channel: self.channel.clone(), heard };
        let mut client = Grpc::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
        if self.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = Request::new(body);
        *request.metadata_mut() = self.metadata.clone();
        Ok(client.unary(request, self.path.clone(), RawCodec).await?.into_inner())
    }
}

/// A status that the server did not send was made up here, whatever its code: tonic says Unknown or Internal where
/// OTLP means Unavailable. Then HTTP's status counts, as over HTTP; what broke off after a 200 is tried again.
fn judge(status: &Status, heard: &Heard) -> Verdict {
    let message = format!("{:?}: {}", status.code(), status.message());
    let after = retry_delay(status.details());
    let again = match status.code() {
        _ if !heard.has_refused() => matches!(heard.http_status(), 0 | 200..=299 | 429 | 502..=504),
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Cancelled
        | Code::OutOfRange
        | Code::DataLoss => true,
        // Without RetryInfo it means "too large", and would block everything behind it for ever.
        Code::ResourceExhausted => after.is_some(),
        _ => false,
    };
    if again { Verdict::Retry { after, message } } else { Verdict::Refused { message } }
}

// === google.rpc.Status with RetryInfo ===

#[derive(Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RpcDuration>,
}

#[derive(Message)]
struct RpcDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.into_iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value).ok()?.retry_delay?;
    Some(Duration::new(delay.seconds.try_into().unwrap_or(0), delay.nanos.clamp(0, 999_999_999) as u32))
}

// === The codec ===

struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> RawCodec {
        RawCodec
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(delay: RpcDuration) -> Bytes {
        let info = RetryInfo { retry_delay: Some(delay) };
        let any = Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
            value: info.encode_to_vec().into(),
        };
        RpcStatus { details: vec![any] }.encode_to_vec().into()
    }

    #[test]
    fn every_code_of_a_server_is_judged_as_otlp_says() {
        use Code::*;
        let again = [Unavailable, DeadlineExceeded, Aborted, Cancelled, OutOfRange, DataLoss];
        for number in 1..=16 {
            let code = Code::from_i32(number);
            let verdict = judge(&Status::new(code, "no"), &Heard::said(200, true));
            let retried = matches!(verdict, Verdict::Retry { .. });
            assert_eq!(retried, again.contains(&code), "{code:?}");
        }
    }

    #[test]
    fn what_the_server_did_not_say_is_judged_by_the_status_of_http() {
        // As tonic makes it of a proxy's page, of an answer that breaks off, of a connection that does.
        for made_up in [Code::Unknown, Code::Internal, Code::Unimplemented] {
            for (http_status, retried) in [
                (0, true),
                (200, true),
                (429, true),
                (502, true),
                (503, true),
                (504, true),
                (400, false),
                (404, false),
                (500, false),
            ] {
                let verdict = judge(&Status::new(made_up, "no"), &Heard::said(http_status, false));
                assert_eq!(matches!(verdict, Verdict::Retry { .. }), retried, "{made_up:?} {http_status}");
            }
        }
    }

    #[test]
    fn resource_exhausted_is_retried_only_when_told_when() {
        let delay = RpcDuration { seconds: 2, nanos: 500_000_000 };
        let status = Status::with_details(Code::ResourceExhausted, "slow down", details(delay));
        let Verdict::Retry { after, .. } = judge(&status, &Heard::said(200, true)) else { panic!("refused") };
        assert_eq!(after, Some(Duration::from_millis(2500)));
    }
}
