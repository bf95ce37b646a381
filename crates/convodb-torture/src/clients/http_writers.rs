//! Concurrent HTTP writers: eight clients that write until the server ends, each with a write log.
//!
//! After the server has ended, [`HttpWriters::check`] compares a new server with the write logs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use convodb::{AssistantId, Store, Timestamp};
use convodb_testkit::http_client::HttpClient;
use rand::rngs::ChaCha8Rng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use uuid::Uuid;

use crate::clients::server_process::ServerProcess;
use crate::scenario::{Violation, ensure};
use crate::write_log::{State, WriteLog};

const WRITERS: u64 = 8;
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
/// The number of rows of an import, which is one write.
const BATCH: u128 = 12;

/// The writers, who share one user.
pub(crate) struct HttpWriters {
    token: String,
    writers: Vec<Writer>,
}

/// One writer.
struct Writer {
    random: ChaCha8Rng,
    number: u128,
    created: u128,
    log: WriteLog,
}

/// One write: a request, and the states of conversations that it leads to.
struct Write {
    method: &'static str,
    target: String,
    body: Option<(&'static str, String)>,
    after: Vec<(Uuid, State)>,
}

/// The assistant of all conversations.
fn assistant() -> AssistantId {
    AssistantId::new(Uuid::from_u128(0xB07))
}

impl HttpWriters {
    /// Creates a store at `path` with the user of the writers.
    pub(crate) fn with_new_store(path: &Path, seed: u64) -> Result<Self, Violation> {
        let store = Store::open(path)?;
        let writers = Self::with_new_user(&store, seed)?;
        store.close()?;
        Ok(writers)
    }

    /// Creates the user of the writers in a store.
    pub(crate) fn with_new_user(store: &Store, seed: u64) -> Result<Self, Violation> {
        let user = store.create_user("clients", Timestamp::MIN)?.id;
        store.create_assistant(user, assistant(), "Bot")?;
        let token = store.create_token(user, Timestamp::MIN)?;
        let writers = (0..WRITERS)
            .map(|number| Writer {
                random: ChaCha8Rng::seed_from_u64(seed ^ number << 40),
                number: u128::from(number),
                created: 0,
                log: WriteLog::default(),
            })
            .collect();
        Ok(Self { token, writers })
    }

    /// The access token of the user.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Writes to the server with all writers, and ends the server with `end` after a while. Returns
    /// the number of acknowledged writes, and the result of `end`.
    pub(crate) fn write_until<T>(
        &mut self,
        server: ServerProcess,
        after: Duration,
        end: impl FnOnce(ServerProcess) -> Result<T, Violation>,
    ) -> Result<(u64, T), Violation> {
        let acknowledged = AtomicU64::new(0);
        let (address, token) = (server.address, self.token.clone());
        let ended = thread::scope(|scope| {
            let threads: Vec<_> = self
                .writers
                .iter_mut()
                .map(|writer| {
                    let (token, acknowledged) = (&token, &acknowledged);
                    scope.spawn(move || writer.write(address, token, acknowledged))
                })
                .collect();
            thread::park_timeout(after);
            let ended = end(server);
            for thread in threads {
                thread.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            }
            ended
        })?;
        Ok((acknowledged.into_inner(), ended))
    }

    /// Checks that the server has exactly the conversations of the write logs.
    pub(crate) fn check(&mut self, server: &ServerProcess) -> Result<(), Violation> {
        let stored = export(&mut HttpClient::connect(server.address, &self.token)?)?;
        let mut expected = 0;
        for writer in &mut self.writers {
            writer.log.settle(&stored)?;
            for (id, state) in writer.log.states() {
                let found = stored.get(&id).copied().unwrap_or_default();
                ensure(found == state, || format!("{id} is {found:?}, acknowledged as {state:?}"))?;
                expected += usize::from(state.exists);
            }
        }
        ensure(stored.len() == expected, || {
            format!("{} conversations, expected {expected}", stored.len())
        })
    }
}

/// The states of all conversations, from an export with messages.
fn export(client: &mut HttpClient) -> Result<BTreeMap<Uuid, State>, Violation> {
    let body = client.get("/api/user/conversations/export?messages=1")?;
    let mut stored = BTreeMap::new();
    for line in body.lines() {
        let row: Value = serde_json::from_str(line)?;
        let id: Uuid = row["id"].as_str().unwrap_or_default().parse()?;
        let messages = row["messages"].as_array().map_or(0, Vec::len) as u64;
        let count = row["message_count"].as_u64();
        ensure(count == Some(messages), || {
            format!("{id} has message_count {count:?} and {messages} messages")
        })?;
        let ai_disabled = row["ai_enabled"] == false;
        let state = State { exists: true, messages, ai_disabled };
        ensure(stored.insert(id, state).is_none(), || format!("{id} is exported twice"))?;
    }
    Ok(stored)
}

impl Writer {
    /// Writes until the connection breaks.
    fn write(
        &mut self,
        address: SocketAddr,
        token: &str,
        acknowledged: &AtomicU64,
    ) -> Result<(), Violation> {
        let Ok(mut client) = HttpClient::connect(address, token) else { return Ok(()) };
        loop {
            let Write { method, target, body, after } = self.next_write();
            let body = body.as_ref().map(|(kind, text)| (*kind, text.as_str()));
            self.log.begin(after);
            let Ok(response) = client.request(method, &target, body) else { return Ok(()) };
            match response.status {
                200 => {
                    self.log.acknowledge();
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                // Rejected during shutdown, so not applied.
                503 => self.log.reject(),
                status => {
                    let violation = format!("{method} {target}: {status} {}", response.body);
                    return Err(Violation::new(violation));
                }
            }
        }
    }

    fn next_write(&mut self) -> Write {
        let existing = self.log.states().filter(|(_, state)| state.exists);
        let picked = existing.choose(&mut self.random);
        let choice = self.random.random_range(0..10);
        match picked {
            Some((id, state)) if choice >= 4 => change(id, state, choice),
            _ if choice == 0 => self.import(),
            _ => {
                let id = self.new_id();
                let assistant = assistant();
                let text = format!(
                    "{{\"assistant_id\":\"{assistant}\",\"type\":\"api\",\"id\":\"{id}\",\
                     \"external_identifier\":\"{}\"}}",
                    self.created % 5
                );
                Write {
                    method: "POST",
                    target: "/api/conversations".to_owned(),
                    body: Some((JSON, text)),
                    after: vec![(id, State { exists: true, ..State::default() })],
                }
            }
        }
    }

    fn import(&mut self) -> Write {
        let ids: Vec<Uuid> = (0..BATCH).map(|_| self.new_id()).collect();
        let assistant = assistant();
        let line = |id: &Uuid| {
            format!(
                "{{\"id\":\"{id}\",\"assistant_id\":\"{assistant}\",\"assistant_name\":\"Bot\",\
                 \"type\":\"widget\",\"created_at\":\"2025-01-25\",\"messages\":[{{\"role\":\"user\",\
                 \"content\":\"hello\",\"created_at\":\"2025-01-25\"}}]}}\n"
            )
        };
        Write {
            method: "POST",
            target: "/api/user/conversations/import".to_owned(),
            body: Some((LINES, ids.iter().map(line).collect())),
            after: ids
                .into_iter()
                .map(|id| (id, State { exists: true, messages: 1, ai_disabled: false }))
                .collect(),
        }
    }

    fn new_id(&mut self) -> Uuid {
        self.created += 1;
        Uuid::from_u128(self.number << 64 | self.created)
    }
}

/// Deletes or updates a conversation, or appends a message.
fn change(id: Uuid, state: State, choice: u32) -> Write {
    let target = format!("/api/conversations/{id}");
    match choice {
        4 => Write { method: "DELETE", target, body: None, after: vec![(id, State::default())] },
        5 | 6 => Write {
            method: "PATCH",
            target,
            body: Some((JSON, format!("{{\"ai_enabled\":{}}}", state.ai_disabled))),
            after: vec![(id, State { ai_disabled: !state.ai_disabled, ..state })],
        },
        _ => Write {
            method: "POST",
            target: format!("{target}/messages"),
            body: Some((JSON, r#"{"role":"user","content":"hello"}"#.to_owned())),
            after: vec![(id, State { messages: state.messages + 1, ..state })],
        },
    }
}
