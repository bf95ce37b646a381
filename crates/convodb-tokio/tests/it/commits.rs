//! Commit notifications: coalescing, cancellation, closing.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use convodb::{Error, Store};
use convodb_tokio::{AsyncStore, Commits};

use crate::harness::{Harness, at};

/// Whether the receiver waits. Drops the waiting future.
fn is_pending(commits: &mut Commits) -> bool {
    pin!(commits.changed()).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[tokio::test]
async fn commits_before_a_call_are_reported_once() {
    let harness = Harness::new().await;
    let mut commits = harness.store.commits();
    assert!(is_pending(&mut commits), "earlier commits are not reported");
    for second in 1..=3 {
        harness.store.insert(harness.user, harness.conversation(second), Vec::new()).await.unwrap();
    }
    commits.changed().await.unwrap();
    assert!(is_pending(&mut commits), "three commits are coalesced");
}

#[tokio::test]
async fn a_commit_wakes_every_waiting_receiver() {
    let harness = Harness::new().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (store, user) = (harness.store.clone(), harness.user);
        let mut commits = store.commits();
        waiting.spawn(async move {
            commits.changed().await.unwrap();
            store.snapshot().conversations(user, &convodb::ListRequest::default()).count()
        });
    }
    tokio::spawn(async {}).await.unwrap();
    harness.store.insert(harness.user, harness.conversation(1), Vec::new()).await.unwrap();
    assert!(waiting.join_all().await.iter().all(|rows| *rows == 1), "a snapshot has the commit");
}

#[tokio::test]
async fn commits_through_the_engine_handle_are_reported() {
    let store = Store::in_memory().unwrap();
    let mut commits = AsyncStore::from(store.clone()).commits();
    assert!(matches!(commits.changed().await, Err(Error::Closed)), "its handle was dropped");

    let handle = AsyncStore::from(store.clone());
    let mut commits = handle.commits();
    store.create_user("Acme", at(0)).unwrap();
    commits.changed().await.unwrap();
}

#[tokio::test]
async fn a_receiver_of_a_user_is_woken_by_that_user_alone() {
    let harness = Harness::new().await;
    let store = &harness.store;
    let other = store.create_user("Other", at(0)).await.unwrap().id;
    let [mut own, mut of_other] = [harness.user, other].map(|user| store.commits_of(user));
    for second in 1..=2 {
        store.insert(harness.user, harness.conversation(second), Vec::new()).await.unwrap();
    }
    assert!(is_pending(&mut of_other), "a commit of another user");
    own.changed().await.unwrap();
    assert!(is_pending(&mut own), "two commits are coalesced");
    store.clone().close().await.unwrap();
    for mut commits in [own, of_other, store.commits_of(other)] {
        // A checkpoint of the close may be reported before the end.
        while commits.changed().await.is_ok() {}
        assert!(matches!(commits.changed().await, Err(Error::Closed)));
    }
}

/// Receivers of many users, each for a short time: the notifier does not keep their channels.
#[tokio::test]
async fn receivers_of_many_users_are_independent() {
    let harness = Harness::new().await;
    let mut kept = harness.store.commits_of(harness.user);
    for number in 0..1000 {
        drop(harness.store.commits_of(convodb::UserId::new(1000 + number)));
    }
    harness.store.insert(harness.user, harness.conversation(1), Vec::new()).await.unwrap();
    assert!(!is_pending(&mut kept));
}

#[tokio::test]
async fn dropping_a_pending_call_loses_no_notification() {
    let harness = Harness::new().await;
    let mut commits = harness.store.commits();
    assert!(is_pending(&mut commits));
    harness.store.insert(harness.user, harness.conversation(1), Vec::new()).await.unwrap();
    assert!(!is_pending(&mut commits));
}

#[tokio::test]
async fn close_is_reported_after_the_last_commit() {
    let harness = Harness::new().await;
    let mut commits = harness.store.commits();
    harness.store.insert(harness.user, harness.conversation(1), Vec::new()).await.unwrap();
    harness.store.clone().close().await.unwrap();
    commits.changed().await.unwrap();
    for mut commits in [commits, harness.store.commits()] {
        assert!(matches!(commits.changed().await, Err(Error::Closed)));
    }
}

#[tokio::test]
async fn close_is_reported_to_a_receiver_created_after_it() {
    let harness = Harness::new().await;
    harness.store.clone().close().await.unwrap();
    assert!(matches!(harness.store.commits().changed().await, Err(Error::Closed)));
}
