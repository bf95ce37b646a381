//! Slow clients: measures a server under idle, slow and non-reading connections.
//!
//! Well-behaved clients request pages alternately without and with the slow clients. Both rounds
//! run on the same machine at the same time, so they can be compared.
//!
//! The server is a process: the real command `convodb serve`. The slow clients are plain sockets of
//! one thread, because a client that does nothing needs no thread.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convodb::{AssistantId, Channel, Conversation, ConversationId, Store, Timestamp};

use crate::http_client::HttpClient;

/// The number of slow clients of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCounts {
    /// Clients that connect and send nothing.
    pub idle: usize,
    /// Clients that send one byte of a request header every half second.
    pub slow_headers: usize,
    /// Clients that request pages and never read a response.
    pub non_reading: usize,
}

impl ClientCounts {
    /// The size of a test: enough to show that a measurement works.
    pub const SMOKE: Self = Self { idle: 20, slow_headers: 20, non_reading: 20 };
    /// The size of continuous integration.
    pub const CI: Self = Self { idle: 500, slow_headers: 500, non_reading: 500 };
    /// The size of a release. Server and clients need some 12,000 file descriptors each.
    pub const RELEASE: Self = Self { idle: 10_000, slow_headers: 1_000, non_reading: 1_000 };

    /// The number of all slow clients.
    #[must_use]
    pub const fn total(self) -> usize {
        self.idle + self.slow_headers + self.non_reading
    }
}

/// The result of [`measure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// The number of pages read without and with slow clients.
    pub pages: (usize, usize),
    /// The 99th percentile of the time of a page, without and with slow clients.
    pub p99: (Duration, Duration),
    /// The peak memory of the server process, where the system reports it.
    pub peak_bytes: Option<u64>,
    /// The time until the server had disconnected all slow clients. None of them leaves by itself.
    pub disconnected_after: Duration,
}

/// The most memory that a server may use, whatever its clients do.
pub const MAX_BYTES: u64 = 300 << 20;
/// Allowance on top of twice the time of a page: a few time slices of the system's scheduler, which
/// are noise where a page takes less than one slice.
const SLACK: Duration = Duration::from_millis(5);

impl Measurement {
    /// Describes the violated limit, if any: twice the p99 of a page, or 300 MiB of memory.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        let (without, with) = self.p99;
        if with > 2 * without + SLACK {
            return Some(format!(
                "p99 of a page is {with:?} with slow clients and {without:?} without"
            ));
        }
        self.peak_bytes
            .filter(|bytes| *bytes > MAX_BYTES)
            .map(|bytes| format!("server used {bytes} bytes of memory, limit is {MAX_BYTES}"))
    }
}

const READERS: usize = 4;
/// Interval between two bytes of a slow header.
const HEADER_INTERVAL: Duration = Duration::from_millis(500);
/// Interval between two reads of the server's metrics.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Timeout of expected events, long enough for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(180);
const CONVERSATIONS: u32 = 2_000;

/// The durations of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The number of rounds, each without and with slow clients.
    pub rounds: usize,
    /// The length of one round.
    pub round: Duration,
    /// The header and write timeouts of the server, in seconds. All slow clients must connect, and
    /// a round must end, within them.
    pub timeout_seconds: u64,
}

impl Timing {
    /// Short: for a test.
    pub const SMOKE: Self = Self { rounds: 1, round: Duration::from_secs(1), timeout_seconds: 10 };
    /// For a measurement.
    pub const MEASURED: Self =
        Self { rounds: 3, round: Duration::from_secs(4), timeout_seconds: 20 };
    /// For thousands of clients, which take longer to connect.
    pub const LARGE: Self = Self { rounds: 3, round: Duration::from_secs(5), timeout_seconds: 90 };
}

/// Starts `binary`, the command `convodb`, on a new store in `directory`, and measures it under
/// slow clients. Calls `log` with a line for each step.
///
/// # Errors
/// The server or a client cannot start, a response is not a page, or the server disconnects slow
/// clients during a round.
pub fn measure(
    binary: &Path,
    counts: ClientCounts,
    timing: Timing,
    directory: &Path,
    log: &mut dyn FnMut(&str),
) -> io::Result<Measurement> {
    let path = directory.join("slow_clients.convodb");
    let token = create_store(&path).map_err(io::Error::other)?;
    let server = Server::start(binary, &path, counts, timing)?;
    let read = |during: Duration| read_pages(server.address, &token, during);
    read(timing.round / 4)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut disconnected_after = Duration::ZERO;
    for round in 1..=timing.rounds {
        without.extend(read(timing.round)?);
        let began = Instant::now();
        let clients = SlowClients::connect(&server, &token, counts)?;
        log(&format!("{} slow clients connected in {:?}", counts.total(), began.elapsed()));
        with.extend(clients.send_headers_during(|| read(timing.round))?);
        if connections(&server)? < counts.total() {
            return Err(io::Error::other("server disconnected slow clients during the round"));
        }
        log(&format!(
            "round {round} of {}: p99 {:?} without and {:?} with {} slow clients",
            timing.rounds,
            p99(&mut without),
            p99(&mut with),
            counts.total()
        ));
        if round == timing.rounds {
            disconnected_after = await_disconnection(&server, &clients)?;
            log(&format!("all slow clients disconnected after {disconnected_after:?}"));
        }
        drop(clients);
        // The connection that reads the metrics counts.
        await_connections(&server, |count| count <= 1)?;
    }
    Ok(Measurement {
        pages: (without.len(), with.len()),
        p99: (p99(&mut without), p99(&mut with)),
        peak_bytes: server.peak_bytes(),
        disconnected_after,
    })
}

/// Waits until the server has closed the connections of all slow clients, which continue to send
/// headers. Returns how long it took.
fn await_disconnection(server: &Server, clients: &SlowClients) -> io::Result<Duration> {
    let began = Instant::now();
    clients.send_headers_during(|| await_connections(server, |count| count <= 1))?;
    Ok(began.elapsed())
}

/// Creates a store with one user, and returns an access token of that user.
fn create_store(path: &Path) -> convodb::Result<String> {
    let store = Store::open(path)?;
    let at: Timestamp = "2025-01-25".parse()?;
    let user = store.create_user("Acme", at)?.id;
    let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    store.write(move |transaction| {
        for number in 0..u64::from(CONVERSATIONS) {
            let at = Timestamp::from_millis(at.millis() + 1000 * number)?;
            let id = ConversationId::generate(at);
            let conversation = Conversation::new(id, bot, Channel::Widget, at);
            transaction.insert(user, conversation, Vec::new())?;
        }
        Ok::<_, convodb::Error>(())
    })?;
    let token = store.create_token(user, at)?;
    store.close()?;
    Ok(token)
}

/// Reads pages with all well-behaved clients for a while, and returns the time of each page.
fn read_pages(address: SocketAddr, token: &str, during: Duration) -> io::Result<Vec<Duration>> {
    let until = Instant::now() + during;
    let read = || {
        let mut client = HttpClient::connect(address, token)?;
        let mut times = Vec::new();
        while Instant::now() < until {
            let began = Instant::now();
            client.get("/api/user/conversations?type=widget")?;
            times.push(began.elapsed());
        }
        io::Result::Ok(times)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        let mut all = Vec::new();
        for client in clients {
            let panicked = |_| Err(io::Error::other("client thread panicked"));
            all.extend(client.join().unwrap_or_else(panicked)?);
        }
        Ok(all)
    })
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// The number of connections in the server's metrics, which includes the one that reads them.
fn connections(server: &Server) -> io::Result<usize> {
    let metrics = HttpClient::connect(server.address, "")?.get("/metrics")?;
    let count = metrics.lines().find_map(|line| line.strip_prefix("convodb_connections "));
    let count = count.and_then(|count| count.parse().ok());
    count.ok_or_else(|| io::Error::other("metric convodb_connections is missing"))
}

/// Waits until the number of connections satisfies a condition.
fn await_connections(server: &Server, is_expected: impl Fn(usize) -> bool) -> io::Result<()> {
    let until = Instant::now() + TIMEOUT;
    loop {
        let count = connections(server)?;
        if is_expected(count) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(io::Error::other(format!("timeout: server still has {count} connections")));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until the number of requests no longer grows. Until the socket buffers of the clients that
/// do not read are full, the server answers them like other clients, and their requests are load.
fn await_full_buffers(server: &Server) -> io::Result<()> {
    let until = Instant::now() + TIMEOUT;
    let mut client = HttpClient::connect(server.address, "")?;
    let mut request_counts = || {
        let metrics = client.get("/metrics")?;
        let others = metrics.lines().filter(|line| {
            line.starts_with("convodb_http_requests_total") && !line.contains("\"/metrics\"")
        });
        io::Result::Ok(others.map(str::to_owned).collect::<Vec<_>>())
    };
    let mut before = request_counts()?;
    loop {
        thread::sleep(10 * POLL_INTERVAL);
        let now = request_counts()?;
        if now == before || Instant::now() > until {
            return Ok(());
        }
        before = now;
    }
}

/// Connected slow clients, until dropped.
struct SlowClients {
    slow_headers: Vec<TcpStream>,
    _others: Vec<TcpStream>,
}

impl SlowClients {
    /// Connects all slow clients. Idle ones connect last, so that their timeout starts last.
    fn connect(server: &Server, token: &str, counts: ClientCounts) -> io::Result<Self> {
        let connect = |count: usize, sends: &str| -> io::Result<Vec<TcpStream>> {
            let client = |_| {
                let mut stream = TcpStream::connect(server.address)?;
                stream.set_nonblocking(true)?;
                // A server whose responses nobody reads accepts no further requests.
                match stream.write(sends.as_bytes()) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    _ => Ok(stream),
                }
            };
            (0..count).map(client).collect()
        };
        // The first responses fill the socket buffers; the rest waits in the server.
        let request = |target: &str| {
            format!("GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n")
        };
        let pages = request("/api/user/conversations?per_page=100");
        let requests = request("/openapi.json").repeat(40) + &pages.repeat(50);
        let mut others = connect(counts.non_reading, &requests)?;
        await_connections(server, |count| count >= counts.non_reading)?;
        await_full_buffers(server)?;
        let header = "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ";
        let slow_headers = connect(counts.slow_headers, header)?;
        others.extend(connect(counts.idle, "")?);
        await_connections(server, |count| count >= counts.total())?;
        Ok(Self { slow_headers, _others: others })
    }

    /// Runs `work` while the slow headers continue.
    fn send_headers_during<T>(&self, work: impl FnOnce() -> T) -> T {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.send_headers(&stop));
            let done = work();
            stop.store(true, Ordering::Relaxed);
            done
        })
    }

    /// Sends one byte of each slow header per interval.
    fn send_headers(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            for mut stream in &self.slow_headers {
                // The server may have closed the connection, which is the expected end.
                let _ = stream.write(b"x");
            }
            thread::sleep(HEADER_INTERVAL);
        }
    }
}

/// A server process, killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(
        binary: &Path,
        store: &Path,
        counts: ClientCounts,
        timing: Timing,
    ) -> io::Result<Self> {
        // Raise the limit of open files to the hard limit.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\" \"$@\""])
            .arg(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--db"])
            .arg(store)
            .args(["--max-connections", &(counts.total() + 100).to_string()])
            .args(["--head-timeout", &timing.timeout_seconds.to_string()])
            .args(["--write-timeout", &timing.timeout_seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let Some(mut log) = child.stderr.take().map(BufReader::new) else {
            return Err(io::Error::other("server process has no stderr pipe"));
        };
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        while server.address.port() == 0 {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err(io::Error::other("server exited before it listened"));
            }
            let address = line.strip_prefix("listening on http://");
            let address = address.and_then(|rest| rest.split([';', ',']).next()?.parse().ok());
            server.address = address.unwrap_or(server.address);
        }
        // Drain the pipe, because a full pipe blocks the server.
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Ok(server)
    }

    fn peak_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it has exited by itself, its clients have reported an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
