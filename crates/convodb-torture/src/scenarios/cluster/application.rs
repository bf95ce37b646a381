//! An application on the HTTP API, whose store moves from a file to the cluster, and whose leader is
//! killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use convodb::{
    AssistantId, ChangesSince, Channel, Conversation, ConversationId, ListRequest, Message,
    PageSize, Role, Store, Timestamp,
};
use serde_json::Value as Json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::clients::server_process::{ServerProcess, convodb_command};
use crate::scenario::{Violation, ensure};
use crate::scenarios::cluster::api_client::{ApiClient, CHANGES, LIST, id, prefix};
use crate::scenarios::cluster::application_clients::{ApplicationClients, Start};
use crate::scenarios::cluster::health::{ExpectedHealth, check_failure, health};
use crate::scenarios::cluster::nodes::await_that;
use crate::scenarios::cluster::operator::Operator;
use crate::scenarios::cluster::transcript::Transcript;

/// The schema of its store.
const SCHEMA: &str = "application";
/// The number of conversations in the file, each with two to five messages.
const CONVERSATIONS: u64 = 300;
/// The time for an expected state.
const STATE: Duration = Duration::from_secs(60);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(250);
/// A page of the list of the file.
const PER_PAGE: usize = 10;

/// The application, with the server of its store on the cluster.
pub(super) struct Application {
    _directory: TempDir,
    /// The flags that name its store.
    store: Vec<String>,
    token: String,
    server: ServerProcess,
    /// The list as the server of the file has returned it.
    list: Vec<Uuid>,
    /// The cursor after the first two pages.
    cursor: String,
    /// The end of the change feed of the file.
    feed: String,
    transcript: Transcript,
    repeated: Arc<AtomicU64>,
}

/// What the clients have done.
pub(super) struct Done {
    pub(super) created: u64,
    pub(super) repeated: u64,
}

impl Application {
    /// Serves a file, reads its list, moves its store to the cluster, and serves that one. The cursors of
    /// the file continue.
    pub(super) fn move_to(url: &str) -> Result<Self, Violation> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("chats.convodb");
        let token = create_file(&path)?;
        let (transcript, repeated) = (Transcript::begin(), Arc::default());

        let server = ServerProcess::start(&path)?;
        transcript.add(format!("convodb serve --db chats.convodb: {CONVERSATIONS} conversations"));
        let mut client = ApiClient::connect(server.address, &token, &transcript, &repeated)?;
        let first = client.page(&format!("per_page={PER_PAGE}"))?;
        let cursor = first.next.clone().ok_or_else(|| Violation::new("the list has one page"))?;
        let text =
            format!("GET {LIST}?per_page={PER_PAGE}: 200, next_cursor {}...", prefix(&cursor));
        transcript.add(text);
        let second = client.page(&format!("cursor={cursor}"))?;
        let list = client.walk(&format!("per_page={PER_PAGE}"))?;
        let list = list.iter().map(|row| id(&row["id"])).collect::<Result<Vec<_>, _>>()?;
        ensure(list.len() as u64 == CONVERSATIONS, || format!("{} rows", list.len()))?;
        let (_, feed) = client.changes("cursor=now")?;
        let stopped = server.stop()?;
        ensure(stopped.status.success(), || format!("the server: {}", stopped.stderr))?;

        let store = ["--pg-url", url, "--pg-schema", SCHEMA].map(str::to_owned).to_vec();
        let mut import = Command::new(convodb_command()?);
        let import = import.args(["cluster", "import", "--db"]).arg(&path).args(&store).output()?;
        ensure(import.status.success(), || {
            format!("the import failed: {}", String::from_utf8_lossy(&import.stderr))
        })?;
        // The last line says how much; those before it, how far it is.
        let imported = String::from_utf8_lossy(&import.stderr);
        let imported = imported.lines().last().unwrap_or_default();
        transcript.add(format!("convodb cluster import: {imported}"));
        let late = later_change_cursor(&path)?;

        let timeouts = ["--pg-read-timeout", "5", "--pg-write-timeout", "5"].map(str::to_owned);
        let server = ServerProcess::start_with(&[&store[..], &timeouts].concat())?;
        transcript.add("convodb serve --pg-url postgresql://convodb@db1,db2,db3/postgres");
        let mut client = ApiClient::connect(server.address, &token, &transcript, &repeated)?;
        let continued = client.page(&format!("cursor={cursor}"))?;
        ensure(continued == second, || format!("other than in the file: {continued:?}"))?;
        let text = format!("GET {LIST}?cursor={}...: 200, the rows that follow", prefix(&cursor));
        transcript.add(text);
        let (changes, _) = client.changes(&format!("cursor={feed}"))?;
        ensure(changes.is_empty(), || format!("changes of nobody: {changes:?}"))?;
        // What the file's server has issued after the import is of another history.
        let (status, _) = client.status(&format!("{CHANGES}?cursor={late}"))?;
        ensure(status == 410, || format!("a cursor of the file from after the import: {status}"))?;
        let cursor = continued.next.ok_or_else(|| Violation::new("the list has two pages"))?;
        let _directory = directory;
        let application =
            Self { _directory, store, token, server, list, cursor, feed, transcript, repeated };
        application.await_readiness(200)?;
        application.await_health(&ExpectedHealth::WHOLE)?;
        Ok(application)
    }

    /// What happened so far.
    pub(super) fn transcript(&self) -> Vec<String> {
        self.transcript.lines()
    }

    /// Waits until `/readyz` answers with this status.
    pub(super) fn await_readiness(&self, status: u16) -> Result<(), Violation> {
        let mut client = self.connect()?;
        let mut last = Ok((0, Json::Null));
        let reached = await_that(&format!("/readyz with {status}"), STATE, PAUSE, || {
            last = client.status("/readyz");
            last.as_ref().is_ok_and(|(found, _)| *found == status).then_some(())
        });
        reached.map_err(|violation| Violation::new(format!("{violation}; last: {last:?}")))?;
        self.transcript.add(format!("GET /readyz: {status}"));
        Ok(())
    }

    /// Waits until `convodb cluster health` says what is expected.
    pub(super) fn await_health(&self, expected: &ExpectedHealth) -> Result<(), Violation> {
        let mut last = Ok(());
        let reached = await_that("the expected health", STATE, PAUSE, || {
            let found = health(&self.store).and_then(|health| {
                expected.check(&health)?;
                Ok(health.text)
            });
            match found {
                Ok(text) => Some(text),
                Err(violation) => {
                    last = Err(violation);
                    None
                }
            }
        });
        let text = match (reached, last) {
            (Ok(text), _) => text,
            (Err(violation), Ok(())) | (Err(_), Err(violation)) => return Err(violation),
        };
        self.transcript.add(format!("convodb cluster health\n{text}"));
        Ok(())
    }

    /// Checks that `convodb cluster health` fails, while no server accepts writes.
    pub(super) fn check_no_health(&self) -> Result<(), Violation> {
        check_failure(&self.store)?;
        self.transcript.add("convodb cluster health: exit status 1");
        Ok(())
    }

    /// A store that was put back to an earlier moment refuses the cursors of a later one, until as much
    /// was written again.
    pub(super) fn check_put_back(&self, operator: &Operator) -> Result<(), Violation> {
        let mut client = self.connect()?;
        let (_, now) = client.changes("cursor=now")?;
        operator.run(&format!("update {SCHEMA}.head set feed = feed - 1"))?;
        let target = format!("{CHANGES}?cursor={now}");
        let refused = client.status(&target);
        operator.run(&format!("update {SCHEMA}.head set feed = feed + 1"))?;
        let (status, _) = refused?;
        ensure(status == 410, || format!("a cursor ahead of the feed: {status}"))?;
        let (status, _) = client.status(&target)?;
        ensure(status == 200, || format!("a cursor at the end of the feed: {status}"))
    }

    /// Starts clients that walk the rest of the list, follow the feed and create conversations.
    pub(super) fn start_clients(&self) -> Result<ApplicationClients, Violation> {
        ApplicationClients::start(&Start {
            connect: &|| self.connect(),
            cursor: &self.cursor,
            remaining: self.remaining().len(),
            feed: &self.feed,
            transcript: &self.transcript,
        })
    }

    /// Waits until the clients have come to their end after a failover, and compares what they have read
    /// and created with what is stored, and with the list of the file.
    pub(super) fn finish(&self, clients: ApplicationClients) -> Result<Done, Violation> {
        let seen = clients.finish()?;
        let mut client = self.connect()?;
        let walked_before = self.list.len() - seen.walked.len();
        ensure(
            self.list.get(walked_before..) == Some(&seen.walked[..]),
            || "the walk through the failover differs from the one of the file",
        )?;
        let rows = client.walk("per_page=100")?;
        let ids = rows.iter().map(|row| id(&row["id"])).collect::<Result<Vec<_>, _>>()?;
        let (new, old) = ids.split_at(ids.len().saturating_sub(self.list.len()));
        ensure(old == self.list, || "the list differs from the one of the file")?;
        let created: BTreeSet<Uuid> = seen.created.values().copied().collect();
        ensure(created.len() == seen.created.len(), || "two keys have created one conversation")?;
        let stored: BTreeSet<Uuid> = new.iter().copied().collect();
        ensure(stored.len() == new.len() && stored == created, || {
            format!("{} conversations of {} keys", new.len(), created.len())
        })?;
        for row in &rows[..new.len()] {
            let key = row["external_identifier"].as_str().unwrap_or_default();
            let answered = seen.created.get(key).copied();
            ensure(answered == Some(id(&row["id"])?), || {
                format!("key {key}: {answered:?}, {row}")
            })?;
        }
        ensure(seen.followed.len() == created.len(), || {
            format!("{} changes of {} conversations", seen.followed.len(), created.len())
        })?;
        let followed: BTreeSet<Uuid> = seen.followed.iter().copied().collect();
        ensure(followed == created, || "the feed misses a conversation")?;
        // A key that is sent again has the same answer.
        for (key, id) in &seen.created {
            ensure(client.create(key)? == *id, || format!("key {key} was answered otherwise"))?;
        }
        let (created, repeated) = (seen.created.len(), self.repeated.load(Ordering::Relaxed));
        ensure(repeated > 0, || "no request was interrupted")?;
        self.transcript.add(format!(
            "{created} conversations created, each once; the walk is that of the file; \
             the feed has each of them once"
        ));
        Ok(Done { created: created as u64, repeated })
    }

    /// Audits the store, and stops the server.
    pub(super) fn stop(self) -> Result<(), Violation> {
        let verify = Command::new(convodb_command()?)
            .args(["cluster", "verify"])
            .args(&self.store)
            .output()?;
        ensure(verify.status.success(), || {
            format!("the audit failed: {}", String::from_utf8_lossy(&verify.stdout))
        })?;
        let stopped = self.server.stop()?;
        ensure(stopped.status.success(), || format!("the server: {}", stopped.stderr))
    }

    /// The list after the first two pages.
    fn remaining(&self) -> &[Uuid] {
        &self.list[2 * PER_PAGE..]
    }

    fn connect(&self) -> Result<ApiClient, Violation> {
        ApiClient::connect(self.server.address, &self.token, &self.transcript, &self.repeated)
    }
}

/// Creates a store with conversations and an access token, which it returns.
fn create_file(path: &Path) -> Result<String, Violation> {
    const DIALOGUE: [(Role, &str); 5] = [
        (Role::User, "Hello! Where is my order?"),
        (Role::Assistant, "Good morning. Please tell me its number."),
        (Role::User, "It is on the letter that came with the last parcel, I think."),
        (Role::Assistant, "Thank you. It left our warehouse yesterday, and arrives tomorrow."),
        (Role::User, "Great, thanks a lot!"),
    ];
    let store = Store::open(path)?;
    let first: Timestamp = "2025-01-25".parse()?;
    let user = store.create_user("Acme", first)?.id;
    let bot = AssistantId::new(Uuid::from_u128(1));
    store.create_assistant(user, bot, "Front Desk")?;
    for number in 0..CONVERSATIONS {
        // Every third begins in the same millisecond as the one before.
        let at = Timestamp::from_millis(first.millis() + (number - number / 3) * 60_000)?;
        let channel = match number % 3 {
            0 => Channel::Widget,
            _ => Channel::whatsapp("+15550100003", format!("+1555172{:04}", number / 4))?,
        };
        let id = ConversationId::new(Uuid::from_u128(u128::from(number) + 1));
        let mut conversation = Conversation::new(id, bot, channel, at);
        let count = 2 + usize::try_from(number % 4)?;
        let messages = DIALOGUE[..count].iter().map(|(role, text)| Message::new(*role, *text, at));
        let messages = messages.collect::<convodb::Result<Vec<_>>>()?;
        conversation.message_count = u32::try_from(count)?;
        store.insert(user, conversation, messages)?;
    }
    let token = store.create_token(user, first)?;
    store.close()?;
    Ok(token)
}

/// Writes to the file once more, and returns the cursor of its feed after that.
fn later_change_cursor(path: &Path) -> Result<String, Violation> {
    let store = Store::open(path)?;
    let snapshot = store.snapshot();
    let users = snapshot.users()?;
    let user = users.first().ok_or_else(|| Violation::new("the file has no user"))?.id;
    let page = snapshot.list(user, &ListRequest::new())?;
    let row = page.conversations().next().map(|row| row.id);
    let row = row.ok_or_else(|| Violation::new("the file has no conversation"))?;
    store.append_message(user, row, Message::new(Role::User, "One more.", Timestamp::now())?)?;
    let snapshot = store.snapshot();
    let end = snapshot.changes_since(user, ChangesSince::Now, PageSize::default())?.next_cursor;
    let token = snapshot.seal_change_cursor(&end);
    store.close()?;
    Ok(token)
}
