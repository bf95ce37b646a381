//! Bulk deletion and user erasure: they remove all of the selected data, and nothing else.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use convodb::{
    AssistantId, BulkOptions, Channel, Contact, Conversation, EraseReport, ErasureScope, Error,
    Filter, ListRequest, Message, Role, Store, Timestamp, UnfinishedErasure,
};
use uuid::Uuid;

use crate::{TestUser, count, user_of};

fn whatsapp(acme: &TestUser, phone: &str) -> Conversation {
    let customer = Contact::with_phone(phone).unwrap();
    let channel = Channel::Whatsapp { sender: Contact::default(), customer };
    Conversation { channel, ..acme.conversation() }
}

/// The conversations with this customer.
fn with_customer(phone: &str) -> ListRequest {
    ListRequest::new().filter(Filter::new().customer_phone(phone).unwrap())
}

#[test]
fn deleting_one_customers_conversations_takes_bounded_writes_and_spares_the_others() {
    let store = Store::in_memory().unwrap();
    let (acme, other) = (TestUser::of(&store), TestUser::of_name(&store, "Other"));
    for (acme, phone, rows) in [(&acme, "+1", 600), (&acme, "+2", 3), (&other, "+1", 2)] {
        let rows: Vec<_> = (0..rows).map(|_| whatsapp(acme, phone)).collect();
        let user = acme.user;
        store
            .write(move |write| {
                rows.iter().try_for_each(|r| write.insert(user, r.clone(), Vec::new()))
            })
            .unwrap();
    }
    let mut progress = Vec::new();
    let first = store.delete_all_with_progress(acme.user, &with_customer("+1"), |deleted| {
        progress.push(deleted);
        if progress.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((first.unwrap(), progress), (512, vec![256, 512]));
    let rest = store.delete_all(acme.user, &with_customer("+1"));
    assert_eq!(rest.unwrap(), 88);
    assert_eq!((count(&store, acme.user), count(&store, other.user)), (3, 2));
    assert!(store.snapshot().verify().unwrap().is_clean());
}

#[test]
fn deletion_by_age_spares_newer_conversations() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let at = |hours: u64| Timestamp::from_millis(1_737_800_000_000 + hours * 3_600_000).unwrap();
    for hours in 0..10 {
        let row = Conversation { created_at: at(hours), ..acme.conversation() };
        store.insert(acme.user, row, Vec::new()).unwrap();
    }
    let before = ListRequest::new().created_to(at(4));
    let deleted = store.delete_all(acme.user, &before);
    assert_eq!(deleted.unwrap(), 4);
    let rest = store.snapshot().conversations(acme.user, &ListRequest::default());
    assert!(rest.map(Result::unwrap).all(|row| row.created_at >= at(4)));
}

#[test]
fn an_erased_user_leaves_no_entry_and_the_number_is_not_reused() {
    let store = Store::in_memory().unwrap();
    let (acme, other) = (TestUser::of(&store), TestUser::of_name(&store, "Other"));
    let tokens = [acme.user, acme.user, other.user]
        .map(|user| store.create_token(user, Timestamp::MIN).unwrap());
    for _ in 0..300 {
        let row = whatsapp(&acme, "+1");
        let id = row.id;
        store.insert(acme.user, row, Vec::new()).unwrap();
        let message = Message::new(Role::User, "hi", Timestamp::MIN).unwrap();
        store.append_message(acme.user, id, message).unwrap();
    }
    store.insert(other.user, whatsapp(&other, "+1"), Vec::new()).unwrap();

    let erased = store.erase_user(acme.user, Timestamp::MIN).unwrap();
    assert_eq!(erased, EraseReport { conversations: 300, assistants: 1, tokens: 2 });
    assert!(matches!(store.erase_user(acme.user, Timestamp::MIN), Err(Error::UserNotFound)));
    let snapshot = store.snapshot();
    assert_eq!(user_of(&snapshot, &tokens[0]), None);
    assert_eq!(user_of(&snapshot, &tokens[2]), Some(other.user));
    assert_eq!(count(&store, other.user), 1);
    let report = snapshot.verify().unwrap();
    assert!(report.is_clean() && report.messages == 0, "{report:?}");
    let entries: u64 = store.usage().unwrap().tables.iter().map(|(_, count)| count).sum();
    // The other user's entries: a row and its id; five index entries; three counters; a change and
    // its number; user, name, assistant, assistant number, token and usage. Then the newest user's
    // number.
    assert_eq!(entries, 2 + 5 + 3 + 2 + 6 + 1, "{:?}", store.usage());
    let recreated = store.create_user("Acme", Timestamp::MIN).unwrap();
    assert!(recreated.id > other.user);
}

/// Erasure closes the user first: no writer holds it open, and one that stops is continued.
#[test]
fn a_user_who_is_being_erased_accepts_no_write_and_erasing_again_continues() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.convodb");
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    let (user, first) = (acme.user, acme.conversation());
    let token = store.create_token(user, Timestamp::MIN).unwrap();
    let id = first.id;
    for row in [first].into_iter().chain((0..600).map(|_| acme.conversation())) {
        store.insert(user, row, Vec::new()).unwrap();
    }
    let mut staged = store.bulk_load(BulkOptions::default());
    staged.push(user, &acme.conversation(), &[]).unwrap();

    let (writer, row) = (store.clone(), acme.conversation());
    let mut refused = 0;
    let stopped = catch_unwind(AssertUnwindSafe(|| {
        store.erase_user_with_progress(user, Timestamp::MIN, |_| {
            let closed = |result: convodb::Result<()>| {
                assert!(matches!(result, Err(Error::UserClosed)), "{result:?}");
            };
            closed(writer.insert(user, row.clone(), Vec::new()));
            closed(writer.create_token(user, Timestamp::MIN).map(drop));
            closed(writer.create_assistant(user, id.uuid().into(), "New").map(drop));
            closed(writer.rename_assistant(user, acme.assistant, "New"));
            let last = writer.snapshot().conversations(user, &ListRequest::default()).next();
            let last = last.expect("400 are left").unwrap().id;
            let message = Message::new(Role::User, "hi", Timestamp::MIN).unwrap();
            closed(writer.append_message(user, last, message).map(drop));
            let update = |row: &mut Conversation| {
                row.ai_enabled = false;
                Ok(())
            };
            closed(writer.update(user, last, Timestamp::MIN, update).map(drop));
            refused += 1;
            resume_unwind(Box::new(()));
        })
    }));
    assert!(stopped.is_err());
    assert_eq!((refused, user_of(&store.snapshot(), &token)), (1, None));
    assert!(matches!(staged.finish(), Err(Error::UserClosed)));
    drop(writer);
    store.close().unwrap();

    let store = Store::open(&path).unwrap();
    assert!(store.snapshot().user(user).unwrap().unwrap().closed, "closed durably");
    let row = acme.conversation();
    assert!(matches!(store.insert(user, row, Vec::new()), Err(Error::UserClosed)));
    assert!(store.snapshot().verify().unwrap().is_clean());
    let erased = store.erase_user(user, Timestamp::MIN).unwrap();
    assert_eq!(erased.conversations, 601 - 256);
    assert!(store.snapshot().user(user).unwrap().is_none());
    assert!(store.snapshot().verify().unwrap().is_clean());
}

/// A filter of several values has one mark for each value, and none that names the whole user.
#[test]
fn erasing_a_union_spares_the_rest_and_marks_each_part() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let bots = [1, 2, 3].map(|number| AssistantId::new(Uuid::from_u128(number)));
    for (number, bot) in bots.into_iter().enumerate() {
        store.create_assistant(acme.user, bot, format!("Bot {number}")).unwrap();
        for _ in 0..=number {
            let row = Conversation { assistant: bot, ..acme.conversation() };
            store.insert(acme.user, row, Vec::new()).unwrap();
        }
    }
    let filter = Filter::new().assistants([bots[0], bots[2]]).unwrap();
    let mut progress = Vec::new();
    let erased =
        store.erase_conversations_with_progress(acme.user, &filter, Timestamp::MIN, |deleted| {
            progress.push(deleted);
        });
    assert_eq!((erased.unwrap(), progress), (4, vec![1, 4]));
    assert_eq!(count(&store, acme.user), 2);
    let marks = store.snapshot().unfinished_erasures().unwrap();
    assert_eq!(marks.len(), 2);
    let of_user = |mark: &UnfinishedErasure| mark.scope == ErasureScope::User;
    assert!(!marks.iter().any(of_user), "{marks:?}");
    assert!(store.snapshot().verify().unwrap().is_clean());
}
