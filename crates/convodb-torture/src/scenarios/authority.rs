//! Authority: tokens and users that end while every kind of request runs with them.
//!
//! The server is a process of its own, and the end is a command of `convodb` over its admin socket.
//! From the moment at which the command has ended, nothing may be sent or written by what it took:
//! a request that is sent later is refused, a write that runs is not stored, and a stream that runs
//! brings what was on its way, and no more.

use std::env;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convodb::{
    AssistantId, Channel, Conversation, ConversationId, ListRequest, Message, Role, Scopes, Store,
    Timestamp, TokenOptions, UserId, Variables,
};
use convodb_testkit::http_client::{HttpClient, Response};
use rand::RngExt;

use crate::clients::server_process::ServerProcess;
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const AUTHORITY: Scenario = Scenario {
    name: "authority",
    row: 27,
    promise: "When a token is revoked, narrowed or expired, or its user is erased, nothing is sent \
              or written by it any more, whatever runs, and other users are not affected.",
    trial: "one end of a token beside 9 kinds of requests that run with it",
    trials: Trials { smoke: 1, ci: 16, release: 1_000 },
    parallelism: Parallelism::Single,
    run,
};

/// How a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    RevokeId,
    RevokePrefix,
    RevokeUser,
    RevokeAll,
    NarrowScopes,
    NarrowAssistant,
    Expire,
    Erase,
}

const ENDS: [End; 8] = [
    End::RevokeId,
    End::NarrowScopes,
    End::Erase,
    End::NarrowAssistant,
    End::RevokePrefix,
    End::Expire,
    End::RevokeUser,
    End::RevokeAll,
];

const LIST: &str = "/api/user/conversations";
/// What every row of the user contains.
const MARK: &str = "marked row";
/// What the row that is created after the end contains.
const LATER: &str = "later row";
/// The conversations of the user, and the bytes of each: more than the sockets' buffers hold.
const ROWS: u64 = 400;
const ROW_BYTES: usize = 60_000;
/// The most bytes that a stream brings after its end: what is in the buffers of both sockets, and a
/// chunk.
const LATE_BYTES: u64 = 8 << 20;
/// How long the clients continue after the end.
const AFTERWARDS: Duration = Duration::from_millis(400);
/// The time until a token expires, in milliseconds.
const EXPIRY_MILLIS: u64 = 600;

/// The user whose authority ends.
struct Account {
    user: UserId,
    token: String,
    /// The public id of the token.
    id: String,
    /// When the token expires, if that is how it ends.
    expires_at: Option<Timestamp>,
    conversation: ConversationId,
    assistant: AssistantId,
}

/// A response, and when its request was sent.
struct Answered {
    sent: Instant,
    response: Response,
}

/// The clients of a trial.
struct Clients<'t> {
    address: SocketAddr,
    account: &'t Account,
    end: End,
    /// When the end had been acknowledged.
    ended: &'t OnceLock<Instant>,
    stop: &'t AtomicBool,
    late_bytes: &'t AtomicU64,
    /// Whether a stream has brought what was created later.
    leaked: &'t AtomicBool,
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let end = ENDS[usize::try_from(trial.seed.wrapping_sub(1) % ENDS.len() as u64)?];
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let socket = directory.path().join("admin");
    let (account, other_token) = accounts(&path, end)?;
    let server = ServerProcess::start_with_admin_socket(&path, &socket)?;
    let (ended, stop, late_bytes) = (OnceLock::new(), AtomicBool::new(false), AtomicU64::new(0));
    let leaked = AtomicBool::new(false);
    let clients = Clients {
        address: server.address,
        account: &account,
        end,
        ended: &ended,
        stop: &stop,
        late_bytes: &late_bytes,
        leaked: &leaked,
    };
    let after = Duration::from_millis(trial.random.random_range(50..300));
    let (answered, others, stored) = thread::scope(|scope| {
        let running = clients.start(scope);
        let other = scope.spawn(|| neighbour(server.address, &other_token, &stop));
        thread::sleep(after);
        let checked = clients.finish(&socket);
        stop.store(true, Ordering::Relaxed);
        let answered: Vec<Answered> =
            running.into_iter().flat_map(|client| client.join().unwrap_or_default()).collect();
        let others = other.join().map_err(|_| Violation::new("a client panicked"))?;
        checked.map(|stored| (answered, others, stored))
    })?;
    let others = others?;
    clients.check(&answered)?;
    let late = late_bytes.load(Ordering::Relaxed);
    ensure(late <= LATE_BYTES, || format!("{end:?}: {late} bytes arrived after the end"))?;
    ensure(!leaked.load(Ordering::Relaxed), || format!("{end:?}: a later row in a stream"))?;
    trial.figure("bytes of a stream after the end", late as f64);
    trial.add("responses", answered.len() as u64);
    trial.add("requests of another user", others);
    server.stop_and_verify(&path)?;
    check_stored(&path, &account, end, stored)?;
    trial.count("ends");
    Ok(())
}

/// Creates the user with its token and rows, and another user's token.
fn accounts(path: &Path, end: End) -> Result<(Account, String), Violation> {
    let store = Store::open(path)?;
    let at: Timestamp = "2025-01-25".parse()?;
    let user = store.create_user("victim", at)?.id;
    let assistant = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    store.create_assistant(user, AssistantId::generate(at), "Empty")?;
    let variables =
        Variables::new(format!(r#"{{"mark":"{MARK}","x":"{}"}}"#, "x".repeat(ROW_BYTES)))?;
    let mut first = None;
    for number in 0..ROWS {
        let at = Timestamp::from_millis(at.millis() + number)?;
        let id = ConversationId::generate(at);
        let mut row = Conversation::new(id, assistant, Channel::Widget, at);
        row.variables = Some(variables.clone());
        row.message_count = 1;
        first.get_or_insert(id);
        store.insert(user, row, vec![Message::new(Role::User, MARK, at)?])?;
    }
    let other = store.create_user("other", at)?.id;
    store.create_assistant(other, AssistantId::generate(at), "Bot")?;
    let other_token = store.create_token(other, at)?;
    let now = Timestamp::now();
    let expires_at = Timestamp::from_millis(now.millis() + EXPIRY_MILLIS)?;
    let options = TokenOptions {
        expires_at: (end == End::Expire).then_some(expires_at),
        ..TokenOptions::default()
    };
    let expires_at = options.expires_at;
    let token = store.create_token_with(user, now, options)?;
    store.close()?;
    let conversation = first.ok_or(Violation::new("a user without conversations"))?;
    let (id, token) = (token.id.to_string(), token.token);
    Ok((Account { user, token, id, expires_at, conversation, assistant }, other_token))
}

/// Reads and writes as another user until `stop`, and returns how often. Nothing may be
/// refused, except when all tokens are.
fn neighbour(address: SocketAddr, token: &str, stop: &AtomicBool) -> Result<u64, Violation> {
    let mut client = HttpClient::connect(address, token)?;
    let mut requests = 0;
    while !stop.load(Ordering::Relaxed) {
        let create = Some(("application/json", r#"{"assistant_id":1}"#));
        for (method, target, body) in [("POST", "/api/conversations", create), ("GET", LIST, None)]
        {
            let status = client.request(method, target, body)?.status;
            if status == 401 {
                return Ok(requests);
            }
            ensure(status == 200, || format!("another user's {method} got {status}"))?;
            requests += 1;
        }
    }
    Ok(requests)
}

type Running<'scope> = thread::ScopedJoinHandle<'scope, Vec<Answered>>;

impl<'t> Clients<'t> {
    /// Starts a client of each kind.
    fn start<'scope>(
        &'scope self,
        scope: &'scope thread::Scope<'scope, '_>,
    ) -> Vec<Running<'scope>> {
        let conversation = format!("/api/conversations/{}", self.account.conversation);
        let messages = format!("{conversation}/messages");
        let requests = [
            ("GET", format!("{LIST}?per_page=2"), ""),
            ("GET", format!("{LIST}/stats?group_by=day"), ""),
            ("GET", format!("{LIST}/changes?cursor=now&wait=1"), ""),
            ("GET", conversation, ""),
            ("POST", messages, r#"{"message":"written"}"#),
            ("POST", format!("{LIST}/import"), ""),
        ];
        let mut running: Vec<Running<'scope>> = requests
            .map(|(method, target, body)| scope.spawn(move || self.repeat(method, &target, body)))
            .into();
        for (target, accept) in [
            (format!("{LIST}/export?messages=1"), "*/*"),
            (format!("{LIST}/export"), "*/*"),
            (format!("{LIST}/changes?cursor=now"), "text/event-stream"),
        ] {
            running.push(scope.spawn(move || {
                while !self.is_stopped() {
                    // A connection that breaks is how an export ends.
                    if self.stream(&target, accept).is_err() {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
                Vec::new()
            }));
        }
        running
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sends a request over and over, and returns the responses that could be wrong.
    fn repeat(&self, method: &str, target: &str, body: &str) -> Vec<Answered> {
        let mut answered = Vec::new();
        while !self.is_stopped() {
            let Ok(mut client) = HttpClient::connect(self.address, &self.account.token) else {
                continue;
            };
            while !self.is_stopped() {
                let line = self.line();
                let body = match target.ends_with("/import") {
                    true => Some(("application/x-ndjson", line.as_str())),
                    false => Some(("application/json", body)),
                };
                let sent = Instant::now();
                let Ok(response) = client.request(method, target, body) else { break };
                answered.push(Answered { sent, response });
            }
        }
        answered
    }

    /// A line of an import with a new conversation.
    fn line(&self) -> String {
        let (id, assistant) = (ConversationId::generate(Timestamp::now()), self.account.assistant);
        format!(
            r#"{{"id":"{id}","assistant_id":"{assistant}","type":"widget","created_at":"2025-01-25"}}"#
        )
    }

    /// Reads a stream slowly, and counts the bytes that arrive after the end.
    fn stream(&self, target: &str, accept: &str) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let token = &self.account.token;
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Accept: {accept}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )?;
        let (mut buffer, mut late) = (vec![0; 64 << 10], 0);
        let later = LATER.as_bytes();
        while !self.is_stopped() {
            let ended = self.ended.get().is_some();
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            // An event is one write of the server.
            if buffer[..read].windows(later.len()).any(|bytes| bytes == later) {
                self.leaked.store(true, Ordering::Relaxed);
            }
            if ended {
                late += read as u64;
                self.late_bytes.fetch_max(late, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends the token while the clients run, lets them continue, and returns how many conversations
    /// and messages the user had right after the end.
    fn finish(&self, socket: &Path) -> Result<Option<(u64, u64)>, Violation> {
        let id = self.account.id.as_str();
        match self.end {
            End::RevokeId => run_command(socket, &["token", "revoke", "--id", id])?,
            End::RevokePrefix => {
                let prefix = self.account.token.get(..12).unwrap_or_default();
                run_command(socket, &["token", "revoke", "--prefix", prefix])?
            }
            End::RevokeUser => run_command(socket, &["token", "revoke", "--user", "victim"])?,
            End::RevokeAll => run_command(socket, &["token", "revoke", "--all", "--yes"])?,
            End::NarrowScopes => {
                run_command(socket, &["token", "narrow", "--id", id, "--scopes", "stats"])?
            }
            End::NarrowAssistant => {
                run_command(socket, &["token", "narrow", "--id", id, "--assistant", "2"])?
            }
            End::Expire => {
                while self.account.expires_at.is_some_and(|at| Timestamp::now() < at) {
                    thread::sleep(Duration::from_millis(1));
                }
                String::new()
            }
            End::Erase => {
                let all = ["erase", "--user", "victim", "--everything", "--yes"];
                run_command(socket, &all)?
            }
        };
        self.ended.get_or_init(Instant::now);
        let stored = if self.end == End::Erase {
            None
        } else {
            let token = run_command(socket, &["token", "create", "--user", "victim"])?;
            let mut witness = HttpClient::connect(self.address, token.trim())?;
            // It wakes those who wait for changes, and none of them may see it.
            let body = format!(r#"{{"assistant_id":1,"variables":{{"mark":"{LATER}"}}}}"#);
            let create = Some(("application/json", body.as_str()));
            let created = witness.request("POST", "/api/conversations", create)?;
            ensure(created.status == 200, || format!("the witness got {}", created.status))?;
            let stats = witness.get(&format!("{LIST}/stats"))?;
            let total: serde_json::Value = serde_json::from_str(&stats)?;
            let count = |field: &str| total["total"][field].as_u64().unwrap_or_default();
            Some((count("conversations"), count("messages")))
        };
        thread::sleep(AFTERWARDS);
        Ok(stored)
    }

    /// Checks each response whose request was sent after the end, and that none has what was created
    /// later.
    fn check(&self, answered: &[Answered]) -> Result<(), Violation> {
        let ended = *self.ended.get().ok_or(Violation::new("the token did not end"))?;
        for Answered { sent, response } in answered {
            let Response { status, body } = response;
            ensure(!body.contains(LATER), || format!("{:?}: what was written later", self.end))?;
            if *sent <= ended {
                continue;
            }
            let expected: &[u16] = match self.end {
                // Statistics are still allowed.
                End::NarrowScopes => &[403, 200],
                // The other assistant's data is: nothing.
                End::NarrowAssistant => &[404, 200],
                _ => &[401],
            };
            ensure(expected.contains(status), || format!("{:?}: {status} {body}", self.end))?;
            ensure(!body.contains(MARK), || format!("{:?}: a row after the end", self.end))?;
        }
        let late = answered.iter().filter(|answered| answered.sent > ended).count();
        ensure(late > 0, || "no request was sent after the end")
    }
}

/// Runs a command of `convodb` over the admin socket, and returns its output.
fn run_command(socket: &Path, arguments: &[&str]) -> Result<String, Violation> {
    let command = env::current_exe()?.with_file_name("convodb");
    let output = Command::new(command)
        .args(arguments)
        .arg("--admin-socket")
        .arg(socket)
        .stdin(Stdio::null())
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure(output.status.success(), || format!("{arguments:?} failed: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Nothing was written after the end, and nothing is left of an erased user.
fn check_stored(
    path: &Path,
    account: &Account,
    end: End,
    expected: Option<(u64, u64)>,
) -> Result<(), Violation> {
    let store = Store::open(path)?;
    let snapshot = store.snapshot();
    let rows = snapshot.conversations(account.user, &ListRequest::default());
    let counts = rows.map(|row| row.map(|row| u64::from(row.message_count)));
    let counts: Vec<u64> = counts.collect::<Result<_, convodb::Error>>()?;
    let stored = (counts.len() as u64, counts.iter().sum());
    let expected = expected.unwrap_or_default();
    ensure(stored == expected, || format!("{end:?}: {stored:?} stored, {expected:?} at the end"))?;
    let user = snapshot.user(account.user)?;
    ensure(user.is_none() == (end == End::Erase), || format!("{end:?}: {user:?}"))?;
    let all: Scopes = Scopes::DATA;
    let of_user = snapshot.tokens()?.into_iter().filter(|token| token.user == account.user);
    let wide = of_user.filter(|token| token.id.to_string() == account.id && token.scopes == all);
    let is_left = matches!(end, End::Expire | End::NarrowAssistant);
    ensure(wide.count() == usize::from(is_left), || format!("{end:?}: the token is left"))?;
    Ok(store.close()?)
}
