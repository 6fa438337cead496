//! Connections: accepted up to a bound, each with a bound on how long its client may take to say what it
//! wants, and ended in good order when the server stops.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Open connections. Beyond it the next one waits to be accepted: the kernel's backlog is the queue.
const CONNECTIONS_MAX: usize = 8_192;
/// A client may take so long to send the head of a request, also of the next one on a kept connection.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
/// The wait after an accept that failed because the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Cut-off calls get so long to tell their callers.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves until `stop` is ready, then waits until the requests under way have been answered. `drained` runs
/// beside that wait; when it is ready, it has cut off what was left, and the wait is nearly over.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    stop: impl Future<Output = ()>,
    drained: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((socket, place)) = accepted else { continue };
        // Answers are small and complete: waiting for more to send only delays them.
        let _ = socket.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off or speaks no HTTP is its own affair.
            let _ = connection.await;
            drop(place);
        });
    }
    // From here on nobody is let in.
    drop(listener);
    let mut answered = std::pin::pin!(graceful.shutdown());
    tokio::select! {
        () = &mut answered => {}
        () = drained => {
            let _ = tokio::time::timeout(FAREWELL, answered).await;
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    match listener.accept().await {
        Ok((socket, _)) => Some((socket, place)),
        Err(_) => {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
