//! Allocation counts: writing a page allocates equally often for 15 and for 100 rows.
//!
//! The counts are the same on every machine. The allocator counts per thread, and this file is a
//! test binary of its own, so that no other test adds to the counts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use allocation_counter::measure;
use convodb::{
    AssistantId, Channel, Contact, Conversation, ConversationId, ListRequest, PageSize, Store,
    Timestamp, UserId, Variables,
};
use convodb_http::{PageTokens, write_page};
use convodb_json::AssistantNames;
use uuid::Uuid;

const ASSISTANTS: usize = 5;
/// The body, which is allocated once at its full size, and a token.
const BODY_AND_TOKEN: u64 = 2;
/// The names of assistants, their fields and their positions, with capacity for sixteen.
const NAMES: u64 = 3;

fn filled() -> (Store, UserId) {
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
    let bots: Vec<AssistantId> =
        (0..ASSISTANTS).map(|n| AssistantId::new(Uuid::from_u128(n as u128))).collect();
    for (number, bot) in bots.iter().enumerate() {
        store.create_assistant(user, *bot, format!("Assistant {number}")).unwrap();
    }
    let rows = move |transaction: &mut convodb::Transaction<'_>| {
        for number in 0..120_usize {
            let id = ConversationId::new(Uuid::from_u128(number as u128));
            let contact = |phone: &str| Contact {
                name: Some("John \"Jack\" Doe".parse().unwrap()),
                phone: Some(phone.parse().unwrap()),
            };
            let channel = Channel::Whatsapp { sender: contact("+1"), customer: contact("+2") };
            let at = Timestamp::from_millis(1_737_800_000_000 + number as u64)?;
            let conversation = Conversation {
                variables: Some(Variables::new("{\"plan\":\"pro\"}".to_owned())?),
                ..Conversation::new(id, bots[number % ASSISTANTS], channel, at)
            };
            transaction.insert(user, conversation, Vec::new())?;
        }
        Ok::<_, convodb::Error>(())
    };
    store.write(rows).unwrap();
    (store, user)
}

#[test]
fn writing_a_page_allocates_equally_often_for_any_number_of_rows() {
    let (store, user) = filled();
    for (size, rows) in [(15, 15), (100, 100)] {
        let snapshot = store.snapshot();
        let page_size = Some(PageSize::new(size).unwrap());
        let request = ListRequest { page_size, ..ListRequest::default() };
        let page = snapshot.list(user, &request).unwrap();
        let write = |body: &mut Vec<u8>| {
            let tokens = PageTokens::of(&page, &snapshot);
            let mut names = AssistantNames::new(snapshot.clone(), user);
            write_page(body, "http://127.0.0.1/list", &page, &tokens, &mut names).unwrap();
        };
        // The store caches each name at its first read.
        write(&mut Vec::new());
        let mut body = Vec::new();
        let counted = measure(|| write(&mut body));
        assert_eq!(page.len(), rows);
        assert_eq!(counted.count_total, BODY_AND_TOKEN + NAMES, "{rows} rows");
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["data"].as_array().unwrap().len(), rows);
    }
}
