//! Row 14: no token but the ones that a store gave to this user opens: line 24 of the contract.

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
    promise: "A token that is changed, cut, spliced, made up, another user's, store's or list's is \
              refused: never a page, never a fault.",
    trial: "1,000 tokens, every twentieth over HTTP too",
    trials: Trials { smoke: 3, ci: 100, release: 10_000 },
    parallelism: Parallelism::PerCore,
    run,
};

const TOKENS: usize = 1_000;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Tokens that are genuine, by whom they are for.
struct Tokens {
    own: Vec<String>,
    /// Of another user of the store.
    foreign: Vec<String>,
    /// Of a user of the same number in another store.
    elsewhere: Vec<String>,
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let (store, users) = stored()?;
    let (elsewhere, others) = stored()?;
    let tokens = Tokens {
        own: genuine(&store, users[0], &mut trial.random)?,
        foreign: genuine(&store, users[1], &mut trial.random)?,
        elsewhere: genuine(&elsewhere, others[0], &mut trial.random)?,
    };
    let access = store.create_token(users[0], Timestamp::MIN)?;
    let client = InProcessClient::new(store.clone(), access)?;
    // Whoever opens a cursor reads nothing, so a store that is closed refuses just the same.
    let snapshot = store.snapshot();
    for number in 0..TOKENS {
        let (kind, token) = changed(&tokens, &mut trial.random);
        if tokens.own.contains(&token) {
            trial.count("changed into themselves");
            ensure(
                snapshot.open_cursor(users[0], &token).is_ok(),
                || "a genuine token is refused",
            )?;
            continue;
        }
        trial.count(kind);
        let opened = snapshot.open_cursor(users[0], &token);
        ensure(matches!(opened, Err(Error::InvalidCursor)), || {
            format!("{opened:?} of a token that is {kind}: {token:?}")
        })?;
        if number % 20 == 0 {
            refused_over_http(&client, &token)?;
            trial.count("asked over HTTP");
        }
    }
    for token in &tokens.own {
        other_lists_are_refused(&snapshot, users[0], token)?;
        trial.count("beside another filter");
    }
    store.close()?;
    let late = snapshot.open_cursor(users[0], &tokens.foreign[0]);
    ensure(matches!(late, Err(Error::InvalidCursor)), || "a closed store opened a foreign token")
}

/// A store with two users of 30 rows each.
fn stored() -> Result<(Store, [UserId; 2]), Violation> {
    let store = Store::in_memory()?;
    let mut users = [UserId::new(0); 2];
    for (user, name) in users.iter_mut().zip(["one", "two"]) {
        *user = store.create_user(name.parse()?, Timestamp::MIN)?.id;
        let bot: AssistantId = assistants()[0];
        store.create_assistant(*user, bot, "Bot".parse()?)?;
        let phone = |text: &str| Contact { name: None, phone: text.parse().ok() };
        let channel = Channel::Whatsapp { sender: phone("+1"), customer: phone("+2") };
        for number in 0..30_u64 {
            let at = Timestamp::from_millis(1_737_800_000_000 + number)?;
            let id = ConversationId::new(Uuid::from_u128(u128::from(number)));
            store.insert(*user, Conversation::new(id, bot, channel.clone(), at))?;
        }
    }
    store.rotate_cursor_key()?;
    Ok((store, users))
}

/// The tokens of the pages of a few lists.
fn genuine(store: &Store, user: UserId, random: &mut ChaCha8Rng) -> Result<Vec<String>, Violation> {
    let snapshot = store.snapshot();
    let mut tokens = Vec::new();
    for bits in 0..16_u32 {
        let asked = |bit: u32| bits & 1 << bit != 0;
        let filter = Filter {
            kind: asked(0).then_some(ChannelKind::Whatsapp),
            assistant: asked(1).then(|| assistants()[0]),
            sender_phone: asked(2).then(|| "+1".parse()).transpose()?,
            customer_phone: asked(3).then(|| "+2".parse()).transpose()?,
            external_identifier: None,
        };
        let request = ListRequest {
            filter,
            order: Some(if asked(1) { Order::Ascending } else { Order::Descending }),
            created_from: asked(2).then_some(Timestamp::MIN),
            page_size: Some(PageSize::new(random.random_range(1..15))?),
            ..ListRequest::default()
        };
        for page in snapshot.pages(user, request).take(4) {
            let page = page?;
            let both: [Option<&PageCursor>; 2] = [page.next(), page.prev()];
            tokens.extend(both.into_iter().flatten().map(|cursor| snapshot.seal_cursor(cursor)));
        }
    }
    Ok(tokens)
}

/// A token that is most likely not genuine, and what was done to it.
fn changed(tokens: &Tokens, random: &mut ChaCha8Rng) -> (&'static str, String) {
    let mut pick = |from: &[String]| from.choose(random).cloned().unwrap_or_default();
    let (token, other) = (pick(&tokens.own), pick(&tokens.own));
    let (foreign, elsewhere) = (pick(&tokens.foreign), pick(&tokens.elsewhere));
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).unwrap_or_default();
    let at = random.random_range(0..token.len());
    match random.random_range(0..16) {
        0 | 1 => ("with bits flipped", with_bits_flipped(bytes, random)),
        2 => ("with a character replaced", replaced(&token, at, letter(random))),
        3 => ("cut", token[..at].to_owned()),
        4 => ("longer", token + &text(random, 1..40)),
        5 => ("without a character", [&token[..at], &token[at + 1..]].concat()),
        6 => ("with a character more", [&token[..at], &text(random, 1..2), &token[at..]].concat()),
        7 => ("spliced", spliced(&token, &other, at)),
        8 => ("spliced with a foreign one", spliced(&token, &foreign, at)),
        9 => ("another user's", foreign),
        10 => ("another store's", elsewhere),
        11 => ("of another version or key", reheaded(bytes, random)),
        12 => ("padded", format!("{token}{}", "=".repeat(random.random_range(1..4)))),
        13 => ("in another alphabet", format!("{}+/", &token[..at])),
        14 => ("made up", text(random, 0..129)),
        _ => ("no token at all", unlike_a_token(random)),
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

fn reheaded(mut bytes: Vec<u8>, random: &mut ChaCha8Rng) -> String {
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

/// The documented refusal, whatever the token.
fn refused_over_http(client: &InProcessClient, token: &str) -> Result<(), Violation> {
    if token.is_empty() || token.len() > 255 {
        // Not given, or refused by another rule.
        return Ok(());
    }
    let encoded: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let target = format!("/api/user/conversations?cursor={encoded}");
    let answer = client.ask(&Method::GET, &target, None)?;
    let why = "The selected cursor is invalid.";
    let expected = format!(r#"{{"message":"{why}","errors":{{"cursor":["{why}"]}}}}"#);
    let blank = token.trim().is_empty();
    ensure(blank || (answer.status == 422 && answer.body == expected.as_bytes()), || {
        format!("{} for the cursor {token:?}: {}", answer.status, answer.text())
    })
}

/// A genuine token beside a filter that is not its own names the field.
fn other_lists_are_refused(
    snapshot: &Snapshot,
    user: UserId,
    token: &str,
) -> Result<(), Violation> {
    let cursor = snapshot.open_cursor(user, token)?;
    let filter = Filter { external_identifier: Some("other".parse()?), ..Filter::default() };
    let asked = snapshot.list(user, &ListRequest { filter, ..ListRequest::at(cursor) });
    let named = matches!(asked, Err(Error::CursorConflict { field: "external_identifier" }));
    ensure(named, || format!("{asked:?} of a token beside another filter"))
}
