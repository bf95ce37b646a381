//! Isolation of ten users whose ids, phone numbers, identifiers and assistants collide.
//!
//! A request for another user's data must have the same response, byte for byte, as a request for
//! data that does not exist.

use axum::http::Method;
use convodb::{
    AssistantId, Channel, Contact, Conversation, ConversationId, Message, Role, Store, Timestamp,
    Variables,
};
use rand::RngExt;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use crate::clients::in_process::{InProcessClient, Response};
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const ISOLATION: Scenario = Scenario {
    name: "isolation",
    row: 13,
    promise: "No user learns of another user's rows, their number or their existence: the response \
              equals that for missing data, byte for byte.",
    trial: "ten users, 500 requests to all endpoints",
    trials: Trials { smoke: 2, ci: 20, release: 20_000 },
    parallelism: Parallelism::PerCore,
    run,
};

const USERS: u64 = 10;
/// The number of conversation ids. Each user lacks a third of them, so every id is shared by some
/// users and missing for others.
const IDS: u64 = 30;
const REQUESTS: u64 = 500;
/// The only user whose rows change. The rows of all other users must not.
const WRITER: u64 = 0;
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

struct Fixture {
    store: Store,
    client: InProcessClient,
    tokens: Vec<String>,
}

/// Whether a user has the conversation with this number.
const fn has(user: u64, number: u64) -> bool {
    number < IDS && !(number + user).is_multiple_of(3)
}

fn id(number: u64) -> ConversationId {
    ConversationId::new(Uuid::from_u128(0xC0 << 64 | u128::from(number)))
}

/// The id of an assistant. All users have assistants 0 and 1, and each has one of its own.
fn assistant(number: u64) -> AssistantId {
    AssistantId::new(Uuid::from_u128(0xB0 << 64 | u128::from(number)))
}

/// A word that is in all texts of a user and nowhere else.
fn marker(user: u64) -> String {
    format!("mark-of-user-{user}-end")
}

impl Fixture {
    fn new() -> Result<Self, Violation> {
        let store = Store::in_memory()?;
        let mut tokens = Vec::new();
        for user in 0..USERS {
            let id = store.create_user(marker(user), Timestamp::MIN)?.id;
            for number in [0, 1, 10 + user] {
                store.create_assistant(id, assistant(number), marker(user))?;
            }
            for number in (0..IDS).filter(|number| has(user, *number)) {
                let (row, messages) = row(user, number)?;
                store.write(move |transaction| transaction.insert(id, row, messages.clone()))?;
            }
            tokens.push(store.create_token(id, Timestamp::MIN)?);
        }
        let client = InProcessClient::new(store.clone())?;
        Ok(Self { store, client, tokens })
    }

    /// Sends a request as a user. The response must not contain another user's marker, nor be a
    /// server error.
    fn request(
        &self,
        user: u64,
        method: &Method,
        target: &str,
        body: Option<(&str, &str)>,
    ) -> Result<Response, Violation> {
        let token = &self.tokens[usize::try_from(user)?];
        let response = self.client.request(token, method, target, body)?;
        let text = response.text();
        let describe = || format!("user {user}, {method} {target}: {} {text}", response.status);
        ensure(response.status < 500, describe)?;
        for other in (0..USERS).filter(|other| *other != user) {
            ensure(!text.contains(&marker(other)), describe)?;
            let in_headers =
                response.headers.iter().any(|(_, value)| value.contains(&marker(other)));
            ensure(!in_headers, describe)?;
        }
        Ok(response)
    }
}

/// The n-th row of a user: ids, phone numbers and identifiers are shared, the texts are not.
fn row(user: u64, number: u64) -> Result<(Conversation, Vec<Message>), Violation> {
    let contact = |phone: u64| -> Result<Contact, Violation> {
        Ok(Contact { name: Some(marker(user).parse()?), phone: Some(format!("+{phone}").parse()?) })
    };
    let channel = match number % 4 {
        0 => Channel::Widget,
        1 => Channel::Api { external_identifier: Some(format!("crm-{}", number % 5).parse()?) },
        2 => Channel::Test,
        _ => Channel::Whatsapp { sender: contact(number % 2)?, customer: contact(number % 3)? },
    };
    let at = Timestamp::from_millis(1_737_800_000_000 + number / 2)?;
    let message = Message::new(Role::User, marker(user), at)?;
    let variables = Variables::new(format!("{{\"of\":\"{}\"}}", marker(user)))?;
    let row = Conversation {
        variables: Some(variables),
        message_count: 1,
        ..Conversation::new(id(number), assistant(number % 2), channel, at)
    };
    Ok((row, vec![message]))
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let fixture = Fixture::new()?;
    let export = "/api/user/conversations/export?messages=1";
    let before: Vec<Response> = (0..USERS)
        .map(|user| fixture.request(user, &Method::GET, export, None))
        .collect::<Result<_, _>>()?;
    for _ in 0..REQUESTS {
        match trial.random.random_range(0..10) {
            0..5 => foreign_data_looks_missing(&fixture, trial)?,
            5..7 => foreign_cursor_is_invalid(&fixture, trial)?,
            7..9 => own_data_is_complete(&fixture, trial)?,
            _ => writer_writes(&fixture, trial)?,
        }
    }
    for user in (0..USERS).filter(|user| *user != WRITER) {
        let after = fixture.request(user, &Method::GET, export, None)?;
        ensure(after == before[usize::try_from(user)?], || {
            format!("rows of user {user} were changed by others")
        })?;
    }
    let verified = fixture.store.snapshot().verify()?;
    ensure(verified.is_clean(), || format!("verify found {:?}", verified.findings))
}

/// A request: method, target and body, with `{}` for an id.
type Template = (Method, &'static str, Option<(&'static str, &'static str)>);

/// Requests with the id of a conversation.
fn conversation_requests() -> [Template; 6] {
    let message = r#"{"role":"user","content":"hi"}"#;
    [
        (Method::GET, "/api/conversations/{}", None),
        (Method::PATCH, "/api/conversations/{}", Some((JSON, r#"{"ai_enabled":false}"#))),
        (Method::DELETE, "/api/conversations/{}", None),
        (Method::POST, "/api/conversations/{}/messages", Some((JSON, message))),
        (Method::POST, "/api/automate/conversations/{}/enable-ai", None),
        (Method::POST, "/api/automate/conversations/{}/disable-ai", None),
    ]
}

/// Requests with the id of an assistant.
fn assistant_requests() -> [Template; 4] {
    [
        (Method::GET, "/api/user/conversations?assistant_id={}", None),
        (Method::GET, "/api/user/conversations/export?assistant_id={}", None),
        (Method::PATCH, "/api/user/assistants/{}", Some((JSON, r#"{"name":"taken"}"#))),
        (Method::POST, "/api/conversations", Some((JSON, r#"{"assistant_id":"{}"}"#))),
    ]
}

/// Requests for foreign and for missing data have the same response.
fn foreign_data_looks_missing(fixture: &Fixture, trial: &mut Trial) -> Result<(), Violation> {
    let random = &mut trial.random;
    let user = random.random_range(0..USERS);
    let of_assistant = random.random_bool(0.4);
    let (foreign, missing) = if of_assistant {
        let other = (user + random.random_range(1..USERS)) % USERS;
        (assistant(10 + other).uuid(), assistant(900 + random.random_range(0..99_u64)).uuid())
    } else {
        // The writer never has ids other than these, whatever it creates and deletes.
        let absent: Vec<u64> = (0..IDS).filter(|number| !has(user, *number)).collect();
        let number = *absent.choose(random).unwrap_or(&0);
        (id(number).uuid(), id(900 + random.random_range(0..99_u64)).uuid())
    };
    let (conversations, assistants) = (conversation_requests(), assistant_requests());
    let all: &[Template] = if of_assistant { &assistants } else { &conversations };
    let Some((method, target, body)) = all.choose(random) else { return Ok(()) };
    let [one, two] = [foreign, missing].map(|id| {
        let id = id.to_string();
        let text = body.map(|(kind, text)| (kind, text.replace("{}", &id)));
        let body = text.as_ref().map(|(kind, text)| (*kind, text.as_str()));
        fixture.request(user, method, &target.replace("{}", &id), body)
    });
    let (one, two) = (one?, two?);
    ensure(one == two && matches!(one.status, 404 | 422), || {
        format!("user {user}, {method} {target}: foreign {one:?}, missing {two:?}")
    })?;
    trial.add("requests for foreign data", 2);
    Ok(())
}

/// A cursor of another user and a random token have the same response.
fn foreign_cursor_is_invalid(fixture: &Fixture, trial: &mut Trial) -> Result<(), Violation> {
    let user = trial.random.random_range(0..USERS);
    let other = (user + trial.random.random_range(1..USERS)) % USERS;
    let list = "/api/user/conversations";
    let filters = ["", "type=whatsapp&", "customer_phone=+1&", "external_identifier=crm-1&"];
    let filter = filters.choose(&mut trial.random).copied().unwrap_or_default();
    let theirs =
        fixture.request(other, &Method::GET, &format!("{list}?{filter}per_page=1"), None)?;
    let page: serde_json::Value = serde_json::from_slice(&theirs.body)?;
    let Some(cursor) = page["next_cursor"].as_str() else { return Ok(()) };
    let foreign = fixture.request(user, &Method::GET, &format!("{list}?cursor={cursor}"), None)?;
    let random_token = "A".repeat(cursor.len());
    let invalid =
        fixture.request(user, &Method::GET, &format!("{list}?cursor={random_token}"), None)?;
    ensure(foreign == invalid && foreign.status == 422, || {
        format!("foreign cursor: {foreign:?}, invalid cursor: {invalid:?}")
    })?;
    trial.add("requests with foreign cursors", 3);
    Ok(())
}

/// Lists, conversations and profile of a user contain all of the user's data and no other data.
fn own_data_is_complete(fixture: &Fixture, trial: &mut Trial) -> Result<(), Violation> {
    let user = trial.random.random_range(0..USERS);
    let queries = [
        "per_page=100",
        "type=api&per_page=100",
        "customer_phone=%2B1&per_page=100",
        "whatsapp_sender_phone=+1&customer_phone=+0&per_page=100",
        "external_identifier=crm-1&order=asc&per_page=100",
        "assistant_id=1&per_page=100",
    ];
    let query = queries.choose(&mut trial.random).copied().unwrap_or_default();
    let target = format!("/api/user/conversations?{query}");
    let response = fixture.request(user, &Method::GET, &target, None)?;
    ensure(response.status == 200, || format!("{target}: {}", response.text()))?;
    let page: serde_json::Value = serde_json::from_slice(&response.body)?;
    let rows = page["data"].as_array().map_or(0, Vec::len);
    let is_foreign = |row: &serde_json::Value| row["assistant_name"] != marker(user).as_str();
    let foreign_rows =
        page["data"].as_array().map_or(0, |rows| rows.iter().filter(|row| is_foreign(row)).count());
    ensure(foreign_rows == 0, || format!("{target}: rows of other users: {}", response.text()))?;
    if query == "per_page=100" && user != WRITER {
        let own = (0..IDS).filter(|number| has(user, *number)).count();
        ensure(rows == own, || format!("user {user} has {own} rows, the list has {rows}"))?;
    }
    let profile = fixture.request(user, &Method::GET, "/api/user/me", None)?;
    ensure(profile.text().contains(&marker(user)), || profile.text())?;
    let assistants = fixture.request(user, &Method::GET, "/api/user/assistants/get", None)?;
    ensure(assistants.text().contains("\"total\":3"), || assistants.text())?;
    trial.add("requests for own data", 3);
    Ok(())
}

/// Runs a random write of the only user whose rows change.
fn writer_writes(fixture: &Fixture, trial: &mut Trial) -> Result<(), Violation> {
    let number = trial.random.random_range(0..IDS);
    let (id, assistant) = (id(number).uuid(), assistant(0).uuid());
    let one = format!("/api/conversations/{id}");
    let line = format!(
        "{{\"id\":\"{id}\",\"assistant_id\":\"{assistant}\",\"assistant_name\":\"x\",\
         \"type\":\"widget\",\"created_at\":\"2025-01-25\"}}"
    );
    let created = format!("{{\"assistant_id\":\"{assistant}\",\"id\":\"{id}\"}}");
    let import = "/api/user/conversations/import";
    // The writer must not create ids that it lacks at the start: they are its foreign ids.
    let may_create = has(WRITER, number);
    let (method, target, body) = match trial.random.random_range(0..5) {
        0 => (Method::DELETE, one.as_str(), None),
        1 => (Method::PATCH, one.as_str(), Some((JSON, r#"{"variables":{"a":1}}"#))),
        2 if may_create => (Method::POST, "/api/conversations", Some((JSON, created.as_str()))),
        3 if may_create => (Method::POST, import, Some((LINES, line.as_str()))),
        _ => (Method::GET, one.as_str(), None),
    };
    let response = fixture.request(WRITER, &method, target, body)?;
    let expected = matches!(response.status, 200 | 404 | 422);
    ensure(expected, || format!("{method} {target}: {} {}", response.status, response.text()))?;
    trial.count("requests of the writer");
    Ok(())
}
