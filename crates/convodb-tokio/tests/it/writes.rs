//! Writes: shared commits, a full queue, cancellation, errors, panics.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use convodb::{Error, StoreOptions};
use futures_util::future::join_all;

use crate::harness::{Harness, at};

/// Polls a future once; it must not be ready.
async fn begin<F: Future>(mut future: Pin<&mut F>) {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending(), "the writer is blocked");
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn concurrent_writes_share_a_commit_on_one_thread() {
    let harness = Harness::new().await;
    let blocked = harness.block_writer().await;
    let first = harness.conversation(1);
    let (user, first_id) = (harness.user, first.id);
    // Each in a task of its own, begun in this order.
    let rows = std::iter::once(first).chain((2..500).map(|second| harness.conversation(second)));
    let inserts: Vec<_> = rows
        .map(|row| {
            let store = harness.store.clone();
            tokio::spawn(async move { store.insert(user, row, Vec::new()).await })
        })
        .collect();
    // The last write sees the first one within the commit, before any snapshot does.
    let store = harness.store.clone();
    let last = tokio::spawn(async move {
        let reader = store.clone();
        let write = move |transaction: &mut convodb::Transaction<'_>| {
            let in_commit = transaction.conversation(user, first_id)?.is_some();
            Ok::<_, Error>((in_commit, reader.snapshot().conversation(user, first_id)?.is_some()))
        };
        store.write(write).await
    });
    // The only thread is not blocked: a task spawned now runs after all of them have begun.
    tokio::spawn(async {}).await.unwrap();

    blocked.release().await;
    assert_eq!(last.await.unwrap().unwrap(), (true, false));
    for insert in inserts {
        insert.await.unwrap().unwrap();
    }
    let rows =
        harness.store.snapshot().conversations(user, &convodb::ListRequest::default()).count();
    assert_eq!(rows, 499);
}

#[tokio::test]
async fn a_write_waits_while_the_queue_is_full() {
    let harness = Harness::with(StoreOptions::new().queue_depth(2)).await;
    let writes = (0..100)
        .map(|second| harness.store.insert(harness.user, harness.conversation(second), Vec::new()));
    for written in join_all(writes).await {
        written.unwrap();
    }
    let snapshot = harness.store.snapshot();
    assert_eq!(snapshot.conversations(harness.user, &convodb::ListRequest::default()).count(), 100);
}

#[tokio::test]
async fn a_write_dropped_before_it_is_queued_never_runs() {
    // The blocking write occupies the only slot.
    let harness = Harness::with(StoreOptions::new().queue_depth(1)).await;
    let blocked = harness.block_writer().await;
    let (withdrawn, waiting) = (harness.conversation(1), harness.conversation(2));
    let (withdrawn_id, waiting_id) = (withdrawn.id, waiting.id);
    let mut dropped = Box::pin(harness.store.insert(harness.user, withdrawn, Vec::new()));
    begin(dropped.as_mut()).await;
    let mut waits = pin!(harness.store.insert(harness.user, waiting, Vec::new()));
    begin(waits.as_mut()).await;
    drop(dropped);
    blocked.release().await;
    waits.await.unwrap();
    let snapshot = harness.store.snapshot();
    assert!(snapshot.conversation(harness.user, waiting_id).unwrap().is_some());
    assert!(snapshot.conversation(harness.user, withdrawn_id).unwrap().is_none());
}

#[tokio::test]
async fn a_write_dropped_after_it_is_queued_still_runs() {
    let harness = Harness::new().await;
    let blocked = harness.block_writer().await;
    let row = harness.conversation(1);
    let id = row.id;
    let mut dropped = Box::pin(harness.store.insert(harness.user, row, Vec::new()));
    begin(dropped.as_mut()).await;
    drop(dropped);
    blocked.release().await;
    // A later write completes after it; its slot was returned.
    harness.store.insert(harness.user, harness.conversation(2), Vec::new()).await.unwrap();
    assert!(harness.store.snapshot().conversation(harness.user, id).unwrap().is_some());
}

#[tokio::test]
async fn a_failed_write_is_rolled_back_and_returns_its_error() {
    let harness = Harness::new().await;
    let row = harness.conversation(1);
    harness.store.insert(harness.user, row.clone(), Vec::new()).await.unwrap();
    let again = harness.store.insert(harness.user, row, Vec::new()).await;
    assert!(matches!(again, Err(Error::DuplicateConversation(_))), "{again:?}");
    let (user, new) = (harness.user, harness.conversation(2));
    let id = new.id;
    let failed: convodb::Result<()> = harness
        .store
        .write(move |transaction| {
            transaction.insert(user, new, Vec::new())?;
            Err(Error::AssistantNotFound)
        })
        .await;
    assert!(matches!(failed, Err(Error::AssistantNotFound)), "{failed:?}");
    assert!(harness.store.snapshot().conversation(user, id).unwrap().is_none());
}

#[tokio::test]
async fn a_panic_in_a_write_reaches_only_its_task() {
    let harness = Harness::new().await;
    let store = harness.store.clone();
    let write = async move { store.write::<(), Error>(|_| panic!("a bug")).await };
    let panic = tokio::spawn(write).await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug"));
    harness.store.insert(harness.user, harness.conversation(1), Vec::new()).await.unwrap();
}

#[test]
fn writes_work_without_a_runtime() {
    let store = convodb_tokio::AsyncStore::in_memory().unwrap();
    let user = std::thread::spawn(move || {
        // A minimal executor: a thread that parks.
        let waker = std::task::Waker::from(std::sync::Arc::new(Parked(std::thread::current())));
        let mut context = std::task::Context::from_waker(&waker);
        let mut write = pin!(store.create_user("Acme", at(0)));
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
