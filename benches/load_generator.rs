//! HTTP load generator: closed-loop requests over keep-alive connections, with rate and latencies.
//!
//! Each connection sends one request after the other. All run on the calling thread, so that the
//! generator can have its own core. It costs about ten microseconds of CPU per request.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use convodb_bench::latency::Latencies;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// The result of a bench step; any error ends the bench.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The requests to send.
#[derive(Clone)]
pub struct Load {
    /// The address of the server.
    pub address: SocketAddr,
    /// The bearer token, if the server requires one.
    pub token: Option<String>,
    /// Paths with query strings, requested in a cycle; at least one, or none for writes.
    pub targets: Vec<String>,
    /// Concurrent connections.
    pub connections: usize,
    /// How long to send requests.
    pub duration: Duration,
    /// Whether requests repeat each other.
    pub requests: Requests,
}

/// A request without its token.
pub struct AnyRequest {
    /// Its method.
    pub method: Method,
    /// The path with the query string.
    pub target: String,
    /// The JSON body; empty for none.
    pub body: String,
}

/// What the requests of a load are.
#[derive(Clone, Default)]
pub enum Requests {
    /// Each target is requested as it is, again and again.
    #[default]
    Repeated,
    /// Each request is new: a parameter without meaning numbers them.
    Unique,
    /// Each request has this entity tag, and is answered with 304.
    IfNoneMatch(HeaderValue),
    /// Each request is the write of its number.
    Writes(Rc<dyn Fn(u64) -> AnyRequest>),
}

/// The outcome of a load.
pub struct LoadResult {
    /// Responses per second.
    pub rate: f64,
    /// The latencies of all requests.
    pub latency: Latencies,
    /// The total size of all bodies in bytes.
    pub bytes: u64,
}

impl LoadResult {
    /// The mean size of a body in bytes.
    #[must_use]
    pub fn mean_bytes(&self) -> u64 {
        self.bytes / self.latency.len().max(1)
    }
}

/// Sends requests until the duration is over.
///
/// # Errors
/// Fails if the server cannot be reached, closes a connection, or responds with another status than
/// 200, or 304 to a request with an entity tag.
pub async fn run_load(load: &Load) -> Outcome<LoadResult> {
    let all = Rc::new(load.clone());
    let tasks = LocalSet::new();
    let (began, mut workers) = (Instant::now(), Vec::new());
    for connection in 0..load.connections {
        workers.push(tasks.spawn_local(run_connection(all.clone(), connection, began)));
    }
    tasks.await;
    let seconds = began.elapsed().as_secs_f64();
    let mut sum = LoadResult { rate: 0.0, latency: Latencies::new()?, bytes: 0 };
    for worker in workers {
        let (latency, bytes) = worker.await?.map_err(|error| format!("{error}"))?;
        sum.latency.add(&latency)?;
        sum.bytes += bytes;
    }
    sum.rate = sum.latency.len() as f64 / seconds;
    Ok(sum)
}

/// Runs one connection, which begins at its own offset in the targets.
async fn run_connection(
    load: Rc<Load>,
    number: usize,
    began: Instant,
) -> Outcome<(Latencies, u64)> {
    let stream = TcpStream::connect(load.address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    let (mut latency, mut bytes) = (Latencies::new()?, 0);
    let start = number * load.targets.len() / load.connections.max(1);
    for request in 0.. {
        let target = || &load.targets[(start + request) % load.targets.len()];
        let request = match &load.requests {
            Requests::Repeated | Requests::IfNoneMatch(_) => get(target().clone()),
            Requests::Unique => get(format!("{}&request={number}-{request}", target())),
            Requests::Writes(write) => write((request * load.connections + number) as u64),
        };
        let sent = Instant::now();
        bytes += send(&mut sender, &load, request).await?.into_body().len() as u64;
        latency.record(sent.elapsed())?;
        if began.elapsed() >= load.duration {
            break;
        }
    }
    Ok((latency, bytes))
}

/// A request that reads a target.
const fn get(target: String) -> AnyRequest {
    AnyRequest { method: Method::GET, target, body: String::new() }
}

/// Sends one request and returns the response.
async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    load: &Load,
    AnyRequest { method, target, body }: AnyRequest,
) -> Outcome<Response<Bytes>> {
    let mut expected = StatusCode::OK;
    let mut request =
        Request::builder().method(method).uri(&target).header(HOST, load.address.to_string());
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if let Some(token) = &load.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    if let Requests::IfNoneMatch(tag) = &load.requests {
        request = request.header(IF_NONE_MATCH, tag);
        expected = StatusCode::NOT_MODIFIED;
    }
    sender.ready().await?;
    let (head, body) = sender.send_request(request.body(Full::from(body))?).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    if head.status != expected {
        let text = String::from_utf8_lossy(&body);
        return Err(format!("{} for {target}: {text}", head.status).into());
    }
    Ok(Response::from_parts(head, body))
}

/// Requests one target on a new connection and returns the response.
///
/// # Errors
/// As [`run_load`].
pub async fn fetch(load: &Load, target: &str) -> Outcome<Response<Bytes>> {
    let stream = TcpStream::connect(load.address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = send(&mut sender, load, get(target.to_owned())).await;
    connection.abort();
    response
}
