//! A load generator: asks a server over connections that stay open, one request after the other on
//! each, and tells how many answers came and how long each took.
//!
//! It runs on the calling thread alone, so that it can have a core of its own. It costs about ten
//! microseconds a request there.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// What can go wrong in a bench, which then ends.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Whom to ask, for what.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the server listens.
    pub address: SocketAddr,
    /// The Bearer token, if the server wants one.
    pub token: Option<String>,
    /// Paths with queries, asked for by turns; at least one.
    pub targets: Vec<String>,
    /// How many connections ask at a time.
    pub connections: usize,
    /// For how long.
    pub duration: Duration,
}

/// What was seen.
pub struct Seen {
    /// Answers in a second.
    pub rate: f64,
    /// How long each took, in nanoseconds, to a thousandth.
    pub latency: Histogram<u64>,
    /// The bytes of all bodies.
    pub bytes: u64,
}

impl Seen {
    /// The mean bytes of a body.
    #[must_use]
    pub fn mean_bytes(&self) -> u64 {
        self.bytes / self.latency.len().max(1)
    }
}

/// Asks until the time is over.
///
/// # Errors
/// When the server cannot be reached, closes a connection, or answers with anything but 200.
pub async fn drive(load: &Load) -> Outcome<Seen> {
    let all = Rc::new(load.clone());
    let tasks = LocalSet::new();
    let (began, mut workers) = (Instant::now(), Vec::new());
    for connection in 0..load.connections {
        workers.push(tasks.spawn_local(one(all.clone(), connection, began)));
    }
    tasks.await;
    let seconds = began.elapsed().as_secs_f64();
    let mut sum = Seen { rate: 0.0, latency: Histogram::new(3)?, bytes: 0 };
    for worker in workers {
        let (latency, bytes) = worker.await?.map_err(|error| format!("{error}"))?;
        sum.latency.add(&latency)?;
        sum.bytes += bytes;
    }
    sum.rate = sum.latency.len() as f64 / seconds;
    Ok(sum)
}

/// One connection's share: it begins at its own place among the targets.
async fn one(load: Rc<Load>, number: usize, began: Instant) -> Outcome<(Histogram<u64>, u64)> {
    let stream = TcpStream::connect(load.address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    let (mut latency, mut bytes) = (Histogram::new(3)?, 0);
    let start = number * load.targets.len() / load.connections.max(1);
    for target in load.targets.iter().cycle().skip(start) {
        let asked = Instant::now();
        bytes += ask(&mut sender, &load, target).await?.len() as u64;
        latency.record(u64::try_from(asked.elapsed().as_nanos())?)?;
        if began.elapsed() >= load.duration {
            break;
        }
    }
    Ok((latency, bytes))
}

/// One answer's body.
async fn ask(sender: &mut SendRequest<Empty<Bytes>>, load: &Load, target: &str) -> Outcome<Bytes> {
    let mut request = Request::get(target).header(HOST, load.address.to_string());
    if let Some(token) = &load.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    sender.ready().await?;
    let answer = sender.send_request(request.body(Empty::new())?).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if status.as_u16() != 200 {
        return Err(format!("{status} for {target}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(body)
}

/// The body of the answer for one target, on a connection of its own.
///
/// # Errors
/// As [`drive`].
pub async fn fetch(load: &Load, target: &str) -> Outcome<Bytes> {
    let stream = TcpStream::connect(load.address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let body = ask(&mut sender, load, target).await;
    connection.abort();
    body
}
