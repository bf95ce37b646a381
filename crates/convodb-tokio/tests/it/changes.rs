//! Change feed as a stream: delivery, waiting, cancellation, expiry, closing.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use convodb::{ChangeKind, Changes, ChangesSince, ConversationId, Error, Retention, Timestamp};
use convodb_tokio::ChangeFeed;
use futures_util::StreamExt;

use crate::harness::{Harness, at};

fn kinds_and_ids(part: &Changes) -> Vec<(ChangeKind, ConversationId)> {
    part.changes.iter().map(|change| (change.kind, change.id)).collect()
}

async fn next(feed: &mut ChangeFeed) -> Changes {
    feed.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn all_changes_are_delivered_once_in_commit_order() {
    let harness = Harness::new().await;
    let expected = harness.fill(250).await;
    let feed = harness.store.changes(harness.user, ChangesSince::Beginning);
    let parts: Vec<_> = feed.take(3).map(Result::unwrap).collect().await;
    let sizes: Vec<_> = parts.iter().map(|part| part.changes.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    let ids: Vec<_> = parts.iter().flat_map(|part| &part.changes).map(|change| change.id).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_waiting_stream_is_woken_by_a_change_of_its_user() {
    let harness = Harness::new().await;
    harness.fill(3).await;
    let mut feed = harness.store.changes(harness.user, ChangesSince::Now);
    let new = harness.conversation(10);
    let id = new.id;
    let waiting = tokio::spawn(async move { (next(&mut feed).await, feed) });
    tokio::spawn(async {}).await.unwrap();
    // Commits without a change of this user do not end the wait.
    harness.store.create_user("Other", at(0)).await.unwrap();
    harness.store.insert(harness.user, new, Vec::new()).await.unwrap();
    let (part, mut feed) = waiting.await.unwrap();
    assert_eq!(kinds_and_ids(&part), [(ChangeKind::Created, id)]);

    harness
        .store
        .update(harness.user, id, Timestamp::MIN, |row| {
            row.ai_enabled = false;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(kinds_and_ids(&next(&mut feed).await), [(ChangeKind::Updated, id)]);
    harness.store.delete(harness.user, id).await.unwrap();
    assert_eq!(kinds_and_ids(&next(&mut feed).await), [(ChangeKind::Deleted, id)]);
}

#[tokio::test]
async fn now_is_the_time_of_the_call() {
    let harness = Harness::new().await;
    harness.fill(3).await;
    let mut feed = harness.store.changes(harness.user, ChangesSince::Now);
    let new = harness.conversation(10);
    let id = new.id;
    // The stream has not been polled yet.
    harness.store.insert(harness.user, new, Vec::new()).await.unwrap();
    assert_eq!(kinds_and_ids(&next(&mut feed).await), [(ChangeKind::Created, id)]);
}

#[tokio::test]
async fn a_cursor_resumes_the_feed() {
    let harness = Harness::new().await;
    let expected = harness.fill(150).await;
    let first = next(&mut harness.store.changes(harness.user, ChangesSince::Beginning)).await;
    let since = ChangesSince::Cursor(first.next_cursor);
    let rest = next(&mut harness.store.changes(harness.user, since)).await;
    let ids: Vec<_> = rest.changes.iter().map(|change| change.id).collect();
    assert_eq!(ids, expected[100..]);
}

/// Drops the future of the next item whenever it is pending; nothing is lost or repeated.
#[tokio::test]
async fn dropping_a_pending_next_loses_nothing() {
    let harness = Harness::new().await;
    let mut feed = harness.store.changes(harness.user, ChangesSince::Now);
    let mut seen = Vec::new();
    let mut expected = Vec::new();
    for second in 0..20 {
        let row = harness.conversation(second);
        expected.push(row.id);
        harness.store.insert(harness.user, row, Vec::new()).await.unwrap();
        while seen.len() < expected.len() {
            let once = poll_fn(|context| {
                let mut next = pin!(feed.next());
                Poll::Ready(next.as_mut().poll(context))
            });
            match once.await {
                Poll::Pending => tokio::task::yield_now().await,
                Poll::Ready(part) => {
                    seen.extend(part.unwrap().unwrap().changes.iter().map(|change| change.id));
                }
            }
        }
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_expired_position_is_an_error_that_ends_the_stream() {
    let harness = Harness::new().await;
    harness.fill(3).await;
    let start = harness.store.snapshot();
    let size = convodb::PageSize::MIN;
    let since =
        start.changes_since(harness.user, ChangesSince::Beginning, size).unwrap().next_cursor;
    // The feed marks the time once an hour; a later pass removes the changes before a mark.
    for hours in [1, 3] {
        let keep = Retention { changes: Duration::ZERO, ..Retention::default() };
        let expire = move |store: &convodb::Store| store.expire(at(hours * 3600), keep);
        harness.store.run_blocking(expire).await.unwrap();
    }
    let mut feed = harness.store.changes(harness.user, ChangesSince::Cursor(since));
    assert!(matches!(feed.next().await, Some(Err(Error::ChangesExpired))));
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn close_ends_the_stream_without_an_error() {
    let harness = Harness::new().await;
    let mut feed = harness.store.changes(harness.user, ChangesSince::Now);
    for second in 1..=2 {
        let row = harness.conversation(second);
        let id = row.id;
        harness.store.insert(harness.user, row, Vec::new()).await.unwrap();
        if second == 1 {
            assert_eq!(kinds_and_ids(&next(&mut feed).await), [(ChangeKind::Created, id)]);
        }
    }
    // The second change is unread. Whether it is delivered depends on what is still in memory.
    harness.store.clone().close().await.unwrap();
    while let Some(part) = feed.next().await {
        part.unwrap();
    }
    assert!(feed.next().await.is_none(), "an ended stream stays ended");
}

#[tokio::test]
async fn a_waiting_stream_ends_when_the_store_is_closed() {
    let harness = Harness::new().await;
    let mut feed = harness.store.changes(harness.user, ChangesSince::Beginning);
    let waiting = tokio::spawn(async move { feed.next().await });
    tokio::spawn(async {}).await.unwrap();
    harness.store.clone().close().await.unwrap();
    assert!(waiting.await.unwrap().is_none());
}
