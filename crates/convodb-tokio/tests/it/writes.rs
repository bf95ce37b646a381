//! Writes: shared groups, waiting for a place, what cancelling does, panics.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use convodb::{Error, StoreOptions};
use futures_util::future::join_all;

use crate::harness::{Harness, at};

/// Polls a future once; it must not be ready.
async fn begin<F: Future>(mut future: Pin<&mut F>) {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending(), "the writer is held");
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn tasks_that_write_together_share_a_commit_and_no_thread_waits() {
    let harness = Harness::new().await;
    let held = harness.hold().await;
    let first = harness.conversation(1);
    let (user, first_id) = (harness.user, first.id);
    // Each in a task of its own, begun in this order.
    let rows = std::iter::once(first).chain((2..500).map(|second| harness.conversation(second)));
    let inserts: Vec<_> = rows
        .map(|row| {
            let store = harness.store.clone();
            tokio::spawn(async move { store.insert(user, row).await })
        })
        .collect();
    // The last one sees the first in its group, and no snapshot has it yet.
    let store = harness.store.clone();
    let last = tokio::spawn(async move {
        let shown = store.clone();
        let write = move |transaction: &mut convodb::Transaction<'_>| {
            let in_group = transaction.get(user, first_id)?.is_some();
            Ok((in_group, shown.snapshot().get(user, first_id)?.is_some()))
        };
        store.write(write).await
    });
    // The one thread goes on: what is spawned now runs after all of them have begun.
    tokio::spawn(async {}).await.unwrap();

    held.release().await;
    assert_eq!(last.await.unwrap().unwrap(), (true, false));
    for insert in inserts {
        insert.await.unwrap().unwrap();
    }
    let rows = harness.store.snapshot().rows(user, &convodb::ListRequest::default()).count();
    assert_eq!(rows, 499);
}

#[tokio::test]
async fn who_finds_no_place_in_the_queue_waits_for_one() {
    let harness = Harness::with(StoreOptions { queue_depth: 2, ..StoreOptions::default() }).await;
    let writes =
        (0..100).map(|second| harness.store.insert(harness.user, harness.conversation(second)));
    for written in join_all(writes).await {
        written.unwrap();
    }
    let snapshot = harness.store.snapshot();
    assert_eq!(snapshot.rows(harness.user, &convodb::ListRequest::default()).count(), 100);
}

#[tokio::test]
async fn a_write_that_is_dropped_before_it_has_a_place_is_never_run() {
    // The held write has the only place.
    let harness = Harness::with(StoreOptions { queue_depth: 1, ..StoreOptions::default() }).await;
    let held = harness.hold().await;
    let (withdrawn, kept) = (harness.conversation(1), harness.conversation(2));
    let (withdrawn_id, kept_id) = (withdrawn.id, kept.id);
    let mut dropped = Box::pin(harness.store.insert(harness.user, withdrawn));
    begin(dropped.as_mut()).await;
    let mut waits = pin!(harness.store.insert(harness.user, kept));
    begin(waits.as_mut()).await;
    drop(dropped);
    held.release().await;
    waits.await.unwrap();
    let snapshot = harness.store.snapshot();
    assert!(snapshot.get(harness.user, kept_id).unwrap().is_some());
    assert!(snapshot.get(harness.user, withdrawn_id).unwrap().is_none());
}

#[tokio::test]
async fn a_write_that_is_dropped_in_the_queue_is_done_without_an_answer() {
    let harness = Harness::new().await;
    let held = harness.hold().await;
    let row = harness.conversation(1);
    let id = row.id;
    let mut dropped = Box::pin(harness.store.insert(harness.user, row));
    begin(dropped.as_mut()).await;
    drop(dropped);
    held.release().await;
    // A later write is answered after it, and its place came back.
    harness.store.insert(harness.user, harness.conversation(2)).await.unwrap();
    assert!(harness.store.snapshot().get(harness.user, id).unwrap().is_some());
}

#[tokio::test]
async fn a_failed_write_leaves_nothing_and_says_why() {
    let harness = Harness::new().await;
    let row = harness.conversation(1);
    harness.store.insert(harness.user, row.clone()).await.unwrap();
    let again = harness.store.insert(harness.user, row).await;
    assert!(matches!(again, Err(Error::DuplicateConversation(_))), "{again:?}");
    let (user, new) = (harness.user, harness.conversation(2));
    let id = new.id;
    let failed: convodb::Result<()> = harness
        .store
        .write(move |transaction| {
            transaction.insert(user, &new, &[])?;
            Err(Error::AssistantNotFound)
        })
        .await;
    assert!(matches!(failed, Err(Error::AssistantNotFound)), "{failed:?}");
    assert!(harness.store.snapshot().get(user, id).unwrap().is_none());
}

#[tokio::test]
async fn a_panic_of_a_write_is_that_of_its_task_alone() {
    let harness = Harness::new().await;
    let store = harness.store.clone();
    let write = async move { store.write::<()>(|_| panic!("a bug")).await };
    let panic = tokio::spawn(write).await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug"));
    harness.store.insert(harness.user, harness.conversation(1)).await.unwrap();
}

#[test]
fn writing_needs_no_runtime() {
    let store = convodb_tokio::AsyncStore::in_memory().unwrap();
    let user = std::thread::spawn(move || {
        // Another executor: a thread that parks.
        let waker = std::task::Waker::from(std::sync::Arc::new(Parked(std::thread::current())));
        let mut context = std::task::Context::from_waker(&waker);
        let mut write = pin!(store.create_user("Acme".parse().unwrap(), at(0)));
        loop {
            match write.as_mut().poll(&mut context) {
                Poll::Ready(user) => return user.unwrap(),
                Poll::Pending => std::thread::park(),
            }
        }
    });
    assert_eq!(user.join().unwrap().id.get(), 1);
}

struct Parked(std::thread::Thread);

impl std::task::Wake for Parked {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}
