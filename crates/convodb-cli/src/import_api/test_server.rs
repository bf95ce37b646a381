//! Test servers: convodb's own over a loopback socket, and one that answers by a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use convodb::{
    AssistantId, Channel, Contact, Conversation, ConversationId, Cost, ListRequest, Message, Order,
    Role, Store, Timestamp, UserId, Variables,
};
use convodb_json::{AssistantNames, write_line};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::import_api::client::{ApiError, RetryPolicy};
use crate::import_api::{self, Destination, FromApiFlags, Interrupted};

pub(super) const ROWS: u64 = 330;

/// A pseudorandom number, the same for the same arguments.
pub(super) fn mixed(seed: u64, n: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 32)
}

pub(super) fn at(second: u64) -> Timestamp {
    Timestamp::from_millis((1_737_800_000 + second) * 1000).unwrap()
}

pub(super) fn user_of(store: &Store) -> UserId {
    store.snapshot().user_by_name(&"acme".parse().unwrap()).unwrap().unwrap()
}

/// A store with conversations of all types, three of each second, with every field of the API.
pub(super) fn filled() -> Store {
    let store = Store::in_memory().unwrap();
    let user = store.create_user("acme", at(0)).unwrap().id;
    let bots: Vec<AssistantId> = (0..3).map(|_| AssistantId::generate(at(0))).collect();
    for (name, bot) in ["Front Desk", "Sales \"1\"", "Zoë"].into_iter().zip(&bots) {
        store.create_assistant(user, *bot, name).unwrap();
    }
    for n in 0..ROWS {
        let contact = |part: &str| Contact {
            name: (n % 3 > 0).then(|| format!("{part} {n}").parse().unwrap()),
            phone: (n % 5 > 0).then(|| format!("+49151{n:07}").parse().unwrap()),
        };
        let channel = match n % 4 {
            0 => Channel::Test,
            1 => Channel::Widget,
            2 => Channel::Whatsapp { sender: contact("Shop"), customer: contact("Ms") },
            _ => Channel::Api { external_identifier: Some(format!("crm-{n}").parse().unwrap()) },
        };
        let bot = bots[usize::try_from(n % 3).unwrap()];
        let begun = at(n / 3 * 60);
        let mut row = Conversation::new(ConversationId::generate(begun), bot, channel, begun);
        row.variables =
            (n % 2 == 0).then(|| Variables::new(format!("{{\"n\": {n}.50, \"é\":[]}}")).unwrap());
        row.total_cost = Cost::from_nanos(i64::try_from(n).unwrap() * 1_234_567);
        row.ai_enabled = n % 7 > 0;
        row.updated_at = at(n / 3 * 60 + n % 50);
        let history: Vec<Message> = (0..n % 6).map(|m| message(n, m)).collect();
        // Of some conversations, the store has fewer messages than it counts.
        row.message_count = u32::try_from(history.len()).unwrap() + u32::from(n % 11 == 0);
        store.write(move |transaction| transaction.insert(user, row, history.clone())).unwrap();
    }
    store
}

pub(super) fn message(n: u64, m: u64) -> Message {
    let role = [Role::User, Role::Assistant, Role::System][usize::try_from(m % 3).unwrap()];
    let text = format!("message {m} of {n}: \u{1F600}\n\"quoted\"");
    let message = Message::new(role, text, at(n / 3 * 60 + m)).unwrap();
    match m % 3 {
        1 => message.with_function_calls(r#"[{"name":"book"}]"#.to_owned()).unwrap(),
        _ => message,
    }
}

/// All lines of an export of a store, oldest first.
pub(super) fn exported(store: &Store) -> Vec<String> {
    let (snapshot, user) = (store.snapshot(), user_of(store));
    let mut names = AssistantNames::new(snapshot.clone(), user);
    let oldest_first = ListRequest { order: Some(Order::Ascending), ..ListRequest::default() };
    let line = |row: convodb::Result<Conversation>| {
        let row = row.unwrap();
        let history = snapshot.messages(user, row.id).unwrap();
        let mut line = Vec::new();
        let name = names.name(row.assistant).unwrap();
        write_line(&mut line, &row.borrowed(), name, history.as_deref());
        String::from_utf8(line).unwrap()
    };
    snapshot.conversations(user, &oldest_first).map(line).collect()
}

/// A convodb server, which stops when it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) token: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(super) fn of(store: &Store) -> Self {
        let token = store.create_token(user_of(store), at(0)).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, store) = (listener.local_addr().unwrap(), store.clone());
        let thread = thread::spawn(move || {
            convodb_http::runtime().unwrap().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let stop = async move { drop(stopped.await) };
                let config = convodb_http::Config::default();
                convodb_http::serve(store, listener, config, stop).await.unwrap();
            });
        });
        Self { address, token, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

/// The response of a scripted server to a request.
pub(super) enum Reply {
    /// Status, further headers, body.
    Respond(u16, &'static str, String),
    /// No response.
    Close,
    /// The first bytes of the real server's response.
    Truncate(usize),
    /// The real server's response to this target.
    Forward(String),
}

/// Starts a server that answers each request by its number and target, until the process ends.
pub(super) fn scripted(
    upstream: Option<SocketAddr>,
    script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (script, number) = (Arc::new(script), Arc::new(AtomicUsize::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (script, number) = (script.clone(), number.clone());
            // A closed connection is ignored.
            thread::spawn(move || respond(stream?, upstream, &number, &*script));
        }
    });
    address
}

fn respond(
    mut stream: TcpStream,
    upstream: Option<SocketAddr>,
    number: &AtomicUsize,
    script: &(dyn Fn(usize, &str) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let forwarded = |target: &str| -> std::io::Result<Vec<u8>> {
        let mut real = TcpStream::connect(upstream.unwrap())?;
        real.set_read_timeout(Some(Duration::from_secs(30)))?;
        let (_, headers) = head.split_once("\r\n").unwrap();
        write!(real, "GET {target} HTTP/1.1\r\nConnection: close\r\n{headers}")?;
        let mut response = Vec::new();
        real.read_to_end(&mut response)?;
        Ok(response)
    };
    let bytes = match script(number.fetch_add(1, Ordering::Relaxed), &target) {
        Reply::Respond(status, headers, body) => format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
            body.len()
        )
        .into_bytes(),
        Reply::Close => return Ok(()),
        Reply::Forward(target) => forwarded(&target)?,
        Reply::Truncate(bytes) => {
            let mut response = forwarded(&target)?;
            response.truncate(bytes.min(response.len() - 1));
            response
        }
    };
    stream.write_all(&bytes)
}

/// A directory with the store to import into.
pub(super) struct Place {
    directory: TempDir,
    base: String,
    pub(super) token: String,
}

/// The result of one run: whether all was imported, and the summary.
pub(super) struct Ran {
    pub(super) ended: anyhow::Result<bool>,
    pub(super) summary: serde_json::Value,
}

impl Place {
    pub(super) fn new(address: SocketAddr, token: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, base: format!("http://{address}"), token: token.to_owned() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn run(&self, flags: &[&str]) -> Ran {
        self.try_run(flags).unwrap()
    }

    /// Runs an import.
    ///
    /// # Errors
    /// It does not begin.
    pub(super) fn try_run(&self, flags: &[&str]) -> anyhow::Result<Ran> {
        let arguments = ["import", "--from-api", &self.base, "--token", &self.token];
        let Flags { flags } = Flags::try_parse_from(arguments.iter().chain(flags)).unwrap();
        let client = flags.server.client(RETRY_POLICY).unwrap();
        let (db, rejects, store) = (self.path("s.convodb"), self.path("r.jsonl"), self.store());
        let user_name = "acme".parse().unwrap();
        if store.snapshot().user_by_name(&user_name).unwrap().is_none() {
            store.create_user(user_name.clone(), at(0)).unwrap();
        }
        let destination = Destination {
            store: &store,
            db: &db,
            user: user_of(&store),
            user_name: &user_name,
            rejects: Some(&rejects),
        };
        let outcome = import_api::run(&destination, &flags, &client);
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                store.close()?;
                return Err(error);
            }
        };
        let summary = serde_json::from_str(&outcome.to_json().unwrap()).unwrap();
        store.close().unwrap();
        Ok(Ran { ended: outcome.into_result(), summary })
    }

    pub(super) fn store(&self) -> Store {
        Store::open(self.path("s.convodb")).unwrap()
    }

    /// Verifies the store and exports it.
    pub(super) fn exported(&self) -> Vec<String> {
        let store = self.store();
        let found = store.snapshot().verify().unwrap();
        assert!(found.is_clean(), "{:?}", found.findings);
        exported(&store)
    }
}

/// Retries without noticeable pauses.
const RETRY_POLICY: RetryPolicy = RetryPolicy {
    attempts: 12,
    attempts_of_500: 12,
    first_backoff: Duration::from_millis(1),
    max_backoff: Duration::from_millis(4),
    max_retry_after: Duration::from_secs(60),
};

/// The flags of an import from a server.
#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    flags: FromApiFlags,
}

impl Ran {
    #[track_caller]
    pub(super) fn succeeded(self) -> serde_json::Value {
        assert!(self.ended.is_ok_and(|all| all), "{}", self.summary);
        assert_eq!(self.summary["finished"], true);
        self.summary
    }

    /// The error that interrupted the run.
    #[track_caller]
    pub(super) fn failed(self) -> ApiError {
        assert_eq!(self.summary["finished"], false);
        let error = self.ended.unwrap_err();
        assert!(error.to_string().contains("--restart"), "{error}");
        error.downcast::<Interrupted>().unwrap().cause.downcast().unwrap()
    }
}
