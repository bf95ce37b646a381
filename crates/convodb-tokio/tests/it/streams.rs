//! Streams of lists: completeness, consistency, cancellation, errors.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use convodb::{ConversationId, Error, Filter, ListRequest, Order, PageSize, UserId};
use convodb_tokio::Conversations;
use futures_util::{StreamExt, TryStreamExt};

use crate::harness::Harness;

fn oldest_first(rows: u64) -> ListRequest {
    ListRequest {
        order: Some(Order::Ascending),
        page_size: Some(PageSize::new(rows).unwrap()),
        ..ListRequest::default()
    }
}

async fn ids(conversations: Conversations) -> Vec<ConversationId> {
    conversations.map_ok(|row| row.id).try_collect().await.unwrap()
}

#[tokio::test]
async fn a_stream_returns_every_conversation_once_in_order() {
    let harness = Harness::new().await;
    let expected = harness.fill(23).await;
    for page_size in [1, 7, 23, 100] {
        let request = oldest_first(page_size);
        assert_eq!(ids(harness.store.conversations(harness.user, request.clone())).await, expected);
        assert_eq!(ids(harness.store.live_conversations(harness.user, request)).await, expected);
    }
    let newest = harness.store.conversations(harness.user, ListRequest::default());
    assert!(ids(newest).await.iter().eq(expected.iter().rev()));
}

#[tokio::test]
async fn a_snapshot_stream_is_consistent_and_a_live_stream_sees_new_rows() {
    let harness = Harness::new().await;
    let mut expected = harness.fill(10).await;
    let mut snapshot = harness.store.pages(harness.user, oldest_first(4));
    let mut live = harness.store.live_pages(harness.user, oldest_first(4));
    let mut seen = [Vec::new(), Vec::new()];
    for (pages, seen) in [&mut snapshot, &mut live].into_iter().zip(&mut seen) {
        let page = pages.next().await.unwrap().unwrap();
        seen.extend(page.conversations().map(|row| row.id));
    }
    let new = harness.conversation(100);
    let new_id = new.id;
    harness.store.insert(harness.user, new, Vec::new()).await.unwrap();
    harness.store.delete(harness.user, expected[8]).await.unwrap();
    for (pages, seen) in [&mut snapshot, &mut live].into_iter().zip(&mut seen) {
        while let Some(page) = pages.next().await {
            seen.extend(page.unwrap().conversations().map(|row| row.id));
        }
    }
    assert_eq!(seen[0], expected);
    expected.remove(8);
    expected.push(new_id);
    assert_eq!(seen[1], expected);
}

#[tokio::test]
async fn a_cursor_resumes_a_stream() {
    let harness = Harness::new().await;
    let expected = harness.fill(9).await;
    let mut pages = harness.store.pages(harness.user, oldest_first(4));
    let first = pages.next().await.unwrap().unwrap();
    drop(pages);
    let rest = harness.store.pages(harness.user, ListRequest::at(*first.next_cursor().unwrap()));
    let rest: Vec<_> = rest.map(|page| page.unwrap().len()).collect().await;
    assert_eq!(rest, [4, 1]);
    let rest = ListRequest::at(*first.next_cursor().unwrap());
    assert_eq!(ids(harness.store.conversations(harness.user, rest)).await, expected[4..]);
}

/// Drops the future of the next item whenever it is pending; nothing is lost or repeated.
#[tokio::test]
async fn dropping_a_pending_next_loses_nothing() {
    let harness = Harness::new().await;
    let expected = harness.fill(50).await;
    let mut stream = harness.store.conversations(harness.user, oldest_first(3));
    let mut seen = Vec::new();
    loop {
        let once = poll_fn(|context| {
            let mut next = pin!(stream.next());
            Poll::Ready(next.as_mut().poll(context))
        });
        match once.await {
            Poll::Pending => tokio::task::yield_now().await,
            Poll::Ready(Some(row)) => seen.push(row.unwrap().id),
            Poll::Ready(None) => break,
        }
    }
    assert_eq!(seen, expected);
    assert!(stream.next().await.is_none(), "an ended stream stays ended");
}

#[tokio::test]
async fn an_error_ends_the_stream() {
    let harness = Harness::new().await;
    harness.fill(3).await;
    let mut pages = harness.store.pages(harness.user, oldest_first(2));
    let cursor = *pages.next().await.unwrap().unwrap().next_cursor().unwrap();
    let mut foreign = harness.store.pages(UserId::new(9), ListRequest::at(cursor));
    assert!(matches!(foreign.next().await, Some(Err(Error::InvalidCursor))));
    assert!(foreign.next().await.is_none());

    let filter = Filter { kind: Some(convodb::ChannelKind::Api), ..Filter::default() };
    let conflict = ListRequest { filter, ..ListRequest::at(cursor) };
    let mut rows = harness.store.conversations(harness.user, conflict);
    assert!(matches!(rows.next().await, Some(Err(Error::CursorConflict { field: "type" }))));
    assert!(rows.next().await.is_none());
}

#[test]
fn a_live_stream_reads_beside_writers_on_several_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    runtime.block_on(async {
        let harness = Harness::new().await;
        let before = harness.fill(300).await;
        let (store, user) = (harness.store.clone(), harness.user);
        let reader = tokio::spawn(async move {
            let stream = store.live_conversations(user, oldest_first(5));
            stream.map_ok(|row| row.id).try_collect::<Vec<_>>().await.unwrap()
        });
        let mut writers = tokio::task::JoinSet::new();
        for second in 0..100 {
            let (store, row) = (harness.store.clone(), harness.conversation(second));
            writers.spawn(async move { store.insert(user, row, Vec::new()).await });
        }
        while let Some(written) = writers.join_next().await {
            written.unwrap().unwrap();
        }
        let seen = reader.await.unwrap();
        let old: Vec<_> = seen.iter().filter(|id| before.contains(id)).copied().collect();
        assert_eq!(old, before, "every old row is seen once, in order");
    });
}
