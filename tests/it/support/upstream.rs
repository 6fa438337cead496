//! An HTTP server of somebody else, which plugins call.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use http::{HeaderMap, StatusCode};

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

/// Answers everything with 200 and keeps the headers of each request.
pub struct Upstream {
    address: SocketAddr,
    seen: Seen,
    serving: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Upstream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let router = axum::Router::new().fallback(answer).with_state(seen.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Upstream { address, seen, serving }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The headers of the requests since the last time.
    pub fn take(&self) -> Vec<HeaderMap> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(seen): State<Seen>, headers: HeaderMap) -> (StatusCode, &'static str) {
    seen.lock().unwrap().push(headers);
    (StatusCode::OK, "hello")
}
