//! Closing: explicit close, drop of the last handle, a runtime that ends before its store.

use convodb::{Error, Store};
use convodb_tokio::AsyncStore;

use crate::harness::{Harness, at};

#[tokio::test]
async fn close_finishes_queued_writes() {
    let harness = Harness::new().await;
    let blocked = harness.block_writer().await;
    let row = harness.conversation(1);
    let id = row.id;
    let (store, user) = (harness.store.clone(), harness.user);
    let insert = tokio::spawn(async move { store.insert(user, row, Vec::new()).await });
    let store = harness.store.clone();
    let closing = tokio::spawn(async move { store.close().await });
    // Both have begun once a task that was spawned after them has run.
    tokio::spawn(async {}).await.unwrap();
    blocked.release().await;
    insert.await.unwrap().unwrap();
    closing.await.unwrap().unwrap();
    assert!(!harness.store.is_open());
    let late = harness.store.insert(harness.user, harness.conversation(2), Vec::new()).await;
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    assert!(matches!(harness.store.clone().close().await, Err(Error::Closed)));
    assert!(harness.store.snapshot().conversation(user, id).unwrap().is_some());
}

/// A runtime waits for its blocking threads when it is dropped, so the file is then free.
#[test]
fn dropping_the_last_handle_closes_the_store_on_a_blocking_thread() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.convodb");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = AsyncStore::open(&path).await.unwrap();
        let mut pages = store.live_pages(convodb::UserId::new(1), convodb::ListRequest::default());
        store.create_user("Acme", at(0)).await.unwrap();
        drop(store);
        // A live stream keeps the store open.
        assert!(pages.next().await.unwrap().unwrap().is_empty());
    });
    drop(runtime);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.snapshot().users().unwrap().len(), 1);
}

#[test]
fn a_store_remains_usable_after_its_runtime_ends() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let one = runtime();
    let harness = one.block_on(Harness::new());
    let abandoned = {
        let (store, row) = (harness.store.clone(), harness.conversation(1));
        one.spawn({
            let user = harness.user;
            async move { store.insert(user, row, Vec::new()).await }
        })
    };
    // A task that never ran is dropped, and its write never begins.
    drop(one);
    let two = runtime();
    assert!(two.block_on(abandoned).unwrap_err().is_cancelled());
    two.block_on(harness.store.insert(harness.user, harness.conversation(2), Vec::new())).unwrap();
    two.block_on(harness.store.clone().close()).unwrap();
}
