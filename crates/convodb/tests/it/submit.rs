//! Submitted writes: one callback each, on the writer thread, after the commit or the failure.

use std::sync::mpsc::{Sender, channel};
use std::thread;

use convodb::{Error, Result, Store, StoreOptions, Transaction};

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
