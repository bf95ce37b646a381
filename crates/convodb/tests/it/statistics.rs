//! Statistics: every result equals the sum over the oracle's conversations.
//!
//! Statistics come from counters of several granularities, which inserts, updates and deletes
//! maintain.

use std::collections::BTreeMap;

use convodb::{
    AssistantId, AssistantIds, ChannelKind, ChannelKinds, Conversation, CostSum, Day, Period,
    StatsRequest, StatsRow, Timestamp, UserId, Volume,
};
use convodb_testkit::generators::{assistant, assistants, channel, conversation, message};
use convodb_testkit::oracle::Oracle;
use proptest::prelude::*;

use convodb_testkit::harness::{Harness, cases};

/// A request with any grouping and filter, over days near those of the rows.
fn request() -> impl Strategy<Value = StatsRequest> {
    let day = || (19_900..20_300_u32).prop_map(Day::new);
    let anything = prop_oneof![
        4 => (day(), day()).prop_map(|(a, b)| (a.min(b), a.max(b))),
        1 => Just((Day::new(0), Day::new(u32::MAX))),
        1 => (day(), day()).prop_map(|(a, b)| (a.max(b), a.min(b))),
    ];
    let kind = prop::option::of(prop::sample::select(ChannelKind::ALL.to_vec()));
    let period =
        prop::option::of(prop::sample::select(vec![Period::Day, Period::Week, Period::Month]));
    let groups = (period, any::<bool>(), any::<bool>());
    let kinds = prop::sample::subsequence(ChannelKind::ALL.to_vec(), 1..=4);
    let ids = prop::sample::subsequence(assistants(), 1..=3);
    let several = (prop::option::weighted(0.3, kinds), prop::option::weighted(0.3, ids));
    (anything, kind, prop::option::of(assistant()), several, groups).prop_map(
        |((from, to), kind, assistant, (kinds, ids), (period, by_kind, by_assistant))| {
            StatsRequest {
                from,
                to,
                kind,
                assistant,
                kinds: kinds.and_then(|kinds| ChannelKinds::new(kinds).ok()),
                assistants: ids.and_then(|ids| AssistantIds::new(ids).ok()),
                period,
                by_kind,
                by_assistant,
            }
        },
    )
}

type Group = (Option<Day>, Option<ChannelKind>, Option<AssistantId>);

/// The expected result of a request: sums over the oracle's conversations.
fn expected(oracle: &Oracle, user: UserId, request: &StatsRequest) -> (Vec<StatsRow>, Volume) {
    let mut groups: BTreeMap<Group, Vec<&Conversation>> = BTreeMap::new();
    let mut all = Vec::new();
    for (of, row) in oracle.conversations() {
        let (day, kind) = (row.created_at.day(), row.channel.kind());
        if of != user
            || !(request.from..request.to).contains(&day)
            || request.kind.is_some_and(|filter| filter != kind)
            || request.assistant.is_some_and(|filter| filter != row.assistant)
            || request.kinds.is_some_and(|kinds| !kinds.contains(kind))
            || request.assistants.as_ref().is_some_and(|ids| !ids.contains(row.assistant))
        {
            continue;
        }
        let period = request.period.map(|period| match period {
            Period::Day => day,
            Period::Week => day.week_start(),
            Period::Month => day.month_start(),
        });
        let group = (
            period,
            request.by_kind.then_some(kind),
            request.by_assistant.then_some(row.assistant),
        );
        groups.entry(group).or_default().push(row);
        all.push(row);
    }
    let rows = groups.into_iter().map(|((period, kind, assistant), rows)| StatsRow {
        period,
        kind,
        assistant,
        volume: volume(&rows),
    });
    (rows.collect(), volume(&all))
}

fn volume(rows: &[&Conversation]) -> Volume {
    Volume {
        conversations: rows.len() as u64,
        messages: rows.iter().map(|row| u64::from(row.message_count)).sum(),
        cost: rows.iter().map(|row| row.total_cost).sum::<CostSum>(),
    }
}

/// A conversation of one of 400 days around the turn of a year.
fn dated() -> impl Strategy<Value = Conversation> {
    (conversation(), 19_900..20_300_u64, 0..86_400_000_u64).prop_map(|(row, day, millis)| {
        let at = Timestamp::from_millis(day * 86_400_000 + millis).unwrap();
        Conversation { created_at: at, updated_at: at, ..row }
    })
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn statistics_equal_the_sum_of_the_rows(
        rows in prop::collection::vec(dated(), 1..40),
        changes in prop::collection::vec((any::<prop::sample::Index>(), channel(), assistant()), 0..8),
        messages in prop::collection::vec((any::<prop::sample::Index>(), message()), 0..8),
        deleted in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        requests in prop::collection::vec(request(), 8),
    ) {
        let mut harness = Harness::in_memory();
        let user = harness.users[0];
        for row in &rows {
            harness.insert(user, row.clone());
        }
        for (index, channel, assistant) in changes {
            harness.update(user, index.get(&rows).id, move |row| {
                if row.channel.kind() == channel.kind() { row.channel = channel.clone(); }
                row.assistant = assistant;
        });
        }
        for (index, message) in messages {
            harness.append(user, index.get(&rows).id, &message);
        }
        for index in deleted {
            harness.delete(user, index.get(&rows).id);
        }
        let snapshot = harness.store.snapshot();
        for request in requests {
            let stats = snapshot.stats(user, &request).unwrap();
            let (rows, total) = expected(&harness.oracle, user, &request);
            prop_assert_eq!(&stats.rows, &rows, "{:?}", request);
            prop_assert_eq!(stats.total, total, "{:?}", request);
            let other = snapshot.stats(harness.users[1], &request).unwrap();
            prop_assert!(other.rows.is_empty());
        }
        prop_assert!(assistants().len() > 1, "one assistant cannot show that the filter works");
    }
}
