//! An HTTP server of somebody else, which plugins call.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode};

#[derive(Default)]
struct Seen {
    headers: Mutex<Vec<HeaderMap>>,
    bodies: Mutex<Vec<Bytes>>,
    /// 0: 200.
    status: AtomicU16,
}

/// Answers everything with 200, unless told otherwise, and keeps each request.
pub struct Upstream {
    address: SocketAddr,
    seen: Arc<Seen>,
    serving: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Upstream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let router = axum::Router::new().fallback(answer).with_state(seen.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Upstream { address, seen, serving }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The headers of the requests since the last time.
    pub fn take(&self) -> Vec<HeaderMap> {
        std::mem::take(&mut *self.seen.headers.lock().unwrap())
    }

    /// The bodies of the requests since the last time.
    pub fn take_bodies(&self) -> Vec<Bytes> {
        std::mem::take(&mut *self.seen.bodies.lock().unwrap())
    }

    pub fn answer_with(&self, status: u16) {
        self.seen.status.store(status, Ordering::SeqCst);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    State(seen): State<Arc<Seen>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    seen.headers.lock().unwrap().push(headers);
    seen.bodies.lock().unwrap().push(body);
    (StatusCode::from_u16(seen.status.load(Ordering::SeqCst)).unwrap_or(StatusCode::OK), "hello")
}
