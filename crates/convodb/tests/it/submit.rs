//! Submitted writes: one callback each, on the writer thread, after the commit or the failure.

use std::sync::mpsc::{Sender, channel};
use std::thread;

use convodb::{
    Conversation, Error, ListRequest, MAX_DELETED_MESSAGES, Message, Result, Role, Store,
    StoreOptions, Transaction, UserId,
};

use crate::{TestUser, count};

/// Blocks the writer thread until the returned sender is dropped.
fn block_writer(store: &Store) -> Sender<()> {
    let (release, blocked) = channel::<()>();
    let (started, running) = channel();
    let wait = move |_: &mut Transaction<'_>| {
        started.send(()).unwrap();
        // Returns when the sender is dropped.
        let _ = blocked.recv();
        Ok::<_, Error>(())
    };
    store.submit(wait, |_| {}).unwrap();
    running.recv().unwrap();
    release
}

#[test]
fn each_callback_receives_the_outcome_once_the_write_is_durable() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let (reply, outcomes) = channel();
    let release = block_writer(&store);
    let duplicate = acme.conversation();
    for conversation in [acme.conversation(), duplicate.clone(), duplicate] {
        let (reply, user) = (reply.clone(), acme.user);
        let insert = move |transaction: &mut Transaction<'_>| {
            transaction.insert(user, conversation, Vec::new())
        };
        store.submit(insert, move |outcome| reply.send(outcome.unwrap()).unwrap()).unwrap();
    }
    assert!(outcomes.try_recv().is_err(), "no outcome before the write is durable");
    drop((release, reply));
    let outcomes: Vec<Result<()>> = outcomes.iter().collect();
    assert!(matches!(&outcomes[..], [Ok(()), Ok(()), Err(Error::DuplicateConversation(_))]));
    assert_eq!(count(&store, acme.user), 2);
}

#[test]
fn a_full_queue_and_a_closed_store_refuse_at_once_without_a_callback() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new().queue_depth(1);
    let store = Store::open_with(directory.path().join("s.convodb"), &options).unwrap();
    assert_eq!(store.queue_depth(), 1);
    let release = block_writer(&store);
    let (reply, outcomes) = channel();
    let submit = |reply: Sender<bool>| {
        store.submit(
            |_| Ok::<_, Error>(()),
            move |outcome| reply.send(outcome.unwrap().is_ok()).unwrap(),
        )
    };
    submit(reply.clone()).unwrap();
    assert!(matches!(submit(reply.clone()), Err(Error::QueueFull)));
    drop(release);
    store.clone().close().unwrap();
    assert!(matches!(submit(reply), Err(Error::Closed)));
    assert_eq!(outcomes.iter().collect::<Vec<_>>(), [true]);
}

#[test]
fn panics_in_writes_and_callbacks_do_not_stop_the_writer() {
    let store = Store::in_memory().unwrap();
    let (reply, outcomes) = channel();
    let panicked = move |outcome: thread::Result<Result<()>>| reply.send(outcome.is_err()).unwrap();
    store.submit(|_| panic!("a bug in a write"), panicked).unwrap();
    store.submit(|_| Ok::<_, Error>(()), |_| panic!("a bug in a callback")).unwrap();
    store.write(|_| Ok::<_, Error>(())).unwrap();
    assert!(outcomes.recv().unwrap());
    assert!(store.is_open());
}

#[test]
fn a_callback_cannot_write() {
    let store = Store::in_memory().unwrap();
    let (reply, outcomes) = channel();
    let same = store.clone();
    let nested = move |_| reply.send(same.write(|_| Ok::<_, Error>(()))).unwrap();
    store.submit(|_| Ok::<_, Error>(()), nested).unwrap();
    assert!(matches!(outcomes.recv().unwrap(), Err(Error::NestedWrite)));
}

/// One user's backlog, queued first, does not go before the writes of another.
#[test]
fn users_are_served_in_turn() {
    let store = Store::in_memory().unwrap();
    let users = [1, 2].map(UserId::new);
    let (reply, served) = channel();
    let release = block_writer(&store);
    let submit = |user| {
        let reply = reply.clone();
        let write = move |_: &mut Transaction<'_>| {
            reply.send(user).unwrap();
            Ok::<_, Error>(())
        };
        store.submit_for(user, write, |_| {}).unwrap();
    };
    (0..400).for_each(|_| submit(users[0]));
    (0..3).for_each(|_| submit(users[1]));
    drop((release, reply));
    let [one, two] = users;
    let served: Vec<UserId> = served.iter().collect();
    assert_eq!(served[..6], [one, two, one, two, one, two]);
    assert_eq!(served.len(), 403);
}

/// A write with very many changes ends its group, so that the next writes do not wait for more.
#[test]
fn a_group_has_a_bounded_number_of_changes() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let release = block_writer(&store);
    let (reply, seen) = channel();
    for _ in 0..2 {
        let (conversation, user) = (acme.conversation(), acme.user);
        let message = Message::new(Role::User, "hi", conversation.created_at).unwrap();
        let conversation = Conversation { message_count: 20_000, ..conversation };
        let insert = move |transaction: &mut Transaction<'_>| {
            transaction.insert(user, conversation, vec![message; 20_000])
        };
        let (reply, reader) = (reply.clone(), store.clone());
        let answered = move |_| reply.send(count(&reader, user)).unwrap();
        store.submit_for(user, insert, answered).unwrap();
    }
    drop((release, reply));
    assert_eq!(seen.iter().collect::<Vec<_>>(), [1, 2], "each was a group of its own");
}

#[test]
fn a_conversation_with_very_many_messages_is_deleted_in_bounded_writes() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let messages = MAX_DELETED_MESSAGES * 5 / 2;
    let insert = || {
        let count = u32::try_from(messages).unwrap();
        let conversation = Conversation { message_count: count, ..acme.conversation() };
        let id = conversation.id;
        let message = Message::new(Role::User, "hi", conversation.created_at).unwrap();
        store.insert(acme.user, conversation, vec![message; messages]).unwrap();
        id
    };
    let (one, two) = (insert(), insert());
    let before = store.metrics();
    store.delete(acme.user, one).unwrap();
    let deleted = store.metrics();
    assert_eq!(deleted.commits - before.commits, 3);
    assert!(deleted.changes - before.changes <= messages as u64 + 32);

    // An interrupted deletion leaves a consistent conversation with its oldest messages.
    let (user, mut budget) = (acme.user, MAX_DELETED_MESSAGES);
    let complete =
        store.write(move |transaction| transaction.delete_within(user, two, &mut budget));
    assert!(!complete.unwrap());
    let left = store.snapshot().messages(user, two).unwrap().unwrap();
    assert_eq!(left.len(), messages - MAX_DELETED_MESSAGES);
    assert!(store.snapshot().verify().unwrap().is_clean());
    assert_eq!(store.delete_all(user, &ListRequest::default()).unwrap(), 1);
    assert!(store.snapshot().verify().unwrap().is_clean());
    assert!(matches!(store.delete(user, two), Err(Error::ConversationNotFound)));
}
