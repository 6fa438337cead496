//! What a gRPC server itself said. tonic makes up a status where none came: an answer that was cut off, a page of
//! HTML or a 503 of a proxy all become `Unknown` or `Internal`, with which a server refuses for good. Only one
//! that was really sent may cost a batch.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tonic::body::Body as GrpcBody;
use tonic::transport::{Channel, Error};
use tower::Service;

/// Of one request.
#[derive(Default)]
pub(super) struct Heard {
    http_status: AtomicU16,
    refused: AtomicBool,
}

/// A channel whose answers are listened to.
#[derive(Clone)]
pub(super) struct Listening {
    pub channel: Channel,
    pub heard: Arc<Heard>,
}

pub(super) struct ListeningBody {
    body: GrpcBody,
    heard: Arc<Heard>,
}

// === impl Heard ===

impl Heard {
    /// The status that HTTP had for the request; 0 if there was no answer.
    pub fn http_status(&self) -> u16 {
        self.http_status.load(Ordering::Relaxed)
    }

    /// Whether the server named a status of gRPC other than OK.
    pub fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub fn said(http_status: u16, refused: bool) -> Heard {
        Heard { http_status: http_status.into(), refused: refused.into() }
    }

    fn note(&self, headers: &HeaderMap) {
        let status = headers.get("grpc-status").and_then(|value| value.to_str().ok());
        // 0 is no refusal: whatever is wrong with the answer then is tonic's finding.
        if status.is_some_and(|status| status.parse::<u8>().is_ok_and(|status| status > 0)) {
            self.refused.store(true, Ordering::Relaxed);
        }
    }
}

// === impl Listening ===

impl Service<Request<GrpcBody>> for Listening {
    type Response = Response<ListeningBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: Request<GrpcBody>) -> Self::Future {
        let (answer, heard) = (self.channel.call(request), self.heard.clone());
        Box::pin(async move {
            let answer = answer.await?;
            heard.http_status.store(answer.status().as_u16(), Ordering::Relaxed);
            // Where there is nothing but a status, it stands here.
            heard.note(answer.headers());
            Ok(answer.map(|body| ListeningBody { body, heard }))
        })
    }
}

impl Body for ListeningBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.heard.note(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
