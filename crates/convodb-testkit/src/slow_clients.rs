//! A crowd of clients that want to hold a server up: idle ones, ones whose heads never end, ones that
//! never read what they asked for. Beside them good clients ask for pages, with and without the crowd
//! by turns in one run, so that both see the same machine.
//!
//! The server is a process of its own, the real command. The clients are plain sockets of one thread,
//! for a client that does nothing needs none.

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

/// How many clients of each kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Those that connect and say nothing.
    pub idle: usize,
    /// Those that send a byte of a head now and then.
    pub slow_heads: usize,
    /// Those that ask for pages and never read one.
    pub unread: usize,
}

impl Crowd {
    /// Enough to see that a trial works.
    pub const SMOKE: Crowd = Crowd { idle: 20, slow_heads: 20, unread: 20 };
    /// The size of continuous integration.
    pub const CI: Crowd = Crowd { idle: 500, slow_heads: 500, unread: 500 };
    /// The size of a release. Server and clients need some 12,000 file descriptors each.
    pub const RELEASE: Crowd = Crowd { idle: 10_000, slow_heads: 1_000, unread: 1_000 };

    /// All of them.
    #[must_use]
    pub const fn all(self) -> usize {
        self.idle + self.slow_heads + self.unread
    }
}

/// What a trial came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Pages read without the crowd, and with it.
    pub pages: (usize, usize),
    /// The time that one page in a hundred took longer than, without the crowd and with it.
    pub p99: (Duration, Duration),
    /// The most memory that the server's process had, where the system tells it.
    pub peak_bytes: Option<u64>,
    /// How long the server took to give all of the crowd up, once nobody left by themselves.
    pub given_up_after: Duration,
}

/// The most memory that a server may have, whatever its clients do.
pub const MAX_BYTES: u64 = 300 << 20;
/// What a page may take longer in a crowd, beside twice as long: some turns of the system's own
/// scheduler, which are noise where a page takes less than one.
const SLACK: Duration = Duration::from_millis(5);

impl Finding {
    /// What does not hold, if anything does not.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        let (alone, crowded) = self.p99;
        if crowded > 2 * alone + SLACK {
            return Some(format!("a page took {crowded:?} in the crowd, {alone:?} without (p99)"));
        }
        self.peak_bytes
            .filter(|bytes| *bytes > MAX_BYTES)
            .map(|bytes| format!("the server had {bytes} bytes of memory, {MAX_BYTES} may be"))
    }
}

const GOOD_CLIENTS: usize = 4;
/// Between two bytes of a slow head.
const DRIP: Duration = Duration::from_millis(500);
/// Between two looks at what the server counts.
const POLL: Duration = Duration::from_millis(50);
/// How long what has to come may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(180);
const CONVERSATIONS: u32 = 2_000;

/// How long a trial takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How often good clients ask without the crowd and with it.
    pub rounds: usize,
    /// For how long they ask each time.
    pub round: Duration,
    /// The server's deadlines, in seconds: a crowd comes together, and a round goes on, within them.
    pub deadline_seconds: u64,
}

impl Pace {
    /// That of a test.
    pub const SMOKE: Pace = Pace { rounds: 1, round: Duration::from_secs(1), deadline_seconds: 10 };
    /// That of measurements.
    pub const MEASURED: Pace =
        Pace { rounds: 3, round: Duration::from_secs(4), deadline_seconds: 20 };
    /// That of a crowd that takes its time to come together.
    pub const LARGE: Pace = Pace { rounds: 3, round: Duration::from_secs(5), deadline_seconds: 90 };
}

/// Starts `binary`, the command `convodb`, on a store of its own, and tells what a crowd does to it.
/// `tell` gets a line for each step.
///
/// # Errors
/// When the server or its clients cannot be, or an answer is not a page.
pub fn trial(
    binary: &Path,
    crowd: Crowd,
    pace: Pace,
    directory: &Path,
    tell: &mut dyn FnMut(&str),
) -> io::Result<Finding> {
    let path = directory.join("crowd.convodb");
    let token = store(&path).map_err(io::Error::other)?;
    let server = Server::start(binary, &path, crowd, pace)?;
    let good = |until: Duration| pages(server.address, &token, until);
    good(pace.round / 4)?;
    let (mut alone, mut crowded) = (Vec::new(), Vec::new());
    let mut given_up_after = Duration::ZERO;
    for round in 1..=pace.rounds {
        alone.extend(good(pace.round)?);
        let began = Instant::now();
        let clients = Clients::gather(&server, &token, crowd)?;
        tell(&format!("a crowd of {} came together in {:?}", crowd.all(), began.elapsed()));
        crowded.extend(clients.dripping(|| good(pace.round))?);
        if connections(&server)? < crowd.all() {
            return Err(io::Error::other("some of the crowd were given up during the round"));
        }
        tell(&format!(
            "round {round} of {}: p99 {:?} alone, {:?} in a crowd of {}",
            pace.rounds,
            p99(&mut alone),
            p99(&mut crowded),
            crowd.all()
        ));
        if round == pace.rounds {
            given_up_after = given_up(&server, &clients)?;
            tell(&format!("all were given up after {given_up_after:?}"));
        }
        drop(clients);
        // The one that asks is there.
        await_connections(&server, |count| count <= 1)?;
    }
    Ok(Finding {
        pages: (alone.len(), crowded.len()),
        p99: (p99(&mut alone), p99(&mut crowded)),
        peak_bytes: server.peak_bytes(),
        given_up_after,
    })
}

/// Waits until the server has closed every connection of a crowd that stays.
fn given_up(server: &Server, clients: &Clients) -> io::Result<Duration> {
    let began = Instant::now();
    clients.dripping(|| await_connections(server, |count| count <= 1))?;
    Ok(began.elapsed())
}

/// A store with one user, whose token this gives.
fn store(path: &Path) -> convodb::Result<String> {
    let store = Store::open(path)?;
    let at: Timestamp = "2025-01-25".parse()?;
    let user = store.create_user("Acme".parse()?, at)?.id;
    let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
    store.write(move |transaction| {
        for number in 0..u64::from(CONVERSATIONS) {
            let at = Timestamp::from_millis(at.millis() + 1000 * number)?;
            let id = ConversationId::generate(at);
            let conversation = Conversation::new(id, bot, Channel::Widget, at);
            transaction.insert(user, &conversation, &[])?;
        }
        Ok(())
    })?;
    let token = store.create_token(user, at)?;
    store.close()?;
    Ok(token)
}

/// Reads pages with all good clients for a while, and tells how long each took.
fn pages(address: SocketAddr, token: &str, during: Duration) -> io::Result<Vec<Duration>> {
    let until = Instant::now() + during;
    let read = || {
        let mut client = HttpClient::connect(address)?;
        let mut took = Vec::new();
        while Instant::now() < until {
            let began = Instant::now();
            client.get("/api/user/conversations?type=widget", token)?;
            took.push(began.elapsed());
        }
        io::Result::Ok(took)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..GOOD_CLIENTS).map(|_| scope.spawn(read)).collect();
        let mut all = Vec::new();
        for client in clients {
            let lost = |_| Err(io::Error::other("a client panicked"));
            all.extend(client.join().unwrap_or_else(lost)?);
        }
        Ok(all)
    })
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// How many connections the server counts, the one that asks included.
fn connections(server: &Server) -> io::Result<usize> {
    let metrics = HttpClient::connect(server.address)?.get("/metrics", "")?;
    let count = metrics.lines().find_map(|line| line.strip_prefix("convodb_connections "));
    let count = count.and_then(|count| count.parse().ok());
    count.ok_or_else(|| io::Error::other("the server does not count connections"))
}

/// Waits until the server counts connections as it should.
fn await_connections(server: &Server, is_right: impl Fn(usize) -> bool) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let count = connections(server)?;
        if is_right(count) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(io::Error::other(format!("the server still has {count} connections")));
        }
        thread::sleep(POLL);
    }
}

/// Waits until those who do not read have been sent what the system takes for them: until then they
/// are clients like others, and what they asked for is work.
fn settle(server: &Server) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut client = HttpClient::connect(server.address)?;
    let mut answered = || {
        let metrics = client.get("/metrics", "")?;
        let others = metrics.lines().filter(|line| {
            line.starts_with("convodb_http_requests_total") && !line.contains("\"/metrics\"")
        });
        io::Result::Ok(others.map(str::to_owned).collect::<Vec<_>>())
    };
    let mut before = answered()?;
    loop {
        thread::sleep(10 * POLL);
        let now = answered()?;
        if now == before || Instant::now() > until {
            return Ok(());
        }
        before = now;
    }
}

/// A crowd that is connected, until it is dropped.
struct Clients {
    slow_heads: Vec<TcpStream>,
    _others: Vec<TcpStream>,
}

impl Clients {
    /// All of a crowd; those who do nothing come last, so that their time begins late.
    fn gather(server: &Server, token: &str, crowd: Crowd) -> io::Result<Self> {
        let connect = |count: usize, says: &str| -> io::Result<Vec<TcpStream>> {
            let client = |_| {
                let mut stream = TcpStream::connect(server.address)?;
                stream.set_nonblocking(true)?;
                // A server that is full of this client's answers takes no more of its requests.
                match stream.write(says.as_bytes()) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    _ => Ok(stream),
                }
            };
            (0..count).map(client).collect()
        };
        // The first answers fill what the system keeps on the way; the server is left with the rest.
        let request = |target: &str| {
            format!("GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n")
        };
        let pages = request("/api/user/conversations?per_page=100");
        let unread = request("/openapi.json").repeat(40) + &pages.repeat(50);
        let mut others = connect(crowd.unread, &unread)?;
        await_connections(server, |count| count >= crowd.unread)?;
        settle(server)?;
        let head = "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ";
        let slow_heads = connect(crowd.slow_heads, head)?;
        others.extend(connect(crowd.idle, "")?);
        await_connections(server, |count| count >= crowd.all())?;
        Ok(Self { slow_heads, _others: others })
    }

    /// Does `work` while slow heads go on.
    fn dripping<T>(&self, work: impl FnOnce() -> T) -> T {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.drip(&stop));
            let done = work();
            stop.store(true, Ordering::Relaxed);
            done
        })
    }

    /// Sends a byte of each slow head now and then.
    fn drip(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            for mut stream in &self.slow_heads {
                // Those that were given up have been.
                let _ = stream.write(b"x");
            }
            thread::sleep(DRIP);
        }
    }
}

/// A server of a process of its own, ended when it is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(binary: &Path, store: &Path, crowd: Crowd, pace: Pace) -> io::Result<Self> {
        // As many files as the system allows this process to allow it.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\" \"$@\""])
            .arg(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--db"])
            .arg(store)
            .args(["--max-connections", &(crowd.all() + 100).to_string()])
            .args(["--head-timeout", &pace.deadline_seconds.to_string()])
            .args(["--write-timeout", &pace.deadline_seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let Some(mut said) = child.stderr.take().map(BufReader::new) else {
            return Err(io::Error::other("no pipe"));
        };
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        while server.address.port() == 0 {
            let mut line = String::new();
            if said.read_line(&mut line)? == 0 {
                return Err(io::Error::other("the server did not start"));
            }
            let address = line.strip_prefix("listening on http://");
            let address = address.and_then(|rest| rest.split([';', ',']).next()?.parse().ok());
            server.address = address.unwrap_or(server.address);
        }
        // What it says later is of no interest, but it has to be able to say it.
        thread::spawn(move || io::copy(&mut said, &mut io::sink()));
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
        // It may have ended by itself, which its clients were told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
