//! Serves routes on a listener: an accept loop with limits, and a stop that lets requests finish.
//!
//! One connection is one task. Each holds a permit, so the number of connections has a bound, and
//! all permits being back means that all connections are done.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::limits::Limits;
use crate::middleware::metrics::Metrics;
use crate::server::write_timeout::WriteTimeout;

/// More than the limits on the URL and the headers, so that those answer with a body; a head that
/// is larger still is refused by the parser with a bare 431, as is one of more than 100 headers:
/// a higher number would cost each request two large allocations.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Before the next try when the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is done, and then until the requests in flight are, at most
/// [`Limits::shutdown_timeout`] longer.
pub(crate) async fn run(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    metrics: &Metrics,
    stop: impl Future<Output = ()>,
) {
    let all_connections = limits.max_connections.max(1);
    let permits = Arc::new(Semaphore::new(all_connections as usize));
    let (stopping, stopped) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let connection = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, accept(&listener).await)
        };
        let (permit, stream) = tokio::select! {
            biased;
            () = &mut stop => break,
            connection = connection => connection,
        };
        let (routes, stopped, counted) = (routes.clone(), stopped.clone(), metrics.connection());
        tokio::spawn(async move {
            let (_permit, _counted) = (permit, counted);
            serve(stream, routes, limits, stopped).await;
        });
    }
    // New clients are turned away by the system from here on.
    drop(listener);
    drop(stopping);
    // The semaphore is never closed, so what comes back is all permits.
    let _all = permits.acquire_many(all_connections).await;
}

/// The next connection. What fails is one connection or the system's lack of sockets, neither a
/// reason to stop.
async fn accept(listener: &TcpListener) -> TcpStream {
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset => {}
                _ => {
                    if !told {
                        tracing::warn!(%error, "no connection can be accepted for now");
                        told = true;
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Serves one connection until it is closed, or until the server stops and its request is done.
async fn serve(
    stream: TcpStream,
    routes: Router,
    limits: Limits,
    mut stopped: watch::Receiver<()>,
) {
    // Without it a short answer may wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(WriteTimeout::new(stream, limits.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            match timeout(limits.shutdown_timeout, connection).await {
                Ok(served) => served,
                Err(_) => return tracing::warn!("a request was cut off by the stop"),
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};

    #[tokio::test]
    async fn a_stop_lets_the_request_in_flight_finish_and_closes_the_idle() {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (in_handler, may_end) = (entered.clone(), release.clone());
        let slow = async move || {
            in_handler.notify_one();
            may_end.notified().await;
            "done"
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let routes = Router::new().route("/", get(slow));
        let server = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            run(listener, routes, Limits::default(), &Metrics::new(None), stop).await;
        });

        let mut idle = TcpStream::connect(address).await.unwrap();
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        entered.notified().await;
        stop.send(()).unwrap();

        let mut nothing = Vec::new();
        idle.read_to_end(&mut nothing).await.unwrap();
        assert!(nothing.is_empty(), "an idle connection is closed at once");
        assert!(!server.is_finished(), "the request is still in flight");
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
        release.notify_one();
        let mut answer = String::new();
        busy.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        server.await.unwrap();
    }
}
