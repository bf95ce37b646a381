//! Server loop: accepts connections within a limit, and shuts down gracefully.
//!
//! Each connection is one task and holds one permit. So the number of connections is bounded, and
//! once all permits are available again, all connections are closed. One more connection is
//! accepted when all permits are taken: it gets the place of a stranger, see
//! [`connections`](super::connections), or waits.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::limits::Limits;
use crate::middleware::metrics::Metrics;
use crate::server::connections::{Connection, Connections};
use crate::server::framing::{self, StrictLines};
use crate::server::write_timeout::WriteTimeout;

/// The most bytes of a request line with its headers.
///
/// Larger than the limits of the envelope, whose errors have a body. The parser answers a larger
/// head, and one of more than 100 headers, with a bare 431. A higher number of headers would cost
/// each request two large allocations.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long to wait after the system could not provide a socket.
pub(super) const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until `shutdown` resolves, and then until the requests in flight are finished, for at
/// most [`Limits::shutdown_timeout`].
pub(crate) async fn run(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    metrics: &Metrics,
    shutdown: impl Future<Output = ()>,
) {
    let max_connections = limits.max_connections.max(1);
    let permits = Arc::new(Semaphore::new(max_connections as usize));
    let connections = Connections::new(limits.max_connections_per_address);
    let (notify_shutdown, shutting_down) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        let connection = async {
            let (stream, address) = accept(&listener).await;
            // Dropping the stream closes it.
            let connection = connections.open(address.ip())?;
            if permits.available_permits() == 0 {
                connections.make_room_for(&connection);
            }
            Some((permits.clone().acquire_owned().await, stream, connection))
        };
        let connection = tokio::select! {
            biased;
            () = &mut shutdown => break,
            connection = connection => connection,
        };
        let Some((permit, stream, connection)) = connection else { continue };
        let (router, shutting_down) = (router.clone(), shutting_down.clone());
        let counted = metrics.connection();
        tokio::spawn(async move {
            let (_permit, _counted) = (permit, counted);
            serve(stream, &connection, router, limits, shutting_down).await;
        });
    }
    // From here on the system refuses new connections.
    drop(listener);
    drop(notify_shutdown);
    // Fails only if the semaphore is closed, which never happens.
    let _all = permits.acquire_many(max_connections).await;
}

/// Returns the next connection. Errors concern one connection, or a temporary lack of sockets;
/// neither is a reason to stop.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut logged = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset => {}
                _ => {
                    if !logged {
                        tracing::warn!(%error, "cannot accept connections; retrying");
                        logged = true;
                    }
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
        }
    }
}

/// Serves one connection until it is closed, or until the server shuts down and its request is
/// finished.
async fn serve(
    stream: TcpStream,
    place: &Connection,
    router: Router,
    limits: Limits,
    mut shutting_down: watch::Receiver<()>,
) {
    // Otherwise a short response may wait for the acknowledgement of the previous one.
    let _ = stream.set_nodelay(true);
    let rate = limits.min_bytes_per_second;
    let stream = WriteTimeout::new(stream, limits.write_timeout, rate);
    let io = TokioIo::new(StrictLines::new(stream));
    let (router, owner) = (TowerToHyperService::new(router), place.owner.clone());
    let last = LastRequest::new(&limits);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(owner.clone());
        let answer = framing::is_unambiguous(&request).then(|| router.call(request));
        let is_last = last.is_reached();
        async move {
            let mut response = match answer {
                Some(answer) => answer.await?,
                None => framing::refusal(),
            };
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = place.closed() => {
            return tracing::debug!("connection without a valid token closed for another one");
        }
        _ = shutting_down.changed() => {
            connection.as_mut().graceful_shutdown();
            match timeout(limits.shutdown_timeout, connection).await {
                Ok(served) => served,
                Err(_) => {
                    return tracing::warn!("request aborted: shutdown timeout reached");
                }
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Which request is the last one of its connection.
struct LastRequest {
    began: Instant,
    max_age: Option<Duration>,
    /// The requests that are left; `None` for no limit.
    left: Option<AtomicU32>,
}

impl LastRequest {
    fn new(limits: &Limits) -> Self {
        let left = limits.max_requests_per_connection.map(AtomicU32::new);
        Self { began: Instant::now(), max_age: limits.max_connection_age, left }
    }

    /// Whether the request that begins now is the last one.
    fn is_reached(&self) -> bool {
        let is_spent = |left: &AtomicU32| left.fetch_sub(1, Ordering::Relaxed) <= 1;
        self.left.as_ref().is_some_and(is_spent)
            || self.max_age.is_some_and(|max| self.began.elapsed() >= max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};

    #[tokio::test]
    async fn a_shutdown_finishes_requests_in_flight_and_closes_idle_connections() {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (in_handler, may_end) = (entered.clone(), release.clone());
        let slow = async move || {
            in_handler.notify_one();
            may_end.notified().await;
            "done"
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shut_down, requested) = oneshot::channel::<()>();
        let router = Router::new().route("/", get(slow));
        let server = tokio::spawn(async move {
            let shutdown = async {
                let _ = requested.await;
            };
            run(listener, router, Limits::default(), &Metrics::new(None), shutdown).await;
        });

        let mut idle = TcpStream::connect(address).await.unwrap();
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        entered.notified().await;
        shut_down.send(()).unwrap();

        let mut received = Vec::new();
        idle.read_to_end(&mut received).await.unwrap();
        assert!(received.is_empty(), "an idle connection is closed at once");
        assert!(!server.is_finished(), "the request is still in flight");
        assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
        release.notify_one();
        let mut response = String::new();
        busy.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("done"), "{response}");
        server.await.unwrap();
    }
}
