//! Tests of statistics: what a request reads.

use super::*;
use crate::model::channel::Channel;
use crate::model::conversation::Conversation;
use crate::testing::{RawStore, assistant, id};

const ALL_DAYS: (u32, u32) = (0, u32::MAX);
fn year() -> Vec<u32> {
    (20_000..20_365).collect()
}

/// A store with a conversation of each of `assistants` assistants on each of `days`.
fn store_of(days: &[u32], assistants: u128) -> RawStore {
    let store = RawStore::new();
    let user = store.user;
    store.transact(|transaction| {
        let mut number = 0;
        for at in 0..assistants {
            let bot = AssistantId::new(Uuid::from_u128(100 + at));
            transaction.create_assistant(user, bot, format!("Bot {at}"))?;
            for &day in days {
                number += 1;
                let millis = u64::from(day) * 86_400_000 + number;
                let at = Timestamp::from_millis(millis)?;
                let row = Conversation::new(id(number), bot, Channel::Widget, at);
                transaction.insert(user, row, Vec::new())?;
            }
        }
        Ok(())
    });
    store
}

/// Reads statistics; returns the number of rows and of entries read.
fn read_all(store: &RawStore, request: &StatsRequest) -> (usize, u64) {
    let (tables, user) = (store.tables(), store.user);
    let proceed = |_| ControlFlow::Continue(());
    let mut scan = Scan::new(&tables, user, request, proceed);
    for span in spans(request).into_iter().flatten() {
        assert!(scan.add(span).unwrap().is_continue());
    }
    let groups = scan.sums.groups;
    let rows = scan.sums.into_stats().unwrap().rows.len();
    assert_eq!(groups, rows);
    (rows, scan.entries_read)
}

fn request((from, to): (u32, u32)) -> StatsRequest {
    StatsRequest::new(Day::new(from), Day::new(to))
}

/// Every request, over all days that exist, by every grouping.
fn groupings(one: AssistantId) -> impl Iterator<Item = StatsRequest> {
    let periods = [None, Some(Period::Day), Some(Period::Week), Some(Period::Month)];
    periods.into_iter().flat_map(move |period| {
        [(None, false), (None, true), (Some(one), false), (Some(one), true)].map(
            |(assistant, by_assistant)| StatsRequest {
                period,
                assistant,
                by_assistant,
                ..request(ALL_DAYS)
            },
        )
    })
}

#[test]
fn an_empty_range_of_any_length_costs_a_lookup() {
    let store = RawStore::new();
    for request in groupings(assistant()) {
        let (rows, entries) = read_all(&store, &request);
        assert_eq!(rows, 0);
        assert!(entries <= 3, "{entries} entries for {request:?}");
    }
}

/// Days far apart: what is read depends on the counters that exist, not on the days between.
#[test]
fn a_scan_reads_only_days_with_conversations() {
    let (days, assistants) = (20, 10);
    let store = store_of(&(0..days).map(|n| n * 1_500).collect::<Vec<_>>(), assistants);
    for number in [100, 104, 109] {
        for request in groupings(AssistantId::new(Uuid::from_u128(number))) {
            let (_, entries) = read_all(&store, &request);
            let all = u64::from(days) * if request.by_assistant { 10 } else { 1 };
            // For one assistant each day costs two lookups, its counter and two others.
            let bound = if request.assistant.is_some() { 5 * u64::from(days) } else { all };
            assert!(entries <= bound + 6, "{entries} entries for {request:?}");
        }
    }
}

/// By week and assistant over a year: a record for each of them, each read once. By month: for each
/// month and assistant, and for the weeks at both ends.
#[test]
fn each_record_is_read_once() {
    let store = store_of(&year(), 20);
    let by_week = StatsRequest {
        period: Some(Period::Week),
        by_assistant: true,
        ..request((20_000, 20_365))
    };
    assert_eq!(read_all(&store, &by_week), (53 * 20, 53 * 20 + 1));
    let by_day = StatsRequest { period: Some(Period::Day), ..by_week.clone() };
    assert_eq!(read_all(&store, &by_day), (365 * 20, 53 * 20 + 1));
    let by_month = StatsRequest { period: Some(Period::Month), ..by_week };
    let (rows, entries) = read_all(&store, &by_month);
    assert_eq!(rows, 13 * 20);
    assert!(entries <= (11 + 2 * 6) * 20 + 3, "{entries} entries");
}

#[test]
fn a_caller_can_stop_the_reading() {
    let store = store_of(&year(), 2);
    let request = StatsRequest { period: Some(Period::Day), ..request((20_000, 20_365)) };
    let mut calls = Vec::new();
    let stopped = read(&store.tables(), store.user, &request, |progress| {
        calls.push(progress);
        if progress.groups > 200 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped.unwrap(), None);
    assert_eq!(calls, [StatsProgress { groups: 254, entries_read: 256 }]);
}
