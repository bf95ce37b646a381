//! Changes of a store whose lists are measured: its rows, and patterns of removals and moves.
//!
//! Every fourth conversation is *listed*: it has the values that the measured lists filter by. So
//! the cursor of a page that steps to its rows takes four steps to the next one, and eight, the most
//! it takes, if every second listed conversation leaves the list without being deleted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use convodb::{
    AssistantId, BulkOptions, Channel, Contact, Conversation, ConversationId, Error, IndexFamilies,
    Message, Role, Store, Timestamp, Transaction, UserId,
};
use uuid::Uuid;

/// Milliseconds of a day.
const DAY: u64 = 86_400_000;
/// Conversations created on one day.
const ROWS_OF_A_DAY: u64 = 50;
/// The first day with conversations.
const FIRST_DAY: u64 = 20_000;
/// The most assistants of a filter, and some more that no measured list has.
const ASSISTANTS: u64 = 30;

/// The time of the conversation `number`, if it were created like the others.
pub(super) fn at(number: u64) -> Timestamp {
    Timestamp::from_millis(FIRST_DAY * DAY + number * (DAY / ROWS_OF_A_DAY)).unwrap()
}

fn id(number: u64) -> ConversationId {
    ConversationId::new(Uuid::from_u128(u128::from(number)))
}

/// The assistant `number`, from 0 on. Number 0 has the listed conversations.
pub(super) fn assistant(number: u64) -> AssistantId {
    AssistantId::new(Uuid::from_u128(u128::from(1_000_000 + number)))
}

fn phones(sender: &str, customer: &str) -> Channel {
    let contact = |phone| Contact::with_phone(phone).unwrap();
    Channel::Whatsapp { sender: contact(sender), customer: contact(customer) }
}

fn is_listed(number: u64) -> bool {
    number.is_multiple_of(4)
}

/// The n-th listed conversation has the number `4 * n`.
fn listed(number: u64) -> Option<u64> {
    is_listed(number).then_some(number / 4)
}

fn row(number: u64) -> Conversation {
    let channel = match number % 4 {
        0 => phones("+1", "+2"),
        1 => Channel::Api { external_identifier: "ticket".parse().ok() },
        2 => Channel::Widget,
        _ => Channel::Test,
    };
    let assistant = assistant(if is_listed(number) { 0 } else { 1 + number % (ASSISTANTS - 1) });
    let ai_enabled = !is_listed(number);
    Conversation { ai_enabled, ..Conversation::new(id(number), assistant, channel, at(number)) }
}

fn message(created_at: Timestamp) -> Message {
    Message::new(Role::User, "Hello?", created_at).unwrap()
}

/// A change of one conversation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Delete(u64),
    InsertAgain(u64),
    /// A message of this time, which moves the conversation in the lists by last activity.
    Move(u64, Timestamp),
    /// Another assistant and other phones take over, and the AI is on: a listed conversation leaves
    /// all measured lists but those of all and of several types.
    HandOver(u64),
}

impl Change {
    /// Whether the change is one of the first half, if the changes are made in two halves. All
    /// changes of a conversation are of the same half.
    pub(super) const fn is_of_half(self) -> bool {
        let (Change::Delete(number)
        | Change::InsertAgain(number)
        | Change::Move(number, _)
        | Change::HandOver(number)) = self;
        number / 8 % 2 == 0
    }

    fn apply(self, write: &mut Transaction<'_>, user: UserId) -> Result<(), Error> {
        match self {
            Change::Delete(number) => write.delete(user, id(number)),
            Change::InsertAgain(number) => write.insert(user, row(number), Vec::new()),
            Change::Move(number, time) => {
                write.append_message(user, id(number), &message(time)).map(drop)
            }
            Change::HandOver(number) => {
                let hand_over = |row: &mut Conversation| {
                    row.assistant = assistant(ASSISTANTS - 1);
                    row.channel = phones("+8", "+9");
                    row.ai_enabled = true;
                    Ok(())
                };
                write.update(user, id(number), Timestamp::MIN, hand_over).map(drop)
            }
        }
    }
}

/// A pattern of changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern {
    pub(super) name: &'static str,
    /// The changes of a store of this many rows, in order.
    pub(super) changes: fn(u64) -> Vec<Change>,
}

/// The times of the n-th round of moves come after all that were before, in another order than the
/// rows.
fn moved(round: u64, number: u64, rows: u64) -> Change {
    Change::Move(number, at(round * rows + number * 7_919 % rows))
}

/// All patterns.
pub(super) const PATTERNS: [Pattern; 7] = [
    Pattern {
        name: "every second deleted",
        changes: |rows| {
            let of_list = (0..rows).filter(|number| number / 4 % 2 == 0);
            of_list.map(Change::Delete).collect()
        },
    },
    Pattern {
        name: "every second handed over",
        changes: |rows| {
            let every_second = |number: &u64| listed(*number).is_some_and(|n| n % 2 == 1);
            (0..rows).filter(every_second).map(Change::HandOver).collect()
        },
    },
    Pattern {
        name: "long runs deleted beside single rows",
        changes: |rows| {
            let is_in_run = |number: &u64| listed(*number).is_none_or(|n| n % 16 != 0);
            (0..rows).filter(is_in_run).map(Change::Delete).collect()
        },
    },
    Pattern {
        name: "every second moved ten times",
        changes: |rows| {
            let every_second = move || (0..rows).filter(|number| number / 4 % 2 == 0);
            let round = |round| every_second().map(move |number| moved(round, number, rows));
            (1..=10).flat_map(round).collect()
        },
    },
    Pattern {
        name: "all moved ten times",
        changes: |rows| {
            let round = |round| (0..rows).map(move |number| moved(round, number, rows));
            (1..=10).flat_map(round).collect()
        },
    },
    Pattern {
        name: "deleted and inserted again",
        changes: |rows| {
            let deleted = (0..rows).filter(|number| number / 4 % 3 > 0);
            let again = (0..rows).filter(|number| number / 4 % 3 == 1);
            deleted.map(Change::Delete).chain(again.map(Change::InsertAgain)).collect()
        },
    },
    Pattern {
        name: "deleted, handed over and moved",
        changes: |rows| {
            let change = |number| match number / 4 % 4 {
                0 => Some(Change::Delete(number)),
                1 if is_listed(number) => Some(Change::HandOver(number)),
                2 => Some(moved(1, number, rows)),
                _ => None,
            };
            (0..rows).filter_map(change).collect()
        },
    },
];

/// A store in memory whose rows are all in the tables.
pub(super) struct MeasuredStore {
    pub(super) store: Store,
    pub(super) user: UserId,
    /// A user whose bulk loads are checkpoints.
    other: UserId,
    checkpoints: u64,
    rows: u64,
}

impl MeasuredStore {
    /// A store with these optional indexes and this many rows.
    pub(super) fn new(indexes: IndexFamilies, rows: u64) -> Self {
        let store = Store::in_memory().unwrap();
        store.add_indexes(indexes).unwrap();
        let [user, other] = ["Acme", "Other"].map(|name| {
            let user = store.create_user(name, Timestamp::MIN).unwrap().id;
            let created = store.write(move |write| {
                (0..ASSISTANTS).try_for_each(|number| {
                    write.create_assistant(user, assistant(number), "Bot").map(drop)
                })
            });
            created.unwrap();
            user
        });
        let mut load = store.bulk_load(BulkOptions::default());
        for number in 0..rows {
            let messages = [message(at(number)), message(at(number))];
            load.push(user, &Conversation { message_count: 2, ..row(number) }, &messages).unwrap();
        }
        load.finish().unwrap();
        Self { store, user, other, checkpoints: 0, rows }
    }

    /// The days between the first and the last conversation.
    pub(super) const fn days(&self) -> u64 {
        self.rows.div_ceil(ROWS_OF_A_DAY)
    }

    /// Makes changes in one write. The memtables of the returned snapshot have all of them.
    pub(super) fn change(&self, changes: Vec<Change>) -> convodb::Snapshot {
        let user = self.user;
        crate::harness::snapshot_at_commit(&self.store, move |write| {
            changes.iter().try_for_each(|change| change.apply(write, user))
        })
    }

    /// Writes the memtables into the tables, as a bulk load does first.
    pub(super) fn checkpoint(&mut self) {
        let mut load = self.store.bulk_load(BulkOptions::default());
        load.push(self.other, &row(self.checkpoints), &[]).unwrap();
        load.finish().unwrap();
        self.checkpoints += 1;
    }
}
