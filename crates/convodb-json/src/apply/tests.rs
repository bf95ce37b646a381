//! Tests of the import rule.

use super::*;
use convodb::{QuotaLimit, UserQuota};

const MESSAGE: &str = r#"{"role":"user","content":"hi","created_at":"2025-01-25"}"#;

fn item(rest: &str) -> Item {
    let line = format!(
        r#"{{"id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","type":"test","assistant_id":"a1b2c3d4-5678-40ab-8def-1234567890ab","created_at":"2025-01-25 10:15:00"{rest}}}"#
    );
    Item::parse(line.as_bytes()).unwrap()
}

fn named(rest: &str) -> Item {
    item(&format!(r#","assistant_name":"Bot"{rest}"#))
}

fn store() -> (Store, UserId) {
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", "2025-01-25".parse().unwrap());
    (store, user.unwrap().id)
}

/// Applies items with `insert_if_new`, in one write.
fn outcomes(store: &Store, user: UserId, items: Vec<Item>) -> (Vec<Outcome>, ImportCounts) {
    let write = move |transaction: &mut Transaction<'_>| {
        let (mut outcomes, mut counts) = (Vec::new(), ImportCounts::default());
        for item in &items {
            let applied = insert_if_new(transaction, user, item)?;
            counts.record(&applied);
            outcomes.push(applied.outcome);
        }
        Ok::<_, Error>((outcomes, counts))
    };
    store.write(write).unwrap()
}

#[test]
fn an_item_is_inserted_once_and_its_assistant_is_created_once() {
    let (store, user) = store();
    let with_message = named(&format!(r#","messages":[{MESSAGE}]"#));
    let items = vec![item(""), with_message, item("")];
    let (outcomes, counts) = outcomes(&store, user, items);
    assert_eq!(
        outcomes,
        [
            Outcome::Rejected(Rejection::UnnamedAssistant),
            Outcome::Inserted { messages: 1 },
            Outcome::AlreadyPresent,
        ]
    );
    let expected = ImportCounts {
        inserted: 1,
        already_present: 1,
        messages: 1,
        assistants_created: 1,
        rejected: 1,
        updated: 0,
    };
    assert_eq!(counts, expected);
}

#[test]
fn an_item_beyond_a_quota_is_rejected_and_smaller_ones_are_inserted() {
    let (store, user) = store();
    let limit = UserQuota { bytes: QuotaLimit::AtMost(250), ..UserQuota::default() };
    store.set_quota(user, limit).unwrap();
    let large = named(&format!(r#","variables":{{"a":"{}"}}"#, "x".repeat(200)));
    let (outcomes, counts) = outcomes(&store, user, vec![large, named("")]);
    let [Outcome::Rejected(rejection), Outcome::Inserted { messages: 0 }] = outcomes[..] else {
        panic!("{outcomes:?}");
    };
    let reason = rejection.to_string();
    assert!(reason.starts_with("quota of 250 bytes exceeded: "), "{reason}");
    assert_eq!((counts.inserted, counts.rejected, counts.assistants_created), (1, 1, 1));
}

#[test]
fn an_update_replaces_fields_and_appends_new_messages() {
    let (store, user) = store();
    let first = named(&format!(r#","messages":[{MESSAGE}]"#));
    let id = first.conversation.id;
    outcomes(&store, user, vec![first]);
    let changed = item(&format!(
        r#","message_count":2,"ai_enabled":false,"total_cost":3,"messages":[{MESSAGE},{MESSAGE}]"#
    ));
    let write = move |transaction: &mut Transaction<'_>| {
        insert_or_update(transaction, user, &changed, 1).map(|applied| applied.outcome)
    };
    assert_eq!(store.write(write).unwrap(), Outcome::Updated { messages: 1 });
    // Of a server that counts less messages than it once showed: nothing is written again.
    let fewer = item(r#","message_count":0,"ai_enabled":false,"total_cost":3"#);
    let write = move |transaction: &mut Transaction<'_>| {
        insert_or_update(transaction, user, &fewer, 2).map(|applied| applied.outcome)
    };
    assert_eq!(store.write(write).unwrap(), Outcome::AlreadyPresent);
    let snapshot = store.snapshot();
    let stored = snapshot.conversation(user, id).unwrap().unwrap();
    assert_eq!((stored.message_count, stored.ai_enabled), (2, false));
    assert_eq!(stored.total_cost.to_string(), "3");
    assert_eq!(snapshot.messages(user, id).unwrap().unwrap().len(), 2);
}

#[test]
fn a_bulk_load_counts_duplicates_when_it_finishes() {
    let (store, user) = store();
    outcomes(&store, user, vec![named("")]);
    let mut target = BulkTarget::new(&store, BulkOptions::default());
    let applied = insert_if_new(&mut target, user, &item("")).unwrap();
    assert_eq!(applied.outcome, Outcome::Inserted { messages: 0 });
    assert!(!applied.assistant_created);
    let report = target.finish().unwrap();
    assert_eq!((report.inserted, report.present), (0, 1));
}
