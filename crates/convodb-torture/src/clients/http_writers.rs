//! Clients that write over HTTP until the server is gone, each with a journal of what was
//! acknowledged, kept outside of the server; and what the journal says must be there afterwards.
//!
//! Each client has its own conversations, so that the state of each is known but for the one request
//! that was under way when the server ended: it was done whole or not at all.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use convodb::{AssistantId, Store, Timestamp};
use rand::rngs::ChaCha8Rng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use uuid::Uuid;

use crate::clients::connection::Connection;
use crate::clients::server_process::ServerProcess;
use crate::scenario::{Violation, ensure};

const CLIENTS: usize = 8;
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
/// Rows of an import, which is one write.
const BATCH: u128 = 12;

/// What a conversation is, as far as its client knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    there: bool,
    messages: u64,
    ai_disabled: bool,
}

/// What a client may find of some of its conversations: one of two states of all of them.
#[derive(Debug)]
struct UnderWay {
    before: Vec<(Uuid, Known)>,
    after: Vec<(Uuid, Known)>,
}

/// One client's journal.
struct Client {
    random: ChaCha8Rng,
    number: u128,
    made: u128,
    known: BTreeMap<Uuid, Known>,
    under_way: Option<UnderWay>,
}

/// Eight clients of one account.
pub(crate) struct HttpWriters {
    token: String,
    clients: Vec<Client>,
}

/// One write, as a request, and what it makes of which conversations.
struct Write {
    method: &'static str,
    target: String,
    body: Option<(&'static str, String)>,
    after: Vec<(Uuid, Known)>,
}

/// The assistant of all conversations.
fn bot() -> AssistantId {
    AssistantId::new(Uuid::from_u128(0xB07))
}

impl HttpWriters {
    /// Makes a store at `path` with their account.
    pub(crate) fn of_new_store(path: &Path, seed: u64) -> Result<Self, Violation> {
        let store = Store::open(path)?;
        let clients = Self::of(&store, seed)?;
        store.close()?;
        Ok(clients)
    }

    /// Of an account that is made for them in a store.
    pub(crate) fn of(store: &Store, seed: u64) -> Result<Self, Violation> {
        let user = store.create_user("clients".parse()?, Timestamp::MIN)?.id;
        store.create_assistant(user, bot(), "Bot".parse()?)?;
        let token = store.create_token(user, Timestamp::MIN)?;
        let clients = (0..CLIENTS as u64)
            .map(|number| Client {
                random: ChaCha8Rng::seed_from_u64(seed ^ number << 40),
                number: u128::from(number),
                made: 0,
                known: BTreeMap::new(),
                under_way: None,
            })
            .collect();
        Ok(Self { token, clients })
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Lets all of them write to the server, and ends it with `end` after that time. Gives how many
    /// writes were acknowledged, and what `end` gave.
    pub(crate) fn write_until<T>(
        &mut self,
        server: ServerProcess,
        after: Duration,
        end: impl FnOnce(ServerProcess) -> Result<T, Violation>,
    ) -> Result<(u64, T), Violation> {
        let acknowledged = AtomicU64::new(0);
        let (address, token) = (server.address.clone(), self.token.clone());
        let ended = thread::scope(|scope| {
            let writers: Vec<_> = self
                .clients
                .iter_mut()
                .map(|client| {
                    let (address, token, done) = (&address, &token, &acknowledged);
                    scope.spawn(move || client.write(address, token, done))
                })
                .collect();
            thread::park_timeout(after);
            let ended = end(server);
            for writer in writers {
                writer.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            }
            ended
        })?;
        Ok((acknowledged.into_inner(), ended))
    }

    /// Every conversation is as the journals say, and there is no other.
    pub(crate) fn check(&mut self, server: &ServerProcess) -> Result<(), Violation> {
        let mut connection = Connection::open(&server.address, &self.token)?;
        let shown = export(&mut connection)?;
        let mut expected = 0;
        for client in &mut self.clients {
            client.settle(&shown)?;
            for (id, known) in &client.known {
                let found = shown.get(id).copied().unwrap_or_default();
                ensure(found == *known, || {
                    format!("{id} is {found:?}, acknowledged as {known:?}")
                })?;
                expected += usize::from(known.there);
            }
        }
        ensure(shown.len() == expected, || {
            format!("{} conversations, of which {expected} are known", shown.len())
        })
    }
}

/// All conversations as an export has them, each with its history whole.
fn export(connection: &mut Connection) -> Result<BTreeMap<Uuid, Known>, Violation> {
    let target = "/api/user/conversations/export?messages=1";
    let reply = connection.ask("GET", target, None)?;
    ensure(reply.status == 200, || format!("an export: {} {}", reply.status, reply.body))?;
    let mut shown = BTreeMap::new();
    for line in reply.body.lines() {
        let row: Value = serde_json::from_str(line)?;
        let id: Uuid = row["id"].as_str().unwrap_or_default().parse()?;
        let said = row["messages"].as_array().map_or(0, Vec::len) as u64;
        let counted = row["message_count"].as_u64();
        ensure(counted == Some(said), || {
            format!("{id} counts {counted:?} messages and has {said}")
        })?;
        let ai_disabled = row["ai_enabled"] == false;
        let known = Known { there: true, messages: said, ai_disabled };
        ensure(shown.insert(id, known).is_none(), || format!("{id} is exported twice"))?;
    }
    Ok(shown)
}

impl Client {
    /// Writes until the server is gone.
    fn write(&mut self, address: &str, token: &str, done: &AtomicU64) -> Result<(), Violation> {
        let Ok(mut connection) = Connection::open(address, token) else { return Ok(()) };
        loop {
            let Write { method, target, body, after } = self.next_write();
            let known = |id: &Uuid| self.known.get(id).copied().unwrap_or_default();
            let before = after.iter().map(|(id, _)| (*id, known(id))).collect();
            let body = body.as_ref().map(|(kind, text)| (*kind, text.as_str()));
            self.under_way = Some(UnderWay { before, after });
            let Ok(reply) = connection.ask(method, &target, body) else { return Ok(()) };
            match reply.status {
                200 => {
                    let after = self.under_way.take().map_or(Vec::new(), |under| under.after);
                    self.known.extend(after);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                // Refused in its last moments, and so not done.
                503 => self.under_way = None,
                status => {
                    let told = format!("{method} {target}: {status} {}", reply.body);
                    return Err(Violation::new(told));
                }
            }
        }
    }

    fn next_write(&mut self) -> Write {
        let there = self.known.iter().filter(|(_, known)| known.there);
        let picked = there.choose(&mut self.random).map(|(id, known)| (*id, *known));
        let choice = self.random.random_range(0..10);
        match picked {
            Some((id, known)) if choice >= 4 => self.change(id, known, choice),
            _ if choice == 0 => self.import(),
            _ => {
                let id = self.fresh();
                let bot = bot();
                let text = format!(
                    "{{\"assistant_id\":\"{bot}\",\"type\":\"api\",\"id\":\"{id}\",\
                     \"external_identifier\":\"{}\"}}",
                    self.made % 5
                );
                Write {
                    method: "POST",
                    target: "/api/conversations".to_owned(),
                    body: Some((JSON, text)),
                    after: vec![(id, Known { there: true, ..Known::default() })],
                }
            }
        }
    }

    fn change(&mut self, id: Uuid, known: Known, choice: u32) -> Write {
        let one = format!("/api/conversations/{id}");
        match choice {
            4 => Write {
                method: "DELETE",
                target: one,
                body: None,
                after: vec![(id, Known::default())],
            },
            5 | 6 => Write {
                method: "PATCH",
                target: one,
                body: Some((JSON, format!("{{\"ai_enabled\":{}}}", known.ai_disabled))),
                after: vec![(id, Known { ai_disabled: !known.ai_disabled, ..known })],
            },
            _ => Write {
                method: "POST",
                target: format!("{one}/messages"),
                body: Some((JSON, r#"{"role":"user","content":"hello"}"#.to_owned())),
                after: vec![(id, Known { messages: known.messages + 1, ..known })],
            },
        }
    }

    fn import(&mut self) -> Write {
        let ids: Vec<Uuid> = (0..BATCH).map(|_| self.fresh()).collect();
        let bot = bot();
        let line = |id: &Uuid| {
            format!(
                "{{\"id\":\"{id}\",\"assistant_id\":\"{bot}\",\"assistant_name\":\"Bot\",\
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
                .map(|id| (id, Known { there: true, messages: 1, ai_disabled: false }))
                .collect(),
        }
    }

    fn fresh(&mut self) -> Uuid {
        self.made += 1;
        Uuid::from_u128(self.number << 64 | self.made)
    }

    /// What was under way was done whole or not at all.
    fn settle(&mut self, shown: &BTreeMap<Uuid, Known>) -> Result<(), Violation> {
        let Some(UnderWay { before, after }) = self.under_way.take() else { return Ok(()) };
        let is = |state: &[(Uuid, Known)]| {
            state.iter().all(|(id, known)| shown.get(id).copied().unwrap_or_default() == *known)
        };
        let found = [before, after].into_iter().find(|state| is(state));
        let found = found.ok_or(Violation::new("a write that was under way was done in part"))?;
        self.known.extend(found);
        Ok(())
    }
}
