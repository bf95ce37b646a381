//! Random histories of writes against the oracle: single operations, transactions that fail half
//! way, bulk loads and restarts, with rows, histories, reports and the audit checked at the end.

use std::path::{Path, PathBuf};

use convodb::{
    AssistantId, BulkOptions, Channel, Conversation, ConversationId, CostSum, Day, Error, Message,
    Period, ReportRequest, Store, StoreOptions, Volume,
};
use convodb_testkit::oracle::Asked;
use convodb_testkit::strategies::{
    asked, assistant, channel, conversation, conversation_id, message,
};
use proptest::prelude::*;

use crate::walk::check_walk;
use crate::world::{World, cases, copy_as_a_crash_leaves_it};

#[derive(Clone, Debug)]
enum Operation {
    Insert(bool, Conversation, Vec<Message>),
    Change(bool, ConversationId, Channel, AssistantId, bool),
    Append(bool, ConversationId, Message),
    Delete(bool, ConversationId),
    Bulk(bool, Vec<(Conversation, Vec<Message>)>),
    /// Does all of it in one write, then fails.
    TakenBack(bool, Conversation, ConversationId, Message),
    Restart(usize),
    /// Goes on from a copy of the files as a crash would leave them.
    Crash(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let user = any::<bool>;
    let messages = || prop::collection::vec(message(), 0..4);
    prop_oneof![
        6 => (user(), conversation(), messages()).prop_map(|(u, c, m)| Operation::Insert(u, c, m)),
        4 => (user(), conversation_id(), channel(), assistant(), any::<bool>())
            .prop_map(|(u, id, c, a, ai)| Operation::Change(u, id, c, a, ai)),
        4 => (user(), conversation_id(), message()).prop_map(|(u, id, m)| Operation::Append(u, id, m)),
        3 => (user(), conversation_id()).prop_map(|(u, id)| Operation::Delete(u, id)),
        1 => (user(), prop::collection::vec((conversation(), messages()), 0..12))
            .prop_map(|(u, rows)| Operation::Bulk(u, rows)),
        2 => (user(), conversation(), conversation_id(), message())
            .prop_map(|(u, c, id, m)| Operation::TakenBack(u, c, id, m)),
        1 => tail_bytes().prop_map(Operation::Restart),
        1 => tail_bytes().prop_map(Operation::Crash),
    ]
}

/// From a checkpoint for each write to hardly ever one.
fn tail_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 500..5_000_usize, Just(1 << 20)]
}

fn run(world: &mut World, operation: Operation, path: &mut PathBuf) {
    let users = world.users;
    let user_of = |second: bool| users[usize::from(second)];
    match operation {
        Operation::Insert(user, conversation, history) => {
            world.insert_with(user_of(user), conversation, history);
        }
        Operation::Change(user, id, channel, assistant, ai_enabled) => {
            world.update(user_of(user), id, move |row| {
                row.channel = channel.clone();
                row.assistant = assistant;
                row.ai_enabled = ai_enabled;
            });
        }
        Operation::Append(user, id, message) => world.append(user_of(user), id, &message),
        Operation::Delete(user, id) => world.delete(user_of(user), id),
        Operation::Bulk(user, rows) => bulk(world, user_of(user), rows),
        Operation::TakenBack(user, conversation, id, message) => {
            let user = user_of(user);
            let outcome: Result<(), Error> = world.store.write(move |transaction| {
                let _ = transaction.insert(user, &conversation, &[]);
                let _ = transaction.append_message(user, conversation.id, &message);
                let _ = transaction.append_message(user, id, &message);
                let _ = transaction.update(user, id, |row| row.channel = Channel::Test);
                let _ = transaction.delete(user, id);
                transaction.create_user("three".parse()?, conversation.created_at)?;
                Err(Error::UserNotFound)
            });
            assert!(matches!(outcome, Err(Error::UserNotFound)), "{outcome:?}");
        }
        Operation::Restart(tail_bytes) => {
            world.store.clone().close().unwrap();
            world.store = open(path, tail_bytes);
        }
        Operation::Crash(tail_bytes) => {
            *path = copy_as_a_crash_leaves_it(path);
            world.store = open(path, tail_bytes);
        }
    }
}

fn open(path: &Path, tail_bytes: usize) -> Store {
    let options = StoreOptions { tail_bytes, ..StoreOptions::default() };
    Store::open_with(path, &options).unwrap()
}

/// Loads with memory for a few rows, so that most are sorted on disk.
fn bulk(world: &mut World, user: convodb::UserId, rows: Vec<(Conversation, Vec<Message>)>) {
    let options = BulkOptions { budget_bytes: 1_000, ..BulkOptions::default() };
    let mut loader = world.store.bulk_load(options);
    let (mut inserted, mut present, mut messages) = (0, 0, 0);
    for (mut conversation, history) in rows {
        let count = u32::try_from(history.len()).unwrap();
        conversation.message_count = conversation.message_count.max(count);
        loader.push(user, &conversation, &history).unwrap();
        if world.oracle.insert(user, conversation, history) {
            inserted += 1;
            messages += u64::from(count);
        } else {
            present += 1;
        }
    }
    let report = loader.finish(|_, _| {}).unwrap();
    let skipped = report.present + report.repeated;
    assert_eq!((report.inserted, skipped, report.messages), (inserted, present, messages));
}

/// The report of all time, by type, is a sum over the oracle's rows; so is one over few days.
fn check_report(world: &World) {
    for user in world.users {
        for (from, to) in [(Day::new(0), Day::new(u32::MAX)), (Day::new(20_000), Day::new(20_113))]
        {
            let request = ReportRequest {
                by_kind: true,
                period: Some(Period::Month),
                ..ReportRequest::new(from, to)
            };
            let report = world.store.snapshot().report(user, &request).unwrap();
            let volume = |of: &dyn Fn(&Conversation) -> bool| {
                let rows: Vec<&Conversation> = world
                    .oracle
                    .all()
                    .filter(|(owner, row)| {
                        *owner == user && (from..to).contains(&row.created_at.day()) && of(row)
                    })
                    .map(|(_, row)| row)
                    .collect();
                Volume {
                    conversations: rows.len() as u64,
                    messages: rows.iter().map(|row| u64::from(row.message_count)).sum(),
                    cost: rows.iter().map(|row| row.total_cost).sum::<CostSum>(),
                }
            };
            assert_eq!(report.total, volume(&|_| true));
            for row in &report.rows {
                let counted = volume(&|conversation: &Conversation| {
                    Some(conversation.channel.kind()) == row.kind
                        && Some(conversation.created_at.day().month_start()) == row.period
                });
                assert_eq!(row.volume, counted);
            }
            let sum: u64 = report.rows.iter().map(|row| row.volume.conversations).sum();
            assert_eq!(sum, report.total.conversations);
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn every_history_of_writes_is_the_oracles(
        operations in prop::collection::vec(operation(), 1..60),
        lists in prop::collection::vec((asked(), 1..8_usize), 4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut path = directory.path().join("store.convodb");
        let mut world = World::new(Store::open(&path).unwrap());
        for operation in operations {
            run(&mut world, operation, &mut path);
        }
        world.check_rows();
        check_report(&world);
        let snapshot = world.store.snapshot();
        for (asked, size) in lists {
            for user in world.users {
                let list: Vec<Conversation> = world.oracle.list(user, &asked);
                check_walk(&snapshot, user, &asked, size, &list);
            }
        }
        let everything = Asked::default();
        for user in world.users {
            let list = world.oracle.list(user, &everything);
            check_walk(&snapshot, user, &everything, 3, &list);
        }
    }
}
