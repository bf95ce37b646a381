//! Creating, opening and verifying: what is refused, and what an audit finds.

use convodb::{
    AssistantId, Channel, Conversation, ConversationId, Filter, ListRequest, Message, Role, Store,
    Timestamp, Transaction, UserId,
};
use convodb_postgres::{Cluster, Error};
use uuid::Uuid;

use crate::{connect, empty_schema, execute, imported};

fn store() -> (Store, UserId) {
    let at = Timestamp::from_millis(1_737_800_000_000).unwrap();
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", at).unwrap().id;
    let bot = store.create_assistant(user, AssistantId::generate(at), "Bot").unwrap().id;
    for number in 0..10_u128 {
        let channel = Channel::whatsapp("+1", format!("+2{number}")).unwrap();
        let row = Conversation::new(ConversationId::new(Uuid::from_u128(number)), bot, channel, at);
        store.insert(user, row, Vec::new()).unwrap();
        let id = ConversationId::new(Uuid::from_u128(number));
        store.append_message(user, id, Message::new(Role::User, "a\0b", at).unwrap()).unwrap();
    }
    store.create_token(user, at).unwrap();
    (store, user)
}

/// Imports a store, changes a table, and checks the findings.
async fn check(schema: &str, change: &str, expected: &[(&str, &str)]) {
    let (store, user) = store();
    let (options, _) = imported(schema, &store).await;
    let clean = Cluster::verify(&options).await.unwrap();
    assert!(clean.is_clean(), "{:?}", clean.findings);
    assert_eq!((clean.users, clean.conversations, clean.messages, clean.changes), (1, 10, 10, 20));
    execute(schema, change).await;
    let found = Cluster::verify(&options).await.unwrap();
    let findings: Vec<(&str, &str)> =
        found.findings.iter().map(|finding| (finding.table, &*finding.what)).collect();
    assert_eq!(findings, expected, "{change}");
    assert!(found.findings.iter().all(|finding| finding.user == user));
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn an_audit_finds_what_breaks_a_rule() {
    let lists = [("conversation", "a conversation is not in the lists of its fields")];
    let first = "where pos = (select min(pos) from conversation)";
    check("audit_fp", &format!("update conversation set customer_fp = 7 {first}"), &lists).await;
    let counters = [("total", "counters differ from the conversations")];
    check("audit_total", "update total set messages = messages + 1", &counters).await;
    let changes = [("change", "changes are missing, or there are too many")];
    check("audit_change", "delete from change where number = 7", &changes).await;
    check("audit_feed", "update head set feed = 19", &changes).await;
    let messages = [("message", "a conversation has not as many messages as were stored")];
    check("audit_message", &format!("delete from message {first}"), &messages).await;
    let quota = [("head", "the number of conversations is wrong")];
    check("audit_quota", "update head set conversations = 9", &quota).await;
    let text = [
        ("conversation", "corrupted data in conversation: a text is out of bounds"),
        ("total", "counters differ from the conversations"),
    ];
    check("audit_text", &format!("update conversation set sender_phone = '' {first}"), &text).await;
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_damaged_row_is_an_error_of_its_page() {
    let (store, user) = store();
    let (_, cluster) = imported("damaged_row", &store).await;
    execute("damaged_row", "update conversation set updated_ms = -1").await;
    let page = cluster.list(user, &ListRequest::new()).await;
    let corrupted = |error: &Error| {
        matches!(error, Error::Store(convodb::Error::Corrupted { table: "conversation", .. }))
    };
    assert!(page.as_ref().is_err_and(corrupted), "{page:?}");
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_schema_contains_one_store() {
    let options = empty_schema("one_store").await;
    assert!(matches!(Cluster::open(&options).await, Err(Error::NoStore(_))));
    Cluster::create(&options).await.unwrap();
    assert!(matches!(Cluster::create(&options).await, Err(Error::NotEmpty(_))));
    let (store, user) = store();
    let again = Cluster::import(&options, &store, |_| {}).await;
    assert!(matches!(again, Err(Error::NotEmpty(_))), "{again:?}");
    let cluster = Cluster::open(&options).await.unwrap();
    assert!(cluster.list(user, &ListRequest::new()).await.unwrap().is_empty());
    assert!(Cluster::verify(&options).await.unwrap().is_clean());
    execute("one_store", "update store set format = 2").await;
    let newer = Cluster::open(&options).await.map(|_| ());
    assert!(matches!(newer, Err(Error::NewerFormat { found: 2, supported: 1 })), "{newer:?}");
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn an_import_copies_everything_or_nothing() {
    let (store, user) = store();
    let options = empty_schema("import_all").await;
    let mut tables = Vec::new();
    let report = Cluster::import(&options, &store, |at| tables.push(at.table)).await.unwrap();
    assert_eq!((report.users, report.tokens, report.assistants), (1, 1, 1));
    assert_eq!((report.conversations, report.messages, report.changes), (10, 10, 20));
    assert!(tables.contains(&"conversation") && tables.contains(&"answer"));
    let client = connect().await;
    let row = client.query_one("select max(bytes) from import_all.head", &[]).await.unwrap();
    let bytes: i64 = row.get(0);
    let usage = store.snapshot().storage_usage(user).unwrap();
    assert_eq!(u64::try_from(bytes).unwrap(), usage.bytes);

    // A long insert: one part is stored.
    let at = Timestamp::from_millis(1_737_800_000_000).unwrap();
    let bot = store.snapshot().assistants(user, 0, 1).unwrap()[0].id;
    let id = ConversationId::new(Uuid::from_u128(99));
    let mut row = Conversation::new(id, bot, Channel::Widget, at);
    row.message_count = 2;
    let messages = vec![Message::new(Role::User, "hi", at).unwrap(); 2];
    let part = move |transaction: &mut Transaction<'_>| {
        transaction.insert_part(user, &row, &messages, Default::default(), &mut 1)
    };
    let unfinished = store.write(part).unwrap();
    assert!(unfinished.is_some());
    let options = empty_schema("import_nothing").await;
    let refused = Cluster::import(&options, &store, |_| {}).await;
    assert!(matches!(refused, Err(Error::UnfinishedInserts)), "{refused:?}");
    assert!(matches!(Cluster::open(&options).await, Err(Error::NoStore(_))));
}

/// Rows of other lists with the same fingerprint are read over and never returned.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn rows_with_an_equal_fingerprint_are_not_of_the_list() {
    let (store, user) = store();
    let (_, cluster) = imported("equal_fingerprints", &store).await;
    let oldest = "select customer_fp from conversation order by pos limit 1";
    execute("equal_fingerprints", &format!("update conversation set customer_fp = ({oldest})"))
        .await;
    let request = ListRequest::new().filter(Filter::new().customer_phone("+20").unwrap());
    for size in [1, 2, 9, 10] {
        let request = request.clone().page_size(size).unwrap();
        let page = cluster.list(user, &request).await.unwrap();
        let expected = store.snapshot().list(user, &request).unwrap();
        assert!(page.conversations().eq(expected.conversations()), "pages of {size}");
        assert_eq!((page.len(), page.next_cursor(), page.prev_cursor()), (1, None, None));
        assert!((10..20).contains(&page.cost().entries), "{:?}", page.cost());
    }
}
