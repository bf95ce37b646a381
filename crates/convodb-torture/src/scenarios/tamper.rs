//! Cursor tokens that a client has tampered with.

use axum::http::Method;
use convodb::{
    AssistantId, Channel, ChannelKind, Contact, Conversation, ConversationId, Error, Filter,
    ListRequest, Order, PageCursor, PageSize, Snapshot, Store, Timestamp, UserId,
};
use convodb_testkit::generators::assistants;
use data_encoding::BASE64URL_NOPAD;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use uuid::Uuid;

use crate::clients::in_process::InProcessClient;
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const TAMPER: Scenario = Scenario {
    name: "tamper",
    row: 14,
    promise: "A token that is changed, cut, spliced, made up, or of another user, store or list is \
              rejected: never a page, never a server error.",
    trial: "1,000 tokens, every twentieth also over HTTP",
    trials: Trials { smoke: 3, ci: 100, release: 10_000 },
    parallelism: Parallelism::PerCore,
    run,
};

const TOKENS: usize = 1_000;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Valid tokens.
struct Tokens {
    /// Of the user who sends the requests.
    own: Vec<String>,
    /// Of another user of the same store.
    foreign: Vec<String>,
    /// Of the user with the same id in another store.
    other_store: Vec<String>,
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let (store, users) = new_store()?;
    let (other_store, others) = new_store()?;
    let tokens = Tokens {
        own: valid_tokens(&store, users[0], &mut trial.random)?,
        foreign: valid_tokens(&store, users[1], &mut trial.random)?,
        other_store: valid_tokens(&other_store, others[0], &mut trial.random)?,
    };
    let access = store.create_token(users[0], Timestamp::MIN)?;
    let client = InProcessClient::new(store.clone())?;
    // Opening a cursor reads nothing, so a closed store rejects tokens too.
    let snapshot = store.snapshot();
    for number in 0..TOKENS {
        let (kind, token) = tampered(&tokens, &mut trial.random);
        if tokens.own.contains(&token) {
            trial.count("unchanged");
            ensure(snapshot.open_cursor(users[0], &token).is_ok(), || "a valid token is rejected")?;
            continue;
        }
        trial.count(kind);
        let opened = snapshot.open_cursor(users[0], &token);
        ensure(matches!(opened, Err(Error::InvalidCursor)), || {
            format!("{opened:?} for a token {kind}: {token:?}")
        })?;
        if number % 20 == 0 {
            rejected_over_http(&client, &access, &token)?;
            trial.count("over HTTP");
        }
    }
    for token in &tokens.own {
        rejected_for_other_list(&snapshot, users[0], token)?;
        trial.count("with another filter");
    }
    store.close()?;
    let late = snapshot.open_cursor(users[0], &tokens.foreign[0]);
    ensure(matches!(late, Err(Error::InvalidCursor)), || "a closed store opens a foreign token")
}

/// Creates a store with two users, who have 30 rows each.
fn new_store() -> Result<(Store, [UserId; 2]), Violation> {
    let store = Store::in_memory()?;
    let mut users = [UserId::new(0); 2];
    for (user, name) in users.iter_mut().zip(["one", "two"]) {
        *user = store.create_user(name, Timestamp::MIN)?.id;
        let assistant: AssistantId = assistants()[0];
        store.create_assistant(*user, assistant, "Bot")?;
        let phone = |text: &str| Contact { name: None, phone: text.parse().ok() };
        let channel = Channel::Whatsapp { sender: phone("+1"), customer: phone("+2") };
        for number in 0..30_u64 {
            let at = Timestamp::from_millis(1_737_800_000_000 + number)?;
            let id = ConversationId::new(Uuid::from_u128(u128::from(number)));
            store.insert(
                *user,
                Conversation::new(id, assistant, channel.clone(), at),
                Vec::new(),
            )?;
        }
    }
    store.rotate_cursor_key()?;
    Ok((store, users))
}

/// The tokens of the pages of several lists.
fn valid_tokens(
    store: &Store,
    user: UserId,
    random: &mut ChaCha8Rng,
) -> Result<Vec<String>, Violation> {
    let snapshot = store.snapshot();
    let mut tokens = Vec::new();
    for bits in 0..32_u32 {
        let has = |bit: u32| bits & 1 << bit != 0;
        let mut filter = Filter {
            kind: has(0).then_some(ChannelKind::Whatsapp),
            assistant: has(1).then(|| assistants()[0]),
            sender_phone: has(2).then(|| "+1".parse()).transpose()?,
            customer_phone: has(3).then(|| "+2".parse()).transpose()?,
            ..Filter::default()
        };
        if has(4) {
            let kinds = [ChannelKind::Whatsapp, ChannelKind::Widget, ChannelKind::Api];
            filter = filter.kinds(kinds)?.assistants(assistants())?;
        }
        let request = ListRequest {
            filter,
            order: Some(if has(1) { Order::Ascending } else { Order::Descending }),
            created_from: has(2).then_some(Timestamp::MIN),
            page_size: Some(PageSize::new(random.random_range(1..15))?),
            ..ListRequest::default()
        };
        for page in snapshot.pages(user, request).take(4) {
            let page = page?;
            let both: [Option<&PageCursor>; 2] = [page.next_cursor(), page.prev_cursor()];
            tokens.extend(both.into_iter().flatten().map(|cursor| snapshot.seal_cursor(cursor)));
        }
    }
    Ok(tokens)
}

/// A random token that is almost certainly invalid, and a description of it.
fn tampered(tokens: &Tokens, random: &mut ChaCha8Rng) -> (&'static str, String) {
    let mut pick = |from: &[String]| from.choose(random).cloned().unwrap_or_default();
    let (token, other) = (pick(&tokens.own), pick(&tokens.own));
    let (foreign, other_store) = (pick(&tokens.foreign), pick(&tokens.other_store));
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).unwrap_or_default();
    let at = random.random_range(0..token.len());
    match random.random_range(0..16) {
        0 | 1 => ("with bits flipped", with_bits_flipped(bytes, random)),
        2 => ("with a character replaced", replaced(&token, at, letter(random))),
        3 => ("cut short", token[..at].to_owned()),
        4 => ("with extra characters", token + &text(random, 1..40)),
        5 => ("without a character", [&token[..at], &token[at + 1..]].concat()),
        6 => {
            ("with an extra character", [&token[..at], &text(random, 1..2), &token[at..]].concat())
        }
        7 => ("spliced", spliced(&token, &other, at)),
        8 => ("spliced with a foreign token", spliced(&token, &foreign, at)),
        9 => ("of another user", foreign),
        10 => ("of another store", other_store),
        11 => ("of another version or key", with_other_header(bytes, random)),
        12 => ("padded", format!("{token}{}", "=".repeat(random.random_range(1..4)))),
        13 => ("in another alphabet", format!("{}+/", &token[..at])),
        14 => ("of random characters", text(random, 0..129)),
        _ => ("unlike any token", unlike_a_token(random)),
    }
}

fn letter(random: &mut ChaCha8Rng) -> char {
    char::from(*ALPHABET.choose(random).unwrap_or(&b'A'))
}

fn text(random: &mut ChaCha8Rng, length: std::ops::Range<usize>) -> String {
    let length = random.random_range(length);
    (0..length).map(|_| letter(random)).collect()
}

fn replaced(token: &str, at: usize, by: char) -> String {
    [&token[..at], by.encode_utf8(&mut [0; 4]), &token[at + 1..]].concat()
}

fn spliced(token: &str, other: &str, at: usize) -> String {
    [&token[..at], other.get(at..).unwrap_or_default()].concat()
}

fn with_bits_flipped(mut bytes: Vec<u8>, random: &mut ChaCha8Rng) -> String {
    for _ in 0..random.random_range(1..4) {
        let bit = random.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    BASE64URL_NOPAD.encode(&bytes)
}

fn with_other_header(mut bytes: Vec<u8>, random: &mut ChaCha8Rng) -> String {
    bytes[random.random_range(0..2)] = random.random();
    BASE64URL_NOPAD.encode(&bytes)
}

fn unlike_a_token(random: &mut ChaCha8Rng) -> String {
    let odd = ["null", "undefined", "\0", "eyJpZCI6MX0", "\u{1F600}", "' OR 1=1 --", "%00"];
    match odd.choose(random) {
        Some(odd) if random.random_bool(0.5) => (*odd).to_owned(),
        _ => {
            let mut bytes = vec![0; random.random_range(1..200)];
            random.fill_bytes(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }
}

/// Checks that a request with the token has the documented error response.
fn rejected_over_http(
    client: &InProcessClient,
    access: &str,
    token: &str,
) -> Result<(), Violation> {
    if token.is_empty() || token.len() > 255 {
        // An empty parameter counts as missing, a long one fails another validation.
        return Ok(());
    }
    let encoded: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let target = format!("/api/user/conversations?cursor={encoded}");
    let response = client.request(access, &Method::GET, &target, None)?;
    let message = "The selected cursor is invalid.";
    let expected = format!(r#"{{"message":"{message}","errors":{{"cursor":["{message}"]}}}}"#);
    let blank = token.trim().is_empty();
    ensure(blank || (response.status == 422 && response.body == expected.as_bytes()), || {
        format!("{} for the cursor {token:?}: {}", response.status, response.text())
    })
}

/// Checks that a valid token with another filter is rejected with the name of the field.
fn rejected_for_other_list(
    snapshot: &Snapshot,
    user: UserId,
    token: &str,
) -> Result<(), Violation> {
    let cursor = snapshot.open_cursor(user, token)?;
    let filter = Filter { external_identifier: Some("other".parse()?), ..Filter::default() };
    let listed = snapshot.list(user, &ListRequest { filter, ..ListRequest::at(cursor) });
    let named = matches!(listed, Err(Error::CursorConflict { field: "external_identifier" }));
    ensure(named, || format!("{listed:?} for a token with another filter"))
}
