//! Row 13: ten users whose ids, phones, identifiers and assistants collide see nothing of each other.
//! Whatever is another's is answered as what is nobody's, byte for byte.

use axum::http::Method;
use convodb::{
    AssistantId, Channel, Contact, Conversation, ConversationId, Message, Role, Store, Timestamp,
    Variables,
};
use rand::RngExt;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use crate::clients::in_process::{Answer, InProcessClient};
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const ISOLATION: Scenario = Scenario {
    name: "isolation",
    row: 13,
    promise: "No user learns of another's rows, counts or their being there: what is foreign is \
              answered byte for byte as what does not exist.",
    trial: "ten users, 500 requests over all endpoints",
    trials: Trials { smoke: 2, ci: 20, release: 20_000 },
    parallelism: Parallelism::PerCore,
    run,
};

const USERS: u64 = 10;
/// Each user has those ids of this many that leave his remainder, so that most are shared by some
/// and not by others.
const IDS: u64 = 30;
const REQUESTS: u64 = 500;
/// The user whose own rows change; all others' must stay as they are.
const WRITER: u64 = 0;
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

struct World {
    store: Store,
    client: InProcessClient,
    tokens: Vec<String>,
}

/// Whether a user has the conversation of a number.
const fn has(user: u64, number: u64) -> bool {
    number < IDS && !(number + user).is_multiple_of(3)
}

fn id(number: u64) -> ConversationId {
    ConversationId::new(Uuid::from_u128(0xC0 << 64 | u128::from(number)))
}

/// Assistants 0 and 1 are everybody's by id, each user's own is numbered beyond.
fn bot(number: u64) -> AssistantId {
    AssistantId::new(Uuid::from_u128(0xB0 << 64 | u128::from(number)))
}

/// A word that stands in all texts of a user and nowhere else.
fn mark(user: u64) -> String {
    format!("mark-of-user-{user}-end")
}

impl World {
    fn new() -> Result<Self, Violation> {
        let store = Store::in_memory()?;
        let mut tokens = Vec::new();
        for user in 0..USERS {
            let account = store.create_user(mark(user).parse()?, Timestamp::MIN)?.id;
            for number in [0, 1, 10 + user] {
                store.create_assistant(account, bot(number), mark(user).parse()?)?;
            }
            for number in (0..IDS).filter(|number| has(user, *number)) {
                let (row, history) = row(user, number)?;
                store.write(move |transaction| transaction.insert(account, &row, &history))?;
            }
            tokens.push(store.create_token(account, Timestamp::MIN)?);
        }
        let client = InProcessClient::new(store.clone(), String::new())?;
        Ok(Self { store, client, tokens })
    }

    /// Asks as a user, and sees that no other's mark is in the answer, and that it is no fault.
    fn ask(
        &self,
        user: u64,
        method: &Method,
        target: &str,
        body: Option<(&str, &str)>,
    ) -> Result<Answer, Violation> {
        let token = &self.tokens[usize::try_from(user)?];
        let answer = self.client.ask_as(token, method, target, body)?;
        let text = answer.text();
        let told = || format!("user {user}, {method} {target}: {} {text}", answer.status);
        ensure(answer.status < 500, told)?;
        for other in (0..USERS).filter(|other| *other != user) {
            ensure(!text.contains(&mark(other)), told)?;
            let in_head = answer.headers.iter().any(|(_, value)| value.contains(&mark(other)));
            ensure(!in_head, told)?;
        }
        Ok(answer)
    }
}

/// The n-th row of a user: the ids, phones and identifiers are everybody's, the words his own.
fn row(user: u64, number: u64) -> Result<(Conversation, Vec<Message>), Violation> {
    let contact = |phone: u64| -> Result<Contact, Violation> {
        Ok(Contact { name: Some(mark(user).parse()?), phone: Some(format!("+{phone}").parse()?) })
    };
    let channel = match number % 4 {
        0 => Channel::Widget,
        1 => Channel::Api { external_identifier: Some(format!("crm-{}", number % 5).parse()?) },
        2 => Channel::Test,
        _ => Channel::Whatsapp { sender: contact(number % 2)?, customer: contact(number % 3)? },
    };
    let at = Timestamp::from_millis(1_737_800_000_000 + number / 2)?;
    let said = Message::new(Role::User, mark(user), at)?;
    let variables = Variables::new(format!("{{\"of\":\"{}\"}}", mark(user)))?;
    let row = Conversation {
        variables: Some(variables),
        message_count: 1,
        ..Conversation::new(id(number), bot(number % 2), channel, at)
    };
    Ok((row, vec![said]))
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let world = World::new()?;
    let export = "/api/user/conversations/export?messages=1";
    let before: Vec<Answer> = (0..USERS)
        .map(|user| world.ask(user, &Method::GET, export, None))
        .collect::<Result<_, _>>()?;
    for _ in 0..REQUESTS {
        match trial.random.random_range(0..10) {
            0..5 => foreign_is_missing(&world, trial)?,
            5..7 => foreign_cursor_is_garbage(&world, trial)?,
            7..9 => own_answers_are_own(&world, trial)?,
            _ => writer_writes(&world, trial)?,
        }
    }
    for user in (0..USERS).filter(|user| *user != WRITER) {
        let after = world.ask(user, &Method::GET, export, None)?;
        ensure(after == before[usize::try_from(user)?], || {
            format!("what user {user} has was changed by others")
        })?;
    }
    let audit = world.store.snapshot().verify(|_, _| {})?;
    ensure(audit.is_clean(), || format!("{:?}", audit.faults))
}

/// A request for something, as method, target with `{}` for the thing, and body.
type Asked = (Method, &'static str, Option<(&'static str, &'static str)>);

/// What takes a conversation's id.
fn about_conversations() -> [Asked; 6] {
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

/// What takes an assistant's id.
fn about_assistants() -> [Asked; 4] {
    [
        (Method::GET, "/api/user/conversations?assistant_id={}", None),
        (Method::GET, "/api/user/conversations/export?assistant_id={}", None),
        (Method::PATCH, "/api/user/assistants/{}", Some((JSON, r#"{"name":"taken"}"#))),
        (Method::POST, "/api/conversations", Some((JSON, r#"{"assistant_id":"{}"}"#))),
    ]
}

fn foreign_is_missing(world: &World, trial: &mut Trial) -> Result<(), Violation> {
    let random = &mut trial.random;
    let user = random.random_range(0..USERS);
    let of_bot = random.random_bool(0.4);
    let (foreign, missing) = if of_bot {
        let other = (user + random.random_range(1..USERS)) % USERS;
        (bot(10 + other).uuid(), bot(900 + random.random_range(0..99_u64)).uuid())
    } else {
        // The writer's rows come and go; what is foreign to him is told by the store.
        let absent: Vec<u64> = (0..IDS).filter(|number| !has(user, *number)).collect();
        let number = *absent.choose(random).unwrap_or(&0);
        (id(number).uuid(), id(900 + random.random_range(0..99_u64)).uuid())
    };
    let (conversations, assistants) = (about_conversations(), about_assistants());
    let all: &[Asked] = if of_bot { &assistants } else { &conversations };
    let Some((method, target, body)) = all.choose(random) else { return Ok(()) };
    let [one, two] = [foreign, missing].map(|thing| {
        let thing = thing.to_string();
        let text = body.map(|(kind, text)| (kind, text.replace("{}", &thing)));
        let body = text.as_ref().map(|(kind, text)| (*kind, text.as_str()));
        world.ask(user, method, &target.replace("{}", &thing), body)
    });
    let (one, two) = (one?, two?);
    ensure(one == two && matches!(one.status, 404 | 422), || {
        format!("user {user}, {method} {target}: foreign {one:?}, missing {two:?}")
    })?;
    trial.add("foreign as missing", 2);
    Ok(())
}

fn foreign_cursor_is_garbage(world: &World, trial: &mut Trial) -> Result<(), Violation> {
    let user = trial.random.random_range(0..USERS);
    let other = (user + trial.random.random_range(1..USERS)) % USERS;
    let list = "/api/user/conversations";
    let filters = ["", "type=whatsapp&", "customer_phone=+1&", "external_identifier=crm-1&"];
    let filter = filters.choose(&mut trial.random).copied().unwrap_or_default();
    let theirs = world.ask(other, &Method::GET, &format!("{list}?{filter}per_page=1"), None)?;
    let page: serde_json::Value = serde_json::from_slice(&theirs.body)?;
    let Some(cursor) = page["next_cursor"].as_str() else { return Ok(()) };
    let stolen = world.ask(user, &Method::GET, &format!("{list}?cursor={cursor}"), None)?;
    let made_up = "A".repeat(cursor.len());
    let garbage = world.ask(user, &Method::GET, &format!("{list}?cursor={made_up}"), None)?;
    ensure(stolen == garbage && stolen.status == 422, || {
        format!("a foreign cursor: {stolen:?}, garbage: {garbage:?}")
    })?;
    trial.add("foreign cursors", 3);
    Ok(())
}

/// Lists, reads and the account of a user hold what is his, and as much of it as there is.
fn own_answers_are_own(world: &World, trial: &mut Trial) -> Result<(), Violation> {
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
    let answer = world.ask(user, &Method::GET, &target, None)?;
    ensure(answer.status == 200, || format!("{target}: {}", answer.text()))?;
    let page: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let rows = page["data"].as_array().map_or(0, Vec::len);
    let stranger = |row: &serde_json::Value| row["assistant_name"] != mark(user).as_str();
    let strangers =
        page["data"].as_array().map_or(0, |rows| rows.iter().filter(|r| stranger(r)).count());
    ensure(strangers == 0, || format!("{target}: rows of others: {}", answer.text()))?;
    if query == "per_page=100" && user != WRITER {
        let own = (0..IDS).filter(|number| has(user, *number)).count();
        ensure(rows == own, || format!("user {user} has {own} rows and is shown {rows}"))?;
    }
    let account = world.ask(user, &Method::GET, "/api/user/me", None)?;
    ensure(account.text().contains(&mark(user)), || account.text())?;
    let bots = world.ask(user, &Method::GET, "/api/user/assistants/get", None)?;
    ensure(bots.text().contains("\"total\":3"), || bots.text())?;
    trial.add("own", 3);
    Ok(())
}

/// The one user whose rows change, by all that changes rows.
fn writer_writes(world: &World, trial: &mut Trial) -> Result<(), Violation> {
    let number = trial.random.random_range(0..IDS);
    let (thing, own_bot) = (id(number).uuid(), bot(0).uuid());
    let one = format!("/api/conversations/{thing}");
    let line = format!(
        "{{\"id\":\"{thing}\",\"assistant_id\":\"{own_bot}\",\"assistant_name\":\"x\",\
         \"type\":\"widget\",\"created_at\":\"2025-01-25\"}}"
    );
    let created = format!("{{\"assistant_id\":\"{own_bot}\",\"id\":\"{thing}\"}}");
    let import = "/api/user/conversations/import";
    // What he does not have from the beginning he must not come to have: it is what is foreign to him.
    let may_create = has(WRITER, number);
    let (method, target, body) = match trial.random.random_range(0..5) {
        0 => (Method::DELETE, one.as_str(), None),
        1 => (Method::PATCH, one.as_str(), Some((JSON, r#"{"variables":{"a":1}}"#))),
        2 if may_create => (Method::POST, "/api/conversations", Some((JSON, created.as_str()))),
        3 if may_create => (Method::POST, import, Some((LINES, line.as_str()))),
        _ => (Method::GET, one.as_str(), None),
    };
    let answer = world.ask(WRITER, &method, target, body)?;
    let expected = matches!(answer.status, 200 | 404 | 422);
    ensure(expected, || format!("{method} {target}: {} {}", answer.status, answer.text()))?;
    trial.count("of the writer");
    Ok(())
}
