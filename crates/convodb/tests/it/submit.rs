//! Writes whose callers do not wait: told once, on the writer's thread, which outlives its callbacks.

use std::sync::mpsc::{Receiver, channel};
use std::thread;

use convodb::{Error, Result, Store, StoreOptions};

use crate::{Owner, count};

/// Makes the writer wait until the sender that is given is dropped.
fn hold(store: &Store) -> std::sync::mpsc::Sender<()> {
    let (release, held): (_, Receiver<()>) = channel();
    let (begin, begun) = channel();
    let wait = move |_: &mut convodb::Transaction<'_>| {
        begin.send(()).unwrap();
        // Ends when the sender is dropped.
        let _ = held.recv();
        Ok::<_, Error>(())
    };
    store.submit(wait, |_| {}).unwrap();
    begun.recv().unwrap();
    release
}

#[test]
fn each_is_told_once_what_became_of_it() {
    let store = Store::in_memory().unwrap();
    let owner = Owner::of(&store);
    let (told, answers) = channel();
    let release = hold(&store);
    let twice = owner.conversation();
    for conversation in [owner.conversation(), twice.clone(), twice] {
        let (told, user) = (told.clone(), owner.user);
        let insert = move |transaction: &mut convodb::Transaction<'_>| {
            transaction.insert(user, conversation, Vec::new())
        };
        store.submit(insert, move |outcome| told.send(outcome.unwrap()).unwrap()).unwrap();
    }
    assert!(answers.try_recv().is_err(), "nothing is told before it is durable");
    drop((release, told));
    let answers: Vec<Result<()>> = answers.iter().collect();
    assert!(matches!(&answers[..], [Ok(()), Ok(()), Err(Error::DuplicateConversation(_))]));
    assert_eq!(count(&store, owner.user), 2);
}

#[test]
fn a_full_queue_and_a_closed_store_refuse_at_once_and_tell_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new().queue_depth(1);
    let store = Store::open_with(directory.path().join("s.convodb"), &options).unwrap();
    assert_eq!(store.queue_depth(), 1);
    let release = hold(&store);
    let (told, answers) = channel();
    let submit = |told: std::sync::mpsc::Sender<bool>| {
        store.submit(
            |_| Ok::<_, Error>(()),
            move |outcome| told.send(outcome.unwrap().is_ok()).unwrap(),
        )
    };
    submit(told.clone()).unwrap();
    assert!(matches!(submit(told.clone()), Err(Error::QueueFull)));
    drop(release);
    store.clone().close().unwrap();
    assert!(matches!(submit(told), Err(Error::Closed)));
    assert_eq!(answers.iter().collect::<Vec<_>>(), [true]);
}

#[test]
fn panics_of_writes_and_of_those_that_are_told_leave_the_writer_alone() {
    let store = Store::in_memory().unwrap();
    let (told, answers) = channel();
    let panicked = move |outcome: thread::Result<Result<()>>| told.send(outcome.is_err()).unwrap();
    store.submit(|_| panic!("a bug in a write"), panicked).unwrap();
    store.submit(|_| Ok::<_, Error>(()), |_| panic!("a bug in who is told")).unwrap();
    store.write(|_| Ok::<_, Error>(())).unwrap();
    assert!(answers.recv().unwrap());
    assert!(store.is_open());
}

#[test]
fn what_is_told_cannot_write_itself() {
    let store = Store::in_memory().unwrap();
    let (told, answers) = channel();
    let same = store.clone();
    let nested = move |_| told.send(same.write(|_| Ok::<_, Error>(()))).unwrap();
    store.submit(|_| Ok::<_, Error>(()), nested).unwrap();
    assert!(matches!(answers.recv().unwrap(), Err(Error::NestedWrite)));
}
