//! Neighbour: one user at full tilt on each endpoint, while another reads and writes.
//!
//! The server is a process of its own. Each load runs for some seconds on many connections; the
//! neighbour meanwhile appends messages and reads pages, one request after the other. None of its
//! requests may be refused, and memory and threads of the server stay within bounds. Latencies are
//! reported, and asserted only to be below a bound that a busy machine stays far from.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convodb::{
    AssistantId, Channel, Conversation, ConversationId, Message, Role, Store, Timestamp, Variables,
};
use convodb_testkit::http_client::HttpClient;

use crate::clients::server_process::ServerProcess;
use crate::scenario::{Parallelism, Scale, Scenario, Trial, Trials, Violation, ensure};

pub(super) const NEIGHBOUR: Scenario = Scenario {
    name: "neighbour",
    row: 26,
    promise: "Whatever one user or strangers do, no request of another user within its share is \
              refused, and memory and threads of the server are bounded.",
    trial: "Each load for 2 s on 4 to 400 connections, or for a minute on 16 to 1,600; the \
            neighbour's p50 and p99 beside it",
    // No smoke trials: the loads take seconds. The tests of the server have each limit.
    trials: Trials { smoke: 0, ci: 1, release: 10 },
    parallelism: Parallelism::Single,
    run,
};

/// The most memory of the server: the budget of bodies, as much for what it is parsed from and
/// written to, and the store.
const MAX_MEGABYTES: u64 = 700;
/// The most threads of the server: those of its runtime, one for each core and transfer, and some.
const MAX_THREADS: u64 = 120;
/// The longest time of the neighbour's requests at the 99th percentile.
const MAX_P99: Duration = Duration::from_secs(5);
/// The messages of the long conversation, and of those that are imported and deleted.
const MESSAGES: u32 = 20_000;
const LIST: &str = "/api/user/conversations";

/// What the loading user does.
struct Load {
    name: &'static str,
    /// The names of the neighbour's p50 and p99 in the report.
    p50: &'static str,
    p99: &'static str,
    /// The work of one thread, until it is stopped.
    work: fn(&Loader<'_>) -> io::Result<()>,
    /// The connections of one thread.
    connections: usize,
}

macro_rules! load {
    ($name:literal, $work:expr, $connections:literal) => {
        Load {
            name: $name,
            p50: concat!($name, ": p50 ms"),
            p99: concat!($name, ": p99 ms"),
            work: $work,
            connections: $connections,
        }
    };
}

const LOADS: &[Load] = &[
    load!("alone", |_| Ok(()), 1),
    load!("pages of large rows", |loader| loader.repeat("GET", PAGES, None), 1),
    load!("pages not read", |loader| loader.hold(&loader.head("GET", PAGES, 0)), 25),
    load!("histories not read", |loader| loader.hold(&loader.history()), 25),
    load!("statistics not awaited", |loader| loader.hang_up(STATS), 1),
    load!("statistics", |loader| loader.repeat("GET", STATS, None), 1),
    load!("writes", |loader| loader.repeat("POST", &loader.messages(), Some(MESSAGE)), 1),
    load!("waiting for changes", |loader| loader.wait_and_write(), 100),
    load!("unfinished bodies", |loader| loader.hold(&loader.unfinished_body()), 25),
    load!("imports of blank lines", |loader| loader.import_blank_lines(), 1),
    load!("trickling imports", |loader| loader.hold(&loader.begun_import()), 4),
    load!("long conversations", |loader| loader.import_and_delete(), 1),
    load!("exports not read", |loader| loader.hold(&loader.head("GET", EXPORT, 0)), 4),
    load!("strangers", |loader| loader.hold(STRANGER), 100),
];

const PAGES: &str = "/api/user/conversations?per_page=100";
const STATS: &str = "/api/user/conversations/stats?group_by=week,assistant,type";
const EXPORT: &str = "/api/user/conversations/export?messages=1";
const MESSAGE: (&str, &str) = ("application/json", r#"{"message":"hello"}"#);
const STRANGER: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

/// A user of the trial.
#[derive(Clone)]
struct Account {
    token: String,
    assistant: AssistantId,
    /// The user's first conversation.
    conversation: ConversationId,
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let (threads, duration) = match trial.scale {
        Scale::Smoke | Scale::Ci => (4, Duration::from_secs(2)),
        Scale::Release => (16, Duration::from_secs(60)),
    };
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let [loading, neighbour] = accounts(&path)?;
    let server = ServerProcess::start(&path)?;
    for load in LOADS {
        let (latencies, peak) = beside(&server, load, threads, duration, &loading, &neighbour)?;
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        trial.add("requests of the neighbour", latencies.len() as u64);
        trial.figure(load.p50, at(50).as_secs_f64() * 1e3);
        trial.figure(load.p99, at(99).as_secs_f64() * 1e3);
        ensure(at(99) <= MAX_P99, || format!("{}: p99 is {:?}", load.name, at(99)))?;
        if let Some(Peak { megabytes, threads }) = peak {
            for (name, value) in [("peak MB", megabytes), ("threads", threads)] {
                let highest = trial.figures.get(name).copied().unwrap_or_default();
                trial.figure(name, highest.max(value as f64));
            }
            ensure(megabytes <= MAX_MEGABYTES && threads <= MAX_THREADS, || {
                format!("{}: the server has {megabytes} MB and {threads} threads", load.name)
            })?;
        }
    }
    server.stop_and_verify(&path)
}

/// Creates a store with two users: one with large rows, a long history and counters of many days.
fn accounts(path: &Path) -> Result<[Account; 2], Violation> {
    let store = Store::open(path)?;
    let now: Timestamp = "2025-01-25".parse()?;
    let mut accounts = Vec::new();
    for (name, large) in [("loading", true), ("neighbour", false)] {
        let user = store.create_user(name, now)?.id;
        let assistant = store.create_assistant(user, AssistantId::generate(now), "Bot")?.id;
        let token = store.create_token(user, now)?;
        let mut first = None;
        for number in 0..110 {
            let at = Timestamp::from_millis(1_700_000_000_000 + number * 86_400_000)?;
            let id = ConversationId::generate(at);
            let mut row = Conversation::new(id, assistant, Channel::Widget, at);
            let mut messages = Vec::new();
            if large {
                let text = format!(r#"{{"x":"{}"}}"#, "x".repeat(60_000));
                row.variables = Some(Variables::new(text)?);
            }
            if large && first.is_none() {
                let text = "m".repeat(1_000);
                messages = vec![Message::new(Role::User, text, at)?; MESSAGES as usize];
                row.message_count = MESSAGES;
            }
            first.get_or_insert(id);
            store.insert(user, row, messages)?;
        }
        let conversation = first.ok_or(Violation::new("a user without conversations"))?;
        accounts.push(Account { token, assistant, conversation });
    }
    store.close()?;
    accounts.try_into().map_err(|_| Violation::new("two users were created"))
}

/// The most memory and threads of the server during a load.
#[derive(Clone, Copy, Default)]
struct Peak {
    megabytes: u64,
    threads: u64,
}

/// Runs a load, and the neighbour beside it. Returns the neighbour's latencies in ascending order.
fn beside(
    server: &ServerProcess,
    load: &Load,
    threads: usize,
    duration: Duration,
    loading: &Account,
    neighbour: &Account,
) -> Result<(Vec<Duration>, Option<Peak>), Violation> {
    let stop = AtomicBool::new(false);
    let loader = Loader {
        address: server.address,
        account: loading,
        connections: load.connections,
        stop: &stop,
    };
    let mut latencies = thread::scope(|scope| {
        for _ in 0..threads {
            // A load that is refused or cut off begins again.
            scope.spawn(|| {
                while !loader.is_stopped() {
                    if (load.work)(&loader).is_err() {
                        thread::sleep(Duration::from_millis(10));
                    }
                }
            });
        }
        let asked = ask(server, load, duration, neighbour);
        stop.store(true, Ordering::Relaxed);
        asked
    })?;
    latencies.0.sort_unstable();
    Ok(latencies)
}

/// Sends the neighbour's requests, one after the other.
fn ask(
    server: &ServerProcess,
    load: &Load,
    duration: Duration,
    neighbour: &Account,
) -> Result<(Vec<Duration>, Option<Peak>), Violation> {
    let mut client = HttpClient::connect(server.address, &neighbour.token)?;
    let messages = format!("/api/conversations/{}/messages", neighbour.conversation);
    let (began, mut latencies, mut peak) = (Instant::now(), Vec::new(), None::<Peak>);
    while began.elapsed() < duration {
        for (method, target, body) in
            [("POST", messages.as_str(), Some(MESSAGE)), ("GET", LIST, None)]
        {
            let sent = Instant::now();
            let response = client.request(method, target, body)?;
            latencies.push(sent.elapsed());
            ensure(response.status == 200, || {
                format!("beside {}: {method} got {}", load.name, response.status)
            })?;
        }
        if let Some(now) = usage(server.id()) {
            let before = peak.unwrap_or_default();
            peak = Some(Peak {
                megabytes: before.megabytes.max(now.megabytes),
                threads: before.threads.max(now.threads),
            });
        }
    }
    Ok((latencies, peak))
}

/// The memory and threads of a process, on Linux.
fn usage(process: u32) -> Option<Peak> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Peak { megabytes: field("VmRSS:")? / 1000, threads: field("Threads:")? })
}

/// One thread of a load.
struct Loader<'l> {
    address: SocketAddr,
    account: &'l Account,
    connections: usize,
    stop: &'l AtomicBool,
}

impl Loader<'_> {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn client(&self) -> io::Result<HttpClient> {
        HttpClient::connect(self.address, &self.account.token)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        Ok(stream)
    }

    /// The head of a request of the user, with a body of JSON lines or JSON.
    fn head(&self, method: &str, target: &str, body_bytes: usize) -> Vec<u8> {
        let lines = target.ends_with("/import");
        let content_type = if lines { "application/x-ndjson" } else { "application/json" };
        let token = &self.account.token;
        format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {body_bytes}\r\n\r\n"
        )
        .into_bytes()
    }

    fn history(&self) -> Vec<u8> {
        let target = format!("/api/conversations/{}", self.account.conversation);
        self.head("GET", &target, 0)
    }

    fn messages(&self) -> String {
        format!("/api/conversations/{}/messages", self.account.conversation)
    }

    fn unfinished_body(&self) -> Vec<u8> {
        let mut request = self.head("POST", "/api/conversations", 1 << 20);
        request.resize(request.len() + 900_000, b' ');
        request
    }

    fn begun_import(&self) -> Vec<u8> {
        let mut request = self.head("POST", &format!("{LIST}/import"), 1 << 30);
        request.extend_from_slice(b"\n\n\n");
        request
    }

    /// Repeats a request and reads each response.
    fn repeat(&self, method: &str, target: &str, body: Option<(&str, &str)>) -> io::Result<()> {
        let mut client = self.client()?;
        while !self.is_stopped() {
            client.request(method, target, body)?;
        }
        Ok(())
    }

    /// Sends a request on many connections and reads nothing. Those that the server answers at once
    /// or closes are replaced.
    fn hold(&self, request: &[u8]) -> io::Result<()> {
        let mut held: Vec<TcpStream> = Vec::new();
        while !self.is_stopped() {
            held.retain_mut(|stream| {
                // A look at the first bytes of the response, without reading it.
                let mut status = [0; 12];
                match stream.peek(&mut status) {
                    Ok(0) => false,
                    Ok(_) => !status.starts_with(b"HTTP/1.1 503"),
                    Err(error) => {
                        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
                    }
                }
            });
            while held.len() < self.connections && !self.is_stopped() {
                let mut stream = self.connect()?;
                if stream.write_all(request).is_ok() {
                    held.push(stream);
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sends a request and closes its connection at once, over and over.
    fn hang_up(&self, target: &str) -> io::Result<()> {
        while !self.is_stopped() {
            self.connect()?.write_all(&self.head("GET", target, 0))?;
        }
        Ok(())
    }

    /// Waits for changes on many connections, and makes some.
    fn wait_and_write(&self) -> io::Result<()> {
        let request = self.head("GET", &format!("{LIST}/changes?cursor=now&wait=60"), 0);
        thread::scope(|scope| {
            scope.spawn(|| self.repeat("POST", &self.messages(), Some(MESSAGE)));
            self.hold(&request)
        })
    }

    fn import_blank_lines(&self) -> io::Result<()> {
        let mut stream = self.connect()?;
        stream.write_all(&self.head("POST", &format!("{LIST}/import"), 1 << 40))?;
        let blank = vec![b'\n'; 1 << 16];
        while !self.is_stopped() {
            stream.write_all(&blank)?;
            if let Ok(1..) = stream.read(&mut [0; 64]) {
                return Err(io::Error::other("refused"));
            }
        }
        Ok(())
    }

    /// Imports conversations with very many messages, and deletes them.
    fn import_and_delete(&self) -> io::Result<()> {
        let mut client = self.client()?;
        let message = r#"{"role":"user","content":"","created_at":"2025-01-25"}"#;
        let messages = vec![message; MESSAGES as usize].join(",");
        while !self.is_stopped() {
            let id = ConversationId::generate(Timestamp::MIN);
            let assistant = self.account.assistant.uuid();
            let line = format!(
                r#"{{"id":"{id}","assistant_id":"{assistant}","type":"test","created_at":"2025-01-25","messages":[{messages}]}}"#
            );
            let lines = ("application/x-ndjson", line.as_str());
            client.request("POST", &format!("{LIST}/import"), Some(lines))?;
            client.request("DELETE", &format!("/api/conversations/{id}"), None)?;
        }
        Ok(())
    }
}
